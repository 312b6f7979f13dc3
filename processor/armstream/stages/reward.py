"""The reward stage: fills and closes of a position become segments, each with its net reward.

Law: within a position, the n-th unit closed realises the n-th unit filled. Whatever is not matched yet waits, fills
and closes alike, so never both at once, and the segments are the same for every interleaving. Everything that can be
refused is refused before anything changes.
"""

from collections.abc import Callable
from math import nan

from msgspec import Struct

from armstream.events import (
    Close,
    DecisionSnapshot,
    Fill,
    OpenFill,
    PositionSnapshot,
    Source,
    WaitingClose,
)
from armstream.learning import LearningSettings
from armstream.learning.refusals import MAX_REWARD_BPS
from armstream.rules import rule_named
from armstream.stages.facts import TaskLimits
from armstream.stages.state import Bandit, TaskState
from armstream.stages.validation import (
    Refused,
    check_advice,
    check_bandit_id,
    check_close,
    check_fill,
)
from armstream.stages.withholding import why_unlearnable, why_withheld

LEFT_TOLERANCE = 1e-9  # of an event's own quantity: what is left at most that is nothing
MAX_WAITING_BYTES = 262_144  # of the records that wait in one position, which its snapshot carries

_NEW_DECISION = "a new decision needs a new position_id"
_IS_DONE = f"the position is filled and closed already: {_NEW_DECISION}"
_NOT_READ_YET = Source("", -1, -1, None, None)

_NOTHING = PositionSnapshot("", "", -(2**63), False, 0.0, (), (), None)  # what a position is before its first event

Match = tuple[OpenFill, WaitingClose, float]
_NO_MATCHES: list[Match] = []


class Segment(Struct, frozen=True, gc=False):
    """A quantity of one fill realised by one close. `withheld` says why no learner may take it, "" where one may."""

    fill_event_id: str
    close_event_id: str
    quantity: float
    reward_bps: float
    weight: float
    ts_event: int
    withheld: str


class Taken(Struct, frozen=True, gc=False):
    """What an accepted event did: its bandit, touched; its position before and after; what it realised.

    `decision` is the position's, which `after` has no more once the position is done.
    """

    bandit: Bandit
    before: PositionSnapshot | None
    after: PositionSnapshot
    segments: tuple[Segment, ...]
    decision: DecisionSnapshot | None


_NO_SEGMENTS: tuple[Segment, ...] = ()


def take_fill(state: TaskState, fill: Fill) -> Taken | None:
    """Puts a fill into its position, creating the bandit's learner with the first. None for a duplicate.

    Raises Refused, with nothing changed, for a dead letter.
    """
    limits = state.limits
    key, bandit, before = state.look_up(fill.bandit_id, fill.position_id)
    was = before or _NOTHING
    if fill.event_id in was.fill_ids:
        return None
    settings = state.registry.of(fill.bandit_id) if bandit is None or bandit.learner is None else bandit.settings
    if settings is None:
        check_bandit_id(fill.bandit_id)
        raise Refused("UNKNOWN_BANDIT", f"bandit {fill.bandit_id!r} is not registered (bandits.mode: registered)")
    check_fill(fill, bandit.arm_index if bandit is not None and bandit.learner is not None else settings.arms)
    refusal = (rule_named(settings.algorithm) if bandit is None or bandit.rule is None else bandit.rule).fill_refusal(
        fill
    )
    if refusal:
        raise Refused("VALIDATION", refusal)
    if fill.advice or settings.experts:
        _check_advice(fill, bandit, settings)
    if bandit is None:
        check_bandit_id(fill.bandit_id)
    elif fill.ts_event < bandit.fill_watermark - limits.dedupe_window_micros:
        raise _late("fill", fill.ts_event, bandit.fill_watermark, limits)
    _refuse_without_room(state, bandit, before)
    decision, filled_quantity = agreed_decision(was, fill)

    fills, closes, matches = (*was.fills, opened(fill)), was.closes, _NO_MATCHES
    if closes:
        fills, closes, matches = match(fills, closes)
    if fills and not was.fills and state.open_position_count >= limits.max_open_positions:
        raise Refused("LIMIT", f"{limits.max_open_positions} positions are open already")

    bandit = state.touch(fill.bandit_id)
    if bandit.learner is None:
        state.create_learner(bandit, settings)
    if fill.ts_event > bandit.fill_watermark:
        bandit.fill_watermark = fill.ts_event
        bandit.floor = min(bandit.fill_watermark, bandit.close_watermark)
    segments = _segments_of(state, bandit, decision, matches) if matches else _NO_SEGMENTS
    after = PositionSnapshot(
        fill.bandit_id,
        fill.position_id,
        fill.ts_event if fill.ts_event > was.ts_last else was.ts_last,
        was.counted or _any_counts(segments),
        filled_quantity,
        (*was.fill_ids, fill.event_id),
        was.close_ids,
        decision if fills or closes or not _is_filled(decision, filled_quantity) else None,
        fills,
        closes,
    )
    state.put(key, before, after)
    return Taken(bandit, before, after, segments, decision)


def take_close(state: TaskState, close: Close, index: int, source_of: Callable[[int], Source]) -> Taken | None:
    """Puts a close into its position; `source_of(index)` is asked for its record where it has to wait.

    None for a duplicate. Raises Refused, with nothing changed, for a dead letter.
    """
    limits = state.limits
    key, bandit, before = state.look_up(close.bandit_id, close.position_id)
    was = before or _NOTHING
    if close.event_id in was.close_ids:
        return None
    check_close(close)
    if bandit is None:
        check_bandit_id(close.bandit_id)
    elif close.ts_event < bandit.close_watermark - limits.dedupe_window_micros:
        raise _late("close", close.ts_event, bandit.close_watermark, limits)
    _refuse_without_room(state, bandit, before)

    fills, closes, matches = was.fills, (*was.closes, awaiting(close)), _NO_MATCHES
    if fills:
        fills, closes, matches = match(fills, closes)
    if closes:
        if state.waiting_close_count >= limits.max_waiting_closes:
            raise Refused("LIMIT", f"{limits.max_waiting_closes} closes wait for their fills already")
        closes = (*closes[:-1], with_source(closes[-1], source_of(index)))
        if sum(_source_bytes(waiting.source) for waiting in closes) > MAX_WAITING_BYTES:
            raise Refused("LIMIT", f"the records that wait in the position have more than {MAX_WAITING_BYTES} bytes")

    bandit = state.touch(close.bandit_id)
    if close.ts_event > bandit.close_watermark:
        bandit.close_watermark = close.ts_event
        bandit.floor = min(bandit.fill_watermark, bandit.close_watermark)
    decision = was.decision
    segments = _segments_of(state, bandit, decision, matches) if matches else _NO_SEGMENTS
    after = PositionSnapshot(
        close.bandit_id,
        close.position_id,
        close.ts_event if close.ts_event > was.ts_last else was.ts_last,
        was.counted or _any_counts(segments),
        was.filled_quantity,
        was.fill_ids,
        (*was.close_ids, close.event_id),
        None if decision is None or (not (fills or closes) and _is_filled(decision, was.filled_quantity)) else decision,
        fills,
        closes,
    )
    state.put(key, before, after)
    return Taken(bandit, before, after, segments, decision)


def _check_advice(fill: Fill, bandit: Bandit | None, settings: LearningSettings) -> None:
    """A decision from a vector before the experts last changed may know others than there are."""
    learner = None if bandit is None else bandit.learner
    experts = tuple(name for name, _ in settings.experts) if learner is None else learner.experts
    changed = 1 if bandit is None else bandit.choices_version
    check_advice(fill, experts, is_older=fill.weights_version is not None and fill.weights_version < changed)


def _is_filled(decision: DecisionSnapshot, filled_quantity: float) -> bool:
    """Whether no fill can come any more. Flat as well, the position is done: it keeps its ids, and no decision."""
    whole = decision.order_quantity
    return whole is None or filled_quantity >= whole * (1.0 - LEFT_TOLERANCE)


def _source_bytes(source: Source) -> int:
    headers = sum(len(header.name) + len(header.value or b"") for header in source.headers)
    return len(source.key or b"") + len(source.value or b"") + headers


def _any_counts(segments: tuple[Segment, ...]) -> bool:
    for segment in segments:  # noqa: SIM110 - any() with a generator costs five times as much, on every event
        if not segment.withheld:
            return True
    return False


def _late(kind: str, ts_event: int, watermark: int, limits: TaskLimits) -> Refused:
    behind_seconds, allowed_seconds = (watermark - ts_event) / 1e6, limits.dedupe_window_micros / 1e6
    return Refused("LATE", f"{behind_seconds:.6f} s behind the newest {kind}; {allowed_seconds:g} s are allowed")


def _refuse_without_room(state: TaskState, bandit: Bandit | None, before: PositionSnapshot | None) -> None:
    limits = state.limits
    if before is not None:
        if len(before.fill_ids) + len(before.close_ids) >= limits.max_events_per_position:
            raise Refused("LIMIT", f"the position has {limits.max_events_per_position} events already")
        return
    if state.position_count >= limits.max_positions_remembered:
        raise Refused("LIMIT", f"{limits.max_positions_remembered} positions are remembered already")
    if bandit is None and state.bandit_count >= limits.max_bandits:
        raise Refused("LIMIT", f"there are {limits.max_bandits} bandits already")


# The decision that all fills of a position share.


def decision_of(fill: Fill) -> DecisionSnapshot:
    return DecisionSnapshot(
        fill.instrument_id,
        fill.side,
        fill.multiplier,
        fill.currency,
        fill.order_quantity,
        fill.arm,
        fill.propensity,
        fill.probabilities,
        fill.eta,
        fill.weights_version,
        fill.contributions,
        fill.advice,
    )


def agreed_decision(was: PositionSnapshot, fill: Fill) -> tuple[DecisionSnapshot, float]:
    """The position's decision, which this fill shares or makes, and the quantity filled with it.

    Raises Refused where it is another one.
    """
    decision = decision_of(fill)
    filled_quantity = fill.quantity
    if was.decision is None and was.fill_ids:
        raise Refused("VALIDATION", _IS_DONE)
    if was.decision is not None:
        if decision != was.decision:
            names = decision.__struct_fields__
            differing = [name for name in names if getattr(decision, name) != getattr(was.decision, name)]
            raise Refused("VALIDATION", f"{', '.join(differing)} not as in the first fill: {_NEW_DECISION}")
        if decision.order_quantity is None:
            raise Refused("VALIDATION", f"a second fill, but no order_quantity: {_NEW_DECISION}")
        filled_quantity += was.filled_quantity
        decision = was.decision  # one object a position
    order_quantity = decision.order_quantity
    if order_quantity is not None and filled_quantity > order_quantity * (1.0 + LEFT_TOLERANCE):
        raise Refused(
            "VALIDATION",
            f"fills of {filled_quantity!r} in all are above the order_quantity of {order_quantity!r}: {_NEW_DECISION}",
        )
    return decision, filled_quantity


# Matching.


def opened(fill: Fill) -> OpenFill:
    return OpenFill(fill.event_id, fill.quantity, fill.price, fill.fees, fill.quantity, fill.ts_event)


def awaiting(close: Close, source: Source = _NOT_READ_YET) -> WaitingClose:
    """The close as it waits. Most closes are matched at once and never show the source."""
    slippage = 0.0 if close.slippage_in_price else close.slippage
    return WaitingClose(
        close.event_id, close.quantity, close.price, close.fees, slippage, close.quantity, close.ts_event, source
    )


def match(
    fills: tuple[OpenFill, ...], closes: tuple[WaitingClose, ...]
) -> tuple[tuple[OpenFill, ...], tuple[WaitingClose, ...], list[Match]]:
    """First in, first out. Both sides must hold something; gives what is left of each, and the matches in order."""
    matches: list[Match] = []
    fill_at, close_at, fill_count, close_count = 0, 0, len(fills), len(closes)
    fill_left, close_left = fills[0].left, closes[0].left
    while fill_at < fill_count and close_at < close_count:
        fill, close = fills[fill_at], closes[close_at]
        quantity = fill_left if fill_left < close_left else close_left
        matches.append((fill, close, quantity))
        fill_left -= quantity
        close_left -= quantity
        if fill_left <= LEFT_TOLERANCE * fill.quantity:
            fill_at += 1
            fill_left = fills[fill_at].left if fill_at < fill_count else 0.0
        if close_left <= LEFT_TOLERANCE * close.quantity:
            close_at += 1
            close_left = closes[close_at].left if close_at < close_count else 0.0
    if fill_at < fill_count and fill_left != fills[fill_at].left:
        fills = (*fills[:fill_at], with_left(fills[fill_at], fill_left), *fills[fill_at + 1 :])
    if close_at < close_count and close_left != closes[close_at].left:
        close = closes[close_at]
        closes = (*closes[:close_at], _close_with(close, close_left, close.source), *closes[close_at + 1 :])
    return fills[fill_at:], closes[close_at:], matches


def with_left(fill: OpenFill, left: float) -> OpenFill:
    return OpenFill(fill.event_id, fill.quantity, fill.price, fill.fees, left, fill.ts_event)


def with_source(close: WaitingClose, source: Source) -> WaitingClose:
    return _close_with(close, close.left, source)


def _close_with(close: WaitingClose, left: float, source: Source) -> WaitingClose:
    return WaitingClose(
        close.event_id, close.quantity, close.price, close.fees, close.slippage, left, close.ts_event, source
    )


def _segments_of(
    state: TaskState, bandit: Bandit, decision: DecisionSnapshot | None, matches: list[Match]
) -> tuple[Segment, ...]:
    assert decision is not None  # only fills are matched, and a fill brings its decision
    withheld = why_withheld(state, bandit, decision)
    return tuple([segment_of(decision, matched, withheld) for matched in matches])


def segment_of(decision: DecisionSnapshot, matched: Match, withheld: str) -> Segment:
    """One match as a segment. `withheld` says why the bandit learns nothing of it, "" where it does.

    net = sign (close.price - fill.price) q multiplier - fill.fees q / fill.quantity
          - (close.fees + close.slippage) q / close.quantity, in basis points of fill.price q multiplier.
    ts_event is that of the later of the two, when the segment was realised.
    """
    fill, close, quantity = matched
    move = close.price - fill.price if decision.side == "BUY" else fill.price - close.price
    multiplier = decision.multiplier
    net = (
        move * quantity * multiplier
        - fill.fees * quantity / fill.quantity
        - (close.fees + close.slippage) * quantity / close.quantity
    )
    notional = fill.price * quantity * multiplier
    reward_bps = net / notional * 10_000.0 if notional else nan
    if not -MAX_REWARD_BPS <= reward_bps <= MAX_REWARD_BPS:
        withheld = why_unlearnable(reward_bps)
    ts_event = close.ts_event if close.ts_event > fill.ts_event else fill.ts_event
    weight = quantity / (decision.order_quantity or fill.quantity)
    return Segment(fill.event_id, close.event_id, quantity, reward_bps, weight, ts_event, withheld)
