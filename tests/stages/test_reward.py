"""The reward stage: matching, rewards and decisions, one rule at a time."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs

from armstream.events import DeadLetter, Header, Input, Reward, Source
from armstream.stages import pipeline as pipeline_stage
from armstream.stages.bandit import Lesson, learn
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.matching import Segment
from armstream.stages.pipeline import Pipeline
from armstream.stages.reward import Taken
from armstream.stages.sizes import MAX_WAITING_BYTES
from armstream.stages.state import TaskState
from tests.stages import reference
from tests.stages.events import START, close, fill, learning_rules, short_rules, source_of
from tests.stages.task import Task


@pytest.fixture
def task() -> Task:
    return Task(short_rules(), learning_rules())


def rewards(task: Task) -> list[Reward]:
    return [reward for _, reward in task.published.rewards]


def letters(task: Task) -> list[DeadLetter]:
    return [letter for _, letter in task.published.dead_letters]


def test_a_long_trade_nets_price_fees_and_slippage(task: Task) -> None:
    # A move of 50, less 0.70, on 15000.
    task.apply(fill(quantity=100.0, price=150.0), close(quantity=100.0, price=150.5, fees=0.5, slippage=0.2))
    (reward,) = rewards(task)
    assert reward.reward_bps == pytest.approx(32.86666666666667, rel=1e-12)
    assert (reward.quantity, reward.weight, reward.applied, reward.counted) == (100.0, 1.0, True, True)


def test_a_short_trade_earns_when_the_price_falls(task: Task) -> None:
    # (200 - 198) * 50 - 1.5 = 98.5 of 10000
    task.apply(fill(side="SELL", quantity=50.0, price=200.0), close(quantity=50.0, price=198.0, fees=1.0, slippage=0.5))
    assert rewards(task)[0].reward_bps == pytest.approx(98.5, rel=1e-12)


def test_the_reference_agrees_on_both_worked_numbers() -> None:
    (long,) = reference.segments_of([fill()], [close(fees=0.5, slippage=0.2)])
    (short,) = reference.segments_of(
        [fill(side="SELL", quantity=50.0, price=200.0)], [close(quantity=50.0, price=198.0, fees=1.0, slippage=0.5)]
    )
    assert (long.reward_bps, short.reward_bps) == pytest.approx((493 / 15, 98.5), rel=1e-15)


def test_slippage_that_the_price_holds_is_not_charged_twice(task: Task) -> None:
    task.apply(fill(), close(slippage=0.2, slippage_in_price=True))
    assert rewards(task)[0].reward_bps == pytest.approx(50 / 15_000 * 10_000, rel=1e-12)


def segments(task: Task, *events: Input) -> list[Segment]:
    taught = []

    def seen(
        state: TaskState, taken: Taken, segment: Segment, new_decision: bool, terms: Mapping[str, float]
    ) -> Lesson:
        taught.append(segment)
        return learn(state, taken, segment, new_decision, terms)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_stage, "learn", seen)
        task.apply(*events)
    return taught


@pytest.mark.parametrize("is_waiting", [False, True])
@pytest.mark.parametrize("in_price", [False, True])
def test_the_costs_of_a_segment_are_its_fees_and_slippage_whoever_holds_it(
    task: Task, is_waiting: bool, in_price: bool
) -> None:
    opens = fill(quantity=100.0, price=150.0, fees=4.0)
    closes = close(quantity=50.0, price=150.5, fees=-2.0, slippage=3.0, slippage_in_price=in_price)
    (segment,) = segments(task, *((closes, opens) if is_waiting else (opens, closes)))
    # Half of the fees of 4, a rebate of 2 and a slippage of 3 are 3 of 7,500.
    assert segment.costs_bps == pytest.approx(4.0, rel=1e-12)
    # A move of 25, less 2, plus 2, and less 3 where it is charged.
    assert segment.reward_bps == pytest.approx((25.0 if in_price else 22.0) / 0.75, rel=1e-12)


def test_a_segment_without_costs_has_none_and_costs_are_of_the_fills_own_notional(task: Task) -> None:
    (free,) = segments(task, fill(), close())
    assert free.costs_bps == 0.0
    (spread,) = segments(task, fill(position_id="p2", notional=60.0, fees=3.0), close(position_id="p2"))
    assert spread.costs_bps == pytest.approx(5.0, rel=1e-12)  # 3 of 6,000


def test_a_close_that_still_waits_keeps_the_slippage_that_its_price_holds(task: Task) -> None:
    first = fill(quantity=40.0, order_quantity=100.0)
    (before,) = segments(task, close(slippage=6.0, slippage_in_price=True), first)
    (waiting,) = task.position().waiting
    assert (waiting.left, waiting.slippage, waiting.slippage_in_price) == (60.0, 0.0, 6.0)
    (after,) = segments(task, fill("f2", quantity=60.0, order_quantity=100.0))
    assert [before.costs_bps, after.costs_bps] == pytest.approx([4.0, 4.0], rel=1e-12)  # 6 of 15,000


def test_a_position_keeps_the_signals_of_its_decision_and_no_terms_yet(task: Task) -> None:
    task.apply(fill(signals={"ridge": "BUY", "boost": "FLAT"}))
    decision = task.position().decision
    assert decision is not None
    assert (decision.signals, decision.terms) == ({"ridge": "BUY", "boost": "FLAT"}, {})


@pytest.mark.parametrize("order_quantity", [200.0, 150.0], ids=["as it was", "amended"])
def test_a_later_fill_shares_the_decision_and_leaves_its_terms(task: Task, order_quantity: float) -> None:
    given: dict[str, Any] = {"signals": {"ridge": "BUY"}, "order_quantity": 200.0}
    task.apply(fill("f1", **given))
    position = task.position()
    assert position.decision is not None
    learned = structs.replace(position, decision=structs.replace(position.decision, terms={"ridge": 0.25}))
    again = Task(short_rules(), learning_rules())
    again.state.restore_position(learned)
    assert list(again.apply(fill("f2", **(given | {"order_quantity": order_quantity}))).outcomes) == [0]
    decision = again.position().decision
    assert decision is not None
    assert (decision.order_quantity, decision.terms) == (order_quantity, {"ridge": 0.25})


def test_a_multiplier_scales_the_move_and_the_notional_but_not_the_fees(task: Task) -> None:
    # A move of 0.5 on 2 times 50, less 3, on 15000.
    task.apply(fill(quantity=2.0, multiplier=50.0), close(quantity=2.0, fees=3.0))
    assert rewards(task)[0].reward_bps == pytest.approx(47 / 15_000 * 10_000, rel=1e-12)


def test_costs_are_shared_out_by_quantity_and_the_first_unit_filled_is_the_first_closed(task: Task) -> None:
    task.apply(
        fill("f1", quantity=60.0, price=100.0, fees=6.0, order_quantity=100.0),
        fill("f2", quantity=40.0, price=110.0, fees=0.0, order_quantity=100.0),
        close("c1", quantity=80.0, price=120.0, fees=8.0),
        close("c2", quantity=20.0, price=130.0),
    )
    facts = [(r.fill_event_id, r.close_event_id, r.quantity, r.weight, r.counted) for r in rewards(task)]
    assert facts == [
        ("f1", "c1", 60.0, 0.6, True),
        ("f2", "c1", 20.0, 0.2, False),
        ("f2", "c2", 20.0, 0.2, False),
    ]
    # 1200 less 6 and 6 on 6000; 200 less 2 on 2200; 400 on 2200.
    expected = [1188 / 6000 * 1e4, 198 / 2200 * 1e4, 400 / 2200 * 1e4]
    assert [r.reward_bps for r in rewards(task)] == pytest.approx(expected, rel=1e-12)
    assert [r.total_steps for r in rewards(task)] == [1, 1, 1]
    assert task.bandit().arms[0].pulls == 1


def test_without_order_quantity_the_fill_is_the_whole_decision(task: Task) -> None:
    task.apply(fill(quantity=100.0), close("c1", quantity=25.0), close("c2", quantity=75.0))
    assert [r.weight for r in rewards(task)] == [0.25, 0.75]


def test_a_tenth_and_two_tenths_close_three_tenths_with_nothing_left(task: Task) -> None:
    task.apply(fill(quantity=0.3), close("c1", quantity=0.1), close("c2", quantity=0.2))
    assert [r.quantity for r in rewards(task)] == [0.1, pytest.approx(0.2, rel=1e-12)]
    assert (task.position().open_left, task.position().waiting) == (0.0, ())
    task.apply(
        fill("f1", "p2", quantity=0.1, order_quantity=0.3),
        fill("f2", "p2", quantity=0.2, order_quantity=0.3),  # 0.30000000000000004 of 0.3
        close(position_id="p2", quantity=0.3),
    )
    assert (task.position("p2").open_left, task.position("p2").waiting) == (0.0, ())
    assert letters(task) == []


def test_a_close_before_its_fill_waits_with_its_record(task: Task) -> None:
    applied = task.apply(close(quantity=40.0))
    assert (applied.rewards, list(applied.outcomes)) == ([], [0])
    (waiting,) = task.position().waiting
    assert (waiting.left, waiting.source) == (40.0, source_of(0))
    assert task.state.waiting_close_count == 1
    assert task.bandit().arms == ()  # no valid fill, no learner
    assert task.published.weights == {}
    task.apply(fill(quantity=100.0))
    assert [r.quantity for r in rewards(task)] == [40.0]
    assert (task.state.waiting_close_count, task.state.open_position_count) == (0, 1)


def test_the_record_is_asked_for_only_where_a_close_waits_or_a_letter_is_written(task: Task) -> None:
    asked: list[int] = []

    def asking(index: int) -> Source:
        asked.append(index)
        return source_of(index)

    task.pipeline.apply([fill(), close(), close("c2"), close("c2"), close("c3", quantity=-1.0)], asking)
    assert asked == [2, 4]


def test_a_close_in_part_ahead_keeps_waiting_for_the_rest(task: Task) -> None:
    task.apply(fill(quantity=30.0, order_quantity=100.0), close(quantity=100.0))
    (waiting,) = task.position().waiting
    assert (waiting.left, waiting.quantity, waiting.source.offset) == (70.0, 100.0, 1)


def test_an_event_seen_before_changes_nothing(task: Task) -> None:
    task.apply(fill(), close(quantity=50.0))
    before = dict(task.published.bandits), dict(task.published.positions)
    applied = task.apply(fill(), close(quantity=50.0))
    assert list(applied.outcomes) == [1, 1]
    assert (applied.rewards, applied.dead_letters, applied.bandit_snapshots, applied.position_snapshots) == ([],) * 4
    assert (task.published.bandits, task.published.positions) == before


def test_an_event_is_known_by_kind_position_and_id(task: Task) -> None:
    applied = task.apply(fill("e", "p1"), close("e", "p1"), fill("e", "p2"), close("e", "p2"), fill("e", bandit_id="b"))
    assert list(applied.outcomes) == [0, 0, 0, 0, 0]


def test_a_refused_events_id_stays_free(task: Task) -> None:
    applied = task.apply(fill("f1", price=-1.0), fill("f1"))
    assert list(applied.outcomes) == [2, 0]


@pytest.mark.parametrize(
    "fields",
    [
        {"arm": "mlp"},
        {"arm": None, "contributions": {"ridge": 1.0}},
        {"propensity": 0.4},
        {"weights_version": 2},
        {"side": "SELL"},
        {"instrument_id": "MSFT"},
        {"multiplier": 2.0},
        {"currency": "EUR"},
        {"probabilities": (0.5, 0.25, 0.25)},
        {"eta": 0.1},
        {"signals": {"ridge": "BUY", "mlp": "SELL"}},
        {"signals": {}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_fill_of_another_decision_is_a_dead_letter(task: Task, fields: dict[str, Any]) -> None:
    first: dict[str, Any] = {"quantity": 100.0, "order_quantity": 200.0, "propensity": 0.3}
    first |= {"signals": {"ridge": "BUY"}} if fields.keys() & {"signals"} else {}
    applied = task.apply(fill("f1", **first), fill("f2", **(first | fields)))
    (letter,) = applied.dead_letters
    assert letter.error_class == "VALIDATION"
    assert "a new decision needs a new position_id" in letter.error
    assert next(iter(fields)) in letter.error
    assert [each.event_id for each in task.position().fills] == ["f1"]


def test_a_second_fill_needs_order_quantity(task: Task) -> None:
    (letter,) = task.apply(fill("f1"), fill("f2")).dead_letters
    assert letter.error == "a second fill, but no order_quantity: a new decision needs a new position_id"


def test_a_flat_position_still_refuses_another_decision(task: Task) -> None:
    task.apply(fill("f1"), close("c1"))
    assert task.apply(fill("f2", arm="mlp")).dead_letters[0].error_class == "VALIDATION"


@pytest.mark.parametrize(
    ("entry", "exit_price"), [(1e-298, 1e297), (5e-324, 1.0), (1e-9, 1.0)], ids=["infinite", "no notional", "beyond"]
)
def test_a_reward_no_learner_could_take_is_used_up_and_published_unapplied(
    task: Task, entry: float, exit_price: float
) -> None:
    small: dict[str, Any] = {"multiplier": 5e-324} if entry == 5e-324 else {}
    task.apply(fill(price=entry, quantity=0.25, **small), close(price=exit_price * 1e3, quantity=0.25))
    (reward,) = rewards(task)
    assert not (math.isfinite(reward.reward_bps) and abs(reward.reward_bps) <= 1e12)
    assert (reward.applied, reward.counted, reward.version, reward.total_steps) == (False, False, 1, 0)
    assert (reward.propensity_source, reward.eta) == (None, None)
    assert [(arm.name, arm.share, arm.propensity, arm.estimate) for arm in reward.arms] == [("ridge", 1.0, None, None)]
    assert "not finite or beyond" in reward.detail
    assert (task.position().open_left, task.position().counted) == (0.0, False)
    assert task.published.weights["book"].version == 1


def test_the_first_applied_segment_counts_even_after_one_that_was_not(task: Task) -> None:
    task.apply(fill(price=1e-9), close("c1", quantity=50.0, price=1e9), close("c2", quantity=50.0, price=1e-9))
    assert [(r.applied, r.counted, r.total_steps) for r in rewards(task)] == [(False, False, 0), (True, True, 1)]


def test_the_first_applied_segment_counts_within_one_close_too(task: Task) -> None:
    order: dict[str, Any] = {"quantity": 50.0, "order_quantity": 200.0}
    task.apply(fill("f1", price=1e-9, **order), fill("f2", **order), fill("f3", **order), close(quantity=150.0))
    assert [(r.applied, r.counted) for r in rewards(task)] == [(False, False), (True, True), (True, False)]


def test_a_positions_last_time_is_its_newest_events(task: Task) -> None:
    task.apply(fill("f1", order_quantity=300.0, ts_event=START + 500), close("c1", ts_event=START + 100))
    assert task.position().ts_last == START + 500
    task.apply(close("c2", ts_event=START + 700), fill("f2", order_quantity=300.0, ts_event=START + 600))
    assert task.position().ts_last == START + 700


def test_a_reward_carries_the_time_of_the_later_event(task: Task) -> None:
    task.apply(fill(ts_event=START + 5), close(ts_event=START + 7))
    task.apply(close(position_id="p2", ts_event=START + 8), fill(position_id="p2", ts_event=START + 6))
    task.apply(close(position_id="p3", ts_event=START + 8), fill(position_id="p3", ts_event=START + 9))
    assert [r.ts_event - START for r in rewards(task)] == [7, 8, 9]


def test_fills_and_closes_of_two_topics_have_watermarks_of_their_own() -> None:
    task = Task(short_rules(trades_share_topic=False), learning_rules())
    task.apply(fill(ts_event=START + 5_000))
    assert (task.bandit().fill_watermark, task.bandit().close_watermark) == (START + 5_000, None)
    task.apply(close(ts_event=START))  # 5000 behind the fills, first of the closes
    assert (task.bandit().fill_watermark, task.bandit().close_watermark) == (START + 5_000, START)
    assert len(rewards(task)) == 1


def test_an_event_more_than_the_window_behind_its_own_kind_is_late() -> None:
    task = Task(short_rules(trades_share_topic=False), learning_rules())
    task.apply(fill("f0", "p0", ts_event=START + 2_000), close("c0", "p0", ts_event=START + 3_000))
    applied = task.apply(
        fill("f1", "p1", ts_event=START + 1_000),  # exactly the window
        fill("f2", "p2", ts_event=START + 999),
        close("c1", "p1", ts_event=START + 1_999),
        close("c2", "p1", ts_event=START + 2_000),
    )
    assert list(applied.outcomes) == [0, 2, 2, 0]
    assert [letter.error_class for letter in applied.dead_letters] == ["LATE", "LATE"]
    assert applied.dead_letters[0].error == "0.001001 s behind the newest fill; 0.001 s are allowed"


LIMITS: dict[str, tuple[list[Input], list[int]]] = {
    "max_events_per_position": (
        [
            fill("f1", order_quantity=900.0),
            close("c1"),
            fill("f2", order_quantity=900.0),
            close("c2"),
            fill("f3", order_quantity=900.0),
        ],
        [0, 0, 0, 0, 2],
    ),
    "max_bandits": (
        [fill(bandit_id="b1"), close(bandit_id="b2"), fill(bandit_id="b3"), fill(bandit_id="b4"), fill(bandit_id="b2")],
        [0, 0, 0, 0, 2],
    ),
    "max_open_positions": (
        [fill("f", "p1"), fill("f", "p2"), fill("f", "p3"), fill("f", "p4"), close("c", "p1"), fill("f", "p5")],
        [0, 0, 0, 2, 0, 0],
    ),
    "max_positions_remembered": (
        [
            fill("f", "p1"),
            fill("f", "p2"),
            close("c", "p3"),
            fill("f", "p4"),
            close("c", "p4"),
            close("c", "p1"),
            fill("f", "p5"),
        ],
        [0, 0, 0, 2, 2, 0, 0],
    ),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_past_a_limit_of_three_is_a_dead_letter_and_room_made_is_used(limit: str) -> None:
    task = Task(short_rules(**{limit: 3}), learning_rules())
    events, outcomes = LIMITS[limit]
    applied = task.apply(*events)
    assert list(applied.outcomes) == outcomes
    assert {letter.error_class for letter in applied.dead_letters} == {"LIMIT"}
    assert all("3" in letter.error and "already" in letter.error for letter in applied.dead_letters)


def test_records_wait_in_a_position_only_as_long_as_its_snapshot_stays_bounded() -> None:
    pipeline = Pipeline(TaskState(TaskLimits(), BanditRegistry(learning_rules())))
    half = MAX_WAITING_BYTES // 2 - 99  # its key has 3 bytes, its topic 6, its id 2, its numbers 88 at most

    def large(index: int) -> Source:
        return Source("trades", 0, index, b"key", b"x" * half, (Header("h", b""),) if index == 2 else ())

    applied = pipeline.apply([close("c1"), close("c2"), close("c3"), close("c", "other")], large)
    assert list(applied.outcomes) == [0, 0, 2, 0]
    assert [letter.error_class for letter in applied.dead_letters] == ["LIMIT"]
    waiting = {position.position_id: len(position.waiting) for position in applied.position_snapshots}
    assert waiting == {"p1": 2, "other": 1}


def test_a_done_position_keeps_its_ids_and_refuses_another_fill() -> None:
    task = Task(TaskLimits(), learning_rules())
    task.apply(fill("f1", quantity=40.0, order_quantity=100.0), close("c1", quantity=40.0))
    assert task.position().decision is not None  # 60 may still be filled
    applied = task.apply(fill("f2", quantity=60.0, order_quantity=100.0), close("c2", quantity=60.0))
    (reward,) = applied.rewards
    assert reward.reward_bps == pytest.approx(100 / 3)
    assert not reward.counted
    done = task.position()
    assert done.decision is None
    assert [each.event_id for each in done.fills] == ["f1", "f2"]
    assert [each.event_id for each in done.closes] == ["c1", "c2"]
    applied = task.apply(fill("f2", quantity=60.0, order_quantity=100.0), fill("f3", order_quantity=100.0))
    assert list(applied.outcomes) == [1, 2]
    assert "filled and closed already" in applied.dead_letters[0].error
