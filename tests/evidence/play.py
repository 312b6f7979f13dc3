"""One rule in one scenario with one seed. Law: a rule is scored by what its probabilities earn, not by its draws.

The luck of a draw stays in what a rule learns and out of its score; the random numbers are those of the seed and the
market, whatever the rule.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.random import default_rng

from tests.comparison import PLOT_POINTS, in_turn
from tests.evidence.learners import RULES, Feedback, Learner
from tests.evidence.markets import Array, Market, late, synthetic

COLLAPSED = 0.9  # of the probability on one arm

Place = tuple[str, str]  # a synthetic market's name and "", or the prices' and the horizon
Case = tuple[str, Place, int, Feedback]  # rule, place, delay, feedback: what seeds are runs of


@dataclass(frozen=True, slots=True)
class Job:
    """Rewards come `delay` decisions later than they would."""

    rule: str
    place: Place
    delay: int
    feedback: Feedback
    seed: int

    @property
    def case(self) -> Case:
        return self.rule, self.place, self.delay, self.feedback


@dataclass(frozen=True, slots=True)
class Played:
    """Means over decisions, bps; the guarantee on the regret where there is one; the share of decisions with a wrong
    arm above .9; above uniform so far, summed, at PLOT_POINTS evenly spaced decisions."""

    above_uniform_bps: float
    regret_bps: float
    regret_bound_bps: float | None
    collapsed: float
    path_bps: Array


_prices: dict[Place, Sequence[Market]] = {}  # of this process: too large to send with every job


def know(prices: Mapping[Place, Sequence[Market]]) -> None:
    """The real markets that jobs here are about."""
    _prices.update(prices)


def run(job: Job) -> Played:
    """A learner of its own for each market, all of them in turn."""
    name, horizon = job.place
    markets = _prices[name, horizon] if horizon else [synthetic(name, job.seed)]
    rule = RULES[job.rule]
    above, regret, collapsed, bounds = [], [], [], []
    for number, market in enumerate(markets):
        decisions = len(market.rewards_bps)
        learner = rule.make(decisions, job.feedback)
        draws = default_rng([job.seed, number]).random(decisions).tolist()
        probabilities = play(learner, late(market, job.delay), draws)
        earned = np.einsum("na,na->n", probabilities, market.means_bps)
        above.append(earned - market.means_bps.mean(axis=1))
        regret.append(market.means_bps[:, market.means_bps.sum(axis=0).argmax()] - earned)
        is_wrong = probabilities.argmax(axis=1) != market.best_arms
        collapsed.append((is_wrong & (probabilities.max(axis=1) > COLLAPSED)).astype(float))
        if rule.regret_bound is not None and learner.bound_bps is not None:
            bounds.append(rule.regret_bound(decisions) * 2.0 * learner.bound_bps)
    path = np.cumsum(in_turn(above))
    at = np.linspace(0, len(path) - 1, PLOT_POINTS).astype(int)
    return Played(
        float(np.concatenate(above).mean()),
        float(np.concatenate(regret).mean()),
        sum(bounds) / len(path) if bounds else None,
        float(np.concatenate(collapsed).mean()),
        path[at],
    )


def play(learner: Learner, market: Market, draws: Sequence[float]) -> Array:
    """The learner's probabilities at each decision, (n, K); `draws` in [0, 1) choose what it learns from."""
    rewards_bps: list[list[float]] = market.rewards_bps.tolist()
    readings: list[tuple[list[float], float]] = []
    arms: list[int] = []
    for now, draw in enumerate(draws):
        known = now - market.wait
        if known >= 0:
            learner.learn(arms[known], rewards_bps[known][arms[known]], *readings[known])
        reading = learner.read()
        readings.append(reading)
        arms.append(min(bisect_right(list(accumulate(reading[0])), draw), len(reading[0]) - 1))
    return np.array([probabilities for probabilities, _ in readings])
