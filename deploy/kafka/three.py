"""What three nodes have in common, however they are run, and what they say. Law: a record is on all three, and
acknowledged by two."""

import socket
import struct
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.kafka.node import SINGLE_NODE, WayError

NODES = (1, 2, 3)
SMALL_HEAP = "-Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"  # three start on one machine

TOGETHER = SINGLE_NODE | {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "min.insync.replicas": "2",  # of every other topic, that of the groups' offsets too
    # A dead container's address does not refuse, it is silent.
    "socket.connection.setup.timeout.ms": "1000",
    "socket.connection.setup.timeout.max.ms": "2000",
}


def sees_all_in_sync(address: str) -> bool:
    """Whether this node answers, and knows of three nodes that have every partition."""
    # A client of its own, since each ends up asking any node. log_level 0: it would tell of each refused connection.
    try:
        found = AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=3)
    except KafkaException:
        return False
    partitions = [partition for topic in found.topics.values() for partition in topic.partitions.values()]
    return len(found.brokers) == len(NODES) and all(len(partition.isrs) == len(NODES) for partition in partitions)


def quorum_leader(address: str) -> int | None:
    """Asks a node with DescribeQuorum (API 55, version 0), which confluent-kafka does not offer; None where it is dead
    or knows none. The controller that metadata name is any living broker."""
    topic = b"\x13__cluster_metadata"  # a compact string begins with its length and 1
    header = struct.pack(">hhihB", 55, 0, 0, -1, 0)  # correlation 0, no client's name
    request = header + b"\x02" + topic + b"\x02" + struct.pack(">iBBB", 0, 0, 0, 0)  # one topic, its partition 0
    try:
        answer = ask(address, request)
    except OSError:
        return None
    if len(answer) < 7 or answer[5:7] != bytes(2):  # behind the correlation: an error code
        return None
    _, error, leader = struct.unpack_from(">ihi", answer, 5 + 2 + 1 + len(topic) + 1)
    return leader if error == 0 and leader >= 0 else None


def assign_replicas(address: str, replicas: Mapping[tuple[str, int], Sequence[int]]) -> None:
    """Asks the active controller for them with AlterPartitionReassignments (API 45, version 0), which confluent-kafka
    does not offer. The first replica of each partition is the one to lead it. Raises WayError where it refuses."""
    topics: dict[str, list[bytes]] = {}
    for (topic, number), nodes in replicas.items():
        wanted = struct.pack(f">iB{len(nodes)}iB", number, len(nodes) + 1, *nodes, 0)
        topics.setdefault(topic, []).append(wanted)
    body = b"".join(
        _length(len(name) + 1) + name.encode() + _length(len(wanted) + 1) + b"".join(wanted) + b"\0"
        for name, wanted in topics.items()
    )
    header = struct.pack(">hhihB", 45, 0, 0, -1, 0)  # correlation 0, no client's name
    answer = ask(address, header + struct.pack(">i", 30_000) + _length(len(topics) + 1) + body + b"\0")
    (error,) = struct.unpack_from(">h", answer, 4 + 1 + 4)  # behind the correlation, its tags, and the throttle time
    if error:
        raise WayError(f"the controller refuses to move replicas: error {error}")


def _length(number: int) -> bytes:
    """As compact fields have it: seven bits a byte, the least first."""
    head = b""
    while number > 127:
        head += bytes([number & 127 | 128])
        number >>= 7
    return head + bytes([number])


def ask(address: str, request: bytes) -> bytes:
    """The answer without its size, empty where the node hangs up. Raises OSError, after 5 s without an answer too."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection, connection.makefile("rb") as answers:
        connection.sendall(struct.pack(">i", len(request)) + request)
        size = answers.read(4)
        return answers.read(int.from_bytes(size, "big"))
