"""The bandit stage: what a learner is given, what the audit log says of it, and the vectors that engines follow."""

import math
from typing import Any

import pytest

from armstream.events import BanditSnapshot, Command, CommandApplied, Reward
from armstream.learning.blending import effective_alpha
from tests.stages.events import ARMS, START, close, fill, learning_rules, short_rules
from tests.stages.task import Task


def task_of(**rules: Any) -> Task:
    return Task(short_rules(), learning_rules(**rules))


def traded(task: Task, position_id: str = "p1", price: float = 150.5, **fields: Any) -> Reward:
    """A fill of 100 at 150 and its close; the reward."""
    return task.apply(fill(position_id=position_id, **fields), close(position_id=position_id, price=price)).rewards[0]


def test_a_drawn_arm_learns_with_its_logged_propensity() -> None:
    reward = traded(task_of(estimator="importance", eta=0.01), propensity=0.25, price=150.3)
    (arm,) = reward.arms
    assert (arm.name, arm.share, arm.propensity) == ("ridge", 1.0, 0.25)
    assert arm.estimate == pytest.approx(20.0 / 0.25, rel=1e-9)
    assert (reward.propensity_source, reward.eta, reward.total_steps) == ("LOGGED", 0.01, 1)


def test_without_a_propensity_the_present_one_is_used_and_said() -> None:
    reward = traded(task_of(estimator="importance", eta=0.01), price=150.3)
    assert reward.propensity_source == "CURRENT"
    assert reward.arms[0].propensity == pytest.approx(1 / 3, rel=1e-12)
    assert reward.arms[0].estimate == pytest.approx(60.0, rel=1e-9)


def test_a_part_of_a_decision_is_weighted_and_the_second_part_is_no_new_decision() -> None:
    task = task_of(estimator="implicit", eta=0.2, implicit=0.1, reward_bound_bps=100.0)
    task.apply(fill(propensity=0.4, order_quantity=100.0), close("c1", quantity=25.0), close("c2", quantity=75.0))
    first, second = (reward for _, reward in task.published.rewards)
    loss = (100.0 - 100.0 / 3) / 200.0  # both close at 33.33 bps
    assert first.arms[0].estimate == pytest.approx((0.25 * (loss - 0.5) + 0.5) / 0.5, rel=1e-9)
    assert second.arms[0].estimate == pytest.approx(0.75 * (loss - 0.5) / 0.5, rel=1e-9)
    assert [(r.counted, r.total_steps) for r in (first, second)] == [(True, 1), (False, 1)]


def test_contributions_share_a_reward_in_the_bandits_order_and_without_propensities() -> None:
    reward = traded(task_of(), contributions={"boost": 0.25, "ridge": 0.75, "mlp": 0.0})
    assert [(arm.name, arm.share, arm.propensity) for arm in reward.arms] == [
        ("ridge", 0.75, None),
        ("boost", 0.25, None),
    ]
    signal = -(100.0 / 3) / 200.0  # loss - 1/2 at 33.33 of 100 bps
    estimates = [arm.estimate for arm in reward.arms]
    assert estimates == [pytest.approx(share * signal, rel=1e-9) for share in (0.75, 0.25)]
    assert reward.propensity_source == "NONE"


def test_simultaneous_attribution_divides_by_the_present_probabilities() -> None:
    task = task_of(attribution="simultaneous", estimator="importance", eta=0.01)
    reward = traded(task, price=150.3, contributions={"mlp": 0.5, "ridge": 0.5})
    assert reward.propensity_source == "CURRENT"
    assert [arm.propensity for arm in reward.arms] == pytest.approx([1 / 3, 1 / 3])
    assert [arm.estimate for arm in reward.arms] == pytest.approx([30.0, 30.0], rel=1e-9)


def test_disabled_learning_publishes_rewards_and_touches_no_learner() -> None:
    task = task_of(enabled=False)
    reward = traded(task, contributions={"boost": 0.5, "ridge": 0.5, "mlp": 0.0})
    assert (reward.applied, reward.counted, reward.version, reward.detail) == (False, False, 1, "learning is disabled")
    assert [(a.name, a.share, a.propensity, a.estimate) for a in reward.arms] == [
        ("ridge", 0.5, None, None),
        ("boost", 0.5, None, None),
    ]
    assert task.bandit().total_steps == 0
    assert [arm.state for arm in task.bandit().arms] == [(0.0,)] * 3
    assert not task.position().counted
    assert [arm.weight for arm in task.published.weights["book"].arms] == pytest.approx([1 / 3] * 3)


def test_a_paused_bandit_publishes_rewards_unapplied() -> None:
    task = task_of()
    task.state.restore_bandit(BanditSnapshot("book", 4, 0, (), "", "", "", paused=True))
    reward = traded(task)
    assert (reward.applied, reward.version, reward.detail) == (False, 5, "the bandit is paused")
    assert task.bandit().paused


def test_a_vector_is_published_only_where_the_version_advanced_and_once_a_batch() -> None:
    task = task_of()
    assert task.apply(fill(), close("c9", "p9"), close("c", bandit_id="other")).weight_vectors == []
    ends = close("c1", quantity=10.0), close("c2", quantity=10.0)
    (vector,) = task.apply(*ends, fill("f", "p8", ts_event=START + 99)).weight_vectors
    assert (vector.bandit_id, vector.version, vector.total_steps) == ("book", 2, 1)
    assert (vector.cause_event_id, vector.ts_event) == ("c2", START)  # not the fill, which taught nothing


def test_a_vector_is_the_learners_reading() -> None:
    """K = 3, importance, eta 0.05: +33.33 bps at p = 1 moves the arm's log weight by 5/3."""
    task = task_of(estimator="importance", gamma=0.1, eta=0.05)
    traded(task, propensity=1.0)
    vector = task.published.weights["book"]
    best = math.exp(5 / 3) / (math.exp(5 / 3) + 2)
    assert [arm.name for arm in vector.arms] == list(ARMS)
    assert [arm.weight for arm in vector.arms] == pytest.approx([best, (1 - best) / 2, (1 - best) / 2], rel=1e-9)
    assert [a.probability for a in vector.arms] == pytest.approx([0.9 * a.weight + 0.1 / 3 for a in vector.arms])
    assert (vector.algorithm, vector.estimator, vector.gamma, vector.eta) == ("exp3ix", "importance", 0.1, 0.05)
    assert vector.reward_bound_bps == 100.0


def test_a_vector_is_warming_and_has_no_alpha_until_the_warm_start_is_over() -> None:
    task = task_of(warm_start_steps=2, ramp_steps=2, blend_alpha=0.4)
    seen = []
    for number in range(5):
        traded(task, f"p{number}")
        vector = task.published.weights["book"]
        seen.append((vector.phase, vector.blend_alpha))
    assert seen == [("WARMING", 0.0), ("LIVE", 0.0), ("LIVE", 0.2), ("LIVE", 0.4), ("LIVE", 0.4)]


@pytest.mark.parametrize(
    ("total_steps", "ramp_steps", "alpha"),
    [
        (499, 0, 0.0),
        (500, 0, 0.3),
        (501, 0, 0.3),
        (500, 100, 0.0),
        (550, 100, 0.15),
        (600, 100, 0.3),
        (9_999, 100, 0.3),
    ],
)
def test_alpha_is_ramped_after_the_warm_start(total_steps: int, ramp_steps: int, alpha: float) -> None:
    assert effective_alpha(total_steps, alpha=0.3, warm_start_steps=500, ramp_steps=ramp_steps) == pytest.approx(alpha)


def test_the_clipped_are_named_by_their_places_in_the_audit() -> None:
    task = task_of(reward_bound_bps=20.0)
    prices = {"p1": 150.1, "p2": 150.5, "p3": 149.5}  # 7, 33 and -33 bps
    events = [event for name, price in prices.items() for event in (fill(name, name), close(name, name, price=price))]
    command = Command("k", "book", "ADD_ARM", START, arm="new")
    applied = task.apply(*events[:4], command, *events[4:])
    assert [type(record) for record in applied.audit] == [Reward, Reward, CommandApplied, Reward]
    assert applied.clipped == [1, 3]


def test_a_learner_is_shared_with_committed_state_only_until_it_learns() -> None:
    task = task_of()
    traded(task, "p1")
    before = task.bandit()
    task.abort(fill("f", "p2"), close("c", "p2", price=140.0))
    task.apply(fill("f", "p3"))
    after = task.bandit()
    assert after.arms == before.arms
    assert after.total_steps == before.total_steps == 1


def test_what_a_snapshot_says_of_the_rules_is_what_decides_learned_numbers() -> None:
    rules = learning_rules(gamma=0.01, eta=0.1)
    assert rules.determining_json() == '{"arms": ["ridge", "mlp", "boost"], "eta": 0.1, "gamma": 0.01}'
    assert learning_rules(blend_alpha=0.9, enabled=False).determining_json() == learning_rules().determining_json()


def test_how_arms_are_named_decides_where_a_draw_reveals_arms_of_its_horizon_alone() -> None:
    drawn, side = learning_rules(arm_mode="family_horizon"), learning_rules(arm_mode="family_horizon", feedback="side")
    assert "arm_mode" not in drawn.determining_json()
    assert '"arm_mode": "family_horizon"' in side.determining_json()
    assert learning_rules().learned_under(side.determining_json()) == side
    assert side.learned_under(learning_rules(feedback="side").determining_json()).arm_mode == "family"


def test_rules_go_on_as_they_were_learned_under_with_todays_blend() -> None:
    today = learning_rules(gamma=0.5, blend_alpha=0.9)
    assert today.learned_under(learning_rules(eta=0.1).determining_json()) == learning_rules(eta=0.1, blend_alpha=0.9)
