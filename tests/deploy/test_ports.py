"""The ports of a run: the default ones, the same again, and the next free ones where somebody has them."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from armstream.settings import Settings
from deploy import ports as module
from deploy.kafka.node import free_port
from deploy.ports import DEFAULT_PORTS, HOST, KAFKA, METRICS, NoPortError, Ports


@pytest.fixture(autouse=True)
def defaults(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, int]:
    """Defaults that nobody has now: 9092 may be somebody's."""
    found = {KAFKA: free_port(), METRICS: free_port()}
    monkeypatch.setattr(module, "DEFAULT_PORTS", found)
    return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listener(port: int, host: str = "127.0.0.1") -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((host, port))
    server.listen()
    return server


def chosen(data: Path) -> tuple[int, int, list[str]]:
    said: list[str] = []
    with Ports(data, said.append) as ports:
        return ports.kafka(), ports.metrics(), said


def test_the_defaults_are_those_of_the_settings_so_that_a_command_needs_none() -> None:
    kafka, metrics = Settings().kafka.bootstrap_servers, Settings().metrics
    assert kafka == f"localhost:{DEFAULT_PORTS[KAFKA]}"
    assert (metrics.host, metrics.port) == (HOST, DEFAULT_PORTS[METRICS])


def test_free_ports_are_the_default_ones_and_nothing_is_said(tmp_path: Path, defaults: Mapping[str, int]) -> None:
    assert chosen(tmp_path) == (defaults[KAFKA], defaults[METRICS], [])


def test_where_the_default_is_taken_the_next_free_one_is_said_and_used_at_the_next_start_too(
    tmp_path: Path, defaults: Mapping[str, int]
) -> None:
    with listener(defaults[KAFKA], host="0.0.0.0"):
        kafka, metrics, said = chosen(tmp_path)
    assert kafka > defaults[KAFKA]
    assert metrics == defaults[METRICS]
    assert said == [f"Kafka: port {defaults[KAFKA]} is taken; it is {kafka}, and will be at the next start"]
    assert chosen(tmp_path) == (kafka, metrics, [])  # though the default is free again


def test_where_the_kept_one_is_taken_now_the_first_free_one_from_the_default_on_takes_its_place(
    tmp_path: Path, defaults: Mapping[str, int]
) -> None:
    with listener(defaults[METRICS]):
        _, kept, _ = chosen(tmp_path)
    with listener(kept):
        _, metrics, said = chosen(tmp_path)
    assert metrics == defaults[METRICS]
    assert said == [f"metrics: port {kept} is taken; it is {metrics}, and will be at the next start"]


def test_two_runs_that_start_at_once_do_not_choose_the_same_port(tmp_path: Path, stack: ExitStack) -> None:
    """Nobody listens on either yet."""
    runs = [stack.enter_context(Ports(tmp_path / str(number), lambda _: None)) for number in range(2)]
    for number in range(2):
        (tmp_path / str(number)).mkdir()
    assert len({run.kafka() for run in runs} | {run.metrics() for run in runs}) == 4


def test_a_port_that_is_asked_for_again_is_the_same(tmp_path: Path, stack: ExitStack) -> None:
    """A way to Kafka that failed may have asked before."""
    ports = stack.enter_context(Ports(tmp_path, lambda _: None))
    assert ports.kafka() == ports.kafka()


def test_connections_of_the_last_run_that_are_in_time_wait_take_no_port(
    tmp_path: Path, defaults: Mapping[str, int]
) -> None:
    with listener(defaults[KAFKA]) as server:
        client = threading.Thread(target=lambda: socket.create_connection(("127.0.0.1", defaults[KAFKA])).recv(1))
        client.start()
        accepted, _ = server.accept()
        accepted.close()  # who closes first waits
        client.join(10)
    assert chosen(tmp_path)[0] == defaults[KAFKA]


def test_where_all_are_taken_it_says_which_were_tried(
    tmp_path: Path, defaults: Mapping[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRIES", 1)
    port = defaults[KAFKA]
    with listener(port), pytest.raises(NoPortError, match=f"the ports from {port} to {port} are all taken"):
        chosen(tmp_path)
