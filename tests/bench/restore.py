"""Restore: from the start of a process until each of its tasks gave a vector, after a backlog, and for a group that has
next to nothing.

Both have the same start of a program and the same joining of a group in them; what is between them is the restore.
"""

import time
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from armstream.keys import partition_of
from tests.bench.backlog import Run
from tests.bench.child import Child, start
from tests.bench.contenders import Contender
from tests.bench.latency import PROBE, follow, probe
from tests.bench.throughput import await_commits

LEAST_SECONDS = 0.2
STARTS = 5  # one differs from the next by a second and more: a group's join waits for others


@dataclass(frozen=True, slots=True)
class Restore:
    """Seconds from a start to every task's first vector, medians of STARTS, and what the second kind had to restore."""

    fresh_seconds: float
    restored_seconds: float
    state_count: int  # bandits and positions

    @property
    def states_per_second(self) -> float | None:
        """None where the restore is lost in what one start differs from another."""
        seconds = self.restored_seconds - self.fresh_seconds
        return self.state_count / seconds if seconds > LEAST_SECONDS else None


def measure(contender: Contender, fresh: Run, full: Run, event_count: int, state_count: int) -> Restore:
    """`full` has a backlog of `event_count` records, which come to `state_count` bandits and positions."""
    with _started(contender, full, "before") as child:
        await_commits([child], full.settings, event_count)
        child.stop()
    fresh_seconds, restored_seconds = [], []
    for number in range(STARTS):
        fresh_seconds.append(_first_vectors(contender, fresh, number))
        restored_seconds.append(_first_vectors(contender, full, number))
    return Restore(median(fresh_seconds), median(restored_seconds), state_count)


def _first_vectors(contender: Contender, run: Run, number: int) -> float:
    with closing(follow(run)) as follower:
        started = time.monotonic()
        with _started(contender, run, f"start-{number}") as child:
            probe(run, child, follower, number, _one_a_task(run.settings.topics.partitions))
            seconds = time.monotonic() - started
            child.stop()
    return seconds


def _one_a_task(partitions: int) -> list[str]:
    """Ids of bandits, one on each partition."""
    names = [f"{PROBE}-{number}" for number in range(100 * partitions)]
    return list({partition_of(name.encode(), partitions): name for name in names}.values())


def _started(contender: Contender, run: Run, what: str) -> AbstractContextManager[Child]:
    log: Path = run.path.with_suffix(f".{what}.log")
    return start(contender.command(run, True), log)
