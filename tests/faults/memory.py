"""What a process holds. Law: its memory is flat, by the ratio of a late part of a run to an early one."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from tests.faults.trial import Trial
from tests.integration.processor import Process

_EVERY_SECONDS = 10.0
_FLAT_RATIO = 1.25


def soak(seconds: float) -> Callable[[Trial, int], list[float]]:
    """Nothing happens for so long but the load."""

    def inflict(trial: Trial, times: int) -> list[float]:
        assert times == 1
        process, started = trial.start().wait_until_ready(), time.monotonic()
        while time.monotonic() < started + seconds:
            trial.memory.append((time.monotonic() - started, resident_mib(process)))
            trial.load.raise_if_it_failed()
            time.sleep(_EVERY_SECONDS)
        assert_flat([mib for _, mib in trial.memory])
        return [trial.seconds_to_next_commit(time.monotonic())]

    return inflict


def resident_mib(process: Process) -> float:
    """As the kernel counts it. Fails where the process has ended."""
    assert process.is_alive, process.text
    status = Path(f"/proc/{process.process_id}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def assert_flat(mib: Sequence[float]) -> None:
    """The median of the last quarter is at most 1.25 times that of the second one."""
    quarter = len(mib) // 4
    early, late = median(mib[quarter : 2 * quarter]), median(mib[-quarter:])
    assert late <= _FLAT_RATIO * early, f"{early:.0f} MiB in the second quarter, {late:.0f} in the last"
