"""Which topics stand behind their names. Law: Kafka's id tells a topic that was made anew from the one that it was."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, TopicDescription  # type: ignore[attr-defined]

_REQUEST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """A topic as the brokers have it now."""

    topic_id: str
    partition_count: int


def ask(admin: AdminClient, names: Iterable[str]) -> Mapping[str, Future[TopicDescription]]:
    """Asks the brokers; the answers come in librdkafka's own thread, within 10 s."""
    return admin.describe_topics(TopicCollection(list(names)), request_timeout=_REQUEST_SECONDS)


def identities(asked: Mapping[str, Future[TopicDescription]]) -> dict[str, TopicIdentity]:
    """What was asked, by name; a topic that is not there is not in it. Raises KafkaException or TimeoutError."""
    found = {}
    for name, future in asked.items():
        try:
            topic = future.result(2 * _REQUEST_SECONDS)
        except KafkaException as failure:
            if failure.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        else:
            found[name] = TopicIdentity(str(topic.topic_id), len(topic.partitions))
    return found
