"""Ratios are judged as they should be, by numbers worked by hand."""

import json

from tests.bench.quick import RATIOS, TO_PYTHON, TO_THE_NAIVE_LOOP, judge, ratios_of

KEPT = {TO_THE_NAIVE_LOOP: {"ratio": 4.0, "margin": 0.25}, TO_PYTHON: {"ratio": 2.0, "margin": 0.5}}


def test_a_ratio_is_of_one_round_and_the_median_counts() -> None:
    """The machine was ten times slower in the second round, and the naive loop had a bad third one."""
    rates = {"armstream-native": [90.0, 9.0, 90.0], "armstream-python": [30.0, 3.0, 20.0], "naive": [10.0, 1.0, 5.0]}
    assert ratios_of(rates) == {TO_THE_NAIVE_LOOP: 9.0, TO_PYTHON: 3.0}


def test_without_a_second_core_one_ratio_is_left() -> None:
    assert ratios_of({"armstream": [50.0], "naive": [10.0]}) == {TO_THE_NAIVE_LOOP: 5.0}


def test_a_fall_within_the_margin_passes_and_one_beyond_it_is_named() -> None:
    assert judge({TO_THE_NAIVE_LOOP: 3.0, TO_PYTHON: 1.0}, KEPT) == []
    (line,) = judge({TO_THE_NAIVE_LOOP: 2.99, TO_PYTHON: 1.0}, KEPT)
    assert line.startswith(f"{TO_THE_NAIVE_LOOP}: 2.99 times, at least 3.00")


def test_every_ratio_has_its_line() -> None:
    assert json.loads(RATIOS.read_text()).keys() == KEPT.keys()
