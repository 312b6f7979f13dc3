"""/metrics, /livez and /readyz. Law: answering never waits for the loop, and leaving never waits for a client."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

from armstream.runtime.failures import Stopped
from armstream.runtime.metrics import Metrics
from armstream.settings import Settings

log = logging.getLogger(__name__)

_REQUEST_SECONDS = 5.0
_STOP_SECONDS = 5.0
_MAX_THREADS = 64


class _Server(ThreadingTCPServer):
    """http.server's own would look its host name up, which may take seconds."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, metrics: Metrics, alive: Callable[[], bool], ready: Callable[[], bool]):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.metrics, self.alive, self.ready = metrics, alive, ready
        super().__init__((host, port), _Handler)

    def verify_request(self, *_: object) -> bool:
        """Each request is a thread: past the limit a connection is closed unanswered."""
        return threading.active_count() < _MAX_THREADS

    def handle_error(self, _request: object, client_address: object) -> None:
        log.warning("a request from %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_SECONDS
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            body, content_type = self.server.metrics.exposition(self.headers.get("Accept"))
            self._answer(200, body, content_type)
        elif path == "/livez":
            self._say(self.server.alive(), "the loop turns", "the loop has not turned for too long")
        elif path == "/readyz":
            self._say(self.server.ready(), "assigned and restored", "not assigned, or not restored yet")
        else:
            self._answer(404, b"there are /metrics, /livez and /readyz\n", "text/plain; charset=utf-8")

    def _say(self, holds: bool, yes: str, no: str) -> None:
        self._answer(200 if holds else 503, f"{yes if holds else no}\n".encode(), "text/plain; charset=utf-8")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        log.debug(format, *arguments)


@contextmanager
def serve_http(
    settings: Settings, metrics: Metrics, *, alive: Callable[[], bool], ready: Callable[[], bool]
) -> Iterator[int]:
    """Serves in threads of its own until the block ends; gives the port, which matters where metrics.port is 0.

    Raises Stopped where the address cannot be had.
    """
    host, port = settings.metrics.host, settings.metrics.port
    try:
        server = _Server(host, port, metrics, alive, ready)
    except OSError as error:
        raise Stopped(
            f"metrics.host {host}, metrics.port {port}: {error.strerror}; set another metrics.port"
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="http", daemon=True)
    thread.start()
    port = server.server_address[1]
    log.info("serving http://%s:%d/metrics, /livez and /readyz", host, port)
    try:
        yield port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_STOP_SECONDS)
