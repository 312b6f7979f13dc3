"""What stands in Kafka: whole topics, read committed to their ends, and the offsets of a group."""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from armstream.codec import Event, decode
from armstream.runtime import intake

_KNOWN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it stands in its topic; `message` is what the program's intake takes."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    message: intake.Record

    @property
    def event(self) -> Event:
        """Raises DecodeError."""
        return decode(self.value)


class Log:
    """A reader of topics that belongs to no group's members. `group_id` is the group whose offsets it is asked for."""

    def __init__(self, bootstrap_servers: str, group_id: str) -> None:
        settings = {
            "bootstrap.servers": bootstrap_servers, "group.id": group_id, "enable.auto.commit": False,
            "enable.partition.eof": True, "auto.offset.reset": "error", "fetch.queue.backoff.ms": 5,
            "fetch.wait.max.ms": 20, "allow.auto.create.topics": False,
        }  # fmt: skip
        self._consumer = Consumer({**settings, "isolation.level": "read_committed"})
        # The end that a read_committed one is told is where a transaction is open, or not marked as committed yet.
        self._ends_consumer = Consumer({**settings, "isolation.level": "read_uncommitted"})

    def close(self) -> None:
        self._consumer.close()
        self._ends_consumer.close()

    def partition_count(self, topic: str) -> int:
        """Waits for a broker that knows the topic: of one without partitions all would seem to be read."""
        deadline = time.monotonic() + _KNOWN_SECONDS
        while True:
            found = self._consumer.list_topics(topic, timeout=_KNOWN_SECONDS).topics[topic]
            if found.error is None and found.partitions:
                return len(found.partitions)
            assert time.monotonic() < deadline, f"{topic} is not known within {_KNOWN_SECONDS:.0f} s: {found.error}"
            time.sleep(0.05)

    def has(self, topic: str) -> bool:
        return topic in self._consumer.list_topics(timeout=_KNOWN_SECONDS).topics

    def ends(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """The offset after the last record of each partition, whether committed or not."""
        return {
            (topic, partition): self._ends_consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[
                1
            ]
            for topic in topics
            for partition in range(self.partition_count(topic))
        }

    def committed(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """The group's next offset of each partition; 0 where it has none. Waits while a transaction holds them."""
        wanted = [TopicPartition(topic, number) for topic in topics for number in range(self.partition_count(topic))]
        deadline = time.monotonic() + 90
        while True:
            try:
                found = self._consumer.committed(wanted, timeout=10)
            except KafkaException:
                found = []
            if found and all(one.error is None for one in found):
                return {(one.topic, one.partition): max(one.offset, 0) for one in found}
            assert time.monotonic() < deadline, f"no stable offsets within 90 s: {found}"
            time.sleep(0.05)

    def read(self, topic: str, seconds: float = 90.0) -> list[Record]:
        """Every committed record, by partition and offset. Fails where it does not reach the ends in time."""
        ends = {partition: end for (_, partition), end in self.ends([topic]).items() if end > 0}
        deadline = time.monotonic() + seconds
        found: list[Record] = []
        self._consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
        left = set(ends)
        while left:
            assert time.monotonic() < deadline, f"{topic}: the ends of {sorted(left)} were not reached in {seconds} s"
            for message in self._consumer.consume(10_000, 0.1):
                partition, offset, error = message.partition() or 0, message.offset() or 0, message.error()
                if error is None:
                    whole = cast(intake.Record, message)
                    found.append(Record(topic, partition, offset, message.key(), message.value(), whole))
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if offset + (error is None) >= ends[partition]:
                    left.discard(partition)
        self._consumer.unassign()
        return sorted(found, key=lambda record: (record.partition, record.offset))


def latest(records: Iterable[Record]) -> dict[int, dict[bytes, bytes]]:
    """The last value of each key, by partition; a tombstone ends its key."""
    found: defaultdict[int, dict[bytes, bytes]] = defaultdict(dict)
    for record in records:
        assert record.key is not None
        if record.value is None:
            found[record.partition].pop(record.key, None)
        else:
            found[record.partition][record.key] = record.value
    return dict(found)
