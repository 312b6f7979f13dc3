"""Moving on purpose, as docs/operating/moving.md says it: to another cluster with a copy that keeps offsets."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its public names, which it does not declare so
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from armstream import __version__
from armstream.keys import TASK_KEY
from deploy.kafka.broker import Broker, start_kafka
from tests.integration.check import check
from tests.integration.load import history
from tests.integration.log import Record
from tests.integration.processor import Job, eventually
from tests.integration.test_refusals import has_no_members
from tests.integration.test_reset import refused, reset


@pytest.fixture(scope="module")
def second_kafka() -> Iterator[Broker]:
    """Another cluster, with other topic ids."""
    own = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    with start_kafka(environment=own) as broker:
        yield broker


@pytest.fixture
def target(second_kafka: Broker, job: Job, tmp_path: Path) -> Iterator[Job]:
    """The same job by name on the other cluster."""
    folder = tmp_path / "target"
    folder.mkdir()
    target = Job(second_kafka.bootstrap_servers, job.settings.topics.prefix, folder)
    yield target
    target.close()


def copy(source: Job, target: Job) -> None:
    """Every committed record with its key, value, headers and time; an input's at its offset."""
    target.create_topics()
    date_records_by(target, "CreateTime")  # else they would be of today: what is late would not be
    producer = Producer({"bootstrap.servers": target.bootstrap_servers, "enable.idempotence": True, "acks": "all"})
    for name in source.settings.topics.names.all:
        for record in source.log.read(name):
            producer.produce(
                name,
                record.value,
                record.key,
                partition=record.partition,
                timestamp=record.message.timestamp()[1],
                headers=list(record.message.headers() or []),
            )
        assert producer.flush(60) == 0
    date_records_by(target, "LogAppendTime")
    for name in source.settings.topics.names.inputs:
        assert list(map(facts, target.log.read(name))) == list(map(facts, source.log.read(name)))


def facts(record: Record) -> tuple[object, ...]:
    message = record.message
    return record.partition, record.offset, record.key, record.value, message.headers(), message.timestamp()[1]


def date_records_by(job: Job, clock: str) -> None:
    setting = "message.timestamp.type"
    entry = ConfigEntry(setting, clock, incremental_operation=AlterConfigOpType.SET)
    for name in job.settings.topics.names.inputs:
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        job.admin.incremental_alter_configs([resource])[resource].result(30)

        def is_known(resource: ConfigResource = resource) -> bool:
            return bool(job.admin.describe_configs([resource])[resource].result(30)[setting].value == clock)

        eventually(is_known, 30, f"the broker dates records by {clock}")


def test_a_copy_in_another_cluster_that_keeps_offsets_is_adopted_and_learned_on(job: Job, target: Job) -> None:
    for each in (job, target):
        each.set({"topics.partitions": "2"})
    job.create_topics()
    arms = job.settings.online_learning.arms
    processor = job.start().wait_until_ready()
    job.send(history(1, 300, bandits=6, arms=arms))
    job.wait_until_applied(processor)
    assert processor.stop() == 0
    job.send(history(2, 40, bandits=6, arms=arms, name="q"))  # not read yet
    stood = job.log.committed(job.settings.topics.names.inputs)

    copy(job, target)
    assert "to-snapshots" in target_refusal(target)
    assert "is of other topics than these: " in refused(target, "to-snapshots")
    code, would, _ = reset(target, "to-snapshots", "--accept-topics", "--dry-run")
    assert code == 0
    assert target.log.committed(target.settings.topics.names.inputs) == dict.fromkeys(stood, 0)
    code, done, _ = reset(target, "to-snapshots", "--accept-topics")
    assert code == 0
    assert done == would.replace("would set", "set").replace("nothing was changed\n", "")
    assert target.log.committed(target.settings.topics.names.inputs) == stood
    assert reset(target, "to-snapshots")[1].endswith("there is nothing to set\n")
    assert writers_of_newest(target) == {0: __version__.encode(), 1: __version__.encode()}, "reset wrote these"

    processor = target.start().wait_until_ready()
    target.send(history(3, 100, bandits=6, arms=arms, name="r"))
    target.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text
    check(target)
    assert target.verify()["result"] == "verified"
    assert len(target.log.read(target.settings.topics.names.trades[0])) == 440


def writers_of_newest(job: Job) -> dict[int, object]:
    """What the newest task snapshot of each partition says of who wrote it."""
    records = job.log.read(job.settings.topics.names.snapshots)
    newest = {record.partition: record.message for record in records if record.key == TASK_KEY}
    return {number: dict(message.headers() or ()).get("armstream.version") for number, message in newest.items()}


def target_refusal(target: Job) -> str:
    """The last line of a processor that starts on the copy as it is."""
    process = target.start()
    assert process.exit_code(120) == 1, process.text
    eventually(lambda: has_no_members(target, target.settings.kafka.group_id), 30, "its session has ended", 0.5)
    return process.text.splitlines()[-1]


def test_a_copy_that_is_not_whole_is_refused_and_nothing_is_set(job: Job, target: Job) -> None:
    for each in (job, target):
        each.set({"topics.partitions": "1"})
    job.create_topics()
    processor = job.start().wait_until_ready()
    job.send(history(1, 50, bandits=2, arms=job.settings.online_learning.arms))
    job.wait_until_applied(processor)
    assert processor.stop() == 0
    copy(job, target)
    trades = job.settings.topics.names.trades[0]
    target.admin.delete_topics([trades])[trades].result(30)
    target.create_topics()
    line = refused(target, "to-snapshots", "--accept-topics")
    assert line.startswith(f"{trades}:0 ends at 0, and the snapshot has applied what was before 50: ")
