"""The demo's experts: what its engines know and the processor does not. Law: an expert sees the bars up to now.

As plain as the families that they advise on; each gives what it says over the engine's arms, in their order.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from armstream.demo.families import FAMILIES
from armstream.demo.market import Bar
from armstream.learning.advice import Expert

FOR_WILD_DAYS = ("mean_reversion",)
FOR_CALM_DAYS = ("momentum", "breakout", "average_cross")


def experts_for(arms: Sequence[str]) -> Mapping[str, Expert]:
    """By name, functions of the bars that were seen."""
    return {
        "regime": lambda bars: _even(arms, regime(bars)),
        "majority": lambda bars: _even(arms, majority(bars, arms)),
    }


def regime(bars: Sequence[Bar]) -> Sequence[str]:
    """Against the move where the last ten days ranged wider than the days before, with the trend where they did not."""
    ranges = [(bar.high - bar.low) / bar.close for bar in bars]
    return FOR_WILD_DAYS if fmean(ranges[-10:]) > fmean(ranges[:-10]) else FOR_CALM_DAYS


def majority(bars: Sequence[Bar], arms: Sequence[str]) -> Sequence[str]:
    """The arms that would do what most arms would; all where they are divided evenly."""
    buyers = [arm for arm in arms if FAMILIES[arm](bars) == "BUY"]
    sellers = [arm for arm in arms if arm not in buyers]
    return arms if len(buyers) == len(sellers) else max(buyers, sellers, key=len)


def _even(arms: Sequence[str], advised: Sequence[str]) -> list[float]:
    """Evenly on those advised; on all where the engine has none of them."""
    those = [arm for arm in arms if arm in advised] or arms
    return [1.0 / len(those) if arm in those else 0.0 for arm in arms]
