"""What trading code holds becomes plain values: each kind of number, time and word, and what is none of them."""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from armstream.plain import (
    numbers_by_name,
    plain_number,
    plain_numbers,
    plain_side,
    plain_signal,
    plain_text,
    plain_truth,
    positive_number,
    signals_by_name,
    utc_micros,
    whole_number,
)

FIVES: list[Any] = [
    *(5, 5.0, Decimal(5), Decimal("5.00"), Fraction(5), Fraction(10, 2)),
    *(np.float64(5), np.float32(5), np.float16(5), np.longdouble(5)),
    *(np.int8(5), np.uint64(5), np.int64(5)),
    *(np.array(5), np.array(5.0), np.array(Decimal(5), dtype=object), pd.Series([5.0])[0]),
]
NO_NUMBERS: list[Any] = [
    *(None, "5", b"5", "", True, np.True_, np.array(True), 5j, np.complex128(5), object(), date(2026, 1, 5)),
    *([5.0], (5.0,), np.array([5.0]), np.array([[5.0]]), np.array([5.0, 6.0]), {"a": 5.0}),
    *(np.timedelta64(5, "s"), np.datetime64(5, "s"), timedelta(5), pd.NA, pd.NaT, np.str_("5")),
    *(Decimal("sNaN"), 10**400, -(10**400), Fraction(10**400)),
]


def str_of(wrong: object) -> str:
    return type(wrong).__name__


NOT_FINITE: list[Any] = [math.nan, math.inf, -math.inf, np.float32("nan"), Decimal("NaN"), Decimal("-Infinity")]


@pytest.mark.parametrize("five", FIVES, ids=repr)
def test_a_number_of_any_kind_is_a_float_or_a_whole_number(five: object) -> None:
    for plain in (plain_number("price", five), positive_number("price", five)):
        assert (plain, type(plain)) == (5.0, float)
    whole = whole_number("weights_version", five)
    assert (whole, type(whole)) == (5, int)


@pytest.mark.parametrize(
    ("value", "double"),
    [
        (Decimal("0.1"), 0.1),
        (Fraction(1, 3), 1 / 3),
        (2**53 + 1, 2.0**53),  # halfway between two doubles, and to even
        (np.float32(0.1), 13_421_773 / 2**27),  # a tenth in 24 bits
        (Decimal("-1e-400"), 0.0),
        (-7, -7.0),
    ],
)
def test_what_a_double_cannot_hold_is_rounded_to_it(value: object, double: float) -> None:
    assert plain_number("price", value) == double


@pytest.mark.parametrize("wrong", NO_NUMBERS, ids=str_of)
def test_what_is_no_number_is_an_error_that_begins_with_the_field(wrong: object) -> None:
    for make in (plain_number, positive_number, whole_number):
        with pytest.raises(ValueError, match=r"^quantity must be "):
            make("quantity", wrong)


@pytest.mark.parametrize("wrong", NOT_FINITE, ids=repr)
def test_what_is_not_finite_is_an_error_that_begins_with_the_field(wrong: object) -> None:
    for make in (plain_number, positive_number, whole_number, utc_micros):
        with pytest.raises(ValueError, match=r"^eta must be "):
            make("eta", wrong)


@pytest.mark.parametrize("wrong", [0, 0.0, -0.0, -1, Decimal("-0.5"), np.float64(0), Decimal("1e-400")], ids=repr)
def test_what_must_be_above_0_is_not_0_even_by_rounding(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"^multiplier must be finite and above 0, got "):
        positive_number("multiplier", wrong)


@pytest.mark.parametrize("wrong", [5.5, Decimal("5.1"), Fraction(1, 2), -1, 2**63, np.float64(1e19)], ids=repr)
def test_a_count_is_whole_and_fits_the_record(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"^weights_version must be "):
        whole_number("weights_version", wrong)
    assert whole_number("weights_version", 2**63 - 1) == 2**63 - 1


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**1000), 2**1000)))
def test_a_number_comes_through_every_kind_as_the_nearest_double(number: float) -> None:
    nearest = float(number)
    assert plain_number("price", number) == nearest
    assert plain_number("price", Decimal(number)) == nearest
    assert plain_number("price", Fraction(number)) == nearest
    assert plain_number("price", np.float64(nearest)) == nearest


NEW_CENTURY = 10_957 * 86_400 * 1_000_000  # 2000-01-01: 30 years of 365 days and 7 leap days


@pytest.mark.parametrize(
    ("moment", "micros"),
    [
        (NEW_CENTURY, NEW_CENTURY),
        (np.int64(NEW_CENTURY), NEW_CENTURY),
        (float(NEW_CENTURY), NEW_CENTURY),
        (Decimal(NEW_CENTURY), NEW_CENTURY),
        (datetime(2000, 1, 1, tzinfo=UTC), NEW_CENTURY),
        (datetime(2000, 1, 1, 5, 30, 0, 7, tzinfo=timezone(timedelta(hours=5, minutes=30))), NEW_CENTURY + 7),
        (pd.Timestamp("1999-12-31 19:00:00.000007890", tz="America/New_York"), NEW_CENTURY + 7),
        (np.datetime64("2000-01-01"), NEW_CENTURY),
        (np.datetime64("2000-01-01T00:00:00.000007890"), NEW_CENTURY + 7),
        (np.array(np.datetime64("2000-01-01T00:00:00.001")), NEW_CENTURY + 1_000),
        (631_152_000_000_000, 7_305 * 86_400 * 1_000_000),  # 1990: 20 years and 5 leap days
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), 253_402_300_799_999_999),
    ],
    ids=repr,
)
def test_a_moment_of_any_kind_is_utc_microseconds(moment: object, micros: int) -> None:
    found = utc_micros("ts_event", moment)
    assert (found, type(found)) == (micros, int)


SECONDS_2026 = 1_795_773_600


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (SECONDS_2026, "got 1795773600; milliseconds or seconds"),
        (SECONDS_2026 * 1_000, "milliseconds or seconds"),
        (SECONDS_2026 * 1_000_000_000, "nanoseconds"),
        (0, "milliseconds or seconds"),
        (-1, "milliseconds or seconds"),
        (631_151_999_999_999, "from 1990"),
        (datetime(1989, 12, 31, tzinfo=UTC), "from 1990"),
        (np.datetime64("NaT"), "from 1990"),
        (datetime(2026, 11, 27), "know its zone"),
        (pd.Timestamp("2026-11-27"), "know its zone"),
        (pd.NaT, "know its zone"),
        (SECONDS_2026 * 1e6 + 0.25, "whole ones"),
        ("2026-11-27T10:00:00Z", "a datetime"),
        (date(2026, 11, 27), "a datetime"),
        (None, "a datetime"),
        (True, "a datetime"),
        (np.timedelta64(SECONDS_2026 * 1_000_000, "us"), "a datetime"),
    ],
    ids=repr,
)
def test_a_moment_that_cannot_be_meant_is_an_error_that_says_what_is_wrong(wrong: object, why: str) -> None:
    with pytest.raises(ValueError, match=rf"^ts_event must .*{why}"):
        utc_micros("ts_event", wrong)


class Way(StrEnum):
    BUY = "buy"


def test_a_side_may_be_in_small_letters_and_of_a_class_of_its_own() -> None:
    sides = ["BUY", "buy", "Buy", Way.BUY, np.str_("buy"), "SELL", "sell", np.str_("SELL")]
    found = [plain_side("side", side) for side in sides]
    assert found == ["BUY"] * 5 + ["SELL"] * 3
    assert {type(side) for side in found} == {str}
    for wrong in ("UNKNOWN", "LONG", "B", "", "buy ", None, 1, True, b"BUY", ["BUY"]):
        with pytest.raises(ValueError, match=r"^side must be 'BUY' or 'SELL', got "):
            plain_side("side", wrong)


def test_a_signal_may_be_in_small_letters_and_is_a_side_or_flat() -> None:
    signals = ["BUY", "buy", Way.BUY, np.str_("buy"), "SELL", "sell", "FLAT", "flat", np.str_("Flat")]
    found = [plain_signal("signal", signal) for signal in signals]
    assert found == ["BUY"] * 4 + ["SELL"] * 2 + ["FLAT"] * 3
    assert {type(signal) for signal in found} == {str}
    for wrong in ("UNKNOWN", "HOLD", "", "flat ", None, 0, b"FLAT", ["FLAT"]):
        with pytest.raises(ValueError, match=r"^signals\['a'\] must be 'BUY', 'SELL' or 'FLAT', got "):
            signals_by_name("signals", {"a": wrong})
    no_mappings: list[object] = [None, "BUY", [("a", "BUY")], {1: "BUY"}]
    for none in no_mappings:
        with pytest.raises(ValueError, match=r"^(a name in )?signals must be "):
            signals_by_name("signals", none)


def test_a_text_is_one_and_no_number() -> None:
    for text in ("buy", np.str_("buy"), Way.BUY):
        found = plain_text("arm", text)
        assert (found, type(found)) == ("buy", str)
    for wrong in (None, 7, b"ridge", ["ridge"]):
        with pytest.raises(ValueError, match=r"^arm must be text, got "):
            plain_text("arm", wrong)


def test_a_truth_is_one_and_no_number_and_no_text() -> None:
    for truth in (True, np.True_, np.bool_(1)):
        assert plain_truth("final", truth) is True
    assert plain_truth("final", np.False_) is False
    for wrong in (1, 0, None, "false", math.nan):
        with pytest.raises(ValueError, match=r"^final must be True or False, got "):
            plain_truth("final", wrong)


def test_a_list_of_numbers_is_a_tuple_of_floats() -> None:
    given_as: list[Any] = [
        (0.5, 0.25),
        [0.5, 0.25],
        (Decimal("0.5"), Fraction(1, 4)),
        np.array([0.5, 0.25]),
        np.array([0.5, 0.25], dtype=np.float32),
        [np.float64(0.5), 0.25],
    ]
    for values in given_as:
        found = plain_numbers("probabilities", values)
        assert found == (0.5, 0.25)
        assert {type(found), *map(type, found)} == {tuple, float}
    assert plain_numbers("probabilities", ()) == plain_numbers("probabilities", np.array([])) == ()
    assert plain_numbers("probabilities", (1e308, 1e308)) == (1e308, 1e308), "their sum is infinite, they are not"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ((0.5, math.nan), r"probabilities\[1\]"),
        ([0.5, None], r"probabilities\[1\]"),
        ((math.inf, -math.inf), r"probabilities\[0\]"),
        ((True, 0.5), r"probabilities\[0\]"),
        (np.array([[0.5, 0.5]]), "probabilities"),
        ([[0.5, 0.5]], r"probabilities\[0\]"),
        (np.array(0.5), "probabilities"),
        ("0.5", "probabilities"),
        (b"0.5", "probabilities"),
        ({0.5}, "probabilities"),
        ({"ridge": 0.5}, "probabilities"),
        (0.5, "probabilities"),
        (None, "probabilities"),
    ],
    ids=repr,
)
def test_what_is_no_list_of_numbers_is_an_error_that_names_the_place(wrong: object, named: str) -> None:
    with pytest.raises(ValueError, match=rf"^{named} must be "):
        plain_numbers("probabilities", wrong)


def test_numbers_by_name_are_floats_by_text() -> None:
    found = numbers_by_name("advice", {np.str_("ridge"): Decimal("0.5"), Way.BUY: np.float32(0.25)})
    assert found == {"ridge": 0.5, "buy": 0.25}
    assert {*map(type, found), *map(type, found.values())} == {str, float}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"ridge": math.nan}, r"advice\['ridge'\] must be finite"),
        ({"ridge": "0.5"}, r"advice\['ridge'\] must be a number"),
        ({7: 0.5}, "a name in advice must be text"),
        ([("ridge", 0.5)], "advice must be a mapping"),
        (None, "advice must be a mapping"),
    ],
    ids=repr,
)
def test_what_is_no_mapping_to_numbers_is_an_error_that_names_the_place(wrong: object, named: str) -> None:
    with pytest.raises(ValueError, match=rf"^{named}"):
        numbers_by_name("advice", wrong)


MAKERS: list[Callable[[str, object], object]] = [
    *(plain_number, positive_number, whole_number, utc_micros, plain_side, plain_signal, signals_by_name),
    *(plain_text, plain_truth, plain_numbers, numbers_by_name),
]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_what_is_nothing_at_all_is_an_error_of_every_field(make: Callable[[str, object], object]) -> None:
    with pytest.raises(ValueError, match=r"^field must be .*got <object"):
        make("field", object())
