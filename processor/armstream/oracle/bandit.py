"""One bandit by the formulas: its time, its positions, its learner, and what each audit record, vector and snapshot
must say.

Law: which events were accepted comes from whoever asks; what they come to does not. Every event tells what time it is,
and what is old by then is forgotten before the event is looked at: whoever asks begins it anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from armstream.events import (
    BanditSnapshot,
    Close,
    Command,
    CommandApplied,
    DecisionSnapshot,
    Fill,
    PositionPage,
    PositionSnapshot,
    Reward,
    Side,
    WeightVector,
)
from armstream.oracle.comparison import TOLERANCE, Difference, Row, require
from armstream.oracle.feedback import RewardOf, asleep_by, groups_of, seen_by_blend, seen_by_draw
from armstream.oracle.formula import NOTHING_LOGGED, Evidence, Formula, Logged, Settings, Sized, Taught
from armstream.oracle.matching import MAX_REWARD_BPS, Part, Segment, cost_ratio_of, mirror_of, reward_of
from armstream.oracle.memory import Memory, TaskMemory
from armstream.oracle.position import NEVER, Position
from armstream.oracle.settings import difference, told

WARMING_UP = "the reward bound is not found yet"  # the reason of a reward that goes into finding it
EARLIEST_MICROS = 631_152_000_000_000  # 1990: an event from before it tells no time

_SUM_TOLERANCE = 5e-7  # of logged probabilities


@dataclass(frozen=True, slots=True)
class Laws:
    """What of a task's settings decides what its events come to."""

    dedupe_window_micros: int
    max_cost_ratio: float = 10.0
    trades_share_topic: bool = True


class BanditOracle:
    """`settings` are those that its first fill makes a learner from, by `formula_of`: until then `formula` is None."""

    def __init__(
        self,
        bandit_id: str,
        settings: Settings,
        laws: Laws,
        formula_of: Callable[[Settings], Formula],
        memory: Memory | None = None,
    ) -> None:
        self.bandit_id = bandit_id
        self.settings = settings
        self.laws = laws
        self._formula_of = formula_of
        self.formula: Formula | None = None
        self.paused = False
        self.choices_version = 1  # that of the last change of arms or experts
        self.added_versions: dict[str, int] = {}
        self.memory = TaskMemory(0).of(bandit_id) if memory is None else memory
        self.fill_watermark = self.close_watermark = NEVER
        self.realised = 0  # events of which nothing is left
        self._was_warming = False

    # What comes in.

    def tell_time(self, event: Fill | Close) -> None:
        """Any event of it that could be decoded, before it is looked at: one that is refused or known too."""
        if event.ts_event < EARLIEST_MICROS:
            return
        if isinstance(event, Fill) or self.laws.trades_share_topic:
            self.fill_watermark = max(self.fill_watermark, event.ts_event)
        if isinstance(event, Close) or self.laws.trades_share_topic:
            self.close_watermark = max(self.close_watermark, event.ts_event)
        self.forget_old()

    def forget_old(self) -> None:
        """What is finished and a dedupe_window behind the smaller watermark; before any fill, behind that of closes."""
        has_fill_time = self.fill_watermark != NEVER
        floor = min(self.fill_watermark, self.close_watermark) if has_fill_time else self.close_watermark
        self.memory.forget_before(floor - self.laws.dedupe_window_micros)

    def accept(self, event: Fill | Close) -> tuple[Position, list[Segment]]:
        """Its position, what it realises and what is written off with it; its time was told."""
        position = self.memory.get(event.position_id) or Position()
        if isinstance(event, Fill) and self.formula is None:
            self.begin()
        self.note_bound()
        part_count = position.part_count + 1
        segments = position.accept(event)
        self.realised += part_count - position.part_count
        self.memory.note(event.position_id, position)
        return position, segments

    def begin(self) -> Formula:
        """As the first fill does."""
        self._make_learner(0)
        assert self.formula is not None  # it was just made
        return self.formula

    def note_bound(self) -> None:
        """Before an event: whether its rewards go into finding the bound."""
        self._was_warming = self.formula is not None and self.formula.is_warming

    def drop_close(self, position_id: str, event_id: str) -> Part[Close] | None:
        """The wait of a close has ended. Without a learner, a position is nothing but its closes that wait."""
        position = self.memory.get(position_id)
        part = None if position is None else position.drop_close(event_id)
        if position is not None and part is not None:
            self.memory.note(position_id, position)
            if self.formula is None and not position.part_count:
                self.memory.forget(position_id, raises=False)
        return part

    @property
    def is_gone(self) -> bool:
        """Nothing was learned, and nothing waits."""
        return self.formula is None and not len(self.memory)

    # Audit records.

    def compare(self, where: str, reward: Reward, position: Position, segment: Segment) -> None:
        """Raises Difference unless the reward is what the segment earned, and what that taught."""
        formula, decision = self.formula, position.decision
        assert formula is not None  # a fill was accepted
        assert decision is not None
        shares = _shares_of(decision)
        is_here = shares.keys() <= set(formula.arms)
        is_legal = is_here and not (self.paused or self._was_warming or formula.withholds(decision))
        is_legal = self._compare_segment(where, reward, segment) and is_legal
        rows: list[Row] = [
            ("applied", reward.applied, reward.applied and is_legal),
            ("counted", reward.counted, reward.applied and not position.counted),
        ]
        require(where, rows)
        position.counted = position.counted or reward.counted
        if reward.applied:
            taught = formula.learn(self.evidence(reward, position, segment))
            self._compare_lessons(where, reward, formula.arms, taught)
            position.terms = dict(taught.terms) or position.terms
        elif reward.detail == WARMING_UP and formula.is_warming:
            formula.warm_up(reward.reward_bps)
        require(where, [("total_steps", reward.total_steps, formula.total_steps)])

    def _compare_segment(self, where: str, reward: Reward, segment: Segment) -> bool:
        """Whether a learner may take such a reward."""
        fill, close = segment.fill, segment.close
        events = fill.event_id, segment.close_event_id
        rows: list[Row] = [
            ("its events", (reward.fill_event_id, reward.close_event_id), events),
            ("quantity", reward.quantity, float(segment.quantity), segment.quantity_scale),
            ("weight", reward.weight, segment.weight, segment.weight_scale),
            ("ts_event", reward.ts_event, segment.ts_event),
        ]
        if close is None:
            rows.append(("reward_bps", reward.reward_bps, 0.0))
            rows.append(("detail", reward.detail, f"written off: close {segment.close_event_id!r} was final"))
            require(where, rows)
            return False
        reward_bps, scale = reward_of(fill, close, reward.quantity)
        require(where, [*rows, ("reward_bps", reward.reward_bps, reward_bps, scale)])
        is_cheap = cost_ratio_of(fill, close) <= self.laws.max_cost_ratio * (1 + TOLERANCE)
        return is_cheap and -MAX_REWARD_BPS <= reward_bps <= MAX_REWARD_BPS

    def evidence(self, reward: Reward, position: Position, segment: Segment) -> Evidence:
        """What the learner takes: the published reward, which was compared before, and what was logged of its
        decision."""
        formula, decision, close = self.formula, position.decision, segment.close
        assert formula is not None  # a fill was accepted
        assert decision is not None  # a fill brought it
        assert close is not None  # nothing is learned of what is written off
        reward_bps, side = reward.reward_bps, segment.fill.side

        def earned(is_same_side: bool) -> Sized:
            return (reward_bps, 0.0) if is_same_side else mirror_of(segment.fill, close, reward_bps)

        if decision.arm is None:
            arm, shares = None, {formula.arms.index(name): share for name, share in _shares_of(decision).items()}
            logged = self._blended(formula, decision, shares, side, earned)
        else:
            arm, shares = formula.arms.index(decision.arm), {}
            logged = self._drawn(formula, decision, arm, side, earned)
        logged = logged._replace(terms=position.terms)
        return Evidence(arm, shares, reward_bps, reward.weight, reward.counted, logged)

    def _drawn(self, formula: Formula, decision: DecisionSnapshot, arm: int, side: Side, earned: RewardOf) -> Logged:
        """The decision's whole distribution, where what was logged is one over today's arms; else its propensity alone.
        Arms that came after the vector that it was made from could not be drawn, nor those of probability 0 or without
        a view. What the draw reveals beside its own arm, it does where all of that is known."""
        p, signals, probabilities = decision.propensity, decision.signals, decision.probabilities
        silent, is_whole = asleep_by(signals, formula.arms), self._is_whole(formula, decision, arm)
        zeros = [at for at, chance in enumerate(probabilities) if chance == 0.0] if is_whole else []
        asleep = sorted({*self._later(formula, decision), *silent, *zeros} - {arm})
        if not is_whole or any(probabilities[at] for at in silent):  # else it is not that of this decision
            return Logged(p, asleep=asleep, advice=decision.advice)
        whole = Logged(p, probabilities, decision.eta, asleep, decision.advice)
        if not signals or self.settings["feedback"] == "drawn":
            return whole._replace(chances=tuple((chance, chance) for chance in probabilities))
        groups = groups_of(self.settings, formula.arms, signals, asleep)
        views = [signals.get(name) for name in formula.arms]
        seen, chances = seen_by_draw(groups, arm, probabilities, views, side, earned)
        return whole._replace(seen=seen, chances=chances)

    def _blended(
        self,
        formula: Formula,
        decision: DecisionSnapshot,
        shares: Mapping[int, float],
        side: Side,
        earned: RewardOf,
    ) -> Logged:
        """What a blend reveals where it needs no draw for that: all arms that had a view, of the horizons in it."""
        signals = decision.signals
        if not signals or self.settings["feedback"] != "both":
            return NOTHING_LOGGED
        groups = groups_of(self.settings, formula.arms, signals, self._later(formula, decision))
        if self.settings["arm_mode"] == "family_horizon":
            held = {groups[at] for at, share in shares.items() if share}
            groups = [group if group in held else None for group in groups]
        views = [signals.get(name) for name in formula.arms]
        seen, chances = seen_by_blend(groups, shares, views, side, earned)
        asleep = [at for at, group in enumerate(groups) if group is None]
        return Logged(asleep=asleep, seen=seen, chances=chances)

    def _later(self, formula: Formula, decision: DecisionSnapshot) -> list[int]:
        """Arms that came after the vector that the decision was made from; version 0 is before any, and nobody knows
        where it does not say."""
        version = decision.weights_version
        if version is None or max(version, 1) >= self.choices_version:
            return []
        return [at for at, name in enumerate(formula.arms) if self.added_versions[name] > max(version, 1)]

    def _is_whole(self, formula: Formula, decision: DecisionSnapshot, arm: int) -> bool:
        """Whether what was logged is a distribution over today's arms, with its rate, that gives `arm` its
        propensity."""
        p, eta, version, probabilities = (
            decision.propensity,
            decision.eta,
            decision.weights_version,
            decision.probabilities,
        )
        return (
            eta is not None
            and p is not None
            and 1e-9 <= eta < 1e6
            and (1 if version is None else version) >= self.choices_version
            and len(probabilities) == formula.count
            and all(0 <= one <= 1 for one in probabilities)
            and abs(float(sum(map(Fraction, probabilities))) - 1) <= _SUM_TOLERANCE
            and abs(probabilities[arm] - p) <= _SUM_TOLERANCE * p
        )

    @staticmethod
    def _compare_lessons(where: str, reward: Reward, arms: Sequence[str], taught: Taught) -> None:
        shares = [(arms[lesson.arm], lesson.share) for lesson in taught.lessons]
        require(where, [("arms", [(arm.name, arm.share) for arm in reward.arms], shares)])
        rows: list[Row] = [
            ("propensity_source", reward.propensity_source, taught.propensity_source),
            ("eta", reward.eta, taught.eta, 0.0),
        ]
        for arm, lesson in zip(reward.arms, taught.lessons, strict=True):
            rows.append((f"propensity of {arm.name!r}", arm.propensity, lesson.propensity, 0.0))
            rows.append((f"estimate of {arm.name!r}", arm.estimate, lesson.estimate, lesson.estimate_scale))
        require(where, rows)

    # Commands.

    def obey(self, applied: CommandApplied, command: Command) -> None:
        """What a command that was applied changes."""
        formula = self.formula
        assert formula is not None  # no bandit obeys before its first fill
        name, number = command.choice or "", 1.0 if command.number is None else command.number
        if applied.action in ("PAUSE", "RESUME"):
            self.paused = applied.action == "PAUSE"
        elif applied.action == "RESET":
            formula.reset()
        elif applied.action == "SET_BOUND":
            formula.set_bound(number)
        elif applied.action == "ADD_ARM":
            formula.add_arm(name, number)
            self.added_versions[name] = applied.version
        elif applied.action == "REMOVE_ARM":
            formula.remove_arm(name)
        elif applied.action == "ADD_EXPERT":
            formula.add_expert(name, number)
        else:
            formula.remove_expert(name)
        if applied.action.startswith(("ADD_", "REMOVE_")):
            self.choices_version = applied.version

    def begin_anew(self, where: str, version: int, before: str, after: str) -> None:
        """A change of settings, as its audit record tells them. Raises Difference."""
        if self.formula is not None:
            self._compare_settings(f"{where}, settings_before", before)
        self.settings = told(after)
        self._make_learner(version)

    def _make_learner(self, version: int) -> None:
        self.formula = self._formula_of(self.settings)
        self.choices_version = max(version, 1)
        self.added_versions = dict.fromkeys(self.formula.arms, self.choices_version)

    def _compare_settings(self, where: str, published: str) -> None:
        theirs, ours = difference(told(published), self.settings)
        if theirs:
            raise Difference(where, f"settings with {theirs}", ours)

    # What is published of it.

    def check_vector(self, where: str, vector: WeightVector) -> None:
        """Raises Difference unless the formulas give these weights."""
        formula = self.formula
        assert formula is not None  # its version advanced
        weights = formula.weights()
        require(where, [("arms", [arm.name for arm in vector.arms], formula.arms)])
        rows: list[Row] = [
            ("gamma", vector.gamma, formula.gamma, 0.0),
            ("eta", vector.eta, formula.eta, 0.0),
            ("reward_bound_bps", vector.reward_bound_bps, formula.bound_bps or 0.0, 0.0),
            ("total_steps", vector.total_steps, formula.total_steps),
        ]
        for arm, weight, probability in zip(vector.arms, weights, formula.probabilities(weights), strict=True):
            rows.append((f"weight of arm {arm.name!r}", arm.weight, weight, 0.0))
            rows.append((f"probability of arm {arm.name!r}", arm.probability, probability, 0.0))
        require(where, rows)
        experts = formula.experts()
        require(where, [("experts", [one.name for one in vector.experts], [one.name for one in experts])])
        for expert, ours in zip(vector.experts, experts, strict=True):
            at = f"{where}, expert {expert.name!r}"
            require(at, [("weight", expert.weight, ours.weight, 0.0)])
            _require_sized(at, "distribution", expert.distribution, [(share, 0.0) for share in ours.says])

    def check_snapshot(self, where: str, snapshot: BanditSnapshot) -> None:
        """Raises Difference unless the formulas come to this state. A sum's scale is the largest that it ever was."""
        formula = self.formula
        times: list[Row] = [
            ("fill_watermark", snapshot.fill_watermark, _time(self.fill_watermark)),
            ("close_watermark", snapshot.close_watermark, _time(self.close_watermark)),
            ("forgotten_until", snapshot.forgotten_until, _time(self.memory.forgotten_until)),
        ]
        require(where, times)
        require(where, [("arms", [arm.name for arm in snapshot.arms], [] if formula is None else formula.arms)])
        if formula is None:
            return
        self._compare_settings(where, snapshot.settings)
        totals: list[Row] = [
            ("total_steps", snapshot.total_steps, formula.total_steps),
            ("reward_bound_bps", snapshot.reward_bound_bps, formula.bound_bps, 0.0),
        ]
        require(where, totals)
        warm_up = [(each, 0.0) for each in formula.warm_up_bps]
        _require_sized(where, "warm_up_rewards_bps", snapshot.warm_up_rewards_bps, warm_up)
        for at, (arm, state) in enumerate(zip(snapshot.arms, formula.arm_state(), strict=True)):
            earned, scale = formula.earned_bps[at], formula.largest_earned_bps[at]
            rows: list[Row] = [
                ("pulls", arm.pulls, formula.pulls[at]),
                ("cumulative_reward_bps", arm.cumulative_reward_bps, earned, scale),
                ("added_version", arm.added_version, self.added_versions[arm.name]),
            ]
            require(f"{where}, arm {arm.name!r}", rows)
            _require_sized(f"{where}, arm {arm.name!r}", "state", arm.state, state)
        _require_sized(where, "state", snapshot.state, formula.own_state())
        experts = formula.experts()
        require(where, [("experts", [one.name for one in snapshot.experts], [one.name for one in experts])])
        for expert, ours in zip(snapshot.experts, experts, strict=True):
            at_expert = f"{where}, expert {expert.name!r}"
            _require_sized(at_expert, "state", (expert.state,), [ours.state])
            _require_sized(at_expert, "learned", expert.learned, ours.learned)

    def check_position(self, where: str, snapshot: PositionSnapshot, pages: Sequence[PositionPage]) -> None:
        """Raises Difference unless it is remembered, and exact matching leaves this."""
        position = self.memory.get(snapshot.position_id)
        if position is None:
            raise Difference(where, "a snapshot", "none: it is forgotten")
        position.check(where, snapshot, pages)

    # Going on from snapshots.

    def restore(self, snapshot: BanditSnapshot) -> None:
        """Raises ValueError for settings that none could be."""
        self.fill_watermark = NEVER if snapshot.fill_watermark is None else snapshot.fill_watermark
        self.close_watermark = NEVER if snapshot.close_watermark is None else snapshot.close_watermark
        if self.laws.trades_share_topic:  # an older snapshot may have two
            self.fill_watermark = self.close_watermark = max(self.fill_watermark, self.close_watermark)
        self.memory.forgotten_until = NEVER if snapshot.forgotten_until is None else snapshot.forgotten_until
        self.paused = snapshot.paused
        if snapshot.arms:
            self.settings = told(snapshot.settings)
            self._make_learner(snapshot.version)
            assert self.formula is not None  # it was just made
            self.formula.restore(snapshot)
            self.choices_version = snapshot.choices_version
            self.added_versions = {arm.name: arm.added_version for arm in snapshot.arms}

    def restore_position(self, snapshot: PositionSnapshot, pages: Sequence[PositionPage]) -> None:
        """`pages` are those of the position, in their order."""
        position = Position()
        position.restore(snapshot, pages)
        self.memory.note(snapshot.position_id, position)


def _time(ts_event: int) -> int | None:
    """As a snapshot says it."""
    return None if ts_event == NEVER else ts_event


def _shares_of(decision: DecisionSnapshot) -> dict[str, float]:
    """Arm -> its share, above 0."""
    if decision.arm is not None:
        return {decision.arm: 1.0}
    return {name: share for name, share in decision.contributions.items() if share}


def _require_sized(where: str, name: str, published: Sequence[float], ours: Sequence[tuple[float, float]]) -> None:
    require(where, [(f"how many numbers in {name}", len(published), len(ours))])
    require(where, [(name, theirs, number, scale) for theirs, (number, scale) in zip(published, ours, strict=True)])
