"""A bound that sets itself: its percentile by hand and by numpy, and nothing learned before it is known."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from armstream.learning import Exp3IXBandit, RewardBound
from tests.learning.held import put_back


def bound_after(rewards_bps: Sequence[float]) -> RewardBound:
    bound = RewardBound()
    for reward_bps in rewards_bps:
        bound = bound.after(reward_bps)
    return bound


def automatic(**parameters: Any) -> Exp3IXBandit:
    shipped = {"gamma": 0.0, "eta": 0.1, "estimator": "implicit", "reward_bound_bps": "auto", "seed": 3}
    return Exp3IXBandit(2, **{**shipped, **parameters})


def warmed(bandit: Exp3IXBandit, rewards_bps: Sequence[float]) -> Exp3IXBandit:
    for reward_bps in rewards_bps:
        bandit.update(0, reward_bps, 0.5)
    return bandit


ONE_TO_100 = [float(size) for size in range(1, 101)]  # position .95 * 99 = 94.05 from 0: 95 + .05 * (96 - 95)


# ---------------------------------------------------------------------------------------------------------------------
# The percentile
# ---------------------------------------------------------------------------------------------------------------------


def test_the_95th_percentile_of_one_to_a_hundred_is_95_05_whatever_their_order_and_signs() -> None:
    assert bound_after(ONE_TO_100).bound_bps == pytest.approx(95.05, rel=1e-14)
    assert bound_after([-size for size in reversed(ONE_TO_100)]) == bound_after(ONE_TO_100)


@given(st.lists(st.floats(-1e12, 1e12), min_size=100, max_size=100))
def test_it_is_numpys_linear_percentile(rewards_bps: list[float]) -> None:
    expected = float(np.percentile(np.abs(rewards_bps), 95))
    if expected >= 1e-6:
        assert bound_after(rewards_bps).bound_bps == pytest.approx(expected, rel=1e-12)
    else:
        assert bound_after(rewards_bps).bound_bps is None


def test_it_is_not_known_one_reward_earlier_and_never_moves_later() -> None:
    warming = bound_after(ONE_TO_100[:99])
    assert (warming.bound_bps, warming.rewards_bps) == (None, tuple(ONE_TO_100[:99]))
    known = warming.after(100.0)
    assert known.rewards_bps == ()
    assert known.after(1e12) is known


def test_rewards_of_zero_give_no_bound_and_take_no_more_memory() -> None:
    """94 zeros in 100 put the percentile at .05 above none of them: 6 sizes of 1 do give 0 + .05 * (1 - 0) = .05."""
    zeros = bound_after([0.0] * 250)
    assert (zeros.bound_bps, zeros.rewards_bps) == (None, (0.0,) * 100)
    five = bound_after([0.0] * 250 + [1.0] * 4)
    assert five.bound_bps is None
    assert five.after(1.0).bound_bps == pytest.approx(0.05, rel=1e-12)


def test_two_bounds_are_one_where_they_can_be() -> None:
    known = RewardBound(50.0)
    assert known.merged(RewardBound()) is known
    assert RewardBound(None, (1.0,)).merged(known) is known
    assert bound_after(ONE_TO_100[:40]).merged(bound_after(ONE_TO_100[40:90])) == bound_after(ONE_TO_100[:90])
    assert bound_after(ONE_TO_100[:60]).merged(bound_after(ONE_TO_100[60:])).bound_bps == pytest.approx(95.05)
    with pytest.raises(ValueError, match="reward_bound_bps 50"):
        known.merged(RewardBound(51.0))


@pytest.mark.parametrize("bound", [RewardBound(12.5), RewardBound(None, (1.5, -3.0)), RewardBound()])
def test_it_goes_through_json(bound: RewardBound) -> None:
    assert RewardBound.from_dict(json.loads(json.dumps(bound.to_dict()))) == bound


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [],
        {"bound_bps": 1.0},
        {"bound_bps": 0.0, "rewards_bps": []},
        {"bound_bps": "auto", "rewards_bps": []},
        {"bound_bps": math.nan, "rewards_bps": []},
        {"bound_bps": 1.0, "rewards_bps": [1.0]},
        {"bound_bps": None, "rewards_bps": [math.inf]},
        {"bound_bps": None, "rewards_bps": [1.0] * 101},
        {"bound_bps": None, "rewards_bps": None},
        {"bound_bps": None, "rewards_bps": [], "other": 1},
    ],
)
def test_what_no_bound_could_be_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        RewardBound.from_dict(wrong)


# ---------------------------------------------------------------------------------------------------------------------
# In a learner
# ---------------------------------------------------------------------------------------------------------------------


def test_a_hundred_rewards_teach_nothing_and_the_next_is_measured_by_them() -> None:
    """A reward of 95.05 / 2 is then a loss of 1/4: at p = 1/2 and eta = .1 the estimate is .25 / .55."""
    bandit = automatic()
    fresh = {key: value for key, value in bandit.to_dict().items() if key != "reward_bound"}
    for size in ONE_TO_100:
        assert bandit.is_warming
        update = bandit.update(1, -size, 0.5)
        assert (update.applied, update.arms, update.estimates, update.propensity_source) == (False, (), (), "NONE")
        assert {key: value for key, value in bandit.to_dict().items() if key != "reward_bound"} == fresh
    assert not bandit.is_warming
    assert bandit.reward_bound_bps == pytest.approx(95.05)
    update = bandit.update(1, 95.05 / 2, 0.5)
    assert update.applied
    assert update.estimates == pytest.approx((0.25 / 0.55,))
    assert (bandit.total_steps, bandit.arm_pulls) == (1, [0, 1])
    bandit.update(1, 1e12, 0.5)
    assert bandit.reward_bound_bps == pytest.approx(95.05), "one bad print moves nothing"


def test_a_blend_warms_the_bound_up_too_once_a_trade() -> None:
    for attribution in ("simultaneous", "sequential", "undivided"):
        bandit = automatic()
        update = bandit.update_many({"arm_0": 0.5, "arm_1": 0.5}, 30.0, attribution)
        assert not update.applied
        assert bandit.reward_bound.rewards_bps == (30.0,)
        assert bandit.total_steps == 0


def test_the_bound_is_of_what_the_transform_leaves() -> None:
    """tanh at 50 leaves at most 50, and that is what is clipped: a bound of raw rewards would cut nothing."""
    bandit = warmed(automatic(transform="tanh"), ONE_TO_100)
    low, high = (50.0 * math.tanh(size / 50.0) for size in (95.0, 96.0))
    assert bandit.reward_bound_bps == pytest.approx(low + 0.05 * (high - low), rel=1e-12)


def test_the_class_keeps_its_default_and_importance_asks_for_no_bound() -> None:
    assert Exp3IXBandit(2).reward_bound_bps == 100.0
    bandit = Exp3IXBandit(2, reward_bound_bps="auto")
    assert not bandit.is_warming
    assert bandit.update(0, 5.0).applied
    assert bandit.update_many({"arm_0": 1.0}, 5.0).applied
    assert (bandit.reward_bound_bps, bandit.total_steps, bandit.reward_bound) == (None, 2, RewardBound())


def test_nothing_is_clipped_before_there_is_a_bound() -> None:
    bandit = automatic()
    assert not bandit.is_clipped(1e12)
    warmed(bandit, ONE_TO_100)
    assert (bandit.is_clipped(-95.06), bandit.is_clipped(95.04)) == (True, False)


def test_a_bound_that_is_set_ends_the_warm_up_and_serves_from_then_on() -> None:
    """At B = 200 a reward of 100 is a loss of 1/4, at B = 400 of 3/8; what was learned before stays."""
    bandit = warmed(automatic(), ONE_TO_100[:7])
    bandit.set_bound(200)
    assert (bandit.is_warming, bandit.reward_bound) == (False, RewardBound(200.0))
    assert bandit.update(0, 100.0, 0.5).estimates == pytest.approx((0.25 / 0.55,))
    bandit.set_bound(400.0)
    assert bandit.update(0, 100.0, 0.5).estimates == pytest.approx((0.375 / 0.55,))
    assert bandit.state == pytest.approx([0.625 / 0.55, 0.0])


WARMING_REFUSES: dict[str, Callable[[Exp3IXBandit], object]] = {
    "reward nan": lambda b: b.update(0, math.nan, 0.5),
    "arm too large": lambda b: b.update(2, 1.0, 0.5),
    "propensity zero": lambda b: b.update(0, 1.0, 0.0),
    "weight nan": lambda b: b.update(0, 1.0, 0.5, weight=math.nan),
    "blend of an unknown arm": lambda b: b.update_many({"x": 1.0}, 1.0),
    "blend without a share": lambda b: b.update_many({"arm_0": 0.0}, 1.0),
    "blend propensity zero": lambda b: b.update_many({"arm_0": 1.0}, 1.0, propensities={"arm_0": 0.0}),
    "attribution unknown": lambda b: b.update_many({"arm_0": 1.0}, 1.0, "shared"),
    "bound zero": lambda b: b.set_bound(0.0),
    "bound nan": lambda b: b.set_bound(math.nan),
}


@pytest.mark.parametrize("refused", WARMING_REFUSES)
def test_what_is_refused_is_refused_while_it_warms_up_too_and_goes_into_no_percentile(refused: str) -> None:
    bandit = warmed(automatic(), ONE_TO_100[:5])
    before = bandit.to_dict()
    with pytest.raises(ValueError, match=r"."):
        WARMING_REFUSES[refused](bandit)
    assert bandit.to_dict() == before


@pytest.mark.parametrize("wrong", ["Auto", "", 0.0, -1.0, math.nan, math.inf, None])
def test_a_bound_is_auto_or_a_number_above_0(wrong: Any) -> None:
    with pytest.raises(ValueError, match="reward_bound_bps"):
        automatic(reward_bound_bps=wrong)


def twin_by_copy(bandit: Exp3IXBandit) -> Exp3IXBandit:
    return bandit.copy()


def twin_by_json(bandit: Exp3IXBandit) -> Exp3IXBandit:
    return Exp3IXBandit.from_dict(json.loads(json.dumps(bandit.to_dict())))


def twin_by_restore(bandit: Exp3IXBandit) -> Exp3IXBandit:
    twin = automatic()
    names, state, pulls = bandit.arm_names, bandit.state, bandit.arm_pulls
    put_back(twin, names, state, pulls, bandit.cumulative_rewards, bandit.total_steps, bandit.reward_bound)
    return twin


@pytest.mark.parametrize("twin_of", [twin_by_copy, twin_by_json, twin_by_restore])
@pytest.mark.parametrize("seen", [0, 60, 99, 100, 103, "set"])
def test_a_twin_made_at_any_point_goes_on_bit_for_bit_and_alone(
    twin_of: Callable[[Exp3IXBandit], Exp3IXBandit], seen: int | Literal["set"]
) -> None:
    bandit = warmed(automatic(), (ONE_TO_100 * 2)[: 50 if seen == "set" else seen])
    if seen == "set":
        bandit.set_bound(33.0)
    before = bandit.to_dict()
    twin = twin_of(bandit)
    assert twin.to_dict() == before
    warmed(twin, ONE_TO_100)
    assert bandit.to_dict() == before
    assert warmed(bandit, ONE_TO_100).to_dict() == twin.to_dict()


def test_restoring_without_a_bound_keeps_the_one_there_is() -> None:
    bandit = warmed(automatic(), ONE_TO_100)
    put_back(bandit, ["a", "b"], [0.0, 1.0], [1, 2], [3.0, 4.0], 3)
    assert bandit.reward_bound_bps == pytest.approx(95.05)


def test_a_kept_state_of_a_fixed_bound_needs_no_word_about_it() -> None:
    kept = Exp3IXBandit(2, estimator="implicit", reward_bound_bps=70.0).to_dict()
    del kept["reward_bound"]
    assert Exp3IXBandit.from_dict(kept).reward_bound == RewardBound(70.0)


def test_reset_goes_back_to_the_bound_it_was_made_with() -> None:
    bandit = warmed(automatic(), ONE_TO_100 * 2)
    bandit.reset()
    assert (bandit.is_warming, bandit.reward_bound, bandit.state) == (True, RewardBound(), [0.0, 0.0])
    fixed = automatic(reward_bound_bps=50.0)
    fixed.set_bound(10.0)
    fixed.reset()
    assert fixed.reward_bound_bps == 50.0


def test_merging_takes_the_bound_that_is_known_and_joins_two_warm_ups() -> None:
    warming, live = warmed(automatic(), ONE_TO_100[:30]), warmed(automatic(), [*ONE_TO_100, 20.0])
    warming.merge(live)
    assert (warming.reward_bound, warming.state, warming.total_steps) == (live.reward_bound, live.state, 1)
    one, other = warmed(automatic(), ONE_TO_100[:30]), warmed(automatic(), ONE_TO_100[30:])
    one.merge(other)
    assert one.reward_bound_bps == pytest.approx(95.05)
    assert other.is_warming


def test_learners_of_two_bounds_are_not_merged() -> None:
    one, other = warmed(automatic(), ONE_TO_100), automatic()
    other.set_bound(3.0)
    before = one.to_dict()
    with pytest.raises(ValueError, match="reward_bound_bps"):
        one.merge(other)
    assert one.to_dict() == before
