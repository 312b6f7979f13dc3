"""Random histories in which things go wrong often: partial fills, float remainders, ids that come again with the same
content and with another, late and orphaned events, wrong clocks, decisions that do not match, orders that are amended,
overfilled or final, prices at and below 0, costs far too high, positions that come back. And the limits they meet.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from msgspec.structs import replace

from armstream.events import Action, Close, Command, Fill, Input, Rejected
from tests.stages.events import ARMS, START, close, fill

T = TypeVar("T")

QUANTITIES = (0.1, 0.2, 0.3, 0.7, 1.0, 2.5, 3.3, 100.0)  # 0.1 + 0.2 is not 0.3 in floats
Sizes = tuple[tuple[float, ...], tuple[float | None, ...]]
SIZES: tuple[Sizes, ...] = (  # of events, of orders; one row a history
    (QUANTITIES, (1_000.0, 1_000.0, 1_000.0, 3.3, 100.0, None)),
    ((0.1, 0.2, 0.3, 0.7), (1.0, 1.0, 1.0, 0.3, 10.0, None)),
    ((100.0, 99.9, 0.1, 33.3, 66.7), (200.0, 200.0, 100.0, None)),  # 100 - 99.9 is not 0.1 in floats
    ((1.0, 0.00000001, 0.99999999, 0.4), (1.0, 2.0, 2.0, None)),
    ((1.0, 0.999, 0.001), (1.0, 1.0, 2.0, None)),  # the fee was taken in what was bought
    ((1e15, 1e15, 1e15 - 1, 1.0, 2.0), (1e17, 2e15, None)),  # each sum of a few is exact
)
PRICES = (99.5, 100.0, 100.1, 250.0, 1.5)
ODD_PRICES = (0.0, -37.63, 1.7e-3)
DECISIONS: tuple[dict[str, Any], ...] = (
    {"arm": "ridge", "propensity": 0.25},
    {"arm": "ridge", "propensity": 0.25},  # twice: most fills of a position agree
    {"arm": "ridge", "propensity": 0.25},
    {"arm": "ridge", "propensity": 0.75, "probabilities": (0.75, 0.25, 0.0), "eta": 0.5},  # boost could not trade
    {"arm": "mlp", "side": "SELL", "multiplier": 10.0},
    {"contributions": {"mlp": 0.5, "boost": 0.5, "ridge": 0.0}},
    {"arm": "ridge", "propensity": 0.25, "weights_version": 7},
    {"arm": "ridge", "propensity": 0.25, "eta": float("nan")},
    {"arm": "ridge", "propensity": 0.25, "signals": {"ridge": "BUY", "mlp": "SELL", "boost": "FLAT"}},
    {
        "arm": "ridge",
        "propensity": 0.5,
        "probabilities": (0.5, 0.5, 0.0),
        "eta": 0.5,
        "signals": {"mlp": "SELL", "ridge": "BUY"},
    },
    {"arm": "mlp", "side": "SELL", "signals": {"mlp": "SELL", "ridge": "SELL", "boost": "BUY"}},
    {
        "contributions": {"mlp": 0.5, "boost": 0.25, "ridge": 0.0},
        "signals": {"mlp": "BUY", "boost": "SELL", "ridge": "FLAT"},
    },
    {"arm": "ridge", "propensity": 0.25, "weights_version": 7, "signals": {"ridge": "BUY", "gone": "SELL"}},
    {"arm": "ridge", "propensity": 0.25, "advice": {"base": 0.5, "bandit": 0.3, "best": 1.0, "regime": 0.0}},
)
MAX_DOUBLE = 1.7976931348623157e308  # a field that nobody set
BAD: tuple[dict[str, Any], ...] = (
    {"quantity": 0.0},
    {"price": float("nan")},
    {"price": float("-inf")},
    {"exec_type": "CANCEL"},
    {"event_id": ""},
    {"fees": float("inf")},
    {"fees": 1e10},
    {"fees": MAX_DOUBLE},
    {"quantity": MAX_DOUBLE},
    {"price": MAX_DOUBLE},
    {"ts_event": START // 1_000},
    {"ts_event": START // 1_000_000},
    {"ts_event": START + 30_000},
    {"price": 0.0},
    {"price": -1.0},
)
BAD_DECISIONS: tuple[dict[str, Any], ...] = (
    {"arm": "nobody"},
    {"arm": None},
    {"propensity": 0.0},
    {"side": "UNKNOWN"},
    {"notional": 0.0},
    {"notional": float("nan")},
    {"arm": None, "contributions": {"ridge": 60.0, "mlp": 40.0}},
    {"signals": {"ridge": "UNKNOWN", "mlp": "BUY"}},
    {"signals": {"mlp": "SELL", "boost": "FLAT"}},
    {"signals": {"nobody": "BUY"}},
)
AGAIN: tuple[dict[str, Any], ...] = (  # what is other in an event that comes again
    {},
    {},
    {"price": 101.0},
    {"quantity": 1.0},
    {"fees": 0.75},
    {"exec_type": "CANCEL"},
    {"event_id": "again"},
    {"event_id": "again", "price": 101.0},
    {"position_id": "p2"},
)
ACTIONS: tuple[Action, ...] = (
    *("ADD_ARM", "REMOVE_ARM", "REMOVE_ARM", "RESET", "PAUSE", "RESUME", "RESUME", "ADD_EXPERT", "REMOVE_EXPERT"),
)


class _Choices:
    """One byte a choice: a history of 40 events is drawn in some milliseconds, and shrinks to what is named first."""

    def __init__(self, drawn: bytes) -> None:
        self._bytes = iter(drawn)

    def of(self, options: Sequence[T]) -> T:
        return options[next(self._bytes) % len(options)]

    def one_in(self, count: int) -> bool:
        return next(self._bytes) % count == count - 1


@st.composite
def histories(draw: st.DrawFn, max_events: int = 40) -> list[Input]:
    """Up to `max_events` inputs of three bandits, on a clock that goes on by up to a dedupe window or jumps."""
    least = draw(st.sampled_from((1, max_events // 4, max_events // 2)))
    drawn = draw(st.lists(st.binary(min_size=24, max_size=24), min_size=least, max_size=max_events))
    sizes, id_count = draw(st.sampled_from(SIZES)), draw(st.sampled_from((4, 12)))
    now = START
    events: list[Input] = []
    for each in drawn:
        choices = _Choices(each)
        now += choices.of((0, 1, 50, 150, 400, 1_100, 4_500, 0))
        events.append(_input(choices, now, sizes, id_count, events))
    return events


def _input(choices: _Choices, now: int, sizes: Sizes, id_count: int, before: Sequence[Input]) -> Input:
    kind = choices.of(("fill", "fill", "fill", "fill", "close", "close", "close", "close", "again", "command", "none"))
    if kind == "none":
        return Rejected("DECODE", "no event", now)
    if kind == "command":
        return _command(choices, now)
    ts_event = now - choices.of((0, 0, 0, 0, 300, 900, 1_500))
    trades = [event for event in before if isinstance(event, Fill | Close)]
    if kind == "again" and trades:
        event = choices.of(trades)
        changes = {"ts_event": choices.of((ts_event, event.ts_event))} | choices.of(AGAIN)
        return replace(event, **changes)
    quantities, order_quantities = sizes
    fields: dict[str, Any] = {
        "event_id": f"e{choices.of(range(1, id_count + 1))}",
        "position_id": choices.of(("p1", "p1", "p2", "p3", "p4")),
        "quantity": choices.of(quantities),
        "price": choices.of(PRICES),
        "fees": choices.of((0.0, 0.51, -0.1)),
        "exec_id": choices.of((None, None, None, None, "x1", "x2")),
        "ts_event": ts_event,
    }
    is_odd = choices.one_in(10)
    if is_odd:
        fields["price"] = choices.of(ODD_PRICES)
    elif choices.one_in(10):
        fields |= choices.of(BAD)
    if kind == "close":
        fields["bandit_id"] = choices.of(("book-1", "book-1", "book-2", "closes"))
        fields |= choices.of(({}, {"slippage": 0.25}, {"slippage": 0.25, "slippage_in_price": True}))
        return close(**fields, final=choices.one_in(8))
    fields["bandit_id"] = choices.of(("book-1", "book-1", "book-1", "book-2", "book-2", "closes"))
    if fields["bandit_id"] == "closes":  # its fills are never taken, so it has only closes
        return fill(**fields | {"arm": "nobody"})
    fields |= choices.of(DECISIONS)
    fields["order_quantity"] = choices.of(order_quantities)
    if choices.one_in(10) or is_odd:
        fields["notional"] = choices.of((97.0, 12.7))
    if choices.one_in(10):
        fields |= choices.of(BAD_DECISIONS)
    return fill(**fields)


def _command(choices: _Choices, now: int) -> Command:
    action = choices.of(ACTIONS)
    return Command(
        choices.of(("k1", "k2", "k3", "k4", "k5")),
        choices.of(("book-1", "book-1", "book-2")),
        action,
        choices.of((now, now, now, now, now // 1_000)),
        arm=choices.of((*ARMS, "new")) if "ARM" in action else None,
        value=choices.of((None, 0.0, 2.0)) if action.startswith("ADD") else None,
        expert=choices.of(("base", "best", "scorer")) if "EXPERT" in action else None,
    )


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of TaskLimits: one topic or two, most of the limits on counts far away or near."""
    near: dict[str, tuple[Any, ...]] = {
        "max_events_per_position": (2, 4),
        "max_bandits": (1,),
        "max_open_positions": (1, 2),
        "max_waiting_closes": (1, 2),
        "max_positions_remembered": (1, 3),
        "max_cost_ratio": (0.0037,),
        "orphan_ttl_micros": (6_000,),  # longer than anything is held
    }
    names = draw(st.lists(st.sampled_from(sorted(near)), max_size=3, unique=True))
    given = {name: draw(st.sampled_from(near[name])) for name in names}
    return given | {"trades_share_topic": draw(st.booleans())}


@st.composite
def crowds(draw: st.DrawFn, max_runs: int = 10) -> list[Input]:
    """Up to some hundred events of one position, in parts and in runs, so that it fills pages; now and then one comes
    again. What is behind the window by then is other positions'.
    """
    now = START
    events: list[Input] = []
    for _ in range(draw(st.integers(1, max_runs))):
        run, is_fill = draw(st.integers(1, 70)), draw(st.booleans())
        quantity, price = draw(st.sampled_from((0.1, 0.2, 0.3))), draw(st.sampled_from(PRICES))
        now += draw(st.sampled_from((0, 1, 100)))
        for _ in range(run):
            fields: dict[str, Any] = {"quantity": quantity, "price": price, "ts_event": now}
            if is_fill:
                events.append(fill(f"e{len(events)}", **fields, order_quantity=10_000.0))
            else:
                events.append(close(f"e{len(events)}", **fields))
        extra = draw(st.sampled_from(("again", "reused", "late", "elsewhere", "final", "jump", "")))
        if extra in ("again", "reused"):
            event = draw(st.sampled_from(events))
            assert isinstance(event, Fill | Close)
            events.append(replace(event, price=event.price + (extra == "reused"), ts_event=now))
        elif extra == "late":
            events.append(close(f"e{len(events)}", ts_event=now - 1_001))
        elif extra == "elsewhere":
            events += [fill("e1", "p2", quantity=1.0, ts_event=now), close("e1", "p2", quantity=1.0, ts_event=now)]
        elif extra == "final" and draw(st.integers(0, 3)) == 0:
            events.append(close(f"e{len(events)}", quantity=0.1, ts_event=now, final=True))
        elif extra == "jump" and draw(st.integers(0, 3)) == 0:
            now += draw(st.sampled_from((1_100, 4_500)))
    return events


@st.composite
def positions(draw: st.DrawFn) -> tuple[list[Fill], list[Close]]:
    """All fills and all closes of one position, nothing of it late, orphaned or refused."""
    side, multiplier = draw(st.sampled_from((("BUY", 1.0), ("SELL", 10.0))))
    amounts = st.lists(st.tuples(st.sampled_from(QUANTITIES), st.sampled_from(PRICES)), min_size=1, max_size=6)
    fills = [
        fill(
            f"e{number}", quantity=quantity, price=price, fees=0.3, order_quantity=1_000.0, side=side,
            multiplier=multiplier, propensity=0.4, ts_event=START + number,
        )
        for number, (quantity, price) in enumerate(draw(amounts))
    ]  # fmt: skip
    closes = [
        close(f"e{number}", quantity=quantity, price=price, fees=0.2, slippage=0.1, ts_event=START + number)
        for number, (quantity, price) in enumerate(draw(amounts))
    ]
    return fills, closes


def merged(fills: list[Fill], closes: list[Close], turns: list[bool]) -> list[Input]:
    """One interleaving: True takes the next fill; what is left at the end follows."""
    left_fills, left_closes = list(fills), list(closes)
    events: list[Input] = []
    for takes_fill in turns:
        queue: list[Any] = left_fills if takes_fill else left_closes
        if queue:
            events.append(queue.pop(0))
    return [*events, *left_fills, *left_closes]
