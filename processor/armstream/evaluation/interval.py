"""An estimated difference with its 95 % interval, from sums over decisions.

Law: no interval is given before the sample that it rests on is large enough for it to hold.

A decision of reward r weighs w = the policy's probability of what was seen, divided by the probability of seeing it; x
is w r, or the same sum over all arms that were seen. The policy's value a trade is v = sum x / sum w
(self-normalised: T. Hesterberg, 'Weighted average importance sampling and defensive mixture distributions',
Technometrics 37(2), 1995). What was earned less n v is then `sum (r - v) - (x - w v)`, where the probabilities were
those of the draw a sum of martingale differences about either of two truths, to first order:

- what the policy would have earned on the same trades, in the mean of its draws: the error is of `x - w v` alone;
- the difference that was to be expected of both: the error is of the whole difference.

The wider of the two is taken, so that the interval holds for both. Squares are those seen, not those expected, so that
a market that turns needs no model; they are too large by what the truth itself varies.
"""

from math import sqrt
from typing import NamedTuple

from msgspec import Struct

LEAST_EFFECTIVE_SAMPLE = 10.0
_NORMAL = 1.959963984540054  # .975 of the normal distribution


class Interval(Struct, frozen=True, gc=False):
    """What was earned above a policy, over so many decisions, in net bps; `low_bps` and `high_bps` are of the sum.

    `per_trade_error_bps` is half the width of the 95 % interval a trade. `effective_sample` is the number of equally
    weighted decisions that would say as much: (sum w)^2 / sum w^2.
    """

    trades: int
    per_trade_bps: float
    cumulative_bps: float
    low_bps: float
    high_bps: float
    per_trade_error_bps: float
    effective_sample: float


class Played(NamedTuple):
    """Decisions, their reward, and the sum of its squares by decision."""

    trades: int
    r: float
    rr: float


class Weighed(NamedTuple):
    """Sums of x, w and their products, by decision."""

    x: float
    w: float
    rx: float
    rw: float
    xx: float
    xw: float
    ww: float
    wxx: float
    wwx: float
    www: float


class Mean(NamedTuple):
    """A policy's value a trade, half the width of its 95 % interval, and the effective sample."""

    bps: float
    error_bps: float
    effective_sample: float


def mean_of(of: Weighed) -> Mean | None:
    """None where the sample is too small."""
    if of.ww <= 0.0 or of.w * of.w < LEAST_EFFECTIVE_SAMPLE * of.ww:
        return None
    value, effective = of.x / of.w, of.w * of.w / of.ww
    squares = max(_squares(of, value), 0.0)
    return Mean(value, quantile(effective - 1.0) * sqrt(squares) / of.w, effective)


def above(played: Played, of: Weighed) -> Interval | None:
    """What was played above the policy. None where the sample is too small."""
    mean, trades = mean_of(of), played.trades
    if mean is None or trades <= 0:
        return None
    value = mean.bps
    cumulative = played.r - trades * value
    half = max(trades * mean.error_bps, quantile(mean.effective_sample - 1.0) * sqrt(_spread(played, of, value)))
    each = cumulative / trades
    return Interval(
        trades, each, cumulative, cumulative - half, cumulative + half, half / trades, mean.effective_sample
    )


def _spread(played: Played, of: Weighed, value: float) -> float:
    """The sum of squares about their mean of (r - v) - (x - w v)."""
    trades = played.trades
    squares_r = played.rr - 2.0 * value * played.r + trades * value * value
    products = of.rx - value * (of.rw + of.x) + value * value * of.w
    total = played.r - trades * value  # that of x - w v is 0
    return max(squares_r - 2.0 * products + _squares(of, value) - total * total / trades, 0.0)


def _squares(of: Weighed, value: float) -> float:
    """The sum of squares of x - w v, each less what its own decision drew v to it: over (1 - w / sum w)^2, to first
    order, as of the jackknife (J. MacKinnon and H. White, 'Some heteroskedasticity-consistent covariance matrix
    estimators', J. Econometrics 29, 1985)."""
    plain = of.xx - 2.0 * value * of.xw + value * value * of.ww
    own = of.wxx - 2.0 * value * of.wwx + value * value * of.www
    return plain + 2.0 * own / of.w


def quantile(degrees: float) -> float:
    """.975 of Student's t, by Fisher's expansion about the normal: right to .001 from 9 degrees of freedom on."""
    z, n = _NORMAL, degrees
    return (
        z
        + (z**3 + z) / (4.0 * n)
        + (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * n**2)
        + (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / (384.0 * n**3)
    )
