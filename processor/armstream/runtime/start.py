"""What a start refuses. Law: where a topic was made anew or has grown, that is said, and not how to make the others
like it: a snapshot knows what the topics were.
"""

import logging

from confluent_kafka import Consumer, KafkaException

from armstream.access import processor_rights
from armstream.events import TaskSnapshot
from armstream.runtime.committed import last_task_snapshots
from armstream.runtime.failures import Stopped
from armstream.runtime.identity import ask, grown, identities, learned_from_another, those_of_before
from armstream.runtime.topics import admin_client, check, require
from armstream.settings import Settings
from armstream.watermarks import watermarks

log = logging.getLogger(__name__)

_READ_SECONDS = 10.0
_WATERMARK_SECONDS = 3.0


def refuse_differences(settings: Settings) -> None:
    """Raises Stopped where a right lacks, or a topic is not what the guarantee needs."""
    require(settings, processor_rights(settings))
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
        found = identities(ask(admin, names.all))
        found_before = those_of_before(ask(admin, (names.bandit_snapshots,)))
        places = (names.snapshots, names.bandit_snapshots)
        there = [name for name in places if found.get(name) or found_before.get(name)]
        snapshot = next(filter(None, (_a_task_snapshot(settings, name) for name in there)), None)
    except (KafkaException, TimeoutError, Stopped) as failure:
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


def _a_task_snapshot(settings: Settings, topic: str) -> TaskSnapshot | None:
    """Some task's on partition 0, the last one. Raises KafkaException, and Stopped where it cannot be read."""
    consumer = Consumer(
        {
            "fetch.wait.max.ms": 20,
            **settings.kafka.connection(),
            "group.id": settings.kafka.group_id,  # which it does not join
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
        },
        logger=log,
    )
    try:
        marks = watermarks(consumer, topic, 0, _WATERMARK_SECONDS)  # up to where the first open transaction began
        return None if marks is None else last_task_snapshots(consumer, topic, {0: marks}, _READ_SECONDS).get(0)
    finally:
        consumer.close()
