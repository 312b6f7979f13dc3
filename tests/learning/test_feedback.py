"""What a draw reveals, by hand."""

import pytest

from armstream.learning.feedback import groups_of, mirrored, observing

ARMS = ("a", "b", "c", "d", "e")
SIGNALS = {"a": "BUY", "b": "SELL", "c": "BUY", "d": "FLAT"}  # e had no view
PROBABILITIES = (0.5, 0.3, 0.2, 0.0, 0.0)


def test_a_draw_reveals_the_arms_of_its_side() -> None:
    groups = groups_of(ARMS, SIGNALS, "side", by_horizon=False)
    assert groups == [("BUY", ""), ("SELL", ""), ("BUY", ""), None, None]
    assert observing(groups, PROBABILITIES) == pytest.approx([0.7, 0.3, 0.7, 0.0, 0.0])


def test_a_draw_reveals_both_sides_for_sure() -> None:
    groups = groups_of(ARMS, SIGNALS, "both", by_horizon=False)
    assert groups == [("", ""), ("", ""), ("", ""), None, None]
    assert observing(groups, (0.1, 0.2, 0.7000001, 0.0, 0.0)) == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_where_all_awake_agree_their_loss_is_observed_for_sure() -> None:
    groups = groups_of(("a", "c", "d"), SIGNALS, "side", by_horizon=False)
    assert observing(groups, (0.3, 0.6999999, 0.0)) == [1.0, 1.0, 0.0]


def test_a_draw_reveals_no_arm_of_another_horizon() -> None:
    arms = ("ridge:1h", "lstm:1h", "ridge:1d", "lstm:1d")
    signals = {"ridge:1h": "BUY", "lstm:1h": "SELL", "ridge:1d": "BUY", "lstm:1d": "SELL"}
    probabilities = (0.4, 0.3, 0.2, 0.1)
    both = groups_of(arms, signals, "both", by_horizon=True)
    assert observing(both, probabilities) == pytest.approx([0.7, 0.7, 0.3, 0.3])
    side = groups_of(arms, signals, "side", by_horizon=True)
    assert observing(side, probabilities) == pytest.approx(probabilities)


def test_the_mirror_image_pays_costs_as_well() -> None:
    """A move of +13 with costs of 3 is +10 net; the other side has -13, and pays 3 too."""
    assert mirrored(10.0, 3.0) == -16.0
    assert mirrored(-16.0, 3.0) == 10.0
