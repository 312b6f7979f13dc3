"""A bandit's audit records by the formulas, from a state before a vector to the vector.

Law: a record's numbers are compared before the next one is looked at. The first that differs ends it, and so does the
first for which something is deleted; what was worked out until then stands.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from armstream.events import CommandApplied, Reward
from armstream.explain.audit import Entry
from armstream.explain.facts import Moved
from armstream.explain.inputs import Behind, Inputs
from armstream.explain.states import Base, Vector, why_unknown
from armstream.oracle.bandit import WARMING_UP, BanditOracle, Laws
from armstream.oracle.comparison import Difference, is_near
from armstream.oracle.formula import Formula, Taught
from armstream.oracle.matching import Segment, exact
from armstream.oracle.position import Position, decision_of
from armstream.oracle.settings import told
from armstream.oracle.steps import Step
from armstream.rules import formula_of
from armstream.stages.facts import SETTINGS_CHANGE
from armstream.verify.published import settings_changed

_LEAST_SHOWN = 5e-7  # of a weight, that it moved by
_WRITTEN_OFF = "written off: "


class Missing(Exception):
    """What a record is of is deleted; the text says what."""


class Reading(NamedTuple):
    """What the state comes to: weight and probability by arm, weight by expert."""

    arms: Mapping[str, tuple[float, float]]
    experts: Mapping[str, float]
    total_steps: int
    eta: float
    bound_bps: float | None


class Lesson(NamedTuple):
    """What one audit record did."""

    steps: tuple[Step, ...]
    moved: tuple[Moved, ...]


@dataclass(slots=True)
class Replayed:
    """`lessons` by version; one of `difference` and `missing` at most."""

    before: Reading | None = None
    after: Reading | None = None
    lessons: dict[int, Lesson] = field(default_factory=dict)
    reading: tuple[Step, ...] = ()
    difference: Difference | None = None
    missing: str = ""


class Replay:
    """`earlier` are the parts of decisions that stand before the base, by position, the oldest first."""

    def __init__(
        self,
        bandit_id: str,
        base: Base,
        inputs: Inputs,
        vectors: Mapping[int, Vector],
        earlier: Mapping[str, Sequence[Entry]],
        require_patience: Callable[[], None],
    ) -> None:
        self._base = base
        self._inputs = inputs
        self._vectors = vectors
        self._earlier = earlier
        self._require_patience = require_patience
        self._positions: dict[str, Position] = {}
        self._first = 0  # version that is told
        self._oracle = BanditOracle(bandit_id, told(base.settings), Laws(0, inf), formula_of)

    def run(self, entries: Sequence[Entry], first: int) -> Replayed:
        """All records from the base to the vector, of which those from version `first` on are told."""
        replayed, cut, self._first = Replayed(), None, first
        if self._base.snapshot is None:
            self._oracle.begin()
        else:
            self._oracle.restore(self._base.snapshot)
        try:
            for entry in entries:
                self._require_patience()
                if entry.version == first:
                    self._compare_vector(first - 1)
                    replayed.before = self._read()
                if entry.event.cut != cut:
                    self._oracle.note_bound()
                    cut = entry.event.cut
                if entry.version < first:
                    self._follow(entry)
                else:
                    replayed.lessons[entry.version] = self._tell(entry)
            replayed.after = self._read()
            replayed.reading = tuple(self._formula.reading_steps())
            self._compare_vector(entries[-1].version)
        except Difference as difference:
            replayed.difference = difference
        except Missing as missing:
            replayed.missing = str(missing)
        return replayed

    @property
    def _formula(self) -> Formula:
        assert self._oracle.formula is not None  # it was restored, or begun
        return self._oracle.formula

    def _read(self) -> Reading:
        formula = self._formula
        weights = formula.weights()
        read = zip(weights, formula.probabilities(weights), strict=True)
        experts = {one.name: one.weight for one in formula.experts()}
        return Reading(
            dict(zip(formula.arms, read, strict=True)), experts, formula.total_steps, formula.eta, formula.bound_bps
        )

    def _compare_vector(self, version: int) -> None:
        published = self._vectors.get(version)
        if published is not None:
            self._oracle.check_vector(published.where, published.vector)

    def _tell(self, entry: Entry) -> Lesson:
        before = self._read()
        steps = self._follow(entry)
        after = self._read()
        return Lesson(tuple(steps), tuple(_moved(before, after)))

    def _follow(self, entry: Entry) -> list[Step]:
        if isinstance(entry.event, CommandApplied):
            self._obey(entry, entry.event)
            return []
        if not entry.event.applied:
            self._withhold(entry, entry.event)
            return []
        return self._learn(entry, entry.event)

    # Commands.

    def _obey(self, entry: Entry, applied: CommandApplied) -> None:
        if applied.command_id == SETTINGS_CHANGE:
            before, after = settings_changed(entry.where, applied)
            unknown = why_unknown(before) or why_unknown(after)
            if unknown:
                raise Missing(unknown)
            self._oracle.begin_anew(entry.where, applied.version, before, after)
        elif applied.outcome == "APPLIED":
            command = self._inputs.command(applied)
            if command is None:
                raise Missing(f"command {applied.command_id!r} is deleted")
            self._oracle.obey(applied, command)

    # Rewards.

    def _withhold(self, entry: Entry, reward: Reward) -> None:
        """What earned it does not matter to the state, and is compared where it is kept."""
        behind = self._inputs.behind(reward)
        if behind.fill is not None and behind.close is not None:
            self._oracle.compare(entry.where, reward, self._position(reward, behind), _segment(reward, behind))
        elif reward.detail == WARMING_UP and self._formula.is_warming:
            self._formula.warm_up(reward.reward_bps)

    def _learn(self, entry: Entry, reward: Reward) -> list[Step]:
        behind = self._inputs.behind(reward)
        missing = why_missing(reward, behind)
        if missing:
            raise Missing(missing)
        position, segment = self._position(reward, behind), _segment(reward, behind)
        before: Formula | None = None
        if entry.version >= self._first and segment.close is not None and _arms_of(position) <= set(self._formula.arms):
            before, evidence = deepcopy(self._formula), self._oracle.evidence(reward, position, segment)
        self._oracle.compare(entry.where, reward, position, segment)
        if before is None:
            return []
        steps = before.steps(evidence)
        _require_said(entry.where, steps, before, before.learn(evidence))
        return steps

    def _position(self, reward: Reward, behind: Behind) -> Position:
        """One that counts once more was forgotten meanwhile, and is another one."""
        position = self._positions.get(reward.position_id)
        if position is None or (reward.counted and position.counted):
            position = self._positions[reward.position_id] = self._begun(reward)
        assert behind.fill is not None  # it was looked at
        position.decision = decision_of(behind.fill)
        return position

    def _begun(self, reward: Reward) -> Position:
        """Before the base, where a part that is applied does not count."""
        position = Position()
        position.counted = reward.applied and not reward.counted
        if position.counted and self._formula.keeps_terms and reward.position_id not in self._earlier:
            raise Missing(f"the earlier parts of position {reward.position_id!r} are deleted")
        for entry in self._earlier.get(reward.position_id, ()):
            if not isinstance(entry.event, Reward):
                raise Missing(f"settings changed in version {entry.version}, between two parts of a decision")
            for name, (term, scale) in self._formula.terms_in(entry.event).items():
                was, largest = position.terms.get(name, (0.0, 0.0))
                position.terms[name] = was + term, max(largest, abs(was + term), scale)
        return position


def why_missing(reward: Reward, behind: Behind) -> str:
    """What a reward is of, and is deleted; "" where it is kept."""
    lacking = [f"fill {reward.fill_event_id!r}"] if behind.fill is None else []
    lacking += [f"close {reward.close_event_id!r}"] if behind.close is None else []
    return f"{' and '.join(lacking)} of position {reward.position_id!r} {_verb(lacking)} deleted" if lacking else ""


def _verb(lacking: list[str]) -> str:
    return "are" if len(lacking) > 1 else "is"


def _segment(reward: Reward, behind: Behind) -> Segment:
    """As the record has it: what was matched, verify derives."""
    assert behind.fill is not None  # it was looked at
    close = None if reward.detail.startswith(_WRITTEN_OFF) else behind.close
    quantity, quantity_scale = exact(reward.quantity), behind.fill.quantity
    return Segment(
        behind.fill, close, reward.close_event_id, quantity, quantity_scale, reward.weight, 1.0, reward.ts_event
    )


def _arms_of(position: Position) -> set[str]:
    decision = position.decision
    assert decision is not None  # a fill brought it
    if decision.arm is not None:
        return {decision.arm}
    return {name for name, share in decision.contributions.items() if share}


def _require_said(where: str, steps: Sequence[Step], formula: Formula, taught: Taught) -> None:
    """What is shown comes to what was compared. Raises Difference."""
    said = {step.of: step.value for step in steps if step.name == "estimate"}
    for lesson in taught.lessons if steps else ():
        name = formula.arms[lesson.arm]
        if not is_near(lesson.estimate, said.get(name, inf), lesson.estimate_scale):
            raise Difference(where, f"estimate of {name!r} {lesson.estimate!r}", f"{said.get(name)!r}, as it is shown")


def _moved(before: Reading, after: Reading) -> list[Moved]:
    """The largest move first."""
    moved = []
    for name in {**before.arms, **after.arms}:
        was, now = (read.arms[name][0] if name in read.arms else None for read in (before, after))
        if was is None or now is None or abs(now - was) >= _LEAST_SHOWN:
            moved.append(Moved(name, was, now))
    return sorted(moved, key=lambda one: -abs((one.after or 0.0) - (one.before or 0.0)))
