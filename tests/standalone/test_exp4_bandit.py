"""EXP4: numbers worked by hand, laws over random histories, and agreement with the formulas at 50 digits."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armstream.learning import Exp3IXBandit, Exp4Bandit
from tests.learning.reference import SlowExp4

ESTIMATORS = ("importance", "implicit")
THIRDS = [1 / 3, 1 / 3, 1 / 3]
WORKED = [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], THIRDS]
IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def said(n: int) -> Callable[[Sequence[Sequence[float]]], Sequence[float]]:
    """An expert whose advice is the n-th row of the context."""
    return lambda context: context[n]


def through_json(bandit: Exp4Bandit) -> Exp4Bandit:
    return Exp4Bandit.from_snapshot(json.loads(json.dumps(bandit.snapshot())), bandit._experts)


# ---------------------------------------------------------------------------------------------------------------------
# Worked numbers
# ---------------------------------------------------------------------------------------------------------------------


def test_play_and_update_by_hand() -> None:
    """q = 1/3 each: .8 * (1 + 0 + 1/3) / 3 + .2 / 3 = .42222, .8 * (0 + .5 + 1/3) / 3 + .2 / 3 = .28889. A reward of 1
    on arm 0 is 1 / .42222 = 2.36842, of which the experts get .1 * (1, 0, 1/3)."""
    bandit = Exp4Bandit(3, WORKED, eta=0.1, gamma=0.2)
    assert bandit.play_distribution(None) == pytest.approx([0.42222, 0.28889, 0.28889], abs=5e-6)
    update = bandit.update(0, None, 1.0)
    assert update.arms == (0,)
    assert update.propensities == pytest.approx((19 / 45,), rel=1e-14)
    assert update.estimates == pytest.approx((45 / 19,), rel=1e-14)
    assert (update.eta, update.propensity_source) == (0.1, "CURRENT")
    powers = [math.exp(4.5 / 19), 1.0, math.exp(1.5 / 19)]
    assert bandit.expert_weights == pytest.approx([each / sum(powers) for each in powers], rel=1e-14)
    assert bandit.total_steps == 1


def test_the_implicit_rule_by_hand() -> None:
    """Advice (1, 0) and (.5, .5), no exploration: p = .75. A reward of 50 is a loss of .25; .25 / (.75 + .05) = .3125,
    of which the experts get 1 and .5."""
    bandit = Exp4Bandit(2, [[1.0, 0.0], [0.5, 0.5]], eta=0.1, estimator="implicit")
    assert bandit.play_distribution() == pytest.approx([0.75, 0.25], rel=1e-15)
    assert bandit.update(0, None, 50.0).estimates == pytest.approx((0.3125,), rel=1e-14)
    assert bandit.state == pytest.approx([0.3125, 0.15625], rel=1e-14)
    q = bandit.expert_weights
    assert q[0] / q[1] == pytest.approx(math.exp(-0.1 * 0.15625), rel=1e-14)
    best, worst = (Exp4Bandit(2, [[1.0, 0.0]], eta=0.1, estimator="implicit") for _ in range(2))
    assert best.update(0, None, 1e6, propensity=0.2).estimates == (0.0,)
    assert worst.update(0, None, -1e6, propensity=0.2).estimates == pytest.approx((4.0,)), "beyond B is clipped"


def test_the_defaults() -> None:
    """eta = sqrt(ln N / (K T)) with N at least 2; gamma = min(1, K eta), 0 for implicit, which adds eta / 2."""
    eta = math.sqrt(math.log(5) / (4 * 10_000))
    bandit = Exp4Bandit(4, [[0.25] * 4] * 5)
    assert (bandit.eta, bandit.gamma) == pytest.approx((eta, 4 * eta), rel=1e-14)
    assert Exp4Bandit(4, [[0.25] * 4] * 5, expected_decisions=1).gamma == 1.0
    assert Exp4Bandit(4, [[0.25] * 4], expected_decisions=100).eta == pytest.approx(
        math.sqrt(math.log(2) / 400), rel=1e-14
    )
    implicit = Exp4Bandit(4, [[0.25] * 4] * 5, estimator="implicit")
    assert (implicit.eta, implicit.gamma) == (bandit.eta, 0.0)
    assert implicit.snapshot()["implicit"] == pytest.approx(eta / 2, rel=1e-14)
    assert Exp4Bandit(4, [[0.25] * 4] * 5, eta=0.5, gamma=0.01).gamma == 0.01
    assert bandit.experts == ["expert_0", "expert_1", "expert_2", "expert_3", "expert_4"]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_identity_experts_make_it_exp3(estimator: str) -> None:
    """Expert i always advises arm i: the same weights, probabilities, draws and estimates, number by number."""
    exp4 = Exp4Bandit(3, IDENTITY, eta=0.02, gamma=0.1, seed=5, estimator=estimator)
    exp3 = Exp3IXBandit(3, eta=0.02, gamma=0.1, seed=5, estimator=estimator)
    market = np.random.default_rng(1)
    for _ in range(300):
        arm = exp4.choose()
        assert arm == exp3.select_arm()
        reward = float(market.normal(5.0 * arm, 30.0))
        assert exp4.update(arm, None, reward).estimates == pytest.approx(exp3.update(arm, reward).estimates, rel=1e-9)
        assert exp4.play_distribution() == pytest.approx(exp3.get_probabilities(), rel=1e-9)
    assert exp4.expert_weights == pytest.approx(exp3.get_weights(), rel=1e-9)


# ---------------------------------------------------------------------------------------------------------------------
# Choice, context, propensity
# ---------------------------------------------------------------------------------------------------------------------


def test_choose_draws_exactly_one_number_and_inverts_the_cumulative_probabilities() -> None:
    bandit = Exp4Bandit(3, WORKED, eta=0.1, gamma=0.2, seed=11)
    edges = np.cumsum(bandit.play_distribution())
    numbers = np.random.Generator(np.random.PCG64(11)).random(500)
    assert [bandit.choose() for _ in numbers] == [int((edges < number).sum()) for number in numbers]
    assert bandit.total_steps == 0


def test_an_arm_without_probability_is_never_drawn_nor_learned_from() -> None:
    bandit = Exp4Bandit(4, [[0.0, 0.3, 0.7, 0.0]], gamma=0.0, seed=2)
    assert {bandit.choose() for _ in range(2_000)} == {1, 2}
    with pytest.raises(ValueError, match="its probability is 0"):
        bandit.update(3, None, 1.0)


def test_a_context_may_be_anything_that_the_experts_understand() -> None:
    def regime(context: Any) -> list[float]:
        return [1.0, 0.0] if context["regime"] == "calm" else [0.0, 1.0]

    bandit = Exp4Bandit(2, {"regime": regime, "array": lambda _: np.array([0.25, 0.75])}, gamma=0.0)
    assert bandit.play_distribution({"regime": "calm"}) == pytest.approx([0.625, 0.375])
    assert bandit.play_distribution({"regime": "wild"}) == pytest.approx([0.125, 0.875])
    assert bandit.experts == ["regime", "array"]


def test_without_a_logged_propensity_it_is_todays_at_the_context_given_and_never_a_stale_one() -> None:
    """Experts that follow the context; a choice at x is followed by an update at y: p is that of y, and as learned."""
    bandit = Exp4Bandit(2, [said(0), said(1)], eta=0.3, gamma=0.0, seed=1)
    x, y = [[0.9, 0.1], [0.5, 0.5]], [[0.2, 0.8], [0.6, 0.4]]
    bandit.choose(x)
    assert bandit.update(0, y, 1.0).propensities == pytest.approx((0.4,), rel=1e-14)
    q = bandit.expert_weights
    assert bandit.update(1, x, 1.0).propensities == pytest.approx((q[0] * 0.1 + q[1] * 0.5,), rel=1e-14)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_two_decisions_outstanding_are_both_credited_by_their_own_propensities(estimator: str) -> None:
    """Chosen one after the other, rewarded afterwards in either order: the same, and each estimate by its own p."""
    x, y = [[0.9, 0.1], [0.5, 0.5]], [[0.2, 0.8], [0.6, 0.4]]
    states = []
    for order in ((0, 1), (1, 0)):
        bandit = Exp4Bandit(2, [said(0), said(1)], eta=0.01, gamma=0.0, estimator=estimator)
        decisions = [(0, x, 20.0), (1, y, -10.0)]
        propensities = [bandit.play_distribution(context)[arm] for arm, context, _ in decisions]
        assert propensities == pytest.approx([0.7, 0.6])
        for each in order:
            arm, context, reward = decisions[each]
            update = bandit.update(arm, context, reward, propensity=propensities[each])
            expected = reward / propensities[each]
            if estimator == "implicit":
                expected = (100 - reward) / 200 / (propensities[each] + 0.005)
            assert update.estimates == pytest.approx((expected,), rel=1e-12)
            assert update.propensity_source == "LOGGED"
        states.append(bandit.expert_weights)
    assert states[0] == pytest.approx(states[1], rel=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_advice_for_the_drawn_arm_is_all_that_an_update_needs(estimator: str) -> None:
    names = {"a": said(0), "b": said(1)}
    x = [[0.9, 0.1], [0.5, 0.5]]
    one, other = (Exp4Bandit(2, names, eta=0.01, estimator=estimator) for _ in range(2))
    full = one.update(1, x, 30.0, 0.5, 0.3)
    short = other.update_advice({"b": 0.5, "a": 0.1}, 30.0, 0.3, 0.5)
    assert one.state == other.state
    assert (short.estimates, short.propensities) == (full.estimates, full.propensities)
    assert one.total_steps == other.total_steps == 1


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_weight_of_0_changes_nothing_and_later_parts_count_no_decision(estimator: str) -> None:
    bandit = Exp4Bandit(3, WORKED, estimator=estimator, seed=3)
    bandit.update(0, None, 40.0)
    before = bandit.snapshot()
    bandit.update(1, None, -40.0, weight=0.0)
    assert bandit.snapshot() == before
    bandit.update(1, None, -40.0, weight=0.5, propensity=0.3, new_decision=False)
    assert bandit.total_steps == 1
    whole = Exp4Bandit(3, WORKED, estimator=estimator)
    parted = Exp4Bandit(3, WORKED, estimator=estimator)
    whole.update(1, None, -40.0, 1.0, 0.3)
    for number, part in enumerate((0.25, 0.5, 0.25)):
        parted.update(1, None, -40.0, part, 0.3, new_decision=number == 0)
    assert parted.state == pytest.approx(whole.state, rel=1e-12, abs=1e-15)
    assert parted.total_steps == whole.total_steps == 1


def test_what_is_not_realised_counts_as_a_zero_reward() -> None:
    """Half of a decision at -40 bps of B = 100 is (.7 - .5) / 2 + .5 = .6; over p = .5 and implicit .1 that is 1."""
    bandit = Exp4Bandit(2, [[0.5, 0.5], [1.0, 0.0]], 0.2, estimator="implicit")
    assert bandit.update(0, None, -40.0, 0.5, 0.5).estimates == pytest.approx((1.0,), rel=1e-14)
    assert bandit.state == pytest.approx([0.5, 1.0], rel=1e-14)


def test_the_same_seed_gives_the_same_run() -> None:
    def run(seed: int) -> list[int]:
        bandit, market = Exp4Bandit(3, WORKED, seed=seed, expected_decisions=500), np.random.default_rng(7)
        arms = []
        for _ in range(200):
            arms.append(bandit.choose())
            bandit.update(arms[-1], None, float(market.random() < 0.3 + 0.2 * arms[-1]))
        return arms

    assert run(4) == run(4)
    assert run(4) != run(5)


# ---------------------------------------------------------------------------------------------------------------------
# Laws over random histories
# ---------------------------------------------------------------------------------------------------------------------

distributions = st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).map(
    lambda each: [part / sum(each) for part in each] if sum(each) > 1e-3 else THIRDS
)
contexts = st.lists(distributions, min_size=3, max_size=3)
rewards = st.one_of(st.floats(-200.0, 200.0), st.floats(-1e12, 1e12), st.sampled_from([0.0, 1.0, 1e12, -1e12]))
steps = st.tuples(
    st.integers(0, 2), contexts, rewards, st.just(1.0) | st.floats(0.0, 1e6), st.floats(1e-6, 1.0), st.booleans()
)
parameters = st.fixed_dictionaries(
    {
        "eta": st.sampled_from([None, 0.001, 0.05, 2.0]),
        "gamma": st.sampled_from([None, 0.0, 0.05, 1.0]),
        "estimator": st.sampled_from(ESTIMATORS),
        "implicit": st.sampled_from([None, 0.0, 0.02]),
        "seed": st.just(7),
    }
)
NAMED = {"a": said(0), "b": said(1), "c": said(2)}


class Highest:
    """A generator that draws the largest number below 1, always."""

    def random(self) -> float:
        return 1.0 - 2.0**-53


def test_a_number_above_all_that_rounding_left_draws_the_last_arm_with_a_probability() -> None:
    """Nine times a ninth, one after the other, is 1 - 4e-16; the tenth arm has nothing."""
    bandit = Exp4Bandit(10, [[1 / 9] * 9 + [0.0]], gamma=0.0)
    assert float(np.cumsum(bandit.play_distribution())[-1]) < Highest().random()
    bandit._generator = Highest()  # type: ignore[assignment] # all that a draw needs
    assert bandit.choose() == 8


@given(parameters, st.lists(steps, max_size=25))
def test_weights_and_probabilities_are_finite_and_sum_to_one_after_any_history(
    given_parameters: dict[str, Any], history: list[Any]
) -> None:
    bandit = Exp4Bandit(3, NAMED, **given_parameters)
    for step in history:
        bandit.update(*step)
        p, q = bandit.play_distribution(step[1]), bandit.expert_weights
        for values in (p, q):
            assert np.isfinite(values).all()
            assert values.sum() == pytest.approx(1.0, abs=1e-12)
        assert (q > 0.0).all(), "no expert dies"
        assert (p >= bandit.gamma / 3 * (1 - 1e-12)).all()
        assert (p <= 1.0).all()


@given(parameters, st.lists(steps, max_size=8), st.lists(steps, min_size=1, max_size=8))
def test_through_json_it_goes_on_bit_for_bit(
    given_parameters: dict[str, Any], before: list[Any], after: list[Any]
) -> None:
    bandit = Exp4Bandit(3, NAMED, **given_parameters)
    for step in before:
        bandit.update(*step)
    twin = through_json(bandit)
    for step in after:
        assert twin.choose(step[1]) == bandit.choose(step[1])
        assert twin.update(*step) == bandit.update(*step)
        assert json.dumps(twin.snapshot()) == json.dumps(bandit.snapshot())


@given(
    st.sampled_from(ESTIMATORS),
    st.permutations(range(3)),
    st.lists(st.tuples(st.integers(0, 2), contexts, st.floats(-20.0, 20.0), st.floats(0.0, 1.0)), max_size=15),
)
def test_permuting_the_experts_permutes_their_weights(estimator: str, order: list[int], history: list[Any]) -> None:
    plain = Exp4Bandit(3, [said(n) for n in range(3)], eta=0.01, gamma=0.2, estimator=estimator)
    permuted = Exp4Bandit(3, [said(n) for n in order], eta=0.01, gamma=0.2, estimator=estimator)
    for arm, context, reward, weight in history:
        plain.update(arm, context, reward, weight)
        permuted.update(arm, context, reward, weight)
        assert permuted.play_distribution(context) == pytest.approx(plain.play_distribution(context), rel=1e-9)
    assert permuted.expert_weights == pytest.approx(plain.expert_weights[list(order)], rel=1e-9)


@given(
    st.sampled_from(ESTIMATORS),
    st.lists(
        st.tuples(st.integers(0, 2), contexts, st.floats(-100.0, 100.0), st.floats(0.0, 1.0), st.floats(0.1, 1.0)),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_replicas_that_learned_apart_merge_to_one_that_learned_it_all(
    estimator: str, history: list[Any], random: Any
) -> None:
    """With logged propensities; eta = .0009 keeps importance off its floor: 12 estimates of at most 1000."""
    whole, *replicas = (Exp4Bandit(3, NAMED, eta=0.0009, estimator=estimator) for _ in range(4))
    for step in history:
        whole.update(*step)
        random.choice(replicas).update(*step)
    one, other, third = replicas
    one.merge(other)
    one.merge(json.loads(json.dumps(third.snapshot())))
    assert one.expert_weights == pytest.approx(whole.expert_weights, rel=1e-9)
    assert one.total_steps == whole.total_steps


def test_relative_weights_multiply() -> None:
    """exp(.5 / .5) and exp(.2 / .5) on the first expert: exp(1.4)."""
    one, other = (Exp4Bandit(2, [[1.0, 0.0], [0.0, 1.0]], eta=0.1) for _ in range(2))
    one.update(0, None, 5.0, propensity=0.5)
    other.update(0, None, 2.0, propensity=0.5)
    unmerged = other.snapshot()
    one.merge(other)
    assert one.expert_weights[0] / one.expert_weights[1] == pytest.approx(math.exp(1.4), rel=1e-12)
    assert one.total_steps == 2
    assert other.snapshot() == unmerged
    third = Exp4Bandit(2, [[1.0, 0.0], [0.0, 1.0]], eta=0.1)
    third.update(1, None, 9.0, propensity=0.5)
    one.merge(third)
    assert one.state == pytest.approx([-0.4, 0.0]), "the largest is subtracted again"


# ---------------------------------------------------------------------------------------------------------------------
# Experts that come and go
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_experts_come_and_go_and_what_was_learned_of_the_others_stays(estimator: str) -> None:
    bandit = Exp4Bandit(3, dict(zip("abc", WORKED, strict=True)), eta=0.01, estimator=estimator)
    for arm, reward in ((0, 30.0), (1, -20.0), (2, 5.0)):
        bandit.update(arm, None, reward)
    old = bandit.expert_weights
    bandit.add_expert("d", [0.0, 0.0, 1.0])
    assert bandit.expert_weights[3] == pytest.approx(1 / 4, rel=1e-12), "the mean of four is a quarter"
    assert bandit.expert_weights[:3] == pytest.approx(old * 3 / 4, rel=1e-12)
    bandit.add_expert("e", lambda _: THIRDS, 5.0)
    assert bandit.expert_weights[4] == pytest.approx(5 / 9, rel=1e-12), "five means beside four"
    bandit.add_expert("f", THIRDS, 0.0)
    assert 0.0 < bandit.expert_weights[5] < 2e-10, "0 takes the floor"
    assert bandit.experts == list("abcdef")
    for name in "dfe":
        bandit.remove_expert(name)
    assert bandit.expert_weights == pytest.approx(old, rel=1e-12)
    bandit.remove_expert("a")
    assert bandit.expert_weights == pytest.approx(old[1:] / old[1:].sum(), rel=1e-12)
    bandit.remove_expert("b")
    assert bandit.play_distribution() == pytest.approx(THIRDS)


def test_create_and_reset_forget_what_was_learned() -> None:
    bandit = Exp4Bandit(3, WORKED, eta=0.3, gamma=0.1, seed=4)
    twin = bandit.create(4)
    for _ in range(5):
        bandit.update(0, None, 1.0)
    assert (twin.eta, twin.gamma, twin.experts, twin.total_steps) == (0.3, 0.1, bandit.experts, 0)
    assert twin.expert_weights == pytest.approx(THIRDS)
    seeded = Exp4Bandit(3, WORKED, 0.3, 0.1, seed=4)
    assert [twin.choose() for _ in range(30)] == [seeded.choose() for _ in range(30)]
    bandit.reset()
    assert bandit.expert_weights == pytest.approx(THIRDS)
    assert bandit.total_steps == 0


# ---------------------------------------------------------------------------------------------------------------------
# Refusals
# ---------------------------------------------------------------------------------------------------------------------

REFUSED: dict[str, Callable[[Exp4Bandit], object]] = {
    "reward nan": lambda b: b.update(0, None, math.nan),
    "reward infinite": lambda b: b.update(0, None, math.inf),
    "reward beyond 1e12": lambda b: b.update(0, None, -1.0000001e12),
    "arm too large": lambda b: b.update(3, None, 1.0),
    "arm negative": lambda b: b.update(-1, None, 1.0),
    "weight negative": lambda b: b.update(0, None, 1.0, -1e-9),
    "weight nan": lambda b: b.update(0, None, 1.0, math.nan),
    "weight too large": lambda b: b.update(0, None, 1.0, 1000001.0),
    "propensity zero": lambda b: b.update(0, None, 1.0, propensity=0.0),
    "propensity above one": lambda b: b.update(0, None, 1.0, propensity=1.0000001),
    "propensity nan": lambda b: b.update(0, None, 1.0, propensity=math.nan),
    "advice missing": lambda b: b.update_advice({"a": 0.5, "b": 0.5}, 1.0, 0.5),
    "advice of nobody": lambda b: b.update_advice({"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5}, 1.0, 0.5),
    "advice above one": lambda b: b.update_advice({"a": 1.5, "b": 0.5, "c": 0.5}, 1.0, 0.5),
    "advice negative": lambda b: b.update_advice({"a": -0.5, "b": 0.5, "c": 0.5}, 1.0, 0.5),
    "advice nan": lambda b: b.update_advice({"a": math.nan, "b": 0.5, "c": 0.5}, 1.0, 0.5),
    "advice with reward nan": lambda b: b.update_advice({"a": 0.5, "b": 0.5, "c": 0.5}, math.nan, 0.5),
    "advice with propensity zero": lambda b: b.update_advice({"a": 0.5, "b": 0.5, "c": 0.5}, 1.0, 0.0),
    "expert there already": lambda b: b.add_expert("b", THIRDS),
    "expert without a name": lambda b: b.add_expert("", THIRDS),
    "expert with wrong advice": lambda b: b.add_expert("d", [0.5, 0.5]),
    "initial weight negative": lambda b: b.add_expert("d", THIRDS, -1.0),
    "initial weight nan": lambda b: b.add_expert("d", THIRDS, math.nan),
    "removing an unknown expert": lambda b: b.remove_expert("d"),
    "merging other experts": lambda b: b.merge(Exp4Bandit(3, WORKED, estimator=b.estimator)),
    "merging another order": lambda b: b.merge(
        Exp4Bandit(3, {"b": THIRDS, "a": THIRDS, "c": THIRDS}, estimator=b.estimator)
    ),
    "merging other parameters": lambda b: b.merge(
        Exp4Bandit(3, dict(zip("abc", WORKED, strict=True)), eta=0.5, estimator=b.estimator)
    ),
    "merging a snapshot of other experts": lambda b: b.merge(Exp4Bandit(3, WORKED, estimator=b.estimator).snapshot()),
    "merging what is no snapshot": lambda b: b.merge({}),
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("refused", REFUSED)
def test_what_is_refused_is_a_value_error_and_changes_nothing(refused: str, estimator: str) -> None:
    bandit = Exp4Bandit(3, dict(zip("abc", WORKED, strict=True)), seed=1, estimator=estimator)
    bandit.update(0, None, 12.0)
    before = bandit.snapshot()
    with pytest.raises(ValueError, match=r"."):
        REFUSED[refused](bandit)
    assert bandit.snapshot() == before
    assert bandit.experts == ["a", "b", "c"]


WRONG_ADVICE: dict[str, Any] = {
    "too short": [0.5, 0.5],
    "too long": [0.25, 0.25, 0.25, 0.25],
    "negative": [1.5, -0.5, 0.0],
    "not summing to 1": [0.5, 0.5, 0.1],
    "all zero": [0.0, 0.0, 0.0],
    "nan": [math.nan, 0.5, 0.5],
    "infinite": [math.inf, 0.0, 0.0],
    "no numbers": ["a", "b", "c"],
    "no list": 7,
    "text": "100",
    "too large for a number": [10**400, 0, 0],
}


@pytest.mark.parametrize("wrong", WRONG_ADVICE)
def test_wrong_advice_is_refused_with_the_experts_name(wrong: str) -> None:
    bandit = Exp4Bandit(3, {"good": THIRDS, "drunk": lambda _: WRONG_ADVICE[wrong]}, seed=1)
    before = bandit.snapshot()
    for call in (
        bandit.play_distribution,
        bandit.choose,
        lambda: bandit.update(0, None, 1.0),
        lambda: bandit.update(0, None, 1.0, propensity=0.5),
        lambda: Exp4Bandit(3, {"drunk": WRONG_ADVICE[wrong]}),
    ):
        with pytest.raises(ValueError, match="'drunk'"):
            call()
    assert bandit.snapshot() == before


def test_advice_in_single_precision_is_taken_as_summing_to_1() -> None:
    rough = np.array([0.1, 0.2, 0.7], dtype=np.float32) / np.float32(1.0000005)
    bandit = Exp4Bandit(3, [lambda _: rough], gamma=0.0)
    assert bandit.play_distribution().sum() == pytest.approx(1.0, abs=1e-15)


def test_an_experts_own_error_comes_through_and_nothing_was_drawn_or_learned() -> None:
    def fail(_: Any) -> list[float]:
        raise KeyError("volatility")

    bandit = Exp4Bandit(3, {"good": THIRDS, "failing": fail}, seed=1)
    before = bandit.snapshot()
    for call in (lambda: bandit.choose({}), lambda: bandit.update(0, {}, 1.0)):
        with pytest.raises(KeyError, match="volatility"):
            call()
    assert bandit.snapshot() == before


def test_an_estimate_that_is_not_finite_is_refused_though_the_clamp_would_hide_it() -> None:
    bandit = Exp4Bandit(3, [THIRDS, [0.5, 0.5, 0.0]])
    with pytest.raises(ValueError, match="finite"):
        bandit.update(0, None, 1e12, propensity=1e-300)
    assert bandit.state == [0.0, 0.0]


def test_the_last_expert_stays() -> None:
    bandit = Exp4Bandit(3, {"only": THIRDS})
    with pytest.raises(ValueError, match="last expert"):
        bandit.remove_expert("only")


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_arms": 1, "experts": [[1.0]]},
        {"n_arms": 0},
        {"n_arms": -3},
        {"experts": []},
        {"experts": {}},
        {"experts": {"": THIRDS}},
        {"experts": {1: THIRDS}},
        {"experts": "abc"},
        {"experts": 3},
        {"eta": 0.0},
        {"eta": math.nan},
        {"gamma": -0.1},
        {"gamma": 1.1},
        {"expected_decisions": 0},
        {"expected_decisions": math.inf},
        {"seed": -1},
        {"estimator": "exp4"},
        {"implicit": -0.1},
        {"reward_bound_bps": 0.0},
        {"min_weight": 0.0},
        {"min_weight": 1.5},
    ],
)
def test_a_learner_that_could_not_work_is_not_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Exp4Bandit(**{"n_arms": 3, "experts": WORKED, **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {"experts": ["expert_0", "expert_1"]},
        {"experts": ["expert_0", "expert_1", "x"]},
        {"experts": ["expert_0", "expert_1", "expert_1"]},
        {"experts": "expert_0"},
        {"n_arms": 2},
        {"n_arms": 3.0},
        {"log_weights": [0.0, 0.0]},
        {"log_weights": [0.0, 0.0, math.nan]},
        {"log_weights": None},
        {"losses": [0.0, 0.0, 0.0]},
        {"estimator": "implicit"},
        {"estimator": "other"},
        {"eta": None},
        {"gamma": 2.0},
        {"total_steps": -1},
        {"total_steps": 1.5},
        {"generator": {}},
        {"generator": None},
        {"log_wieghts": [0.0, 0.0, 0.0]},
    ],
)
def test_a_snapshot_that_no_learner_could_have_is_refused(wrong: dict[str, Any]) -> None:
    snapshot = Exp4Bandit(3, WORKED).snapshot()
    assert Exp4Bandit.from_snapshot(snapshot, WORKED).snapshot() == snapshot
    with pytest.raises(ValueError, match=r"."):
        Exp4Bandit.from_snapshot({**snapshot, **wrong}, WORKED)


def test_each_key_of_a_snapshot_is_needed() -> None:
    snapshot = Exp4Bandit(3, WORKED).snapshot()
    for key in snapshot:
        with pytest.raises(ValueError, match=key):
            Exp4Bandit.from_snapshot({name: value for name, value in snapshot.items() if name != key}, WORKED)


def test_a_snapshot_keeps_its_own_order_of_experts() -> None:
    bandit = Exp4Bandit(3, NAMED, eta=0.1)
    bandit.update(0, IDENTITY, 1.0)
    other_order = {name: NAMED[name] for name in "cab"}
    twin = Exp4Bandit.from_snapshot(bandit.snapshot(), other_order)
    assert twin.experts == ["a", "b", "c"]
    assert twin.play_distribution(IDENTITY) == pytest.approx(bandit.play_distribution(IDENTITY), rel=1e-15)


def test_nothing_that_is_given_out_is_the_learners_own() -> None:
    bandit = Exp4Bandit(3, WORKED, seed=1)
    bandit.update(1, None, 10.0)
    before = bandit.snapshot()
    given_out = bandit.snapshot()
    for key in ("experts", "log_weights"):
        given_out[key].clear()
    given_out["generator"]["state"]["state"] = 0
    for array in (bandit.expert_weights, bandit.play_distribution()):
        assert array.dtype == np.float64
        array[:] = 9.0
    bandit.experts.clear()
    bandit.state.clear()
    assert bandit.snapshot() == before


# ---------------------------------------------------------------------------------------------------------------------
# The formulas at 50 digits
# ---------------------------------------------------------------------------------------------------------------------

mild_steps = st.tuples(
    st.integers(0, 2), contexts, st.floats(-1.0, 1.0), st.floats(0.0, 2.0), st.none() | st.floats(0.01, 1.0)
)


@settings(max_examples=80)
@given(
    st.sampled_from(ESTIMATORS),
    st.sampled_from([0.02, 0.3]),
    st.sampled_from([0.05, 0.5]),
    st.sampled_from([0.0, 0.05]),
    st.lists(mild_steps, min_size=1, max_size=20),
)
def test_whole_histories_agree_with_the_formulas_to_ten_digits(
    estimator: str, eta: float, gamma: float, implicit: float, history: list[Any]
) -> None:
    """Rewards around 1 for importance, as the theory has them, and of the size of B for implicit."""
    fast = Exp4Bandit(3, NAMED, eta, gamma, estimator=estimator, implicit=implicit)
    slow = SlowExp4(3, 3, estimator, eta, gamma, implicit)
    for arm, context, unit, weight, propensity in history:
        reward = unit if estimator == "importance" else 150.0 * unit
        exact = [[part / math.fsum(row) for part in row] for row in context]
        update = fast.update(arm, context, reward, weight, propensity)
        estimate = slow.update(arm, exact, reward, weight, propensity)
        assert update.estimates == pytest.approx([float(estimate)], rel=1e-10, abs=1e-13)
        assert fast.expert_weights == pytest.approx([float(q) for q in slow.weights()], rel=1e-10, abs=0.0)
        expected = [float(p) for p in slow.play(exact)]
        assert fast.play_distribution(context) == pytest.approx(expected, rel=1e-10, abs=0.0)


@given(
    st.sampled_from(ESTIMATORS),
    st.lists(st.floats(0.0, 23.0), min_size=2, max_size=2),
    st.integers(0, 2),
    contexts,
    st.sampled_from([1e-3, -150.0, 1e6, -1e12]),
)
def test_one_step_of_any_size_from_any_state_agrees_with_the_formulas_to_ten_digits(
    estimator: str, depths: list[float], arm: int, context: list[list[float]], reward: float
) -> None:
    state = [0.0, *(-each for each in depths)] if estimator == "importance" else [0.0, *(30 * each for each in depths)]
    empty = Exp4Bandit(3, NAMED, 0.05, 0.1, estimator=estimator)
    key = "log_weights" if estimator == "importance" else "losses"
    fast = Exp4Bandit.from_snapshot({**empty.snapshot(), key: state}, NAMED)
    slow = SlowExp4(3, 3, estimator, 0.05, 0.1, 0.025, state=state)
    exact = [[part / math.fsum(row) for part in row] for row in context]
    fast.update(arm, context, reward, propensity=0.3)
    slow.update(arm, exact, reward, 1.0, 0.3)
    assert fast.expert_weights == pytest.approx([float(q) for q in slow.weights()], rel=1e-10, abs=0.0)
