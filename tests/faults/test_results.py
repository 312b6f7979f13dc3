"""The table of the long run, from lines that pieces of it wrote."""

from pathlib import Path

import pytest

from tests.faults.results import Result, append, main, read, table
from tests.faults.trial import Pace


def test_pieces_of_different_times_make_one_row_of_each_fault(tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    append(first, Result("SIGKILL", 3, 7, "abc", 60.0, [3.0, 1.0]))
    append(first, Result("broker killed", 2, 8, "abc", 60.0, [0.5, 0.25], void_trials=1))
    append(second, Result("SIGKILL", 3, 9, "abd", 50.0, [2.0], started_again=2))
    rows = table(read([first, second]))[2:]
    assert rows == [
        "| SIGKILL | 6 | exact; a process gave up and was started again 2 times | its next start | 2.00 | 3.00 |",
        "| broker killed | 2 | exact; 1 trials void, the broker forgot a commit | it answers again | 0.25 | 0.50 |",
    ]


def test_what_lasted_longer_has_a_row_of_its_own() -> None:
    rows = table([Result("broker gone, idle", 1, 7, "abc", 700.0, [4.0], lasts_seconds=600.0),
                  Result("broker gone, idle", 2, 8, "abc", 60.0, [1.0, 2.0], lasts_seconds=20.0)])  # fmt: skip
    assert rows[2:] == [
        "| broker gone, idle for 20 s | 2 | exact | it is back | 1.00 | 2.00 |",
        "| broker gone, idle for 600 s | 1 | exact | it is back | 4.00 | 4.00 |",
    ]


def test_a_trial_that_failed_is_named_by_the_seed_that_replays_it() -> None:
    rows = table([Result("SIGKILL", 3, 7, "abc", 60.0, [1.0]), Result("SIGKILL", 3, 9, "abc", 9.0, failure="gap")])
    assert rows[2] == "| SIGKILL | 6 | failed with seed 9 | its next start | 1.00 | 1.00 |"


def test_the_memory_of_a_watched_process_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, svg = tmp_path / "soak.jsonl", tmp_path / "memory.svg"
    append(lines, Result("an hour of load", 1, 7, "abc", 3_700.0, [0.5], memory=[(0.0, 70.0), (600.0, 80.0)]))
    main([str(lines), "--plot", str(svg)])
    assert "| an hour of load | 1 | exact | the end of the hour | 0.50 | 0.50 |" in capsys.readouterr().out
    assert "an hour of load" in svg.read_text()


@pytest.mark.parametrize("pace", [Pace(), Pace(60.0, 4_200.0), Pace(50.0, 1_500.0)])
def test_a_load_of_any_length_spreads_over_less_than_a_day(pace: Pace) -> None:
    """What is dated later than its append time is refused."""
    assert pace.chunks * pace.spread_seconds < 86_400
    assert pace.chunks * 400 / pace.per_second == pytest.approx(pace.most_seconds, rel=0.01)
