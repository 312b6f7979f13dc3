"""The topics: what they must be like, how they are made, and what differs. Law: nothing that exists is ever changed.

Every difference comes with the command that mends it; whether to run it is a person's decision.
"""

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its public names, which it does not declare so
    AdminClient,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from armstream import access
from armstream.access import NoAccess, Right, kafka
from armstream.runtime.failures import Stopped
from armstream.settings import Settings
from armstream.waiting import Say, waiting

log = logging.getLogger(__name__)

_REQUEST_SECONDS = 10.0
_CREATE_SECONDS = 30.0

T = TypeVar("T")
_Need = Literal["same", "at least", "at most"]
# How an existing topic's setting may stand to the one that `create` gives; "same" is what a run cannot do without.
_NEEDS: Mapping[str, _Need] = {
    "cleanup.policy": "same",
    "message.timestamp.type": "same",
    "min.cleanable.dirty.ratio": "at most",
    "segment.ms": "at most",
    "max.compaction.lag.ms": "at most",
    "delete.retention.ms": "at least",
    "min.insync.replicas": "at least",
}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as `create` makes it."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as it must be, and what mends it. A run refuses to start where one `blocks`."""

    topic: str
    problem: str
    remedy: str
    blocks: bool

    def __str__(self) -> str:
        return f"{self.topic}: {self.problem}; to mend it: {self.remedy}"


@dataclass(frozen=True, slots=True)
class _Found:
    """A topic as it is."""

    partitions: int
    replicas: int
    config: Mapping[str, str]


def expected(settings: Settings) -> tuple[Topic, ...]:
    """Every topic, inputs first, with the settings of its kind."""
    names, section = settings.topics.names, settings.topics
    deleted = {"cleanup.policy": "delete", "retention.ms": str(section.retention_ms)}
    compacted = {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.1",
        "segment.ms": "600000",
        "max.compaction.lag.ms": "1800000",
        "delete.retention.ms": "86400000",  # longer than the longest restore
    }
    # A wrong clock must not date its own record.
    inputs = {
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(settings.limits.input_batch_bytes),
    }
    outputs = {"max.message.bytes": str(settings.limits.output_batch_bytes)}
    configs = dict.fromkeys(names.inputs, deleted | inputs)
    configs |= dict.fromkeys(names.compacted, compacted | outputs)
    configs |= dict.fromkeys((names.rewards, names.dead_letters), deleted | outputs)
    durable = {"min.insync.replicas": "2"} if section.replication_factor >= 3 else {}
    return tuple(
        Topic(name, section.partitions, section.replication_factor, config | durable)
        for name, config in configs.items()
    )


def admin_client(settings: Settings) -> AdminClient:
    """A client with the settings' connection. Raises Stopped where librdkafka does not take kafka.client."""
    try:
        return access.admin_client(settings)
    except NoAccess as failure:
        raise Stopped(str(failure)) from None


def require(settings: Settings, rights: Collection[Right], say: Say = log.warning) -> None:
    """What a program asks before anything else: see access.require. Raises Stopped for its NoAccess."""
    try:
        access.require(settings, rights, say)
    except NoAccess as failure:
        raise Stopped(str(failure)) from None


def create(settings: Settings, say: Say = log.warning) -> list[str]:
    """Makes the topics that are missing and gives their names; what exists stays as it is. `say` is told of waits.

    Raises Stopped: no broker answers, it refuses, or existing topics have another partition count than
    topics.partitions, since the new ones would not fit them.
    """
    require(settings, access.check_rights(settings), say)
    admin = admin_client(settings)
    topics = expected(settings)
    found = _metadata(admin, settings, say)
    existing = {topic.name: len(found[topic.name].partitions) for topic in topics if topic.name in found}
    if any(count != settings.topics.partitions for count in existing.values()):
        counts = ", ".join(f"{name} {count}" for name, count in existing.items())
        raise Stopped(
            f"topics.partitions is {settings.topics.partitions}, but these exist with: {counts}; counts are for life, "
            "so set topics.partitions to theirs, or delete those that nobody needs"
        )
    missing = [topic for topic in topics if topic.name not in existing]
    if missing:
        with waiting(f"topics to be made by {kafka(settings)}", 2 * _CREATE_SECONDS, say):
            _create(admin, settings, missing)
    return [topic.name for topic in missing]


def check(settings: Settings, say: Say = log.warning) -> list[Difference]:
    """What differs from `expected`, nothing where all is well; `say` is told of waits.

    Raises Stopped where no broker answers.
    """
    admin = admin_client(settings)
    topics = expected(settings)
    metadata = _metadata(admin, settings, say)
    there = {topic.name: metadata[topic.name] for topic in topics if topic.name in metadata}
    with waiting(f"the settings of topics from {kafka(settings)}", _REQUEST_SECONDS, say):
        found = _describe(admin, settings, there)
    differences = list(_partition_differences(settings, {name: topic.partitions for name, topic in found.items()}))
    for topic in topics:
        if topic.name in found:
            differences += _config_differences(settings, topic, found[topic.name])
        else:
            differences.append(Difference(topic.name, "does not exist", "armstream topics create", blocks=True))
    differences += _size_differences(settings, found)
    differences += _retention_differences(settings, found)
    return differences


def partition_count(settings: Settings, topic: str, say: Say = log.warning) -> int:
    """The partition count of a topic, which `check` found all topics to share.

    Raises Stopped where no broker answers, and where the topic is missing.
    """
    found = _metadata(admin_client(settings), settings, say)
    if topic not in found:
        raise Stopped(f"there is no topic {topic}: `armstream topics create`")
    return len(found[topic].partitions)


def _partition_differences(settings: Settings, counts: Mapping[str, int]) -> Iterator[Difference]:
    """The first topic there is, an input where one exists, says what all must have: most often it is not ours."""
    first = next((name for name in settings.topics.names.all if name in counts), None)
    if first is None:
        return
    right = counts[first]
    if right != settings.topics.partitions:
        problem = f"has {right} partitions, topics.partitions is {settings.topics.partitions}"
        yield Difference(first, problem, f"set topics.partitions to {right}", blocks=False)
    for name, count in counts.items():
        if count == right:
            continue
        problem = f"has {count} partitions, {first} has {right}, and all must have the same"
        if count < right:
            command = _command(settings, "kafka-topics.sh", f"--alter --topic {name} --partitions {right}")
            remedy = f"{command} (while it is empty: keys move)"
        else:
            command = _command(settings, "kafka-topics.sh", f"--delete --topic {name}")
            remedy = f"{command} (its records are lost), then armstream topics create"
        yield Difference(name, problem, remedy, blocks=True)


def _config_differences(settings: Settings, topic: Topic, found: _Found) -> Iterator[Difference]:
    if found.replicas < topic.replication_factor:
        problem = f"has {found.replicas} replicas, topics.replication_factor is {topic.replication_factor}"
        remedy = _command(settings, "kafka-reassign-partitions.sh", "--execute --reassignment-json-file PLAN.json")
        yield Difference(topic.name, problem, remedy, blocks=False)
    for name, need in _NEEDS.items():
        if name not in topic.config:
            continue
        wanted, actual = topic.config[name], found.config[name]
        if not _holds(need, actual, wanted):
            must = wanted if need == "same" else f"{need} {wanted}"
            problem = f"{name} is {actual}, and must be {must}"
            yield Difference(topic.name, problem, _alter(settings, topic.name, name, wanted), blocks=need == "same")


def _holds(need: _Need, actual: str, wanted: str) -> bool:
    if need == "same":
        return actual == wanted
    return float(actual) >= float(wanted) if need == "at least" else float(actual) <= float(wanted)


def _size_differences(settings: Settings, found: Mapping[str, _Found]) -> Iterator[Difference]:
    """An output may carry a whole input."""
    names, setting = settings.topics.names, "max.message.bytes"
    sizes = {name: int(topic.config[setting]) for name, topic in found.items()}
    most = settings.limits.input_batch_bytes
    for name, size in sizes.items():
        if name in names.inputs and size > most:
            problem = f"{setting} is {size}, and limits.record_bytes allows {most}"
            yield Difference(name, problem, _alter(settings, name, setting, most), blocks=False)
        least = settings.limits.output_batch_bytes
        if name not in names.inputs and size < least:
            problem = f"{setting} is {size}, and a dead letter or a waiting close may need {least}"
            yield Difference(name, problem, _alter(settings, name, setting, least), blocks=False)


def _retention_differences(settings: Settings, found: Mapping[str, _Found]) -> Iterator[Difference]:
    """Published numbers can be derived again only while their inputs are there."""
    names, setting = settings.topics.names, "retention.ms"
    kept_ms = {name: _for_ever(topic.config[setting]) for name, topic in found.items()}
    wanted_ms = _for_ever(str(settings.topics.retention_ms))
    audit_ms = max(wanted_ms, kept_ms.get(names.rewards, 0.0))
    leasts = dict.fromkeys(names.inputs, audit_ms) | {names.rewards: wanted_ms, names.dead_letters: wanted_ms}
    for name, least_ms in leasts.items():
        if kept_ms.get(name, least_ms) < least_ms:
            least = "-1" if least_ms == float("inf") else f"{least_ms:.0f}"
            reason = f"{names.rewards} is kept" if least_ms > wanted_ms else "topics.retention_ms is"
            problem = f"{setting} is {found[name].config[setting]}, and {reason} {least}"
            yield Difference(name, problem, _alter(settings, name, setting, least), blocks=False)


def _for_ever(retention_ms: str) -> float:
    return float("inf") if retention_ms == "-1" else float(retention_ms)


def _alter(settings: Settings, topic: str, name: str, value: object) -> str:
    arguments = f"--alter --entity-type topics --entity-name {topic} --add-config {name}={value}"
    return _command(settings, "kafka-configs.sh", arguments)


def _command(settings: Settings, script: str, arguments: str) -> str:
    return f"{script} --bootstrap-server {settings.kafka.bootstrap_servers} {arguments}"


def _metadata(admin: AdminClient, settings: Settings, say: Say) -> dict[str, TopicMetadata]:
    try:
        with waiting(kafka(settings), _REQUEST_SECONDS, say):
            return admin.list_topics(timeout=_REQUEST_SECONDS).topics
    except KafkaException as failure:
        raise _stopped(settings, failure) from failure


def _describe(admin: AdminClient, settings: Settings, metadata: Mapping[str, TopicMetadata]) -> dict[str, _Found]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in metadata]
    futures = admin.describe_configs(resources, request_timeout=_REQUEST_SECONDS) if resources else {}
    found = {}
    for resource, future in futures.items():
        entries: dict[str, ConfigEntry] = _result(settings, future)
        partitions = metadata[resource.name].partitions.values()
        found[resource.name] = _Found(
            partitions=len(partitions),
            replicas=min(len(partition.replicas) for partition in partitions),
            config={name: str(entry.value) for name, entry in entries.items()},
        )
    return found


def _create(admin: AdminClient, settings: Settings, topics: Sequence[Topic]) -> None:
    new = [
        NewTopic(topic.name, topic.partitions, topic.replication_factor, config=dict(topic.config)) for topic in topics
    ]
    futures = admin.create_topics(new, operation_timeout=_CREATE_SECONDS, request_timeout=_CREATE_SECONDS)
    for name, future in futures.items():
        try:
            _result(settings, future)
        except Stopped as stopped:
            failure = stopped.__cause__
            if isinstance(failure, KafkaException) and failure.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                log.info("topic %s was made by somebody else meanwhile", name)
                continue
            if isinstance(failure, KafkaException) and failure.args[0].code() in access.REFUSALS:
                lacking = [right for right in access.create_rights(settings) if right.operation == "Create"]
                raise Stopped(access.not_allowed(settings, lacking)) from stopped
            raise Stopped(f"{name}: {stopped}") from stopped
    _wait_until_known(admin, settings, {topic.name for topic in topics})


def _wait_until_known(admin: AdminClient, settings: Settings, names: set[str]) -> None:
    """Brokers learn of a new topic one after the other."""
    deadline = time.monotonic() + _CREATE_SECONDS
    while missing := names - _metadata(admin, settings, log.info).keys():
        if time.monotonic() >= deadline:
            raise Stopped(f"made, but not known everywhere after {_CREATE_SECONDS:.0f} s: {', '.join(sorted(missing))}")
        time.sleep(0.1)


def _result(settings: Settings, future: Future[T]) -> T:
    try:
        return future.result(timeout=_CREATE_SECONDS + _REQUEST_SECONDS)
    except KafkaException as failure:
        raise _stopped(settings, failure) from failure


def _stopped(settings: Settings, failure: KafkaException) -> Stopped:
    return Stopped(f"{kafka(settings)}: {settings.kafka.masked(failure.args[0].str())}")
