"""One contender against a backlog: events a second and CPU, from its first commit to its last, and the warm half."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from armstream.settings import Settings
from tests.bench.backlog import Committed
from tests.bench.child import BenchError, Child

LIMIT_SECONDS = 600.0
_LOOK_SECONDS = 0.1
_LOOK_CLOSELY_SECONDS = 0.02
_CLOSELY = ((0.0, 0.02), (0.45, 0.55), (0.9, 1.0))  # where a look decides: the two ends, and the half


@dataclass(frozen=True, slots=True)
class Throughput:
    """From the first commit that was seen to the last, without starting up; warm is from the middle on."""

    events_per_second: float
    warm_events_per_second: float
    cpu_seconds_per_million: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Look:
    """What was committed and used at one moment."""

    at: float
    count: int
    cpu_seconds: float


def measure(children: Sequence[Child], settings: Settings, event_count: int) -> Throughput:
    """Returns when the group has committed `event_count` records. Raises BenchError after 600 s."""
    looks = await_commits(children, settings, event_count)
    return throughput(looks, sum(child.peak_bytes() for child in children))


def await_commits(children: Sequence[Child], settings: Settings, event_count: int) -> list[Look]:
    """What was seen until the group had committed so many records. Raises BenchError after 600 s."""
    with closing(Committed(settings)) as committed:
        looks = [_look(committed, children)]
        deadline = time.monotonic() + LIMIT_SECONDS
        while looks[-1].count < event_count:
            if looks[-1].at > deadline:
                count = looks[-1].count
                raise BenchError(f"{count} of {event_count} events were committed within {LIMIT_SECONDS:.0f} s")
            share = looks[-1].count / event_count
            closely = any(low <= share <= high for low, high in _CLOSELY)
            time.sleep(_LOOK_CLOSELY_SECONDS if closely else _LOOK_SECONDS)
            looks.append(_look(committed, children))
    return looks


def throughput(looks: Sequence[Look], peak_bytes: int) -> Throughput:
    """Raises BenchError where there are not two moments to tell a rate from."""
    last = looks[-1]
    first = next((look for look in looks if look.count > 0), last)
    half = next((look for look in looks if look.count >= (first.count + last.count) / 2), last)
    if not first.count < half.count < last.count:
        raise BenchError("all of it came in one or two batches: the load is too small to measure")
    events = last.count - first.count
    return Throughput(
        events / (last.at - first.at),
        (last.count - half.count) / (last.at - half.at),
        (last.cpu_seconds - first.cpu_seconds) / events * 1e6,
        peak_bytes,
    )


def _look(committed: Committed, children: Sequence[Child]) -> Look:
    for child in children:
        child.check()
    return Look(time.monotonic(), committed.count(), sum(child.cpu_seconds() for child in children))
