"""Random histories: interleavings, batch boundaries, aborts and restarts change nothing that they must not change, and
all of it is what the slow reference says. A hundred thousand histories, in a third of an hour:

    HISTORIES=100000 .venv/bin/python -m pytest tests/stages/test_history.py -k published --timeout 0
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from armstream.codec import decode, encode
from armstream.events import Close, Fill, Input, Paged, PositionPage, Reward
from armstream.keys import page_key
from armstream.learning import LearningSettings
from armstream.stages.facts import TaskLimits
from tests.stages import reference
from tests.stages.events import ARMS, START, close, fill, learning_rules, short_rules
from tests.stages.histories import crowds, histories, limits, merged, positions
from tests.stages.signalled import Choices, Engine
from tests.stages.task import Published, Task

EXPERTS = (("base", {"ridge": 1.0, "mlp": 1.0}), ("bandit", "exp3ix"), ("best", "follow_best"), ("regime", "engine"))
RULES: tuple[LearningSettings, ...] = (
    learning_rules(),
    learning_rules(reward_bound_bps="auto"),
    learning_rules(algorithm="tsallis"),
    learning_rules(algorithm="exp4", experts=EXPERTS),
    learning_rules(algorithm="exp4", experts=EXPERTS, reward_bound_bps="auto", estimator="importance", gamma=0.1),
    learning_rules(estimator="importance", gamma=0.05, eta_max=0.07, attribution="simultaneous"),
    learning_rules(eta=0.1, fixed_share=0.001, transform="tanh"),
    learning_rules(feedback="side"),
    learning_rules(algorithm="tsallis", feedback="both", eta_auto="adaptive"),
)
splits = st.lists(st.integers(1, 9) | st.integers(50, 140), max_size=12)
turns = st.lists(st.booleans(), max_size=14)


def examples(count: int) -> settings:
    """So many, or as many as HISTORIES says."""
    return settings(
        max_examples=int(os.environ.get("HISTORIES", count)),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def cut(events: Sequence[Input], sizes: Sequence[int]) -> list[Sequence[Input]]:
    """Batches of the sizes given, the last one takes the rest."""
    batches, at = [], 0
    for size in sizes:
        batches.append(events[at : at + size])
        at += size
    return [batch for batch in (*batches, events[at:]) if batch]


def run(
    events: Sequence[Input],
    sizes: Sequence[int] = (),
    rules: LearningSettings = RULES[0],
    between: Callable[[Task, Sequence[Input]], object] = lambda *_: None,
    near: Mapping[str, Any] = MappingProxyType({}),
    registered: Sequence[str] | None = None,
) -> Task:
    """A task that applied it all; `between` is called before each batch, with it. `near` are fields of TaskLimits."""
    task = Task(
        short_rules(**near),
        rules,
        overrides=dict.fromkeys(registered or (), rules),
        registered_only=registered is not None,
    )
    for batch in cut(events, sizes):
        between(task, batch)
        task.apply(*batch)
    return task


def as_bytes(published: Published) -> dict[str, object]:
    """Everything published, comparable to the last bit (NaN too)."""
    return {
        "rewards": [(index, encode(reward)) for index, reward in published.rewards],
        "dead letters": [(index, encode(letter)) for index, letter in published.dead_letters],
        "outcomes": published.outcomes,
        "weights": {bandit_id: encode(vector) for bandit_id, vector in published.weights.items()},
        "bandits": published.bandits,
        "positions": published.positions,
        "clipped": published.clipped_count,
    }


def counts(task: Task) -> tuple[int, int, int, int]:
    state = task.state
    return state.bandit_count, state.position_count, state.open_position_count, state.waiting_close_count


def segment_facts(rewards: Sequence[Reward]) -> list[tuple[str, str, float, float, float]]:
    return sorted((r.fill_event_id, r.close_event_id, r.quantity, r.reward_bps, r.weight) for r in rewards)


@settings(max_examples=120)
@given(positions(), turns, turns)
def test_any_interleaving_gives_the_same_segments_and_those_of_the_reference(
    position: tuple[list[Fill], list[Close]], one: list[bool], other: list[bool]
) -> None:
    fills, closes = position
    first = [reward for _, reward in run(merged(fills, closes, one)).published.rewards]
    second = [reward for _, reward in run(merged(fills, closes, other)).published.rewards]
    assert segment_facts(first) == segment_facts(second)
    assert [reward.counted for reward in first] == [True] + [False] * (len(first) - 1) if first else True

    expected = reference.segments_of(fills, closes)
    assert len(first) == len(expected)
    ids = sorted((s.fill_event_id, s.close_event_id) for s in expected)
    assert [facts[:2] for facts in segment_facts(first)] == ids
    for reward in first:
        (match,) = [
            s for s in expected if (s.fill_event_id, s.close_event_id) == (reward.fill_event_id, reward.close_event_id)
        ]
        numbers = (reward.quantity, reward.reward_bps, reward.weight)
        assert numbers == pytest.approx((match.quantity, match.reward_bps, match.weight), rel=1e-9, abs=1e-9)


def assert_as_the_reference_says(task: Task, events: Sequence[Input], registered: Sequence[str] | None = None) -> None:
    """All that was published, and all that is remembered."""
    expected, published = reference.replay(events, ARMS, task.reward_rules, registered), task.published
    assert [
        (cause, letter.error_class, letter.source.offset, letter.quantity_left)
        for cause, letter in published.dead_letters
    ] == [
        (
            *(letter.cause, letter.error_class, -1 if letter.index is None else letter.index),
            None if letter.quantity_left is None else pytest.approx(letter.quantity_left, rel=1e-9),
        )
        for letter in expected.dead_letters
    ]
    assert [index for index, outcome in enumerate(published.outcomes) if outcome == 1] == expected.duplicates
    assert [
        (index, r.bandit_id, r.version, r.position_id, r.fill_event_id, r.close_event_id, r.applied, r.counted)
        for index, r in published.rewards
    ] == [
        (*(r.index, r.bandit_id, r.version, r.position_id), *(s.fill_event_id, s.close_event_id, r.applied, r.counted))
        for r in expected.rewards
        for s in (r.segment,)
    ]
    assert [
        (index, one.bandit_id, one.version, one.command_id, one.outcome) for index, one in published.commands_applied
    ] == [(one.index, one.bandit_id, one.version, one.command_id, one.outcome) for one in expected.commands]
    for (_, reward), slow in zip(published.rewards, expected.rewards, strict=True):
        segment = slow.segment
        assert (reward.quantity, reward.weight) == pytest.approx((segment.quantity, segment.weight), rel=1e-9, abs=1e-9)
        if math.isfinite(segment.reward_bps):
            bound = 1e-9 + 1e-12 * segment.scale_bps  # what cancels leaves its rounding
            assert reward.reward_bps == pytest.approx(segment.reward_bps, rel=1e-9, abs=bound)
        else:
            assert not abs(reward.reward_bps) <= reference.MAX_REWARD_BPS
        assert reward.ts_event == segment.ts_event
        assert {arm.name: arm.share for arm in reward.arms} == slow.arms
        assert bool(reward.detail) == (not reward.applied)
        assert reward.detail.startswith("written off") == segment.withheld.startswith("written off")
        assert not segment.withheld.startswith("written off") or reward.detail == segment.withheld
    assert {bandit_id: vector.version for bandit_id, vector in published.weights.items()} == expected.versions
    assert task.remembered() == expected.remembered
    assert task.state.position_count == len(expected.remembered)
    kept = {bandit_id: task.bandit(bandit_id) for bandit_id in published.bandits}
    assert {each: bandit.forgotten_until for each, bandit in kept.items()} == expected.forgotten_until
    assert {
        each: (bandit.fill_watermark, bandit.close_watermark) for each, bandit in kept.items()
    } == expected.watermarks


registered = st.sampled_from((None, None, ("book-1",), ("book-1", "book-2")))


@examples(300)
@given(histories(), limits(), registered)
def test_what_is_published_and_remembered_is_as_the_reference_says(
    events: list[Input], near: dict[str, Any], registered: tuple[str, ...] | None
) -> None:
    assert_as_the_reference_says(run(events, near=near, registered=registered), events, registered)


NOT_MET: dict[str, Any] = {"orphan_ttl_micros": 6_000}  # closes wait longer than a position is held
FOUND: dict[str, tuple[list[Input], dict[str, Any]]] = {  # by random histories, made small
    "0.1 closes what 99.9 left of 100": (
        [
            fill(quantity=100.0),
            close("c1", quantity=99.9),
            close("c2", quantity=0.1),
            fill("f2", "p2", ts_event=START + 401),
        ],
        {},
    ),
    "0.1 fills what 99.9 left of a close of 100": (
        [
            close(quantity=100.0),
            fill("f1", quantity=99.9, order_quantity=100.0),
            fill("f2", quantity=0.1, order_quantity=100.0),
            close("c2", "p2", ts_event=START + 1_001),
        ],
        {},
    ),
    "a final close that gave up leaves no decision behind": (
        [
            close(quantity=100.0, final=True),
            fill("f1", quantity=1.0, ts_event=START + 401),
            fill("f2", arm="mlp", ts_event=START + 402),
        ],
        {},
    ),
    "an order that is filled is done once the last close gave up": (
        [
            fill(quantity=1.0, order_quantity=1.0),
            close(quantity=2.0),
            fill("f2", "p2", ts_event=START + 401),
            fill("f3", quantity=1.0, order_quantity=3.0, ts_event=START + 402),
        ],
        {},
    ),
    "a position has one side, also after its final close": (
        [fill(side="SELL"), close(final=True), fill("f2", side="BUY"), fill(side="SELL")],
        {},
    ),
    "a bandit without fills is forgotten with a position that was held too long": (
        [close(), close("c2", "p2", ts_event=START + 4_001, quantity=-1.0)],
        NOT_MET,
    ),
    "what gave up for another bandit's close is old enough to be forgotten": (
        [
            close("c1", "p1", ts_event=START + 1_000),
            fill("f2", "p2", ts_event=START + 3_000),
            close("c3", "p3", bandit_id="other", ts_event=START + 1_001),
            close("c1", "p1", ts_event=START + 2_500),
        ],
        {"max_waiting_closes": 1} | NOT_MET,
    ),
    "what gave up for another bandit's close is forgotten at once where it is old enough": (
        [
            close("c1", "p1", ts_event=START + 1_000),
            fill("f2", "p2", ts_event=START + 3_000),
            close("c3", "p3", bandit_id="other", ts_event=START + 1_001),
            fill("f3", "p3", ts_event=START // 1_000),
        ],
        {"max_waiting_closes": 1} | NOT_MET,
    ),
}


@pytest.mark.parametrize("history", FOUND.values(), ids=FOUND)
def test_what_was_once_wrong_is_as_the_reference_says(history: tuple[list[Input], dict[str, Any]]) -> None:
    events, near = history
    assert_as_the_reference_says(run(events, near=near), events)
    assert_as_the_reference_says(run(events, [1] * len(events), near=near), events)


@examples(20)
@given(crowds(), limits())
def test_positions_of_many_pages_are_as_the_reference_says(events: list[Input], near: dict[str, Any]) -> None:
    assert_as_the_reference_says(run(events, (64, 1, 100), near=near), events)


@examples(60)
@given(histories() | crowds(), splits, splits, st.sampled_from(RULES), limits())
def test_batch_boundaries_do_not_matter(
    events: list[Input], one: list[int], other: list[int], rules: LearningSettings, near: dict[str, Any]
) -> None:
    first, second = run(events, one, rules, near=near), run(events, other, rules, near=near)
    assert as_bytes(first.published) == as_bytes(second.published)
    assert counts(first) == counts(second)


@examples(60)
@given(histories() | crowds(max_runs=4), splits, st.sampled_from(RULES), limits())
def test_a_batch_rolled_back_and_applied_again_is_as_applied_once(
    events: list[Input], sizes: list[int], rules: LearningSettings, near: dict[str, Any]
) -> None:
    def abort_first(task: Task, batch: Sequence[Input]) -> None:
        before = counts(task)
        task.abort(*batch, *events)
        assert counts(task) == before

    undisturbed, disturbed = run(events, sizes, rules, near=near), run(events, sizes, rules, abort_first, near)
    assert as_bytes(disturbed.published) == as_bytes(undisturbed.published)
    assert counts(disturbed) == counts(undisturbed)


@examples(60)
@given(histories() | crowds(), splits, st.sampled_from(RULES), limits())
def test_a_restart_between_any_two_batches_goes_on_bit_for_bit(
    events: list[Input], sizes: list[int], rules: LearningSettings, near: dict[str, Any]
) -> None:
    undisturbed = run(events, sizes, rules, near=near)
    restarted = run(events, sizes, rules, lambda task, _: task.restart(), near)
    assert as_bytes(restarted.published) == as_bytes(undisturbed.published)
    assert counts(restarted) == counts(undisturbed)


ORDERLESS: tuple[LearningSettings, ...] = (
    learning_rules(feedback="side", eta=0.1),
    learning_rules(feedback="both", eta=0.1, implicit=0.02),
    learning_rules(algorithm="tsallis", feedback="side"),
    learning_rules(algorithm="tsallis", feedback="side", eta_auto="adaptive"),
    learning_rules(algorithm="tsallis", feedback="both", eta_auto="adaptive"),
)


@settings(max_examples=60)
@given(st.sampled_from(ORDERLESS), st.binary(max_size=400), st.randoms(use_true_random=False))
def test_the_order_in_which_decisions_are_rewarded_changes_nothing_that_any_of_them_reveals(
    rules: LearningSettings, drawn: bytes, shuffling: Any
) -> None:
    """Each position's events stay in their order; the positions are told one after the other, or mixed."""
    engine, choices = Engine(list(ARMS), ("new",), version=1), Choices(drawn)
    events = [event for event in (engine.next(choices) for _ in range(40)) if isinstance(event, Fill | Close)]
    mixed = list(range(len(events)))
    shuffling.shuffle(mixed)
    queues = {each: [one for one in events if one.position_id == each] for each in engine.position_ids}
    in_turn = [events[at].position_id for at in mixed]
    orders = (in_turn, sorted(in_turn))
    tasks = [Task(TaskLimits(), rules) for _ in orders]
    for task, order in zip(tasks, orders, strict=True):
        left = {name: iter(queue) for name, queue in queues.items()}
        task.apply(*(next(left[name]) for name in order))
    (one, other) = [task.published.bandits.get("book") for task in tasks]
    assert (one is None) == (other is None)
    if one is not None:
        first, second = [task.bandit() for task in tasks]
        assert first.state == pytest.approx(second.state)
        assert [arm.state for arm in first.arms] == [pytest.approx(arm.state) for arm in second.arms]
        assert [arm.pulls for arm in first.arms] == [arm.pulls for arm in second.arms]


@settings(max_examples=40)
@given(histories())
def test_versions_have_no_gap_and_steps_count_decisions_since_the_last_reset(events: list[Input]) -> None:
    published = run(events).published
    audit = [record for _, record in published.rewards] + [record for _, record in published.commands_applied]
    for bandit_id in {record.bandit_id for record in audit}:
        own = sorted((one for one in audit if one.bandit_id == bandit_id), key=lambda one: one.version)
        assert [record.version for record in own] == list(range(1, len(own) + 1))
        counted = 0
        for record in own:
            if isinstance(record, Reward):
                counted += record.counted
                assert record.total_steps == counted
            elif record.action == "RESET":
                counted = 0


@settings(max_examples=60)
@given(histories() | crowds(), limits())
def test_counts_are_those_of_the_positions_kept(events: list[Input], near: dict[str, Any]) -> None:
    task = run(events, (3, 5), near=near)
    kept = [task.position(position_id, bandit_id) for bandit_id, position_id in task.remembered()]
    are_open = [each.open_from < len(each.fills) + (each.paged.fills if each.paged else 0) for each in kept]
    assert counts(task) == (
        len(task.published.bandits),
        len(kept),
        sum(are_open),
        sum(len(position.waiting) for position in kept),
    )
    for position, is_open in zip(kept, are_open, strict=True):
        assert not (is_open and position.waiting)
        assert is_open == (position.open_left > 0.0)
        assert all(close.left > 0.0 and math.isfinite(close.left) for close in position.waiting)


@settings(max_examples=60)
@given(histories() | crowds(), splits, limits())
def test_a_position_keeps_its_events_in_pages_that_are_written_once_and_forgotten_with_it(
    events: list[Input], sizes: list[int], near: dict[str, Any]
) -> None:
    task = run(events, sizes, near=near)
    expected = set()
    for bandit_id, position_id in task.remembered():
        position = task.position(position_id, bandit_id)
        assert len(position.fills) + len(position.closes) < 64
        paged = position.paged or Paged(0, 0, 0)
        keys = [page_key(bandit_id, position_id, number) for number in range(paged.pages)]
        records = [decode(task.published.positions[key]) for key in keys]
        pages = [record for record in records if isinstance(record, PositionPage)]
        assert [len(page.fills) + len(page.closes) for page in pages] == [64] * paged.pages
        assert sum(len(page.fills) for page in pages) == paged.fills
        assert sum(len(page.closes) for page in pages) == paged.closes
        expected |= set(keys)
    assert {key for key in task.published.positions if key.startswith("\0")} == expected


def test_rules_refuse_a_holding_shorter_than_the_dedupe_window() -> None:
    with pytest.raises(ValueError, match="max_holding"):
        TaskLimits(dedupe_window_micros=10, max_holding_micros=9)
    with pytest.raises(ValueError, match="max_bandits"):
        TaskLimits(max_bandits=0)
