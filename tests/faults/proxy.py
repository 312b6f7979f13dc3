"""A proxy between Kafka's clients and a broker that does something to single requests.

Law: bytes pass in order and unchanged, or their connection ends. Requests are told apart by the header that all of
them share: a length of 4 bytes, then api key and version (2 bytes each) and the correlation id (4 bytes) that the
answer repeats.
"""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import IntEnum
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import BinaryIO, Self

_FRAME_BYTES_AT_MOST = 128 * 1024 * 1024
_HELD_SECONDS_AT_MOST = 120.0
_STOP_SECONDS = 10.0
Socket = socket.socket


class Api(IntEnum):
    """Api keys of Kafka's protocol."""

    PRODUCE = 0
    FETCH = 1
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


@dataclass(frozen=True, slots=True)
class Delay:
    """The request, and what follows it on its connection, goes on after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """The request goes on when it is released, or after two minutes."""

    released: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Drop:
    """The broker never sees the request; its connection ends."""


@dataclass(frozen=True, slots=True)
class CutAnswer:
    """The request takes effect; its connection ends in place of the answer."""


@dataclass(frozen=True, slots=True)
class Late:
    """The client's connection ends at once; the broker gets the request so many seconds later, after its retry."""

    seconds: float


Action = Delay | Hold | Drop | CutAnswer | Late


class Rule:
    """What happens to the next `count` requests of one kind, and when it happened (time.monotonic)."""

    def __init__(self, api: Api, action: Action, count: int) -> None:
        self.api = api
        self.action = action
        self.left = count
        self.met_at: list[float] = []
        self.ended_at: list[float] = []
        self._count = count
        self._changed = threading.Condition()

    def wait_until_met(self, seconds: float) -> float:
        """The first such request is here: when that was. Fails where none comes."""
        return self._wait(self.met_at, 1, seconds)

    def wait_until_ended(self, seconds: float) -> float:
        """All was done to the last of them: when that was."""
        return self._wait(self.ended_at, self._count, seconds)

    def _wait(self, moments: list[float], count: int, seconds: float) -> float:
        with self._changed:
            came = self._changed.wait_for(lambda: len(moments) >= count, seconds)
        assert came, f"{len(moments)} of {count} {self.api.name} requests within {seconds} s for {self.action}"
        return moments[count - 1]

    def note(self, moments: list[float]) -> None:
        with self._changed:
            moments.append(time.monotonic())
            self._changed.notify_all()


class Proxy:
    """Listens at `address` and forwards to `upstream`, both "host:port"; a context."""

    def __init__(self, address: str, upstream: str) -> None:
        self._rules: list[Rule] = []
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._out_of_reach = False
        self._upstream = _host_and_port(upstream)
        proxy = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                proxy._serve(self.request)

        class Server(ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(_host_and_port(address), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self.forget()
        self.cut()
        self._server.server_close()
        self._thread.join(_STOP_SECONDS)

    def next(self, api: Api, action: Action, count: int = 1) -> Rule:
        """From now on, what happens to the next `count` requests of this kind."""
        rule = Rule(api, action, count)
        with self._lock:
            self._rules.append(rule)
        return rule

    def forget(self) -> None:
        """No rule any more; what is held goes on."""
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            if isinstance(rule.action, Hold):
                rule.action.released.set()

    @contextmanager
    def out_of_reach(self) -> Iterator[None]:
        """Every connection ends, and new ones at once, until the block does."""
        with self._lock:
            self._out_of_reach = True
        self.cut()
        try:
            yield
        finally:
            self._out_of_reach = False

    def cut(self) -> None:
        """Ends every connection."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.end()

    def take(self, api_key: int) -> Rule | None:
        """The rule for a request that is here now, which counts it."""
        with self._lock:
            for rule in self._rules:
                if rule.api == api_key and rule.left:
                    rule.left -= 1
                    return rule
        return None

    def _serve(self, client: Socket) -> None:
        try:
            broker = socket.create_connection(self._upstream, timeout=_STOP_SECONDS)
        except OSError:  # nobody listens: so it is told to the client
            return
        for end in (client, broker):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(self, client, broker)
        with self._lock:
            if self._out_of_reach:
                broker.close()
                return
            self._links.add(link)
        try:
            link.run()
        finally:
            with self._lock:
                self._links.discard(link)


class _Link:
    """One client's connection, and ours to the broker."""

    def __init__(self, proxy: Proxy, client: Socket, broker: Socket) -> None:
        self._proxy = proxy
        self._client = client
        self._broker = broker
        self._cut_at: dict[int, Rule] = {}  # by correlation id: the answers in whose place the link ends

    def run(self) -> None:
        """Until one side ends."""
        answers = threading.Thread(target=self._pass_answers, name="proxy-answers", daemon=True)
        answers.start()
        try:
            for frame in _frames(self._client.makefile("rb")):
                self._pass_request(frame)
        except OSError:
            pass  # a connection that is cut is what this is for: the other end hears of it below
        if self._cut_at:
            answers.join(_STOP_SECONDS)  # the request is on its way: its effect is waited for
        self.end()
        answers.join(_STOP_SECONDS)
        self._broker.close()

    def end(self) -> None:
        for one in (self._client, self._broker):
            _shut(one)

    def _pass_request(self, frame: bytes) -> None:
        api_key, _, correlation_id = struct.unpack_from(">hhi", frame, 4)
        rule = self._proxy.take(api_key)
        if rule is None:
            self._broker.sendall(frame)
            return
        rule.note(rule.met_at)
        match rule.action:
            case Drop():
                self.end()
                rule.note(rule.ended_at)
            case CutAnswer():
                self._cut_at[correlation_id] = rule
                self._broker.sendall(frame)
            case Late(seconds):
                self._cut_at[correlation_id] = rule
                _shut(self._client)
                time.sleep(seconds)
                self._broker.sendall(frame)
            case Delay(seconds):
                time.sleep(seconds)
                self._broker.sendall(frame)
                rule.note(rule.ended_at)
            case Hold(released):
                released.wait(_HELD_SECONDS_AT_MOST)
                self._broker.sendall(frame)
                rule.note(rule.ended_at)

    def _pass_answers(self) -> None:
        try:
            for frame in _frames(self._broker.makefile("rb")):
                rule = self._cut_at.pop(struct.unpack_from(">i", frame, 4)[0], None)
                if rule is not None:
                    self.end()
                    rule.note(rule.ended_at)
                    return
                with suppress(OSError):  # a client that is gone: what it asked before may still be on its way
                    self._client.sendall(frame)
        except OSError:
            pass  # as above
        _shut(self._client)


def _frames(stream: BinaryIO) -> Iterator[bytes]:
    """Whole frames with their length before them, until the stream ends."""
    while len(head := stream.read(4)) == 4:
        (size,) = struct.unpack(">i", head)
        assert 4 <= size <= _FRAME_BYTES_AT_MOST, f"not Kafka's protocol: a frame of {size} bytes"
        body = stream.read(size)
        if len(body) < size:
            return
        yield head + body


def _shut(end: Socket) -> None:
    with suppress(OSError):  # it may have ended by itself
        end.shutdown(socket.SHUT_RDWR)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
