"""What every single Kafka node has in common, however it is run. Law: a node is ready when it answers, not before."""

import random
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

# One node holds every replica there is; few internal partitions, because each costs a start its files.
SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "8",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "8",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    # A killed broker may register again only when its last session is over.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}

# What a node that stands alone says when it forgets a commit (Kafka 4.3.1): killed between a commit and its marks, it
# resumes them while its partitions wait for a leader, takes the partitions for deleted, and ends without marks.
FORGOT_A_COMMIT = "Couldn't find leader endpoint for partitions"

START_SECONDS = 90  # 4 on two idle cores, 30 on two that are busy


@dataclass(frozen=True, slots=True)
class Proxied:
    """A second client listener, at `address`. The node tells its clients to call `advertised` instead, a loopback
    address where nobody listens unless somebody forwards from there: who is behind a proxy stays behind it."""

    address: str
    advertised: str


@dataclass(frozen=True, slots=True)
class Secured:
    """Client listeners beside the plain one, by name and protocol ({"SCRAM": "SASL_SSL"}), and what they need in
    server.properties, an authorizer for instance."""

    protocols: Mapping[str, str]
    settings: Mapping[str, str]


NOT_SECURED = Secured({}, {})


class WayError(Exception):
    """Kafka cannot be had in this way; the text is one line that says why."""


_given: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listens on, and that this process was not given before: a broker asks for four.

    Below the range from which the system numbers outgoing connections: a client that calls a dead broker in that range
    again and again may be given the broker's own port, and answers itself.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise WayError("100 ports between 20000 and 32000 are all in use")


def wait_until_it_answers(
    bootstrap_servers: str, timeout_seconds: float, alive: Callable[[], bool] = lambda: True
) -> None:
    """Returns when a broker answers for the cluster; raises WayError when it is not alive or the time is up."""
    # log_level 0: librdkafka would tell standard error of each refused connection
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0, "reconnect.backoff.max.ms": 200})
    deadline = time.monotonic() + timeout_seconds
    while alive():
        try:
            if admin.list_topics(timeout=min(1.0, timeout_seconds)).brokers:
                return
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise WayError(f"nothing answers at {bootstrap_servers} ({error.args[0].str()})") from error
    raise WayError("it stopped while it started")
