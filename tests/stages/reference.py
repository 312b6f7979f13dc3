"""What fills and closes must come to, worked out slowly from the design's words: all that it shares with the package
is the events.

Quantities are taken as the decimal numbers they are written as, exactly (0.1 + 0.2 is 0.3), in UNITs, laid end to end
on two lines: the n-th unit closed realises the n-th unit filled, so a segment is the overlap of two intervals. A close
that gave up waiting is cut to what of it was realised; what is written off is a stretch of its own on the line of
closes. Fit for histories in which no overlap is a rounding error's. Nothing is fast here: every event lays out its
position anew, and looks at every position of its bandit to see what time has ended.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import Protocol

from armstream.events import Close, Command, Fill, Input, Rejected

UNIT = Fraction(1, 10**18)  # of quantity: whole numbers add up a hundred times faster than fractions
YEAR_1990 = 631_152_000_000_000  # UTC microseconds
MAX_REWARD_BPS = 10**12
MIN_PROPENSITY = 1e-200
LARGEST = 1e300  # of a price or a quantity
DECISION = (
    *("instrument_id", "side", "multiplier", "currency", "arm", "propensity", "probabilities", "eta"),
    *("weights_version", "contributions", "advice", "signals"),
)


class Limits(Protocol):
    """The windows and limits of one task."""

    @property
    def dedupe_window_micros(self) -> int: ...
    @property
    def orphan_ttl_micros(self) -> int: ...
    @property
    def max_holding_micros(self) -> int: ...
    @property
    def max_events_per_position(self) -> int: ...
    @property
    def max_bandits(self) -> int: ...
    @property
    def max_open_positions(self) -> int: ...
    @property
    def max_waiting_closes(self) -> int: ...
    @property
    def max_positions_remembered(self) -> int: ...
    @property
    def max_cost_ratio(self) -> float: ...
    @property
    def trades_share_topic(self) -> bool: ...


@dataclass(frozen=True)
class ReferenceSegment:
    fill_event_id: str
    close_event_id: str
    quantity: float
    reward_bps: float  # infinite beyond MAX_REWARD_BPS
    weight: float
    ts_event: int
    scale_bps: float = 0.0  # how large the terms of reward_bps are, which may cancel
    withheld: str = ""  # why no learner may take it, whatever its state


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
    """`watermarks` are of fills and of closes; those and `forgotten_until` are of the bandits that there are."""

    rewards: list[ReferenceReward] = field(default_factory=list)
    commands: list[ReferenceCommand] = field(default_factory=list)
    dead_letters: list[ReferenceDeadLetter] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    remembered: set[tuple[str, str]] = field(default_factory=set)
    forgotten_until: dict[str, int | None] = field(default_factory=dict)
    watermarks: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)


def replay(
    inputs: Sequence[Input], arms: Sequence[str], limits: Limits, registered: Collection[str] | None = None
) -> Replay:
    """A whole log in applied order, learning enabled. `registered` are the bandits that may be, None for any."""
    task = _Task(arms, limits, registered)
    for index, event in enumerate(inputs):
        task.apply(index, event)
    task.out.remembered = {(b, p) for b, bandit in task.bandits.items() for p in bandit.positions}
    task.out.forgotten_until = {b: bandit.forgotten_until for b, bandit in task.bandits.items()}
    task.out.watermarks = {b: (bandit.fill_watermark, bandit.close_watermark) for b, bandit in task.bandits.items()}
    return task.out


def segments_of(fills: Sequence[Fill], closes: Sequence[Close]) -> list[ReferenceSegment]:
    """The segments of one position, from all its fills and all its closes, each in their order of arrival."""
    position = _Position()
    for fill in fills:
        position.add_fill(fill)
    position.closed = [_Stretch(units(close.quantity), close, 0, close.ts_event) for close in closes]
    return [_segment(position, *overlap) for overlap in position.overlaps()]


@lru_cache(maxsize=10_000)
def exact(number: float) -> Fraction:
    """The decimal number that a double is written as."""
    return Fraction(repr(float(number)))


@lru_cache(maxsize=10_000)
def units(quantity: float) -> int:
    count = exact(quantity) / UNIT
    assert count.denominator == 1, f"{quantity!r} is no whole number of units"
    return count.numerator


@dataclass
class _Stretch:
    """A stretch on the line of what was closed: a close, given by the input at `index`, or None: written off."""

    size: int
    close: Close | None
    index: int
    ts_event: int


@dataclass
class _Position:
    fills: list[Fill] = field(default_factory=list)
    weights: list[Fraction] = field(default_factory=list)
    closed: list[_Stretch] = field(default_factory=list)
    decision: Fill | None = None
    final_close_id: str = ""
    realised_count: int = 0  # overlaps that were published
    counted: bool = False

    def closes(self) -> list[Close]:
        return [stretch.close for stretch in self.closed if stretch.close is not None]

    def filled(self) -> int:
        return sum(units(fill.quantity) for fill in self.fills)

    def open(self) -> int:
        """Negative where closes wait."""
        return self.filled() - sum(stretch.size for stretch in self.closed)

    def is_flat(self) -> bool:
        return self.open() == 0

    def is_filled(self) -> bool:
        whole = self.fills[-1].order_quantity if self.fills else None
        return bool(self.fills) and (whole is None or self.filled() >= units(whole))

    def note_done(self) -> None:
        """Once flat, what is filled or was said to be all has no decision any more that a later fill could share."""
        if self.is_flat() and (self.is_filled() or self.final_close_id):
            self.decision = None

    def refuses(self, fill: Fill) -> bool:
        """Whether a fill cannot be of it: it is done, or the fill is of another decision or side."""
        if not self.fills:
            return False
        if self.decision is None:
            return not self.final_close_id or fill.side != self.fills[0].side
        return _is_another_decision(self.decision, fill)

    def waiting(self) -> Iterator[tuple[_Stretch, Close, int]]:
        """Each close that reaches beyond what was filled, and how much of it does."""
        filled, end = self.filled(), 0
        for stretch in self.closed:
            end += stretch.size
            left = min(stretch.size, end - filled)
            if left > 0 and stretch.close is not None:
                yield stretch, stretch.close, left

    def overlaps(self) -> Iterator[tuple[int, _Stretch, int]]:
        """Places of fills, what closed them, how much."""
        ends = list(accumulate(stretch.size for stretch in self.closed))
        fill_end, at = 0, 0
        for number, fill in enumerate(self.fills):
            start, fill_end = fill_end, fill_end + units(fill.quantity)
            while at < len(ends):
                overlap = min(fill_end, ends[at]) - max(start, ends[at] - self.closed[at].size)
                if overlap > 0:
                    yield number, self.closed[at], overlap
                if ends[at] > fill_end:
                    break
                at += 1

    def ts_last(self) -> int:
        return max([fill.ts_event for fill in self.fills] + [close.ts_event for close in self.closes()])

    def add_fill(self, fill: Fill) -> None:
        quantity, filled, rest = units(fill.quantity), self.filled(), 1 - sum(self.weights, Fraction(0))
        whole = filled + quantity if fill.order_quantity is None else units(fill.order_quantity)
        self.weights.append(rest if whole <= filled + quantity else rest * Fraction(quantity, whole - filled))
        self.fills.append(fill)
        self.decision = self.decision or fill


@dataclass
class _Bandit:
    positions: dict[str, _Position] = field(default_factory=dict)
    fill_watermark: int | None = None
    close_watermark: int | None = None
    forgotten_until: int | None = None
    arms: list[str] = field(default_factory=list)  # from its first fill on
    is_paused: bool = False
    changed: int = 1  # the version at which its arms last did
    command_ids: list[str] = field(default_factory=list)

    def floor(self) -> int | None:
        if self.fill_watermark is None or self.close_watermark is None:
            return self.close_watermark
        return min(self.fill_watermark, self.close_watermark)

    def see(self, event: Fill | Close, both: bool) -> None:
        if isinstance(event, Fill) or both:
            self.fill_watermark = max(event.ts_event, self.fill_watermark or event.ts_event)
        if isinstance(event, Close) or both:
            self.close_watermark = max(event.ts_event, self.close_watermark or event.ts_event)

    def by_age(self) -> list[tuple[int, str, _Position]]:
        return sorted((position.ts_last(), name, position) for name, position in self.positions.items())

    def finished(self) -> list[tuple[int, str]]:
        return [(ts_last, name) for ts_last, name, position in self.by_age() if position.is_flat()]


class _Task:
    def __init__(self, arms: Sequence[str], limits: Limits, registered: Collection[str] | None) -> None:
        self.arms = arms
        self.limits = limits
        self.registered = registered
        self.bandits: dict[str, _Bandit] = {}
        self.out = Replay()

    def apply(self, index: int, event: Input) -> None:
        if isinstance(event, Rejected):
            self.bury(index, event.error_class)
        elif event.ts_event < YEAR_1990:
            self.bury(index, "VALIDATION")
        elif isinstance(event, Command):
            self.obey(index, event)
        else:
            self.trade(index, event)

    def bury(self, index: int, error_class: str) -> None:
        self.out.dead_letters.append(ReferenceDeadLetter(index, index, error_class))

    def trade(self, index: int, event: Fill | Close) -> None:
        if event.bandit_id in self.bandits:
            self.bandits[event.bandit_id].see(event, self.limits.trades_share_topic)
            self.forget_finished(event.bandit_id)
        known = self.known(event)
        if known is not None and event.exec_type == "TRADE":
            if _content(known) == _content(event):
                self.out.duplicates.append(index)
            else:
                self.bury(index, "ID_REUSED")
        else:
            error_class = self.refusal(event)
            if error_class:
                self.bury(index, error_class)
            else:
                self.accept(index, event)
        if event.bandit_id in self.bandits:
            self.end_what_is_due(index, event.bandit_id)

    # Whether an event is taken.

    def known(self, event: Fill | Close) -> Fill | Close | None:
        """The event of its kind and position that has its event_id, else its exec_id."""
        position = self.position_of(event)
        events: Sequence[Fill | Close] = position.fills if isinstance(event, Fill) else position.closes()
        same_id = [each for each in events if each.event_id == event.event_id]
        same_exec_id = [each for each in events if event.exec_id is not None and each.exec_id == event.exec_id]
        return next(iter(same_id + same_exec_id), None)

    def position_of(self, event: Fill | Close) -> _Position:
        """An empty one where it is not remembered."""
        return self.bandits.get(event.bandit_id, _Bandit()).positions.get(event.position_id, _Position())

    def refusal(self, event: Fill | Close) -> str:
        bandit = self.bandits.get(event.bandit_id, _Bandit())
        if not _is_id(event.bandit_id) or "\0" in event.bandit_id:
            return "VALIDATION"
        if self.registered is not None and event.bandit_id not in self.registered:
            return "UNKNOWN_BANDIT"
        if isinstance(event, Fill):
            problem = _fill_problem(event, bandit.arms or self.arms, bandit.changed)
        else:
            problem = _close_problem(event)
        if problem:
            return problem
        watermark = bandit.fill_watermark if isinstance(event, Fill) else bandit.close_watermark
        if watermark is not None and event.ts_event < watermark - self.limits.dedupe_window_micros:
            return "LATE"
        is_new = event.position_id not in bandit.positions
        if is_new and bandit.forgotten_until is not None and event.ts_event <= bandit.forgotten_until:
            return "LATE"
        position = self.position_of(event)
        if isinstance(event, Close):
            return "VALIDATION" if position.final_close_id else self.refusal_of_a_new_position(is_new)
        if position.refuses(event):
            return "VALIDATION"
        if len(position.fills) + len(position.closes()) >= self.limits.max_events_per_position:
            return "LIMIT"
        if not bandit.arms and sum(bool(each.arms) for each in self.bandits.values()) >= self.limits.max_bandits:
            return "LIMIT"
        opens = position.open() <= 0 < position.open() + units(event.quantity) and not position.final_close_id
        positions = [each for one in self.bandits.values() for each in one.positions.values()]
        if opens and sum(each.open() > 0 for each in positions) >= self.limits.max_open_positions:
            return "LIMIT"
        return self.refusal_of_a_new_position(is_new)

    def refusal_of_a_new_position(self, is_new: bool) -> str:
        """Only where the memory is full of what is not finished."""
        is_full = is_new and self.position_count() >= self.limits.max_positions_remembered
        return "LIMIT" if is_full and not any(bandit.finished() for bandit in self.bandits.values()) else ""

    def position_count(self) -> int:
        return sum(len(bandit.positions) for bandit in self.bandits.values())

    # What it does then.

    def accept(self, index: int, event: Fill | Close) -> None:
        bandit = self.bandits.get(event.bandit_id, _Bandit())
        self.bandits[event.bandit_id] = bandit
        bandit.see(event, self.limits.trades_share_topic)
        position = bandit.positions.setdefault(event.position_id, _Position())
        if isinstance(event, Fill):
            bandit.arms = bandit.arms or list(self.arms)
            position.add_fill(event)
        else:
            position.closed.append(_Stretch(units(event.quantity), event, index, event.ts_event))
            position.final_close_id = event.event_id if event.final else ""
        if position.final_close_id and position.open() > 0:
            position.closed.append(_Stretch(position.open(), None, index, event.ts_event))
        self.realise(index, event, bandit, position)
        position.note_done()

    def realise(self, index: int, event: Fill | Close, bandit: _Bandit, position: _Position) -> None:
        """Everything newly matched or written off, in first-in-first-out order, becomes a reward."""
        for number, stretch, overlap in list(position.overlaps())[position.realised_count :]:
            segment = _segment(position, number, stretch, overlap, self.limits.max_cost_ratio)
            position.realised_count += 1
            fill = position.fills[number]
            shares = {fill.arm: 1.0} if fill.arm is not None else {a: s for a, s in fill.contributions.items() if s > 0}
            applied = not segment.withheld and not bandit.is_paused and all(arm in bandit.arms for arm in shares)
            counted = applied and not position.counted
            position.counted = position.counted or counted
            version = self.next_version(event.bandit_id)
            self.out.rewards.append(
                ReferenceReward(index, event.bandit_id, version, event.position_id, segment, applied, counted, shares)
            )

    def next_version(self, bandit_id: str) -> int:
        self.out.versions[bandit_id] = self.out.versions.get(bandit_id, 0) + 1
        return self.out.versions[bandit_id]

    # What ends: by the limits on counts, and by time.

    def forget(self, bandit_id: str, position_id: str, is_nothing: bool = False) -> None:
        """And with the last position of a bandit that never had a fill, that bandit. `is_nothing`: never had anything
        in it that could count, so nothing is late by it."""
        bandit = self.bandits[bandit_id]
        ts_last = bandit.positions.pop(position_id).ts_last()
        if not is_nothing:
            bandit.forgotten_until = max(ts_last, bandit.forgotten_until or ts_last)
        if not bandit.arms and not bandit.positions:
            del self.bandits[bandit_id]

    def forget_the_oldest_for(self, bandit_id: str) -> None:
        own = self.bandits.get(bandit_id, _Bandit()).finished()
        if own:
            self.forget(bandit_id, own[0][1])
            return
        held = {name: bandit.finished() for name, bandit in self.bandits.items() if bandit.finished()}
        _, _, fullest, oldest = min((-len(each), each[0][0], name, each[0][1]) for name, each in held.items())
        self.forget(fullest, oldest)

    def give_up_the_oldest_waiting(self, cause: int) -> None:
        waiting = [
            (close.ts_event, bandit_id, position_id, close.event_id)
            for bandit_id, bandit in self.bandits.items()
            for position_id, position in bandit.positions.items()
            for _, close, _ in position.waiting()
        ]
        if len(waiting) > self.limits.max_waiting_closes:
            _, bandit_id, position_id, event_id = min(waiting)
            self.give_up(cause, bandit_id, position_id, event_id, "LIMIT")
            if bandit_id in self.bandits:
                self.forget_finished(bandit_id)

    def give_up(self, cause: int, bandit_id: str, position_id: str, event_id: str, error_class: str) -> None:
        """A close waits no more: what is left of it is a dead letter."""
        position = self.bandits[bandit_id].positions[position_id]
        stretch, left = next((s, left) for s, close, left in position.waiting() if close.event_id == event_id)
        stretch.size -= left
        self.out.dead_letters.append(ReferenceDeadLetter(cause, stretch.index, error_class, float(left * UNIT)))
        position.note_done()
        if not self.bandits[bandit_id].arms and position.is_flat():
            self.forget(bandit_id, position_id, is_nothing=True)

    def forget_finished(self, bandit_id: str) -> None:
        bandit = self.bandits[bandit_id]
        floor = bandit.floor()
        for ts_last, position_id in bandit.finished():
            if floor is not None and ts_last + self.limits.dedupe_window_micros < floor:
                self.forget(bandit_id, position_id)

    def end_what_is_due(self, cause: int, bandit_id: str) -> None:
        """By time, and then what there is no room for: what time ends makes room."""
        bandit, limits = self.bandits[bandit_id], self.limits
        now, patience = bandit.fill_watermark, limits.orphan_ttl_micros
        if now is None:
            now, patience = bandit.close_watermark, limits.dedupe_window_micros
        orphans = [
            (close.ts_event, close.event_id, position_id)
            for position_id, position in bandit.positions.items()
            for _, close, _ in position.waiting()
            if now is not None and close.ts_event + patience < now
        ]
        for _, event_id, position_id in sorted(orphans):
            self.give_up(cause, bandit_id, position_id, event_id, "ORPHAN_CLOSE")
        self.give_up_the_oldest_waiting(cause)
        if bandit_id in self.bandits:
            self.forget_finished(bandit_id)
        floor = bandit.floor()
        for ts_last, position_id, position in bandit.by_age():
            if not position.is_flat() and floor is not None and ts_last + limits.max_holding_micros < floor:
                self.forget(bandit_id, position_id)
                self.out.dead_letters.append(ReferenceDeadLetter(cause, None, "LIMIT"))
        if self.position_count() > limits.max_positions_remembered:
            self.forget_the_oldest_for(bandit_id)

    def obey(self, index: int, command: Command) -> None:
        bandit = self.bandits.get(command.bandit_id, _Bandit())
        if not bandit.arms:
            self.bury(index, "UNKNOWN_BANDIT")
            return
        if command.command_id in bandit.command_ids:
            self.out.duplicates.append(index)
            return
        bandit.command_ids.append(command.command_id)
        outcome = "APPLIED" if _is_obeyed(bandit, command) else "REFUSED"
        version = self.next_version(command.bandit_id)
        if outcome == "APPLIED" and command.action in ("ADD_ARM", "REMOVE_ARM"):
            bandit.changed = version
        self.out.commands.append(ReferenceCommand(index, command.bandit_id, version, command.command_id, outcome))


def _is_obeyed(bandit: _Bandit, command: Command) -> bool:
    arm = command.arm or ""
    if command.action == "ADD_ARM" and arm not in bandit.arms:
        bandit.arms.append(arm)
    elif command.action == "REMOVE_ARM" and arm in bandit.arms and len(bandit.arms) > 2:
        bandit.arms.remove(arm)
    elif command.action in ("PAUSE", "RESUME") and bandit.is_paused == (command.action == "RESUME"):
        bandit.is_paused = not bandit.is_paused
    else:
        return command.action == "RESET"
    return True


def _segment(
    position: _Position, number: int, stretch: _Stretch, size: int, max_cost_ratio: float = 10.0
) -> ReferenceSegment:
    """One overlap: net reward over notional, both of one unit, as everything is shared out by quantity.

    net      = sign (close.price - fill.price) multiplier - fill.fees / fill.quantity
               - (close.fees + close.slippage) / close.quantity
    notional = the fill's own, else fill.price multiplier
    """
    fill, close = position.fills[number], stretch.close
    quantity = float(size * UNIT)
    weight = float(position.weights[number] * Fraction(size, units(fill.quantity)))
    ts_event = max(fill.ts_event, stretch.ts_event)
    if close is None:
        said = f"written off: close {position.final_close_id!r} was final"
        return ReferenceSegment(fill.event_id, position.final_close_id, quantity, 0.0, weight, ts_event, withheld=said)
    notional = exact(fill.price) * exact(fill.multiplier) if fill.notional is None else exact(fill.notional)
    slippage = 0.0 if close.slippage_in_price else close.slippage
    move = (exact(close.price) - exact(fill.price)) * exact(fill.multiplier) * (1 if fill.side == "BUY" else -1)
    fees = exact(fill.fees) / exact(fill.quantity)
    charged = (exact(close.fees) + exact(slippage)) / exact(close.quantity)
    costs = abs(fees) + (abs(exact(close.fees)) + abs(exact(slippage))) / exact(close.quantity)
    reward_bps = (move - fees - charged) / notional * 10_000
    scale_bps = (
        ((abs(exact(close.price)) + abs(exact(fill.price))) * exact(fill.multiplier) + costs) / notional * 10_000
    )
    withheld = ""
    if abs(reward_bps) > MAX_REWARD_BPS or not exact(1e-300) <= notional * exact(quantity) <= exact(LARGEST):
        withheld, reward_bps = "unlearnable", Fraction(2 * MAX_REWARD_BPS)
    elif costs > exact(max_cost_ratio) * notional:
        withheld = "costs"
    return ReferenceSegment(
        fill.event_id,
        close.event_id,
        quantity,
        float(reward_bps) if abs(reward_bps) <= MAX_REWARD_BPS else math.inf * (1 if reward_bps > 0 else -1),
        weight,
        ts_event,
        float(min(scale_bps, Fraction(10) ** 300)),
        withheld,
    )


def _content(event: Fill | Close) -> tuple[object, ...]:
    if isinstance(event, Fill):
        return event.quantity, event.price, event.fees, event.side, event.notional
    slippage = 0.0 if event.slippage_in_price else event.slippage
    return event.quantity, event.price, event.fees, slippage, event.final


def _is_another_decision(decision: Fill, fill: Fill) -> bool:
    if any(_differ(getattr(decision, name), getattr(fill, name)) for name in DECISION):
        return True
    return fill.order_quantity is None or decision.order_quantity is None


def _differ(one: object, other: object) -> bool:
    """NaN is as NaN is."""
    return one != other and (one == one or other == other)  # noqa: PLR0124 - so one asks for NaN of any type


def _is_id(name: str) -> bool:
    return 1 <= len(name.encode()) <= 200


def _is_positive(*numbers: float) -> bool:
    return all(0 < number <= LARGEST for number in numbers)


def _close_problem(close: Close) -> str:
    """The dead letter's class for a close that no state could take."""
    finite = (close.fees, close.slippage)
    is_fine = (
        _is_id(close.event_id)
        and _is_id(close.position_id)
        and close.exec_type == "TRADE"
        and _is_positive(close.quantity)
        and abs(close.price) <= LARGEST
        and all(map(math.isfinite, finite))
    )
    return "" if is_fine else "VALIDATION"


def _fill_problem(fill: Fill, arms: Sequence[str], changed: int) -> str:
    """The dead letter's class for a fill that no state could take; `arms` are the bandit's, and last `changed` at that
    version."""
    positive = [fill.quantity, fill.multiplier, fill.price if fill.notional is None else fill.notional]
    positive += [] if fill.order_quantity is None else [fill.order_quantity]
    shares = fill.contributions
    is_fine = (
        _is_id(fill.event_id)
        and _is_id(fill.position_id)
        and fill.exec_type == "TRADE"
        and fill.side in ("BUY", "SELL")
        and _is_positive(*positive)
        and abs(fill.price) <= LARGEST
        and math.isfinite(fill.fees)
        and (fill.propensity is None or MIN_PROPENSITY <= fill.propensity <= 1)
        and (fill.arm is None) == bool(shares)
        and all(math.isfinite(share) and share >= 0 for share in shares.values())
    )
    if not is_fine:
        return "VALIDATION"
    if any(arm not in arms for arm in (shares or [fill.arm])):
        return "UNKNOWN_ARM"
    if shares and not 0 < sum(map(exact, shares.values())) <= 1 + Fraction(1, 10**6):
        return "VALIDATION"
    problem = _signals_problem(fill, arms, changed) if fill.signals else ""
    if problem:
        return problem
    return "UNKNOWN_EXPERT" if fill.advice else ""


def _signals_problem(fill: Fill, arms: Sequence[str], changed: int) -> str:
    """The first that there is: of a name in their order, and then of what was traded."""
    is_newest = fill.weights_version is None or fill.weights_version >= changed
    for arm, signal in fill.signals.items():
        if signal == "UNKNOWN":
            return "VALIDATION"
        if arm not in arms and is_newest:
            return "UNKNOWN_ARM"
    if fill.arm is not None:
        is_fine = fill.signals.get(fill.arm) == fill.side
    else:
        is_fine = not any(fill.contributions.get(arm) for arm, signal in fill.signals.items() if signal == "FLAT")
    return "" if is_fine else "VALIDATION"
