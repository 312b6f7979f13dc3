"""The processors' /metrics, where a setting names them. Law: who does not answer is told of, and holds nobody up."""

import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, HTTPResponse
from typing import Final
from urllib.error import HTTPError

from armstream.figures import parse_figures
from armstream.settings import Settings
from armstream.watch.board import Board
from armstream.watch.facts import ProcessorFacts

_EVERY_SECONDS: Final = 2.0
_HTTP_SECONDS: Final = 2.0
_READ_SECONDS: Final = 5.0  # for the whole of it, however slowly it comes
_READ_BYTES: Final = 65_536
_MOST_BYTES: Final = 20_000_000
# URLError is an OSError; HTTPException: it speaks something else; the others: no metrics text of ours
_FAILURES: Final = (OSError, HTTPException, ValueError, KeyError, OverflowError)
_AT_ONCE: Final = 8
_MOST_ERROR: Final = 500
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the addresses are the desk's own


class Scrape:
    """A thread that asks them all, now and then."""

    def __init__(self, settings: Settings, board: Board, stopping: threading.Event) -> None:
        self._urls, self._board, self._stopping = settings.watch.processors, board, stopping

    def run(self) -> None:
        """Until it is told to stop; at once where there is nobody to ask."""
        if not self._urls:
            return
        with ThreadPoolExecutor(min(_AT_ONCE, len(self._urls)), "scrape") as askers:
            while not self._stopping.is_set():
                self._board.note_processors(dict(zip(self._urls, askers.map(self._ask, self._urls), strict=True)))
                self._stopping.wait(_EVERY_SECONDS)

    def _ask(self, url: str) -> ProcessorFacts:
        now = self._board.now()
        try:
            with _DIRECT.open(f"{url}/metrics", timeout=_HTTP_SECONDS) as response:
                text = _read(response).decode(errors="replace")
            figures, ready = parse_figures(text), _is_ready(url)
        except _FAILURES as error:
            return ProcessorFacts(url, now, error=f"{url}/metrics: {getattr(error, 'reason', error)}"[:_MOST_ERROR])
        if not figures.is_there:
            return ProcessorFacts(url, now, error=f"{url}/metrics: is not that of a processor")
        started = figures.started_unix
        return ProcessorFacts(
            url,
            now,
            ready,
            figures.version or None,
            figures.events,
            figures.duplicates,
            figures.commits,
            figures.failed_transactions,
            figures.restore_remaining_records,
            None if started is None else round(now / 1e6 - started, 1),
            figures.dedupe_window_seconds,
            figures.dedupe_window_setting_seconds,
            figures.commit_seconds,
        )


def _read(response: HTTPResponse) -> bytes:
    """What comes in time. Raises TimeoutError where it is not all."""
    deadline, found = time.monotonic() + _READ_SECONDS, bytearray()
    while len(found) < _MOST_BYTES and (piece := response.read1(_READ_BYTES)):
        found += piece
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of it came within {_READ_SECONDS:g} s")
    return bytes(found)


def _is_ready(url: str) -> bool:
    try:
        with _DIRECT.open(f"{url}/readyz", timeout=_HTTP_SECONDS) as response:
            return bool(response.status == 200)
    except HTTPError:
        return False
