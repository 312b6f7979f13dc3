"""The HTTP side, over real sockets."""

import http.client
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pytest

from armstream import serving
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


def connected(port: int, sent: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall(sent)
    return client


def said_to(port: int, sent: bytes) -> bytes:
    """All that comes back until the server closes, where nothing is sent behind it."""
    with connected(port, sent) as client:
        client.shutdown(socket.SHUT_WR)
        return all_from(client)


def all_from(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65_536), b""))


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", said)]


GET = b"GET /livez HTTP/1.1\r\nHost: probe\r\n"


def test_livez_answers_while_100_clients_send_a_byte_now_and_then(port: int) -> None:
    """More than there are connections: each of 40 probes is answered, and none waits."""
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.socket()) for _ in range(100)]
        for client in slow:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        for _ in range(40):
            for client in slow:
                with suppress(OSError):  # it has made room, or waits for some
                    client.send(b"G")
            time.sleep(0.1)
            started = time.monotonic()
            assert get(port, "/livez")[0] == 200
            assert time.monotonic() - started < 3.0, "it waited for the slow ones"


def test_livez_answers_while_clients_leave_early_and_ask_what_they_do_not_read(port: int) -> None:
    for sent in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n", b"\0" * 100):
        for _ in range(40):
            connected(port, sent).close()
    assert get(port, "/livez")[0] == 200


def test_where_all_connections_are_taken_the_one_that_waits_longest_makes_room(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "_CONNECTIONS", 2)
    with connected(port) as first, connected(port) as second, connected(port, GET + b"\r\n") as third:
        assert statuses(third.recv(65_536)) == [200]
        assert first.recv(1) == b""
        second.sendall(GET + b"\r\n")
        assert statuses(second.recv(65_536)) == [200]
    assert not caplog.records


def test_a_request_has_a_deadline_as_a_whole_whatever_its_bytes_do(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_REQUEST_SECONDS", 0.5)
    started = time.monotonic()
    with connected(port) as client, suppress(OSError):  # it is reset, or its pipe is broken
        while time.monotonic() - started < 10:
            client.sendall(b"G")
            time.sleep(0.05)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (GET + b"\r\n", [200]),
        (GET + b"Connection: close\r\n\r\n" + GET + b"\r\n", [200]),
        ((GET + b"\r\n") * 3, [200, 200, 200]),
        (GET + b"\r\n" + b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n", [200, 503]),
        (b"GET /livez HTTP/1.0\r\n\r\n", [200]),
        (b"GET http://probe:9464/livez?verbose HTTP/1.1\r\nHost: probe\r\n\r\n", [200]),
        (b"GET /%6Civez HTTP/1.1\r\nHost: h\r\n\r\n", [200]),
        (b"GET /livez%00 HTTP/1.1\r\nHost: h\r\n\r\n", [404]),
        (b"GET /%ff%fe HTTP/1.1\r\nHost: h\r\n\r\n", [404]),
        (b"GET http://[::1/livez HTTP/1.1\r\nHost: h\r\n\r\n", [400]),
        (b"GET /livez HTTP/1.1\r\n\r\n", [400]),  # no Host
        (b"GET /livez\r\n\r\n", [400]),  # HTTP/0.9
        (b"GET /li\0vez HTTP/1.1\r\nHost: h\r\n\r\n", [400]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400]),  # the beginning of TLS
        (b"\0\0\0\0", [400]),
        (GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n", [431]),
        (GET + b"Content-Length: x\r\n\r\n", [400]),
        (b"POST /livez HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n" + b"b" * 300_000, [405]),
        (b"POST /livez HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", [405]),
        (b"CONNECT probe:443 HTTP/1.1\r\nHost: probe:443\r\n\r\n", [405]),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", [405]),
        (b"GET /livez", [400]),
        (b"", []),
    ],
)  # fmt: skip
def test_what_is_odd_has_an_answer_that_arrives_and_keeps_nobody_from_the_next(
    port: int, sent: bytes, expected: list[int]
) -> None:
    """Each client closes its half behind what it sent."""
    assert statuses(said_to(port, sent)) == expected
    assert get(port, "/livez")[0] == 200


def test_a_connection_is_kept_and_one_that_asks_for_its_end_has_it(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.connect()
    kept = connection.sock
    for path in ("/livez", "/metrics", "/nothing", "/livez"):
        connection.request("GET", path)
        connection.getresponse().read()
        assert connection.sock is kept
    connection.close()
    with connected(port, GET + b"Connection: close\r\n\r\n") as client:
        assert b"\r\nConnection: close\r\n\r\nthe loop turns\n" in all_from(client)


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/"])
def test_head_is_get_without_its_body(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers, lengths_bytes = [], []
    for method in ("GET", "HEAD", "GET"):  # the last one finds no body of the one before it
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
        assert (body == b"") is (method == "HEAD")
        lengths_bytes.append(int(response.headers["Content-Length"]))
        assert method == "HEAD" or lengths_bytes[-1] == len(body)
        del response.headers["Date"], response.headers["Content-Length"]
        headers.append((response.status, sorted(response.headers.items())))
    connection.close()
    assert headers[0] == headers[1] == headers[2]
    may_grow_bytes = 20 if path == "/metrics" else 0  # what process_* say may have a digit more
    assert max(lengths_bytes) - min(lengths_bytes) <= may_grow_bytes


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_told_which_there_are(port: int, method: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, "/metrics")
    response = connection.getresponse()
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    connection.close()


def test_metrics_come_as_the_accept_header_asks(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for accept, content_type in (("application/openmetrics-text", "application/openmetrics-text"), ("", "text/plain")):
        connection.request("GET", "/metrics", headers={"Accept": accept})
        response = connection.getresponse()
        assert response.headers["Content-Type"].startswith(content_type)
        assert response.read().endswith(b"# EOF\n") is bool(accept)
    connection.close()


@dataclass
class SlowMetrics:
    """Whose text is made when it is let go, and says how often that was."""

    go_on: threading.Event
    begun: threading.Semaphore
    made: int = 0
    padding_bytes: int = 0

    def exposition(self, _: str) -> tuple[bytes, str]:
        self.begun.release()
        assert self.go_on.wait(10)
        self.made += 1
        return f"made {self.made}".encode() + b" " * self.padding_bytes, "text/plain"


def test_metrics_that_take_long_hold_no_probe_up_and_are_made_once_for_all_who_wait() -> None:
    slow = SlowMetrics(threading.Event(), threading.Semaphore(0))
    with (
        serve_http(settings_with(), slow, alive=lambda: True, ready=lambda: True) as bound,  # type: ignore[arg-type]
        ExitStack() as stack,
    ):
        asked = b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        first = stack.enter_context(connected(bound, asked))
        assert slow.begun.acquire(timeout=10)
        others = [stack.enter_context(connected(bound, asked)) for _ in range(5)]
        assert get(bound, "/livez")[0] == 200
        slow.go_on.set()
        assert b"made 1" in all_from(first)
        assert all(b"made 2" in all_from(other) for other in others), "begun after they had asked"
        assert slow.begun.acquire(timeout=10)
        slow.padding_bytes = 20_000_000
        stack.enter_context(connected(bound, asked))  # reads nothing of 20 MB: neither the next nor the end waits
        assert get(bound, "/livez")[0] == 200
        start = time.monotonic()
    assert time.monotonic() - start < 2


def test_it_is_gone_at_once_when_the_block_ends_also_with_a_client_that_says_nothing(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
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
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_client_that_says_nothing_is_sent_away(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_REQUEST_SECONDS", 0.5)
    with connected(port) as silent:
        assert silent.recv(1) == b"", "closed by the server"


def test_a_failing_probe_is_logged_and_the_next_request_is_served(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> bool:
        raise RuntimeError("no loop")

    with serve_http(settings_with(), metrics, alive=broken, ready=lambda: True) as bound:
        assert get(bound, "/livez")[0] == 500
        assert get(bound, "/readyz")[0] == 200
    assert "no loop" in caplog.text
