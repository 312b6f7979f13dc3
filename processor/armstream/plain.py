"""What trading code holds, as the plain numbers, times and words that events hold. Law: a plain value or a refusal.

A number may be an int, a float, a Decimal, a Fraction, one of numpy's or an array without dimensions; what is lost is
what a double cannot hold. A time may be a datetime that knows its zone. A refusal is a ValueError that begins with the
field's name.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import inf, isfinite
from numbers import Real
from typing import Any, Final, Literal, SupportsFloat, SupportsInt, TypeGuard, cast

import numpy as np

Number = SupportsFloat
Moment = SupportsInt | datetime | np.datetime64
Truth = bool | np.bool_
PlainSignal = Literal["BUY", "SELL", "FLAT"]

FIRST_MICROS: Final = 631_152_000_000_000  # 1990: UTC milliseconds of any day from then on are below it
END_MICROS: Final = 253_402_300_800_000_000  # the year 10000: nanoseconds of any day since 1990 are above it

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SIGNALS: Final[Mapping[str, PlainSignal]] = {"BUY": "BUY", "SELL": "SELL", "FLAT": "FLAT"}
_SIDES: Final[Mapping[str, Literal["BUY", "SELL"]]] = {"BUY": "BUY", "SELL": "SELL"}
LARGEST: Final = 1e300  # of a price or a quantity: what nobody set is often the largest double
_FLOAT_ALONE: Final = {float}
_TEXT_ALONE: Final = {str}


def plain_number(field: str, value: object) -> float:
    """A finite float."""
    plain = value if type(value) is float else _float_of(field, value)
    if not -inf < plain < inf:
        raise ValueError(f"{field} must be finite, got {value!r}")
    return plain


def positive_number(field: str, value: object) -> float:
    """A finite float above 0, and not above LARGEST."""
    plain = value if type(value) is float else _float_of(field, value)
    if not 0.0 < plain <= LARGEST:
        raise ValueError(f"{field} must be finite and above 0, got {value!r}")
    return plain


def whole_number(field: str, value: object) -> int:
    """An int from 0 to 2**63 - 1; a float or a Decimal may be one, where nothing stands behind its point."""
    whole = value if type(value) is int else _int_of(field, value, "a whole number")
    if not 0 <= whole < 1 << 63:
        raise ValueError(f"{field} must be from 0 to 2**63 - 1, got {value!r}")
    return whole


def utc_micros(field: str, value: object) -> int:
    """UTC microseconds from 1990 to 9999, of such or of a datetime that knows its zone; numpy's is taken as UTC.

    What is finer than a microsecond is cut off a datetime, and refused in a number.
    """
    if type(value) is int and FIRST_MICROS <= value < END_MICROS:
        return value
    value = _scalar(value)
    if isinstance(value, datetime | np.datetime64):
        micros, hint = _micros_of(field, value), ""
    else:
        micros = _int_of(field, value, "UTC microseconds, whole ones, or a datetime")
        hint = "; milliseconds or seconds?" if micros < FIRST_MICROS else "; nanoseconds?"
    if not FIRST_MICROS <= micros < END_MICROS:
        raise ValueError(f"{field} must be UTC microseconds from 1990 to 9999, got {value!r}{hint}")
    return micros


def plain_side(field: str, value: object) -> Literal["BUY", "SELL"]:
    """BUY or SELL, of either in letters of any size."""
    side = _SIDES.get(str.upper(value)) if isinstance(value, str) else None
    if side is None:
        raise ValueError(f"{field} must be 'BUY' or 'SELL', got {value!r}")
    return side


def plain_signal(field: str, value: object) -> PlainSignal:
    """BUY, SELL or FLAT, of either in letters of any size."""
    signal = _SIGNALS.get(str.upper(value)) if isinstance(value, str) else None
    if signal is None:
        raise ValueError(f"{field} must be 'BUY', 'SELL' or 'FLAT', got {value!r}")
    return signal


def plain_text(field: str, value: object) -> str:
    if type(value) is str:
        return value
    if not isinstance(value, str):
        raise ValueError(f"{field} must be text, got {value!r}")
    return str.__str__(value)


def plain_truth(field: str, value: object) -> bool:
    if value is True or value is False:
        return value
    if not isinstance(value, np.bool_):
        raise ValueError(f"{field} must be True or False, got {value!r}")
    return bool(value)


def are_plain_numbers(values: object) -> TypeGuard[tuple[float, ...]]:
    """Whether they surely are a tuple of finite floats."""
    return type(values) is tuple and _FLOAT_ALONE.issuperset(map(type, values)) and isfinite(sum(values))


def plain_numbers(field: str, values: object) -> tuple[float, ...]:
    """Finite floats, of a sequence or of an array of one dimension."""
    if are_plain_numbers(values):
        return values
    is_array = isinstance(values, np.ndarray) and values.ndim == 1
    if not is_array and (isinstance(values, str | bytes) or not isinstance(values, Sequence)):
        raise ValueError(f"{field} must be a sequence of numbers, got {values!r}")
    return tuple([plain_number(f"{field}[{index}]", value) for index, value in enumerate(cast(Any, values))])


def numbers_by_name(field: str, values: object) -> dict[str, float]:
    """Finite floats by text."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{field} must be a mapping of names to numbers, got {values!r}")
    return {
        plain_text(f"a name in {field}", name): plain_number(f"{field}[{name!r}]", value)
        for name, value in values.items()
    }


def are_plain_signals(signals: object) -> bool:
    """Whether they surely are texts by text, each a signal."""
    return (
        type(signals) is dict
        and _TEXT_ALONE.issuperset(map(type, signals))
        and _TEXT_ALONE.issuperset(map(type, signals.values()))
        and _SIGNALS.keys() >= set(signals.values())
    )


def signals_by_name(field: str, values: object) -> dict[str, PlainSignal]:
    """BUY, SELL or FLAT by text."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{field} must be a mapping of names to signals, got {values!r}")
    return {
        plain_text(f"a name in {field}", name): plain_signal(f"{field}[{name!r}]", value)
        for name, value in values.items()
    }


def _scalar(value: object) -> object:
    """What an array without dimensions holds."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _is_number(value: object) -> TypeGuard[int | float | Decimal]:
    return isinstance(value, Real | Decimal) and not isinstance(value, bool | np.timedelta64)


def _float_of(field: str, value: object) -> float:
    value = _scalar(value)
    if not _is_number(value):
        raise ValueError(f"{field} must be a number, got {value!r}")
    try:
        return float(value)
    except (OverflowError, ValueError) as error:  # beyond a double; a Decimal that signals NaN
        raise ValueError(f"{field} must be a number that a double can hold: {error}") from None


def _int_of(field: str, value: object, wanted: str) -> int:
    value = _scalar(value)
    try:
        whole = int(value) if _is_number(value) else None
    except (OverflowError, ValueError):  # infinite; NaN
        whole = None
    if whole is None or whole != value:
        raise ValueError(f"{field} must be {wanted}, got {value!r}")
    return whole


def _micros_of(field: str, value: datetime | np.datetime64) -> int:
    if isinstance(value, np.datetime64):
        return int(value.astype("datetime64[us]").astype(np.int64))
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(f"{field} must know its zone, as datetime.now(UTC) does, got {value!r}")
    return (value - _EPOCH) // _MICROSECOND
