"""EXP4 straight from the design's formulas: trust in experts, and what those of the processor's own say.

Law: as learner.py, each number the long way, from the state and the settings alone. Written from Auer, Cesa-Bianchi,
Freund and Schapire 2002 and Neu 2015; it shares nothing with `learning`. The nested rule is learner.py's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log, sqrt

from armstream.events import ExpertState
from armstream.stages.rules import LearningRules
from armstream.verify.learner import Learner, Lesson, Taught

DECAY = 0.99  # of what follow_best remembers


@dataclass(slots=True)
class Expert:
    """One expert. Base weights by arm (empty: uniform), a nested learner, means of late by arm; none: an engine's."""

    name: str
    state: float = 0.0
    largest_state: float = 0.0
    base: Mapping[str, float] | None = None
    nested: Learner | None = None
    means: dict[str, float] | None = None
    largest_mean: float = 0.0

    @property
    def is_engines(self) -> bool:
        return self.base is None and self.nested is None and self.means is None

    def says(self, arms: Sequence[str]) -> list[float]:
        """Its distribution; nothing where only an engine knows it."""
        if self.nested is not None:
            return self.nested.probabilities()
        if self.means is not None:
            best = [arm for arm in arms if self.means[arm] == max(self.means.values())]
            return [1 / len(best) if arm in best else 0.0 for arm in arms]
        if self.base is None:
            return []
        total = sum(self.base.get(arm, 0.0) for arm in arms)
        return [self.base.get(arm, 0.0) / total if self.base else 1 / len(arms) for arm in arms]

    def learned(self, arms: Sequence[str]) -> list[tuple[float, float]]:
        """What a snapshot holds of it, each number with its scale."""
        if self.nested is not None:
            largest = max(self.nested.largest_state)
            return [(float(self.nested.total_steps), 0.0), *((loss, largest) for loss in self.nested.state)]
        return [] if self.means is None else [(self.means[arm], self.largest_mean) for arm in arms]


@dataclass(slots=True)
class Trust:
    """The experts of one bandit; its arms, counts and bound are its learner's."""

    rules: LearningRules
    experts: list[Expert] = field(default_factory=list)

    @classmethod
    def new(cls, rules: LearningRules) -> "Trust":
        trust = cls(rules)
        trust.experts = [trust._expert(name, rules.arms) for name, _ in rules.experts]
        return trust

    @classmethod
    def restored(cls, rules: LearningRules, arms: Sequence[str], states: Sequence[ExpertState]) -> "Trust":
        """One that goes on from a published state."""
        trust = cls(rules)
        for published in states:
            expert = trust._expert(published.name, arms)
            expert.state, expert.largest_state = published.state, abs(published.state)
            if expert.nested is not None:
                expert.nested.total_steps = int(published.learned[0])
                expert.nested.state = list(published.learned[1:])
                expert.nested.remember_sizes()
            if expert.means is not None:
                expert.means = dict(zip(arms, published.learned, strict=True))
            trust.experts.append(expert)
        return trust

    @property
    def names(self) -> list[str]:
        return [expert.name for expert in self.experts]

    @property
    def eta(self) -> float:
        """sqrt(ln max(N, 2) / (K horizon)) of the experts and arms at the start."""
        if self.rules.eta is not None:
            return self.rules.eta
        return sqrt(log(max(len(self.rules.experts), 2)) / (len(self.rules.arms) * self.rules.horizon))

    # Reading.

    def weights(self) -> list[float]:
        """Normalised, none below min_weight of the largest."""
        relative = self._relative()
        return [each / sum(relative) for each in relative]

    def own_mixture(self, arms: Sequence[str]) -> list[float]:
        """What the processor's own experts say together, by their weights among themselves."""
        said = [
            (weight, row) for weight, one in zip(self.weights(), self.experts, strict=True) if (row := one.says(arms))
        ]
        if not said:
            return [1 / len(arms)] * len(arms)
        return [sum(weight * row[arm] for weight, row in said) / sum(w for w, _ in said) for arm in range(len(arms))]

    # Learning.

    def learn(
        self,
        learner: Learner,
        arm: int,
        reward_bps: float,
        propensity: float,
        advice: Mapping[str, float],
        weight: float,
        new_decision: bool,
        asleep: Sequence[int],
    ) -> Taught:
        """By what each expert gave to the drawn arm; one that is not named gave what was played."""
        bound = learner.bound_bps
        assert bound is not None  # nothing is learned before it is found
        start, above = (0.5 if new_decision else 0.0), weight * learner.loss_above_half(reward_bps)
        is_implicit = self.rules.estimator == "implicit"
        implicit = self.eta / 2 if self.rules.implicit is None else self.rules.implicit
        below = propensity + implicit if is_implicit else propensity
        estimate = ((above if is_implicit else -above) + start) / below
        far = 2 * log(1 / self.rules.min_weight)
        for expert in self.experts:
            given = advice.get(expert.name, propensity)
            expert.state += given * estimate if is_implicit else max(-far, min(far, self.eta * given * estimate))
            if expert.means is not None:
                name = learner.arms[arm]
                expert.largest_mean = max(expert.largest_mean, abs(reward_bps))
                expert.means[name] += (1 - DECAY**weight) * (reward_bps - expert.means[name])
            if expert.nested is not None:
                in_bounds = max(-bound, min(bound, reward_bps)) / bound
                expert.nested.learn_arm(arm, in_bounds, propensity, weight, new_decision, asleep)
        self._settle()
        learner.count_arm(arm, weight * reward_bps, new_decision)
        scale = (abs(above) + start) / below
        return Taught((Lesson(arm, 1.0, propensity, estimate, scale),), self.eta, "LOGGED")

    # What commands change.

    def reset(self, arms: Sequence[str]) -> None:
        self.experts = [self._expert(name, arms) for name in self.names]

    def add_arm(self, name: str, initial_weight: float) -> None:
        for expert in self.experts:
            if expert.nested is not None:
                expert.nested.add_arm(name, initial_weight)
            if expert.means is not None:
                expert.means[name] = 0.0

    def remove_arm(self, name: str) -> None:
        for expert in self.experts:
            if expert.nested is not None:
                expert.nested.remove_arm(name)
            if expert.means is not None:
                del expert.means[name]

    def needs_arm(self, name: str, arms: Sequence[str]) -> bool:
        """Whether base weights would be left with nothing."""
        left = [arm for arm in arms if arm != name]
        return any(expert.base and not any(expert.base.get(arm) for arm in left) for expert in self.experts)

    def add(self, name: str, initial_weight: float, arms: Sequence[str]) -> None:
        """A newcomer with so many mean weights."""
        relative = self._relative()
        newcomer = log(max(initial_weight * sum(relative) / len(relative), self.rules.min_weight))
        expert = self._expert(name, arms)
        if self.rules.estimator == "implicit":
            expert.state = min(one.state for one in self.experts) - newcomer / self.eta
        else:
            expert.state = newcomer
        self.experts.append(expert)
        self._settle()

    def remove(self, name: str) -> None:
        self.experts = [expert for expert in self.experts if expert.name != name]
        self._settle()

    # The formulas.

    def _relative(self) -> list[float]:
        slope = -self.eta if self.rules.estimator == "implicit" else 1.0
        logs = [slope * expert.state for expert in self.experts]
        return [max(exp(each - max(logs)), self.rules.min_weight) for each in logs]

    def _settle(self) -> None:
        """log_weight_n = max(log_weight_n - max(log_weight), ln(min_weight)); losses are never floored."""
        largest = max(expert.state for expert in self.experts)
        for expert in self.experts:
            if self.rules.estimator == "importance":
                expert.state = max(expert.state - largest, log(self.rules.min_weight))
            expert.largest_state = max(expert.largest_state, abs(expert.state))

    def _expert(self, name: str, arms: Sequence[str]) -> Expert:
        """One that has seen nothing: what the settings say of its name, else an engine's."""
        kind = dict(self.rules.experts).get(name, "engine")
        if isinstance(kind, Mapping):
            return Expert(name, base=kind)
        if kind == "uniform":
            return Expert(name, base={})
        if kind == "follow_best":
            return Expert(name, means=dict.fromkeys(arms, 0.0))
        return Expert(name, nested=Learner(_nested(arms))) if kind == "exp3ix" else Expert(name)


def _nested(arms: Sequence[str]) -> LearningRules:
    """Neu's anytime rule, in units of the bound."""
    return LearningRules(tuple(arms), estimator="implicit", gamma=0.0, reward_bound_bps=1.0, min_weight=1e-10)
