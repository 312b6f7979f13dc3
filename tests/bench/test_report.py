"""Figures are read rightly: expected values are worked by hand."""

import json

import pytest

from tests.bench.__main__ import compare
from tests.bench.backlog import Rewards
from tests.bench.child import BenchError, quantile
from tests.bench.report import LayoutResult, PresetReport, PresetResult, Report, percentile

INFINITY = float("inf")


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


def test_the_report_shows_medians_with_their_spread_and_the_ratio_of_each_round() -> None:
    result = LayoutResult(
        "one topic",
        ours_events_per_second=[100_000.0, 300_000.0, 200_000.0],
        naive_events_per_second=[20_000.0, 30_000.0, 10_000.0],
        ours_cpu_seconds_per_million=[5.0],
        naive_cpu_seconds_per_million=[50.0],
        backlog_commit_p50_seconds=[0.01],
        backlog_commit_p99_seconds=[0.02],
    )
    report = Report(["load: some"], [result])
    assert "200,000 (100,000 to 300,000)" in report.to_table()
    assert "10.0 (5.0 to 20.0)" in report.to_table()
    assert json.loads(report.to_json())["layouts"][0]["ratios"] == [5.0, 10.0, 20.0]


def test_a_presets_ratio_is_to_the_first_one_of_the_same_round() -> None:
    first = PresetResult("default", [40_000.0, 50_000.0, 10_000.0], [20.0, 16.0, 18.0])
    other = PresetResult("tsallis", [20_000.0, 40_000.0, 9_000.0], [30.0, 31.5, 33.0])
    report = PresetReport(["load: some"], [first, other])
    heading, _, default, tsallis, _, load = report.to_table().splitlines()
    assert "times default" in heading
    assert default.split("  ")[0] == "default"
    assert "1.00 (1.00 to 1.00)" in default
    assert "20,000 (9,000 to 40,000)" in tsallis
    assert "0.80 (0.50 to 0.90)" in tsallis
    assert "31.50 (30.00 to 33.00)" in tsallis
    assert load == "load: some"
    assert json.loads(report.to_json())["presets"][1]["ratios"] == [0.5, 0.8, 0.9]


def test_loops_that_did_not_do_the_same_work_give_no_table() -> None:
    ours = Rewards(10, 1_000.0, 20)
    compare(ours, Rewards(10, 1_000.0005, 10))
    for other in (Rewards(9, 1_000.0, 9), Rewards(10, 1_000.002, 10)):
        with pytest.raises(BenchError, match="disagree"):
            compare(ours, other)
