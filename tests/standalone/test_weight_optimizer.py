"""Ensemble weights: each arm mode beside the plain learner, and mixtures by hand and by law."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armstream.learning import EnsembleWeightOptimizer, Exp3IXBandit, blend, mix

BASE = {"a": 0.3, "b": 0.4, "c": 0.3}
LEARNED = {"a": 4.0, "b": 1.0, "c": 1.0}


# ---------------------------------------------------------------------------------------------------------------------
# Mixing
# ---------------------------------------------------------------------------------------------------------------------


def test_a_mixture_by_hand() -> None:
    """w = 2/3, 1/6, 1/6: .7 * .3 + .3 * 2/3 = .41, .7 * .4 + .3 / 6 = .33, .7 * .3 + .3 / 6 = .26."""
    assert mix(BASE, LEARNED, 0.3) == pytest.approx({"a": 0.41, "b": 0.33, "c": 0.26}, rel=1e-14)
    assert mix(BASE, LEARNED, 0.15) == pytest.approx({"a": 0.355, "b": 0.365, "c": 0.28}, rel=1e-14)
    assert mix(BASE, LEARNED, 0.0) == pytest.approx(BASE, rel=1e-15)
    assert mix(BASE, LEARNED, 1.0) == pytest.approx({"a": 2 / 3, "b": 1 / 6, "c": 1 / 6}, rel=1e-15)


def test_an_arm_that_the_bandit_does_not_know_keeps_its_base_share() -> None:
    """b keeps .4 whatever alpha is; a and c share out their mass of .6 by w = 3/4, 1/4: .7 * .3 + .3 * .6 * .75."""
    assert mix(BASE, {"a": 3.0, "c": 1.0}, 0.3) == pytest.approx({"a": 0.345, "b": 0.4, "c": 0.255}, rel=1e-14)
    assert mix(BASE, {"a": 3.0, "c": 1.0}, 1.0) == pytest.approx({"a": 0.45, "b": 0.4, "c": 0.15}, rel=1e-14)
    assert mix(BASE, {}, 0.3) == pytest.approx(BASE, rel=1e-15)


def test_an_arm_that_base_does_not_name_is_left_out() -> None:
    assert mix({"a": 1.0, "b": 1.0}, {"a": 3.0, "b": 1.0, "z": 96.0}, 1.0) == pytest.approx({"a": 0.75, "b": 0.25})


def test_weights_of_any_scale_are_normalised_and_a_negative_counts_as_0() -> None:
    """Base 1, -5, 3 is 1/4, 0, 3/4, and so for the learned ones; all at or below 0 is uniform; no sum overflows."""
    assert mix({"a": 1.0, "b": -5.0, "c": 3.0}, {}, 0.3) == pytest.approx({"a": 0.25, "b": 0.0, "c": 0.75})
    assert mix(BASE, {"a": 1.0, "b": -5.0, "c": 3.0}, 1.0) == pytest.approx({"a": 0.25, "b": 0.0, "c": 0.75})
    assert mix({"a": 0.0, "b": -1.0}, {}, 0.3) == {"a": 0.5, "b": 0.5}
    assert mix({"a": 0.2, "b": 0.8}, {"a": 0.0, "b": 0.0}, 1.0) == pytest.approx({"a": 0.5, "b": 0.5})
    assert mix({"a": 1e308, "b": 1e308}, {"a": 1e308, "b": 1e308}, 0.5) == pytest.approx({"a": 0.5, "b": 0.5})


named = st.dictionaries(st.sampled_from("abcdefg"), st.floats(-1e308, 1e308) | st.floats(-1.0, 1.0), max_size=7)


@given(named.filter(bool), named, st.floats(0.0, 1.0))
def test_a_mixture_is_a_distribution_over_the_keys_of_base_in_their_order(
    base: dict[str, float], learned: dict[str, float], alpha: float
) -> None:
    mixed = mix(base, learned, alpha)
    assert list(mixed) == list(base)
    assert all(0.0 <= share <= 1.0 + 1e-12 for share in mixed.values())
    assert math.fsum(mixed.values()) == pytest.approx(1.0, abs=1e-12)
    alone = mix(base, {}, 0.0)
    assert all(mixed[name] == alone[name] for name in base.keys() - learned.keys())


@pytest.mark.parametrize(
    ("total_steps", "alpha"), [(0, 0.0), (99, 0.0), (100, 0.0), (150, 0.15), (199, 0.297), (200, 0.3), (10**9, 0.3)]
)
def test_a_blend_ramps_from_base_alone(total_steps: int, alpha: float) -> None:
    """Warm start 100, ramp 100, alpha .3: at 150 steps .15, which gives .355, .365, .28."""
    blended = blend(BASE, LEARNED, total_steps=total_steps, warm_start_steps=100, ramp_steps=100)
    expected = {"a": 0.3 + alpha * (2 / 3 - 0.3), "b": 0.4 + alpha * (1 / 6 - 0.4), "c": 0.3 + alpha * (1 / 6 - 0.3)}
    assert blended == pytest.approx(expected, rel=1e-12)


def test_a_blend_begins_at_500_steps_with_its_whole_alpha() -> None:
    assert blend(BASE, LEARNED, total_steps=499) == pytest.approx(BASE, rel=1e-15)
    assert blend(BASE, LEARNED, total_steps=500) == pytest.approx({"a": 0.41, "b": 0.33, "c": 0.26}, rel=1e-14)


@pytest.mark.parametrize(
    ("base", "learned", "alpha", "why"),
    [
        ({}, LEARNED, 0.3, "at least one arm"),
        ({"a": math.nan, "b": 1.0}, LEARNED, 0.3, "base weight of 'a' must be finite"),
        ({"a": math.inf, "b": 1.0}, LEARNED, 0.3, "base weight of 'a' must be finite"),
        (BASE, {"b": math.nan}, 0.3, "learned weight of 'b' must be finite"),
        (BASE, LEARNED, -0.1, "alpha"),
        (BASE, LEARNED, 1.1, "alpha"),
        (BASE, LEARNED, math.nan, "alpha"),
    ],
)
def test_what_cannot_be_mixed_is_refused(
    base: Mapping[str, float], learned: Mapping[str, float], alpha: float, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        mix(base, learned, alpha)
    with pytest.raises(ValueError, match=why):
        blend(base, learned, total_steps=1000, alpha=alpha)


@pytest.mark.parametrize("wrong", ["total_steps", "warm_start_steps", "ramp_steps"])
def test_a_count_below_0_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        blend(BASE, LEARNED, **{"total_steps": 0, wrong: -1})


def test_a_wrong_alpha_is_refused_while_it_is_not_used_yet() -> None:
    with pytest.raises(ValueError, match="alpha"):
        blend(BASE, LEARNED, total_steps=0, alpha=1.5)


# ---------------------------------------------------------------------------------------------------------------------
# Learning by family, by horizon, by both
# ---------------------------------------------------------------------------------------------------------------------

FAMILIES, HORIZONS = ["ridge", "mlp"], ["1d", "5d", "20d"]
ARMS = {
    "family": ["ridge", "mlp"],
    "horizon": ["1d", "5d", "20d"],
    "family_horizon": ["ridge:1d", "ridge:5d", "ridge:20d", "mlp:1d", "mlp:5d", "mlp:20d"],
}


@pytest.mark.parametrize("mode", ARMS)
def test_an_update_reaches_the_arm_of_its_mode_and_is_the_bandits_own(mode: str) -> None:
    optimizer = EnsembleWeightOptimizer(FAMILIES, HORIZONS, mode, eta=0.01, estimator="implicit")
    plain = Exp3IXBandit(len(ARMS[mode]), ARMS[mode], eta=0.01, estimator="implicit")
    assert optimizer.bandit.arm_names == ARMS[mode]
    for family, horizon, reward in (("mlp", "5d", 30.0), ("ridge", "20d", -10.0), ("mlp", "1d", 4.0)):
        arm = plain.get_arm_index({"family": family, "horizon": horizon}.get(mode, f"{family}:{horizon}"))
        expected = plain.update(arm, reward, 0.4, 0.5, new_decision=False)
        assert optimizer.update(family, horizon, reward, 0.4, 0.5, new_decision=False) == expected
        assert optimizer.update(family, horizon, reward) == plain.update(arm, reward)
    assert optimizer.bandit.state == plain.state
    assert optimizer.total_steps == plain.total_steps == 3
    stats = optimizer.get_stats()
    assert stats.pop("mode") == mode
    assert stats == plain.get_stats()


def test_what_the_mode_leaves_out_is_not_looked_at() -> None:
    by_family = EnsembleWeightOptimizer(FAMILIES, [])
    by_family.update("mlp", None, 1.0)
    by_family.update("mlp", "next year", 1.0)
    assert (by_family.families, by_family.horizons) == (FAMILIES, [])
    by_horizon = EnsembleWeightOptimizer([], HORIZONS, mode="horizon")
    by_horizon.update(None, "5d", 1.0)
    assert (by_horizon.families, by_horizon.horizons) == ([], HORIZONS)
    assert by_family.bandit.arm_pulls == [0, 2]
    assert by_horizon.bandit.arm_pulls == [0, 1, 0]


def test_blending_weights_of_pairs_are_renormalised_within_the_horizon() -> None:
    """eta = .01, p = 1/6 each: +100 bps is theta +6. Within 5d: mlp 1 / (1 + e^-6); within 1d nothing happened."""
    optimizer = EnsembleWeightOptimizer(FAMILIES, HORIZONS, mode="family_horizon", eta=0.01)
    optimizer.update("mlp", "5d", 100.0)
    mlp = 1 / (1 + math.exp(-6))
    assert optimizer.get_blending_weights("5d") == pytest.approx({"ridge": 1 - mlp, "mlp": mlp}, rel=1e-12)
    assert optimizer.get_blending_weights("1d") == pytest.approx({"ridge": 0.5, "mlp": 0.5}, rel=1e-12)


def test_blending_weights_of_families_or_of_horizons_are_the_learned_ones() -> None:
    """p = 1/2 and 1/3: theta is +1 of two, +1.5 of three."""
    for mode, arm, theta in (("family", "mlp", 1.0), ("horizon", "5d", 1.5)):
        optimizer = EnsembleWeightOptimizer(FAMILIES, HORIZONS, mode, eta=0.01)
        optimizer.update("mlp", "5d", 50.0)
        weights = optimizer.get_blending_weights("5d")
        total = math.exp(theta) + len(ARMS[mode]) - 1
        assert list(weights) == ARMS[mode]
        assert weights[arm] == pytest.approx(math.exp(theta) / total, rel=1e-12)
        assert optimizer.get_blending_weights() == weights


def test_models_come_and_go_through_the_bandit() -> None:
    optimizer = EnsembleWeightOptimizer(FAMILIES, HORIZONS, mode="family_horizon")
    optimizer.bandit.add_arm("gru:5d")
    optimizer.update("gru", "5d", 10.0)
    assert optimizer.families == ["ridge", "mlp", "gru"]
    assert list(optimizer.get_blending_weights("5d")) == ["ridge", "mlp", "gru"]
    assert list(optimizer.get_blending_weights("1d")) == ["ridge", "mlp"]
    optimizer.bandit.remove_arm("ridge:5d")
    assert list(optimizer.get_blending_weights("5d")) == ["mlp", "gru"]


@pytest.mark.parametrize("mode", ARMS)
def test_a_selection_names_what_was_drawn_and_its_probability(mode: str) -> None:
    optimizer = EnsembleWeightOptimizer(FAMILIES, HORIZONS, mode, seed=3)
    plain = Exp3IXBandit(len(ARMS[mode]), ARMS[mode], seed=3)
    for _ in range(50):
        selected = optimizer.select()
        arm, p = plain.select_arm(), plain.get_probabilities()
        parts = ARMS[mode][arm].split(":")
        assert [part for part in selected[:2] if part is not None] == parts
        assert (selected.family is None, selected.horizon is None) == (mode == "horizon", mode == "family")
        assert selected.propensity == p[arm]
        optimizer.update(selected.family, selected.horizon, 5.0, selected.propensity)
        plain.update(arm, 5.0, p[arm])
    assert optimizer.bandit.to_dict() == plain.to_dict()


@pytest.mark.parametrize("mode", ARMS)
def test_through_json_an_optimizer_goes_on_bit_for_bit(mode: str) -> None:
    optimizer = EnsembleWeightOptimizer(FAMILIES, HORIZONS, mode, seed=3, estimator="implicit")
    for _ in range(5):
        optimizer.update(*optimizer.select()[:2], 5.0)
    twin = EnsembleWeightOptimizer.from_dict(json.loads(json.dumps(optimizer.to_dict())))
    for _ in range(20):
        selected = optimizer.select()
        assert twin.select() == selected
        for each in (optimizer, twin):
            each.update(*selected[:2], 5.0, selected.propensity)
    assert twin.to_dict() == optimizer.to_dict()
    assert twin.mode == mode


DOCUMENTED: dict[str, Any] = {
    "n_arms": 2,
    "arm_names": ["ridge:1d", "mlp:1d"],
    "gamma": 0.05,
    "eta": 0.05,
    "eta_auto": False,
    "weights": [3, 1],
    "total_steps": 7,
    "arm_pulls": [4, 3],
    "cumulative_rewards": [12.5, 0],
}


def test_the_nine_documented_keys_are_read_and_a_mode_may_stand_beside_them() -> None:
    by_family = EnsembleWeightOptimizer.from_dict(DOCUMENTED)
    assert (by_family.mode, by_family.total_steps) == ("family", 7)
    assert by_family.get_blending_weights() == pytest.approx({"ridge:1d": 0.75, "mlp:1d": 0.25})
    by_pair = EnsembleWeightOptimizer.from_dict({**DOCUMENTED, "mode": "family_horizon"})
    assert by_pair.get_blending_weights("1d") == pytest.approx({"ridge": 0.75, "mlp": 0.25})


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "both"},
        {"mode": None},
        {"mode": "family_horizon", "arm_names": ["ridge", "mlp"]},
        {"mode": "family_horizon", "arm_names": ["ridge:1d", "a:b:c"]},
        {"weights": [1]},
        {"n_arms": 3},
    ],
)
def test_a_state_that_no_optimizer_could_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        EnsembleWeightOptimizer.from_dict({**DOCUMENTED, **wrong})


@pytest.mark.parametrize(
    ("families", "horizons", "mode"),
    [
        (FAMILIES, HORIZONS, "both"),
        (["ridge"], HORIZONS, "family"),
        (FAMILIES, [], "horizon"),
        (FAMILIES, [], "family_horizon"),
        (["ridge", "a:b"], HORIZONS, "family_horizon"),
        (["ridge", ""], HORIZONS, "family_horizon"),
        (["ridge", "ridge"], HORIZONS, "family_horizon"),
        ("ridge", HORIZONS, "family"),
        (FAMILIES, "1d", "horizon"),
    ],
)
def test_an_optimizer_that_could_not_work_is_not_made(families: Any, horizons: Any, mode: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        EnsembleWeightOptimizer(families, horizons, mode)


REFUSED: dict[str, Callable[[EnsembleWeightOptimizer], object]] = {
    "an unknown family": lambda o: o.update("gru", "1d", 1.0),
    "an unknown horizon": lambda o: o.update("ridge", "2d", 1.0),
    "no horizon": lambda o: o.update("ridge", None, 1.0),
    "a reward that is not a number": lambda o: o.update("ridge", "1d", math.nan),
    "a propensity of 0": lambda o: o.update("ridge", "1d", 1.0, 0.0),
    "a blend of an unknown arm": lambda o: o.update_many({"ridge:1d": 0.5, "ridge": 0.5}, 1.0),
    "the weights of an unknown horizon": lambda o: o.get_blending_weights("2d"),
    "the weights of no horizon": lambda o: o.get_blending_weights(),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_what_an_optimizer_refuses_changes_nothing(refused: str) -> None:
    optimizer = EnsembleWeightOptimizer(FAMILIES, HORIZONS, mode="family_horizon", seed=1)
    optimizer.update("ridge", "1d", 10.0)
    before = optimizer.to_dict()
    with pytest.raises(ValueError, match=r"."):
        REFUSED[refused](optimizer)
    assert optimizer.to_dict() == before


@pytest.mark.parametrize("mode", ["family", "horizon"])
def test_an_update_without_the_name_of_its_arm_says_which_is_missing(mode: str) -> None:
    optimizer = EnsembleWeightOptimizer(FAMILIES, HORIZONS, mode)
    with pytest.raises(ValueError, match=f"needs a {mode}"):
        optimizer.update(None, None, 1.0)
