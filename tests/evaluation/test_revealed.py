"""What one record says of the arms, as the stages write it, and what it does not say, with the reason."""

from typing import Any

import pytest
from msgspec.structs import replace

from armstream.evaluation import Evaluation
from armstream.evaluation.revealed import (
    BLEND,
    NO_BOUND,
    NO_ESTIMATE,
    NO_PROPENSITY,
    TOO_LARGE,
    TOO_RARE,
    WITHHELD,
    Revealed,
    revealed,
)
from armstream.events import Reward, RewardArm
from tests.evaluation.records import reward_of
from tests.stages.events import close, fill, learning_rules, short_rules
from tests.stages.task import Task

SIDES = {"ridge": "BUY", "mlp": "SELL", "boost": "BUY"}
WHOLE: dict[str, Any] = {"propensity": 0.5, "probabilities": (0.5, 0.3, 0.2), "eta": 0.4, "weights_version": 1}


def rewards(task: Task) -> list[Reward]:
    return [reward for _, reward in task.published.rewards]


def task_of(**fields: Any) -> Task:
    return Task(short_rules(), learning_rules(**fields))


def read(reward: Reward, bound_bps: float | None = 100.0, mean_costs_bps: float = 0.0) -> Revealed:
    found = revealed(reward, bound_bps, mean_costs_bps)
    assert isinstance(found, Revealed)
    return found


def test_a_draw_reveals_its_arm_by_its_propensity() -> None:
    task = task_of()
    task.apply(fill(**WHOLE), close(price=150.75))
    found = read(rewards(task)[0], None)
    assert dict(found.arms) == pytest.approx({"ridge": 50.0})
    assert (found.probability, found.costs_bps) == (0.5, None)


def test_a_side_reveals_its_arms_by_their_sum() -> None:
    task = task_of(algorithm="tsallis", feedback="side")
    task.apply(fill(**WHOLE, signals=SIDES), close(price=150.75))
    found = read(rewards(task)[0], None)
    assert dict(found.arms) == pytest.approx({"ridge": 50.0, "boost": 50.0})
    assert found.probability == pytest.approx(0.7)


@pytest.mark.parametrize("rule", [{"algorithm": "tsallis"}, {"algorithm": "tsallis", "eta_auto": "adaptive"}, {}])
@pytest.mark.parametrize("quantity", [100.0, 40.0])
def test_the_other_side_earned_the_mirror_image_less_costs(rule: dict[str, Any], quantity: float) -> None:
    """Fees of 30 are 20 bps of 15,000: net +30 of a move of 50, against the other side, which pays 20 too. In parts,
    too: a first one of 40 %, and a later one, which is not counted again, at the same prices."""
    task = task_of(feedback="both", **rule)
    task.apply(fill(**WHOLE, signals=SIDES), close("c1", price=150.75, quantity=quantity, fees=0.3 * quantity))
    task.apply(close("c2", price=150.75, quantity=60.0, fees=18.0))
    for reward in rewards(task):
        found = read(reward)
        assert dict(found.arms) == pytest.approx({"ridge": 30.0, "mlp": -70.0, "boost": 30.0})
        assert found.probability == 1.0
        assert found.costs_bps == pytest.approx(20.0)


def test_beyond_the_bound_it_is_the_mirror_image_at_the_mean_costs() -> None:
    """A move of 150 bps: the other side lost 150, of which the estimate says no more than the bound."""
    task = task_of(algorithm="tsallis", feedback="both")
    task.apply(fill(**WHOLE, signals=SIDES), close(price=152.25))
    assert dict(read(rewards(task)[0], 100.0, 4.0).arms) == pytest.approx(
        {"ridge": 150.0, "mlp": -158.0, "boost": 150.0}
    )


def test_another_bound_than_the_learners_is_not_believed() -> None:
    task = task_of(algorithm="tsallis", feedback="both")
    task.apply(fill(**WHOLE, signals=SIDES), close(price=152.25))
    assert [revealed(rewards(task)[0], bound_bps, 0.0) for bound_bps in (None, 0.0)] == [NO_BOUND, NO_BOUND]


def test_what_cannot_be_estimated_has_its_reason() -> None:
    """A blend, a fill without a propensity, and one of a bandit that has not found its bound."""
    blend, unlogged, warming = task_of(), task_of(), task_of(reward_bound_bps="auto")
    blend.apply(fill(contributions={"ridge": 1.0}), close())
    unlogged.apply(fill(), close())
    warming.apply(fill(**WHOLE), close())
    found = [revealed(rewards(task)[0], 100.0, 0.0) for task in (blend, unlogged, warming)]
    assert found == [BLEND, NO_PROPENSITY, WITHHELD]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"arms": ()}, BLEND),
        ({"propensity": 1e-13}, TOO_RARE),
        ({"propensity": 0.0}, NO_PROPENSITY),
        ({"propensity": 1.5}, NO_PROPENSITY),
    ],
)
def test_what_no_processor_writes_has_its_reason_too(fields: dict[str, Any], reason: str) -> None:
    assert revealed(reward_of(5.0, **fields), 100.0, 0.0) == reason


def test_a_simultaneous_blend_is_no_draw() -> None:
    arms = (RewardArm("ridge", 0.5, 0.5, 1.0), RewardArm("mlp", 0.5, 0.3, 1.0))
    assert revealed(reward_of(5.0, arms=arms), 100.0, 0.0) == BLEND


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"reward_bps": float("nan")}, TOO_LARGE),
        ({"reward_bps": -1e308}, TOO_LARGE),
        ({"weight": float("inf")}, TOO_LARGE),
        ({"arms": (RewardArm("ridge", 1.0, 0.5, 0.3), RewardArm("mlp", 0.0, 0.5, None))}, NO_ESTIMATE),
        ({"arms": (RewardArm("ridge", 1.0, 0.5, None), RewardArm("mlp", 0.0, 0.5, 0.3))}, NO_ESTIMATE),
    ],
)
def test_what_no_sum_could_hold_is_left_out_with_its_reason(fields: dict[str, Any], reason: str) -> None:
    assert revealed(replace(reward_of(1.0), **fields), 100.0, 0.0) == reason
    evaluation = Evaluation()
    for each in (*[reward_of(1.0)] * 20, replace(reward_of(1.0), **fields), *[reward_of(1.0)] * 20):
        evaluation.add(each, ("ridge", "mlp"), 100.0)
    assert evaluation.counted().not_estimated == {reason: 1}
    assert evaluation.earned_bps == 40.0
