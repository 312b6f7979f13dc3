"""The loop: read a batch, apply it, publish it and its input offsets in one transaction; state follows the commit.

Rebalance callbacks only mark; everything is done between polls. What the loop cannot decide it does not guess: it
stops with one line, and the next start restores.
"""

import gc
import logging
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from armstream.events import Source
from armstream.runtime.commit import Committer, Outcome
from armstream.runtime.failures import Stopped
from armstream.runtime.hold_back import HoldBack
from armstream.runtime.intake import Intake, Record
from armstream.runtime.metrics import Metrics
from armstream.runtime.publication import Publication, publish_task
from armstream.runtime.restore import Offsets, Progress, Restorer, Task
from armstream.settings import Settings
from armstream.stages.pipeline import Applied, ApplyFailure

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_RESTORING_POLL_SECONDS = 0.002
_ABORTS_ALLOWED, _ABORTS_BY_THE_GROUP_ALLOWED = 5, 100
_LONGEST_PAUSE_SECONDS = 0.5
_SEEK_DEADLINE_SECONDS = 30.0
_RESTORES_AT_ONCE = 4
_LAG_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class TaskRead:
    """One task's part of what was read; an end is the offset after all that stands in a topic's partition, the marks
    that transactions leave there included."""

    records: list[Record] = field(default_factory=list)
    ends: Offsets = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskBatch:
    """One task's part of a batch, applied and not yet committed."""

    task: Task
    records: list[Record]
    applied: Applied
    next_offset: Offsets


@dataclass(slots=True)
class Restoration:
    """A task on its way to ready."""

    steps: Generator[None, None, Task]
    progress: Progress = field(default_factory=Progress)
    started_at: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Pulse:
    """What other threads may ask of the loop: when it last turned, and whether every assigned task is restored."""

    turned_at: float = field(default_factory=time.monotonic)
    is_ready: bool = False


class Processor:
    """One member of the consumer group. `turn` is called until it is time to `close`."""

    def __init__(
        self,
        settings: Settings,
        partition_count: int,
        skip: frozenset[tuple[str, int, int]],
        metrics: Metrics,
        pulse: Pulse,
    ) -> None:
        self._settings = settings
        self._topics = settings.topics.names
        self._metrics = metrics
        self._refusal: str | None = None
        self._assigned = False
        self._ready: dict[int, Task] = {}
        self._kept: dict[int, Task] = {}
        self._restorations: dict[int, Restoration] = {}
        self._aborts_in_a_row = 0
        self._left_records = False
        self._lag_at = 0.0
        self._pulse = pulse
        errors = {"error_cb": self._on_error}
        # The producer comes first: opening it settles what a crashed predecessor left, which would hold the offsets.
        self._committer = Committer({**errors, **settings.producer_configuration()})
        self._consumer = Consumer({**errors, **settings.consumer_configuration()}, logger=log)
        self._restorer = Restorer(
            settings,
            self._consumer,
            {
                **errors,
                **settings.kafka.connection(),
                "group.id": settings.kafka.group_id,
                "fetch.queue.backoff.ms": 5,
            },
        )
        self._hold_back = HoldBack(self._consumer, self._topics.trades, settings.limits)
        self._intake = Intake(partition_count, settings.limits.record_bytes, settings.max_future_micros, skip)
        self._consumer.subscribe(
            list(self._topics.inputs), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    # Assignment: the callbacks run inside poll and consume, and only mark.

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers_by_topic = {name: set[int]() for name in self._topics.inputs}
        for partition in partitions:
            numbers_by_topic[partition.topic].add(partition.partition)
        numbers = set().union(*numbers_by_topic.values())
        if any(found != numbers for found in numbers_by_topic.values()):
            listed = "; ".join(f"{name}: {sorted(found)}" for name, found in numbers_by_topic.items())
            self._refusal = (
                f"the assignment splits tasks ({listed}): every member of group {self._settings.kafka.group_id!r} must "
                f"subscribe to the same topics, {', '.join(self._topics.inputs)}, with the range assignor"
            )
            consumer.assign([])  # else librdkafka assigns what we refuse, and reads
            return
        for partition in partitions:
            partition.offset = OFFSET_BEGINNING
        consumer.assign(partitions)
        consumer.pause(partitions)
        self._assigned = True
        self._hold_back.forget(numbers)
        for number in sorted(numbers):
            progress = Progress()
            steps = self._make_ready(number, self._kept.pop(number, None), progress)
            self._restorations[number] = Restoration(steps, progress)
        log.info("assigned tasks %s", sorted(numbers))

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = {partition.partition for partition in partitions}
        for number in numbers:
            restoration = self._restorations.pop(number, None)
            if restoration is not None:
                restoration.steps.close()
            task = self._ready.pop(number, None)
            if task is not None:
                self._kept[number] = task
            self._metrics.forget_task(number)
        self._assigned = False
        log.info("revoked tasks %s", sorted(numbers))

    def _on_error(self, error: KafkaError) -> None:
        if _is_fatal(error):
            self._refusal = self._fatal_line(error)
        else:
            log.warning("kafka: %s", error.str())

    def _fatal_line(self, error: KafkaError) -> str:
        if error.code() == KafkaError.FENCED_INSTANCE_ID or "fenced" in error.str().lower():
            return (
                f"another process has taken over the instance name {self._settings.instance!r} in group "
                f"{self._settings.kafka.group_id!r}, and each needs one of its own (--instance); or, where there is "
                "only one, the broker was away for longer than kafka.session_timeout_ms: start it again"
            )
        return f"kafka: {error.str()}"

    def _refuse_if_told(self) -> None:
        if self._refusal is not None:
            raise Stopped(self._refusal)

    # One turn.

    def turn(self) -> None:
        """Advances the restores by a slice and commits at most one batch. Raises Stopped where it cannot go on."""
        self._pulse.turned_at = time.monotonic()
        self._step_restorations()
        read = self._read(_RESTORING_POLL_SECONDS if self._restorations else _POLL_SECONDS)
        self._refuse_if_told()
        by_task = self._of_ready_tasks(read)
        if by_task:
            self._apply_and_commit(by_task)
        if len(self._topics.trades) > 1:
            for task in self._ready.values():
                self._hold_back.step(task, self._lags(task))
        if self._pulse.turned_at - self._lag_at > _LAG_EVERY_SECONDS:
            self._lag_at = self._pulse.turned_at
            for number, task in self._ready.items():
                self._metrics.observe_standing(number, self._lags(task), task.pipeline.state)
        self._pulse.is_ready = self._assigned and not self._restorations

    def _read(self, wait_seconds: float) -> list[Message]:
        """One record, or the end of a partition, as soon as there is one, and with it whatever else is there."""
        first = self._consumer.poll(wait_seconds)
        return [] if first is None else [first, *self._consumer.consume(self._settings.limits.batch_records - 1, 0)]

    def _heed(self, message: Message, error: KafkaError) -> None:
        """An error that came in a record's place: fatal, or said and passed over."""
        if _is_fatal(error):
            raise Stopped(self._fatal_line(error))
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise Stopped(
                f"{message.topic()}:{message.partition()}: the next record is not there any more ({error.str()}): "
                "input was deleted before it was read; raise the topic's retention"
            )
        if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
            raise Stopped(f"kafka: {error.str()}")
        log.warning("kafka: %s", error.str())

    def _of_ready_tasks(self, messages: Iterable[Message]) -> dict[int, TaskRead]:
        """What was read, by task; what is of tasks that are not ready, or applied already, will be read again."""
        by_task: dict[int, TaskRead] = {}
        ready = self._ready
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                self._heed(message, error)
                continue
            record = cast(Record, message)
            number, topic, offset = record.partition(), record.topic(), record.offset()
            task = ready.get(number)
            if task is None or offset < task.next_offset[topic]:
                continue
            if error is None:
                by_task.setdefault(number, TaskRead()).records.append(record)
            elif offset > task.next_offset[topic]:
                by_task.setdefault(number, TaskRead()).ends[topic] = offset
        return by_task

    # Apply and commit.

    def _apply_and_commit(self, by_task: Mapping[int, TaskRead]) -> None:
        started = time.monotonic()
        publication = Publication()
        batch = [self._apply(self._ready[number], read, publication) for number, read in by_task.items()]
        applied_at = time.monotonic()
        offsets = [
            TopicPartition(name, part.task.number, offset)
            for part in batch
            for name, offset in part.next_offset.items()
        ]
        outcome = self._committer.commit(publication, offsets, self._consumer, self._serve_consumer)
        committed_at = time.monotonic()
        record_count = sum(len(part.records) for part in batch)
        self._metrics.observe_transaction(outcome.value, applied_at - started, committed_at - applied_at, record_count)
        if outcome is Outcome.COMMITTED:
            self._keep(batch)
        elif outcome is Outcome.ABORTED:
            self._drop(batch)
        else:
            self._settle(batch)
        if self._left_records:
            self._seek_back()

    def _apply(self, task: Task, read: TaskRead, publication: Publication) -> TaskBatch:
        records = read.records

        def record(index: int) -> Source:
            return self._intake.source_of(records[index])

        inputs = self._intake.read(records)
        try:
            applied = task.pipeline.apply(inputs, record)
        except ApplyFailure as failure:
            failed = records[failure.index]
            at = f"{failed.topic()}:{failed.partition()}:{failed.offset()}"
            raise Stopped(
                f"the record at {at} could not be applied: {failure.__cause__!r}; "
                f"`armstream run --skip {at}` sends it to dead letters"
            ) from failure
        next_offset = publish_task(
            publication, self._topics, task.number, applied, records, task.next_offset, read.ends
        )
        self._hold_back.note(task.number, records, inputs)
        return TaskBatch(task, records, applied, next_offset)

    def _keep(self, batch: Iterable[TaskBatch]) -> None:
        """The transaction is committed: the overlay becomes the state."""
        self._aborts_in_a_row = 0
        for part in batch:
            part.task.pipeline.commit()
            part.task.next_offset = part.next_offset
            self._metrics.observe_batch(part.task.number, part.records, part.applied)

    def _drop(self, batch: Iterable[TaskBatch]) -> None:
        """The transaction left nothing: the state is as before, and the records are read again."""
        for part in batch:
            part.task.pipeline.rollback()
        self._seek_back()
        self._note_abort(batch)

    def _note_abort(self, batch: Iterable[TaskBatch]) -> None:
        self._aborts_in_a_row += 1
        allowed = _ABORTS_BY_THE_GROUP_ALLOWED if self._committer.group_refused else _ABORTS_ALLOWED
        if self._aborts_in_a_row >= allowed:
            first = next(iter(batch)).task
            raise Stopped(
                f"the same batch was aborted {self._aborts_in_a_row} times; task {first.number} begins it at "
                f"{first.next_offset}; the lines above say why"
            )
        time.sleep(min(0.05 * 2**self._aborts_in_a_row, _LONGEST_PAUSE_SECONDS))

    def _settle(self, batch: list[TaskBatch]) -> None:
        """Asks the broker what became of a transaction whose outcome is unknown."""
        self._serve_consumer()
        self._committer.renew(self._serve_consumer)
        kept, dropped = [], []
        for part in batch:
            committed = self._committed(part)
            if committed == part.next_offset:
                kept.append(part)
                continue
            dropped.append(part)
            if committed != part.task.next_offset:
                # Somebody else moved on with this task meanwhile: what we hold is not its state any more.
                self._restore_anew(part.task.number)
        if kept:
            self._keep(kept)
        for part in dropped:
            part.task.pipeline.rollback()
        self._seek_back()
        if dropped and not kept:
            self._note_abort(dropped)

    def _serve_consumer(self) -> None:
        """Lets the consumer learn that it was thrown out: a healthy twin must not be fenced by a woken process."""
        self._pulse.turned_at = time.monotonic()
        message = self._consumer.poll(0)
        error = None if message is None else message.error()
        self._left_records = self._left_records or message is not None
        if message is not None and error is not None and error.code() != KafkaError._PARTITION_EOF:
            self._heed(message, error)
        self._refuse_if_told()

    def _committed(self, part: TaskBatch) -> Offsets:
        """The committed offsets of a task's inputs, once no transaction holds them; never read ones as they were."""
        number = part.task.number
        steps = self._restorer.stable_offsets(number, Progress())
        while True:
            try:
                next(steps)
                self._serve_consumer()
                time.sleep(0.01)
            except StopIteration as done:
                return {**part.task.next_offset, **done.value}

    def _seek_back(self) -> None:
        """Every ready task reads on from its next offsets. Serves the consumer: it may be fetching nothing any more."""
        deadline = time.monotonic() + _SEEK_DEADLINE_SECONDS
        while True:
            self._left_records = False
            waiting = [task for task in self._ready.values() if not self._try_seek(task)]
            if not waiting:
                return
            _refuse_after(deadline, waiting[0])
            time.sleep(0.005)
            self._serve_consumer()

    def _try_seek(self, task: Task) -> bool:
        """False where a partition is not being fetched: not yet, or not any more."""
        try:
            for name, offset in task.next_offset.items():
                self._consumer.seek(TopicPartition(name, task.number, offset))
        except KafkaException as failure:
            if failure.args[0].code() != KafkaError._STATE:
                raise
            return False
        return True

    # Restores.

    def _make_ready(self, number: int, kept: Task | None, progress: Progress) -> Generator[None, None, Task]:
        task = yield from self._restorer.ready(number, kept, progress)
        deadline = time.monotonic() + _SEEK_DEADLINE_SECONDS
        while not self._try_seek(task):
            _refuse_after(deadline, task)
            yield
        return task

    def _restore_anew(self, number: int) -> None:
        task = self._ready.pop(number, None)
        if task is None:
            return
        self._consumer.pause([TopicPartition(name, number) for name in self._topics.inputs])
        progress = Progress()
        self._restorations[number] = Restoration(self._make_ready(number, None, progress), progress)

    def _step_restorations(self) -> None:
        for number in list(self._restorations)[:_RESTORES_AT_ONCE]:
            restoration = self._restorations[number]
            try:
                next(restoration.steps)
            except StopIteration as done:
                del self._restorations[number]
                self._start(done.value, restoration)
            self._metrics.set_restore_remaining(number, restoration.progress.remaining_records)

    def _start(self, task: Task, restoration: Restoration) -> None:
        self._ready[task.number] = task
        self._hold_back.forget([task.number])
        self._consumer.resume([TopicPartition(name, task.number) for name in self._topics.inputs])
        gc.freeze()  # Restored state lives long: the collector need not walk it.
        log.info(
            "task %d is ready at %s after %.2f s",
            task.number,
            task.next_offset,
            time.monotonic() - restoration.started_at,
        )

    def _lags(self, task: Task) -> Offsets:
        """How many records of each input topic are still to come, as far as the consumer has heard."""
        lags: Offsets = {}
        for name, next_offset in task.next_offset.items():
            _, high = self._consumer.get_watermark_offsets(TopicPartition(name, task.number), cached=True)
            lags[name] = max(0, high - next_offset)
        return lags

    def close(self) -> None:
        """Leaves in order; a static member's partitions wait for it until the session ends."""
        self._committer.close()
        self._restorer.close()
        self._consumer.close()


def _refuse_after(deadline: float, task: Task) -> None:
    if time.monotonic() > deadline:
        raise Stopped(f"task {task.number}: its partitions could not be sought for {_SEEK_DEADLINE_SECONDS:.0f} s")


def _is_fatal(error: KafkaError) -> bool:
    """A consumer's fatal error comes as a record's, with the code and without the flag."""
    return error.fatal() or error.code() == KafkaError._FATAL
