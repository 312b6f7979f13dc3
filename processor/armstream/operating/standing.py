"""Where the tasks of a group stand, as Kafka has it. Law: what an open transaction may still change is waited for."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from armstream.codec import decode
from armstream.events import TaskSnapshot
from armstream.keys import TASK_KEY
from armstream.operating.group import stable_offsets
from armstream.operating.reader import REQUEST_SECONDS, reader, watermarks
from armstream.runtime.failures import Stopped
from armstream.runtime.intake import Record
from armstream.settings import Settings
from armstream.waiting import Say, waiting

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Standing:
    """One task as Kafka has it: its snapshot, its group's offsets, and (first offset, end) of each input."""

    task: int
    snapshot: TaskSnapshot | None
    committed: Mapping[str, int]
    marks: Mapping[str, tuple[int, int]]
    has_published: bool = False


def standings(settings: Settings, count: int, say: Say) -> list[Standing]:
    """Each task's. Raises Stopped where Kafka does not answer, or a transaction stays open."""
    names, numbers = settings.topics.names, range(count)
    patience_seconds = settings.kafka.longest_transaction_seconds
    with reader(settings, "read_uncommitted") as ends, reader(settings) as consumer:
        marks = {(name, number): watermarks(ends, name, number) for name in names.inputs for number in numbers}
        snapshot_ends = {number: watermarks(ends, names.bandit_snapshots, number) for number in numbers}
        with waiting(names.bandit_snapshots, patience_seconds, say):
            snapshots = _task_snapshots(consumer, names.bandit_snapshots, snapshot_ends, patience_seconds)
        committed = stable_offsets(settings, consumer, marks, say)
        lacking = [number for number in numbers if number not in snapshots]
        published = {number for number in lacking if _holds_records(consumer, names.rewards, number)}
    return [
        Standing(
            number,
            snapshots.get(number),
            {name: committed[name, number] for name in names.inputs if (name, number) in committed},
            {name: marks[name, number] for name in names.inputs},
            number in published,
        )
        for number in numbers
    ]


def _task_snapshots(
    consumer: Consumer, topic: str, ends: Mapping[int, tuple[int, int]], patience: float
) -> dict[int, TaskSnapshot]:
    """The last one of each partition, committed. Raises Stopped where a transaction stays open before an end."""
    left = {number: high for number, (low, high) in ends.items() if high > low}
    found: dict[int, TaskSnapshot] = {}
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in left])
    started = time.monotonic()
    while left:
        for message in consumer.consume(1_000, _POLL_SECONDS):
            error, record = message.error(), cast(Record, message)
            reached, number = record.offset(), record.partition()
            if error is None:
                started, reached = time.monotonic(), reached + 1
                if record.key() == TASK_KEY and record.value() is not None:
                    found[number] = _decoded(record)
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            if reached >= left.get(number, 0):
                left.pop(number, None)
        if left and time.monotonic() - started > patience:
            number = min(left)
            raise Stopped(
                f"{topic}:{number}: the end, {left[number]}, was not reached for {patience:.0f} s: a transaction is "
                f"open there; `kafka-transactions.sh find-hanging --topic {topic} --partition {number}` names it"
            )
    consumer.unassign()
    return found


def _decoded(record: Record) -> TaskSnapshot:
    snapshot = decode(record.value())
    if not isinstance(snapshot, TaskSnapshot):
        at = f"{record.topic()}:{record.partition()}:{record.offset()}"
        raise Stopped(f"{at}: the task's own key holds a {type(snapshot).__name__}")
    return snapshot


def _holds_records(consumer: Consumer, topic: str, number: int) -> bool:
    """Whether a committed record is there: the marks of transactions are none."""
    low, high = watermarks(consumer, topic, number)
    if high == low:
        return False
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING)])
    deadline = time.monotonic() + REQUEST_SECONDS
    while time.monotonic() < deadline:
        message = consumer.poll(_POLL_SECONDS)
        error = None if message is None else message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        if message is not None:
            consumer.unassign()
            return error is None
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"the end of {topic}:{number} was not reached"))
