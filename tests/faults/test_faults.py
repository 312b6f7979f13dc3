"""The short run: each kind of fault a few times, by a seed that is printed, on a broker that may be killed.

`make faults` is the long one; a failure here is replayed there with the fault's name and the seed: SEED=.. FAULT=..
"""

import os
import random
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from armstream.runtime.failures import Stopped
from armstream.runtime.identity import Watch
from armstream.runtime.loop import Processor, Pulse
from armstream.runtime.metrics import Metrics
from armstream.watermarks import watermarks
from deploy.kafka.broker import Broker, start_kafka
from deploy.kafka.java_cluster import JavaCluster, start_cluster
from deploy.kafka.three import NODES
from tests.faults.connections import answer_cut, delayed, dropped, late, on_requests
from tests.faults.gone import TWO_TASKS, while_busy, while_idle
from tests.faults.proxy import Api, CutAnswer, Delay, Proxy
from tests.faults.schedule import NAMES
from tests.faults.trial import Fault, Trial, attempt
from tests.integration.check import check
from tests.integration.load import history
from tests.integration.processor import Job, eventually

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[Broker]:
    """Never a given one."""
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    with start_kafka(environment=environment) as kafka:
        yield kafka


@pytest.fixture(scope="module")
def proxy(own_kafka: Broker) -> Iterator[Proxy]:
    with Proxy(own_kafka.proxied.advertised, own_kafka.proxied.address) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def cluster() -> Iterator[JavaCluster]:
    with start_cluster(print) as cluster:
        yield cluster


def test_a_partition_whose_leader_died_is_asked_of_the_next_one(cluster: JavaCluster) -> None:
    """By a consumer that knows the dead one."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
    admin.create_topics([NewTopic("led", 1, 3)])["led"].result(30)
    eventually(lambda: leader_of(admin, "led") in NODES, 30, "a leader")
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": "none", "log_level": 0})

    def told() -> bool:
        with suppress(KafkaException):  # nobody leads for a while
            return watermarks(consumer, "led", 0, 0.5) == (0, 0)
        return False

    eventually(told, 40, "the leader tells")
    cluster.kill_node(leader_of(admin, "led"))
    eventually(told, 40, "the next leader tells")
    consumer.close()
    cluster.restart()


def leader_of(admin: AdminClient, topic: str) -> int:
    """-1 where nobody leads, or nobody knows yet."""
    partition = admin.list_topics(topic, timeout=30).topics[topic].partitions.get(0)
    return -1 if partition is None else int(partition.leader)


SINGLE_REQUESTS = Fault(
    "single requests",
    on_requests(
        (Api.TXN_OFFSET_COMMIT, dropped), (Api.PRODUCE, delayed), (Api.END_TXN, late), (Api.END_TXN, answer_cut),
        (Api.END_TXN, late),
    ),
    "each",
)  # fmt: skip


IMPATIENT = """
import socket, time
from confluent_kafka import KafkaException
from armstream.runtime import commit, run


def until_deadline(call, seconds, serve):
    started = time.monotonic()
    while True:
        try:
            return call()
        except KafkaException as failure:
            patience_seconds = 2.0 if is_gone() else seconds
            if not failure.args[0].retriable() or time.monotonic() >= started + patience_seconds:
                raise
            serve()
            time.sleep(0.02)


def is_gone():
    try:
        socket.create_connection(("127.0.0.1", PORT), 5.0).close()
    except ConnectionRefusedError:
        return True
    return False


commit.until_deadline, run._STUCK_SECONDS = until_deadline, 15.0
"""


def without_a_broker(trial: Trial, times: int) -> list[float]:
    """Idle and then busy. Whoever waits for a broker that is gone waits 2 s, in place of 30 and then 90. A call that
    does not come back ends a process after 15 s, in place of 45."""
    port = trial.kafka.bootstrap_servers.rpartition(":")[2]
    (trial.folder / "sitecustomize.py").write_text(IMPATIENT.replace("PORT", port))
    trial.job.python_path = str(trial.folder)
    return [*while_idle(trial, times), *while_busy(trial, times)]


BROKER_GONE = Fault("broker gone", without_a_broker, "it is back", TWO_TASKS, lasts_seconds=8.0)


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (NAMES["SIGKILL"], 3),
        (NAMES["SIGSTOP, session lost"], 1),
        (NAMES["instances join and leave"], 2),
        (NAMES["session lost in a commit"], 1),
        (SINGLE_REQUESTS, 1),
        (NAMES["broker killed"], 1),
        pytest.param(BROKER_GONE, 1, marks=pytest.mark.timeout(600)),  # it took 8 minutes at a load average of 60
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else value,
)
def test_what_kafka_holds_after_a_fault_is_what_one_undisturbed_run_would_have_left(
    fault: Fault, times: int, own_kafka: Broker, proxy: Proxy, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"{fault.name}, {times} times, seed {seed}")  # noqa: T201 - shown where the test fails
    attempt(fault, times, seed, own_kafka, proxy, tmp_path)


@pytest.mark.parametrize("action", [CutAnswer(), Delay(1.2)])
def test_a_transaction_that_lost_a_connection_or_ended_late_is_its_producers_last(
    action: CutAnswer | Delay, own_kafka: Broker, proxy: Proxy, tmp_path: Path
) -> None:
    """Else what of it is still on the way could end a later one."""
    with closing(Job(own_kafka.bootstrap_servers, f"last-{time.monotonic_ns()}-", tmp_path)) as job:
        job.create_topics()
        processor = job.start(overrides={"kafka.bootstrap_servers": own_kafka.proxied.advertised}).wait_until_ready()
        proxy.next(Api.END_TXN, action)
        opened = proxy.next(Api.INIT_PRODUCER_ID, Delay(0.0))
        job.send(history(1, 100, bandits=8, arms=job.settings.online_learning.arms))
        opened.wait_until_met(30)
        job.wait_until_applied(processor)
        assert processor.stop() == 0, processor.text
        check(job)
        assert job.verify()["result"] == "verified"


def test_a_member_that_heard_nothing_for_longer_than_its_session_blames_no_other_process(
    own_kafka: Broker, proxy: Proxy, tmp_path: Path
) -> None:
    """The broker hears its heartbeats, so that the group still knows it; its loop is too busy to learn of the silence.

    librdkafka then heartbeats without a member id, and the group fences it for that.
    """
    with closing(Job(own_kafka.bootstrap_servers, f"silent-{time.monotonic_ns()}-", tmp_path)) as job:
        job.create_topics()
        job.set(
            {
                "kafka.bootstrap_servers": own_kafka.proxied.advertised,
                "kafka.client": '{"reconnect.backoff.max.ms": 200}',  # else its heartbeats come too late for the group
                "instance": "a",
            }
        )
        pulse = Pulse()
        processor = Processor(job.settings, Watch(job.settings), frozenset(), Metrics(job.settings), pulse)

        def ready() -> bool:
            processor.turn()
            return pulse.is_ready

        eventually(ready, 60, "ready", every_seconds=0.0)
        unanswered = proxy.next(Api.HEARTBEAT, CutAnswer(), count=1_000)
        time.sleep(job.settings.kafka.session_timeout_ms / 1_000 + 1.5)
        answered = proxy.next(Api.HEARTBEAT, Delay(0.0))
        unanswered.left = 0
        answered.wait_until_ended(30)
        time.sleep(0.5)  # the answer is on its way
        with pytest.raises(Stopped, match=r"silent for longer than kafka\.session_timeout_ms, 6000, .* nobody else"):
            eventually(lambda: ready() and False, 30, "fenced", every_seconds=0.0)
        processor.close()
