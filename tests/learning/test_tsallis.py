"""Tsallis-INF: numbers worked by hand, order-freedom, and agreement with its formula by bisection at 50 digits."""

import json
import logging
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from armstream.learning import RewardBound, TradeResult, TsallisBandit, update_after_trade
from tests.learning.held import put_back
from tests.learning.reference import slow_tsallis


def learner(n_arms: int = 3, bound_bps: float = 100.0, seed: int | None = 1) -> TsallisBandit:
    return TsallisBandit(n_arms, seed=seed, reward_bound_bps=bound_bps)


def at(losses: Sequence[float], decisions: int, bound_bps: float = 100.0) -> TsallisBandit:
    """A learner that has learned these losses."""
    bandit = learner(len(losses), bound_bps)
    put_back(bandit, bandit.arm_names, losses, [0] * len(losses), [0.0] * len(losses), decisions)
    return bandit


def learned(bandit: TsallisBandit) -> dict[str, Any]:
    """Everything but the generator."""
    return {key: value for key, value in bandit.to_dict().items() if key != "generator"}


def through_json(bandit: TsallisBandit) -> TsallisBandit:
    return TsallisBandit.from_dict(json.loads(json.dumps(bandit.to_dict())))


# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------


def test_two_arms_by_hand() -> None:
    """n = 3: eta = 2. With x = -5/4 and L = 5/12, 0: p = (5/3)^-2 = 9/25 and (5/4)^-2 = 16/25."""
    reading = at([5 / 12, 0.0], 3).read()
    assert reading.eta == 2.0
    assert reading.probabilities == pytest.approx([9 / 25, 16 / 25], rel=1e-15)
    assert reading.weights == reading.probabilities


def test_three_arms_by_hand() -> None:
    """n = 3: eta = 2. With x = 7 - 3/2 and L = 7, 7, 8.5: p = (3/2)^-2, (3/2)^-2, 3^-2. Only differences count."""
    assert at([7.0, 7.0, 8.5], 3).read().probabilities == pytest.approx([4 / 9, 4 / 9, 1 / 9], rel=1e-15)
    assert at([-2.0, -2.0, -0.5], 3).read().probabilities == pytest.approx([4 / 9, 4 / 9, 1 / 9], rel=1e-15)


def test_before_anything_is_learned_all_arms_are_equal_and_the_rate_is_4() -> None:
    reading = learner(7).read()
    assert reading.probabilities == pytest.approx([1 / 7] * 7, rel=1e-14)
    assert reading.eta == 4.0


losses = st.one_of(st.floats(-50.0, 50.0), st.floats(-1e12, 1e12), st.sampled_from([0.0, 1e12, -1e12, 1e-9]))


@settings(max_examples=60, deadline=None)
@given(st.lists(losses, min_size=2, max_size=12), st.integers(0, 10**9))
def test_any_losses_read_as_the_formula_at_50_digits(state: list[float], decisions: int) -> None:
    probabilities = at(state, decisions).read().probabilities
    expected = [float(p) for p in slow_tsallis(state, decisions)]
    # Differences of losses are taken in floats: 1e-16 of the largest, against a scale of 2 / eta.
    scale = 0.5 / math.sqrt(decisions + 1)
    tolerance = 1e-12 + 8e-16 * (max(map(abs, state)) + scale) / scale
    assert probabilities == pytest.approx(expected, rel=tolerance, abs=1e-15)
    assert math.fsum(probabilities) == pytest.approx(1.0, abs=1e-12)
    assert min(probabilities) > 0.0


@pytest.mark.parametrize("n_arms", [2, 100, 1000])
@pytest.mark.parametrize("far", [0.0, 1e-9, 1.0, 1e6, 1e12, 1e100])
def test_a_thousand_arms_and_the_largest_losses_stay_probabilities(n_arms: int, far: float) -> None:
    """One arm apart from the rest, below them or above: the p of the rest are equal, by symmetry, and all sum to 1."""
    for state in ([-far] + [0.0] * (n_arms - 1), [far] + [0.0] * (n_arms - 1)):
        first, *rest = at(state, 10).read().probabilities
        assert first > 0.0
        assert min(rest) > 0.0
        assert rest == pytest.approx([(1.0 - first) / len(rest)] * len(rest), rel=1e-9, abs=1e-15)
        assert (first >= rest[0]) == (state[0] <= 0.0)


# ---------------------------------------------------------------------------------------------------------------------
# Learning
# ---------------------------------------------------------------------------------------------------------------------


def test_the_estimate_by_hand() -> None:
    """B = 100: 50 bps is a loss of 1/4. p = 4/9, 4/9, 1/9 at eta = 1/2: b = 1/2, 1/2, 0.

    Arm 0 drawn: L_0 = 1/2 + (1/4 - 1/2) 9/4 = -1/16, L_1 = 1/2, L_2 = 0. Arm 2 then: 1/4 * 9 on top of its 0.
    """
    bandit = learner()
    logged: Any = {"probabilities": [4 / 9, 4 / 9, 1 / 9], "eta": 0.5}
    update = bandit.update(0, 50.0, **logged)
    assert bandit.state == pytest.approx([-1 / 16, 1 / 2, 0.0], rel=1e-14)
    assert (update.arms, update.eta, update.propensity_source, update.applied) == ((0,), 0.5, "LOGGED", True)
    assert update.propensities == pytest.approx((4 / 9,))
    assert update.estimates == pytest.approx((-1 / 16,))
    assert bandit.update(2, 50.0, 1 / 9, **logged).estimates == pytest.approx((9 / 4,))
    assert bandit.state == pytest.approx([-1 / 16 + 1 / 2, 1.0, 9 / 4], rel=1e-14)
    assert (bandit.total_steps, bandit.arm_pulls, bandit.cumulative_rewards) == (2, [1, 0, 1], [50.0, 0.0, 50.0])


def test_an_arm_that_could_not_be_drawn_moves_by_what_was_played() -> None:
    """p = .8, .2, 0 at eta = 1/2: b = 1/2 for the first. 50 bps of it: 1/2 - 1/4 / .8 = 3/16, and .8 of that for the
    last. Of the second: 1/4 / .2 = 5/4 on it, and .8 / 2 + .2 * 5/4 = .65. A later part has no b: -1/4 / .8."""
    bandit = learner()
    logged: Any = {"probabilities": [0.8, 0.2, 0.0], "eta": 0.5}
    bandit.update(0, 50.0, **logged)
    assert bandit.state == pytest.approx([3 / 16, 0.0, 0.15])
    bandit.update(1, 50.0, **logged)
    assert bandit.state == pytest.approx([3 / 16 + 0.5, 1.25, 0.8])
    bandit.update(0, 50.0, **logged, new_decision=False)
    assert bandit.state == pytest.approx([3 / 8, 1.25, 0.55])


def test_with_the_propensity_alone_those_asleep_move_by_what_the_drawn_arm_earned() -> None:
    """b is 0: 50 of 100 bps at p = .4 are .25 / .4 on the drawn arm, .4 of that on the one asleep. Half of it: .125 of
    the realised loss and .25 for the rest."""
    bandit = learner()
    bandit.update(1, 50.0, 0.4, asleep=(2,))
    assert bandit.state == pytest.approx([0.0, 0.625, 0.25])
    bandit.update(0, 50.0, 0.4, weight=0.5, asleep=(1, 2))
    assert bandit.state == pytest.approx([0.375 / 0.4, 1.0, 0.625])
    assert (bandit.arm_pulls, bandit.cumulative_rewards[2]) == ([1, 1, 0], 0.0)


def test_the_baseline_begins_where_p_is_eta_squared() -> None:
    for p, baseline in ((0.25, 0.5), (0.2499999, 0.0)):
        bandit = learner(2)
        bandit.update(1, 0.0, probabilities=[p, 1.0 - p], eta=0.5)
        assert bandit.state[0] == baseline


@given(
    st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6),
    st.floats(0.01, 4.0),
    st.lists(st.floats(-100.0, 100.0), min_size=6, max_size=6),
)
def test_the_estimates_of_a_decision_are_its_losses_in_the_mean(
    parts: list[float], eta: float, rewards: list[float]
) -> None:
    """Over the arm drawn: sum_drawn p_drawn * (what L_a moves by) = loss_a for every a, whichever b they have."""
    probabilities = [each / math.fsum(parts) for each in parts]
    mean = np.zeros(len(parts))
    for arm, p in enumerate(probabilities):
        bandit = learner(len(parts))
        bandit.update(arm, rewards[arm], probabilities=probabilities, eta=eta)
        mean += p * np.array(bandit.state)
    expected = [(100.0 - reward) / 200.0 for reward in rewards[: len(parts)]]
    assert mean == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_with_the_propensity_alone_there_is_no_baseline_and_the_rate_is_2() -> None:
    """n = 8: 2 / sqrt(9); a loss of 1/4 by p = .4 is .625."""
    bandit = at([0.0, 0.0], 8)
    update = bandit.update(1, 50.0, 0.4)
    assert bandit.state == pytest.approx([0.0, 0.625])
    assert update.eta == pytest.approx(2 / 3)
    assert update.propensity_source == "LOGGED"


def test_a_drawn_arm_without_its_propensity_is_refused_and_told_why() -> None:
    bandit = learner()
    with pytest.raises(ValueError, match=r"logged with the draw.*ever smaller numbers"):
        bandit.update(0, 1.0)
    assert bandit.total_steps == 0


def test_a_reward_beyond_the_bound_is_cut_to_it() -> None:
    bandit = learner(2, bound_bps=20.0)
    assert [bandit.is_clipped(reward) for reward in (20.0, -20.0, 20.1, -20.1)] == [False, False, True, True]
    assert bandit.update(0, -1e12, 0.5).estimates == (2.0,)
    assert bandit.update(0, 1e12, 0.5).estimates == (0.0,)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4), st.floats(-100.0, 100.0), st.booleans())
def test_the_parts_of_a_decision_sum_to_the_whole(cuts: list[float], reward: float, is_whole_logged: bool) -> None:
    edges = [0.0, *sorted(cuts), 1.0]
    weights = [after - before for before, after in pairwise(edges)]
    logged: Any = {"probabilities": [0.5, 0.3, 0.2], "eta": 0.5} if is_whole_logged else {"propensity": 0.5}
    whole, parts = learner(), learner()
    whole.update(0, reward, **logged)
    for number, weight in enumerate(weights):
        parts.update(0, reward, **logged, weight=weight, new_decision=number == 0)
    assert parts.state == pytest.approx(whole.state, abs=1e-12)
    assert (parts.total_steps, parts.arm_pulls) == (whole.total_steps, whole.arm_pulls)
    assert parts.cumulative_rewards == pytest.approx(whole.cumulative_rewards, abs=1e-10)


def test_what_is_not_realised_counts_as_a_zero_reward() -> None:
    """Half of 100 bps is (1/2) 0 + (1/2) (1/2) = a loss of 1/4: what 50 bps on the whole would be."""
    half, whole = learner(), learner()
    for bandit, reward, weight in ((half, 100.0, 0.5), (whole, 50.0, 1.0)):
        bandit.update(0, reward, probabilities=[0.5, 0.3, 0.2], eta=0.5, weight=weight)
    assert half.state == pytest.approx(whole.state)


def test_blends_by_hand() -> None:
    """B = 100, 50 bps: loss - 1/2 = -1/4, by share and weight; divided by p only where it was logged."""
    bandit = learner()
    update = bandit.update_many({"arm_0": 0.6, "arm_2": 0.4, "arm_1": 0.0}, 50.0, weight=0.5)
    assert bandit.state == pytest.approx([-0.075, 0.0, -0.05])
    assert (update.arms, update.propensities, update.propensity_source) == ((0, 2), (), "NONE")
    assert update.estimates == pytest.approx((-0.075, -0.05))
    assert (bandit.total_steps, bandit.arm_pulls) == (1, [1, 0, 1])
    assert bandit.cumulative_rewards == pytest.approx([15.0, 0.0, 10.0])
    update = bandit.update_many(
        {"arm_0": 0.6, "arm_2": 0.4},
        50.0,
        "simultaneous",
        propensities={"arm_2": 0.1, "arm_0": 0.3},
        new_decision=False,
    )
    assert update.estimates == pytest.approx((-0.5, -1.0))
    assert (update.propensities, update.propensity_source) == ((0.3, 0.1), "LOGGED")
    assert bandit.state == pytest.approx([-0.575, 0.0, -1.05])
    assert (bandit.total_steps, bandit.arm_pulls) == (1, [1, 0, 1])
    before = bandit.state
    bandit.update_many({"arm_0": 1.0}, 0.0)
    assert bandit.state == before, "a zero reward moves nothing"


# ---------------------------------------------------------------------------------------------------------------------
# Order-freedom
# ---------------------------------------------------------------------------------------------------------------------

Operation = tuple[int, float, list[float], float, float, bool, str]

decisions: st.SearchStrategy[Operation] = st.tuples(
    st.integers(0, 3),
    st.floats(-300.0, 300.0),
    st.lists(st.floats(0.05, 1.0), min_size=4, max_size=4),
    st.floats(0.01, 4.0),
    st.floats(0.0, 1.0),
    st.booleans(),
    st.sampled_from(["distribution", "propensity", "blend"]),
)


def learn(bandit: TsallisBandit, operation: Operation) -> None:
    arm, reward, parts, eta, weight, new_decision, kind = operation
    probabilities = [each / math.fsum(parts) for each in parts]
    if kind == "distribution":
        bandit.update(arm, reward, probabilities=probabilities, eta=eta, weight=weight, new_decision=new_decision)
    elif kind == "propensity":
        bandit.update(arm, reward, probabilities[arm], weight=weight, new_decision=new_decision)
    else:
        shares = dict(zip(bandit.arm_names, probabilities, strict=True))
        bandit.update_many(shares, reward, weight=weight, new_decision=new_decision)


@settings(deadline=None)
@given(st.lists(decisions, min_size=2, max_size=20), st.data())
def test_logged_decisions_are_learned_alike_in_every_order(history: list[Operation], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(history))
    one, other = learner(4), learner(4)
    for here, there in zip(history, shuffled, strict=True):
        learn(one, here)
        learn(other, there)
    assert other.state == pytest.approx(one.state, rel=1e-9, abs=1e-9)
    assert other.read().probabilities == pytest.approx(one.read().probabilities, rel=1e-6)
    assert (other.total_steps, other.arm_pulls) == (one.total_steps, one.arm_pulls)


@settings(deadline=None)
@given(st.lists(decisions, max_size=15))
def test_whole_histories_are_the_sums_of_the_formula(history: list[Operation]) -> None:
    """L as plain sums at 50 digits, and what is read from them."""
    bandit = learner(4)
    slow, counted = [mpf(0)] * 4, 0
    for operation in history:
        learn(bandit, operation)
        arm, reward, parts, eta, weight, new_decision, kind = operation
        p = [each / math.fsum(parts) for each in parts]
        loss = (100 - max(mpf(-100), min(mpf(100), mpf(reward)))) / 200
        realised = mpf(weight) * loss + ((1 - mpf(weight)) / 2 if new_decision else -mpf(weight) / 2)
        if kind == "blend":
            slow = [each + mpf(share) * mpf(weight) * (loss - mpf(1) / 2) for each, share in zip(slow, p, strict=True)]
        else:
            is_whole = kind == "distribution" and new_decision
            b = [mpf(1) / 2 if is_whole and each >= eta**2 else mpf(0) for each in p]
            slow = [each + baseline for each, baseline in zip(slow, b, strict=True)]
            slow[arm] += (realised - b[arm]) / mpf(p[arm])
        counted += new_decision
    assert bandit.state == pytest.approx([float(each) for each in slow], rel=1e-10, abs=1e-11)
    assert bandit.read().probabilities == pytest.approx([float(p) for p in slow_tsallis(slow, counted)], rel=1e-8)
    assert mp.dps == 50


def test_permuting_the_arms_permutes_the_result() -> None:
    plain, permuted = learner(3), learner(3)
    order = [2, 0, 1]
    for arm, reward in ((0, 30.0), (1, -20.0), (0, 10.0), (2, 99.0)):
        plain.update(arm, reward, probabilities=[0.5, 0.3, 0.2], eta=0.5)
        permuted.update(order[arm], reward, probabilities=[0.3, 0.2, 0.5], eta=0.5)
    assert [permuted.read().probabilities[each] for each in order] == pytest.approx(plain.read().probabilities)


# ---------------------------------------------------------------------------------------------------------------------
# A constant rate and a fixed share
# ---------------------------------------------------------------------------------------------------------------------


def test_a_given_rate_stays_whatever_was_counted() -> None:
    """As in the reading of two arms by hand, where 4 / sqrt(n + 1) was 2; a propensity alone is learned at it too."""
    bandit = TsallisBandit(2, reward_bound_bps=100.0, eta=2.0)
    put_back(bandit, bandit.arm_names, [5 / 12, 0.0], [0, 0], [0.0, 0.0], 1_000_000)
    assert bandit.read().probabilities == pytest.approx([9 / 25, 16 / 25], rel=1e-15)
    assert bandit.read().eta == bandit.update(0, 0.0, 0.5).eta == 2.0


def test_a_fixed_share_by_hand() -> None:
    """50 of 100 bps at p = .6 is L = 5/12, 0, which reads as .36, .64 at eta = 2. Half of that and half of 1/2 each is
    .43, .57, and L = 1 / sqrt(p) of those. A later part of the decision mixes nothing."""
    bandit = TsallisBandit(2, reward_bound_bps=100.0, eta=2.0, fixed_share=0.5)
    bandit.update(0, 50.0, 0.6)
    assert bandit.state == pytest.approx([0.43**-0.5, 0.57**-0.5], rel=1e-14)
    assert bandit.read().probabilities == pytest.approx([0.43, 0.57], rel=1e-14)
    bandit.update(0, 50.0, 0.6, weight=0.5, new_decision=False)
    assert bandit.state == pytest.approx([0.43**-0.5 - 0.125 / 0.6, 0.57**-0.5], rel=1e-14)


def test_a_fixed_share_mixes_by_the_rate_of_its_own_round() -> None:
    """n = 3 is a rate of 2 when the fourth decision is learned, whatever its own was; all shared out is 1/2 each."""
    bandit = TsallisBandit(2, reward_bound_bps=100.0, fixed_share=1.0)
    put_back(bandit, bandit.arm_names, [7.0, 0.0], [0, 0], [0.0, 0.0], 3)
    bandit.update(0, 50.0, probabilities=[0.6, 0.4], eta=0.1)
    assert bandit.state == pytest.approx([2**0.5, 2**0.5], rel=1e-14)
    bandit.update_many({"arm_0": 1.0}, 50.0)
    assert bandit.read().probabilities == pytest.approx([0.5, 0.5])


@settings(deadline=None)
@given(st.lists(decisions, max_size=12), st.sampled_from([None, 0.1, 2.0]), st.sampled_from([0.0005, 0.1]))
def test_histories_with_a_fixed_share_are_the_formula_at_50_digits(
    history: list[Operation], eta: float | None, fixed_share: float
) -> None:
    """Each decision of a learner that mixes is that of one that does not, from the same losses, mixed the long way."""
    bandit = TsallisBandit(4, reward_bound_bps=100.0, eta=eta, fixed_share=fixed_share)
    for operation in history:
        plain, counted, rate = learner(4), bandit.total_steps, bandit.eta
        put_back(plain, plain.arm_names, bandit.state, [0] * 4, [0.0] * 4, counted)
        learn(bandit, operation)
        learn(plain, operation)
        expected = plain.state
        if operation[5]:
            p = slow_tsallis(plain.state, counted, eta)
            expected = [float(2 / (rate * mp.sqrt((1 - fixed_share) * each + mpf(fixed_share) / 4))) for each in p]
        assert bandit.state == pytest.approx(expected, rel=1e-11, abs=1e-11)


def test_it_follows_a_market_that_turns_where_the_anytime_rate_does_not() -> None:
    """The good arm turns after 4,000 of 5,000 decisions: the weight that the new one has in the end, on five seeds."""

    def weight_of_the_new_best(seed: int, **tracking: Any) -> float:
        noise = np.random.Generator(np.random.PCG64([seed, 2])).normal(0.0, 20.0, 5_000).tolist()
        bandit = TsallisBandit(5, seed=seed, reward_bound_bps=40.0, **tracking)
        for number, each in enumerate(noise):
            arm, _, probabilities, eta = bandit.decide()
            edge = 10.0 if arm == (1 if number < 4_000 else 3) else 0.0
            bandit.update(arm, each + edge, probabilities=probabilities, eta=eta)
        return bandit.read().weights[3]

    assert min(weight_of_the_new_best(seed, eta=0.1, fixed_share=0.0005) for seed in range(5)) > 0.4
    assert max(weight_of_the_new_best(seed) for seed in range(5)) < 0.1


# ---------------------------------------------------------------------------------------------------------------------
# Choice
# ---------------------------------------------------------------------------------------------------------------------


def test_decide_inverts_the_cumulative_probabilities_by_one_number_and_counts_nothing() -> None:
    bandit = at([5 / 12, 0.0], 3)
    numbers = np.random.Generator(np.random.PCG64(1)).random(200)
    for number in numbers:
        draw = bandit.decide()
        assert draw.arm == int(number >= 9 / 25)
        assert draw.propensity == draw.probabilities[draw.arm]
        assert (draw.probabilities, draw.eta) == (bandit.read().probabilities, 2.0)
    assert (bandit.total_steps, bandit.arm_pulls) == (3, [0, 0])
    one, other = learner(seed=4), learner(seed=4)
    assert [one.select_arm() for _ in range(50)] == [other.decide().arm for _ in range(50)]


def test_it_finds_the_best_of_five_arms() -> None:
    """+10 against 0 bps, noise 20: after 5,000 decisions it gives the best arm most, on each of five seeds."""
    for seed in range(5):
        noise = np.random.Generator(np.random.PCG64([seed, 1])).normal(0.0, 20.0, 5_000).tolist()
        bandit = TsallisBandit(5, seed=seed)
        for each in noise:
            arm, _, probabilities, eta = bandit.decide()
            bandit.update(arm, each + (10.0 if arm == 3 else 0.0), probabilities=probabilities, eta=eta)
        assert bandit.read().weights[3] > 0.8


# ---------------------------------------------------------------------------------------------------------------------
# The bound
# ---------------------------------------------------------------------------------------------------------------------


def test_the_first_hundred_rewards_only_make_the_bound() -> None:
    """1 to 100 bps: B = 95.05; then -95.05 is a loss of 1."""
    bandit = TsallisBandit(2)
    for size in range(1, 101):
        assert bandit.is_warming
        if size % 2:
            update = bandit.update(0, -float(size), probabilities=[0.5, 0.5], eta=4.0)
        else:
            update = bandit.update_many({"arm_0": 1.0}, float(size))
        assert (update.applied, update.arms, update.propensity_source) == (False, (), "NONE")
    assert (bandit.state, bandit.total_steps, bandit.arm_pulls) == ([0.0, 0.0], 0, [0, 0])
    assert bandit.cumulative_rewards == [0.0, 0.0]
    assert bandit.reward_bound_bps == pytest.approx(95.05)
    assert bandit.update(0, -95.05, 0.5).estimates == pytest.approx((2.0,))
    assert bandit.total_steps == 1


def test_a_bound_that_is_set_serves_from_then_on_and_reset_goes_back() -> None:
    bandit = TsallisBandit(2)
    bandit.set_bound(200.0)
    assert bandit.update(0, 100.0, 0.5).estimates == pytest.approx((0.5,))
    bandit.reset()
    assert learned(bandit) == learned(TsallisBandit(2))
    assert bandit.is_warming


# ---------------------------------------------------------------------------------------------------------------------
# Arms that come and go
# ---------------------------------------------------------------------------------------------------------------------


def test_an_arm_comes_in_at_the_mean_probability_of_the_others() -> None:
    """n = 3, L = 7, 7, 8.5: x = 5.5, eta = 2, so L = 5.5 + 2 sqrt(3) / 2; five means: 5.5 + sqrt(3 / 5)."""
    bandit = at([7.0, 7.0, 8.5], 3)
    assert bandit.add_arm("late") == 3
    assert bandit.state == pytest.approx([7.0, 7.0, 8.5, 5.5 + math.sqrt(3.0)], rel=1e-14)
    assert bandit.read().probabilities == pytest.approx(
        [float(p) for p in slow_tsallis([7.0, 7.0, 8.5, 5.5 + math.sqrt(3.0)], 3)], rel=1e-12
    )
    other = at([7.0, 7.0, 8.5], 3)
    other.add_arm("strong", 5.0)
    assert other.state[3] == pytest.approx(5.5 + math.sqrt(0.6), rel=1e-14)
    other.add_arm("zero", 0.0)
    assert 0.0 < other.read().probabilities[4] < 1e-9
    equal = learner(4)
    equal.add_arm("late")
    assert equal.read().probabilities == pytest.approx([0.2] * 5), "among equals it is one of them"


def test_an_arm_that_goes_leaves_the_losses_of_the_others() -> None:
    bandit = at([7.0, 1.0, 7.0, 8.5], 3)
    bandit.update(3, 0.0, 1.0, weight=0.0, new_decision=False)
    bandit.remove_arm("arm_1")
    assert (bandit.arm_names, bandit.state) == (["arm_0", "arm_2", "arm_3"], [7.0, 7.0, 8.5])
    assert (bandit.n_arms, bandit.has_arm("arm_1"), bandit.get_arm_index("arm_3")) == (3, False, 2)
    assert bandit.get_weights_dict() == pytest.approx({"arm_0": 4 / 9, "arm_2": 4 / 9, "arm_3": 1 / 9})
    with pytest.raises(ValueError, match="at least two arms"):
        learner(2).remove_arm("arm_0")


# ---------------------------------------------------------------------------------------------------------------------
# Refusals
# ---------------------------------------------------------------------------------------------------------------------

THIRDS = [1 / 3, 1 / 3, 1 / 3]
REFUSED: dict[str, Callable[[TsallisBandit], object]] = {
    "reward nan": lambda b: b.update(0, math.nan, 0.5),
    "reward beyond 1e12": lambda b: b.update(0, -1.0000001e12, 0.5),
    "arm too large": lambda b: b.update(3, 1.0, 0.5),
    "arm negative": lambda b: b.update(-1, 1.0, 0.5),
    "nothing logged": lambda b: b.update(0, 1.0),
    "propensity zero": lambda b: b.update(0, 1.0, 0.0),
    "propensity above one": lambda b: b.update(0, 1.0, 1.0000001),
    "propensity nan": lambda b: b.update(0, 1.0, math.nan),
    "distribution without its rate": lambda b: b.update(0, 1.0, probabilities=THIRDS),
    "rate without its distribution": lambda b: b.update(0, 1.0, 0.5, eta=1.0),
    "distribution of other arms": lambda b: b.update(0, 1.0, probabilities=[0.5, 0.5], eta=1.0),
    "distribution that sums to less": lambda b: b.update(0, 1.0, probabilities=[0.3, 0.3, 0.3], eta=1.0),
    "distribution with nan": lambda b: b.update(0, 1.0, probabilities=[0.5, math.nan, 0.5], eta=1.0),
    "distribution below zero": lambda b: b.update(0, 1.0, probabilities=[0.5, -0.5, 1.0], eta=1.0),
    "distribution that could not draw it": lambda b: b.update(0, 1.0, probabilities=[0.0, 0.5, 0.5], eta=1.0),
    "propensity of another distribution": lambda b: b.update(0, 1.0, 0.5, probabilities=THIRDS, eta=1.0),
    "asleep and drawn": lambda b: b.update(0, 1.0, 0.5, asleep=(0,)),
    "asleep twice": lambda b: b.update(0, 1.0, 0.5, asleep=(1, 1)),
    "asleep too large": lambda b: b.update(0, 1.0, 0.5, asleep=(3,)),
    "asleep beside a distribution": lambda b: b.update(0, 1.0, probabilities=THIRDS, eta=1.0, asleep=(1,)),
    "rate zero": lambda b: b.update(0, 1.0, probabilities=THIRDS, eta=0.0),
    "rate nan": lambda b: b.update(0, 1.0, probabilities=THIRDS, eta=math.nan),
    "weight negative": lambda b: b.update(0, 1.0, 0.5, weight=-1e-9),
    "weight too large": lambda b: b.update(0, 1.0, 0.5, weight=1000001.0),
    "estimate too large": lambda b: b.update(0, -100.0, 1e-101),
    "blend reward nan": lambda b: b.update_many({"arm_0": 1.0}, math.nan),
    "blend of an unknown arm": lambda b: b.update_many({"arm_0": 0.5, "x": 0.5}, 1.0),
    "blend without a share": lambda b: b.update_many({"arm_0": 0.0}, 1.0),
    "share infinite": lambda b: b.update_many({"arm_0": math.inf}, 1.0),
    "share too large": lambda b: b.update_many({"arm_0": 1e200}, 100.0),
    "blend in turn": lambda b: b.update_many({"arm_0": 1.0}, 1.0, "sequential", propensities={"arm_0": 0.5}),
    "attribution unknown": lambda b: b.update_many({"arm_0": 1.0}, 1.0, "shared"),
    "blend by propensities not logged": lambda b: b.update_many({"arm_0": 1.0}, 1.0, "simultaneous"),
    "blend by propensities of other arms": lambda b: b.update_many(
        {"arm_0": 1.0}, 1.0, "simultaneous", propensities={"arm_0": 0.5, "arm_1": 0.5}
    ),
    "blend propensity zero": lambda b: b.update_many({"arm_0": 1.0}, 1.0, propensities={"arm_0": 0.0}),
    "bound zero": lambda b: b.set_bound(0.0),
    "arm there already": lambda b: b.add_arm("arm_1"),
    "initial weight negative": lambda b: b.add_arm("d", -1.0),
    "removing an unknown arm": lambda b: b.remove_arm("x"),
    "index of an unknown arm": lambda b: b.get_arm_index("x"),
    "merging other arms": lambda b: b.merge(learner(2)),
    "merging another bound": lambda b: b.merge(learner(3, bound_bps=50.0)),
    "merging another rate": lambda b: b.merge(TsallisBandit(3, reward_bound_bps=100.0, eta=0.1)),
    "merging another share": lambda b: b.merge(TsallisBandit(3, reward_bound_bps=100.0, fixed_share=0.1)),
    "restoring too few": lambda b: put_back(b, ["a", "b", "c"], [0.0, 0.0], [0, 0, 0], [0.0] * 3, 0),
    "restoring nan": lambda b: put_back(b, ["a", "b"], [0.0, math.nan], [0, 0], [0.0, 0.0], 0),
    "restoring too much": lambda b: put_back(b, ["a", "b"], [0.0, 1e101], [0, 0], [0.0, 0.0], 0),
    "restoring negative pulls": lambda b: put_back(b, ["a", "b"], [0.0, 0.0], [0, -1], [0.0, 0.0], 0),
    "restoring negative steps": lambda b: put_back(b, ["a", "b"], [0.0, 0.0], [0, 0], [0.0, 0.0], -1),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_what_is_refused_is_a_value_error_and_changes_nothing(refused: str) -> None:
    bandit = learner()
    bandit.update(0, 12.0, probabilities=THIRDS, eta=0.3)
    before = bandit.to_dict()
    with pytest.raises(ValueError, match=r"."):
        REFUSED[refused](bandit)
    assert bandit.to_dict() == before


@pytest.mark.parametrize("refused", [each for each in REFUSED if not each.endswith("too large") or "weight" in each])
def test_the_same_is_refused_while_the_bound_warms_up(refused: str) -> None:
    bandit = TsallisBandit(3, seed=1)
    bandit.update(0, 12.0, probabilities=THIRDS, eta=0.3)
    before = bandit.to_dict()
    with pytest.raises(ValueError, match=r"."):
        REFUSED[refused](bandit)
    assert bandit.to_dict() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_arms": 1},
        {"arm_names": ["a", "b", "c"]},
        {"arm_names": ["a", "a"]},
        {"seed": -1},
        {"reward_bound_bps": 0.0},
        {"reward_bound_bps": "automatic"},
        {"reward_bound_bps": math.inf},
        {"eta": 0.0},
        {"eta": math.inf},
        {"eta": 1e-10},
        {"fixed_share": -1e-9},
        {"fixed_share": 1.0000001},
    ],
)
def test_a_learner_that_could_not_work_is_not_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        TsallisBandit(**{"n_arms": 2, **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {"losses": [0.0]},
        {"losses": None},
        {"n_arms": 4},
        {"algorithm": "exp3ix"},
        {"eta": 0.0},
        {"fixed_share": 2.0},
        {"total_steps": 1.5},
        {"reward_bound": {"bound_bps": -1.0, "rewards_bps": []}},
        {"generator": {}},
        {"weights": [1.0, 1.0, 1.0]},
    ],
)
def test_a_kept_state_that_no_learner_could_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        TsallisBandit.from_dict({**learner().to_dict(), **wrong})


@pytest.mark.parametrize("key", list(learner().to_dict()))
def test_each_key_of_a_kept_state_is_needed(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        TsallisBandit.from_dict({name: value for name, value in learner().to_dict().items() if name != key})


# ---------------------------------------------------------------------------------------------------------------------
# Showing, keeping, merging
# ---------------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(decisions, max_size=8),
    st.lists(decisions, min_size=1, max_size=8),
    st.sampled_from(
        [{"reward_bound_bps": "auto"}, {"reward_bound_bps": 60.0, "eta": 0.1, "fixed_share": 0.01}, {"eta": 0.3}]
    ),
)
def test_twins_by_json_copy_and_restore_go_on_bit_for_bit_and_apart(
    before: list[Operation], after: list[Operation], parameters: dict[str, Any]
) -> None:
    bandit = TsallisBandit(4, seed=6, **parameters)
    for operation in before:
        learn(bandit, operation)
    restored = TsallisBandit(2, seed=6, **parameters)
    put_back(
        restored,
        *(bandit.arm_names, bandit.state, bandit.arm_pulls, bandit.cumulative_rewards),
        *(bandit.total_steps, bandit.reward_bound),
    )
    at_copy = bandit.to_dict()
    twins = [through_json(bandit), bandit.copy()]
    assert [twin.to_dict() for twin in twins] == [at_copy, at_copy]
    assert learned(restored) == learned(bandit)
    for operation in after:
        for twin in (*twins, restored):
            learn(twin, operation)
        assert bandit.to_dict() == at_copy
    assert learned(twins[0]) == learned(twins[1]) == learned(restored)
    assert [twins[0].decide() for _ in range(10)] == [twins[1].decide() for _ in range(10)]


def test_merge_is_what_one_learner_of_both_histories_would_have() -> None:
    history = [(0, 10.0), (1, -20.0), (2, 5.0), (0, 30.0), (2, -15.0), (1, 8.0)]
    whole, one, other = learner(), learner(seed=2), learner(seed=3)
    for number, (arm, reward) in enumerate(history):
        for bandit in (whole, one if number < 2 else other):
            bandit.update(arm, reward, probabilities=[0.5, 0.3, 0.2], eta=0.5)
    unmerged = other.to_dict()
    one.merge(other)
    assert one.state == pytest.approx(whole.state, rel=1e-12)
    assert (one.total_steps, one.arm_pulls) == (6, [2, 2, 2])
    assert one.cumulative_rewards == pytest.approx([40.0, -12.0, -10.0])
    assert other.to_dict() == unmerged


def test_merging_takes_the_bound_that_is_known_and_refuses_two() -> None:
    warming, live = TsallisBandit(2), TsallisBandit(2)
    live.set_bound(40.0)
    live.update(0, 10.0, 0.5)
    warming.update(0, 10.0, 0.5)
    warming.merge(live)
    assert (warming.reward_bound, warming.state, warming.total_steps) == (RewardBound(40.0), live.state, 1)
    warming.set_bound(41.0)
    with pytest.raises(ValueError, match="reward_bound_bps 41"):
        warming.merge(live)


def test_nothing_that_is_given_out_is_the_learners_own() -> None:
    bandit = learner()
    bandit.update(1, 10.0, 0.3)
    before = bandit.to_dict()
    given_out = bandit.to_dict()
    for key in ("arm_names", "arm_pulls", "cumulative_rewards", "losses"):
        given_out[key].clear()
    for array in (bandit.get_weights(), bandit.get_probabilities()):
        assert array.dtype == np.float64
        array[:] = 9.0
    draw = bandit.decide()
    before["generator"] = bandit.to_dict()["generator"]
    reading = bandit.read()
    assert reading.weights is not reading.probabilities
    for fresh in (bandit.arm_names, bandit.state, bandit.arm_pulls, bandit.cumulative_rewards, draw.probabilities):
        fresh.clear()
    bandit.get_stats()["arm_stats"].clear()
    assert bandit.to_dict() == before


def test_get_stats_tells_what_each_arm_did() -> None:
    bandit = at([5 / 12, 0.0], 3)
    put_back(bandit, ["a", "b"], [5 / 12, 0.0], [2, 1], [6.0, -1.0], 3)
    stats = bandit.get_stats()
    assert {key: stats[key] for key in ("n_arms", "total_steps", "gamma", "eta")} == {
        **{"n_arms": 2, "total_steps": 3, "gamma": 0.0},
        "eta": 2.0,
    }
    assert stats["arm_stats"][0] == pytest.approx(
        {"name": "a", "pulls": 2, "cumulative_reward": 6.0, "avg_reward": 3.0, "weight": 0.36, "probability": 0.36}
    )
    assert learner().get_stats()["arm_stats"][0]["avg_reward"] == 0.0


def test_it_learns_from_a_trade_as_the_other_learner_does() -> None:
    """150 to 150.50 at 1 and 5 bps: 27.3333 net; undivided by shares: -27.3333 / 200 each share."""
    bandit = TsallisBandit(2, ["ridge", "lstm"], reward_bound_bps=100.0)
    trade = TradeResult(150.0, 150.5, fees_bps=1.0, slippage_bps=5.0, model_contributions={"ridge": 0.75, "lstm": 0.25})
    update_after_trade(bandit, trade, "undivided")
    reward = 0.5 / 150.0 * 10_000 - 6.0
    assert bandit.state == pytest.approx([-0.75 * reward / 200.0, -0.25 * reward / 200.0])


def test_two_debug_lines(caplog: pytest.LogCaptureFixture) -> None:
    bandit = TsallisBandit(2, ["lightgbm", "ridge"], seed=0, reward_bound_bps=100.0)
    with caplog.at_level(logging.DEBUG, logger="armstream.learning.tsallis"):
        arm = bandit.select_arm()
        bandit.update(0, 50.0, 0.4)
    weight = bandit.read().weights[0]
    assert caplog.messages == [
        f"Tsallis-INF selected arm {arm} ({bandit.arm_names[arm]}) with p=0.5",
        f"Tsallis-INF update: arm=0, reward=50.00bps, r_hat=0.62, eta=2, new_weight={weight:.4g}",
    ]
