"""RewardTracker: worked rewards, first in first out, and agreement with a queue of single units in fractions."""

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armstream.learning import RewardTracker
from tests.learning.reference import SlowClose, SlowFill, slow_rewards


def test_a_long_trade_by_hand() -> None:
    """BUY 100 at 150.00, close at 150.50, fees .50, slippage .20: (50 - .70) / 15000 * 10000 = 32.8667."""
    tracker = RewardTracker()
    tracker.record_trade(arm="lightgbm", entry_price=150.0, quantity=100, timestamp=1)
    assert tracker.close_trade(arm="lightgbm", exit_price=150.5, fees=0.5, slippage=0.2) == pytest.approx(493 / 15)


def test_a_short_trade_by_hand() -> None:
    """SELL 50 at 200, close at 198, fees 1, slippage .5: (100 - 1.5) / 10000 * 10000 = 98.5."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", 200.0, 50, side="SELL")
    assert tracker.close_trade("ridge", 198.0, 1.0, 0.5) == pytest.approx(98.5)


def test_the_multiplier_scales_the_result_and_the_notional_and_not_the_fees() -> None:
    """2 contracts of 50 at 100, out at 101: (100 - 4 - 1) / 10000 * 10000 = 95."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100.0, 2, fees=4.0, multiplier=50.0)
    assert tracker.close_trade("ridge", 101.0, fees=1.0) == pytest.approx(95.0)


def test_a_part_of_a_trade_takes_its_part_of_the_entry_fees_and_all_of_the_exits() -> None:
    """A quarter of 100 at 100, entry fees 8: (25 - 2 - 3) / 2500 * 10000 = 80; then (150 - 6) / 7500 * 10000 = 192."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100.0, 100, fees=8.0)
    assert tracker.close_trade("ridge", 101.0, fees=2.0, slippage=1.0, quantity=25) == pytest.approx(80.0)
    assert tracker.open_positions[0].quantity == 75
    assert tracker.close_trade("ridge", 102.0) == pytest.approx(192.0)
    assert tracker.open_positions == []


def test_the_first_unit_filled_is_the_first_one_closed() -> None:
    """10 at 100, then 10 at 200: 15 closed at 220 are 10 * 120 + 5 * 20 = 1300 on 2000; the last 5 are 100 on 1000."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100.0, 10, position_id="p")
    tracker.record_trade("ridge", 200.0, 10, position_id="p")
    assert tracker.close_trade("ridge", 220.0, position_id="p", quantity=15) == pytest.approx(6500.0)
    assert tracker.close_trade("ridge", 220.0, position_id="p") == pytest.approx(1000.0)


def test_without_a_position_id_the_arms_oldest_open_trade_closes_and_no_other() -> None:
    tracker = RewardTracker()
    tracker.record_trade("mlp", 50.0, 1)
    tracker.record_trade("ridge", 100.0, 1, 30, position_id="p")
    tracker.record_trade("ridge", 200.0, 1, 10)
    tracker.record_trade("ridge", 300.0, 1, position_id="p")
    assert tracker.close_trade("ridge", 110.0, quantity=1) == pytest.approx(1000.0), "p's first fill"
    assert tracker.close_trade("ridge", 210.0) == pytest.approx(500.0), "older than what is left of p"
    assert tracker.close_trade("ridge", 330.0) == pytest.approx(1000.0)
    assert [each.arm for each in tracker.open_positions] == ["mlp"]


def test_a_tenth_and_two_tenths_close_three_tenths() -> None:
    """0.1 + 0.2 is 0.30000000000000004 in floats: nothing is left open, and nothing is refused."""
    tracker = RewardTracker()
    for quantity in (0.1, 0.2):
        tracker.record_trade("ridge", 100.0, quantity, position_id="p")
    tracker.close_trade("ridge", 101.0, position_id="p", quantity=0.3)
    assert tracker.open_positions == []
    tracker.record_trade("ridge", 100.0, 0.3, position_id="p")
    for quantity in (0.1, 0.2):
        tracker.close_trade("ridge", 101.0, position_id="p", quantity=quantity)
    assert tracker.open_positions == []


def test_open_positions_show_what_is_left() -> None:
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100.0, 10, 7, position_id="p", side="SELL", multiplier=2.0)
    tracker.record_trade("ridge", 200.0, 10, 8, position_id="p", side="SELL", multiplier=2.0)
    tracker.record_trade("mlp", 50.0, 3)
    tracker.close_trade("ridge", 90.0, position_id="p", quantity=5)
    assert tracker.open_positions == [
        ("ridge", "p", "SELL", 15, pytest.approx(2500 / 15), 2.0, 7),
        ("mlp", None, "BUY", 3, 50.0, 1.0, None),
    ]


def test_stats_weigh_by_notional() -> None:
    """+100 bps on 1000 and +400 bps on 3000 are 130 on 4000, 325 bps."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100.0, 10)
    assert tracker.stats("ridge") == (1, 0, 0.0, 0.0, None)
    tracker.close_trade("ridge", 101.0)
    tracker.record_trade("ridge", 300.0, 10)
    tracker.close_trade("ridge", 312.0)
    assert tuple(tracker.stats("ridge")) == pytest.approx((2, 2, 130.0, 4000.0, 325.0))


REFUSED: dict[str, Callable[[RewardTracker], object]] = {
    "closing an arm that never traded": lambda t: t.close_trade("gru", 100.0),
    "closing an arm with nothing open": lambda t: t.close_trade("flat", 100.0),
    "closing another arm's position": lambda t: t.close_trade("mlp", 100.0, position_id="p"),
    "closing an unknown position": lambda t: t.close_trade("ridge", 100.0, position_id="x"),
    "closing more than is open": lambda t: t.close_trade("ridge", 100.0, position_id="p", quantity=20.001),
    "closing nothing": lambda t: t.close_trade("ridge", 100.0, quantity=0.0),
    "closing less than nothing": lambda t: t.close_trade("ridge", 100.0, quantity=-1.0),
    "exit price zero": lambda t: t.close_trade("ridge", 0.0),
    "exit price nan": lambda t: t.close_trade("ridge", math.nan),
    "exit fees infinite": lambda t: t.close_trade("ridge", 100.0, math.inf),
    "slippage nan": lambda t: t.close_trade("ridge", 100.0, 0.0, math.nan),
    "a reward beyond 1e12 bps": lambda t: t.close_trade("ridge", 1e300),
    "a reward that is not finite": lambda t: t.close_trade("ridge", 1.7e308, position_id="p"),
    "entry price negative": lambda t: t.record_trade("ridge", -1.0, 1),
    "entry price infinite": lambda t: t.record_trade("ridge", math.inf, 1),
    "quantity zero": lambda t: t.record_trade("ridge", 100.0, 0),
    "quantity nan": lambda t: t.record_trade("ridge", 100.0, math.nan),
    "multiplier zero": lambda t: t.record_trade("ridge", 100.0, 1, multiplier=0.0),
    "entry fees nan": lambda t: t.record_trade("ridge", 100.0, 1, fees=math.nan),
    "a side that is none": lambda t: t.record_trade("ridge", 100.0, 1, side="LONG"),
    "the position of another arm": lambda t: t.record_trade("mlp", 100.0, 1, position_id="p"),
    "the position of another side": lambda t: t.record_trade("ridge", 100.0, 1, position_id="p", side="SELL"),
    "the position of another multiplier": lambda t: t.record_trade("ridge", 100.0, 1, position_id="p", multiplier=2.0),
    "stats of an arm that never traded": lambda t: t.stats("gru"),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_what_cannot_be_is_a_value_error_and_changes_nothing(refused: str) -> None:
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100.0, 10, position_id="p")
    tracker.record_trade("ridge", 110.0, 10, position_id="p")
    tracker.record_trade("flat", 100.0, 1)
    tracker.close_trade("flat", 101.0)
    before = tracker.open_positions, tracker.stats("ridge"), tracker.stats("flat")
    with pytest.raises(ValueError, match=r"."):
        REFUSED[refused](tracker)
    assert (tracker.open_positions, tracker.stats("ridge"), tracker.stats("flat")) == before


def test_a_notional_that_vanishes_is_refused() -> None:
    tracker = RewardTracker()
    tracker.record_trade("ridge", 1e-300, 1e-300)
    with pytest.raises(ValueError, match="notional"):
        tracker.close_trade("ridge", 1.0)


def test_a_flat_position_is_forgotten_and_its_id_may_be_a_new_decision() -> None:
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100.0, 1, position_id="p")
    tracker.close_trade("ridge", 101.0, position_id="p")
    tracker.record_trade("mlp", 100.0, 1, position_id="p", side="SELL")
    assert tracker.close_trade("mlp", 99.0, position_id="p") == pytest.approx(100.0)


cents = st.integers(1_000, 20_000).map(lambda each: Fraction(each, 100))
costs = st.integers(-50, 500).map(lambda each: Fraction(each, 100))
fills = st.lists(st.builds(SlowFill, cents, st.integers(1, 12), costs), min_size=1, max_size=6)


@given(
    st.sampled_from([1, -1]),
    st.sampled_from([Fraction(1), Fraction(50), Fraction(1, 8)]),
    fills,
    st.lists(st.tuples(cents, st.integers(1, 20), costs), max_size=12),
    st.lists(st.integers(0, 6), max_size=12),
)
def test_any_fills_and_closes_earn_what_a_queue_of_single_units_earns(
    sign: int,
    multiplier: Fraction,
    position_fills: list[SlowFill],
    wanted: list[tuple[Fraction, int, Fraction]],
    fills_before: list[int],
) -> None:
    """Closes come as soon as enough is open, or after more fills; the units are tenths, so that floats leave dust."""
    tracker, filled, closed = RewardTracker(), 0, 0
    waiting, closes, earned = list(position_fills), [], []
    for number, (price, units, close_costs) in enumerate(wanted):
        ahead = fills_before[number] if number < len(fills_before) else 0
        while waiting and (ahead > 0 or filled - closed < units):
            fill = waiting.pop(0)
            tracker.record_trade(
                "ridge",
                float(fill.price),
                fill.units / 10,
                side="BUY" if sign > 0 else "SELL",
                position_id="p",
                fees=float(fill.fees),
                multiplier=float(multiplier),
            )
            filled, ahead = filled + fill.units, ahead - 1
        if filled == closed:
            break
        close = SlowClose(price, min(units, filled - closed), close_costs)
        earned.append(tracker.close_trade("ridge", float(price), float(close_costs), quantity=close.units / 10))
        closes.append(close)
        closed += close.units
    # A unit is a tenth: fees weigh ten times as much against its notional.
    tenths = [SlowFill(fill.price, fill.units, fill.fees * 10) for fill in position_fills]
    expected = slow_rewards(
        sign, multiplier, tenths, [SlowClose(each.price, each.units, each.costs * 10) for each in closes]
    )
    assert earned == pytest.approx([float(each) for each in expected], rel=1e-6, abs=1e-4)
    assert sum(each.quantity for each in tracker.open_positions) == pytest.approx((filled - closed) / 10, abs=1e-7)
