"""The core's state behind the interface of TaskState, so that the Python stages apply what is unusual over it.

Law: there is one state and one overlay, the core's. Objects are made when a stage asks for them; what a stage changed
is the core's again when its event has ended.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from msgspec import structs

from armstream import _native
from armstream.codec import HEADERS, decode, encode
from armstream.core.rules import learner_of, numbers_of, rules_of
from armstream.events import (
    BanditSnapshot,
    Close,
    Fill,
    PositionPage,
    PositionSnapshot,
    Reward,
    WaitingClose,
    WeightVector,
)
from armstream.keys import page_key, position_key
from armstream.learning import Learner
from armstream.rules import rule_named
from armstream.runtime.intake import mark_unreadable
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.state import NEVER_YET, Bandit, H, Hints, TaskState, is_flat

if TYPE_CHECKING:
    from armstream._native import Fields, Numbers

_SENT = (Fill, Close, Reward, WeightVector, BanditSnapshot, PositionSnapshot)
_BANDIT_HEADER, _POSITION_HEADER = HEADERS[BanditSnapshot], HEADERS[PositionSnapshot]

_LATEST = NEVER_YET - 1  # as 64 bits hold it: behind every event too

T = TypeVar("T", bound=tuple[object, ...])


class CoreHints(Generic[T]):
    """A heap of the core's, of which the first is seen."""

    __slots__ = ("_first", "_pop")

    def __init__(self, first: Any, pop: Any) -> None:
        self._first, self._pop = first, pop

    def __len__(self) -> int:
        return self._first() is not None

    def __getitem__(self, index: int, /) -> T:
        first = self._first()
        if first is None or index:
            raise IndexError("there is no such hint")
        return cast(T, first)

    def pop(self) -> T:
        return cast(T, self._pop())


class CoreBandit(Bandit):
    """A bandit as the core has it, for one event; its learner is made when somebody looks at it."""

    __slots__ = ("_learner", "arms_were", "numbers", "settings_were")

    def __init__(self, bandit_id: str) -> None:
        self._learner: Learner | None = None
        self.numbers: Numbers | None = None  # of the learner, until it is made
        super().__init__(bandit_id)
        self.settings_were = self.settings
        self.arms_were: tuple[object, object] = (self.arm_index, self.added_versions)

    @property
    def learner(self) -> Learner | None:
        if self.numbers is not None:
            assert self.settings is not None  # its learner was made by them
            assert self.rule is not None
            self._learner = learner_of(self.settings, self.rule, tuple(self.arm_index), self.numbers)
            self.numbers = None
        return self._learner

    @learner.setter
    def learner(self, learner: Learner | None) -> None:
        self._learner, self.numbers = learner, None


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
            "max_arms": registry.max_arms,
            "enabled": registry.template.enabled,
            "max_record_bytes": max_record_bytes,
            "max_future_micros": max_future_micros,
        }
        headers = {event_type.__name__: HEADERS[event_type] for event_type in _SENT}
        self.core = _native.Core(number, partitions, given, headers, encode, numbers_of, mark_unreadable)
        self._looked: dict[str, CoreBandit] = {}
        self._views: dict[str, CoreBandit] = {}
        self._owned: set[str] = set()
        self._rules: dict[int, tuple[object, _native.Rules]] = {}  # by id of settings, which are held
        self._known_json: dict[tuple[str, str], _native.Rules | None] = {}
        super().__init__(limits, registry)
        self.waiting = CoreHints(self.core.first_task_waiting, self.core.pop_task_waiting)

    # Counts.

    @property
    def bandit_count(self) -> int:
        return self.core.bandit_count

    @bandit_count.setter
    def bandit_count(self, count: int) -> None:
        self.core.bandit_count = count

    @property
    def learner_count(self) -> int:
        return self.core.learner_count

    @learner_count.setter
    def learner_count(self, count: int) -> None:
        self.core.learner_count = count

    @property
    def position_count(self) -> int:
        return self.core.position_count

    @position_count.setter
    def position_count(self, count: int) -> None:
        self.core.position_count = count

    @property
    def finished_count(self) -> int:
        return self.core.finished_count

    @finished_count.setter
    def finished_count(self, count: int) -> None:
        self.core.finished_count = count

    @property
    def open_position_count(self) -> int:
        return self.core.open_position_count

    @open_position_count.setter
    def open_position_count(self, count: int) -> None:
        self.core.open_position_count = count

    @property
    def waiting_close_count(self) -> int:
        return self.core.waiting_close_count

    @waiting_close_count.setter
    def waiting_close_count(self, count: int) -> None:
        self.core.waiting_close_count = count

    # Reading.

    def bandit(self, bandit_id: str) -> Bandit | None:
        view = self._views.get(bandit_id) or self._looked.get(bandit_id)
        if view is None:
            fields = self.core.bandit(bandit_id)
            if fields is None:
                return None
            view = self._looked[bandit_id] = self._view(bandit_id, fields)
        return view

    def touched(self, bandit_id: str) -> Bandit | None:
        view = self._views.get(bandit_id)
        if view is not None:
            return view
        return self.touch(bandit_id) if self.core.is_touched(bandit_id) else None

    def bandits(self) -> Iterator[Bandit]:
        for name in self.core.names():
            bandit = self.bandit(name)
            if bandit is not None:
                yield bandit

    def position(self, key: str) -> PositionSnapshot | None:
        found = self.core.position(key)
        if isinstance(found, bytes):
            found = decode(found)
        assert found is None or isinstance(found, PositionSnapshot)
        return found

    def find(self, bandit_id: str, position_id: str) -> tuple[str, PositionSnapshot | None]:
        key = position_key(bandit_id, position_id)
        return key, self.position(key)

    def held(self, bandit_id: str) -> list[PositionSnapshot]:
        found = [self.position(key) for key in self.core.maybe_held(bandit_id)]
        held = [position for position in found if position is not None and not is_flat(position)]
        return sorted(held, key=lambda position: (position.ts_last, position.position_id))

    # Writing.

    def touch(self, bandit_id: str) -> Bandit:
        view = self._views.get(bandit_id)
        if view is None:
            view = self._views[bandit_id] = self._view(bandit_id, self.core.touch(bandit_id))
        return view

    def own_learner(self, bandit: Bandit) -> Learner:
        learner = super().own_learner(bandit)
        self._owned.add(bandit.bandit_id)
        return learner

    def put(self, key: str, before: PositionSnapshot | None, after: PositionSnapshot) -> None:
        super().put(key, before, after)  # which counts
        self.core.put_position(key, after)

    def keep_terms(self, position: PositionSnapshot, terms: Mapping[str, float]) -> None:
        if position.decision is not None:
            decision = structs.replace(position.decision, terms=terms)
            key = position_key(position.bandit_id, position.position_id)
            self.core.put_position(key, structs.replace(position, decision=decision))

    def forget(self, key: str, before: PositionSnapshot) -> None:
        super().forget(key, before)
        self.core.put_position(key, None)

    def forget_bandit(self, bandit: Bandit) -> None:
        self.core.forget_bandit(bandit.bandit_id)
        self._views.pop(bandit.bandit_id, None)
        self._looked.pop(bandit.bandit_id, None)
        self._owned.discard(bandit.bandit_id)

    def _note_finished(self, bandit: Bandit, position: PositionSnapshot) -> None:
        self.core.push_finished(bandit.bandit_id, position.ts_last, position.position_id)

    def note_waiting(self, bandit: Bandit, position_id: str, close: WaitingClose) -> None:
        self.core.note_waiting(bandit.bandit_id, close.ts_event, close.event_id, position_id)

    def pop_hint(self, heap: Hints[H]) -> H:
        assert isinstance(heap, CoreHints)  # it is this state's
        return cast(H, heap.pop())

    # Between a stage and the core.

    def settle(self) -> None:
        """What events changed by the stages is the core's."""
        for name, view in self._views.items():
            self._put_back(name, view)
        self._views.clear()

    def look_away(self) -> None:
        """The core goes on: what was only looked at may be other, what was changed is not until it is settled."""
        self._looked.clear()
        self._changed.clear()  # the core's, as `put` said

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

    def _view(self, bandit_id: str, fields: "Fields") -> CoreBandit:
        numbers, paused, command_ids, cause_event_id, rules, (names, added_versions), learner, is_native = fields
        view = CoreBandit(bandit_id)
        (
            view.version,
            view.fill_watermark,
            view.close_watermark,
            view.floor,
            view.ts_event,
            view.forgotten_until,
            view.finished_count,
            view.held_until,
            view.choices_version,
        ) = numbers
        view.paused, view.command_ids, view.cause_event_id = paused, command_ids, cause_event_id
        if rules is not None:
            settings = rules.settings
            view.rule, view.settings = rule_named(settings.algorithm), settings
            view.settings_json = rules.settings_json
            view.estimator = view.rule.published_estimator(settings)
            view.arm_index = {name: index for index, name in enumerate(names)}
            view.added_versions = dict(zip(names, added_versions, strict=True))
            if is_native:
                view.numbers = learner
            else:
                view.learner = learner
                view.owns_learner = bandit_id in self._owned
        view.settings_were, view.arms_were = view.settings, (view.arm_index, view.added_versions)
        core = self.core
        view.finished = CoreHints(lambda: core.first_finished(bandit_id), lambda: core.pop_finished(bandit_id))
        view.waiting = CoreHints(lambda: core.first_waiting(bandit_id), lambda: core.pop_waiting(bandit_id))
        return view

    def _put_back(self, name: str, view: CoreBandit) -> None:
        numbers = (
            view.version,
            view.fill_watermark,
            view.close_watermark,
            view.floor,
            view.ts_event,
            view.forgotten_until,
            view.finished_count,
            min(view.held_until, _LATEST),
            view.choices_version,
        )
        has_other_arms = (view.arm_index, view.added_versions) != view.arms_were
        arms = (list(view.arm_index), list(view.added_versions.values())) if has_other_arms else None
        rules = None if view.settings is view.settings_were else self._rules_of(view)
        learner = view.learner if view.owns_learner else None
        self.core.put_bandit(name, numbers, view.paused, view.command_ids, view.cause_event_id, rules, arms, learner)

    def _rules_of(self, bandit: Bandit) -> _native.Rules:
        settings, rule, learner = bandit.settings, bandit.rule, bandit.learner
        assert settings is not None  # it was given a learner
        assert rule is not None
        assert learner is not None
        known = self._rules.get(id(settings))
        if known is None:
            rules = rules_of(settings, rule, bandit.settings_json, learner)
            known = self._rules[id(settings)] = settings, rules
        return known[1]

    # A batch's beginning and its two ends.

    def begin(self) -> None:
        self.core.begin()
        self._forget_views()

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
        self._drop_overlay()
        self._forget_views()

    def rollback(self) -> None:
        self.forget_pages()
        for key, pages in reversed(self._undo_pages):
            self._undo(key, pages)
        self.core.rollback()
        self._drop_overlay()
        self._forget_views()

    def _forget_views(self) -> None:
        self._views.clear()
        self._looked.clear()
        self._owned.clear()

    def shortest_window_micros(self) -> int:
        return self.core.shortest_window_micros()

    # Restoring.

    def restore_record(self, record: bytes) -> tuple[str, int] | bool:
        """Puts a bandit or a position back as it stands in its record; of a position its key and how many pages it has.

        False where an object of it must be made first.
        """
        header = record[: len(_BANDIT_HEADER)]
        if header == _POSITION_HEADER:
            return self.core.restore_position(record) or False
        if header != _BANDIT_HEADER or (said := self.core.settings_in(record)) is None:
            return False
        rules = self._known_json.get(said)
        return rules is not None and self.core.restore_bandit_record(record, rules)

    def restore_bandit(self, snapshot: BanditSnapshot) -> None:
        bandit = Bandit(snapshot.bandit_id)
        self._read_back(bandit, snapshot)
        rules = None if bandit.learner is None else self._rules_of(bandit)
        numbers = (
            bandit.version,
            bandit.fill_watermark,
            bandit.close_watermark,
            bandit.ts_event,
            bandit.forgotten_until,
            bandit.choices_version,
        )
        self.core.restore_bandit(
            bandit.bandit_id,
            numbers,
            bandit.paused,
            bandit.command_ids,
            bandit.cause_event_id,
            rules,
            (list(bandit.arm_index), list(bandit.added_versions.values())),
            bandit.learner,
        )
        if rules is not None and bandit.settings is self.registry.template and not self.registry.overrides:
            self._known_json[snapshot.algorithm, snapshot.settings] = rules

    def restore_position(self, position: PositionSnapshot) -> None:
        if self.core.restore_position(encode(position)) is None:
            raise ValueError(f"position {position.position_id!r} is of a form that this version does not know")
