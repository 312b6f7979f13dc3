"""What an operator may write for a time; 2026-11-28T09:14:03.120Z is 1,795,857,243,120,000 us, by `date +%s%6N`."""

import pytest

from armstream.operating.moment import moment_micros, written

MOMENT_MICROS = 1_795_857_243_120_000


@pytest.mark.parametrize(
    ("text", "expected_micros"),
    [
        ("2026-11-28T09:14:03.120Z", MOMENT_MICROS),
        ("2026-11-28T09:14:03.120", MOMENT_MICROS),
        ("2026-11-28 10:14:03.120999+01:00", MOMENT_MICROS + 999),
        ("2026-11-28", 1_795_824_000_000_000),
        ("1795857243", 1_795_857_243_000_000),
        ("1795857243120", MOMENT_MICROS),
        ("1795857243120999", MOMENT_MICROS + 999),
        ("90s", MOMENT_MICROS - 90_000_000),
        ("15m", MOMENT_MICROS - 900_000_000),
        ("2h", MOMENT_MICROS - 7_200_000_000),
        ("3d", MOMENT_MICROS - 259_200_000_000),
    ],
)
def test_a_moment_is_a_time_a_number_since_1970_by_its_size_or_so_long_ago(text: str, expected_micros: int) -> None:
    assert moment_micros(text, MOMENT_MICROS) == expected_micros


@pytest.mark.parametrize(
    "text", ["", "yesterday", "20261128", "2026-13-01", "-1", "17958572431", "1795857243120999000", "5w", "2026-W48-6"]
)
def test_what_is_no_moment_or_could_be_two_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a time such as|is neither seconds"):
        moment_micros(text, MOMENT_MICROS)


def test_a_moment_is_written_as_it_may_be_asked_for() -> None:
    assert written(MOMENT_MICROS // 1_000) == "2026-11-28T09:14:03.120Z"
    assert written(2**63 // 1_000) is None
