"""Where the tasks of a group stand, as Kafka has it. Law: what an open transaction may still change is waited for.

A task's state stands on `snapshots`, or still where versions before kept it: is_of_now says which.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException

from armstream.events import TaskSnapshot
from armstream.operating.group import stable_offsets
from armstream.operating.reader import REQUEST_SECONDS, reader, watermarks
from armstream.runtime.committed import FirstRecord, last_task_snapshots
from armstream.runtime.snapshots import is_of_now
from armstream.settings import Settings, StateTopics
from armstream.waiting import Say, waiting

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Standing:
    """One task as Kafka has it: its snapshot, its group's offsets, and (first offset, end) of each input. `state` are
    the topics that hold it."""

    task: int
    snapshot: TaskSnapshot | None
    committed: Mapping[str, int]
    marks: Mapping[str, tuple[int, int]]
    state: StateTopics
    has_published: bool = False


def standings(settings: Settings, count: int, say: Say) -> list[Standing]:
    """Each task's. Raises Stopped where Kafka does not answer, or a transaction stays open."""
    names, numbers = settings.topics.names, range(count)
    with reader(settings, "read_uncommitted") as ends, reader(settings) as consumer:
        marks = {(name, number): watermarks(ends, name, number) for name in names.inputs for number in numbers}
        snapshots = _task_snapshots(settings, ends, consumer, names.snapshots, numbers, say)
        state = dict.fromkeys(numbers, names.state)
        if names.bandit_snapshots in consumer.list_topics(timeout=REQUEST_SECONDS).topics:
            before = _task_snapshots(settings, ends, consumer, names.bandit_snapshots, numbers, say)
            hold = {number: old for number, old in before.items() if not is_of_now(snapshots.get(number), old)}
            snapshots |= hold
            state |= dict.fromkeys(hold, names.state_before)
        committed = stable_offsets(settings, consumer, marks, say)
        lacking = [number for number in numbers if number not in snapshots]
        published = {number for number in lacking if _holds_records(consumer, names.rewards, number)}
    return [
        Standing(
            number,
            snapshots.get(number),
            {name: committed[name, number] for name in names.inputs if (name, number) in committed},
            {name: marks[name, number] for name in names.inputs},
            state[number],
            number in published,
        )
        for number in numbers
    ]


def _task_snapshots(
    settings: Settings, ends: Consumer, consumer: Consumer, topic: str, numbers: Iterable[int], say: Say
) -> dict[int, TaskSnapshot]:
    """By task, those that stand on a topic."""
    patience_seconds = settings.kafka.longest_transaction_seconds
    marks = {number: watermarks(ends, topic, number) for number in numbers}
    with waiting(topic, patience_seconds, say):
        return last_task_snapshots(consumer, topic, marks, patience_seconds)


def _holds_records(consumer: Consumer, topic: str, number: int) -> bool:
    first = FirstRecord(consumer, topic, number, watermarks(consumer, topic, number))
    deadline = time.monotonic() + REQUEST_SECONDS
    while (is_there := first.is_there(_POLL_SECONDS)) is None:
        if time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"the end of {topic}:{number} was not reached"))
    consumer.unassign()
    return is_there
