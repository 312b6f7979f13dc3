"""Numbers over time: bounded, and over the whole of it."""

from math import isnan

import pytest

from armstream.watch.series import Series


def filled(most: int, times: list[int]) -> Series:
    series = Series(most)
    for ts in times:
        if series.is_due(ts):
            series.add(ts, {"a": float(ts)})
    return series


@pytest.mark.parametrize("count", [10, 11, 12, 1_000, 100_000])
def test_it_never_holds_more_than_its_limit_and_covers_the_time_from_the_first_row(count: int) -> None:
    series = filled(10, list(range(0, 7 * count, 7)))
    assert len(series) <= 10
    assert series.ts[0] == 0
    longest = max(after - before for before, after in zip(series.ts, series.ts[1:], strict=False))
    # a step is twice the span over the limit, and one row may be missed before it is due again
    assert longest <= 2 * (7 * count) / 10 * 2
    assert 7 * (count - 1) - series.ts[-1] <= 2 * (7 * count) / 10 * 2, "the end is covered too"
    assert series.column("a") == [float(ts) for ts in series.ts], "a row stays together"


def test_it_keeps_at_least_a_quarter_of_its_limit_of_steady_rows() -> None:
    assert len(filled(100, list(range(10_000)))) >= 25


def test_rows_of_one_moment_do_not_fill_it() -> None:
    series = filled(10, [5] * 100)
    assert len(series) <= 10
    assert set(series.ts) == {5}


def test_a_column_that_begins_later_has_no_number_before_and_one_that_ends_none_after() -> None:
    series = Series(10)
    series.add(1, {"old": 1.0})
    series.add(2, {"old": 2.0, "new": 3.0})
    series.add(3, {"new": 4.0})
    assert isnan(series.column("new")[0])
    assert series.column("new")[1:] == [3.0, 4.0]
    assert series.column("old")[:2] == [1.0, 2.0]
    assert isnan(series.column("old")[2])
    assert list(series.names()) == ["old", "new"]


def test_a_column_without_a_number_left_goes() -> None:
    series = Series(4)
    series.add(0, {"a": 1.0})
    series.add(1, {"short": 1.0, "a": 1.0})
    for ts in range(2, 200):
        if series.is_due(ts):
            series.add(ts, {"a": 1.0})
    assert list(series.names()) == ["a"]


def test_a_row_before_its_step_is_not_due() -> None:
    series = Series(10, least_step_micros=100)
    assert series.is_due(5)
    series.add(5, {})
    assert not series.is_due(104)
    assert series.is_due(105)
