"""Exp3-IX straight from its formulas, both estimators: Neu 2015 (arXiv 1506.03271), and Exp3; and Exp3-IX where a draw
reveals more than its own arm: Kocak, Neu, Valko and Munos 2014.

Law: state is theta (importance) or L (implicit), and the sum of Q where a draw may reveal more; each number is computed
from it and the settings, and nothing is kept that could go stale.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import exp, fsum, log, sqrt, tanh

from armstream.events import BanditSnapshot
from armstream.oracle.formula import (
    NOTHING_LOGGED,
    Evidence,
    Formula,
    Lesson,
    Logged,
    Seen,
    Settings,
    Sized,
    Taught,
    above_half,
    normalised,
    shared_out,
)
from armstream.oracle.steps import Step, plus_half, precise, shown, times, total


class Exp3IXFormula(Formula):
    """`state` is that of the arms; `largest` the largest that each ever was: the scale of its rounding. `sum_of_q` is
    the time that the automatic rate goes by where a draw may reveal more than its own arm."""

    def __init__(self, settings: Settings, arms: Sequence[str]) -> None:
        super().__init__(settings, arms)
        self.is_implicit = settings["estimator"] == "implicit"
        self.has_bound = self.is_implicit
        self._reveals_more = settings["feedback"] != "drawn"
        self._floor_log = log(settings["min_weight"])
        self.reset()

    def reset(self) -> None:
        self._forget_counts()
        self.state = [0.0] * self.count
        self.largest = [0.0] * self.count
        self.sum_of_q = 0.0

    def restore(self, snapshot: BanditSnapshot) -> None:
        super().restore(snapshot)
        self.take_over([arm.state[0] for arm in snapshot.arms])
        self.sum_of_q = snapshot.state[0] if self._reveals_more else 0.0

    def take_over(self, state: Sequence[float]) -> None:
        self.state, self.largest = list(state), list(map(abs, state))

    def arm_state(self) -> list[list[Sized]]:
        scale = max(self.largest)
        return [[(each, scale)] for each in self.state]

    def own_state(self) -> list[Sized]:
        return [(self.sum_of_q, 0.0)] if self._reveals_more else []

    # Arms that come and go.

    def add_arm(self, name: str, initial_weight: float) -> None:
        before, weights, floor = self.eta, self.weights(), self.settings["min_weight"]
        relative = [max(weight / max(weights), floor) for weight in weights]
        newcomer = log(max(initial_weight * sum(relative) / self.count, floor))
        super().add_arm(name, initial_weight)
        self.state.append(0.0)
        self.largest.append(0.0)
        self._change_rate(before)
        self.state[-1] = min(self.state[:-1]) - newcomer / self.eta if self.is_implicit else newcomer
        self._settle()

    def remove_arm(self, name: str) -> None:
        arm, before = self.arms.index(name), self.eta
        super().remove_arm(name)
        del self.state[arm], self.largest[arm]
        self._change_rate(before)
        self._settle()

    def _change_rate(self, before: float) -> None:
        """The rate depends on K: L times it stays what it was."""
        if self.is_implicit:
            by = before / self.eta
            self.state = [loss * by for loss in self.state]
            self.largest = [loss * max(1.0, by) for loss in self.largest]

    # Reading.

    @property
    def eta(self) -> float:
        """The rate last used (importance), or that of the round to come (implicit)."""
        return self._rate(self.total_steps + 1 if self.is_implicit else max(self.total_steps, 1))

    def weights(self) -> list[float]:
        """Normalised, none below min_weight of the largest."""
        unfloored = self._softmax(self.eta)
        floor = self.settings["min_weight"] * max(unfloored)
        return normalised([max(weight, floor) for weight in unfloored])

    # Learning.

    def learn_draw(self, arm: int, reward_bps: float, weight: float, new_decision: bool, logged: Logged) -> Taught:
        """One draw; without a logged propensity its arm's current probability is taken."""
        p = logged.propensity
        if p is None:
            p = self.probabilities(self.weights())[arm]
        played = logged.probabilities[arm] if logged.probabilities and self._reveals_more else p
        seen = logged.seen or (Seen(arm, reward_bps, 0.0, p, played, 1.0),)
        q = self._q(logged.chances, p)
        taught = self._learn_seen(seen, weight, 0.5 if new_decision else 0.0, new_decision, logged.asleep, q)
        self._count({arm: 1.0}, weight * reward_bps, new_decision)
        return taught._replace(propensity_source="CURRENT" if logged.propensity is None else "LOGGED")

    def learn_blend(
        self,
        shares: Mapping[int, float],
        reward_bps: float,
        weight: float,
        new_decision: bool,
        logged: Logged = NOTHING_LOGGED,
    ) -> Taught:
        q = self._q(((1.0, 1.0),), 1.0)
        if logged.seen:
            taught = self._learn_seen(logged.seen, weight, 0.0, new_decision, logged.asleep, q).without_draw()
        else:
            taught = self._learn_shares(shares, reward_bps, weight, new_decision, q)
        self._count(shares, weight * reward_bps, new_decision)
        return taught

    def _learn_seen(
        self, seen: Sequence[Seen], weight: float, start: float, new_decision: bool, asleep: Sequence[int], q: float
    ) -> Taught:
        """(weight (loss - 1/2) + start) / (chance + implicit) for each arm seen, start 1/2 once a draw; a blend has
        none, which would move all arms alike. Under importance weight * reward / chance. Arms that were asleep move by
        what was played: the sum of played_i move_i."""
        eta, lessons, played = self._update_rate(new_decision), [], []
        for one in seen:
            if self.is_implicit:
                below = one.chance + self._implicit(eta)
                realised, size = self.signal(one, weight)
                estimate, scale = (realised + start) / below, (size + start) / below
            else:
                estimate = weight * self.transformed(one.reward_bps) / one.chance
                scale = abs(estimate)
            lessons.append(Lesson(one.arm, one.share, one.chance, estimate, scale))
            played.append(one.played * estimate)
        moves = {**dict.fromkeys(asleep, fsum(played)), **{lesson.arm: lesson.estimate for lesson in lessons}}
        self.largest = [max(each, *(lesson.estimate_scale for lesson in lessons)) for each in self.largest]
        self._move(moves, eta, new_decision, q)
        return Taught(tuple(lessons), eta, "LOGGED")

    def _learn_shares(
        self, shares: Mapping[int, float], reward_bps: float, weight: float, new_decision: bool, q: float
    ) -> Taught:
        """Nobody says what the others would have earned."""
        eta = self._update_rate(new_decision)
        signal = self.loss_above_half(reward_bps) if self.is_implicit else self.transformed(reward_bps)
        below = None
        if self.settings["attribution"] == "simultaneous":
            extra = self._implicit(eta) if self.is_implicit else 0.0
            below = [p + extra for p in self.probabilities(self.weights())]
        lessons = shared_out(self, shares, signal, weight, below)
        self._move({lesson.arm: lesson.estimate for lesson in lessons}, eta, new_decision, q)
        return Taught(lessons, eta, "NONE" if below is None else "CURRENT")

    # The formulas with their numbers.

    def steps(self, evidence: Evidence) -> list[Step]:
        arm, shares, reward_bps, weight, new_decision, logged = evidence
        eta = self._update_rate(new_decision)
        steps = self._rate_steps(new_decision)
        if self.is_implicit:
            steps += self.implicit_steps(eta)
        if arm is None and not logged.seen:
            lessons = self._share_steps(shares, reward_bps, weight, eta)
        else:
            lessons = self._seen_steps(evidence, eta)
        return [*steps, *lessons, *self._state_steps(evidence, lessons, eta)]

    def _rate_steps(self, new_decision: bool) -> list[Step]:
        t = self.total_steps + 1 if self.is_implicit or new_decision else max(self.total_steps, 1)
        return [self._rate_step(t)]

    def _rate_step(self, t: int) -> Step:
        given, most, k = self.settings["eta"], self.settings["eta_max"], self.count
        if given is not None:
            return Step("eta", "", "as set", shown(given), float(given))
        time, numbers = "K t", f"{k} * {t}"
        if self._reveals_more:
            time, numbers = "K + sum of Q", f"{k} + {precise(self.sum_of_q)}"
        formula, numbers = f"sqrt(ln K / ({time}))", f"sqrt(ln({k}) / ({numbers}))"
        if most is not None:
            formula, numbers = f"min(eta_max, {formula})", f"min({shown(most)}, {numbers})"
        return Step("eta", "", formula, numbers, self._rate(t))

    def _seen_steps(self, evidence: Evidence, eta: float) -> list[Step]:
        arm, _, reward_bps, weight, new_decision, logged = evidence
        steps, seen = [], logged.seen
        if not seen:
            assert arm is not None  # a blend that reveals nothing is shared out
            p = logged.propensity
            if p is None:
                p = self.probabilities(self.weights())[arm]
                steps.append(Step("p", self.arms[arm], "today's probability: none was logged", shown(p), p))
            played = logged.probabilities[arm] if logged.probabilities and self._reveals_more else p
            seen = (Seen(arm, reward_bps, 0.0, p, played, 1.0),)
        start = 0.5 if new_decision and arm is not None else 0.0
        moves = []
        for one in seen:
            steps += self._estimate_steps(one, weight, start, eta)
            moves.append((one.played, steps[-1].value))
        return steps + self.asleep_steps(logged.asleep, 0.0, moves)

    def _estimate_steps(self, one: Seen, weight: float, start: float, eta: float) -> list[Step]:
        """The estimate is the last of them."""
        of, chance, mirrored = self.arms[one.arm], shown(one.chance), one.scale_bps > 0
        below = "p" if one.share == 1.0 and one.chance == one.played else "o"
        if not self.is_implicit:
            taken = self.transformed(one.reward_bps)
            numbers, value = f"{times(weight, shown(taken))} / {chance}", weight * taken / one.chance
            estimate = Step("estimate", of, f"weight * reward / {below}", numbers, value)
            return [*self.reward_steps(one.arm, one.reward_bps, mirrored), estimate]
        steps, implicit = self.loss_steps(one.arm, one.reward_bps, mirrored), self._implicit(eta)
        formula = f"({plus_half('weight (loss - 1/2)', start)}) / ({below} + implicit)"
        numbers = f"({above_half(weight, steps[-1], start)}) / ({chance} + {shown(implicit)})"
        value = (weight * self.loss_above_half(one.reward_bps) + start) / (one.chance + implicit)
        return [*steps, Step("estimate", of, formula, numbers, value)]

    def _share_steps(self, shares: Mapping[int, float], reward_bps: float, weight: float, eta: float) -> list[Step]:
        is_divided, first = self.settings["attribution"] == "simultaneous", min(shares)
        below, probabilities = "", self.probabilities(self.weights())
        if self.is_implicit:
            steps = [step._replace(of="") for step in self.loss_steps(first, reward_bps)]
            signal, formula = f"({shown(steps[-1].value)} - 1/2)", "share * weight * (loss - 1/2)"
            below = " / (p + implicit)" if is_divided else ""
        else:
            steps = [step._replace(of="") for step in self.reward_steps(first, reward_bps, False)]
            signal, formula = shown(self.transformed(reward_bps)), "share * weight * reward"
            below = " / p" if is_divided else ""
        taken = self.loss_above_half(reward_bps) if self.is_implicit else self.transformed(reward_bps)
        extra = self._implicit(eta) if self.is_implicit else 0.0
        for arm, share in sorted(shares.items()):
            numbers, value = f"{shown(share)} * {times(weight, signal)}", share * weight * taken
            if is_divided:
                p = probabilities[arm]
                numbers += f" / ({shown(p)} + {shown(extra)})" if extra else f" / {shown(p)}"
                value /= p + extra
            steps.append(Step("estimate", self.arms[arm], formula + below, numbers, value))
        return steps

    def _state_steps(self, evidence: Evidence, lessons: Sequence[Step], eta: float) -> list[Step]:
        """What becomes of L, or theta, and of the sum of Q."""
        moves = [step for step in lessons if step.name in ("estimate", "move")]
        steps = [self._moved(step, eta) for step in moves]
        if not evidence.new_decision:
            return steps
        if self.settings["fixed_share"] > 0:
            steps += self._fixed_share_steps(evidence, eta)
        if self._reveals_more:
            p = 1.0 if evidence.arm is None else evidence.logged.propensity or lessons[0].value
            steps.append(self._q_step(evidence.logged.chances, p))
        return steps

    def _moved(self, step: Step, eta: float) -> Step:
        was = self.state[self.arms.index(step.of)]
        if self.is_implicit:
            numbers = f"{precise(was)} + {precise(step.value)}"
            return Step("L", step.of, f"L + {step.name}", numbers, was + step.value)
        far, by = -2 * self._floor_log, eta * step.value
        numbers = f"{shown(eta)} * {shown(step.value)}"
        if abs(by) > far:
            numbers, by = f"max(-{shown(far)}, min({shown(far)}, {numbers}))", max(-far, min(far, by))
        formula = f"theta + clamp(eta * {step.name}, -2 ln(1 / min_weight), 2 ln(1 / min_weight))"
        return Step("theta", step.of, formula, f"{precise(was)} + {numbers}", was + by)

    def _fixed_share_steps(self, evidence: Evidence, eta: float) -> list[Step]:
        alpha, before = shown(self.settings["fixed_share"]), deepcopy(self)
        before.settings = {**self.settings, "fixed_share": 0.0}
        before.learn(evidence)
        weights, steps = before._softmax(eta), []
        for name, weight in zip(self.arms, weights, strict=True):
            shared = (1 - self.settings["fixed_share"]) * weight + self.settings["fixed_share"] / self.count
            formula = "(1 - alpha) w + alpha / K, alpha the fixed share"
            numbers = f"(1 - {alpha}) * {precise(weight)} + {alpha} / {self.count}"
            steps.append(Step("w", name, formula, numbers, shared))
            if self.is_implicit:
                steps.append(
                    Step("L", name, "-ln(w) / eta", f"-ln({precise(shared)}) / {shown(eta)}", -log(shared) / eta)
                )
            else:
                steps.append(Step("theta", name, "ln(w)", f"ln({precise(shared)})", log(shared)))
        return steps

    def _q_step(self, chances: Sequence[tuple[float, float]], p: float) -> Step:
        implicit, k = shown(self._implicit(self.eta)), self.count
        formula, numbers = (
            "min(K, 1 / (p + implicit)): the time that eta goes by",
            f"min({k}, 1 / ({shown(p)} + {implicit}))",
        )
        if chances:
            formula = "sum of p_i / (o_i + implicit): the time that eta goes by"
            numbers = total(f"{shown(one)} / ({shown(chance)} + {implicit})" for one, chance in chances if one > 0)
        return Step("Q", "", formula, numbers, self._q(chances, p))

    def reading_steps(self) -> list[Step]:
        if self.is_implicit:
            rate = self._rate_step(self.total_steps + 1)
            slope, origin, steps = -rate.value, min(self.state), [rate]
            formula = "exp(-eta (L - min L)) / Z"
        else:
            slope, origin, steps = 1.0, max(self.state), list[Step]()
            formula = "exp(theta - max theta) / Z"
        least, weights = self.settings["min_weight"], self.weights()
        relative = [max(exp(slope * (each - origin)), least) for each in self.state]
        z = fsum(relative)
        formula += ", Z the sum of them over all arms"
        for arm, (each, part) in enumerate(zip(self.state, relative, strict=True)):
            by = f"{shown(slope)} * " if self.is_implicit else ""
            numbers = shown(least) if part == least else f"exp({by}({precise(each)} - {precise(origin)}))"
            said = f"{formula}; never below min_weight / Z" if part == least else formula
            steps.append(Step("weight", self.arms[arm], said, f"{numbers} / {precise(z)}", weights[arm]))
        return steps + self.probability_steps(weights)

    # The formulas.

    def _rate(self, t: int) -> float:
        """eta where given, else min(eta_max, sqrt(ln K / (K t))); sqrt(ln K / (K + sum of Q)) where a draw may reveal
        more."""
        given, most = self.settings["eta"], self.settings["eta_max"]
        if given is not None:
            return float(given)
        time = self.count + self.sum_of_q if self._reveals_more else self.count * t
        anytime = sqrt(log(self.count) / time)
        return anytime if most is None else min(most, anytime)

    def _q(self, chances: Sequence[tuple[float, float]], p: float) -> float:
        """Q = the sum of p_i / (o_i + implicit) over the arms awake, by the implicit of now; where only the drawn arm's
        p is known, 1 / (p + implicit), which is at most K."""
        implicit = self._implicit(self.eta)
        if chances:
            return fsum(played / (chance + implicit) for played, chance in chances if played > 0)
        return min(float(self.count), 1 / (p + implicit))

    def _update_rate(self, new_decision: bool) -> float:
        """That of T + 1; a later part of a decision takes max(T, 1) under importance."""
        return self._rate(self.total_steps + 1 if self.is_implicit or new_decision else max(self.total_steps, 1))

    def _implicit(self, eta: float) -> float:
        given = self.settings["implicit"]
        return eta / 2 if given is None else float(given)

    def transformed(self, reward_bps: float) -> float:
        kind, given = self.settings["transform"], self.settings["transform_bps"]
        if kind == "clip":
            bound = 100.0 if given is None else given
            return max(-bound, min(bound, reward_bps))
        if kind == "tanh":
            scale = 50.0 if given is None else given
            return tanh(reward_bps / scale) * scale
        return reward_bps

    def _softmax(self, eta: float) -> list[float]:
        """softmax(-eta L), or softmax(theta), unfloored."""
        logs = [-eta * loss for loss in self.state] if self.is_implicit else self.state
        largest = max(logs)
        return normalised([exp(each - largest) for each in logs])

    def _move(self, estimates: Mapping[int, float], eta: float, new_decision: bool, q: float) -> None:
        """L_i += estimate_i, or theta_i += clamp(eta estimate_i, +-2 ln(1 / min_weight)); then fixed share, and the Q
        of the decision, once a decision."""
        far = -2 * self._floor_log
        for arm, estimate in estimates.items():
            self.state[arm] += estimate if self.is_implicit else max(-far, min(far, eta * estimate))
        self._settle()
        if new_decision and self.settings["fixed_share"] > 0:
            self._share(eta)
        self.sum_of_q += q if new_decision else 0.0

    def _settle(self) -> None:
        """theta_i = max(theta_i - max(theta), ln(min_weight)); L is never floored."""
        if not self.is_implicit:
            largest = max(self.state)
            self.state = [max(theta - largest, self._floor_log) for theta in self.state]
        self.largest = list(map(max, self.largest, map(abs, self.state)))

    def _share(self, eta: float) -> None:
        """w <- (1 - alpha) w + alpha mean(w), unfloored, and back to L_i = -ln(w_i) / eta or theta_i = ln(w_i)."""
        alpha = self.settings["fixed_share"]
        logs = [log((1 - alpha) * weight + alpha / self.count) for weight in self._softmax(eta)]
        self.state = [-each / eta for each in logs] if self.is_implicit else logs
        self._settle()
