"""What fills and closes must come to, in exact arithmetic: the reference of tests and of verify.

Law: within a position, the n-th unit closed realises the n-th unit filled. Quantities are the decimal numbers that
they are written as, exactly: 0.1 + 0.2 is 0.3. What is left of an event is nothing once it is at most 1e-9 of it.
"""

from fractions import Fraction
from functools import lru_cache
from math import fsum, nan
from typing import Generic, NamedTuple, TypeVar

from armstream.events import Close, Fill
from armstream.oracle.comparison import TOLERANCE

MAX_REWARD_BPS = 1e12
LEFT_TOLERANCE = 1e-9  # of an event's own quantity

E = TypeVar("E", Fill, Close)


class Undecided(Exception):
    """Exact decimals and doubles disagree on whether anything is left of an event."""


@lru_cache(maxsize=10_000)  # reading a decimal takes as long as ten products, and quantities come again and again
def exact(number: float) -> Fraction:
    """The decimal number that a double is written as."""
    return Fraction(repr(float(number)))


class Part(Generic[E]):
    """What is left of an event, exactly and as doubles see it, and the size of what was subtracted on the way."""

    __slots__ = ("event", "left", "left_rounded", "scale")

    def __init__(self, event: E, left: float | None = None) -> None:
        self.event: E = event
        self.left_rounded = event.quantity if left is None else left
        self.left = exact(self.left_rounded)
        self.scale = event.quantity

    def take(self, quantity: Fraction, rounded: float) -> bool:
        """Whether nothing is left afterwards. Raises Undecided where that hangs on a rounding."""
        self.left -= quantity
        self.left_rounded -= rounded
        is_used_up = self.left <= exact(LEFT_TOLERANCE) * exact(self.event.quantity)
        if is_used_up != (self.left_rounded <= LEFT_TOLERANCE * self.event.quantity):
            raise Undecided(f"what is left of {self.event.event_id!r} hangs on a rounding")
        return is_used_up


class Segment(NamedTuple):
    """So much of one fill, realised by one close."""

    fill: Fill
    close: Close
    quantity: Fraction
    quantity_scale: float  # of the event that it used up, whose rest it is


def match(fills: list[Part[Fill]], closes: list[Part[Close]]) -> list[Segment]:
    """Every segment that there is, first in, first out; parts that are used up are taken from both lists.

    Raises Undecided, and then neither list means anything any more.
    """
    segments = []
    while fills and closes:
        fill, close = fills[0], closes[0]
        if fill.left_rounded == close.left_rounded == fill.event.quantity == close.event.quantity:  # both whole
            segments.append(Segment(fill.event, close.event, fill.left, fill.scale))
            del fills[0], closes[0]
            continue
        quantity, rounded = min(fill.left, close.left), min(fill.left_rounded, close.left_rounded)
        used_up = fill.take(quantity, rounded), close.take(quantity, rounded)
        scale = max(fill.scale * used_up[0], close.scale * used_up[1])
        fill.scale, close.scale = max(fill.scale, scale), max(close.scale, scale)
        segments.append(Segment(fill.event, close.event, quantity, scale))
        del fills[: used_up[0]], closes[: used_up[1]]
    return segments


def weight_of(fill: Fill, quantity: float) -> float:
    """The realised part of the decision."""
    return quantity / (fill.order_quantity or fill.quantity)


def reward_of(fill: Fill, close: Close, quantity: Fraction) -> tuple[float, float]:
    """(reward_bps, the sum of its terms' sizes): what a segment earned net, in basis points of its entry notional.

    net        = sign * (close.price - fill.price) * q * multiplier
                 - fill.fees * q / fill.quantity - (close.fees + close.slippage) * q / close.quantity
    reward_bps = net / (fill.price * q * multiplier) * 10_000, in which q is nothing

    Each term is exact, but where doubles cannot hold what is on the way: then it is what they make of it, NaN for one.
    """
    rounded = _reward_of_doubles(fill, close, float(quantity))
    if not -MAX_REWARD_BPS <= rounded <= MAX_REWARD_BPS:
        return rounded, 0.0
    (entry, entry_parts), (exit_price, exit_parts) = fill.price.as_integer_ratio(), close.price.as_integer_ratio()
    move = exit_price * entry_parts - entry * exit_parts
    slippage = 0.0 if close.slippage_in_price else close.slippage
    try:
        terms = (
            (move if fill.side == "BUY" else -move) * 10_000 / (exit_parts * entry),
            -_cost_bps(fill, fill.quantity, fill.fees),
            -_cost_bps(fill, close.quantity, close.fees),
            -_cost_bps(fill, close.quantity, slippage),
        )
    except OverflowError:
        return rounded, 0.0
    reward_bps, scale = fsum(terms), fsum(map(abs, terms))
    return (reward_bps if abs(rounded - reward_bps) <= TOLERANCE * scale else rounded), scale


def _cost_bps(fill: Fill, quantity: float, cost: float) -> float:
    """cost / (quantity * fill.price * multiplier) * 10_000, rounded once."""
    if not cost:
        return 0.0
    parts = exact(quantity)
    (paid, paid_parts), (price, price_parts) = cost.as_integer_ratio(), fill.price.as_integer_ratio()
    multiplier, multiplier_parts = fill.multiplier.as_integer_ratio()
    above = paid * parts.denominator * price_parts * multiplier_parts * 10_000
    return above / (paid_parts * parts.numerator * price * multiplier)


def _reward_of_doubles(fill: Fill, close: Close, quantity: float) -> float:
    sign = 1.0 if fill.side == "BUY" else -1.0
    slippage = 0.0 if close.slippage_in_price else close.slippage
    net = (
        sign * (close.price - fill.price) * quantity * fill.multiplier
        - fill.fees * quantity / fill.quantity
        - (close.fees + slippage) * quantity / close.quantity
    )
    notional = fill.price * quantity * fill.multiplier
    return net / notional * 10_000 if notional else nan
