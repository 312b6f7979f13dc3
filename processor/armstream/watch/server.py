"""The page over HTTP. Law: it answers GET and HEAD of its own names alone, and nothing that is asked changes anything.

A browser asks under the address that is served, or under a name of watch.hosts: any other Host is refused, so that no
page of elsewhere reaches it by a name of its own (DNS rebinding), and so is a foreign Origin. It has no login and no
cookies. A client of the stream that does not keep up gets a fresh snapshot; what waits for it never grows.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import h11
from msgspec import json

from armstream.serving import Answer, Stream, served
from armstream.settings import Settings
from armstream.watch import csv_text
from armstream.watch.board import Board
from armstream.watch.explaining import Explain, NotExplained
from armstream.watch.views import BanditView

log = logging.getLogger(__name__)

PAGE: Final = Path(__file__).parent / "page"
ROWS_SECONDS: Final = 0.5
PULSE_SECONDS: Final = 1.0
OPERATE_SECONDS: Final = 2.0
HEARTBEAT_SECONDS: Final = 10.0
EXPLAIN_SECONDS: Final = 9.0
_PIECES_WAITING: Final = 16
_EXPLAINED_AT_ONCE: Final = 2
_MOST_TARGET: Final = 4_096

_JSON: Final = "application/json"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".ico": "image/x-icon",
    ".png": "image/png",
}
SECURITY: Final = (
    (
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
)
_NOT_KEPT: Final = (("Cache-Control", "no-store"),)
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


class Refused(Exception):
    """What is asked for is not had; `status` and the text say why."""

    def __init__(self, status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(text)
        self.status, self.headers = status, headers


class _Listener:
    """One client of the stream: what waits for it, in bounded number."""

    def __init__(self, pieces: tuple[bytes, ...]) -> None:
        self._pieces = list(pieces)
        self._there = asyncio.Event()
        self._there.set()
        self.is_behind = self.is_ended = False

    def end(self) -> None:
        self.is_ended = True
        self._there.set()

    def put(self, piece: bytes) -> None:
        """Where too much waits, none of it is sent: a snapshot takes its place."""
        if len(self._pieces) >= _PIECES_WAITING:
            self._pieces.clear()
            self.is_behind = True
        elif not self.is_behind:
            self._pieces.append(piece)
        self._there.set()

    def catch_up(self, snapshot: bytes) -> None:
        self._pieces, self.is_behind = [snapshot], False
        self._there.set()

    async def take(self) -> bytes:
        """All that waits; b"" where it is behind."""
        await self._there.wait()
        self._there.clear()
        taken, self._pieces = b"".join(self._pieces), []
        return taken


class Pages:
    """What there is to ask for."""

    def __init__(self, settings: Settings, board: Board, hosts: frozenset[str], explain: Explain | None) -> None:
        self._board, self._hosts, self._explain = board, hosts, explain
        self._most_clients = settings.watch.clients
        self._listeners: set[_Listener] = set()
        self._turning: asyncio.Task[None] | None = None
        self._explaining = 0
        self._snapshot: bytes | None = None

    async def answer(self, request: h11.Request) -> Answer | Stream:
        try:
            _judge(request, self._hosts)
            return await self._page(*_path_and_query(request))
        except Refused as refused:
            return _answer(refused.status, f"{refused}\n".encode(), headers=(*refused.headers, *_NOT_KEPT))
        except Exception:
            log.warning("a request failed", exc_info=True)
            return _answer(500, b"it failed; the log says how\n")

    async def _page(self, path: str, query: dict[str, str]) -> Answer | Stream:
        match path:
            case "/":
                return _asset("index.html")
            case "/livez":
                return _answer(200, b"the page is served\n", headers=_NOT_KEPT)
            case "/events":
                return self._listen()
            case "/bandit":
                return _as_json(json.encode(self._bandit(query)))
            case "/csv":
                return self._csv(query)
            case "/explain":
                return await self._explained(query)
            case _ if path.startswith("/assets/"):
                return _asset(path.removeprefix("/assets/"))
        raise Refused(404, "there are /, /assets/NAME, /events, /bandit, /explain, /csv and /livez")

    def _bandit(self, query: dict[str, str]) -> BanditView:
        bandit_id = _given(query, "id")
        found = self._board.bandit(bandit_id)
        if found is None:
            raise Refused(404, "there is no bandit of this name; the list has all that there are")
        return found

    def _csv(self, query: dict[str, str]) -> Answer:
        view = _given(query, "view")
        if view == "desk":
            body = csv_text.desk(self._board.rows())
        elif view == "operate":
            body = csv_text.operate(self._board.whole_operate())
        elif view == "bandit" and query.get("of", "") in csv_text.BANDIT_TABLES:
            body, view = csv_text.bandit(self._bandit(query), query["of"]), f"bandit-{query['of']}"
        else:
            raise Refused(400, "view must be desk, operate, or bandit with of=weights, rewards or arms")
        named = ("Content-Disposition", f'attachment; filename="armstream-{view}.csv"')
        return _answer(200, body, "text/csv; charset=utf-8", (named, *_NOT_KEPT))

    async def _explained(self, query: dict[str, str]) -> Answer:
        bandit_id, version = _given(query, "id"), _given(query, "version")
        if not version.isdecimal() or len(version) > 18:
            raise Refused(400, "version must be a whole number")
        if self._explain is None:
            raise Refused(503, "this server explains nothing")
        if self._explaining >= _EXPLAINED_AT_ONCE:
            raise Refused(503, "others are being explained: ask again in some seconds", (("Retry-After", "5"),))
        self._explaining += 1
        asked = asyncio.ensure_future(asyncio.to_thread(self._explain, bandit_id, int(version)))
        asked.add_done_callback(self._end_explaining)
        await asyncio.wait([asked], timeout=EXPLAIN_SECONDS)
        if not asked.done():
            raise Refused(
                503, f"it takes longer than {EXPLAIN_SECONDS:g} s: armstream explain, in a terminal, may wait"
            )
        try:
            return _as_json(asked.result().encode())
        except NotExplained as why:
            raise Refused(why.status, str(why)) from why

    def _end_explaining(self, asked: "asyncio.Future[str]") -> None:
        """Also where nobody waits for it any more."""
        self._explaining -= 1
        if not asked.cancelled():
            asked.exception()

    # The stream.

    def _listen(self) -> Stream:
        if len(self._listeners) >= self._most_clients:
            full = f"{self._most_clients} browsers look already, which is watch.clients: close one"
            raise Refused(503, full, (("Retry-After", "10"),))
        return Stream(self._pieces(), "text/event-stream; charset=utf-8", (*SECURITY, *_NOT_KEPT))

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        """What one client is told, from its snapshot on."""
        if len(self._listeners) >= self._most_clients:
            return  # others came in the same moment; it asks again, and hears so
        if self._turning is None or self._turning.done():
            self._board.changes()  # of before: the snapshot has it
            self._board.is_snapshot_due()
            self._snapshot = None
            self._turning = asyncio.create_task(self._turn())
        listener = _Listener((b"retry: 2000\n\n", self._fresh_snapshot()))
        self._listeners.add(listener)
        try:
            while not listener.is_ended:
                piece = await listener.take()
                if listener.is_behind:
                    listener.catch_up(self._fresh_snapshot())
                elif piece:
                    yield piece
        finally:
            self._listeners.discard(listener)

    async def _turn(self) -> None:
        """As long as somebody listens. Where it fails, who listens is sent away, and comes again."""
        try:
            await self._tell()
        except Exception:
            log.warning("the stream failed", exc_info=True)
            for listener in self._listeners:
                listener.end()

    async def _tell(self) -> None:
        """Tells all who listen what changes, as long as there are some."""
        due = {"pulse": 0.0, "operate": 0.0, "heartbeat": monotonic() + HEARTBEAT_SECONDS}
        operate_told = b""
        while self._listeners:
            now = monotonic()
            self._snapshot = None
            rows, gone = self._board.changes()
            if self._board.is_snapshot_due():
                for listener in self._listeners:
                    listener.catch_up(self._fresh_snapshot())
            pieces = [_event("rows", {"bandits": rows})] if rows else []
            pieces += [_event("gone", {"bandits": gone})] if gone else []
            if now >= due["pulse"]:
                due["pulse"] = now + PULSE_SECONDS
                pieces.append(_event("pulse", self._board.pulse()))
            if now >= due["operate"]:
                due["operate"] = now + OPERATE_SECONDS
                operate = _event("operate", self._board.operate())
                pieces += [operate] if operate != operate_told else []
                operate_told = operate
            if now >= due["heartbeat"]:
                due["heartbeat"] = now + HEARTBEAT_SECONDS
                pieces.append(b": here\n\n")
            if pieces:
                piece = b"".join(pieces)
                for listener in self._listeners:
                    listener.put(piece)
            await asyncio.sleep(max(ROWS_SECONDS - (monotonic() - now), 0.05))

    def _fresh_snapshot(self) -> bytes:
        """Those who come between two turns share it."""
        if self._snapshot is None:
            self._snapshot = _event("snapshot", self._board.snapshot())
        return self._snapshot


def _event(name: str, data: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), json.encode(data))


def _judge(request: h11.Request, hosts: frozenset[str]) -> None:
    """Raises Refused for what no browser of ours asks."""
    if request.method not in (b"GET", b"HEAD"):
        raise Refused(405, "GET or HEAD: nothing is written here", (("Allow", "GET, HEAD"),))
    headers: dict[bytes, list[bytes]] = {}
    for name, value in request.headers:
        headers.setdefault(name, []).append(value)
    asked = [value.decode("latin-1").lower() for value in headers.get(b"host", [])]
    if len(asked) != 1 or asked[0] not in hosts:
        raise Refused(421, "this Host is not served here: use the address that it was started with, or set watch.hosts")
    target = request.target
    if not target.startswith(b"/") or target.startswith(b"//") or len(target) > _MOST_TARGET:
        raise Refused(400, "the path must begin with one /, and be short")
    for origin in headers.get(b"origin", []):
        parts = origin.decode("latin-1").lower().split("://")
        if len(parts) != 2 or parts[0] not in ("http", "https") or parts[1] != asked[0]:
            raise Refused(403, "another origin may not ask here")
    site, mode = headers.get(b"sec-fetch-site", [b""])[-1], headers.get(b"sec-fetch-mode", [b""])[-1]
    if site in (b"cross-site", b"same-site") and mode != b"navigate":
        raise Refused(403, "another site may not ask here")


def _path_and_query(request: h11.Request) -> tuple[str, dict[str, str]]:
    """Raises Refused."""
    try:
        parts = urlsplit(request.target.decode("ascii"))
        path = unquote(parts.path, errors="strict")
        query = parse_qs(parts.query, keep_blank_values=True, errors="strict", max_num_fields=10)
    except ValueError as error:
        raise Refused(400, f"the path cannot be read: {error}") from error
    if any(len(values) > 1 for values in query.values()):
        raise Refused(400, "each argument once")
    return path, {name: values[0] for name, values in query.items()}


def _given(query: dict[str, str], name: str) -> str:
    if not query.get(name):
        raise Refused(400, f"{name} must be given")
    return query[name]


def _asset(name: str) -> Answer:
    """A file of the page's own folder, by its name: no path is opened that was not listed."""
    found = _assets().get(name)
    if found is None:
        raise Refused(404, "there is no such file")
    body, content_type = found
    return _answer(200, body, content_type, (("Cache-Control", "no-cache"),))


@cache
def _assets() -> dict[str, tuple[bytes, str]]:
    """All of them: name -> what it holds, and its type."""
    files = (path for path in sorted(PAGE.iterdir()) if path.is_file() and path.suffix in _TYPES)
    return {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in files}


def _as_json(body: bytes) -> Answer:
    return _answer(200, body, _JSON, _NOT_KEPT)


def _answer(
    status: int, body: bytes, content_type: str = _TYPES[".txt"], headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    return Answer(status, body, content_type, (*SECURITY, *headers))


def hosts_of(settings: Settings, host: str, port: int) -> frozenset[str]:
    """What a browser may name in Host: the address, loopback's other names, and those of the settings."""
    shown = f"[{host}]" if ":" in host else host
    names = [shown]
    if shown in _LOOPBACK or host in ("0.0.0.0", "::"):
        names += _LOOPBACK
    found = {f"{name}:{port}" for name in names} | ({*names} if port == 80 else set())
    for name in settings.watch.hosts:
        found |= {name, f"{name}:{port}"}
    return frozenset(name.lower() for name in found)


@contextmanager
def serve_page(settings: Settings, board: Board, host: str, port: int, explain: Explain | None = None) -> Iterator[int]:
    """Serves in a thread of its own until the block ends; gives the port. Raises AddressTaken."""
    pages = _Late()
    with served(pages, host, port, settings.watch.clients) as bound:
        pages.answer_by = Pages(settings, board, hosts_of(settings, host, bound), explain).answer
        yield bound


class _Late:
    """Pages that are made once the port is known."""

    answer_by: Callable[[h11.Request], Awaitable[Answer | Stream]] | None = None

    async def answer(self, request: h11.Request) -> Answer | Stream:
        if self.answer_by is None:
            return Answer(503, b"in a moment\n")
        return await self.answer_by(request)
