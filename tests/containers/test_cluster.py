"""Three nodes of which any one may die: nothing stops, nothing is lost, nothing is done twice. Law: needs Docker."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its public names, which it does not declare so
    ConfigResource,
    ResourceType,
)

from deploy.kafka.broker import DEFAULT_IMAGE
from deploy.kafka.cluster import Cluster
from deploy.kafka.three import NODES
from tests.faults.trial import Load
from tests.integration.check import check
from tests.integration.load import SHORT_WINDOWS
from tests.integration.processor import Job, Process, eventually

pytestmark = pytest.mark.containers

MORE_SECONDS = 90.0
GAVE_UP = ("the loop has not turned", "start it again")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(os.environ.get("KAFKA_IMAGE") or DEFAULT_IMAGE)
    yield cluster
    cluster.stop()


@pytest.fixture
def job(cluster: Cluster, tmp_path: Path) -> Iterator[Job]:
    with closing(Job(cluster.bootstrap_servers, "cluster-", tmp_path)) as job:
        job.set({**SHORT_WINDOWS, "topics.replication_factor": "3", "kafka.session_timeout_ms": "10000"})
        job.set({"kafka.max_poll_interval_ms": "40000"})  # a loop that hangs is ended after half of it
        yield job


@dataclass(slots=True)
class Supervised:
    """A processor that is started again, as any supervisor would, where it gave up for a reason that this mends."""

    job: Job
    process: Process
    started_again: int = 0

    def keep(self) -> None:
        if not self.process.is_alive:
            assert any(line in self.process.text for line in GAVE_UP), self.process.text
            self.process = self.job.start()
            self.started_again += 1

    def wait_until_more_is_applied(self) -> None:
        """A second's load of every partition: more than was under way when this was asked."""
        trades = self.job.settings.topics.names.trades
        before = self.job.log.committed(trades)

        def more() -> bool:
            self.keep()
            return all(offset >= before[at] + 100 for at, offset in self.job.log.committed(trades).items())

        eventually(more, MORE_SECONDS, "100 records more of every partition applied")


@pytest.mark.timeout(240)
def test_each_node_dies_in_turn_under_load_the_active_controller_first(cluster: Cluster, job: Job) -> None:
    """While one is dead the other two go on; what Kafka then holds is what one undisturbed run would have left."""
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    job.create_topics()
    processor = Supervised(job, job.start().wait_until_ready())
    with Load(job, Random(seed)) as load:
        processor.wait_until_more_is_applied()
        controller = cluster.controller()
        for node in sorted(NODES, key=lambda node: node != controller):
            killed_at = time.monotonic()
            cluster.kill(node)
            processor.wait_until_more_is_applied()
            seconds, again = time.monotonic() - killed_at, processor.started_again
            print(f"node {node} killed: going on after {seconds:.1f} s, started again {again} times")  # noqa: T201 - same
            assert cluster.controller() != node
            cluster.restart(node)
        load.stop()
        processor.keep()
        job.wait_until_applied(processor.process)
    assert processor.process.stop() == 0, processor.process.text

    assert replicas_and_least_in_sync(job) == {(3, "2")}
    assert len(check(job).inputs) == load.sent_records
    assert job.verify()["result"] == "verified"


def replicas_and_least_in_sync(job: Job) -> set[tuple[int, str]]:
    """Of every partition of every topic, Kafka's own too."""
    topics = job.admin.list_topics(timeout=30).topics
    assert set(job.settings.topics.names.all) | {"__consumer_offsets", "__transaction_state"} <= topics.keys()
    described = job.admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in topics])
    return {
        (len(partition.replicas), future.result(30)["min.insync.replicas"].value)
        for resource, future in described.items()
        for partition in topics[resource.name].partitions.values()
    }
