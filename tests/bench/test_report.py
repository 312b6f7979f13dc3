"""Figures are read rightly: expected values are worked by hand."""

import json
from pathlib import Path

import pytest

from tests.bench.child import BenchError, quantile
from tests.bench.report import (
    GrowthResult,
    LatencyResult,
    PresetReport,
    PresetResult,
    Report,
    RestoreResult,
    Result,
    percentile,
    plot,
)
from tests.bench.restore import Restore
from tests.bench.throughput import Throughput

INFINITY = float("inf")


def rounds(*rates: float) -> list[Throughput]:
    """The warm half is twice as fast."""
    return [Throughput(rate, 2 * rate, 20.0, 50_000_000) for rate in rates]


def some_report() -> Report:
    return Report(
        ["load: some"],
        [
            Result("Armstream", "one topic", 1_000, rounds(100_000.0, 300_000.0, 200_000.0)),
            Result("naive loop", "one topic", 100, rounds(20_000.0, 30_000.0, 10_000.0)),
        ],
        [LatencyResult.of("Armstream", "one topic", 1_000.0, [0.001 * ms for ms in range(1, 2_001)], 0.0025)],
        [RestoreResult("Armstream", Restore(2.0, 4.0, 100_000)), RestoreResult("other", Restore(2.0, 1.9, 100_000))],
        [GrowthResult("Armstream", "arms", size, rounds(rate)) for size, rate in ((5, 40_000.0), (64, 10_000.0))],
    )


def test_a_quantile_is_linear_within_its_bucket() -> None:
    buckets = {0.001: 10.0, 0.002: 30.0, 0.004: 40.0, INFINITY: 40.0}
    assert quantile(buckets, 0.5) == pytest.approx(0.0015)  # the 20th of 40: half way from the 10th to the 30th
    assert quantile(buckets, 0.875) == pytest.approx(0.003)  # the 35th: half of the last finite bucket


def test_a_quantile_that_no_bucket_holds_is_refused() -> None:
    with pytest.raises(BenchError, match="above the last bucket"):
        quantile({0.001: 1.0, INFINITY: 2.0}, 0.99)
    with pytest.raises(BenchError, match="no transaction"):
        quantile({0.001: 0.0, INFINITY: 0.0}, 0.5)


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(value) for value in range(1, 201)]
    assert percentile(values, 0.5) == 100.0
    assert percentile(values, 0.99) == 198.0
    assert percentile([7.0], 0.99) == 7.0


def test_a_contender_has_medians_with_their_spread_and_ratios_of_the_same_round() -> None:
    (row,) = (line for line in some_report().to_table().splitlines() if line.startswith("| naive loop"))
    _, _, whole, warm, ratio, warm_ratio, cpu, peak, _ = (cell.strip() for cell in row.split("|"))
    assert whole == "20,000 (10,000 to 30,000)"
    assert warm == "40,000 (20,000 to 60,000)"
    assert ratio == warm_ratio == "10.00 (5.00 to 20.00)"
    assert (cpu, peak) == ("20.00 (20.00 to 20.00)", "50")


def test_latencies_restores_and_growth_have_their_tables() -> None:
    table = some_report().to_table()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    assert ["Armstream", "one topic", "1,000", "2,000", "1000.0", "1980.0", "1998.0", "2.5"] in cells
    assert ["Armstream", "2.00", "4.00", "100,000", "50,000"] in cells
    assert ["other", "2.00", "1.90", "100,000", "too few to tell"] in cells
    assert ["arms", "64", "Armstream", "10,000 (10,000 to 10,000)", "20.00 (20.00 to 20.00)", "50"] in cells
    assert table.rstrip().endswith("load: some")


def test_the_json_has_what_the_tables_have() -> None:
    report = json.loads(some_report().to_json())
    assert report["results"][1]["rounds"][2]["events_per_second"] == 10_000.0
    assert report["latencies"][0]["p99_seconds"] == pytest.approx(1.98)


def test_every_plot_is_drawn_and_only_of_what_was_measured(tmp_path: Path) -> None:
    plot(some_report(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["growth.svg", "latency.svg", "throughput.svg"]
    assert "naive loop" in (tmp_path / "throughput.svg").read_text()
    plot(Report(["nothing"]), tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


def test_a_presets_ratio_is_to_the_first_one_of_the_same_round() -> None:
    first = PresetResult("default", [40_000.0, 50_000.0, 10_000.0], [20.0, 16.0, 18.0])
    other = PresetResult("tsallis", [20_000.0, 40_000.0, 9_000.0], [30.0, 31.5, 33.0])
    report = PresetReport(["load: some"], [first, other])
    heading, _, default, tsallis, _, load = report.to_table().splitlines()
    assert "times default" in heading
    assert default.startswith("| default")
    assert "1.00 (1.00 to 1.00)" in default
    assert "20,000 (9,000 to 40,000)" in tsallis
    assert "0.80 (0.50 to 0.90)" in tsallis
    assert "31.50 (30.00 to 33.00)" in tsallis
    assert load == "load: some"
    assert json.loads(report.to_json())["presets"][1]["ratios"] == [0.5, 0.8, 0.9]
