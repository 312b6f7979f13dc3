"""A recorded load: the same seed gives the same events, save for the wall clock in ts_event.

Of ten positions eight are one fill and one close, one is closed in two parts and one is filled in two parts; so half of
the events are fills and half are closes. A close comes 20 to 5,000 events after its fill.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from random import Random

import numpy as np

from armstream.codec import encode
from armstream.events import Close, Fill, Side

ARMS = ("momentum", "reversion", "breakout", "ridge", "lightgbm")
EDGES_BPS = (-10.0, 0.0, 5.0, 10.0, 30.0)
NOISE_BPS = 40.0
GAP_EVENTS = (20, 5_000)
MICROS_BETWEEN_EVENTS = 10
EVENTS_PER_TEN_POSITIONS = 22

_PARTS = ((1, 1),) * 8 + ((1, 2), (2, 1))  # (fills, closes) of a position


@dataclass(frozen=True, slots=True)
class Record:
    """One event as it lies in a topic."""

    key: bytes
    value: bytes
    is_close: bool


@dataclass(frozen=True, slots=True)
class Load:
    """Records in the order in which they happened; `reward_count` is the number of segments that they make."""

    records: Sequence[Record]
    reward_count: int
    position_count: int


def make_load(
    event_count: int,
    bandit_count: int,
    ts_last: int,
    seed: int = 1,
    experts: Sequence[str] = (),
    *,
    arms: Sequence[str] = ARMS,
    gap_events: tuple[int, int] = GAP_EVENTS,
) -> Load:
    """`event_count` events (rounded down to a multiple of 22) that end at `ts_last`, UTC microseconds; where there are
    `experts`, each fill says what they gave to its arm. `gap_events` are from a fill to its close."""
    rng, generator = np.random.default_rng(seed), Random(seed)
    position_count = event_count // EVENTS_PER_TEN_POSITIONS * 10
    event_count = position_count // 10 * EVENTS_PER_TEN_POSITIONS
    shapes = [_PARTS[index % 10] for index in range(position_count)]
    owners, is_close = _in_order(shapes, event_count, gap_events, rng)
    ts_first = ts_last - event_count * MICROS_BETWEEN_EVENTS
    positions: dict[int, _Position] = {}
    bandits = rng.integers(bandit_count, size=position_count).tolist()
    noise = rng.normal(0.0, NOISE_BPS, size=position_count).tolist()
    records = []
    for index, (owner, closes) in enumerate(zip(owners, is_close, strict=True)):
        position = positions.get(owner)
        if position is None:
            position = _Position(owner, bandits[owner], shapes[owner], noise[owner], experts, arms, generator)
            positions[owner] = position
        ts_event = ts_first + index * MICROS_BETWEEN_EVENTS
        event = position.close(index, ts_event) if closes else position.fill(index, ts_event)
        records.append(Record(event.bandit_id.encode(), encode(event), closes))
        if position.is_done:
            del positions[owner]
    return Load(records, sum(max(shape) for shape in shapes), position_count)


def _in_order(
    shapes: Sequence[tuple[int, int]], event_count: int, gap_events: tuple[int, int], rng: np.random.Generator
) -> tuple[list[int], list[bool]]:
    """The position behind each event and whether it is a close; a position's fills come first, its closes in a row."""
    starts = rng.permutation(len(shapes)) * (event_count / len(shapes))
    gaps = np.exp(rng.uniform(log(gap_events[0]), log(gap_events[1]), size=len(shapes)))
    times, owners, is_close = [], [], []
    for owner, (fills, closes) in enumerate(shapes):
        start, gap = float(starts[owner]), float(gaps[owner])
        times += [start + part * gap_events[0] / 2 for part in range(fills)]
        times += [start + (fills - 1) * gap_events[0] / 2 + gap * (part + 1) for part in range(closes)]
        owners += [owner] * (fills + closes)
        is_close += [False] * fills + [True] * closes
    order = np.argsort(times, kind="stable")
    return np.array(owners)[order].tolist(), np.array(is_close)[order].tolist()


class _Position:
    """Makes the events of one position, fills before closes."""

    def __init__(
        self,
        number: int,
        bandit: int,
        shape: tuple[int, int],
        noise_bps: float,
        experts: Sequence[str],
        arms: Sequence[str],
        generator: Random,
    ) -> None:
        self._bandit_id = f"desk-{bandit:04d}"
        self._position_id = f"{generator.getrandbits(64):016x}{number:016x}"
        self._fills, self._closes = shape
        self._fills_to_come, self._closes_to_come = shape
        weights = [generator.uniform(0.2, 1.2) for _ in arms]
        self._probabilities = tuple([weight / sum(weights) for weight in weights])
        (self._arm,) = generator.choices(range(len(arms)), self._probabilities)
        self._arm_name = arms[self._arm]
        propensity = self._probabilities[self._arm]
        self._advice = {name: propensity * (rank + 0.5) / len(experts) for rank, name in enumerate(experts)}
        self._side: Side = generator.choice(("BUY", "SELL"))
        self._quantity = 10.0 * generator.randrange(1, 100)
        self._price = round(generator.lognormvariate(4.5, 0.5), 2)
        sign = 1 if self._side == "BUY" else -1
        self._move = sign * (EDGES_BPS[self._arm % len(EDGES_BPS)] + noise_bps) / 10_000

    @property
    def is_done(self) -> bool:
        return self._closes_to_come == 0

    def fill(self, sequence: int, ts_event: int) -> Fill:
        self._fills_to_come -= 1
        return Fill(
            event_id=_event_id(self._position_id, sequence),
            bandit_id=self._bandit_id,
            position_id=self._position_id,
            instrument_id="AAPL",
            side=self._side,
            quantity=self._quantity / self._fills,
            price=self._price,
            ts_event=ts_event,
            fees=0.01,
            order_quantity=self._quantity,
            arm=self._arm_name,
            propensity=self._probabilities[self._arm],
            probabilities=self._probabilities,
            eta=0.05,
            weights_version=1,
            advice=self._advice,
        )

    def close(self, sequence: int, ts_event: int) -> Close:
        self._closes_to_come -= 1
        return Close(
            event_id=_event_id(self._position_id, sequence),
            bandit_id=self._bandit_id,
            position_id=self._position_id,
            quantity=self._quantity / self._closes,
            price=self._price * (1 + self._move),
            ts_event=ts_event,
            fees=0.01,
            slippage=0.02,
        )


def _event_id(position_id: str, sequence: int) -> str:
    return f"{position_id[:16]}{sequence:016x}"
