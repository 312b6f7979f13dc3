"""The topics: made, described, compared. Law: nothing that exists is ever changed."""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

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
from armstream.runtime.topic_needs import Difference, Found, Topic, differences, expected
from armstream.settings import Settings
from armstream.waiting import Say, waiting

log = logging.getLogger(__name__)

_REQUEST_SECONDS = 10.0
_CREATE_SECONDS = 30.0

T = TypeVar("T")


def admin_client(settings: Settings, more: Mapping[str, Any] | None = None) -> AdminClient:
    """A client with the settings' connection. Raises Stopped where librdkafka does not take kafka.client."""
    try:
        return access.admin_client(settings, more)
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
    metadata = _metadata(admin, settings, say)
    there = {topic.name: metadata[topic.name] for topic in expected(settings) if topic.name in metadata}
    with waiting(f"the settings of topics from {kafka(settings)}", _REQUEST_SECONDS, say):
        return differences(settings, _describe(admin, settings, there))


def partition_count(settings: Settings, topic: str, say: Say = log.warning) -> int:
    """The partition count of a topic, which `check` found all topics to share.

    Raises Stopped where no broker answers, and where the topic is missing.
    """
    found = partition_counts(settings, say)
    if topic not in found:
        raise Stopped(f"there is no topic {topic}: `armstream topics create`")
    return found[topic]


def partition_counts(settings: Settings, say: Say = log.warning) -> dict[str, int]:
    """Every topic there is, ours or not, with its number of partitions. Raises Stopped where no broker answers."""
    found = _metadata(admin_client(settings), settings, say)
    return {name: len(topic.partitions) for name, topic in found.items()}


def _metadata(admin: AdminClient, settings: Settings, say: Say) -> dict[str, TopicMetadata]:
    try:
        with waiting(kafka(settings), _REQUEST_SECONDS, say):
            return admin.list_topics(timeout=_REQUEST_SECONDS).topics
    except KafkaException as failure:
        raise _stopped(settings, failure) from failure


def _describe(admin: AdminClient, settings: Settings, metadata: Mapping[str, TopicMetadata]) -> dict[str, Found]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in metadata]
    futures = admin.describe_configs(resources, request_timeout=_REQUEST_SECONDS) if resources else {}
    found = {}
    for resource, future in futures.items():
        entries: dict[str, ConfigEntry] = _result(settings, future)
        partitions = metadata[resource.name].partitions.values()
        found[resource.name] = Found(
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
                lacking = [Right("Create", "topic", topic.name) for topic in topics]
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
