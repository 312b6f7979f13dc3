"""Random decisions of an engine that logs its models' views: draws and blends in parts and in several orders at once,
closes before their fills, orders that are amended, arms that come and go meanwhile, resets and pauses.

The engine knows the vector that it is given, or an older one, or none. Now and then it logs what does not fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from armstream.events import Action, Close, Command, Fill, Input, WeightVector
from tests.stages.events import START, close, fill

T = TypeVar("T")

SIDES = ("BUY", "SELL")
PRICES = (100.0, 100.2, 99.9, 100.7, 98.0, 130.0)  # beyond the bound too
ACTIONS: tuple[Action, ...] = (
    *("ADD_ARM", "REMOVE_ARM", "ADD_ARM", "RESET", "SET_BOUND", "PAUSE", "RESUME", "RESUME"),
)
COSTS = (0.0, 0.0, 0.05, -0.02, 1.5)


class Choices:
    """One byte a choice; once they are used up, the first of all options."""

    def __init__(self, drawn: bytes) -> None:
        self._bytes = iter(drawn)

    def of(self, options: Sequence[T]) -> T:
        return options[next(self._bytes, 0) % len(options)]

    def one_in(self, count: int) -> bool:
        return next(self._bytes, 0) % count == count - 1


@dataclass
class Order:
    """A decision whose fills and closes are under way, in units of a tenth of its order."""

    decision: dict[str, Any]
    filled: int = 0
    closed: int = 0
    events: int = 0
    whole: float = 10.0


@dataclass
class Engine:
    """`newcomers` are the names that arms may be added under; a bandit's vector is told by `follow`."""

    arms: list[str]
    newcomers: tuple[str, ...]
    bandit_id: str = "book"
    version: int = 0
    past: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    made: int = 0
    now: int = START

    @property
    def position_ids(self) -> list[str]:
        """Of all orders so far."""
        return [f"p{number + 1}" for number in range(self.made)]

    def follow(self, vector: WeightVector | None) -> None:
        if vector is not None and vector.version > self.version:
            self.past.append((self.version, tuple(self.arms)))
            self.version, self.arms = vector.version, [arm.name for arm in vector.arms]

    def next(self, choices: Choices) -> Input:
        """What it sends next."""
        self.now += choices.of((0, 1, 7))
        what = choices.of(("open", "open", "fill", "close", "close", "close", "close", "command"))
        self.orders = {name: one for name, one in self.orders.items() if one.closed < 10 or one.filled < 10}
        if what == "command":
            return self._command(choices)
        if what == "open" or not self.orders:
            return self._open(choices)
        position_id = choices.of(sorted(self.orders))
        order = self.orders[position_id]
        if what == "fill" and order.filled < 10:
            return self._fill(choices, position_id, order)
        if order.closed < 10:
            return self._close(choices, position_id, order)
        return self._fill(choices, position_id, order)

    def _open(self, choices: Choices) -> Fill:
        self.made += 1
        position_id = f"p{self.made}"
        order = self.orders[position_id] = Order(self._decision(choices))
        return self._fill(choices, position_id, order)

    def _fill(self, choices: Choices, position_id: str, order: Order) -> Fill:
        units = min(choices.of((10, 5, 3, 2)), 10 - order.filled)
        order.filled, order.events = order.filled + units, order.events + 1
        if choices.one_in(8):
            order.whole = choices.of((10.0, 12.0, 8.0))
        parts: dict[str, Any] = {"quantity": float(units), "order_quantity": order.whole}
        return fill(
            f"f{order.events}", position_id, bandit_id=self.bandit_id, price=choices.of(PRICES[:4]),
            fees=choices.of(COSTS), ts_event=self.now, **parts, **order.decision,
        )  # fmt: skip

    def _close(self, choices: Choices, position_id: str, order: Order) -> Close:
        units = min(choices.of((10, 5, 3, 2)), 10 - order.closed)
        order.closed, order.events = order.closed + units, order.events + 1
        return close(
            f"c{order.events}", position_id, bandit_id=self.bandit_id, quantity=float(units), price=choices.of(PRICES),
            fees=choices.of(COSTS), slippage=choices.of((0.0, 0.3, -0.1, 40.0)), slippage_in_price=choices.one_in(3),
            final=choices.one_in(12), ts_event=self.now,
        )  # fmt: skip

    def _decision(self, choices: Choices) -> dict[str, Any]:
        version, arms = self.version, tuple(self.arms)
        if self.past and choices.one_in(6):
            version, arms = choices.of(self.past)
        side = choices.of(SIDES)
        signals = self._signals(choices, arms)
        awake = [name for name in arms if signals.get(name, "FLAT") != "FLAT"] or [arms[0]]
        of: dict[str, Any] = {"side": side, "weights_version": choices.of((version, version, version, None))}
        if choices.one_in(5):
            shares = {name: choices.of((0.25, 0.0, 0.1)) for name in awake}
            shares[choices.of(awake)] = 0.2
            of |= {"contributions": shares}
        else:
            arm = choices.of(awake)
            signals[arm] = side
            of |= {"arm": arm, **self._draw(choices, arms, arm, signals)}
        return of if choices.one_in(6) else of | {"signals": signals}

    def _signals(self, choices: Choices, arms: Sequence[str]) -> dict[str, str]:
        views = {name: choices.of(("BUY", "SELL", "BUY", "SELL", "FLAT", "")) for name in arms}
        return {name: view for name, view in views.items() if view}

    def _draw(self, choices: Choices, arms: Sequence[str], arm: str, signals: dict[str, str]) -> dict[str, Any]:
        """What is logged of it; now and then an arm without a view has a chance, or no more than the arm's is known."""
        can_be_drawn = [name for name in arms if signals.get(name, "FLAT") != "FLAT" or choices.one_in(20)]
        parts = {name: choices.of((1, 3, 7, 0)) if name in can_be_drawn else 0 for name in arms}
        parts[arm] = parts[arm] or 2
        probabilities = tuple(part / sum(parts.values()) for part in parts.values())
        p = probabilities[arms.index(arm)]
        if choices.one_in(6):
            return choices.of(({"propensity": p}, {"propensity": p / 1_000}))
        return {"propensity": p, "probabilities": probabilities, "eta": choices.of((0.5, 0.9, 0.2))}

    def _command(self, choices: Choices) -> Command:
        action = choices.of(ACTIONS)
        self.made += 1
        arm = choices.of(self.newcomers if action == "ADD_ARM" else self.arms) if "ARM" in action else None
        value = {"ADD_ARM": choices.of((1.0, 0.0, 3.0)), "SET_BOUND": choices.of((50.0, 80.0))}.get(action)
        return Command(f"k{self.made}", self.bandit_id, action, self.now, arm=arm, value=value)
