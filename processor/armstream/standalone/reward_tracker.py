"""The n-th unit closed of a position realises the n-th unit filled; its reward is net of all costs, in basis points.

The law of the stream's reward stage, for whoever trades without Kafka. A refusal is a ValueError that changes nothing.
"""

from dataclasses import dataclass, field
from itertools import count
from math import isfinite
from typing import NamedTuple

from armstream.learning.refusals import MAX_REWARD_BPS
from armstream.learning.summation import summed

DUST = 1e-9  # what is left of a quantity, as a part of the whole, that counts as nothing: 0.1 + 0.2 closes 0.3


class OpenPosition(NamedTuple):
    """What is still open of one position; entry_price is the mean over it, timestamp that of its oldest open fill."""

    arm: str
    position_id: str | None
    side: str
    quantity: float
    entry_price: float
    multiplier: float
    timestamp: object


class ArmStats(NamedTuple):
    """An arm's record: trades recorded, closes, and what they earned; mean_reward_bps is None before a close."""

    trades: int
    closes: int
    net_quote: float
    notional_quote: float
    mean_reward_bps: float | None


@dataclass(slots=True)
class _Fill:
    number: int
    price: float
    quantity: float
    fees: float
    timestamp: object
    left: float


@dataclass(slots=True)
class _Position:
    arm: str
    side: str
    multiplier: float
    fills: list[_Fill] = field(default_factory=list)  # those with something left, oldest first


@dataclass(slots=True)
class _Totals:
    trades: int = 0
    closes: int = 0
    net_quote: float = 0.0
    notional_quote: float = 0.0


class RewardTracker:
    """Open trades of named arms, and what each close earned."""

    __slots__ = ("_numbers", "_positions", "_totals")

    def __init__(self) -> None:
        self._positions: dict[str | int, _Position] = {}  # a trade without a position_id goes by its own number
        self._totals: dict[str, _Totals] = {}
        self._numbers = count()

    def record_trade(
        self,
        arm: str,
        entry_price: float,
        quantity: float,
        timestamp: object = None,
        *,
        side: str = "BUY",
        position_id: str | None = None,
        fees: float = 0.0,
        multiplier: float = 1.0,
    ) -> None:
        """Open a trade, or add to the position of that id. Prices, quantity and multiplier are above 0, `side` is BUY
        or SELL, `fees` absolute in the price's currency; `timestamp` is kept and shown, never read.

        ValueError also where an open position has another arm, side or multiplier: one position is one decision.
        """
        if side not in ("BUY", "SELL"):
            raise ValueError(f"side must be 'BUY' or 'SELL', got {side!r}")
        _refuse_unless_positive(entry_price=entry_price, quantity=quantity, multiplier=multiplier)
        _refuse_unless_finite(fees=fees)
        number = next(self._numbers)
        key = number if position_id is None else position_id
        position = self._positions.get(key) or _Position(arm, side, multiplier)
        if (position.arm, position.side, position.multiplier) != (arm, side, multiplier):
            raise ValueError(
                f"position {position_id!r} is {position.arm} {position.side} x{position.multiplier:g}; "
                "a new decision needs a new position_id"
            )
        position.fills.append(_Fill(number, entry_price, quantity, fees, timestamp, left=quantity))
        self._positions[key] = position
        self._totals.setdefault(arm, _Totals()).trades += 1

    def close_trade(
        self,
        arm: str,
        exit_price: float,
        fees: float = 0.0,
        slippage: float = 0.0,
        *,
        position_id: str | None = None,
        quantity: float | None = None,
    ) -> float:
        """Close `quantity` of a position (None: all that is open) and return its net reward in basis points of entry
        notional, the notional-weighted mean over what was realised. Without `position_id` it is the position of the
        arm's oldest open trade. `fees` and `slippage` are absolute, in the price's currency.

        ValueError where nothing is open, or less than `quantity`.
        """
        _refuse_unless_positive(exit_price=exit_price)
        _refuse_unless_finite(fees=fees, slippage=slippage)
        key = self._open_key(arm, position_id)
        position = self._positions[key]
        if quantity is None:
            quantity = summed(fill.left for fill in position.fills)
        _refuse_unless_positive(quantity=quantity)
        left_after, left_to_close, net, notional = _match(position, quantity, exit_price, fees + slippage)
        if left_to_close > 0.0:
            raise ValueError(f"cannot close {quantity:g} of {arm}: only {quantity - left_to_close:g} is open")
        if notional == 0.0:
            raise ValueError("the entry notional is too small to divide by")
        reward_bps = net / notional * 10_000
        if not abs(reward_bps) <= MAX_REWARD_BPS:
            raise ValueError(f"a reward must be within +-{MAX_REWARD_BPS:g} bps, got {reward_bps!r}")
        for fill, left in zip(position.fills, left_after, strict=True):
            fill.left = left
        position.fills = [fill for fill in position.fills if fill.left > 0.0]
        if not position.fills:
            del self._positions[key]
        totals = self._totals[arm]
        totals.closes += 1
        totals.net_quote += net
        totals.notional_quote += notional
        return reward_bps

    @property
    def open_positions(self) -> list[OpenPosition]:
        """Every position with something open, in the order in which they were opened."""
        return [_shown(key, position) for key, position in self._positions.items()]

    def stats(self, arm: str) -> ArmStats:
        """The arm's record so far. ValueError for an arm that never traded."""
        totals = self._totals.get(arm)
        if totals is None:
            raise ValueError(f"arm {arm!r} never traded")
        mean = totals.net_quote / totals.notional_quote * 10_000 if totals.closes else None
        return ArmStats(totals.trades, totals.closes, totals.net_quote, totals.notional_quote, mean)

    def _open_key(self, arm: str, position_id: str | None) -> str | int:
        if position_id is not None:
            position = self._positions.get(position_id)
            if position is None or position.arm != arm:
                raise ValueError(f"arm {arm!r} has no open position {position_id!r}")
            return position_id
        keys = [key for key, position in self._positions.items() if position.arm == arm]
        if not keys:
            raise ValueError(f"arm {arm!r} has no open trade")
        return min(keys, key=lambda key: self._positions[key].fills[0].number)


def _match(
    position: _Position, quantity: float, exit_price: float, exit_costs: float
) -> tuple[list[float], float, float, float]:
    """First in, first out, changing nothing: what is left of each fill, what is left of `quantity`, and the net result
    and entry notional of what was realised."""
    sign = 1.0 if position.side == "BUY" else -1.0
    left_after, left_to_close = [], quantity
    net = notional = 0.0
    for fill in position.fills:
        q = min(fill.left, left_to_close)
        net += sign * (exit_price - fill.price) * q * position.multiplier
        net -= fill.fees * q / fill.quantity + exit_costs * q / quantity
        notional += fill.price * q * position.multiplier
        left_after.append(_without_dust(fill.left - q, fill.quantity))
        left_to_close = _without_dust(left_to_close - q, quantity)
    return left_after, left_to_close, net, notional


def _without_dust(left: float, whole: float) -> float:
    return 0.0 if left <= DUST * whole else left


def _shown(key: str | int, position: _Position) -> OpenPosition:
    quantity = summed(fill.left for fill in position.fills)
    entry_price = summed(fill.price * fill.left for fill in position.fills) / quantity
    position_id = key if isinstance(key, str) else None
    oldest = position.fills[0]
    return OpenPosition(
        position.arm, position_id, position.side, quantity, entry_price, position.multiplier, oldest.timestamp
    )


def _refuse_unless_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (number > 0.0 and isfinite(number)):
            raise ValueError(f"{name} must be finite and above 0, got {number!r}")


def _refuse_unless_finite(**numbers: float) -> None:
    for name, number in numbers.items():
        if not isfinite(number):
            raise ValueError(f"{name} must be finite, got {number!r}")
