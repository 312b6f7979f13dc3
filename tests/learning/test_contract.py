"""What the contract asks of every rule of the table: two terms that add up, and come off again; state out and in."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armstream.learning import (
    AdvisedBandit,
    Decision,
    Exp3IXBandit,
    Learner,
    LearningSettings,
    Observed,
    TsallisBandit,
    Update,
)
from armstream.rules import RULES, new_learner

ARMS = ("a", "b", "c")


class Logged(NamedTuple):
    """What an engine logged."""

    arm: str | None
    propensity: float | None
    probabilities: Sequence[float] = ()
    eta: float | None = None
    contributions: Mapping[str, float] = {}
    advice: Mapping[str, float] = {}


class Part(NamedTuple):
    """A realised part."""

    reward_bps: float
    weight: float


def learner_of(algorithm: str) -> Learner:
    """One of each rule, in the form of it that keeps all that it is told."""
    experts = (("x", "engine"), ("y", "engine")) if algorithm == "exp4" else ()
    return new_learner(LearningSettings(ARMS, algorithm=algorithm, eta=0.05, experts=experts))


def decision_of(arm: int, probabilities: Sequence[float] = (0.5, 0.3, 0.2), asleep: Sequence[int] = ()) -> Decision:
    advice = {"x": 0.9, "y": 0.1}
    logged = Logged(ARMS[arm], probabilities[arm], probabilities, 0.4, advice=advice)
    return Decision(arm, logged, is_whole=True, asleep=asleep)


def numbers(learner: Learner) -> list[float]:
    """All that is learned and counted, in a row."""
    held = learner.learned()
    states = [number for state in held.arm_states for number in state]
    experts = [expert.state for expert in held.experts]
    return [*states, *held.own_state, *experts, *held.arm_pulls, *held.cumulative_rewards, held.total_steps]


parts = st.lists(
    st.tuples(st.integers(0, 2), st.floats(-150, 150), st.floats(0.01, 1.0)), min_size=1, max_size=6
)  # (arm, reward, weight), each a decision of one part


@pytest.mark.parametrize("algorithm", sorted(RULES))
@given(learned=parts, rewards=st.lists(st.floats(-150, 150), min_size=1, max_size=3))
def test_a_decision_that_is_taken_back_part_by_part_was_never_made(
    algorithm: str, learned: list[tuple[int, float, float]], rewards: list[float]
) -> None:
    """In each order of the parts, and the decision's own term last."""
    for order in permutations(range(len(rewards))):
        learner = learner_of(algorithm)
        for arm, reward_bps, weight in learned:
            learner.learn(decision_of(arm), Part(reward_bps, weight), True)
        before = numbers(learner)
        decision = decision_of(1, (0.6, 0.4, 0.0), asleep=(2,))
        taken: list[tuple[Part, bool, Update]] = []
        for number, reward_bps in enumerate(rewards):
            part, is_first = Part(reward_bps, 0.25), number == 0
            taken.append((part, is_first, learner.learn(decision, part, is_first)))
        assert numbers(learner) != pytest.approx(before)
        for number in order:
            learner.take_back(decision, *taken[number])
        learner.take_back_decision(decision, taken[0][2])
        assert numbers(learner) == pytest.approx(before, abs=1e-9)


def test_a_parts_term_holds_nothing_of_the_decision_by_hand() -> None:
    """B = 100, implicit .025: +50 of p = .5 moves L by (-.25 + .5) / .525, of which .5 / .525 is the decision's own."""
    learner = learner_of("exp3ix")
    decision = decision_of(0)
    update = learner.learn(decision, Part(50.0, 1.0), True)
    learner.take_back(decision, Part(50.0, 1.0), True, update)
    held = learner.learned()
    assert held.arm_states == [(pytest.approx(0.5 / 0.525),), (0.0,), (0.0,)]
    assert (held.total_steps, held.arm_pulls, held.cumulative_rewards) == (1, [1, 0, 0], [0.0, 0.0, 0.0])


def test_tsallis_keeps_b_for_all_arms_until_the_decision_is_taken_back_by_hand() -> None:
    """eta .4: b is 1/2 for the two arms with p >= .16, and the drawn arm's own term is b + (1/2 - b) / p."""
    learner = learner_of("tsallis")
    decision = decision_of(2, (0.7, 0.2, 0.1))
    update = learner.learn(decision, Part(100.0, 1.0), True)
    learner.take_back(decision, Part(100.0, 1.0), True, update)
    assert learner.learned().arm_states == [(0.5,), (0.5,), (pytest.approx(5.0),)]
    learner.take_back_decision(decision, update)
    assert numbers(learner) == pytest.approx([0.0] * 10)


def test_a_blend_is_taken_back_too() -> None:
    for algorithm in ("exp3ix", "tsallis"):
        learner = learner_of(algorithm)
        assert isinstance(learner, Exp3IXBandit | TsallisBandit)
        shares, part = {"a": 0.75, "c": 0.25}, Part(-30.0, 1.0)
        update = learner.learn_blend(shares, part, True, "undivided")
        assert learner.learned().arm_states == [(pytest.approx(0.1125),), (0.0,), (pytest.approx(0.0375),)]
        learner.take_back_blend(shares, part, update)
        assert [state for (state,) in learner.learned().arm_states] == pytest.approx([0.0] * 3)
        assert learner.cumulative_rewards == pytest.approx([0.0] * 3)


@pytest.mark.parametrize(
    "learner",
    [
        Exp3IXBandit(3, ARMS),
        Exp3IXBandit(3, ARMS, estimator="implicit", fixed_share=0.1),
        TsallisBandit(3, ARMS, reward_bound_bps=100.0, fixed_share=0.1),
        AdvisedBandit(ARMS, {"x": "engine", "y": "follow_best"}, reward_bound_bps=100.0),
        AdvisedBandit(ARMS, {"x": "engine", "y": "engine"}, reward_bound_bps=100.0, estimator="importance", gamma=0.1),
    ],
)
def test_what_forgets_takes_nothing_back_and_says_so(learner: Learner) -> None:
    decision, part = decision_of(0), Part(10.0, 1.0)
    update = learner.learn(decision, part, True)
    before = numbers(learner)
    with pytest.raises(ValueError, match="nothing can be taken back"):
        learner.take_back(decision, part, True, update)
    with pytest.raises(ValueError, match="nothing can be taken back"):
        learner.take_back_decision(decision, update)
    assert numbers(learner) == before


@pytest.mark.parametrize("algorithm", sorted(RULES))
def test_a_decision_that_was_never_counted_cannot_be_taken_back(algorithm: str) -> None:
    learner = learner_of(algorithm)
    update = learner_of(algorithm).learn(decision_of(0), Part(10.0, 1.0), True)
    before = numbers(learner)
    with pytest.raises(ValueError, match="no decision of these arms"):
        learner.take_back_decision(decision_of(0), update)
    assert numbers(learner) == before


@pytest.mark.parametrize("algorithm", sorted(RULES))
def test_a_rule_that_learns_from_the_drawn_arm_alone_refuses_more(algorithm: str) -> None:
    learner = learner_of(algorithm)
    before = numbers(learner)
    for more in ([Observed(0, 10.0, 0.5), Observed(1, 10.0, 0.5)], [Observed(0, 11.0, 0.5)], [Observed(0, 10.0, 0.6)]):
        with pytest.raises(ValueError, match="the drawn arm alone"):
            learner.learn(decision_of(0), Part(10.0, 1.0), True, more)
    assert numbers(learner) == before
    learner.learn(decision_of(0), Part(10.0, 1.0), True, [Observed(0, 10.0, 0.5)])
    assert learner.total_steps == 1


@pytest.mark.parametrize("algorithm", sorted(RULES))
@given(learned=parts)
def test_state_goes_out_and_comes_back_bit_for_bit(algorithm: str, learned: list[tuple[int, float, float]]) -> None:
    learner, twin = learner_of(algorithm), learner_of(algorithm)
    for arm, reward_bps, weight in learned:
        learner.learn(decision_of(arm), Part(reward_bps, weight), True)
    twin.restore(learner.learned())
    assert twin.learned() == learner.learned()
    for each in (learner, twin):
        each.learn(decision_of(2), Part(-7.0, 0.5), True)
    assert twin.learned() == learner.learned()
    assert twin.read() == learner.read()
