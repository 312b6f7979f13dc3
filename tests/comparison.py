"""Importance weighting and the shipped rule on the same trades: `python -m tests.comparison` prints the tables of
docs/evidence/comparison.md and docs/rules/bound.md.

Law: all rules face the same trades, one pass of the demo's prices through the demo's own desk, families and costs, and
the same random numbers. A rule draws an arm from its own probabilities and learns its reward when the position ends,
by the logged propensity. It is scored by what its probabilities earn on each trade, over all arms, not by the one arm
it drew: the luck of a draw stays in what it learns and out of its score.
"""

import argparse
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure
from numpy.random import default_rng
from numpy.typing import NDArray

from armstream.demo.desk import BEFORE_FIRST_BAR, HORIZONS, Desk, Views
from armstream.demo.families import FAMILIES
from armstream.demo.market import Bar, load_bars
from armstream.engine import Decision
from armstream.events import Fill
from armstream.learning import Exp3IXBandit, LearningSettings, RewardTracker
from armstream.resources import resource
from armstream.rules import new_learner
from armstream.settings import load

ARMS = tuple(FAMILIES)
SEEDS = 20
PLOT_POINTS = 100
BOUNDS_BPS = (100.0, 1000.0)  # beside the one that sets itself
COLORS = ("#c2571a", "#1f6fb2", "#2f8f4e", "#8a5fb0")

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Book:
    """A bandit's trades: decision n earns rewards_bps[n, arm], which is known `held_bars` decisions later. It is a BUY
    where buys[n, arm], else a SELL."""

    stock: str
    horizon: str
    held_bars: int
    rewards_bps: Array
    buys: NDArray[np.bool_]

    @property
    def best_arm(self) -> int:
        """In hindsight, of all its trades."""
        return int(self.rewards_bps.sum(axis=0).argmax())


@dataclass(frozen=True, slots=True)
class Played:
    """One seed of a rule on a horizon's books: bps of each trade, and the mean weight of the best arms at the end."""

    earned_bps: Array
    best_weight: float


def learning_rules() -> dict[str, LearningSettings]:
    """Both files' rules over the demo's families, and the shipped one with other bounds, by what a table says."""
    families = {"online_learning": {"families": list(ARMS)}}
    importance, shipped = (
        load(resource("config", file), {}, families).online_learning.for_learner()
        for file in ("documented.yaml", "default.yaml")
    )
    fixed = {f"shipped, B = {bound:g}": replace(shipped, reward_bound_bps=bound) for bound in BOUNDS_BPS}
    return {"importance": importance, f"shipped, B {shipped.reward_bound_bps}": shipped, **fixed}


def books(stock: str, bars: Sequence[Bar]) -> list[Book]:
    """One for each horizon that the stock's history has trades of."""
    by_arm = [_trades(stock, bars, arm) for arm in ARMS]
    every = []
    for horizon, held_bars in HORIZONS.items():
        rewards_bps, buys = np.array([trades[f"{stock}-{horizon}"] for trades in by_arm]).T
        every.append(Book(stock, horizon, held_bars, rewards_bps, buys > 0.0))
    return every


def _trades(stock: str, bars: Sequence[Bar], arm: str) -> dict[str, list[tuple[float, bool]]]:
    """bandit_id -> each decision's net reward and whether it bought, in order, where one arm takes them all."""
    position_ids: dict[str, list[str]] = {}
    bought: dict[str, bool] = {}
    earned_bps: dict[str, float] = {}
    tracker = RewardTracker()

    def choose(bandit_id: str, _: Sequence[Bar], __: Views) -> Decision:
        decision = Decision(bandit_id, arm, 1.0, (1.0,), None, 0)
        position_ids.setdefault(bandit_id, []).append(decision.position_id)
        return decision

    desk = Desk(stock, bars, choose, default_rng(0))  # how an order fills does not change what it earns
    for _ in range(BEFORE_FIRST_BAR + 1, len(bars)):
        for event in desk.next_bar():
            position_id, price, fees = event.position_id, event.price, event.fees
            if isinstance(event, Fill):
                bought[position_id] = event.side == "BUY"
                tracker.record_trade(arm, price, event.quantity, side=event.side, position_id=position_id, fees=fees)
            else:
                earned_bps[position_id] = tracker.close_trade(
                    arm, price, fees, event.slippage, position_id=position_id, quantity=event.quantity
                )
    return {bandit_id: [(earned_bps[one], bought[one]) for one in ids] for bandit_id, ids in position_ids.items()}


def play(bandit: Exp3IXBandit, book: Book, draws: Sequence[float]) -> Array:
    """What the bandit's probabilities earn at each decision, in bps; `draws` in [0, 1) choose what it learns from."""
    rewards_bps: list[list[float]] = book.rewards_bps.tolist()
    drawn: list[tuple[int, float]] = []
    probabilities: list[list[float]] = []

    def learn(decision: int) -> None:
        arm, propensity = drawn[decision]
        bandit.update(arm, rewards_bps[decision][arm], propensity)

    for now, draw in enumerate(draws):
        if now >= book.held_bars:
            learn(now - book.held_bars)
        p = bandit.read().probabilities
        arm = min(bisect_right(list(accumulate(p)), draw), len(p) - 1)
        drawn.append((arm, p[arm]))
        probabilities.append(p)
    for decision in range(max(0, len(draws) - book.held_bars), len(draws)):
        learn(decision)
    earned_bps: Array = np.einsum("na,na->n", np.array(probabilities), book.rewards_bps)
    return earned_bps


def play_all(rules: LearningSettings, played_books: Sequence[Book], seed: int) -> Played:
    """A bandit for each book; the random numbers are those of the book and the seed, whatever the rule."""
    earned, weights = [], []
    for number, book in enumerate(played_books):
        bandit = new_learner(rules)
        assert isinstance(bandit, Exp3IXBandit)  # both files are of that rule
        earned.append(play(bandit, book, default_rng([seed, number]).random(len(book.rewards_bps)).tolist()))
        weights.append(bandit.read().weights[book.best_arm])
    return Played(in_turn(earned), float(np.mean(weights)))


def in_turn(books_bps: Sequence[Array]) -> Array:
    """The trades of several books in the order of the demo, which takes a bar of each stock in turn."""
    longest = max(map(len, books_bps))
    rows = np.full((len(books_bps), longest), np.nan)
    for row, one in zip(rows, books_bps, strict=True):
        row[: len(one)] = one
    ordered: Array = rows.T.ravel()
    return ordered[~np.isnan(ordered)]


def comparison_rows(
    horizon: str, best_bps: Array, uniform_bps: Array, played: Mapping[str, Sequence[Played]]
) -> Iterator[str]:
    """A table's rows: mean net bps a trade, standard error over seeds, best arm's weight, seeds worse than uniform."""
    yield f"| {horizon} | best arm in hindsight | {best_bps.mean():.2f} | | 1 | |"
    for name, seeds in played.items():
        means = np.array([one.earned_bps.mean() for one in seeds])
        error = means.std(ddof=1) / np.sqrt(len(means))
        weight = np.mean([one.best_weight for one in seeds])
        worse = f"{np.count_nonzero(means < uniform_bps.mean())} of {len(means)}"
        yield f"| {horizon} | {name} | {means.mean():.2f} | {error:.2f} | {weight:.2f} | {worse} |"
    yield f"| {horizon} | uniform | {uniform_bps.mean():.2f} | | {1 / len(ARMS):.2f} | |"


def bound_row(horizon: str, rewards_bps: Array) -> str:
    """How large rewards are, over all arms, and how many of them two bounds clip."""
    sizes = np.abs(rewards_bps)
    median, high = np.quantile(sizes, (0.5, 0.95))
    clipped = (f"{100 * np.mean(sizes > bound):.0f} %" for bound in BOUNDS_BPS)
    return f"| {horizon} | {median:.0f} | {high:.0f} | {' | '.join(clipped)} |"


def draw_panel(
    figure: Figure,
    place: int,
    horizon: str,
    best_bps: Array,
    uniform_bps: Array,
    played: Mapping[str, Sequence[Played]],
) -> None:
    """Cumulative bps above uniform over trades; a rule is the median of its seeds, in the band of all of them."""
    axes = figure.add_subplot(1, len(HORIZONS), place)
    at = np.unique(np.linspace(0, len(uniform_bps) - 1, PLOT_POINTS).astype(int))
    axes.axhline(0.0, color="#777777", linewidth=1, label="uniform")
    best = np.cumsum(best_bps - uniform_bps)[at] / 1_000
    axes.plot(at + 1, best, color="#777777", linestyle="--", linewidth=1, label="best arm in hindsight")
    for color, (name, seeds) in zip(COLORS, played.items(), strict=True):
        above = np.array([np.cumsum(one.earned_bps - uniform_bps)[at] for one in seeds]) / 1_000
        axes.fill_between(at + 1, above.min(axis=0), above.max(axis=0), color=color, alpha=0.18, linewidth=0)
        axes.plot(at + 1, np.median(above, axis=0), color=color, linewidth=1.4, label=name)
    axes.set_title(f"held {HORIZONS[horizon]} bar{'s' * (HORIZONS[horizon] > 1)}", fontsize=10)
    axes.set_xlabel("trades of five stocks")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if place == 1:
        axes.set_ylabel("thousand net bps above uniform")
        axes.legend(fontsize=7, frameon=False, loc="upper left")


def play_rules(horizon: str, played_books: Sequence[Book], seeds: int) -> dict[str, list[Played]]:
    """Every rule, every seed; says on stderr where it is."""
    played: dict[str, list[Played]] = {}
    for name, rules in learning_rules().items():
        played[name] = []
        for seed in range(seeds):
            sys.stderr.write(f"\r\033[K{horizon}, {name}: seed {seed + 1} of {seeds}")
            played[name].append(play_all(rules, played_books, seed))
    sys.stderr.write("\r\033[K")
    return played


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Importance weighting and the shipped rule on the same real prices.")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the plot, as SVG")
    arguments = parser.parse_args(argv)
    all_books = [book for stock, bars in load_bars().items() for book in books(stock, bars)]
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    rules_table = [
        "| held | rule | net bps a trade | standard error | best arm's last weight | seeds worse than uniform |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    bounds_table = [
        "| held | median of abs(reward), bps | 95th percentile | clipped at 100 | clipped at 1000 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for place, horizon in enumerate(HORIZONS, start=1):
        of_horizon = [book for book in all_books if book.horizon == horizon]
        uniform_bps = in_turn([book.rewards_bps.mean(axis=1) for book in of_horizon])
        best_bps = in_turn([book.rewards_bps[:, book.best_arm] for book in of_horizon])
        played = play_rules(horizon, of_horizon, arguments.seeds)
        rules_table += comparison_rows(horizon, best_bps, uniform_bps, played)
        bounds_table.append(bound_row(horizon, np.concatenate([book.rewards_bps.ravel() for book in of_horizon])))
        draw_panel(figure, place, horizon, best_bps, uniform_bps, played)
    sys.stdout.write("\n".join([*rules_table, "", *bounds_table, ""]))
    if arguments.plot is not None:
        rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "comparison"})  # small, and the same every time
        figure.savefig(arguments.plot, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
