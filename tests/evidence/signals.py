"""`python -m tests.evidence.signals`: what rules learn from the signals of all arms, beside the drawn arm alone.

Law: a draw reveals what the market has for each arm revealed, and an arm is revealed by signals that say nothing of
what it earns but on real prices. There an arm on the drawn side earned what the trade earned and one on the other side
its mirror image with costs paid as well, which are the book's own numbers. On synthetic markets signals are fair coins.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng

from armstream.learning import Decision, LearningSettings, Observed
from armstream.learning.feedback import Feedback, groups_of, observing
from armstream.learning.observing import AdaptiveTsallis
from armstream.rules import new_learner
from tests.comparison import ARMS, SEEDS
from tests.evidence import learners
from tests.evidence.__main__ import PROCESSES, markets_of_prices
from tests.evidence.learners import Learner
from tests.evidence.markets import SYNTHETIC, Array, Market, late, synthetic
from tests.evidence.play import Place, play
from tests.evidence.report import DELAYS, PRICES, TRADES, mean_and_error

RATES = (0.5, 1.0, 2.0, 4.0)  # times the adaptive one
CHECKED: Sequence[Place] = [("steady", ""), ("trap", ""), *((prices, "1d") for prices in PRICES)]


class Drawn(NamedTuple):
    """What an engine logs with a draw."""

    arm: str
    propensity: float
    probabilities: Sequence[float]
    eta: float
    contributions: Mapping[str, float] = {}
    advice: Mapping[str, float] = {}


class Whole(NamedTuple):
    """A decision that is realised at once."""

    reward_bps: float
    weight: float = 1.0


class Told:
    """A learner of the stream, and what a draw of this market reveals to it. Rewards come in order."""

    def __init__(self, settings: LearningSettings, market: Market) -> None:
        assert market.buys is not None  # there is nothing to reveal without signals
        self.bandit = new_learner(settings)
        self._feedback = settings.feedback
        self._coming = zip(market.rewards_bps.tolist(), market.buys.tolist(), strict=True)

    @property
    def bound_bps(self) -> float | None:
        return self.bandit.reward_bound_bps

    def read(self) -> tuple[list[float], float]:
        reading = self.bandit.read()
        return reading.probabilities, reading.eta

    def learn(self, arm: int, reward_bps: float, probabilities: list[float], eta: float) -> None:
        rewards_bps, buys = next(self._coming)
        logged = Drawn(ARMS[arm], probabilities[arm], probabilities, eta)
        if self._feedback == "drawn":
            self.bandit.learn(Decision(arm, logged, True, ()), Whole(reward_bps), True)
            return
        signals = {name: "BUY" if buy else "SELL" for name, buy in zip(ARMS, buys, strict=True)}
        groups = groups_of(ARMS, signals, self._feedback, by_horizon=False)
        chances = observing(groups, probabilities)
        seen = [
            Observed(number, rewards_bps[number], chances[number])
            for number, group in enumerate(groups)
            if group == groups[arm]
        ]
        self.bandit.learn(Decision(arm, logged, True, (), chances), Whole(reward_bps), True, seen)


class Faster(AdaptiveTsallis):
    """Its rate, times a number."""

    times = 1.0

    @property
    def eta(self) -> float:
        return self.times * super().eta


def settings_of(algorithm: str, feedback: Feedback) -> LearningSettings:
    """As the presets have it: adaptive where there is such a rate."""
    eta_auto = "adaptive" if algorithm == "tsallis" else "anytime"
    return LearningSettings(ARMS, algorithm=algorithm, reward_bound_bps="auto", feedback=feedback, eta_auto=eta_auto)


def told(algorithm: str, feedback: Feedback) -> Callable[[Market], Learner]:
    return lambda market: Told(settings_of(algorithm, feedback), market)


def faster(times: float, feedback: Feedback) -> Callable[[Market], Learner]:
    def make(market: Market) -> Learner:
        learner = Told(settings_of("tsallis", feedback), market)
        learner.bandit = bandit = Faster(len(ARMS), ARMS, reward_bound_bps="auto")
        bandit.times = times
        return learner

    return make


def as_before(rule: str) -> Callable[[Market], Learner]:
    """A rule of the other tables."""
    return lambda market: learners.RULES[rule].make(len(market.rewards_bps), "logged")


RULES: Mapping[str, Callable[[Market], Learner]] = {
    "Exp3-IX, auto": as_before("Exp3-IX, auto"),
    "Exp3-IX, side": told("exp3ix", "side"),
    "Exp3-IX, both": told("exp3ix", "both"),
    "Tsallis, auto": as_before("Tsallis, auto"),
    "Tsallis, adaptive": told("tsallis", "drawn"),
    "Tsallis, adaptive, side": told("tsallis", "side"),
    "Tsallis, adaptive, both": told("tsallis", "both"),
}
OF_RATES: Mapping[str, Callable[[Market], Learner]] = {
    f"{feedback}, rate times {times:g}": faster(times, feedback) for feedback in ("drawn", "side") for times in RATES
}
PAIRS = (
    ("Tsallis, adaptive, side", "Tsallis, adaptive"),
    ("Tsallis, adaptive, both", "Tsallis, adaptive"),
    ("Tsallis, adaptive", "Tsallis, auto"),
    ("Exp3-IX, side", "Exp3-IX, auto"),
)


class Scored(NamedTuple):
    """Means over decisions, bps; `wrong`: the part of them whose most probable arm was not the best of its regime."""

    above_uniform_bps: float
    regret_bps: float
    wrong: float


Case = tuple[str, Place, int]  # rule, place, delay
Results = Mapping[Case, Sequence[Scored]]  # of each seed


def score(case: Case, seed: int, prices: Sequence[Market]) -> Scored:
    """A learner of its own for each market; random numbers are those of play.py. `prices` are the place's, if any."""
    rule, (name, _), delay = case
    markets = prices or [synthetic(name, seed)]
    above: list[Array] = []
    regret: list[Array] = []
    wrong: list[Array] = []
    for number, market in enumerate(markets):
        draws = default_rng([seed, number]).random(len(market.rewards_bps)).tolist()
        delayed = late(market, delay)
        probabilities = play({**RULES, **OF_RATES}[rule](delayed), delayed, draws)
        earned = np.einsum("na,na->n", probabilities, market.means_bps)
        above.append(earned - market.means_bps.mean(axis=1))
        regret.append(market.means_bps[:, market.means_bps.sum(axis=0).argmax()] - earned)
        wrong.append((probabilities.argmax(axis=1) != market.best_arms).astype(float))
    return Scored(*(float(np.concatenate(each).mean()) for each in (above, regret, wrong)))


def cases(rules: Sequence[str]) -> list[Case]:
    places: list[tuple[Place, int]] = [((name, ""), delay) for name in SYNTHETIC for delay in DELAYS]
    places += [(place, 0) for place in TRADES]
    return [(rule, place, delay) for place, delay in places for rule in rules]


def table(results: Results) -> Iterator[str]:
    yield (
        "| market | late by | rule | above uniform, bps | standard error | regret, bps | wrong arm "
        "| seeds below uniform |"
    )
    yield "| --- " * 8 + "|"
    for (rule, place, delay), seeds in results.items():
        above, error = mean_and_error(np.array([each.above_uniform_bps for each in seeds]))
        regret, wrong = (np.mean([getattr(each, name) for each in seeds]) for name in ("regret_bps", "wrong"))
        below = sum(each.above_uniform_bps < 0.0 for each in seeds)
        yield (
            f"| {' '.join(filter(None, place))} | {delay} | {rule} | {above:.2f} | {error:.2f} "
            f"| {round(float(regret), 2) + 0.0:.2f} | {100.0 * wrong:.0f} % | {below} of {len(seeds)} |"
        )


def paired(results: Results) -> Iterator[str]:
    """On real prices, by seed: the mean difference, its standard error, t, and where the first was above."""
    yield "| prices | held | one above the other | bps | standard error | t | seeds above |"
    yield "| --- " * 7 + "|"
    for one, other in PAIRS:
        for place in TRADES:
            pair = [results.get((rule, place, 0)) for rule in (one, other)]
            if None in pair:
                continue
            first, second = (np.array([each.above_uniform_bps for each in seeds]) for seeds in pair if seeds)
            difference, error = mean_and_error(first - second)
            above = f"{int((first > second).sum())} of {len(first)}"
            shown = f"{difference:.2f} | {error:.2f} | {difference / error:.1f} | {above}"
            yield f"| {' | '.join(place)} | {one} above {other} | {shown} |"


def run_all(every: Sequence[Case], seeds: int) -> Results:
    """In the cases' order; how far it is on stderr."""
    prices = markets_of_prices()
    runs = [(case, seed, prices.get(case[1], [])) for case in every for seed in range(seeds)]
    results: dict[Case, list[Scored]] = defaultdict(list)
    with ProcessPoolExecutor(PROCESSES) as pool:
        for done, ((case, *_), scored) in enumerate(
            zip(runs, pool.map(score, *zip(*runs, strict=True)), strict=True), start=1
        ):
            results[case].append(scored)
            sys.stderr.write(f"\r\033[K{done} of {len(runs)} runs")
    sys.stderr.write("\r\033[K")
    return results


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Rules that learn from the signals of all arms.")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="at least 2")
    parser.add_argument("--rules", nargs="+", choices=list(RULES), default=list(RULES), metavar="RULE")
    parser.add_argument("--rates", action="store_true", help="the adaptive rate times 1/2, 1, 2, 4, and nothing else")
    arguments = parser.parse_args(argv)
    if arguments.rates:
        every: list[Case] = [(rule, place, 0) for place in CHECKED for rule in OF_RATES]
        sys.stdout.write("\n".join([*table(run_all(every, arguments.seeds)), ""]))
        return
    results = run_all(cases(arguments.rules), arguments.seeds)
    sys.stdout.write("\n".join([*table(results), "", *paired(results), ""]))


if __name__ == "__main__":
    main()
