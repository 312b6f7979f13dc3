"""What the loop says of itself, without Kafka. What it does is tested on a real one: tests/integration."""

import logging
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError

from armstream.codec import encode
from armstream.events import Fill
from armstream.keys import partition_of
from armstream.learning import LearningSettings
from armstream.runtime import publication
from armstream.runtime.commit import Outcome
from armstream.runtime.failures import NotAllowed, Stopped
from armstream.runtime.identity import Identity
from armstream.runtime.intake import Intake
from armstream.runtime.loop import Processor, Pulse, TaskBatch, TaskRead
from armstream.runtime.moving import Part
from armstream.runtime.publication import Publication
from armstream.runtime.tasks import Progress, Restore, Steps, Task
from armstream.settings import Settings
from armstream.stages import pipeline, reward
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.state import TaskState
from tests.runtime.records import ReadRecord


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


def applying() -> Any:
    processor = processor_at(0.0, {})
    processor._topics, processor._in_force = Settings().topics.names, "{}"
    processor._intake = Intake(1, 10_000, 300_000_000, frozenset())
    processor._hold_back = SimpleNamespace(note=lambda *_: None)
    processor._watch = SimpleNamespace(identity=Identity("desk", {}, 1))
    return processor


@pytest.mark.parametrize("outcome", Outcome)
def test_only_a_claim_that_was_committed_is_said_to_stand(outcome: Outcome) -> None:
    """Of the others the log must tell, and they may have to be written again."""
    processor = processor_at(0.0, {})
    processor._settings, processor._topics, processor._consumer = Settings(), Settings().topics.names, None
    processor._watch = SimpleNamespace(identity=Identity("desk", {}, 1))
    processor._member = SimpleNamespace(has_left_records=False)
    processor._committer = SimpleNamespace(commit=lambda *_: outcome, renew=lambda _: None)
    processor._restorer = SimpleNamespace(claims_wanted={0, 3}, has_claimed=False)
    processor._claim()
    assert processor._restorer.has_claimed is (outcome is Outcome.COMMITTED)
    assert processor._restorer.claims_wanted == set()


def moving(outcome: Outcome, **of_the_committer: Any) -> Any:
    """A loop with the parts of two tasks to commit, at offsets of theirs."""
    processor = processor_at(0.0, {})
    processor._topics, processor._consumer = Settings().topics.names, None
    processor._member = SimpleNamespace(has_left_records=False)
    processor.committed, processor.renewed = [], []

    def commit(publications: Iterable[Publication], *_: Any) -> Outcome:
        processor.committed += [(one.records, one.next_offsets) for one in publications]
        return outcome

    of = {"not_allowed": None, "is_of_a_record": False, "error": "too large", **of_the_committer}
    processor._committer = SimpleNamespace(commit=commit, renew=processor.renewed.append, **of)
    parts = {number: Part([{"key": b"book", "value": b"%d" % number}], {"trades": 7 + number}) for number in (0, 3)}
    processor._restorer = SimpleNamespace(parts_wanted=parts)
    return processor


@pytest.mark.parametrize("outcome", Outcome)
def test_each_part_of_a_state_is_a_transaction_with_its_tasks_offsets_as_they_are(outcome: Outcome) -> None:
    """With them a group that has given the task away refuses it."""
    processor = moving(outcome)
    processor._move()
    assert processor.committed == [
        ({("snapshots", number): [{"key": b"book", "value": b"%d" % number}]}, {("trades", number): 7 + number})
        for number in (0, 3)
    ]
    assert [part.outcome for part in processor._restorer.parts_wanted.values()] == [outcome] * 2
    assert len(processor.renewed) == 2 * (outcome is Outcome.UNKNOWN)


def test_a_part_of_a_task_that_was_taken_away_meanwhile_is_not_written() -> None:
    processor = moving(Outcome.COMMITTED)
    commit = processor._committer.commit

    def revoking(*given: Any) -> Any:
        processor._restorer.parts_wanted.clear()
        return commit(*given)

    processor._committer.commit = revoking
    processor._move()
    assert [next(iter(records)) for records, _ in processor.committed] == [("snapshots", 0)]


def test_a_state_that_no_try_could_move_ends_the_process_and_says_why() -> None:
    with pytest.raises(Stopped, match=r"^the state of task 0 could not be moved to snapshots: too large; let "):
        moving(Outcome.ABORTED, is_of_a_record=True)._move()
    error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(NotAllowed):
        moving(Outcome.ABORTED, not_allowed=error)._move()


def task_and_records() -> tuple[Task, list[Any]]:
    state = TaskState(TaskLimits(), BanditRegistry(LearningSettings(("ridge", "lstm"))))
    assert partition_of(b"book", 1) == 0
    now_micros = 1_700_000_000_000_000
    fills = [Fill(f"f{at}", "book", f"p{at}", "AAPL", "BUY", 1.0, 2.0, now_micros, arm="ridge") for at in range(5)]
    records = [ReadRecord("trades", 0, at, b"book", encode(one)) for at, one in enumerate(fills)]
    return Task(0, pipeline.Pipeline(state), {"trades": 0, "commands": 0}), records


def fails_for(one: object, *_: object) -> Any:
    """The fill f3 and what is made of it."""
    fills = getattr(one, "fills", (one,))
    if any(getattr(each, "event_id", "") == "f3" for each in fills):
        raise RuntimeError("no")


@pytest.mark.parametrize("place", ["the intake", "a stage", "publication", "what holds back"])
def test_a_batch_that_fails_anywhere_is_named_by_the_record_that_it_fails_for(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    processor, (task, records) = applying(), task_and_records()
    if place == "the intake":
        read = processor._intake.read
        processor._intake.read = lambda some: [fails_for(one) or one for one in read(some)]
    elif place == "a stage":
        take = reward.take_fill
        monkeypatch.setattr(pipeline, "take_fill", lambda state, fill: fails_for(fill) or take(state, fill))
    elif place == "publication":
        monkeypatch.setattr(publication, "encode", lambda one: fails_for(one) or encode(one))
    else:
        processor._hold_back = SimpleNamespace(note=lambda *given: [fails_for(one) for one in given[2]])
    with pytest.raises(Stopped) as stopped:
        processor._apply(task, TaskRead(records), Publication())
    assert str(stopped.value) == (
        "the record at trades:0:3 could not be applied: RuntimeError('no'); "
        "`armstream run --skip trades:0:3` sends it to dead letters"
    )


def test_a_batch_that_fails_though_each_record_alone_does_not_says_where_it_begins() -> None:
    processor, (task, records) = applying(), task_and_records()

    def fail_together(_: int, some: list[Any], __: object) -> None:
        if len(some) > 1:
            raise RuntimeError("together")

    processor._hold_back = SimpleNamespace(note=fail_together)
    with pytest.raises(Stopped, match=r"^5 records, trades:0:0 the first, could not be applied: RuntimeError"):
        processor._apply(task, TaskRead(records), Publication())


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
    processor._committer = SimpleNamespace(
        renew=lambda serve: serve(), group_refused=False, is_of_a_record=False, not_allowed=None, error=""
    )
    processor._member = SimpleNamespace(seek_back=lambda serve: serve())
    processor._committed = lambda part: dict(part.next_offset)
    processor._keep, processor._doubt = kept.extend, doubted.append
    processor._aborts_in_a_row = 0
    processor._settle(batch)
    assert (kept, doubted) == ((batch, []) if is_kept else ([], [3]))
