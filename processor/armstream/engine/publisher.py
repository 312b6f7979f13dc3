"""Sends an engine's fills and closes. Law: an event is delivered once, on its bandit's partition, or the caller gets it
back in an error."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from armstream.codec import decode, encode
from armstream.engine.client import client_settings as settings_of
from armstream.engine.client import reason
from armstream.engine.sendable import sendable
from armstream.events import Close, Fill
from armstream.waiting import SAY_AFTER_SECONDS, waiting, waiting_line

log = logging.getLogger(__name__)

_DEFAULT: Final[Mapping[str, Any]] = {
    "linger.ms": 2,
    "queue.buffering.max.messages": 10_000,
    "delivery.report.only.error": True,
    "log_level": 2,  # an outage is told by _note, not by librdkafka's four lines a second
}
_FORCED: Final[Mapping[str, Any]] = {
    "enable.idempotence": True,
    "acks": "all",
    "partitioner": "murmur2_random",
}
_ONCE = "a retry must not send an event twice or out of order"
_OWNED: Final[Mapping[str, str]] = {
    "enable.idempotence": f"true: {_ONCE}",
    "acks": "all: what one broker alone has is lost with it",
    "request.required.acks": "all: what one broker alone has is lost with it",
    "partitioner": "murmur2_random: the events of a bandit go to the task that owns it",
    "max.in.flight": _ONCE,
    "max.in.flight.requests.per.connection": _ONCE,
    "retries": f"{_ONCE}; message.timeout.ms says how long it is tried",
    "message.send.max.retries": f"{_ONCE}; message.timeout.ms says how long it is tried",
    "transactional.id": "an event is delivered by itself, in no transaction",
}
_ROOM_POLL_SECONDS = 0.05
_SAY_AGAIN_SECONDS = 60.0
_PURGED_SECONDS = 5.0  # what was purged needs no broker


class PublishError(RuntimeError):
    """Events that were not delivered; the text names them. Sending `events` again is safe: each has its event_id."""

    def __init__(self, text: str, events: tuple[Fill | Close, ...]) -> None:
        super().__init__(text)
        self.events = events


class TradesPublisher:
    """An idempotent producer of fills and closes, keyed by bandit_id. A context manager, usable from any thread."""

    def __init__(
        self,
        client_settings: Mapping[str, Any],
        *,
        topics: Sequence[str] = ("trades",),
        queue_timeout_seconds: float = 30.0,
        flush_timeout_seconds: float = 30.0,
    ) -> None:
        """`client_settings` are librdkafka's; `topics` is one topic for both, or that of fills and that of closes.

        The queue holds `queue.buffering.max.messages` (10,000); an event is tried for `message.timeout.ms` (5 min).
        Raises ValueError for a setting that is not the caller's, and for other than one or two topics.
        """
        if isinstance(topics, str) or len(topics) not in (1, 2):
            raise ValueError(f"topics must be one topic, or that of fills and that of closes, got {topics!r}")
        default = {**_DEFAULT, "error_cb": self._note}
        self._producer = Producer(settings_of(client_settings, default=default, forced=_FORCED, owned=_OWNED))
        named = " and ".join(dict.fromkeys(topics))
        self._where = f"{named} of Kafka at {client_settings.get('bootstrap.servers')}"
        self._topics: Mapping[type[Fill | Close], str] = {Fill: topics[0], Close: topics[-1]}
        self._queue_timeout_seconds = queue_timeout_seconds
        self._flush_timeout_seconds = flush_timeout_seconds
        self._lock = threading.Lock()
        self._undelivered: list[tuple[KafkaError, Message]] = []
        self._said_at: dict[int, float] = {}  # by an error's code
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, event: Fill | Close) -> None:
        """Hands the event over, and waits up to queue_timeout_seconds while the queue is full.

        Raises PublishError where earlier events were not delivered or this one is not taken; it is then the last of
        the error's events. ValueError, with the field's name, for an event that every processor would refuse or that
        Avro cannot hold: nothing is sent. Numbers may be numpy's or Decimal, as in `Decision.fill`.
        """
        event = sendable(event)
        value = encode(event)
        self._check_open(event)
        self._producer.poll(0)
        self._raise_undelivered(event)
        if self._is_queued(event, value):
            return
        end = time.monotonic() + self._queue_timeout_seconds
        with waiting(f"room in the queue to {self._where}", self._queue_timeout_seconds, log.warning):
            while not self._is_queued(event, value):
                if time.monotonic() >= end:
                    why = f"the queue was full for {self._queue_timeout_seconds:g} s"
                    raise PublishError(f"{_named(event)} was not sent: {why}", (event,))
                self._producer.poll(_ROOM_POLL_SECONDS)

    def flush(self) -> None:
        """Returns when all events are delivered.

        Raises PublishError where some were not, TimeoutError where some are still tried after flush_timeout_seconds.
        """
        left = self._flush()
        self._raise_undelivered()
        if left:
            raise TimeoutError(f"{left} events were not delivered in {self._flush_timeout_seconds:g} s")

    def close(self) -> None:
        """Flushes for up to flush_timeout_seconds and ends. Raises PublishError with every event not delivered."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._flush():
            self._producer.purge()
            self._producer.flush(_PURGED_SECONDS)
        self._producer.close()
        self._raise_undelivered()

    def _flush(self) -> int:
        """How many events are still not delivered."""
        most_seconds = self._flush_timeout_seconds
        at_once_seconds = min(SAY_AFTER_SECONDS, most_seconds)
        left = self._producer.flush(at_once_seconds)
        if left and most_seconds > at_once_seconds:
            log.warning(waiting_line(f"{self._where} to take {left} events", most_seconds))
            left = self._producer.flush(most_seconds - at_once_seconds)
        return left

    def _is_queued(self, event: Fill | Close, value: bytes) -> bool:
        """False where the queue is full. Raises PublishError."""
        topic = self._topics[type(event)]
        try:
            with self._lock:  # nothing is queued behind the flush of close
                self._check_open(event)
                self._producer.produce(topic, value, event.bandit_id.encode(), on_delivery=self._on_delivery)
        except BufferError:
            return False
        except KafkaException as failure:
            why = reason(failure.args[0], "Write")
            raise PublishError(f"{_named(event)} was not sent to {topic!r}: {why}", (event,)) from failure
        return True

    def _check_open(self, event: Fill | Close) -> None:
        if self._closed:
            raise PublishError(f"{_named(event)} was not sent: the publisher is closed", (event,))

    def _note(self, error: KafkaError) -> None:
        now, said_at = time.monotonic(), self._said_at.get(error.code(), float("-inf"))
        if now - said_at > _SAY_AGAIN_SECONDS:
            self._said_at[error.code()] = now
            log.warning("%s: %s", self._where, error.str())

    def _on_delivery(self, error: KafkaError | None, record: Message) -> None:
        if error is not None:
            with self._lock:
                self._undelivered.append((error, record))

    def _raise_undelivered(self, *not_taken: Fill | Close) -> None:
        with self._lock:
            undelivered, self._undelivered = self._undelivered, []
        if not undelivered:
            return
        events = tuple([_event(record) for _, record in undelivered])
        error, record = undelivered[0]
        more = f" and {len(events) - 1} more" if len(events) > 1 else ""
        raise PublishError(
            f"{_named(events[0])}{more} not delivered to {record.topic()!r}: {reason(error, 'Write')}",
            events + not_taken,
        )


def _event(record: Message) -> Fill | Close:
    event = decode(record.value())
    assert isinstance(event, Fill | Close)  # publish encoded it
    return event


def _named(event: Fill | Close) -> str:
    return f"{type(event).__name__} {event.event_id!r} of bandit {event.bandit_id!r}, position {event.position_id!r}"
