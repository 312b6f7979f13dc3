"""A consumer group as an operator finds it, and for a moment holds it. Law: nothing is held that others hold."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from armstream.operating.reader import REQUEST_SECONDS
from armstream.runtime.failures import Stopped
from armstream.runtime.topics import admin_client
from armstream.settings import Settings
from armstream.waiting import Say, waiting

_JOIN_SECONDS = 30.0
_POLL_SECONDS = 0.2

T = TypeVar("T")
Place = tuple[str, int]


def refuse_members(settings: Settings, group: str, say: Say) -> None:
    """Raises Stopped where the group has members, or Kafka does not answer."""
    admin = admin_client(settings)  # it answers as long as somebody holds it
    with waiting(_where(settings), REQUEST_SECONDS, say):
        asked = admin.describe_consumer_groups([group], request_timeout=REQUEST_SECONDS)
        members = _result(settings, asked[group]).members
    if members:
        names = ", ".join(
            sorted(f"{member.group_instance_id or member.client_id} on {member.host}" for member in members)
        )
        raise Stopped(
            f"group {group!r} has members: {names}; stop them first. One that has stopped is a member until its "
            f"session ends, kafka.session_timeout_ms, {settings.kafka.session_timeout_ms} ms"
        )


def refuse_offsets(settings: Settings, group: str, say: Say) -> None:
    """Raises Stopped where the group has committed offsets, of whatever topic, or Kafka does not answer."""
    admin = admin_client(settings)
    with waiting(_where(settings), REQUEST_SECONDS, say):
        asked = admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=REQUEST_SECONDS
        )
        found = _result(settings, asked[group]).topic_partitions or []
    topics = sorted({one.topic for one in found if one.offset >= 0})
    if topics:
        raise Stopped(f"group {group!r} is not new: it has offsets of {', '.join(topics)}; name another one")


def stable_offsets(settings: Settings, consumer: Consumer, places: Iterable[Place], say: Say) -> dict[Place, int]:
    """The group's offsets of those places that have one, once no open transaction holds them. `consumer` is a
    read_committed one. Raises KafkaException, and Stopped where a transaction stays open."""
    wanted = [TopicPartition(topic, number) for topic, number in places]
    patience_seconds = settings.kafka.longest_transaction_seconds
    deadline = time.monotonic() + patience_seconds
    with waiting(f"group {settings.kafka.group_id!r}'s offsets", patience_seconds, say):
        while True:
            try:
                found = consumer.committed(wanted, REQUEST_SECONDS)
                break
            except KafkaException as failure:
                if not failure.args[0].retriable() and failure.args[0].code() != KafkaError._TIMED_OUT:
                    raise
                if time.monotonic() > deadline:
                    raise
    for one in found:
        if one.error is not None:
            raise KafkaException(one.error)
    return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}


@contextmanager
def only_member(settings: Settings, partition_count: int, say: Say) -> Iterator[Consumer]:
    """Joins the group, and gives the consumer that holds all of it. It reads nothing.

    Who else joins meanwhile waits until this one leaves, at the end. Raises Stopped where it does not get everything.
    """
    configuration = {**settings.consumer_configuration(), "log_level": 0}
    del configuration["group.instance.id"]  # it leaves at once when it is closed
    consumer = Consumer(configuration)
    try:
        consumer.subscribe(list(settings.topics.names.inputs), on_assign=_hold)
        with waiting(f"group {settings.kafka.group_id!r}", _JOIN_SECONDS, say):
            _wait_for(consumer, partition_count * len(settings.topics.names.inputs), settings)
        yield consumer
    except KafkaException as failure:
        raise Stopped(f"{_where(settings)}: {settings.kafka.masked(failure.args[0].str())}") from failure
    finally:
        consumer.close()


def _hold(consumer: Consumer, partitions: list[TopicPartition]) -> None:
    for partition in partitions:
        partition.offset = OFFSET_BEGINNING
    consumer.assign(partitions)
    consumer.pause(partitions)


def _wait_for(consumer: Consumer, wanted: int, settings: Settings) -> None:
    deadline = time.monotonic() + _JOIN_SECONDS
    while len(consumer.assignment()) < wanted:
        message = consumer.poll(_POLL_SECONDS)
        error = None if message is None else message.error()
        if error is not None and not error.retriable():
            raise KafkaException(error)
        if time.monotonic() > deadline:
            raise Stopped(
                f"group {settings.kafka.group_id!r} did not give all partitions within {_JOIN_SECONDS:.0f} s: "
                "somebody else is in it; stop every processor of the group first"
            )


def _result(settings: Settings, future: Future[T]) -> T:
    try:
        return future.result(2 * REQUEST_SECONDS)
    except TimeoutError as failure:
        raise Stopped(f"{_where(settings)}: no answer within {2 * REQUEST_SECONDS:.0f} s") from failure
    except KafkaException as failure:
        raise Stopped(f"{_where(settings)}: {settings.kafka.masked(failure.args[0].str())}") from failure


def _where(settings: Settings) -> str:
    return f"Kafka at {settings.kafka.bootstrap_servers}"
