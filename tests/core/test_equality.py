"""The native core publishes what the Python stages publish, byte for byte, however a history is cut into batches, with
batches rolled back and restarts in between. A hundred thousand histories:

    HISTORIES=100000 .venv/bin/python -m pytest tests/core/test_equality.py --timeout 0
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("armstream._native", reason="the native core is not built here")

from hypothesis import given
from hypothesis import strategies as st

from armstream.codec import decode
from armstream.core.runs import Runs
from armstream.events import Input, WeightVector
from armstream.learning import LearningSettings
from armstream.stages.facts import BanditRegistry, TaskLimits
from tests.core.task import TOPICS, OnCore, OnStages, Records, counts, records_of
from tests.stages.events import learning_rules, short_rules
from tests.stages.histories import crowds, histories, limits
from tests.stages.signalled import Choices, Engine
from tests.stages.test_history import RULES, cut, examples, splits

MORE_RULES: tuple[LearningSettings, ...] = (
    *RULES,
    learning_rules(estimator="importance", gamma=0.1, fixed_share=0.01, transform="clip"),
    learning_rules(feedback="side", fixed_share=0.01, implicit=0.02),
    learning_rules(feedback="both", reward_bound_bps="auto"),
    learning_rules(algorithm="tsallis", feedback="side", fixed_share=0.05, eta=0.3),
    learning_rules(algorithm="tsallis", feedback="both", reward_bound_bps="auto"),
    learning_rules(algorithm="tsallis", eta_auto="adaptive"),
    learning_rules(algorithm="tsallis", eta_auto="adaptive", feedback="side"),
    learning_rules(enabled=False),
    learning_rules(warm_start_steps=2, ramp_steps=3, attribution="simultaneous", eta_max=0.1),
)
HORIZONS: dict[str, Any] = {"arms": ("ridge:5", "mlp:5", "ridge:20", "mlp:20"), "arm_mode": "family_horizon"}
WITH_HORIZONS: tuple[LearningSettings, ...] = (
    learning_rules(**HORIZONS, feedback="side"),
    learning_rules(**HORIZONS, feedback="both"),
    learning_rules(**HORIZONS, feedback="both", algorithm="tsallis", eta_auto="adaptive"),
)
steps = st.lists(st.sampled_from(("", "", "abort", "restart")), max_size=12)


def differences(ours: Records, theirs: Records) -> dict[str, Any]:
    """By topic, what the first record is that differs, decoded."""
    found: dict[str, Any] = {}
    for at in {*ours, *theirs}:
        pair = ours.get(at, []), theirs.get(at, [])
        if pair[0] == pair[1]:
            continue
        for one, other in zip(*pair, strict=False):
            if one != other:
                read = [decode(each["value"]) if each.get("value") else each for each in (one, other)]
                found[at[0]] = read if read[0] != read[1] else (one, other)
                break
        else:
            found[at[0]] = (len(pair[0]), len(pair[1]))
    return found


def assert_same_batch(stages: OnStages, core: OnCore, events: Sequence[Input], step: str) -> Records:
    first = sum(stages.next_offset.values())
    records = records_of(events, first)
    if step == "restart":
        stages.restart()
        core.restart()
    if step == "abort":
        core.publish([*records, *records_of(events, first + len(records))])
        core.pipeline.rollback()
    by_stages, after, counted = stages.publish(records)
    by_core, core_after, core_counted = core.publish(records)
    differing = differences(by_core, by_stages)
    assert not differing, differing
    assert by_core == by_stages
    assert (core_after, core_counted) == (after, counted)
    for task in (stages, core):
        task.pipeline.commit()
        task.compact(by_stages)
        task.next_offset = after
    assert counts(core.pipeline.state) == counts(stages.pipeline.state)
    assert core.pipeline.state.shortest_window_micros() == stages.pipeline.state.shortest_window_micros()
    return by_stages


def tasks(
    limits: TaskLimits, rules: LearningSettings, hands_over: bool = False, runs: Runs | None = None
) -> tuple[OnStages, OnCore]:
    registry = BanditRegistry(rules)
    return OnStages(limits, registry), OnCore(limits, registry, hands_over, runs)


@examples(300)
@given(
    histories() | crowds(),
    splits,
    steps,
    st.sampled_from(MORE_RULES),
    limits(),
    st.sampled_from((False, False, True)),
    st.integers(1, 5),
    st.sampled_from((1, 3, 7)),
)
def test_the_core_publishes_what_the_stages_publish(
    events: list[Input],
    sizes: list[int],
    steps: list[str],
    rules: LearningSettings,
    near: dict[str, Any],
    hands_over: bool,
    many: int,
    run: int,
) -> None:
    stages, core = tasks(short_rules(**near), rules, hands_over, Runs(many=many, least=run, most=2 * run))
    for number, batch in enumerate(cut(events, sizes)):
        assert_same_batch(stages, core, batch, steps[number] if number < len(steps) else "")


@examples(200)
@given(
    st.binary(min_size=40, max_size=900),
    steps,
    st.sampled_from((*MORE_RULES, *WITH_HORIZONS)),
    st.integers(1, 9),
    st.integers(1, 5),
)
def test_decisions_with_signals_teach_the_core_what_they_teach_the_stages(
    drawn: bytes, steps: list[str], rules: LearningSettings, size: int, many: int
) -> None:
    rules = replace(rules, reward_bound_bps=20.0) if rules.reward_bound_bps == 100.0 else rules
    stages, core = tasks(TaskLimits(), rules, runs=Runs(many=many, least=3))
    engine, choices = Engine(list(rules.arms), ("new:5", "newer")), Choices(drawn)
    for number in range(12):
        batch = [engine.next(choices) for _ in range(size)]
        published = assert_same_batch(stages, core, batch, steps[number] if number < len(steps) else "")
        for record in published.get((TOPICS.weights, 0), []):
            vector = decode(record["value"])
            assert isinstance(vector, WeightVector)
            engine.follow(vector)
