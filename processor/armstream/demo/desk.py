"""A simulated engine for each stock, trading on real bars. Law: it decides on a bar's close and fills at the next open.

At each bar every family says BUY or SELL, and the bandit of each horizon chooses a family, whose side is traded. The
order fills at the next bar's open, sometimes in two parts, and the position ends at the close `horizon` bars after the
decision. What could not end by the last bar is not begun; after the last bar history starts again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from numpy.random import Generator

from armstream.demo.families import FAMILIES, LOOKBACK_BARS, Direction
from armstream.demo.market import Bar
from armstream.engine import Decision
from armstream.events import Close, Fill

HORIZONS: Mapping[str, int] = {"1d": 1, "5d": 5, "20d": 20}  # name -> bars held
ORDER_DOLLARS = 10_000.0
FEES_BPS = 1.0  # of the notional, at the fill and again at the close
SLIPPAGE_BPS = 2.0  # of the notional, once, at the close
SHARE_FILLED_IN_PARTS = 0.25
BEFORE_FIRST_BAR = LOOKBACK_BARS - 2  # the first bar is the first with all it looks back on

Views = Mapping[str, Direction]  # by family
Choose = Callable[[str, Sequence[Bar], Views], Decision]  # by bandit_id, the bars that were seen, what is said of them


@dataclass(frozen=True, slots=True)
class Order:
    """What was decided at a bar's close. `exit_bar` is the bar at whose close the position ends."""

    decision: Decision
    side: Direction
    quantity: float
    exit_bar: int


class Desk:
    """One stock's engine: its orders, its open positions and where it is in history."""

    def __init__(self, stock: str, bars: Sequence[Bar], choose: Choose, rng: Generator) -> None:
        """`rng` decides only how orders fill."""
        self._stock = stock
        self._bars = bars
        self._choose = choose
        self._rng = rng
        self._now = BEFORE_FIRST_BAR
        self._orders: list[Order] = []
        self._positions: list[Order] = []

    def next_bar(self) -> list[Fill | Close]:
        """One bar's events: fills at its open, exits at its close. Decides then what to do at the next open."""
        self._now = BEFORE_FIRST_BAR + 1 if self._now + 1 == len(self._bars) else self._now + 1
        fills = [fill for order in self._orders for fill in self._fills(order)]
        self._positions += self._orders
        closes = [self._close(order) for order in self._positions if order.exit_bar == self._now]
        self._positions = [order for order in self._positions if order.exit_bar > self._now]
        self._orders = self._decide()
        return [*fills, *closes]

    def flatten(self) -> list[Close]:
        """Ends every open position at the last bar's close, and drops what was ordered: nothing is left open."""
        closes = [self._close(order) for order in self._positions]
        self._positions, self._orders = [], []
        return closes

    def _decide(self) -> list[Order]:
        seen = self._bars[self._now - LOOKBACK_BARS + 1 : self._now + 1]
        quantity = max(2.0, float(round(ORDER_DOLLARS / seen[-1].close)))  # 2: it can fill in two parts
        views = {name: family(seen) for name, family in FAMILIES.items()}
        orders = []
        for horizon, held_bars in HORIZONS.items():
            exit_bar = self._now + held_bars
            if exit_bar < len(self._bars):
                decision = self._choose(f"{self._stock}-{horizon}", seen, views)
                orders.append(Order(decision, views[decision.arm], quantity, exit_bar))
        return orders

    def _fills(self, order: Order) -> Iterator[Fill]:
        price = self._bars[self._now].open
        for quantity in self._parts(order.quantity):
            yield order.decision.fill(
                instrument_id=self._stock,
                side=order.side,
                quantity=quantity,
                price=price,
                fees=quantity * price * FEES_BPS / 10_000,
                order_quantity=order.quantity,
                currency="USD",
            )

    def _parts(self, quantity: float) -> tuple[float, ...]:
        if self._rng.random() >= SHARE_FILLED_IN_PARTS:
            return (quantity,)
        first = float(self._rng.integers(1, int(quantity)))
        return first, quantity - first

    def _close(self, order: Order) -> Close:
        price = self._bars[self._now].close
        notional = order.quantity * price
        return order.decision.close(
            quantity=order.quantity,
            price=price,
            fees=notional * FEES_BPS / 10_000,
            slippage=notional * SLIPPAGE_BPS / 10_000,
        )
