"""Processors' metrics: whatever answers under an address is told of, and ends nothing."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from armstream.settings import Settings
from armstream.watch import scrape
from armstream.watch.board import Board
from armstream.watch.facts import ProcessorFacts
from armstream.watch.scrape import Scrape

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
TEXT = b"# TYPE armstream_transactions_total counter\narmstream_transactions_total %s\n"


@contextmanager
def answering(*pieces: bytes, every_seconds: float = 0.0) -> Iterator[str]:
    """An address that answers each request so, a piece at a time."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                try:
                    client.recv(65_536)
                    for piece in pieces:
                        client.sendall(piece)
                        time.sleep(every_seconds)
                except OSError:
                    pass  # who asked has left

    threading.Thread(target=answer, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def asked(url: str) -> ProcessorFacts:
    settings = Settings.model_validate({"watch": {"processors": [url]}})
    return Scrape(settings, Board(settings), threading.Event())._ask(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + TEXT % b"+Inf",
        HEAD + TEXT % b"NaN",
        HEAD + b"# TYPE a histogram\na_bucket 1\n",
        HEAD + b"no metrics at all\n",
    ],
)
def test_what_is_no_processor_is_told_of_and_ends_nothing(answer: bytes) -> None:
    with answering(answer) as url:
        found = asked(url)
    assert found.error.startswith(f"{url}/metrics: ")


def test_one_that_answers_ever_so_slowly_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "_READ_SECONDS", 0.3)
    started = time.monotonic()
    with answering(HEAD, *[b"#\n"] * 100, every_seconds=0.1) as url:
        found = asked(url)
    assert "not all of it came within" in found.error
    assert time.monotonic() - started < 5
