"""A task's state is read back from its snapshots, in slices, so that the rest of the processor keeps flowing.

In this order, each step's reason beside it: the topics' ids, committed offsets (stable ones only), then the ends of the
snapshot partitions, then the snapshots up to those ends. The task snapshot and the committed offsets left one
transaction together, so they must agree, and the snapshot names its group and topics; where something is not so,
nothing is guessed. Nor is it where a newer version wrote a snapshot that this one does not know.

Where no task snapshot stands on `snapshots`, and one does where versions before kept it, that state is read and moved
first: see moving.
"""

import logging
import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn, cast

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from armstream import access
from armstream.codec import DecodeError
from armstream.core import is_native
from armstream.events import BanditSnapshot, PositionPage, PositionSnapshot, TaskSnapshot
from armstream.keys import CLAIM_PREFIX, TASK_KEY, position_key
from armstream.runtime import moving, ownership
from armstream.runtime.commit import Outcome
from armstream.runtime.committed import FirstRecord, end_of
from armstream.runtime.failures import NotAllowed, Stopped, stop_if_refused
from armstream.runtime.identity import LOST_INPUT, Identity, Watch, made_anew
from armstream.runtime.intake import Record
from armstream.runtime.snapshots import Values, decoded, is_of_now, unreadable, writer_of
from armstream.runtime.tasks import Offsets, Progress, Steps, Task
from armstream.settings import Settings
from armstream.stages.pipeline import Pipeline
from armstream.stages.state import SettingsMismatch, TaskState
from armstream.watermarks import watermarks

if TYPE_CHECKING:
    from armstream.core.pipeline import CorePipeline

log = logging.getLogger(__name__)

_STABLE_OFFSETS_SECONDS = 0.2
_WATERMARK_SECONDS = 0.5
_POLL_SECONDS = 0.01
_AGREE_TRIES = 20


class Restorer:
    """Restores tasks. `committed_consumer` is the group's own read_committed consumer.

    `claims_wanted` are tasks that wait for a claim of this process: whoever writes it clears them, and says in
    `has_claimed` that it stands. `parts_wanted` are those of tasks whose state is moved: whoever commits one says the
    outcome in it.
    """

    def __init__(
        self, settings: Settings, committed_consumer: Consumer, watch: Watch, configuration: Mapping[str, object]
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._identity = watch.identity
        self._told: set[str] = set()
        self.claims_wanted: set[int] = set()
        self.has_claimed = False
        self.parts_wanted: dict[int, moving.Part] = {}
        self._topics = settings.topics.names
        self._committed_consumer = committed_consumer
        self._configuration = {
            "fetch.wait.max.ms": 20,  # the end of a partition is told when a fetch comes back empty
            **configuration,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",  # where the first offset moved on since it was asked
        }
        # The end that a read_committed consumer reports is the last stable offset: stopping there loses committed
        # snapshots behind somebody's open transaction.
        self._ends_consumer = Consumer(
            {**self._configuration, "isolation.level": "read_uncommitted", "enable.partition.eof": False}, logger=log
        )
        self._patience_seconds = settings.kafka.longest_transaction_seconds
        self._bandit_registry = settings.bandit_registry()
        self._is_native = is_native(settings.core, self._bandit_registry)
        self._writers: dict[int, str] = {}  # by task, the version that wrote the newest task snapshot

    def close(self) -> None:
        self._ends_consumer.close()

    def ready(self, number: int, kept: Task | None, progress: Progress) -> Steps:
        """Steps until the task can go on; a kept one is valid as it is where the committed offsets equal its own."""
        yield from self._look(progress)
        committed = yield from self.stable_offsets(number, progress)
        starts = yield from self._starts(number, progress)
        if kept is not None and kept.next_offset == {**starts, **committed}:
            return kept
        for _ in range(_AGREE_TRIES):
            found = yield from self._snapshots(number, self._topics.state, progress)
            snapshot = self._task_snapshot(number, found)
            if snapshot is not None:
                ownership.refuse_anothers(number, snapshot, self._identity, self._topics.inputs, self._topics.state)
                if _stands_at(snapshot, starts) == committed:
                    task = yield from self._build(number, found, starts, committed, progress)
                    self._say_whose(task, snapshot)
                    return task
            stand = yield from self.stable_offsets(number, progress)
            if stand == committed:
                begun = yield from self._from_before(number, snapshot, found, starts, committed, progress)
                if begun is not None:
                    return begun
                stand = yield from self.stable_offsets(number, progress)
            committed = stand
        raise Stopped(f"task {number}: the committed offsets moved {_AGREE_TRIES} times during the restore")

    def _look(self, progress: Progress) -> Generator[None, None, None]:
        """Until the topics were seen to be what they are, from now on."""
        begun_at = time.monotonic()
        self._watch.hurry()
        while not self._watch.has_looked_since(begun_at):
            self._wait(progress, "the topics' ids")
            yield

    # What stands where versions before kept it.

    def _from_before(
        self,
        number: int,
        snapshot: TaskSnapshot | None,
        found: Mapping[str, Values],
        starts: Offsets,
        committed: Offsets,
        progress: Progress,
    ) -> Generator[None, None, Task | None]:
        """The task, of which `found` and its `snapshot` stand on `snapshots` and do not agree with the offsets: its
        state of before, moved, or the beginning. None: it is to be looked again. Raises Stopped where it is neither."""
        before = yield from self._snapshots_before(number, progress)
        old = self._task_snapshot_before(number, before)
        if old is not None and _stands_at(old, starts) == committed and not is_of_now(snapshot, old):
            return (yield from self._move(number, _State(old, before), found, starts, committed, progress))
        if snapshot is None and old is None and not committed:
            yield from self._own(number, {**found, **before}, progress)
            task = yield from self._build(number, {}, starts, committed, progress)
            self._say_whose(task, None)
            return task
        stand = yield from self.stable_offsets(number, progress)
        if stand == committed:
            if snapshot is None:
                self._refuse_hidden()
            raise Stopped(ownership.disagreement(number, snapshot or old, committed, self._identity.group))
        return None

    def _snapshots_before(
        self, number: int, progress: Progress
    ) -> Generator[None, None, dict[str, dict[bytes, bytes]]]:
        """As _snapshots, of those topics of before that there are."""
        while (there := self._watch.before()) is None:
            self._wait(progress, "the ids of the topics of before")
            yield
        names = [name for name, topic in there.items() if topic is not None and number < topic.partition_count]
        try:
            return (yield from self._snapshots(number, names, progress))
        except NotAllowed:
            raise Stopped(access.not_allowed(self._settings, access.before_rights(self._settings))) from None

    def _task_snapshot_before(self, number: int, found: Mapping[str, Values]) -> TaskSnapshot | None:
        """Raises Stopped where it is not what these settings and topics let go on."""
        names = self._topics.state_before
        if names.bandit_snapshots not in found:
            return None
        snapshot = self._task_snapshot(number, found, names.bandit_snapshots)
        if snapshot is not None:
            there = self._watch.before() or {}
            self._refuse_hidden()
            ids = {name: topic.topic_id for name, topic in there.items() if topic is not None}
            identity = Identity(self._identity.group, {**self._identity.topic_ids, **ids}, self._identity.partitions)
            ownership.refuse_anothers(number, snapshot, identity, self._topics.inputs, names)
        return snapshot

    def _refuse_hidden(self) -> None:
        """Raises Stopped where nobody tells whether a state of before is there."""
        if any(topic is None for topic in (self._watch.before() or {}).values()):
            raise Stopped(access.not_allowed(self._settings, access.before_rights(self._settings)))

    def _move(
        self,
        number: int,
        state: "_State",
        found: Mapping[str, Values],
        starts: Offsets,
        committed: Offsets,
        progress: Progress,
    ) -> Generator[None, None, Task | None]:
        """The task, once its state stands on `snapshots`, where `found` stands; None where that is not known to have
        been committed: then it is to be looked again."""
        started_at, name = time.monotonic(), self._topics.snapshots
        task = yield from self._build(number, state.values, starts, committed, progress)
        yield from self._own_the_topic(number, {}, progress)
        snapshot = moving.moved(state.task, self._topics.state_before, name, self._identity.topic_ids[name])
        values = {key: value for topic in state.values.values() for key, value in topic.items()}
        most_records, remaining = self._settings.limits.restore_slice_records, len(values)
        for records in moving.transactions(values, found[name], snapshot, most_records):
            part = self.parts_wanted[number] = moving.Part(records, committed)
            try:
                while part.outcome is None:
                    self._wait(progress, f"a transaction that moves the state of task {number} to {name}")
                    yield
            finally:
                self.parts_wanted.pop(number, None)
            if part.outcome is not Outcome.COMMITTED:
                return None
            remaining = max(0, remaining - len(records))
            progress.moved(remaining)
        log.info(
            "task %d: its state, %d records, was moved from %s to %s in %.2f s: once every task's is, those of before "
            "are not needed any more",
            *(number, len(values), " and ".join(state.values), name, time.monotonic() - started_at),
        )
        self._say_whose(task, snapshot)
        return task

    # Whose it is.

    def _say_whose(self, task: Task, snapshot: TaskSnapshot | None) -> None:
        """What of its snapshot is to be said anew at once."""
        now, names = self._identity, self._topics
        if snapshot is None:
            task.is_due = True
            return
        task.settings = snapshot.settings
        said = (snapshot.group, snapshot.topic_ids, snapshot.partitions)
        task.is_due = said != (now.group, now.topic_ids, now.partitions)
        known = snapshot.topic_ids or now.topic_ids
        task.lacks_vectors = known.get(names.weights) != now.topic_ids[names.weights]
        if known.get(names.rewards) != now.topic_ids[names.rewards]:
            task.settings = ""  # the log that knew them is another one
        for name, before in known.items():
            if name not in self._told and before != now.topic_ids.get(name, before):
                self._told.add(name)
                log.warning("%s", made_anew(name, before, now.topic_ids[name]))

    def _own(self, number: int, left: Mapping[str, Values], progress: Progress) -> Generator[None, None, None]:
        """Until these topics are known to be this group's, of a task without state and offsets. Raises Stopped.

        `left` are the snapshots that there are none the less.
        """
        for name, values in left.items():
            if not all(key.startswith(CLAIM_PREFIX) for key in values):
                self._refuse_leftovers(number, f"{name}:{number}")
        for name in (self._topics.weights, self._topics.rewards):
            if (yield from self._holds_records(name, number, progress)):
                self._refuse_leftovers(number, f"{name}:{number}")
        before = yield from self._snapshots_before(0, progress)
        yield from self._own_the_topic(number, before, progress)

    def _own_the_topic(
        self, number: int, before: Mapping[str, Values], progress: Progress
    ) -> Generator[None, None, None]:
        """Until `snapshots` is known to be this group's. Raises Stopped. `before` may name the owner, too."""
        name = self._topics.snapshots
        for _ in range(_AGREE_TRIES):
            snapshots = yield from self._snapshots(0, (name,), progress)
            snapshot = self._task_snapshot(0, snapshots)
            if snapshot is not None:
                ownership.refuse_anothers(0, snapshot, self._identity, self._topics.inputs, self._topics.state)
            owner = yield from self._owner(snapshot, snapshots[name], progress)
            if owner is not None:
                ownership.refuse_another_group(number, owner, self._identity)
                return
            owner = yield from self._owner_before(before, progress)
            if owner is not None:
                ownership.refuse_another_group(number, owner, self._identity)
            yield from self._claim(number, progress)
        raise Stopped(f"task {number}: no claim of these topics could be written in {_AGREE_TRIES} tries")

    def _owner(
        self, snapshot: TaskSnapshot | None, values: Values, progress: Progress
    ) -> Generator[None, None, str | None]:
        """The group that partition 0's snapshots name, None where nobody has claimed it. Raises Stopped."""
        if snapshot is None:
            return ownership.first_claimant(values)
        committed = yield from self.stable_offsets(0, progress)
        if not committed:
            raise Stopped(ownership.disagreement(0, snapshot, committed, self._identity.group))
        return self._identity.group

    def _owner_before(self, before: Mapping[str, Values], progress: Progress) -> Generator[None, None, str | None]:
        name = self._topics.bandit_snapshots
        if name not in before:
            return None
        return (yield from self._owner(self._task_snapshot_before(0, before), before[name], progress))

    def _claim(self, number: int, progress: Progress) -> Generator[None, None, None]:
        """Until a claim was written, or not: the log says so. Raises Stopped where another group published here."""
        if self.has_claimed:  # since this task read the log: a key that is written twice would lose its first place
            return
        yield from self._refuse_others_outputs(number, progress)
        self.claims_wanted.add(number)
        try:
            while number in self.claims_wanted:
                yield
        finally:
            self.claims_wanted.discard(number)

    def _refuse_others_outputs(self, number: int, progress: Progress) -> Generator[None, None, None]:
        """An older processor wrote no claim: what it published says that the topics are not new, and its offsets are
        its group's."""
        for other in range(self._identity.partitions):
            if (yield from self.stable_offsets(other, progress)):
                return
        for other in range(self._identity.partitions):
            for name in (self._topics.weights, self._topics.rewards):
                if (yield from self._holds_records(name, other, progress)):
                    self._refuse_leftovers(number, f"{name}:{other}")

    def _refuse_leftovers(self, number: int, holds_records: str) -> NoReturn:
        self._refuse_hidden()
        ownership.refuse_leftovers(number, holds_records)

    def _holds_records(self, name: str, number: int, progress: Progress) -> Generator[None, None, bool]:
        """Whether anything committed stands there."""
        marks = yield from self._watermarks(number, (name,), progress)
        consumer = Consumer({**self._configuration, "isolation.level": "read_committed"}, logger=log)
        try:
            first = FirstRecord(consumer, name, number, marks[name])
            while (is_there := first.is_there(_POLL_SECONDS)) is None:
                self._wait(progress, self._blocked(number, {name: first.reached}, {name: first.end}))
                yield
            return is_there
        except KafkaException as failure:
            stop_if_refused(failure.args[0])
            raise
        finally:
            consumer.close()

    # Reading.

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
                    found = watermarks(self._ends_consumer, name, number, _WATERMARK_SECONDS)
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

    def _snapshots(
        self, number: int, names: Sequence[str], progress: Progress
    ) -> Generator[None, None, dict[str, dict[bytes, bytes]]]:
        """The last value of each key of one partition, by topic, in the order in which keys came; a tombstone removes
        its key. What is returned is decided: it waits for every transaction that was open there."""
        marks = yield from self._watermarks(number, names, progress)
        ends = {name: high for name, (low, high) in marks.items() if high > low}
        found: dict[str, dict[bytes, bytes]] = {name: {} for name in names}
        if not ends:
            return found
        reached = {name: marks[name][0] for name in ends}
        consumer = Consumer({**self._configuration, "isolation.level": "read_committed"}, logger=log)
        try:
            # At their beginning by number: librdkafka, asked for it by name, waits for half a second.
            consumer.assign([TopicPartition(name, number, marks[name][0]) for name in ends])
            while any(reached[name] < end for name, end in ends.items()):
                messages = consumer.consume(self._settings.limits.restore_slice_records, _POLL_SECONDS)
                newest = _keep(messages, found, reached)
                if newest is not None:
                    self._writers[number] = writer_of(newest)
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
        pipeline = self._new_pipeline(number)
        state = pipeline.state
        lacking = _Pages(number)
        values = [value for topic in snapshots.values() for value in topic.values()]
        slice_records = self._settings.limits.restore_slice_records
        for start in range(0, len(values), slice_records):
            records = values[start : start + slice_records]
            at = 0
            while (at := state.restore_records(records, at, lacking.expect)) < len(records):
                value = records[at]
                try:
                    self._put_back(state, value, number, lacking)
                except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                    raise self._unreadable(number, snapshots, value, error) from error
                at += 1
            progress.moved(len(values) - start)
            yield
        lacking.refuse()
        progress.moved(0)
        return Task(number, pipeline, next_offset)

    def _new_pipeline(self, number: int) -> "Pipeline | CorePipeline":
        """One over a state that holds nothing yet."""
        settings, limits = self._settings, self._settings.task_limits()
        if not self._is_native:
            return Pipeline(TaskState(limits, self._bandit_registry))
        from armstream.core.pipeline import CorePipeline  # noqa: PLC0415 - it is there where the core was built
        from armstream.core.state import CoreState  # noqa: PLC0415

        most_bytes, most_micros = settings.limits.record_bytes, settings.max_future_micros
        partitions = self._identity.partitions
        return CorePipeline(CoreState(limits, self._bandit_registry, number, partitions, most_bytes, most_micros))

    @staticmethod
    def _put_back(state: TaskState, value: bytes, number: int, lacking: "_Pages") -> None:
        snapshot = decoded(value)
        try:
            if isinstance(snapshot, BanditSnapshot):
                state.restore_bandit(snapshot)
            elif isinstance(snapshot, PositionSnapshot):
                state.restore_position(snapshot)
                if snapshot.paged is not None:
                    lacking.expect(position_key(snapshot.bandit_id, snapshot.position_id), snapshot.paged.pages)
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
                    f"{LOST_INPUT}"
                )

    def _task_snapshot(self, number: int, snapshots: Mapping[str, Values], name: str = "") -> TaskSnapshot | None:
        """The one on that topic, where state stands now if none is named."""
        values = snapshots[name or self._topics.snapshots]
        try:
            return ownership.task_snapshot_in(values)
        except DecodeError as error:
            raise self._unreadable(number, snapshots, values[TASK_KEY], error) from error

    def _unreadable(self, number: int, snapshots: Mapping[str, Values], value: bytes, error: Exception) -> Stopped:
        """Of the snapshot in the place where `value` itself stands."""
        topic, key = next((topic, key) for topic, by_key in snapshots.items() for key in by_key if by_key[key] is value)
        place = f"{topic}:{number}, the newest of {key.decode(errors='replace')!r}"
        return Stopped(unreadable(place, error, self._writers.get(number, "")))


class _State(NamedTuple):
    """A task's state where versions before kept it: its own snapshot, and the last values by topic."""

    task: TaskSnapshot
    values: dict[str, dict[bytes, bytes]]


class _Pages:
    """Which positions have another number of pages than they say: they were written together, so there is none."""

    def __init__(self, number: int) -> None:
        self._task = number
        self._lacking: Counter[str] = Counter()

    def expect(self, key: str, page_count: int) -> None:
        if page_count:
            self._lacking[key] += page_count

    def found(self, page: PositionPage) -> None:
        self._lacking[position_key(page.bandit_id, page.position_id)] -= 1

    def refuse(self) -> None:
        """Raises Stopped for the first."""
        for key, count in self._lacking.items():
            if count:
                bandit_id, _, position_id = key.partition("\0")
                what = f"{abs(count)} pages {'are missing' if count > 0 else 'too many'}"
                raise Stopped(f"task {self._task}: position {position_id!r} of bandit {bandit_id!r}: {what}")


def _stands_at(snapshot: TaskSnapshot, starts: Offsets) -> Offsets:
    """In the inputs that there are."""
    return {name: offset for name, offset in snapshot.next_offset.items() if name in starts}


def _keep(messages: Sequence[Message], found: dict[str, dict[bytes, bytes]], reached: Offsets) -> Message | None:
    """Notes records, and the end of a partition, which for a read_committed consumer is where it may read to. Gives the
    newest task snapshot of them."""
    newest = None
    for message in messages:
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
            if key == TASK_KEY:
                newest = message
            next_offset += 1
        else:
            stop_if_refused(error)
            next_offset = end_of(message)
        reached[topic] = max(reached[topic], next_offset)
    return newest
