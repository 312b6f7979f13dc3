"""Events at a steady rate: `python -m tests.bench.pace SETTINGS RATE PAIRS STARTS_AT`, a process of its own.

Law: each event has a moment at which it is due, which follows from its number alone, so that a reader can tell how long
after that moment something came of it. Who is late is late for the reader too; who cannot keep the rate is an error.

A fill and an older position's close come in turns. Every close is one whole position, so the n-th close of a bandit
makes its version n.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer

from armstream.codec import encode
from armstream.events import Close, Fill
from armstream.settings import Settings, load
from tests.bench.backlog import QUIET
from tests.bench.child import BenchError
from tests.bench.load import ARMS

BANDITS = 1_000
PATIENCE_SECONDS = 30.0
TOO_FAST = 3  # the exit code
_BEHIND_SECONDS = 0.15  # a close is due so long after its fill
_LATE_SECONDS = 1.0
_NAP_SECONDS = 0.0005


class TooFast(BenchError):
    """The sender could not keep the rate: no latency follows from it."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`events_per_second` for `pair_count` fills and as many closes but the last ones, from `starts_at` on."""

    events_per_second: float
    pair_count: int
    starts_at: float

    @property
    def fills_ahead(self) -> int:
        """So many fills are sent before the first close."""
        return max(1, int(self.events_per_second * _BEHIND_SECONDS))

    @property
    def close_count(self) -> int:
        return self.pair_count - self.fills_ahead

    def fill_due(self, number: int) -> float:
        return self.starts_at + 2 * number / self.events_per_second

    def close_due(self, number: int) -> float:
        """Of the position that the fill of the same number opened."""
        return self.starts_at + (2 * (number + self.fills_ahead) + 1) / self.events_per_second


def bandit_of(number: int) -> str:
    return f"desk-{number % BANDITS:04d}"


def number_of(event_id: str) -> int:
    """The position's number; a fill is the cause where, on another topic, it came after its close."""
    return int(event_id.partition("-")[2])


def producer_of(settings: Settings) -> Producer:
    """Engines do not linger."""
    client = {"bootstrap.servers": settings.kafka.bootstrap_servers, "partitioner": "murmur2_random"}
    return Producer({**client, **QUIET, "enable.idempotence": True, "linger.ms": 0})


def send(settings: Settings, pace: Pace) -> None:
    """All of it, each at its moment. Raises TooFast where it ends more than a second late."""
    topics = settings.topics.names.trades
    producer = producer_of(settings)
    for number in range(pace.pair_count):
        _sleep_until(pace.fill_due(number))
        fill = fill_of(number, bandit_of(number))
        producer.produce(topics[0], encode(fill), fill.bandit_id)
        closed = number - pace.fills_ahead
        if closed >= 0:
            _sleep_until(pace.close_due(closed))
            close = close_of(closed, bandit_of(closed))
            producer.produce(topics[-1], encode(close), close.bandit_id)
        producer.poll(0)
    late = time.monotonic() - pace.fill_due(pace.pair_count)
    if late > _LATE_SECONDS:
        raise TooFast(f"the sender could not keep {pace.events_per_second:,.0f} events/s: {late:.1f} s late")
    if producer.flush(PATIENCE_SECONDS):
        raise BenchError(f"events were not delivered within {PATIENCE_SECONDS:.0f} s")


def _sleep_until(at: float) -> None:
    """At a high rate many are due at each awakening: a nap each would be the limit."""
    left = at - time.monotonic()
    if left > 0:
        time.sleep(max(left, _NAP_SECONDS))


def fill_of(number: int, bandit_id: str) -> Fill:
    return Fill(
        event_id=f"fill-{number:027d}",
        bandit_id=bandit_id,
        position_id=f"{number:032d}",
        instrument_id="AAPL",
        side="BUY",
        quantity=100.0,
        price=150.0,
        ts_event=time.time_ns() // 1_000,
        fees=0.5,
        arm=ARMS[number % len(ARMS)],
        propensity=0.2,
        probabilities=(0.2,) * len(ARMS),
        eta=0.05,
        weights_version=1,
    )


def close_of(number: int, bandit_id: str) -> Close:
    return Close(
        event_id=f"close-{number:026d}",
        bandit_id=bandit_id,
        position_id=f"{number:032d}",
        quantity=100.0,
        price=150.5,
        ts_event=time.time_ns() // 1_000,
        fees=0.5,
        slippage=0.2,
    )


if __name__ == "__main__":
    path, rate, pairs, starts_at = sys.argv[1:]
    try:
        send(load(Path(path), {}), Pace(float(rate), int(pairs), float(starts_at)))
    except TooFast as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(TOO_FAST)
