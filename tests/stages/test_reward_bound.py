"""An automatic reward bound in the stream: what is withheld, when it is found, and what it is from then on."""

from typing import Any

import pytest

from armstream.events import Command, Reward
from tests.stages.events import START, close, fill, learning_rules, short_rules
from tests.stages.task import Task

WARM_UP = 100
REASON = "the reward bound is not found yet"


def task_of(**rules: Any) -> Task:
    return Task(short_rules(), learning_rules(reward_bound_bps="auto", warm_start_steps=0, **rules))


def traded(task: Task, number: int, bps: float) -> Reward:
    """A fill at 100 and its close, which earns so much."""
    position = f"p{number}"
    events = fill("f", position, price=100.0, quantity=1.0), close("c", position, price=100.0 + bps / 100, quantity=1.0)
    (reward,) = task.apply(*events).rewards
    return reward


def warmed_up(task: Task) -> None:
    """Sizes 1 to 100 bps in a mixed order: the 95th percentile is 95 + .05 (96 - 95) = 95.05."""
    for number in range(WARM_UP):
        size = (37 * number) % 100 + 1
        reward = traded(task, number, size if number % 2 else -size)
        assert (reward.applied, reward.counted, reward.detail) == (False, False, REASON)


@pytest.mark.parametrize("steps", [Task.going_on, Task.restart])
def test_the_bound_is_the_95th_percentile_of_the_first_hundred_also_over_a_restart(steps: Any) -> None:
    task = task_of()
    for number in range(40):
        traded(task, number, float((37 * number) % 100 + 1))
    steps(task)
    assert len(task.bandit().warm_up_rewards_bps) == 40
    for number in range(40, WARM_UP):
        traded(task, number, -float((37 * number) % 100 + 1))
    snapshot = task.bandit()
    assert snapshot.reward_bound_bps == pytest.approx(95.05, rel=1e-9)
    assert snapshot.warm_up_rewards_bps == ()


def test_until_then_vectors_are_uniform_and_warming_and_then_it_learns() -> None:
    task = task_of()
    warmed_up(task)
    vector = task.published.weights["book"]
    assert (vector.version, vector.total_steps) == (100, 0)
    reward = traded(task, 100, 200.0)
    assert (reward.applied, reward.counted, reward.total_steps) == (True, True, 1)
    assert task.published.clipped_count == 1
    vector = task.published.weights["book"]
    assert (vector.phase, vector.blend_alpha) == ("LIVE", 0.3)
    assert vector.reward_bound_bps == pytest.approx(95.05, rel=1e-9)


def test_a_vector_before_the_bound_is_warming_and_says_none() -> None:
    task = task_of()
    traded(task, 0, 10.0)
    vector = task.published.weights["book"]
    assert (vector.phase, vector.blend_alpha, vector.reward_bound_bps) == ("WARMING", 0.0, 0.0)
    assert [arm.weight for arm in vector.arms] == pytest.approx([1 / 3] * 3)


def test_no_later_reward_moves_the_bound() -> None:
    task = task_of()
    warmed_up(task)
    bound = task.bandit().reward_bound_bps
    traded(task, 100, 5_000.0)
    assert task.bandit().reward_bound_bps == bound


def test_what_a_paused_bandit_earns_does_not_go_into_the_bound() -> None:
    task = task_of()
    task.apply(fill("f", "first"), Command("k1", "book", "PAUSE", START))
    assert traded(task, 1, 10.0).detail == "the bandit is paused"
    assert task.bandit().warm_up_rewards_bps == ()


def test_an_operator_sets_the_bound_and_the_warm_up_is_over() -> None:
    task = task_of()
    traded(task, 0, 10.0)
    (audited,) = task.apply(Command("k1", "book", "SET_BOUND", START, value=50.0)).commands_applied
    assert audited.outcome == "APPLIED"
    assert traded(task, 1, 10.0).applied
    assert task.bandit().reward_bound_bps == 50.0


def test_a_rule_without_a_bound_refuses_one() -> None:
    task = Task(short_rules(), learning_rules(estimator="importance"))
    task.apply(fill())
    (audited,) = task.apply(Command("k1", "book", "SET_BOUND", START, value=50.0)).commands_applied
    assert (audited.outcome, audited.detail) == ("REFUSED", "the importance estimator has no reward bound")


def test_a_reset_looks_for_the_bound_anew() -> None:
    task = task_of()
    warmed_up(task)
    task.apply(Command("k1", "book", "RESET", START))
    assert task.bandit().reward_bound_bps is None
    assert traded(task, 100, 10.0).detail == REASON


def test_segments_of_the_event_that_ends_the_warm_up_are_withheld_with_it() -> None:
    """Whatever the batch: what an event realises is of one kind."""
    task = task_of()
    for number in range(WARM_UP - 1):
        traded(task, number, 10.0)
    parts = [fill(f"f{at}", "p", quantity=1.0, order_quantity=2.0, price=100.0) for at in range(2)]
    first, second = task.apply(*parts, close("c", "p", quantity=2.0, price=100.1)).rewards
    assert (first.applied, second.applied) == (False, False)
    assert task.bandit().reward_bound_bps == pytest.approx(10.0)
    assert not task.position("p").counted
