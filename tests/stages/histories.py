"""Random histories in which things go wrong often: partial fills, float remainders, duplicates, shared ids, late and
orphaned events, decisions that do not match, positions that come back."""

from typing import Any

from hypothesis import strategies as st

from armstream.events import Action, Close, Command, Fill, Input, Rejected
from tests.stages.events import ARMS, START, close, fill

QUANTITIES = (0.1, 0.2, 0.3, 0.7, 1.0, 2.5, 3.3, 100.0)  # 0.1 + 0.2 is not 0.3 in floats
PRICES = (99.5, 100.0, 100.1, 250.0, 1e-3)
DECISIONS: tuple[dict[str, Any], ...] = (
    {"arm": "ridge", "propensity": 0.25},
    {"arm": "ridge", "propensity": 0.25},  # twice: most fills of a position agree
    {"arm": "ridge", "propensity": 0.75, "probabilities": (0.75, 0.25, 0.0), "eta": 0.5},  # boost could not trade
    {"arm": "mlp", "side": "SELL", "multiplier": 10.0},
    {"contributions": {"mlp": 0.5, "boost": 0.5, "ridge": 0.0}},
    {"arm": "ridge", "propensity": 0.25, "weights_version": 7},
    {"arm": "ridge", "propensity": 0.25, "advice": {"base": 0.5, "bandit": 0.3, "best": 1.0, "regime": 0.0}},
)
BAD: tuple[dict[str, Any], ...] = (
    {"quantity": 0.0},
    {"price": float("nan")},
    {"exec_type": "CANCEL"},
    {"event_id": ""},
    {"fees": float("inf")},
)
BAD_DECISIONS: tuple[dict[str, Any], ...] = ({"arm": "nobody"}, {"arm": None}, {"propensity": 0.0}, {"side": "UNKNOWN"})


@st.composite
def histories(draw: st.DrawFn, max_events: int = 40) -> list[Input]:
    """Up to `max_events` inputs of two bandits, on a clock that goes on by up to a dedupe window or jumps."""
    now = START
    events: list[Input] = []
    for _ in range(draw(st.integers(1, max_events))):
        now += draw(st.sampled_from((0, 1, 50, 150, 400, 1_100, 4_500)))
        events.append(draw(_inputs(now)))
    return events


@st.composite
def _inputs(draw: st.DrawFn, now: int) -> Input:
    kind = draw(st.sampled_from(("fill", "fill", "fill", "close", "close", "close", "close", "other")))
    if kind == "other":
        return draw(st.one_of(st.just(Rejected("DECODE", "no event", now)), _commands(now)))
    fields: dict[str, Any] = {
        "event_id": draw(st.sampled_from(("e1", "e2", "e3", "e4"))),
        "position_id": draw(st.sampled_from(("p1", "p1", "p2", "p3"))),
        "bandit_id": draw(st.sampled_from(("book-1", "book-1", "book-2"))),
        "quantity": draw(st.sampled_from(QUANTITIES)),
        "price": draw(st.sampled_from(PRICES)),
        "fees": draw(st.sampled_from((0.0, 0.5, -0.1))),
        "ts_event": now - draw(st.sampled_from((0, 0, 0, 300, 900, 1_500))),
    }
    if draw(st.integers(0, 9)) == 0:
        fields |= draw(st.sampled_from(BAD))
    if kind == "close":
        return close(**fields, slippage=0.25, slippage_in_price=draw(st.booleans()))
    fields |= draw(st.sampled_from(DECISIONS))
    fields["order_quantity"] = draw(st.sampled_from((1_000.0, 1_000.0, 1_000.0, 3.3, None)))
    if draw(st.integers(0, 9)) == 0:
        fields |= draw(st.sampled_from(BAD_DECISIONS))
    return fill(**fields)


@st.composite
def _commands(draw: st.DrawFn, now: int) -> Command:
    action: Action = draw(
        st.sampled_from(
            ("ADD_ARM", "REMOVE_ARM", "REMOVE_ARM", "RESET", "PAUSE", "RESUME", "RESUME", "ADD_EXPERT", "REMOVE_EXPERT")
        )
    )
    return Command(
        draw(st.sampled_from(("k1", "k2", "k3", "k4", "k5"))),
        draw(st.sampled_from(("book-1", "book-1", "book-2"))),
        action,
        now,
        arm=draw(st.sampled_from((*ARMS, "new"))) if "ARM" in action else None,
        value=draw(st.sampled_from((None, 0.0, 2.0))) if action.startswith("ADD") else None,
        expert=draw(st.sampled_from(("base", "best", "scorer"))) if "EXPERT" in action else None,
    )


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
