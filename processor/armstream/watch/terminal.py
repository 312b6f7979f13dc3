"""The screen of `armstream watch` without --http: what `make run` shows, for any cluster. Law: as screen.py's."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.live import Live

from armstream.screen import HISTORY_VECTORS, BanditView, View, plain_line, render
from armstream.settings import Settings
from armstream.waiting import Say
from armstream.watch import run
from armstream.watch.board import Board

_PLAIN_SECONDS: Final = 5.0
_HINT: Final = "armstream watch --http shows more, on a page"


def watch_screen(settings: Settings, say: Say) -> None:
    """Until Ctrl-C or SIGTERM. Raises Stopped where Kafka does not answer at the start."""
    started = time.monotonic()
    with _display() as show:
        run.watch_screen(settings, lambda board: show(view_of(board, time.monotonic() - started)), say)


def view_of(board: Board, elapsed_seconds: float) -> View:
    """What the board knows, as the screen has it; the processors' own figures where settings name them."""
    settings, pulse = board.settings, board.pulse()
    bandits = tuple(
        BanditView(bandit.vector, tuple(rows))
        for bandit, rows in board.weights_over_time(HISTORY_VECTORS)
        if bandit.vector is not None
    )
    figures, latencies = board.figures()
    return View(
        title=f"{settings.kafka.bootstrap_servers}  {settings.kafka.group_id}  {pulse.state}",
        hint=_HINT if pulse.progress is None else f"{_HINT}   read {pulse.progress.read:,} of {pulse.progress.of:,}",
        elapsed_seconds=elapsed_seconds,
        figures=None if pulse.text else figures,
        events_per_second=pulse.events_per_second or 0.0,
        commit_seconds=latencies,
        close_to_commit_seconds=None,
        updates=sum(len(bandit.history) for bandit in bandits),
        bandits=bandits,
        waits_for=pulse.text,
    )


@contextmanager
def _display() -> Iterator[Callable[[View], None]]:
    """The screen; or, without a terminal, a line every few seconds."""
    console = Console()
    if console.is_terminal:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            yield lambda view: live.update(render(view, *console.size), refresh=True)
        return
    said = -_PLAIN_SECONDS

    def show(view: View) -> None:
        nonlocal said
        if view.elapsed_seconds - said >= _PLAIN_SECONDS:
            said = view.elapsed_seconds
            sys.stdout.write(f"{plain_line(view)}\n")
            sys.stdout.flush()

    yield show
