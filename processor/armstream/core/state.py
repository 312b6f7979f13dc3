"""The core's state behind the interface of TaskState, so that the Python stages apply what is unusual over it.

Law: there is one state and one overlay, the core's. Objects are made when a stage asks for them, and what the stages
changed is given back before the core goes on.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, cast

from armstream import _native
from armstream.codec import HEADERS, decode, encode
from armstream.core.rules import Rulebook, bandit_of
from armstream.events import (
    BanditSnapshot,
    Close,
    DeadLetter,
    Fill,
    PositionPage,
    PositionSnapshot,
    Reward,
    WaitingClose,
    WeightVector,
)
from armstream.keys import page_key
from armstream.runtime.intake import mark_unreadable
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.state import Bandit, H, Hints, TaskState, is_flat

_SENT = (Fill, Close, Reward, WeightVector, BanditSnapshot, PositionSnapshot, DeadLetter)
_DECODED_KEPT = 4_096  # positions, of a kilobyte and a half


class CoreState(TaskState):
    """One task's state in the core. `number` of `partitions` is the task's; records longer than `max_record_bytes`, and
    those more than `max_future_micros` ahead of their append time, are for the intake."""

    def __init__(
        self,
        limits: TaskLimits,
        registry: BanditRegistry,
        number: int,
        partitions: int,
        max_record_bytes: int,
        max_future_micros: int,
    ) -> None:
        given = {
            **asdict(limits),
            "dedupe_window_seconds": f"{limits.dedupe_window_micros / 1e6:g}",
            "orphan_ttl_seconds": f"{limits.orphan_ttl_micros / 1e6:g}",
            "max_arms": registry.max_arms,
            "enabled": registry.template.enabled,
            "max_record_bytes": max_record_bytes,
            "max_future_micros": max_future_micros,
        }
        headers = {event_type.__name__: HEADERS[event_type] for event_type in _SENT}
        self._rulebook = Rulebook()
        self.core = _native.Core(number, partitions, given, headers, encode, self._rulebook.fields_of, mark_unreadable)
        self._decoded: dict[bytes, object] = {}
        super().__init__(limits, registry)
        self.waiting = self.core.task_hints()

    # Reading. What is found is kept while the stages have the state: of bandits in _touched and _bandits, of positions
    # in _changed and _positions.

    def bandit(self, bandit_id: str) -> Bandit | None:
        return self._touched.get(bandit_id) or self._bandits.get(bandit_id) or self._found(bandit_id)

    def _found(self, bandit_id: str) -> Bandit | None:
        found = self.core.bandit(bandit_id)
        if found is None:
            return None
        bandit = self._bandit_of(bandit_id, found)
        if bandit is not found:
            self.core.keep_bandit(bandit_id, bandit)
        known = self._touched if self.core.is_touched(bandit_id) else self._bandits
        known[bandit_id] = bandit
        return bandit

    def _bandit_of(self, bandit_id: str, found: Any) -> Bandit:
        return found if isinstance(found, Bandit) else self._with_hints(bandit_of(bandit_id, found))

    def _with_hints(self, bandit: Bandit) -> Bandit:
        bandit.finished, bandit.waiting = self.core.hints(bandit.bandit_id)
        return bandit

    def touched(self, bandit_id: str) -> Bandit | None:
        bandit = self._touched.get(bandit_id)
        if bandit is not None:
            return bandit
        return self.touch(bandit_id) if self.core.is_touched(bandit_id) else None

    def bandits(self) -> Iterator[Bandit]:
        for name in self.core.names():
            yield self._bandit_of(name, self.core.bandit(name))  # which does not become an object for that

    def with_most_finished(self) -> list[Bandit]:
        found = [self.bandit(name) for name in self.core.names_with_most_finished()]
        return [bandit for bandit in found if bandit is not None]

    def position(self, key: str) -> PositionSnapshot | None:
        if key in self._changed:
            return self._changed[key]
        found = self._positions.get(key)
        return self._read(key) if found is None else found

    def _read(self, key: str) -> PositionSnapshot | None:
        found = self.core.position(key)
        if isinstance(found, bytes):
            found = self._decoded.get(found) or self._decode(found)
        if found is None:
            return None
        assert isinstance(found, PositionSnapshot)
        self._positions[key] = found
        return found

    def _decode(self, record: bytes) -> object:
        """The same bytes are the same position: one that is only looked at is not decoded by each event."""
        if len(self._decoded) >= _DECODED_KEPT:
            self._decoded.clear()
        position = self._decoded[record] = decode(record)
        return position

    def find(self, bandit_id: str, position_id: str) -> tuple[str, PositionSnapshot | None]:
        key = bandit_id + "\0" + position_id
        return key, self.position(key)

    def held(self, bandit_id: str) -> list[PositionSnapshot]:
        self._give_positions()
        found = [self.position(key) for key in self.core.maybe_held(bandit_id)]
        held = [position for position in found if position is not None and not is_flat(position)]
        return sorted(held, key=lambda position: (position.ts_last, position.position_id))

    # Writing.

    def touch(self, bandit_id: str) -> Bandit:
        bandit = self._touched.get(bandit_id)
        if bandit is not None:
            return bandit
        found = self.bandit(bandit_id)
        if found is not None and bandit_id in self._touched:
            return found
        if found is None:
            bandit = self._with_hints(Bandit(bandit_id))
            self.bandit_count += 1
        else:
            bandit = found.copy()
        self._touched[bandit_id] = bandit
        self.core.touch(bandit_id, bandit, bandit.version)
        return bandit

    def forget_bandit(self, bandit: Bandit) -> None:
        self.core.forget_bandit(bandit.bandit_id)
        self.bandit_count -= 1
        for known in (self._touched, self._bandits):
            known.pop(bandit.bandit_id, None)

    def _note_finished(self, bandit: Bandit, position: PositionSnapshot) -> None:
        self.core.push_finished(bandit.bandit_id, position.ts_last, position.position_id)

    def note_waiting(self, bandit: Bandit, position_id: str, close: WaitingClose) -> None:
        self.core.note_waiting(bandit.bandit_id, close.ts_event, close.event_id, position_id)

    def pop_hint(self, heap: Hints[H]) -> H:
        assert isinstance(heap, _native.Hints)  # it is this state's
        return cast(H, heap.pop())

    # Between the stages and the core.

    def look(self) -> None:
        """The stages go on: what they knew may be other by now."""
        self._forget_found()
        self._set_counts(self.core.counts)
        self.forget_pages()

    def give_back(self) -> None:
        """The core goes on, with what the stages changed. A bandit stays the object that they had until the core needs
        it, and so does a position until the batch ends."""
        self._give_positions()
        self.core.counts = self._counts()

    def _give_positions(self) -> None:
        if self._changed:
            self.core.put_positions(self._changed)
            self._positions = {}
            self._changed = {}

    def _forget_found(self) -> None:
        self._touched, self._bandits, self._positions = {}, {}, {}

    def forget_pages(self) -> None:
        """The pages of positions that the core forgot meanwhile."""
        for key in self.core.take_forgotten_paged():
            pages = self._pages.pop(key)
            self._undo_pages.append((key, pages))
            for page in pages.pages:
                self._changed_pages[page_key(page.bandit_id, page.position_id, page.number)] = None

    def changed_pages(self) -> tuple[list[PositionPage], list[str]]:
        """Pages to write, and keys of those to forget."""
        self.forget_pages()
        pages = [page for page in self._changed_pages.values() if page is not None]
        return pages, [key for key, page in self._changed_pages.items() if page is None and key in self._page_keys]

    # A batch's beginning and its two ends.

    def begin(self) -> None:
        self.core.begin()

    def commit(self) -> None:
        self.forget_pages()
        for key, page in self._changed_pages.items():
            if page is not None:
                self._page_keys.add(key)
            else:
                self._page_keys.discard(key)
        to_begin = self.to_begin_anew.items()
        self.to_begin_anew = {name: was for name, was in to_begin if not self.core.is_touched(name)}
        self.core.commit()
        self._end()

    def rollback(self) -> None:
        self.forget_pages()
        for key, pages in reversed(self._undo_pages):
            self._undo(key, pages)
        self.core.rollback()
        self._end()

    def _end(self) -> None:
        self._drop_overlay()
        self._forget_found()
        self._set_counts(self.core.counts)

    def shortest_window_micros(self) -> int:
        return self.core.shortest_window_micros()

    # Restoring.

    def restore_records(self, records: list[bytes], first: int, expect: Callable[[str, int], None]) -> int:
        reached = self.core.restore_records(records, first, self._rules_of, expect)
        self._set_counts(self.core.counts)
        return reached

    def _rules_of(self, bandit_id: str) -> "_native.Rules | None":
        settings = self.registry.of(bandit_id)
        return None if settings is None else self._rulebook.rules_of(settings)

    def restore_bandit(self, snapshot: BanditSnapshot) -> None:
        bandit = self.bandit(snapshot.bandit_id)  # there is one where positions came before it
        if bandit is None:
            bandit = self._with_hints(Bandit(snapshot.bandit_id))
            self.bandit_count += 1
        self._read_back(bandit, snapshot)
        self.core.keep_bandit(snapshot.bandit_id, bandit)
        self.core.counts = self._counts()
        self._forget_found()

    def restore_position(self, position: PositionSnapshot) -> None:
        if not self.core.restore_position(encode(position)):
            raise ValueError(f"position {position.position_id!r} is of a form that this version does not know")
        self._set_counts(self.core.counts)
