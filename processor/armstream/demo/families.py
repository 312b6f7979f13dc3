"""The demo's model families. Law: a family sees the bars up to now, oldest first, and nothing after them.

They are the plain textbook ones, untuned: what is shown is how weights follow rewards, not how to earn money.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Literal

from armstream.demo.market import Bar

Direction = Literal["BUY", "SELL"]
Family = Callable[[Sequence[Bar]], Direction]

LOOKBACK_BARS = 60  # what each family is shown; none uses more


def momentum(bars: Sequence[Bar]) -> Direction:
    """With the return of the last 20 bars."""
    return "BUY" if bars[-1].close > bars[-21].close else "SELL"


def mean_reversion(bars: Sequence[Bar]) -> Direction:
    """Against the distance from the mean of the last 10 closes."""
    return "BUY" if bars[-1].close < fmean(bar.close for bar in bars[-10:]) else "SELL"


def breakout(bars: Sequence[Bar]) -> Direction:
    """With the last close that left the channel of the 20 bars before it; BUY where none did."""
    for now in range(len(bars) - 1, 19, -1):
        channel = bars[now - 20 : now]
        if bars[now].close > max(bar.high for bar in channel):
            return "BUY"
        if bars[now].close < min(bar.low for bar in channel):
            return "SELL"
    return "BUY"


def average_cross(bars: Sequence[Bar]) -> Direction:
    """With the mean of the last 10 closes against that of the last 50."""
    fast, slow = fmean(bar.close for bar in bars[-10:]), fmean(bar.close for bar in bars[-50:])
    return "BUY" if fast > slow else "SELL"


def buy_and_hold(bars: Sequence[Bar]) -> Direction:  # noqa: ARG001 - it looks at nothing
    """Always long."""
    return "BUY"


FAMILIES: Mapping[str, Family] = {
    "momentum": momentum,
    "mean_reversion": mean_reversion,
    "breakout": breakout,
    "average_cross": average_cross,
    "buy_and_hold": buy_and_hold,
}
