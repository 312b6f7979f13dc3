"""How many records go to the stages at once: one, until most are unusual; and what goes wrong in a run is named."""

import gc
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("armstream._native", reason="the native core is not built here")

from armstream._native import Core
from armstream.core.pipeline import CorePipeline
from armstream.core.runs import Runs
from armstream.events import Input, Rejected
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.pipeline import ApplyFailure, Batch
from tests.core.task import OnCore, records_of
from tests.stages.events import START, close, fill, learning_rules


def usual(count: int) -> list[Input]:
    """Duplicates of an event that came with the first of all."""
    return [fill("f0", "p0") for _ in range(count)]


def unusual(count: int) -> list[Input]:
    return [Rejected("DECODE", "no event", START) for _ in range(count)]


def run_lengths(events: Sequence[Input], runs: Runs) -> list[int]:
    """Of how many records the stages were given, each time."""
    core = OnCore(TaskLimits(), BanditRegistry(learning_rules()), runs=runs)
    core.publish(records_of([fill("f0", "p0"), close("c0", "p0")]))
    core.pipeline.commit()
    lengths, read = [], core.intake.read

    def noted(records: Sequence[Any]) -> list[Input]:
        lengths.append(len(records))
        return read(records)

    pipeline: CorePipeline = core.pipeline
    pipeline.apply(records_of(events, 2), {"trades": 2, "commands": 0}, noted, core.intake.source_of)
    pipeline.commit()
    return lengths


def test_unusual_records_among_usual_ones_go_one_by_one() -> None:
    events = [event for _ in range(50) for event in (*unusual(1), *usual(1))]
    assert run_lengths(events, Runs(many=4, least=10)) == [1] * 50


def test_where_most_are_unusual_runs_go_which_grow_and_the_core_looks_at_some_between() -> None:
    # The fourth makes 4, and a run begins there; 2 are left, so that the second after it begins the next.
    assert run_lengths(unusual(60), Runs(many=4, least=10, most=20)) == [1, 1, 1, 10, 1, 20, 1, 20, 1, 4]


def test_a_run_ends_with_its_batch() -> None:
    assert run_lengths(unusual(5), Runs(many=2, least=10)) == [1, 4]


def test_the_core_is_back_as_soon_as_records_are_usual_again() -> None:
    events = [*unusual(5), *usual(20), *unusual(3), *usual(20), *unusual(5)]
    assert run_lengths(events, Runs(usual=2, many=4, least=10)) == [1, 1, 1, 10, 1, 1, 1, 1, 1, 1, 2]


def test_what_fails_within_a_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    applied = Batch.apply

    def fail(batch: Batch, index: int, event: Input) -> None:
        if index == 3:
            raise ValueError("no input should do that")
        applied(batch, index, event)

    monkeypatch.setattr(Batch, "apply", fail)
    core = OnCore(TaskLimits(), BanditRegistry(learning_rules()), hands_over=True)
    with pytest.raises(ApplyFailure) as failure:
        core.publish(records_of(unusual(6)))
    assert failure.value.index == 3


def test_a_task_that_is_let_go_is_freed() -> None:
    """Bandits as the stages left them have the core's heaps, and the core has the bandits."""
    before = cores()
    core = [OnCore(TaskLimits(), BanditRegistry(learning_rules()), hands_over=True)]
    core[0].publish(records_of([fill("f0", "p0")]))
    core[0].pipeline.commit()
    assert cores() == before + 1
    core.clear()
    assert cores() == before


def cores() -> int:
    gc.collect()
    return sum(type(each) is Core for each in gc.get_objects())
