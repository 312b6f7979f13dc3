"""Kafka on any machine: the ways in their order, each failure in a line, and a node that survives signal 9."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from deploy.kafka import broker as ways
from deploy.kafka import container
from deploy.kafka.broker import CACHE, Broker, NoKafkaError, forget, is_loopback, start_kafka
from deploy.kafka.node import Proxied, WayError, free_port, wait_until_it_answers


class Fake:
    """Stands for a broker where only the choice of the way is looked at."""

    bootstrap_servers = "127.0.0.1:1"
    proxied = Proxied("127.0.0.1:2", "127.0.0.1:3")

    def __init__(self, way: str) -> None:
        self.way = way
        self.stops = 0

    def alive(self) -> bool:
        return self.stops == 0

    def kill(self) -> None:
        raise AssertionError("nobody asked for it")

    restart = kill

    def forgotten_commits(self) -> int:
        return 0

    def stop(self) -> None:
        self.stops += 1


def works(way: str) -> Callable[..., Broker]:
    return lambda *_: Fake(way)


def fails(reason: str) -> Callable[..., Broker]:
    def way(*_: object) -> Broker:
        raise WayError(reason)

    return way


@pytest.fixture
def all_ways_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "GivenBroker", works("given"))
    monkeypatch.setattr(ways, "_in_container", works("docker"))
    monkeypatch.setattr(ways, "_on_java", works("java"))
    monkeypatch.setattr(ways, "_after_installing_java", works("installed"))


def way_taken(environment: dict[str, str], data_dir: Path | None = None) -> tuple[str, list[str]]:
    said: list[str] = []
    with start_kafka(data_dir, say=said.append, environment=environment) as kafka:
        return kafka.way, said


@pytest.mark.usefixtures("all_ways_work")
def test_the_first_way_that_works_is_taken_and_each_before_it_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"KAFKA_BOOTSTRAP_SERVERS": "localhost:9092"}
    assert way_taken(given) == ("given", ["kafka: given"])
    assert way_taken({}) == ("docker", ["kafka: docker"])

    monkeypatch.setattr(ways, "GivenBroker", fails("nothing answers"))
    assert way_taken(given)[1] == ["kafka: not by KAFKA_BOOTSTRAP_SERVERS: nothing answers", "kafka: docker"]

    monkeypatch.setattr(ways, "_in_container", fails("no daemon"))
    assert way_taken({}) == ("java", ["kafka: not by Docker: no daemon", "kafka: java"])

    monkeypatch.setattr(ways, "_on_java", fails("no Java"))
    assert way_taken({})[1][1:] == ["kafka: not by Java: no Java", "kafka: installed"]

    monkeypatch.setattr(ways, "_after_installing_java", fails("not root"))
    with pytest.raises(NoKafkaError, match="install Java 17 or later and Maven"):
        way_taken(given)


@pytest.mark.usefixtures("all_ways_work")
def test_who_names_an_image_is_never_given_java_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "_in_container", fails("no daemon"))
    with pytest.raises(NoKafkaError, match="KAFKA_IMAGE is set"):
        way_taken({"KAFKA_IMAGE": "armstream-kafka"})
    assert way_taken({"KAFKA_IMAGE": ""})[0] == "java"


@pytest.mark.usefixtures("all_ways_work")
def test_data_of_an_earlier_run_on_java_is_not_hidden_by_a_docker_daemon_started_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "meta.properties").touch()
    assert way_taken({}, tmp_path)[0] == "java"
    assert way_taken({"KAFKA_IMAGE": "apache/kafka:4.3.1"}, tmp_path)[0] == "docker"


@pytest.mark.usefixtures("all_ways_work")
def test_a_broker_on_another_machine_is_used_only_when_that_is_allowed() -> None:
    remote = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092,kafka.example:9092"}
    with pytest.raises(NoKafkaError, match="KAFKA_ALLOW_REMOTE=1"):
        way_taken(remote)
    assert way_taken(remote | {"KAFKA_ALLOW_REMOTE": "1"})[0] == "given"


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        ("localhost:9092", True),
        ("127.0.0.2:9092, [::1]:9092", True),
        ("PLAINTEXT://127.0.0.1:9092", True),
        ("10.0.0.1:9092", False),
        ("localhost.example:9092", False),
        ("127.0.0.1.example:9092", False),
    ],
)
def test_loopback_is_recognised(servers: str, expected: bool) -> None:
    assert is_loopback(servers) is expected


@pytest.mark.usefixtures("all_ways_work")
def test_a_second_run_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with start_kafka(tmp_path, say=print, environment={}), pytest.raises(NoKafkaError, match="stop it first"):
        way_taken({}, tmp_path)
    assert way_taken({}, tmp_path)[0] == "docker"


def test_a_broker_is_stopped_once_also_when_its_user_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake("docker")
    monkeypatch.setattr(ways, "_in_container", lambda *_: fake)
    with pytest.raises(ZeroDivisionError), start_kafka(say=print, environment={}):
        raise ZeroDivisionError
    assert fake.stops == 1


def test_a_port_is_given_once_whatever_chance_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two listeners of one broker on one port: it does not start."""
    monkeypatch.setattr("deploy.kafka.node.random.sample", lambda ports, count: list(ports)[:count])
    given = [free_port() for _ in range(5)]
    assert len(set(given)) == 5


def test_an_address_where_nothing_answers_is_a_way_that_failed() -> None:
    with pytest.raises(WayError, match="nothing answers at"):
        wait_until_it_answers(f"127.0.0.1:{free_port()}", timeout_seconds=1)


def test_a_docker_daemon_that_does_not_answer_is_a_way_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port()}")
    started = time.monotonic()
    with pytest.raises(WayError, match="no Docker daemon answers"):
        ways._in_container("apache/kafka", None, print, free_port)
    assert time.monotonic() - started < 5


class Daemon(BaseHTTPRequestHandler):
    """A Docker daemon that answers, has no image, and never comes to the end of a pull."""

    def do_GET(self) -> None:
        found = self.path == "/version" or self.path.endswith("/_ping")
        self._answer(200 if found else 404, b'{"ApiVersion": "1.41"}' if found else b'{"message": "No such image"}')

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.server.pull_ends.wait(30)  # type: ignore[attr-defined]

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def slow_daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Daemon)
    server.pull_ends = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever).start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
    yield
    server.pull_ends.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("slow_daemon")
def test_an_image_that_does_not_come_in_time_is_a_way_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert container.PULL_SECONDS == 20
    monkeypatch.setattr(container, "PULL_SECONDS", 0.5)
    with pytest.raises(WayError, match="the image apache/kafka did not come within"):
        container.ContainerBroker("apache/kafka", None)


def own_kafka(data_dir: Path) -> AbstractContextManager[Broker]:
    """One that may be killed: never a given one."""
    return start_kafka(data_dir, environment={k: v for k, v in os.environ.items() if k != "KAFKA_BOOTSTRAP_SERVERS"})


def create_topic(kafka: Broker, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})  # kept: its end would end the request
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()


def write(kafka: Broker, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(topic, value)
    assert producer.flush(30) == 0


def read(kafka: Broker, topic: str, count: int) -> list[bytes | None]:
    settings = {"bootstrap.servers": kafka.bootstrap_servers, "group.id": topic, "auto.offset.reset": "earliest"}
    consumer = Consumer(settings)
    consumer.subscribe([topic])
    try:
        return [record.value() for record in consumer.consume(count, timeout=30)]
    finally:
        consumer.close()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Path]:
    """A data folder, forgotten afterwards."""
    yield tmp_path / "data"
    forget(tmp_path / "data")


@pytest.mark.kafka
def test_who_calls_the_second_listener_is_told_to_come_back_through_the_proxy(kept: Path) -> None:
    """And who calls the first hears of that one alone."""
    with own_kafka(kept) as kafka:
        assert addresses_told_at(kafka.proxied.address) == {kafka.proxied.advertised}
        assert addresses_told_at(kafka.bootstrap_servers) == {kafka.bootstrap_servers}


def addresses_told_at(address: str) -> set[str]:
    # log_level 0: librdkafka would tell of each refused connection to where nobody listens
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    return {f"{node.host}:{node.port}" for node in admin.list_topics(timeout=30).brokers.values()}


@pytest.mark.kafka
def test_a_broker_killed_with_signal_9_goes_on_at_the_same_address_with_its_records(kept: Path) -> None:
    with own_kafka(kept) as kafka:
        create_topic(kafka, "t")
        write(kafka, "t", b"before")
        kafka.kill()
        assert not kafka.alive()
        kafka.restart()
        assert kafka.alive()
        write(kafka, "t", b"after")
        assert read(kafka, "t", 2) == [b"before", b"after"]


STARTED_AND_LEFT = """
import sys, time
from pathlib import Path
from deploy.kafka import java
from tests.deploy.test_kafka import create_topic, own_kafka, write

java.LIBC = None  # as on a system that does not end a broker with its parent
with own_kafka(Path(sys.argv[1])) as kafka:
    create_topic(kafka, "t")
    write(kafka, "t", b"kept")
    print("ready", flush=True)
    time.sleep(120)
"""


@pytest.mark.kafka
def test_a_broker_left_by_a_killed_run_is_ended_by_the_next_which_finds_its_records(kept: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTED_AND_LEFT, str(kept)], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert "ready\n" in run.stdout
        run.kill()
    with own_kafka(kept) as kafka:
        assert read(kafka, "t", 1) == [b"kept"]


CHILD_AND_GRANDCHILD = """
import subprocess, time
from deploy.kafka.java import _end_with_parent
print(subprocess.Popen(["sleep", "60"], preexec_fn=_end_with_parent).pid, flush=True)
time.sleep(60)
"""

if sys.platform == "linux":

    def test_on_linux_a_broker_ends_with_the_process_that_started_it() -> None:
        command = [sys.executable, "-c", CHILD_AND_GRANDCHILD]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CACHE.parent) as run:
            assert run.stdout is not None
            broker = Path(f"/proc/{int(run.stdout.readline())}/cmdline")
            assert b"sleep" in broker.read_bytes()
            run.kill()
        deadline = time.monotonic() + 5
        while broker.exists() and b"sleep" in broker.read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.kafka
def test_the_fixtures_give_a_broker_on_which_a_record_goes_round(kafka: Broker, topic_prefix: str) -> None:
    topic = f"{topic_prefix}trades"
    create_topic(kafka, topic)
    write(kafka, topic, b"\x00")
    assert read(kafka, topic, 1) == [b"\x00"]
