"""This process as a member of its consumer group: what it reads, which tasks it is given, and why it must go.

Law: callbacks run inside poll and consume, and only mark. A member that was thrown out learns of it by being served:
so whoever waits, serves.
"""

import logging
import time
from collections.abc import Callable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from armstream.runtime.failures import Stopped, stop_if_refused
from armstream.runtime.fence import cause_of_fence, is_fence
from armstream.runtime.identity import LOST_INPUT, Watch
from armstream.runtime.metrics import Metrics
from armstream.runtime.tasks import Offsets, Task, Tasks
from armstream.settings import Settings

log = logging.getLogger(__name__)

SEEK_DEADLINE_SECONDS = 30.0


class Member:
    """Owns the group's consumer, and marks in `tasks` what the group gives and takes."""

    def __init__(self, settings: Settings, tasks: Tasks, metrics: Metrics, watch: Watch) -> None:
        self._settings = settings
        self._inputs = settings.topics.names.inputs
        self._tasks = tasks
        self._metrics = metrics
        self._watch = watch
        self._refusal: str | None = None
        self._fatal: KafkaError | None = None
        self._ids: set[str] = set()
        self._left_records = False
        self.errors = {"error_cb": self._on_error}  # for every client of this process

    def join(self) -> Consumer:
        """Opens the consumer, which joins the group as it is read from."""
        self._consumer = Consumer({**self.errors, **self._settings.consumer_configuration()}, logger=log)
        self._consumer.subscribe(
            list(self._inputs), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )
        return self._consumer

    def close(self) -> None:
        """A static member's partitions wait for it until the session ends."""
        self._consumer.close()

    # Callbacks.

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers_by_topic = {name: set[int]() for name in self._inputs}
        for partition in partitions:
            numbers_by_topic[partition.topic].add(partition.partition)
        numbers = set().union(*numbers_by_topic.values())
        if any(found != numbers for found in numbers_by_topic.values()):
            listed = "; ".join(f"{name}: {sorted(found)}" for name, found in numbers_by_topic.items())
            self._refusal = (
                f"the assignment splits tasks ({listed}): every member of group {self._settings.kafka.group_id!r} must "
                f"subscribe to the same topics, {', '.join(self._inputs)}, with the range assignor"
            )
            consumer.assign([])  # else librdkafka assigns what we refuse, and reads
            return
        for partition in partitions:
            partition.offset = OFFSET_BEGINNING
        consumer.assign(partitions)
        consumer.pause(partitions)
        self._ids.add(consumer.memberid())
        self._tasks.assign(numbers)
        log.info("assigned tasks %s", sorted(numbers))

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = {partition.partition for partition in partitions} & self._tasks.assigned  # not what was refused
        self._tasks.revoke(numbers)
        for number in numbers:
            self._metrics.forget_task(number)
        log.info("revoked tasks %s", sorted(numbers))

    def _on_error(self, error: KafkaError) -> None:
        self._watch.hear(error)
        if _is_fatal(error):
            self._fatal = error
        else:
            log.warning("kafka: %s", error.str())

    # Reading.

    def read(self, wait_seconds: float, most_records: int) -> list[Message]:
        """One record, or the end of a partition, as soon as there is one, and with it whatever else is there."""
        first = self._consumer.poll(wait_seconds)
        read = [] if first is None else [first]
        if read and most_records > 1:
            read += self._consumer.consume(most_records - 1, 0)
        self._refuse_if_told()
        return read

    def serve(self) -> None:
        """Lets the consumer learn that it was thrown out: a healthy twin must not be fenced by a woken process."""
        message = self._consumer.poll(0)
        error = None if message is None else message.error()
        self._left_records = self._left_records or message is not None
        if message is not None and error is not None and error.code() != KafkaError._PARTITION_EOF:
            self.heed(message, error)
        self._refuse_if_told()

    def _refuse_if_told(self) -> None:
        """Raises Stopped where a callback heard what ends the process."""
        if self._fatal is not None:
            raise Stopped(self._why_fatal(self._fatal))
        if self._refusal is not None:
            raise Stopped(self._refusal)

    def heed(self, message: Message, error: KafkaError) -> None:
        """An error that came in a record's place: said and passed over, or Stopped or NotAllowed is raised."""
        self._watch.hear(error)
        if _is_fatal(error):
            raise Stopped(self._why_fatal(error))
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise Stopped(
                f"{message.topic()}:{message.partition()}: the next record is not there any more ({error.str()}): "
                f"input was deleted before it was read; {LOST_INPUT}"
            )
        stop_if_refused(error)
        log.warning("kafka: %s", error.str())

    def _why_fatal(self, error: KafkaError) -> str:
        return cause_of_fence(self._settings, error, self._ids) if is_fence(error) else f"kafka: {error.str()}"

    # Where it reads on.

    @property
    def has_left_records(self) -> bool:
        """Something was read and dropped since the last seek: it is to be read again."""
        return self._left_records

    def seek_back(self, serve: Callable[[], None]) -> None:
        """Every ready task reads on from its next offsets. Serves meanwhile: it may be fetching nothing any more."""
        deadline = time.monotonic() + SEEK_DEADLINE_SECONDS
        while True:
            self._left_records = False
            waiting = [task for task in self._tasks.ready.values() if not self.seek(task, deadline)]
            if not waiting:
                return
            time.sleep(0.005)
            serve()

    def seek(self, task: Task, deadline: float) -> bool:
        """False where a partition is not being fetched: not yet, or not any more. Raises Stopped past the deadline."""
        try:
            for name, offset in task.next_offset.items():
                self._consumer.seek(TopicPartition(name, task.number, offset))
        except KafkaException as failure:
            if failure.args[0].code() != KafkaError._STATE:
                raise
            if time.monotonic() > deadline:
                raise Stopped(
                    f"task {task.number}: its partitions could not be sought for {SEEK_DEADLINE_SECONDS:.0f} s"
                ) from failure
            return False
        return True

    def pause(self, number: int) -> None:
        self._consumer.pause(self._partitions(number))

    def resume(self, number: int) -> None:
        self._consumer.resume(self._partitions(number))

    def lags(self, task: Task) -> Offsets:
        """How many records of each input topic are still to come, as far as the consumer has heard."""
        lags: Offsets = {}
        for name, next_offset in task.next_offset.items():
            _, high = self._consumer.get_watermark_offsets(TopicPartition(name, task.number), cached=True)
            lags[name] = max(0, high - next_offset)
        return lags

    def _partitions(self, number: int) -> list[TopicPartition]:
        return [TopicPartition(name, number) for name in self._inputs]


def _is_fatal(error: KafkaError) -> bool:
    """A consumer's fatal error comes as a record's, with the code and without the flag."""
    return error.fatal() or error.code() == KafkaError._FATAL
