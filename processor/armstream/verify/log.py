"""What stands in Kafka, read committed and never written: the one module of verify that knows it.

Law: what is read first can be older than what is read last, never the other way round: the newest task snapshot
before anything else, then where the outputs are decided, the positions, the group's offsets, and the newest task
snapshot again, which is where the task stands. So a processor may go on meanwhile. Every wait is bounded.

A task's state stands on `snapshots`, or still where versions before kept it: there where none was moved, or
where an older processor moved on since. What these published there is read in any case, as long as it is kept.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from armstream.access import REFUSALS, NoAccess, Right, require, verify_rights, why_refused
from armstream.codec import DecodeError, decode
from armstream.events import Source, TaskSnapshot
from armstream.keys import TASK_KEY, is_bandits, is_positions
from armstream.runtime.intake import Record
from armstream.settings import Settings, StateTopics
from armstream.verify.published import PartitionLog, first_settings, why_not
from armstream.verify.states import Unverifiable
from armstream.waiting import Say, waiting
from armstream.watermarks import watermarks

_REQUEST_SECONDS = 10.0
_POLL_SECONDS = 0.1
_READ_RECORDS = 2_000

Offsets = dict[str, int]
Moved = Callable[[int], None]


@dataclass(slots=True)
class _Scan:
    """The snapshots of one task up to the newest task snapshot: the last of each bandit, and what comes after it."""

    task: TaskSnapshot | None = None
    end: int = 0  # behind the newest task snapshot
    bandits: dict[bytes, bytes] = field(default_factory=dict)
    open: dict[bytes, bytes | None] = field(default_factory=dict)  # None: the bandit is forgotten

    @property
    def next_offset(self) -> Offsets:
        return {} if self.task is None else dict(self.task.next_offset)

    def take(self, source: Source) -> None:
        if source.key != TASK_KEY:
            if is_bandits(source.key or b""):  # positions are read apart, and a claim says nothing of a state
                self.open[source.key or b""] = source.value
            return
        if source.value is None:  # its state is moved here once more
            self.task = None
            return
        try:
            task = decode(source.value)
        except DecodeError as error:
            raise Unverifiable(f"{source.topic}:{source.partition}:{source.offset}: {why_not(error)}") from error
        if not isinstance(task, TaskSnapshot):
            raise Unverifiable(f"{source.topic}:{source.partition}:{source.offset}: a {type(task).__name__}, no task's")
        self.task, self.end = task, source.offset + 1
        for key, value in self.open.items():
            if value is None:
                self.bandits.pop(key, None)
            else:
                self.bandits[key] = value
        self.open = {}


class Cluster:
    """Reads the topics of some settings, a partition at a time. A context manager.

    `moved` is told how many offsets were read, `say` of a wait for Kafka.
    """

    def __init__(self, settings: Settings, moved: Moved, say: Say) -> None:
        self._settings = settings
        self._names = settings.topics.names
        self._moved = moved
        self._say = say
        self._patience_seconds = settings.kafka.longest_transaction_seconds
        self._consumers: dict[str, Consumer] = {}
        self._has_before: tuple[str, ...] = ()  # which topics of versions before there are
        self.partition_count = 0
        self.topic_ids: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        """Raises Unverifiable: topics are missing or differ, the group has no offsets; NoAccess."""
        require(self._settings, verify_rights(self._settings), self._say)
        try:
            with waiting(self._kafka, _REQUEST_SECONDS, self._say):
                self.partition_count = self._checked_partition_count()
                self.topic_ids = self._ask_topic_ids()
            numbers = range(self.partition_count)
            if not any(self._committed(number) for number in numbers):
                group, inputs = self._settings.kafka.group_id, ", ".join(self._names.inputs)
                raise Unverifiable(f"group {group!r} has no offsets in {inputs}: there is nothing to verify")
        except BaseException as error:
            self.__exit__(None, error, None)
            raise
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._close()
        if isinstance(error, KafkaException):
            raise self._failed(error) from error

    def _refuse(self, error: KafkaError) -> None:
        """Raises NoAccess where a right lacks: to ask again is in vain."""
        if error.code() in REFUSALS:
            rights = [*verify_rights(self._settings), *(Right("Read", "topic", name) for name in self._has_before)]
            raise NoAccess(why_refused(self._settings, error, rights, self._say))

    def _failed(self, failure: KafkaException) -> Unverifiable:
        self._refuse(failure.args[0])
        return Unverifiable(f"{self._kafka}: {self._settings.kafka.masked(failure.args[0].str())}")

    @property
    def _kafka(self) -> str:
        return f"Kafka at {self._settings.kafka.bootstrap_servers}"

    def _close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()

    def record_count(self) -> int:
        """About how many offsets will be read in all; snapshots several times."""
        more = (self._names.snapshots,) * 2  # for what is newest of bandits, for positions, and to be checked
        names = (*self._names.all, *more, self._names.rewards, *self._has_before)
        spans = (self._span(name, number) for name in names for number in range(self.partition_count))
        return sum(high - low for low, high in spans)

    def ends(self) -> dict[int, int]:
        """Where the snapshots of each task end: whether one has moved."""
        places = (self._names.snapshots, *self._has_before)
        numbers = range(self.partition_count)
        return {number: sum(self._span(name, number)[1] for name in places) for number in numbers}

    def read(self, number: int, begins: Mapping[str, int]) -> PartitionLog:
        """One partition, from `begins` or its first record to where its task stands. Raises Unverifiable."""
        names, scans = self._names, {name: _Scan() for name in self._scanned}
        if self._ask_topic_ids() != self.topic_ids:
            raise Unverifiable(
                "a topic was deleted and made anew meanwhile: what was read is of two topics; run it again"
            )
        reached = {}
        for name, scan in scans.items():
            at, reached[name] = self._span(name, number)
            self._scan(scan, name, number, at, reached[name])
        state, scan = self._standing(scans)
        settled = scan.next_offset
        outputs = (names.rewards, names.dead_letters, names.weights)
        ends = {name: self._stable_end(name, number) for name in outputs}
        positions = self._positions(state.position_snapshots, number)
        committed = self._committed(number)
        for name, scan in scans.items():
            self._scan(scan, name, number, reached[name], self._span(name, number)[1])
        state, scan = self._standing(scans)
        spans = {name: self._span(name, number) for name in (*names.all, *scans)}
        for name, offset in scan.next_offset.items():
            if offset > spans.get(name, (0, offset))[1]:
                made = f"{name}:{number} ends at {spans[name][1]}, and the task stands at {offset}"
                raise Unverifiable(f"{made}: the topic was made anew, or its end was lost")

        def begin(name: str) -> int:
            return max(begins.get(name, 0), spans[name][0])

        def records(name: str, last: int) -> Iterator[Source]:
            return map(_source, self._records(name, number, begin(name), last))

        def inputs(name: str) -> Iterator[Record]:
            return cast(Iterator[Record], self._records(name, number, begin(name), scan.next_offset.get(name, 0)))

        return PartitionLog(
            number=number,
            partition_count=self.partition_count,
            topics=names,
            state=state,
            group=self._settings.kafka.group_id,
            topic_ids=self.topic_ids,
            newest=scan.task,
            first={name: spans[name][0] for name in (*names.inputs, names.rewards, names.dead_letters)},
            begins=begins,
            settled=settled,
            committed=committed,
            stands_at=scan.next_offset,
            ends={**ends, **{name: scan.end for name, scan in scans.items()}},
            inputs={name: inputs(name) for name in names.inputs},
            rewards=records(names.rewards, spans[names.rewards][1]),
            dead_letters=records(names.dead_letters, spans[names.dead_letters][1]),
            weights=records(names.weights, spans[names.weights][1]),
            snapshots=[records(name, scan.end) for name, scan in scans.items()],
            positions=positions,
            bandits=scan.bandits,
            first_settings=first_settings(scan.bandits, records(names.rewards, spans[names.rewards][1])),
        )

    # The parts of a partition.

    @property
    def _scanned(self) -> list[str]:
        """Where tasks' own snapshots may stand, and bandits'; those of before come first."""
        before = self._names.bandit_snapshots
        return [*([before] if before in self._has_before else []), self._names.snapshots]

    def _standing(self, scans: Mapping[str, _Scan]) -> tuple[StateTopics, _Scan]:
        """Where the state stands, and what was read there."""
        names, now = self._names, scans[self._names.snapshots]
        before = scans.get(names.bandit_snapshots)
        if before is None or before.task is None:
            return names.state, now
        if now.task is not None and not before.task.is_ahead_of(now.task):
            return names.state, now
        return names.state_before, before

    def _scan(self, scan: _Scan, name: str, number: int, start: int, end: int) -> None:
        for message in self._records(name, number, start, end):
            scan.take(_source(message))

    def _positions(self, name: str, number: int) -> dict[bytes, bytes]:
        positions: dict[bytes, bytes] = {}
        for source in map(_source, self._records(name, number, *self._span(name, number))):
            if not is_positions(source.key or b""):
                continue
            if source.value is None:
                positions.pop(source.key or b"", None)
            else:
                positions[source.key or b""] = source.value
        return positions

    # Kafka.

    def _consumer(self, use: str, isolation: str = "read_committed") -> Consumer:
        """One for each topic, so that topics are read side by side."""
        if use not in self._consumers:
            self._consumers[use] = Consumer(
                {
                    "log_level": 0,  # what ends the command is told, once, and nothing beside it
                    "queued.max.messages.kbytes": 16_384,
                    "fetch.wait.max.ms": 20,
                    "fetch.queue.backoff.ms": 5,
                    **self._settings.kafka.connection(),
                    "group.id": self._settings.kafka.group_id,  # it asks for this group's offsets, and never joins it
                    "isolation.level": isolation,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "error",
                    "allow.auto.create.topics": False,
                }
            )
        return self._consumers[use]

    def _records(self, name: str, number: int, start: int, end: int) -> Iterator[Message]:
        """What is committed from `start` up to `end`; one reading of a topic ends the one before."""
        if start >= end:
            return
        consumer, at, moved_at = self._consumer(name), start, time.monotonic()
        consumer.assign([TopicPartition(name, number, start)])
        while at < end:
            before = at
            for message in _some(consumer):
                is_record, next_offset = _is_record(message), message.offset() or 0
                if message.partition() != number or next_offset < at:
                    continue
                at = next_offset + is_record
                if is_record and next_offset < end:
                    yield message
            if at > before:
                self._moved(at - before)
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > self._patience_seconds:
                raise Unverifiable(
                    f"{name}:{number} at offset {at} of {end}: no progress for {self._patience_seconds:.0f} s; a "
                    f"transaction is open there, `kafka-transactions.sh find-hanging` names it"
                )

    def _span(self, name: str, number: int) -> tuple[int, int]:
        """(first offset, end), open transactions included."""
        return self._watermarks("ends", "read_uncommitted", name, number)

    def _stable_end(self, name: str, number: int) -> int:
        """The offset below which every transaction has ended."""
        return self._watermarks("stable ends", "read_committed", name, number)[1]

    def _watermarks(self, use: str, isolation: str, name: str, number: int) -> tuple[int, int]:
        consumer = self._consumer(use, isolation)
        found = watermarks(consumer, name, number, _REQUEST_SECONDS)
        if found is None:
            raise Unverifiable(f"{name}:{number}: no broker told its offsets in {_REQUEST_SECONDS:.0f} s")
        return found

    def _committed(self, number: int) -> Offsets:
        """The group's offsets in one partition of each input; waits while a transaction holds them."""
        wanted = [TopicPartition(name, number) for name in self._names.inputs]
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                found = self._consumer("ends", "read_uncommitted").committed(wanted, _REQUEST_SECONDS)
                failed = next((one.error for one in found if one.error), None)
            except KafkaException as failure:
                found, failed = [], failure.args[0]
            if failed is None:
                return {one.topic: one.offset for one in found if one.offset >= 0}
            self._refuse(failed)
            if time.monotonic() >= deadline:
                require(self._settings, verify_rights(self._settings), self._say)  # a client is not told of it
                raise Unverifiable(f"the group's offsets of partition {number}: {failed.str()}")
            time.sleep(_POLL_SECONDS)

    def _ask_topic_ids(self) -> dict[str, str]:
        """By name. Raises KafkaException."""
        admin = AdminClient({"log_level": 0, **self._settings.kafka.connection()})
        asked = admin.describe_topics(TopicCollection(list(self._names.all)), request_timeout=_REQUEST_SECONDS)
        as_kafkas_tools = str.maketrans("+/", "-_")
        return {name: str(future.result().topic_id).translate(as_kafkas_tools) for name, future in asked.items()}

    def _checked_partition_count(self) -> int:
        consumer = self._consumer("ends", "read_uncommitted")
        found = consumer.list_topics(timeout=_REQUEST_SECONDS).topics
        missing = [name for name in self._names.all if name not in found]
        if missing:
            raise Unverifiable(f"no such topics: {', '.join(missing)}; `armstream topics check` says more")
        self._has_before = tuple(name for name in self._names.state_before if name in found)
        counts = {name: len(found[name].partitions) for name in (*self._names.all, *self._has_before)}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise Unverifiable(f"topics differ in their number of partitions: {listed}")
        return counts[self._names.inputs[0]]


def _some(consumer: Consumer) -> list[Message]:
    """What is there, or what comes first within _POLL_SECONDS: consume alone would wait the whole of it."""
    first = consumer.poll(_POLL_SECONDS)
    return [] if first is None else [first, *consumer.consume(_READ_RECORDS, 0)]


def _is_record(message: Message) -> bool:
    """Whether it is one, and not the end of the partition. Raises KafkaException for any other error."""
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return error is None


def _source(message: Message) -> Source:
    """An output's record; nobody asks for its headers."""
    topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
    return Source(topic, partition, offset, message.key(), message.value())
