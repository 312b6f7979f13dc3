"""What the page costs: `python -m tests.watch.load`. Law: a real broker, a real `armstream watch`, clients that read.

Vectors and rewards of many bandits are published as a processor publishes them, first a history that is read back, then
so many bandits a second. It prints one line of JSON: how long reading back took, the processor seconds that the server
used a second (of one core), its memory, and the bytes a second that each client got.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from random import Random

from confluent_kafka import Producer

from armstream.codec import encode
from armstream.keys import partition_of
from armstream.runtime import topics
from armstream.settings import Settings
from deploy.kafka.broker import start_kafka
from deploy.kafka.node import free_port
from tests.watch.records import reward, vector

ROOT = Path(__file__).parents[2]
ARMS = ("lightgbm", "xgboost", "ridge", "lstm", "carry", "transformer")
PARTITIONS = 8
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
WAIT_SECONDS = 900.0


class Desk:
    """Publishes a reward and the vector behind it, of one bandit after the other."""

    def __init__(self, bootstrap_servers: str, bandits: int) -> None:
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000}
        )
        self._names = [f"book-{number:04d}" for number in range(bandits)]
        self._versions = dict.fromkeys(self._names, 0)
        self._draw = Random(1)

    def update(self, at: int) -> None:
        name, draw = self._names[at % len(self._names)], self._draw
        self._versions[name] += 1
        version = self._versions[name]
        shares = [draw.random() + 0.1 for _ in ARMS]
        weights = [share / sum(shares) for share in shares]
        arm = draw.randrange(len(ARMS))
        earned = reward(name, version, draw.gauss(0.0, 40.0), ARMS[arm], weights[arm])
        self._send("rewards", name, encode(earned))
        self._send("weights", name, encode(vector(name, version, weights, ARMS)))

    def _send(self, topic: str, name: str, value: bytes) -> None:
        self._producer.produce(topic, value, name.encode(), partition_of(name.encode(), PARTITIONS))
        self._producer.poll(0)

    def flush(self) -> None:
        left = self._producer.flush(60)
        if left:
            raise TimeoutError(f"{left} records were not delivered in 60 s")


class Client(threading.Thread):
    """A browser that reads all it is told, and counts."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.received = 0
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.sendall(f"GET /events HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())

    def run(self) -> None:
        while received := self._socket.recv(1 << 20):
            self.received += len(received)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def state_of(port: int) -> str:
    """ "" where it does not answer yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/events", timeout=10) as response:
            for line in response:
                if line.startswith(b"data: "):
                    return str(json.loads(line[6:])["pulse"]["state"])
    except OSError:
        pass
    return ""


def measured(bootstrap_servers: str, arguments: argparse.Namespace) -> dict[str, object]:
    settings = Settings.model_validate(
        {"kafka": {"bootstrap_servers": bootstrap_servers}, "topics": {"partitions": PARTITIONS}}
    )
    topics.create(settings)
    desk = Desk(bootstrap_servers, arguments.bandits)
    for at in range(arguments.history):
        desk.update(at)
    desk.flush()
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "processor"),
        "ARMSTREAM__KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
    }
    command = [sys.executable, "-m", "armstream.cli", "watch", "--http", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return _measure(server.pid, port, desk, arguments)
    finally:
        server.terminate()
        server.wait(30)


def _measure(pid: int, port: int, desk: Desk, arguments: argparse.Namespace) -> dict[str, object]:
    started = time.monotonic()
    while state_of(port) != "live":
        if time.monotonic() - started > WAIT_SECONDS:
            raise TimeoutError("it was not live")
        time.sleep(2)  # each look is a whole snapshot
    read_back_seconds, read_back_cpu = time.monotonic() - started, processor_seconds(pid)
    clients = [Client(port) for _ in range(arguments.clients)]
    for client in clients:
        client.start()
    time.sleep(3)
    snapshot_bytes = clients[0].received if clients else 0
    began, before, received = time.monotonic(), processor_seconds(pid), [client.received for client in clients]
    sent = 0
    while (elapsed := time.monotonic() - began) < arguments.seconds:
        while sent < elapsed * arguments.updates:
            desk.update(sent)
            sent += 1
        time.sleep(0.02)
    desk.flush()
    used = processor_seconds(pid) - before
    told = [client.received - was for client, was in zip(clients, received, strict=True)]
    return {
        "bandits": arguments.bandits,
        "rewards_read_back": arguments.history,
        "read_back_seconds": round(read_back_seconds, 1),
        "read_back_cpu_micros_a_reward": round(1e6 * read_back_cpu / max(arguments.history, 1), 1),
        "updates_a_second": round(sent / elapsed, 1),
        "cpu_share_of_a_core": round(used / elapsed, 4),
        "clients": len(clients),
        "snapshot_kilobytes": round(snapshot_bytes / 1_000),
        "kilobytes_a_second_each": round(sum(told) / max(len(told), 1) / elapsed / 1_000, 1),
        "resident_megabytes": round(resident_bytes(pid) / 1e6),
    }


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.watch.load", description="What the page costs.")
    parser.add_argument("--bandits", type=int, default=1_000)
    parser.add_argument("--history", type=int, default=200_000, help="rewards that are read back (default 200,000)")
    parser.add_argument("--updates", type=float, default=50.0, help="bandits a second (default 50)")
    parser.add_argument("--clients", type=int, default=1, help="pages that are open (default 1)")
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        start_kafka(Path(folder), say=_tell) as broker,
    ):
        sys.stdout.write(f"{json.dumps(measured(broker.bootstrap_servers, arguments))}\n")


if __name__ == "__main__":
    main()
