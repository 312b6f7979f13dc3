"""THE check: what Kafka holds after a run, whatever happened during it, is what one undisturbed run would have left.

Nothing is taken from the processor's word. The shadow and the oracle of `armstream verify` replay the inputs that the
group has committed; that each of them is in one place, and that offsets agree, is judged here.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TypeVar

from armstream.codec import decode, decode_inputs
from armstream.events import (
    Close,
    DeadLetter,
    Fill,
    PositionPage,
    PositionSnapshot,
    Reward,
    Source,
    TaskSnapshot,
    WeightVector,
)
from armstream.keys import TASK_KEY, is_bandits, is_positions, position_key
from armstream.settings import Settings
from armstream.verify.partition import check_partition
from armstream.verify.published import PartitionLog, first_settings
from armstream.verify.shadow import Rules
from tests.integration.log import Log, Record, latest
from tests.integration.processor import Job

Place = tuple[str, int, int]  # topic, partition, offset
Positions = dict[tuple[str, str], list[Fill | Close]]  # by bandit and position
EventId = tuple[type, str, str, str]  # kind, bandit, position, event
R = TypeVar("R", Reward, WeightVector, DeadLetter)


@dataclass(frozen=True)
class Found:
    """What the topics hold; `inputs` are the records behind the group's committed offsets."""

    settings: Settings
    inputs: list[Record]
    committed: dict[tuple[str, int], int]
    rewards: list[Record]
    weights: list[Record]
    dead_letters: list[Record]
    snapshots: list[Record]
    newest: dict[int, dict[bytes, bytes]]  # of them, by partition and key
    before: list[Record]  # bandits' and tasks' snapshots where versions before kept them

    @cached_property
    def reward_events(self) -> list[Reward]:
        return [_of(Reward, record) for record in self.rewards if record.key != TASK_KEY]

    @cached_property
    def weight_vectors(self) -> list[WeightVector]:
        return [_of(WeightVector, record) for record in self.weights]

    @cached_property
    def dead_letter_events(self) -> list[DeadLetter]:
        return [_of(DeadLetter, record) for record in self.dead_letters]

    @property
    def partitions(self) -> range:
        return range(1 + max(number for _, number in self.committed))


def check(job: Job, skip: frozenset[Place] = frozenset()) -> Found:
    """Fails where anything published is missing, double, wrong, or cannot be derived again from the log.

    `skip` is what the processors were told to skip. No processor may be writing meanwhile.
    """
    found = read(job.settings, job.log)
    skipped: set[Place] = set()
    for number in found.partitions:
        account = check_partition(partition_log(found, number), Rules.of(found.settings))
        assert account.not_checked == []
        assert account.counts["not_placed"] == 0
        skipped.update(account.skipped)
    assert skipped <= skip
    _every_input_is_accounted_for(found, _accepted(found))
    _offsets_agree(found)
    return found


def partition_log(found: Found, number: int) -> PartitionLog:
    """What verify reads of one partition, once nothing is written any more."""
    names = found.settings.topics.names
    outputs = {
        names.rewards: found.rewards,
        names.dead_letters: found.dead_letters,
        names.weights: found.weights,
        names.bandit_snapshots: found.before,
        names.snapshots: found.snapshots,
    }
    sources = {name: [_source(one) for one in records if one.partition == number] for name, records in outputs.items()}
    newest = found.newest.get(number, {})
    bandits = {key: value for key, value in newest.items() if is_bandits(key)}
    value = newest.get(TASK_KEY)
    task = decode(value) if value is not None else TaskSnapshot(number, {})
    assert isinstance(task, TaskSnapshot)
    return PartitionLog(
        number=number,
        partition_count=len(found.partitions),
        topics=names,
        state=names.state,
        group=found.settings.kafka.group_id,
        topic_ids=task.topic_ids,
        newest=task,
        first=dict.fromkeys((*names.inputs, names.rewards, names.dead_letters), 0),
        begins={},
        settled=task.next_offset,
        committed={topic: offset for (topic, partition), offset in found.committed.items() if partition == number},
        stands_at=task.next_offset,
        ends={name: max((one.offset + 1 for one in records), default=0) for name, records in sources.items()},
        inputs={
            topic: iter([one.message for one in found.inputs if (one.topic, one.partition) == (topic, number)])
            for topic in names.inputs
        },
        rewards=iter(sources[names.rewards]),
        dead_letters=iter(sources[names.dead_letters]),
        weights=iter(sources[names.weights]),
        snapshots=[iter(sources[name]) for name in (names.bandit_snapshots, names.snapshots)],
        positions=_positions(newest),
        bandits=bandits,
        first_settings=first_settings(bandits, sources[names.rewards]),
    )


def _positions(newest: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    return {key: value for key, value in newest.items() if is_positions(key)}


def _source(record: Record) -> Source:
    return Source(record.topic, record.partition, record.offset, record.key, record.value)


def orphans_expired_and_positions_were_forgotten(found: Found) -> None:
    """What short windows must have done; without it a test of them shows nothing."""
    assert {letter.error_class for letter in found.dead_letter_events} == {"ORPHAN_CLOSE"}
    positions = sum(not key.startswith(b"\0") for values in found.newest.values() for key in _positions(values))
    assert positions < len(_accepted(found)) / 2


def read(settings: Settings, log: Log) -> Found:
    names = settings.topics.names
    committed = log.committed(names.inputs)
    inputs = [
        record
        for topic in names.inputs
        for record in log.read(topic)
        if record.offset < committed[topic, record.partition]
    ]
    snapshots = log.read(names.snapshots)
    return Found(
        settings,
        inputs,
        committed,
        log.read(names.rewards),
        log.read(names.weights),
        log.read(names.dead_letters),
        snapshots,
        latest(snapshots),
        log.read(names.bandit_snapshots) if log.has(names.bandit_snapshots) else [],
    )


def _of(kind: type[R], record: Record) -> R:
    event = record.event
    assert isinstance(event, kind), f"{record.topic} holds {event}"
    return event


def _accepted(found: Found) -> Positions:
    """Fills and closes of each position, in the order of their own topic, once each: by their id, and by their exec_id
    where they have one.

    Dead letters are left out, but for closes that waited: these were a part of their position until their time was up.
    """
    buried = {_place(letter) for letter in found.dead_letter_events if not _has_waited(letter)}
    seen: set[EventId] = set()
    accepted: defaultdict[tuple[str, str], list[Fill | Close]] = defaultdict(list)
    events = decode_inputs([record.value for record in found.inputs])
    for record, event in zip(found.inputs, events, strict=True):
        if (record.topic, record.partition, record.offset) in buried:
            continue
        assert isinstance(event, Fill | Close), f"neither applied nor a dead letter: {event}"
        names = {id_of(event)} | ({(*id_of(event)[:3], f"exec {event.exec_id}")} if event.exec_id else set())
        if not names & seen:
            seen |= names
            accepted[event.bandit_id, event.position_id].append(event)
    return accepted


def _has_waited(letter: DeadLetter) -> bool:
    """An orphan, or a close whose room another one needed."""
    return letter.error_class in ("ORPHAN_CLOSE", "LIMIT") and letter.quantity_left is not None


def id_of(event: Fill | Close) -> EventId:
    """What tells a duplicate."""
    return type(event), event.bandit_id, event.position_id, event.event_id


def _orphaned(found: Found) -> dict[EventId, Fraction]:
    """How much of each close was left when its time was up."""
    orphaned: dict[EventId, Fraction] = {}
    for letter in found.dead_letter_events:
        if _has_waited(letter):
            close = decode(letter.source.value)
            assert isinstance(close, Close)
            assert letter.quantity_left is not None
            # Sent twice before its bandit's first fill, it is remembered as long as it waits.
            is_whole = letter.quantity_left == close.quantity
            assert id_of(close) not in orphaned or is_whole, f"orphaned twice: {close}"
            orphaned[id_of(close)] = _decimal(round(letter.quantity_left, 6))
    return orphaned


def _place(letter: DeadLetter) -> Place:
    return letter.source.topic, letter.source.partition, letter.source.offset


def _decimal(quantity: float) -> Fraction:
    return Fraction(repr(quantity))


def _every_input_is_accounted_for(found: Found, accepted: Positions) -> None:
    """Each event is remembered by its position, or a dead letter, or its position is flat and forgotten."""
    snapshots = [decode(value) for values in found.newest.values() for value in _positions(values).values()]
    positions = {(one.bandit_id, one.position_id): one for one in snapshots if isinstance(one, PositionSnapshot)}
    pages: defaultdict[str, list[PositionPage]] = defaultdict(list)
    for page in snapshots:
        if isinstance(page, PositionPage):
            pages[position_key(page.bandit_id, page.position_id)].append(page)
    orphaned = _orphaned(found)
    for key, events in accepted.items():
        if key not in positions:
            assert _is_flat(events, orphaned), f"{key} is forgotten and not flat"
            continue
        older = sorted(pages.pop(position_key(*key), []), key=lambda page: page.number)
        kept: list[PositionPage | PositionSnapshot] = [*older, positions[key]]
        known: list[tuple[type, str]] = [(Fill, fill.event_id) for one in kept for fill in one.fills]
        known += [(Close, close.event_id) for one in kept for close in one.closes]
        theirs = [event for event in events if (type(event), event.event_id) in known]
        in_order = sorted(theirs, key=lambda event: isinstance(event, Close))
        assert [(type(event), event.event_id) for event in in_order] == known, f"{key}: {kept}"
        # It was flat once, was forgotten, and began anew.
        gone = [event for event in events if event not in theirs]
        assert not gone or _is_flat(gone, orphaned), f"{key} does not remember {gone}"
    assert positions.keys() <= accepted.keys(), "a position of nobody's"
    assert not pages, f"pages of nobody's: {list(pages)}"


def _is_flat(events: Iterable[Fill | Close], orphaned: Mapping[EventId, Fraction]) -> bool:
    """What was not closed is written off where a close was final."""
    filled = sum(_decimal(event.quantity) for event in events if isinstance(event, Fill))
    closes = [event for event in events if isinstance(event, Close)]
    closed = sum(_decimal(close.quantity) - orphaned.get(id_of(close), 0) for close in closes)
    return filled == closed or (filled > closed and any(close.final for close in closes))


def _offsets_agree(found: Found) -> None:
    """The task snapshot and the group's offsets left in one transaction."""
    for partition in found.partitions:
        committed = {topic: offset for (topic, number), offset in found.committed.items() if number == partition}
        value = found.newest.get(partition, {}).get(TASK_KEY)
        snapshot = decode(value) if value is not None else TaskSnapshot(partition, dict.fromkeys(committed, 0))
        assert isinstance(snapshot, TaskSnapshot)
        assert (snapshot.task, dict(snapshot.next_offset)) == (partition, committed)
