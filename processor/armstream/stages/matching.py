"""Within a position, the n-th unit closed realises the n-th unit filled.

Law: what is not matched yet waits, fills and closes alike, so never both at once, and the segments are the same for
every interleaving. What is left of an event is nothing only where rounding can have left it.
"""

from collections.abc import Sequence
from math import nan

from msgspec import Struct

from armstream.events import Close, DecisionSnapshot, PositionFill, Side, WaitingClose
from armstream.learning.refusals import MAX_REWARD_BPS
from armstream.stages.pages import Fills
from armstream.stages.withholding import why_too_costly, why_unlearnable

_ROUNDING = 2.0**-52  # of a double
_TINY, _HUGE = 1e-300, 1e300  # a notional beyond them has lost digits, or all
_WHOLE_MAX = 2.0**53  # whole numbers up to it are exact


class Segment(Struct, frozen=True, gc=False):
    """A quantity of one fill realised by one close. `withheld` says why no learner may take it, "" where one may.

    `costs_bps` are its fees and its slippage, also where the price holds it, as signed: of any size where the slippage
    in the price is.
    """

    fill_event_id: str
    close_event_id: str
    quantity: float
    reward_bps: float
    weight: float
    ts_event: int
    withheld: str
    costs_bps: float = 0.0


FillPart = tuple[PositionFill, float]  # a fill, and the quantity realised of it
ClosePart = tuple[WaitingClose, float]


def is_nothing(left: float, quantity: float, filled_quantity: float, event_count: int) -> bool:
    """Whether so little is left of a quantity that it is the rounding of its position's events: 0.1 + 0.2 closes 0.3.

    It is never a thousandth of the quantity, and never a whole unit where doubles hold all whole numbers.
    """
    if left <= 0.0:
        return True
    size = filled_quantity if filled_quantity > quantity else quantity
    return left <= event_count * _ROUNDING * size and left <= quantity / 1024.0 and (left < 1.0 or size > _WHOLE_MAX)


def is_done(final_close_id: str | None, decision: DecisionSnapshot, filled_quantity: float, count: int) -> bool:
    """Whether a flat position stays as it is: its closes are complete, or no fill can come any more."""
    whole = decision.order_quantity
    return (
        final_close_id is not None
        or whole is None
        or filled_quantity >= whole
        or is_nothing(whole - filled_quantity, whole, filled_quantity, count)
    )


def close_fills(
    fills: Fills, at: int, open_left: float, close: Close, filled_quantity: float, event_count: int
) -> tuple[int, float, float, Sequence[FillPart]]:
    """A close that comes, where `open_left` is open of the fill `at`, and the later ones whole: the two as they are
    then, what is left of the close, and what it realises."""
    left, quantity, count = close.quantity, close.quantity, len(fills)
    if left == open_left and at + 1 == count:  # nearly every close: all that is open, and it is one fill
        return count, 0.0, 0.0, ((fills[at], left),)
    parts: list[FillPart] = []
    while left and open_left:
        fill = fills[at]
        matched = open_left if open_left < left else left
        parts.append((fill, matched))
        open_left -= matched
        left -= matched
        if is_nothing(open_left, fill.quantity, filled_quantity, event_count):
            at += 1
            open_left = fills[at].quantity if at < count else 0.0
        if is_nothing(left, quantity, filled_quantity, event_count):
            left = 0.0
    return at, open_left, left, parts


def fill_closes(
    waiting: tuple[WaitingClose, ...], fill: PositionFill, filled_quantity: float, event_count: int
) -> tuple[float, tuple[WaitingClose, ...], list[ClosePart]]:
    """A fill that comes: what is left of it, the closes that still wait, and what they realise."""
    left, quantity, at, count = fill.quantity, fill.quantity, 0, len(waiting)
    parts: list[ClosePart] = []
    close_left = 0.0
    while left and at < count:
        close = waiting[at]
        close_left = close_left or close.left
        matched = left if left < close_left else close_left
        parts.append((close, matched))
        left -= matched
        close_left -= matched
        if is_nothing(left, quantity, filled_quantity, event_count):
            left = 0.0
        if is_nothing(close_left, close.quantity, filled_quantity, event_count):
            at += 1
            close_left = 0.0
    still = waiting[at:]
    if close_left:
        still = (with_left(still[0], close_left), *still[1:])
    return left, still, parts


def with_left(close: WaitingClose, left: float) -> WaitingClose:
    return WaitingClose(
        close.event_id,
        close.quantity,
        close.price,
        close.fees,
        close.slippage,
        left,
        close.ts_event,
        close.source,
        close.slippage_in_price,
    )


def weight_of(filled_weight: float, filled_quantity: float, quantity: float, whole: float | None) -> float:
    """A fill's part of its decision, of which `filled_weight` came before: by quantity of what is left of the `whole`
    order as it is known now, and all of it where nothing is left after this fill."""
    left = 1.0 - filled_weight
    if whole is None or whole <= filled_quantity + quantity:
        return left
    return left * quantity / (whole - filled_quantity)


def segment_of(
    decision: DecisionSnapshot,
    side: Side,
    fill: PositionFill,
    close: Close | WaitingClose,
    slippage_in_price: float,
    quantity: float,
    withheld: str,
    max_cost_ratio: float,
) -> Segment:
    """One match as a segment. `withheld` says why the bandit learns nothing of it, "" where it does.

    net = sign (close.price - fill.price) q multiplier - fill.fees q / fill.quantity
          - (close.fees + close.slippage) q / close.quantity, in basis points of fill.price q multiplier, or of
    fill.notional q. The close's slippage is what is charged; costs_bps have the `slippage_in_price` too.
    ts_event is that of the later of the two, when the segment was realised.
    """
    move = close.price - fill.price if side == "BUY" else fill.price - close.price
    multiplier = decision.multiplier
    net = (
        move * quantity * multiplier
        - fill.fees * quantity / fill.quantity
        - (close.fees + close.slippage) * quantity / close.quantity
    )
    notional = fill.price * quantity * multiplier if fill.notional is None else fill.notional * quantity
    reward_bps = net / notional * 10_000.0 if _TINY <= notional <= _HUGE else nan
    costs_bps = 0.0
    if not -MAX_REWARD_BPS <= reward_bps <= MAX_REWARD_BPS:
        withheld = why_unlearnable(reward_bps)
    elif fill.fees or close.fees or close.slippage or slippage_in_price:
        paid = close.fees + close.slippage + slippage_in_price
        costs_bps = (fill.fees * quantity / fill.quantity + paid * quantity / close.quantity) / notional * 10_000.0
        costs = (
            abs(fill.fees) * quantity / fill.quantity
            + (abs(close.fees) + abs(close.slippage)) * quantity / close.quantity
        )
        if costs > max_cost_ratio * notional:
            withheld = why_too_costly(costs, notional, max_cost_ratio)
    ts_event = close.ts_event if close.ts_event > fill.ts_event else fill.ts_event
    weight = fill.weight * (quantity / fill.quantity)
    return Segment(fill.event_id, close.event_id, quantity, reward_bps, weight, ts_event, withheld, costs_bps)


def write_off(fills: Fills, at: int, open_left: float, final_close_id: str, ts_event: int) -> list[Segment]:
    """What is open once the closes are complete: nothing is earned by it, and nothing learned."""
    segments = []
    withheld = f"written off: close {final_close_id!r} was final"
    left = open_left
    for index in range(at, len(fills)):
        fill = fills[index]
        left = left or fill.quantity
        segments.append(
            Segment(
                fill.event_id,
                final_close_id,
                left,
                0.0,
                fill.weight * (left / fill.quantity),
                max(fill.ts_event, ts_event),
                withheld,
            )
        )
        left = 0.0
    return segments
