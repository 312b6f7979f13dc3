"""EXP4 as a processor runs it: by hand, against Exp4Bandit with the same experts, and over random histories."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armstream.learning import AdvisedBandit, Exp3IXBandit, Exp4Bandit, ExpertKind, ExpertLearned
from armstream.learning.exp4.experts import FollowTheBest
from armstream.standalone.experts import NestedExp3

ARMS = ("a", "b", "c")
EXPERTS: Mapping[str, ExpertKind] = {
    "base": {"a": 3.0, "b": 1.0},
    "uniform": "uniform",
    "bandit": "exp3ix",
    "best": "follow_best",
    "regime": "engine",
}


def bandit_of(**parameters: Any) -> AdvisedBandit:
    return AdvisedBandit(ARMS, EXPERTS, **{"reward_bound_bps": 100.0, **parameters})


def kept(bandit: AdvisedBandit) -> Any:
    """All that a snapshot takes."""
    return bandit.learned()


def twin_of(bandit: AdvisedBandit, made: AdvisedBandit) -> AdvisedBandit:
    made.restore(bandit.learned())
    return made


def advice(*numbers: float) -> dict[str, float]:
    return dict(zip(EXPERTS, numbers, strict=True))


def test_one_update_by_hand() -> None:
    """-40 of 100 bps is a loss of .7; over p = .5 and implicit .1 the estimate is 7 / 6, times what each gave."""
    bandit = bandit_of(eta=0.2)
    update = bandit.update_advice(1, advice(0.25, 1 / 3, 0.5, 0.0, 1.0), -40.0, 0.5)
    assert (update.arms, update.propensities, update.eta, update.propensity_source) == ((1,), (0.5,), 0.2, "LOGGED")
    assert update.estimates == pytest.approx((7 / 6,), rel=1e-14)
    assert [each.state for each in bandit.learned().experts] == pytest.approx(
        [0.25 * 7 / 6, 7 / 18, 7 / 12, 0.0, 7 / 6], rel=1e-14
    )
    relative = [math.exp(-0.2 * 7 / 6 * given) for given in (0.25, 1 / 3, 0.5, 0.0, 1.0)]
    assert [each.weight for each in bandit.read_experts()] == pytest.approx(
        [each / sum(relative) for each in relative], rel=1e-14
    )
    assert (bandit.total_steps, bandit.arm_pulls, bandit.cumulative_rewards) == (1, [0, 1, 0], [0.0, -40.0, 0.0])


def test_under_importance_the_reward_is_1_minus_the_loss() -> None:
    """+60 of 100 bps is 1 - .2: log weights of what was given, .1 * .8 / .5 * advice, the largest subtracted."""
    bandit = bandit_of(eta=0.1, gamma=0.3, estimator="importance")
    assert bandit.update_advice(0, advice(0.75, 1 / 3, 0.5, 0.0, 1.0), 60.0, 0.5).estimates == pytest.approx((1.6,))
    assert [each.state for each in bandit.learned().experts] == pytest.approx(
        [0.16 * (given - 1.0) for given in (0.75, 1 / 3, 0.5, 0.0, 1.0)], rel=1e-12
    )


def test_parts_of_a_decision_sum_to_the_whole_and_what_is_not_realised_is_a_zero_reward() -> None:
    """A quarter of it alone at -40: .25 * .2 + .5 = .55, over .6."""
    whole, parted, quarter = bandit_of(eta=0.2), bandit_of(eta=0.2), bandit_of(eta=0.2)
    said = advice(0.25, 1 / 3, 0.5, 0.0, 1.0)
    whole.update_advice(1, said, -40.0, 0.5)
    for number, part in enumerate((0.25, 0.5, 0.25)):
        parted.update_advice(1, said, -40.0, 0.5, part, number == 0)
    states = [[each.state for each in bandit.learned().experts] for bandit in (whole, parted)]
    assert states[0] == pytest.approx(states[1], rel=1e-12)
    assert (parted.total_steps, parted.arm_pulls) == (1, [0, 1, 0])
    assert quarter.update_advice(1, said, -40.0, 0.5, 0.25).estimates == pytest.approx((0.55 / 0.6,))


def test_the_default_rate_is_that_of_the_expected_decisions() -> None:
    assert bandit_of(expected_decisions=500).eta == pytest.approx(math.sqrt(math.log(5) / (3 * 500)))


def test_what_it_says_alone_is_what_its_own_experts_say_together() -> None:
    """At the start: base (.75, .25, 0), uniform, bandit and best 1/3 each; the engine's fifth part is left out."""
    bandit = bandit_of(gamma=0.1)
    weights = [(0.75 + 1.0) / 4, (0.25 + 1.0) / 4, 1.0 / 4]
    assert bandit.read().weights == pytest.approx(weights)
    assert bandit.read().probabilities == pytest.approx([0.9 * weight + 0.1 / 3 for weight in weights])
    assert [len(each.distribution) for each in bandit.read_experts()] == [3, 3, 3, 3, 0]
    assert AdvisedBandit(ARMS, {"regime": "engine"}).read().weights == pytest.approx([1 / 3] * 3)


steps = st.tuples(st.integers(0, 2), st.floats(-300.0, 300.0), st.floats(0.05, 1.0), st.floats(0.1, 1.0), st.booleans())


@settings(max_examples=60)
@given(st.lists(steps, max_size=25))
def test_it_learns_as_exp4bandit_does_whose_owner_teaches_its_experts(history: list[Any]) -> None:
    nested = NestedExp3(Exp3IXBandit(3, gamma=0.0, eta_max=None, estimator="implicit", reward_bound_bps=100.0))
    best = FollowTheBest(3)
    base = [0.75, 0.25, 0.0]
    experts: dict[str, Any] = {"base": base, "uniform": [1 / 3] * 3, "bandit": nested, "best": best}
    experts["regime"] = [0.0, 0.0, 1.0]
    library, streamed = Exp4Bandit(3, experts, eta=0.05, estimator="implicit"), bandit_of(eta=0.05)
    for arm, reward, propensity, weight, new_decision in history:
        said = {each.name: each.distribution[arm] for each in streamed.read_experts() if each.distribution}
        expected = {"base": base[arm], "uniform": 1 / 3, "bandit": nested()[arm], "best": best()[arm]}
        assert said == pytest.approx(expected)
        library.update(arm, None, reward, weight, propensity, new_decision)
        nested.learn(arm, reward, propensity, weight, new_decision)
        best.learn(arm, reward, weight)
        said["regime"] = float(arm == 2)
        streamed.update_advice(arm, said, reward, propensity, weight, new_decision)
    assert [each.weight for each in streamed.read_experts()] == pytest.approx(list(library.expert_weights), rel=1e-9)
    assert streamed.total_steps == library.total_steps


def taught(bandit: AdvisedBandit, history: list[Any]) -> AdvisedBandit:
    for arm, reward, propensity, weight, new_decision in history:
        said = {name: (number * 7 + arm) % 5 / 5 for number, name in enumerate(bandit.experts)}
        bandit.update_advice(arm % bandit.n_arms, said, reward, propensity, weight, new_decision)
    return bandit


@settings(max_examples=60)
@given(st.lists(steps, max_size=15), st.lists(steps, max_size=10), st.sampled_from(["implicit", "importance"]))
def test_it_goes_on_bit_for_bit_from_what_is_kept_and_a_copy_is_its_own(
    before: list[Any], after: list[Any], estimator: str
) -> None:
    parameters = {"gamma": 0.1, "estimator": estimator}
    bandit = taught(bandit_of(**parameters), before)
    twin, copied = twin_of(bandit, bandit_of(**parameters)), bandit.copy()
    state = kept(copied)
    taught(bandit, after)
    assert kept(copied) == state
    assert kept(taught(twin, after)) == kept(bandit) == kept(taught(copied, after))
    assert twin.read() == bandit.read()


@settings(max_examples=60)
@given(st.lists(steps, max_size=25), st.sampled_from(["implicit", "importance"]))
def test_weights_are_finite_and_sum_to_1_whatever_came(history: list[Any], estimator: str) -> None:
    bandit = taught(bandit_of(gamma=0.1, estimator=estimator, eta=5.0), history)
    bandit.update_advice(0, advice(1.0, 1.0, 1.0, 1.0, 0.0), -1e12, 1e-200, 1e6, new_decision=False)
    weights = [each.weight for each in bandit.read_experts()]
    assert all(0.0 < weight <= 1.0 for weight in weights)
    assert math.fsum(weights) == pytest.approx(1.0)
    assert math.fsum(bandit.read().probabilities) == pytest.approx(1.0)


def test_an_arm_that_comes_is_known_to_own_experts_and_trust_stays() -> None:
    bandit = taught(bandit_of(), [(0, -40.0, 0.3, 1.0, True), (1, 90.0, 0.5, 1.0, True)])
    trust = [each.weight for each in bandit.read_experts()]
    assert bandit.add_arm("d") == 3
    said = {each.name: each.distribution for each in bandit.read_experts()}
    assert [each.weight for each in bandit.read_experts()] == trust
    assert said["base"] == pytest.approx([0.75, 0.25, 0.0, 0.0])
    assert said["uniform"] == [0.25] * 4
    assert said["bandit"][3] == pytest.approx(0.25)
    assert said["best"] == [0.0, 1.0, 0.0, 0.0]
    assert (bandit.arm_pulls, bandit.cumulative_rewards) == ([1, 1, 0, 0], [-40.0, 90.0, 0.0, 0.0])
    bandit.remove_arm("a")
    said = {each.name: each.distribution for each in bandit.read_experts()}
    assert said["base"] == pytest.approx([1.0, 0.0, 0.0])
    assert said["best"] == [1.0, 0.0, 0.0]
    assert bandit.arm_names == ["b", "c", "d"]
    assert [each.weight for each in bandit.read_experts()] == trust
    assert kept(twin_of(bandit, bandit_of())) == kept(bandit)


def test_experts_come_and_go_and_one_that_was_described_comes_back_as_what_it_was() -> None:
    bandit = taught(bandit_of(eta=0.2), [(1, -40.0, 0.5, 1.0, True)])
    before = {each.name: each.weight for each in bandit.read_experts()}
    bandit.remove_expert("best")
    after = {each.name: each.weight for each in bandit.read_experts()}
    assert {name: after[name] / after["base"] for name in after} == pytest.approx(
        {name: before[name] / before["base"] for name in after}
    )
    bandit.add_expert("best", 2.0)
    bandit.add_expert("scorer")
    last = {each.name: each for each in bandit.read_experts()}
    assert last["best"].distribution == pytest.approx([1 / 3] * 3)
    assert last["scorer"].distribution == []
    assert last["best"].weight / last["base"].weight == pytest.approx(2.0 / 4 / after["base"])
    assert kept(twin_of(bandit, bandit_of(eta=0.2))) == kept(bandit)


def test_a_reset_forgets_everything_and_keeps_arms_and_experts() -> None:
    bandit = taught(bandit_of(), [(1, -40.0, 0.5, 1.0, True)])
    bandit.add_arm("d")
    bandit.add_expert("scorer")
    bandit.set_bound(7.0)
    bandit.reset()
    fresh = bandit_of()
    fresh.add_arm("d")
    fresh.add_expert("scorer")
    fresh.reset()
    assert bandit.reward_bound_bps == 100.0
    assert bandit.read_experts() == fresh.read_experts()
    assert kept(bandit) == kept(fresh)
    assert {each.state for each in bandit.learned().experts} == {0.0}


def test_while_the_bound_warms_up_nothing_else_is_learned() -> None:
    """99 rewards of 10 and one of 30: the 95th percentile is 10."""
    bandit = bandit_of(reward_bound_bps="auto")
    for number in range(100):
        assert bandit.is_warming
        said = advice(0.25, 1 / 3, 0.5, 0.0, 1.0)
        update = bandit.update_advice(1, said, 30.0 if number == 3 else -10.0, 0.5)
        assert not update.applied
    assert bandit.reward_bound_bps == 10.0
    assert (bandit.total_steps, bandit.cumulative_rewards) == (0, [0.0] * 3)
    assert {each.state for each in bandit.learned().experts} == {0.0}
    assert bandit.is_clipped(-10.5)
    assert not bandit.is_clipped(10.0)


def test_a_nested_learner_knows_which_arms_could_not_be_drawn() -> None:
    """Its losses, each beside that of one who was told of the arm asleep."""
    bandit, nested = bandit_of(), Exp3IXBandit(3, ARMS, gamma=0.0, eta_max=None, estimator="implicit")
    bandit.update_advice(1, advice(0.25, 1 / 3, 0.5, 0.0, 1.0), -40.0, 0.5, asleep=(2,))
    nested.update(1, -40.0, 0.5, asleep=(2,))
    (kept_of_it,) = [each.learned for each in bandit.learned().experts if each.name == "bandit"]
    assert kept_of_it == pytest.approx((1.0, *nested.state))
    assert nested.state[2] > 0.0


def test_base_weights_come_back_after_one_of_their_arms_has_gone() -> None:
    bandit = AdvisedBandit(ARMS, {"base": {"a": 3.0, "b": 1.0}, "uniform": "uniform"})
    bandit.remove_expert("base")
    bandit.remove_arm("b")
    bandit.add_expert("base")
    assert bandit.read_experts()[1].distribution == [1.0, 0.0]
    bandit.remove_expert("base")
    bandit.add_arm("d")
    bandit.remove_arm("a")
    with pytest.raises(ValueError, match="expert 'base' has no weight on the arms that there are"):
        bandit.add_expert("base")


REFUSED: dict[str, Any] = {
    "an arm asleep that was drawn": lambda b: b.update_advice(
        0, advice(0.1, 0.1, 0.1, 0.1, 0.1), 1.0, 0.5, asleep=(0,)
    ),
    "an arm": lambda b: b.update_advice(3, advice(0.1, 0.1, 0.1, 0.1, 0.1), 1.0, 0.5),
    "a reward": lambda b: b.update_advice(0, advice(0.1, 0.1, 0.1, 0.1, 0.1), math.nan, 0.5),
    "a weight": lambda b: b.update_advice(0, advice(0.1, 0.1, 0.1, 0.1, 0.1), 1.0, 0.5, -1.0),
    "a propensity": lambda b: b.update_advice(0, advice(0.1, 0.1, 0.1, 0.1, 0.1), 1.0, 0.0),
    "advice": lambda b: b.update_advice(0, advice(0.1, 0.1, 0.1, 0.1, 1.1), 1.0, 0.5),
    "advice missing": lambda b: b.update_advice(0, {"base": 0.1}, 1.0, 0.5),
    "an arm that is there": lambda b: b.add_arm("a"),
    "an unknown arm": lambda b: b.remove_arm("z"),
    "an expert that is there": lambda b: b.add_expert("base"),
    "an unknown expert": lambda b: b.remove_expert("nobody"),
    "an initial weight": lambda b: b.add_expert("new", math.nan),
    "an arm's initial weight": lambda b: b.add_arm("d", -1.0),
    "a bound": lambda b: b.set_bound(0.0),
    "a warm-up of nothing": lambda b: b.warm_up(math.inf),
    "another nested learner": lambda b: b.restore(
        b.learned()._replace(experts=[ExpertLearned("bandit", 0.0, (1.0, 2.0))])
    ),
    "pulls of other arms": lambda b: b.restore(b.learned()._replace(arm_pulls=[0])),
    "a number of an arm": lambda b: b.restore(b.learned()._replace(arm_states=[(0.0,), (1.0,), (0.0,)])),
    "a number of its own": lambda b: b.restore(b.learned()._replace(own_state=(1.0,))),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_changes_nothing(what: str) -> None:
    bandit = taught(bandit_of(), [(1, -40.0, 0.5, 1.0, True)])
    before = kept(bandit)
    with pytest.raises(ValueError, match=r"."):
        REFUSED[what](bandit)
    assert kept(bandit) == before


def test_base_weights_are_not_left_without_an_arm() -> None:
    bandit = AdvisedBandit(ARMS, {"base": {"a": 1.0}, "uniform": "uniform"})
    with pytest.raises(ValueError, match="expert 'base' has all its weight on 'a'"):
        bandit.remove_arm("a")
    assert bandit.arm_names == ["a", "b", "c"]


@pytest.mark.parametrize("experts", [{}, {"x": "unknown"}, {"x": {}}, {"x": {"nobody": 1.0}}, {"x": {"a": -1.0}}])
def test_experts_that_cannot_be_are_not_made(experts: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        AdvisedBandit(ARMS, experts)
