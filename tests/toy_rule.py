"""A learning rule that lives in the tests alone: follow the leader. It shows what a rule must say, and no more.

An arm's numbers are the sum of its importance-weighted rewards and its decisions; the rule's own number is the largest
reward yet. The arms within a billionth of a bp of the largest sum share `1 - gamma`, all share gamma: floats and
fractions may break an exact tie differently, so that a rule that jumps needs a margin. Nothing is clipped. It learns
from every arm whose reward the draw revealed: `sum_i += weight * reward_i / o_i`.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from armstream.events import BanditSnapshot
from armstream.learning import (
    Decision,
    Learned,
    Learner,
    LearningSettings,
    Logged,
    Observed,
    Part,
    Reading,
    RewardBound,
    Rule,
    Update,
)
from armstream.oracle.formula import Formula, Lesson, Settings, Sized, Taught
from armstream.oracle.formula import Logged as LoggedDraw

TIE_BPS = 1e-9


class LeaderBandit(Learner):
    """One bandit that follows its leader."""

    __slots__ = ("_gamma", "_largest_bps", "_sums")

    def __init__(self, arm_names: Sequence[str], gamma: float) -> None:
        super().__init__(arm_names, RewardBound.given(100.0))
        self._gamma = gamma
        self._sums = [0.0] * len(self._names)
        self._largest_bps = 0.0

    @property
    def gamma(self) -> float:
        return self._gamma

    def read(self) -> Reading:
        near = max(self._sums) - TIE_BPS
        leaders = len([each for each in self._sums if each >= near])
        weights = [1.0 / leaders if each >= near else 0.0 for each in self._sums]
        explore = self._gamma / len(weights)
        return Reading(weights, [(1.0 - self._gamma) * weight + explore for weight in weights], 1.0)

    def learn(self, decision: Decision, part: Part, new_decision: bool, observed: Sequence[Observed] = ()) -> Update:
        propensity = decision.logged.propensity
        assert propensity is not None  # the rule refuses such a fill
        drawn = Observed(decision.arm, part.reward_bps, propensity)
        estimates = {each.arm: part.weight * each.reward_bps / each.probability for each in observed or (drawn,)}
        for arm, estimate in estimates.items():
            self._sums[arm] += estimate
        self._largest_bps = max(self._largest_bps, part.reward_bps)
        self._count({decision.arm: part.weight * part.reward_bps}, new_decision)
        return Update((decision.arm,), (propensity,), (estimates[decision.arm],), 1.0, "LOGGED")

    def take_back(self, decision: Decision, part: Part, new_decision: bool, update: Update) -> None:  # noqa: ARG002
        self._sums[decision.arm] -= update.estimates[0]
        self._cumulative_rewards[decision.arm] -= part.weight * part.reward_bps

    def take_back_decision(self, decision: Decision, update: Update) -> None:  # noqa: ARG002
        self._uncount_decision([decision.arm])

    def add_arm(self, arm_name: str, initial_weight: float = 1.0) -> int:  # noqa: ARG002 - all begin at 0
        self._sums.append(0.0)
        return self._append_name((*self._names, arm_name))

    def remove_arm(self, arm_name: str) -> None:
        arm = self.get_arm_index(arm_name)
        del self._sums[arm]
        self._delete_name(arm, self._names[:arm] + self._names[arm + 1 :])

    def _arm_states(self) -> list[tuple[float, ...]]:
        return [(each, float(pulls)) for each, pulls in zip(self._sums, self._pulls, strict=True)]

    def _own_state(self) -> tuple[float, ...]:
        return (self._largest_bps,)

    def _set_state(self, learned: Learned) -> None:
        (self._largest_bps,) = learned.own_state
        self._sums = [state[0] for state in learned.arm_states]

    def _forget_state(self) -> None:
        self._sums = [0.0] * len(self._names)
        self._largest_bps = 0.0

    def _give(self, twin: "LeaderBandit") -> None:
        super()._give(twin)
        twin._gamma, twin._largest_bps, twin._sums = self._gamma, self._largest_bps, self._sums.copy()


class Leader(Rule):
    """Follow the leader. It guesses no propensity."""

    name = "leader"
    takes = frozenset({"gamma"})

    def new_learner(self, settings: LearningSettings) -> LeaderBandit:
        return LeaderBandit(settings.arms, settings.gamma)

    def published_estimator(self, settings: LearningSettings) -> str:  # noqa: ARG002
        return "sums"

    def clips(self, estimator: str) -> bool:  # noqa: ARG002
        return False

    def fill_refusal(self, logged: Logged) -> str:
        if logged.arm is None:
            return "the leader learns from drawn arms alone"
        return "" if logged.propensity is not None else "the leader needs the propensity of a draw"

    def withheld(self, logged: Logged) -> str:
        return "no draw that was logged" if self.fill_refusal(logged) else ""


class LeaderFormula(Formula):
    """The same from its two sentences, in exact arithmetic: each arm's list of what it was estimated to earn."""

    def __init__(self, settings: Settings, arms: Sequence[str]) -> None:
        super().__init__(settings, arms)
        self.has_bound = False
        self.reset()

    def reset(self) -> None:
        self._forget_counts()
        self.bound_bps = 100.0
        self.earned: list[list[Fraction]] = [[] for _ in self.arms]
        self.rewards_bps: list[float] = [0.0]

    def restore(self, snapshot: BanditSnapshot) -> None:
        super().restore(snapshot)
        self.earned = [[Fraction(arm.state[0])] for arm in snapshot.arms]
        self.rewards_bps = [snapshot.state[0]]

    def learn_draw(self, arm: int, reward_bps: float, weight: float, new_decision: bool, logged: LoggedDraw) -> Taught:
        assert logged.propensity is not None
        estimate = Fraction(weight) * Fraction(reward_bps) / Fraction(logged.propensity)
        self.earned[arm].append(estimate)
        self.rewards_bps.append(reward_bps)
        self._count({arm: 1.0}, weight * reward_bps, new_decision)
        return Taught((Lesson(arm, 1.0, logged.propensity, float(estimate), 0.0),), self.eta, "LOGGED")

    def learn_blend(self, *_: object) -> Taught:
        raise NotImplementedError

    def withholds(self, decision: Any) -> bool:
        return decision.arm is None or decision.propensity is None

    def add_arm(self, name: str, initial_weight: float) -> None:
        super().add_arm(name, initial_weight)
        self.earned.append([])

    def remove_arm(self, name: str) -> None:
        del self.earned[self.arms.index(name)]
        super().remove_arm(name)

    @property
    def eta(self) -> float:
        return 1.0

    def weights(self) -> list[float]:
        sums = [float(sum(each)) for each in self.earned]
        leaders = [arm for arm, each in enumerate(sums) if each >= max(sums) - TIE_BPS]
        return [1 / len(leaders) if arm in leaders else 0.0 for arm in range(self.count)]

    def arm_state(self) -> list[list[Sized]]:
        sizes = [float(sum(map(abs, each))) for each in self.earned]
        sums = [float(sum(each)) for each in self.earned]
        return [[(each, size), (float(pulls), 0.0)] for each, size, pulls in zip(sums, sizes, self.pulls, strict=True)]

    def own_state(self) -> list[Sized]:
        return [(max(self.rewards_bps), 0.0)]
