"""Tsallis-INF with reduced variance, straight from its formulas: Zimmert and Seldin 2021 (JMLR 22(28)); where a draw
reveals more than its own arm, or the rate is adaptive, with the same 1/2 for every arm.

Law: state is L, the arms' losses, and S where the rate is adaptive; p_i = 4 / (eta (L_i - x))^2 with the x below min L
for which they sum to 1.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import fsum, sqrt

from armstream.events import BanditSnapshot, DecisionSnapshot, Reward
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
    shared_out,
)
from armstream.oracle.steps import Step, precise, shown, times, total

LEAST_PROPENSITY = 1e-80  # below it a sum of losses may leave what doubles hold
MOST_OF_A_DECISION = 4.0  # that it may add to S
_LEAST_NEWCOMER = 1e-10


class TsallisFormula(Formula):
    """`state` is L; `largest` the largest that each ever was, or was the difference of: the scale of its rounding.
    `sum_of_squares` is S, with its scale."""

    def __init__(self, settings: Settings, arms: Sequence[str]) -> None:
        super().__init__(settings, arms)
        self._is_adaptive: bool = settings["eta_auto"] == "adaptive"
        self._has_one_half = self._is_adaptive or settings["feedback"] != "drawn"
        self.reset()

    def withholds(self, decision: DecisionSnapshot) -> bool:
        return decision.arm is not None and (decision.propensity is None or decision.propensity < LEAST_PROPENSITY)

    def reset(self) -> None:
        self._forget_counts()
        self.state = [0.0] * self.count
        self.largest = [0.0] * self.count
        self.sum_of_squares: Sized = (0.0, 0.0)

    def restore(self, snapshot: BanditSnapshot) -> None:
        super().restore(snapshot)
        self.state = [arm.state[0] for arm in snapshot.arms]
        self.largest = list(map(abs, self.state))
        if self._is_adaptive:
            self.sum_of_squares = snapshot.state[0], snapshot.state[0]

    def arm_state(self) -> list[list[Sized]]:
        scale = max(self.largest)
        return [[(each, scale)] for each in self.state]

    def own_state(self) -> list[Sized]:
        return [self.sum_of_squares] if self._is_adaptive else []

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
        """Where not given, that of the round to come: 4 / sqrt(T + 1), or K^(1/4) / sqrt(S + sqrt(K) / 4)."""
        given = self.settings["eta"]
        if self._is_adaptive:
            return float(self.count**0.25 / sqrt(self.sum_of_squares[0] + sqrt(self.count) / 4))
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
        p = logged.propensity or 0.0
        chances = logged.probabilities or [p if at == arm else 0.0 for at in range(self.count)]
        if self._has_one_half:
            seen = logged.seen or (Seen(arm, reward_bps, 0.0, p, chances[arm], 1.0),)
            start = 0.5 if new_decision else 0.0
            taught = self._learn_seen(seen, chances, weight, start, new_decision, logged)
        else:
            taught = self._learn_drawn(arm, chances[arm], reward_bps, weight, new_decision, logged)
        self._count({arm: 1.0}, weight * reward_bps, new_decision)
        return taught

    def learn_blend(
        self,
        shares: Mapping[int, float],
        reward_bps: float,
        weight: float,
        new_decision: bool,
        logged: Logged = NOTHING_LOGGED,
    ) -> Taught:
        if logged.seen:
            taught = self._learn_seen(logged.seen, None, weight, 0.0, new_decision, logged).without_draw()
        else:
            eta, lessons = self.eta, shared_out(self, shares, self.loss_above_half(reward_bps), weight, None)
            self._move({lesson.arm: lesson.estimate for lesson in lessons}, new_decision)
            added = {lesson.arm: (lesson.estimate, lesson.estimate_scale) for lesson in lessons}
            terms = self._accumulate(added, None, logged.terms)
            taught = Taught(lessons, eta, "NONE", terms)
        self._count(shares, weight * reward_bps, new_decision)
        return taught

    def _learn_drawn(
        self, arm: int, p: float, reward_bps: float, weight: float, new_decision: bool, logged: Logged
    ) -> Taught:
        """The drawn arm alone, by the decision's whole distribution and its rate, or by its propensity alone.

        L_i += b_i for all, b_i = 1/2 where p_i >= eta^2; L_arm += (loss - b_arm) / p_arm; b is 0 without the whole.
        Those that could not be drawn move by what was played: the mean of all that, by p.
        """
        probabilities = logged.probabilities
        eta = 2 / sqrt(self.total_steps + 1) if self.settings["eta"] is None else float(self.settings["eta"])
        baselines = [0.0] * self.count
        if probabilities and logged.eta is not None:
            eta = logged.eta
            baselines = [0.5 if each >= eta * eta else 0.0 for each in probabilities]
        realised, baseline = weight * self.loss_above_half(reward_bps), baselines[arm]
        estimate, scale = realised / p, abs(realised) / p
        if new_decision:
            estimate, scale = (realised + 0.5 - baseline) / p + baseline, (abs(realised) + 0.5) / p + baseline
        moves = {at: each if new_decision else 0.0 for at, each in enumerate(baselines) if at != arm}
        awake = [(moves.get(at, 0.0), chance) for at, chance in enumerate(probabilities) if at not in logged.asleep]
        played = p * estimate + sum(chance * move for move, chance in awake)
        self._move({**moves, **dict.fromkeys(logged.asleep, played), arm: estimate}, new_decision)
        return Taught((Lesson(arm, 1.0, p, estimate, scale),), eta, "LOGGED")

    def _learn_seen(
        self,
        seen: Sequence[Seen],
        chances: Sequence[float] | None,
        weight: float,
        start: float,
        new_decision: bool,
        logged: Logged,
    ) -> Taught:
        """L_i += start for every arm, 1/2 once a draw (a blend has none, which would move all arms alike), and
        a_i = weight (loss_i - 1/2) / o_i for each arm seen. Those that were asleep move by what was played instead: the
        sum of played_i a_i. `chances` are p_i for S, None where nothing was drawn."""
        eta, lessons = self.eta, []
        terms: dict[int, Sized] = {}
        for one in seen:
            realised, size = self.signal(one, weight)
            term, scale = terms[one.arm] = realised / one.chance, size / one.chance
            lessons.append(Lesson(one.arm, one.share, one.chance, start + term, start + scale))
        played = fsum(one.played * terms[one.arm][0] for one in seen)
        moves = dict.fromkeys(range(self.count), start) | dict.fromkeys(logged.asleep, start + played)
        moves |= {lesson.arm: lesson.estimate for lesson in lessons}
        self.largest = [max(each, *(lesson.estimate_scale for lesson in lessons)) for each in self.largest]
        self._move(moves, new_decision)
        return Taught(tuple(lessons), eta, "LOGGED", self._accumulate(terms, chances, logged.terms))

    def _accumulate(
        self, terms: Mapping[int, Sized], chances: Sequence[float] | None, before: Mapping[str, Sized]
    ) -> dict[str, Sized]:
        """S += f(A + a) - f(A), A what the decision came to before this part and a what the part adds, by arm, each
        with the largest that it or a term of it ever was. S is never below 0, also where A is from before a reset."""
        if not self._is_adaptive:
            return {}
        after = {name: sized for name, sized in before.items() if name in self.arms}
        for at, (term, scale) in terms.items():
            was, largest = after.get(self.arms[at], (0.0, 0.0))
            after[self.arms[at]] = was + term, max(largest, abs(was + term), scale)
        added = self._part_of_s(after, chances) - self._part_of_s(before, chances)
        total = max(0.0, self.sum_of_squares[0] + added)
        self.sum_of_squares = total, max(self.sum_of_squares[1], total, MOST_OF_A_DECISION)
        return after

    def _part_of_s(self, terms: Mapping[str, Sized], chances: Sequence[float] | None) -> float:
        """f(A) = sum of p_i^(3/2) A_i^2, or max A_i^2 where nothing was drawn; at most 4."""
        squares = [terms.get(name, (0.0, 0.0))[0] ** 2 for name in self.arms]
        if chances is None:
            return min(MOST_OF_A_DECISION, max(squares))
        return min(MOST_OF_A_DECISION, fsum(p**1.5 * square for p, square in zip(chances, squares, strict=True)))

    # The formulas with their numbers.

    @property
    def keeps_terms(self) -> bool:
        return self._is_adaptive

    def terms_in(self, reward: Reward) -> Mapping[str, Sized]:
        """An estimate is the term, and the 1/2 of a draw."""
        if not self._is_adaptive or not reward.applied:
            return {}
        start = 0.5 if reward.counted and reward.propensity_source != "NONE" else 0.0
        terms = {arm.name: (arm.estimate or 0.0) - start for arm in reward.arms}
        return {name: (term, abs(term) + start) for name, term in terms.items()}

    def steps(self, evidence: Evidence) -> list[Step]:
        if evidence.arm is None and not evidence.logged.seen:
            steps = self._share_steps(evidence)
        elif evidence.arm is not None and not self._has_one_half:
            steps = self._drawn_steps(evidence, evidence.arm)
        else:
            steps = self._seen_steps(evidence)
        for step in [one for one in steps if one.name in ("estimate", "move")]:
            was = self.state[self.arms.index(step.of)]
            numbers = f"{precise(was)} + {precise(step.value)}"
            steps.append(Step("L", step.of, f"L + {step.name}", numbers, was + step.value))
        if self._is_adaptive:
            steps.append(self._square_step(evidence))
        if evidence.new_decision and self.settings["fixed_share"] > 0:
            steps += self._fixed_share_steps(evidence)
        return steps

    def _share_steps(self, evidence: Evidence) -> list[Step]:
        _, shares, reward_bps, weight, _, _ = evidence
        steps = [step._replace(of="") for step in self.loss_steps(min(shares), reward_bps)]
        signal = f"({shown(steps[-1].value)} - 1/2)"
        for arm, share in sorted(shares.items()):
            value = share * weight * self.loss_above_half(reward_bps)
            numbers = f"{shown(share)} * {times(weight, signal)}"
            steps.append(Step("estimate", self.arms[arm], "share * weight * (loss - 1/2)", numbers, value))
        return steps

    def _drawn_steps(self, evidence: Evidence, arm: int) -> list[Step]:
        """The decision's whole distribution and its rate say which arms have a b of 1/2."""
        _, _, reward_bps, weight, new_decision, logged = evidence
        p, eta, of = logged.propensity or 0.0, logged.eta, self.arms[arm]
        is_whole = bool(logged.probabilities) and eta is not None
        baselines = [0.0] * self.count
        steps = self.loss_steps(arm, reward_bps)
        if is_whole and eta is not None:
            p = logged.probabilities[arm]
            steps.append(Step("eta", "", "of the decision, as logged", shown(eta), eta))
            baselines = [0.5 if each >= eta * eta else 0.0 for each in logged.probabilities]
        signal, b = above_half(weight, steps[len(steps) - 1 - is_whole], 0.0), baselines[arm]
        value, formula, numbers = weight * self.loss_above_half(reward_bps) / p, "weight (loss - 1/2) / p", signal
        if new_decision:
            value = (weight * self.loss_above_half(reward_bps) + 0.5 - b) / p + b
            formula, numbers = "(weight (loss - 1/2) + 1/2 - b) / p + b", f"({signal} + 1/2 - {shown(b)})"
            if is_whole and eta is not None:
                steps.append(self._baseline_step(of, p, eta, b))
        numbers = f"{numbers} / {shown(p)}" + (f" + {shown(b)}" if new_decision else "")
        steps.append(Step("estimate", of, formula, numbers, value))
        moves = {at: each if new_decision else 0.0 for at, each in enumerate(baselines) if at != arm}
        awake = {at: move for at, move in moves.items() if at not in logged.asleep}
        if new_decision and is_whole and eta is not None:
            steps += [
                self._baseline_step(self.arms[at], logged.probabilities[at], eta, move)._replace(name="move")
                for at, move in awake.items()
                if move
            ]
        played = [(p, value), *((chance, awake[at]) for at, chance in enumerate(logged.probabilities) if at in awake)]
        return steps + self.asleep_steps(logged.asleep, 0.0, played)

    @staticmethod
    def _baseline_step(of: str, p: float, eta: float, b: float) -> Step:
        numbers = f"1/2 if {shown(p)} >= {shown(eta)} ** 2 else 0"
        return Step("b", of, "1/2 where p >= eta^2, else 0", numbers, b)

    def _seen_steps(self, evidence: Evidence) -> list[Step]:
        """1/2 once a draw, for every arm."""
        arm, _, reward_bps, weight, new_decision, logged = evidence
        p = logged.propensity or 0.0
        seen = logged.seen
        if not seen and arm is not None:
            seen = (Seen(arm, reward_bps, 0.0, p, logged.probabilities[arm] if logged.probabilities else p, 1.0),)
        start, steps, terms = (0.5 if new_decision and arm is not None else 0.0), list[Step](), []
        for one in seen:
            steps += self.loss_steps(one.arm, one.reward_bps, one.scale_bps > 0)
            term = weight * self.loss_above_half(one.reward_bps) / one.chance
            below = "p" if one.share == 1.0 and one.chance == one.played else "o"
            formula = f"{'1/2 + ' if start else ''}weight (loss - 1/2) / {below}"
            signal = f"{above_half(weight, steps[-1], 0.0)} / {shown(one.chance)}"
            numbers = f"{'1/2 + ' if start else ''}{signal}"
            steps.append(Step("estimate", self.arms[one.arm], formula, numbers, start + term))
            terms.append((one.played, term))
        others = set(range(self.count)) - {one.arm for one in seen} - set(logged.asleep)
        if start:
            formula = "1/2, once a draw, as every arm: nobody saw its loss"
            steps += [Step("move", self.arms[at], formula, "1/2", start) for at in sorted(others)]
        return steps + self.asleep_steps(list(logged.asleep), start, terms)

    def _square_step(self, evidence: Evidence) -> Step:
        """What S becomes."""
        after, before = deepcopy(self), evidence.logged.terms
        whole = after.learn(evidence).terms
        chances: Sequence[float] | None = None
        if evidence.arm is not None:
            p = evidence.logged.propensity or 0.0
            chances = evidence.logged.probabilities or [p if at == evidence.arm else 0.0 for at in range(self.count)]
        now = self._part_numbers(whole, chances)
        was = f" - {self._part_numbers(before, chances)}" if before else ""
        numbers = f"max(0, {precise(self.sum_of_squares[0])} + {now}{was})"
        inside = "max A_i^2" if chances is None else "sum of p_i^1.5 A_i^2"
        formula = f"S + what min(4, {inside}) grows by, A_i the sum of weight (loss_i - 1/2) / o_i over its parts"
        return Step("S", "", formula, numbers, after.sum_of_squares[0])

    def _part_numbers(self, terms: Mapping[str, Sized], chances: Sequence[float] | None) -> str:
        sums = [terms.get(name, (0.0, 0.0))[0] for name in self.arms]
        if chances is None:
            return f"min(4, max({', '.join(f'{shown(each)} ** 2' for each in sums)}))"
        parts = (f"{shown(p)} ** 1.5 * {shown(each)} ** 2" for p, each in zip(chances, sums, strict=True) if each)
        return f"min(4, {total(parts)})"

    def _fixed_share_steps(self, evidence: Evidence) -> list[Step]:
        before, alpha = deepcopy(self), self.settings["fixed_share"]
        before.settings = {**self.settings, "fixed_share": 0.0}
        before.learn(evidence)
        before.total_steps, before.sum_of_squares = self.total_steps, self.sum_of_squares  # its rate is that of before
        steps = []
        for name, weight in zip(self.arms, before.weights(), strict=True):
            shared, eta = (1 - alpha) * weight + alpha / self.count, before.eta
            numbers = f"(1 - {shown(alpha)}) * {precise(weight)} + {shown(alpha)} / {self.count}"
            steps.append(Step("w", name, "(1 - alpha) w + alpha / K, alpha the fixed share", numbers, shared))
            numbers = f"2 / ({shown(eta)} * sqrt({precise(shared)}))"
            steps.append(Step("L", name, "2 / (eta sqrt(w))", numbers, 2 / (eta * sqrt(shared))))
        return steps

    def reading_steps(self) -> list[Step]:
        given, k, t = self.settings["eta"], self.count, self.total_steps
        if self._is_adaptive:
            numbers = f"{k} ** 0.25 / sqrt({precise(self.sum_of_squares[0])} + sqrt({k}) / 4)"
            rate = Step("eta", "", "K^(1/4) / sqrt(S + sqrt(K) / 4)", numbers, self.eta)
        elif given is None:
            rate = Step("eta", "", "4 / sqrt(T + 1), T the decisions so far", f"4 / sqrt({t} + 1)", self.eta)
        else:
            rate = Step("eta", "", "as set", shown(given), self.eta)
        least, weights = min(self.state), self.weights()
        d = 2 / (self.eta * sqrt(max(weights)))
        steps = [rate, Step("d", "", "what brings the sum of the weights to 1, found by halving", shown(d), d)]
        for name, loss, weight in zip(self.arms, self.state, weights, strict=True):
            numbers = f"4 / ({shown(self.eta)} * ({precise(loss)} - {precise(least)} + {precise(d)})) ** 2"
            steps.append(Step("weight", name, "4 / (eta (L - min L + d))^2", numbers, weight))
        return steps

    # What changes.

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
