"""Random histories: interleavings, batch boundaries, aborts and restarts change nothing that they must not change."""

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armstream.codec import encode
from armstream.events import Close, Fill, Input, Reward
from armstream.learning import LearningSettings
from armstream.stages.facts import TaskLimits
from tests.stages import reference
from tests.stages.events import ARMS, learning_rules, short_rules
from tests.stages.histories import histories, merged, positions
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
)
splits = st.lists(st.integers(1, 9), max_size=12)
turns = st.lists(st.booleans(), max_size=14)


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
) -> Task:
    """A task that applied it all; `between` is called before each batch, with it."""
    task = Task(short_rules(), rules)
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


@settings(max_examples=120)
@given(histories())
def test_rewards_dead_letters_and_versions_are_those_of_the_reference(events: list[Input]) -> None:
    task = run(events)
    expected = reference.replay(
        events, ARMS, dedupe_window_micros=1_000, orphan_ttl_micros=400, max_holding_micros=4_000
    )
    published = task.published
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
        numbers = (reward.quantity, reward.reward_bps, reward.weight)
        segment = slow.segment
        assert numbers == pytest.approx((segment.quantity, segment.reward_bps, segment.weight), rel=1e-9, abs=1e-9)
        assert {arm.name: arm.share for arm in reward.arms} == slow.arms
    assert [(cause, letter.error_class) for cause, letter in published.dead_letters] == [
        (letter.cause, letter.error_class) for letter in expected.dead_letters
    ]
    for (_, letter), slow_letter in zip(published.dead_letters, expected.dead_letters, strict=True):
        assert letter.source.offset == (-1 if slow_letter.index is None else slow_letter.index)
        assert letter.quantity_left == (
            None if slow_letter.quantity_left is None else pytest.approx(slow_letter.quantity_left, rel=1e-9)
        )
    assert [index for index, outcome in enumerate(published.outcomes) if outcome == 1] == expected.duplicates
    assert {bandit_id: vector.version for bandit_id, vector in published.weights.items()} == expected.versions
    assert set(published.positions) == {f"{bandit_id}\0{position_id}" for bandit_id, position_id in expected.remembered}
    assert task.state.position_count == len(expected.remembered)


@settings(max_examples=60)
@given(histories(), splits, splits, st.sampled_from(RULES))
def test_batch_boundaries_do_not_matter(
    events: list[Input], one: list[int], other: list[int], rules: LearningSettings
) -> None:
    first, second = run(events, one, rules), run(events, other, rules)
    assert as_bytes(first.published) == as_bytes(second.published)
    assert counts(first) == counts(second)


@settings(max_examples=60)
@given(histories(), splits, st.sampled_from(RULES))
def test_a_batch_rolled_back_and_applied_again_is_as_applied_once(
    events: list[Input], sizes: list[int], rules: LearningSettings
) -> None:
    def abort_first(task: Task, batch: Sequence[Input]) -> None:
        before = counts(task)
        task.abort(*batch, *events)
        assert counts(task) == before

    undisturbed, disturbed = run(events, sizes, rules), run(events, sizes, rules, abort_first)
    assert as_bytes(disturbed.published) == as_bytes(undisturbed.published)
    assert counts(disturbed) == counts(undisturbed)


@settings(max_examples=60)
@given(histories(), splits, st.sampled_from(RULES))
def test_a_restart_between_any_two_batches_goes_on_bit_for_bit(
    events: list[Input], sizes: list[int], rules: LearningSettings
) -> None:
    undisturbed = run(events, sizes, rules)
    restarted = run(events, sizes, rules, lambda task, _: task.restart())
    assert as_bytes(restarted.published) == as_bytes(undisturbed.published)
    assert counts(restarted) == counts(undisturbed)


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


@settings(max_examples=30)
@given(histories())
def test_counts_are_those_of_the_positions_kept(events: list[Input]) -> None:
    task = run(events, (3, 5))
    kept = [task.position(key.split("\0")[1], key.split("\0")[0]) for key in task.published.positions]
    assert counts(task) == (
        len(task.published.bandits),
        len(kept),
        sum(bool(position.fills) for position in kept),
        sum(len(position.closes) for position in kept),
    )
    for position in kept:
        assert not (position.fills and position.closes)
        lefts = [fill.left for fill in position.fills] + [close.left for close in position.closes]
        assert all(left > 0.0 and math.isfinite(left) for left in lefts)


def test_rules_refuse_a_holding_shorter_than_the_dedupe_window() -> None:
    with pytest.raises(ValueError, match="max_holding"):
        TaskLimits(dedupe_window_micros=10, max_holding_micros=9)
    with pytest.raises(ValueError, match="max_bandits"):
        TaskLimits(max_bandits=0)
