"""THE check: what Kafka holds after a run, whatever happened during it, is what one undisturbed run would have left.

Nothing is taken from the processor's word. The inputs that the group has committed are judged twice: by a reference
that knows exact decimals and no state, and by the pure stages, fed in the recorded order in other batches.
"""

import math
import random
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import groupby
from typing import TypeVar

from armstream.codec import DecodeError, decode, decode_inputs, encode, encode_audited, encode_cut, encode_dead_letter
from armstream.events import Close, DeadLetter, Fill, PositionSnapshot, Reward, TaskSnapshot, WeightVector
from armstream.keys import TASK_KEY
from armstream.runtime.intake import Intake
from armstream.settings import Settings
from armstream.stages.pipeline import Applied, Pipeline
from armstream.stages.state import TaskState
from tests.integration.log import Log, Record, latest
from tests.integration.processor import Job

Cut = dict[str, int]
Place = tuple[str, int, int]  # topic, partition, offset
SegmentKey = tuple[str, str, str, str]  # bandit, position, fill's and close's event
Positions = dict[tuple[str, str], list[Fill | Close]]  # by bandit and position
EventId = tuple[type, str, str, str]  # kind, bandit, position, event
E = TypeVar("E", Fill, Close)
A = TypeVar("A", Reward, DeadLetter)
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
    bandit_snapshots: dict[int, dict[bytes, bytes]]
    position_snapshots: dict[int, dict[bytes, bytes]]

    @cached_property
    def reward_events(self) -> list[Reward]:
        return [_of(Reward, record) for record in self.rewards]

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
    _versions_have_no_gap(found)
    _weights_follow(found)
    accepted = _accepted(found)
    _segments_are_those_of_the_reference(found, accepted)
    _every_input_is_accounted_for(found, accepted)
    _offsets_agree(found)
    for partition in found.partitions:
        records = applied_order(found, partition)
        one_by_one = replay(found.settings, len(found.partitions), records, [1] * len(records), skip)
        _replay_gives_the_same(found, partition, one_by_one)
        # Each published vector is one that some event left behind.
        assert _published_vectors(found, partition).items() <= one_by_one.vectors.items()
        in_batches = replay(found.settings, len(found.partitions), records, _random_sizes(len(records)), skip)
        _replay_gives_the_same(found, partition, in_batches)
    return found


def orphans_expired_and_positions_were_forgotten(found: Found) -> None:
    """What short windows must have done; without it a test of them shows nothing."""
    assert {letter.error_class for letter in found.dead_letter_events} == {"ORPHAN_CLOSE"}
    assert sum(map(len, found.position_snapshots.values())) < len(_accepted(found)) / 2


def read(settings: Settings, log: Log) -> Found:
    names = settings.topics.names
    committed = log.committed(names.inputs)
    inputs = [
        record
        for topic in names.inputs
        for record in log.read(topic)
        if record.offset < committed[topic, record.partition]
    ]
    return Found(
        settings,
        inputs,
        committed,
        [record for record in log.read(names.rewards) if record.key != TASK_KEY],
        log.read(names.weights),
        log.read(names.dead_letters),
        latest(log.read(names.bandit_snapshots)),
        latest(log.read(names.position_snapshots)),
    )


def _of(kind: type[R], record: Record) -> R:
    event = record.event
    assert isinstance(event, kind), f"{record.topic} holds {event}"
    return event


# Numbers.


def _versions_have_no_gap(found: Found) -> None:
    versions: defaultdict[str, list[int]] = defaultdict(list)
    for record, reward in zip(found.rewards, found.reward_events, strict=True):
        assert record.key == reward.bandit_id.encode()
        versions[reward.bandit_id].append(reward.version)
    for bandit_id, seen in versions.items():
        assert seen == list(range(1, len(seen) + 1)), f"versions of {bandit_id}: {seen}"


def _weights_follow(found: Found) -> None:
    """A bandit's versions on `weights` only rise, and the last is its last reward's."""
    last: dict[str, int] = {}
    for vector in found.weight_vectors:
        assert vector.version > last.get(vector.bandit_id, 0), f"{vector.bandit_id}: {vector.version} after {last}"
        last[vector.bandit_id] = vector.version
    assert last == {reward.bandit_id: reward.version for reward in found.reward_events}


def _segments_are_those_of_the_reference(found: Found, accepted: Positions) -> None:
    rewarded: dict[SegmentKey, Reward] = {}
    for reward in found.reward_events:
        key = (reward.bandit_id, reward.position_id, reward.fill_event_id, reward.close_event_id)
        assert key not in rewarded, f"rewarded twice: {key}"
        rewarded[key] = reward
    orphaned = _orphaned(found)
    expected = {key: segment for events in accepted.values() for key, segment in reference_segments(events, orphaned)}
    assert rewarded.keys() == expected.keys()
    for key, (quantity, reward_bps, weight) in expected.items():
        reward = rewarded[key]
        for name, ours, theirs in (
            ("quantity", reward.quantity, quantity),
            ("reward_bps", reward.reward_bps, reward_bps),
            ("weight", reward.weight, weight),
        ):
            assert math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9), f"{name} of {key}: {ours}, {float(theirs)}"


def _accepted(found: Found) -> Positions:
    """Fills and closes of each position, in the order of their own topic, once each.

    Dead letters are left out, but for orphans: these were a part of their position until their time was up.
    """
    buried = {_place(letter) for letter in found.dead_letter_events if letter.error_class != "ORPHAN_CLOSE"}
    seen: set[EventId] = set()
    accepted: defaultdict[tuple[str, str], list[Fill | Close]] = defaultdict(list)
    events = decode_inputs([record.value for record in found.inputs])
    for record, event in zip(found.inputs, events, strict=True):
        if (record.topic, record.partition, record.offset) in buried:
            continue
        assert isinstance(event, Fill | Close), f"neither applied nor a dead letter: {event}"
        if id_of(event) not in seen:
            seen.add(id_of(event))
            accepted[event.bandit_id, event.position_id].append(event)
    return accepted


def id_of(event: Fill | Close) -> EventId:
    """What tells a duplicate."""
    return type(event), event.bandit_id, event.position_id, event.event_id


def _orphaned(found: Found) -> dict[EventId, Fraction]:
    """How much of each close was left when its time was up."""
    orphaned: dict[EventId, Fraction] = {}
    for letter in found.dead_letter_events:
        if letter.error_class == "ORPHAN_CLOSE":
            close = decode(letter.source.value)
            assert isinstance(close, Close)
            assert letter.quantity_left is not None
            assert id_of(close) not in orphaned, f"orphaned twice: {close}"
            orphaned[id_of(close)] = _decimal(round(letter.quantity_left, 6))
    return orphaned


def _place(letter: DeadLetter) -> Place:
    return letter.source.topic, letter.source.partition, letter.source.offset


def reference_segments(
    events: Sequence[Fill | Close], orphaned: Mapping[EventId, Fraction]
) -> Iterator[tuple[SegmentKey, tuple[Fraction, Fraction, Fraction]]]:
    """Quantity, reward_bps and weight of each segment of one position.

    Each event covers a stretch of the position's units, in exact decimals; a segment is where a fill's stretch and a
    close's overlap. What was `orphaned` of a close covers nothing.
    """
    fills = list(_stretches([event for event in events if isinstance(event, Fill)], orphaned))
    closes = list(_stretches([event for event in events if isinstance(event, Close)], orphaned))
    for fill, fill_from, fill_to in fills:
        for close, close_from, close_to in closes:
            q = min(fill_to, close_to) - max(fill_from, close_from)
            if q > 0:
                key = (fill.bandit_id, fill.position_id, fill.event_id, close.event_id)
                yield key, (q, _reward_bps(fill, close, q), q / _decimal(fill.order_quantity or fill.quantity))


def _stretches(events: Iterable[E], orphaned: Mapping[EventId, Fraction]) -> Iterator[tuple[E, Fraction, Fraction]]:
    start = Fraction(0)
    for event in events:
        end = start + _decimal(event.quantity) - orphaned.get(id_of(event), 0)
        yield event, start, end
        start = end


def _decimal(quantity: float) -> Fraction:
    return Fraction(repr(quantity))


def _reward_bps(fill: Fill, close: Close, q: Fraction) -> Fraction:
    sign = 1 if fill.side == "BUY" else -1
    slippage = 0.0 if close.slippage_in_price else close.slippage
    price, multiplier = Fraction(fill.price), Fraction(fill.multiplier)
    net = sign * (Fraction(close.price) - price) * q * multiplier
    net -= Fraction(fill.fees) * q / _decimal(fill.quantity)
    net -= (Fraction(close.fees) + Fraction(slippage)) * q / _decimal(close.quantity)
    return net / (price * q * multiplier) * 10_000


# Nothing is lost.


def _every_input_is_accounted_for(found: Found, accepted: Positions) -> None:
    """Each event is remembered by its position, or a dead letter, or its position is flat and forgotten."""
    positions = {
        (snapshot.bandit_id, snapshot.position_id): snapshot
        for values in found.position_snapshots.values()
        for snapshot in map(decode, values.values())
        if isinstance(snapshot, PositionSnapshot)
    }
    orphaned = _orphaned(found)
    for key, events in accepted.items():
        if key not in positions:
            assert _is_flat(events, orphaned), f"{key} is forgotten and not flat"
            continue
        fills = [event.event_id for event in events if isinstance(event, Fill)]
        closes = [event.event_id for event in events if isinstance(event, Close)]
        known = positions[key]
        assert (list(known.fill_ids), list(known.close_ids)) == (fills, closes), f"{key}: {known}"
    assert positions.keys() <= accepted.keys(), "a position of nobody's"


def _is_flat(events: Iterable[Fill | Close], orphaned: Mapping[EventId, Fraction]) -> bool:
    filled = sum(_decimal(event.quantity) for event in events if isinstance(event, Fill))
    closes = [event for event in events if isinstance(event, Close)]
    return filled == sum(_decimal(close.quantity) - orphaned.get(id_of(close), 0) for close in closes)


def _offsets_agree(found: Found) -> None:
    """The task snapshot and the group's offsets left in one transaction."""
    for partition in found.partitions:
        committed = {topic: offset for (topic, number), offset in found.committed.items() if number == partition}
        value = found.bandit_snapshots.get(partition, {}).get(TASK_KEY)
        snapshot = decode(value) if value is not None else TaskSnapshot(partition, dict.fromkeys(committed, 0))
        assert isinstance(snapshot, TaskSnapshot)
        assert (snapshot.task, dict(snapshot.next_offset)) == (partition, committed)


# Everything can be derived again.


def applied_order(found: Found, partition: int) -> list[Record]:
    """One task's inputs in the order in which they were applied, as far as the cuts of its audit records tell it.

    Between two cuts nothing was published, so that the order there makes no difference, but for the record that made
    the cut: it came last. A duplicate makes nothing, so where two can have made it, it was the one not seen before.
    """
    left = {
        topic: deque(record for record in found.inputs if (record.topic, record.partition) == (topic, partition))
        for topic in found.settings.topics.names.inputs
    }
    causes = {(vector.bandit_id, vector.version): vector.cause_event_id for vector in found.weight_vectors}
    order: list[Record] = []
    seen: set[tuple[str, bytes | None]] = set()
    for cut, audits in _audits_by_cut(found, partition):
        read = {topic: _taken_before(cut[topic], records) for topic, records in left.items()}
        last = [topic for topic, records in read.items() if records and _made(records[-1], audits, causes)]
        assert last, f"no record of {read} can have made {audits}"
        earlier = seen | {(topic, one.value) for topic, records in read.items() for one in records[:-1]}
        last.sort(key=lambda topic: (topic, read[topic][-1].value) in earlier)
        seen |= {(topic, one.value) for topic, records in read.items() for one in records}
        order += [record for topic, records in read.items() if topic != last[0] for record in records]
        order += read[last[0]]
    return order + [record for records in left.values() for record in records]


def _taken_before(offset: int, records: deque[Record]) -> list[Record]:
    taken: list[Record] = []
    while records and records[0].offset < offset:
        taken.append(records.popleft())
    return taken


def _audits_by_cut(found: Found, partition: int) -> Iterator[tuple[Cut, list[Reward | DeadLetter]]]:
    """Cuts in their order, which is one and the same for every topic, with what was published at each."""
    audits: list[Reward | DeadLetter] = [
        *_on(partition, found.rewards, found.reward_events),
        *_on(partition, found.dead_letters, found.dead_letter_events),
    ]
    audits.sort(key=lambda audit: sum(audit.cut.values()))
    before: Mapping[str, int] = {}
    for _, group in groupby(audits, key=lambda audit: sum(audit.cut.values())):
        same = list(group)
        cut = dict(same[0].cut)
        assert all(dict(audit.cut) == cut for audit in same), "two cuts cross each other"
        assert all(offset <= cut[topic] for topic, offset in before.items()), "a cut goes back"
        yield cut, same
        before = cut


def _on(partition: int, records: Sequence[Record], events: Sequence[A]) -> Iterator[A]:
    return (event for record, event in zip(records, events, strict=True) if record.partition == partition)


def _made(record: Record, audits: Iterable[Reward | DeadLetter], causes: Mapping[tuple[str, int], str]) -> bool:
    """Whether these audit records can have come of applying this record."""
    event = decode_inputs([record.value])[0]
    for audit in audits:
        if isinstance(audit, Reward):
            if isinstance(event, DecodeError) or not isinstance(event, Fill | Close):
                return False
            ours = audit.fill_event_id if isinstance(event, Fill) else audit.close_event_id
            if (event.position_id, event.event_id) != (audit.position_id, ours):
                return False
            if causes.get((audit.bandit_id, audit.version), event.event_id) != event.event_id:
                return False
        elif _place(audit) != (record.topic, record.partition, record.offset) and not _is_of_times_making(audit):
            return False
    return True


def _is_of_times_making(letter: DeadLetter) -> bool:
    """It may have been buried by another record, which moved a watermark."""
    return letter.error_class in {"ORPHAN_CLOSE", "LIMIT"}


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the stages publish for one task, as bytes."""

    audit: list[bytes] = field(default_factory=list)
    dead_letters: list[bytes] = field(default_factory=list)
    vectors: dict[tuple[str, int], bytes] = field(default_factory=dict)
    bandits: dict[bytes, bytes] = field(default_factory=dict)
    positions: dict[bytes, bytes] = field(default_factory=dict)

    def add(self, applied: Applied, cuts: Sequence[bytes]) -> None:
        self.audit.extend(map(encode_audited, applied.audit, [cuts[index] for index in applied.audit_indexes]))
        self.dead_letters.extend(
            map(encode_dead_letter, applied.dead_letters, [cuts[index] for index in applied.dead_letter_indexes])
        )
        self.vectors.update({(one.bandit_id, one.version): encode(one) for one in applied.weight_vectors})
        self.bandits.update({one.bandit_id.encode(): encode(one) for one in applied.bandit_snapshots})
        self.positions.update(
            {f"{one.bandit_id}\0{one.position_id}".encode(): encode(one) for one in applied.position_snapshots}
        )
        for key in applied.forgotten:
            del self.positions[key.encode()]


def replay(
    settings: Settings, partition_count: int, records: Sequence[Record], sizes: Iterable[int], skip: frozenset[Place]
) -> Replayed:
    """Feeds one task's records to the stages in batches of `sizes`."""
    pipeline = Pipeline(TaskState(settings.task_limits(), settings.bandit_registry()))
    intake = Intake(partition_count, settings.limits.record_bytes, settings.max_future_micros, skip)
    cut = dict.fromkeys(settings.topics.names.inputs, 0)
    replayed, at = Replayed(), 0
    for size in sizes:
        batch = records[at : at + size]
        at += size
        cuts = [encode_cut(_advance(cut, record)) for record in batch]
        messages = [record.message for record in batch]
        applied = pipeline.apply(intake.read(messages), [intake.source_of(message) for message in messages].__getitem__)
        replayed.add(applied, cuts)
        pipeline.commit()
    return replayed


def _replay_gives_the_same(found: Found, partition: int, replayed: Replayed) -> None:
    """Every published byte of one task but the vectors between batches, and the last snapshots."""
    for ours, published in zip(replayed.audit, _values(found.rewards, partition), strict=True):
        assert decode(ours) == decode(published), f"{decode(ours)} is not {decode(published)}"
        assert ours == published
    assert replayed.dead_letters == _values(found.dead_letters, partition)
    snapshots = found.bandit_snapshots.get(partition, {})
    assert replayed.bandits == {key: value for key, value in snapshots.items() if key != TASK_KEY}
    assert replayed.positions == found.position_snapshots.get(partition, {})
    last_published = {bandit_id: value for (bandit_id, _), value in _published_vectors(found, partition).items()}
    assert {bandit_id: value for (bandit_id, _), value in replayed.vectors.items()} == last_published


def _published_vectors(found: Found, partition: int) -> dict[tuple[str, int], bytes]:
    return {
        (vector.bandit_id, vector.version): record.value or b""
        for record, vector in zip(found.weights, found.weight_vectors, strict=True)
        if record.partition == partition
    }


def _advance(cut: Cut, record: Record) -> Cut:
    """Moves the cut past a record, and gives it."""
    cut[record.topic] = record.offset + 1
    return cut


def _values(records: Iterable[Record], partition: int) -> list[bytes]:
    return [record.value or b"" for record in records if record.partition == partition]


def _random_sizes(count: int) -> list[int]:
    draw, sizes = random.Random(count), list[int]()
    while sum(sizes) < count:
        sizes.append(draw.randint(1, 400))
    return sizes
