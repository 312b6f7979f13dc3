"""One bandit's partition of the topics as Kafka has it: the one module of explain that knows Kafka.

Law: committed records alone, of no group, and no offset is moved. What a transaction that is open may still publish is
not waited for. Every wait is bounded.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from armstream.explain.backwards import Kept
from armstream.explain.facts import TooLong
from armstream.operating.reader import REQUEST_SECONDS, watermarks
from armstream.settings import Settings
from armstream.waiting import Say

_FIRST_OFFSETS, _MOST_OFFSETS = 2_000, 256_000  # of a chunk
_POLL_SECONDS = 0.1
_READ_RECORDS = 10_000
_SAY_SECONDS = 3.0  # until a line says how far it is, and between two of them


class PartitionTopics:
    """Partition `number` of every topic, read by one consumer. `patience_seconds` are for all of it."""

    def __init__(
        self,
        settings: Settings,
        bandit_id: str,
        number: int,
        consumer: Consumer,
        say: Say,
        patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.names = settings.topics.names
        self.number = number
        self._key = bandit_id.encode()
        self._consumer = consumer
        self._say = say
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._started = clock()
        self._said = self._started
        self._records = 0

    def backwards(self, topic: str, end: int | None = None) -> Iterator[Sequence[Kept]]:
        """See Chunks. Raises TooLong, and KafkaException."""
        first, last = watermarks(self._consumer, topic, self.number)
        end, size, ranks = last if end is None else min(end, last), _FIRST_OFFSETS, 0
        while end > first:
            start = max(first, end - size)
            chunk, count = self._read(topic, start, end)
            ranks -= count
            yield [kept._replace(rank=ranks + kept.rank) for kept in chunk]
            end, size = start, min(_MOST_OFFSETS, 4 * size)

    def snapshots_backwards(self) -> Iterator[Sequence[Kept]]:
        """See Chunks. Raises TooLong, and KafkaException."""
        yield from self.backwards(self.names.snapshots)
        if self.names.bandit_snapshots in self._consumer.list_topics(timeout=REQUEST_SECONDS).topics:
            yield from self.backwards(self.names.bandit_snapshots)

    def _read(self, topic: str, start: int, end: int) -> tuple[list[Kept], int]:
        """The bandit's records from `start` up to `end`, and how many there were of all."""
        self._consumer.assign([TopicPartition(topic, self.number, start)])
        chunk: list[Kept] = []
        count, at, moved_at = 0, start, self._clock()
        while at < end:
            before = at
            for message in self._some():
                offset = _place(message, topic, self.number)
                if offset is None:
                    continue
                at = max(at, offset + (message.error() is None))
                if message.error() is None and start <= offset < end:
                    if message.key() == self._key:
                        chunk.append(Kept(topic, offset, count, message.timestamp()[1] * 1_000, message.value()))
                    count += 1
            self._records += at - before
            self.require_patience(f"{topic}:{self.number}")
            if at > before:
                moved_at = self._clock()
            elif self._clock() - moved_at > REQUEST_SECONDS:
                raise KafkaException(
                    KafkaError(KafkaError._TIMED_OUT, f"{topic}:{self.number} was not read on from offset {at}")
                )
        self._consumer.unassign()
        return chunk, count

    def _some(self) -> list[Message]:
        """What is there, or what comes first within _POLL_SECONDS."""
        first = self._consumer.poll(_POLL_SECONDS)
        return [] if first is None else [first, *self._consumer.consume(_READ_RECORDS, 0)]

    def require_patience(self, where: str = "the audit records, by the formulas") -> None:
        now = self._clock()
        if now - self._started > self._patience_seconds:
            raise TooLong(f"not done in {self._patience_seconds:g} s: {self._records:,} offsets were read")
        if now - self._said > _SAY_SECONDS:
            self._said = now
            self._say(f"explain: {self._records:,} offsets read, now {where}, {now - self._started:.0f} s so far")


def _place(message: Message, topic: str, number: int) -> int | None:
    """The offset of a record, or of the end of the partition; None of what was asked for before. Raises
    KafkaException."""
    error = message.error()
    if error is not None and error.code() not in (KafkaError._PARTITION_EOF, KafkaError.GROUP_AUTHORIZATION_FAILED):
        raise KafkaException(error)
    if error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
        return None  # of a group that is not joined
    is_ours = message.topic() == topic and message.partition() == number
    return message.offset() if is_ours else None
