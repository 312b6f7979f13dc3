"""The loop: read a batch, apply it, publish it and its input offsets in one transaction; state follows the commit.

Rebalance callbacks only mark; everything is done between polls. What the loop cannot decide it does not guess: it
stops with one line, and the next start restores.
"""

import gc
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from confluent_kafka import KafkaError

from armstream.core.published import Published
from armstream.events import Source, WeightVector
from armstream.runtime.commit import Committer, Outcome
from armstream.runtime.failures import NotAllowed, Stopped
from armstream.runtime.hold_back import HoldBack
from armstream.runtime.identity import Watch
from armstream.runtime.in_force import settings_in_force
from armstream.runtime.intake import Intake, Record
from armstream.runtime.member import SEEK_DEADLINE_SECONDS, Member
from armstream.runtime.metrics import Metrics
from armstream.runtime.narrowing import Narrowing, named, skip_command
from armstream.runtime.publication import (
    Publication,
    publish_claim,
    publish_core,
    publish_settings,
    publish_task,
    publish_vectors,
)
from armstream.runtime.restore import Restorer
from armstream.runtime.tasks import Offsets, Progress, Steps, Task, Tasks
from armstream.settings import Settings
from armstream.stages.bandit import weight_vector
from armstream.stages.pipeline import Applied, ApplyFailure, Pipeline

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_RESTORING_POLL_SECONDS = 0.002
_ABORTS_ALLOWED, _ABORTS_BY_THE_GROUP_ALLOWED = 5, 100
_LONGEST_PAUSE_SECONDS = 0.5
_RESTORES_AT_ONCE = 4
_MANY_RECORDS = 2_000  # to apply them takes longer than a request to the broker
_LAG_EVERY_SECONDS = 1.0
_TELL_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class TaskRead:
    """One task's part of what was read; an end is the offset after all that stands in a topic's partition, the marks
    that transactions leave there included."""

    records: list[Record] = field(default_factory=list)
    ends: Offsets = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskBatch:
    """One task's part of a batch, applied and not yet committed, in how many seconds, and the settings that the log has
    last after it."""

    task: Task
    records: list[Record]
    applied: Applied | Published
    next_offset: Offsets
    settings: str
    seconds: float = 0.0


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
        watch: Watch,
        skip: frozenset[tuple[str, int, int]],
        metrics: Metrics,
        pulse: Pulse,
        turn_at_the_start: Callable[[], None] = lambda: None,
    ) -> None:
        """`turn_at_the_start` is called while the producer is opened, and may raise."""
        self._settings = settings
        self._topics = settings.topics.names
        self._in_force = settings_in_force(settings)
        self._metrics = metrics
        self._pulse = pulse
        self._watch = watch
        self._tasks = Tasks()
        self._aborts_in_a_row = 0
        self._lag_at = 0.0
        self._told_at = time.monotonic()
        self._member = Member(settings, self._tasks, metrics, watch)
        errors = self._member.errors
        # The producer comes first: opening it settles what a crashed predecessor left, which would hold the offsets.
        self._committer = Committer({**errors, **settings.producer_configuration()}, turn_at_the_start)
        self._consumer = self._member.join()
        self._restorer = Restorer(
            settings,
            self._consumer,
            watch,
            {
                **errors,
                **settings.kafka.connection(),
                "group.id": settings.kafka.group_id,
                "fetch.queue.backoff.ms": 5,
            },
        )
        self._narrowing = Narrowing(settings.limits.batch_records)
        self._hold_back = HoldBack(self._consumer, self._topics.trades, settings.limits)
        self._intake = Intake(watch.identity.partitions, settings.limits.record_bytes, settings.max_future_micros, skip)

    def turn(self) -> None:
        """Advances the restores by a slice and commits at most one batch. Raises Stopped or NotAllowed."""
        try:
            self._turn()
        except Stopped as stopped:
            # Much looks like something else where a topic is not what it was.
            reason = self._watch.true_reason()
            if reason and reason != str(stopped):
                raise Stopped(reason) from stopped
            raise

    def _turn(self) -> None:
        self._pulse.turned_at = time.monotonic()
        self._watch.step()
        self._step_restores()
        self._claim()
        self._move()
        self._tell_of_restores()
        read = self._read()
        if read:
            self._apply_and_commit(read)
        self._hold_back_and_observe()
        for number in self._tasks.give_up():
            log.info("task %d did not come back: its state is given up", number)
        self._pulse.is_ready = self._tasks.are_ready

    def close(self) -> None:
        """Leaves in order."""
        self._committer.close()
        self._restorer.close()
        self._member.close()

    # Read.

    def _read(self) -> dict[int, TaskRead]:
        """What was read, by task; what is of tasks that are not ready, or applied already, will be read again."""
        wait_seconds = _RESTORING_POLL_SECONDS if self._tasks.are_restoring else _POLL_SECONDS
        messages = self._member.read(wait_seconds, self._narrowing.most_records)
        by_task: defaultdict[int, TaskRead] = defaultdict(TaskRead)
        ready = self._tasks.ready  # as it is after the callbacks that ran meanwhile
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                self._member.heed(message, error)
                continue
            record = cast(Record, message)
            number, topic, offset = record.partition(), record.topic(), record.offset()
            task = ready.get(number)
            if task is None or offset < task.next_offset[topic]:
                continue
            if error is None:
                by_task[number].records.append(record)
            else:
                self._hold_back.hear_end(topic, number, offset)
                if offset > task.next_offset[topic]:
                    by_task[number].ends[topic] = offset
        for number, task in ready.items():
            if task.is_due:
                by_task[number]  # nothing was read, and it is to be said all the same
        return by_task

    def _hold_back_and_observe(self) -> None:
        ready = self._tasks.ready.values()
        if len(self._topics.trades) > 1:
            for task in ready:
                self._hold_back.step(task, self._member.lags(task))
        if self._pulse.turned_at - self._lag_at > _LAG_EVERY_SECONDS:
            self._lag_at = self._pulse.turned_at
            for task in ready:
                self._metrics.observe_standing(task.number, self._member.lags(task), task.pipeline.state)

    # Apply and commit.

    def _apply_and_commit(self, by_task: Mapping[int, TaskRead]) -> None:
        started = time.monotonic()
        batch: list[TaskBatch] = []
        parts: Iterable[Publication] = self._parts(by_task, batch)
        if sum(len(read.records) for read in by_task.values()) < _MANY_RECORDS:
            parts = list(parts)  # their partitions join the transaction by one request, and it is open for less time
        outcome = self._committer.commit(parts, self._consumer, self._serve)
        applied_seconds = sum(part.seconds for part in batch)
        record_count = sum(len(part.records) for part in batch)
        committed_seconds = time.monotonic() - started - applied_seconds
        self._metrics.observe_transaction(outcome.value, applied_seconds, committed_seconds, record_count)
        if outcome is Outcome.COMMITTED:
            self._keep(batch)
        elif outcome is Outcome.ABORTED:
            self._drop(batch)
        else:
            self._settle(batch)
        if self._member.has_left_records:
            self._member.seek_back(self._serve)

    def _parts(self, by_task: Mapping[int, TaskRead], batch: list[TaskBatch]) -> Iterator[Publication]:
        """Applies one task's part after the other, each when it is asked for, and notes them in `batch`."""
        ready = self._tasks.ready
        for number, read in by_task.items():
            publication = Publication()
            batch.append(self._apply(ready[number], read, publication))
            yield publication

    def _apply(self, task: Task, read: TaskRead, publication: Publication) -> TaskBatch:
        """Raises Stopped with the record that it fails for."""
        started = time.monotonic()
        try:
            part = self._publish(task, read, publication)
        except Exception as failure:
            record, cause = self._culprit(task, read.records, failure)
            if record is None:
                raise Stopped(f"{named(read.records)} could not be applied: {cause!r}") from failure
            raise Stopped(f"{named([record])} could not be applied: {cause!r}; {skip_command(record)}") from failure
        publication.move(task.number, part.next_offset)
        return replace(part, seconds=time.monotonic() - started)

    def _publish(self, task: Task, read: TaskRead, publication: Publication) -> TaskBatch:
        records = read.records
        if task.lacks_vectors:
            publish_vectors(publication, self._topics, task.number, _vectors(task))
        if isinstance(task.pipeline, Pipeline):
            return self._publish_by_stages(task, task.pipeline, read, publication)
        intake = self._intake
        published = task.pipeline.apply(records, task.next_offset, intake.read, intake.source_of, intake.skips)
        settings = self._publish_settings(task, read, publication)
        next_offset = publish_core(
            *(publication, self._topics, task.number, published, read.ends, settings, self._watch.identity)
        )
        if records:
            self._hold_back.note_reached(task.number, published.reached)
        return TaskBatch(task, records, published, next_offset, settings)

    def _publish_by_stages(self, task: Task, pipeline: Pipeline, read: TaskRead, publication: Publication) -> TaskBatch:
        records = read.records

        def record(index: int) -> Source:
            return self._intake.source_of(records[index])

        inputs = self._intake.read(records)
        applied = pipeline.apply(inputs, record)
        settings = self._publish_settings(task, read, publication)
        next_offset = publish_task(
            *(publication, self._topics, task.number, applied, records, task.next_offset, read.ends),
            *(settings, self._watch.identity),
        )
        self._hold_back.note(task.number, records, inputs)
        return TaskBatch(task, records, applied, next_offset, settings)

    def _publish_settings(self, task: Task, read: TaskRead, publication: Publication) -> str:
        """Those that the log has last after the batch, which says them where it moves on under others."""
        settings = task.settings
        if settings != self._in_force and (read.records or read.ends):
            settings = self._in_force
            publish_settings(publication, self._topics, task.number, settings, task.next_offset)
        return settings

    def _culprit(
        self, task: Task, records: Sequence[Record], failure: Exception
    ) -> tuple[Record | None, BaseException | None]:
        """The record that the batch fails for, and with what; None where each record alone is fine.

        They are applied again, a record at a time. The task's state is spent by it: the process ends.
        """
        if isinstance(failure, ApplyFailure):
            return records[failure.index], failure.__cause__
        task.pipeline.drop()
        for record in records:
            try:
                self._publish(task, TaskRead([record]), Publication())
            except Exception as alone:
                return record, alone.__cause__ if isinstance(alone, ApplyFailure) else alone
            task.pipeline.commit()
        return None, failure

    def _keep(self, batch: Iterable[TaskBatch]) -> None:
        """The transaction is committed: the overlay becomes the state."""
        self._aborts_in_a_row = 0
        for part in batch:
            part.task.pipeline.commit()
            part.task.next_offset = part.next_offset
            part.task.settings = part.settings
            part.task.is_due = part.task.lacks_vectors = False
            if isinstance(part.applied, Published):
                self._metrics.observe_published(part.task.number, part.applied)
            else:
                self._metrics.observe_batch(part.task.number, part.records, part.applied)
        self._narrowing.note_commit({number: task.next_offset for number, task in self._tasks.ready.items()})

    def _drop(self, batch: Sequence[TaskBatch]) -> None:
        """The transaction left nothing: the state is as before, and the records are read again."""
        for part in batch:
            part.task.pipeline.rollback()
        self._member.seek_back(self._serve)
        self._note_abort(batch)

    def _note_abort(self, batch: Sequence[TaskBatch]) -> None:
        """Raises Stopped where no later try would go better."""
        if self._committer.not_allowed is not None:
            raise NotAllowed(self._committer.not_allowed)
        committer, records = self._committer, [record for part in batch for record in part.records]
        if committer.is_of_a_record and len(records) > 1:
            self._narrowing.note_abort(len(records), {part.task.number: part.next_offset for part in batch})
            log.warning("%s could not be published: the next batches are smaller", named(records))
            return
        if committer.is_of_a_record and records:
            raise Stopped(
                f"{named(records)} could not be published: {committer.error}; let the topic take what "
                f"`armstream topics check` says, or {skip_command(records[0])}"
            )
        self._aborts_in_a_row += 1
        allowed = _ABORTS_BY_THE_GROUP_ALLOWED if committer.group_refused else _ABORTS_ALLOWED
        if self._aborts_in_a_row >= allowed:
            raise Stopped(
                f"transactions were aborted {self._aborts_in_a_row} times in a row, the last of {named(records)} "
                f"with {committer.error!r}; the lines above say more"
            )
        time.sleep(min(0.05 * 2**self._aborts_in_a_row, _LONGEST_PAUSE_SECONDS))

    def _settle(self, batch: list[TaskBatch]) -> None:
        """Asks the broker what became of a transaction whose outcome is unknown; of one that moves no offset, the next
        restore does."""
        self._serve()
        self._committer.renew(self._serve)
        kept, dropped = [], []
        for part in batch:
            committed, tells = self._committed(part), part.next_offset != part.task.next_offset
            if tells and committed == part.next_offset:
                kept.append(part)
                continue
            dropped.append(part)
            if not tells or committed != part.task.next_offset:
                self._doubt(part.task.number)
        if kept:
            self._keep(kept)
        for part in dropped:
            part.task.pipeline.rollback()
        self._member.seek_back(self._serve)
        if not kept:
            self._note_abort(dropped)

    def _serve(self) -> None:
        self._pulse.turned_at = time.monotonic()
        self._watch.step()
        self._member.serve()

    def _committed(self, part: TaskBatch) -> Offsets:
        """The committed offsets of a task's inputs, once no transaction holds them; never read ones as they were."""
        number = part.task.number
        steps = self._restorer.stable_offsets(number, Progress())
        while True:
            try:
                next(steps)
                self._serve()
                time.sleep(0.01)
            except StopIteration as done:
                return {**part.task.next_offset, **done.value}

    # Restore.

    def _step_restores(self) -> None:
        for number in self._tasks.waiting(_RESTORES_AT_ONCE):
            self._tasks.begin(number, self._make_ready)
        for number, restore in self._tasks.restoring.items():
            task = restore.step()
            if task is not None:
                self._start(task)
                seconds = time.monotonic() - restore.started_at
                log.info("task %d is ready at %s after %.2f s", number, task.next_offset, seconds)
            self._metrics.set_restore_remaining(number, restore.progress.remaining_records)

    def _claim(self) -> None:
        """Writes what restores want claimed; each of them reads what came of it."""
        wanted = self._restorer.claims_wanted
        if not wanted:
            return
        publication = Publication()
        publish_claim(publication, self._topics, self._watch.identity, self._settings.instance)
        outcome = self._committer.commit([publication], self._consumer, self._serve)
        if outcome is Outcome.UNKNOWN:
            self._committer.renew(self._serve)
        self._restorer.has_claimed = outcome is Outcome.COMMITTED
        wanted.clear()
        if self._member.has_left_records:
            self._member.seek_back(self._serve)

    def _move(self) -> None:
        """Commits a part of each state that is moved. Raises Stopped or NotAllowed where no later try would go
        better."""
        committer, wanted = self._committer, self._restorer.parts_wanted
        if not wanted:
            return
        for number in list(wanted):
            part = wanted.get(number)
            if part is None:  # a rebalance came meanwhile
                continue
            publication = Publication()
            publication.add(self._topics.snapshots, number, part.records)
            publication.move(number, part.offsets)
            outcome = committer.commit([publication], self._consumer, self._serve)
            if outcome is Outcome.UNKNOWN:
                committer.renew(self._serve)
            if committer.not_allowed is not None:
                raise NotAllowed(committer.not_allowed)
            if committer.is_of_a_record:
                raise Stopped(
                    f"the state of task {number} could not be moved to {self._topics.snapshots}: {committer.error}; "
                    "let the topic take what `armstream topics check` says"
                )
            part.outcome = outcome
        if self._member.has_left_records:
            self._member.seek_back(self._serve)

    def _tell_of_restores(self) -> None:
        """A line every five seconds, for each task that is still read back."""
        now, restoring = self._pulse.turned_at, self._tasks.restoring
        if restoring and now - self._told_at < _TELL_EVERY_SECONDS:
            return
        self._told_at = now
        for number, restore in restoring.items():
            left, blocked_by = restore.progress.remaining_records, restore.progress.blocked_by
            waits = f", waiting for {blocked_by}" if blocked_by else ""
            log.info("restoring task %d: %d records to go%s", number, left, waits)

    def _make_ready(self, number: int, held: Task | None, progress: Progress) -> Steps:
        task = yield from self._restorer.ready(number, held, progress)
        deadline = time.monotonic() + SEEK_DEADLINE_SECONDS
        while not self._member.seek(task, deadline):
            yield
        return task

    def _start(self, task: Task) -> None:
        self._tasks.finish(task.number, task)
        self._metrics.observe_restored(task.number, task.pipeline.state)
        self._member.resume(task.number)
        self._hold_back.begin(task.number)
        gc.freeze()  # Restored state lives long: the collector need not walk it.

    def _doubt(self, number: int) -> None:
        """Somebody else moved on with this task meanwhile: what we hold is not its state any more."""
        if number in self._tasks.ready:  # else its next restore asks
            self._member.pause(number)
            self._tasks.doubt(number)


def _vectors(task: Task) -> list[WeightVector]:
    """Those of all bandits that had one, as the state is before the batch."""
    return [weight_vector(one) for one in task.pipeline.state.bandits() if one.learner is not None and one.version]
