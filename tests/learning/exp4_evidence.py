"""Where the best arm depends on the context: `python -m tests.learning.exp4_evidence` prints regrets, in minutes.

Five regimes come at random, each with a best arm of its own: it gains with probability .65, the others with .5. One
expert of five knows which. Regret is what that expert's advice gains in expectation, less what the learner's own
probabilities do; a gain is 1 (+100 bps), a loss 0 (-100 bps), and the arm learned from is drawn.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from math import e, log, sqrt

import numpy as np

from armstream.learning import Exp3IXBandit, Exp4Bandit
from armstream.learning.advice import Expert
from armstream.learning.exp4.experts import FollowTheBest, uniform

N_ARMS = 5
BEST, OTHERS = 0.65, 0.5
DECISIONS = 20_000
SEEDS = 20

Step = Callable[[int, float], float]
"""One decision at a regime with a number below 1 that says who gains: the expected gain of the probabilities."""


def one_hot(arm: int) -> list[float]:
    return [float(each == arm) for each in range(N_ARMS)]


def experts(best: FollowTheBest) -> dict[str, Expert]:
    return {
        "knows the regime": one_hot,
        "one regime late": lambda regime: one_hot((regime + 1) % N_ARMS),
        "always arm 0": one_hot(0),
        "uniform": uniform(N_ARMS),
        "follow the best": best,
    }


def gain(regime: int, arm: int) -> float:
    """The probability of a gain, which is the expected one."""
    return BEST if arm == regime else OTHERS


def expected(regime: int, probabilities: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(sum(p * gain(regime, arm) for arm, p in enumerate(probabilities.tolist())))


def exp4(estimator: str, n_decisions: int, seed: int) -> Step:
    best = FollowTheBest(N_ARMS)
    bandit = Exp4Bandit(N_ARMS, experts(best), expected_decisions=n_decisions, seed=seed, estimator=estimator)

    def step(regime: int, luck: float) -> float:
        probabilities = bandit.play_distribution(regime)
        arm = bandit.choose(regime)
        gained = luck < gain(regime, arm)
        reward = float(gained) if estimator == "importance" else (100.0 if gained else -100.0)
        bandit.update(arm, regime, reward, propensity=probabilities[arm])
        best.learn(arm, reward)
        return expected(regime, probabilities)

    return step


def exp3(_: int, seed: int) -> Step:
    bandit = Exp3IXBandit(N_ARMS, gamma=0.0, eta_max=None, seed=seed, estimator="implicit")

    def step(regime: int, luck: float) -> float:
        probabilities = bandit.get_probabilities()
        arm = bandit.select_arm()
        bandit.update(arm, 100.0 if luck < gain(regime, arm) else -100.0, probabilities[arm])
        return expected(regime, probabilities)

    return step


LEARNERS: Mapping[str, Callable[[int, int], Step]] = {
    "EXP4": lambda n_decisions, seed: exp4("importance", n_decisions, seed),
    "EXP4-IX": lambda n_decisions, seed: exp4("implicit", n_decisions, seed),
    "Exp3-IX": exp3,
}


def regret(learner: str, n_decisions: int, seed: int) -> float:
    """Of one run; all learners of a seed face the same regimes and the same luck."""
    market = np.random.default_rng([seed, 1])
    regimes, lucks = market.integers(0, N_ARMS, n_decisions).tolist(), market.random(n_decisions).tolist()
    step = LEARNERS[learner](n_decisions, seed)
    return sum(BEST - step(regime, luck) for regime, luck in zip(regimes, lucks, strict=True))


def bound(n_decisions: int) -> float:
    """Auer et al. 2002, section 7: 2 sqrt(e - 1) sqrt(K T ln N), there for a rate a factor sqrt(e - 1) below ours."""
    return 2 * sqrt(e - 1) * sqrt(N_ARMS * n_decisions * log(len(experts(FollowTheBest(N_ARMS)))))


def table(n_decisions: int, n_seeds: int) -> Iterator[str]:
    regrets: dict[str, list[float]] = {learner: [] for learner in LEARNERS}
    for seed in range(n_seeds):
        for learner in LEARNERS:
            regrets[learner].append(regret(learner, n_decisions, seed))
        print(f"\rseed {seed + 1} of {n_seeds}", end="", file=sys.stderr, flush=True)  # noqa: T201 - progress
    print(file=sys.stderr)  # noqa: T201 - progress
    yield f"K = 5, N = 5, T = {n_decisions:,}, {n_seeds} seeds; the bound of EXP4 is {bound(n_decisions):,.0f}"
    yield ""
    yield "| learner | mean regret | spread over seeds | largest | less than Exp3-IX |"
    yield "| --- | --- | --- | --- | --- |"
    beside = np.mean(regrets["Exp3-IX"])
    for learner, of_seeds in regrets.items():
        mean = np.mean(of_seeds)
        yield f"| {learner} | {mean:,.0f} | {np.std(of_seeds):,.0f} | {max(of_seeds):,.0f} | {1 - mean / beside:.0%} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decisions", type=int, default=DECISIONS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    for line in table(arguments.decisions, arguments.seeds):
        print(line)  # noqa: T201 - a script
