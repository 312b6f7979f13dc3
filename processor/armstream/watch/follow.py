"""Follows the output topics and commands into the board. Law: read committed, no group is joined, no offset is moved.

What says the shape of bandits is read first, then the rewards back from the past, with progress, then all goes on
together. Brokers that go away are waited for; where the topics are made anew under their names, all begins anew. A
record that cannot be read, or is odd, is counted, and stops nothing. No record is of later than now.
"""

import logging
import threading
import time
from typing import Final, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from armstream.access import REFUSALS
from armstream.codec import DecodeError, Event, decode
from armstream.events import (
    BanditSnapshot,
    Command,
    CommandApplied,
    DeadLetter,
    Reward,
    TaskSettings,
    TaskSnapshot,
    WeightVector,
)
from armstream.keys import TASK_KEY, is_bandits
from armstream.runtime.intake import Record
from armstream.runtime.snapshots import writer_of
from armstream.settings import Settings
from armstream.stages.facts import DAY_MICROS
from armstream.watch.board import Board, Trouble
from armstream.watch.facts import Place
from armstream.watch.group import ADMIN, error_of, trouble_of
from armstream.watch.history import History, Odd
from armstream.watermarks import told_watermarks

log = logging.getLogger(__name__)

_REQUEST_SECONDS: Final = 10.0
_MARKS_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.1
_READ_RECORDS: Final = 1_000
_ASK_TOPICS_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 1.0
_FOLD_RECORDS: Final = 200  # while the lock is held


class Follower:
    """A thread that reads."""

    def __init__(self, settings: Settings, board: Board, stopping: threading.Event) -> None:
        self._settings, self._board, self._stopping = settings, board, stopping
        names = settings.topics.names
        self._shapes = (names.weights, names.snapshots, names.commands, names.dead_letters)
        self._before = names.bandit_snapshots  # until a task was moved from it
        self._moved: set[int] = set()
        self._rewards = names.rewards
        self._topic_ids: dict[str, str] = {}
        self._next: dict[Place, int] = {}  # the offset to read next
        self._begins: dict[Place, int] = {}
        self._targets: dict[Place, int] = {}  # where each partition ended when its reading began
        self._behind: set[Place] = set()  # not read to their ends yet
        self._has_rewards = False
        self._refusal: Trouble | None = None
        self.unreadable_count = 0

    def run(self) -> None:
        """Until it is told to stop."""
        while not self._stopping.is_set():
            try:
                self._follow()
            except (KafkaException, TimeoutError) as failure:
                self._board.note_trouble("follower", trouble_of(self._settings, error_of(failure)))
                self._stopping.wait(_AGAIN_SECONDS)

    def _follow(self) -> None:
        """Raises KafkaException or TimeoutError; what was read stays."""
        admin = AdminClient({**ADMIN, **self._settings.kafka.connection()})
        consumer = Consumer(
            {
                "fetch.wait.max.ms": 100,
                "fetch.queue.backoff.ms": 5,
                "queued.max.messages.kbytes": 16_384,
                "log_level": 0,
                **self._settings.kafka.connection(),
                "group.id": self._settings.kafka.group_id,  # it never joins the group
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",  # what retention took is not there to be read
            }
        )
        assigned: set[Place] = set()
        ask_at = 0.0
        try:
            while not self._stopping.is_set():
                if time.monotonic() >= ask_at:
                    places = self._places(admin)
                    self._assign(consumer, places, assigned)
                    ask_at = time.monotonic() + _ASK_TOPICS_SECONDS
                    self._board.note_trouble("follower", self._refusal)
                    self._refusal = None
                self._take(_read(consumer))
                if self._refusal is not None:
                    self._board.note_trouble("follower", self._refusal)
                if self._is_done_with(assigned):
                    ask_at = 0.0
        finally:
            consumer.close()

    # Which partitions.

    def _places(self, admin: AdminClient) -> list[Place]:
        """Of all topics that are there. Raises KafkaException or TimeoutError."""
        wanted = [*self._shapes, self._rewards, self._before]
        asked = admin.describe_topics(TopicCollection(wanted), request_timeout=_REQUEST_SECONDS)
        places: list[Place] = []
        missing = []
        for name, future in asked.items():
            try:
                found = future.result(2 * _REQUEST_SECONDS)
            except KafkaException as failure:
                code = failure.args[0].code()
                if name == self._before and code in (KafkaError.UNKNOWN_TOPIC_OR_PART, *REFUSALS):
                    continue
                if code != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                missing.append(name)
                continue
            topic_id = str(found.topic_id)
            if self._topic_ids.setdefault(name, topic_id) != topic_id:
                self._begin_anew()
                raise KafkaException(KafkaError(KafkaError._STATE, f"topic {name} was made anew"))
            places += [(name, partition.id) for partition in found.partitions]
        missing_text = f"There is no topic {', '.join(missing)}: armstream topics create makes it." if missing else ""
        self._board.note_trouble("topics", Trouble("error", missing_text) if missing else None)
        return places

    def _begin_anew(self) -> None:
        log.warning("the topics were made anew: what was read of the old ones counts no more")
        self._board.begin_anew()
        self._topic_ids.clear()
        self._next.clear()
        self._begins.clear()
        self._targets.clear()
        self._behind.clear()
        self._moved.clear()
        self._has_rewards = False

    def _assign(self, consumer: Consumer, places: list[Place], assigned: set[Place]) -> None:
        """The shapes at once, the rewards when those were read to their ends. Raises KafkaException."""
        if self._are_shapes_read(assigned):
            self._has_rewards = True
        new = [place for place in places if place not in assigned and (self._has_rewards or place[0] != self._rewards)]
        if not new:
            return
        begins = self._begins_of(consumer, [place for place in new if place not in self._next])
        for place in new:
            if place not in self._next:
                self._next[place] = self._begins[place] = begins[place]
            _, self._targets[place] = told_watermarks(consumer, *place, _MARKS_SECONDS)
            if self._targets[place] > self._next[place]:
                self._behind.add(place)
        consumer.incremental_assign([TopicPartition(*place, self._next[place]) for place in new])
        assigned.update(new)

    def _begins_of(self, consumer: Consumer, places: list[Place]) -> dict[Place, int]:
        """What is compacted from its beginning, all else from so many days ago."""
        names = self._settings.topics.names
        since_ms = (self._board.now() - self._settings.watch.read_back_days * DAY_MICROS) // 1_000
        begins = dict.fromkeys(places, OFFSET_BEGINNING)
        compacted = (*names.compacted, self._before)
        timed = [TopicPartition(*place, since_ms) for place in places if place[0] not in compacted]
        for found in consumer.offsets_for_times(timed, _REQUEST_SECONDS) if timed else ():
            if found.error is not None:
                raise KafkaException(found.error)
            begins[found.topic, found.partition] = found.offset
        for place, begin in begins.items():
            if begin < 0:
                low, high = told_watermarks(consumer, *place, _MARKS_SECONDS)
                begins[place] = low if begin == OFFSET_BEGINNING else high
        return begins

    def _are_shapes_read(self, assigned: set[Place]) -> bool:
        return bool(assigned) and not any(place[0] != self._rewards for place in self._behind)

    def _is_done_with(self, assigned: set[Place]) -> bool:
        """Whether there is something to assign at once: the rewards, after the shapes. Tells how far it is."""
        if self._has_rewards and not self._board.is_live:
            of = [place for place in self._targets if place[0] == self._rewards]
            read = sum(min(self._next[place], self._targets[place]) - self._begins[place] for place in of)
            self._board.note_progress(read, sum(self._targets[place] - self._begins[place] for place in of))
            if of and not self._behind:
                self._board.note_live()
        return not self._has_rewards and self._are_shapes_read(assigned)

    # Records.

    def _take(self, messages: list[Message]) -> None:
        for at in range(0, len(messages), _FOLD_RECORDS):
            with self._board.folding() as history:
                for message in messages[at : at + _FOLD_RECORDS]:
                    self._take_one(history, message)
            time.sleep(0)  # who waits for the lock has it now

    def _take_one(self, history: History, message: Message) -> None:
        error, record = message.error(), cast(Record, message)
        place = record.topic(), record.partition()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._reach(place, record.offset())
            elif place[0] == self._before and error.code() in REFUSALS:
                self._behind -= {other for other in self._behind if other[0] == self._before}
            elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # no group is joined
                self._hear(error)
            return
        if record.offset() >= self._next.get(place, 0):
            self._fold(history, record, message)
            self._reach(place, record.offset() + 1)

    def _hear(self, error: KafkaError) -> None:
        """What passes is waited for; a right that lacks is told. Raises KafkaException where it is the end."""
        if error.fatal():
            raise KafkaException(error)
        if error.code() in REFUSALS:
            self._refusal = trouble_of(self._settings, error)
        log.info("while following: %s", self._settings.kafka.masked(error.str()))

    def _reach(self, place: Place, next_offset: int) -> None:
        self._next[place] = max(next_offset, self._next.get(place, 0))
        if self._next[place] >= self._targets.get(place, 0):
            self._behind.discard(place)

    def _fold(self, history: History, record: Record, message: Message) -> None:
        names, key = self._settings.topics.names, record.key()
        ts = min(max(record.timestamp()[1], 0) * 1_000, self._board.now())  # a producer may say any time
        topic, number, value = record.topic(), record.partition(), record.value()
        if value is None:
            if topic == names.weights and key is not None:
                history.forget_bandit(key.decode(errors="replace"))
            return
        if topic in (names.snapshots, self._before) and not self._is_of_interest(topic, number, key):
            return
        try:
            event = decode(value)
            self._take_event(history, event, record, message, ts)
        except (DecodeError, Odd) as error:
            self.unreadable_count += 1
            if self.unreadable_count == 1:
                log.warning("%s:%d:%d cannot be read: %s", topic, number, record.offset(), error)

    def _is_of_interest(self, topic: str, number: int, key: bytes | None) -> bool:
        """Of snapshots: bandits' and tasks' alone; and of those of before only such that were not moved yet."""
        if topic == self._before:
            return number not in self._moved
        if key == TASK_KEY:
            self._moved.add(number)
        return key == TASK_KEY or (key is not None and is_bandits(key))

    def _take_event(self, history: History, event: Event, record: Record, message: Message, ts: int) -> None:
        """Raises Odd."""
        names, key, value = self._settings.topics.names, record.key(), record.value()
        topic, number = record.topic(), record.partition()
        match event:
            case WeightVector() if topic == names.weights:
                history.take_vector(number, event, ts)
            case Reward() | CommandApplied() if topic == names.rewards:
                history.take_audit(number, event, ts, value)
            case TaskSettings() if topic == names.rewards:
                history.take_settings(event, ts)
            case DeadLetter() if topic == names.dead_letters:
                history.take_letter(number, record.offset(), event, ts)
            case Command() if topic == names.commands:
                history.take_command(event)
            case BanditSnapshot() if key is not None and is_bandits(key):
                history.take_bandit_snapshot(number, event, ts)
            case TaskSnapshot() if key == TASK_KEY:
                history.take_task_snapshot(event, writer_of(message), ts)


def _read(consumer: Consumer) -> list[Message]:
    """What is there, or what comes first within _POLL_SECONDS: consume alone would wait the whole of it."""
    record = consumer.poll(_POLL_SECONDS)
    return [] if record is None else [record, *consumer.consume(_READ_RECORDS, 0)]
