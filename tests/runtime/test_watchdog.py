"""The thread that ends a process whose loop hangs in a call, and only then."""

import signal
import subprocess
import sys
import time

LOOP = """
import sys, time
from armstream.runtime.loop import Pulse
from armstream.runtime.run import _watch

pulse = Pulse()
_watch(pulse, 1.0)
print("turning", flush=True)
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    pulse.turned_at = time.monotonic()
    for _ in range(8):
        time.sleep(0.1)  # one long one would be over when the process wakes
print("stuck", flush=True)
time.sleep(60)
"""


def test_a_loop_that_does_not_turn_any_more_ends_the_process() -> None:
    with subprocess.Popen([sys.executable, "-c", LOOP, "0"], stdout=subprocess.DEVNULL) as process:
        try:
            assert process.wait(20) == 1
        finally:
            process.kill()


def test_a_process_that_was_stopped_as_a_whole_goes_on() -> None:
    """Its loop has not turned for as long, and nothing hangs."""
    with subprocess.Popen([sys.executable, "-c", LOOP, "30"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "turning\n"
            process.send_signal(signal.SIGSTOP)
            time.sleep(3.0)
            process.send_signal(signal.SIGCONT)
            time.sleep(1.0)
            assert process.poll() is None
        finally:
            process.kill()
