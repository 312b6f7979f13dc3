"""How reliably each rule finds the best of five arms: `python -m tests.learning.convergence` prints the table of
docs/evidence/comparison.md.

Arms are drawn from the learner's own probabilities; the best arm earns a normal reward around its edge, the others
around 0. What counts is the best arm's weight after 5,000 decisions.
"""

from collections.abc import Callable, Sequence

import numpy as np

from armstream.learning import Exp3IXBandit

N_ARMS = 5
BEST_ARM = 3
DECISIONS = 5_000
SEEDS = range(20)


def implicit_as_shipped(seed: int) -> Exp3IXBandit:
    return Exp3IXBandit(N_ARMS, gamma=0.0, eta_max=None, seed=seed, estimator="implicit", reward_bound_bps="auto")


def implicit_with_100(seed: int) -> Exp3IXBandit:
    return Exp3IXBandit(N_ARMS, gamma=0.0, eta_max=None, seed=seed, estimator="implicit", reward_bound_bps=100.0)


def importance_with_small_eta(seed: int) -> Exp3IXBandit:
    return Exp3IXBandit(N_ARMS, eta=0.001, seed=seed)


def importance_by_default(seed: int) -> Exp3IXBandit:
    return Exp3IXBandit(N_ARMS, seed=seed)


def final_weights(
    learner: Callable[[int], Exp3IXBandit], edge_bps: float, noise_bps: float, seeds: Sequence[int] = SEEDS
) -> list[float]:
    """The best arm's weight after 5,000 decisions, a seed each; market and learner have generators of their own."""
    return [_final_weight(learner(seed), edge_bps, noise_bps, seed) for seed in seeds]


def _final_weight(bandit: Exp3IXBandit, edge_bps: float, noise_bps: float, seed: int) -> float:
    noise = np.random.Generator(np.random.PCG64([seed, 1])).normal(0.0, noise_bps, DECISIONS).tolist()
    for each in noise:
        arm = bandit.select_arm()
        bandit.update(arm, each + (edge_bps if arm == BEST_ARM else 0.0))
    return bandit.read().weights[BEST_ARM]


def main() -> None:
    cases: list[tuple[str, Callable[[int], Exp3IXBandit], float, float]] = [
        ("implicit as shipped", implicit_as_shipped, 30.0, 30.0),
        ("implicit as shipped", implicit_as_shipped, 10.0, 20.0),
        ("implicit, B = 100", implicit_with_100, 30.0, 30.0),
        ("implicit, B = 100", implicit_with_100, 10.0, 20.0),
        ("importance, eta = .001", importance_with_small_eta, 10.0, 20.0),
        ("importance, automatic rate", importance_by_default, 10.0, 20.0),
        ("importance, automatic rate", importance_by_default, 30.0, 30.0),
    ]
    print("| rule | best arm, bps | noise, bps | seeds above .75 | above .8 | above .9 | least | median |")  # noqa: T201 - a script
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")  # noqa: T201 - a script
    for name, learner, edge_bps, noise_bps in cases:
        weights = sorted(final_weights(learner, edge_bps, noise_bps))
        above = [f"{sum(weight > limit for weight in weights)} of {len(weights)}" for limit in (0.75, 0.8, 0.9)]
        middle = float(np.median(weights))
        print(f"| {name} | +{edge_bps:g} | {noise_bps:g} | {' | '.join(above)} | {weights[0]:.3f} | {middle:.3f} |")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
