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
from armstream.events import Close, Command, Fill, Signal

SPREAD_SECONDS = 600
SHORT_WINDOWS = {  # within the spread
    "rewards.orphan_ttl_seconds": "60",
    "rewards.dedupe_window_seconds": "120",
    "rewards.max_future_seconds": "120",
}
_POSITION_LASTS_RECORDS = 200.0
_EVENTS_AT_MOST = 6
_SENT_OUT_OF_ORDER, _SENT_TWICE, _LEFT_OPEN, _BLENDED, _NOTHING_LOGGED = 0.1, 0.05, 0.1, 0.1, 0.1
PATIENCE_SECONDS = 120.0  # a broker that was killed takes a minute to start on busy cores

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
    spread_seconds: float = SPREAD_SECONDS,
) -> list[Fill | Close]:
    """`record_count` records in the order in which they are sent.

    ts_event goes over `spread_seconds` from `first_micros` (UTC), by default up to now. Positions are called after
    `name`, so that two histories of the same bandits do not meet. `lost` is the part of fills that are never sent.
    """
    if first_micros is None:
        first_micros = int((time.time() - spread_seconds) * 1e6)
    draw = Random(seed)
    sent: list[tuple[float, int, Fill | Close]] = []
    number = 0
    while len(sent) < record_count:
        started = draw.uniform(0, max(record_count - _POSITION_LASTS_RECORDS, 1.0))
        moments = sorted(draw.uniform(started, started + _POSITION_LASTS_RECORDS) for _ in range(_EVENTS_AT_MOST))
        ts_events = [first_micros + int(moment * spread_seconds * 1e6 / record_count) for moment in moments]
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


def signalled(events: Iterable[Event], arms: Sequence[str]) -> Iterator[Event]:
    """The same, each fill with what every arm said. Who was flat could not be drawn; of a blend nobody was."""
    for event in events:
        if not isinstance(event, Fill):
            yield event
            continue
        draw = Random(event.position_id)
        kinds: Sequence[Signal] = ("BUY", "SELL") if event.arm is None else ("BUY", "SELL", "FLAT")
        signals = {arm: draw.choice(kinds) for arm in arms} | ({event.arm: event.side} if event.arm else {})
        if event.arm is None or event.propensity is None:
            yield replace(event, signals=signals)
            continue
        awake = [0.0 if signals[arm] == "FLAT" else p for arm, p in zip(arms, event.probabilities, strict=True)]
        probabilities = tuple(p / sum(awake) for p in awake)
        propensity = probabilities[arms.index(event.arm)]
        yield replace(event, signals=signals, probabilities=probabilities, propensity=propensity, eta=0.1)


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

    def __init__(
        self,
        bootstrap_servers: str,
        trades: Sequence[str],
        commands: str = "",
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._topics = {Fill: trades[0], Close: trades[-1], Command: commands}
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "partitioner": "murmur2_random", "linger.ms": 5, "acks": "all",
             "enable.idempotence": True, "queue.buffering.max.messages": 1_000_000,
             "message.timeout.ms": 0}  # flush has a limit
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
        unsent = self._producer.flush(self._patience_seconds)
        if unsent or self._failures:
            seconds = self._patience_seconds
            raise AssertionError(f"{unsent} records were not sent within {seconds:.0f} s; {self._failures[:3]}")
        offsets, self._offsets = self._offsets, []
        return offsets

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(error.str())
        else:
            self._offsets.append((str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)))


# Trades as they really happen.

_MESSY = 0.3  # of the positions


def as_they_happen(draw: Random, events: Sequence[Fill | Close], arms: Sequence[str]) -> list[Fill | Close]:
    """The same, with every kind of mess among them: a history's positions are told apart by their ids."""
    last_closes = {event.position_id: event.event_id for event in events if isinstance(event, Close)}
    kinds = list(_MESS)
    kind_of = {event.position_id: draw.choice(kinds) for event in events if draw.random() < _MESSY}
    messy: list[Fill | Close] = []
    for event in events:
        kind = kind_of.get(event.position_id)
        is_last = event.event_id == last_closes.get(event.position_id)
        messy += (event,) if kind is None else _MESS[kind](event, is_last, arms)
    return messy


def _final(event: Fill | Close, is_last: bool, _: Sequence[str]) -> Iterator[Fill | Close]:
    """A fee was taken out of what is left to close."""
    if isinstance(event, Close) and is_last:
        event = replace(event, final=True, quantity=round(event.quantity * 0.9, 3))
    yield event


def _amended(event: Fill | Close, _: bool, __: Sequence[str]) -> Iterator[Fill | Close]:
    if isinstance(event, Fill) and event.order_quantity is not None:
        event = replace(event, order_quantity=event.order_quantity * (2.0 if event.event_id == "f0" else 0.75))
    yield event


def _worthless(event: Fill | Close, _: bool, __: Sequence[str]) -> Iterator[Fill | Close]:
    yield replace(event, price=0.0) if isinstance(event, Close) else event


def _below_zero(event: Fill | Close, _: bool, __: Sequence[str]) -> Iterator[Fill | Close]:
    if isinstance(event, Fill):
        yield replace(event, price=-event.price, notional=event.price)
    else:
        yield replace(event, price=-event.price)


def _costly(event: Fill | Close, _: bool, __: Sequence[str]) -> Iterator[Fill | Close]:
    yield replace(event, fees=1e10) if isinstance(event, Close) else event


def _under_two_ids(event: Fill | Close, _: bool, __: Sequence[str]) -> Iterator[Fill | Close]:
    """By its exec_id it is one."""
    yield replace(event, exec_id=f"x{event.event_id}")
    yield replace(event, exec_id=f"x{event.event_id}", event_id=f"again-{event.event_id}")


def _id_reused(event: Fill | Close, _: bool, __: Sequence[str]) -> Iterator[Fill | Close]:
    yield event
    yield replace(event, price=event.price + 1.0)


def _in_milliseconds(event: Fill | Close, _: bool, __: Sequence[str]) -> Iterator[Fill | Close]:
    yield event
    yield replace(event, event_id=f"ms-{event.event_id}", ts_event=event.ts_event // 1_000)


def _in_percent(event: Fill | Close, _: bool, arms: Sequence[str]) -> Iterator[Fill | Close]:
    yield event
    if isinstance(event, Fill):
        shares = dict.fromkeys(arms, 100.0 / len(arms))
        yield replace(event, event_id=f"pc-{event.event_id}", arm=None, propensity=None, contributions=shares)


_MESS = {
    mess.__name__: mess
    for mess in (
        *(_final, _amended, _worthless, _below_zero, _costly, _under_two_ids),
        *(_id_reused, _in_milliseconds, _in_percent),
    )
}
