"""What a decision with signals teaches: who is seen, who was asleep, and what its position keeps of it. By hand."""

from math import sqrt
from typing import Any

import pytest

from armstream.events import Close, Command, Fill, PositionSnapshot, Reward
from tests.stages.events import START, close, fill, learning_rules, short_rules
from tests.stages.task import Task

SIDES = {"ridge": "BUY", "mlp": "SELL", "boost": "BUY"}
WHOLE: dict[str, Any] = {"propensity": 0.5, "probabilities": (0.5, 0.3, 0.2), "eta": 0.4, "weights_version": 1}


def task_of(**fields: Any) -> Task:
    given: dict[str, Any] = {"algorithm": "tsallis", "eta_auto": "adaptive", "feedback": "side"} | fields
    return Task(short_rules(), learning_rules(**given))


def fill_of(event_id: str = "f", **fields: Any) -> Fill:
    """100 for 150 each: 1 is 1/1.5 bps."""
    return fill(event_id, **{**WHOLE, "signals": SIDES, "quantity": 100.0, "price": 150.0} | fields)


def close_of(event_id: str = "c", **fields: Any) -> Close:
    """A rise of .75 is 50 bps: with B = 100 a loss of 1/2 - .25."""
    return close(event_id, **{"price": 150.75} | fields)


def losses(task: Task) -> list[float]:
    return [arm.state[0] for arm in task.bandit().arms]


def rewards(task: Task) -> list[Reward]:
    return [reward for _, reward in task.published.rewards]


def position(task: Task) -> PositionSnapshot:
    found = task.state.position("book\0p1")
    assert found is not None
    return found


def seen(reward: Reward) -> list[tuple[str, float]]:
    return [(arm.name, arm.share) for arm in reward.arms]


def test_arms_on_the_drawn_side_learn_what_the_trade_earned() -> None:
    task = task_of()
    task.apply(fill_of(), close_of())
    moved = 0.5 - 0.25 / 0.7
    assert losses(task) == pytest.approx([moved, 0.5, moved])
    (reward,) = rewards(task)
    assert seen(reward) == [("ridge", 1.0), ("boost", 0.0)]
    assert [arm.propensity for arm in reward.arms] == [0.7, 0.7]
    assert [arm.estimate for arm in reward.arms] == pytest.approx([moved, moved])
    assert [(arm.pulls, arm.cumulative_reward_bps) for arm in task.bandit().arms] == [(1, 50.0), (0, 0.0), (0, 0.0)]


@pytest.mark.parametrize("in_price", [False, True])
def test_arms_on_the_other_side_learn_the_mirror_image_less_costs(in_price: bool) -> None:
    """Fees of 15 and slippage of 15 are 20 bps of 15,000. Net +30 where both are charged; with the slippage in the
    price +40: the move without it was +50 or +60, against the other side, which pays 20 too."""
    task = task_of(feedback="both")
    task.apply(fill_of(), close_of(fees=15.0, slippage=15.0, slippage_in_price=in_price))
    net, other = (40.0, -80.0) if in_price else (30.0, -70.0)
    assert [reward.reward_bps for reward in rewards(task)] == pytest.approx([net])
    assert losses(task) == pytest.approx([0.5 - net / 200, 0.5 - other / 200, 0.5 - net / 200])
    assert seen(rewards(task)[0]) == [("ridge", 1.0), ("mlp", 0.0), ("boost", 0.0)]


def test_a_close_that_waits_still_tells_the_slippage_in_its_price() -> None:
    early, late = task_of(feedback="both"), task_of(feedback="both")
    early.apply(close_of(slippage=15.0, slippage_in_price=True), fill_of())
    late.apply(fill_of(), close_of(slippage=15.0, slippage_in_price=True))
    assert losses(early) == losses(late) == pytest.approx([0.25, 0.5 + 70 / 200, 0.25])


@pytest.mark.parametrize("feedback", ["drawn", "side", "both"])
def test_an_arm_without_a_side_is_asleep(feedback: str) -> None:
    """mlp is flat; ridge and boost agree, so that they move by the same, and mlp by what was played."""
    task = task_of(feedback=feedback)
    signals = {"ridge": "BUY", "mlp": "FLAT", "boost": "BUY"}
    task.apply(fill_of(signals=signals, probabilities=(0.5, 0.0, 0.5)), close_of())
    drawn = [0.5 - 0.25 / 0.5, 0.5 - 0.25, 0.5]
    assert losses(task) == pytest.approx(drawn if feedback == "drawn" else [0.25, 0.25, 0.25])


@pytest.mark.parametrize("feedback", ["drawn", "side", "both"])
@pytest.mark.parametrize(
    "fields",
    [
        {"probabilities": (), "eta": None},
        {"probabilities": (0.5, 0.5)},
        {"probabilities": (0.5, 0.3, 0.1)},
        {"signals": {"ridge": "BUY", "mlp": "FLAT", "boost": "BUY"}},  # which has .3 of the draw
    ],
)
def test_what_does_not_say_the_whole_teaches_the_drawn_arm_alone(feedback: str, fields: dict[str, Any]) -> None:
    task = task_of(feedback=feedback)
    task.apply(fill_of(**fields), close_of())
    (reward,) = rewards(task)
    assert seen(reward) == [("ridge", 1.0)]
    asleep = 0.5 - 0.25 if "signals" in fields else 0.5
    assert losses(task) == pytest.approx([0.5 - 0.25 / 0.5, asleep, 0.5])


def test_without_signals_the_drawn_arm_alone_is_taught() -> None:
    task = task_of()
    task.apply(fill_of(signals={}), close_of())
    assert losses(task) == pytest.approx([0.5 - 0.25 / 0.5, 0.5, 0.5])


def test_a_draw_reveals_arms_of_its_horizon_alone() -> None:
    arms = ("ridge:1h", "lstm:1h", "ridge:1d", "lstm:1d")
    task = task_of(arms=arms, arm_mode="family_horizon")
    signals = dict.fromkeys(arms, "BUY")
    task.apply(fill_of(arm="ridge:1d", signals=signals, probabilities=(0.4, 0.3, 0.2, 0.1), propensity=0.2), close_of())
    assert losses(task) == pytest.approx([0.5, 0.5, 0.5 - 0.25 / 0.3, 0.5 - 0.25 / 0.3])


def test_a_blend_teaches_every_arm_that_had_a_side_where_both_count() -> None:
    task = task_of(feedback="both")
    shares = {"ridge": 0.75, "mlp": 0.25}
    signals = {"ridge": "BUY", "mlp": "SELL"}
    task.apply(fill(contributions=shares, signals=signals), close_of())
    assert losses(task) == pytest.approx([-0.25, 0.25, -0.25 * 0.75 + 0.25 * 0.25])
    (reward,) = rewards(task)
    assert (seen(reward), reward.propensity_source) == ([("ridge", 0.75), ("mlp", 0.25)], "NONE")
    side = task_of()
    side.apply(fill(contributions=shares, signals=signals), close_of())
    assert losses(side) == pytest.approx([-0.25 * 0.75, -0.25 * 0.25, 0.0])


def test_a_blend_teaches_arms_of_the_horizons_that_contributed_and_the_others_move_by_what_was_played() -> None:
    arms = ("ridge:1h", "lstm:1h", "boost:1h", "ridge:1d")
    task = task_of(arms=arms, arm_mode="family_horizon", feedback="both")
    shares = {"ridge:1h": 0.75, "lstm:1h": 0.25, "ridge:1d": 0.0}
    signals = dict.fromkeys(arms, "BUY") | {"lstm:1h": "SELL"}
    task.apply(fill(contributions=shares, signals=signals), close_of())
    assert losses(task) == pytest.approx([-0.25, 0.25, -0.25, -0.25 * 0.75 + 0.25 * 0.25])
    (reward,) = rewards(task)
    assert seen(reward) == [("ridge:1h", 0.75), ("lstm:1h", 0.25), ("boost:1h", 0.0)]


def test_a_position_keeps_what_its_decision_added_until_it_is_done() -> None:
    """Half of it closes: A = weight (loss - 1/2) / o = -.125 / .7 for those seen, and S = (p_a^1.5 + p_c^1.5) A^2."""
    task = task_of()
    task.apply(fill_of(order_quantity=100.0), close_of("c1", quantity=50.0))
    decision = position(task).decision
    assert decision is not None
    assert decision.terms == pytest.approx({"ridge": -0.125 / 0.7, "boost": -0.125 / 0.7})
    both = 0.5**1.5 + 0.2**1.5
    assert task.bandit().state == pytest.approx((both * (0.125 / 0.7) ** 2,))
    task.restart()
    task.apply(close_of("c2", quantity=50.0))
    s = both * (0.25 / 0.7) ** 2
    assert task.bandit().state == pytest.approx((s,))
    assert task.published.weights["book"].eta == pytest.approx(3**0.25 / sqrt(s + sqrt(3) / 4))
    assert position(task).decision is None


def test_a_batch_that_is_rolled_back_leaves_no_terms() -> None:
    task = task_of()
    task.apply(fill_of(order_quantity=100.0))
    task.abort(close_of("c1", quantity=50.0))
    decision = position(task).decision
    assert decision is not None
    assert decision.terms == {}
    task.apply(close_of("c1", quantity=50.0), close_of("c2", quantity=50.0))
    assert losses(task) == pytest.approx([0.5 - 0.25 / 0.7, 0.5, 0.5 - 0.25 / 0.7])


def test_terms_of_an_arm_that_was_removed_go_with_it() -> None:
    task = task_of()
    task.apply(fill_of(order_quantity=100.0), close_of("c1", quantity=50.0))
    task.apply(Command("remove", "book", "REMOVE_ARM", START, arm="boost"))
    task.apply(close_of("c2", quantity=25.0))
    decision = position(task).decision
    assert decision is not None
    assert decision.terms == pytest.approx({"ridge": -0.125 / 0.7 - 0.0625 / 0.5})  # the drawn arm alone is seen now


def test_learners_that_keep_no_terms_leave_none_in_the_position() -> None:
    task = task_of(algorithm="exp3ix", eta_auto="anytime")
    task.apply(fill_of(order_quantity=100.0), close_of("c1", quantity=50.0))
    decision = position(task).decision
    assert decision is not None
    assert decision.terms == {}
