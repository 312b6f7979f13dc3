"""Three nodes in containers, each broker and controller. Law: a record is on all three, and acknowledged by two.

Nodes call each other by name on a Docker network of their own; clients call ports of this machine, which stay the same
through a restart.
"""

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from docker.errors import NotFound
from testcontainers.core.network import Network

from deploy.kafka.container import PORT, PROXIED_PORT, KafkaContainer, prepare
from deploy.kafka.node import SINGLE_NODE, START_SECONDS

NODES = (1, 2, 3)
CONTROLLER_PORT, INSIDE_PORT = 9093, 9095
TOLD_SECONDS = 30.0  # an election takes 1 to 3

TOGETHER = SINGLE_NODE | {
    "listeners": f"PLAINTEXT://0.0.0.0:{PORT},PROXIED://0.0.0.0:{PROXIED_PORT},"
    f"INSIDE://0.0.0.0:{INSIDE_PORT},CONTROLLER://0.0.0.0:{CONTROLLER_PORT}",
    "listener.security.protocol.map": SINGLE_NODE["listener.security.protocol.map"] + ",INSIDE:PLAINTEXT",
    "inter.broker.listener.name": "INSIDE",
    "controller.quorum.voters": ",".join(f"{node}@kafka-{node}:{CONTROLLER_PORT}" for node in NODES),
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "min.insync.replicas": "2",  # of every other topic, that of the groups' offsets too
    # A dead container's address does not refuse, it is silent.
    "socket.connection.setup.timeout.ms": "1000",
    "socket.connection.setup.timeout.max.ms": "2000",
    "heap.opts": "-Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1",  # three start on one machine
}


class Cluster:
    """Running nodes 1, 2 and 3."""

    def __init__(self, image: str) -> None:
        """Starts them; returns when each holds its part of the cluster. Raises WayError without a daemon or the image,
        AssertionError after 90 s."""
        prepare(image)
        self._network = Network().create()
        self._nodes: dict[int, KafkaContainer] = {}
        try:
            for node in NODES:
                container = KafkaContainer(
                    image, TOGETHER | {"node.id": str(node)}, inside=[f"INSIDE://kafka-{node}:{INSIDE_PORT}"]
                )
                self._nodes[node] = container
                container.with_network(self._network).with_network_aliases(f"kafka-{node}").start()
            self.bootstrap_servers = ",".join(container.address() for container in self._nodes.values())
            _eventually(self._is_whole, START_SECONDS, "three nodes in sync")
        except BaseException:  # Ctrl-C too: a container outlives its starter
            self.stop()
            raise

    def kill(self, node: int) -> None:
        """Signal 9: nothing is flushed, nothing is said."""
        container = self._nodes[node].get_wrapped_container()
        container.kill()
        container.wait()

    def restart(self, node: int) -> None:
        """Starts again what was killed, same data, same port; returns when it has caught up with the others."""
        self._nodes[node].get_wrapped_container().start()
        _eventually(self._is_whole, START_SECONDS, f"node {node} in sync again")

    def controller(self) -> int:
        """The node that is the active controller now; waits for an election."""
        deadline = time.monotonic() + TOLD_SECONDS
        while time.monotonic() < deadline:
            for container in self._nodes.values():
                leader = _quorum_leader(container)
                if leader is not None:
                    return leader
            time.sleep(0.5)
        raise AssertionError(f"no active controller within {TOLD_SECONDS} s")

    def stop(self) -> None:
        """Removes nodes, data and network."""
        for container in self._nodes.values():
            with suppress(NotFound):  # somebody else removed it
                container.stop()
        self._network.remove()

    def _is_whole(self) -> bool:
        """Asks each: who came back knows it first, and another may still tell of the time before."""
        return all(_sees_all_in_sync(container.address()) for container in self._nodes.values())


def _sees_all_in_sync(address: str) -> bool:
    # A client of its own, since each ends up asking any node. log_level 0: it would tell of each refused connection.
    try:
        found = AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=3)
    except KafkaException:
        return False
    partitions = [partition for topic in found.topics.values() for partition in topic.partitions.values()]
    return len(found.brokers) == len(NODES) and all(len(partition.isrs) == len(NODES) for partition in partitions)


def _quorum_leader(container: KafkaContainer) -> int | None:
    """Asks a node with DescribeQuorum (API 55, version 0), which confluent-kafka does not offer; None where it is dead
    or knows none. The controller that metadata name is any living broker."""
    topic = b"\x13__cluster_metadata"  # a compact string begins with its length and 1
    header = struct.pack(">hhihB", 55, 0, 0, -1, 0)  # correlation 0, no client's name
    request = header + b"\x02" + topic + b"\x02" + struct.pack(">iBBB", 0, 0, 0, 0)  # one topic, its partition 0
    try:
        answer = _ask(container.address(), request)
    except OSError:
        return None
    if len(answer) < 7 or answer[5:7] != bytes(2):  # behind the correlation: an error code
        return None
    _, error, leader = struct.unpack_from(">ihi", answer, 5 + 2 + 1 + len(topic) + 1)
    return leader if error == 0 and leader >= 0 else None


def _ask(address: str, request: bytes) -> bytes:
    """The answer without its size, empty where the node hangs up. Raises OSError, after 5 s without an answer too."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection, connection.makefile("rb") as answers:
        connection.sendall(struct.pack(">i", len(request)) + request)
        size = answers.read(4)
        return answers.read(int.from_bytes(size, "big"))


def _eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.5)
