"""A moment as an operator writes it. Law: what can be read in two ways is refused.

`2026-11-28T09:14` is UTC where it names no zone. A whole number is the seconds, milliseconds or microseconds since
1970 of a day from 1990 to 2099, told apart by their size, which no two of them share. `15m` is fifteen minutes ago.
"""

import re
from datetime import UTC, datetime, timedelta

_FIRST_SECONDS, _END_SECONDS = 631_152_000, 4_102_444_800  # 1990, 2100
_UNITS_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AGO = re.compile(r"([0-9]{1,7})([smhd])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment_micros(text: str, now_micros: int) -> int:
    """UTC microseconds. Raises ValueError with what a moment may be."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now_micros - int(ago[1]) * _UNITS_SECONDS[ago[2]] * 1_000_000
    if re.fullmatch(r"[0-9]{9,16}", text):
        number = int(text)
        for per_second in (1, 1_000, 1_000_000):
            if _FIRST_SECONDS * per_second <= number < _END_SECONDS * per_second:
                return number * 1_000_000 // per_second
        raise ValueError(f"{text} is neither seconds, milliseconds nor microseconds of a day from 1990 to 2099")
    try:
        moment = datetime.fromisoformat(text)
        if not re.match(r"[0-9]{4}-[0-9]{2}-", text):  # 20261128, which looks like a number, and weeks
            raise ValueError
        zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return (zoned - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} must be a time such as 2026-11-28T09:14 (UTC), seconds, milliseconds or microseconds since "
            "1970, or 15m, 2h, 3d for so long ago"
        ) from None


def written(timestamp_ms: int) -> str | None:
    """2026-11-28T09:14:03.120Z; None for what is no time of the years 1 to 9999."""
    try:
        moment = _EPOCH + timedelta(milliseconds=timestamp_ms)
    except OverflowError:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
