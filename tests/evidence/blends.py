"""`python -m tests.evidence.blends`: base weights, a fixed blend, Exp3-IX and EXP4 side by side on the demo's prices.

Law: what a desk would have done before any of it learned (base weights) is what the others are compared with, on the
same trades, seed by seed. Everything is as shipped and nothing was fitted: bounds are automatic, EXP4 has the horizon
that default.yaml has. As in play.py, a policy is scored by what its probabilities earn, net of costs.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from numpy.random import default_rng

from armstream.demo.desk import FEES_BPS, HORIZONS, SLIPPAGE_BPS
from armstream.demo.families import FAMILIES
from armstream.learning import AdvisedBandit, ExpertKind, blend
from tests.comparison import SEEDS
from tests.evidence.__main__ import PROCESSES, markets_of_prices
from tests.evidence.learners import Exp3IX, Exp4, Learner, shipped
from tests.evidence.markets import Array, Market
from tests.evidence.play import play
from tests.evidence.report import PRICES

ARMS = tuple(FAMILIES)
BASES: Mapping[str, Mapping[str, float]] = {  # config/demo-exp4.yaml's, and its opposite
    "trend": {"momentum": 0.3, "mean_reversion": 0.1, "breakout": 0.3, "average_cross": 0.2, "buy_and_hold": 0.1},
    "contrarian": {"mean_reversion": 0.6, "momentum": 0.1, "breakout": 0.1, "average_cross": 0.1, "buy_and_hold": 0.1},
}
Base = Mapping[str, float]


class BaseAlone:
    """Base weights, whatever they earned."""

    bound_bps = None

    def __init__(self, base: Base) -> None:
        self._probabilities = [base[arm] for arm in ARMS]

    def read(self) -> tuple[list[float], float]:
        return self._probabilities, 0.0

    def learn(self, arm: int, reward_bps: float, probabilities: list[float], eta: float) -> None:
        """Nothing."""


class FixedBlend:
    """`blend` of base and the shipped Exp3-IX by the shipped 30 % after the shipped 500 decisions."""

    bound_bps = None

    def __init__(self, base: Base) -> None:
        learner = shipped(0, "logged")
        assert isinstance(learner, Exp3IX)
        self._base, self._learner = base, learner

    def read(self) -> tuple[list[float], float]:
        bandit = self._learner.bandit
        weights = dict(zip(ARMS, bandit.read().weights, strict=True))
        mixed = blend(self._base, weights, total_steps=bandit.total_steps)
        return [mixed[arm] for arm in ARMS], bandit.eta

    def learn(self, arm: int, reward_bps: float, probabilities: list[float], eta: float) -> None:
        self._learner.learn(arm, reward_bps, probabilities, eta)


def exp4(base: Base) -> Learner:
    """EXP4 over base, a nested Exp3-IX and uniform."""
    experts: Mapping[str, ExpertKind] = {"base": base, "bandit": "exp3ix", "uniform": "uniform"}
    return Exp4(AdvisedBandit(ARMS, experts))


def exp3ix(_: Base) -> Learner:
    """The shipped rule, which knows no base."""
    return shipped(0, "logged")


POLICIES: Mapping[str, Callable[[Base], Learner]] = {
    "base alone": BaseAlone,
    "fixed blend, 30 %": FixedBlend,
    "Exp3-IX": exp3ix,
    "EXP4": exp4,
}
Place = tuple[str, str]  # the prices' name and the horizon
Run = tuple[str, str, int]  # base, policy, seed


def mean_bps(markets: Sequence[Market], run: Run) -> float:
    """What one policy with one seed earned a trade, net, over all stocks; each has a learner of its own."""
    base, policy, seed = run
    earned: list[Array] = []
    for number, market in enumerate(markets):
        draws = default_rng([seed, number]).random(len(market.rewards_bps)).tolist()
        probabilities = play(POLICIES[policy](BASES[base]), market, draws)
        earned.append(np.einsum("na,na->n", probabilities, market.means_bps))
    return float(np.concatenate(earned).mean())


def side_by_side(results: Mapping[tuple[Place, str, str], Sequence[float]]) -> Iterator[str]:
    """Net bps a trade: the mean over seeds, and from the least to the most of them."""
    yield f"| prices | held | base | {' | '.join(POLICIES)} |"
    yield "| --- | --- | --- |" + " --- |" * len(POLICIES)
    for place, base in dict.fromkeys((place, base) for place, base, _ in results):
        of_each = [results[place, base, policy] for policy in POLICIES]
        cells = [
            f"{np.mean(means):.2f}" + (f" ({min(means):.2f} to {max(means):.2f})" if min(means) < max(means) else "")
            for means in of_each
        ]
        yield f"| {place[0]} | {place[1]} | {base} | {' | '.join(cells)} |"


def table(results: Mapping[tuple[Place, str, str], Sequence[float]]) -> Iterator[str]:
    """Against base alone, paired by seed: the mean difference and its standard error."""
    yield "| prices | held | base | policy | above base, bps | standard error | seeds under base |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for (place, base, policy), means in results.items():
        above = np.subtract(means, results[place, base, "base alone"])
        if policy != "base alone":
            error = np.std(above, ddof=1) / np.sqrt(len(above))
            under = f"{int((above < 0).sum())} of {len(above)}"
            yield f"| {place[0]} | {place[1]} | {base} | {policy} | {np.mean(above):.2f} | {error:.2f} | {under} |"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Base weights, blends and EXP4 on real prices.")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="at least 2")
    seeds = range(parser.parse_args(argv).seeds)
    prices = markets_of_prices()
    places: list[Place] = [(name, horizon) for name in PRICES for horizon in HORIZONS]
    results: dict[tuple[Place, str, str], list[float]] = {}
    with ProcessPoolExecutor(PROCESSES) as pool:
        for done, place in enumerate(places):
            sys.stderr.write(f"\r\033[K{done} of {len(places)} markets")
            runs = [(base, policy, seed) for base in BASES for policy in POLICIES for seed in seeds]
            means = pool.map(mean_bps, [prices[place]] * len(runs), runs, chunksize=10)
            for (base, policy, _), mean in zip(runs, means, strict=True):
                results.setdefault((place, base, policy), []).append(mean)
    sys.stderr.write("\r\033[K")
    sys.stdout.write(f"costs of every trade: {2 * FEES_BPS + SLIPPAGE_BPS:g} bps\n\n")
    sys.stdout.write("\n".join([*side_by_side(results), "", *table(results), ""]))


if __name__ == "__main__":
    main()
