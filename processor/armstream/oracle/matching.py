"""What fills and closes must come to, in exact arithmetic: the reference of tests and of verify.

Law: within a position, the n-th unit closed realises the n-th unit filled. Quantities are the decimal numbers that
they are written as, exactly: 0.1 + 0.2 is 0.3. Whether anything is left of an event is a question to doubles, as it is
for who publishes; how much that is, and what it earned, to exact numbers.
"""

from fractions import Fraction
from functools import lru_cache
from math import fsum, inf, nan
from typing import Generic, NamedTuple, TypeVar

from armstream.events import Close, Fill
from armstream.oracle.comparison import TOLERANCE

MAX_REWARD_BPS = 1e12
LARGEST_SLIPPAGE = 1e300  # in a price: beyond it, and where it is no number, nobody gave any
DOUBLE_BITS = 52  # behind the first

E = TypeVar("E", Fill, Close)


@lru_cache(maxsize=10_000)  # reading a decimal takes as long as ten products, and quantities come again and again
def exact(number: float) -> Fraction:
    """The decimal number that a double is written as."""
    return Fraction(repr(float(number)))


class Rounding(NamedTuple):
    """What the doubles of a position can have lost: so many fills and closes, so much filled in all."""

    event_count: int
    filled_quantity: float

    def explains(self, left: float, quantity: float) -> bool:
        """Whether what is left of an event is nothing. A thousandth of the event is something, and so is a whole unit,
        but where doubles hold no whole numbers any more."""
        size = max(quantity, self.filled_quantity)
        if left >= 1.0 and size <= 2.0 ** (DOUBLE_BITS + 1):
            return False
        return left <= 0.0 or (left * 1_024 <= quantity and left <= size * self.event_count * 2.0**-DOUBLE_BITS)


class Part(Generic[E]):
    """What is left of an event, exactly and as doubles see it, and the size of what was subtracted on the way.

    `weight` is a fill's part of its decision, `weight_scale` the size of the terms that it came from.
    """

    __slots__ = ("event", "left", "left_rounded", "scale", "weight", "weight_scale")

    def __init__(self, event: E, left: float | None = None, weight: float = 0.0, weight_scale: float = 1.0) -> None:
        self.event: E = event
        self.left_rounded = event.quantity if left is None else left
        self.left = exact(self.left_rounded)
        self.scale = event.quantity
        self.weight, self.weight_scale = weight, weight_scale

    def take(self, quantity: Fraction, rounded: float, rounding: Rounding) -> bool:
        """Whether nothing is left afterwards."""
        self.left -= quantity
        self.left_rounded -= rounded
        return rounding.explains(self.left_rounded, self.event.quantity)

    def weight_of(self, quantity: Fraction) -> float:
        """The part of the decision that so much of the fill is."""
        whole = exact(self.event.quantity)
        return self.weight if quantity == whole else self.weight * float(quantity / whole)


class Segment(NamedTuple):
    """So much of one fill, realised by one close; or written off, where `close` is None."""

    fill: Fill
    close: Close | None
    close_event_id: str
    quantity: Fraction
    quantity_scale: float  # of the event that it used up, whose rest it is
    weight: float
    weight_scale: float
    ts_event: int


def match(fills: list[Part[Fill]], closes: list[Part[Close]], rounding: Rounding) -> list[Segment]:
    """Every segment that there is, first in, first out; parts that are used up are taken from both lists."""
    segments = []
    while fills and closes:
        fill, close = fills[0], closes[0]
        if fill.left_rounded == close.left_rounded == fill.event.quantity == close.event.quantity:  # both whole
            event = close.event
            segments.append(_segment(fill, event, event.event_id, fill.left, fill.scale, event.ts_event))
            del fills[0], closes[0]
            continue
        quantity, rounded = min(fill.left, close.left), min(fill.left_rounded, close.left_rounded)
        used_up = fill.take(quantity, rounded, rounding), close.take(quantity, rounded, rounding)
        scale = max(fill.scale * used_up[0], close.scale * used_up[1])
        fill.scale, close.scale = max(fill.scale, scale), max(close.scale, scale)
        segments.append(_segment(fill, close.event, close.event.event_id, quantity, scale, close.event.ts_event))
        del fills[: used_up[0]], closes[: used_up[1]]
    return segments


def write_off(fills: list[Part[Fill]], final_close_id: str, ts_event: int) -> list[Segment]:
    """All that is open, at an event of that time; nothing is afterwards."""
    segments = [_segment(part, None, final_close_id, part.left, part.scale, ts_event) for part in fills]
    fills.clear()
    return segments


def _segment(
    part: Part[Fill], close: Close | None, close_event_id: str, quantity: Fraction, scale: float, ts_event: int
) -> Segment:
    fill, weight = part.event, part.weight_of(quantity)
    ts_event = max(fill.ts_event, ts_event)
    return Segment(fill, close, close_event_id, quantity, scale, weight, part.weight_scale, ts_event)


def weight_of(fill: Fill, filled: Fraction, unfilled: float) -> tuple[float, float]:
    """(a fill's part of its decision, the size of the terms that it is made of).

    `filled` is the quantity of the position's fills before it, and `unfilled` what their weights leave of 1. Of that
    the fill has its part of what the order, as it is known now, still lacks; all, where it lacks nothing afterwards.
    """
    if fill.order_quantity is None:
        return unfilled, 1.0
    quantity = exact(fill.quantity)
    if exact(fill.order_quantity) <= filled + quantity:
        return unfilled, 1.0
    lacking = exact(fill.order_quantity) - filled
    weight = unfilled * float(quantity / lacking)
    return weight, max(1.0, weight * float(exact(fill.order_quantity) / lacking))


def reward_of(fill: Fill, close: Close, quantity: float) -> tuple[float, float]:
    """(reward_bps, the sum of its terms' sizes): what a segment earned net, in basis points of its entry notional.

    net        = sign * (close.price - fill.price) * q * multiplier
                 - fill.fees * q / fill.quantity - (close.fees + close.slippage) * q / close.quantity
    reward_bps = net / (unit * q) * 10_000, in which q is nothing; unit is fill.notional, else fill.price * multiplier

    Each term is exact, but where doubles cannot hold what is on the way: then it is what they make of it, NaN for one.
    """
    rounded = _reward_of_doubles(fill, close, quantity)
    if not -MAX_REWARD_BPS <= rounded <= MAX_REWARD_BPS:
        return rounded, 0.0
    try:
        terms = (_move_bps(fill, close), *[-cost for cost in _costs_bps(fill, close)])
    except OverflowError:
        return rounded, 0.0
    reward_bps, scale = fsum(terms), fsum(map(abs, terms))
    return (reward_bps if abs(rounded - reward_bps) <= TOLERANCE * scale else rounded), scale


def parts_of_reward(fill: Fill, close: Close) -> tuple[float, float, float, float]:
    """What a reward is the sum of, in basis points: the price's move, less the fill's fees, the close's fees and its
    slippage. Raises OverflowError for what doubles cannot hold."""
    fees, closing_fees, slippage = _costs_bps(fill, close)
    return _move_bps(fill, close), -fees, -closing_fees, -slippage


def cost_ratio_of(fill: Fill, close: Close) -> float:
    """The costs of a segment, whichever way they go, in units of its notional."""
    try:
        return fsum(map(abs, _costs_bps(fill, close))) / 10_000
    except OverflowError:
        return inf


def mirror_of(fill: Fill, close: Close, reward_bps: float) -> tuple[float, float]:
    """(what the other side would have earned where this one earned `reward_bps`, the sum of its terms' sizes).

    It moves the other way and pays the same costs: -(reward_bps + costs) - costs, the costs with the slippage that the
    price already holds, where that is a number that somebody gave. What doubles cannot hold is infinite.
    """
    costs = _all_costs_bps(fill, close)
    scale = abs(reward_bps) + 2 * fsum(map(abs, map(_as_double, costs)))
    return _as_double(-Fraction(reward_bps) - 2 * sum(costs)), scale


def _all_costs_bps(fill: Fill, close: Close) -> tuple[Fraction, Fraction, Fraction]:
    """Fees and slippage, whether the price holds it or not, as exact numbers."""
    unit = Fraction(*_unit(fill))
    slip = close.slippage if not close.slippage_in_price or abs(close.slippage) <= LARGEST_SLIPPAGE else 0.0
    paid = ((fill.fees, fill.quantity), (close.fees, close.quantity), (slip, close.quantity))
    fee, closing_fee, slippage = [Fraction(cost) / (exact(quantity) * unit) * 10_000 for cost, quantity in paid]
    return fee, closing_fee, slippage


def _as_double(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return inf if number > 0 else -inf


def _move_bps(fill: Fill, close: Close) -> float:
    """sign * (close.price - fill.price) * multiplier / unit * 10_000, rounded once."""
    (entry, entry_parts), (exit_price, exit_parts) = fill.price.as_integer_ratio(), close.price.as_integer_ratio()
    move = exit_price * entry_parts - entry * exit_parts
    move = move if fill.side == "BUY" else -move
    if fill.notional is None:  # of the price alone
        return move * 10_000 / (exit_parts * entry)
    (multiplier, multiplier_parts), (unit, unit_parts) = fill.multiplier.as_integer_ratio(), _unit(fill)
    return move * multiplier * unit_parts * 10_000 / (exit_parts * entry_parts * multiplier_parts * unit)


def _costs_bps(fill: Fill, close: Close) -> tuple[float, float, float]:
    slippage = 0.0 if close.slippage_in_price else close.slippage
    return (
        _cost_bps(fill, fill.quantity, fill.fees),
        _cost_bps(fill, close.quantity, close.fees),
        _cost_bps(fill, close.quantity, slippage),
    )


def _cost_bps(fill: Fill, quantity: float, cost: float) -> float:
    """cost / (quantity * unit) * 10_000, rounded once."""
    if not cost:
        return 0.0
    parts = exact(quantity)
    (paid, paid_parts), (unit, unit_parts) = cost.as_integer_ratio(), _unit(fill)
    return paid * parts.denominator * unit_parts * 10_000 / (paid_parts * parts.numerator * unit)


def _unit(fill: Fill) -> tuple[int, int]:
    """The notional of one unit of quantity, as a fraction."""
    if fill.notional is not None:
        return fill.notional.as_integer_ratio()
    (price, price_parts), (multiplier, multiplier_parts) = (
        fill.price.as_integer_ratio(),
        fill.multiplier.as_integer_ratio(),
    )
    return price * multiplier, price_parts * multiplier_parts


def _reward_of_doubles(fill: Fill, close: Close, quantity: float) -> float:
    sign = 1.0 if fill.side == "BUY" else -1.0
    slippage = 0.0 if close.slippage_in_price else close.slippage
    net = (
        sign * (close.price - fill.price) * quantity * fill.multiplier
        - fill.fees * quantity / fill.quantity
        - (close.fees + slippage) * quantity / close.quantity
    )
    notional = fill.price * quantity * fill.multiplier if fill.notional is None else fill.notional * quantity
    return net / notional * 10_000 if 1e-300 <= notional <= 1e300 else nan
