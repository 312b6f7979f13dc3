"""Three nodes on this machine's Java, each broker and controller, in processes of their own.

Law: they end with the thread that made them. A node may have a small disk of its own, a mount in memory (as root on
Linux): that one can be filled.
"""

import errno
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path

from confluent_kafka import ElectionType
from confluent_kafka.admin import AdminClient

from deploy.kafka.broker import CACHE
from deploy.kafka.java import HERE, find_jars, find_java, format_storage, launch, wait_or_end
from deploy.kafka.node import Proxied, WayError, free_port
from deploy.kafka.three import NODES, SMALL_HEAP, TOGETHER, assign_replicas, quorum_leader, sees_all_in_sync

_START_SECONDS = 240.0  # three share what one has
_STOP_SECONDS = 20.0
_LED_SECONDS = 60.0
_FILLER = "filler"
_MIB, _PAGE_BYTES = 1_048_576, 4_096


@contextmanager
def start_cluster(say: Callable[[str], None], disk_mib: int | None = None) -> Iterator["JavaCluster"]:
    """Three nodes on fresh data, which are stopped in order at the end. Raises WayError."""
    with tempfile.TemporaryDirectory(prefix="armstream-cluster-") as folder:
        cluster = JavaCluster(Path(folder), find_jars(CACHE, say), find_java(), disk_mib)
        try:
            say(f"kafka: {cluster.way}")
            yield cluster
        finally:
            cluster.stop()


class JavaCluster:
    """Nodes 1, 2 and 3, running."""

    def __init__(self, folder: Path, jars: Path, java: str, disk_mib: int | None = None) -> None:
        """Starts them on data in `folder`; returns when each has every partition. Raises WayError: a node stopped, 240
        s went by, or a disk of `disk_mib` could not be mounted."""
        self._java = [
            java,
            *SMALL_HEAP.split(),
            "-cp",
            f"{jars}/*",
            f"-Dlog4j2.configurationFile={HERE / 'log4j2.xml'}",
        ]
        self._folders = {node: folder / f"node-{node}" for node in NODES}
        self._addresses = {node: f"127.0.0.1:{free_port()}" for node in NODES}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._mounts: list[Path] = []
        self.bootstrap_servers = ",".join(self._addresses.values())
        self.way = f"Java, three nodes at {self.bootstrap_servers}"
        try:
            self._format(disk_mib)
            for node in NODES:
                self._launch(node)
            self._wait_until_whole()
        except BaseException:
            self.stop()
            raise

    @property
    def proxied(self) -> Proxied:
        raise WayError("three nodes have no listener for a proxy")

    def alive(self) -> bool:
        """All three."""
        return all(self.node_is_alive(node) for node in NODES)

    def node_is_alive(self, node: int) -> bool:
        return self._processes[node].poll() is None

    def kill(self) -> None:
        """Signal 9 to all three."""
        for node in NODES:
            self.kill_node(node)

    def kill_node(self, node: int) -> None:
        """Signal 9: nothing is flushed, nothing is said."""
        self._processes[node].kill()
        self._processes[node].wait()

    def restart(self) -> None:
        """Starts again who is dead, same data, same port; returns when each has every partition."""
        for node in NODES:
            if not self.node_is_alive(node):
                self._launch(node)
        self._wait_until_whole()

    def forgotten_commits(self) -> int:
        """None, ever: the other two have it."""
        return 0

    def stop(self) -> None:
        """In order, within 20 s; else with signal 9. Disks are given back."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for mount in self._mounts:
            subprocess.run(["umount", str(mount)], check=False, timeout=_STOP_SECONDS)

    def controller(self) -> int:
        """The node that is the active controller now; waits for an election."""
        found: list[int] = []

        def told() -> bool:
            leaders = map(quorum_leader, self._addresses.values())
            found.extend(leader for leader in leaders if leader is not None)
            return bool(found)

        _eventually(told, _LED_SECONDS, "an active controller")
        return found[0]

    def move_leaders(self) -> None:
        """Of every partition, Kafka's own topics' too, to its next replica."""
        admin = self._admin()
        replicas = {
            (name, partition.id): [*partition.replicas[1:], partition.replicas[0]]
            for name, topic in admin.list_topics(timeout=30).topics.items()
            for partition in topic.partitions.values()
        }
        assign_replicas(self._addresses[self.controller()], replicas)

        def led() -> bool:
            topics = admin.list_topics(timeout=30).topics
            return all(
                (partition.replicas, partition.leader) == (wanted, wanted[0])
                for (topic, number), wanted in replicas.items()
                if topic in topics
                for partition in [topics[topic].partitions[number]]
            )

        admin.elect_leaders(ElectionType.PREFERRED).result(30)
        _eventually(led, _LED_SECONDS, "every partition led by its first replica")

    def fill_disk(self, node: int) -> None:
        """Nothing more can be written there; what is written may be lost or cut off, as on any full disk."""
        with (self._folders[node] / "log" / _FILLER).open("wb", buffering=0) as filler:
            for size in (_MIB, _PAGE_BYTES):
                _write_until_full(filler, bytes(size))

    def free_disk(self, node: int) -> None:
        (self._folders[node] / "log" / _FILLER).unlink()

    def _format(self, disk_mib: int | None) -> None:
        controllers = {node: f"127.0.0.1:{free_port()}" for node in NODES}
        for node, folder in self._folders.items():
            (folder / "log").mkdir(parents=True)
            if disk_mib is not None:
                self._mount(folder / "log", disk_mib)
            settings = TOGETHER | {
                "node.id": str(node),
                # Three nodes share two cores: one that is slow for 3 s is not dead.
                "broker.session.timeout.ms": "6000",
                "broker.heartbeat.interval.ms": "1000",
                "listeners": f"PLAINTEXT://{self._addresses[node]},CONTROLLER://{controllers[node]}",
                "advertised.listeners": f"PLAINTEXT://{self._addresses[node]}",
                "controller.quorum.voters": ",".join(f"{voter}@{at}" for voter, at in controllers.items()),
                "log.dirs": str(folder / "log" / "data"),
            }
            properties = folder / "server.properties"
            properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
            format_storage(self._java, properties, folder / "broker.log")

    def _mount(self, folder: Path, mib: int) -> None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "armstream", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode != 0:
            raise WayError(f"a disk that can be filled is mounted as root on Linux: {done.stderr.strip()}")
        self._mounts.append(folder)

    def _launch(self, node: int) -> None:
        folder = self._folders[node]
        self._processes[node] = launch(self._java, folder / "server.properties", folder / "broker.log")

    def _wait_until_whole(self) -> None:
        for node, address in self._addresses.items():
            wait_or_end(self._processes[node], address, self._folders[node] / "broker.log", _START_SECONDS)

        def whole() -> bool:
            """Asks each: who came back knows it first, and another may still tell of the time before."""
            return all(map(sees_all_in_sync, self._addresses.values()))

        _eventually(whole, _START_SECONDS, "three nodes in sync")

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})


def _write_until_full(file: RawIOBase, block: bytes) -> None:
    """Beside a broker that writes to the same disk."""
    while True:
        try:
            file.write(block)
        except OSError as failure:
            if failure.errno == errno.ENOSPC:
                return
            raise


def _eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise WayError(f"not within {seconds} s: {what}")
        time.sleep(0.2)
