"""The reference itself: the design's worked numbers, and the law about what is left."""

from fractions import Fraction
from math import isnan

import pytest

from armstream.events import Close, Fill
from armstream.oracle.matching import Part, Rounding, Segment, cost_ratio_of, match, reward_of, weight_of
from tests.stages.events import close, fill


def matched(fills: list[Fill], closes: list[Close]) -> tuple[list[Segment], int]:
    """The segments, and how many events have something left."""
    opened, waiting = [Part(one) for one in fills], [Part(one) for one in closes]
    rounding = Rounding(len(fills) + len(closes), sum(one.quantity for one in fills))
    return match(opened, waiting, rounding), len(opened) + len(waiting)


def test_the_worked_examples() -> None:
    """(50 - .70) / 15000 * 10000 = 32.8667; SELL 50 at 200 closed at 198: (100 - 1.5) / 10000 * 10000 = 98.5."""
    buy, sell = fill(fees=0.0), fill(side="SELL", quantity=50.0, price=200.0)
    assert reward_of(buy, close(fees=0.5, slippage=0.2), 100.0)[0] == pytest.approx(49.3 / 1.5, rel=1e-15)
    of_sell = close(quantity=50.0, price=198.0, fees=1.0, slippage=0.5)
    assert reward_of(sell, of_sell, 50.0) == (98.5, 101.5)


def test_slippage_in_the_price_and_the_multiplier_count_once() -> None:
    """(50 * 10 - .5) / (15000 * 10) * 10000 = 33.3; fees of half of a fill: .3 / 2 of 15000."""
    charged = close(fees=0.5, slippage=0.2, slippage_in_price=True)
    assert reward_of(fill(multiplier=10.0), charged, 100.0)[0] == pytest.approx(33.3, rel=1e-15)
    half = reward_of(fill(fees=0.3), close(quantity=50.0, price=150.0), 50.0)[0]
    assert half == pytest.approx(-0.15 / 7_500 * 10_000, rel=1e-15)


def test_a_tenth_and_two_tenths_close_three_tenths_in_two_segments_and_nothing_is_left() -> None:
    fills = [fill("f1", quantity=0.1, order_quantity=0.3), fill("f2", quantity=0.2, order_quantity=0.3)]
    segments, left = matched(fills, [close(quantity=0.3)])
    assert [segment.quantity for segment in segments] == [Fraction(1, 10), Fraction(1, 5)]
    assert left == 0


@pytest.mark.parametrize(
    ("left", "quantity", "filled", "event_count", "is_it"),
    [
        (0.0, 1.0, 1.0, 2, True),
        (-1e-17, 1.0, 1.0, 2, True),
        (4.4e-16, 1.0, 1.0, 2, True),  # 2 * 2.22e-16 is 4.44e-16
        (4.5e-16, 1.0, 1.0, 2, False),
        (4.5e-16, 1.0, 1.0, 3, True),
        (7e-16, 0.2, 10.2, 3, True),  # of what was filled: 10.2 - 10 is 0.2 - 7e-16
        (1e-9, 1.0, 1.0, 2, False),
        (3e-11, 3e-9, 1e6, 2, False),  # a hundredth of it
        (1.0, 1e15, 1e15, 1_000, False),  # a whole unit
        (1.0, 1e16, 1e16, 3, True),  # which doubles of this size do not know
    ],
)
def test_what_rounding_can_have_left_is_nothing_and_more_is_something(
    left: float, quantity: float, filled: float, event_count: int, is_it: bool
) -> None:
    assert Rounding(event_count, filled).explains(left, quantity) is is_it


def test_all_but_one_unit_of_1e15_leaves_the_unit() -> None:
    assert matched([fill(quantity=1e15)], [close(quantity=1e15 - 1)])[1] == 1


def test_the_first_in_is_the_first_out() -> None:
    segments, left = matched(
        [fill("f1", quantity=3.0), fill("f2", quantity=2.0)], [close("c1", quantity=1.0), close("c2", quantity=5.0)]
    )
    names = [(one.fill.event_id, one.close_event_id, float(one.quantity)) for one in segments]
    assert names == [("f1", "c1", 1.0), ("f1", "c2", 2.0), ("f2", "c2", 2.0)]
    assert left == 1


@pytest.mark.parametrize(
    ("quantity", "order_quantity", "filled", "unfilled", "weight"),
    [
        (40.0, 100.0, 0, 1.0, 0.4),
        (60.0, 100.0, 40, 0.6, 0.6),
        (60.0, 150.0, 40, 0.6, 0.6 * 60 / 110),  # amended from 100 to 150
        (45.0, 100.0, 60, 0.4, 0.4),  # more than was ordered
        (5.0, 100.0, 105, 0.0, 0.0),
        (7.0, None, 0, 1.0, 1.0),
        (0.2, 0.3, 0, 1.0, 2 / 3),
    ],
)
def test_a_fill_weighs_its_part_of_what_the_order_still_lacks(
    quantity: float, order_quantity: float | None, filled: int, unfilled: float, weight: float
) -> None:
    ours, _ = weight_of(fill(quantity=quantity, order_quantity=order_quantity), Fraction(filled), unfilled)
    assert ours == pytest.approx(weight, rel=1e-15)


def test_basis_points_are_of_the_notional_where_it_is_given() -> None:
    """A spread bought at -0.25 and sold at 0.5, 10 units of 50 each, notional 2,000 a unit, fees 4 and 6:
    (.75 * 10 * 50 - 10) / 20,000 * 10,000 = 182.5."""
    spread = fill(quantity=10.0, price=-0.25, multiplier=50.0, notional=2_000.0, fees=4.0)
    reward_bps, scale = reward_of(spread, close(quantity=10.0, price=0.5, fees=6.0), 10.0)
    assert [reward_bps, scale] == pytest.approx([182.5, 192.5], rel=1e-15)
    worthless = reward_of(fill(price=2.0, quantity=1.0), close(price=0.0, quantity=1.0), 1.0)
    assert worthless == (-10_000.0, 10_000.0)


def test_costs_count_whichever_way_they_go() -> None:
    """(|-30| / 100 + (|5| + |-10|) / 50) / 150."""
    closed = close(quantity=50.0, fees=5.0, slippage=-10.0)
    assert cost_ratio_of(fill(fees=-30.0), closed) == pytest.approx(0.6 / 150, rel=1e-15)


def test_what_doubles_cannot_hold_is_what_they_make_of_it() -> None:
    nothing = reward_of(fill(price=1e-200, quantity=1e-200), close(quantity=1e-200), 1e-200)[0]
    assert isnan(nothing), "there is no entry notional"
    assert reward_of(fill(price=1e-10), close(price=1e10), 100.0)[0] == pytest.approx(1e24)


def test_what_is_left_of_a_small_last_fill_is_as_sure_as_what_was_subtracted_on_the_way() -> None:
    """.99999997 and 3e-8 of an order of 1, closed by .99999999: 1e-8 is left, of doubles that are 1e-16 apart."""
    fills = [Part(fill("f1", quantity=0.99999997)), Part(fill("f2", quantity=3e-8))]
    segments = match(fills, [Part(close(quantity=0.99999999))], Rounding(3, 1.0))
    assert [segment.quantity for segment in segments] == [Fraction(99999997, 10**8), Fraction(2, 10**8)]
    (left,) = fills
    assert left.left == Fraction(1, 10**8)
    assert left.scale == 0.99999999


def test_costs_beyond_what_doubles_hold_are_what_doubles_make_of_them() -> None:
    """The two costs are 2e308 bps each, and cancel."""
    reward_bps, _ = reward_of(fill(price=1e-4, fees=1e303), close(price=1e-4, fees=-1e303), 100.0)
    assert reward_bps == 0.0
