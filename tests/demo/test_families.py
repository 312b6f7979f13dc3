"""Each family does what its one line says, on bars made by hand."""

import pytest

from armstream.demo.families import FAMILIES, LOOKBACK_BARS
from armstream.demo.market import Bar


def bars_of(closes: list[float]) -> list[Bar]:
    return [Bar(f"day {index}", close, close + 0.5, close - 0.5, close) for index, close in enumerate(closes)]


RISING = [100.0 + day for day in range(LOOKBACK_BARS)]
FALLING = RISING[::-1]
DIPPED = [*RISING[:-1], RISING[-1] - 8]  # above 20 bars ago, below its mean of 10 (153.7), within the channel
ONE_SPIKE = [100.0] * 30 + [110.0] + [100.0] * 29  # left its channel upwards, 30 bars ago
FAST_BELOW_SLOW = [100.0] * 45 + [90.0] * 14 + [120.0]  # means: of 10 closes 93, of 50 97.8


@pytest.mark.parametrize(
    ("family", "closes", "side"),
    [
        ("momentum", RISING, "BUY"),
        ("momentum", FALLING, "SELL"),
        ("momentum", DIPPED, "BUY"),
        ("mean_reversion", RISING, "SELL"),
        ("mean_reversion", FALLING, "BUY"),
        ("mean_reversion", DIPPED, "BUY"),
        ("breakout", RISING, "BUY"),
        ("breakout", FALLING, "SELL"),
        ("breakout", [100.0] * LOOKBACK_BARS, "BUY"),
        ("breakout", ONE_SPIKE, "BUY"),
        ("breakout", [200 - close for close in ONE_SPIKE], "SELL"),
        ("average_cross", RISING, "BUY"),
        ("average_cross", FALLING, "SELL"),
        ("average_cross", FAST_BELOW_SLOW, "SELL"),
        ("buy_and_hold", FALLING, "BUY"),
    ],
)
def test_a_family_takes_the_side_that_its_rule_says(family: str, closes: list[float], side: str) -> None:
    assert len(closes) == LOOKBACK_BARS
    assert FAMILIES[family](bars_of(closes)) == side


def test_no_family_looks_further_back_than_it_says() -> None:
    for name, family in FAMILIES.items():
        for closes in (RISING, FALLING, DIPPED, ONE_SPIKE, FAST_BELOW_SLOW):
            assert family(bars_of(closes)) == family(bars_of([1.0, 1e6, *closes])[2:]), name
