"""The fills, closes and commands behind audit records. Law: of several records under one id, the last that stands
before the audit record's cut and is no dead letter is meant; what is not kept any more is None."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from armstream.codec import DecodeError, Event, decode
from armstream.events import Close, Command, CommandApplied, DeadLetter, Fill, Reward
from armstream.explain.audit import Entry
from armstream.explain.backwards import Backwards, Chunks, Kept

E = TypeVar("E", Fill, Close)
Key = tuple[type, str, str]  # kind, position, event


class Found(NamedTuple):
    """An input and where it stands."""

    event: Fill | Close | Command
    topic: str
    offset: int


class Behind(NamedTuple):
    """What a reward is of."""

    fill: Fill | None
    close: Close | None
    fill_at: Found | None
    close_at: Found | None


class Inputs:
    """`read` looks for what the rewards of some audit records name, from the last cut back."""

    def __init__(self, topics: Chunks) -> None:
        self._topics = topics
        self._logs: dict[str, Backwards[Found]] = {}
        self._candidates: defaultdict[Key, list[Found]] = defaultdict(list)  # the newest first, in each topic
        self._refused: set[tuple[str, int]] = set()

    # Fills and closes.

    def read(self, entries: Iterable[Entry], end: Entry, whole: bool = False) -> None:
        """`whole`: to the beginning, and what was refused too: the newest record of an id may be none that counts."""
        before = self._needed(entries)
        for topic in self._topics.names.trades:
            log = self._log(topic, end)
            while (whole or not self._has_all(before)) and log.more():
                self._take(log, before)
        if whole:
            self._read_refusals()

    def _needed(self, entries: Iterable[Entry]) -> dict[Key, dict[str, int]]:
        """By key, the smallest offset in each topic before which it must stand."""
        before: dict[Key, dict[str, int]] = {}
        for entry in entries:
            reward = entry.event
            if not isinstance(reward, Reward):
                continue
            for key in _keys_of(reward):
                cut = before.setdefault(key, dict(reward.cut))
                for topic, offset in reward.cut.items():
                    cut[topic] = min(cut.get(topic, offset), offset)
        return before

    def _log(self, topic: str, end: Entry) -> Backwards[Found]:
        if topic not in self._logs:
            last = end.event.cut.get(topic, 0)
            self._logs[topic] = Backwards(self._topics.backwards(topic, last), _trade)
        return self._logs[topic]

    def _take(self, log: Backwards[Found], before: dict[Key, dict[str, int]]) -> None:
        for found in log.found:
            key = _key_of(found.event)
            if key in before:
                self._candidates[key].append(found)
        log.found.clear()  # what nobody asked for is not kept

    def _has_all(self, before: dict[Key, dict[str, int]]) -> bool:
        return all(
            any(found.offset < cut.get(found.topic, 0) for found in self._candidates[key])
            for key, cut in before.items()
        )

    def _read_refusals(self) -> None:
        log = Backwards(self._topics.backwards(self._topics.names.dead_letters), _refusal)
        while log.more():
            self._refused.update(log.found)
            log.found.clear()

    def behind(self, reward: Reward) -> Behind:
        fill_key, close_key = _keys_of(reward)
        fill_at, close_at = self._last(fill_key, reward), self._last(close_key, reward)
        fill = fill_at.event if fill_at is not None and isinstance(fill_at.event, Fill) else None
        close = close_at.event if close_at is not None and isinstance(close_at.event, Close) else None
        return Behind(fill, close, fill_at, close_at)

    def _last(self, key: Key, reward: Reward) -> Found | None:
        for found in self._candidates[key]:
            is_before = found.offset < reward.cut.get(found.topic, 0)
            if is_before and (found.topic, found.offset) not in self._refused:
                return found
        return None

    # Commands.

    def command(self, applied: CommandApplied) -> Command | None:
        """It made the cut of its audit record, and so stands right before it."""
        name = self._topics.names.commands
        end = applied.cut.get(name, 0)
        log = Backwards(self._topics.backwards(name, end), _command)
        log.more()
        found = next((one for one in log.found if one.offset == end - 1), None)
        command = None if found is None else found.event
        is_it = isinstance(command, Command) and command.command_id == applied.command_id
        return command if is_it and isinstance(command, Command) else None


def _keys_of(reward: Reward) -> tuple[Key, Key]:
    return (Fill, reward.position_id, reward.fill_event_id), (Close, reward.position_id, reward.close_event_id)


def _key_of(event: Event) -> Key:
    assert isinstance(event, Fill | Close)  # nothing else was kept
    return type(event), event.position_id, event.event_id


def _decoded(value: bytes | None) -> Event | None:
    """None for what the processor refused to read too."""
    try:
        return decode(value)
    except DecodeError:
        return None


def _trade(kept: Kept) -> Found | None:
    event = _decoded(kept.value)
    return Found(event, kept.topic, kept.offset) if isinstance(event, Fill | Close) else None


def _command(kept: Kept) -> Found | None:
    event = _decoded(kept.value)
    return Found(event, kept.topic, kept.offset) if isinstance(event, Command) else None


def _refusal(kept: Kept) -> tuple[str, int] | None:
    """Where the input stands that was refused whole; of a close whose wait ended, a part may have counted."""
    event = _decoded(kept.value)
    if not isinstance(event, DeadLetter) or event.quantity_left is not None:
        return None
    return event.source.topic, event.source.offset
