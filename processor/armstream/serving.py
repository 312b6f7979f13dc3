"""Answers over HTTP/1.1. Law: no client keeps another one from its answer, and leaving never waits for one.

One thread turns an event loop, and h11 knows the protocol: with a thread for each client, slow ones took them all. A
connection has so many seconds for each request with its answer, whatever it sends meanwhile, and a stream so many for
each piece. Where all connections are taken, the one that waits longest makes room for a new one.
"""

import asyncio
import email.utils
import logging
import os
import socket
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Protocol

import h11

log = logging.getLogger(__name__)

_REQUEST_SECONDS = 10.0
_HEADER_BYTES = 16_384
_READ_BYTES = 65_536
_STOP_SECONDS = 5.0
_CONNECTIONS = 64  # beside those that streams take
TEXT = "text/plain; charset=utf-8"


class AddressTaken(Exception):
    """An address cannot be had; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer of 200 without an end: each piece is sent, and taken by the client, before the next is asked for."""

    pieces: AsyncGenerator[bytes, None]
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


class Pages(Protocol):
    """What there is to ask for."""

    async def answer(self, request: h11.Request) -> Answer | Stream:
        """Raises nothing: what fails is an Answer too."""


class _Connection:
    """One client: its requests are answered in their order, each before the next is read."""

    def __init__(self, pages: Pages, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
                stream = None
                async with asyncio.timeout(_REQUEST_SECONDS):
                    is_open, stream = await self._serve_one()
                if stream is not None:
                    await self._send_stream(stream)
        except OSError as error:  # a timeout is one too
            log.debug("a client is gone: %r", error)
        finally:
            self._writer.transport.abort()

    async def _serve_one(self) -> tuple[bool, Stream | None]:
        """A request and its answer, or the stream that is to be sent; False where there is none, or it is the last."""
        method, is_last = b"", True
        answer: Answer | Stream
        try:
            event = await self._next_event()
            if not isinstance(event, h11.Request):
                return False, None
            method = event.method
            is_last = not isinstance(self._http.next_event(), h11.EndOfMessage)  # a body comes, and is not read
            self._waits(False)
            answer = await self._pages.answer(event)
        except h11.RemoteProtocolError as error:
            is_last, answer = True, Answer(error.error_status_hint, f"{error}\n".encode())
        if isinstance(answer, Stream):
            if method != b"HEAD":
                return False, answer
            answer = Answer(200, b"", answer.content_type, answer.headers)
        await self._send(answer, method == b"HEAD", is_last)
        self._waits(True)
        if self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            self._http.start_next_cycle()
            await asyncio.sleep(0)  # what one sends at once is not answered before others are
            return True, None
        await self._take_leave()
        return False, None

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_READ_BYTES))
        return event

    async def _send(self, answer: Answer, only_head: bool, is_last: bool) -> None:
        headers = [
            *_head(answer.content_type),
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

    async def _send_stream(self, stream: Stream) -> None:
        """Until the client has left, or takes too long for a piece. Raises OSError."""
        headers = [*_head(stream.content_type), *stream.headers, ("Connection", "close")]
        await self._write(h11.Response(status_code=200, headers=headers))
        gone = asyncio.ensure_future(self._reader.read(1))  # who listens to a stream says no more
        try:
            async with aclosing(stream.pieces) as pieces:
                async for piece in pieces:
                    if gone.done():
                        return
                    await self._write(h11.Data(data=piece))
        finally:
            gone.cancel()

    async def _write(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
        async with asyncio.timeout(_REQUEST_SECONDS):
            await self._writer.drain()

    async def _take_leave(self) -> None:
        """Until the client has left: a close before all is read would take the answer away from it."""
        self._writer.write_eof()
        while await self._reader.read(_READ_BYTES):
            pass


def _head(content_type: str) -> list[tuple[str, str]]:
    return [("Date", email.utils.formatdate(usegmt=True)), ("Content-Type", content_type)]


class _Server:
    def __init__(self, pages: Pages, streams: int) -> None:
        self._pages, self._streams = pages, streams
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
        if len(self._connections) >= _CONNECTIONS + self._streams:
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
def served(pages: Pages, host: str, port: int, streams: int = 0) -> Iterator[int]:
    """Serves in a thread of its own until the block ends; gives the port, which matters where `port` is 0.

    `streams` is how many `pages` allows at once. Raises AddressTaken where the address cannot be had.
    """
    listener = _listen(host, port)
    bound: int = listener.getsockname()[1]
    loop = asyncio.new_event_loop()
    stopping: asyncio.Future[None] = loop.create_future()

    def turn() -> None:
        try:
            loop.run_until_complete(_Server(pages, streams).serve(listener, stopping))
        finally:
            loop.close()

    thread = threading.Thread(target=turn, name="http", daemon=True)
    thread.start()
    try:
        yield bound
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
        raise AddressTaken(error.strerror or os.strerror(error.errno or 0)) from error
    return listener
