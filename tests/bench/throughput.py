"""One loop against a backlog: events a second and CPU, from its first commit to its last."""

import time
from dataclasses import dataclass

from armstream.settings import Settings
from tests.bench.backlog import Committed
from tests.bench.child import BenchError, Child

LIMIT_SECONDS = 300.0
_LOOK_SECONDS = 0.2
_LOOK_CLOSELY_SECONDS = 0.02
_CLOSE_TO_THE_END = 0.9


@dataclass(frozen=True, slots=True)
class Throughput:
    """Between the first and the last look, so that starting up is no part of it."""

    events_per_second: float
    cpu_seconds_per_million: float


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    count: int
    cpu_seconds: float


def measure(child: Child, settings: Settings, event_count: int) -> Throughput:
    """Returns when the group has committed `event_count` records. Raises BenchError after 300 s.

    It looks five times a second, and fifty times near the two ends, where a look decides.
    """
    committed = Committed(settings)
    try:
        first = last = _look(committed, child)
        deadline = time.monotonic() + LIMIT_SECONDS
        while last.count < event_count:
            if last.at > deadline:
                raise BenchError(f"{last.count} of {event_count} events were committed within {LIMIT_SECONDS:.0f} s")
            middle = 0 < last.count < event_count * _CLOSE_TO_THE_END
            time.sleep(_LOOK_SECONDS if middle else _LOOK_CLOSELY_SECONDS)
            last = _look(committed, child)
            if first.count == 0:
                first = last
    finally:
        committed.close()
    events, seconds = last.count - first.count, last.at - first.at
    if seconds <= 0:
        raise BenchError("all of it was one batch: the load is too small to measure")
    return Throughput(events / seconds, (last.cpu_seconds - first.cpu_seconds) / events * 1e6)


def _look(committed: Committed, child: Child) -> _Look:
    child.check()
    return _Look(time.monotonic(), committed.count(), child.cpu_seconds())
