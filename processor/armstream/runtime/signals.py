"""SIGTERM and SIGINT. Law: whoever is told to stop has ended within 30 s, in order where it can, and says so where not.

Python runs a signal's handler when the main thread is back from the call that it is in. A call to Kafka may stay away
for long, or for good: so a thread hears of signals through a socket, which the interpreter writes at once.
"""

import atexit
import logging
import os
import signal
import socket
import threading
import time

log = logging.getLogger(__name__)

_IN_ORDER_SECONDS = 25.0  # what sends SIGTERM sends SIGKILL 30 s later
_SAME_SECONDS = 1.0  # a terminal and a supervisor tell the same process the same thing
_NUMBERS = (signal.SIGTERM, signal.SIGINT)


def stop_on_signals() -> threading.Event:
    """Set by the first SIGTERM or SIGINT from now on; call it in the main thread.

    The process then has 25 s to end in order. After that, and at a second signal, it ends with 1 and a line.
    """
    stopping = threading.Event()
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)
    for number in _NUMBERS:
        signal.signal(number, lambda *_: None)
    atexit.register(_ignore)
    threading.Thread(target=_heed, args=(heard, stopping), name="signals", daemon=True).start()
    return stopping


def _ignore() -> None:
    """Python gives signals back to the system while it ends, and one that came then would kill what ended in order."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)


def _heed(heard: socket.socket, stopping: threading.Event) -> None:
    first = _next(heard, None)
    log.info("%s: the batch is finished, then it stops", first)
    stopping.set()
    told_at = time.monotonic()
    while (left_seconds := told_at + _IN_ORDER_SECONDS - time.monotonic()) > 0:
        again = _next(heard, left_seconds)
        if again is not None and time.monotonic() > told_at + _SAME_SECONDS:
            _end(f"{again}, a second time: the process ends at once")
    _end(f"{first} came {_IN_ORDER_SECONDS:.0f} s ago, and a call to Kafka has not come back: the process ends")


def _next(heard: socket.socket, seconds: float | None) -> str | None:
    """The name of the next of our signals; None where none comes in time."""
    heard.settimeout(seconds)
    try:
        number = heard.recv(1)[0]
    except TimeoutError:
        return None
    return signal.Signals(number).name


def _end(line: str) -> None:
    log.critical("%s; nothing is lost, and the next start settles what is left open", line)
    logging.shutdown()
    os._exit(1)
