"""A server that speaks to the page as the watch server does, with invented facts. Law: it ends with who started it.

It is for the page's own tests: hostile names, a thousand bandits, a server that goes away. The real one is tested with
the real broker.
"""

import json
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import armstream
from tests.watch import invented

PAGE = Path(armstream.__file__).parent / "watch" / "page"
TYPES = {
    ".woff2": "font/woff2",
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
WAITING_EVENTS = 1_000
STREAM_SECONDS = 120


class FakeWatch:
    """Facts that a test changes, and the pages that listen."""

    def __init__(self, bandits: list[invented.Bandit], port: int = 0) -> None:
        self.bandits = {bandit.bandit_id: bandit for bandit in bandits}
        self.pulse = invented.pulse()
        self.operate = invented.operate()
        self.rows: list[dict[str, Any]] = []  # of bandits that cannot be opened
        self.asked: list[str] = []
        self._streams: list[queue.Queue[bytes | None]] = []
        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", port), _handler(self))
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def snapshot(self) -> dict[str, Any]:
        return {
            "version": "0.1.0",
            "cluster": "kafka-1:9092",
            "group": "armstream",
            "topics": {"rewards": "rewards"},
            "now": self.pulse["now"],
            "bandits": [bandit.row() for bandit in self.bandits.values()] + self.rows,
            "pulse": self.pulse,
            "operate": self.operate,
        }

    def add(self, bandit: invented.Bandit) -> None:
        self.bandits[bandit.bandit_id] = bandit
        self.send("rows", {"bandits": [bandit.row()]})

    def send(self, event: str, data: dict[str, Any]) -> None:
        record = f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()
        with self._lock:
            for stream in self._streams:
                stream.put_nowait(record)

    @contextmanager
    def stream(self) -> Iterator["queue.Queue[bytes | None]"]:
        stream: queue.Queue[bytes | None] = queue.Queue(WAITING_EVENTS)
        with self._lock:
            self._streams.append(stream)
        try:
            yield stream
        finally:
            with self._lock:
                self._streams.remove(stream)

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        with self._lock:
            for stream in self._streams:
                stream.put_nowait(None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was closed in the middle of an answer is no error; all else is said."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(fake: FakeWatch) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
            fake.asked.append(self.path)
            if parts.path == "/":
                self._file("index.html")
            elif parts.path.startswith("/assets/"):
                self._file(parts.path.removeprefix("/assets/"))
            elif parts.path == "/events":
                self._events()
            elif parts.path == "/bandit" and asked.get("id") in fake.bandits:
                self._answer(json.dumps(fake.bandits[asked["id"]].whole()).encode(), "application/json")
            elif parts.path == "/explain":
                facts = invented.explained(asked["id"], int(asked["version"]))
                self._answer(json.dumps(facts).encode(), "application/json")
            elif parts.path == "/csv":
                self._answer(b"bandit_id,rule\r\n", "text/csv")
            else:
                self._answer(b"not here", "text/plain", HTTPStatus.NOT_FOUND)

        def _file(self, name: str) -> None:
            path = PAGE / name
            if path.parent != PAGE or not path.is_file():
                self._answer(b"not here", "text/plain", HTTPStatus.NOT_FOUND)
            else:
                self._answer(path.read_bytes(), TYPES.get(path.suffix, "text/plain"))

        def _answer(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
            self._head(kind, status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _head(self, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-store")

        def _events(self) -> None:
            self._head("text/event-stream")
            self.end_headers()
            until = time.monotonic() + STREAM_SECONDS
            with fake.stream() as stream:
                self.wfile.write(f"event: snapshot\ndata: {json.dumps(fake.snapshot())}\n\n".encode())
                while time.monotonic() < until:
                    try:
                        record = stream.get(timeout=0.5)
                    except queue.Empty:
                        record = b": here\n\n"
                    if record is None:
                        return
                    try:
                        self.wfile.write(record)
                        self.wfile.flush()
                    except OSError:
                        return

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
