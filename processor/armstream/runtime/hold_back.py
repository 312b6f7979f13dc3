"""Where fills and closes come on two topics, the one ahead in time waits while the other one piles up state; and when a
task begins, closes wait for the fills that are there, since a bandit without a fill has no other clock than theirs.

Ahead is said of event time: a backlog may have been appended in any order. A topic has records to come until the broker
says that its end was reached; an end that is not heard of yet, or lies before an open transaction, is no guess of ours.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import Consumer, TopicPartition

from armstream.events import Close, Fill, Input
from armstream.runtime.intake import Record
from armstream.runtime.tasks import Task
from armstream.settings import LimitSettings

log = logging.getLogger(__name__)

_LONGEST_WAIT_SECONDS = 30.0  # without a record of either topic: the other one's leader may be away


class HoldBack:
    """Pauses and resumes the partitions of the trades topics. With one topic there is nothing to hold."""

    def __init__(self, consumer: Consumer, trades: Sequence[str], limits: LimitSettings) -> None:
        self._consumer = consumer
        self._trades = trades
        self._limits = limits
        self._held: set[tuple[str, int]] = set()
        self._reached: dict[tuple[str, int], int] = {}
        self._ended_at: dict[tuple[str, int], int] = {}
        self._read_at: dict[int, float] = {}
        self._first_fills_end: dict[int, int] = {}  # of tasks that begin; 0 where none was heard of yet

    def begin(self, number: int) -> None:
        """The task's partitions were resumed. With two topics its closes are held."""
        self.forget([number])
        if len(self._trades) > 1:
            fills, closes = (TopicPartition(name, number) for name in self._trades)
            self._read_at[number] = time.monotonic()
            for one in (fills, closes):
                self._ended_at.pop((one.topic, number), None)
            self._first_fills_end[number] = 0
            self._consumer.pause([closes])
            self._held.add((closes.topic, number))

    def hear_end(self, topic: str, number: int, offset: int) -> None:
        """Nothing that is committed stands at `offset` or behind it, as the broker said."""
        self._ended_at[topic, number] = offset

    def note(self, number: int, records: Sequence[Record], inputs: Sequence[Input]) -> None:
        """What time (ts_event) each topic of a task has reached."""
        if len(self._trades) == 1 or not records:
            return
        reached = {
            record.topic(): event.ts_event
            for record, event in zip(records, inputs, strict=True)
            if isinstance(event, Fill | Close)
        }
        self.note_reached(number, reached)

    def note_reached(self, number: int, reached: Mapping[str, int]) -> None:
        """The same, by topic, of a task that read something."""
        self._read_at[number] = time.monotonic()
        for topic, ts_event in reached.items():
            self._reached[topic, number] = ts_event

    def forget(self, numbers: Iterable[int]) -> None:
        """The tasks' partitions were assigned anew or resumed: none is held."""
        gone = set(numbers)
        for number in gone:
            self._first_fills_end.pop(number, None)
        self._held = {at for at in self._held if at[1] not in gone}

    def step(self, task: Task, lag_records: Mapping[str, int]) -> None:
        """Holds what is ahead while the task's state is pressed and the other topic has records to come."""
        number = task.number
        if self._waits_for_first_fills(task, lag_records):
            return
        reached = {name: self._reached.get((name, number), 0) for name in self._trades}
        ahead = max(reached, key=lambda name: reached[name])
        others_come = not self._is_idle(number) and any(
            not self._is_at_end(task, one) for one in reached if one != ahead
        )
        self._hold_only(number, {ahead} if others_come and self._is_pressed(task) else set())

    def _waits_for_first_fills(self, task: Task, lag_records: Mapping[str, int]) -> bool:
        """Whether the fills that were there when the task began are still to be read."""
        number, fills = task.number, self._trades[0]
        end = self._first_fills_end.get(number)
        if end is None:
            return False
        if end == 0 and lag_records[fills] > 0:
            end = self._first_fills_end[number] = task.next_offset[fills] + lag_records[fills]
        has_read = self._is_at_end(task, fills) or 0 < end <= task.next_offset[fills]
        if has_read or self._is_idle(number) or self._is_pressed(task):
            del self._first_fills_end[number]
            return False
        return True

    def _is_at_end(self, task: Task, topic: str) -> bool:
        return self._ended_at.get((topic, task.number)) == task.next_offset[topic]

    def _is_idle(self, number: int) -> bool:
        return time.monotonic() - self._read_at.get(number, 0.0) >= _LONGEST_WAIT_SECONDS

    def _is_pressed(self, task: Task) -> bool:
        """A quarter of a limit is reached; or an eighth, while a topic is held already."""
        state, limits = task.pipeline.state, self._limits
        share = 8 if any((name, task.number) in self._held for name in self._trades) else 4
        return (
            state.waiting_close_count > limits.waiting_closes // share
            or state.open_position_count > limits.open_positions // share
        )

    def _hold_only(self, number: int, hold: set[str]) -> None:
        if hold and not any((name, number) in self._held for name in self._trades):
            log.info("task %d: the topic that is ahead in time, now %s, waits for the other", number, ", ".join(hold))
        for name in self._trades:
            at = (name, number)
            if name in hold and at not in self._held:
                self._consumer.pause([TopicPartition(*at)])
                self._held.add(at)
            elif name not in hold and at in self._held:
                self._consumer.resume([TopicPartition(*at)])
                self._held.remove(at)
