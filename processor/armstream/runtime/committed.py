"""What stands committed in a partition, read up to an end. Law: marks of transactions are no records, and what an open
transaction may still commit before that end is waited for.

The consumer is a read_committed one of the caller's, with enable.partition.eof, which belongs to no group, and which
begins at the first offset that there is where the one that it was given is gone.
"""

import time
from collections.abc import Mapping
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from armstream.codec import DecodeError
from armstream.events import TaskSnapshot
from armstream.keys import TASK_KEY
from armstream.runtime.failures import Stopped
from armstream.runtime.intake import Record
from armstream.runtime.snapshots import decoded, unreadable, writer_of

_POLL_SECONDS = 0.2

Marks = tuple[int, int]  # the first offset of a partition, and the one after its last


class FirstRecord:
    """Whether a record stands in a partition: an aborted transaction leaves offsets, and no record."""

    def __init__(self, consumer: Consumer, topic: str, number: int, marks: Marks) -> None:
        self._consumer = consumer
        self.reached, self.end = marks
        if self.reached < self.end:
            consumer.assign([TopicPartition(topic, number, self.reached)])

    def is_there(self, wait_seconds: float) -> bool | None:
        """None as long as it is not known: ask again. Raises KafkaException."""
        if self.reached >= self.end:
            return False
        message = self._consumer.poll(wait_seconds)
        if message is not None:
            if message.error() is None:
                return True
            self.reached = end_of(message)
        return None


def last_task_snapshots(
    consumer: Consumer, topic: str, marks: Mapping[int, Marks], patience_seconds: float
) -> dict[int, TaskSnapshot]:
    """That of each partition which has one. Raises KafkaException, and Stopped where one cannot be read, or where no
    record has come for `patience_seconds`."""
    left = {number: end for number, (low, end) in marks.items() if end > low}
    newest: dict[int, Message] = {}
    consumer.assign([TopicPartition(topic, number, marks[number][0]) for number in left])
    moved_at = time.monotonic()
    while left:
        for message in consumer.consume(1_000, _POLL_SECONDS):
            record = cast(Record, message)
            if message.error() is None:
                moved_at, reached = time.monotonic(), record.offset() + 1
                if record.key() == TASK_KEY:
                    newest[record.partition()] = message
            else:
                reached = end_of(message)
            if reached >= left.get(record.partition(), 0):
                left.pop(record.partition(), None)
        if left and time.monotonic() - moved_at > patience_seconds:
            number = min(left)
            raise Stopped(
                f"{topic}:{number}: the end, {left[number]}, was not reached for {patience_seconds:.0f} s: "
                "a transaction is open there; "
                f"`kafka-transactions.sh find-hanging --topic {topic} --partition {number}` names it"
            )
    consumer.unassign()
    values = {number: message.value() for number, message in newest.items()}
    return {number: _task_snapshot(newest[number], value) for number, value in values.items() if value is not None}


def _task_snapshot(message: Message, value: bytes) -> TaskSnapshot:
    record = cast(Record, message)
    place = f"{record.topic()}:{record.partition()}:{record.offset()}"
    try:
        snapshot = decoded(value)
    except DecodeError as error:
        raise Stopped(unreadable(place, error, writer_of(message))) from error
    if not isinstance(snapshot, TaskSnapshot):
        raise Stopped(f"{place}: the task's own key holds a {type(snapshot).__name__}")
    return snapshot


def end_of(message: Message) -> int:
    """The offset of the end of a partition, which for a read_committed consumer is where it may read to. Raises
    KafkaException for another error."""
    error, record = message.error(), cast(Record, message)
    if error is None:
        raise KafkaException(KafkaError(KafkaError._FAIL, "a record where the end of a partition was expected"))
    if error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return record.offset()
