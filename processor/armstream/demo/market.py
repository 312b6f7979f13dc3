"""Real prices: five US stocks, daily, 2000 to 2013. Law: a price is what the market paid, corrected for splits.

The prices are bokeh_sampledata's, from Quandl's public WIKI set. It gives open, high, low and close as they were
printed, and `adj_close` with splits and dividends taken out. All four are multiplied by adj_close / close, so that
what is held over a split or a dividend earns what its holder earned.
"""

from collections.abc import Mapping
from dataclasses import dataclass

STOCKS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


@dataclass(frozen=True, slots=True)
class Bar:
    """One stock's day; prices in US dollars, adjusted."""

    date: str
    open: float
    high: float
    low: float
    close: float


def load_bars() -> dict[str, tuple[Bar, ...]]:
    """The whole history of each of STOCKS, oldest bar first. Raises ModuleNotFoundError without the demo extra."""
    from bokeh_sampledata import stocks  # noqa: PLC0415 - an extra, and it reads its data when imported

    return {stock: _adjusted(getattr(stocks, stock)) for stock in STOCKS}


def _adjusted(columns: Mapping[str, list[float] | list[str]]) -> tuple[Bar, ...]:
    rows = zip(*(columns[name] for name in ("date", "open", "high", "low", "close", "adj_close")), strict=True)
    return tuple(
        Bar(str(date), *(float(price) * float(adjusted) / float(close) for price in (open_, high, low, close)))
        for date, open_, high, low, close, adjusted in rows
    )
