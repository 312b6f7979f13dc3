"""What was measured: medians with their spread, as tables for people, as JSON and as plots."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from matplotlib import rcParams
from matplotlib.figure import Figure

from tests.bench.restore import Restore
from tests.bench.throughput import Throughput

HEADING = "median (least to most over rounds)"
MEGABYTE = 1e6


@dataclass(slots=True)
class Result:
    """One contender on the backlog of one layout, an element a round."""

    contender: str
    layout: str
    event_count: int
    rounds: list[Throughput] = field(default_factory=list)

    def each(self, name: str) -> list[float]:
        return [getattr(one, name) for one in self.rounds]


@dataclass(frozen=True, slots=True)
class LatencyResult:
    """Seconds from a close that was due to its readable vector; `commit_p50_seconds` where a contender says it."""

    contender: str
    layout: str
    events_per_second: float
    close_count: int
    p50_seconds: float
    p99_seconds: float
    p999_seconds: float
    commit_p50_seconds: float | None

    @classmethod
    def of(
        cls, contender: str, layout: str, rate: float, latencies: Sequence[float], commit_p50_seconds: float | None
    ) -> "LatencyResult":
        p50, p99, p999 = (percentile(latencies, share) for share in (0.5, 0.99, 0.999))
        return cls(contender, layout, rate, len(latencies), p50, p99, p999, commit_p50_seconds)

    def cells(self) -> list[str]:
        """p50, p99 and p99.9 in ms. Below a thousand closes the last one is none of them, but the largest."""
        return [f"{seconds * 1e3:.1f}" for seconds in (self.p50_seconds, self.p99_seconds, self.p999_seconds)]

    def shown(self) -> str:
        return "p50, p99, p99.9 {}, {}, {} ms".format(*self.cells())


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """A contender's restart."""

    contender: str
    restore: Restore


@dataclass(frozen=True, slots=True)
class GrowthResult:
    """One contender where one thing is larger: events a second and memory, an element a round."""

    contender: str
    what: str
    size: int
    rounds: Sequence[Throughput]


@dataclass(slots=True)
class Report:
    """`conditions` say what was run, in a line each. Ratios are to the first contender of the same round."""

    conditions: list[str]
    results: list[Result] = field(default_factory=list)
    latencies: list[LatencyResult] = field(default_factory=list)
    restores: list[RestoreResult] = field(default_factory=list)
    growth: list[GrowthResult] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def to_table(self) -> str:
        layouts = dict.fromkeys(result.layout for result in self.results)
        parts = [throughput_table([one for one in self.results if one.layout == layout]) for layout in layouts]
        parts += [latency_table(self.latencies)] if self.latencies else []
        parts += [restore_table(self.restores)] if self.restores else []
        parts += [growth_table(self.growth)] if self.growth else []
        return "\n".join(line for part in [*parts, self.conditions] for line in (*part, ""))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Of the same round each."""
    return [our / their for our, their in zip(ours, theirs, strict=True)]


def throughput_table(results: Sequence[Result]) -> list[str]:
    """One layout's, the first contender beside each other one."""
    first = results[0]
    rows = [
        [
            f"{first.layout}: {HEADING}",
            "events/s",
            "second half",
            f"{first.contender} to it",
            "second half",
            "CPU s a million",
            "peak MB",
        ]
    ]
    for one in results:
        whole, warm = one.each("events_per_second"), one.each("warm_events_per_second")
        rows.append(
            [
                one.contender,
                spread(whole, 1, 0),
                spread(warm, 1, 0),
                spread(ratios(first.each("events_per_second"), whole), 1, 2),
                spread(ratios(first.each("warm_events_per_second"), warm), 1, 2),
                spread(one.each("cpu_seconds_per_million"), 1, 2),
                f"{max(one.each('peak_bytes')) / MEGABYTE:,.0f}",
            ]
        )
    return markdown(rows)


def latency_table(results: Sequence[LatencyResult]) -> list[str]:
    rows = [
        ["close to readable vector", "layout", "events/s", "closes", "p50 ms", "p99 ms", "p99.9 ms", "commit p50 ms"]
    ]
    for one in results:
        commit = "" if one.commit_p50_seconds is None else f"{one.commit_p50_seconds * 1e3:.1f}"
        rate = f"{one.events_per_second:,.0f}"
        rows.append([one.contender, one.layout, rate, f"{one.close_count:,}", *one.cells(), commit])
    return markdown(rows)


def restore_table(results: Sequence[RestoreResult]) -> list[str]:
    rows = [
        [
            "start to a vector of every task",
            "nothing to restore, s",
            "after the load, s",
            "bandits and positions",
            "of them a second",
        ]
    ]
    for one in results:
        its = one.restore
        rate = "too few to tell" if its.states_per_second is None else f"{its.states_per_second:,.0f}"
        seconds = f"{its.fresh_seconds:.2f}", f"{its.restored_seconds:.2f}"
        rows.append([one.contender, *seconds, f"{its.state_count:,}", rate])
    return markdown(rows)


def growth_table(results: Sequence[GrowthResult]) -> list[str]:
    rows = [["growth with", "", "contender", "events/s", "CPU s a million", "peak MB"]]
    for one in results:
        rates = spread([each.events_per_second for each in one.rounds], 1, 0)
        cpu = spread([each.cpu_seconds_per_million for each in one.rounds], 1, 2)
        peak = f"{max(each.peak_bytes for each in one.rounds) / MEGABYTE:,.0f}"
        rows.append([one.what, f"{one.size:,}", one.contender, rates, cpu, peak])
    return markdown(rows)


@dataclass(slots=True)
class PresetResult:
    """One file of config/ on the backlog; lists have an element a round."""

    preset: str
    events_per_second: list[float] = field(default_factory=list)
    cpu_seconds_per_million: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PresetReport:
    """`conditions` say what was run, in a line each; the first preset is what the others are compared with."""

    conditions: Sequence[str]
    presets: Sequence[PresetResult]

    def ratios(self, result: PresetResult) -> list[float]:
        """Its events a second to the first preset's of the same round."""
        return ratios(result.events_per_second, self.presets[0].events_per_second)

    def to_json(self) -> str:
        presets = [asdict(one) | {"ratios": self.ratios(one)} for one in self.presets]
        return json.dumps({"conditions": self.conditions, "presets": presets})

    def to_table(self) -> str:
        rows = [[HEADING, "events/s", f"times {self.presets[0].preset}", "CPU s a million events"]]
        for one in self.presets:
            cells = spread(one.events_per_second, 1, 0), spread(self.ratios(one), 1, 2)
            rows.append([one.preset, *cells, spread(one.cpu_seconds_per_million, 1, 2)])
        return "\n".join([*markdown(rows), "", *self.conditions])


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return [lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]]


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least `share` of all are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def spread(values: Sequence[float], scale: float, digits: int) -> str:
    low, middle, high = (f"{value * scale:,.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{middle} ({low} to {high})"


def plot(report: Report, folder: Path) -> None:
    """What of throughput, latency and growth was measured, each as an SVG in the folder."""
    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench"})  # small, and the same every time
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "throughput": _draw_throughput(report.results) if report.results else None,
        "latency": _draw_latency(report.latencies) if report.latencies else None,
        "growth": _draw_growth(report.growth) if report.growth else None,
    }
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(folder / f"{name}.svg", format="svg", metadata={"Date": None})


def _draw_throughput(results: Sequence[Result]) -> Figure:
    """A bar a contender and layout, from the least to the most as a line."""
    figure = Figure(figsize=(8, 0.5 + 0.35 * len(results)), layout="constrained")
    axes = figure.subplots()
    for place, one in enumerate(reversed(results)):
        rates = one.each("events_per_second")
        axes.barh(place, median(rates), color="tab:blue" if one.layout == "one topic" else "tab:cyan")
        axes.plot([min(rates), max(rates)], [place, place], color="black")
    names = [f"{one.contender}, {one.layout}" for one in reversed(results)]
    axes.set_yticks(range(len(results)), names)
    axes.set_xlabel("events/s, median and range of the rounds")
    return figure


def _draw_latency(results: Sequence[LatencyResult]) -> Figure:
    """p50 and p99 of each contender by rate."""
    layouts = list(dict.fromkeys(one.layout for one in results))
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, layout in zip(figure.subplots(1, len(layouts), sharey=True, squeeze=False)[0], layouts, strict=True):
        for place, name in enumerate(dict.fromkeys(one.contender for one in results)):
            its = [one for one in results if (one.contender, one.layout) == (name, layout)]
            rates, color = [one.events_per_second for one in its], f"C{place}"
            axes.plot(rates, [one.p50_seconds * 1e3 for one in its], color=color, marker="o", label=name)
            axes.plot(rates, [one.p99_seconds * 1e3 for one in its], color=color, marker="o", linestyle=":")
        axes.set(xscale="log", yscale="log", title=layout, xlabel="events/s", ylabel="ms: p50, and p99 dotted")
        axes.legend(fontsize="small")
    return figure


def _draw_growth(results: Sequence[GrowthResult]) -> Figure:
    """Events a second by what grows."""
    grown = list(dict.fromkeys(one.what for one in results))
    figure = Figure(figsize=(2.5 * len(grown), 3), layout="constrained")
    for axes, what in zip(figure.subplots(1, len(grown), sharey=True, squeeze=False)[0], grown, strict=True):
        for name in dict.fromkeys(one.contender for one in results):
            its = [one for one in results if (one.contender, one.what) == (name, what)]
            rates = [median(each.events_per_second for each in one.rounds) for one in its]
            axes.plot([one.size for one in its], rates, marker="o", label=name)
        axes.set(xscale="log", xlabel=what, ylim=(0, None))
    figure.axes[0].set_ylabel("events/s")
    figure.axes[0].legend(fontsize="small")
    return figure
