"""The command stage: each command once, its audit record, and what is kept of what was learned."""

import json
from typing import Any

import pytest

from armstream.events import Command, CommandApplied
from armstream.stages.facts import COMMANDS_REMEMBERED, SETTINGS_CHANGE
from armstream.stages.state import SettingsMismatch
from tests.stages.events import ARMS, START, close, fill, learning_rules, short_rules
from tests.stages.task import Task


def task_of(**rules: Any) -> Task:
    """A bandit that learned +33.33 bps for ridge, at p = 1."""
    task = Task(short_rules(), learning_rules(**rules), max_arms=4)
    task.apply(fill("f0", "p0", propensity=1.0), close("c0", "p0"))
    return task


def command(action: Any, command_id: str = "k1", **fields: Any) -> Command:
    return Command(command_id=command_id, bandit_id="book", action=action, ts_event=START + 7, **fields)


def weights(task: Task) -> dict[str, float]:
    return {arm.name: arm.weight for arm in task.published.weights["book"].arms}


def only(task: Task, *events: Any) -> CommandApplied:
    (audited,) = task.apply(*events).commands_applied
    return audited


def test_a_command_is_an_audit_record_and_the_cause_of_a_new_vector() -> None:
    task = task_of()
    audited = only(task, command("PAUSE", reason="a bad feed"))
    assert (audited.version, audited.command_id, audited.action, audited.outcome) == (2, "k1", "PAUSE", "APPLIED")
    assert (audited.detail, audited.ts_event, audited.cut) == ("a bad feed", START + 7, {})
    vector = task.published.weights["book"]
    assert (vector.version, vector.cause_event_id, vector.ts_event) == (2, "k1", START + 7)
    assert task.bandit().command_ids == ("k1",)


@pytest.mark.parametrize("estimator", ["implicit", "importance"])
def test_an_added_arm_has_its_weight_in_units_of_the_mean_and_the_others_keep_theirs(estimator: str) -> None:
    task = task_of(estimator=estimator)
    before = weights(task)
    only(task, command("ADD_ARM", arm="lstm", value=2.0))
    after = weights(task)
    assert list(after) == [*ARMS, "lstm"]
    assert after["lstm"] == pytest.approx(2.0 / 5.0, rel=1e-9)  # two means beside three arms that have one on average
    for name in ARMS:
        assert after[name] / after["mlp"] == pytest.approx(before[name] / before["mlp"], rel=1e-9)


def test_an_added_arm_takes_fills_and_learns() -> None:
    task = task_of()
    assert [letter.error_class for letter in task.apply(fill("f1", "p1", arm="lstm")).dead_letters] == ["UNKNOWN_ARM"]
    task.apply(command("ADD_ARM", arm="lstm"))
    (reward,) = task.apply(fill("f1", "p1", arm="lstm", propensity=0.25), close("c1", "p1")).rewards
    assert (reward.applied, reward.version, reward.arms[0].name, reward.arms[0].propensity) == (True, 3, "lstm", 0.25)
    assert [(arm.name, arm.pulls) for arm in task.bandit().arms] == [
        ("ridge", 1),
        ("mlp", 0),
        ("boost", 0),
        ("lstm", 1),
    ]


def test_a_position_open_on_a_removed_arm_is_audited_and_touches_no_other_arm() -> None:
    task = task_of()
    task.apply(fill("f1", "p1", arm="mlp"), fill("f2", "p2", contributions={"ridge": 0.75, "mlp": 0.25}))
    task.apply(command("REMOVE_ARM", arm="mlp"))
    before = task.bandit().arms
    first, second = task.apply(close("c1", "p1"), close("c2", "p2")).rewards
    assert (first.applied, first.counted, first.detail) == (False, False, "arm 'mlp' was removed")
    assert [(arm.name, arm.share, arm.estimate) for arm in first.arms] == [("mlp", 1.0, None)]
    assert [(arm.name, arm.share) for arm in second.arms] == [("ridge", 0.75), ("mlp", 0.25)]
    assert second.detail == "arm 'mlp' was removed"
    assert task.bandit().arms == before
    assert weights(task).keys() == {"ridge", "boost"}


def test_a_contribution_of_nothing_by_a_removed_arm_does_not_stand_in_the_way() -> None:
    task = task_of()
    task.apply(fill("f1", "p1", contributions={"ridge": 1.0, "mlp": 0.0}), command("REMOVE_ARM", arm="mlp"))
    (reward,) = task.apply(close("c1", "p1")).rewards
    assert (reward.applied, [arm.name for arm in reward.arms]) == (True, ["ridge"])


def test_reset_forgets_what_was_learned_and_keeps_arms_and_versions() -> None:
    task = task_of()
    task.apply(command("ADD_ARM", "k1", arm="lstm"), command("RESET", "k2"))
    snapshot = task.bandit()
    assert (snapshot.version, snapshot.total_steps) == (3, 0)
    names = (*ARMS, "lstm")
    assert [(arm.name, arm.state, arm.pulls) for arm in snapshot.arms] == [(name, (0.0,), 0) for name in names]
    assert list(weights(task).values()) == [0.25] * 4


def test_pause_and_resume_bracket_what_is_not_learned() -> None:
    task = task_of()
    task.apply(command("PAUSE", "k1"), fill("f1", "p1"), close("c1", "p1"))
    task.apply(command("RESUME", "k2"), fill("f2", "p2"), close("c2", "p2"))
    rewards = [reward for _, reward in task.published.rewards]
    assert [(reward.version, reward.applied) for reward in rewards] == [(1, True), (3, False), (5, True)]


@pytest.mark.parametrize("steps", [Task.going_on, Task.restart])
def test_the_same_command_twice_changes_things_once_also_after_a_restart(steps: Any) -> None:
    task = task_of()
    task.apply(command("ADD_ARM", arm="lstm"))
    steps(task)
    applied = task.apply(command("ADD_ARM", arm="lstm"), command("RESET"))  # an id is an id, whatever it asks for
    assert (list(applied.outcomes), applied.audit, applied.weight_vectors) == ([1, 1], [], [])
    assert task.bandit().version == 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"action": "ADD_ARM", "arm": "ridge"}, "ridge"),
        ({"action": "REMOVE_ARM", "arm": "lstm"}, "unknown arm 'lstm'"),
        ({"action": "RESUME"}, "the bandit is not paused"),
        ({"action": "ADD_EXPERT", "expert": "base"}, "ADD_EXPERT is not for a bandit whose algorithm is exp3ix"),
    ],
)
def test_a_refused_command_says_why_and_changes_nothing_else(fields: dict[str, Any], reason: str) -> None:
    task = task_of()
    before = task.bandit()
    audited = only(task, command(**fields))
    assert (audited.outcome, audited.version) == ("REFUSED", 2)
    assert reason in audited.detail
    assert (task.bandit().arms, task.bandit().total_steps) == (before.arms, before.total_steps)


def test_there_is_room_for_so_many_arms_and_two_stay() -> None:
    task = task_of()
    first, second = task.apply(command("ADD_ARM", "k1", arm="a"), command("ADD_ARM", "k2", arm="b")).commands_applied
    assert (first.outcome, second.outcome) == ("APPLIED", "REFUSED")
    assert "limits.arms is 4" in second.detail
    for number, arm in enumerate(("a", "ridge")):
        assert only(task, command("REMOVE_ARM", f"r{number}", arm=arm)).outcome == "APPLIED"
    assert only(task, command("REMOVE_ARM", "r9", arm="mlp")).outcome == "REFUSED"


def test_arms_of_pairs_stay_pairs() -> None:
    task = Task(short_rules(), learning_rules(arms=("a:1d", "b:1d"), arm_mode="family_horizon"))
    task.apply(fill(arm="a:1d"), close())
    assert (
        only(task, command("ADD_ARM", "k1", arm="c")).detail
        == "arm 'c' must be family:horizon, as this bandit's arms are"
    )
    assert only(task, command("ADD_ARM", "k2", arm="c:1d")).outcome == "APPLIED"


def test_a_command_for_a_bandit_without_a_fill_is_a_dead_letter() -> None:
    task = Task(short_rules(), learning_rules())
    task.apply(close())
    (letter,) = task.apply(command("PAUSE")).dead_letters
    assert (letter.error_class, letter.error) == (
        "UNKNOWN_BANDIT",
        "there is no bandit 'book': its first fill makes it",
    )


def test_ids_that_begin_with_armstream_are_the_processors_own() -> None:
    (letter,) = task_of().apply(command("PAUSE", SETTINGS_CHANGE)).dead_letters
    assert letter.error_class == "VALIDATION"


def test_a_bounded_number_of_command_ids_is_remembered() -> None:
    task = task_of()
    task.apply(*(command("RESUME", f"k{number}") for number in range(COMMANDS_REMEMBERED + 1)))
    assert task.bandit().command_ids == tuple(f"k{number}" for number in range(1, COMMANDS_REMEMBERED + 1))


def test_a_rolled_back_command_leaves_nothing() -> None:
    task = task_of()
    before = task.bandit()
    task.abort(command("ADD_ARM", arm="lstm"), command("PAUSE", "k2"))
    task.apply(fill("f1", "p1"))
    assert (task.bandit().arms, task.bandit().paused, task.bandit().command_ids) == (before.arms, False, ())


# Settings that changed.


def restarted_under(task: Task, policy: str, **rules: Any) -> Task:
    """The same topics, other settings."""
    other = Task(task.reward_rules, learning_rules(**rules), on_settings_change=policy)
    other.published, other.inputs_read = task.published, task.inputs_read
    other.restart()
    return other


def test_a_learner_made_under_other_settings_is_refused_by_default() -> None:
    with pytest.raises(SettingsMismatch, match=r"gamma was 0\.0 and is 0\.1; set them back, or say"):
        restarted_under(task_of(), "refuse", gamma=0.1)


def test_a_kept_learner_goes_on_under_its_own_rules_and_todays_blend() -> None:
    undisturbed = task_of(gamma=0.2, warm_start_steps=0)
    kept = restarted_under(task_of(gamma=0.2), "keep", gamma=0.1, arms=("x", "y"), blend_alpha=0.7, warm_start_steps=0)
    for task in (undisturbed, kept):
        task.apply(fill("f1", "p1"), close("c1", "p1"))
    assert kept.bandit() == undisturbed.bandit()
    assert (kept.published.weights["book"].gamma, kept.published.weights["book"].blend_alpha) == (0.2, 0.7)


def test_a_reset_learner_begins_anew_with_the_next_event_and_says_so_once() -> None:
    task = restarted_under(task_of(), "reset", gamma=0.1, arms=("x", "y"))
    applied = task.apply(fill("f1", "p1", arm="x"), close("c1", "p1"))
    reset, reward = applied.audit
    assert isinstance(reset, CommandApplied)
    assert (reset.command_id, reset.action, reset.outcome, reset.version) == (SETTINGS_CHANGE, "RESET", "APPLIED", 2)
    assert json.loads(reset.detail) == {
        "settings_before": {"arms": [*ARMS]},
        "settings": {"arms": ["x", "y"], "gamma": 0.1},
    }
    assert (reward.version, applied.audit_indexes) == (3, [0, 1])
    assert weights(task).keys() == {"x", "y"}
    assert task.apply(fill("f2", "p2", arm="y"), close("c2", "p2")).commands_applied == []


def test_a_reset_that_was_rolled_back_is_done_with_the_next_batch() -> None:
    task = restarted_under(task_of(), "reset", gamma=0.1)
    task.abort(fill("f1", "p1"))
    assert [audited.action for audited in task.apply(fill("f1", "p1")).commands_applied] == ["RESET"]


def test_a_reset_waits_through_a_batch_without_events() -> None:
    """As one is that only reached the end of a partition, behind a transaction's mark."""
    task = restarted_under(task_of(), "reset", gamma=0.1)
    assert task.apply().commands_applied == []
    assert [audited.action for audited in task.apply(fill("f1", "p1")).commands_applied] == ["RESET"]


# Which bandits there are.


def test_a_registered_bandit_has_its_own_rules_and_no_other_may_be() -> None:
    own = learning_rules(arms=("x", "y"), gamma=0.5)
    task = Task(short_rules(), learning_rules(), overrides={"book": own}, registered_only=True)
    letters = task.apply(fill(arm="x"), fill(bandit_id="other")).dead_letters
    assert [(letter.error_class, letter.error) for letter in letters] == [
        ("UNKNOWN_BANDIT", "bandit 'other' is not registered (bandits.mode: registered)")
    ]
    task.apply(close())
    assert (task.published.weights["book"].gamma, list(weights(task))) == (0.5, ["x", "y"])


def test_an_override_is_for_its_bandit_alone() -> None:
    task = Task(short_rules(), learning_rules(), overrides={"book": learning_rules(gamma=0.5)})
    task.apply(fill(), close(), fill(bandit_id="other"), close(bandit_id="other"))
    assert [task.published.weights[bandit_id].gamma for bandit_id in ("book", "other")] == [0.5, 0.0]
