"""The rules straight from the design's formulas, in plain floats: the reference of the learner that runs.

Law: each number is computed the long way, from the state and the settings alone; nothing is kept that could go stale.
Written from Neu 2015 (arXiv 1506.03271), Zimmert and Seldin 2021 (JMLR 22(28)) and the documented rule; it shares
nothing with `learning`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt, tanh
from types import MappingProxyType

from armstream.events import ArmState, PropensitySource
from armstream.stages.rules import LearningRules


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one reward did to one arm; `estimate_scale` is the size of the terms that the estimate is the sum of."""

    arm: int
    share: float
    propensity: float | None
    estimate: float
    estimate_scale: float


@dataclass(frozen=True, slots=True)
class Logged:
    """What of a decision was logged; no probabilities: not its whole distribution."""

    propensity: float
    probabilities: tuple[float, ...] = ()
    eta: float | None = None


@dataclass(frozen=True, slots=True)
class Taught:
    """What one reward did: a lesson an arm, in the order of the arms, and the rate used."""

    lessons: tuple[Lesson, ...]
    eta: float
    propensity_source: PropensitySource


class Learner:
    """One bandit's learner: `state` is L (implicit) or theta (importance), T is `total_steps`, `arms` are those of now.

    `largest_state` and `largest_rewards` are the largest that each arm's sums ever were: the scale of their rounding.
    """

    def __init__(self, rules: LearningRules) -> None:
        self.rules = rules
        self.arms = list(rules.arms)
        self.bound_bps: float | None = None
        self.warm_up_bps: list[float] = []
        self.reset()

    @classmethod
    def restored(
        cls,
        rules: LearningRules,
        arms: Sequence[ArmState],
        total_steps: int,
        bound_bps: float | None,
        warm_up_bps: Sequence[float],
    ) -> "Learner":
        """A learner that goes on from a published state."""
        learner = cls(rules)
        learner.arms = [arm.name for arm in arms]
        learner.reset()
        learner.total_steps = total_steps
        learner.bound_bps, learner.warm_up_bps = bound_bps, list(warm_up_bps)
        learner.state = [arm.state for arm in arms]
        learner.pulls = [arm.pulls for arm in arms]
        learner.cumulative_rewards = [arm.cumulative_reward_bps for arm in arms]
        learner.remember_sizes()
        return learner

    @property
    def count(self) -> int:
        return len(self.arms)

    # The bound.

    @property
    def is_warming(self) -> bool:
        return self.rules.has_bound and self.bound_bps is None

    def warm_up(self, reward_bps: float) -> None:
        """B is the 95th percentile of the sizes of the first hundred: s_95 + .05 (s_96 - s_95). One that is nothing is
        none, and the latest hundred are looked at."""
        self.warm_up_bps = [*self.warm_up_bps, self._transformed(reward_bps)][-100:]
        if len(self.warm_up_bps) == 100:
            sizes = sorted(abs(each) for each in self.warm_up_bps)
            percentile = sizes[94] + 0.05 * (sizes[95] - sizes[94])
            if percentile >= 1e-6:
                self.bound_bps, self.warm_up_bps = percentile, []

    # What commands change.

    def reset(self) -> None:
        """Nothing was learned; the arms stay, and the bound is looked for anew where it is automatic."""
        self.bound_bps = None if self.rules.reward_bound_bps == "auto" else self.rules.reward_bound_bps
        self.warm_up_bps = []
        self.total_steps = 0
        self.state = [0.0] * self.count
        self.pulls = [0] * self.count
        self.cumulative_rewards = [0.0] * self.count
        self.largest_state = [0.0] * self.count
        self.largest_rewards = [0.0] * self.count

    def add_arm(self, name: str, initial_weight: float) -> None:
        """A newcomer with so many mean weights; the others keep their weights relative to each other."""
        if self.is_exp4:
            self._append_arm(name, 0.0)
            return
        if self.is_tsallis:
            state, distance = self._tsallis_newcomer(initial_weight)
            self._append_arm(name, state)
            self.largest_state[-1] = max(abs(state), distance)
            return
        before = self.reading_rate()
        floor = self.rules.min_weight
        relative = [max(weight / max(self.weights()), floor) for weight in self.weights()]
        newcomer = log(max(initial_weight * sum(relative) / self.count, floor))
        self._append_arm(name, 0.0)
        self._change_rate(before)
        is_implicit = self.rules.estimator == "implicit"
        self.state[-1] = min(self.state[:-1]) - newcomer / self.reading_rate() if is_implicit else newcomer
        self._settle()
        self.remember_sizes()

    def _append_arm(self, name: str, state: float) -> None:
        self.arms.append(name)
        self.state.append(state)
        self.pulls.append(0)
        self.cumulative_rewards.append(0.0)
        self.largest_state.append(abs(state))
        self.largest_rewards.append(0.0)

    def remove_arm(self, name: str) -> None:
        """The others keep their weights relative to each other."""
        arm, before = self.arms.index(name), 0.0 if self.is_exp4 else self.reading_rate()
        largest = (self.largest_state, self.largest_rewards)
        for each in (self.arms, self.state, self.pulls, self.cumulative_rewards, *largest):
            del each[arm]
        if self.is_exp4:
            return
        self._change_rate(before)
        self._settle()
        self.remember_sizes()

    def _change_rate(self, before: float) -> None:
        """The rate depends on K: L times it stays what it was."""
        if self.rules.estimator == "implicit" and not self.is_tsallis:
            self.state = [loss * (before / self.reading_rate()) for loss in self.state]
            self.largest_state = [loss * max(1.0, before / self.reading_rate()) for loss in self.largest_state]

    # Reading.

    def reading_rate(self) -> float:
        """The rate last used (importance), or that of the round to come (implicit, tsallis)."""
        if self.is_tsallis:
            return 4 / sqrt(self.total_steps + 1) if self.rules.eta is None else self.rules.eta
        return self._rate(self.total_steps + 1 if self.rules.estimator == "implicit" else max(self.total_steps, 1))

    @property
    def gamma(self) -> float:
        return 0.0 if self.is_tsallis else self.rules.gamma

    @property
    def is_tsallis(self) -> bool:
        return self.rules.algorithm == "tsallis"

    @property
    def is_exp4(self) -> bool:
        """Its arms have counts and no state: what is learned is trust in experts."""
        return self.rules.algorithm == "exp4"

    def weights(self) -> list[float]:
        """Normalised, none below min_weight of the largest; those of tsallis are what its losses say."""
        if self.is_tsallis:
            return self._tsallis_weights()
        unfloored = self._softmax(self.reading_rate())
        floor = self.rules.min_weight * max(unfloored)
        return _normalised([max(weight, floor) for weight in unfloored])

    def probabilities(self) -> list[float]:
        """p_i = (1 - gamma) w_i + gamma / K."""
        return self.explored(self.weights())

    def explored(self, weights: Sequence[float]) -> list[float]:
        return [(1 - self.gamma) * weight + self.gamma / self.count for weight in weights]

    # Learning.

    def learn_arm(
        self,
        arm: int,
        reward_bps: float,
        propensity: float | None,
        weight: float,
        new_decision: bool,
        asleep: Sequence[int] = (),
    ) -> Taught:
        """One drawn arm; without a logged propensity its current probability is taken. Arms that could not be drawn
        move by p times the estimate, what was played."""
        p = self.probabilities()[arm] if propensity is None else propensity
        eta = self._update_rate(new_decision)
        if self.rules.estimator == "importance":
            estimate = weight * self._transformed(reward_bps) / p
            scale = abs(estimate)
        else:
            realised, start = weight * self.loss_above_half(reward_bps), 0.5 if new_decision else 0.0
            below = p + self._implicit(eta)
            estimate, scale = (realised + start) / below, (abs(realised) + start) / below
        self._move({arm: (1.0, estimate)}, eta, weight * reward_bps, new_decision, dict.fromkeys(asleep, p * estimate))
        source: PropensitySource = "CURRENT" if propensity is None else "LOGGED"
        return Taught((Lesson(arm, 1.0, p, estimate, scale),), eta, source)

    def learn_blend(self, shares: Mapping[int, float], reward_bps: float, weight: float, new_decision: bool) -> Taught:
        """Several arms behind one decision, by the settings' attribution; `shares` are above 0."""
        eta = self._update_rate(new_decision)
        current = self.probabilities()
        is_divided = self.rules.attribution == "simultaneous"
        lessons = []
        for arm in sorted(shares):
            if self.rules.estimator == "importance":
                signal, below = self._transformed(reward_bps), current[arm]
            else:
                signal, below = self.loss_above_half(reward_bps), current[arm] + self._implicit(eta)
            estimate = shares[arm] * weight * signal / (below if is_divided else 1.0)
            lessons.append(Lesson(arm, shares[arm], current[arm] if is_divided else None, estimate, abs(estimate)))
        moves = {lesson.arm: (lesson.share, lesson.estimate) for lesson in lessons}
        self._move(moves, eta, weight * reward_bps, new_decision)
        return Taught(tuple(lessons), eta, "CURRENT" if is_divided else "NONE")

    def learn_draw(
        self,
        arm: int,
        reward_bps: float,
        logged: Logged,
        weight: float,
        new_decision: bool,
        asleep: Sequence[int] = (),
    ) -> Taught:
        """Tsallis-INF: one drawn arm, by the decision's whole distribution and its rate, or by its propensity alone.

        L_i += b_i for all, b_i = 1/2 where p_i >= eta^2; L_arm += (loss - b_arm) / p_arm; b is 0 without the whole.
        Those that could not be drawn move by what was played: the mean of all that, by p.
        """
        p, eta = logged.propensity, 2 / sqrt(self.total_steps + 1) if self.rules.eta is None else self.rules.eta
        baselines = [0.0] * self.count
        if logged.probabilities and logged.eta is not None:
            p, eta = logged.probabilities[arm], logged.eta
            baselines = [0.5 if each >= eta * eta else 0.0 for each in logged.probabilities]
        realised, baseline = weight * self.loss_above_half(reward_bps), baselines[arm]
        estimate, scale = realised / p, abs(realised) / p
        if new_decision:
            estimate, scale = (realised + 0.5 - baseline) / p + baseline, (abs(realised) + 0.5) / p + baseline
        others = {at: each if new_decision else 0.0 for at, each in enumerate(baselines) if at != arm}
        played = p * estimate + sum(chance * others.get(at, 0.0) for at, chance in enumerate(logged.probabilities))
        others.update(dict.fromkeys(asleep, played))
        self._move({arm: (1.0, estimate)}, eta, weight * reward_bps, new_decision, others)
        return Taught((Lesson(arm, 1.0, p, estimate, scale),), eta, "LOGGED")

    def count_arm(self, arm: int, reward_bps: float, new_decision: bool) -> None:
        """What one drawn arm earned, times its weight: counted, and nothing learned of the arm."""
        self.cumulative_rewards[arm] += reward_bps
        self.pulls[arm] += new_decision
        self.total_steps += new_decision
        self.remember_sizes()

    # The formulas.

    def _tsallis_weights(self) -> list[float]:
        """p_i = 4 / (eta (L_i - x))^2 with the x below min L for which they sum to 1, by halving."""
        eta, least = self.reading_rate(), min(self.state)
        distances = [eta / 2 * (loss - least) for loss in self.state]
        low, high = 1.0, sqrt(self.count)
        for _ in range(200):
            middle = (low + high) / 2
            if sum((distance + middle) ** -2 for distance in distances) > 1:
                low = middle
            else:
                high = middle
        return [(distance + high) ** -2 for distance in distances]

    def _tsallis_newcomer(self, initial_weight: float) -> tuple[float, float]:
        """L = x + 2 sqrt(K / initial_weight) / eta, x that of today's K arms; and the size of what it is the sum of."""
        eta, least = self.reading_rate(), min(self.state)
        x = least - 2 / (eta * sqrt(max(self._tsallis_weights())))
        distance = 2 * sqrt(self.count / max(initial_weight, 1e-10)) / eta
        return x + distance, distance

    def _rate(self, t: int) -> float:
        """eta where given, else min(eta_max, sqrt(ln K / (K t)))."""
        if self.rules.eta is not None:
            return self.rules.eta
        anytime = sqrt(log(self.count) / (self.count * t))
        return anytime if self.rules.eta_max is None else min(self.rules.eta_max, anytime)

    def _update_rate(self, new_decision: bool) -> float:
        """That of T + 1; a later part of a decision takes max(T, 1) under importance."""
        if self.is_tsallis:
            return self.reading_rate()
        if self.rules.estimator == "implicit" or new_decision:
            return self._rate(self.total_steps + 1)
        return self._rate(max(self.total_steps, 1))

    def _implicit(self, eta: float) -> float:
        return eta / 2 if self.rules.implicit is None else self.rules.implicit

    def _transformed(self, reward_bps: float) -> float:
        if self.rules.transform == "clip":
            bound = 100.0 if self.rules.transform_bps is None else self.rules.transform_bps
            return max(-bound, min(bound, reward_bps))
        if self.rules.transform == "tanh":
            scale = 50.0 if self.rules.transform_bps is None else self.rules.transform_bps
            return tanh(reward_bps / scale) * scale
        return reward_bps

    def loss_above_half(self, reward_bps: float) -> float:
        """loss - 1/2 = (B - clip(reward, -B, B)) / (2 B) - 1/2, without the two halves, which would eat its digits."""
        bound = self.bound_bps
        assert bound is not None  # nothing is learned before it is found
        return -max(-bound, min(bound, self._transformed(reward_bps))) / (2 * bound)

    def _softmax(self, eta: float) -> list[float]:
        """softmax(theta), or softmax(-eta L), unfloored."""
        logs = self.state if self.rules.estimator == "importance" else [-eta * loss for loss in self.state]
        largest = max(logs)
        return _normalised([exp(each - largest) for each in logs])

    def _move(
        self,
        moves: Mapping[int, tuple[float, float]],
        eta: float,
        reward_bps: float,
        new_decision: bool,
        others: Mapping[int, float] = MappingProxyType({}),
    ) -> None:
        """Arm -> (share, estimate) of those that were played, arm -> estimate of others that move; `reward_bps` is the
        decision's, times its weight."""
        far = 2 * log(1 / self.rules.min_weight)
        is_implicit = self.rules.estimator == "implicit"
        for arm, estimate in [*others.items(), *((arm, estimate) for arm, (_, estimate) in moves.items())]:
            self.state[arm] += estimate if is_implicit else max(-far, min(far, eta * estimate))
        for arm, (share, _) in moves.items():
            self.cumulative_rewards[arm] += share * reward_bps
            self.pulls[arm] += new_decision
        self._settle()
        if new_decision and self.rules.fixed_share > 0:
            self._share(eta)
        self.total_steps += new_decision
        self.remember_sizes()

    def _settle(self) -> None:
        """theta_i = max(theta_i - max(theta), ln(min_weight)); L is never floored."""
        if self.rules.estimator == "importance":
            largest = max(self.state)
            self.state = [max(theta - largest, log(self.rules.min_weight)) for theta in self.state]

    def _share(self, eta: float) -> None:
        """w <- (1 - alpha) w + alpha mean(w), unfloored, and back to L_i = -ln(w_i) / eta or theta_i = ln(w_i); those
        of tsallis to L_i = 2 / (eta sqrt(w_i)), with the rate of today's reading."""
        alpha = self.rules.fixed_share
        if self.is_tsallis:
            mixed = [(1 - alpha) * weight + alpha / self.count for weight in self._tsallis_weights()]
            self.state = [2 / (self.reading_rate() * sqrt(weight)) for weight in mixed]
            return
        logs = [log((1 - alpha) * weight + alpha / self.count) for weight in self._softmax(eta)]
        self.state = logs if self.rules.estimator == "importance" else [-each / eta for each in logs]
        self._settle()

    def remember_sizes(self) -> None:
        self.largest_state = list(map(max, self.largest_state, map(abs, self.state)))
        self.largest_rewards = list(map(max, self.largest_rewards, map(abs, self.cumulative_rewards)))


def _normalised(weights: Sequence[float]) -> list[float]:
    total = sum(weights)
    return [weight / total for weight in weights]
