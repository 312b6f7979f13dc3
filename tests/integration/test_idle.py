"""Idle for longer than anything that a broker forgets, then work. This broker forgets in seconds."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deploy.kafka.broker import Broker, start_kafka
from tests.faults.proxy import Api, Hold, Proxy
from tests.integration.check import check
from tests.integration.load import history
from tests.integration.processor import Job

FORGETFUL = {
    "transactional.id.expiration.ms": "3000",  # 7 days; a start on busy cores takes longer than a second
    "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
    "producer.id.expiration.ms": "3000",  # a day
    "producer.id.expiration.check.interval.ms": "500",
}
IDLE_SECONDS = 8.0


@pytest.fixture(scope="module")
def forgetful_kafka() -> Iterator[Broker]:
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    with start_kafka(environment=environment, settings=FORGETFUL) as broker:
        yield broker


def test_who_was_idle_for_long_works_on_alone_and_as_a_standby_that_takes_over(
    forgetful_kafka: Broker, tmp_path: Path
) -> None:
    """One task: the second instance has none, and no transaction since its start."""
    with closing(Job(forgetful_kafka.bootstrap_servers, f"idle-{time.monotonic_ns()}-", tmp_path)) as job:
        job.set({"topics.partitions": "1"})
        job.create_topics()
        arms = job.settings.online_learning.arms
        records = history(3, 600, bandits=5, arms=arms)
        worker = job.start("a").wait_until_ready()
        standby = job.start("b").wait_until_ready()
        for start in (0, 200):
            job.send(records[start : start + 200])
            job.wait_until_applied(worker, standby)
            time.sleep(IDLE_SECONDS)
        assert worker.stop() == 0, worker.text
        job.send(records[400:])
        job.wait_until_applied(standby)
        assert standby.stop() == 0, standby.text
        found = check(job)
    assert len(found.inputs) == len(records)
    for process in (worker, standby):
        assert "the broker has forgotten this producer" in process.text, "the idle time was too short"


def test_a_transaction_that_loses_every_connection_in_its_middle_goes_on(
    forgetful_kafka: Broker, tmp_path: Path
) -> None:
    """librdkafka gave up all brokers that it knew, and waited for good for one of them, the group's coordinator."""
    proxied = forgetful_kafka.proxied
    with (
        Proxy(proxied.advertised, proxied.address) as proxy,
        closing(Job(forgetful_kafka.bootstrap_servers, f"cut-{time.monotonic_ns()}-", tmp_path)) as job,
    ):
        job.create_topics()
        records = history(4, 900, bandits=5, arms=job.settings.online_learning.arms)
        processor = job.start(overrides={"kafka.bootstrap_servers": proxied.advertised}).wait_until_ready()
        for start in range(0, 900, 300):
            held = proxy.next(Api.ADD_OFFSETS_TO_TXN, Hold()) if start else None
            job.send(records[start : start + 300])
            if held is not None:
                held.wait_until_met(40)
                proxy.cut()
                proxy.forget()
            job.wait_until_applied(processor, seconds=40)
        assert processor.stop() == 0, processor.text
        assert len(check(job).inputs) == len(records)
