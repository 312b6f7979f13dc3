"""The interval against its definition, computed decision by decision; Student's t against a table."""

from math import fsum, sqrt

import pytest

from armstream.evaluation.interval import Played, Weighed, above, mean_of, quantile


def sums_of(decisions: list[tuple[float, float]]) -> tuple[Played, Weighed]:
    """Of (r, w) each, one arm seen: x = w r."""
    r, w = ([each[at] for each in decisions] for at in (0, 1))
    x = [one * weight for one, weight in decisions]

    def dot(one: list[float], other: list[float]) -> float:
        return fsum(a * b for a, b in zip(one, other, strict=True))

    xw, ww = ([one * weight for one, weight in zip(each, w, strict=True)] for each in (x, w))
    weighed = Weighed(
        *(fsum(x), fsum(w), dot(r, x), dot(r, w), dot(x, x), dot(x, w), dot(w, w)),
        *(dot(x, xw), dot(x, ww), dot(w, ww)),
    )
    return Played(len(r), fsum(r), dot(r, r)), weighed


@pytest.mark.parametrize(("degrees", "expected"), [(9, 2.262), (19, 2.093), (60, 2.000), (1e9, 1.960)])
def test_the_quantile_is_that_of_a_printed_table(degrees: float, expected: float) -> None:
    assert quantile(degrees) == pytest.approx(expected, abs=6e-4)


def test_the_value_is_what_weights_make_of_rewards() -> None:
    """Ten decisions of 8 bps at weight 1, ten of -4 at weight 3: (80 - 120) / 40 = -1 a trade, and 2 were earned: 60
    more than 20 trades at -1. The effective sample is 40^2 / (10 + 90)."""
    played, of = sums_of([(8.0, 1.0)] * 10 + [(-4.0, 3.0)] * 10)
    found = above(played, of)
    assert found is not None
    assert (found.trades, found.effective_sample) == (20, 16.0)
    assert (found.per_trade_bps, found.cumulative_bps) == pytest.approx((3.0, 60.0))
    # The value alone: squares 10 * 9^2 and 10 * 9^2, by 1 + 2 / 40 and 1 + 6 / 40 for what each drew v to itself, make
    # 1,782, times 20 / 40. Both together, by decision: 9 - 9 = 0 and -3 + 9 = 6, about their mean of 3, make 20 * 3^2,
    # and 162 for the same. The former is wider, times 2.131 for t of 15.
    assert found.high_bps - found.cumulative_bps == pytest.approx(2.131 * 20.0 * sqrt(1_782.0) / 40.0, rel=1e-3)
    assert found.cumulative_bps - found.low_bps == pytest.approx(found.per_trade_error_bps * 20)


def test_the_wider_of_two_errors_is_taken() -> None:
    """Where all is seen, w = 1 and x is the policy's own reward: 0 on every trade, so that its value is known for sure.
    What was earned above it, 10 and -10 in turn, is not."""
    played = Played(100, 0.0, 100 * 100.0)
    of = Weighed(x=0.0, w=100.0, rx=0.0, rw=0.0, xx=0.0, xw=0.0, ww=100.0, wxx=0.0, wwx=0.0, www=100.0)
    found = above(played, of)
    assert found is not None
    assert found.high_bps == pytest.approx(1.984 * sqrt(100 * 100.0), rel=1e-3)


@pytest.mark.parametrize(("decisions", "is_given"), [([(1.0, 1.0)] * 9, False), ([(1.0, 1.0)] * 10, True), ([], False)])
def test_an_interval_is_given_from_an_effective_sample_of_ten_on(
    decisions: list[tuple[float, float]], is_given: bool
) -> None:
    played, of = sums_of(decisions)
    assert (above(played, of) is not None, mean_of(of) is not None) == (is_given, is_given)


def test_one_heavy_weight_takes_the_interval_away() -> None:
    """An arm drawn at a probability of one in a thousand: what is known rests on this decision."""
    assert above(*sums_of([(1.0, 0.8)] * 500 + [(50.0, 200.0)])) is None
