"""What the loop says of itself, without Kafka. What it does is tested on a real one: tests/integration."""

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from armstream.runtime.loop import Processor, Pulse, TaskBatch
from armstream.runtime.tasks import Progress, Restore, Steps, Task


def processor_at(turned_at: float, restoring: dict[int, Restore]) -> Any:
    """The loop, some time after its start at 0 s."""
    processor = cast(Any, object.__new__(Processor))
    processor._pulse, processor._told_at = Pulse(turned_at), 0.0
    processor._tasks = SimpleNamespace(restoring=restoring)
    return processor


def test_a_long_restore_is_told_every_five_seconds_with_what_it_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    steps = cast(Steps, iter(()))
    restoring = {3: Restore(steps, Progress(17)), 5: Restore(steps, Progress(2, "the committed offsets of task 5"))}
    processor = processor_at(4.9, restoring)
    with caplog.at_level(logging.INFO, logger="armstream.runtime.loop"):
        processor._tell_of_restores()
        assert caplog.messages == []
        for processor._pulse.turned_at in (5.1, 9.9, 10.2):
            processor._tell_of_restores()
    lines = [
        "restoring task 3: 17 records to go",
        "restoring task 5: 2 records to go, waiting for the committed offsets of task 5",
    ]
    assert caplog.messages == lines * 2


def test_a_restore_that_begins_later_has_its_first_five_seconds_too(caplog: pytest.LogCaptureFixture) -> None:
    processor = processor_at(100.0, {})
    with caplog.at_level(logging.INFO, logger="armstream.runtime.loop"):
        processor._tell_of_restores()
        processor._tasks.restoring = {3: Restore(cast(Steps, iter(())), Progress(17))}
        processor._pulse.turned_at = 104.0
        processor._tell_of_restores()
    assert caplog.messages == []


@pytest.mark.parametrize(("moved_to", "is_kept"), [(7, False), (9, True)])
def test_of_a_batch_that_moves_no_offset_the_committed_ones_tell_nothing(moved_to: int, is_kept: bool) -> None:
    """A task that only says whose it is has the same offsets before and after: the next restore reads what was said."""
    pipeline = SimpleNamespace(rollback=lambda: None)
    task = Task(3, cast(Any, pipeline), {"trades": 7})
    batch = [TaskBatch(task, [], cast(Any, None), {"trades": moved_to}, "")]
    kept: list[TaskBatch] = []
    doubted: list[int] = []
    processor = cast(Any, object.__new__(Processor))
    processor._serve = lambda: None
    processor._committer = SimpleNamespace(renew=lambda serve: serve(), group_refused=False)
    processor._member = SimpleNamespace(seek_back=lambda serve: serve())
    processor._committed = lambda part: dict(part.next_offset)
    processor._keep, processor._doubt = kept.extend, doubted.append
    processor._aborts_in_a_row = 0
    processor._settle(batch)
    assert (kept, doubted) == ((batch, []) if is_kept else ([], [3]))
