"""A wait that is told. Law: after two seconds a line says for what, where, and for how long at most."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SAY_AFTER_SECONDS = 2.0

Say = Callable[[str], None]

log = logging.getLogger(__name__)


@contextmanager
def waiting(what: str, most_seconds: float, say: Say = log.warning) -> Iterator[None]:
    """Around a call that may block: `say` is told once, from a thread, when it has not come back by then."""
    timer = threading.Timer(SAY_AFTER_SECONDS, say, [waiting_line(what, most_seconds)])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def waiting_line(what: str, most_seconds: float) -> str:
    return f"waiting for {what}, {most_seconds:g} s at most"
