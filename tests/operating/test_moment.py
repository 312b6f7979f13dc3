"""What an operator may write for a time; 2026-11-28T09:14:03.120Z is 1,795,857,243,120 ms (by `date -d ... +%s%3N`)."""

import pytest

from armstream.operating.moment import moment_ms, written

MOMENT_MS = 1_795_857_243_120


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("2026-11-28T09:14:03.120Z", MOMENT_MS),
        ("2026-11-28T09:14:03.120", MOMENT_MS),
        ("2026-11-28 10:14:03.120999+01:00", MOMENT_MS),
        ("2026-11-28", 1_795_824_000_000),
        ("1795857243", 1_795_857_243_000),
        ("1795857243120", MOMENT_MS),
        ("1795857243120999", MOMENT_MS),
        ("90s", MOMENT_MS - 90_000),
        ("15m", MOMENT_MS - 900_000),
        ("2h", MOMENT_MS - 7_200_000),
        ("3d", MOMENT_MS - 259_200_000),
    ],
)
def test_a_moment_is_a_time_a_number_since_1970_by_its_size_or_so_long_ago(text: str, expected_ms: int) -> None:
    assert moment_ms(text, MOMENT_MS) == expected_ms


@pytest.mark.parametrize(
    "text", ["", "yesterday", "20261128", "2026-13-01", "-1", "17958572431", "1795857243120999000", "5w", "2026-W48-6"]
)
def test_what_is_no_moment_or_could_be_two_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a time such as|is neither seconds"):
        moment_ms(text, MOMENT_MS)


def test_a_moment_is_written_as_it_may_be_asked_for() -> None:
    assert written(MOMENT_MS) == "2026-11-28T09:14:03.120Z"
    assert written(2**63 // 1_000) is None
