"""The simulated desk: no look-ahead, real bars' prices, the declared costs, and nothing left open."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from numpy.random import default_rng

from armstream.demo.desk import FEES_BPS, HORIZONS, SLIPPAGE_BPS, Desk, Views
from armstream.demo.families import FAMILIES, LOOKBACK_BARS
from armstream.demo.market import Bar, load_bars
from armstream.engine import Decision, draw
from armstream.events import Close, Fill

ARMS = tuple(FAMILIES)
HISTORY = load_bars()["IBM"][:400]
BARS_A_PASS = len(HISTORY) - LOOKBACK_BARS + 1
Event = Fill | Close


def trade(bars: Sequence[Bar], bar_count: int, seed: int = 1) -> list[list[Event]]:
    """The events of each bar; arms are drawn uniformly."""
    rng = default_rng(seed)
    desk = Desk("IBM", bars, lambda bandit_id, _, views: draw(bandit_id, None, rng, arms=ARMS, signals=views), rng)
    return [desk.next_bar() for _ in range(bar_count)]


def facts(events: Sequence[Event]) -> list[tuple[object, ...]]:
    """What of events does not depend on the clock and on new ids."""
    return [
        (
            event.bandit_id,
            event.quantity,
            event.price,
            event.fees,
            *((event.side, event.arm) if isinstance(event, Fill) else ()),
        )
        for event in events
    ]


@pytest.fixture(scope="module")
def one_pass() -> list[list[Event]]:
    return trade(HISTORY, BARS_A_PASS)


def test_changing_the_future_changes_nothing_that_was_done_before_it(one_pass: list[list[Event]]) -> None:
    now = 200  # the last bar that stays as it is
    other = [
        bar
        if index <= now
        else replace(bar, open=bar.open * 3, high=bar.high * 3, low=bar.low / 3, close=bar.close / 3)
        for index, bar in enumerate(HISTORY)
    ]
    traded = trade(other, BARS_A_PASS)
    done = now - LOOKBACK_BARS + 2  # bars traded up to and with `now`
    assert list(map(facts, traded[:done])) == list(map(facts, one_pass[:done]))
    # what was decided at `now` fills at the next open, whatever that is: same sides, another price
    sides = [(fill.bandit_id, fill.side) for fill in one_pass[done] if isinstance(fill, Fill)]
    assert sides == [(fill.bandit_id, fill.side) for fill in traded[done] if isinstance(fill, Fill)]
    assert facts(traded[done]) != facts(one_pass[done])


def test_the_side_is_the_familys_on_the_bars_before_the_fill(one_pass: list[list[Event]]) -> None:
    for step, events in enumerate(one_pass):
        filled_bar = LOOKBACK_BARS - 1 + step
        for fill in events:
            if isinstance(fill, Fill) and fill.arm is not None:
                assert fill.side == FAMILIES[fill.arm](HISTORY[filled_bar - LOOKBACK_BARS : filled_bar])


def test_a_fill_says_what_each_family_said_on_the_bars_before_it(one_pass: list[list[Event]]) -> None:
    for step, events in enumerate(one_pass):
        seen = HISTORY[LOOKBACK_BARS - 1 + step - LOOKBACK_BARS : LOOKBACK_BARS - 1 + step]
        for fill in events:
            if isinstance(fill, Fill):
                assert fill.signals == {name: family(seen) for name, family in FAMILIES.items()}


def test_fills_are_at_the_next_open_and_exits_at_the_close_of_the_horizons_last_bar(
    one_pass: list[list[Event]],
) -> None:
    filled_at: dict[str, int] = {}
    exits = 0
    for step, events in enumerate(one_pass):
        bar = HISTORY[LOOKBACK_BARS - 1 + step]
        for event in events:
            if isinstance(event, Fill):
                assert event.price == bar.open
                assert filled_at.setdefault(event.position_id, step) == step
            else:
                assert event.price == bar.close
                # decided a bar before the fill, held `horizon` bars from there
                assert step == filled_at[event.position_id] - 1 + HORIZONS[event.bandit_id.removeprefix("IBM-")]
                exits += 1
    assert exits == len(filled_at) == (341 - 1) + (341 - 5) + (341 - 20)  # of 341 bars, all whose exit is among them


def test_costs_are_those_declared(one_pass: list[list[Event]]) -> None:
    assert (FEES_BPS, SLIPPAGE_BPS) == (1.0, 2.0)
    for event in (event for events in one_pass for event in events):
        notional = event.quantity * event.price
        assert event.fees == pytest.approx(notional * 0.0001, rel=1e-12)
        if isinstance(event, Close):
            assert event.slippage == pytest.approx(notional * 0.0002, rel=1e-12)
            assert not event.slippage_in_price


def test_orders_fill_whole_and_some_in_two_parts_and_a_pass_leaves_nothing_open(one_pass: list[list[Event]]) -> None:
    fills: dict[str, list[Fill]] = {}
    closed: dict[str, float] = {}
    for event in (event for events in one_pass for event in events):
        if isinstance(event, Fill):
            fills.setdefault(event.position_id, []).append(event)
        else:
            assert event.position_id not in closed
            closed[event.position_id] = event.quantity
    for position_id, parts in fills.items():
        assert sum(fill.quantity for fill in parts) == parts[0].order_quantity == closed.pop(position_id)
        assert all(fill.quantity > 0 for fill in parts)
    assert closed == {}
    in_parts = sum(len(parts) == 2 for parts in fills.values()) / len(fills)
    assert in_parts == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / len(fills)) ** 0.5)
    assert {len(parts) for parts in fills.values()} == {1, 2}


def test_the_same_seed_trades_the_same_and_another_does_not(one_pass: list[list[Event]]) -> None:
    assert list(map(facts, trade(HISTORY, 50))) == list(map(facts, one_pass[:50]))
    assert list(map(facts, trade(HISTORY, 50, seed=2))) != list(map(facts, one_pass[:50]))


def test_after_the_last_bar_history_starts_again_with_new_positions(one_pass: list[list[Event]]) -> None:
    twice = trade(HISTORY, 2 * BARS_A_PASS)
    first = {event.position_id for events in twice[:BARS_A_PASS] for event in events}
    second = {event.position_id for events in twice[BARS_A_PASS:] for event in events}
    assert first.isdisjoint(second)
    assert twice[BARS_A_PASS] == []  # the first bar again: nothing was decided before it
    assert {event.price for event in twice[BARS_A_PASS + 1]} == {event.price for event in one_pass[1]}


def test_flatten_closes_what_is_open_at_the_last_close_and_forgets_what_was_ordered() -> None:
    rng = default_rng(1)
    desk = Desk("IBM", HISTORY, lambda bandit_id, _, views: draw(bandit_id, None, rng, arms=ARMS, signals=views), rng)
    events = [event for _ in range(31) for event in desk.next_bar()]
    opened = {event.position_id for event in events if isinstance(event, Fill)}
    closed = {event.position_id for event in events if isinstance(event, Close)}
    closes = desk.flatten()
    assert {close.position_id for close in closes} == opened - closed
    assert len(closes) == 4 + 19  # of 5d and of 20d; 1d positions end on the bar they begin
    assert {close.price for close in closes} == {HISTORY[LOOKBACK_BARS - 1 + 30].close}
    assert desk.flatten() == []


def test_a_fill_carries_the_decision_it_came_from() -> None:
    rng = default_rng(1)
    made: list[Decision] = []

    def choose(bandit_id: str, _: Sequence[Bar], views: Views) -> Decision:
        made.append(draw(bandit_id, None, rng, arms=ARMS, signals=views))
        return made[-1]

    desk = Desk("IBM", HISTORY, choose, rng)
    fills = [event for _ in range(5) for event in desk.next_bar() if isinstance(event, Fill)]
    by_position = {decision.position_id: decision for decision in made}
    assert fills
    for fill in fills:
        decision = by_position[fill.position_id]
        assert (fill.bandit_id, fill.arm, fill.propensity) == (decision.bandit_id, decision.arm, decision.propensity)
