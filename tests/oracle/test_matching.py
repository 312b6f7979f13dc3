"""The reference itself: the design's worked numbers, and the law about what is left."""

from fractions import Fraction
from math import isnan

import pytest

from armstream.events import Close, Fill
from armstream.oracle.matching import Part, Segment, Undecided, match, reward_of, weight_of
from tests.stages.events import close, fill


def matched(fills: list[Fill], closes: list[Close]) -> tuple[list[Segment], int]:
    """The segments, and how many events have something left."""
    opened, waiting = [Part(one) for one in fills], [Part(one) for one in closes]
    return match(opened, waiting), len(opened) + len(waiting)


def test_the_worked_examples() -> None:
    """(50 - .70) / 15000 * 10000 = 32.8667; SELL 50 at 200 closed at 198: (100 - 1.5) / 10000 * 10000 = 98.5."""
    buy, sell = fill(fees=0.0), fill(side="SELL", quantity=50.0, price=200.0)
    assert reward_of(buy, close(fees=0.5, slippage=0.2), Fraction(100))[0] == pytest.approx(49.3 / 1.5, rel=1e-15)
    of_sell = close(quantity=50.0, price=198.0, fees=1.0, slippage=0.5)
    assert reward_of(sell, of_sell, Fraction(50)) == (98.5, 101.5)


def test_slippage_in_the_price_and_the_multiplier_count_once() -> None:
    """(50 * 10 - .5) / (15000 * 10) * 10000 = 33.3; fees of half of a fill: .3 / 2 of 15000."""
    charged = close(fees=0.5, slippage=0.2, slippage_in_price=True)
    assert reward_of(fill(multiplier=10.0), charged, Fraction(100))[0] == pytest.approx(33.3, rel=1e-15)
    half = reward_of(fill(fees=0.3), close(quantity=50.0, price=150.0), Fraction(50))[0]
    assert half == pytest.approx(-0.15 / 7_500 * 10_000, rel=1e-15)


def test_a_tenth_and_two_tenths_close_three_tenths_in_two_segments_and_nothing_is_left() -> None:
    fills = [fill("f1", quantity=0.1, order_quantity=0.3), fill("f2", quantity=0.2, order_quantity=0.3)]
    segments, left = matched(fills, [close(quantity=0.3)])
    assert [segment.quantity for segment in segments] == [Fraction(1, 10), Fraction(1, 5)]
    weights = [weight_of(segment.fill, float(segment.quantity)) for segment in segments]
    assert weights == pytest.approx([1 / 3, 2 / 3], rel=1e-15)
    assert left == 0


@pytest.mark.parametrize(("closed", "left"), [(0.9999999995, 0), (0.9999999985, 1)])
def test_a_billionth_of_an_event_is_nothing_and_more_is_something(closed: float, left: int) -> None:
    assert matched([fill(quantity=1.0)], [close(quantity=closed)])[1] == left


def test_the_first_in_is_the_first_out() -> None:
    segments, left = matched(
        [fill("f1", quantity=3.0), fill("f2", quantity=2.0)], [close("c1", quantity=1.0), close("c2", quantity=5.0)]
    )
    names = [(one.fill.event_id, one.close.event_id, float(one.quantity)) for one in segments]
    assert names == [("f1", "c1", 1.0), ("f1", "c2", 2.0), ("f2", "c2", 2.0)]
    assert left == 1


def test_where_doubles_and_decimals_disagree_on_what_is_left_it_says_so() -> None:
    """A fill a hundred million times its close: its doubles are 3e-9 apart, more than a billionth of the close."""
    with pytest.raises(Undecided, match="'c2'"):
        matched([fill(quantity=100_000_001.3)], [close("c1", quantity=1e8), close("c2", quantity=1.3)])


def test_what_doubles_cannot_hold_is_what_they_make_of_it() -> None:
    nothing = reward_of(fill(price=1e-200, quantity=1e-200), close(quantity=1e-200), Fraction(1, 10**200))[0]
    assert isnan(nothing), "there is no entry notional"
    assert reward_of(fill(price=1e-10), close(price=1e10), Fraction(100))[0] == pytest.approx(1e24)


def test_what_is_left_of_a_small_last_fill_is_as_sure_as_what_was_subtracted_on_the_way() -> None:
    """.99999997 and 3e-8 of an order of 1, closed by .99999999: 1e-8 is left, of doubles that are 1e-16 apart."""
    fills = [Part(fill("f1", quantity=0.99999997)), Part(fill("f2", quantity=3e-8))]
    segments = match(fills, [Part(close(quantity=0.99999999))])
    assert [segment.quantity for segment in segments] == [Fraction(99999997, 10**8), Fraction(2, 10**8)]
    (left,) = fills
    assert left.left == Fraction(1, 10**8)
    assert left.scale == 0.99999999


def test_costs_beyond_what_doubles_hold_are_what_doubles_make_of_them() -> None:
    """The two costs are 2e308 bps each, and cancel."""
    reward_bps, _ = reward_of(fill(price=1e-4, fees=1e303), close(price=1e-4, fees=-1e303), Fraction(100))
    assert reward_bps == 0.0
