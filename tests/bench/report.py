"""What was measured: medians with their spread, as a table for people and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass(slots=True)
class LayoutResult:
    """One layout of the input topics; lists have an element a round, latencies are in seconds."""

    layout: str
    ours_events_per_second: list[float] = field(default_factory=list)
    naive_events_per_second: list[float] = field(default_factory=list)
    ours_cpu_seconds_per_million: list[float] = field(default_factory=list)
    naive_cpu_seconds_per_million: list[float] = field(default_factory=list)
    backlog_commit_p50_seconds: list[float] = field(default_factory=list)
    backlog_commit_p99_seconds: list[float] = field(default_factory=list)
    paced_commit_p50_seconds: float = 0.0
    paced_commit_p99_seconds: float = 0.0
    close_to_vector_p50_seconds: float = 0.0
    close_to_vector_p99_seconds: float = 0.0

    @property
    def ratios(self) -> list[float]:
        """Ours to the naive loop's events a second, a round."""
        pairs = zip(self.ours_events_per_second, self.naive_events_per_second, strict=True)
        return [ours / naive for ours, naive in pairs]


@dataclass(frozen=True, slots=True)
class Report:
    """`conditions` say what was run, in a line each."""

    conditions: Sequence[str]
    layouts: Sequence[LayoutResult]

    def to_json(self) -> str:
        return json.dumps(
            {"conditions": self.conditions, "layouts": [asdict(one) | {"ratios": one.ratios} for one in self.layouts]}
        )

    def to_table(self) -> str:
        rows = [("median (least to most over rounds)", *(one.layout for one in self.layouts))]
        for name, list_of, scale, digits in (
            ("events/s, armstream", "ours_events_per_second", 1, 0),
            ("events/s, naive loop", "naive_events_per_second", 1, 0),
            ("times the naive loop", "ratios", 1, 1),
            ("CPU s a million events, armstream", "ours_cpu_seconds_per_million", 1, 2),
            ("CPU s a million events, naive loop", "naive_cpu_seconds_per_million", 1, 2),
            ("commit p50 on the backlog, ms", "backlog_commit_p50_seconds", 1_000, 1),
            ("commit p99 on the backlog, ms", "backlog_commit_p99_seconds", 1_000, 1),
        ):
            rows.append((name, *(_spread(getattr(one, list_of), scale, digits) for one in self.layouts)))
        for name, value_of in (
            ("commit p50 at the paced rate, ms", "paced_commit_p50_seconds"),
            ("commit p99 at the paced rate, ms", "paced_commit_p99_seconds"),
            ("close to readable vector p50, ms", "close_to_vector_p50_seconds"),
            ("close to readable vector p99, ms", "close_to_vector_p99_seconds"),
        ):
            rows.append((name, *(f"{getattr(one, value_of) * 1_000:.1f}" for one in self.layouts)))
        return _table(rows, self.conditions)


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
        pairs = zip(result.events_per_second, self.presets[0].events_per_second, strict=True)
        return [its / first for its, first in pairs]

    def to_json(self) -> str:
        presets = [asdict(one) | {"ratios": self.ratios(one)} for one in self.presets]
        return json.dumps({"conditions": self.conditions, "presets": presets})

    def to_table(self) -> str:
        times = f"times {self.presets[0].preset}"
        rows = [("median (least to most over rounds)", "events/s", times, "CPU s a million events")]
        for one in self.presets:
            cells = _spread(one.events_per_second, 1, 0), _spread(self.ratios(one), 1, 2)
            rows.append((one.preset, *cells, _spread(one.cpu_seconds_per_million, 1, 2)))
        return _table(rows, self.conditions)


def _table(rows: Sequence[Sequence[str]], conditions: Sequence[str]) -> str:
    """Columns as wide as they need, then the conditions; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:], "", *conditions])


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least `share` of all are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _spread(values: Sequence[float], scale: float, digits: int) -> str:
    low, middle, high = (f"{value * scale:,.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{middle} ({low} to {high})"
