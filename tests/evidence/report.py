"""What the runs came to, as Markdown tables and plots: means over seeds with their standard errors, nothing chosen."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from armstream.demo.desk import HORIZONS
from tests.comparison import PLOT_POINTS
from tests.evidence.learners import RULES
from tests.evidence.markets import Array
from tests.evidence.play import Case, Job, Place, Played

DELAYS = (0, 5, 50)
PRICES = ("as they were", "without drift")
MARKETS: Sequence[Place] = [(name, "") for name in ("steady", "switching", "rare crash")]
TRADES: Sequence[Place] = [(prices, horizon) for prices in PRICES for horizon in HORIZONS]
LATE: Sequence[Place] = [*MARKETS, *((prices, "1d") for prices in PRICES)]  # longer positions are late by themselves
COLORS = ("#1f6fb2", "#7fb2dd", "#c2571a", "#2f8f4e", "#7b3fa0", "#8fc79f", "#c9302c", "#b8860b", "#888888")

Results = Mapping[Case, Sequence[Played]]  # of each seed

HEAD = (
    "above uniform, bps | standard error | regret, bps | its bound "
    "| collapsed on a wrong arm | seeds worse than uniform |"
)


def jobs(seeds: int) -> list[Job]:
    """Everything: where nothing is late the current propensity is the logged one."""
    played: list[Case] = []
    for rule, one in RULES.items():
        played += [(rule, place, 0, one.feedbacks[0]) for place in (*MARKETS, *TRADES)]
        played += [(rule, place, delay, each) for place in LATE for delay in DELAYS[1:] for each in one.feedbacks]
    return [Job(*each, seed) for each in played for seed in range(seeds)]


def synthetic_table(results: Results) -> Iterator[str]:
    """Without delay."""
    yield f"| market | rule | {HEAD}"
    yield "| --- " * 8 + "|"
    for place in MARKETS:
        yield from _rows(place[0], place, results)


def prices_table(results: Results) -> Iterator[str]:
    yield f"| prices | held | rule | {HEAD}"
    yield "| --- " * 9 + "|"
    for place in TRADES:
        yield from _rows(" | ".join(place), place, results)


def late_table(results: Results, cell: Callable[[Sequence[Played]], str]) -> Iterator[str]:
    """`cell` says what the seeds came to."""
    yield "| market | rule | no delay | 5, logged | 5, current | 50, logged | 50, current |"
    yield "| --- " * 7 + "|"
    for place in LATE:
        for rule, one in RULES.items():
            if rule == "uniform":
                continue
            cells = [cell(results[rule, place, 0, one.feedbacks[0]])]
            for delay in DELAYS[1:]:
                for feedback in ("logged", "current"):
                    seeds = results.get((rule, place, delay, feedback))
                    cells.append("" if seeds is None else cell(seeds))
            yield f"| {' '.join(filter(None, place))} | {rule} | {' | '.join(cells)} |"


def earned(seeds: Sequence[Played]) -> str:
    """Above uniform, with its standard error."""
    mean, error = mean_and_error(_means(seeds))
    return f"{mean:.2f} ± {error:.2f}"


def missed(seeds: Sequence[Played]) -> str:
    """Regret, share of decisions collapsed on a wrong arm, seeds worse than uniform."""
    return f"{_regret_bps(seeds):.2f}; {_collapsed(seeds)}; {_worse(seeds)}"


def paired_table(results: Results, one: str, other: str) -> Iterator[str]:
    """The mean difference over seeds by its standard error: t, with one degree of freedom less than seeds."""
    yield f"| prices | held | {one} above {other}, bps | standard error | t |"
    yield "| --- " * 5 + "|"
    for place in TRADES:
        means = [_means(results[rule, place, 0, "logged"]) for rule in (one, other)]
        difference, error = mean_and_error(means[0] - means[1])
        yield f"| {' | '.join(place)} | {difference:.2f} | {error:.2f} | {difference / error:.1f} |"


def mean_and_error(values: Array) -> tuple[float, float]:
    """The mean, and its standard error; at least two values."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def plot(results: Results, rows: Sequence[Sequence[Place]], decisions: Mapping[Place, int]) -> Figure:
    """A panel a place: cumulative reward above uniform, the median of the seeds in the band of all of them."""
    figure = Figure(figsize=(11, 3.5 * len(rows) + 0.5), layout="constrained")
    for row, places in enumerate(rows):
        for column, place in enumerate(places):
            axes = figure.add_subplot(len(rows), len(places), row * len(places) + column + 1)
            _panel(axes, place, results, decisions[place])
            if column == 0:
                axes.set_ylabel("thousand bps above uniform")
    lines = figure.axes[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def _panel(axes: Axes, place: Place, results: Results, decisions: int) -> None:
    at = np.linspace(1, decisions, PLOT_POINTS)
    axes.axhline(0.0, color="#444444", linewidth=0.8)
    learning = [name for name in RULES if name != "uniform"]
    for color, rule in zip(COLORS, learning, strict=True):
        paths = np.array([one.path_bps for one in results[rule, place, 0, RULES[rule].feedbacks[0]]]) / 1_000
        axes.fill_between(at, paths.min(axis=0), paths.max(axis=0), color=color, alpha=0.12, linewidth=0)
        axes.plot(at, np.median(paths, axis=0), color=color, linewidth=1.3, label=rule)
    name, horizon = place
    axes.set_title(f"prices {name}, held {horizon}" if horizon else name, fontsize=10)
    axes.set_xlabel("trades of five stocks" if horizon else "decisions")
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="x", nbins=5)
    axes.spines[["top", "right"]].set_visible(False)


def _rows(label: str, place: Place, results: Results) -> Iterator[str]:
    uniform = results["uniform", place, 0, "logged"]
    best, error = mean_and_error(np.array([one.regret_bps for one in uniform]))
    shown = f"{error:.2f}" if error >= 0.005 else ""  # most markets are the same for every seed
    yield f"| {label} | best fixed arm in hindsight | {best:.2f} | {shown} | 0 | | 0 % | |"
    for rule, one in RULES.items():
        seeds = results[rule, place, 0, one.feedbacks[0]]
        if rule == "uniform":
            yield f"| {label} | uniform | 0 | | {best:.2f} | | 0 % | |"
            continue
        mean, error = mean_and_error(_means(seeds))
        bounds = [each.regret_bound_bps for each in seeds if each.regret_bound_bps is not None]
        bound = f"{np.mean(bounds):.1f}" if bounds else "none"
        missed_by = f"{_regret_bps(seeds):.2f} | {bound} | {_collapsed(seeds)} | {_worse(seeds)} of {len(seeds)}"
        yield f"| {label} | {rule} | {mean:.2f} | {error:.2f} | {missed_by} |"


def _means(seeds: Sequence[Played]) -> Array:
    return np.array([one.above_uniform_bps for one in seeds])


def _regret_bps(seeds: Sequence[Played]) -> float:
    return round(float(np.mean([each.regret_bps for each in seeds])), 2) + 0.0  # no -0.00


def _collapsed(seeds: Sequence[Played]) -> str:
    return f"{100.0 * np.mean([each.collapsed for each in seeds]):.0f} %"


def _worse(seeds: Sequence[Played]) -> int:
    return int(np.count_nonzero(_means(seeds) < 0.0))
