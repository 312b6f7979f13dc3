"""The prices are real, and a split is no crash."""

import pytest
from bokeh_sampledata import stocks

from armstream.demo.market import STOCKS, load_bars


def test_every_stock_has_its_whole_history_oldest_first_and_positive() -> None:
    bars = load_bars()
    assert tuple(bars) == STOCKS
    assert sum(map(len, bars.values())) == 12_154
    for history in bars.values():
        assert [bar.date for bar in history] == sorted(bar.date for bar in history)
        assert all(min(bar.open, bar.high, bar.low, bar.close) > 0 for bar in history)


def test_the_two_for_one_splits_of_apple_are_taken_out() -> None:
    """Printed closes: 2000-06-20 101.25 and then 55.63; 2005-02-25 88.99 and then 44.86."""
    closes = {bar.date: bar.close for bar in load_bars()["AAPL"]}
    assert closes["2000-06-21"] / closes["2000-06-20"] == pytest.approx(2 * 55.63 / 101.25, rel=1e-3)
    assert closes["2005-02-28"] / closes["2005-02-25"] == pytest.approx(2 * 44.86 / 88.99, rel=1e-3)


def test_within_a_day_prices_keep_the_proportions_that_were_printed() -> None:
    bars = load_bars()["IBM"]
    for index in (0, 1_000, 3_000):
        bar = bars[index]
        assert bar.open / bar.close == pytest.approx(stocks.IBM["open"][index] / stocks.IBM["close"][index], rel=1e-12)
        assert bar.close == pytest.approx(stocks.IBM["adj_close"][index], rel=1e-12)
