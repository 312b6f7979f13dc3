"""What was published in a partition, in the order of its cuts, and what that order must be like.

Law: versions of a bandit are 1, 2, 3, ... as they stand; cuts of a task never go back nor cross; nothing that was
decided before the newest task snapshot was read may lie beyond it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

from armstream.codec import HEADERS, DecodeError, Event, UnknownSchemaError, decode
from armstream.events import (
    BanditSnapshot,
    CommandApplied,
    DeadLetter,
    PositionPage,
    PositionSnapshot,
    Reward,
    Source,
    TaskSettings,
    TaskSnapshot,
)
from armstream.keys import TASK_KEY, is_bandits
from armstream.oracle.comparison import Difference, require
from armstream.runtime.intake import Record
from armstream.settings import StateTopics, Topics
from armstream.stages.facts import SETTINGS_CHANGE

NAMED_AT_MOST = 20  # of what was not checked, in a partition

Offsets = Mapping[str, int]
Cut = dict[str, int]
Audited = Reward | CommandApplied
E = TypeVar("E", bound=Event)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PartitionLog:
    """One partition of every topic. Records are read once, in order, and only as far as they are asked for.

    `stands_at` is the newest task snapshot's next_offset, `committed` the group's, and `settled` the newest task
    snapshot's before positions were read: all three are one where nothing runs. `ends` are the offsets up to which
    the outputs were decided before that snapshot was read, so that none below can be of a later transaction.
    `positions`, pages among them, and `bandits` are the last value of each key, those of bandits as of that snapshot.
    They stand in the topics `state`. `snapshots` are each such topic's records: of bandits', tasks' and what else is
    kept there; more than one where versions before kept the state elsewhere.
    `newest`, the task's snapshot, must name `group` and `topic_ids`: the settings' and the brokers'.
    `first_settings` are those that a bandit's learner was first made under, where the log tells. `begins` are the
    offsets that records are read from, where a state of verify's own stands before them; nothing: from the first that
    is kept.
    """

    number: int
    partition_count: int
    topics: Topics
    state: StateTopics
    group: str
    topic_ids: Mapping[str, str]
    newest: TaskSnapshot | None
    first: Offsets  # of the inputs, rewards and dead letters
    begins: Offsets
    settled: Offsets
    committed: Offsets
    stands_at: Offsets
    ends: Offsets
    inputs: Mapping[str, Iterator[Record]]
    rewards: Iterator[Source]
    dead_letters: Iterator[Source]
    weights: Iterator[Source]
    snapshots: Sequence[Iterator[Source]]
    positions: Mapping[bytes, bytes]
    bandits: Mapping[bytes, bytes]
    first_settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class State:
    """Where verify got to with a partition: the next offsets of every topic, and the task's state as snapshots.

    `in_force` are the task's settings as the log told them last, "" where it did not.
    """

    next_offset: Offsets
    in_force: str
    bandits: Sequence[BanditSnapshot]
    positions: Sequence[PositionSnapshot]
    pages: Sequence[PositionPage] = ()


@dataclass(slots=True)
class Account:
    """What was found in a partition, all of it as it should be. `not_checked` names the first, and counts all."""

    counts: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, int, int]] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    not_checked_count: int = 0
    taken: list[str] = field(default_factory=list)  # as given
    state: "State | None" = None  # where the partition got to; None: it cannot be gone on from

    def count(self, fact: Audited | DeadLetter) -> None:
        if isinstance(fact, Reward):
            self.counts["rewards"] += 1
            self.counts["withheld"] += not fact.applied
        elif isinstance(fact, CommandApplied):
            self.counts["settings_changes" if fact.command_id == SETTINGS_CHANGE else "commands"] += 1
        else:
            self.dead_letters[fact.error_class] += 1

    def leave_out(self, what: str) -> None:
        self.not_checked_count += 1
        if len(self.not_checked) < NAMED_AT_MOST:
            self.not_checked.append(what)


@dataclass(frozen=True, slots=True)
class Snapshots:
    """A task snapshot, and the bandits' snapshots that stand before it."""

    task: TaskSnapshot
    bandits: tuple[Source, ...]


Fact = Audited | DeadLetter | Snapshots | TaskSettings | None  # None: a task snapshot was read at this cut


class Timed(NamedTuple):
    """Something published, where it stands and the cut at which it was.

    `read` is how many inputs were read, since cuts of one task are in this order; `rank` orders what has the same cut.
    """

    read: int
    rank: int
    where: str
    cut: Cut
    fact: Fact


class Published:
    """Everything that one partition's log says was published, as facts in their order.

    `versions` are the last of each bandit before the first record. `next_offset` tells where each topic goes on behind
    what was given out.
    """

    def __init__(self, log: PartitionLog, versions: Mapping[str, int], knows_versions: bool) -> None:
        self._log = log
        self._knows_versions = knows_versions
        self._versions = dict(versions)
        self.next_offset = dict(log.begins)

    def by_cut(self) -> Iterator[list[Timed]]:
        """What has the same cut, one cut after the other. Raises Difference."""
        self._check_topics()
        self._check_offsets()
        moments = [self._timed(4, "", offsets, None) for offsets in (self._log.settled, self._log.stands_at)]
        snapshots = map(self._read_snapshots, self._log.snapshots)
        streams = (self._read_audit(), self._read_letters(), *snapshots, iter(moments))
        ordered = merge(*streams, key=itemgetter(0, 1))
        before = {name: self._log.begins.get(name, 0) for name in self._log.topics.inputs}
        for _, group in groupby(ordered, key=itemgetter(0)):
            same = list(group)
            self._check_cuts(before, same)
            before = same[0].cut
            yield same

    def _read_audit(self) -> Iterator[Timed]:
        for source in self._log.rewards:
            timed = self._in_force(source) if source.key == TASK_KEY else self._audited(source)
            if self._is_beyond(source, timed.cut):
                return
            yield timed
        self.reach_end(self._log.topics.rewards)

    def _in_force(self, source: Source) -> Timed:
        told = decoded(source, TaskSettings)
        require(place(source), [("task", told.task, self._log.number)])
        return self._timed(3, place(source), told.cut, told)

    def _audited(self, source: Source) -> Timed:
        where, audited = place(source), _decode(place(source), source.value, Reward, CommandApplied)
        assert isinstance(audited, Audited)  # or it raised
        require(where, [("key", source.key, audited.bandit_id.encode())])
        last = self._versions.get(audited.bandit_id, 0 if self._knows_versions else audited.version - 1)
        named = f"version {audited.version} of {audited.bandit_id!r}"
        if audited.version != last + 1:
            raise Difference(where, named, f"version {last + 1}: the one before is {last}")
        self._versions[audited.bandit_id] = audited.version
        return self._timed(0, f"{where}, {named}", audited.cut, audited)

    def _read_letters(self) -> Iterator[Timed]:
        for source in self._log.dead_letters:
            letter = decoded(source, DeadLetter)
            timed = self._timed(1, f"{place(source)}, dead letter of {place(letter.source)}", letter.cut, letter)
            if self._is_beyond(source, timed.cut):
                return
            require(place(source), [("key", source.key, letter.source.key)])
            yield timed
        self.reach_end(self._log.topics.dead_letters)

    def _read_snapshots(self, sources: Iterator[Source]) -> Iterator[Timed]:
        """Of one topic. What was moved here from another one stands before the first task snapshot, and parts of a
        broken-off move before that: of these the last of each key counts."""
        bandits: list[Source] = []
        is_first = True
        for source in sources:
            if source.key != TASK_KEY:
                if is_bandits(source.key or b""):  # else of positions, or a claim
                    bandits.append(source)
                continue
            if source.value is None:  # it was moved once more
                is_first = True
                continue
            if is_first and not self._log.begins.get(source.topic):
                bandits = list({one.key: one for one in bandits}.values())
            is_first = False
            task = decoded(source, TaskSnapshot)
            group = task.group or self._log.group  # an older processor did not say
            require(place(source), [("task", task.task, self._log.number), ("group", group, self._log.group)])
            timed = self._timed(2, place(source), task.next_offset, Snapshots(task, tuple(bandits)))
            if self._is_beyond(source, timed.cut):
                return
            yield timed
            bandits = []

    def _timed(self, rank: int, where: str, next_offset: Offsets, fact: Fact) -> Timed:
        cut = self._cut(where, next_offset)
        return Timed(sum(cut.values()), rank, where, cut, fact)

    def reach_end(self, topic: str) -> None:
        """Behind a topic's last record stand the marks of transactions alone."""
        self.next_offset[topic] = max(self.next_offset.get(topic, 0), self._log.ends[topic])

    def _cut(self, where: str, next_offset: Offsets) -> Cut:
        if next_offset.keys() == self._log.inputs.keys():
            return dict(next_offset)
        strange = next_offset.keys() - set(self._log.topics.inputs)
        if strange:
            published, inputs = ", ".join(sorted(strange)), ", ".join(self._log.topics.inputs)
            raise Difference(where, f"a cut over {published}", f"one over the input topics of the settings, {inputs}")
        return {name: next_offset.get(name, 0) for name in self._log.topics.inputs}

    def _is_beyond(self, source: Source, cut: Cut) -> bool:
        """Whether a later transaction published it than the newest task snapshot. Raises Difference where none can."""
        if all(cut[name] <= self._log.stands_at.get(name, 0) for name in cut):
            self.next_offset[source.topic] = source.offset + 1
            return False
        self.next_offset[source.topic] = source.offset
        self.require_undecided(source, f"at the cut {cut}")
        return True

    def require_undecided(self, source: Source, published: str) -> None:
        if source.offset < self._log.ends[source.topic]:
            stands_at = dict(self._log.stands_at)
            raise Difference(place(source), published, f"nothing: the task's newest snapshot stands at {stands_at}")

    def _check_topics(self) -> None:
        """The state was learned from these topics, and not from others of their names."""
        told = {} if self._log.newest is None else self._log.newest.topic_ids
        for name, now in self._log.topic_ids.items():
            if told.get(name, now) != now:
                where = f"partition {self._log.number}, the task's newest snapshot"
                raise Difference(where, f"{told[name]} as the id of {name}", f"{now}: the topic was made anew")

    def _check_offsets(self) -> None:
        """The group's offsets and the task snapshot leave one transaction, so none can be ahead of the other."""
        where = f"partition {self._log.number}"
        settled, stands_at = self._cut(where, self._log.settled), self._cut(where, self._log.stands_at)
        for name, committed in self._cut(where, self._log.committed).items():
            if not settled[name] <= committed <= stands_at[name]:
                published = f"{committed} as the group's offset in {name}"
                derived = f"{stands_at[name]}, where the task's newest snapshot stands"
                raise Difference(where, published, derived)

    def _check_cuts(self, before: Cut, same: list[Timed]) -> None:
        for timed in same:
            if timed.cut != same[0].cut or any(timed.cut[name] < offset for name, offset in before.items()):
                raise Difference(timed.where, f"the cut {timed.cut}", f"one that holds all of {before}")


class Ahead(Generic[T]):
    """An iterator with a look at the next one."""

    def __init__(self, all_of_them: Iterator[T]) -> None:
        self._left = all_of_them
        self._next: T | None = None

    def head(self) -> T | None:
        if self._next is None:
            self._next = next(self._left, None)
        return self._next

    def take(self) -> None:
        self._next = None


def until(inputs: Ahead[Record], offset: int) -> list[Record]:
    """Takes what stands before `offset`."""
    taken = []
    while (record := inputs.head()) is not None and record.offset() < offset:
        inputs.take()
        taken.append(record)
    return taken


def place(source: Source) -> str:
    """TOPIC:PARTITION:OFFSET, as the commands name a record."""
    return f"{source.topic}:{source.partition}:{source.offset}"


def place_of(record: Record) -> str:
    """The same of an input."""
    return f"{record.topic()}:{record.partition()}:{record.offset()}"


def decoded(source: Source, kind: type[E]) -> E:
    return decode_as(place(source), source.value, kind)


def decode_as(where: str, value: bytes | None, kind: type[E]) -> E:
    """Raises Difference where it is no such record: nobody's transaction wrote it."""
    event = _decode(where, value, kind)
    assert isinstance(event, kind)  # or it raised
    return event


def _decode(where: str, value: bytes | None, *kinds: type) -> Event:
    wanted = " or ".join(f"a {kind.__name__}" for kind in kinds)
    try:
        event = decode(value)
    except DecodeError as error:
        newer = (
            "; where a newer armstream wrote it, verify with that one" if isinstance(error, UnknownSchemaError) else ""
        )
        raise Difference(where, f"bytes that are not {wanted}: {error}{newer}", wanted) from error
    if not isinstance(event, kinds):
        raise Difference(where, f"a {type(event).__name__}", wanted)
    return event


def why_not(error: DecodeError) -> str:
    """Why a record cannot be read, and what to do where a newer version may have written it."""
    is_newer = isinstance(error, UnknownSchemaError)
    return f"{error}; where a newer armstream wrote it, verify with that one" if is_newer else str(error)


def settings_changed(where: str, applied: CommandApplied) -> tuple[str, str]:
    """The settings before and after a change, as snapshots hold them. Raises Difference where none are told."""
    try:
        told = json.loads(applied.detail)
        return json.dumps(told["settings_before"], sort_keys=True), json.dumps(told["settings"], sort_keys=True)
    except (ValueError, TypeError, KeyError) as error:
        raise Difference(where, f"detail {applied.detail[:100]!r}", "settings_before and settings, as JSON") from error


def first_settings(newest: Mapping[bytes, bytes], audit: Iterable[Source]) -> dict[str, str]:
    """By bandit_id, what its learner was first made under: as the first change of settings says, else its newest
    snapshot. Raises Difference for a record that cannot be read."""
    settings = {}
    for key, value in newest.items():
        snapshot = decode_as(f"the newest snapshot of {key.decode(errors='replace')!r}", value, BanditSnapshot)
        if snapshot.arms:
            settings[snapshot.bandit_id] = snapshot.settings
    changed = set()
    for source in audit:
        if not (source.value or b"").startswith(HEADERS[CommandApplied]):
            continue
        applied = decoded(source, CommandApplied)
        if applied.command_id == SETTINGS_CHANGE and applied.bandit_id not in changed:
            changed.add(applied.bandit_id)
            settings[applied.bandit_id], _ = settings_changed(place(source), applied)
    return settings
