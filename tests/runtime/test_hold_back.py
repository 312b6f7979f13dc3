"""Who waits for whom, where fills and closes come on two topics."""

from typing import cast

import pytest
from confluent_kafka import Consumer, TopicPartition

from armstream.runtime.hold_back import HoldBack
from armstream.runtime.tasks import Task
from armstream.settings import LimitSettings
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.pipeline import Pipeline
from armstream.stages.state import TaskState
from tests.runtime.records import ReadRecord
from tests.stages.events import fill, learning_rules

TRADES = ("fills", "closes")


class PausedPartitions:
    """As much of a consumer as is asked: what is paused."""

    def __init__(self) -> None:
        self.paused: set[tuple[str, int]] = set()

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {(one.topic, one.partition) for one in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {(one.topic, one.partition) for one in partitions}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("armstream.runtime.hold_back.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def task() -> Task:
    state = TaskState(TaskLimits(trades_share_topic=False), BanditRegistry(learning_rules()))
    return Task(3, Pipeline(state), {"fills": 10, "closes": 0, "commands": 0})


def begun(trades: tuple[str, ...] = TRADES) -> tuple[HoldBack, PausedPartitions]:
    consumer = PausedPartitions()
    holder = HoldBack(cast(Consumer, consumer), trades, LimitSettings())
    holder.begin(3)
    return holder, consumer


def test_a_task_that_begins_reads_the_fills_that_are_there_before_its_closes(task: Task) -> None:
    holder, consumer = begun()
    assert consumer.paused == {("closes", 3)}
    holder.step(task, {"fills": 0, "closes": 0, "commands": 0})  # nothing was heard of yet
    holder.step(task, {"fills": 5, "closes": 7, "commands": 0})
    holder.note(3, [ReadRecord("fills", 3, 10, b"book", b"")], [fill()])
    task.next_offset["fills"] = 14
    holder.step(task, {"fills": 9, "closes": 7, "commands": 0})  # more came meanwhile
    assert consumer.paused == {("closes", 3)}
    task.next_offset["fills"] = 15
    holder.step(task, {"fills": 8, "closes": 7, "commands": 0})
    assert consumer.paused == set()


def test_closes_wait_no_longer_where_the_broker_says_that_no_fill_is_there(task: Task) -> None:
    holder, consumer = begun()
    holder.hear_end("fills", 3, 10)
    holder.step(task, {"fills": 4, "closes": 7, "commands": 0})  # an open transaction holds four
    assert consumer.paused == set()


def test_closes_wait_30_seconds_for_fills_whose_leader_is_away_and_no_longer(clock: list[float], task: Task) -> None:
    holder, consumer = begun()
    clock[0] += 29.9
    holder.step(task, {"fills": 5, "closes": 7, "commands": 0})
    assert consumer.paused == {("closes", 3)}
    clock[0] += 0.2
    holder.step(task, {"fills": 5, "closes": 7, "commands": 0})
    assert consumer.paused == set()


def test_fills_wait_for_closes_of_which_nothing_was_heard_yet(clock: list[float], task: Task) -> None:
    """Their first fetch may take longer than a second, and until then no lag is known."""
    holder, consumer = begun()
    press_with_fills(holder, task)
    clock[0] += 5.0
    holder.step(task, {"fills": 0, "closes": 0, "commands": 0})
    assert consumer.paused == {("fills", 3)}


def test_fills_wait_for_closes_until_these_are_at_their_end(task: Task) -> None:
    holder, consumer = begun()
    holder.hear_end("closes", 3, 0)
    press_with_fills(holder, task)
    task.next_offset["closes"] = 8  # more came, and were read
    holder.step(task, {"fills": 0, "closes": 0, "commands": 0})
    assert consumer.paused == {("fills", 3)}
    holder.hear_end("closes", 3, 8)
    holder.step(task, {"fills": 0, "closes": 0, "commands": 0})
    assert consumer.paused == set()


def press_with_fills(holder: HoldBack, task: Task) -> None:
    """More than a quarter of what may be open, the newest of the two topics."""
    task.pipeline.state.open_position_count = LimitSettings().open_positions // 4 + 1
    holder.step(task, {"fills": 0, "closes": 0, "commands": 0})  # closes wait no more
    holder.note(3, [ReadRecord("fills", 3, 10, b"book", b"")], [fill()])


def test_a_task_that_begins_again_holds_its_closes_again(task: Task) -> None:
    holder, consumer = begun()
    holder.hear_end("fills", 3, 10)
    holder.step(task, {"fills": 0, "closes": 0, "commands": 0})
    holder.note(3, [ReadRecord("fills", 3, 10, b"book", b"")], [fill()])
    holder.begin(3)
    holder.step(task, {"fills": 0, "closes": 7, "commands": 0})
    assert consumer.paused == {("closes", 3)}


def test_with_one_topic_nobody_waits() -> None:
    _, consumer = begun(("trades",))
    assert consumer.paused == set()
