"""What a start refuses. Law: where a topic was made anew or has grown, that is said, and not how to make the others
like it: a snapshot knows what the topics were.
"""

import logging
import time
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from armstream.codec import DecodeError, decode
from armstream.events import TaskSnapshot
from armstream.keys import TASK_KEY
from armstream.runtime.failures import Stopped
from armstream.runtime.identity import ask, grown, identities, learned_from_another
from armstream.runtime.intake import Record
from armstream.runtime.topics import admin_client, check
from armstream.settings import Settings

log = logging.getLogger(__name__)

_READ_SECONDS = 10.0


def refuse_differences(settings: Settings) -> None:
    """Raises Stopped where a topic is not what the guarantee needs."""
    differences = check(settings)
    for difference in differences:
        if not difference.blocks:
            log.warning("%s", difference)
    blocking = [str(difference) for difference in differences if difference.blocks]
    if blocking:
        raise Stopped(_true_reason(settings) or "; ".join(blocking))


def _true_reason(settings: Settings) -> str:
    """The line that says how the topics are not what a snapshot says; "" where none says so."""
    names, admin = settings.topics.names, admin_client(settings)  # named: a client that is freed never answers
    try:
        snapshot = _a_task_snapshot(settings)
        found = identities(ask(admin, names.all))
    except (KafkaException, TimeoutError, DecodeError) as failure:
        log.warning("no snapshot could be asked what the topics were: %r", failure)
        return ""
    if snapshot is None:
        return ""
    for name in names.inputs:
        before, now = snapshot.topic_ids.get(name), found.get(name)
        if before is None or now is None:
            continue
        if before != now.topic_id:
            return learned_from_another(name, before, now.topic_id)
        if now.partition_count != snapshot.partitions:
            return grown(name, snapshot.partitions, now.partition_count)
    return ""


def _a_task_snapshot(settings: Settings) -> TaskSnapshot | None:
    """Some task's on partition 0, the last one that is there within seconds. Raises KafkaException, DecodeError."""
    consumer = Consumer(
        {
            **settings.kafka.connection(),
            "group.id": settings.kafka.group_id,  # which it does not join
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
        },
        logger=log,
    )
    found: bytes | None = None
    deadline = time.monotonic() + _READ_SECONDS
    try:
        consumer.assign([TopicPartition(settings.topics.names.bandit_snapshots, 0, OFFSET_BEGINNING)])
        while time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is None:
                continue
            if message.error() is not None:  # its end, or there is no such topic
                break
            record = cast(Record, message)
            if record.key() == TASK_KEY:
                found = record.value()
    finally:
        consumer.close()
    snapshot = None if found is None else decode(found)
    return snapshot if isinstance(snapshot, TaskSnapshot) else None
