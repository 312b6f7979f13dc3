"""RewardTracker: worked rewards, first in first out, and agreement with exact references in fractions."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
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


def test_a_small_close_after_a_large_one_ends_what_is_left() -> None:
    """.4 + .5 + .7 - 1.5 is .09999999999999987 in floats, where .1 is left: a rounding of 1.5, not of .1."""
    tracker = RewardTracker()
    for quantity in (0.4, 0.5, 0.7):
        tracker.record_trade("ridge", 100.0, quantity, position_id="p")
    tracker.close_trade("ridge", 101.0, position_id="p", quantity=1.5)
    assert tracker.close_trade("ridge", 101.0, position_id="p", quantity=0.1) == pytest.approx(100.0)
    assert tracker.open_positions == []


def test_a_whole_unit_is_never_taken_for_rounding() -> None:
    """After eleven events 11 * 2**-52 * 1e15 is 2.4: more than the unit, and it stays open all the same."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100.0, 1e15)
    for _ in range(9):
        tracker.close_trade("ridge", 101.0, quantity=1e14)
    tracker.close_trade("ridge", 101.0, quantity=1e14 - 1)
    assert [each.quantity for each in tracker.open_positions] == [1.0]
    assert tracker.close_trade("ridge", 101.0, quantity=1) == pytest.approx(100.0)
    assert tracker.open_positions == []


def test_half_a_small_fill_behind_a_huge_one_stays_open() -> None:
    tracker = RewardTracker()
    for quantity in (1e15, 0.5):
        tracker.record_trade("ridge", 100.0, quantity, position_id="p")
    tracker.close_trade("ridge", 101.0, position_id="p", quantity=1e15)
    tracker.close_trade("ridge", 101.0, position_id="p", quantity=0.25)
    assert [each.quantity for each in tracker.open_positions] == [0.25]


def test_beyond_2_to_the_53_a_unit_is_rounding() -> None:
    """Doubles near 1e17 are 16 apart."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100.0, 1e17)
    tracker.close_trade("ridge", 101.0, quantity=1e17 - 16)
    assert tracker.open_positions == []


def test_a_tenth_of_a_trillionth_is_no_rounding_of_one() -> None:
    """Two events round by 2 * 2**-52 at most, 4.4e-16."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100.0, 1)
    tracker.close_trade("ridge", 101.0, quantity=1 - 1e-13)
    assert [each.quantity for each in tracker.open_positions] == pytest.approx([1e-13], rel=1e-3)


def test_more_than_rounding_is_refused_or_stays_open() -> None:
    """Of .3, .1 and .1999 leave .0001, and .1 and .2001 are more than there is."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100.0, 0.3)
    tracker.close_trade("ridge", 101.0, quantity=0.1)
    with pytest.raises(ValueError, match=r"^cannot close 0\.2001 of ridge: only 0\.1999+\d* is open"):
        tracker.close_trade("ridge", 101.0, quantity=0.2001)
    tracker.close_trade("ridge", 101.0, quantity=0.1999)
    assert [each.quantity for each in tracker.open_positions] == pytest.approx([0.0001])


# Prices as they are


def test_what_expires_worthless_has_lost_all() -> None:
    """10 at 2.00 with fees 1, out at 0: (-20 - 1) / 20 * 10000 = -10500; the writer of it earns 10000 - 500."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", 2.0, 10, fees=1.0)
    assert tracker.close_trade("ridge", 0.0) == pytest.approx(-10_500.0)
    tracker.record_trade("ridge", 2.0, 10, fees=1.0, side="sell")
    assert tracker.close_trade("ridge", 0) == pytest.approx(9_500.0)


def test_a_close_may_be_below_0() -> None:
    """A barrel bought at 20 and sold at -37: -57 / 20 * 10000."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", 20.0, 1000)
    assert tracker.close_trade("ridge", -37.0) == pytest.approx(-28_500.0)


@pytest.mark.parametrize("price", [-2.0, 0.0, 2.0])
def test_a_notional_is_the_basis_of_a_unit_in_place_of_price_and_multiplier(price: float) -> None:
    """3 spreads of 10, sold 1.5 above: 1.5 * 3 * 10 = 45 on 3 * 50, 3000 bps, wherever they were bought."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", price, 3, multiplier=10, notional=50)
    assert tracker.close_trade("ridge", price + 1.5) == pytest.approx(3_000.0)
    assert tuple(tracker.stats("ridge")) == pytest.approx((1, 1, 45.0, 150.0, 3_000.0))


def test_each_fill_has_a_basis_of_its_own() -> None:
    """1 at 100 without, 1 at 0 on 50, both out at 110: (10 + 110) / (100 + 50) * 10000 = 8000."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100, 1, position_id="p")
    tracker.record_trade("ridge", 0, 1, position_id="p", notional=50)
    assert tracker.close_trade("ridge", 110, position_id="p") == pytest.approx(8_000.0)


@pytest.mark.parametrize("price", [0.0, -0.0, -1.5])
def test_an_entry_that_needs_a_basis_says_so(price: float) -> None:
    with pytest.raises(ValueError, match=r"^entry_price must be above 0 where notional, the basis of one unit, is not"):
        RewardTracker().record_trade("ridge", price, 1)


# What trading code holds

KINDS: list[Callable[[Any], Any]] = [Decimal, Fraction, np.float64, np.array, float]


@pytest.mark.parametrize("entered", KINDS)
@pytest.mark.parametrize("closed", KINDS)
def test_entries_of_one_kind_are_closed_by_numbers_of_another(
    entered: Callable[[Any], Any], closed: Callable[[Any], Any]
) -> None:
    """100 at 150.00 with fees .25, 50 out at 150.50 with .125 and .125: 25 - .125 - .25 on 7500, 32.8333 bps."""
    tracker = RewardTracker()
    tracker.record_trade("ridge", entered(150), entered(100), fees=entered(0.25), multiplier=entered(1))
    earned = tracker.close_trade("ridge", closed(150.5), closed(0.125), closed(0.125), quantity=closed(50))
    assert earned == pytest.approx(24.625 / 7_500 * 10_000)
    assert type(earned) is float
    assert {type(each) for each in tracker.stats("ridge")} == {int, float}
    (position,) = tracker.open_positions
    assert position == ("ridge", None, "BUY", 50.0, 150.0, 1.0, None)
    assert [type(each) for each in position[3:6]] == [float] * 3


ENTRY_NUMBERS = ("entry_price", "quantity", "fees", "multiplier", "notional")
EXIT_NUMBERS = ("exit_price", "fees", "slippage", "quantity")
WRONG_NUMBERS: list[Any] = [
    *(math.nan, math.inf, Decimal("NaN"), Decimal("sNaN"), np.float64("nan"), 10**400),
    *("1", b"1", True, 1j, [1.0], np.array([1.0])),
]


@pytest.mark.parametrize("wrong", WRONG_NUMBERS, ids=lambda wrong: type(wrong).__name__)
def test_what_is_no_number_is_refused_by_its_name_and_changes_nothing(wrong: object) -> None:
    tracker = RewardTracker()
    tracker.record_trade("ridge", Decimal(100), 10)
    before = tracker.open_positions, tracker.stats("ridge")
    entry: dict[str, Any] = {"arm": "ridge", "entry_price": 1.0, "quantity": 1}
    for name in ENTRY_NUMBERS:
        with pytest.raises(ValueError, match=rf"^{name} must be "):
            tracker.record_trade(**{**entry, name: wrong})
    for name in EXIT_NUMBERS:
        closing: dict[str, Any] = {"arm": "ridge", "exit_price": 1.0, name: wrong}
        with pytest.raises(ValueError, match=rf"^{name} must be "):
            tracker.close_trade(**closing)
    assert (tracker.open_positions, tracker.stats("ridge")) == before


def test_none_is_refused_where_a_number_is_needed() -> None:
    tracker = RewardTracker()
    tracker.record_trade("ridge", 100, 10)
    missing: Any = None
    for name in ENTRY_NUMBERS[:4]:
        with pytest.raises(ValueError, match=rf"^{name} must be a number, got None"):
            tracker.record_trade(**{"arm": "ridge", "entry_price": 1.0, "quantity": 1, name: missing})
    for name in EXIT_NUMBERS[:3]:
        with pytest.raises(ValueError, match=rf"^{name} must be a number, got None"):
            tracker.close_trade(**{"arm": "ridge", "exit_price": 1.0, name: missing})


def test_names_are_texts() -> None:
    """A number as position_id would be taken for that of a trade without one."""
    tracker, number = RewardTracker(), 0
    tracker.record_trade("ridge", 100, 10)
    with pytest.raises(ValueError, match=r"^position_id must be text, got 0"):
        tracker.record_trade("ridge", 100, 1, position_id=number)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^position_id must be text, got 0"):
        tracker.close_trade("ridge", 100, position_id=number)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^arm must be text, got 0"):
        tracker.record_trade(number, 100, 1)  # type: ignore[arg-type]
    assert tracker.close_trade(np.str_("ridge"), 101) == pytest.approx(100.0)


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
    "exit price nan": lambda t: t.close_trade("ridge", math.nan),
    "exit fees infinite": lambda t: t.close_trade("ridge", 100.0, math.inf),
    "slippage nan": lambda t: t.close_trade("ridge", 100.0, 0.0, math.nan),
    "a reward beyond 1e12 bps": lambda t: t.close_trade("ridge", 1e300),
    "a reward that is not finite": lambda t: t.close_trade("ridge", 1.7e308, position_id="p"),
    "entry price negative": lambda t: t.record_trade("ridge", -1.0, 1),
    "entry price zero": lambda t: t.record_trade("ridge", 0.0, 1),
    "a notional of zero": lambda t: t.record_trade("ridge", 1.0, 1, notional=0.0),
    "a notional below zero": lambda t: t.record_trade("ridge", -1.0, 1, notional=-1.0),
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


@dataclass
class Exact:
    """One long or short position in fractions: first in, first out, with nothing rounded."""

    sign: int
    multiplier: Fraction
    fills: list[list[Fraction]] = field(default_factory=list)  # price, quantity, fees, basis, left

    @property
    def left(self) -> Fraction:
        return sum((fill[4] for fill in self.fills), Fraction(0))

    def close(self, price: Fraction, quantity: Fraction, costs: Fraction) -> tuple[Fraction, Fraction]:
        """The reward in bps, and the sum of its terms without their signs."""
        wanted, net, gross, notional = quantity, Fraction(0), Fraction(0), Fraction(0)
        for fill in self.fills:
            entry, whole, fees, basis, left = fill
            q = min(left, wanted)
            fill[4], wanted = left - q, wanted - q
            net += self.sign * (price - entry) * q * self.multiplier - fees * q / whole - costs * q / quantity
            gross += (abs(price) + abs(entry)) * q * self.multiplier + abs(fees) * q / whole + abs(costs) * q / quantity
            notional += basis * q
        assert wanted == 0
        return net / notional * 10_000, gross / notional * 10_000


quantities = st.builds(lambda units, scale: Fraction(units, 10**scale), st.integers(1, 300), st.integers(0, 2))
any_prices = st.integers(-20_000, 20_000).map(lambda each: Fraction(each, 100))
bases = st.integers(100, 20_000).map(lambda each: Fraction(each, 100))
as_given = st.sampled_from(
    [
        float,
        lambda each: Decimal(each.numerator) / Decimal(each.denominator),
        lambda each: each,
        lambda each: np.float64(float(each)),
    ]
)
steps = st.lists(st.tuples(st.booleans(), any_prices, quantities, costs, bases, st.booleans(), as_given), max_size=40)


@given(st.sampled_from(["BUY", "sell"]), st.sampled_from([Fraction(1), Fraction(50), Fraction(1, 10)]), steps)
def test_any_history_earns_what_it_earns_without_rounding(
    side: str, multiplier: Fraction, history: list[tuple[bool, Fraction, Fraction, Fraction, Fraction, bool, Any]]
) -> None:
    """Fills and closes mixed, of any kind of number and any price; a close takes what is wanted, or all that is open.
    It is flat where the exact one is flat, and nowhere else."""
    tracker, exact = RewardTracker(), Exact(1 if side == "BUY" else -1, multiplier)
    for opens, price, quantity, cost, basis, by_quantity, kind in history:
        if opens:
            given_basis = None if price > 0 and by_quantity else basis
            tracker.record_trade(
                "ridge", kind(price), kind(quantity), side=side, position_id="p", fees=kind(cost),
                multiplier=kind(multiplier), notional=None if given_basis is None else kind(given_basis),
            )  # fmt: skip
            unit = price * multiplier if given_basis is None else given_basis
            exact.fills.append([price, quantity, cost, unit, quantity])
        elif exact.left > 0:
            all_open = not by_quantity
            wanted = exact.left if all_open else min(quantity, exact.left)
            earned = tracker.close_trade(
                "ridge", kind(price), kind(cost), position_id="p", quantity=None if all_open else kind(wanted)
            )
            expected, gross = exact.close(price, wanted, cost)
            assert abs(Fraction(earned) - expected) <= gross / 10**9
        assert [each.quantity for each in tracker.open_positions] == pytest.approx(
            [float(exact.left)] if exact.left > 0 else [], rel=1e-9
        )
