"""Exp3-IX: numbers worked by hand, laws over random histories, and agreement with the formulas at 50 digits."""

import json
import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from armstream.learning import Exp3IXBandit, Update
from tests.learning.convergence import (
    final_weights,
    implicit_as_shipped,
    implicit_with_100,
    importance_with_small_eta,
)
from tests.learning.held import put_back
from tests.learning.reference import SlowBandit

ESTIMATORS = ("importance", "implicit")

# ---------------------------------------------------------------------------------------------------------------------
# Random learners and what can be done to them
# ---------------------------------------------------------------------------------------------------------------------

Operation = tuple[Any, ...]

rewards = st.one_of(st.floats(-200.0, 200.0), st.floats(-1e12, 1e12), st.sampled_from([0.0, 1e12, -1e12, 100.0]))
weights = st.one_of(st.just(1.0), st.floats(0.0, 1.0), st.floats(0.0, 1e6))
propensities = st.floats(1e-6, 1.0)
shares = st.one_of(st.just(0.0), st.floats(1e-3, 1.0))

operations: st.SearchStrategy[Operation] = st.one_of(
    st.tuples(st.just("update"), st.integers(0, 99), rewards, st.none() | propensities, weights, st.booleans()),
    st.tuples(
        st.just("update_many"),
        st.lists(shares, min_size=2, max_size=6),
        rewards,
        st.sampled_from(["simultaneous", "sequential", "undivided"]),
        st.none() | propensities,
        weights,
        st.booleans(),
    ),
    st.tuples(st.just("select")),
    st.tuples(st.just("add"), st.floats(0.0, 1e6) | st.just(1.0)),
    st.tuples(st.just("remove"), st.integers(0, 99)),
    st.tuples(st.just("merge")),
)

parameters = st.fixed_dictionaries(
    {
        "gamma": st.sampled_from([0.0, 0.05, 1.0]),
        "eta": st.sampled_from([None, 0.001, 0.05, 2.0]),
        "eta_max": st.sampled_from([0.07, None]),
        "estimator": st.sampled_from(ESTIMATORS),
        "implicit": st.sampled_from([None, 0.02]),
        "fixed_share": st.sampled_from([0.0, 0.0005, 0.3]),
        "transform": st.sampled_from(["none", "clip", "tanh"]),
        "seed": st.sampled_from([None, 7]),
    }
)


NEWCOMERS = [f"late_{number}" for number in range(30)]


def apply(bandit: Exp3IXBandit, operation: Operation) -> None:
    """Do it, with indices and shares cut to the arms there are."""
    match operation:
        case ("update", arm, reward, propensity, weight, new_decision):
            bandit.update(arm % bandit.n_arms, reward, propensity, weight, new_decision)
        case ("update_many", parts, reward, attribution, propensity, weight, new_decision):
            contributions = dict(zip(bandit.arm_names, parts, strict=False))
            if not any(contributions.values()):
                contributions[bandit.arm_names[0]] = 1.0
            logged = {name: propensity for name, share in contributions.items() if share} if propensity else None
            bandit.update_many(
                contributions, reward, attribution, propensities=logged, weight=weight, new_decision=new_decision
            )
        case ("select",):
            bandit.select_arm()
        case ("add", initial_weight):
            bandit.add_arm(next(name for name in NEWCOMERS if not bandit.has_arm(name)), initial_weight)
        case ("remove", arm) if bandit.n_arms > 2:
            bandit.remove_arm(bandit.arm_names[arm % bandit.n_arms])
        case ("merge",):
            bandit.merge(bandit.copy())


def learned(bandit: Exp3IXBandit) -> dict[str, Any]:
    """Everything but the generator."""
    return {key: value for key, value in bandit.to_dict().items() if key != "generator"}


def through_json(bandit: Exp3IXBandit) -> Exp3IXBandit:
    return Exp3IXBandit.from_dict(json.loads(json.dumps(bandit.to_dict())))


# ---------------------------------------------------------------------------------------------------------------------
# Worked numbers
# ---------------------------------------------------------------------------------------------------------------------


def test_weight_update() -> None:
    """K = 5, gamma = eta = .05: p = 1/5, the estimate is 5, theta_0 = .25, p0 = .95 e^.25 / (e^.25 + 4) + .01."""
    bandit = Exp3IXBandit(5, gamma=0.05, eta=0.05)
    update = bandit.update(0, 1.0)
    assert update.arms == (0,)
    assert update.propensities == pytest.approx((0.2,), rel=1e-15)
    assert update.estimates == pytest.approx((5.0,), rel=1e-15)
    assert (update.eta, update.propensity_source) == (0.05, "CURRENT")
    assert bandit.get_weights()[0] / bandit.get_weights()[1] == pytest.approx(1.2840254166877414, rel=1e-15)
    assert bandit.get_probabilities()[0] == pytest.approx(0.24085130173692343, rel=1e-15)
    assert (bandit.total_steps, bandit.arm_pulls, bandit.cumulative_rewards) == (1, [1, 0, 0, 0, 0], [1.0, 0, 0, 0, 0])


def test_the_implicit_rule_by_hand() -> None:
    """K = 5, gamma = 0, eta = .1, B = 100: a reward of 50 is a loss of .25; .25 / (.2 + .05) = 1; w_0 is e^-.1."""
    bandit = Exp3IXBandit(5, gamma=0.0, eta=0.1, estimator="implicit")
    update = bandit.update(0, 50.0)
    assert update.estimates == pytest.approx((1.0,), rel=1e-14)
    assert bandit.state == pytest.approx([1.0, 0, 0, 0, 0], rel=1e-14)
    weight = bandit.get_weights()
    assert weight[0] / weight[1] == pytest.approx(math.exp(-0.1), rel=1e-14)
    best, worst = Exp3IXBandit(5, eta=0.1, estimator="implicit"), Exp3IXBandit(5, eta=0.1, estimator="implicit")
    assert best.update(0, 100.0, 0.2).estimates == (0.0,)
    assert worst.update(0, -100.0, 0.2).estimates == pytest.approx((4.0,))
    assert worst.update(1, -1e6, 0.2).estimates == pytest.approx((4.0,)), "beyond B is clipped"


def test_implicit_takes_the_place_of_half_of_eta() -> None:
    bandit = Exp3IXBandit(5, eta=0.1, estimator="implicit", implicit=0.3)
    assert bandit.update(0, 0.0, 0.2).estimates == pytest.approx((0.5 / 0.5,))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_automatic_rate_and_its_cap(estimator: str) -> None:
    """sqrt(ln 5 / (5 t)): .5674 at t = 1, under .07 from t = 66 on (ln 5 / (5 * .0049) = 65.7)."""
    capped = Exp3IXBandit(5, estimator=estimator)
    free = Exp3IXBandit(5, estimator=estimator, eta_max=None)
    for t in range(1, 101):
        expected = math.sqrt(math.log(5) / (5 * t))
        assert free.update(0, 0.0, 0.5).eta == pytest.approx(expected, rel=1e-14)
        assert capped.update(0, 0.0, 0.5).eta == (0.07 if t < 66 else pytest.approx(expected, rel=1e-14))
    given_rate = Exp3IXBandit(5, eta=0.5, estimator=estimator)
    assert given_rate.update(0, 0.0, 0.5).eta == 0.5, "eta_max does not cap a given rate"


def test_importance_shows_the_rate_last_used_and_implicit_the_one_it_reads_with() -> None:
    importance = Exp3IXBandit(5, eta_max=None)
    implicit = Exp3IXBandit(5, eta_max=None, estimator="implicit")
    for bandit in (importance, implicit):
        for _ in range(3):
            bandit.update(0, 1.0)
    for bandit, t in ((importance, 3), (implicit, 4)):
        rate = pytest.approx(math.sqrt(math.log(5) / (5 * t)), rel=1e-14)
        assert bandit.eta == rate
        assert bandit.get_stats()["eta"] == rate
        assert bandit.to_dict()["eta"] == rate
        assert bandit.read().eta == rate


def test_implicit_weights_come_from_all_losses_at_the_rate_of_the_next_round() -> None:
    """Not a product of old rates: w_0 / w_1 = exp(-eta_{T+1} L_0) with L_0 the plain sum of the estimates."""
    bandit = Exp3IXBandit(4, gamma=0.0, eta_max=None, estimator="implicit")
    total = sum(bandit.update(0, 20.0, 0.25).estimates[0] for _ in range(7))
    rate = math.sqrt(math.log(4) / (4 * 8))
    weight = bandit.get_weights()
    assert weight[0] / weight[1] == pytest.approx(math.exp(-rate * total), rel=1e-13)


def test_losses_are_never_floored_and_the_reading_is() -> None:
    bandit = Exp3IXBandit(2, gamma=0.0, eta=0.1, estimator="implicit", min_weight=1e-3)
    for _ in range(200):
        bandit.update(0, -100.0, 1.0)
    assert bandit.state[0] == pytest.approx(200 / 1.05)  # e^-19: far under the floor
    assert bandit.get_weights()[0] == pytest.approx(1e-3 / 1.001, rel=1e-12)
    for _ in range(200):
        bandit.update(1, -100.0, 1.0)
    assert bandit.get_weights()[0] == pytest.approx(0.5), "nothing was forgotten under the floor"


def test_importance_floors_the_state_and_subtracts_the_largest() -> None:
    bandit = Exp3IXBandit(3, eta=1.0)
    bandit.update(0, -30.0, 1.0)
    assert bandit.state == [math.log(1e-10), 0.0, 0.0]
    bandit.update(1, 4.0, 1.0)
    assert bandit.state == pytest.approx([math.log(1e-10), 0.0, -4.0])


def test_the_clamp_is_part_of_the_rule_in_update_many() -> None:
    """Two arms far beyond the clamp are equal afterwards, which only a floor below would not make them."""
    bandit = Exp3IXBandit(3, eta=1.0)
    bandit.update_many({"arm_0": 0.9, "arm_1": 0.1}, 1e9, "undivided")
    assert bandit.state == [0.0, 0.0, math.log(1e-10)]


# ---------------------------------------------------------------------------------------------------------------------
# Choice
# ---------------------------------------------------------------------------------------------------------------------


def test_exploration() -> None:
    """However bad an arm is, it is chosen with gamma / K at least; gamma = 0 mixes nothing, gamma = 1 everything."""
    for gamma in (0.0, 0.05, 0.5, 1.0):
        bandit = Exp3IXBandit(5, gamma=gamma, eta=0.1)
        for _ in range(20):
            bandit.update(2, -100.0)
        weight, probability = bandit.get_weights(), bandit.get_probabilities()
        assert weight[2] < 1e-9
        assert probability == pytest.approx((1 - gamma) * weight + gamma / 5, rel=1e-15)
        assert probability.min() >= gamma / 5
    bandit = Exp3IXBandit(4, gamma=0.4, eta=0.01, seed=3)
    bandit.update(0, 100.0)
    draws = 20_000
    drawn = np.bincount([bandit.select_arm() for _ in range(draws)], minlength=4)
    expected = bandit.get_probabilities() * draws
    assert ((drawn - expected) ** 2 / expected).sum() < 16.27, "chi-square, 3 degrees of freedom, p = .001"
    assert bandit.total_steps == 0 + 1, "select_arm counts nothing"
    assert sum(bandit.arm_pulls) == 1


def test_select_arm_draws_exactly_one_number_and_inverts_the_cumulative_probabilities() -> None:
    bandit = Exp3IXBandit(3, seed=11, gamma=0.0, eta=0.1)
    bandit.update(1, 10.0)
    edges = np.cumsum(bandit.get_probabilities())
    numbers = np.random.Generator(np.random.PCG64(11)).random(200)
    assert [bandit.select_arm() for _ in numbers] == [int((edges < number).sum()) for number in numbers]


def test_convergence() -> None:
    """The best of five arms after 5,000 decisions, on at least 19 of 20 seeds."""
    assert sum(weight > 0.75 for weight in final_weights(implicit_with_100, 30.0, 30.0)) >= 19
    assert sum(weight > 0.85 for weight in final_weights(implicit_as_shipped, 30.0, 30.0)) >= 19
    assert sum(weight > 0.9 for weight in final_weights(importance_with_small_eta, 10.0, 20.0)) >= 19


@settings(max_examples=60)
@given(
    st.sampled_from([0.002, 0.05, 1.0]),
    st.integers(2, 6),
    st.lists(st.tuples(st.integers(0, 5), rewards, propensities), max_size=30),
    st.integers(0, 5),
    st.sampled_from([1.0, 0.3, None]),
)
def test_every_arm_can_come_back(
    eta: float, n_arms: int, history: list[tuple[int, float, float]], arm: int, propensity: float | None
) -> None:
    """From any state floor(ln((K - 1) / min_weight) / min(100 eta, 2 ln(1 / min_weight))) + 1 rewards of +100 suffice.

    Each lifts theta by at least that minimum (p <= 1) until it leads by ln(K - 1), half of the whole.
    """
    bandit = Exp3IXBandit(n_arms, eta=eta)
    for each, reward, logged in history:
        bandit.update(each % n_arms, reward, logged)
    step = min(100 * eta, 2 * math.log(1e10))
    n_rewards = math.floor(math.log((n_arms - 1) * 1e10) / step) + 1
    for _ in range(n_rewards):
        bandit.update(arm % n_arms, 100.0, propensity)
    assert bandit.get_weights()[arm % n_arms] > 0.5


def test_coming_back_needs_the_number_stated_and_no_fewer() -> None:
    """From the floor at p = 1, eta = .05, K = 3: ln(2e10) / 5 = 4.74, so 4 rewards do not suffice and 5 do."""
    bandit = Exp3IXBandit(3, eta=0.05)
    bandit.update(0, -1e12)
    for _ in range(4):
        bandit.update(0, 100.0, 1.0)
    assert bandit.get_weights()[0] < 0.5
    bandit.update(0, 100.0, 1.0)
    assert bandit.get_weights()[0] > 0.5


# ---------------------------------------------------------------------------------------------------------------------
# Laws over random histories
# ---------------------------------------------------------------------------------------------------------------------


@given(parameters, st.lists(operations, max_size=25))
def test_probabilities_are_finite_positive_and_sum_to_one_after_any_legal_sequence(
    given_parameters: dict[str, Any], sequence: list[Operation]
) -> None:
    bandit = Exp3IXBandit(4, **given_parameters)
    for operation in sequence:
        apply(bandit, operation)
        for values in (bandit.get_weights(), bandit.get_probabilities()):
            assert np.isfinite(values).all()
            assert (values > 0.0).all()
            assert values.sum() == pytest.approx(1.0, abs=1e-12)
        assert all(math.isfinite(each) for each in (*bandit.state, *bandit.cumulative_rewards))


@given(parameters, st.lists(operations, max_size=12), st.lists(operations, min_size=1, max_size=12))
def test_through_json_it_goes_on_bit_for_bit_in_the_middle_of_any_sequence(
    given_parameters: dict[str, Any], before: list[Operation], after: list[Operation]
) -> None:
    bandit = Exp3IXBandit(4, **given_parameters)
    for operation in before:
        apply(bandit, operation)
    twin = through_json(bandit)
    assert twin.to_dict() == bandit.to_dict()
    for operation in after:
        apply(bandit, operation)
        apply(twin, operation)
        assert twin.to_dict() == bandit.to_dict()
    assert [twin.select_arm() for _ in range(20)] == [bandit.select_arm() for _ in range(20)]


@given(
    parameters,
    st.permutations(range(4)),
    st.lists(st.tuples(st.integers(0, 3), st.floats(-20.0, 20.0), st.floats(0.05, 1.0), st.booleans()), max_size=15),
)
def test_permuting_the_arms_permutes_the_result(
    given_parameters: dict[str, Any], order: list[int], history: list[tuple[int, float, float, bool]]
) -> None:
    plain, permuted = Exp3IXBandit(4, **given_parameters), Exp3IXBandit(4, **given_parameters)
    for arm, reward, propensity, new_decision in history:
        plain.update(arm, reward, propensity, new_decision=new_decision)
        permuted.update(order[arm], reward, propensity, new_decision=new_decision)
    assert permuted.get_weights()[order] == pytest.approx(plain.get_weights(), rel=1e-9)
    assert [permuted.arm_pulls[each] for each in order] == plain.arm_pulls


# ---------------------------------------------------------------------------------------------------------------------
# Refusals
# ---------------------------------------------------------------------------------------------------------------------

REFUSED: dict[str, Callable[[Exp3IXBandit], object]] = {
    "reward nan": lambda b: b.update(0, math.nan),
    "reward infinite": lambda b: b.update(0, -math.inf),
    "reward beyond 1e12": lambda b: b.update(0, 1.0000001e12),
    "arm too large": lambda b: b.update(3, 1.0),
    "arm negative": lambda b: b.update(-1, 1.0),
    "propensity zero": lambda b: b.update(0, 1.0, 0.0),
    "asleep and drawn": lambda b: b.update(0, 1.0, 0.5, asleep=(0,)),
    "asleep twice": lambda b: b.update(0, 1.0, 0.5, asleep=(1, 1)),
    "asleep too large": lambda b: b.update(0, 1.0, 0.5, asleep=(3,)),
    "asleep negative": lambda b: b.update(0, 1.0, 0.5, asleep=(-1,)),
    "propensity above one": lambda b: b.update(0, 1.0, 1.0000001),
    "propensity negative": lambda b: b.update(0, 1.0, -0.1),
    "propensity nan": lambda b: b.update(0, 1.0, math.nan),
    "weight negative": lambda b: b.update(0, 1.0, weight=-1e-9),
    "weight nan": lambda b: b.update(0, 1.0, weight=math.nan),
    "weight too large": lambda b: b.update(0, 1.0, weight=1000001.0),
    "blend reward nan": lambda b: b.update_many({"a": 1.0}, math.nan),
    "blend weight too large": lambda b: b.update_many({"a": 1.0}, 1.0, weight=1e7),
    "blend of an unknown arm": lambda b: b.update_many({"a": 0.5, "x": 0.5}, 1.0),
    "blend of an unknown arm with no share": lambda b: b.update_many({"a": 1.0, "x": 0.0}, 1.0),
    "blend of nothing": lambda b: b.update_many({}, 1.0),
    "blend without a share": lambda b: b.update_many({"a": 0.0, "b": 0.0}, 1.0),
    "share negative": lambda b: b.update_many({"a": 1.0, "b": -0.1}, 1.0),
    "share infinite": lambda b: b.update_many({"a": 1.0, "b": math.inf}, 1.0),
    "share nan": lambda b: b.update_many({"a": 1.0, "b": math.nan}, 1.0),
    "estimate infinite": lambda b: b.update_many({"a": 0.5, "b": 1e300}, 1e12, "undivided", weight=1e6),
    "a later estimate infinite": lambda b: b.update_many({"a": 0.5, "b": 1e300}, 1e12, "sequential", weight=1e6),
    "blend propensity zero": lambda b: b.update_many({"a": 1.0}, 1.0, propensities={"a": 0.0}),
    "blend propensity above one": lambda b: b.update_many({"a": 1.0}, 1.0, propensities={"a": 1.5}),
    "blend propensity of an unknown arm": lambda b: b.update_many({"a": 1.0}, 1.0, propensities={"x": 0.5}),
    "attribution unknown": lambda b: b.update_many({"a": 1.0}, 1.0, "shared"),
    "arm there already": lambda b: b.add_arm("b"),
    "arm without a name": lambda b: b.add_arm(""),
    "initial weight negative": lambda b: b.add_arm("d", -1.0),
    "initial weight nan": lambda b: b.add_arm("d", math.nan),
    "initial weight too large": lambda b: b.add_arm("d", 1e7),
    "removing an unknown arm": lambda b: b.remove_arm("x"),
    "index of an unknown arm": lambda b: b.get_arm_index("x"),
    "merging other arms": lambda b: b.merge(Exp3IXBandit(3)),
    "merging another order": lambda b: b.merge(Exp3IXBandit(3, ["b", "a", "c"], estimator=b.estimator)),
    "merging other parameters": lambda b: b.merge(Exp3IXBandit(3, ["a", "b", "c"], 0.06, estimator=b.estimator)),
    "merging the other estimator": lambda b: b.merge(
        Exp3IXBandit(3, ["a", "b", "c"], estimator="implicit" if b.estimator == "importance" else "importance")
    ),
    "restoring too few numbers": lambda b: put_back(b, ["a", "b", "c"], [0.0, 0.0], [0, 0, 0], [0.0] * 3, 0),
    "restoring one arm": lambda b: put_back(b, ["a"], [0.0], [0], [0.0], 0),
    "restoring nan": lambda b: put_back(b, ["a", "b"], [0.0, math.nan], [0, 0], [0.0, 0.0], 0),
    "restoring infinite rewards": lambda b: put_back(b, ["a", "b"], [0.0, 0.0], [0, 0], [0.0, math.inf], 0),
    "restoring too few pulls": lambda b: put_back(b, ["a", "b"], [0.0, 0.0], [0], [0.0, 0.0], 0),
    "restoring negative pulls": lambda b: put_back(b, ["a", "b"], [0.0, 0.0], [0, -1], [0.0, 0.0], 0),
    "restoring negative steps": lambda b: put_back(b, ["a", "b"], [0.0, 0.0], [0, 0], [0.0, 0.0], -1),
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("refused", REFUSED)
def test_what_is_refused_is_a_value_error_and_changes_nothing(refused: str, estimator: str) -> None:
    bandit = Exp3IXBandit(3, ["a", "b", "c"], seed=1, estimator=estimator)
    bandit.update(0, 12.0)
    bandit.update_many({"b": 0.3, "c": 0.7}, -5.0)
    before = bandit.to_dict()
    with pytest.raises(ValueError, match=r"."):
        REFUSED[refused](bandit)
    assert bandit.to_dict() == before


@given(parameters, st.lists(operations, max_size=8), st.sampled_from(sorted(REFUSED)))
def test_a_refusal_in_the_middle_of_any_sequence_changes_nothing(
    given_parameters: dict[str, Any], sequence: list[Operation], refused: str
) -> None:
    bandit = Exp3IXBandit(3, ["a", "b", "c"], **given_parameters)
    for operation in sequence:
        if operation[0] not in ("add", "remove"):
            apply(bandit, operation)
    before = bandit.to_dict()
    with pytest.raises(ValueError, match=r"."):
        REFUSED[refused](bandit)
    assert bandit.to_dict() == before


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_learner_is_left_with_fewer_than_two_arms(estimator: str) -> None:
    bandit = Exp3IXBandit(2, estimator=estimator)
    before = bandit.to_dict()
    with pytest.raises(ValueError, match="at least two arms"):
        bandit.remove_arm("arm_0")
    assert bandit.to_dict() == before


def test_an_arm_that_could_not_be_drawn_moves_by_what_was_played() -> None:
    """A loss of .25 at p = .4: .25 / (.4 + .1) = .5, and .4 of that; 50 bps at p = .4: .1 * 125, and .4 of that."""
    implicit = Exp3IXBandit(3, estimator="implicit", eta=0.2)
    update = implicit.update(0, 50.0, 0.4, asleep=(2,))
    assert implicit.state == pytest.approx([0.5, 0.0, 0.2])
    assert (update.arms, implicit.arm_pulls, implicit.cumulative_rewards) == ((0,), [1, 0, 0], [50.0, 0.0, 0.0])
    importance = Exp3IXBandit(3, gamma=0.0, eta=0.1)
    importance.update(0, 50.0, 0.4, asleep=(2,))
    assert importance.state == pytest.approx([0.0, -12.5, -7.5])


@pytest.mark.parametrize("estimator", ["implicit", "importance"])
def test_an_arm_that_never_can_be_drawn_keeps_its_weight_against_all_others(estimator: str) -> None:
    """To first order in the rate: 500 decisions that lose 20 bps on either arm leave the third with a third."""
    bandit = Exp3IXBandit(3, gamma=0.0, eta=0.0005, estimator=estimator, seed=3)
    generator = np.random.default_rng(4)
    for _ in range(500):
        probabilities = bandit.get_probabilities()[:2]
        p = float(probabilities[0] / probabilities.sum())
        drawn = int(generator.random() >= p)
        bandit.update(drawn, -20.0, (p, 1.0 - p)[drawn], asleep=(2,))
    assert bandit.get_weights()[2] == pytest.approx(1 / 3, abs=0.02)


def test_an_estimate_that_is_not_finite_is_refused_though_the_clamp_would_hide_it() -> None:
    bandit = Exp3IXBandit(2)
    before = bandit.to_dict()
    with pytest.raises(ValueError, match="finite"):
        bandit.update(0, 1e12, 1e-300)
    assert bandit.to_dict() == before


def test_a_loss_that_would_overflow_its_sum_is_refused() -> None:
    bandit = Exp3IXBandit(2, estimator="implicit", eta=0.1)
    put_back(bandit, ["a", "b"], [1.7e308, 0.0], [0, 0], [0.0, 0.0], 0)
    with pytest.raises(ValueError, match="finite"):
        bandit.update_many({"a": 1e303}, -100.0, "undivided", weight=1e6)
    assert bandit.state == [1.7e308, 0.0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_arms": 1},
        {"n_arms": 0},
        {"n_arms": -3},
        {"n_arms": 3, "arm_names": ["a", "b"]},
        {"n_arms": 2, "arm_names": ["a", "a"]},
        {"n_arms": 2, "arm_names": ["a", ""]},
        {"n_arms": 2, "arm_names": "ab"},
        {"gamma": -0.01},
        {"gamma": 1.01},
        {"gamma": math.nan},
        {"eta": 0.0},
        {"eta": -0.1},
        {"eta": math.inf},
        {"eta_max": 0.0},
        {"seed": -1},
        {"estimator": "exp3"},
        {"implicit": -0.1},
        {"reward_bound_bps": 0.0},
        {"reward_bound_bps": math.inf},
        {"fixed_share": 1.1},
        {"transform": "log"},
        {"transform": "clip", "transform_bps": 0.0},
        {"min_weight": 0.0},
        {"min_weight": 1.5},
    ],
)
def test_a_learner_that_could_not_work_is_not_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Exp3IXBandit(**{"n_arms": 2, **wrong})


# ---------------------------------------------------------------------------------------------------------------------
# The formulas at 50 digits
# ---------------------------------------------------------------------------------------------------------------------

reference_parameters = st.fixed_dictionaries(
    {
        "gamma": st.sampled_from([0.0, 0.05]),
        "eta": st.sampled_from([None, 0.02]),
        "eta_max": st.sampled_from([0.07, None]),
        "implicit": st.sampled_from([None, 0.02]),
        "fixed_share": st.sampled_from([0.0, 0.01]),
        "transform": st.sampled_from(["none", "clip", "tanh"]),
        "transform_bps": st.sampled_from([None, 30.0]),
    }
)

mild_steps = st.tuples(
    st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4),
    st.floats(-1.0, 1.0),
    st.sampled_from(["one", "simultaneous", "sequential", "undivided"]),
    st.booleans(),
    st.floats(0.0, 2.0),
    st.booleans(),
)


def step_both(fast: Exp3IXBandit, slow: SlowBandit, step: Operation, scale: float) -> None:
    """The same reward to both; the estimates agree to 1e-10."""
    parts, reward, attribution, is_logged, weight, new_decision = step
    arms = range(len(parts))
    if attribution == "one":
        arm = parts.index(max(parts))
        p = parts[0] if is_logged else None
        update = fast.update(arm, reward * scale, p, weight, new_decision)
        estimates = slow.update(arm, reward * scale, p, weight, new_decision)
    else:
        names = fast.arm_names
        logged = dict(zip(arms, reversed(parts), strict=True)) if is_logged else None
        update = fast.update_many(
            dict(zip(names, parts, strict=True)),
            reward * scale,
            attribution,
            propensities=None if logged is None else {names[arm]: p for arm, p in logged.items()},
            weight=weight,
            new_decision=new_decision,
        )
        shares_of_arms = dict(zip(arms, parts, strict=True))
        estimates = slow.update_many(shares_of_arms, reward * scale, attribution, logged, weight, new_decision)
    assert update.estimates == pytest.approx([float(each) for each in estimates], rel=1e-10, abs=1e-13)


def assert_same(fast: Exp3IXBandit, slow: SlowBandit) -> None:
    assert fast.get_weights() == pytest.approx([float(w) for w in slow.weights()], rel=1e-10, abs=0.0)
    assert fast.get_probabilities() == pytest.approx([float(p) for p in slow.probabilities()], rel=1e-10, abs=0.0)
    assert fast.total_steps == slow.steps


@settings(max_examples=60)
@given(st.sampled_from(ESTIMATORS), reference_parameters, st.lists(mild_steps, min_size=1, max_size=20))
def test_whole_histories_agree_with_the_formulas_to_ten_digits(
    estimator: str, given_parameters: dict[str, Any], steps: list[Operation]
) -> None:
    """Rewards around 1 bps for importance: it is the feedback through p, not the code, that makes larger ones drift."""
    fast = Exp3IXBandit(4, estimator=estimator, **given_parameters)
    slow = SlowBandit(4, estimator, **given_parameters)
    for step in steps:
        step_both(fast, slow, step, scale=1.0 if estimator == "importance" else 150.0)
        assert_same(fast, slow)


@given(
    st.sampled_from(ESTIMATORS),
    reference_parameters,
    st.lists(st.floats(0.0, 23.0), min_size=3, max_size=3),
    mild_steps,
    st.sampled_from([1e-3, 150.0, 1e6, 1e12]),
)
def test_one_step_of_any_size_from_any_state_agrees_with_the_formulas_to_ten_digits(
    estimator: str, given_parameters: dict[str, Any], depths: list[float], step: Operation, scale: float
) -> None:
    assume(step[2] != "sequential")  # several steps
    steps = int(1000 * depths[0])
    state = [0.0, *(-depth for depth in depths)] if estimator == "importance" else [0.0, *(30 * d for d in depths)]
    fast = Exp3IXBandit(4, estimator=estimator, **given_parameters)
    put_back(fast, fast.arm_names, state, [0] * 4, [0.0] * 4, steps)
    slow = SlowBandit(4, estimator, **given_parameters, state=state, steps=steps)
    assert_same(fast, slow)
    step_both(fast, slow, step, scale)
    assert_same(fast, slow)


# ---------------------------------------------------------------------------------------------------------------------
# Late rewards
# ---------------------------------------------------------------------------------------------------------------------

late = st.lists(
    st.tuples(st.integers(0, 3), st.floats(-100.0, 100.0), st.floats(0.1, 1.0), st.floats(0.0, 1.0), st.booleans()),
    min_size=2,
    max_size=15,
)


def after(history: list[tuple[int, float, float, float, bool]], **given_parameters: Any) -> Exp3IXBandit:
    bandit = Exp3IXBandit(4, **given_parameters)
    for arm, reward, propensity, weight, new_decision in history:
        bandit.update(arm, reward, propensity, weight, new_decision)
    return bandit


@given(late, st.randoms(use_true_random=False))
def test_with_a_given_rate_and_logged_propensities_the_order_of_implicit_does_not_matter(
    history: list[tuple[int, float, float, float, bool]], random: Any
) -> None:
    shuffled = random.sample(history, len(history))
    one, other = (after(each, estimator="implicit", eta=0.1) for each in (history, shuffled))
    assert one.state == pytest.approx(other.state, rel=1e-12, abs=1e-12)
    assert one.cumulative_rewards == pytest.approx(other.cumulative_rewards, rel=1e-12, abs=1e-9)
    assert (one.total_steps, one.arm_pulls) == (other.total_steps, other.arm_pulls)


@given(late, st.randoms(use_true_random=False))
def test_for_importance_the_order_does_not_matter_while_the_floor_does_not_bind(
    history: list[tuple[int, float, float, float, bool]], random: Any
) -> None:
    """eta = .0007: fifteen estimates of at most 1000 move theta by at most 10.5 either way, the floor is at -23."""
    shuffled = random.sample(history, len(history))
    one, other = (after(each, eta=0.0007) for each in (history, shuffled))
    assert one.get_weights() == pytest.approx(other.get_weights(), rel=1e-9)


def test_where_the_order_does_matter() -> None:
    """The floor, an automatic rate, current propensities and fixed_share each make the same rewards end elsewhere."""
    down_up: list[tuple[int, float, float, float, bool]] = [(0, -100.0, 0.1, 1.0, True), (0, 90.0, 0.1, 1.0, True)]
    for given_parameters in (
        {"eta": 0.05},  # down 50 is cut at 23, so that up 45 ends on top
        {"estimator": "implicit", "eta": 0.1, "fixed_share": 0.01},
        {"estimator": "implicit", "eta_max": None},
    ):
        one, other = after(down_up, **given_parameters), after(down_up[::-1], **given_parameters)
        assert one.get_weights() != pytest.approx(other.get_weights(), rel=1e-6), given_parameters
    one, other = (Exp3IXBandit(4, estimator="implicit", eta=0.1) for _ in range(2))
    for bandit, order in ((one, (-100.0, 90.0)), (other, (90.0, -100.0))):
        for reward in order:
            assert bandit.update(0, reward).propensity_source == "CURRENT"
    assert one.get_weights() != pytest.approx(other.get_weights(), rel=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_logged_propensity_is_what_the_estimate_is_divided_by(estimator: str) -> None:
    bandit = Exp3IXBandit(5, eta=0.1, estimator=estimator)
    bandit.update(0, 50.0)
    update = bandit.update(0, 40.0, 0.4)
    assert (update.propensities, update.propensity_source) == ((0.4,), "LOGGED")
    assert update.estimates == pytest.approx((100.0 if estimator == "importance" else 0.3 / 0.45,))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_only_the_first_part_of_a_decision_counts(estimator: str) -> None:
    bandit = Exp3IXBandit(2, eta_max=None, estimator=estimator)
    rates = [bandit.update(0, 10.0, 0.5, 0.25, new_decision=each).eta for each in (False, True, True, False)]
    t_of_each = (1, 1, 2, 2) if estimator == "importance" else (1, 1, 2, 3)
    assert rates == pytest.approx([math.sqrt(math.log(2) / (2 * t)) for t in t_of_each], rel=1e-14)
    assert (bandit.total_steps, bandit.arm_pulls) == (2, [2, 0])
    assert bandit.cumulative_rewards == [10.0, 0.0]


@given(st.floats(-100.0, 100.0), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5))
def test_the_parts_of_a_decision_sum_to_the_whole_and_the_unrealised_counts_as_a_zero_reward(
    reward: float, parts: list[float]
) -> None:
    """Parts of weight w_j at one reward: sum w_j (loss - 1/2) + 1/2, over p + implicit."""
    bandit = Exp3IXBandit(3, eta=0.1, estimator="implicit")
    for number, part in enumerate(parts):
        bandit.update(1, reward, 0.35, part, new_decision=number == 0)
    loss = (100.0 - reward) / 200.0
    realised = sum(parts)
    assert bandit.state[1] == pytest.approx((realised * (loss - 0.5) + 0.5) / 0.4, rel=1e-12, abs=1e-12)


def test_cumulative_rewards_grow_by_weight_times_reward_before_any_transform() -> None:
    bandit = Exp3IXBandit(2, estimator="implicit", transform="clip", transform_bps=1.0)
    bandit.update(0, 500.0, 0.5, 0.25)
    bandit.update_many({"arm_0": 0.5, "arm_1": 0.25}, -80.0, weight=0.5)
    assert bandit.cumulative_rewards == [125.0 - 20.0, -10.0]


# ---------------------------------------------------------------------------------------------------------------------
# Several models behind one trade
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_simultaneous_divides_each_share_by_one_reading_whatever_the_order(estimator: str) -> None:
    one, other = (Exp3IXBandit(3, ["a", "b", "c"], eta=0.05, estimator=estimator) for _ in range(2))
    for bandit in (one, other):
        bandit.update(0, 30.0)
    p = one.get_probabilities()
    update = one.update_many({"a": 0.5, "c": 0.3}, 20.0)
    other.update_many({"c": 0.3, "a": 0.5}, 20.0)
    expected = [10.0 / p[0], 6.0 / p[2]]
    if estimator == "implicit":
        expected = [0.5 * -0.1 / (p[0] + 0.025), 0.3 * -0.1 / (p[2] + 0.025)]
    assert (update.arms, update.propensity_source) == ((0, 2), "CURRENT")
    assert update.propensities == pytest.approx((p[0], p[2]), rel=1e-15)
    assert update.estimates == pytest.approx(expected, rel=1e-12)
    assert learned(other) == learned(one)
    assert (one.total_steps, one.arm_pulls) == (2, [2, 0, 1])


def test_sequential_is_the_documented_loop() -> None:
    """for arm, share: update(arm, share * reward), each on the weights that the one before it left."""
    blended, looped = (Exp3IXBandit(3, eta_max=None) for _ in range(2))
    update = blended.update_many({"arm_2": 0.5, "arm_0": 0.25}, 20.0, "sequential")
    estimates = [looped.update(2, 10.0).estimates[0], looped.update(0, 5.0).estimates[0]]
    assert update.arms == (2, 0)
    assert update.estimates == pytest.approx(estimates, rel=1e-14)
    assert blended.get_weights() == pytest.approx(looped.get_weights(), rel=1e-14)
    assert (blended.total_steps, blended.arm_pulls) == (2, [1, 0, 1])
    simultaneous = Exp3IXBandit(3, eta_max=None)
    simultaneous.update_many({"arm_2": 0.5, "arm_0": 0.25}, 20.0)
    assert simultaneous.get_weights() != pytest.approx(looped.get_weights(), rel=1e-6)


def test_undivided_divides_by_nothing() -> None:
    """Importance: theta_a = eta * share * reward. Implicit: L_a = share * (loss - 1/2), which may be negative."""
    importance, implicit = (
        Exp3IXBandit(3, ["a", "b", "c"], eta=0.05, estimator=each, gamma=0.0) for each in ESTIMATORS
    )
    update = importance.update_many({"a": 0.5, "b": 0.25}, 8.0, "undivided")
    assert update == Update((0, 1), (), (4.0, 2.0), 0.05, "NONE")
    assert importance.state == pytest.approx([0.0, -0.1, -0.2])
    update = implicit.update_many({"a": 0.5, "b": 0.25}, 20.0, "undivided", weight=0.5)
    assert update.estimates == pytest.approx((-0.025, -0.0125))
    assert implicit.state == pytest.approx([-0.025, -0.0125, 0.0])


@pytest.mark.parametrize("attribution", ["simultaneous", "sequential", "undivided"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_zero_reward_of_a_blend_moves_nothing(estimator: str, attribution: str) -> None:
    bandit = Exp3IXBandit(3, estimator=estimator, eta=0.1)
    bandit.update(1, 25.0)
    before = bandit.state
    bandit.update_many({"arm_0": 0.9, "arm_1": 0.1}, 0.0, attribution)
    assert bandit.state == before


def test_propensities_count_where_they_name_exactly_the_contributing_arms() -> None:
    contributions = {"arm_0": 0.5, "arm_1": 0.5, "arm_2": 0.0}
    for logged, source in (
        ({"arm_0": 0.1, "arm_1": 0.2}, "LOGGED"),
        ({"arm_0": 0.1}, "CURRENT"),
        ({"arm_0": 0.1, "arm_1": 0.2, "arm_2": 0.7}, "CURRENT"),
        ({}, "CURRENT"),
        (None, "CURRENT"),
    ):
        for attribution in ("simultaneous", "sequential"):
            bandit = Exp3IXBandit(3)
            update = bandit.update_many(contributions, 10.0, attribution, propensities=logged)
            assert update.propensity_source == source
            if source == "LOGGED":
                assert update.estimates == pytest.approx((50.0, 25.0))
        assert (
            Exp3IXBandit(3).update_many(contributions, 10.0, "undivided", propensities=logged).propensity_source
            == "NONE"
        )


def test_a_part_of_a_blended_decision_that_is_not_its_first_counts_nothing() -> None:
    for attribution in ("simultaneous", "sequential", "undivided"):
        bandit = Exp3IXBandit(3)
        bandit.update_many({"arm_0": 0.5, "arm_1": 0.5}, 10.0, attribution, new_decision=False)
        assert (bandit.total_steps, bandit.arm_pulls) == (0, [0, 0, 0])
        assert bandit.cumulative_rewards == [5.0, 5.0, 0.0]


# ---------------------------------------------------------------------------------------------------------------------
# Transforms, clipping, fixed share
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transform", "transform_bps", "reward", "expected"),
    [
        ("none", None, 1e6, 1e6),
        ("clip", None, 250.0, 100.0),
        ("clip", None, -250.0, -100.0),
        ("clip", 300.0, 250.0, 250.0),
        ("tanh", None, 50.0, 50.0 * math.tanh(1.0)),
        ("tanh", 20.0, -10.0, -20.0 * math.tanh(0.5)),
        ("tanh", None, 1e12, 50.0),
    ],
)
def test_transforms_run_first(transform: str, transform_bps: float | None, reward: float, expected: float) -> None:
    importance = Exp3IXBandit(2, transform=transform, transform_bps=transform_bps)
    assert importance.update(0, reward, 1.0).estimates == pytest.approx((expected,), rel=1e-15)
    implicit = Exp3IXBandit(
        2, transform=transform, transform_bps=transform_bps, estimator="implicit", reward_bound_bps=1e7, implicit=0.0
    )
    assert implicit.update(0, reward, 1.0).estimates == pytest.approx(((1e7 - expected) / 2e7,), rel=1e-15)


def test_a_clipped_reward_is_seen() -> None:
    """Beyond B under implicit, after the transform; beyond transform_bps under clip; tanh bends and does not clip."""
    limits = {
        (("estimator", "importance"),): None,
        (("estimator", "implicit"),): 100.0,
        (("estimator", "importance"), ("transform", "clip"), ("transform_bps", 30.0)): 30.0,
        (("estimator", "implicit"), ("transform", "clip"), ("transform_bps", 30.0)): 30.0,
        (("estimator", "implicit"), ("transform", "clip"), ("transform_bps", 300.0)): 100.0,
        (("estimator", "implicit"), ("transform", "tanh")): None,
    }
    for given_parameters, limit in limits.items():
        bandit = Exp3IXBandit(2, **dict(given_parameters))  # type: ignore[arg-type] # names and kinds vary together
        for reward in (-1e6, -301.0, -101.0, -100.0, -31.0, -30.0, 0.0, 30.0, 31.0, 100.0, 101.0, 301.0, 1e6):
            assert bandit.is_clipped(reward) == (limit is not None and abs(reward) > limit), (given_parameters, reward)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fixed_share_mixes_in_the_mean_once_a_decision(estimator: str) -> None:
    """w <- .9 w + .1 / 3 on the weights of the rate in use, and nothing for a later part of the decision."""
    plain = Exp3IXBandit(3, gamma=0.0, eta=0.05, estimator=estimator)
    sharing = Exp3IXBandit(3, gamma=0.0, eta=0.05, estimator=estimator, fixed_share=0.1)
    for bandit in (plain, sharing):
        bandit.update(0, 40.0, 0.5)
    mixed = 0.9 * plain.get_weights() + 0.1 / 3
    assert sharing.get_weights() == pytest.approx(mixed, rel=1e-12)
    before = sharing.state
    sharing.update(0, 0.0, 0.5, 0.0, new_decision=False)
    assert sharing.state == before


def test_fixed_share_of_implicit_uses_the_rounds_own_rate_and_unfloored_weights() -> None:
    """After one decision from zero, L_i = -ln(.8 w_i + .2 / 2) / eta_1, w from eta_1 L, and w_0 is far under 1e-10."""
    bandit = Exp3IXBandit(2, eta_max=None, estimator="implicit", fixed_share=0.2, implicit=0.0, gamma=0.0)
    bandit.update(0, -100.0, 0.01)
    eta_1 = math.sqrt(math.log(2) / 2)
    assert bandit.state == pytest.approx([-math.log(0.1) / eta_1, -math.log(0.9) / eta_1], rel=1e-12)


def test_fixed_share_brings_a_turning_market_back_sooner() -> None:
    def decisions_to_turn(fixed_share: float) -> int:
        bandit = Exp3IXBandit(3, gamma=0.0, eta=0.1, estimator="implicit", fixed_share=fixed_share)
        for _ in range(500):
            bandit.update_many({"arm_0": 1.0}, 50.0, "undivided")
        for decision in range(2_000):
            bandit.update_many({"arm_1": 1.0}, 50.0, "undivided")
            if bandit.read().weights[1] > 0.5:
                return decision + 1
        raise AssertionError("it never turned")

    assert decisions_to_turn(0.0) == 501  # everything taken back, to the letter
    assert decisions_to_turn(0.0005) < 350


# ---------------------------------------------------------------------------------------------------------------------
# Arms that come and go
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [None, 0.05])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_arm_management(estimator: str, eta: float | None) -> None:
    """An arm comes in with the mean weight, or so many of it; the others keep their relative weights, also when it
    goes, and under an automatic rate, which depends on K."""
    bandit = Exp3IXBandit(3, ["ridge", "mlp", "gru"], gamma=0.0, eta=eta, eta_max=None, estimator=estimator)
    for arm, reward in ((0, 20.0), (1, -3.0), (2, 1.0), (0, 5.0)):
        bandit.update(arm, reward, 0.9)
    old = bandit.get_weights()
    assert bandit.add_arm("xgb") == 3
    assert bandit.get_weights()[3] == pytest.approx(1 / 4, rel=1e-12), "the mean of four is a quarter"
    assert bandit.get_weights()[:3] == pytest.approx(old * 3 / 4, rel=1e-12)
    assert bandit.add_arm("tft", 5.0) == 4
    assert bandit.get_weights()[4] == pytest.approx(5 / 9, rel=1e-12), "five means beside four"
    assert bandit.add_arm("zero", 0.0) == 5
    assert 0.0 < bandit.get_weights()[5] < 2e-10, "0 takes the floor"
    assert bandit.arm_names == ["ridge", "mlp", "gru", "xgb", "tft", "zero"]
    assert (bandit.n_arms, bandit.arm_pulls) == (6, [2, 1, 1, 0, 0, 0])
    bandit.remove_arm("xgb")
    assert (bandit.has_arm("xgb"), bandit.has_arm("tft"), bandit.get_arm_index("tft")) == (False, True, 3)
    for name in ("tft", "zero"):
        bandit.remove_arm(name)
    assert bandit.get_weights() == pytest.approx(old, rel=1e-12)
    assert (bandit.arm_pulls, bandit.total_steps) == ([2, 1, 1], 4)
    bandit.remove_arm("ridge")
    assert bandit.get_weights_dict() == pytest.approx(
        {"mlp": old[1] / (old[1] + old[2]), "gru": old[2] / (old[1] + old[2])}, rel=1e-12
    )
    bandit.update(bandit.get_arm_index("gru"), 10.0)
    assert bandit.arm_pulls == [1, 2]


# ---------------------------------------------------------------------------------------------------------------------
# Showing, keeping, merging
# ---------------------------------------------------------------------------------------------------------------------

DOCUMENTED = {
    "n_arms": 3,
    "arm_names": ["a", "b", "c"],
    "gamma": 0.05,
    "eta": 0.05,
    "eta_auto": False,
    "weights": [4, 1, 1],
    "total_steps": 7,
    "arm_pulls": [4, 2, 1],
    "cumulative_rewards": [12.5, 0, -3.0],
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_persistence(estimator: str) -> None:
    """Through JSON it goes on bit for bit, the generator too, whether it has drawn yet or not, seeded or not."""
    for seed in (5, None):
        for draws in (0, 3):
            bandit = Exp3IXBandit(4, seed=seed, estimator=estimator)
            for _ in range(draws):
                bandit.update(bandit.select_arm(), 10.0)
            twin = through_json(bandit)
            for _ in range(50):
                arm = bandit.select_arm()
                assert twin.select_arm() == arm
                assert twin.update(arm, 3.0) == bandit.update(arm, 3.0)
            assert twin.to_dict() == bandit.to_dict()


def test_a_seeded_generator_draws_the_same_whether_it_was_saved_or_not() -> None:
    saved, plain = Exp3IXBandit(4, seed=5), Exp3IXBandit(4, seed=5)
    saved.to_dict()
    assert [saved.select_arm() for _ in range(50)] == [plain.select_arm() for _ in range(50)]


def test_the_nine_documented_keys_alone_are_the_importance_rule() -> None:
    """Weights [4, 1, 1] are 2/3, 1/6, 1/6; a weight of 0 takes the floor; the seed serves, as there is no generator."""
    bandit = Exp3IXBandit.from_dict(DOCUMENTED, seed=9)
    assert bandit.estimator == "importance"
    assert bandit.get_weights() == pytest.approx([2 / 3, 1 / 6, 1 / 6], rel=1e-15)
    assert (bandit.eta, bandit.eta_auto, bandit.gamma, bandit.total_steps) == (0.05, False, 0.05, 7)
    assert (bandit.arm_pulls, bandit.cumulative_rewards) == ([4, 2, 1], [12.5, 0.0, -3.0])
    assert list(bandit.to_dict())[:9] == list(DOCUMENTED)
    assert bandit.to_dict()["weights"] == pytest.approx([1.0, 0.25, 0.25], rel=1e-15)
    twin = Exp3IXBandit.from_dict(DOCUMENTED, seed=9)
    assert [twin.select_arm() for _ in range(30)] == [bandit.select_arm() for _ in range(30)]
    zero = Exp3IXBandit.from_dict({**DOCUMENTED, "weights": [2, 0, 2]})
    assert zero.get_weights() == pytest.approx([0.5, 0.5e-10, 0.5], rel=1e-9)
    automatic = Exp3IXBandit.from_dict({**DOCUMENTED, "eta_auto": True})
    assert automatic.eta == 0.07, "sqrt(ln 3 / 21) = .23 is capped"


def test_a_kept_generator_wins_over_the_seed_and_a_kept_state_over_the_weights() -> None:
    bandit = Exp3IXBandit(3, seed=1)
    bandit.update(0, 10.0)
    kept = {**bandit.to_dict(), "weights": [1, 1, 1]}
    twin = Exp3IXBandit.from_dict(kept, seed=2)
    assert twin.to_dict() == bandit.to_dict()


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": [1, 1]},
        {"weights": [1, 1, -1]},
        {"weights": [1, 1, math.nan]},
        {"weights": [1, 1, 1e7]},
        {"weights": [0, 0, 0]},
        {"weights": None},
        {"weights": [1, 1, "1"]},
        {"arm_names": ["a", "b"]},
        {"arm_names": ["a", "b", "b"]},
        {"arm_names": "abc"},
        {"n_arms": 4},
        {"n_arms": 3.5},
        {"gamma": 2.0},
        {"gamma": None},
        {"eta": 0.0},
        {"eta": None},
        {"eta_auto": "no"},
        {"total_steps": -1},
        {"total_steps": 1.5},
        {"arm_pulls": [1, 2]},
        {"arm_pulls": [1, 2, -3]},
        {"cumulative_rewards": [0, 0, math.inf]},
        {"losses": [0, 0, 0]},
        {"log_weights": [0, 0, math.nan]},
        {"log_weights": [0, 0]},
        {"log_weights": [0, 0, 0], "losses": [0, 0, 0]},
        {"estimator": "implicit", "log_weights": [0, 0, 0]},
        {"estimator": "other"},
        {"generator": {"bit_generator": "MT19937"}},
        {"generator": {}},
        {"generator": 3},
        {"log_wieghts": [0, 0, 0]},
    ],
)
def test_a_kept_state_that_no_learner_could_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Exp3IXBandit.from_dict({**DOCUMENTED, **wrong})


@pytest.mark.parametrize("key", DOCUMENTED)
def test_each_documented_key_is_needed(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        Exp3IXBandit.from_dict({name: value for name, value in DOCUMENTED.items() if name != key})


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_weights_alone_are_enough_for_either_estimator(estimator: str) -> None:
    bandit = Exp3IXBandit.from_dict({**DOCUMENTED, "estimator": estimator, "eta_auto": True})
    assert bandit.get_weights() == pytest.approx([2 / 3, 1 / 6, 1 / 6], rel=1e-14)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_nothing_that_is_given_out_is_the_learners_own(estimator: str) -> None:
    bandit = Exp3IXBandit(3, estimator=estimator, seed=1)
    bandit.update(1, 10.0)
    before = bandit.to_dict()
    given_out = bandit.to_dict()
    for key in ("arm_names", "weights", "arm_pulls", "cumulative_rewards", "losses", "log_weights"):
        if key in given_out:
            given_out[key].clear()
    given_out["generator"]["state"]["state"] = 0
    for array in (bandit.get_weights(), bandit.get_probabilities()):
        assert array.dtype == np.float64
        array[:] = 9.0
    for fresh in (bandit.arm_names, bandit.state, bandit.arm_pulls, bandit.cumulative_rewards, *bandit.read()[:2]):
        assert isinstance(fresh, list)
        fresh.clear()
    bandit.get_weights_dict().clear()
    bandit.get_stats()["arm_stats"].clear()
    assert bandit.to_dict() == before


def test_numpy_numbers_are_taken_and_do_not_stay() -> None:
    bandit = Exp3IXBandit(3, eta=0.05)
    bandit.update(np.int64(1), np.float32(5.0), np.float64(0.5), np.float64(0.5))  # type: ignore[arg-type] # that is it
    bandit.update_many({"arm_0": np.float64(0.5)}, np.float64(5.0))
    kept = bandit.to_dict()
    assert {type(each) for each in (*kept["log_weights"], *kept["cumulative_rewards"])} == {float}
    assert {type(each) for each in kept["arm_pulls"]} == {int}


def test_get_stats_tells_what_each_arm_did() -> None:
    bandit = Exp3IXBandit(2, ["a", "b"], gamma=0.1, eta=0.05)
    bandit.update(0, 4.0, 0.5)
    bandit.update(0, 2.0, 0.5)
    stats = bandit.get_stats()
    assert list(stats) == ["n_arms", "total_steps", "gamma", "eta", "arm_stats"]
    assert (stats["n_arms"], stats["total_steps"], stats["gamma"], stats["eta"]) == (2, 2, 0.1, 0.05)
    a, b = stats["arm_stats"]
    weight = 1 / (1 + math.exp(-0.6))
    assert a == pytest.approx(
        {"name": "a", "pulls": 2, "cumulative_reward": 6.0, "avg_reward": 3.0}
        | {"weight": weight, "probability": 0.9 * weight + 0.05}
    )
    assert (b["name"], b["pulls"], b["cumulative_reward"], b["avg_reward"]) == ("b", 0, 0.0, 0.0)


def test_reset_forgets_all_but_arms_and_parameters() -> None:
    for estimator in ESTIMATORS:
        bandit = Exp3IXBandit(3, estimator=estimator, eta_max=None)
        bandit.add_arm("late")
        for arm in range(4):
            bandit.update(arm, 10.0 * arm)
        bandit.reset()
        fresh = Exp3IXBandit(4, ["arm_0", "arm_1", "arm_2", "late"], estimator=estimator, eta_max=None)
        assert learned(bandit) == learned(fresh)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_merge_adds_what_two_learned_apart(estimator: str) -> None:
    """With logged propensities and a given rate, the same as one that learned it all."""
    history = [(0, 10.0), (1, -20.0), (2, 5.0), (0, 30.0), (2, -15.0), (1, 8.0)]
    whole, one, other = (Exp3IXBandit(3, eta=0.01, estimator=estimator, seed=seed) for seed in (1, 2, 3))
    for number, (arm, reward) in enumerate(history):
        for bandit in (whole, one if number < 2 else other):
            bandit.update(arm, reward, 0.4)
    unmerged = other.to_dict()
    undisturbed = through_json(one)
    one.merge(other)
    assert one.get_weights() == pytest.approx(whole.get_weights(), rel=1e-12)
    assert (one.total_steps, one.arm_pulls) == (6, [2, 2, 2])
    assert one.cumulative_rewards == pytest.approx([40.0, -12.0, -10.0])
    assert other.to_dict() == unmerged
    assert one.to_dict()["generator"] == undisturbed.to_dict()["generator"], "self keeps its generator"


def test_merge_reads_implicit_losses_at_the_rate_of_both_together() -> None:
    one, other = (Exp3IXBandit(2, gamma=0.0, eta_max=None, estimator="implicit") for _ in range(2))
    total = sum(each.update(0, -30.0, 0.5).estimates[0] for each in (one, other, other))
    one.merge(other)
    weight = one.get_weights()
    assert weight[0] / weight[1] == pytest.approx(math.exp(-math.sqrt(math.log(2) / (2 * 4)) * total), rel=1e-12)


@given(parameters, st.lists(operations, max_size=8), st.lists(operations, min_size=1, max_size=8))
def test_a_copy_and_a_restored_learner_go_on_alike_and_apart(
    given_parameters: dict[str, Any], before: list[Operation], after: list[Operation]
) -> None:
    bandit = Exp3IXBandit(3, **{**given_parameters, "seed": 4})
    for operation in before:
        apply(bandit, operation)
    at_copy = bandit.to_dict()
    twin = bandit.copy()
    restored = Exp3IXBandit(2, **{**given_parameters, "seed": 4})
    put_back(restored, bandit.arm_names, bandit.state, bandit.arm_pulls, bandit.cumulative_rewards, bandit.total_steps)
    assert learned(restored) == learned(twin)
    for operation in after:
        apply(twin, operation)
        apply(restored, operation)
        assert bandit.to_dict() == at_copy
    assert learned(restored) == learned(twin)


def test_a_copy_draws_what_the_original_would_have_drawn() -> None:
    for draws in (0, 3):
        bandit = Exp3IXBandit(4, seed=8)
        for _ in range(draws):
            bandit.select_arm()
        twin = bandit.copy()
        expected = [twin.select_arm() for _ in range(30)]
        assert [bandit.select_arm() for _ in range(30)] == expected


# ---------------------------------------------------------------------------------------------------------------------
# The two DEBUG lines
# ---------------------------------------------------------------------------------------------------------------------


def test_two_debug_lines(caplog: pytest.LogCaptureFixture) -> None:
    bandit = Exp3IXBandit(2, ["lightgbm", "ridge"], gamma=0.0, eta=0.042, seed=0)
    with caplog.at_level(logging.DEBUG, logger="armstream.learning.exp3ix"):
        arm = bandit.select_arm()
        bandit.update(0, 25.0, 0.27)
        bandit.update_many({"lightgbm": 0.5, "ridge": 0.5}, 2.0, "undivided")
    weight = 1 / (1 + math.exp(-0.042 * 25 / 0.27))
    assert caplog.messages == [
        f"Exp3IX selected arm {arm} ({bandit.arm_names[arm]}) with p=0.5",
        f"Exp3IX update: arm=0, reward=25.00bps, r_hat=92.59, eta=0.042, new_weight={weight:.4g}",
        f"Exp3IX update: arm=0, reward=2.00bps, r_hat=1.00, eta=0.042, new_weight={weight:.4g}",
        f"Exp3IX update: arm=1, reward=2.00bps, r_hat=1.00, eta=0.042, new_weight={1 - weight:.4g}",
    ]


def test_no_line_is_built_when_debug_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a line was built")

    monkeypatch.setattr(Exp3IXBandit, "_log_update", refuse)
    logger = logging.getLogger("armstream.learning.exp3ix")
    monkeypatch.setattr(logger, "debug", refuse)
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()  # type: ignore[attr-defined] # isEnabledFor remembers
    bandit = Exp3IXBandit(2)
    bandit.update(bandit.select_arm(), 1.0)
    bandit.update_many({"arm_0": 1.0}, 1.0)
