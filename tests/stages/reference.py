"""What fills and closes must come to, worked out slowly from the design's words: it shares no code with the stages.

Quantities are taken as the decimal numbers they are written as, exactly (0.1 + 0.2 is 0.3), laid end to end: the n-th
unit closed realises the n-th unit filled, so a segment is the overlap of two intervals; its arithmetic is that of
verify. Fit for histories whose quantities are short decimals, where no overlap is a rounding error's. Nothing is fast
here: every event works out its position anew, and looks at every position of its bandit to see what has expired.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from armstream.events import Close, Command, Fill, Input, Rejected
from armstream.oracle.matching import exact, reward_of, weight_of


@dataclass(frozen=True)
class ReferenceSegment:
    fill_event_id: str
    close_event_id: str
    quantity: float
    reward_bps: float  # NaN where there is no entry notional, as floats see it
    weight: float


@dataclass(frozen=True)
class ReferenceReward:
    """One audit record: `index` is the input behind it. What the learner makes of it is not worked out."""

    index: int
    bandit_id: str
    version: int
    position_id: str
    segment: ReferenceSegment
    applied: bool
    counted: bool
    arms: Mapping[str, float]


@dataclass(frozen=True)
class ReferenceDeadLetter:
    """`cause` is the input at which it came about, `index` the one whose record it carries (None: a whole position)."""

    cause: int
    index: int | None
    error_class: str
    quantity_left: float | None = None


@dataclass(frozen=True)
class ReferenceCommand:
    """The audit record of a command."""

    index: int
    bandit_id: str
    version: int
    command_id: str
    outcome: str


@dataclass
class Replay:
    rewards: list[ReferenceReward] = field(default_factory=list)
    commands: list[ReferenceCommand] = field(default_factory=list)
    dead_letters: list[ReferenceDeadLetter] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    remembered: set[tuple[str, str]] = field(default_factory=set)


def segments_of(
    fills: Sequence[Fill], closes: Sequence[Close], usable: Mapping[str, Fraction] | None = None
) -> list[ReferenceSegment]:
    """The segments of one position, from all its fills and all its closes, each in their order of arrival.

    `usable` cuts a close short that gave up waiting: what of it counts as closed.
    """
    segments = []
    filled = Fraction(0)
    for fill in fills:
        closed = Fraction(0)
        for close in closes:
            size = (usable or {}).get(close.event_id, exact(close.quantity))
            overlap = min(filled + exact(fill.quantity), closed + size) - max(filled, closed)
            if overlap > 0:
                segments.append(_segment(fill, close, overlap))
            closed += size
        filled += exact(fill.quantity)
    return segments


def _segment(fill: Fill, close: Close, q: Fraction) -> ReferenceSegment:
    reward_bps, _ = reward_of(fill, close, q)
    return ReferenceSegment(fill.event_id, close.event_id, float(q), reward_bps, weight_of(fill, float(q)))


@dataclass
class _Position:
    fills: list[Fill] = field(default_factory=list)
    closes: list[tuple[int, Close]] = field(default_factory=list)
    usable: dict[str, Fraction] = field(default_factory=dict)
    realised: dict[tuple[str, str], ReferenceSegment] = field(default_factory=dict)
    counted: bool = False

    def closed_of(self, event_id: str) -> Fraction:
        parts = [exact(s.quantity) for (_, closed), s in self.realised.items() if closed == event_id]
        return sum(parts, Fraction(0))

    def waiting(self) -> list[tuple[int, Close]]:
        """Closes not matched in full, but for those that gave up."""
        return [
            (index, close)
            for index, close in self.closes
            if close.event_id not in self.usable and self.closed_of(close.event_id) < exact(close.quantity)
        ]

    def is_flat(self) -> bool:
        filled = sum((exact(fill.quantity) for fill in self.fills), Fraction(0))
        closed = sum((exact(s.quantity) for s in self.realised.values()), Fraction(0))
        return filled == closed and not self.waiting()

    def ts_last(self) -> int:
        return max([fill.ts_event for fill in self.fills] + [close.ts_event for _, close in self.closes])


@dataclass
class _Bandit:
    positions: dict[str, _Position] = field(default_factory=dict)
    fill_watermark: int | None = None
    close_watermark: int | None = None
    arms: list[str] = field(default_factory=list)  # from its first fill on
    is_paused: bool = False
    command_ids: list[str] = field(default_factory=list)


def replay(
    inputs: Sequence[Input],
    arms: Sequence[str],
    *,
    dedupe_window_micros: int,
    orphan_ttl_micros: int,
    max_holding_micros: int,
) -> Replay:
    """A whole log in applied order, learning enabled; none of the limits on counts is near."""
    out = Replay()
    bandits: dict[str, _Bandit] = {}
    for index, event in enumerate(inputs):
        bandit = _Bandit() if isinstance(event, Rejected) else bandits.get(event.bandit_id, _Bandit())
        error_class = _problem(event, bandit.arms or arms)
        if isinstance(event, Fill | Close):
            position = bandit.positions.get(event.position_id, _Position())
            seen = position.fills if isinstance(event, Fill) else [close for _, close in position.closes]
            if event.event_id in [each.event_id for each in seen]:
                out.duplicates.append(index)
                continue
            watermark = bandit.fill_watermark if isinstance(event, Fill) else bandit.close_watermark
            if error_class is None and watermark is not None and event.ts_event < watermark - dedupe_window_micros:
                error_class = "LATE"
            if error_class is None and isinstance(event, Fill) and _is_another_decision(position, event):
                error_class = "VALIDATION"
        if isinstance(event, Command) and error_class is None and bandit.arms:
            _obey(out, index, event, bandit)
            continue
        if error_class is not None or not isinstance(event, Fill | Close):
            out.dead_letters.append(ReferenceDeadLetter(index, index, error_class or "UNKNOWN_BANDIT"))
            continue
        bandits[event.bandit_id] = bandit
        bandit.positions[event.position_id] = position
        if isinstance(event, Fill):
            bandit.arms = bandit.arms or list(arms)
            position.fills.append(event)
            bandit.fill_watermark = max(event.ts_event, bandit.fill_watermark or event.ts_event)
        else:
            position.closes.append((index, event))
            bandit.close_watermark = max(event.ts_event, bandit.close_watermark or event.ts_event)
        _realise(out, index, event.bandit_id, bandit, event.position_id)
        _expire(out, index, bandit, dedupe_window_micros, orphan_ttl_micros, max_holding_micros)
    out.remembered = {(b, p) for b, bandit in bandits.items() for p in bandit.positions}
    return out


def _obey(out: Replay, index: int, command: Command, bandit: _Bandit) -> None:
    if command.command_id in bandit.command_ids:
        out.duplicates.append(index)
        return
    bandit.command_ids.append(command.command_id)
    arm, is_obeyed = command.arm or "", True
    if command.action == "ADD_ARM" and arm not in bandit.arms:
        bandit.arms.append(arm)
    elif command.action == "REMOVE_ARM" and arm in bandit.arms and len(bandit.arms) > 2:
        bandit.arms.remove(arm)
    elif command.action == "PAUSE" and not bandit.is_paused:
        bandit.is_paused = True
    elif command.action == "RESUME" and bandit.is_paused:
        bandit.is_paused = False
    else:
        is_obeyed = command.action == "RESET"
    version = out.versions[command.bandit_id] = out.versions.get(command.bandit_id, 0) + 1
    outcome = "APPLIED" if is_obeyed else "REFUSED"
    out.commands.append(ReferenceCommand(index, command.bandit_id, version, command.command_id, outcome))


def _realise(out: Replay, index: int, bandit_id: str, bandit: _Bandit, position_id: str) -> None:
    """Everything newly matched, in first-in-first-out order, becomes a reward."""
    position = bandit.positions[position_id]
    for segment in segments_of(position.fills, [close for _, close in position.closes], position.usable):
        key = (segment.fill_event_id, segment.close_event_id)
        if key in position.realised:
            continue
        position.realised[key] = segment
        fill = position.fills[0]
        shares = {fill.arm: 1.0} if fill.arm is not None else {a: s for a, s in fill.contributions.items() if s > 0}
        legal = math.isfinite(segment.reward_bps) and abs(segment.reward_bps) <= 1e12
        applied = legal and not bandit.is_paused and all(arm in bandit.arms for arm in shares)
        counted = applied and not position.counted
        position.counted = position.counted or counted
        version = out.versions[bandit_id] = out.versions.get(bandit_id, 0) + 1
        out.rewards.append(ReferenceReward(index, bandit_id, version, position_id, segment, applied, counted, shares))


def _expire(
    out: Replay, index: int, bandit: _Bandit, dedupe_window_micros: int, orphan_ttl_micros: int, max_holding_micros: int
) -> None:
    orphans = []
    for _, position in sorted(bandit.positions.items()):  # of one time and event_id the lesser position_id is first
        for _, close in position.waiting():
            if bandit.fill_watermark is not None and bandit.fill_watermark > close.ts_event + orphan_ttl_micros:
                orphans.append((close.ts_event, close.event_id, position))
    for _, event_id, position in sorted(orphans, key=lambda orphan: orphan[:2]):
        close = next(close for _, close in position.closes if close.event_id == event_id)
        closed_index = next(at for at, close in position.closes if close.event_id == event_id)
        position.usable[event_id] = position.closed_of(event_id)
        left = exact(close.quantity) - position.usable[event_id]
        out.dead_letters.append(ReferenceDeadLetter(index, closed_index, "ORPHAN_CLOSE", float(left)))
    if bandit.fill_watermark is None or bandit.close_watermark is None:
        return
    floor = min(bandit.fill_watermark, bandit.close_watermark)
    by_age = sorted(bandit.positions.items(), key=lambda item: (item[1].ts_last(), item[0]))
    for position_id, position in by_age:
        if position.is_flat():
            if position.ts_last() < floor - dedupe_window_micros:
                del bandit.positions[position_id]
        elif position.ts_last() < floor - max_holding_micros:
            del bandit.positions[position_id]
            out.dead_letters.append(ReferenceDeadLetter(index, None, "LIMIT"))


def _is_another_decision(position: _Position, fill: Fill) -> bool:
    if position.fills:
        first = position.fills[0]
        for name in (
            *("instrument_id", "side", "multiplier", "currency", "order_quantity", "arm", "propensity"),
            *("probabilities", "eta", "weights_version", "contributions", "advice"),
        ):
            if getattr(first, name) != getattr(fill, name):
                return True
        if fill.order_quantity is None:
            return True
    if fill.order_quantity is None:
        return False
    filled = sum((exact(each.quantity) for each in [*position.fills, fill]), Fraction(0))
    return filled > exact(fill.order_quantity)


def _problem(event: Input, arms: Sequence[str]) -> str | None:
    """The dead letter's class for an input that no state could take."""
    if isinstance(event, Rejected):
        return event.error_class
    if isinstance(event, Command):
        return None
    ids = (event.event_id, event.bandit_id, event.position_id)
    if not all(1 <= len(each.encode()) <= 200 for each in ids) or "\0" in event.bandit_id or event.exec_type != "TRADE":
        return "VALIDATION"
    positive, finite = [event.quantity, event.price], [event.fees]
    if isinstance(event, Close):
        finite.append(event.slippage)
    else:
        positive += [event.multiplier, 1.0 if event.order_quantity is None else event.order_quantity]
    if not all(math.isfinite(each) for each in positive + finite) or min(positive) <= 0:
        return "VALIDATION"
    if isinstance(event, Close):
        return None
    shares = event.contributions
    if event.side == "UNKNOWN" or (event.propensity is not None and not 0 < event.propensity <= 1):
        return "VALIDATION"
    if (event.arm is None) == (not shares) or any(not math.isfinite(share) or share < 0 for share in shares.values()):
        return "VALIDATION"
    if any(arm not in arms for arm in (shares or [event.arm])):
        return "UNKNOWN_ARM"
    if shares and not any(shares.values()):
        return "VALIDATION"
    return "UNKNOWN_EXPERT" if event.advice else None
