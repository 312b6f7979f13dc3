"""/metrics, /livez and /readyz. Law: no client keeps another one from its answer, and leaving never waits for one.

One thread turns an event loop, and h11 knows the protocol: with a thread for each client, slow ones took them all. A
connection has so many seconds for each request with its answer, whatever it sends meanwhile. Where all connections are
taken, the one that waits longest makes room for a new one. /metrics is made in another thread, and whoever asks while
it is made shares the next.
"""

import asyncio
import email.utils
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import h11

from armstream.runtime.failures import Stopped
from armstream.runtime.metrics import Metrics
from armstream.settings import Settings

log = logging.getLogger(__name__)

_REQUEST_SECONDS = 10.0
_CONNECTIONS = 64
_HEADER_BYTES = 16_384
_READ_BYTES = 65_536
_STOP_SECONDS = 5.0
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    content_type: str = _TEXT
    headers: tuple[tuple[str, str], ...] = ()


class _Pages:
    """What there is to ask for."""

    def __init__(self, metrics: Metrics, alive: Callable[[], bool], ready: Callable[[], bool]) -> None:
        self._metrics, self._alive, self._ready = metrics, alive, ready
        self._rendering = asyncio.Lock()
        self._rendered: tuple[str, float, _Answer] | None = None  # Accept header, when it was begun, what it became

    async def answer(self, request: h11.Request) -> _Answer:
        if request.method not in (b"GET", b"HEAD"):
            return _Answer(405, b"GET or HEAD\n", headers=(("Allow", "GET, HEAD"),))
        try:
            path = unquote(urlsplit(request.target.decode("ascii")).path)
        except ValueError as error:
            return _Answer(400, f"{error}\n".encode())
        try:
            return await self._page(path, request)
        except Exception:
            log.warning("GET %s failed", path, exc_info=True)
            return _Answer(500, b"it failed; the log says how\n")

    async def _page(self, path: str, request: h11.Request) -> _Answer:
        match path:
            case "/metrics":
                accept = next((value for name, value in request.headers if name == b"accept"), b"")
                return await self._exposition(accept.decode("latin-1"))
            case "/livez":
                return _said(self._alive(), "the loop turns", "the loop has not turned for too long")
            case "/readyz":
                return _said(self._ready(), "assigned and restored", "not assigned, or not restored yet")
        return _Answer(404, b"there are /metrics, /livez and /readyz\n")

    async def _exposition(self, accept: str) -> _Answer:
        """One at a time, and begun after it was asked for."""
        now = asyncio.get_running_loop().time
        asked_at = now()
        async with self._rendering:
            rendered = self._rendered
            if rendered is None or rendered[0] != accept or rendered[1] < asked_at:
                begun_at = now()
                body, content_type = await asyncio.to_thread(self._metrics.exposition, accept)
                rendered = self._rendered = accept, begun_at, _Answer(200, body, content_type)
        return rendered[2]


def _said(holds: bool, yes: str, no: str) -> _Answer:
    return _Answer(200 if holds else 503, f"{yes if holds else no}\n".encode())


class _Connection:
    """One client: its requests are answered in their order, each before the next is read."""

    def __init__(self, pages: _Pages, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pages, self._reader, self._writer = pages, reader, writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_BYTES)
        self._task = asyncio.current_task()
        self._now = asyncio.get_running_loop().time
        self._waits(True)

    @property
    def rank(self) -> tuple[bool, float]:
        """Of who makes room, the lowest: who is not being answered, and so since the longest."""
        return not self._is_waiting, self._since

    def _waits(self, is_waiting: bool) -> None:
        self._is_waiting, self._since = is_waiting, self._now()

    def end(self) -> None:
        assert self._task is not None
        self._task.cancel()

    async def converse(self) -> None:
        """Until either side has enough. What becomes of the client is no fault of ours, and no news."""
        self._writer.transport.set_write_buffer_limits(high=0)  # so that what was drained is sent
        try:
            is_open = True
            while is_open:
                async with asyncio.timeout(_REQUEST_SECONDS):
                    is_open = await self._serve_one()
        except OSError as error:  # a timeout is one too
            log.debug("a client is gone: %r", error)
        finally:
            self._writer.transport.abort()

    async def _serve_one(self) -> bool:
        """A request and its answer; False where there is none, or it is the last."""
        method, is_last = b"", True
        try:
            event = await self._next_event()
            if not isinstance(event, h11.Request):
                return False
            method = event.method
            is_last = not isinstance(self._http.next_event(), h11.EndOfMessage)  # a body comes, and is not read
            self._waits(False)
            answer = await self._pages.answer(event)
        except h11.RemoteProtocolError as error:
            is_last, answer = True, _Answer(error.error_status_hint, f"{error}\n".encode())
        await self._send(answer, method == b"HEAD", is_last)
        self._waits(True)
        if self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            self._http.start_next_cycle()
            await asyncio.sleep(0)  # what one sends at once is not answered before others are
            return True
        await self._take_leave()
        return False

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_READ_BYTES))
        return event

    async def _send(self, answer: _Answer, only_head: bool, is_last: bool) -> None:
        headers = [
            ("Date", email.utils.formatdate(usegmt=True)),
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            *answer.headers,
        ]
        if is_last:
            headers.append(("Connection", "close"))
        events: list[h11.Event] = [h11.Response(status_code=answer.status, headers=headers)]
        if not only_head:
            events.append(h11.Data(data=answer.body))
        self._writer.write(b"".join(self._http.send(event) or b"" for event in (*events, h11.EndOfMessage())))
        await self._writer.drain()

    async def _take_leave(self) -> None:
        """Until the client has left: a close before all is read would take the answer away from it."""
        self._writer.write_eof()
        while await self._reader.read(_READ_BYTES):
            pass


class _Server:
    def __init__(self, pages: _Pages) -> None:
        self._pages = pages
        self._connections: set[_Connection] = set()

    async def serve(self, listener: socket.socket, stopping: asyncio.Future[None]) -> None:
        server = await asyncio.start_server(self._take, sock=listener)
        await stopping
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= _CONNECTIONS:
            oldest = min(self._connections, key=lambda one: one.rank)
            self._connections.remove(oldest)
            oldest.end()
        connection = _Connection(self._pages, reader, writer)
        self._connections.add(connection)
        try:
            await connection.converse()
        except asyncio.CancelledError:
            log.debug("a client was sent away")  # Python 3.11 takes it for a fault, at length
        finally:
            self._connections.discard(connection)


@contextmanager
def serve_http(
    settings: Settings, metrics: Metrics, *, alive: Callable[[], bool], ready: Callable[[], bool]
) -> Iterator[int]:
    """Serves in a thread of its own until the block ends; gives the port, which matters where metrics.port is 0.

    Raises Stopped where the address cannot be had.
    """
    listener = _listen(settings.metrics.host, settings.metrics.port)
    port: int = listener.getsockname()[1]
    loop = asyncio.new_event_loop()
    stopping: asyncio.Future[None] = loop.create_future()

    def turn() -> None:
        try:
            loop.run_until_complete(_Server(_Pages(metrics, alive, ready)).serve(listener, stopping))
        finally:
            loop.close()

    thread = threading.Thread(target=turn, name="http", daemon=True)
    thread.start()
    log.info("serving http://%s:%d/metrics, /livez and /readyz", settings.metrics.host, port)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stopping.set_result, None)
        thread.join(_STOP_SECONDS)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        reason = error.strerror or os.strerror(error.errno or 0)
        raise Stopped(f"metrics.host {host}, metrics.port {port}: {reason}; set another metrics.port") from error
    return listener
