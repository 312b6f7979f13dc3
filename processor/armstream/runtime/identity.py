"""Which topics stand behind their names. Law: a topic that was deleted and made anew is another one, and so is one that
has other partitions; its offsets say nothing of the old one's, and nobody goes on with them.

Kafka gives each topic an id. The brokers are asked at the start, at each assignment, every ten seconds, and where an
error hints at it. The loop never waits for an answer, but where a process is about to stop for another reason.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, TopicDescription  # type: ignore[attr-defined]  # public names

from armstream.runtime.failures import Stopped
from armstream.runtime.topics import admin_client
from armstream.settings import Settings

log = logging.getLogger(__name__)

ANEW = "`armstream reset anew --group NEW --suffix SUFFIX` learns again from the beginning onto new outputs"

LOST_INPUT = (
    "raise the topic's retention; `armstream reset anew --group NEW --suffix SUFFIX --accept-deleted` learns again "
    "from what is left"
)

_AS_KAFKAS_TOOLS = str.maketrans("+/", "-_")  # an id as kafka-topics.sh shows it
_REQUEST_SECONDS = 10.0
_LAST_REQUEST_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 2.0
_PROBE_SECONDS = 0.5
# A look asks for metadata, which waits for librdkafka's own time, not for the request's: no answer is to come after it.
_NEVER_LATE = {"socket.timeout.ms": 4_000}
_AWAY = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT})
_HINTS = frozenset(
    {
        KafkaError.INCONSISTENT_TOPIC_ID,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
    }
)

Asked = Mapping[str, "Future[TopicDescription]"]


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """A topic as the brokers have it now."""

    topic_id: str
    partition_count: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose state a task's is: this group's, learned from topics with these ids and so many partitions each."""

    group: str
    topic_ids: Mapping[str, str]
    partitions: int


def ask(admin: AdminClient, names: Iterable[str], seconds: float = _REQUEST_SECONDS) -> Asked:
    """Asks the brokers; the answers come in librdkafka's own thread, within so many seconds."""
    return admin.describe_topics(TopicCollection(list(names)), request_timeout=seconds)


def identities(asked: Asked, seconds: float = 2 * _REQUEST_SECONDS) -> dict[str, TopicIdentity]:
    """What was asked, by name; a topic that is not there is not in it. Raises KafkaException or TimeoutError."""
    found = {}
    for name, future in asked.items():
        try:
            found[name] = _identity(future.result(seconds))
        except KafkaException as failure:
            if failure.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    return found


def those_of_before(asked: Asked, seconds: float = 2 * _REQUEST_SECONDS) -> dict[str, TopicIdentity | None]:
    """As identities; None for a topic that this user may not describe: brokers do not say whether it is there."""
    found: dict[str, TopicIdentity | None] = {}
    for name, future in asked.items():
        try:
            found[name] = _identity(future.result(seconds))
        except KafkaException as failure:
            code = failure.args[0].code()
            if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                found[name] = None
            elif code != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    return found


def _identity(topic: TopicDescription) -> TopicIdentity:
    return TopicIdentity(str(topic.topic_id).translate(_AS_KAFKAS_TOOLS), len(topic.partitions))


def made_anew(name: str, before: str, now: str) -> str:
    """What is wrong where a topic's id is not the one that a state was learned from."""
    return f"{name} was deleted and made anew: its id was {before}, and is {now}"


def learned_from_another(name: str, before: str, now: str) -> str:
    """The whole line for a topic that is read: inputs, and what holds the state."""
    return (
        f"{made_anew(name, before, now)}; state and offsets are those of the old one. {ANEW}. Where the new topic "
        "holds the same records at the same offsets, as a copy in another cluster does, `armstream reset to-snapshots "
        "--accept-topics` goes on with it"
    )


def grown(name: str, before: int, now: int) -> str:
    """The line for an input with other partitions than its state."""
    return (
        f"{name} has {now} partitions, and had {before} when its state was learned: a bandit's records move to another "
        "partition, where its state is not, and Kafka takes no partition back. Make new topics of the right number "
        "with another topics.prefix and another kafka.group_id, `armstream topics create`, and let engines send there"
    )


class Watch:
    """Looks at the topics of some settings now and then. `identity` is what they were at the start."""

    def __init__(self, settings: Settings) -> None:
        """Raises Stopped where no broker answers or a topic is missing."""
        self._inputs = settings.topics.names.inputs
        self._names = settings.topics.names
        self._admin = admin_client(settings, _NEVER_LATE)
        self._asked: Asked | None = None
        self._asked_before: Asked | None = None
        self._before: Mapping[str, TopicIdentity | None] | None = None
        self._missing: set[str] = set()
        self._is_failing = self._is_away = False
        self._asked_at = self._looked_at = time.monotonic()
        self._next_at = self._asked_at + _LOOK_EVERY_SECONDS
        try:
            found = identities(ask(self._admin, self._names.all))
        except (KafkaException, FutureTimeoutError) as failure:
            raise Stopped(f"Kafka at {settings.kafka.bootstrap_servers}: {_text(failure)}") from failure
        for name in self._names.all:
            if name not in found:
                raise Stopped(f"there is no topic {name}: `armstream topics create`")
        self._counts = {name: topic.partition_count for name, topic in found.items()}
        ids = {name: topic.topic_id for name, topic in found.items()}
        self.identity = Identity(settings.kafka.group_id, ids, self._counts[self._inputs[0]])

    def hear(self, error: KafkaError) -> None:
        """Looks at once where an error hints at a topic that is not what it was."""
        self._is_away = self._is_away or error.code() in _AWAY
        if error.code() in _HINTS:
            self.hurry()

    def hurry(self) -> None:
        """The next step asks, whenever the last one did."""
        self._next_at = 0.0

    def has_looked_since(self, at: float) -> bool:
        """Whether the brokers were asked after `at`, by the monotonic clock, and the topics were what they are."""
        return self._looked_at >= at

    def before(self) -> Mapping[str, TopicIdentity | None] | None:
        """What stands behind the names of the topics that held the state before: see those_of_before.

        They are asked for once, when it is first called; None until the answer is there.
        """
        if self._before is None and self._asked_before is None:
            if self._is_away:  # a step finds out when they are back
                return None
            self._asked_before = ask(self._admin, self._names.state_before)
        elif self._asked_before is not None and all(future.done() for future in self._asked_before.values()):
            asked, self._asked_before = self._asked_before, None
            try:
                self._before = those_of_before(asked, 0)
            except (KafkaException, FutureTimeoutError) as failure:
                log.warning("the topics' ids could not be asked for: %s", _text(failure))
                self._is_away = True
        return self._before

    def step(self) -> None:
        """Asks when it is time, and judges what was answered; waits only, and shortly, where no broker may be there.
        Raises Stopped."""
        if self._asked is None:
            now = time.monotonic()
            if now < self._next_at:
                return
            if self._is_away and not self._is_back():
                self._next_at = now + _LOOK_AGAIN_SECONDS
            else:
                self._asked, self._asked_at = ask(self._admin, self._names.all), now
                self._next_at = now + _LOOK_EVERY_SECONDS
        elif all(future.done() for future in self._asked.values()):
            asked, self._asked = self._asked, None
            self._judge(asked)

    def _is_back(self) -> bool:
        """Whether a broker answers. An admin request that waits for one in vain can end the process with SIGABRT
        (librdkafka 4605); list_topics cannot."""
        try:
            self._admin.list_topics(timeout=_PROBE_SECONDS)
        except KafkaException:
            return False
        self._is_away = False
        return True

    def _judge(self, asked: Asked) -> None:
        try:
            found = identities(asked, 0)
        except (KafkaException, FutureTimeoutError) as failure:
            if not self._is_failing:
                log.warning("the topics' ids could not be asked for: %s", _text(failure))
            self._is_failing = self._is_away = True
            self._next_at = min(self._next_at, time.monotonic() + _LOOK_AGAIN_SECONDS)
            return
        self._is_failing = False
        missing = {name for name in self._names.all if name not in found}
        reason = self._reason(found, self._missing & missing)
        self._missing = missing
        if reason:
            raise Stopped(reason)
        if missing:  # a broker that has just come back may not know it yet
            self._next_at = min(self._next_at, time.monotonic() + _LOOK_AGAIN_SECONDS)
        else:
            self._looked_at = self._asked_at

    def true_reason(self) -> str:
        """Where a topic is not what it was, the line that says so, else "". Waits for the brokers, for some seconds."""
        try:
            found = identities(ask(self._admin, self._names.all, _LAST_REQUEST_SECONDS), 2 * _LAST_REQUEST_SECONDS)
        except (KafkaException, FutureTimeoutError) as failure:
            log.warning("the topics' ids could not be asked for: %s", _text(failure))
            return ""
        return self._reason(found, {name for name in self._names.all if name not in found})

    def _reason(self, found: Mapping[str, TopicIdentity], gone: set[str]) -> str:
        for name in self._names.all:  # inputs first
            before, now = self.identity.topic_ids[name], found.get(name)
            if name in gone:
                return f"{name} was deleted while it was in use: its id was {before}. {ANEW}"
            if now is None:
                continue
            if now.topic_id != before:
                return self._made_anew(name, before, now.topic_id)
            if now.partition_count != self._counts[name]:
                if name in self._inputs:
                    return grown(name, self._counts[name], now.partition_count)
                log.warning("%s has %d partitions now: those that were added stay empty", name, now.partition_count)
                self._counts[name] = now.partition_count
        return ""

    def _made_anew(self, name: str, before: str, now: str) -> str:
        names = self._names
        if name in (*names.inputs, names.snapshots):
            return learned_from_another(name, before, now)
        then = {
            names.weights: "then every vector is published again",
            names.rewards: "then the audit log begins anew, and what was published before cannot be verified any more",
        }
        return f"{made_anew(name, before, now)}; start it again: {then.get(name, 'then it goes on with the new one')}"


def _text(failure: KafkaException | FutureTimeoutError) -> str:
    return str(failure.args[0].str()) if isinstance(failure, KafkaException) else "no answer"
