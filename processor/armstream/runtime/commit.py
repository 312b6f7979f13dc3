"""One transaction a batch: all of it is published, or none. A part of it goes out while the next one is made.

An error before the commit that asks for an abort is an abort. Every other error, and every error of the commit
itself, leaves the outcome unknown: the caller asks the broker, with a new producer under the same transactional id.

A transaction that was late, or during which a connection was lost, is its producer's last. librdkafka speaks the
protocol of before KIP-890: what it sent on the lost connection may reach the broker after its retry, and would end, or
move the offsets of, a later transaction of the same epoch. A new producer has a new epoch.

No call waits for long without the consumer being served: librdkafka heartbeats without a member id from when it has
found its session lost until the loss was served, and a group that knows the instance by another id fences it for that.
"""

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from armstream.access import REFUSALS
from armstream.runtime.failures import Stopped, stop_if_refused
from armstream.runtime.publication import Output, Publication
from armstream.waiting import waiting

log = logging.getLogger(__name__)

_CALL_SECONDS = 2.0
_CALL_DEADLINE_SECONDS = 30.0
_RENEW_DEADLINE_SECONDS = 90.0
_SLOW_END_SECONDS = 1.0
# How librdkafka's line about a lost connection ends where requests may have been on it.
_WAS_CONNECTED = re.compile(r"in state (UP|REAUTH)")
_LINES_ABOUT_CONNECTIONS = {"log_level": 6, "log.connection.close": True}
# librdkafka gives every broker up that it knows when it has lost the last connection, and begins anew ("rebootstrap").
# The group's coordinator that it remembers is then one that it gave up: a TxnOffsetCommit waits for a connection that
# nobody opens, and send_offsets_to_transaction never returns (its issues 5511 and 5456, open as of 2.16).
_BROKERS_ARE_KEPT = {"metadata.recovery.strategy": "none"}
_FENCES_ALLOWED, _FENCE_WINDOW_SECONDS = 3, 60.0
_GROUP_REFUSES = frozenset(
    {
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.UNKNOWN_MEMBER_ID,
    }
)
# What no later try changes: the records themselves, or how many bytes they are together.
_OF_A_RECORD = frozenset(
    {
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_RECORD,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError._QUEUE_FULL,
    }
)
# Past transactional.id.expiration.ms. Nothing of it is left to abort.
_FORGOTTEN = frozenset({KafkaError.INVALID_PRODUCER_ID_MAPPING, KafkaError.UNKNOWN_PRODUCER_ID})
_FENCED = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})

T = TypeVar("T")
Serve = Callable[[], None]  # lets the consumer learn what became of its membership


class Outcome(Enum):
    """How a transaction ended."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


def until_deadline(call: Callable[[], T], seconds: float, serve: Serve) -> T:
    """The same call again while its error is retriable and time is left, and `serve` between two.

    Raises KafkaException otherwise.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except KafkaException as failure:
            if not failure.args[0].retriable() or time.monotonic() >= deadline:
                raise
            serve()
            time.sleep(0.02)


class _Lines:
    """Takes the place of a producer's logger: passes lines on, and hears of a lost connection.

    An error callback is not told. Only the first line of its kind in 30 s is certain: so one is enough.
    """

    def __init__(self) -> None:
        self.connection_lost = False

    def log(self, level: int, template: str, facility: str, name: str, line: str) -> None:
        if facility == "FAIL" and _WAS_CONNECTED.search(line):
            self.connection_lost = True
        log.log(level, template, facility, name, line)


class Committer:
    """Owns the transactional producer. `configuration` is librdkafka's, with the transactional.id in it.

    Of the last commit, `error` is why it failed, "" where it did not. `group_refused` says that the group did not take
    its offsets: the consumer is about to learn that it was thrown out, which is no fault of the batch;
    `is_of_a_record`, that a record cannot be published, or all of them together. `not_allowed` is the refusal of a
    right that lacks, if any.
    """

    def __init__(self, configuration: Mapping[str, Any], serve: Serve) -> None:
        """Opens the producer; `serve` is called while it waits."""
        self._configuration = {**configuration, **_LINES_ABOUT_CONNECTIONS, **_BROKERS_ARE_KEPT}
        self._name: str = self._configuration["transactional.id"]
        self._fences: deque[float] = deque()
        self.error, self.group_refused, self.is_of_a_record = "", False, False
        self.not_allowed: KafkaError | None = None
        self._producer = self._open(serve)

    def commit(self, publications: Iterable[Publication], consumer: Consumer, serve: Serve) -> Outcome:
        """Publishes all parts with their input offsets in one transaction; serves the consumer while it waits.

        Each part is taken when those before it are on their way; after one that fails no more are taken.
        """
        producer, self.error, self.group_refused, self.is_of_a_record = self._producer, "", False, False
        self.not_allowed = None
        try:
            producer.begin_transaction()
            offsets, refusal = _publish(producer, publications)
            metadata = consumer.consumer_group_metadata()
            if not consumer.memberid() or _generation(metadata) < 0:
                self.error, self.group_refused = "not a member of the group at this moment", True
                log.warning("%s: the batch is aborted", self.error)
                return self._abort(serve)
            until_deadline(
                lambda: producer.send_offsets_to_transaction(offsets, metadata, _CALL_SECONDS),
                _CALL_DEADLINE_SECONDS,
                serve,
            )
            if refusal is not None:
                raise refusal
            _flush(producer, serve)  # so that what is timed below is the commit alone
        except KafkaException as failure:
            error = failure.args[0]
            self._note_error(error)
            if error.code() in _FORGOTTEN:
                log.warning("the broker has forgotten this producer, which was idle for long: a new one is opened")
            elif error.txn_requires_abort() or self.is_of_a_record:
                log.warning("transaction aborted: %s", error.str())
                return self._abort(serve)
            else:
                log.warning("transaction failed before its commit: %s", error.str())
            return Outcome.UNKNOWN
        return self._finish(serve)

    def _finish(self, serve: Serve) -> Outcome:
        started = time.monotonic()
        try:
            # What timed out goes on in the background: the next call waits for the same EndTxn.
            until_deadline(lambda: self._producer.commit_transaction(_CALL_SECONDS), _CALL_DEADLINE_SECONDS, serve)
        except KafkaException as failure:
            self._note_error(failure.args[0])
            log.warning("the commit's outcome is unknown: %s", failure.args[0].str())
            return Outcome.UNKNOWN
        self._renew_after_trouble(time.monotonic() - started, serve)
        return Outcome.COMMITTED

    def _abort(self, serve: Serve) -> Outcome:
        started = time.monotonic()
        try:
            until_deadline(lambda: self._producer.abort_transaction(_CALL_SECONDS), _CALL_DEADLINE_SECONDS, serve)
        except KafkaException as failure:
            self._note_error(failure.args[0])
            log.warning("the abort failed: %s", failure.args[0].str())
            return Outcome.UNKNOWN
        self._renew_after_trouble(time.monotonic() - started, serve)
        return Outcome.ABORTED

    def _renew_after_trouble(self, took_seconds: float, serve: Serve) -> None:
        self._producer.poll(0)  # hands over librdkafka's lines
        if took_seconds > _SLOW_END_SECONDS or self._lines.connection_lost:
            reason = "lost a connection" if self._lines.connection_lost else f"took {took_seconds:.1f} s to end"
            log.warning("a transaction %s: a new producer takes the place of its own", reason)
            self.renew(serve)

    def renew(self, serve: Serve) -> None:
        """A new producer with the same transactional id, which settles whatever the old one left open."""
        self.close()
        self._producer = self._open(serve)

    def close(self) -> None:
        """Aborts an open transaction."""
        try:
            self._producer.close()
        except KafkaException as failure:
            # A fenced producer cannot say goodbye; its successor settles what it left.
            log.warning("closing the producer: %s", failure.args[0].str())

    def _open(self, serve: Serve) -> Producer:
        self._lines = _Lines()
        producer = Producer(self._configuration, logger=self._lines)
        try:
            with waiting(f"Kafka to open transactional id {self._name!r}", _RENEW_DEADLINE_SECONDS, log.warning):
                until_deadline(lambda: producer.init_transactions(_CALL_SECONDS), _RENEW_DEADLINE_SECONDS, serve)
        except KafkaException as failure:
            stop_if_refused(failure.args[0])
            raise Stopped(
                f"transactional id {self._name!r} could not be opened within {_RENEW_DEADLINE_SECONDS:.0f} s: "
                f"{failure.args[0].str()}"
            ) from failure
        return producer

    def _note_error(self, error: KafkaError) -> None:
        """Raises Stopped where one fence follows the other."""
        self._note_fence(error)
        self.error = error.str()
        self.group_refused = error.code() in _GROUP_REFUSES
        self.is_of_a_record = error.code() in _OF_A_RECORD
        if error.code() in REFUSALS:
            self.not_allowed = error

    def _note_fence(self, error: KafkaError) -> None:
        if error.code() not in _FENCED:
            return
        now = time.monotonic()
        self._fences.append(now)
        while self._fences[0] < now - _FENCE_WINDOW_SECONDS:
            self._fences.popleft()
        if len(self._fences) >= _FENCES_ALLOWED:
            raise Stopped(
                f"fenced {len(self._fences)} times within a minute: another process uses the name of {self._name!r}; "
                "give each process an instance name of its own (--instance)"
            )


def _flush(producer: Producer, serve: Serve) -> None:
    """What is not delivered within the deadline, the commit waits for."""
    deadline = time.monotonic() + _CALL_DEADLINE_SECONDS
    while producer.flush(_CALL_SECONDS) and time.monotonic() < deadline:
        serve()


def _publish(
    producer: Producer, publications: Iterable[Publication]
) -> tuple[list[TopicPartition], KafkaException | None]:
    """Queues all records of all parts, and gives their offsets. Raises as _produce does.

    Where the transaction has failed meanwhile, for a record of an earlier part, the producer refuses all further ones
    and does not say why: that is given too, and the next call, with the offsets, says why.
    """
    offsets: list[TopicPartition] = []
    for publication in publications:
        try:
            _produce(producer, publication)
        except KafkaException as failure:
            if failure.args[0].code() != KafkaError._STATE:
                raise
            return offsets, failure
        offsets += (TopicPartition(*of, offset) for of, offset in publication.next_offsets.items())
    return offsets, None


def _produce(producer: Producer, publication: Publication) -> None:
    """Queues every record. Raises KafkaException with the first error, naming topic, key and size."""
    for (topic, partition), records in publication.records.items():
        *plain, last = records
        headed = [last] if "headers" in last else []  # which produce_batch does not take
        batch = plain if headed else records
        if producer.produce_batch(topic, batch, partition=partition) < len(batch):
            record = next(record for record in batch if "_error" in record)
            raise _not_queued(topic, record, record["_error"])
        for record in headed:
            try:
                producer.produce(topic, partition=partition, **record)
            except KafkaException as failure:
                raise _not_queued(topic, record, failure.args[0]) from failure
            except BufferError as failure:
                raise _not_queued(topic, record, KafkaError(KafkaError._QUEUE_FULL)) from failure


def _not_queued(topic: str, record: Output, error: KafkaError) -> KafkaException:
    size_bytes = len(record.get("value") or b"") + len(record.get("key") or b"")
    return KafkaException(
        KafkaError(error.code(), f"{error.str()}: topic {topic}, key {record.get('key')!r}, {size_bytes} bytes")
    )


def _generation(metadata: bytes) -> int:
    """The group generation inside librdkafka's opaque metadata: `CGMDv2:` and an int32."""
    if metadata[:7] != b"CGMDv2:":
        raise Stopped(f"librdkafka's group metadata is of an unknown layout: {metadata!r}")
    return int.from_bytes(metadata[7:11], "little", signed=True)
