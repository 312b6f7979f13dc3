"""The demo's experts see the bars up to now and advise on the engine's own arms."""

from dataclasses import replace

import pytest

from armstream.demo.experts import experts_for, majority, regime
from armstream.demo.families import FAMILIES, LOOKBACK_BARS
from armstream.demo.market import Bar

ARMS = tuple(FAMILIES)


def bars_of(*closes: float, width: float = 1.0) -> list[Bar]:
    return [Bar(f"day {day}", close, close + width / 2, close - width / 2, close) for day, close in enumerate(closes)]


RISING = bars_of(*(100.0 + day for day in range(LOOKBACK_BARS)))


def test_wide_days_are_for_mean_reversion_and_narrow_ones_for_the_trend() -> None:
    calm = [replace(bar, high=bar.close + 0.1, low=bar.close - 0.1) for bar in RISING[-10:]]
    wild = [replace(bar, high=bar.close + 9.0, low=bar.close - 9.0) for bar in RISING[-10:]]
    experts = experts_for(ARMS)["regime"]
    assert callable(experts)
    assert experts([*RISING[:-10], *wild]) == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert experts([*RISING[:-10], *calm]) == pytest.approx([1 / 3, 0.0, 1 / 3, 1 / 3, 0.0])
    assert regime([*RISING[:-10], *wild]) == ("mean_reversion",)


def test_the_majority_of_a_rising_market_buys_and_mean_reversion_is_left_out() -> None:
    assert majority(RISING, ARMS) == ["momentum", "breakout", "average_cross", "buy_and_hold"]
    expert = experts_for(ARMS)["majority"]
    assert callable(expert)
    assert expert(RISING) == [0.25, 0.0, 0.25, 0.25, 0.25]


def test_where_arms_are_divided_or_not_the_engines_all_are_advised() -> None:
    """A rise with days of one width: mean reversion sells it, who holds buys; neither is for calm days."""
    experts = experts_for(("mean_reversion", "buy_and_hold"))
    assert [expert(RISING) for expert in experts.values() if callable(expert)] == [[0.5, 0.5], [0.5, 0.5]]
