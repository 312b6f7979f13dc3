"""What a rule's oracle is: the rule's published formulas, computed the long way from settings and state alone.

Law: nothing here is shared with what it proves; each number comes with its scale, the size of what it is the sum of.
Arms, counts and the reward bound are alike for all rules; what a decision teaches, each rule says for itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any, NamedTuple

from armstream.events import BanditSnapshot, DecisionSnapshot, PropensitySource, Reward
from armstream.oracle.comparison import TOLERANCE
from armstream.oracle.steps import Step, plus_half, shown, times, total

Sized = tuple[float, float]  # a number and its scale
Settings = Mapping[str, Any]

WARM_UP_REWARDS = 100


class Lesson(NamedTuple):
    """What one reward did to one arm; `estimate_scale` is the size of the terms that the estimate is the sum of."""

    arm: int
    share: float
    propensity: float | None
    estimate: float
    estimate_scale: float


class Taught(NamedTuple):
    """What one reward did: a lesson an arm, in the order of the arms, and the rate used. `terms` are what the decision
    came to by then, by arm name, where the rule asks for that at its next part."""

    lessons: tuple[Lesson, ...]
    eta: float
    propensity_source: PropensitySource
    terms: Mapping[str, Sized] = {}

    def without_draw(self) -> "Taught":
        """The same of a blend, whose arms have no propensity."""
        return self._replace(
            lessons=tuple(lesson._replace(propensity=None) for lesson in self.lessons), propensity_source="NONE"
        )


class Seen(NamedTuple):
    """An arm whose loss was seen: what it earned, with the size of the terms that this is the sum of (0: it was
    published), the probability of seeing it, the probability of playing it, and its share of what was played."""

    arm: int
    reward_bps: float
    scale_bps: float
    chance: float
    played: float
    share: float


class Logged(NamedTuple):
    """What of a decision was logged. `probabilities` and `eta`: only where they are a distribution over today's arms.

    `asleep` are the arms that could not be drawn; `advice` is what each expert gave to the drawn arm.
    `seen` are all arms whose loss the decision revealed, in their order; none: the drawn one, or the blend, alone.
    `chances` are (probability of playing, probability of seeing) each arm awake; none: nobody knows.
    `terms` are what the decision's earlier parts came to, by arm name.
    """

    propensity: float | None = None
    probabilities: tuple[float, ...] = ()
    eta: float | None = None
    asleep: Sequence[int] = ()
    advice: Mapping[str, float] | None = None
    seen: tuple[Seen, ...] = ()
    chances: tuple[tuple[float, float], ...] = ()
    terms: Mapping[str, Sized] = {}


NOTHING_LOGGED = Logged()


class Evidence(NamedTuple):
    """What one reward brings to a learner: of one drawn `arm`, or, where that is None, of the `shares` of a blend."""

    arm: int | None
    shares: Mapping[int, float]
    reward_bps: float
    weight: float
    new_decision: bool
    logged: Logged


class ExpertReading(NamedTuple):
    """One expert: what it weighs, what it says (nothing: only an engine knows), what is kept of it."""

    name: str
    weight: float
    says: Sequence[float]
    state: Sized
    learned: Sequence[Sized]


class Formula(ABC):
    """One bandit's learner. `arms` are those of now, T is `total_steps`, a bound of None is not found yet.

    `settings` are a bandit's whole settings, as armstream.oracle.settings gives them.
    """

    has_bound = True
    bound_bps: float | None
    warm_up_bps: list[float]

    def __init__(self, settings: Settings, arms: Sequence[str]) -> None:
        self.settings = settings
        self.arms = list(arms)
        self._forget_counts()

    @property
    def count(self) -> int:
        return len(self.arms)

    # The bound.

    @property
    def is_warming(self) -> bool:
        return self.has_bound and self.bound_bps is None

    def warm_up(self, reward_bps: float) -> None:
        """B is the 95th percentile of the sizes of the first hundred: s_95 + .05 (s_96 - s_95). One that is nothing is
        none, and the latest hundred are looked at."""
        self.warm_up_bps = [*self.warm_up_bps, self.transformed(reward_bps)][-WARM_UP_REWARDS:]
        if len(self.warm_up_bps) == WARM_UP_REWARDS:
            sizes = sorted(abs(each) for each in self.warm_up_bps)
            percentile = sizes[94] + 0.05 * (sizes[95] - sizes[94])
            if percentile >= 1e-6:
                self.set_bound(percentile)

    def set_bound(self, bound_bps: float) -> None:
        self.bound_bps, self.warm_up_bps = bound_bps, []

    def transformed(self, reward_bps: float) -> float:
        """The reward before it is clipped."""
        return reward_bps

    def loss_above_half(self, reward_bps: float) -> float:
        """loss - 1/2 = (B - clip(reward, -B, B)) / (2 B) - 1/2, without the two halves, which would eat its digits."""
        bound = self.bound_bps
        assert bound is not None  # nothing is learned before it is found
        return -max(-bound, min(bound, self.transformed(reward_bps))) / (2 * bound)

    def signal(self, seen: Seen, weight: float) -> Sized:
        """weight (loss - 1/2) of an arm seen. What is surely clipped has lost nothing on the way."""
        bound = self.bound_bps
        assert bound is not None  # as above
        above = self.loss_above_half(seen.reward_bps)
        is_clipped = abs(self.transformed(seen.reward_bps)) > bound + TOLERANCE * seen.scale_bps
        size = abs(above) if is_clipped else max(abs(above), seen.scale_bps / (2 * bound))
        return weight * above, weight * size

    def reward_steps(self, arm: int, reward_bps: float, is_mirrored: bool) -> list[Step]:
        """What an arm earned, where that is not the reward itself. `is_mirrored`: it had the other view."""
        of, steps = self.arms[arm], []
        if is_mirrored:
            formula = "the other side's: the price's move turned round, less the same costs"
            steps.append(Step("reward", of, formula, shown(reward_bps), reward_bps, "bps"))
        kind, given, reward = self.settings["transform"], self.settings["transform_bps"], shown(reward_bps)
        if kind != "none":
            size = shown({"clip": 100.0, "tanh": 50.0}[kind] if given is None else given)
            numbers = f"max(-{size}, min({size}, {reward}))" if kind == "clip" else f"tanh({reward} / {size}) * {size}"
            formula = "clip(reward, -s, s)" if kind == "clip" else "tanh(reward / s) s"
            steps.append(
                Step("transformed reward", of, f"{formula}, s = {size}", numbers, self.transformed(reward_bps), "bps")
            )
        return steps

    def loss_steps(self, arm: int, reward_bps: float, is_mirrored: bool = False) -> list[Step]:
        """The loss of an arm that was seen is the last of them."""
        bound, taken = self.bound_bps, self.transformed(reward_bps)
        assert bound is not None  # nothing is learned before it is found
        clipped = f"max(-B, min(B, {shown(taken)}))" if abs(taken) > bound else shown(taken)
        numbers = f"(B - {clipped}) / (2 * B)".replace("B", shown(bound))
        formula = "(B - clip(reward, -B, B)) / (2 B), B the reward bound"
        loss = Step("loss", self.arms[arm], formula, numbers, 0.5 + self.loss_above_half(reward_bps))
        return [*self.reward_steps(arm, reward_bps, is_mirrored), loss]

    def implicit_steps(self, eta: float) -> list[Step]:
        given = self.settings["implicit"]
        if given is None:
            return [Step("implicit", "", "eta / 2", f"{shown(eta)} / 2", eta / 2)]
        return [Step("implicit", "", "as set", shown(given), float(given))]

    def asleep_steps(self, asleep: Sequence[int], start: float, played: Sequence[tuple[float, float]]) -> list[Step]:
        """Of the arms that could not be drawn; `played` are (probability of playing, move) of each that was seen."""
        terms = [f"{shown(chance)} * {shown(move)}" for chance, move in played if chance]
        numbers = f"{'1/2 + ' if start else ''}{total(terms)}"
        value = start + fsum(chance * move for chance, move in played)
        formula = f"{'1/2 + ' if start else ''}sum of p_i move_i: it could not be drawn, and moves by what was played"
        return [Step("move", self.arms[at], formula, numbers, value) for at in asleep]

    def probability_steps(self, weights: Sequence[float]) -> list[Step]:
        if not self.gamma:
            return []
        gamma, k = shown(self.gamma), self.count
        return [
            Step("probability", name, "(1 - gamma) w + gamma / K", f"(1 - {gamma}) * {shown(w)} + {gamma} / {k}", p)
            for name, w, p in zip(self.arms, weights, self.probabilities(weights), strict=True)
        ]

    # Counts.

    def _forget_counts(self) -> None:
        given = self.settings["reward_bound_bps"]
        self.bound_bps = None if given == "auto" else given
        self.warm_up_bps = []
        self.total_steps = 0
        self.pulls = [0] * self.count
        self.earned_bps = [0.0] * self.count
        self.largest_earned_bps = [0.0] * self.count

    def _count(self, shares: Mapping[int, float], reward_bps: float, new_decision: bool) -> None:
        """Arm -> share of those that were played; `reward_bps` is the decision's, times its weight."""
        for arm, share in shares.items():
            self.earned_bps[arm] += share * reward_bps
            self.largest_earned_bps[arm] = max(self.largest_earned_bps[arm], abs(self.earned_bps[arm]))
            self.pulls[arm] += new_decision
        self.total_steps += new_decision

    def add_arm(self, name: str, initial_weight: float) -> None:  # noqa: ARG002 - a rule's state takes it
        """A newcomer with so many mean weights; the others keep their weights relative to each other."""
        self.arms.append(name)
        self.pulls.append(0)
        self.earned_bps.append(0.0)
        self.largest_earned_bps.append(0.0)

    def remove_arm(self, name: str) -> None:
        """The others keep their weights relative to each other."""
        arm = self.arms.index(name)
        for each in (self.arms, self.pulls, self.earned_bps, self.largest_earned_bps):
            del each[arm]

    def restore(self, snapshot: BanditSnapshot) -> None:
        """Goes on from a published state."""
        self.arms = [arm.name for arm in snapshot.arms]
        self._forget_counts()
        self.total_steps = snapshot.total_steps
        self.bound_bps, self.warm_up_bps = snapshot.reward_bound_bps, list(snapshot.warm_up_rewards_bps)
        self.pulls = [arm.pulls for arm in snapshot.arms]
        self.earned_bps = [arm.cumulative_reward_bps for arm in snapshot.arms]
        self.largest_earned_bps = list(map(abs, self.earned_bps))

    # What each rule says.

    def learn(self, evidence: Evidence) -> Taught:
        arm, shares, reward_bps, weight, new_decision, logged = evidence
        if arm is None:
            return self.learn_blend(shares, reward_bps, weight, new_decision, logged)
        return self.learn_draw(arm, reward_bps, weight, new_decision, logged)

    def steps(self, evidence: Evidence) -> list[Step]:  # noqa: ARG002 - a rule may leave it at its numbers
        """What `learn` would come to, the formula with the numbers of now in it; nothing is learned by it."""
        return []

    def reading_steps(self) -> list[Step]:
        """How today's state comes to today's weights."""
        return []

    @property
    def keeps_terms(self) -> bool:
        """Whether a decision's next part asks for what its earlier ones came to."""
        return False

    def terms_in(self, reward: Reward) -> Mapping[str, Sized]:  # noqa: ARG002 - most ask for none
        """What a published part of a decision added to its terms, by arm name."""
        return {}

    def withholds(self, decision: DecisionSnapshot) -> bool:  # noqa: ARG002 - most learn from every decision
        """Whether the rule cannot learn from this decision."""
        return False

    @abstractmethod
    def reset(self) -> None:
        """Nothing was learned; the arms stay, and the bound is looked for anew where it is automatic."""

    @abstractmethod
    def learn_draw(self, arm: int, reward_bps: float, weight: float, new_decision: bool, logged: Logged) -> Taught:
        """One drawn arm."""

    @abstractmethod
    def learn_blend(
        self,
        shares: Mapping[int, float],
        reward_bps: float,
        weight: float,
        new_decision: bool,
        logged: Logged = NOTHING_LOGGED,
    ) -> Taught:
        """Several arms behind one decision, by the settings' attribution, or by what was seen; `shares` are above 0."""

    @property
    @abstractmethod
    def eta(self) -> float:
        """The rate that readers see."""

    @property
    def gamma(self) -> float:
        return float(self.settings["gamma"])

    @abstractmethod
    def weights(self) -> list[float]:
        """Normalised, in the order of the arms."""

    def probabilities(self, weights: Sequence[float]) -> list[float]:
        """p_i = (1 - gamma) w_i + gamma / K."""
        return [(1 - self.gamma) * weight + self.gamma / self.count for weight in weights]

    @abstractmethod
    def arm_state(self) -> list[list[Sized]]:
        """What is kept of each arm, in the order of the arms."""

    def own_state(self) -> list[Sized]:
        """What the rule keeps beside its arms."""
        return []

    # Experts: most rules have none.

    def experts(self) -> list[ExpertReading]:
        return []

    def add_expert(self, name: str, initial_weight: float) -> None:
        """A newcomer with so many mean weights."""
        raise NotImplementedError

    def remove_expert(self, name: str) -> None:
        raise NotImplementedError


def above_half(weight: float, loss: Step, start: float) -> str:
    """weight (loss - 1/2), and 1/2 once a draw, as numbers."""
    return plus_half(times(weight, f"({shown(loss.value)} - 1/2)"), start)


def normalised(weights: Sequence[float]) -> list[float]:
    total = sum(weights)
    return [weight / total for weight in weights]


def shared_out(
    formula: Formula, shares: Mapping[int, float], signal: float, weight: float, below: Sequence[float] | None
) -> tuple[Lesson, ...]:
    """share * weight * signal for each arm of a blend, divided by `below` of the arm; None: undivided."""
    current = formula.probabilities(formula.weights()) if below is not None else []
    lessons = []
    for arm in sorted(shares):
        estimate = shares[arm] * weight * signal / (1.0 if below is None else below[arm])
        lessons.append(Lesson(arm, shares[arm], current[arm] if current else None, estimate, abs(estimate)))
    return tuple(lessons)
