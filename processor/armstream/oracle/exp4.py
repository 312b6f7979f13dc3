"""EXP4 straight from its formulas: trust in experts, and what those of the processor's own say. Written from Auer,
Cesa-Bianchi, Freund and Schapire 2002 and Neu 2015.

Law: arms have counts and no state; what is learned is trust. The nested rule is exp3ix.py's, in units of the bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

from armstream.events import BanditSnapshot, DecisionSnapshot
from armstream.oracle.exp3ix import Exp3IXFormula
from armstream.oracle.formula import Evidence, ExpertReading, Formula, Lesson, Logged, Settings, Sized, Taught
from armstream.oracle.settings import DEFAULTS
from armstream.oracle.steps import Step, plus_half, precise, shown, times, total
from armstream.oracle.tsallis import LEAST_PROPENSITY

DECAY = 0.99  # of what follow_best remembers


@dataclass(slots=True)
class _Expert:
    """Base weights by arm (empty: uniform), a nested learner, or means of late by arm; none of them: an engine's."""

    name: str
    state: float = 0.0
    largest: float = 0.0
    base: Mapping[str, float] | None = None
    nested: Exp3IXFormula | None = None
    means: dict[str, float] | None = None
    largest_mean: float = 0.0

    def says(self, arms: Sequence[str]) -> list[float]:
        if self.nested is not None:
            return self.nested.probabilities(self.nested.weights())
        if self.means is not None:
            best = [arm for arm in arms if self.means[arm] == max(self.means.values())]
            return [1 / len(best) if arm in best else 0.0 for arm in arms]
        if self.base is None:
            return []
        total = sum(self.base.get(arm, 0.0) for arm in arms)
        return [self.base.get(arm, 0.0) / total if self.base else 1 / len(arms) for arm in arms]

    def learned(self, arms: Sequence[str]) -> list[Sized]:
        if self.nested is not None:
            return [(float(self.nested.total_steps), 0.0), *(each[0] for each in self.nested.arm_state())]
        return [] if self.means is None else [(self.means[arm], self.largest_mean) for arm in arms]


class Exp4Formula(Formula):
    """The experts of one bandit, in their order."""

    def __init__(self, settings: Settings, arms: Sequence[str]) -> None:
        super().__init__(settings, arms)
        self.is_implicit = settings["estimator"] == "implicit"
        self._kinds = dict(settings["experts"])
        self._experts = [self._new(name) for name in self._kinds]

    def withholds(self, decision: DecisionSnapshot) -> bool:
        return decision.arm is None or decision.propensity is None or decision.propensity < LEAST_PROPENSITY

    def reset(self) -> None:
        self._forget_counts()
        self._experts = [self._new(expert.name) for expert in self._experts]

    def restore(self, snapshot: BanditSnapshot) -> None:
        super().restore(snapshot)
        self._experts = [self._new(published.name) for published in snapshot.experts]
        for expert, published in zip(self._experts, snapshot.experts, strict=True):
            expert.state, expert.largest = published.state, abs(published.state)
            if expert.nested is not None:
                expert.nested.total_steps = int(published.learned[0])
                expert.nested.take_over(published.learned[1:])
            if expert.means is not None:
                expert.means = dict(zip(self.arms, published.learned, strict=True))
                expert.largest_mean = max(map(abs, published.learned))

    def arm_state(self) -> list[list[Sized]]:
        return [[(0.0, 0.0)] for _ in self.arms]

    # Reading.

    @property
    def eta(self) -> float:
        """sqrt(ln max(N, 2) / (K T)) of the experts and arms at the start."""
        given = self.settings["eta"]
        if given is not None:
            return float(given)
        n, k = max(len(self._kinds), 2), len(self.settings["arms"])
        return sqrt(log(n) / (k * self.settings["expected_decisions"]))

    def weights(self) -> list[float]:
        """What the processor's own experts say together, by their weights among themselves."""
        said = [(one.weight, one.says) for one in self.experts() if one.says]
        trust = sum(weight for weight, _ in said)
        if not said:
            return [1 / self.count] * self.count
        return [sum(weight * row[arm] for weight, row in said) / trust for arm in range(self.count)]

    def experts(self) -> list[ExpertReading]:
        relative = self._relative()
        return [
            ExpertReading(
                one.name, each / sum(relative), one.says(self.arms), (one.state, one.largest), one.learned(self.arms)
            )
            for each, one in zip(relative, self._experts, strict=True)
        ]

    # Learning.

    def learn_draw(self, arm: int, reward_bps: float, weight: float, new_decision: bool, logged: Logged) -> Taught:
        """By what each expert gave to the drawn arm; one that is not named gave what was played."""
        p, bound = logged.propensity or 0.0, self.bound_bps
        assert bound is not None  # nothing is learned before it is found
        start, above = (0.5 if new_decision else 0.0), weight * self.loss_above_half(reward_bps)
        implicit = self.eta / 2 if self.settings["implicit"] is None else self.settings["implicit"]
        below = p + implicit if self.is_implicit else p
        estimate = ((above if self.is_implicit else -above) + start) / below
        far = 2 * log(1 / self.settings["min_weight"])
        for expert in self._experts:
            given = (logged.advice or {}).get(expert.name, p)
            expert.state += given * estimate if self.is_implicit else max(-far, min(far, self.eta * given * estimate))
            if expert.means is not None:
                name = self.arms[arm]
                expert.largest_mean = max(expert.largest_mean, abs(reward_bps))
                expert.means[name] += (1 - DECAY**weight) * (reward_bps - expert.means[name])
            if expert.nested is not None:
                in_bounds = max(-bound, min(bound, reward_bps)) / bound
                expert.nested.learn_draw(arm, in_bounds, weight, new_decision, logged)
        self._settle()
        self._count({arm: 1.0}, weight * reward_bps, new_decision)
        return Taught((Lesson(arm, 1.0, p, estimate, (abs(above) + start) / below),), self.eta, "LOGGED")

    def learn_blend(self, *_: object) -> Taught:
        raise AssertionError("a decision without a draw is withheld")

    # The formulas with their numbers.

    def steps(self, evidence: Evidence) -> list[Step]:
        arm, _, reward_bps, weight, new_decision, logged = evidence
        assert arm is not None  # a decision without a draw is withheld
        p, start, of = logged.propensity or 0.0, (0.5 if new_decision else 0.0), self.arms[arm]
        steps, sign = [self._rate_step()], 1.0 if self.is_implicit else -1.0
        implicit = 0.0
        if self.is_implicit:
            steps += self.implicit_steps(self.eta)
            implicit = steps[-1].value
        steps += self.loss_steps(arm, reward_bps)
        inside, signal = "loss - 1/2", f"({shown(steps[-1].value)} - 1/2)"
        if not self.is_implicit:
            inside, signal = "1/2 - loss", f"(1/2 - {shown(steps[-1].value)})"
        value = (sign * weight * self.loss_above_half(reward_bps) + start) / (p + implicit)
        below = f"({shown(p)} + {shown(implicit)})" if self.is_implicit else shown(p)
        formula = f"({plus_half(f'weight ({inside})', start)}) / {'(p + implicit)' if self.is_implicit else 'p'}"
        numbers = f"({plus_half(times(weight, signal), start)}) / {below}"
        steps.append(Step("estimate", of, formula, numbers, value))
        for expert in self._experts:
            steps += self._expert_steps(expert, evidence, of, value)
        return steps

    def _rate_step(self) -> Step:
        if self.settings["eta"] is not None:
            return Step("eta", "", "as set", shown(self.eta), self.eta)
        n, k, t = max(len(self._kinds), 2), len(self.settings["arms"]), self.settings["expected_decisions"]
        formula = "sqrt(ln N / (K T)), N experts (at least 2), K arms, T the expected decisions"
        return Step("eta", "", formula, f"sqrt(ln({n}) / ({k} * {t}))", self.eta)

    def _expert_steps(self, expert: _Expert, evidence: Evidence, arm: str, estimate: float) -> list[Step]:
        """What it gave to the drawn arm moves trust in it; what it learns itself comes after."""
        logged, weight = evidence.logged, evidence.weight
        p, given = logged.propensity or 0.0, (logged.advice or {}).get(expert.name)
        named = "advice" if given is not None else "p"
        given = p if given is None else given
        was, numbers = precise(expert.state), f"{shown(given)} * {shown(estimate)}"
        if self.is_implicit:
            steps = [
                Step("L", expert.name, f"L + {named} * estimate", f"{was} + {numbers}", expert.state + given * estimate)
            ]
        else:
            far, by = 2 * log(1 / self.settings["min_weight"]), self.eta * given * estimate
            numbers = f"{shown(self.eta)} * {numbers}"
            if abs(by) > far:
                numbers, by = f"max(-{shown(far)}, min({shown(far)}, {numbers}))", max(-far, min(far, by))
            formula = f"ln w + clamp(eta * {named} * estimate, -2 ln(1 / min_weight), 2 ln(1 / min_weight))"
            steps = [Step("ln w", expert.name, formula, f"{was} + {numbers}", expert.state + by)]
        if expert.means is not None:
            mean = expert.means[arm]
            after = mean + (1 - DECAY**weight) * (evidence.reward_bps - mean)
            numbers = f"{shown(mean)} + (1 - 0.99 ** {shown(weight)}) * ({shown(evidence.reward_bps)} - {shown(mean)})"
            formula = "mean + (1 - .99^weight) (reward - mean): what it follows"
            steps.append(Step("mean", f"{expert.name}: {arm}", formula, numbers, after, "bps"))
        if expert.nested is not None and self.bound_bps is not None:
            bound = self.bound_bps
            in_bounds = max(-bound, min(bound, evidence.reward_bps)) / bound
            steps += [
                step._replace(of=f"{expert.name}: {step.of}".removesuffix(": "), name=f"its {step.name}", unit="")
                for step in expert.nested.steps(evidence._replace(reward_bps=in_bounds))
            ]
        return steps

    def reading_steps(self) -> list[Step]:
        """Trust in each expert, then each arm's weight by those that the processor knows."""
        slope = -self.eta if self.is_implicit else 1.0
        logs, relative, least = (
            [slope * one.state for one in self._experts],
            self._relative(),
            self.settings["min_weight"],
        )
        origin, z, steps = (
            max(self._experts, key=lambda one: slope * one.state).state,
            sum(relative),
            [self._rate_step()],
        )
        formula = "exp(-eta (L - min L)) / Z" if self.is_implicit else "exp(ln w - max ln w) / Z"
        by = f"{shown(slope)} * " if self.is_implicit else ""
        for expert, part, each in zip(self._experts, relative, logs, strict=True):
            is_floored = exp(each - max(logs)) < least
            numbers = shown(least) if is_floored else f"exp({by}({precise(expert.state)} - {precise(origin)}))"
            said = f"{formula}, Z the sum over all experts{'; never below min_weight / Z' if is_floored else ''}"
            steps.append(Step("trust", expert.name, said, f"{numbers} / {precise(z)}", part / z))
        weights = self.weights()
        told = [one for one in self.experts() if one.says]
        whole = sum(one.weight for one in told)
        for arm, name in enumerate(self.arms):
            numbers = total(f"{shown(one.weight)} * {shown(one.says[arm])}" for one in told if one.says[arm])
            formula = "sum of trust_n advice_n / what those that the processor knows are trusted with"
            numbers = f"({numbers}) / {shown(whole)}" if told else f"1 / {self.count}"
            steps.append(Step("weight", name, formula if told else "1 / K: only engines know", numbers, weights[arm]))
        return steps + self.probability_steps(weights)

    # What commands change.

    def add_arm(self, name: str, initial_weight: float) -> None:
        super().add_arm(name, initial_weight)
        for expert in self._experts:
            if expert.nested is not None:
                expert.nested.add_arm(name, initial_weight)
            if expert.means is not None:
                expert.means[name] = 0.0

    def remove_arm(self, name: str) -> None:
        super().remove_arm(name)
        for expert in self._experts:
            if expert.nested is not None:
                expert.nested.remove_arm(name)
            if expert.means is not None:
                del expert.means[name]

    def add_expert(self, name: str, initial_weight: float) -> None:
        relative = self._relative()
        newcomer = log(max(initial_weight * sum(relative) / len(relative), self.settings["min_weight"]))
        expert = self._new(name)
        least = min(one.state for one in self._experts)
        expert.state = least - newcomer / self.eta if self.is_implicit else newcomer
        self._experts.append(expert)
        self._settle()

    def remove_expert(self, name: str) -> None:
        del self._experts[[expert.name for expert in self._experts].index(name)]
        self._settle()

    # The formulas.

    def _relative(self) -> list[float]:
        slope = -self.eta if self.is_implicit else 1.0
        logs = [slope * expert.state for expert in self._experts]
        return [max(exp(each - max(logs)), self.settings["min_weight"]) for each in logs]

    def _settle(self) -> None:
        """log_weight_n = max(log_weight_n - max(log_weight), ln(min_weight)); losses are never floored."""
        largest = max(expert.state for expert in self._experts)
        for expert in self._experts:
            if not self.is_implicit:
                expert.state = max(expert.state - largest, log(self.settings["min_weight"]))
            expert.largest = max(expert.largest, abs(expert.state))

    def _new(self, name: str) -> _Expert:
        """One that has seen nothing: what the settings say of its name, else an engine's."""
        kind = self._kinds.get(name, "engine")
        if isinstance(kind, Mapping):
            return _Expert(name, base=kind)
        if kind == "uniform":
            return _Expert(name, base={})
        if kind == "follow_best":
            return _Expert(name, means=dict.fromkeys(self.arms, 0.0))
        if kind == "exp3ix":  # Neu's anytime rule
            return _Expert(name, nested=Exp3IXFormula({**DEFAULTS, "reward_bound_bps": 1.0}, self.arms))
        return _Expert(name)
