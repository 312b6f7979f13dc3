"""The proxy alone, before a server that speaks the framing and answers each request with its own body."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from deploy.kafka.node import free_port
from tests.faults.proxy import Api, CutAnswer, Delay, Drop, Hold, Late, Proxy
from tests.integration.processor import eventually


class Echo:
    """Answers each request with its correlation id and body; remembers the bodies."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        echo = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                while head := self.request.recv(4, socket.MSG_WAITALL):
                    frame = self.request.recv(struct.unpack(">i", head)[0], socket.MSG_WAITALL)
                    echo.seen.append(frame[8:])
                    self.request.sendall(struct.pack(">i", len(frame) - 4) + frame[4:])

        self.server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"


class Client:
    """Speaks the framing through the proxy."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)

    def send(self, api: Api, correlation_id: int, body: bytes) -> None:
        self.socket.sendall(struct.pack(">ihhi", 8 + len(body), api, 0, correlation_id) + body)

    def answer(self) -> tuple[int, bytes] | None:
        """Correlation id and body; None where the connection has ended."""
        head = self.socket.recv(4, socket.MSG_WAITALL)
        if len(head) < 4:
            return None
        frame = self.socket.recv(struct.unpack(">i", head)[0], socket.MSG_WAITALL)
        return struct.unpack(">i", frame[:4])[0], frame[4:]


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def proxy(echo: Echo, address: str) -> Iterator[Proxy]:
    with Proxy(address, echo.address) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy, address: str) -> Iterator[Client]:  # noqa: ARG001 - the proxy listens first
    client = Client(address)
    yield client
    client.socket.close()


def test_what_no_rule_names_passes_in_order(client: Client, echo: Echo) -> None:
    bodies = [b"%d" % number * 1_000 for number in range(50)]
    for number, body in enumerate(bodies):
        client.send(Api.FETCH, number, body)
    assert [client.answer() for _ in bodies] == list(enumerate(bodies))
    assert echo.seen == bodies


def test_a_rule_meets_so_many_requests_of_its_kind_and_no_other(client: Client, proxy: Proxy) -> None:
    rule = proxy.next(Api.END_TXN, Delay(0.0), count=2)
    for number, api in enumerate([Api.PRODUCE, Api.END_TXN, Api.END_TXN, Api.END_TXN, Api.FETCH]):
        client.send(api, number, b"x")
        assert client.answer() == (number, b"x")
    rule.wait_until_ended(5)
    assert len(rule.met_at) == len(rule.ended_at) == 2


def test_a_delayed_request_goes_on_later_and_what_follows_it_too(client: Client, proxy: Proxy) -> None:
    rule = proxy.next(Api.PRODUCE, Delay(0.3))
    started = time.monotonic()
    client.send(Api.PRODUCE, 1, b"a")
    client.send(Api.FETCH, 2, b"b")
    assert [client.answer(), client.answer()] == [(1, b"a"), (2, b"b")]
    assert time.monotonic() - started >= 0.3
    assert rule.wait_until_ended(5) - rule.wait_until_met(5) >= 0.3


def test_a_held_request_waits_for_its_release(client: Client, proxy: Proxy, echo: Echo) -> None:
    hold = Hold()
    rule = proxy.next(Api.END_TXN, hold)
    client.send(Api.END_TXN, 1, b"a")
    rule.wait_until_met(5)
    time.sleep(0.1)
    assert echo.seen == []
    hold.released.set()
    assert client.answer() == (1, b"a")


def test_a_dropped_request_never_arrives_and_its_connection_ends(client: Client, proxy: Proxy, echo: Echo) -> None:
    rule = proxy.next(Api.END_TXN, Drop())
    client.send(Api.END_TXN, 1, b"a")
    assert client.answer() is None
    rule.wait_until_ended(5)
    assert echo.seen == []


def test_a_cut_answer_leaves_the_effect_and_ends_the_connection(client: Client, proxy: Proxy, echo: Echo) -> None:
    rule = proxy.next(Api.END_TXN, CutAnswer())
    client.send(Api.FETCH, 1, b"before")
    client.send(Api.END_TXN, 2, b"a")
    assert client.answer() == (1, b"before")
    assert client.answer() is None
    rule.wait_until_ended(5)
    assert echo.seen == [b"before", b"a"]


def test_a_late_request_arrives_after_its_retry(client: Client, proxy: Proxy, echo: Echo, address: str) -> None:
    rule = proxy.next(Api.END_TXN, Late(0.3))
    client.send(Api.END_TXN, 1, b"first")
    assert client.answer() is None
    again = Client(address)
    again.send(Api.END_TXN, 1, b"retry")
    assert again.answer() == (1, b"retry")
    rule.wait_until_ended(5)
    assert echo.seen == [b"retry", b"first"]


def test_a_request_held_for_a_client_that_gave_up_still_arrives(client: Client, proxy: Proxy, echo: Echo) -> None:
    rule = proxy.next(Api.END_TXN, Delay(0.3))
    client.send(Api.END_TXN, 1, b"a")
    rule.wait_until_met(5)
    client.socket.close()
    rule.wait_until_ended(5)
    eventually(lambda: echo.seen == [b"a"], 5, "the request arrives")


def test_cut_ends_all_and_a_new_connection_passes(client: Client, proxy: Proxy, address: str) -> None:
    client.send(Api.FETCH, 1, b"a")
    assert client.answer() == (1, b"a")
    proxy.cut()
    assert client.answer() is None
    again = Client(address)
    again.send(Api.FETCH, 2, b"b")
    assert again.answer() == (2, b"b")


def test_what_is_out_of_reach_is_back_afterwards(client: Client, proxy: Proxy, address: str) -> None:
    with proxy.out_of_reach():
        assert client.answer() is None
        assert Client(address).answer() is None
    again = Client(address)
    again.send(Api.FETCH, 1, b"a")
    assert again.answer() == (1, b"a")


def test_where_no_broker_listens_the_client_hears_it(address: str) -> None:
    with Proxy(address, f"127.0.0.1:{free_port()}"):
        assert Client(address).answer() is None


def test_a_request_that_does_not_come_is_said(proxy: Proxy) -> None:
    with pytest.raises(AssertionError, match="0 of 1 END_TXN"):
        proxy.next(Api.END_TXN, Drop()).wait_until_met(0.05)
