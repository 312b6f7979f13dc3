"""The same rules again, slowly: the formulas of the learners at 50 digits, and rewards unit by unit in fractions.

Written from the formulas alone; it imports nothing of the package.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from mpmath import mp, mpf

mp.dps = 50

Number = Any  # mpmath ships no types


@dataclass
class SlowBandit:
    """One learner. `state` is theta or L; nothing is optimised and nothing is refused."""

    n_arms: int
    estimator: str
    gamma: float = 0.05
    eta: float | None = None
    eta_max: float | None = 0.07
    implicit: float | None = None
    bound: float = 100.0
    fixed_share: float = 0.0
    transform: str = "none"
    transform_bps: float | None = None
    min_weight: float = 1e-10
    steps: int = 0
    state: list[Number] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = [mpf(each) for each in self.state] or [mpf(0)] * self.n_arms

    def rate(self, t: int) -> Number:
        if self.eta is not None:
            return mpf(self.eta)
        anytime = mp.sqrt(mp.log(self.n_arms) / (self.n_arms * mpf(t)))
        return anytime if self.eta_max is None else min(mpf(self.eta_max), anytime)

    def unfloored(self, eta: Number) -> list[Number]:
        powers = [mp.e**s if self.estimator == "importance" else mp.e ** (-eta * s) for s in self.state]
        return [each / mp.fsum(powers) for each in powers]

    def weights(self) -> list[Number]:
        w = self.unfloored(self.rate(self.steps + 1))
        floored = [max(each, mpf(self.min_weight) * max(w)) for each in w]
        return [each / mp.fsum(floored) for each in floored]

    def probabilities(self) -> list[Number]:
        return [(1 - mpf(self.gamma)) * w + mpf(self.gamma) / self.n_arms for w in self.weights()]

    def transformed(self, reward: float) -> Number:
        if self.transform == "clip":
            scale = mpf(100 if self.transform_bps is None else self.transform_bps)
            return max(-scale, min(scale, mpf(reward)))
        if self.transform == "tanh":
            scale = mpf(50 if self.transform_bps is None else self.transform_bps)
            return mp.tanh(mpf(reward) / scale) * scale
        return mpf(reward)

    def loss(self, reward: float) -> Number:
        bound = mpf(self.bound)
        clipped = max(-bound, min(bound, self.transformed(reward)))
        return (bound - clipped) / (2 * bound)

    def update(
        self, arm: int, reward: float, propensity: float | None, weight: float, new_decision: bool
    ) -> list[Number]:
        p = self.probabilities()[arm] if propensity is None else mpf(propensity)
        eta = self.round_rate(new_decision)
        if self.estimator == "importance":
            estimate = mpf(weight) * self.transformed(reward) / p
        else:
            numerator = mpf(weight) * (self.loss(reward) - mpf(1) / 2) + (mpf(1) / 2 if new_decision else 0)
            estimate = numerator / (p + self.added(eta))
        self.move({arm: estimate}, eta, new_decision)
        return [estimate]

    def update_many(
        self,
        shares: Mapping[int, float],
        reward: float,
        attribution: str,
        propensities: Mapping[int, float] | None,
        weight: float,
        new_decision: bool,
    ) -> list[Number]:
        if attribution == "sequential":
            estimates = []
            for arm, share in shares.items():
                alone = None if propensities is None else {arm: propensities[arm]}
                estimates += self.update_many({arm: share}, reward, "simultaneous", alone, weight, new_decision)
            return estimates
        eta = self.round_rate(new_decision)
        current = self.probabilities()
        moves = {}
        for arm, share in shares.items():
            p = current[arm] if propensities is None else mpf(propensities[arm])
            if self.estimator == "importance":
                top, bottom = self.transformed(reward), p
            else:
                top, bottom = self.loss(reward) - mpf(1) / 2, p + self.added(eta)
            bottom = mpf(1) if attribution == "undivided" else bottom
            moves[arm] = mpf(share) * mpf(weight) * top / bottom
        self.move(moves, eta, new_decision)
        return list(moves.values())

    def round_rate(self, new_decision: bool) -> Number:
        if self.estimator == "implicit":
            return self.rate(self.steps + 1)
        return self.rate(max(self.steps + (1 if new_decision else 0), 1))

    def added(self, eta: Number) -> Number:
        return eta / 2 if self.implicit is None else mpf(self.implicit)

    def move(self, moves: Mapping[int, Number], eta: Number, new_decision: bool) -> None:
        if self.estimator == "implicit":
            for arm, estimate in moves.items():
                self.state[arm] = self.state[arm] + estimate
        else:
            far = 2 * mp.log(1 / mpf(self.min_weight))
            for arm, estimate in moves.items():
                self.state[arm] = self.state[arm] + max(-far, min(far, eta * estimate))
            largest = max(self.state)
            self.state = [max(theta - largest, mp.log(mpf(self.min_weight))) for theta in self.state]
        if new_decision and self.fixed_share > 0:
            alpha = mpf(self.fixed_share)
            w = self.unfloored(eta)
            mean = mp.fsum(w) / self.n_arms
            mixed = [(1 - alpha) * each + alpha * mean for each in w]
            self.state = [mp.log(each) if self.estimator == "importance" else -mp.log(each) / eta for each in mixed]
        if new_decision:
            self.steps += 1


@dataclass
class SlowExp4:
    """EXP4 over advice that is handed in with each call. `state` is log weights or losses of the experts."""

    n_arms: int
    n_experts: int
    estimator: str
    eta: float
    gamma: float
    implicit: float
    bound: float = 100.0
    min_weight: float = 1e-10
    state: list[Number] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = [mpf(each) for each in self.state] or [mpf(0)] * self.n_experts

    def weights(self) -> list[Number]:
        slope = mpf(1) if self.estimator == "importance" else -mpf(self.eta)
        powers = [mp.e ** (slope * each) for each in self.state]
        floored = [max(each, mpf(self.min_weight) * max(powers)) for each in powers]
        return [each / mp.fsum(floored) for each in floored]

    def play(self, advice: Sequence[Sequence[float]]) -> list[Number]:
        q = self.weights()
        return [
            (1 - mpf(self.gamma)) * mp.fsum(q[n] * mpf(said[arm]) for n, said in enumerate(advice))
            + mpf(self.gamma) / self.n_arms
            for arm in range(self.n_arms)
        ]

    def update(
        self, arm: int, advice: Sequence[Sequence[float]], reward: float, weight: float, propensity: float | None
    ) -> Number:
        p = self.play(advice)[arm] if propensity is None else mpf(propensity)
        if self.estimator == "implicit":
            bound = mpf(self.bound)
            loss = (bound - max(-bound, min(bound, mpf(reward)))) / (2 * bound)
            realised = mpf(weight) * (loss - mpf(1) / 2) + mpf(1) / 2 if weight else mpf(0)
            estimate = realised / (p + mpf(self.implicit))
            self.state = [each + mpf(said[arm]) * estimate for each, said in zip(self.state, advice, strict=True)]
            return estimate
        estimate = mpf(weight) * mpf(reward) / p
        far = 2 * mp.log(1 / mpf(self.min_weight))
        moved = [
            each + max(-far, min(far, mpf(self.eta) * mpf(said[arm]) * estimate))
            for each, said in zip(self.state, advice, strict=True)
        ]
        self.state = [max(each - max(moved), mp.log(mpf(self.min_weight))) for each in moved]
        return estimate


def slow_tsallis(losses: Sequence[Number], decisions: int, given_eta: float | None = None) -> list[Number]:
    """`4 / (eta (L - x))^2` with eta = 4 / sqrt(n + 1), or the given one, x by halving
    [min L - 2 sqrt(K) / eta, min L - 2 / eta]."""
    eta = 4 / mp.sqrt(mpf(decisions + 1)) if given_eta is None else mpf(given_eta)
    exact = [mpf(each) for each in losses]
    low, high = min(exact) - 2 * mp.sqrt(len(exact)) / eta, min(exact) - 2 / eta
    for _ in range(200):
        x = (low + high) / 2
        too_much = mp.fsum(4 / (eta * (each - x)) ** 2 for each in exact) > 1
        low, high = (low, x) if too_much else (x, high)
    return [4 / (eta * (each - low)) ** 2 for each in exact]


@dataclass(frozen=True)
class SlowFill:
    """So many whole units at one price, with the fees of all of them."""

    price: Fraction
    units: int
    fees: Fraction


@dataclass(frozen=True)
class SlowClose:
    price: Fraction
    units: int
    costs: Fraction


def slow_rewards(
    sign: int, multiplier: Fraction, fills: Sequence[SlowFill], closes: Sequence[SlowClose]
) -> list[Fraction]:
    """What each close earned in bps: units stand in a queue, and each one closed takes the one filled first."""
    queue = [(fill.price, fill.fees / fill.units) for fill in fills for _ in range(fill.units)]
    rewards = []
    for close in closes:
        net = notional = Fraction(0)
        for _ in range(close.units):
            entry_price, entry_fee = queue.pop(0)
            net += sign * (close.price - entry_price) * multiplier - entry_fee - close.costs / close.units
            notional += entry_price * multiplier
        rewards.append(net / notional * 10_000)
    return rewards
