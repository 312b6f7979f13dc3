"""EXP4 in the stream: what an engine's experts gave comes with the fill, what the processor's own say is published."""

from typing import Any

import pytest

from armstream.events import Command, ExpertState, Fill
from tests.stages.events import START, close, fill, learning_rules, short_rules
from tests.stages.task import Task

EXPERTS = (("base", {"ridge": 1.0, "mlp": 1.0}), ("bandit", "exp3ix"), ("regime", "engine"))
SAID = {"base": 0.5, "bandit": 0.25, "regime": 1.0}


def task_of(**rules: Any) -> Task:
    learning = {"experts": EXPERTS, "eta": 0.2, "reward_bound_bps": 100.0, **rules}
    return Task(short_rules(), learning_rules(algorithm="exp4", **learning), max_experts=4)


def advised_fill(position_id: str = "p1", **fields: Any) -> Fill:
    """Ridge, drawn with probability one half."""
    return fill(position_id=position_id, price=100.0, **{"propensity": 0.5, "advice": SAID, **fields})


def command(action: Any, expert: str | None = None, **fields: Any) -> Command:
    return Command(f"{action}-{expert}", "book", action, START, expert=expert, **fields)


def states(task: Task) -> dict[str, float]:
    return {expert.name: expert.state for expert in task.bandit().experts}


def test_what_each_expert_gave_to_the_drawn_arm_teaches_by_hand() -> None:
    """+50 of 100 bps is a loss of .25; over p = .5 and implicit .1 the estimate is .25 / .6."""
    task = task_of()
    (reward,) = task.apply(advised_fill(), close(price=100.5)).rewards
    estimate = 0.25 / 0.6
    assert reward.arms[0].estimate == pytest.approx(estimate)
    assert (reward.applied, reward.propensity_source, reward.arms[0].propensity, reward.eta) == (
        True,
        "LOGGED",
        0.5,
        0.2,
    )
    assert states(task) == pytest.approx({"base": estimate / 2, "bandit": estimate / 4, "regime": estimate})


def test_a_nested_learner_is_taught_and_kept() -> None:
    """Its automatic rate at K = 3, T = 0 is sqrt(ln 3 / 3): L_ridge = .25 / (.5 + half of it), and T is 1."""
    task = task_of()
    task.apply(advised_fill(), close(price=100.5))
    nested = task.bandit().experts[1]
    assert nested.learned == pytest.approx((1.0, 0.25 / (0.5 + (1.0986122886681098 / 3) ** 0.5 / 2), 0.0, 0.0))
    assert [expert.learned for expert in task.bandit().experts if expert.name != "bandit"] == [(), ()]


def test_vectors_carry_trust_and_the_distributions_of_own_experts() -> None:
    task = task_of(gamma=0.1)
    task.apply(advised_fill(), close(price=99.5))
    vector = task.published.weights["book"]
    assert (vector.algorithm, vector.estimator, vector.gamma, vector.eta) == ("exp4", "implicit", 0.1, 0.2)
    base, bandit, regime = vector.experts
    assert [expert.name for expert in vector.experts] == ["base", "bandit", "regime"]
    assert base.distribution == (0.5, 0.5, 0.0)
    assert sum(bandit.distribution) == pytest.approx(1.0)
    assert bandit.distribution[0] < 1 / 3 < bandit.distribution[1]
    assert regime.distribution == ()
    assert base.weight + bandit.weight + regime.weight == pytest.approx(1.0)
    assert bandit.weight > base.weight > regime.weight  # the loss was charged to who had asked for ridge
    together = [
        (base.weight * a + bandit.weight * b) / (base.weight + bandit.weight)
        for a, b in zip(base.distribution, bandit.distribution, strict=True)
    ]
    assert [arm.weight for arm in vector.arms] == pytest.approx(together)
    assert [arm.probability for arm in vector.arms] == pytest.approx([0.9 * each + 0.1 / 3 for each in together])


@pytest.mark.parametrize(
    ("fields", "error_class", "words"),
    [
        ({"advice": {}}, "UNKNOWN_EXPERT", "the advice of 'base' is missing"),
        ({"advice": {"base": 0.5, "bandit": 0.2}}, "UNKNOWN_EXPERT", "the advice of 'regime' is missing"),
        ({"advice": {**SAID, "oracle": 1.0}}, "UNKNOWN_EXPERT", "unknown expert 'oracle'; the experts are 'base', "),
        ({"advice": {**SAID, "base": 1.5}}, "VALIDATION", "the advice of 'base' must be from 0 to 1, got 1.5"),
        ({"advice": {**SAID, "base": float("nan")}}, "VALIDATION", "must be from 0 to 1, got nan"),
        ({"propensity": None}, "VALIDATION", "exp4 guesses none"),
        ({"arm": None, "contributions": {"ridge": 1.0}}, "VALIDATION", "exp4 learns from drawn arms"),
        ({"weights_version": 1, "advice": {}}, "UNKNOWN_EXPERT", "is missing"),
    ],
)
def test_a_draw_that_does_not_say_what_each_expert_gave_is_a_dead_letter(
    fields: dict[str, Any], error_class: str, words: str
) -> None:
    task = task_of()
    (letter,) = task.apply(advised_fill(**fields)).dead_letters
    assert letter.error_class == error_class
    assert words in letter.error


def test_who_drew_before_there_was_a_vector_knew_no_experts_and_its_trade_moves_no_trust() -> None:
    """All are taken to have said what was played: losses move alike, and the nested learner learns."""
    task = task_of()
    (reward,) = task.apply(advised_fill(weights_version=0, advice={}, propensity=1 / 3), close(price=99.5)).rewards
    assert (reward.applied, task.bandit().total_steps) == (True, 1)
    assert len(set(states(task).values())) == 1
    assert task.bandit().experts[1].learned[1] > 0.0


def test_a_decision_from_before_experts_changed_counts_for_those_that_were_there() -> None:
    """An expert that was not there is taken to have said what was played; one that is gone is nobody."""
    task = task_of()
    task.apply(advised_fill("p0"), close("c0", "p0", price=100.0))  # version 1
    task.apply(command("ADD_EXPERT", "new"))
    assert task.bandit().choices_version == 2
    task.apply(command("REMOVE_EXPERT", "base"))
    assert task.bandit().choices_version == 3
    before = states(task)
    applied = task.apply(advised_fill("p2", weights_version=1), close("c2", "p2", price=100.5))
    estimate = 0.25 / 0.6
    moved = {name: state - before[name] for name, state in states(task).items()}
    assert moved == pytest.approx({"bandit": estimate / 4, "regime": estimate, "new": estimate * 0.5})
    assert applied.rewards[0].applied
    (letter,) = task.apply(advised_fill("p3", weights_version=3)).dead_letters
    assert letter.error == "unknown expert 'base'; the experts are 'bandit', 'regime', 'new'"


def test_a_position_that_was_open_when_experts_changed_counts_likewise() -> None:
    task = task_of()
    task.apply(advised_fill())
    task.apply(command("ADD_EXPERT", "new", value=2.0))
    assert task.bandit().choices_version == 1  # no reward came before it
    before = states(task)
    task.apply(close(price=100.5))
    assert states(task)["new"] - before["new"] == pytest.approx(0.5 * 0.25 / 0.6)


def test_experts_come_and_go_by_command_with_learning_kept_and_a_restart_goes_on() -> None:
    task = task_of()
    task.apply(advised_fill(), close(price=99.5))
    before = {expert.name: expert.weight for expert in task.published.weights["book"].experts}
    task.apply(command("ADD_EXPERT", "new", value=2.0), command("REMOVE_EXPERT", "base"))
    after = {expert.name: expert.weight for expert in task.published.weights["book"].experts}
    assert after["regime"] / after["bandit"] == pytest.approx(before["regime"] / before["bandit"])
    assert after["new"] / after["bandit"] == pytest.approx(2.0 / 3 / before["bandit"])
    assert task.bandit().choices_version == 3
    snapshot = task.bandit()
    task.restart()
    task.apply(advised_fill("p2", advice={"bandit": 0.1, "regime": 0.2, "new": 0.3}))
    assert task.bandit().experts == snapshot.experts
    assert task.bandit().choices_version == 3
    assert not task.published.dead_letters


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (command("ADD_EXPERT", "base"), "'base' is there already"),
        (command("REMOVE_EXPERT", "nobody"), "unknown expert 'nobody'"),
        (command("REMOVE_ARM", arm="nothing"), "unknown arm 'nothing'"),
    ],
)
def test_a_command_that_cannot_be_obeyed_is_refused_and_changes_nothing(asked: Command, words: str) -> None:
    task = task_of()
    task.apply(advised_fill(), close(price=99.5))
    before = task.bandit()
    (answer,) = task.apply(asked).commands_applied
    assert answer.outcome == "REFUSED"
    assert words in answer.detail
    assert (task.bandit().experts, task.bandit().choices_version) == (before.experts, before.choices_version)


def test_there_are_no_more_experts_than_the_limit() -> None:
    task = task_of()
    task.apply(advised_fill())
    answers = task.apply(command("ADD_EXPERT", "fourth"), command("ADD_EXPERT", "fifth")).commands_applied
    assert [answer.outcome for answer in answers] == ["APPLIED", "REFUSED"]
    assert answers[1].detail == "there are 4 experts already, and limits.experts is 4"


def test_another_rule_has_no_experts() -> None:
    task = Task(short_rules(), learning_rules())
    task.apply(fill())
    (answer,) = task.apply(command("ADD_EXPERT", "new")).commands_applied
    assert (answer.outcome, answer.detail) == (
        "REFUSED",
        "ADD_EXPERT is not for a bandit whose algorithm is exp3ix",
    )
    (letter,) = task.apply(command("ADD_EXPERT", "x" * 101)).dead_letters
    assert letter.error == "an expert's name must have at most 100 characters"


def test_a_reset_forgets_trust_and_what_own_experts_learned() -> None:
    task = task_of()
    task.apply(advised_fill(), close(price=99.5))
    task.apply(command("RESET"))
    assert task.bandit().experts == (
        ExpertState("base", 0.0),
        ExpertState("bandit", 0.0, (0.0, 0.0, 0.0, 0.0)),
        ExpertState("regime", 0.0),
    )


def test_while_the_bound_warms_up_rewards_go_into_it_alone() -> None:
    task = task_of(reward_bound_bps="auto")
    (reward,) = task.apply(advised_fill(), close(price=99.5)).rewards
    assert (reward.applied, reward.detail) == (False, "the reward bound is not found yet")
    assert task.bandit().warm_up_rewards_bps == pytest.approx((-50.0,))
    assert set(states(task).values()) == {0.0}
    assert task.published.weights["book"].phase == "WARMING"


def test_a_blend_of_another_rules_time_is_audited_and_teaches_nothing() -> None:
    task = Task(short_rules(), learning_rules())
    task.apply(fill(contributions={"ridge": 1.0}), fill(position_id="p2", arm="mlp"))
    other = Task(task.reward_rules, task_of().learning_rules, on_settings_change="reset")
    other.published, other.inputs_read = task.published, task.inputs_read
    other.restart()
    rewards = other.apply(close(price=100.5), close(position_id="p2", price=100.5)).rewards
    assert [(reward.applied, reward.detail) for reward in rewards] == [
        (False, "no arm was drawn"),
        (False, "no propensity was logged with the draw"),
    ]


def test_settings_that_change_the_experts_are_told() -> None:
    task = task_of()
    task.apply(advised_fill())
    other = Task(task.reward_rules, task_of(experts=EXPERTS[:2]).learning_rules)
    other.published = task.published
    with pytest.raises(ValueError, match=r"experts was \(\('base', "):
        other.restart()
    same = task_of()
    same.published = task.published
    same.restart()
