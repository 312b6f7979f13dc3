"""The n-th unit closed of a position realises the n-th unit filled; its reward is net of all costs, in basis points.

The law of the stream's reward stage, for whoever trades without Kafka. A refusal is a ValueError that changes nothing.
Numbers may be numpy's or Decimal; they are floats inside.
"""

from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Final, NamedTuple

from armstream.learning.refusals import MAX_REWARD_BPS
from armstream.learning.summation import summed
from armstream.plain import Number, plain_number, plain_side, plain_text, positive_number

_ROUNDING: Final = 2.0**-52  # of the largest quantity, for each fill and close of a position: 0.1 + 0.2 closes 0.3
_WHOLE_TO: Final = 2.0**53  # up to here a double holds every whole unit: one that is left is no rounding
_BELOW_A_UNIT: Final = 1.0 - 2.0**-53
_SMALL_PART: Final = 2.0**-10  # of its own fill or close: what is more was never rounding


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
    unit_notional: float  # what basis points of one unit are taken of
    timestamp: object
    left: float


class _Part(NamedTuple):
    """Of a fill: what a close realises, and what is left then."""

    realised: float
    left: float


@dataclass(slots=True)
class _Position:
    arm: str
    side: str
    multiplier: float
    fills: list[_Fill] = field(default_factory=list)  # those with something left, oldest first
    event_count: int = 0  # fills and closes so far
    largest: float = 0.0  # quantity of these


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
        entry_price: Number,
        quantity: Number,
        timestamp: object = None,
        *,
        side: str = "BUY",
        position_id: str | None = None,
        fees: Number = 0.0,
        multiplier: Number = 1.0,
        notional: Number | None = None,
    ) -> None:
        """Open a trade, or add to the position of that id. Quantity and multiplier are above 0, `side` is BUY or SELL,
        `fees` absolute in the price's currency; `timestamp` is kept and shown, never read.

        `notional` is what basis points of one unit are taken of, above 0, in place of price times multiplier. With it
        the price may be any finite one; without it the price is above 0.
        ValueError also where an open position has another arm, side or multiplier: one position is one decision.
        """
        arm, side = plain_text("arm", arm), plain_side("side", side)
        price = plain_number("entry_price", entry_price)
        quantity, multiplier = positive_number("quantity", quantity), positive_number("multiplier", multiplier)
        fees = plain_number("fees", fees)
        unit_notional = _unit_notional(price, multiplier, notional)
        if position_id is not None:
            position_id = plain_text("position_id", position_id)
        number = next(self._numbers)
        key = number if position_id is None else position_id
        position = self._positions.get(key) or _Position(arm, side, multiplier)
        if (position.arm, position.side, position.multiplier) != (arm, side, multiplier):
            raise ValueError(
                f"position {position_id!r} is {position.arm} {position.side} x{position.multiplier:g}; "
                "a new decision needs a new position_id"
            )
        position.fills.append(_Fill(number, price, quantity, fees, unit_notional, timestamp, left=quantity))
        position.event_count += 1
        position.largest = max(position.largest, quantity)
        self._positions[key] = position
        self._totals.setdefault(arm, _Totals()).trades += 1

    def close_trade(
        self,
        arm: str,
        exit_price: Number,
        fees: Number = 0.0,
        slippage: Number = 0.0,
        *,
        position_id: str | None = None,
        quantity: Number | None = None,
    ) -> float:
        """Close `quantity` of a position (None: all that is open) and return its net reward in basis points of entry
        notional, the notional-weighted mean over what was realised. Without `position_id` it is the position of the
        arm's oldest open trade. The price may be any finite one: 0 expires worthless. `fees` and `slippage` are
        absolute, in the price's currency.

        ValueError where nothing is open, or less than `quantity`.
        """
        price = plain_number("exit_price", exit_price)
        costs = plain_number("fees", fees) + plain_number("slippage", slippage)
        wanted = None if quantity is None else positive_number("quantity", quantity)
        arm = plain_text("arm", arm)
        key = self._open_key(arm, None if position_id is None else plain_text("position_id", position_id))
        position = self._positions[key]
        if wanted is None:
            wanted, parts = summed(fill.left for fill in position.fills), _all_open(position)
        else:
            parts = _first(position, wanted, arm)
        net, notional = _earned(position, parts, price, costs / wanted)
        if not 0.0 < notional < inf:
            raise ValueError(f"the entry notional must be a number to divide by, got {notional!r}")
        reward_bps = net / notional * 10_000
        if not abs(reward_bps) <= MAX_REWARD_BPS:
            raise ValueError(f"a reward must be within +-{MAX_REWARD_BPS:g} bps, got {reward_bps!r}")
        for fill, part in zip(position.fills, parts, strict=True):
            fill.left = part.left
        position.fills = [fill for fill in position.fills if fill.left > 0.0]
        position.event_count += 1
        position.largest = max(position.largest, wanted)
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
        totals = self._totals.get(plain_text("arm", arm))
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


def _unit_notional(price: float, multiplier: float, notional: Number | None) -> float:
    if notional is not None:
        return positive_number("notional", notional)
    if price <= 0.0:
        raise ValueError(
            f"entry_price must be above 0 where notional, the basis of one unit, is not given, got {price}"
        )
    return price * multiplier


def _all_open(position: _Position) -> list[_Part]:
    return [_Part(fill.left, 0.0) for fill in position.fills]


def _first(position: _Position, quantity: float, arm: str) -> list[_Part]:
    """First in, first out, changing nothing. Raises ValueError where less than `quantity` is open."""
    largest = max(position.largest, quantity)
    rounding = (position.event_count + 1) * _ROUNDING * largest
    if largest <= _WHOLE_TO:
        rounding = min(rounding, _BELOW_A_UNIT)
    parts, left_to_close = [], quantity
    for fill in position.fills:
        realised = min(fill.left, left_to_close)
        parts.append(_Part(realised, _without_rounding(fill.left - realised, fill.quantity, rounding)))
        left_to_close = _without_rounding(left_to_close - realised, quantity, rounding)
    if left_to_close > 0.0:
        raise ValueError(f"cannot close {quantity!r} of {arm}: only {quantity - left_to_close!r} is open")
    return parts


def _without_rounding(left: float, whole: float, rounding: float) -> float:
    """What is left of `whole`, 0 where rounding alone can have left it."""
    return 0.0 if left <= min(rounding, _SMALL_PART * whole) else left


def _earned(position: _Position, parts: list[_Part], exit_price: float, unit_costs: float) -> tuple[float, float]:
    """The net result of what is realised, and its entry notional; `unit_costs` are those of the close for one unit."""
    sign = 1.0 if position.side == "BUY" else -1.0
    net = notional = 0.0
    for fill, (realised, _) in zip(position.fills, parts, strict=True):
        net += sign * (exit_price - fill.price) * realised * position.multiplier
        net -= fill.fees * realised / fill.quantity + unit_costs * realised
        notional += fill.unit_notional * realised
    return net, notional


def _shown(key: str | int, position: _Position) -> OpenPosition:
    quantity = summed(fill.left for fill in position.fills)
    entry_price = summed(fill.price * fill.left for fill in position.fills) / quantity
    position_id = key if isinstance(key, str) else None
    oldest = position.fills[0]
    return OpenPosition(
        position.arm, position_id, position.side, quantity, entry_price, position.multiplier, oldest.timestamp
    )
