"""Topics read to their ends, committed records alone. Law: it belongs to no group, and moves no offset; a record that
cannot be read is named by its place."""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

import armstream
from armstream.codec import DecodeError, Event, decode
from armstream.keys import TASK_KEY, is_bandits
from armstream.runtime.failures import Stopped
from armstream.runtime.intake import Record
from armstream.settings import Settings, Topics
from armstream.watermarks import told_watermarks

REQUEST_SECONDS = 10.0
LEADER_SECONDS = 60.0  # a broker on a busy machine takes that long to lead what was just made

_POLL_SECONDS = 0.2
_NO_TOPIC = (KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)
_NO_LEADER_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)

UPGRADE: Final = f"upgrade armstream, {armstream.__version__}, where the processors have a newer one"

E = TypeVar("E", bound=Event)


class Unreadable(ValueError):
    """A record that this version cannot read; the text names its place, and says why."""


def place_of(record: Record) -> str:
    """TOPIC:PARTITION:OFFSET."""
    return f"{record.topic()}:{record.partition()}:{record.offset()}"


def read_as(record: Record, kind: type[E]) -> E:
    """Raises Unreadable."""
    try:
        event = decode(record.value())
    except DecodeError as error:
        raise Unreadable(f"{place_of(record)}: {error}") from error
    if not isinstance(event, kind):
        raise Unreadable(f"{place_of(record)}: a {type(event).__name__}, no {kind.__name__}")
    return event


@contextmanager
def reader(
    settings: Settings, isolation: str = "read_committed", more: Mapping[str, Any] | None = None
) -> Iterator[Consumer]:
    """A consumer; what a broker answers with an error is raised as Stopped. A read_uncommitted one knows the true ends:
    that of a read_committed one is where a transaction is open. `more` are settings of its own."""
    consumer = Consumer(
        {
            "fetch.wait.max.ms": 50,
            "log_level": 0,  # an error comes as an exception; librdkafka's own lines would bury it
            **settings.kafka.connection(),
            "group.id": settings.kafka.group_id,  # it never joins the group
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            **(more or {}),
        }
    )
    try:
        yield consumer
    except KafkaException as failure:
        reason = settings.kafka.masked(failure.args[0].str())
        raise Stopped(f"Kafka at {settings.kafka.bootstrap_servers}: {reason}") from failure
    finally:
        consumer.close()


def watermarks(consumer: Consumer, topic: str, number: int) -> tuple[int, int]:
    """The first offset and the one after the last. Waits for a leader where the partition was just made.

    Raises Stopped where there is no such topic, and where no broker leads it in LEADER_SECONDS.
    """
    deadline = time.monotonic() + LEADER_SECONDS
    while True:
        try:
            return told_watermarks(consumer, topic, number, REQUEST_SECONDS)
        except KafkaException as failure:
            if failure.args[0].code() in _NO_TOPIC:
                raise Stopped(f"there is no topic {topic}: `armstream topics create`") from failure
            if failure.args[0].code() not in _NO_LEADER_YET:
                raise
            if time.monotonic() >= deadline:
                raise Stopped(
                    f"{topic}:{number}: no broker leads it after {LEADER_SECONDS:.0f} s; try again when the brokers "
                    "have come up"
                ) from failure
            time.sleep(_POLL_SECONDS)


def latest(consumer: Consumer, topic: str, numbers: Collection[int]) -> dict[bytes, Record]:
    """The last record of each key but the tasks' own, in partitions read to their ends."""
    return _bandits(_latest(consumer, topic, numbers))


def latest_snapshots(consumer: Consumer, names: Topics, numbers: Collection[int]) -> dict[bytes, Record]:
    """The bandits' last snapshots. They stand where their task's own does: on `snapshots`, or still where versions
    before kept them."""
    found, left = _latest(consumer, names.snapshots, numbers), set(numbers)
    left -= {number for number, key in found if key == TASK_KEY}
    if left and names.bandit_snapshots in consumer.list_topics(timeout=REQUEST_SECONDS).topics:
        moved = {at: record for at, record in found.items() if at[0] not in left}
        found = moved | _latest(consumer, names.bandit_snapshots, left)
    return _bandits(found)


def _bandits(found: Mapping[tuple[int, bytes], Record]) -> dict[bytes, Record]:
    return {key: record for (_, key), record in found.items() if is_bandits(key)}


def _latest(consumer: Consumer, topic: str, numbers: Collection[int]) -> dict[tuple[int, bytes], Record]:
    """The last record of each bandit's and each task's key, by partition and key."""
    waiting = set()
    for number in numbers:
        low, high = watermarks(consumer, topic, number)
        if high > low:
            waiting.add(number)
    found: dict[tuple[int, bytes], Record] = {}
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in waiting])
    deadline = time.monotonic() + REQUEST_SECONDS
    while waiting:
        for message in consumer.consume(1_000, _POLL_SECONDS):
            error, record = message.error(), cast(Record, message)
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                waiting.discard(record.partition())
            elif error is not None:
                pass_over(error)
            else:
                deadline = time.monotonic() + REQUEST_SECONDS
                _keep(record, found)
        if time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"the end of {topic} was not reached"))
    consumer.unassign()
    return found


def _keep(record: Record, found: dict[tuple[int, bytes], Record]) -> None:
    key = record.key()
    if key is None or not (is_bandits(key) or key == TASK_KEY):
        return
    if record.value() is None:
        found.pop((record.partition(), key), None)
    else:
        found[record.partition(), key] = record


def records(consumer: Consumer) -> Iterator[Record]:
    for message in consumer.consume(1_000, _POLL_SECONDS):
        error = message.error()
        if error is None:
            yield cast(Record, message)
        else:
            pass_over(error)


def pass_over(error: KafkaError) -> None:
    """The end of a partition, and what the group would say, which is not joined. Raises KafkaException for the rest."""
    if error.code() not in (KafkaError._PARTITION_EOF, KafkaError.GROUP_AUTHORIZATION_FAILED):
        raise KafkaException(error)
