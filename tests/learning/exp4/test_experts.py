"""Experts that ship: each advises a distribution, two of them learn, and what they refuse changes nothing."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from armstream.learning import Exp3IXBandit, Exp4Bandit
from armstream.learning.advice import Expert
from armstream.learning.exp4.experts import FollowTheBest, fixed, uniform
from armstream.standalone.experts import LinearScorer, NestedExp3


def test_uniform_and_base_weights_are_distributions() -> None:
    assert uniform(4) == [0.25] * 4
    assert fixed({"mlp": 1.0, "ridge": 3.0}, ["ridge", "mlp", "gru"]) == pytest.approx([0.75, 0.25, 0.0])
    assert fixed({"a": 1e300, "b": 1e300}, ["a", "b"]) == [0.5, 0.5]


@pytest.mark.parametrize("weights", [{"a": -1.0, "b": 2.0}, {"a": math.nan}, {"x": 1.0}, {"a": 0.0}, {}])
def test_base_weights_that_are_none_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"."):
        fixed(weights, ["a", "b"])


def test_a_linear_scorer_is_the_softmax_of_its_scores() -> None:
    """Scores (1 * 2 + 0 * 3 + .5, 0 * 2 - 1 * 3) / 2 = 1.25, -1.5."""
    scorer = LinearScorer([[1.0, 0.0], [0.0, -1.0]], [0.5, 0.0], temperature=2.0)
    assert scorer([2.0, 3.0]) == pytest.approx([1 / (1 + math.exp(-2.75)), 1 / (1 + math.exp(2.75))], rel=1e-14)
    assert LinearScorer([[1.0], [1.0], [1.0]])([9.0]) == pytest.approx([1 / 3] * 3)
    assert LinearScorer([[1e100], [-1e100]], temperature=1e-6)([1e100]) == [1.0, 0.0], "nothing overflows"


@pytest.mark.parametrize(
    "context", [[1.0], [1.0, 2.0, 3.0], [1.0, math.nan], [1.0, math.inf], [1.0, "2"], [1e150, 1e150]]
)
def test_a_context_that_is_not_its_numbers_is_refused(context: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        LinearScorer([[1.0, 1.0], [1e100, 1e100]], temperature=1e-6)(context)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LinearScorer([[1.0]]),
        lambda: LinearScorer([]),
        lambda: LinearScorer([[1.0, 2.0], [1.0]]),
        lambda: LinearScorer([[1.0], [math.nan]]),
        lambda: LinearScorer([[1.0], [1.0]], [0.0]),
        lambda: LinearScorer([[1.0], [1.0]], temperature=0.0),
        lambda: FollowTheBest(1),
        lambda: FollowTheBest(3, decay=1.1),
        lambda: FollowTheBest(3, decay=math.nan),
        lambda: FollowTheBest.from_dict({"means": [0.0, 0.0]}),
        lambda: FollowTheBest.from_dict({"means": [0.0], "decay": 0.9}),
        lambda: FollowTheBest.from_dict({"means": [0.0, math.nan], "decay": 0.9}),
        lambda: FollowTheBest.from_dict({"means": "00", "decay": 0.9}),
        lambda: uniform(1),
    ],
)
def test_an_expert_that_could_not_advise_is_not_made(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()


def test_follow_the_best_by_hand() -> None:
    """decay .9: 10 makes a mean of 1, then -20 of half weight (1 - sqrt(.9)) * -20 + sqrt(.9) * 1."""
    expert = FollowTheBest(3, decay=0.9)
    assert expert() == pytest.approx([1 / 3] * 3)
    expert.learn(1, 10.0)
    assert expert.to_dict()["means"] == pytest.approx([0.0, 1.0, 0.0])
    assert expert(None) == [0.0, 1.0, 0.0]
    expert.learn(1, -20.0, weight=0.5)
    kept = math.sqrt(0.9)
    assert expert.to_dict()["means"] == pytest.approx([0.0, kept - 20 * (1 - kept), 0.0])
    assert expert() == [0.5, 0.0, 0.5]
    expert.learn(0, -1.0)
    assert expert() == [0.0, 0.0, 1.0]
    before = expert.to_dict()
    expert.learn(2, 50.0, weight=0.0)
    assert expert.to_dict() == before


def test_follow_the_best_forgets_what_was_good_long_ago() -> None:
    expert = FollowTheBest(2, decay=0.9)
    for _ in range(100):
        expert.learn(0, 50.0)
        expert.learn(1, 20.0)
    assert expert() == [1.0, 0.0]
    for number in range(100):
        expert.learn(0, -50.0)
        if expert() == [0.0, 1.0]:
            assert number + 1 == 4, "50 - 100 (1 - .9^n) is under 20 from n = 4 on"
            return
    raise AssertionError("it never turned")


@example([(0, -359931149232.0, 565.0), (0, 1e12, 3725.0)], [])  # whose rounding would leave the legal rewards
@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(-1e12, 1e12), st.floats(0.0, 1e6)), max_size=20),
    st.lists(st.tuples(st.integers(0, 2), st.floats(-1e12, 1e12), st.floats(0.0, 1e6)), max_size=5),
)
def test_follow_the_best_is_a_distribution_and_goes_on_through_json(before: list[Any], after: list[Any]) -> None:
    expert = FollowTheBest(3)
    for step in before:
        expert.learn(*step)
        assert sum(expert()) == pytest.approx(1.0)
    twin = FollowTheBest.from_dict(json.loads(json.dumps(expert.to_dict())))
    for step in after:
        expert.learn(*step)
        twin.learn(*step)
    assert twin.to_dict() == expert.to_dict()


@pytest.mark.parametrize(
    "wrong",
    [(3, 1.0), (-1, 1.0), (0, math.nan), (0, 1e13), (0, 1.0, -1.0), (0, 1.0, math.nan)],
)
def test_what_follow_the_best_refuses_changes_nothing(wrong: Any) -> None:
    expert = FollowTheBest(3)
    expert.learn(0, 5.0)
    before = expert.to_dict()
    with pytest.raises(ValueError, match=r"."):
        expert.learn(*wrong)
    assert expert.to_dict() == before


def test_a_nested_learner_advises_its_probabilities_and_learns_by_the_propensity_of_who_drew() -> None:
    """Two parts of one decision: one step counted, each estimate divided by .25, and not by its own half."""
    expert = NestedExp3(Exp3IXBandit(2, gamma=0.1, eta=0.001))
    assert expert(None) == pytest.approx([0.5, 0.5])
    expert.learn(1, 20.0, 0.25, weight=0.5)
    expert.learn(1, 20.0, 0.25, weight=0.5, new_decision=False)
    assert expert.bandit.cumulative_rewards == [0.0, 20.0]
    assert expert.bandit.total_steps == 1
    weight = 1 / (1 + math.exp(-0.001 * 20 / 0.25))
    assert expert() == pytest.approx([1 - (0.9 * weight + 0.05), 0.9 * weight + 0.05], rel=1e-12)


def test_base_bandit_and_uniform_as_experts_learn_the_blend() -> None:
    """Arm 1 earns, base is all on arm 0: in the end the nested bandit is trusted most, base least."""
    nested = NestedExp3(Exp3IXBandit(2, gamma=0.0, eta=0.02, estimator="implicit"))
    experts: dict[str, Expert] = {"base": fixed({"a": 1.0}, ["a", "b"]), "bandit": nested, "uniform": uniform(2)}
    bandit = Exp4Bandit(2, experts, eta=0.05, seed=3, estimator="implicit")
    for _ in range(600):
        arm = bandit.choose()
        p = bandit.play_distribution()[arm]
        reward = 40.0 if arm == 1 else -40.0
        bandit.update(arm, None, reward, propensity=p)
        nested.learn(arm, reward, p)
    trust = dict(zip(bandit.experts, bandit.expert_weights, strict=True))
    assert trust["bandit"] > 0.9 > trust["uniform"] > trust["base"]
