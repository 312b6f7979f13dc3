"""The plain job against numbers worked by hand, and that who differs from it is named."""

from dataclasses import replace
from math import exp, fsum, log, sqrt

import msgspec
import pytest

from armstream.codec import decode, encode
from armstream.events import Close, Fill, Reward
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.pipeline import Pipeline
from armstream.stages.state import TaskState
from tests.bench import plain
from tests.bench.agreement import Standing, compare, expected
from tests.bench.backlog import settings_of
from tests.bench.child import BenchError
from tests.bench.load import ARMS as LOAD_ARMS
from tests.bench.load import Record, make_load
from tests.stages.events import source_of

ARMS = ("left", "right")
FILL = Fill(
    event_id="f", bandit_id="desk", position_id="p", instrument_id="AAPL", side="BUY", quantity=100.0, price=150.0,
    ts_event=1, fees=0.5, arm="left", propensity=0.4,
)  # fmt: skip
CLOSE = Close(
    event_id="c", bandit_id="desk", position_id="p", quantity=100.0, price=150.5, ts_event=2, slippage=0.2
)  # fmt: skip


class Memory(dict[str, object]):
    set = dict.__setitem__


def rewards_of(*events: Fill | Close) -> list[Reward]:
    memory, found = Memory(), []
    for event in events:
        for name, value in plain.apply(encode(event), ARMS, lambda _: memory, {"trades": 7}):
            reward = decode(value)
            if name == "rewards":
                assert isinstance(reward, Reward)
                found.append(reward)
    return found


def test_a_reward_is_net_of_costs() -> None:
    """(50 - 0.7) / 15,000: the worked example of docs/concepts/rewards.md."""
    for order in ((FILL, CLOSE), (CLOSE, FILL), (FILL, CLOSE, CLOSE, FILL)):
        (reward,) = rewards_of(*order)
        assert reward.reward_bps == pytest.approx(49.3 / 15_000 * 10_000)
        assert (reward.weight, reward.version, reward.total_steps, reward.cut) == (1.0, 1, 1, {"trades": 7})


def test_a_half_that_is_closed_counts_as_half_of_the_decision() -> None:
    halves = [msgspec.structs.replace(CLOSE, event_id=name, quantity=50.0) for name in "ab"]
    first, second = rewards_of(FILL, *halves)
    assert (first.weight, first.counted, second.weight, second.counted) == (0.5, True, 0.5, False)


def test_the_last_vector_is_the_formulas() -> None:
    """One decision, of the left arm: L = loss / (p + eta / 2) with loss = (100 - r) / 200 and eta = sqrt(ln 2 / 2)."""
    records = [Record(b"desk", encode(event), isinstance(event, Close)) for event in (FILL, CLOSE)]
    outcome = expected(records, ARMS)
    reward_bps = 49.3 / 15_000 * 10_000
    loss = (100 - reward_bps) / 200 / (0.4 + sqrt(log(2) / 2) / 2)
    left = exp(-sqrt(log(2) / 4) * loss)  # the rate of the second decision
    standing = outcome.standings["desk"]
    assert (outcome.reward_count, standing.version, standing.total_steps) == (1, 1, 1)
    assert standing.weights == pytest.approx([left / (left + 1), 1 / (left + 1)])


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({}, "vectors of 0 bandits"),
        ({"desk": Standing(3, 2, (0.5, 0.5))}, "version 3 after 2"),
        ({"desk": Standing(2, 1, (0.5, 0.5))}, "version 2 after 1"),
        ({"desk": Standing(2, 2, (0.5 - 1e-8, 0.5 + 1e-8))}, "off by 1e-08"),
    ],
)
def test_who_differs_is_named(found: dict[str, Standing], says: str) -> None:
    wanted = {"desk": Standing(2, 2, (0.5, 0.5))}
    compare(wanted, wanted, "one topic", "a contender")
    with pytest.raises(BenchError, match=f"a contender.*{says}"):
        compare(found, wanted, "one topic", "a contender")


def test_two_topics_have_a_wider_tolerance() -> None:
    wanted = Standing(2, 2, (0.5, 0.5))
    compare({"desk": replace(wanted, weights=(0.4999, 0.5001))}, {"desk": wanted}, "fills and closes apart", "it")


def test_the_stages_end_where_the_plain_job_ends() -> None:
    """Two implementations that share the schemas alone, on positions that are whole and in parts."""
    load = make_load(4_400, 20, 1_700_000_000_000_000)
    rules = settings_of("default").online_learning.model_copy(update={"families": LOAD_ARMS, "reward_bound_bps": 100.0})
    pipeline = Pipeline(TaskState(TaskLimits(), BanditRegistry(rules.for_learner())))
    trades = [decode(record.value) for record in load.records]
    rewards, last = list[Reward](), dict[str, Standing]()
    for start in range(0, len(trades), 300):
        batch = [trade for trade in trades[start : start + 300] if isinstance(trade, Fill | Close)]
        applied = pipeline.apply(batch, source_of)
        rewards += applied.rewards
        for vector in applied.weight_vectors:
            weights = [arm.weight for arm in vector.arms]
            last[vector.bandit_id] = Standing(vector.version, vector.total_steps, weights)
        pipeline.commit()
    wanted = expected(load.records, LOAD_ARMS)
    compare(last, wanted.standings, "one topic", "the stages")
    assert len(rewards) == wanted.reward_count == load.reward_count
    assert fsum(reward.reward_bps for reward in rewards) == pytest.approx(wanted.sum_bps)
