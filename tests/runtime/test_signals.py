"""A process that is told to stop ends, also where its main thread never comes back from a call."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

PROCESS = """
import ctypes, logging, os, signal, sys
from armstream.runtime import signals

logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
signals._IN_ORDER_SECONDS = float(sys.argv[2])
stopping = signals.stop_on_signals()
print("turning", flush=True)
if sys.argv[1] == "ending":
    class Last:
        def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):
            kill(pid, number)
    last = Last()  # the interpreter takes it down with its module, after it gave the signals back
if sys.argv[1] == "stuck":
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)  # the second one waits for good, and no handler runs
print("stopped in order" if stopping.wait(60) else "never told", flush=True)
"""


@contextmanager
def running(kind: str, in_order_seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROCESS, kind, str(in_order_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "turning\n"
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.read().splitlines()


def test_who_turns_stops_in_order_also_where_it_is_told_twice_at_once() -> None:
    """As by a terminal and a supervisor together."""
    with running("turning", 60.0) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert said(process)[-1] == "stopped in order"


def test_a_signal_that_comes_while_the_interpreter_ends_does_not_make_an_orderly_end_a_death() -> None:
    with running("ending", 60.0) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert said(process)[-1] == "stopped in order"


def test_who_hangs_in_a_call_ends_when_its_time_is_up_and_says_so() -> None:
    with running("stuck", 1.5) as process:
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 1
        assert time.monotonic() - started > 1.4
        first, last = said(process)
        assert first == "SIGTERM: the batch is finished, then it stops"
        assert "SIGTERM came 2 s ago, and a call to Kafka has not come back: the process ends" in last


def test_a_second_signal_ends_it_at_once() -> None:
    with running("stuck", 60.0) as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 1
        assert "SIGINT, a second time: the process ends at once" in said(process)[-1]
