"""Follows `weights` in a thread. Law: it answers only after it has read to the end, and never goes back.

What may pass (a broker that restarts, a leader that moves) makes the weights STALE until it has passed; what lasts (a
topic that is gone, a login that is refused) is raised to every caller. No record stops it: one that cannot be read
makes its bandit STALE until the next one that can.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from numpy.random import Generator

import armstream
from armstream.engine.client import client_settings as settings_of
from armstream.engine.client import reason
from armstream.engine.decision import Decision, draw
from armstream.engine.readable import Unreadable, bandit_named, vector_of
from armstream.engine.view import Status, WeightsView, weights_within
from armstream.events import WeightVector
from armstream.learning.advice import Expert
from armstream.learning.blending import mix
from armstream.waiting import waiting_line

log = logging.getLogger(__name__)

_REQUEST_SECONDS = 2.0
_SAY_AFTER_SECONDS = _REQUEST_SECONDS + 1.0  # by then a first request has failed, and its cause is known
_NEW_TOPIC_SECONDS = 5.0  # a topic that was just made, or its leader, may be unknown to a broker for a moment
_POLL_SECONDS = 0.1
_READ_RECORDS = 500
_ASK_SECONDS = 1.0
_SAY_AGAIN_SECONDS = 60.0
_LOG_LEVEL = 2  # an outage is told by status and errors, not by librdkafka's forty lines a second

# Nothing is committed and no group is joined, but librdkafka wants a group.id.
_DEFAULT: Final[Mapping[str, Any]] = {
    "group.id": "armstream-follower",
    "log_level": _LOG_LEVEL,
    "fetch.queue.backoff.ms": 5,
    "fetch.wait.max.ms": 100,  # the end of a partition is told when a fetch comes back empty
}
_FORCED: Final[Mapping[str, Any]] = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
}
_OWNED: Final[Mapping[str, str]] = {
    "isolation.level": "read_committed: weights that were not committed never were",
    "enable.auto.commit": "nothing is committed: each start reads from the beginning",
    "enable.partition.eof": "true: it shows what was read to the end",
    "auto.offset.reset": "error: a topic that was cut or made anew is not followed in silence",
    "error_cb": "the follower hears the errors itself",
}
_UNREADABLE: Final = (
    f"upgrade this engine's armstream, {armstream.__version__}, where the processors have a newer one; the next vector "
    "that can be read is live again"
)
_LASTING: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError._LOG_TRUNCATION,
    }
)

OnVector = Callable[[WeightVector, float], None]


class FollowerError(RuntimeError):
    """The weights cannot be followed; the text says why. The engine's own fallback is the caller's."""


class StaleWeightsError(FollowerError):
    """Nothing was drawn: the end of the weights was not confirmed for max_age_seconds, or the bandit's newest record
    could not be read. It may pass: ask again."""


@dataclass(frozen=True, slots=True)
class _Topic:
    topic_id: str  # another one where the topic is deleted and made anew under its name
    partitions: list[int]


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What is wrong since all was well the last time, and whether it does not pass by itself."""

    text: str
    lasts: bool
    since_seconds: float


class WeightsFollower:
    """The latest weight vector of every bandit. A context manager; entering waits until the topic was read to its end.

    It is entered once, and answers in the process that entered it. `on_vector` is called with each vector taken and its
    record's Unix time in seconds, in the follower's thread; what it raises ends the following.
    """

    def __init__(
        self,
        client_settings: Mapping[str, Any],
        *,
        topic: str = "weights",
        max_age_seconds: float = 30.0,
        start_timeout_seconds: float = 90.0,
        on_vector: OnVector | None = None,
    ) -> None:
        """`client_settings` are librdkafka's. Weights are stale when their end was not confirmed for `max_age_seconds`.

        The end can lie behind a transaction that a processor left open when it was killed. Such a one ends after its
        transaction.timeout.ms, 60 s by default, or when the processor is back: hence 90 s. Raises ValueError for a
        setting that is not the caller's, and for a max_age_seconds that is not above 0.
        """
        if not max_age_seconds > 0:
            raise ValueError(f"max_age_seconds must be above 0, got {max_age_seconds!r}")
        self._client = settings_of(client_settings, default=_DEFAULT, forced=_FORCED, owned=_OWNED)
        self._connection = {"log_level": _LOG_LEVEL, **client_settings}
        self._topic = topic
        self._where = f"topic {topic!r} of Kafka at {client_settings.get('bootstrap.servers')}"
        self._max_age_seconds = max_age_seconds
        self._ask_seconds = min(_ASK_SECONDS, max_age_seconds / 4)
        self._start_timeout_seconds = start_timeout_seconds
        self._on_vector = on_vector
        self._view = WeightsView((), max_age_seconds)
        self._trouble: _Trouble | None = None
        self._failure: Exception | None = None
        self._read_to_end = threading.Event()
        self._stop = threading.Event()
        self._unreadable_count = 0
        self._said_at = float("-inf")
        self._entering = threading.Lock()
        self._is_entered = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="weights-follower", daemon=True)

    def __enter__(self) -> Self:
        """Raises FollowerError where the topic is not there, its end is not reached in start_timeout_seconds, or the
        follower was entered before.

        A wait of more than 3 s is logged, with what is known of its cause.
        """
        with self._entering:
            if self._is_entered:
                raise FollowerError("this follower was entered before: make a new one for each with block")
            self._is_entered, self._pid = True, os.getpid()
            self._thread.start()
        try:
            in_time = self._wait_for_end()
        except BaseException:  # a signal's handler can raise here
            self._end()
            raise
        if self._failure is None and in_time:
            return self
        self._end()
        if self._failure is not None:
            raise FollowerError(str(self._failure)) from self._failure
        raise FollowerError(
            f"{self._where} was not read to its end in {self._start_timeout_seconds:g} s: {self._why()}"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    # What anybody asks. Each raises FollowerError outside the with block and when following has failed for good.

    def weights(self, bandit_id: str) -> WeightVector | None:
        """The latest vector; None where there is none, and where it is stale.

        A WARMING vector is given: it says so itself, and its blend_alpha is 0. A stale one could not.
        """
        vector, status = self._look(bandit_id)
        return None if status.fallback == "STALE" else vector

    def weights_within(self, bandit_id: str, horizon: str) -> dict[str, float] | None:
        """Family -> weight within a horizon, of arms "family:horizon"; they sum to 1. None where `weights` gives None.

        Raises ValueError where the bandit has no arm of that horizon.
        """
        vector = self.weights(bandit_id)
        return None if vector is None else weights_within(vector, horizon)

    def blend(self, bandit_id: str, base: Mapping[str, float], *, horizon: str | None = None) -> dict[str, float]:
        """Base weights mixed with the bandit's by the vector's blend_alpha: see `mix`, whose ValueError it raises.

        Where `status` gives a fallback it is base alone, normalised. With a horizon the keys of base are families and
        the bandit's weights those within the horizon: see weights_within, whose ValueError it raises.
        """
        vector, status = self._look(bandit_id)
        if vector is None:
            return mix(base, {}, 0.0)
        weights = {arm.name: arm.weight for arm in vector.arms} if horizon is None else weights_within(vector, horizon)
        return mix(base, weights, vector.blend_alpha if status.fallback is None else 0.0)

    def choose(
        self,
        bandit_id: str,
        rng: Generator,
        *,
        context: Any = None,
        experts: Mapping[str, Expert] | None = None,
        arms: Collection[str] | None = None,
        available: Collection[str] | None = None,
        signals: Mapping[str, str] | None = None,
        position_id: str | None = None,
    ) -> Decision:
        """An arm drawn from the latest vector's probabilities, warming or live: drawing is how a bandit gets warm.

        Where the bandit has experts, from what they say of `context`: `experts` are this engine's, by name. Uniform
        over `arms` where there is no vector yet. `signals` are the arms' views, BUY, SELL or FLAT, which the decision's
        fills carry; who is FLAT or has none cannot be drawn. See `draw`, whose ValueError it raises. Raises
        StaleWeightsError where the weights are stale: old probabilities are not live ones, and uniform ones would
        unlearn. What to do then is the engine's: open nothing, or `draw(bandit_id, None, rng, arms=...)`.
        """
        vector, status = self._look(bandit_id)
        if status.fallback == "STALE":
            raise StaleWeightsError(f"the weights of {bandit_id!r} are stale: {self._why_stale(status)}")
        return draw(
            bandit_id,
            vector,
            rng,
            context=context,
            experts=experts,
            arms=arms,
            available=available,
            signals=signals,
            position_id=position_id,
        )

    def status(self, bandit_id: str) -> Status:
        """Whether the bandit's weights are live, and if not why base weights are what blend returns."""
        return self._look(bandit_id)[1]

    def bandit_ids(self) -> tuple[str, ...]:
        """The bandits that have a vector, in order."""
        self._check()
        return self._view.bandit_ids()

    @property
    def ignored_count(self) -> int:
        """Vectors whose version was not above the last one's: a broker can publish a transaction's records late."""
        return self._view.ignored_count

    @property
    def unreadable_count(self) -> int:
        """Records that were no vector of the bandit that their key names, tombstones apart."""
        return self._unreadable_count

    def _look(self, bandit_id: str) -> tuple[WeightVector | None, Status]:
        self._check()
        return self._view.look(bandit_id, time.monotonic())

    def _check(self) -> None:
        if self._failure is not None:
            raise FollowerError(str(self._failure)) from self._failure
        if not self._read_to_end.is_set() or self._stop.is_set():
            raise FollowerError("the follower answers inside its with block only")
        if os.getpid() != self._pid:
            raise FollowerError("this process was forked from the one that follows: enter a follower of its own here")

    def _wait_for_end(self) -> bool:
        """Whether it was reached in time, or following has failed."""
        most_seconds = self._start_timeout_seconds
        at_once_seconds = min(_SAY_AFTER_SECONDS, most_seconds)
        if self._read_to_end.wait(at_once_seconds):
            return True
        if most_seconds > at_once_seconds:
            log.warning("%s: %s", waiting_line(f"the end of {self._where}", most_seconds), self._why())
        return self._read_to_end.wait(most_seconds - at_once_seconds)

    # The thread.

    def _end(self) -> None:
        """Also before it was entered, more than once, in the thread itself; a forked process has no such thread."""
        if os.getpid() != self._pid:
            return
        self._stop.set()
        if self._is_entered and threading.current_thread() is not self._thread:
            self._thread.join(10 * _REQUEST_SECONDS)

    def _run(self) -> None:
        try:
            self._follow()
        except Exception as error:
            self._failure = error
            self._read_to_end.set()  # wakes who waits

    def _follow(self) -> None:
        admin = AdminClient(self._connection)
        # A read_committed consumer would be told the last stable offset, which an open transaction holds back.
        asker = Consumer({**self._client, "isolation.level": "read_uncommitted"})
        reader = Consumer({**self._client, "error_cb": self._note})
        try:
            topic = self._find_topic(admin, reader)
            if topic is None:
                return
            self._view = WeightsView(topic.partitions, self._max_age_seconds)
            self._meet_leaders(reader)
            reader.assign([TopicPartition(self._topic, partition, OFFSET_BEGINNING) for partition in topic.partitions])
            ask_at = 0.0
            while not self._stop.is_set():
                if time.monotonic() >= ask_at:
                    self._ask_ends(admin, asker, topic)
                    ask_at = time.monotonic() + self._ask_seconds
                for record in _read(reader):
                    self._take(record)
                if self._view.confirmed_seconds > float("-inf"):
                    self._read_to_end.set()
                self._judge_trouble()
        finally:
            reader.close()
            asker.close()

    def _find_topic(self, admin: AdminClient, reader: Consumer) -> _Topic | None:
        """None where the follower is stopped first."""
        while not self._stop.is_set():
            found = self._describe(admin)
            if found is not None:
                return found
            reader.poll(_POLL_SECONDS)  # which hears what its connections say
            self._judge_trouble()
        return None

    def _describe(self, admin: AdminClient) -> _Topic | None:
        """None where it cannot be known now."""
        asked = admin.describe_topics(TopicCollection([self._topic]), request_timeout=_REQUEST_SECONDS)
        try:
            found = asked[self._topic].result()
        except KafkaException as failure:
            # What a connection says of itself tells more than that nobody answered in time.
            if failure.args[0].code() != KafkaError._TIMED_OUT or self._trouble is None:
                self._note(failure.args[0])
            return None
        return _Topic(str(found.topic_id), [partition.id for partition in found.partitions])

    def _meet_leaders(self, reader: Consumer) -> None:
        """A reader that does not know them yet would ask for the beginning in vain, and again after half a second."""
        try:
            reader.list_topics(self._topic, _REQUEST_SECONDS)
        except KafkaException as failure:
            self._note(failure.args[0])

    def _ask_ends(self, admin: AdminClient, asker: Consumer, known: _Topic) -> None:
        """Raises FollowerError where the topic is another one of the same name, which librdkafka reads on."""
        found = self._describe(admin)
        if found is None:
            return
        if found.topic_id != known.topic_id:
            raise FollowerError(f"topic {self._topic!r} was made anew: what was read of the old one counts no more")
        asked_seconds = time.monotonic()
        wanted = [TopicPartition(self._topic, partition, OFFSET_END) for partition in known.partitions]
        try:
            answers = asker.offsets_for_times(wanted, _REQUEST_SECONDS)
        except KafkaException as failure:
            self._note(failure.args[0])
            return
        for answer in answers:
            next_offset = self._view.next_offset(answer.partition)
            if answer.error is not None:
                self._note(answer.error)
            elif answer.offset < next_offset:
                text = f"partition {answer.partition} ends at {answer.offset}, and was read up to {next_offset}"
                self._add_trouble(text, lasts=True)
            else:
                self._view.add_end(answer.partition, answer.offset, asked_seconds)

    def _take(self, record: Message) -> None:
        """Keeps the record's vector if it is newer; a tombstone ends its bandit."""
        error = record.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # no group is joined: it takes no right on one
                self._note(error)
            return
        partition, offset = record.partition() or 0, record.offset() or 0
        if error is not None:
            self._view.reach(partition, offset)
            return
        self._take_value(record, partition)
        self._view.reach(partition, offset + 1)

    def _take_value(self, record: Message, partition: int) -> None:
        key, value = record.key(), record.value()
        if value is None:
            self._view.forget(bandit_named(key) or "", partition)
            return
        try:
            vector = vector_of(key, value)
        except Unreadable as unreadable:
            self._lose(unreadable, record, partition)
            return
        if self._view.take(partition, vector) and self._on_vector is not None:
            try:
                self._on_vector(vector, record.timestamp()[1] / 1_000)
            except BaseException as error:
                raise FollowerError(f"on_vector ended the following at {_place(record)}: {error!r}") from error

    def _lose(self, unreadable: Unreadable, record: Message, partition: int) -> None:
        """The bandits that the record is of are STALE; one of nobody is counted. A line tells of it, once a minute."""
        reason = f"{_place(record)}: {unreadable}"
        self._unreadable_count += 1
        for bandit_id, version in unreadable.of.items():
            self._view.lose(partition, bandit_id, reason, version)
        now = time.monotonic()
        if now - self._said_at > _SAY_AGAIN_SECONDS:
            self._said_at = now
            named = ", ".join(map(repr, unreadable.of)) or "no bandit"
            log.warning("%s; %s stays without weights: %s", reason, named, _UNREADABLE)

    # Trouble.

    def _note(self, error: KafkaError) -> None:
        self._add_trouble(reason(error, "Read"), lasts=error.fatal() or error.code() in _LASTING)

    def _add_trouble(self, text: str, *, lasts: bool) -> None:
        """The latest text since the first; one that lasts takes the place of one that may pass."""
        known = self._trouble
        if known is None or lasts > known.lasts:
            self._trouble = _Trouble(text, lasts, time.monotonic())
        elif lasts == known.lasts:
            self._trouble = replace(known, text=text)

    def _why(self) -> str:
        trouble = self._trouble
        return "it is long, or a transaction stays open on it" if trouble is None else trouble.text

    def _why_stale(self, status: Status) -> str:
        if status.reason:
            return f"{status.reason}; {_UNREADABLE}"
        return (
            f"the end of {self._topic!r} was last confirmed {status.age_seconds:.1f} s ago, max_age_seconds is "
            f"{self._max_age_seconds:g}: {self._why()}"
        )

    def _judge_trouble(self) -> None:
        """Forgets it when all was confirmed since. Raises FollowerError when it lasts and had the time to pass."""
        trouble = self._trouble
        if trouble is None:
            return
        patience_seconds = self._max_age_seconds if self._read_to_end.is_set() else _NEW_TOPIC_SECONDS
        if self._view.confirmed_seconds > trouble.since_seconds:
            self._trouble = None
        elif trouble.lasts and time.monotonic() > trouble.since_seconds + patience_seconds:
            raise FollowerError(f"{self._where}: {trouble.text}")


def _place(record: Message) -> str:
    return f"{record.topic()}:{record.partition()}:{record.offset()}"


def _read(consumer: Consumer) -> list[Message]:
    """What is there, or what comes first within _POLL_SECONDS: consume alone would wait the whole of it."""
    record = consumer.poll(_POLL_SECONDS)
    return [] if record is None else [record, *consumer.consume(_READ_RECORDS, 0)]
