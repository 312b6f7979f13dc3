"""Wall clocks that jump, forwards and backwards, while a processor and an engine run: libfaketime gives each its own.

Law: a jump moves the wall clock alone. The monotonic clock goes on, as it does on a machine whose clock is set.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.child import Child
from tests.faults.trial import Trial

_LIBRARY = "*/faketime/libfaketimeMT.so.1"
_SEEN_SECONDS = 1.0  # the file is read again after that
_AHEAD_SECONDS = 2.0
_STOP_SECONDS = 60.0
_OFFSETS = ("-1d", "-1h", "+0", "+1h", "+1d")


class Clock:
    """Of the processes that start with its `environment`."""

    def __init__(self, file: Path) -> None:
        """Right at first. Fails where libfaketime is not installed."""
        library = next(Path("/usr/lib").glob(_LIBRARY), None)
        assert library is not None, "libfaketime is not here: apt-get install faketime"
        self._file = file
        self._offset = "+0"
        self.set(self._offset)
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": str(round(_SEEN_SECONDS)),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        """Whole or not at all: who reads it meanwhile sees the old one."""
        part = self._file.with_suffix(".part")
        part.write_text(offset + "\n")
        part.replace(self._file)
        self._offset = offset

    def jump(self, trial: Trial) -> None:
        """By an hour or more, to where it was not."""
        self.set(trial.draw.choice([offset for offset in _OFFSETS if offset != self._offset]))


def jumps(trial: Trial, times: int) -> list[float]:
    """The clock of the processor, of the engine, or of both, goes an hour or a day ahead or back."""
    seconds: list[float] = []
    processors, engines = (Clock(trial.folder / name) for name in ("processor.clock", "engine.clock"))
    trial.variables["a"] = processors.environment
    process = trial.start("a").wait_until_ready()
    with _engine(trial, engines):
        for _ in range(times):
            trial.wait_for_a_commit()
            trial.sleep(0.0, _AHEAD_SECONDS)
            for clock in trial.draw.choice(((processors,), (engines,), (processors, engines))):
                clock.jump(trial)
            jumped_at = time.monotonic() + _SEEN_SECONDS
            time.sleep(_SEEN_SECONDS)
            seconds.append(trial.seconds_to_next_commit(jumped_at))
    assert process.is_alive, process.text
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
