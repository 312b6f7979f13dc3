"""What the runs came to, as Markdown tables and plots: means over seeds with their standard errors, nothing chosen."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from armstream.demo.desk import HORIZONS
from tests.comparison import PLOT_POINTS
from tests.evidence.learners import RULES, Feedback
from tests.evidence.markets import SYNTHETIC, Array
from tests.evidence.play import Job, Played

DELAYS = (0, 5, 50)
PRICES = ("as they were", "without drift")
COLORS = ("#1f6fb2", "#7fb2dd", "#c2571a", "#2f8f4e", "#7b3fa0", "#8fc79f", "#c9302c", "#b8860b", "#888888")

Place = tuple[str, int | str]
Results = Mapping[tuple[str, Place, Feedback], Sequence[Played]]

HEAD = (
    "above uniform, bps | standard error | regret, bps | its bound "
    "| collapsed on a wrong arm | seeds worse than uniform |"
)


def jobs(seeds: int) -> list[Job]:
    """Everything: at delay 0 the current propensity is the logged one, and real prices are played with logged ones."""
    played: list[tuple[str, Place, Feedback]] = []
    for rule, one in RULES.items():
        for name in SYNTHETIC:
            played += [(rule, (name, 0), one.feedbacks[0])]
            played += [(rule, (name, delay), feedback) for delay in DELAYS[1:] for feedback in one.feedbacks]
        played += [(rule, (prices, horizon), one.feedbacks[0]) for prices in PRICES for horizon in HORIZONS]
    return [Job(*each, seed) for each in played for seed in range(seeds)]


def synthetic_table(results: Results) -> Iterator[str]:
    """Without delay."""
    yield f"| market | rule | {HEAD}"
    yield "| --- " * 8 + "|"
    for name in SYNTHETIC:
        yield from _rows(name, (name, 0), results)


def prices_table(results: Results) -> Iterator[str]:
    yield f"| prices | held | rule | {HEAD}"
    yield "| --- " * 9 + "|"
    for prices in PRICES:
        for horizon in HORIZONS:
            yield from _rows(f"{prices} | {horizon}", (prices, horizon), results)


def delay_table(results: Results) -> Iterator[str]:
    """Above uniform, with its standard error."""
    yield "| market | rule | no delay | 5, logged | 5, current | 50, logged | 50, current |"
    yield "| --- " * 7 + "|"
    for name in SYNTHETIC:
        for rule, one in RULES.items():
            if rule == "uniform":
                continue
            cells = [_above(results[rule, (name, 0), one.feedbacks[0]])]
            for delay in DELAYS[1:]:
                for feedback in ("logged", "current"):
                    cells.append(_above(results.get((rule, (name, delay), feedback), ())))
            yield f"| {name} | {rule} | {' | '.join(cells)} |"


def paired_table(results: Results, one: str, other: str) -> Iterator[str]:
    """The mean difference over seeds by its standard error: t, with one degree of freedom less than seeds."""
    yield f"| prices | held | {one} above {other}, bps | standard error | t |"
    yield "| --- " * 5 + "|"
    for prices in PRICES:
        for horizon in HORIZONS:
            means = [_means(results[rule, (prices, horizon), "logged"]) for rule in (one, other)]
            difference, error = mean_and_error(means[0] - means[1])
            yield f"| {prices} | {horizon} | {difference:.2f} | {error:.2f} | {difference / error:.1f} |"


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
        paths = np.array([one.path_bps for one in results[rule, place, RULES[rule].feedbacks[0]]]) / 1_000
        axes.fill_between(at, paths.min(axis=0), paths.max(axis=0), color=color, alpha=0.12, linewidth=0)
        axes.plot(at, np.median(paths, axis=0), color=color, linewidth=1.3, label=rule)
    name, detail = place
    axes.set_title(name if isinstance(detail, int) else f"prices {name}, held {detail}", fontsize=10)
    axes.set_xlabel("decisions" if isinstance(detail, int) else "trades of five stocks")
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="x", nbins=5)
    axes.spines[["top", "right"]].set_visible(False)


def _rows(label: str, place: Place, results: Results) -> Iterator[str]:
    uniform = results["uniform", place, "logged"]
    best, error = mean_and_error(np.array([one.regret_bps for one in uniform]))
    shown = f"{error:.2f}" if error >= 0.005 else ""  # most markets are the same for every seed
    yield f"| {label} | best fixed arm in hindsight | {best:.2f} | {shown} | 0 | | 0 % | |"
    for rule, one in RULES.items():
        seeds = results[rule, place, one.feedbacks[0]]
        if rule == "uniform":
            yield f"| {label} | uniform | 0 | | {best:.2f} | | 0 % | |"
            continue
        mean, error = mean_and_error(_means(seeds))
        regret = round(float(np.mean([each.regret_bps for each in seeds])), 2) + 0.0  # no -0.00
        bounds = [each.regret_bound_bps for each in seeds if each.regret_bound_bps is not None]
        bound = f"{np.mean(bounds):.1f}" if bounds else "none"
        collapsed = 100.0 * np.mean([each.collapsed for each in seeds])
        worse = f"{np.count_nonzero(_means(seeds) < 0.0)} of {len(seeds)}"
        yield f"| {label} | {rule} | {mean:.2f} | {error:.2f} | {regret:.2f} | {bound} | {collapsed:.0f} % | {worse} |"


def _means(seeds: Sequence[Played]) -> Array:
    return np.array([one.above_uniform_bps for one in seeds])


def _above(seeds: Sequence[Played]) -> str:
    if not seeds:
        return ""
    mean, error = mean_and_error(_means(seeds))
    return f"{mean:.2f} ± {error:.2f}"
