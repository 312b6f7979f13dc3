"""What happens to one broker of three, or two: it dies, its partitions are led by others, its disk is full."""

import time
from collections.abc import Callable, Iterator

from deploy.kafka.java_cluster import JavaCluster
from deploy.kafka.three import NODES
from tests.faults.trial import Trial
from tests.integration.processor import eventually

_ENDS_SECONDS = 60.0
_AHEAD_SECONDS = 1.0

SETTINGS = {"topics.replication_factor": "3", "kafka.session_timeout_ms": "10000"}
DISK_MIB = 1_024


def kill_one(trial: Trial, times: int) -> list[float]:
    """Signal 9 to a broker, the active controller half of the time; the others go on, and it comes back."""
    seconds: list[float] = []
    for cluster in _before_commits(trial, times):
        node = cluster.controller() if trial.draw.random() < 0.5 else trial.draw.choice(NODES)
        cluster.kill_node(node)
        seconds.append(trial.seconds_to_next_commit(time.monotonic()))
        cluster.restart()
    return seconds


def move_leaders(trial: Trial, times: int) -> list[float]:
    """Every partition gets another leader, those of the group and of the transactions too."""
    seconds: list[float] = []
    for cluster in _before_commits(trial, times):
        cluster.move_leaders()
        seconds.append(trial.seconds_to_next_commit(time.monotonic()))
    return seconds


def full_disks(count: int) -> Callable[[Trial, int], list[float]]:
    """The disks of so many brokers are full, which ends these; then there is room again, and they are started.

    One is done without. Two are not: nothing is acknowledged until they are back.
    """

    def inflict(trial: Trial, times: int) -> list[float]:
        seconds: list[float] = []
        for cluster in _before_commits(trial, times):
            full = trial.draw.sample(NODES, count)
            for node in full:
                cluster.fill_disk(node)
            eventually(lambda: not any(map(cluster.node_is_alive, full)), _ENDS_SECONDS, "a full disk ends its broker")  # noqa: B023
            ended_at = time.monotonic()
            if count == 1:
                seconds.append(trial.seconds_to_next_commit(ended_at))
            for node in full:
                cluster.free_disk(node)
            cluster.restart()
            if count > 1:
                seconds.append(trial.seconds_to_next_commit(time.monotonic()))
        return seconds

    return inflict


def _before_commits(trial: Trial, times: int) -> Iterator[JavaCluster]:
    """The three brokers, so often, each time shortly before a commit under load."""
    cluster = cluster_of(trial)
    trial.running()
    for _ in range(times):
        trial.wait_for_a_commit()
        trial.sleep(0.0, _AHEAD_SECONDS)
        yield cluster


def cluster_of(trial: Trial) -> JavaCluster:
    assert isinstance(trial.kafka, JavaCluster), "this fault needs three brokers"
    return trial.kafka
