"""What an evaluation makes of a log, against sums over whole decisions and numbers worked by hand."""

from collections.abc import Mapping, Sequence
from math import fsum, sqrt
from random import Random
from typing import Any

import pytest

from armstream.evaluation import Evaluation, Interval
from armstream.evaluation.estimator import OPEN_DECISIONS
from armstream.evaluation.interval import quantile
from armstream.events import Reward, RewardArm
from tests.evaluation.records import ARMS, reward_of

EVEN = [1.0, -1.0] * 10


def told(rewards: Sequence[Reward], arms: Sequence[str] = ARMS, base: Mapping[str, float] | None = None) -> Evaluation:
    evaluation = Evaluation(base)
    for reward in rewards:
        evaluation.add(reward, arms)
    return evaluation


def slow_interval(decisions: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Of (r, w, x): cumulative and half width, by decision, as interval.py's law has them."""
    n, w = len(decisions), fsum(each[1] for each in decisions)
    value = fsum(each[2] for each in decisions) / w
    errors = [x - weight * value for _, weight, x in decisions]
    own = fsum(2.0 * weight / w * error**2 for (_, weight, _), error in zip(decisions, errors, strict=True))
    alone = sqrt(fsum(error**2 for error in errors) + own) * n / w
    moved = [r - value - error for (r, _, _), error in zip(decisions, errors, strict=True)]
    together = sqrt(fsum((each - fsum(moved) / n) ** 2 for each in moved) + own)
    effective = w * w / fsum(weight * weight for _, weight, _ in decisions)
    return fsum(each[0] for each in decisions) - n * value, quantile(effective - 1.0) * max(alone, together)


def assert_is(found: Interval | None, decisions: Sequence[tuple[float, float, float]]) -> None:
    cumulative, half = slow_interval(decisions)
    assert found is not None
    assert found.trades == len(decisions)
    assert found.cumulative_bps == pytest.approx(cumulative)
    assert (found.low_bps, found.high_bps) == pytest.approx((cumulative - half, cumulative + half))


def test_arms_drawn_by_what_the_policy_gives_them_are_not_above_it() -> None:
    """At 1/4 each weight is 1: uniform earns what was earned, whatever that is. Squares are 20, by 1 + 2 / 20."""
    found = told([reward_of(each, ARMS[number % 4]) for number, each in enumerate(EVEN)]).above_uniform()
    assert found is not None
    assert (found.trades, found.effective_sample, found.cumulative_bps) == (20, 20.0, 0.0)
    assert found.high_bps == pytest.approx(2.093 * sqrt(22.0), rel=1e-3)


def test_a_policy_is_weighed_by_its_share_over_the_propensity() -> None:
    """ridge drawn at .8 earns 6, carry at .2 earns -2, as often: base has .5 and .25 of them, of .75 in all. Weights
    are (2/3) / .8 = 5/6 and (1/3) / .2 = 5/3: (5 - 10/3) / (5/2) = 2/3 against 2 earned. mlp is not there."""
    rewards = [reward_of(6.0, "ridge", 0.8), reward_of(-2.0, "carry", 0.2)] * 20
    evaluation = told(rewards, ("ridge", "carry"), {"ridge": 0.5, "mlp": 0.25, "carry": 0.25})
    found = evaluation.above_base()
    assert found is not None
    assert found.per_trade_bps == pytest.approx(2.0 - 2.0 / 3.0)
    uniform = evaluation.above_uniform()
    assert uniform is not None  # weights .625 and 2.5: (3.75 - 5) / 3.125 = -.4
    assert uniform.per_trade_bps == pytest.approx(2.4)


def test_parts_of_decisions_are_one_decision_each_in_any_order() -> None:
    """Decisions in up to four parts, under way at once: estimates are those of whole decisions."""
    generator = Random(2)
    whole: list[tuple[float, float, float]] = []
    log: list[tuple[float, Reward]] = []
    for number in range(200):
        arm, p = generator.choice([("ridge", 0.6), ("mlp", 0.3), ("boost", 0.1)])
        count = generator.randint(1, 4)
        parts = [generator.gauss(2.0, 20.0) for _ in range(count)]
        times = sorted(number + 5.0 * generator.random() for _ in parts)
        for at, (time, part) in enumerate(zip(times, parts, strict=True)):
            given: dict[str, Any] = {"position_id": f"p{number}", "weight": 1.0 / count, "counted": at == 0}
            log.append((time, reward_of(part, arm, p, **given)))
        r = fsum(parts) / count
        whole.append((r, 0.25 / p, 0.25 / p * r))
    evaluation = told([reward for _, reward in sorted(log, key=lambda each: each[0])])
    assert_is(evaluation.above_uniform(), whole)
    assert evaluation.counted().decisions == 200
    assert evaluation.earned_bps == pytest.approx(fsum(each[0] for each in whole))


def test_more_arms_seen_are_weighed_together() -> None:
    """ridge was drawn, and boost was on its side: .25 + .25 of uniform were seen, by a probability of .7."""
    one, p = 1.0, 0.7
    rewards = [
        reward_of(each, arms=(RewardArm("ridge", one, p, 0.4), RewardArm("boost", 0.0, p, 0.4))) for each in EVEN
    ]
    evaluation = told(rewards, base={"boost": 2.0, "mlp": 2.0})
    assert_is(evaluation.above_uniform(), [(each, 0.5 / p, 0.5 / p * each) for each in EVEN])
    assert_is(evaluation.above_base(), [(each, 0.5 / p, 0.5 / p * each) for each in EVEN])
    assert [(arm.name, arm.pulls, arm.effective_sample) for arm in evaluation.arms()] == [
        *(("ridge", 20, pytest.approx(20.0)), ("mlp", 0, 0.0), ("boost", 0, pytest.approx(20.0)), ("carry", 0, 0.0)),
    ]


def test_where_all_is_seen_the_error_is_the_markets_own() -> None:
    """Both sides, in two parts each, B = 1,000: of four arms ridge and mlp took the drawn side, boost and carry the
    other, which earned -r - 2. So uniform earned -1 for sure, and what was earned above it is all there is of error."""
    generator = Random(3)
    whole: list[tuple[float, float, float]] = []
    log: list[tuple[int, Reward]] = []
    for number in range(60):
        parts = [generator.gauss(3.0, 20.0), generator.gauss(0.0, 20.0)]
        for at, part in enumerate(parts):
            once = 0.0 if at else 0.5
            estimates = [once - 0.5 * earned / 2_000.0 for earned in (part, part, -part - 2.0, -part - 2.0)]
            arms = tuple(
                RewardArm(name, float(name == "ridge"), 1.0, estimate)
                for name, estimate in zip(ARMS, estimates, strict=True)
            )
            given: dict[str, Any] = {"position_id": f"p{number}", "weight": 0.5, "counted": at == 0, "arms": arms}
            log.append((number + 3 * at, reward_of(part, **given)))
        whole.append((fsum(parts) / 2, 1.0, -1.0))
    evaluation = Evaluation()
    for _, reward in sorted(log, key=lambda each: each[0]):
        evaluation.add(reward, ARMS, 1_000.0)
    assert_is(evaluation.above_uniform(), whole)


def test_a_new_decision_under_an_id_that_is_open_is_one_more() -> None:
    evaluation = told([reward_of(1.0, weight=0.5)] * 2)
    assert (evaluation.counted().decisions, evaluation.earned_bps) == (2, 1.0)


def test_an_arm_is_judged_over_the_trades_at_which_it_was_there() -> None:
    """Twenty trades of two arms, then twenty with a third: ridge earned 1, boost 4 when it was there, drawn by 1/2 at
    first and by a third then. Against boost alone only the latter count: 1 + 1 + 4 on three trades are 4 less than 2
    each."""
    evaluation = Evaluation()
    for _ in range(10):
        for arm in ("ridge", "mlp"):
            evaluation.add(reward_of(1.0, arm, 0.5), ("ridge", "mlp"))
    for _ in range(20):
        for arm, earned in (("ridge", 1.0), ("mlp", 1.0), ("boost", 4.0)):
            evaluation.add(reward_of(earned, arm, 1.0 / 3.0), ("ridge", "mlp", "boost"))
    alone = evaluation.above_arm("boost")
    assert alone is not None
    assert alone.trades == 60
    assert alone.cumulative_bps == pytest.approx(120.0 - 240.0)
    regret = evaluation.regret()
    assert regret is not None
    assert regret.arm == "boost"
    assert regret.cumulative_bps == pytest.approx(120.0)
    boost = evaluation.arms()[2]
    assert (boost.pulls, boost.mean_bps, boost.error_bps, boost.earned_bps) == (20, 4.0, 0.0, 80.0)


def test_an_arm_that_went_is_no_part_of_uniform_any_more() -> None:
    """mlp earned -9; from its removal on uniform is ridge and boost, which are drawn evenly."""
    three, two = ("ridge", "mlp", "boost"), ("ridge", "boost")
    evaluation = Evaluation()
    for arms, p in ((three, 1.0 / 3.0), (two, 0.5)):
        for _ in range(20):
            for arm in arms:
                evaluation.add(reward_of(-9.0 if arm == "mlp" else 3.0, arm, p), arms)
    found = evaluation.above_uniform()
    assert found is not None
    assert found.cumulative_bps == pytest.approx(0.0)
    gone = evaluation.above_arm("mlp")
    assert gone is not None
    assert gone.trades == 60
    assert gone.per_trade_bps == pytest.approx(-1.0 + 9.0)


def test_base_counts_where_one_of_its_arms_is_there() -> None:
    evaluation = Evaluation({"carry": 1.0})
    for arms in (("ridge", "mlp"), ("ridge", "carry")):
        for _ in range(20):
            evaluation.add(reward_of(1.0, arms[1], 0.5), arms)
    found = evaluation.above_base()
    assert found is not None
    assert found.trades == 20


def test_what_cannot_be_estimated_is_counted_and_never_a_zero() -> None:
    withheld = reward_of(50.0, applied=False, counted=False, propensity_source=None, detail="the bandit is paused")
    blend = reward_of(50.0, propensity=None, propensity_source="NONE")
    evaluation = told([withheld, blend, blend, reward_of(50.0, propensity_source="CURRENT")])
    assert evaluation.counted().not_estimated == {
        "withheld": 1,
        "several arms, none of them drawn": 2,
        "no propensity was logged": 1,
    }
    assert (evaluation.counted().decisions, evaluation.earned_bps) == (0, 0.0)
    assert [evaluation.above_uniform(), evaluation.above_base(), evaluation.regret()] == [None, None, None]
    assert [arm.mean_bps for arm in evaluation.arms()] == [None] * 4


def test_what_is_open_is_bounded_and_no_reward_is_lost() -> None:
    """All decisions are half realised before any is whole: the oldest are forgotten, and their second half is one more
    square, but no further decision."""
    count = OPEN_DECISIONS + 50
    first, second = (
        [reward_of(2.0, position_id=f"p{number}", weight=0.5, counted=is_first) for number in range(count)]
        for is_first in (True, False)
    )
    evaluation = told(first)
    assert len(evaluation._open) == OPEN_DECISIONS
    for reward in second:
        evaluation.add(reward, ARMS)
    assert len(evaluation._open) == 0
    assert (evaluation.counted().decisions, evaluation.earned_bps) == (count, 2.0 * count)
    found = evaluation.above_uniform()
    assert found is not None
    assert found.effective_sample == count


@pytest.mark.parametrize("base", [{}, {"ridge": 0.0}, {"ridge": -1.0, "mlp": 2.0}, {"ridge": float("nan")}])
def test_base_weights_that_are_none_are_refused(base: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="base weights must be finite"):
        Evaluation(base)


def test_base_weights_of_any_size_are_parted_among_the_arms() -> None:
    """Their sum alone would be infinite."""
    rewards = [reward_of(each) for each in EVEN]
    large = told(rewards, base={"ridge": 1.5e308, "mlp": 1.5e308}).above_base()
    assert large is not None
    assert large == told(rewards, base={"ridge": 1.0, "mlp": 1.0}).above_base()
