"""/metrics, /livez and /readyz. Law: no probe waits for metrics.

/metrics is made in another thread, and whoever asks while it is made shares the next. How clients are kept apart is
serving.py's law.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import h11

from armstream.runtime.failures import Stopped
from armstream.runtime.metrics import Metrics
from armstream.serving import AddressTaken, Answer, served
from armstream.settings import Settings

log = logging.getLogger(__name__)


class _Pages:
    """What there is to ask for."""

    def __init__(self, metrics: Metrics, alive: Callable[[], bool], ready: Callable[[], bool]) -> None:
        self._metrics, self._alive, self._ready = metrics, alive, ready
        self._rendering = asyncio.Lock()
        self._rendered: tuple[str, float, Answer] | None = None  # Accept header, when it was begun, what it became

    async def answer(self, request: h11.Request) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405, b"GET or HEAD\n", headers=(("Allow", "GET, HEAD"),))
        try:
            path = unquote(urlsplit(request.target.decode("ascii")).path)
        except ValueError as error:
            return Answer(400, f"{error}\n".encode())
        try:
            return await self._page(path, request)
        except Exception:
            log.warning("GET %s failed", path, exc_info=True)
            return Answer(500, b"it failed; the log says how\n")

    async def _page(self, path: str, request: h11.Request) -> Answer:
        match path:
            case "/metrics":
                accept = next((value for name, value in request.headers if name == b"accept"), b"")
                return await self._exposition(accept.decode("latin-1"))
            case "/livez":
                return _said(self._alive(), "the loop turns", "the loop has not turned for too long")
            case "/readyz":
                return _said(self._ready(), "assigned and restored", "not assigned, or not restored yet")
        return Answer(404, b"there are /metrics, /livez and /readyz\n")

    async def _exposition(self, accept: str) -> Answer:
        """One at a time, and begun after it was asked for."""
        now = asyncio.get_running_loop().time
        asked_at = now()
        async with self._rendering:
            rendered = self._rendered
            if rendered is None or rendered[0] != accept or rendered[1] < asked_at:
                begun_at = now()
                body, content_type = await asyncio.to_thread(self._metrics.exposition, accept)
                rendered = self._rendered = accept, begun_at, Answer(200, body, content_type)
        return rendered[2]


def _said(holds: bool, yes: str, no: str) -> Answer:
    return Answer(200 if holds else 503, f"{yes if holds else no}\n".encode())


@contextmanager
def serve_http(
    settings: Settings, metrics: Metrics, *, alive: Callable[[], bool], ready: Callable[[], bool]
) -> Iterator[int]:
    """Serves in a thread of its own until the block ends; gives the port, which matters where metrics.port is 0.

    Raises Stopped where the address cannot be had.
    """
    host, port = settings.metrics.host, settings.metrics.port
    try:
        with served(_Pages(metrics, alive, ready), host, port) as bound:
            log.info("serving http://%s:%d/metrics, /livez and /readyz", host, bound)
            yield bound
    except AddressTaken as taken:
        raise Stopped(f"metrics.host {host}, metrics.port {port}: {taken}; set another metrics.port") from taken
