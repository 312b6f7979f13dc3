"""What one draw does is the formula's, and what many do is played by the learner's own draws."""

from math import exp, log, sqrt

import pytest

from tests.expectation import ARMS, BEST_ARM, after_one_draw, best_weights, shipped


@pytest.mark.parametrize("reward_bps", [100.0, 32.8667, 0.0, -100.0, -300.0])
def test_one_draw_lowers_the_drawn_arm_by_its_loss(reward_bps: float) -> None:
    """loss / (1/5 + eta_1 / 2), read with eta_2; eta_t = sqrt(ln 5 / (5 t))."""
    loss = (100.0 - max(reward_bps, -100.0)) / 200.0
    estimate = loss / (0.2 + sqrt(log(5) / 5) / 2)
    left = exp(-sqrt(log(5) / 10) * estimate)
    assert after_one_draw(reward_bps) == pytest.approx(left / (4 + left), rel=1e-12)


def test_a_gain_that_is_under_the_bound_lowers_the_weight_and_less_than_a_loss() -> None:
    assert after_one_draw(-32.0) < after_one_draw(32.0) < 0.2


def test_the_first_hundred_decisions_teach_nothing_and_a_thousand_do() -> None:
    first, hundred, later = best_weights(3, (1, 100, 1_100))
    assert first == hundred == 0.2
    assert later > 0.25


def test_it_is_the_shipped_rule_over_five_arms() -> None:
    bandit = shipped("auto")
    assert tuple(bandit.arm_names) == ARMS
    assert bandit.to_dict()["estimator"] == "implicit"
    assert (bandit.gamma, bandit.is_warming) == (0.0, True)
    assert 0 <= BEST_ARM < len(ARMS)
