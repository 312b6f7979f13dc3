"""`armstream watch`: threads that read, and the page or the screen that shows. Law: it ends at once when told to."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from armstream.access import watch_rights
from armstream.runtime.failures import Stopped
from armstream.runtime.topics import require
from armstream.serving import AddressTaken
from armstream.settings import Settings
from armstream.waiting import Say
from armstream.watch.board import Board
from armstream.watch.explaining import explainer
from armstream.watch.follow import Follower
from armstream.watch.group import GroupWatch
from armstream.watch.scrape import Scrape
from armstream.watch.server import serve_page

log = logging.getLogger(__name__)

_JOIN_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.2
_SAY_SECONDS: Final = 5.0
_LOCAL: Final = ("127.0.0.1", "::1", "localhost")


def watch_page(settings: Settings, host: str, port: int, say: Say) -> None:
    """Serves the page until Ctrl-C or SIGTERM. Raises Stopped where Kafka or the address is not had."""
    _heed_signals()
    try:
        require(settings, watch_rights(settings), say)
        with following(settings) as board, serve_page(settings, board, host, port, explainer(settings)) as bound:
            shown = f"[{host}]" if ":" in host else host
            say(f"http://{shown}:{bound}/ shows it; Ctrl-C stops it, and nothing else")
            if host not in _LOCAL:
                say(f"whoever reaches {shown}:{bound} sees all of it: it has no login; put a proxy with one before it")
            _until_told(board, say)
    except KeyboardInterrupt:
        return
    except AddressTaken as taken:
        raise Stopped(f"--http {host}:{port}: {taken}; name another port") from taken


def watch_screen(settings: Settings, show: Callable[[Board], None], say: Say) -> None:
    """Calls `show` now and then until Ctrl-C or SIGTERM. Raises Stopped where Kafka does not answer at the start."""
    _heed_signals()
    try:
        require(settings, watch_rights(settings), say)
        with following(settings) as board:
            while True:
                show(board)
                time.sleep(2 * _LOOK_SECONDS)
    except KeyboardInterrupt:
        return


@contextmanager
def following(settings: Settings) -> Iterator[Board]:
    """A board into which threads write until the block ends."""
    board, stopping = Board(settings), threading.Event()
    failed: list[BaseException] = []
    threads = [
        threading.Thread(target=_guarded, args=(work, board, failed), name=name, daemon=True)
        for name, work in (
            ("follow", Follower(settings, board, stopping).run),
            ("group", GroupWatch(settings, board, stopping).run),
            ("scrape", Scrape(settings, board, stopping).run),
        )
    ]
    for thread in threads:
        thread.start()
    try:
        yield board
    finally:
        stopping.set()
        for thread in threads:
            thread.join(_JOIN_SECONDS)


def _guarded(work: Callable[[], None], board: Board, failed: list[BaseException]) -> None:
    """A fault of ours is told as well: the page must not look as if all were well."""
    try:
        work()
    except Exception as error:
        failed.append(error)
        log.exception("watch: a thread has ended")
        board.note_failed(f"This watch has failed: {error!r}. Its log says where; start it again.")


def _heed_signals() -> None:
    """A shell starts its background jobs with SIGINT ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def _until_told(board: Board, say: Say) -> None:
    """Tells how far the reading is, and what troubles it, until Ctrl-C or SIGTERM raises KeyboardInterrupt."""
    told, told_at = "", time.monotonic()
    while True:
        time.sleep(_LOOK_SECONDS)
        pulse = board.pulse()
        line = pulse.text if pulse.state in ("no-broker", "error") else pulse.state
        if pulse.progress is not None:
            if time.monotonic() - told_at > _SAY_SECONDS:
                told_at = time.monotonic()
                say(f"reading rewards back: {pulse.progress.read:,} of {pulse.progress.of:,}")
        elif line != told:
            told = line
            say(f"watch: {line}")
