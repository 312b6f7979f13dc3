"""Where fills and closes come on two topics, the one ahead in time waits while the other one piles up state.

Ahead is said of event time: a backlog may have been appended in any order. Nobody waits for a topic that gives nothing
for a while: what stands in an open transaction looks like records to come.
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

_IDLE_SECONDS = 1.0


class HoldBack:
    """Pauses and resumes the partitions of the trades topics. With one topic there is nothing to hold."""

    def __init__(self, consumer: Consumer, trades: Sequence[str], limits: LimitSettings) -> None:
        self._consumer = consumer
        self._trades = trades
        self._limits = limits
        self._held: set[tuple[str, int]] = set()
        self._reached: dict[tuple[str, int], int] = {}
        self._read_at: dict[int, float] = {}

    def note(self, number: int, records: Sequence[Record], inputs: Sequence[Input]) -> None:
        """What time (ts_event) each topic of a task has reached."""
        if len(self._trades) == 1 or not records:
            return
        self._read_at[number] = time.monotonic()
        for record, event in zip(records, inputs, strict=True):
            if isinstance(event, Fill | Close):
                self._reached[record.topic(), number] = event.ts_event

    def forget(self, numbers: Iterable[int]) -> None:
        """The tasks' partitions were assigned anew or resumed: none is held."""
        gone = set(numbers)
        self._held = {at for at in self._held if at[1] not in gone}

    def step(self, task: Task, lag_records: Mapping[str, int]) -> None:
        """Holds what is ahead while the task's state is pressed and the other topic has records to come."""
        number = task.number
        reached = {name: self._reached.get((name, number), 0) for name in self._trades}
        ahead = max(reached, key=lambda name: reached[name])
        others_come = time.monotonic() - self._read_at.get(number, 0.0) < _IDLE_SECONDS and any(
            lag_records[name] > 0 for name in reached if name != ahead
        )
        self._hold_only(number, {ahead} if others_come and self._is_pressed(task) else set())

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
