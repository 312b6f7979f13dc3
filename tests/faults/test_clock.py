"""A clock that jumps, in a process that waits by both clocks."""

import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen

from tests.faults.clock import Clock

TELL = """
import sys, time
for _ in sys.stdin:
    time.sleep(0.01)
    print(time.time(), time.monotonic(), flush=True)
"""


def test_a_jump_moves_the_wall_clock_of_who_runs_and_not_its_monotonic_one(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    with Popen(
        [sys.executable, "-c", TELL], stdin=PIPE, stdout=PIPE, text=True, env=os.environ | clock.environment
    ) as told:
        assert told.stdin is not None
        assert told.stdout is not None
        moments = []
        for ahead_seconds in (0, 86_400, -3_600):
            clock.set(ahead_seconds)
            told.stdin.write("\n")
            told.stdin.flush()
            moments.append([float(one) for one in told.stdout.readline().split()])
        told.stdin.close()
        assert told.wait(10) == 0
    (first, at), (ahead, a_little_later), (back, at_last) = moments
    assert 86_400 <= ahead - first < 86_460
    assert -3_600 <= back - first < -3_540
    assert at < a_little_later < at_last < at + 60
