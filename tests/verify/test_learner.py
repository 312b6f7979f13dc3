"""verify's learner against the design's worked numbers, and against the same formulas at 50 digits."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armstream.learning import LearningSettings
from armstream.verify.learner import Learner
from tests.learning.reference import SlowBandit

ARMS = ("a", "b", "c", "d", "e")


def rules(**given: Any) -> LearningSettings:
    return LearningSettings(ARMS, **given)


def test_the_documented_rule_by_hand() -> None:
    """K = 5, gamma = eta = .05: p = 1/5, the estimate is 5, theta_0 = .25 and weight 0 is e^.25 of the others."""
    learner = Learner(rules(estimator="importance", gamma=0.05, eta=0.05))
    taught = learner.learn_arm(0, 1.0, None, 1.0, new_decision=True)
    assert (taught.eta, taught.propensity_source) == (0.05, "CURRENT")
    assert taught.lessons[0].estimate == pytest.approx(5.0, rel=1e-15)
    weights = learner.weights()
    assert weights[0] / weights[1] == pytest.approx(1.2840254166877414, rel=1e-15)
    assert learner.probabilities()[0] == pytest.approx(0.24085130173692343, rel=1e-15)


def test_the_implicit_rule_by_hand() -> None:
    """eta = .1, B = 100: a reward of 50 is a loss of .25, .25 / (.2 + .05) = 1; .4 more: -.25 * .4 / .25."""
    learner = Learner(rules(eta=0.1))
    assert learner.learn_arm(0, 50.0, 0.2, 1.0, new_decision=True).lessons[0].estimate == pytest.approx(1.0)
    assert learner.weights()[0] / learner.weights()[1] == pytest.approx(math.exp(-0.1), rel=1e-14)
    assert learner.learn_arm(0, 50.0, 0.2, 0.4, new_decision=False).lessons[0].estimate == pytest.approx(-0.4)
    assert (learner.total_steps, learner.pulls[0], learner.cumulative_rewards[0]) == (1, 1, 70.0)


def test_a_blend_shares_one_reward_and_a_zero_reward_moves_nothing() -> None:
    """Full information: .75 * (loss - 1/2) with a loss of .25; simultaneous divides by 1/5 + .05."""
    whole, divided = Learner(rules(eta=0.1)), Learner(rules(eta=0.1, attribution="simultaneous"))
    assert whole.learn_blend({0: 0.75, 3: 0.25}, 50.0, 1.0, new_decision=True).lessons[0].estimate == -0.1875
    taught = divided.learn_blend({0: 0.75, 3: 0.25}, 50.0, 1.0, new_decision=True)
    assert taught.lessons[0].estimate == pytest.approx(-0.75)
    assert divided.learn_blend({1: 1.0}, 0.0, 1.0, new_decision=True).lessons[0].estimate == 0.0


def test_the_automatic_rate_and_its_cap() -> None:
    """sqrt(ln 5 / (5 t)); under .07 from t = 66 on."""
    learner = Learner(rules(eta_max=0.07))
    rates = [learner.learn_arm(0, 0.0, 0.5, 1.0, new_decision=True).eta for _ in range(70)]
    assert rates[:65] == [0.07] * 65
    assert rates[65] == pytest.approx(math.sqrt(math.log(5) / (5 * 66)), rel=1e-15)


steps = st.lists(
    st.tuples(
        st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=5, max_size=5),
        st.integers(0, 4),
        st.one_of(st.integers(-20_000, 20_000).map(lambda bps: bps / 100), st.sampled_from([0.0, 1e-6, -1e6])),
        st.none() | st.floats(0.05, 1.0),
        st.sampled_from([1.0, 0.3]),
        st.booleans(),
    ),
    max_size=20,
)
parameters = st.fixed_dictionaries(
    {
        "estimator": st.sampled_from(["importance", "implicit"]),
        "gamma": st.sampled_from([0.0, 0.05]),
        "eta": st.sampled_from([None, 0.05, 2.0]),
        "eta_max": st.sampled_from([None, 0.07]),
        "implicit": st.sampled_from([None, 0.02]),
        "fixed_share": st.sampled_from([0.0, 0.01]),
        "transform": st.sampled_from(["none", "clip", "tanh"]),
    }
)


@settings(max_examples=60)
@given(parameters, st.sampled_from(["full_information", "simultaneous"]), steps)
def test_every_number_is_that_of_the_formulas_at_50_digits(
    given_parameters: dict[str, Any], attribution: Any, taught: list[tuple[Any, ...]]
) -> None:
    learner = Learner(rules(**given_parameters, attribution=attribution))
    slow = SlowBandit(5, **given_parameters)
    for shares, arm, reward, propensity, weight, new_decision in taught:
        parts = {index: share for index, share in enumerate(shares) if share}
        if parts and propensity is None:
            mine = learner.learn_blend(parts, reward, weight, new_decision)
            theirs = slow.update_many(parts, reward, attribution, None, weight, new_decision)
        else:
            mine = learner.learn_arm(arm, reward, propensity, weight, new_decision)
            theirs = slow.update(arm, reward, propensity, weight, new_decision)
        for lesson, estimate in zip(mine.lessons, theirs, strict=True):
            assert abs(lesson.estimate - estimate) <= 1e-12 * max(lesson.estimate_scale, 1e-300)
    for mine_weight, weight in zip(learner.weights(), slow.weights(), strict=True):
        assert mine_weight == pytest.approx(float(weight), rel=1e-12)
    for probability, theirs_probability in zip(learner.probabilities(), slow.probabilities(), strict=True):
        assert probability == pytest.approx(float(theirs_probability), rel=1e-12)
    assert learner.total_steps == slow.steps
