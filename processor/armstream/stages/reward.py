"""The reward stage: fills and closes become part of their position, and what they realise becomes segments.

Law: everything that can be refused is refused before anything changes, but for the time that an event tells. The same
event again changes nothing; another under its id is refused by name.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import Struct, structs

from armstream.events import (
    Close,
    DecisionSnapshot,
    Fill,
    PositionClose,
    PositionFill,
    PositionSnapshot,
    Source,
    WaitingClose,
)
from armstream.learning import LearningSettings
from armstream.rules import rule_named
from armstream.stages.matching import (
    ClosePart,
    FillPart,
    Segment,
    close_fills,
    fill_closes,
    is_done,
    segment_of,
    weight_of,
    write_off,
)
from armstream.stages.memory import move_watermarks, tell_time
from armstream.stages.pages import PAGE_EVENTS, AllFills, Fills, Known, Name, event_count
from armstream.stages.sizes import MAX_WAITING_BYTES, check_decision, waiting_bytes
from armstream.stages.state import Bandit, TaskState
from armstream.stages.validation import (
    LARGEST,
    Refused,
    check_advice,
    check_bandit_id,
    check_close,
    check_fill,
    check_signals,
)
from armstream.stages.withholding import why_withheld

_NEW_DECISION = "a new decision needs a new position_id"
_IS_DONE = f"the position is filled and closed already: {_NEW_DECISION}"
_BE_UNIQUE = "an id must not come again within rewards.dedupe_window_seconds: put the day or the session into it"

_FILL_CONTENT = ("quantity", "price", "fees", "side", "notional")
_CLOSE_CONTENT = ("quantity", "price", "fees", "slippage", "final")

_NOTHING = PositionSnapshot("", "", -(2**63), False, 0.0, 0.0, "UNKNOWN", (), (), 0, 0.0)  # before its first event
_NO_SEGMENTS: Sequence[Segment] = ()
_NO_PARTS: Sequence[ClosePart] = ()
_NO_FILL_PARTS: Sequence[FillPart] = ()

K = TypeVar("K", PositionFill, PositionClose)


class Taken(Struct, frozen=True, gc=False):
    """What an accepted event did: its bandit, touched; its position before and after; what it realised.

    `decision` is the position's, which `after` has no more once the position is done.
    """

    bandit: Bandit
    before: PositionSnapshot | None
    after: PositionSnapshot
    segments: Sequence[Segment]
    decision: DecisionSnapshot | None


def take_fill(state: TaskState, fill: Fill) -> Taken | None:
    """Puts a fill into its position, creating the bandit's learner with the first. None for a duplicate.

    Raises Refused, with nothing changed but the bandit's time, for a dead letter.
    """
    bandit = tell_time(state, fill.bandit_id, fill.ts_event, is_fill=True)
    key, before = state.find(fill.bandit_id, fill.position_id)
    was = before or _NOTHING
    if before is not None and _is_known_fill(state, key, was, fill):
        return None
    settings = _checked(state, fill, bandit)
    ts_event, limits = fill.ts_event, state.limits
    if bandit is not None and (ts_event < bandit.fill_watermark or ts_event <= bandit.forgotten_until):
        _refuse_late(state, "fill", ts_event, bandit.fill_watermark, bandit, before)
    decision = _agreed_decision(was, fill)
    count = 1 if before is None else event_count(was) + 1
    if count > limits.max_events_per_position or state.position_count >= limits.max_positions_remembered:
        _refuse_without_room(state, before, count)

    filled = PositionFill(
        fill.event_id,
        fill.quantity,
        fill.price,
        fill.fees,
        weight_of(was.filled_weight, was.filled_quantity, fill.quantity, fill.order_quantity),
        ts_event,
        fill.exec_id,
        fill.notional,
    )
    filled_quantity = was.filled_quantity + fill.quantity
    left, waiting, parts = fill.quantity, was.waiting, _NO_PARTS
    if waiting:
        left, waiting, parts = fill_closes(waiting, filled, filled_quantity, count)
    written_off, open_left = 0.0, was.open_left
    if was.final_close_id is not None:
        left, written_off = 0.0, left
    if left and not open_left:
        open_left = left
        if state.open_position_count >= limits.max_open_positions:
            raise Refused("LIMIT", f"{limits.max_open_positions} positions are open already")

    if bandit is None or bandit.learner is None:
        bandit = _begun(state, fill, settings, bandit is None)
    else:
        bandit = state.touch(fill.bandit_id)
    segments = _NO_SEGMENTS
    if parts or written_off:
        segments = _fill_segments(state, bandit, decision, fill, filled, parts, was.final_close_id or "", written_off)
    fills, closes, paged = (*was.fills, filled), was.closes, was.paged
    fill_count = len(fills) if paged is None else len(fills) + paged.fills
    is_flat = not (open_left or waiting)
    if count >= PAGE_EVENTS and len(fills) + len(closes) >= PAGE_EVENTS:
        fills, closes, paged = (), (), state.add_page(key, paged, fills, closes)
    after = PositionSnapshot(
        fill.bandit_id,
        fill.position_id,
        ts_event if ts_event > was.ts_last else was.ts_last,
        was.counted or (segments is not _NO_SEGMENTS and _any_counts(segments)),
        filled_quantity,
        was.filled_weight + filled.weight,
        fill.side,
        fills,
        closes,
        was.open_from if was.open_left else fill_count - (open_left > 0.0),
        open_left,
        None if is_flat and is_done(was.final_close_id, decision, filled_quantity, count) else decision,
        waiting,
        paged,
        was.final_close_id,
    )
    state.put(key, before, after)
    return Taken(bandit, before, after, segments, decision)


def take_close(state: TaskState, close: Close, index: int, source_of: Callable[[int], Source]) -> Taken | None:
    """Puts a close into its position; `source_of(index)` is asked for its record where it has to wait.

    None for a duplicate. Raises Refused, with nothing changed but the bandit's time, for a dead letter.
    """
    bandit = tell_time(state, close.bandit_id, close.ts_event, is_fill=False)
    key, before = state.find(close.bandit_id, close.position_id)
    was = before or _NOTHING
    slippage_in_price = 0.0
    if close.slippage_in_price and close.slippage:  # from here on `slippage` is what is charged
        close, slippage_in_price = _without_slippage(close)
    if (was.closes or was.paged is not None) and _is_known_close(state, key, was, close):
        return None
    if (
        before is None
        or before.final_close_id is not None
        or bandit is None
        or bandit.learner is None
        or close.ts_event < bandit.close_watermark
    ):
        _check_close(state, close, bandit, before)
    else:
        check_close(close)

    fills: Fills = was.fills
    if was.paged is None:
        count = len(was.fills) + len(was.closes) + 1
    else:
        count, fills = event_count(was) + 1, AllFills(state.pages(key).fills, was.fills)
    at, open_left, left, waiting, parts = was.open_from, 0.0, close.quantity, was.waiting, _NO_FILL_PARTS
    if was.open_left:
        at, open_left, left, parts = close_fills(fills, at, was.open_left, close, was.filled_quantity, count)
    if left:
        waiting = _with_waiting(waiting, close, slippage_in_price, left, source_of(index))

    bandit = state.touch(close.bandit_id) if bandit is not None else _waiting_only(state, close)
    decision, segments, final_close_id = was.decision, _NO_SEGMENTS, close.event_id if close.final else None
    if parts:
        assert decision is not None  # only fills are matched, and a fill brings its decision
        side, withheld, max_cost_ratio = was.side, why_withheld(state, bandit, decision), state.limits.max_cost_ratio
        segments = [
            segment_of(decision, side, fill, close, slippage_in_price, part, withheld, max_cost_ratio)
            for fill, part in parts
        ]
    if final_close_id is not None and open_left:
        segments = [*segments, *write_off(fills, at, open_left, final_close_id, close.ts_event)]
        at, open_left = len(fills), 0.0
    if not (open_left or waiting) and decision is not None:
        decision = None if is_done(final_close_id, decision, was.filled_quantity, count) else decision
    kept = PositionClose(close.event_id, close.quantity, close.price, close.fees, close.slippage, close.exec_id)
    newer, closes, paged = was.fills, (*was.closes, kept), was.paged
    if count >= PAGE_EVENTS and len(newer) + len(closes) >= PAGE_EVENTS:
        newer, closes, paged = (), (), state.add_page(key, paged, newer, closes)
    after = PositionSnapshot(
        close.bandit_id,
        close.position_id,
        close.ts_event if close.ts_event > was.ts_last else was.ts_last,
        was.counted or _any_counts(segments),
        was.filled_quantity,
        was.filled_weight,
        was.side,
        newer,
        closes,
        at,
        open_left,
        decision,
        waiting,
        paged,
        final_close_id,
    )
    state.put(key, before, after)
    return Taken(bandit, before, after, segments, was.decision)


# What an event is to its position.


def _is_known_fill(state: TaskState, key: str, was: PositionSnapshot, fill: Fill) -> bool:
    """Whether it is there already. Raises Refused where another is there under its id."""
    known = _known(was.fills, None if was.paged is None else state.pages(key).fill, fill)
    if known is None or fill.exec_type != "TRADE":
        return False
    if known.quantity:  # else only its id is remembered
        now = (fill.quantity, fill.price, fill.fees, fill.side, fill.notional)
        then = (known.quantity, known.price, known.fees, was.side, known.notional)
        _refuse_other_content(fill, known, _FILL_CONTENT, then, now)
    return True


def _is_known_close(state: TaskState, key: str, was: PositionSnapshot, close: Close) -> bool:
    known = _known(was.closes, None if was.paged is None else state.pages(key).close, close)
    if known is None or close.exec_type != "TRADE":
        return False
    if known.quantity:
        now = (close.quantity, close.price, close.fees, close.slippage, close.final)
        then = (known.quantity, known.price, known.fees, known.slippage, known.event_id == was.final_close_id)
        _refuse_other_content(close, known, _CLOSE_CONTENT, then, now)
    return True


def _known(events: tuple[K, ...], in_pages: Callable[[Name], K | None] | None, event: Fill | Close) -> K | None:
    """The one of all the position's that has its event_id, else its exec_id."""
    event_id, exec_id = event.event_id, event.exec_id
    for known in events:
        if known.event_id == event_id:
            return known
    if in_pages is not None:
        older = in_pages(("event_id", event_id))
        if older is not None:
            return older
    if exec_id:
        for known in events:
            if known.exec_id == exec_id:
                return known
        if in_pages is not None:
            return in_pages(("exec_id", exec_id))
    return None


def _refuse_other_content(
    event: Fill | Close, known: Known, names: Sequence[str], then: Sequence[object], now: Sequence[object]
) -> None:
    if then == now:
        return
    differing = [f"{name} {new!r}, not {old!r}" for name, old, new in zip(names, then, now, strict=True) if old != new]
    named = f"event_id {event.event_id!r}" if known.event_id == event.event_id else f"exec_id {event.exec_id!r}"
    raise Refused(
        "ID_REUSED", f"{named} came before in this position with other content: {', '.join(differing)}; {_BE_UNIQUE}"
    )


def _checked(state: TaskState, fill: Fill, bandit: Bandit | None) -> LearningSettings:
    """The settings of the bandit, where the fill is one that it can take. Raises Refused."""
    if bandit is not None and bandit.learner is not None:
        settings, rule = bandit.settings, bandit.rule
        assert settings is not None  # its learner was made by them
        assert rule is not None
        check_fill(fill, bandit.arm_index)
    else:
        new_settings = state.registry.of(fill.bandit_id)
        if new_settings is None:
            raise _unregistered(fill.bandit_id)
        settings, rule = new_settings, rule_named(new_settings.algorithm)
        check_fill(fill, settings.arms)
        check_bandit_id(fill.bandit_id)
    if fill.signals:
        known = () if bandit is None else bandit.arm_index
        check_signals(fill, known or settings.arms, state.registry.max_arms, _is_older(fill, bandit))
    if fill.contributions or fill.advice or fill.signals:
        check_decision(fill)
    refusal = rule.fill_refusal(fill)
    if refusal:
        raise Refused("VALIDATION", refusal)
    if fill.advice or settings.experts:
        _check_advice(fill, bandit, settings)
    return settings


def _check_close(state: TaskState, close: Close, bandit: Bandit | None, before: PositionSnapshot | None) -> None:
    """Raises Refused for a close that the bandit cannot take. The newest one of a position that is there it can take,
    where any can be taken."""
    if (bandit is None or bandit.learner is None) and state.registry.of(close.bandit_id) is None:
        raise _unregistered(close.bandit_id)
    check_close(close)
    if bandit is None:
        check_bandit_id(close.bandit_id)
    else:
        _refuse_late(state, "close", close.ts_event, bandit.close_watermark, bandit, before)
    if before is None:
        _refuse_without_room(state, before, 1)
    elif before.final_close_id is not None:
        raise Refused("VALIDATION", f"close {before.final_close_id!r} was final: no close of its position follows it")


def _without_slippage(close: Close) -> tuple[Close, float]:
    """The close without what its price holds already, and that: 0 where it is nobody's number."""
    is_known = -LARGEST <= close.slippage <= LARGEST
    return structs.replace(close, slippage=0.0), close.slippage if is_known else 0.0


def _unregistered(bandit_id: str) -> Refused:
    check_bandit_id(bandit_id)
    return Refused("UNKNOWN_BANDIT", f"bandit {bandit_id!r} is not registered (bandits.mode: registered)")


def _check_advice(fill: Fill, bandit: Bandit | None, settings: LearningSettings) -> None:
    """A decision from a vector before the experts last changed may know others than there are."""
    learner = None if bandit is None else bandit.learner
    experts = tuple(name for name, _ in settings.experts) if learner is None else learner.experts
    check_advice(fill, experts, _is_older(fill, bandit))


def _is_older(fill: Fill, bandit: Bandit | None) -> bool:
    """Whether the decision was made from a vector before the arms or the experts last changed."""
    changed = 1 if bandit is None else bandit.choices_version
    return fill.weights_version is not None and fill.weights_version < changed


def _refuse_late(
    state: TaskState, kind: str, ts_event: int, watermark: int, bandit: Bandit, before: PositionSnapshot | None
) -> None:
    window_micros = state.limits.dedupe_window_micros
    if ts_event < watermark - window_micros:
        behind_seconds = (watermark - ts_event) / 1e6
        raise Refused("LATE", f"{behind_seconds:.6f} s behind the newest {kind}; {window_micros / 1e6:g} s are allowed")
    if before is None and ts_event <= bandit.forgotten_until:
        behind_seconds = (bandit.forgotten_until - ts_event) / 1e6
        raise Refused("LATE", f"{behind_seconds:.6f} s behind what was forgotten, and of an unknown position")


def _refuse_without_room(state: TaskState, before: PositionSnapshot | None, count: int) -> None:
    """Positions that are finished make room, others refuse. `count` are the position's events with one that comes."""
    limits = state.limits
    if before is None and state.position_count >= limits.max_positions_remembered and not state.finished_count:
        most = limits.max_positions_remembered
        raise Refused("LIMIT", f"{most} positions are remembered already, and none of them is finished")
    if count > limits.max_events_per_position:
        raise Refused("LIMIT", f"the position has {limits.max_events_per_position} events already")


# The decision that all fills of a position share.


def decision_of(fill: Fill) -> DecisionSnapshot:
    return DecisionSnapshot(
        fill.instrument_id,
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
        fill.signals,
    )


def _agreed_decision(was: PositionSnapshot, fill: Fill) -> DecisionSnapshot:
    """The position's decision, which this fill shares or makes; the order may have been amended since.

    Raises Refused where it is another one.
    """
    decision = decision_of(fill)
    if was.side not in ("UNKNOWN", fill.side):
        raise Refused("VALIDATION", f"side not as in the first fill: {_NEW_DECISION}")
    if was.decision is None:
        if was.filled_quantity and was.final_close_id is None:
            raise Refused("VALIDATION", _IS_DONE)
        return decision
    if was.decision.terms:
        decision = structs.replace(decision, terms=was.decision.terms)
    if decision == was.decision and fill.order_quantity is not None:
        return was.decision  # one object a position
    differing = [name for name in decision.__struct_fields__ if _differs(name, decision, was.decision)]
    if differing:
        raise Refused("VALIDATION", f"{', '.join(differing)} not as in the first fill: {_NEW_DECISION}")
    if was.decision.order_quantity is None or fill.order_quantity is None:
        raise Refused("VALIDATION", f"a second fill, but no order_quantity: {_NEW_DECISION}")
    return decision


def _differs(name: str, one: DecisionSnapshot, other: DecisionSnapshot) -> bool:
    """Whether it makes another decision. By repr, in which NaN is NaN; in a map the order says nothing."""
    ours, theirs = getattr(one, name), getattr(other, name)
    return name != "order_quantity" and ours != theirs and repr(ours) != repr(theirs)


# Its parts.


def _with_waiting(
    waiting: tuple[WaitingClose, ...], close: Close, slippage_in_price: float, left: float, source: Source
) -> tuple[WaitingClose, ...]:
    """The closes that wait, with one that comes. Raises Refused."""
    waits = WaitingClose(
        close.event_id,
        close.quantity,
        close.price,
        close.fees,
        close.slippage,
        left,
        close.ts_event,
        source,
        slippage_in_price,
    )
    if waiting_bytes((*waiting, waits)) > MAX_WAITING_BYTES:
        raise Refused("LIMIT", f"the closes that wait in the position have more than {MAX_WAITING_BYTES} bytes")
    return (*waiting, waits)


def _begun(state: TaskState, fill: Fill, settings: LearningSettings, is_new: bool) -> Bandit:
    """Its first valid fill makes a bandit's learner, and a bandit where no close did. Raises Refused."""
    if state.learner_count >= state.limits.max_bandits:
        raise Refused("LIMIT", f"there are {state.limits.max_bandits} bandits already")
    bandit = state.touch(fill.bandit_id)
    state.create_learner(bandit, settings)
    if is_new:
        move_watermarks(state, bandit, fill.ts_event, is_fill=True)
    return bandit


def _waiting_only(state: TaskState, close: Close) -> Bandit:
    """A bandit that is nothing yet but closes that wait."""
    bandit = state.touch(close.bandit_id)
    move_watermarks(state, bandit, close.ts_event, is_fill=False)
    return bandit


def _fill_segments(
    state: TaskState,
    bandit: Bandit,
    decision: DecisionSnapshot,
    fill: Fill,
    filled: PositionFill,
    parts: Sequence[ClosePart],
    final_close_id: str,
    written_off: float,
) -> Sequence[Segment]:
    withheld, max_cost_ratio = why_withheld(state, bandit, decision), state.limits.max_cost_ratio
    segments = [
        segment_of(decision, fill.side, filled, close, close.slippage_in_price, part, withheld, max_cost_ratio)
        for close, part in parts
    ]
    if written_off:
        segments += write_off((filled,), 0, written_off, final_close_id, fill.ts_event)
    return segments


def _any_counts(segments: Sequence[Segment]) -> bool:
    for segment in segments:  # noqa: SIM110 - any() with a generator costs five times as much, on every event
        if not segment.withheld:
            return True
    return False
