"""Seeded histories of a desk's trades, and the producer that sends them as any engine would.

A history holds what a desk does to a processor: orders filled in parts, partial closes, quantities whose sums leave a
float remainder, closes that come before their fill, and records sent twice.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from random import Random
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from msgspec.structs import replace

from armstream.codec import encode
from armstream.events import Close, Command, Fill

SPREAD_SECONDS = 600
SHORT_WINDOWS = {"rewards.orphan_ttl_seconds": "60", "rewards.dedupe_window_seconds": "120"}  # within the spread
_POSITION_LASTS_RECORDS = 200.0
_EVENTS_AT_MOST = 6
_SENT_OUT_OF_ORDER, _SENT_TWICE, _LEFT_OPEN, _BLENDED, _NOTHING_LOGGED = 0.1, 0.05, 0.1, 0.1, 0.1
_FLUSH_SECONDS = 120.0  # a broker that was killed takes a minute to start on busy cores

Event = Fill | Close | Command


def history(
    seed: int,
    record_count: int,
    *,
    bandits: int,
    arms: Sequence[str],
    first_micros: int | None = None,
    name: str = "p",
    lost: float = 0.0,
) -> list[Fill | Close]:
    """`record_count` records in the order in which they are sent.

    ts_event goes over SPREAD_SECONDS from `first_micros` (UTC), by default up to now. Positions are called after
    `name`, so that two histories of the same bandits do not meet. `lost` is the part of fills that are never sent.
    """
    if first_micros is None:
        first_micros = int((time.time() - SPREAD_SECONDS) * 1e6)
    draw = Random(seed)
    sent: list[tuple[float, int, Fill | Close]] = []
    number = 0
    while len(sent) < record_count:
        started = draw.uniform(0, max(record_count - _POSITION_LASTS_RECORDS, 1.0))
        moments = sorted(draw.uniform(started, started + _POSITION_LASTS_RECORDS) for _ in range(_EVENTS_AT_MOST))
        ts_events = [first_micros + int(moment * SPREAD_SECONDS * 1e6 / record_count) for moment in moments]
        events = [
            event
            for event in _position(draw, f"book-{draw.randrange(bandits)}", f"{name}{number}", arms, ts_events)
            if isinstance(event, Close) or draw.random() >= lost
        ]
        sent += [(moment, len(sent) + at, event) for at, (moment, event) in enumerate(_sendings(draw, moments, events))]
        number += 1
    return [event for _, _, event in sorted(sent)[:record_count]]


def advised(events: Iterable[Event], experts: Sequence[str]) -> Iterator[Event]:
    """The draws among them, each with what the experts gave to the arm, and without what no expert advises on."""
    for event in events:
        if not isinstance(event, Fill):
            yield event
        elif event.arm is not None and event.propensity is not None:
            draw = Random(event.position_id)
            yield replace(event, advice={name: draw.random() for name in experts})


def _position(
    draw: Random, bandit_id: str, position_id: str, arms: Sequence[str], ts_events: Sequence[int]
) -> list[Fill | Close]:
    """One position's fills and then its closes, most of which leave it flat."""
    filled_tenths = [draw.randint(1, 30) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
    closed_tenths = _cut(draw, sum(filled_tenths))
    if draw.random() < _LEFT_OPEN:
        closed_tenths.pop()
    price = draw.uniform(20.0, 200.0)
    decision = _decision(draw, arms, sum(filled_tenths) / 10 if len(filled_tenths) > 1 else None)
    fills = [
        Fill(
            event_id=f"f{at}",
            bandit_id=bandit_id,
            position_id=position_id,
            quantity=tenths / 10,
            price=price * draw.gauss(1.0, 0.001),
            fees=round(draw.uniform(0.0, 0.05), 3),
            ts_event=ts_events[at],
            **decision,
        )
        for at, tenths in enumerate(filled_tenths)
    ]
    closes = [
        Close(
            event_id=f"c{at}",
            bandit_id=bandit_id,
            position_id=position_id,
            quantity=tenths / 10,
            price=price * draw.gauss(1.0, 0.003),
            fees=round(draw.uniform(0.0, 0.05), 3),
            slippage=round(draw.uniform(0.0, 0.02), 3),
            slippage_in_price=draw.random() < 0.2,
            ts_event=ts_events[len(fills) + at],
        )
        for at, tenths in enumerate(closed_tenths)
    ]
    return [*fills, *closes]


def _sendings(
    draw: Random, moments: Sequence[float], events: Sequence[Fill | Close]
) -> Iterator[tuple[float, Fill | Close]]:
    """When each event is sent: most in their order, some twice."""
    order = list(moments[: len(events)])
    if draw.random() < _SENT_OUT_OF_ORDER:
        draw.shuffle(order)
    for moment, event in zip(order, events, strict=True):
        yield moment, event
        if draw.random() < _SENT_TWICE:
            yield moment + draw.expovariate(0.01), event


def _cut(draw: Random, tenths: int) -> list[int]:
    """A whole number of tenths in one to three parts."""
    cuts = sorted(draw.sample(range(1, tenths), min(draw.choice((0, 0, 1, 2)), tenths - 1)))
    return [end - start for start, end in zip((0, *cuts), (*cuts, tenths), strict=True)]


def _decision(draw: Random, arms: Sequence[str], order_quantity: float | None) -> dict[str, Any]:
    """What all fills of a position share. The arm is drawn from the distribution that is logged with it."""
    decision: dict[str, Any] = {
        "instrument_id": "AAPL",
        "side": draw.choice(("BUY", "SELL")),
        "order_quantity": order_quantity,
    }
    if draw.random() < _BLENDED:
        shares = [draw.uniform(0.1, 1.0) for _ in arms]
        return decision | {"contributions": {arm: share / sum(shares) for arm, share in zip(arms, shares, strict=True)}}
    odds = [draw.uniform(0.1, 1.0) for _ in arms]
    probabilities = tuple(one / sum(odds) for one in odds)
    index = draw.choices(range(len(arms)), cum_weights=list(accumulate(probabilities)))[0]
    if draw.random() < _NOTHING_LOGGED:
        return decision | {"arm": arms[index]}
    return decision | {"arm": arms[index], "propensity": probabilities[index], "probabilities": probabilities}


class Sender:
    """Sends events to their topics, keyed as the contract says. `trades` is one topic, or fills' and closes'."""

    def __init__(self, bootstrap_servers: str, trades: Sequence[str], commands: str = "") -> None:
        self._topics = {Fill: trades[0], Close: trades[-1], Command: commands}
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "partitioner": "murmur2_random", "linger.ms": 5, "acks": "all",
             "enable.idempotence": True, "queue.buffering.max.messages": 1_000_000}
        )  # fmt: skip
        self._failures: list[str] = []
        self._offsets: list[tuple[str, int, int]] = []

    def send(self, events: Iterable[Event]) -> list[tuple[str, int, int]]:
        """All of them, acknowledged: (topic, partition, offset) of each, in the order of their acknowledgement."""
        for event in events:
            self.produce(self._topics[type(event)], event.bandit_id.encode(), encode(event))
        return self.flush()

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        partition: int = -1,
        headers: Sequence[tuple[str, str | bytes | None]] = (),
    ) -> None:
        """Any bytes to any place; nothing is known of it before `flush`."""
        self._producer.produce(
            topic,
            value,
            key,
            partition=partition,
            on_delivery=self._delivered,
            headers=list(headers),
        )

    def flush(self) -> list[tuple[str, int, int]]:
        """Waits until everything is acknowledged."""
        unsent = self._producer.flush(_FLUSH_SECONDS)
        if unsent or self._failures:
            raise AssertionError(f"{unsent} records were not sent within {_FLUSH_SECONDS} s; {self._failures[:3]}")
        offsets, self._offsets = self._offsets, []
        return offsets

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(error.str())
        else:
            self._offsets.append((str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)))
