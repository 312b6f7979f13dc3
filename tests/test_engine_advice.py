"""Experts on the engine's side: what is drawn is the mixture of what they are logged as having said."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from armstream.engine import Decision, StaleWeightsError, draw
from armstream.events import ArmWeight, ExpertWeight, WeightVector
from tests.test_engine import answering, vector_of

ARMS = ("a", "b", "c")


def advised_vector(*experts: ExpertWeight, gamma: float = 0.0) -> WeightVector:
    return WeightVector(
        bandit_id="book",
        version=7,
        algorithm="exp4",
        estimator="implicit",
        arms=tuple(ArmWeight(name, 1 / 3, 1 / 3) for name in ARMS),
        gamma=gamma,
        eta=0.1,
        reward_bound_bps=100.0,
        total_steps=3,
        phase="LIVE",
        blend_alpha=0.3,
        cause_event_id="cause",
        ts_event=1,
        experts=experts,
    )


BASE = ExpertWeight("base", 0.5, (0.6, 0.4, 0.0))
REGIME = ExpertWeight("regime", 0.3)
SCORER = ExpertWeight("scorer", 0.2)
OWN: dict[str, Any] = {
    "regime": lambda context: [0.0, 0.0, 1.0] if context == "calm" else [1.0, 0.0, 0.0],
    "scorer": [0.2, 0.3, 0.5],
}


def drawn(decision: Decision) -> int:
    return ARMS.index(decision.arm)


def test_experts_are_mixed_by_their_weights_and_each_is_logged_by_hand() -> None:
    """.5 base + .3 regime + .2 scorer at "calm" is (.34, .26, .4); in another context regime says a."""
    vector, rng = advised_vector(BASE, REGIME, SCORER), default_rng(1)
    said = {"base": (0.6, 0.4, 0.0), "regime": (0.0, 0.0, 1.0), "scorer": (0.2, 0.3, 0.5)}
    for _ in range(30):
        decision = draw("book", vector, rng, context="calm", experts=OWN)
        assert decision.probabilities == pytest.approx((0.34, 0.26, 0.4))
        assert decision.propensity == decision.probabilities[drawn(decision)]
        assert decision.advice == pytest.approx({name: row[drawn(decision)] for name, row in said.items()})
        fill = decision.fill(instrument_id="AAPL", side="BUY", quantity=1, price=1.0)
        assert (fill.advice, fill.weights_version, fill.propensity) == (decision.advice, 7, decision.propensity)
    wild = draw("book", vector, rng, context="wild", experts=OWN)
    assert wild.probabilities == pytest.approx((0.64, 0.26, 0.1))


def test_exploration_is_shared_out_over_what_can_be_drawn() -> None:
    """.9 of (.34, .26, .4) and .1 / 3; without b .9 of (.5, 0, .5) here, and .1 / 2."""
    vector = advised_vector(BASE, REGIME, SCORER, gamma=0.1)
    decision = draw("book", vector, default_rng(1), context="calm", experts=OWN)
    assert decision.probabilities == pytest.approx((0.9 * 0.34 + 1 / 30, 0.9 * 0.26 + 1 / 30, 0.9 * 0.4 + 1 / 30))
    even = advised_vector(ExpertWeight("x", 1.0, (0.3, 0.4, 0.3)), gamma=0.1)
    masked = draw("book", even, default_rng(1), available={"a", "c"})
    assert masked.probabilities == pytest.approx((0.5, 0.0, 0.5))
    assert masked.advice == pytest.approx({"x": 0.5})
    half = advised_vector(
        ExpertWeight("x", 0.5, (0.6, 0.4, 0.0)), ExpertWeight("asleep", 0.5, (0.0, 0.0, 1.0)), gamma=0.1
    )
    awake = draw("book", half, default_rng(1), available={"a", "b"})
    assert awake.probabilities == pytest.approx((0.59, 0.41, 0.0))  # .9 of (.6, .4) and .05


def test_arms_are_drawn_as_often_as_the_mixture_says() -> None:
    vector, rng = advised_vector(BASE, REGIME, SCORER), default_rng(7)
    counts = Counter(draw("book", vector, rng, context="calm", experts=OWN).arm for _ in range(20_000))
    for arm, probability in zip(ARMS, (0.34, 0.26, 0.4), strict=True):
        assert abs(counts[arm] - 20_000 * probability) < 354  # 5 standard deviations


def test_a_draw_takes_one_number() -> None:
    rng, twin = default_rng(3), default_rng(3)
    draw("book", advised_vector(BASE, REGIME), rng, context="calm", experts=OWN)
    twin.random()
    assert rng.random() == twin.random()


def test_an_arm_that_cannot_trade_leaves_each_experts_advice_and_who_has_nothing_left_sleeps() -> None:
    """Without a and b regime has all on c; without c it sleeps: .5 of (.6, .4) and .2 of (.4, .6), over .7."""
    vector, rng = advised_vector(BASE, REGIME, SCORER), default_rng(1)
    expected = ((0.5 * 0.6 + 0.2 * 0.4) / 0.7, (0.5 * 0.4 + 0.2 * 0.6) / 0.7, 0.0)
    for _ in range(20):
        decision = draw("book", vector, rng, context="calm", experts=OWN, available=("a", "b"))
        assert decision.probabilities == pytest.approx(expected)
        at = drawn(decision)
        said = {"base": (0.6, 0.4)[at], "regime": decision.propensity, "scorer": (0.4, 0.6)[at]}
        assert decision.advice == pytest.approx(said)
    asleep = draw("book", advised_vector(REGIME), rng, context="calm", experts=OWN, available=("a", "b"))
    assert asleep.probabilities == pytest.approx((0.5, 0.5, 0.0))
    assert asleep.advice == pytest.approx({"regime": 0.5})


rows = st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).filter(lambda row: sum(row) > 1e-3)


@given(st.lists(st.tuples(st.floats(0.01, 1.0), rows, st.booleans()), min_size=1, max_size=5), st.integers(1, 7))
def test_what_is_logged_mixed_by_the_published_weights_is_the_propensity(given_experts: Any, mask: int) -> None:
    """With nothing mixed in: so the estimate is unbiased for every expert, asleep or awake."""
    trust = sum(weight for weight, _, _ in given_experts)
    experts: list[ExpertWeight] = []
    own: dict[str, Any] = {}
    for number, (weight, row, is_own) in enumerate(given_experts):
        said = tuple(each / sum(row) for each in row)
        experts.append(ExpertWeight(f"e{number}", weight / trust, () if is_own else said))
        own |= {f"e{number}": said} if is_own else {}
    available = [name for bit, name in enumerate(ARMS) if mask >> bit & 1]
    decision = draw("book", advised_vector(*experts), default_rng(mask), experts=own, available=available)
    mixture = sum(expert.weight * decision.advice[expert.name] for expert in experts)
    assert mixture == pytest.approx(decision.propensity, rel=1e-9)
    assert sum(decision.probabilities) == pytest.approx(1.0)
    assert decision.arm in available
    assert all(0.0 <= said <= 1.0 for said in decision.advice.values())


def test_an_engines_expert_advises_on_the_engines_arms_in_their_order() -> None:
    """c, a: .7 on c; b of the vector is not the engine's, and base keeps a alone of (.6, .4, 0)."""
    vector = advised_vector(ExpertWeight("base", 0.5, (0.6, 0.4, 0.0)), ExpertWeight("regime", 0.5))
    decision = draw("book", vector, default_rng(1), arms=["c", "a"], experts={"regime": [0.7, 0.3]})
    assert decision.probabilities == pytest.approx((0.5 + 0.15, 0.0, 0.35))


def test_an_expert_that_the_vector_does_not_name_is_not_asked() -> None:
    def unasked(_: object) -> list[float]:
        raise AssertionError("asked")

    decision = draw("book", advised_vector(BASE), default_rng(1), experts={"rolled-out-early": unasked})
    assert decision.advice.keys() == {"base"}
    plain = draw("book", vector_of(), default_rng(1), experts={"other": unasked}, context="calm")
    assert plain.advice == {}


def test_before_there_is_a_vector_the_engines_experts_are_logged_and_the_draw_is_uniform() -> None:
    decision = draw("book", None, default_rng(1), arms=ARMS, context="calm", experts=OWN, available=("b", "c"))
    assert decision.probabilities == pytest.approx((0.0, 0.5, 0.5))
    at = drawn(decision) - 1
    assert decision.advice == pytest.approx({"regime": (0.0, 1.0)[at], "scorer": (0.375, 0.625)[at]})
    assert decision.weights_version == 0


@pytest.mark.parametrize(
    ("experts", "words"),
    [
        ({}, "'book' asks for experts that choose was not given: regime, scorer"),
        ({"regime": [1.0, 0.0, 0.0]}, "not given: scorer"),
        ({**OWN, "scorer": [0.5, 0.5]}, "the advice of 'scorer' must have 3 entries, got 2"),
        ({**OWN, "scorer": [0.5, 0.5, 0.5]}, "the advice of 'scorer' must not be negative and must sum to 1"),
        ({**OWN, "scorer": lambda _: None}, "the advice of 'scorer' must be 3 numbers"),
    ],
)
def test_experts_that_are_missing_or_wrong_are_refused_by_name_and_nothing_is_drawn(
    experts: dict[str, Any], words: str
) -> None:
    rng, twin = default_rng(3), default_rng(3)
    with pytest.raises(ValueError, match=words):
        draw("book", advised_vector(BASE, REGIME, SCORER), rng, context="calm", experts=experts)
    assert rng.random() == twin.random()


def test_arms_without_an_order_are_refused_where_experts_advise_on_them() -> None:
    with pytest.raises(ValueError, match="set has none: give a list"):
        draw("book", advised_vector(BASE, REGIME), default_rng(1), arms={"a", "b"}, experts=OWN)


def test_a_follower_chooses_with_experts_and_not_from_stale_weights() -> None:
    vector = advised_vector(BASE, REGIME)
    follower = answering(vector)
    decision = follower.choose("book", default_rng(5), context="calm", experts=OWN)
    assert decision == draw(
        "book", vector, default_rng(5), context="calm", experts=OWN, position_id=decision.position_id
    )
    with pytest.raises(StaleWeightsError):
        answering(vector, age_seconds=31).choose("book", default_rng(5), context="calm", experts=OWN)
