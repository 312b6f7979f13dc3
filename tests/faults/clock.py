"""Wall clocks that jump, forwards and backwards, while a processor and an engine run.

Law: a jump moves the wall clock alone. The monotonic clock goes on, as it does on a machine whose clock is set:
libfaketime 0.9.10 cannot do so, since Python's sleep by the monotonic clock is then refused.
"""

import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.child import Child
from tests.faults.trial import Trial

_SOURCE = Path(__file__).with_name("wall_clock.c")
_AHEAD_SECONDS = 2.0
_WRONG_SECONDS = 10.0
_STOP_SECONDS = 60.0
_HOUR_SECONDS, _DAY_SECONDS = 3_600, 86_400
_OFFSETS_SECONDS = (-_DAY_SECONDS, -_HOUR_SECONDS, _HOUR_SECONDS, _DAY_SECONDS)


class Clock:
    """Of the processes that start with its `environment`, so many seconds ahead of the machine's."""

    def __init__(self, file: Path) -> None:
        """Right at first. Fails without a C compiler, as `cc`, and glibc."""
        library = file.with_suffix(".so")
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True, timeout=60)
        self._file = file
        self._file.write_bytes(bytes(8))
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(file)}

    def set(self, ahead_seconds: int) -> None:
        """At once: who runs has the file in its memory."""
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", ahead_seconds))

    def jump(self, trial: Trial) -> None:
        self.set(trial.draw.choice(_OFFSETS_SECONDS))


def jumps(trial: Trial, times: int) -> list[float]:
    """The clock of the processor, of the engine, or of both, goes an hour or a day ahead or back, and is set right.

    A broker refuses what is written by a clock more than an hour ahead: such a processor ends, and is started again.
    """
    seconds: list[float] = []
    processors, engines = (Clock(trial.folder / name) for name in ("processor.clock", "engine.clock"))
    trial.variables["a"] = processors.environment
    trial.start("a").wait_until_ready()
    with _engine(trial, engines):
        for _ in range(times):
            trial.wait_for_a_commit()
            trial.sleep(0.0, _AHEAD_SECONDS)
            wrong = trial.draw.choice(((processors,), (engines,), (processors, engines)))
            for clock in wrong:
                clock.jump(trial)
            trial.sleep(0.0, _WRONG_SECONDS)
            for clock in wrong:
                clock.set(0)
            seconds.append(trial.seconds_to_next_commit(time.monotonic()))
    return seconds


@contextmanager
def _engine(trial: Trial, clock: Clock) -> Iterator[None]:
    """Trades beside the load; what it published is a part of what was sent."""
    settings, names = trial.job.settings, trial.job.settings.topics.names
    command = [sys.executable, "-m", "tests.faults.engine", trial.job.bootstrap_servers, names.trades[0], names.weights]
    engine = Child(
        "engine",
        [*command, *settings.online_learning.arms],
        os.environ | clock.environment,
        trial.folder / "engine.log",
    )
    try:
        yield
    finally:
        code = engine.stop(_STOP_SECONDS)
    assert code == 0, engine.tail()
    published = int(engine.log.read_text().splitlines()[-1])
    assert published > 0
    trial.sent_apart_records += published
