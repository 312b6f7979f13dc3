"""When events are due, and what is told from looks: by hand."""

import pytest

from tests.bench.child import BenchError
from tests.bench.pace import Pace, close_of, number_of
from tests.bench.throughput import Look, throughput


def test_fills_and_closes_are_due_in_turns_at_the_rate() -> None:
    """1,000 events/s: a fill every 2 ms, and the close of the 150th fill before it half way to the next one."""
    pace = Pace(1_000.0, 500, 10.0)
    assert (pace.fills_ahead, pace.close_count) == (150, 350)
    assert [pace.fill_due(number) for number in (0, 150)] == pytest.approx([10.0, 10.3])
    assert [pace.close_due(number) for number in (0, 1)] == pytest.approx([10.301, 10.303])


def test_at_a_low_rate_a_close_is_due_one_fill_later() -> None:
    pace = Pace(10.0, 100, 0.0)
    assert pace.fills_ahead == 1
    assert pace.close_due(0) == pytest.approx(0.3)  # after the fills of 0.0 and 0.2


def test_a_close_tells_its_number() -> None:
    assert number_of(close_of(1_234, "desk").event_id) == 1_234


def test_a_rate_is_from_the_first_commit_on_and_warm_from_the_middle_on() -> None:
    """Nothing for 5 s; then 100 events in 2 s: 60 in the first second and a half."""
    looks = [Look(0.0, 0, 1.0), Look(5.0, 10, 2.0), Look(6.0, 60, 2.5), Look(7.0, 110, 3.0)]
    measured = throughput(looks, peak_bytes=7)
    assert measured.events_per_second == pytest.approx(50.0)
    assert measured.warm_events_per_second == pytest.approx(50.0)
    assert measured.cpu_seconds_per_million == pytest.approx(10_000.0)  # 1 s for 100 events
    slow_start = [Look(0.0, 0, 0.0), Look(1.0, 10, 0.0), Look(4.0, 60, 0.0), Look(5.0, 110, 0.0)]
    measured = throughput(slow_start, peak_bytes=7)
    assert measured.events_per_second == pytest.approx(25.0)
    assert measured.warm_events_per_second == pytest.approx(50.0)


def test_one_batch_tells_no_rate() -> None:
    with pytest.raises(BenchError, match="too small"):
        throughput([Look(0.0, 0, 0.0), Look(1.0, 100, 0.0), Look(2.0, 110, 0.0)], peak_bytes=7)
