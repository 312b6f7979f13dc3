"""What a process holds. Law: its memory is flat, by the ratio of a late part of a run to an early one."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from tests.faults.processes import tasks_of
from tests.faults.state import open_positions
from tests.faults.trial import Trial
from tests.integration.processor import Process, eventually

_HELD_POSITIONS = 20_000
_MOVE_SECONDS = 60.0
_EVERY_SECONDS = 10.0
_FLAT_RATIO = 1.25


def soak(seconds: float) -> Callable[[Trial, int], list[float]]:
    """Nothing happens for so long but the load. A process that gives up is started again, as in every trial."""

    def inflict(trial: Trial, times: int) -> list[float]:
        assert times == 1
        trial.start("a").wait_until_ready()
        started = time.monotonic()
        while time.monotonic() < started + seconds:
            trial.start_again_who_gave_up()
            trial.memory.append((time.monotonic() - started, resident_mib(trial.processes["a"])))
            trial.load.raise_if_it_failed()
            time.sleep(_EVERY_SECONDS)
        assert_flat([mib for _, mib in trial.memory])
        return [trial.seconds_to_next_commit(time.monotonic())]

    return inflict


def moved(trial: Trial, times: int) -> list[float]:
    """A second instance comes and goes; what stays has half of the tasks, and all again, and a half is given up."""
    seconds: list[float] = []
    stays, started = trial.start("stays").wait_until_ready(), time.monotonic()
    trial.send_apart(open_positions(trial, _HELD_POSITIONS))
    trial.job.wait_until_applied(stays)
    everything = set(range(trial.job.settings.topics.partitions))
    for number in range(times):
        comes = number % 2 == 0
        moved_at = time.monotonic()
        if comes:
            trial.start("comes").wait_until_ready()
        else:
            assert trial.processes.pop("comes").stop() == 0
        eventually(lambda: (_held(stays) < everything) is comes, _MOVE_SECONDS, f"tasks moved:\n{stays.text}")  # noqa: B023
        assert _held(stays) == tasks_of(stays)
        seconds.append(trial.seconds_to_next_commit(moved_at))
        trial.memory.append((time.monotonic() - started, resident_mib(stays)))
    assert_flat([mib for _, mib in trial.memory])
    return seconds


def _held(process: Process) -> set[int]:
    """The tasks of which it holds a state, as it tells Prometheus."""
    return {
        int(task) for task in re.findall(r'^armstream_bandits\{partition="(\d+)"\}', process.metrics(), re.MULTILINE)
    }


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
