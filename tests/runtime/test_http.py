"""The HTTP side, over real sockets."""

import http.client
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from armstream.runtime.failures import Stopped
from armstream.runtime.http import serve_http
from armstream.runtime.metrics import Metrics
from armstream.settings import Settings


@dataclass
class Loop:
    """What the probes ask."""

    alive: bool = True
    ready: bool = False


def settings_with(port: int = 0, host: str = "127.0.0.1") -> Settings:
    return Settings.model_validate({"metrics": {"port": port, "host": host}})


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(settings_with())


@pytest.fixture
def port(loop: Loop, metrics: Metrics) -> Iterator[int]:
    with serve_http(settings_with(), metrics, alive=lambda: loop.alive, ready=lambda: loop.ready) as bound:
        yield bound


def get(port: int, path: str, host: str = "127.0.0.1", method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, response.headers.get("Content-Type", ""), body


def test_metrics_are_prometheus_text(port: int, metrics: Metrics) -> None:
    metrics.observe_transaction("committed", 0.001, 0.002, 1)
    for path in ("/metrics", "/metrics?name=x"):
        status, content_type, body = get(port, path)
        assert (status, content_type) == (200, metrics.exposition()[1])
        assert 'armstream_transactions_total{outcome="committed"} 1.0' in body.splitlines()


def test_livez_is_whether_the_loop_turns(port: int, loop: Loop) -> None:
    assert get(port, "/livez")[0] == 200
    loop.alive = False
    assert get(port, "/livez")[0] == 503


def test_readyz_is_whether_all_is_restored(port: int, loop: Loop) -> None:
    assert get(port, "/readyz")[0] == 503
    loop.ready = True
    assert get(port, "/readyz")[0] == 200


def test_what_else_there_is_says_itself(port: int) -> None:
    status, _, body = get(port, "/")
    assert (status, body) == (404, "there are /metrics, /livez and /readyz\n")
    assert get(port, "/metrics", method="DELETE")[0] == 501


def test_a_port_in_use_is_a_clear_line(port: int, metrics: Metrics) -> None:
    with (
        pytest.raises(
            Stopped, match=rf"metrics\.host 127\.0\.0\.1, metrics\.port {port}: Address already in use; set another"
        ),
        serve_http(settings_with(port), metrics, alive=lambda: True, ready=lambda: True),
    ):
        pass


def test_a_host_that_is_not_here_is_a_clear_line(metrics: Metrics) -> None:
    with (
        pytest.raises(Stopped, match=r"metrics\.host 192\.0\.2\.1, metrics\.port 0: Cannot assign requested address"),
        serve_http(settings_with(host="192.0.2.1"), metrics, alive=lambda: True, ready=lambda: True),
    ):
        pass


def test_the_bound_port_is_logged(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO),
        serve_http(settings_with(), metrics, alive=lambda: True, ready=lambda: True) as bound,
    ):
        assert f"http://127.0.0.1:{bound}/metrics" in caplog.text


def test_it_is_gone_at_once_when_the_block_ends_also_with_a_client_that_says_nothing(metrics: Metrics) -> None:
    before = threading.active_count()
    with serve_http(settings_with(), metrics, alive=lambda: True, ready=lambda: True) as bound:
        silent = socket.create_connection(("127.0.0.1", bound), timeout=10)
        assert get(bound, "/livez")[0] == 200, "the silent one holds nobody up"
        start = time.monotonic()
    assert time.monotonic() - start < 2
    with pytest.raises(ConnectionRefusedError):
        get(bound, "/livez")
    silent.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline, "a thread was left behind"
        time.sleep(0.05)
    with serve_http(settings_with(bound), metrics, alive=lambda: True, ready=lambda: True) as again:
        assert again == bound


def test_a_client_that_says_nothing_is_sent_away(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=15) as silent:
        assert silent.recv(1) == b"", "closed by the server"


def test_a_failing_probe_is_logged_and_the_next_request_is_served(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> bool:
        raise RuntimeError("no loop")

    with serve_http(settings_with(), metrics, alive=broken, ready=lambda: True) as bound:
        with pytest.raises(http.client.RemoteDisconnected):
            get(bound, "/livez")
        assert get(bound, "/readyz")[0] == 200
    assert "no loop" in caplog.text
