"""`python -m tests.evidence.intervals`: how often the 95 % intervals of armstream.evaluation hold, for each preset.

Law: a learner draws for itself, and the evaluation sees nothing but its Reward records. The truth is the market's.

Arms take sides of one move of the price, with fat tails; the better arm is more often right. So the arms on one side
earn the same, and the others its mirror image, as `feedback: side` and `both` have it.
"""

import argparse
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from math import gamma, nan, pi, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from armstream.evaluation import Evaluation, Interval
from armstream.evaluation.interval import quantile
from armstream.events import Reward, RewardArm
from armstream.learning import Decision, Learner, LearningSettings, Observed
from armstream.learning.feedback import groups_of, mirrored, observing
from armstream.resources import resource
from armstream.rules import new_learner
from armstream.settings import load
from tests.evidence.signals import Drawn, Whole

Array = NDArray[np.float64]

ARMS: Final = ("momentum", "mean_reversion", "breakout", "average_cross", "buy_and_hold")
BASE: Final = {"momentum": 0.4, "mean_reversion": 0.3, "breakout": 0.2, "average_cross": 0.1}  # the best arm is another
BEST: Final = 4
MOVE_BPS, COSTS_BPS, EDGE_BPS, TAILS = 20.0, 1.0, 10.0, 5.0  # standard deviation, costs, edge, degrees of freedom
REGIMES: Final = 5
PRESETS: Final = {
    "default": ("default.yaml", "demo.yaml"),  # files of the same learner
    "tracking": ("tracking.yaml",),
    "tsallis": ("tsallis.yaml",),
    "tracking-tsallis": ("tracking-tsallis.yaml",),
    "exp4": ("exp4.yaml",),
    "demo-exp4": ("demo-exp4.yaml",),
    "sides": ("sides.yaml",),
    "both-sides": ("both-sides.yaml",),
    "documented": ("documented.yaml",),
}
POLICIES: Final = ("uniform", "base")
SEEDS, SIZES, PROCESSES = 1_000, (200, 500, 5_000), 2


class Market(NamedTuple):
    """(n, K): what each arm would have earned, in expectation, and whether it said BUY."""

    rewards_bps: Array
    means_bps: Array
    buys: NDArray[np.bool_]


def _mean_move_bps() -> float:
    """E|move| of Student's t with so many degrees of freedom, scaled to the standard deviation."""
    n = TAILS
    absolute = 2.0 * sqrt(n) * gamma((n + 1.0) / 2.0) / ((n - 1.0) * sqrt(pi) * gamma(n / 2.0))
    return MOVE_BPS * absolute / sqrt(n / (n - 2.0))


def sided(edges_bps: Array, generator: Generator) -> Market:
    """An arm with an edge is right more often than not: its side times the move is `edge` in the mean."""
    count, arms = edges_bps.shape
    move: Array = MOVE_BPS / sqrt(TAILS / (TAILS - 2.0)) * generator.standard_t(TAILS, (count, 1))
    is_right = generator.random((count, arms)) < 0.5 + edges_bps / _mean_move_bps() / 2.0
    buys: NDArray[np.bool_] = is_right == (move > 0.0)
    gross = np.where(buys, 1.0, -1.0) * move
    return Market(gross - COSTS_BPS, edges_bps - COSTS_BPS, buys)


def steady(trades: int, generator: Generator) -> Market:
    """One arm has an edge of 10 bps, which base weights give nothing to."""
    edges = np.zeros((trades, len(ARMS)))
    edges[:, BEST] = EDGE_BPS
    return sided(edges, generator)


def switching(trades: int, generator: Generator) -> Market:
    """Each arm has the edge in its turn."""
    edges, at = np.zeros((trades, len(ARMS))), np.arange(trades)
    edges[at, at * REGIMES // trades] = EDGE_BPS
    return sided(edges, generator)


def trap(trades: int, generator: Generator) -> Market:
    """The best arm of the first quarter is the worst from then on, when another one earns."""
    edges, late = np.zeros((trades, len(ARMS))), np.arange(trades) >= trades // 4
    edges[:, 0] = np.where(late, -EDGE_BPS, EDGE_BPS)
    edges[late, BEST] = EDGE_BPS
    return sided(edges, generator)


def obvious(trades: int, generator: Generator) -> Market:
    """One arm is nearly always right, so that the others are hardly drawn."""
    edges = np.zeros((trades, len(ARMS)))
    edges[:, BEST] = 0.95 * _mean_move_bps()
    return sided(edges, generator)


MARKETS: Final[Mapping[str, Callable[[int, Generator], Market]]] = {
    "steady": steady,
    "switching": switching,
    "trap": trap,
    "obvious": obvious,
}


@cache
def settings_of(file: str) -> LearningSettings:
    families = {"online_learning": {"families": list(ARMS)}}
    return load(resource("config", file), {}, families).online_learning.for_learner()


class Trade(NamedTuple):
    """A decision's distribution, the arm drawn, and the record of its reward."""

    probabilities: Sequence[float]
    arm: int
    reward: Reward
    bound_bps: float | None


def trades_of(settings: LearningSettings, market: Market, draws: Sequence[float]) -> Iterator[Trade]:
    """A new learner's, each realised before the next decision."""
    learner = new_learner(settings)
    rewards_bps, buys = market.rewards_bps.tolist(), market.buys.tolist()
    for number, draw in enumerate(draws):
        probabilities, eta, said = _played(learner, buys[number], number * REGIMES // len(draws))
        arm = min(bisect_right(list(accumulate(probabilities)), draw), len(ARMS) - 1)
        advice = {name: each[arm] for name, each in said.items()}
        logged = Drawn(ARMS[arm], probabilities[arm], probabilities, eta, {}, advice)
        decision, observed = _revealed(settings, logged, arm, buys[number], rewards_bps[number][arm])
        bound_bps = learner.reward_bound_bps
        update = learner.learn(decision, Whole(rewards_bps[number][arm]), True, observed)
        seen = zip(update.arms, update.propensities, update.estimates, strict=True)
        arms = tuple([RewardArm(ARMS[one], float(one == arm), o, estimate) for one, o, estimate in seen])
        reward = Reward(
            *("bandit", number + 1, f"position-{number}", "fill", "close", 1.0, rewards_bps[number][arm], 1.0),
            *(update.applied, update.applied, learner.total_steps, arms or (RewardArm(ARMS[arm], 1.0),)),
            *(update.propensity_source if update.applied else None, update.eta, number),
        )
        yield Trade(probabilities, arm, reward, bound_bps)


def _played(
    learner: Learner, buys: Sequence[bool], regime: int
) -> tuple[Sequence[float], float, dict[str, list[float]]]:
    """The distribution, its rate (0 where nobody asks), and what each expert said.

    An engine's experts: `regime` is sure of one arm, `majority` of those on the side that most take.
    """
    experts = learner.read_experts()
    of_engine = [name for name, _, said in experts if not len(said)]
    said = {name: list(said) for name, _, said in experts if len(said)}
    if not of_engine:
        reading = learner.read()
        return reading.probabilities, reading.eta, said
    side = sum(buys) * 2 > len(ARMS)
    with_most = [float(each == side) for each in buys]
    said["regime"] = [float(arm == regime % len(ARMS)) for arm in range(len(ARMS))]
    said["majority"] = [each / sum(with_most) for each in with_most]
    weights = {name: weight for name, weight, _ in experts}
    mixed = [sum(weights[name] * each[arm] for name, each in said.items()) for arm in range(len(ARMS))]
    total = sum(mixed)
    return [(1.0 - learner.gamma) * each / total + learner.gamma / len(ARMS) for each in mixed], 0.0, said


def _revealed(
    settings: LearningSettings, logged: Drawn, arm: int, buys: Sequence[bool], reward_bps: float
) -> tuple[Decision, Sequence[Observed]]:
    if settings.feedback == "drawn":
        return Decision(arm, logged, True, ()), ()
    signals = {name: "BUY" if buy else "SELL" for name, buy in zip(ARMS, buys, strict=True)}
    groups = groups_of(ARMS, signals, settings.feedback, by_horizon=False)
    chances = observing(groups, logged.probabilities)
    other = mirrored(reward_bps, COSTS_BPS)
    observed = [
        Observed(one, reward_bps if buys[one] == buys[arm] else other, chances[one])
        for one, group in enumerate(groups)
        if group == groups[arm]
    ]
    return Decision(arm, logged, True, (), chances), observed


# ---------------------------------------------------------------------------------------------------------------------
# One run
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    preset: str
    market: str
    trades: int
    seed: int


class Held(NamedTuple):
    """Whether the interval of a sum held `same`, what the policy would have earned on the same trades, and `expected`;
    half its width a trade. nan, where there was no interval."""

    same: float
    expected: float
    half_bps: float


NONE = Held(nan, nan, nan)
Run = Mapping[str, Held]  # by what is judged


def run(job: Job) -> Run:
    """The intervals after the last trade."""
    market = MARKETS[job.market](job.trades, default_rng([job.seed, 3_000]))
    draws = default_rng([job.seed, 4_000]).random(job.trades).tolist()
    evaluation = Evaluation(BASE)
    trades = list(trades_of(settings_of(PRESETS[job.preset][0]), market, draws))
    for trade in trades:
        evaluation.add(trade.reward, ARMS, trade.bound_bps)
    kept = [number for number, trade in enumerate(trades) if trade.reward.applied]
    played = np.array([trades[number].probabilities for number in kept])
    arms = np.array([trades[number].arm for number in kept])
    rewards_bps, means_bps = market.rewards_bps[kept], market.means_bps[kept]
    shares = {"uniform": np.full(len(ARMS), 1.0 / len(ARMS)), "base": np.array([BASE.get(arm, 0.0) for arm in ARMS])}
    found = {"uniform": evaluation.above_uniform(), "base": evaluation.above_base()}
    held: dict[str, Held] = {}
    for policy, share in shares.items():
        same = float((rewards_bps[np.arange(len(kept)), arms] - rewards_bps @ share).sum())
        expected = float(((played - share) * means_bps).sum())
        held[policy] = _held(found[policy], same, expected)
        for name, other in _others([trades[number].reward for number in kept], share).items():
            held[f"{policy}, {name}"] = _held(other, same, expected)
    for number, arm in enumerate(evaluation.arms()):
        if arm.mean_bps is None or arm.error_bps is None:
            held[f"arm {number}"] = NONE
            continue
        same, expected = (
            float(abs(arm.mean_bps - each[:, number].mean()) <= arm.error_bps) for each in (rewards_bps, means_bps)
        )
        held[f"arm {number}"] = Held(same, expected, arm.error_bps)
    return held


def _held(interval: Interval | None, same: float, expected: float) -> Held:
    if interval is None:
        return NONE
    rounding = 1e-9 * (abs(same) + abs(interval.cumulative_bps) + 1.0)
    low, high = interval.low_bps - rounding, interval.high_bps + rounding
    return Held(float(low <= same <= high), float(low <= expected <= high), interval.per_trade_error_bps)


def _others(rewards: Sequence[Reward], share: Array) -> dict[str, Interval]:
    """Three other constructions, where draws reveal one arm or one side: not self-normalised; self-normalised with the
    normal quantile and the error of the policy's value alone; the same with weights cut at the root of n."""
    weigh = dict(zip(ARMS, share.tolist(), strict=True))
    r = np.array([reward.reward_bps for reward in rewards])
    if any(one.estimate != reward.arms[0].estimate for reward in rewards for one in reward.arms[1:]):
        return {}
    w = np.array(
        [sum(weigh[one.name] for one in reward.arms) / (reward.arms[0].propensity or nan) for reward in rewards]
    )
    n = len(rewards)
    plain, spread = float((w * r).mean()), float((w * r).std())
    cut = np.minimum(w, np.sqrt(np.arange(1, n + 1)))
    normal = quantile(1e9)
    return {
        "plain": _interval(r, plain, normal * spread * sqrt(n), w),
        "value alone": _interval(r, *_normalised(r, w, normal), w),
        "cut": _interval(r, *_normalised(r, cut, normal), cut),
    }


def _normalised(r: Array, w: Array, normal: float) -> tuple[float, float]:
    value = float((w * r).sum() / w.sum())
    return value, float(normal * np.sqrt((w * w * (r - value) ** 2).sum()) * len(r) / w.sum())


def _interval(r: Array, value: float, half: float, w: Array) -> Interval:
    n = len(r)
    total = float(r.sum()) - n * value
    effective = float(w.sum() ** 2 / (w * w).sum())
    return Interval(n, total / n, total, total - half, total + half, half / n, effective)


# ---------------------------------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------------------------------


Case = tuple[str, str, int]  # market, preset, trades


def summed(runs: Sequence[Run], what: str) -> tuple[Held, int]:
    """The means over the runs with an interval, and how many those are."""
    given = [run[what] for run in runs if what in run and run[what].same == run[what].same]
    if not given:
        return NONE, 0
    return Held(*(float(np.mean(each)) for each in zip(*given, strict=True))), len(given)


def main_table(results: Mapping[Case, Sequence[Run]]) -> Iterator[str]:
    yield "| market | preset | trades | above | given | holds, same trades | holds, expected | half width, bps |"
    yield "| --- " * 8 + "|"
    for (market, preset, trades), runs in results.items():
        for policy in POLICIES:
            held, given = summed(runs, policy)
            shown = (
                f"{100 * held.same:.1f} % | {100 * held.expected:.1f} % | {held.half_bps:.2f}" if given else "- | - | -"
            )
            yield f"| {market} | {preset} | {trades:,} | {policy} | {given} of {len(runs)} | {shown} |"


def other_table(results: Mapping[Case, Sequence[Run]]) -> Iterator[str]:
    """The least coverage over presets and policies, and the mean half width, of each construction."""
    yield "| market | trades | construction | least, same trades | least, expected | half width, bps a trade |"
    yield "| --- " * 6 + "|"
    names = {"as shipped": "", "plain": ", plain", "value alone": ", value alone", "cut": ", cut"}
    for market, trades in dict.fromkeys((market, trades) for market, _, trades in results):
        for name, suffix in names.items():
            every = [
                summed(runs, policy + suffix)
                for (where, preset, count), runs in results.items()
                if (where, count) == (market, trades) and preset != "both-sides"
                for policy in POLICIES
            ]
            held = [each for each, given in every if given]
            if held:
                yield (
                    f"| {market} | {trades:,} | {name} | {100 * min(each.same for each in held):.1f} % "
                    f"| {100 * min(each.expected for each in held):.1f} % "
                    f"| {np.mean([each.half_bps for each in held]):.2f} |"
                )


def arms_table(results: Mapping[Case, Sequence[Run]]) -> Iterator[str]:
    """Of the five means of arms together."""
    yield "| market | trades | preset | means given | holds, same trades | holds, expected | half width, bps |"
    yield "| --- " * 7 + "|"
    for (market, preset, trades), runs in results.items():
        every = [summed(runs, f"arm {number}") for number in range(len(ARMS))]
        given = sum(count for _, count in every)
        if given:
            held = [sum(getattr(each, name) * count for each, count in every if count) / given for name in Held._fields]
            yield (
                f"| {market} | {trades:,} | {preset} | {given} of {len(runs) * len(ARMS)} "
                f"| {100 * held[0]:.1f} % | {100 * held[1]:.1f} % | {held[2]:.2f} |"
            )


def run_all(jobs: Sequence[Job]) -> Mapping[Case, Sequence[Run]]:
    """In the jobs' order; how far it is on stderr."""
    results: dict[Case, list[Run]] = defaultdict(list)
    with ProcessPoolExecutor(PROCESSES) as pool:
        for done, (job, found) in enumerate(zip(jobs, pool.map(run, jobs, chunksize=20), strict=True), start=1):
            results[job.market, job.preset, job.trades].append(found)
            if not done % 100:
                sys.stderr.write(f"\r\033[K{done} of {len(jobs)} runs")
    sys.stderr.write("\r\033[K")
    return results


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="How often the intervals hold.")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--trades", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--markets", nargs="+", choices=list(MARKETS), default=["steady", "switching"])
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    arguments = parser.parse_args(argv)
    jobs = [
        Job(preset, market, trades, seed)
        for market in arguments.markets
        for trades in arguments.trades
        for preset in arguments.presets
        for seed in range(arguments.seeds)
    ]
    results = run_all(jobs)
    for table in (main_table(results), other_table(results), arms_table(results)):
        sys.stdout.write("\n".join([*table, "", ""]))


if __name__ == "__main__":
    main()
