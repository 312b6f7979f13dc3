"""Learners over all that a draw reveals: by hand, in every order, taken back, in expectation."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from math import log, sqrt
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armstream.learning import Decision, Learner, LearningSettings, Observed, Update
from armstream.learning.feedback import groups_of, mirrored, observing
from armstream.rules import new_learner

ARMS = ("a", "b", "c")
WHOLE = (0.5, 0.3, 0.2)
SIDES = {"a": "BUY", "b": "SELL", "c": "BUY"}


class Logged(NamedTuple):
    """What an engine logged."""

    arm: str | None
    propensity: float | None
    probabilities: Sequence[float] = ()
    eta: float | None = 0.4
    contributions: Mapping[str, float] = {}
    advice: Mapping[str, float] = {}


class Part(NamedTuple):
    """A realised part."""

    reward_bps: float
    weight: float


class Trade(NamedTuple):
    """A decision of ARMS, and what its draw revealed of a part that earned so much."""

    decision: Decision
    seen: tuple[int, ...]
    others: tuple[int, ...]  # of the seen, those of the other side

    def observed(self, reward_bps: float, costs_bps: float = 0.0) -> list[Observed]:
        return [
            Observed(
                arm,
                mirrored(reward_bps, costs_bps) if arm in self.others else reward_bps,
                self.decision.observing[arm],
            )
            for arm in self.seen
        ]


def trade_of(
    arm: int, feedback: str, probabilities: Sequence[float] = WHOLE, signals: Mapping[str, str] = SIDES
) -> Trade:
    groups = groups_of(ARMS, signals, feedback, by_horizon=False)
    seen = tuple(index for index, group in enumerate(groups) if group is not None and group == groups[arm])
    asleep = [index for index, group in enumerate(groups) if group is None]
    logged = Logged(ARMS[arm], probabilities[arm], probabilities)
    decision = Decision(arm, logged, True, asleep, observing(groups, probabilities))
    return Trade(decision, seen, tuple(index for index in seen if signals[ARMS[index]] != signals[ARMS[arm]]))


def learner_of(algorithm: str, feedback: str = "side", eta_auto: str = "anytime", fixed_share: float = 0.0) -> Learner:
    return new_learner(
        LearningSettings(
            ARMS, algorithm=algorithm, feedback=feedback, eta_auto=eta_auto, fixed_share=fixed_share, eta_max=None
        )
    )


LEARNERS = [("exp3ix", "anytime"), ("tsallis", "anytime"), ("tsallis", "adaptive")]


def states(learner: Learner) -> list[float]:
    return [number for state in learner.learned().arm_states for number in state]


def numbers(learner: Learner) -> list[float]:
    """All that is learned and counted, in a row."""
    held = learner.learned()
    return [*states(learner), *held.own_state, *held.arm_pulls, *held.cumulative_rewards, held.total_steps]


def with_terms(decision: Decision, terms: Sequence[float], update: Update) -> tuple[Decision, list[float]]:
    """The decision as its position keeps it after the update."""
    grown = [term + more for term, more in zip(terms, update.terms, strict=True)] if update.terms else []
    return decision._replace(terms=grown), grown


# By hand.


def test_exp3ix_learns_from_each_arm_of_the_drawn_side_by_hand() -> None:
    """B = 100: +50 is a loss above 1/2 of -.25. a was drawn, c agreed: o = .7 for both."""
    learner = learner_of("exp3ix")
    trade = trade_of(0, "side")
    eta = sqrt(log(3) / 3)
    update = learner.learn(trade.decision, Part(50.0, 1.0), True, trade.observed(50.0))
    estimate = 0.25 / (0.7 + eta / 2)
    assert update.estimates == pytest.approx((estimate, estimate))
    assert update == Update((0, 2), (0.7, 0.7), update.estimates, eta, "LOGGED")
    assert states(learner) == pytest.approx([estimate, 0.0, estimate])
    assert (learner.arm_pulls, learner.cumulative_rewards) == ([1, 0, 0], [50.0, 0.0, 0.0])
    q = 0.7 / (0.7 + eta / 2) + 0.3 / (0.3 + eta / 2)
    assert learner.learned().own_state == pytest.approx((q,))
    assert learner.read().eta == pytest.approx(sqrt(log(3) / (3 + q)))


def test_exp3ix_takes_the_other_side_for_the_mirror_image_by_hand() -> None:
    """+50 with costs of 5 is -60 for b: a loss above 1/2 of +.3. Half of the order is realised; o = 1."""
    learner = learner_of("exp3ix", "both")
    trade = trade_of(0, "both")
    below = 1 + sqrt(log(3) / 3) / 2
    learner.learn(trade.decision, Part(50.0, 0.5), True, trade.observed(50.0, 5.0))
    assert states(learner) == pytest.approx([(0.5 - 0.125) / below, (0.5 + 0.15) / below, (0.5 - 0.125) / below])
    assert learner.learned().own_state == pytest.approx((1 / below,))
    assert learner.cumulative_rewards == [25.0, 0.0, 0.0]


def test_tsallis_begins_all_arms_alike_and_divides_by_what_was_probable_by_hand() -> None:
    learner = learner_of("tsallis")
    trade = trade_of(0, "side")
    update = learner.learn(trade.decision, Part(50.0, 1.0), True, trade.observed(50.0))
    assert states(learner) == pytest.approx([0.5 - 0.25 / 0.7, 0.5, 0.5 - 0.25 / 0.7])
    assert update.estimates == pytest.approx((0.5 - 0.25 / 0.7,) * 2)
    learner.learn(trade.decision, Part(50.0, 1.0), False, trade.observed(50.0))
    assert states(learner) == pytest.approx([0.5 - 0.5 / 0.7, 0.5, 0.5 - 0.5 / 0.7])
    assert learner.read().eta == 4 / sqrt(2)


def test_the_adaptive_rate_by_hand() -> None:
    """S = (p_a^1.5 + p_c^1.5) (.25 / .7)^2 after one part, and with the double A after two alike."""
    learner = learner_of("tsallis", eta_auto="adaptive")
    assert learner.read().eta == pytest.approx(2.0)  # K^(1/4) / sqrt(sqrt(K) / 4)
    trade = trade_of(0, "side")
    update = learner.learn(trade.decision, Part(50.0, 1.0), True, trade.observed(50.0))
    assert update.terms == pytest.approx((-0.25 / 0.7, 0.0, -0.25 / 0.7))
    s = (0.5**1.5 + 0.2**1.5) * (0.25 / 0.7) ** 2
    assert learner.learned().own_state == pytest.approx((s,))
    assert learner.read().eta == pytest.approx(3**0.25 / sqrt(s + sqrt(3) / 4))
    learner.learn(trade.decision._replace(terms=update.terms), Part(50.0, 1.0), False, trade.observed(50.0))
    assert learner.learned().own_state == pytest.approx((4 * s,))


def test_one_decision_adds_no_more_than_4_to_the_sum() -> None:
    """p = 1e-8 alone would add 1e-12 (.5 / 1e-8)^2 = 2,500."""
    learner = learner_of("tsallis", "drawn", "adaptive")
    decision = Decision(0, Logged("a", 1e-8, (1e-8, 0.5, 0.49999999)), True, ())
    update = learner.learn(decision, Part(100.0, 0.5), True)
    after, _ = with_terms(decision, [0.0] * 3, update)
    learner.learn(after, Part(100.0, 0.5), False)
    assert learner.learned().own_state == (4.0,)


def test_the_worst_case_of_the_adaptive_rate_is_2_over_sqrt_n() -> None:
    """Equal arms that earn or lose the bound add p^(-1/2) / 4 each time: sqrt(K) / 4."""
    learner = learner_of("tsallis", "drawn", "adaptive")
    third = (1 / 3, 1 / 3, 1 / 3)
    for number in range(99):
        decision = Decision(number % 3, Logged(ARMS[number % 3], 1 / 3, third), True, ())
        learner.learn(decision, Part(100.0, 1.0), True)
    assert learner.read().eta == pytest.approx(2 / sqrt(100))


def test_an_arm_asleep_moves_by_what_was_played_by_hand() -> None:
    """a (p = .6) and b (.4) on one side, c flat: both moved by .25 / (1 + implicit), and so c."""
    signals = {"a": "BUY", "b": "BUY", "c": "FLAT"}
    trade = trade_of(0, "side", (0.6, 0.4, 0.0), signals)
    learner = learner_of("exp3ix")
    learner.learn(trade.decision, Part(50.0, 1.0), True, trade.observed(50.0))
    assert states(learner) == pytest.approx([0.25 / (1 + sqrt(log(3) / 3) / 2)] * 3)
    drawn = trade_of(0, "side", (0.6, 0.4, 0.0), {"a": "BUY", "b": "SELL", "c": "FLAT"})
    tsallis = learner_of("tsallis")
    tsallis.learn(drawn.decision, Part(50.0, 1.0), True, drawn.observed(50.0))
    assert states(tsallis) == pytest.approx([0.5 - 0.25 / 0.6, 0.5, 0.5 - 0.25])


def test_a_blend_with_signals_needs_no_draw_by_hand() -> None:
    """a and b blended three to one; c had a view too, and d none: all that had one are seen, whatever their share."""
    names = ("a", "b", "c", "d")
    shares, part = {"a": 0.75, "b": 0.25}, Part(50.0, 1.0)
    observed = [Observed(0, 50.0, 1.0), Observed(1, -50.0, 1.0), Observed(2, 50.0, 1.0)]
    learner = new_learner(LearningSettings(names, algorithm="tsallis", feedback="both", eta_auto="adaptive"))
    update = learner.learn_blend(shares, part, True, "undivided", observed)
    assert states(learner) == pytest.approx([-0.25, 0.25, -0.25, -0.25 * 0.75 + 0.25 * 0.25])
    assert update == Update((0, 1, 2), (), (-0.25, 0.25, -0.25), 2.0, "NONE", (-0.25, 0.25, -0.25, 0.0))
    assert learner.learned().own_state == (0.0625,)  # the largest square: no p is known
    assert learner.cumulative_rewards == [37.5, 12.5, 0.0, 0.0]
    exp3ix = new_learner(LearningSettings(names, feedback="both"))
    implicit = sqrt(log(4) / 4) / 2
    exp3ix.learn_blend(shares, part, True, "undivided", observed)
    assert states(exp3ix)[:3] == pytest.approx([-0.25 / (1 + implicit), 0.25 / (1 + implicit), -0.25 / (1 + implicit)])
    assert exp3ix.learned().own_state == pytest.approx((1 / (1 + implicit),))


def test_without_a_whole_distribution_the_drawn_arm_alone_is_seen() -> None:
    decision = Decision(1, Logged("b", 0.25), False, (2,))
    exp3ix = learner_of("exp3ix")
    eta = sqrt(log(3) / 3)
    exp3ix.learn(decision, Part(50.0, 1.0), True)
    estimate = 0.25 / (0.25 + eta / 2)
    assert states(exp3ix) == pytest.approx([0.0, estimate, 0.25 * estimate])
    assert exp3ix.learned().own_state == pytest.approx((1 / (0.25 + eta / 2),))
    tsallis = learner_of("tsallis", eta_auto="adaptive")
    tsallis.learn(decision, Part(50.0, 1.0), True)
    assert states(tsallis) == pytest.approx([0.5, 0.5 - 1.0, 0.5 - 0.25])
    assert tsallis.learned().own_state == pytest.approx((0.25**1.5,))


# In expectation, in any order, and back.


@pytest.mark.parametrize("feedback", ["side", "both"])
@given(rewards=st.lists(st.floats(-150, 150), min_size=3, max_size=3))
def test_estimates_are_the_losses_in_expectation(feedback: str, rewards: list[float]) -> None:
    """Tsallis: over the draw, each arm moves by its own loss. What an arm earned is what its side did."""
    by_side = {"BUY": rewards[0], "SELL": rewards[0] if feedback == "side" else mirrored(rewards[0], 2.0)}
    expected = [0.0] * 3
    for arm, p in enumerate(WHOLE):
        learner = learner_of("tsallis", feedback)
        trade = trade_of(arm, feedback)
        reward = by_side[SIDES[ARMS[arm]]]
        learner.learn(trade.decision, Part(reward, 1.0), True, trade.observed(reward, 2.0))
        expected = [sum_ + p * state for sum_, state in zip(expected, states(learner), strict=True)]
    losses = [0.5 - max(-100.0, min(100.0, by_side[SIDES[name]])) / 200.0 for name in ARMS]
    assert expected == pytest.approx(losses)


parts = st.lists(st.tuples(st.floats(-150, 150), st.floats(0.05, 1.0)), min_size=2, max_size=3)


@pytest.mark.parametrize("feedback", ["side", "both"])
@given(realised=parts)
def test_the_adaptive_rate_is_the_same_however_an_order_fills(
    feedback: str, realised: list[tuple[float, float]]
) -> None:
    """In every order of its parts, and in two decisions' parts mixed: losses and S alike."""
    outcomes = []
    whole = [(trade_of(arm, feedback), Part(*each)) for arm in (0, 1) for each in realised][:4]
    for order in permutations(whole):
        learner = learner_of("tsallis", feedback, "adaptive")
        terms: dict[int, list[float]] = {}
        for trade, part in order:
            arm = trade.decision.arm
            decision = trade.decision._replace(terms=terms.get(arm, ()))
            update = learner.learn(decision, part, arm not in terms, trade.observed(part.reward_bps, 1.0))
            _, terms[arm] = with_terms(decision, terms.get(arm, [0.0] * 3), update)
        outcomes.append(numbers(learner))
    for outcome in outcomes[1:]:
        assert outcome == pytest.approx(outcomes[0], abs=1e-9)


@pytest.mark.parametrize("feedback", ["side", "both"])
@pytest.mark.parametrize(("algorithm", "eta_auto"), LEARNERS)
@given(realised=parts)
def test_a_decision_that_is_taken_back_part_by_part_was_never_made(
    algorithm: str, eta_auto: str, feedback: str, realised: list[tuple[float, float]]
) -> None:
    for order in permutations(range(len(realised))):
        learner = learner_of(algorithm, feedback, eta_auto)
        earlier = trade_of(1, feedback)
        learner.learn(earlier.decision, Part(20.0, 1.0), True, earlier.observed(20.0))
        before = numbers(learner)
        trade = trade_of(0, feedback, (0.6, 0.4, 0.0), {"a": "BUY", "b": "SELL", "c": "FLAT"})
        terms, taken = [0.0] * 3, []
        for number, each in enumerate(realised):
            part = Part(*each)
            decision = trade.decision._replace(terms=terms if number else ())
            update = learner.learn(decision, part, number == 0, trade.observed(part.reward_bps, 1.0))
            _, terms = with_terms(decision, terms, update)
            taken.append((part, number == 0, update))
        assert numbers(learner) != pytest.approx(before)
        for number in order:
            part, is_first, update = taken[number]
            learner.take_back(trade.decision._replace(terms=terms), part, is_first, update)
            terms = [term - more for term, more in zip(terms, update.terms, strict=True)] if update.terms else terms
        learner.take_back_decision(trade.decision, taken[0][2])
        assert numbers(learner) == pytest.approx(before, abs=1e-7)


@pytest.mark.parametrize(("algorithm", "eta_auto"), LEARNERS)
def test_a_blend_is_taken_back_too(algorithm: str, eta_auto: str) -> None:
    learner = learner_of(algorithm, "both", eta_auto)
    shares, part = {"a": 0.75, "b": 0.25}, Part(50.0, 0.5)
    observed = [Observed(0, 50.0, 1.0), Observed(1, -54.0, 1.0)]
    first = learner.learn_blend(shares, part, True, "undivided", observed)
    before = numbers(learner)
    more = learner.learn_blend(shares, part, False, "undivided", observed, first.terms)
    assert numbers(learner) != pytest.approx(before)
    terms = [one + two for one, two in zip(first.terms, more.terms, strict=True)]
    learner.take_back_blend(shares, part, more, observed, terms)
    assert numbers(learner) == pytest.approx(before)


# State.


@pytest.mark.parametrize(("algorithm", "eta_auto"), LEARNERS)
def test_state_goes_out_and_comes_back_bit_for_bit(algorithm: str, eta_auto: str) -> None:
    learner, twin = (learner_of(algorithm, "side", eta_auto) for _ in range(2))
    trade = trade_of(0, "side")
    learner.learn(trade.decision, Part(50.0, 1.0), True, trade.observed(50.0))
    twin.restore(learner.learned())
    copied = learner.copy()
    for each in (learner, twin, copied):
        each.learn(trade.decision, Part(-7.0, 0.5), True, trade.observed(-7.0))
    assert twin.learned() == copied.learned() == learner.learned()
    assert twin.read() == copied.read() == learner.read()


@pytest.mark.parametrize(("algorithm", "eta_auto"), [("exp3ix", "anytime"), ("tsallis", "adaptive")])
def test_a_sum_that_no_learner_holds_is_refused(algorithm: str, eta_auto: str) -> None:
    learner = learner_of(algorithm, "side", eta_auto)
    for own_state in ((), (-1.0,), (float("nan"),), (1.0, 2.0)):
        with pytest.raises(ValueError, match="own"):
            learner.restore(learner.learned()._replace(own_state=own_state))
    learner.restore(learner.learned()._replace(own_state=(9.0,)))
    learner.reset()
    assert learner.learned().own_state == (0.0,)


def test_a_reset_in_the_middle_of_a_decision_leaves_no_sum_below_0() -> None:
    """The position still has terms of before: a part that takes half of them back adds nothing below 0."""
    learner = learner_of("tsallis", "drawn", "adaptive")
    decision = Decision(0, Logged("a", 0.5, WHOLE), True, (), terms=(1.0, 0.0, 0.0))
    learner.learn(decision, Part(100.0, 0.5), False)
    assert learner.learned().own_state == (0.0,)


def test_an_arm_that_comes_or_goes_changes_k_and_leaves_the_sum() -> None:
    learner = learner_of("tsallis", "side", "adaptive")
    trade = trade_of(0, "side")
    learner.learn(trade.decision, Part(50.0, 1.0), True, trade.observed(50.0))
    (s,) = learner.learned().own_state
    weights = learner.read().weights
    learner.add_arm("d")
    assert learner.learned().own_state == (s,)
    assert learner.read().eta == pytest.approx(4**0.25 / sqrt(s + 2 / 4))
    learner.remove_arm("d")
    assert learner.read().weights == pytest.approx(weights)


@pytest.mark.parametrize("feedback", ["side", "both"])
def test_the_warm_up_takes_what_the_drawn_arm_earned(feedback: str) -> None:
    learner = new_learner(LearningSettings(ARMS, feedback=feedback, reward_bound_bps="auto"))
    trade = trade_of(0, feedback)
    update = learner.learn(trade.decision, Part(50.0, 1.0), True, trade.observed(50.0, 30.0))
    assert not update.applied
    assert learner.reward_bound.rewards_bps == (50.0,)
    assert (learner.total_steps, states(learner)) == (0, [0.0, 0.0, 0.0])


def test_what_must_be_told_whole_says_so() -> None:
    learner = learner_of("exp3ix")
    for call in (learner.update, learner.to_dict):  # type: ignore[attr-defined]  # of its class
        with pytest.raises(TypeError, match="this learner"):
            call()
