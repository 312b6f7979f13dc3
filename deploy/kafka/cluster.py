"""Three nodes in containers, each broker and controller. Law: a record is on all three, and acknowledged by two.

Nodes call each other by name on a Docker network of their own; clients call ports of this machine, which stay the same
through a restart.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from docker.errors import NotFound
from testcontainers.core.network import Network

from deploy.kafka.container import PORT, PROXIED_PORT, KafkaContainer, prepare
from deploy.kafka.node import SINGLE_NODE, START_SECONDS
from deploy.kafka.three import NODES, SMALL_HEAP, TOGETHER, quorum_leader, sees_all_in_sync

CONTROLLER_PORT, INSIDE_PORT = 9093, 9095
TOLD_SECONDS = 30.0  # an election takes 1 to 3

IN_CONTAINERS = TOGETHER | {
    "listeners": f"PLAINTEXT://0.0.0.0:{PORT},PROXIED://0.0.0.0:{PROXIED_PORT},"
    f"INSIDE://0.0.0.0:{INSIDE_PORT},CONTROLLER://0.0.0.0:{CONTROLLER_PORT}",
    "listener.security.protocol.map": SINGLE_NODE["listener.security.protocol.map"] + ",INSIDE:PLAINTEXT",
    "inter.broker.listener.name": "INSIDE",
    "controller.quorum.voters": ",".join(f"{node}@kafka-{node}:{CONTROLLER_PORT}" for node in NODES),
    "heap.opts": SMALL_HEAP,
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
                    image, IN_CONTAINERS | {"node.id": str(node)}, inside=[f"INSIDE://kafka-{node}:{INSIDE_PORT}"]
                )
                self._nodes[node] = container
                container.with_network(self._network).with_network_aliases(f"kafka-{node}").start()
            # Asked for now: a container that is dead is waited for, and its address stays.
            self._addresses = [container.address() for container in self._nodes.values()]
            self.bootstrap_servers = ",".join(self._addresses)
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
            for address in self._addresses:
                leader = quorum_leader(address)
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
        return all(map(sees_all_in_sync, self._addresses))


def _eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.5)
