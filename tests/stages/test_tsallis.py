"""Tsallis-INF in the stream: learned from what was logged with the draw, by hand, and never from a guess."""

from typing import Any

import pytest
from numpy.random import default_rng

from armstream.engine import draw
from armstream.events import Command, Fill
from armstream.stages.facts import TaskLimits
from tests.stages.events import ARMS, START, close, fill, learning_rules, short_rules
from tests.stages.task import Task

WHOLE: dict[str, Any] = {
    "propensity": 0.5,
    "probabilities": (0.5, 0.25, 0.25),
    "eta": 0.6,
}  # eta^2 = .36: b is 1/2 for ridge alone


def task_of(**rules: Any) -> Task:
    return Task(short_rules(), learning_rules(algorithm="tsallis", **rules))


def logged_fill(position_id: str = "p1", **fields: Any) -> Fill:
    return fill(position_id=position_id, price=100.0, **fields)


def states(task: Task) -> list[float]:
    return [number for arm in task.bandit().arms for number in arm.state]


def test_the_whole_distribution_of_the_decision_teaches_by_hand() -> None:
    """+50 of 100 bps is a loss of .25: L_ridge = .5 + (.25 - .5) / .5 = 0, b of the others is 0."""
    task = task_of()
    (reward,) = task.apply(logged_fill(**WHOLE), close(price=100.5)).rewards
    assert states(task) == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)
    assert (reward.propensity_source, reward.eta, reward.arms[0].propensity) == ("LOGGED", 0.6, 0.5)
    (reward,) = task.apply(logged_fill("p2", **{**WHOLE, "eta": 0.4}), close("c2", "p2", price=99.5)).rewards
    assert reward.arms[0].estimate == pytest.approx(0.5 + (0.75 - 0.5) / 0.5)  # eta^2 = .16: b is 1/2 for all
    assert states(task) == pytest.approx([1.0, 0.5, 0.5])


@pytest.mark.parametrize(
    "fields",
    [
        {"propensity": 0.5},
        {"propensity": 0.5, "probabilities": (0.5, 0.5), "eta": 0.6},  # over other arms than today's
        {"propensity": 0.5, "probabilities": (0.4, 0.3, 0.3), "eta": 0.6},  # another's decision
        {"propensity": 0.5, "probabilities": (0.5, 0.5, 0.5), "eta": 0.6},
        {"propensity": 0.5, "probabilities": (0.5, 0.25, 0.25)},
        {"propensity": 0.5, "probabilities": (0.5, 0.25, 0.25), "eta": 1e-250},  # no rate that a learner could have
    ],
)
def test_where_the_distribution_is_not_whole_its_propensity_teaches_alone(fields: dict[str, Any]) -> None:
    """L_ridge = .25 / .5, and the rate says so: 2 / sqrt(n + 1)."""
    task = task_of()
    (reward,) = task.apply(logged_fill(**fields), close(price=100.5)).rewards
    assert states(task) == pytest.approx([0.5, 0.0, 0.0])
    assert reward.eta == 2.0


@pytest.mark.parametrize(
    ("weights_version", "moves"),
    [(None, [0.5, 0.0, 0.0]), (0, [0.5, 0.0, 0.25]), (2, [0.5, 0.0, 0.25]), (3, [0.0, 0.0, 0.0])],
)
def test_a_distribution_over_as_many_other_arms_is_not_taken_for_one_over_todays(
    weights_version: int | None, moves: list[float]
) -> None:
    """Reward 1 made the vector; 2 and 3 are the commands. The propensity alone is .25 / .5 on the drawn arm, and half
    of that on the one that is known to have come later."""
    task = task_of()
    task.apply(logged_fill("p0", propensity=0.5), close("c0", "p0", price=100.0))
    task.apply(
        Command("k1", "book", "REMOVE_ARM", START, arm="mlp"), Command("k2", "book", "ADD_ARM", START, arm="new")
    )
    before = states(task)
    task.apply(logged_fill(**WHOLE, weights_version=weights_version), close(price=100.5))
    moved = [after - state for after, state in zip(states(task), before, strict=True)]
    assert moved == pytest.approx(moves, abs=1e-12)


@pytest.mark.parametrize("algorithm", ["exp3ix", "tsallis"])
def test_an_arm_that_cannot_trade_does_not_win(algorithm: Any) -> None:
    """An engine draws among two arms that earn 10 and 5 bps; the third keeps its share of the three, about a third."""
    task = Task(TaskLimits(), learning_rules(algorithm=algorithm, reward_bound_bps=40.0))
    rng, vector = default_rng(3), None
    for number in range(300):
        decision = draw("book", vector, rng, arms=ARMS, available=ARMS[:2], position_id=f"p{number}")
        earned_bps = rng.normal(10.0 if decision.arm == "ridge" else 5.0, 20.0)
        task.apply(
            decision.fill(instrument_id="x", side="BUY", quantity=1, price=100.0, ts_event=START + number),
            decision.close(quantity=1, price=100.0 * (1 + earned_bps / 1e4), ts_event=START + number),
        )
        vector = task.published.weights["book"]
    assert vector is not None
    assert 0.2 < vector.arms[2].weight < 0.45


@pytest.mark.parametrize("algorithm", ["exp3ix", "tsallis"])
def test_an_arm_that_is_added_while_decisions_are_in_flight_does_not_win_by_their_losses(algorithm: Any) -> None:
    """It comes with the mean weight, about a quarter, before the rewards of a hundred decisions that others made; the
    processor is another one by then."""
    task = Task(TaskLimits(), learning_rules(algorithm=algorithm, reward_bound_bps=40.0))
    rng, vector, in_flight = default_rng(3), None, []
    for number in range(300):
        decision = draw("book", vector, rng, arms=ARMS, position_id=f"p{number}")
        earned_bps = rng.normal(10.0 if decision.arm == "ridge" else 5.0, 20.0)
        task.apply(decision.fill(instrument_id="x", side="BUY", quantity=1, price=100.0, ts_event=START + number))
        in_flight.append(decision.close(quantity=1, price=100.0 * (1 + earned_bps / 1e4), ts_event=START + number))
        if number < 200:
            task.apply(in_flight.pop(0))
            vector = task.published.weights["book"]
    task.apply(Command("k1", "book", "ADD_ARM", START, arm="new"))
    assert [arm.added_version for arm in task.bandit().arms] == [1, 1, 1, 201]
    task.restart()
    task.apply(*in_flight)
    assert 0.15 < task.published.weights["book"].arms[3].weight < 0.3


@pytest.mark.parametrize("algorithm", ["exp3ix", "tsallis"])
def test_an_arm_that_was_drawn_is_awake_though_it_was_removed_and_added_since(algorithm: Any) -> None:
    """A loss of .25 at p = .5, under Exp3-IX over p + eta / 2; the others were there all the time, and do not move."""
    task = Task(short_rules(), learning_rules(algorithm=algorithm, eta=0.2))
    task.apply(logged_fill("p0", propensity=0.5), close("c0", "p0", price=100.0))
    task.apply(logged_fill(arm="mlp", propensity=0.5, weights_version=1))
    task.apply(
        Command("k1", "book", "REMOVE_ARM", START, arm="mlp"), Command("k2", "book", "ADD_ARM", START, arm="mlp")
    )
    before = states(task)
    task.apply(close(price=100.5))
    moved = [after - state for after, state in zip(states(task), before, strict=True)]
    assert moved == pytest.approx([0.0, 0.0, 0.25 / 0.5 if algorithm == "tsallis" else 0.25 / 0.6])


@pytest.mark.parametrize(
    ("propensity", "words"), [(None, "tsallis guesses none"), (1e-90, "propensity must not be below 1e-80")]
)
def test_a_draw_without_its_propensity_is_a_dead_letter(propensity: float | None, words: str) -> None:
    (letter,) = task_of().apply(logged_fill(propensity=propensity)).dead_letters
    assert letter.error_class == "VALIDATION"
    assert words in letter.error


def test_a_blend_needs_none() -> None:
    """.75 (loss - 1/2) = -.1875."""
    task = task_of()
    (reward,) = task.apply(logged_fill(contributions={"ridge": 0.75, "mlp": 0.25}), close(price=100.5)).rewards
    assert reward.applied
    assert states(task) == pytest.approx([-0.1875, -0.0625, 0.0])


def test_a_draw_of_another_rules_time_without_a_propensity_is_audited_and_teaches_nothing() -> None:
    task = Task(short_rules(), learning_rules())
    task.apply(logged_fill())
    other = Task(task.reward_rules, learning_rules(algorithm="tsallis"), on_settings_change="reset")
    other.published, other.inputs_read = task.published, task.inputs_read
    other.restart()
    (reward,) = other.apply(close(price=100.5)).rewards
    assert (reward.applied, reward.detail) == (False, "no propensity was logged with the draw")


def test_vectors_say_the_rule_and_its_rate() -> None:
    task = task_of()
    task.apply(logged_fill(**WHOLE), close(price=99.5))  # a loss of .75: L_ridge = .5 + .25 / .5 = 1
    vector = task.published.weights["book"]
    assert (vector.algorithm, vector.estimator, vector.gamma) == ("tsallis", "reduced_variance", 0.0)
    assert vector.eta == pytest.approx(4 / 2**0.5)
    ridge, mlp, boost = (arm.probability for arm in vector.arms)
    assert mlp == boost
    assert ridge + mlp + boost == pytest.approx(1.0)
    # 2 / (eta sqrt(p)) is the distance to x: ridge is 1 farther away than mlp
    assert 2 / (vector.eta * ridge**0.5) - 2 / (vector.eta * mlp**0.5) == pytest.approx(1.0)


def test_a_constant_rate_and_a_fixed_share_are_the_settings() -> None:
    """A loss of .25 at p = .6: L = 5/12, 0, 0, of which all is shared out at a share of 1; the vector says the rate."""
    task = task_of(eta=2.0, fixed_share=1.0)
    (reward,) = task.apply(logged_fill(propensity=0.6), close(price=100.5)).rewards
    assert reward.eta == task.published.weights["book"].eta == 2.0
    assert states(task) == pytest.approx([3**0.5] * 3)
    task.restart()
    assert states(task) == pytest.approx([3**0.5] * 3)


def test_arms_come_and_go_and_a_restart_goes_on() -> None:
    task = task_of()
    task.apply(logged_fill(**WHOLE), close(price=99.5))
    task.apply(
        Command("k1", "book", "ADD_ARM", START, arm="new"), Command("k2", "book", "REMOVE_ARM", START, arm="mlp")
    )
    before = task.bandit()
    task.restart()
    task.apply(logged_fill("p2", arm="new", propensity=0.3))
    assert task.bandit().arms == before.arms
    assert [arm.name for arm in before.arms] == ["ridge", "boost", "new"]
