"""What fills and closes must come to, worked out slowly from the design's words: the reference of tests and of verify.

Law: within a position, the n-th unit closed realises the n-th unit filled. Quantities are the decimal numbers that
they are written as, exactly: 0.1 + 0.2 is 0.3. What is left of an event is nothing once it is at most 1e-9 of it.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import nan
from typing import Generic, TypeVar

from armstream.events import Close, Fill, Source
from armstream.verify.comparison import TOLERANCE

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
    """What is left of an event, exactly and as doubles see it, and the record that it came in."""

    __slots__ = ("event", "left", "left_rounded", "source")

    def __init__(self, event: E, source: Source) -> None:
        self.event: E = event
        self.source = source
        self.left = exact(event.quantity)
        self.left_rounded = event.quantity

    def take(self, quantity: Fraction, rounded: float) -> bool:
        """Whether nothing is left afterwards. Raises Undecided where that hangs on a rounding."""
        self.left -= quantity
        self.left_rounded -= rounded
        is_used_up = self.left <= exact(LEFT_TOLERANCE) * exact(self.event.quantity)
        if is_used_up != (self.left_rounded <= LEFT_TOLERANCE * self.event.quantity):
            raise Undecided(f"what is left of {self.event.event_id!r} hangs on a rounding")
        return is_used_up


@dataclass(frozen=True, slots=True)
class Segment:
    """So much of one fill, realised by one close."""

    fill: Part[Fill]
    close: Part[Close]
    quantity: Fraction
    quantity_scale: float  # of the event that it used up, whose rest it is

    @property
    def ts_event(self) -> int:
        return max(self.fill.event.ts_event, self.close.event.ts_event)


def match(fills: list[Part[Fill]], closes: list[Part[Close]]) -> list[Segment]:
    """Every segment that there is, first in, first out; parts that are used up are taken from both lists.

    Raises Undecided, and then neither list means anything any more.
    """
    segments = []
    while fills and closes:
        fill, close = fills[0], closes[0]
        quantity, rounded = min(fill.left, close.left), min(fill.left_rounded, close.left_rounded)
        used_up = fill.take(quantity, rounded), close.take(quantity, rounded)
        scale = max(fill.event.quantity * used_up[0], close.event.quantity * used_up[1])
        segments.append(Segment(fill, close, quantity, scale))
        del fills[: used_up[0]], closes[: used_up[1]]
    return segments


def weight_of(fill: Fill, quantity: float) -> float:
    """The realised part of the decision."""
    return quantity / (fill.order_quantity or fill.quantity)


def reward_of(fill: Fill, close: Close, quantity: Fraction) -> tuple[float, float]:
    """(reward_bps, the sum of its terms' sizes): what a segment earned net, in basis points of its entry notional.

    net        = sign * (close.price - fill.price) * q * multiplier
                 - fill.fees * q / fill.quantity - (close.fees + close.slippage) * q / close.quantity
    reward_bps = net / (fill.price * q * multiplier) * 10_000

    Exact, but where doubles cannot hold what is on the way: then it is what they make of it, NaN for one.
    """
    rounded = _reward_of_doubles(fill, close, float(quantity))
    if not -MAX_REWARD_BPS <= rounded <= MAX_REWARD_BPS:
        return rounded, 0.0
    sign = 1 if fill.side == "BUY" else -1
    price, multiplier = Fraction(fill.price), Fraction(fill.multiplier)
    costs = Fraction(close.fees) + (0 if close.slippage_in_price else Fraction(close.slippage))
    terms = (
        sign * (Fraction(close.price) - price) * quantity * multiplier,
        -Fraction(fill.fees) * quantity / exact(fill.quantity),
        -costs * quantity / exact(close.quantity),
    )
    bps = 10_000 / (price * quantity * multiplier)
    reward_bps, scale = float(sum(terms) * bps), float(sum(map(abs, terms)) * bps)
    return (reward_bps if abs(rounded - reward_bps) <= TOLERANCE * scale else rounded), scale


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
