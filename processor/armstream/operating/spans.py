"""Stretches of partitions, read by the times of their records. Law: what is held of a partition is bounded, a wait
ends, and what no stretch holds is not given.

A partition's records keep their own order. Of several partitions the one comes next whose next record is the oldest.
"""

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from armstream.operating.reader import REQUEST_SECONDS, pass_over, watermarks
from armstream.runtime.intake import Record

Partition = tuple[str, int]
Span = tuple[int, int]  # from one offset to before another

# A reader of spans fetches little ahead.
CONSUMER: Final[Mapping[str, str | int]] = {
    "fetch.message.max.bytes": 262_144,
    "queued.min.messages": 10_000,
}

_POLL_SECONDS = 0.2
_CONSUMED = 500
_HELD_RECORDS, _HELD_BYTES = 4_096, 1_048_576
_FIRST_STEP = 500


@dataclass(slots=True)
class _Stretch:
    """What was read of a span and not given yet."""

    next_offset: int
    end: int
    held: deque[Record] = field(default_factory=deque)
    held_bytes: int = 0
    is_paused: bool = False

    @property
    def is_read(self) -> bool:
        return self.next_offset >= self.end

    @property
    def is_full(self) -> bool:
        return len(self.held) >= _HELD_RECORDS or self.held_bytes >= _HELD_BYTES


def spans_of(consumer: Consumer, partitions: Iterable[Partition], from_ms: int | None) -> dict[Partition, Span]:
    """All that stands committed in each partition now, from the first record that is not older than `from_ms`."""
    spans = {(topic, number): watermarks(consumer, topic, number) for topic, number in partitions}
    if from_ms is None:
        return spans
    asked = [TopicPartition(topic, number, from_ms) for topic, number in spans]
    found: dict[Partition, Span] = {}
    for answer in consumer.offsets_for_times(asked, REQUEST_SECONDS):
        if answer.error is not None:
            raise KafkaException(answer.error)
        end = spans[answer.topic, answer.partition][1]
        found[answer.topic, answer.partition] = (end if answer.offset < 0 else answer.offset), end
    return found


def begin(consumer: Consumer, offsets: Mapping[Partition, int]) -> None:
    """Reads on from there. A partition that was paused stays so when it is assigned anew."""
    partitions = [TopicPartition(*at, offset) for at, offset in offsets.items()]
    consumer.assign(partitions)
    consumer.resume(partitions)


def merged(consumer: Consumer, spans: Mapping[Partition, Span]) -> Iterator[Record]:
    """The records of the spans. Raises KafkaException, also where none has come for REQUEST_SECONDS."""
    stretches = {at: _Stretch(start, end) for at, (start, end) in spans.items() if start < end}
    begin(consumer, {at: stretch.next_offset for at, stretch in stretches.items()})
    heads: list[tuple[int, Partition]] = []
    lacking = set(stretches)
    deadline: float | None = None
    while lacking or heads:
        while heads and not lacking:
            at = heads[0][1]
            record = _give(consumer, at, stretches[at])
            if stretches[at].held:
                heapq.heapreplace(heads, (stretches[at].held[0].timestamp()[1], at))
            else:
                heapq.heappop(heads)
                lacking |= set() if stretches[at].is_read else {at}
            yield record
            deadline = None  # who takes the records takes his time
        if not lacking:
            break
        deadline = deadline or time.monotonic() + REQUEST_SECONDS
        messages = consumer.consume(_CONSUMED, _POLL_SECONDS)
        if messages:
            deadline = time.monotonic() + REQUEST_SECONDS
        elif time.monotonic() > deadline:
            topic, number = min(lacking)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"the end of {topic}:{number} was not reached"))
        for message in messages:
            _take(consumer, message, stretches)
        for at in sorted(lacking):
            if stretches[at].held:
                heapq.heappush(heads, (stretches[at].held[0].timestamp()[1], at))
        lacking = {at for at in lacking if not (stretches[at].held or stretches[at].is_read)}
    consumer.unassign()


def newest(
    consumer: Consumer, spans: Mapping[Partition, Span], count: int, wanted: Callable[[Record], bool]
) -> list[Record]:
    """The last `count` records that are wanted, oldest first. Each partition is read back from its end as far as it
    must be; no more than `count` are held."""
    kept: list[tuple[int, Partition, int, Record]] = []
    found: Counter[Partition] = Counter()
    left, step = dict(spans) if count else {}, max(2 * count, _FIRST_STEP)
    while left:
        tails = {at: (max(start, end - step), end) for at, (start, end) in left.items()}
        for record in merged(consumer, tails):
            if wanted(record):
                at = record.topic(), record.partition()
                found[at] += 1
                heapq.heappush(kept, (record.timestamp()[1], at, record.offset(), record))
                if len(kept) > count:
                    heapq.heappop(kept)
        left = {
            at: (start, tails[at][0]) for at, (start, _) in left.items() if found[at] < count and start < tails[at][0]
        }
        step *= 4
    return [record for *_, record in sorted(kept)]


def _take(consumer: Consumer, message: Message, stretches: Mapping[Partition, _Stretch]) -> None:
    record, error = cast(Record, message), message.error()
    if error is not None:
        if error.code() == KafkaError._PARTITION_EOF:
            stretch = stretches[record.topic(), record.partition()]
            stretch.next_offset = max(stretch.next_offset, record.offset())
            stretch.end = min(stretch.end, stretch.next_offset)
        else:
            pass_over(error)
        return
    at = record.topic(), record.partition()
    stretch = stretches[at]
    if record.offset() < stretch.next_offset:  # what was fetched before a pause may come again
        return
    stretch.next_offset = record.offset() + 1
    if record.offset() < stretch.end:
        stretch.held.append(record)
        stretch.held_bytes += _size_bytes(record)
    if not stretch.is_paused and (stretch.is_read or stretch.is_full):
        consumer.pause([TopicPartition(*at)])
        stretch.is_paused = True


def _give(consumer: Consumer, at: Partition, stretch: _Stretch) -> Record:
    record = stretch.held.popleft()
    stretch.held_bytes -= _size_bytes(record)
    if stretch.is_paused and not stretch.is_read and not stretch.held:
        consumer.resume([TopicPartition(*at)])
        stretch.is_paused = False
    return record


def _size_bytes(record: Record) -> int:
    return len(record.key() or b"") + len(record.value() or b"")
