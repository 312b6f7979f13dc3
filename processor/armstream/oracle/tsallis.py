"""Tsallis-INF with reduced variance, straight from its formulas: Zimmert and Seldin 2021 (JMLR 22(28)).

Law: state is L, the arms' losses; p_i = 4 / (eta (L_i - x))^2 with the x below min L for which they sum to 1.
"""

from collections.abc import Mapping, Sequence
from math import sqrt

from armstream.events import BanditSnapshot, DecisionSnapshot
from armstream.oracle.formula import Formula, Lesson, Logged, Settings, Sized, Taught, shared_out

LEAST_PROPENSITY = 1e-80  # below it a sum of losses may leave what doubles hold
_LEAST_NEWCOMER = 1e-10


class TsallisFormula(Formula):
    """`state` is L; `largest` the largest that each ever was, or was the difference of: the scale of its rounding."""

    def __init__(self, settings: Settings, arms: Sequence[str]) -> None:
        super().__init__(settings, arms)
        self.reset()

    def withholds(self, decision: DecisionSnapshot) -> bool:
        return decision.arm is not None and (decision.propensity is None or decision.propensity < LEAST_PROPENSITY)

    def reset(self) -> None:
        self._forget_counts()
        self.state = [0.0] * self.count
        self.largest = [0.0] * self.count

    def restore(self, snapshot: BanditSnapshot) -> None:
        super().restore(snapshot)
        self.state = [arm.state[0] for arm in snapshot.arms]
        self.largest = list(map(abs, self.state))

    def arm_state(self) -> list[list[Sized]]:
        scale = max(self.largest)
        return [[(each, scale)] for each in self.state]

    def add_arm(self, name: str, initial_weight: float) -> None:
        """L = x + 2 sqrt(K / initial_weight) / eta, x that of today's K arms."""
        x = min(self.state) - 2 / (self.eta * sqrt(max(self.weights())))
        distance = 2 * sqrt(self.count / max(initial_weight, _LEAST_NEWCOMER)) / self.eta
        super().add_arm(name, initial_weight)
        self.state.append(x + distance)
        self.largest.append(max(abs(x + distance), distance))

    def remove_arm(self, name: str) -> None:
        arm = self.arms.index(name)
        super().remove_arm(name)
        del self.state[arm], self.largest[arm]

    # Reading.

    @property
    def gamma(self) -> float:
        return 0.0

    @property
    def eta(self) -> float:
        """Where not given, that of the round to come: 4 / sqrt(T + 1)."""
        given = self.settings["eta"]
        return 4 / sqrt(self.total_steps + 1) if given is None else float(given)

    def weights(self) -> list[float]:
        """The x is found by halving."""
        eta, least = self.eta, min(self.state)
        distances = [eta / 2 * (loss - least) for loss in self.state]
        low, high = 1.0, sqrt(self.count)
        while (middle := (low + high) / 2) not in (low, high):
            if sum((distance + middle) ** -2 for distance in distances) > 1:
                low = middle
            else:
                high = middle
        return [(distance + high) ** -2 for distance in distances]

    # Learning.

    def learn_draw(self, arm: int, reward_bps: float, weight: float, new_decision: bool, logged: Logged) -> Taught:
        """One drawn arm, by the decision's whole distribution and its rate, or by its propensity alone.

        L_i += b_i for all, b_i = 1/2 where p_i >= eta^2; L_arm += (loss - b_arm) / p_arm; b is 0 without the whole.
        Those that could not be drawn move by what was played: the mean of all that, by p.
        """
        p, probabilities = logged.propensity or 0.0, logged.probabilities
        eta = 2 / sqrt(self.total_steps + 1) if self.settings["eta"] is None else float(self.settings["eta"])
        baselines = [0.0] * self.count
        if probabilities and logged.eta is not None:
            p, eta = probabilities[arm], logged.eta
            baselines = [0.5 if each >= eta * eta else 0.0 for each in probabilities]
        realised, baseline = weight * self.loss_above_half(reward_bps), baselines[arm]
        estimate, scale = realised / p, abs(realised) / p
        if new_decision:
            estimate, scale = (realised + 0.5 - baseline) / p + baseline, (abs(realised) + 0.5) / p + baseline
        moves = {at: each if new_decision else 0.0 for at, each in enumerate(baselines) if at != arm}
        played = p * estimate + sum(chance * moves.get(at, 0.0) for at, chance in enumerate(probabilities))
        self._move({**moves, **dict.fromkeys(logged.asleep, played), arm: estimate}, new_decision)
        self._count({arm: 1.0}, weight * reward_bps, new_decision)
        return Taught((Lesson(arm, 1.0, p, estimate, scale),), eta, "LOGGED")

    def learn_blend(self, shares: Mapping[int, float], reward_bps: float, weight: float, new_decision: bool) -> Taught:
        eta = self.eta
        lessons = shared_out(self, shares, self.loss_above_half(reward_bps), weight, None)
        self._move({lesson.arm: lesson.estimate for lesson in lessons}, new_decision)
        self._count(shares, weight * reward_bps, new_decision)
        return Taught(lessons, eta, "NONE")

    def _move(self, estimates: Mapping[int, float], new_decision: bool) -> None:
        """Fixed share comes last, once a decision: w <- (1 - alpha) w + alpha / K, and back to
        L_i = 2 / (eta sqrt(w_i)), with the rate of today's reading."""
        for arm, estimate in estimates.items():
            self.state[arm] += estimate
        self.largest = list(map(max, self.largest, map(abs, self.state)))
        alpha = self.settings["fixed_share"]
        if new_decision and alpha > 0:
            mixed = [(1 - alpha) * weight + alpha / self.count for weight in self.weights()]
            self.state = [2 / (self.eta * sqrt(weight)) for weight in mixed]
            self.largest = list(map(max, self.largest, map(abs, self.state)))
