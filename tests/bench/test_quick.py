"""Ratios are judged as they should be, by numbers worked by hand."""

import json

from tests.bench.quick import PAIRS, RATIOS, judge, ratios_of

KEPT = {"native to python": {"ratio": 2.0, "margin": 0.5}, "native to the naive loop": {"ratio": 4.0, "margin": 0.25}}


def test_each_counts_by_its_best_round() -> None:
    """The machine was ten times slower in the second round, and the naive loop had a bad third one."""
    rates = {"armstream-native": [80.0, 9.0, 90.0], "armstream-python": [30.0, 3.0, 20.0], "naive": [10.0, 1.0, 5.0]}
    assert ratios_of(rates) == {
        "native to python": 3.0,
        "native to the naive loop": 9.0,
        "python to the naive loop": 3.0,
    }


def test_without_a_native_core_the_python_stages_are_judged() -> None:
    assert ratios_of({"armstream-python": [50.0], "naive": [10.0]}) == {"python to the naive loop": 5.0}


def test_a_fall_within_the_margin_passes_and_one_beyond_it_is_named() -> None:
    assert judge({"native to the naive loop": 3.0, "native to python": 1.0}, KEPT) == []
    (line,) = judge({"native to the naive loop": 2.99, "native to python": 1.0}, KEPT)
    assert line.startswith("native to the naive loop: 2.99 times, at least 3.00")


def test_every_ratio_has_its_line() -> None:
    assert json.loads(RATIOS.read_text()).keys() == PAIRS.keys()
