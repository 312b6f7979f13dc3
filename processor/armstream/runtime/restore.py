"""A task's state is read back from its snapshots, in slices, so that the rest of the processor keeps flowing.

In this order, each step's reason beside it: committed offsets (stable ones only), then the ends of the snapshot
partitions, then the snapshots up to those ends. The task snapshot and the committed offsets left one transaction
together, so they must agree; where they do not, nothing is guessed.
"""

import logging
import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from armstream.codec import decode
from armstream.events import BanditSnapshot, PositionPage, PositionSnapshot, TaskSnapshot
from armstream.keys import TASK_KEY, position_key
from armstream.runtime.failures import Stopped, stop_if_refused
from armstream.runtime.intake import Record
from armstream.runtime.tasks import Offsets, Progress, Steps, Task
from armstream.settings import Settings
from armstream.stages.pipeline import Pipeline
from armstream.stages.state import SettingsMismatch, TaskState

log = logging.getLogger(__name__)

_STABLE_OFFSETS_SECONDS = 0.2
_WATERMARK_SECONDS = 0.5
_BROKER_CLEAN_UP_SECONDS = 10.0  # transaction.abort.timed.out.transaction.cleanup.interval.ms
_AGREE_TRIES = 20


class Restorer:
    """Restores tasks. `committed_consumer` is the group's own read_committed consumer."""

    def __init__(self, settings: Settings, committed_consumer: Consumer, configuration: Mapping[str, object]) -> None:
        self._settings = settings
        self._topics = settings.topics.names
        self._committed_consumer = committed_consumer
        self._configuration = {**configuration, "enable.auto.commit": False, "enable.partition.eof": True}
        # The end that a read_committed consumer reports is the last stable offset: stopping there loses committed
        # snapshots behind somebody's open transaction.
        self._ends_consumer = Consumer(
            {**self._configuration, "isolation.level": "read_uncommitted", "enable.partition.eof": False}, logger=log
        )
        self._patience_seconds = settings.kafka.transaction_timeout_ms / 1_000 + _BROKER_CLEAN_UP_SECONDS
        self._bandit_registry = settings.bandit_registry()

    def close(self) -> None:
        self._ends_consumer.close()

    def ready(self, number: int, kept: Task | None, progress: Progress) -> Steps:
        """Steps until the task can go on; a kept one is valid as it is where the committed offsets equal its own."""
        committed = yield from self.stable_offsets(number, progress)
        starts = yield from self._starts(number, progress)
        if kept is not None and kept.next_offset == {**starts, **committed}:
            return kept
        for _ in range(_AGREE_TRIES):
            snapshots = yield from self._snapshots(number, progress)
            task_snapshot = _task_snapshot(snapshots)
            stands = dict(task_snapshot.next_offset) if task_snapshot else {}
            if {name: stands[name] for name in stands if name in starts} == committed:
                task = yield from self._build(number, snapshots, starts, committed, progress)
                task.settings = task_snapshot.settings if task_snapshot else ""
                return task
            moved = yield from self.stable_offsets(number, progress)
            if moved == committed:
                raise Stopped(self._disagreement(number, stands, committed))
            committed = moved
        raise Stopped(f"task {number}: the committed offsets moved {_AGREE_TRIES} times during the restore")

    def stable_offsets(self, number: int, progress: Progress) -> Generator[None, None, Offsets]:
        """The group's committed offsets of one task, by topic; waits while an open transaction holds them."""
        wanted = [TopicPartition(name, number) for name in self._topics.inputs]
        while True:
            try:
                found = self._committed_consumer.committed(wanted, _STABLE_OFFSETS_SECONDS)
            except KafkaException as failure:
                stop_if_refused(failure.args[0])
                self._wait(progress, f"the committed offsets of task {number}: {failure.args[0].str()}")
            else:
                failed = next((one.error for one in found if one.error), None)
                if failed is None:
                    progress.moved(progress.remaining_records)
                    return {one.topic: one.offset for one in found if one.offset >= 0}
                stop_if_refused(failed)
                self._wait(progress, f"the committed offsets of task {number}: {failed.str()}")
            yield

    def _wait(self, progress: Progress, blocked_by: str) -> None:
        progress.blocked_by = blocked_by
        if time.monotonic() - progress.moved_at > self._patience_seconds:
            raise Stopped(f"no progress for {self._patience_seconds:.0f} s, waiting for {blocked_by}")

    def _starts(self, number: int, progress: Progress) -> Generator[None, None, Offsets]:
        """The first offset there is in each input topic."""
        marks = yield from self._watermarks(number, self._topics.inputs, progress)
        return {name: low for name, (low, _) in marks.items()}

    def _watermarks(
        self, number: int, names: Iterable[str], progress: Progress
    ) -> Generator[None, None, dict[str, tuple[int, int]]]:
        """(first offset, end) of each topic's partition, open transactions included."""
        marks: dict[str, tuple[int, int]] = {}
        for name in names:
            while name not in marks:
                try:
                    found = self._ends_consumer.get_watermark_offsets(TopicPartition(name, number), _WATERMARK_SECONDS)
                except KafkaException as failure:
                    stop_if_refused(failure.args[0])
                    self._wait(progress, f"the offsets of {name}:{number}: {failure.args[0].str()}")
                    yield
                    continue
                if found is not None:
                    marks[name] = found
                    progress.moved(progress.remaining_records)
                else:
                    self._wait(progress, f"the offsets of {name}:{number}")
                    yield
        return marks

    def _snapshots(self, number: int, progress: Progress) -> Generator[None, None, dict[str, dict[bytes, bytes]]]:
        """The last value of each key of the task's snapshot topics, by topic; a tombstone removes its key."""
        names = (self._topics.bandit_snapshots, self._topics.position_snapshots)
        marks = yield from self._watermarks(number, names, progress)
        ends = {name: high for name, (low, high) in marks.items() if high > low}
        found: dict[str, dict[bytes, bytes]] = {name: {} for name in names}
        if not ends:
            return found
        reached = {name: marks[name][0] for name in ends}
        consumer = Consumer({**self._configuration, "isolation.level": "read_committed"}, logger=log)
        try:
            consumer.assign([TopicPartition(name, number, OFFSET_BEGINNING) for name in ends])
            while any(reached[name] < end for name, end in ends.items()):
                messages = consumer.consume(self._settings.limits.restore_slice_records, 0.01)
                for message in messages:
                    _keep(message, found, reached)
                if messages:
                    progress.blocked_by = ""
                    progress.moved(sum(max(0, end - reached[name]) for name, end in ends.items()))
                else:
                    self._wait(progress, self._blocked(number, reached, ends))
                yield
        finally:
            consumer.close()
        return found

    def _blocked(self, number: int, reached: Offsets, ends: Offsets) -> str:
        name = next(name for name, end in ends.items() if reached[name] < end)
        return (
            f"{name}:{number} at offset {reached[name]} of {ends[name]}: a transaction is open there; "
            f"`kafka-transactions.sh find-hanging --topic {name} --partition {number}` names it"
        )

    def _build(
        self,
        number: int,
        snapshots: dict[str, dict[bytes, bytes]],
        starts: Offsets,
        committed: Offsets,
        progress: Progress,
    ) -> Generator[None, None, Task]:
        next_offset = {**starts, **committed}
        self._refuse_lost_input(number, next_offset, starts)
        state = TaskState(self._settings.task_limits(), self._bandit_registry)
        lacking = _Pages(number)
        values = [value for topic in snapshots.values() for value in topic.values()]
        slice_records = self._settings.limits.restore_slice_records
        for start in range(0, len(values), slice_records):
            for value in values[start : start + slice_records]:
                self._put_back(state, value, number, lacking)
            progress.moved(len(values) - start)
            yield
        lacking.refuse()
        progress.moved(0)
        return Task(number, Pipeline(state), next_offset)

    @staticmethod
    def _put_back(state: TaskState, value: bytes, number: int, lacking: "_Pages") -> None:
        snapshot = decode(value)
        try:
            if isinstance(snapshot, BanditSnapshot):
                state.restore_bandit(snapshot)
            elif isinstance(snapshot, PositionSnapshot):
                state.restore_position(snapshot)
                lacking.expect(snapshot)
            elif isinstance(snapshot, PositionPage):
                state.restore_page(snapshot)
                lacking.found(snapshot)
            elif not isinstance(snapshot, TaskSnapshot):
                raise Stopped(f"task {number}: a {type(snapshot).__name__} stands among the snapshots")
        except SettingsMismatch as mismatch:
            raise Stopped(f"task {number}: {mismatch}") from mismatch

    def _refuse_lost_input(self, number: int, next_offset: Offsets, starts: Offsets) -> None:
        for name, first in starts.items():
            if next_offset[name] < first:
                raise Stopped(
                    f"{name}:{number}: records {next_offset[name]} to {first - 1} were deleted before they were read; "
                    "raise the topic's retention"
                )

    def _disagreement(self, number: int, stands: Offsets, committed: Offsets) -> str:
        group = self._settings.kafka.group_id
        command = f"kafka-consumer-groups.sh --group {group} --reset-offsets --to-offset N --topic NAME:{number}"
        return (
            f"task {number}: the snapshot stands at {stands or 'nothing'} and group {group!r} at "
            f"{committed or 'nothing'}; if only the group's offsets were lost or moved, set them back to the "
            f"snapshot's with `{command}`"
        )


class _Pages:
    """Which positions have another number of pages than they say: they were written together, so there is none."""

    def __init__(self, number: int) -> None:
        self._task = number
        self._lacking: Counter[str] = Counter()

    def expect(self, position: PositionSnapshot) -> None:
        if position.paged is not None:
            self._lacking[position_key(position.bandit_id, position.position_id)] += position.paged.pages

    def found(self, page: PositionPage) -> None:
        self._lacking[position_key(page.bandit_id, page.position_id)] -= 1

    def refuse(self) -> None:
        """Raises Stopped for the first."""
        for key, count in self._lacking.items():
            if count:
                bandit_id, _, position_id = key.partition("\0")
                what = f"{abs(count)} pages {'are missing' if count > 0 else 'too many'}"
                raise Stopped(f"task {self._task}: position {position_id!r} of bandit {bandit_id!r}: {what}")


def _keep(message: Message, found: dict[str, dict[bytes, bytes]], reached: Offsets) -> None:
    """Notes one record, or the end of a partition, which for a read_committed consumer is where it may read to."""
    error, record = message.error(), cast(Record, message)
    topic, next_offset = record.topic(), record.offset()
    if error is None:
        key, value = record.key(), record.value()
        if key is None:
            raise Stopped(f"{topic}:{record.partition()}:{next_offset}: a snapshot without a key")
        if value is None:
            found[topic].pop(key, None)
        else:
            found[topic][key] = value
        next_offset += 1
    elif error.code() != KafkaError._PARTITION_EOF:
        stop_if_refused(error)
        raise KafkaException(error)
    reached[topic] = max(reached[topic], next_offset)


def _task_snapshot(snapshots: Mapping[str, Mapping[bytes, bytes]]) -> TaskSnapshot | None:
    for topic in snapshots.values():
        if TASK_KEY in topic:
            snapshot = decode(topic[TASK_KEY])
            if not isinstance(snapshot, TaskSnapshot):
                raise Stopped(f"the task's own key holds a {type(snapshot).__name__}")
            return snapshot
    return None
