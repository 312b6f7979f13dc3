"""What to expect of the shipped rule: `python -m tests.expectation` prints the tables of docs/concepts/bandits.md.

Law: the learner is the one that the shipped settings make. One draw is exact; what comes after many is the median of
seeds, and its range. Five arms, one earns 10 bps more than the others, normal noise of 20 bps.
"""

import argparse
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median

from matplotlib import rcParams
from matplotlib.figure import Figure
from numpy.random import PCG64, Generator

from armstream.learning import Exp3IXBandit
from armstream.learning.reward_bound import WARM_UP_REWARDS
from armstream.rules import new_learner
from armstream.settings import load

ARMS = ("lightgbm", "xgboost", "ridge", "lstm", "carry")
BEST_ARM = 3
EDGE_BPS, NOISE_BPS = 10.0, 20.0
BOUND_BPS = 100.0
REWARDS_BPS = (100.0, 32.8667, 0.0, -32.8667, -100.0)
DECISIONS = (10, 100, 110, 200, 1_100, 5_100)  # the first 100 are for the bound
SEEDS = range(20)
COLORS = ("#1f6fb2", "#c2571a")


def shipped(reward_bound_bps: str) -> Exp3IXBandit:
    """A learner over ARMS as config/default.yaml makes it, but for its bound."""
    environment = {
        "ARMSTREAM__ONLINE_LEARNING__FAMILIES": f"[{', '.join(ARMS)}]",
        "ARMSTREAM__ONLINE_LEARNING__REWARD_BOUND_BPS": reward_bound_bps,
    }
    learner = new_learner(load(None, environment).online_learning.for_learner())
    assert isinstance(learner, Exp3IXBandit)
    return learner


def after_one_draw(reward_bps: float) -> float:
    """The drawn arm's weight after one decision, from even weights, with a bound of 100 bps."""
    bandit = shipped(f"{BOUND_BPS:g}")
    bandit.update(BEST_ARM, reward_bps)
    return float(bandit.read().weights[BEST_ARM])


def best_weights(seed: int, decisions: Sequence[int] = DECISIONS) -> list[float]:
    """The best arm's weight after each of `decisions`, which rise; the bound finds itself, as shipped."""
    bandit = shipped("auto")
    draws, market = (Generator(PCG64([seed, stream])) for stream in (0, 1))
    wanted, weights = set(decisions), []
    for decision in range(1, decisions[-1] + 1):
        arm = _pick(bandit.read().probabilities, float(draws.random()))
        bandit.update(arm, float(market.normal(EDGE_BPS if arm == BEST_ARM else 0.0, NOISE_BPS)))
        if decision in wanted:
            weights.append(bandit.read().weights[BEST_ARM])
    return weights


def _pick(probabilities: Sequence[float], number: float) -> int:
    return min(bisect_right(list(accumulate(probabilities)), number), len(probabilities) - 1)


def one_draw_table() -> Iterator[str]:
    yield "| reward of the draw, bps | its loss | the drawn arm's weight after it, from 0.200 |"
    yield "| --: | --: | --: |"
    for reward_bps in REWARDS_BPS:
        loss = (BOUND_BPS - reward_bps) / (2 * BOUND_BPS)
        yield f"| {reward_bps:+.4g} | {loss:.3f} | {after_one_draw(reward_bps):.3f} |"


def many_table() -> Iterator[str]:
    yield "| decisions | learned from | best arm's weight, median | least to most | seeds above 0.2 | above 0.5 |"
    yield "| --: | --: | --: | --- | --- | --- |"
    for decisions, weights in zip(DECISIONS, zip(*map(best_weights, SEEDS), strict=True), strict=True):
        above = [f"{sum(weight > least + 1e-9 for weight in weights)} of {len(weights)}" for least in (0.2, 0.5)]
        learned = max(decisions - WARM_UP_REWARDS, 0)
        spread = f"{min(weights):.3f} to {max(weights):.3f}"
        yield f"| {decisions:,} | {learned:,} | {median(weights):.3f} | {spread} | {' | '.join(above)} |"


def plot(path: Path) -> None:
    """Left, what one draw does; right, what many do."""
    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "expectation", "font.family": "sans-serif"})
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    one, many = figure.subplots(1, 2)
    rewards_bps = [float(reward) for reward in range(-100, 101, 5)]
    one.plot(rewards_bps, [after_one_draw(reward) for reward in rewards_bps], color=COLORS[1])
    one.axhline(0.2, color="0.5", linestyle="--", linewidth=1)
    one.set(title="One draw: only its loss counts", xlabel="its reward, bps (B = 100)", ylabel="the drawn arm's weight")
    decisions = sorted({*DECISIONS, *(round(100 * 1.07**step) for step in range(59))})
    paths = list(zip(*(best_weights(seed, decisions) for seed in SEEDS), strict=True))
    many.fill_between(decisions, list(map(min, paths)), list(map(max, paths)), color=COLORS[0], alpha=0.2, linewidth=0)
    many.plot(decisions, list(map(median, paths)), color=COLORS[0])
    many.axhline(0.2, color="0.5", linestyle="--", linewidth=1)
    many.set(title="Many: the best arm, +10 bps", xlabel="decisions", ylabel="its weight", xscale="log", ylim=(0, 1))
    for axes in (one, many):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as SVG")
    options = parser.parse_args(argv)
    sys.stdout.write("\n".join([*one_draw_table(), "", *many_table(), ""]))
    if options.plot is not None:
        plot(options.plot)


if __name__ == "__main__":
    main()
