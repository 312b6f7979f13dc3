"""What an operator asks of bandits: a command goes to the processors, and what became of it is read from their outputs.

Law: nothing is changed here. A command is a record like any other, applied in order with the data; who does not hear
of it in time may ask again with the same id, which changes things once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from armstream.codec import decode, encode
from armstream.events import BanditSnapshot, Command, CommandApplied, DeadLetter, WeightVector
from armstream.rules import clips
from armstream.runtime.failures import Stopped
from armstream.runtime.intake import Record, partition_of
from armstream.runtime.publication import TASK_KEY
from armstream.runtime.topics import partition_count
from armstream.settings import Settings

_REQUEST_SECONDS = 10.0
_POLL_SECONDS = 0.2
_SAY_AFTER_SECONDS = 2.0

Offsets = dict[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command: whether it was obeyed, and the line about it."""

    is_obeyed: bool
    line: str


def send(settings: Settings, command: Command, wait_seconds: float, say: Callable[[str], None]) -> Answer:
    """Sends a command and waits for its outcome; `say` is told what it waits for.

    Raises Stopped where Kafka does not answer, or nobody took the command in time.
    """
    names = settings.topics.names
    number = partition_of(command.bandit_id.encode(), partition_count(settings))
    with _reader(settings) as consumer:
        outputs = (names.rewards, names.dead_letters)
        ends = {name: _watermarks(consumer, name, number)[1] for name in outputs}
        _deliver(settings, names.commands, number, command)
        consumer.assign([TopicPartition(name, number, end) for name, end in ends.items()])
        started, said = time.monotonic(), False
        while (waited := time.monotonic() - started) < wait_seconds:
            if waited > _SAY_AFTER_SECONDS and not said:
                said = True
                say(f"{command.command_id}: sent; waiting for the processor of partition {number}")
            for record in _records(consumer):
                answer = _answer(command, record, names.commands)
                if answer is not None:
                    return answer
    raise Stopped(
        f"{command.command_id}: sent, and no processor has taken it within {wait_seconds:g} s; it waits in "
        f"{names.commands}:{number}. To ask again: --id {command.command_id}"
    )


def listed(settings: Settings, bandit_id: str | None) -> Iterator[str]:
    """A line for each bandit, or for one, and for its arms and experts. Raises Stopped where Kafka does not answer."""
    names, count = settings.topics.names, partition_count(settings)
    numbers = range(count) if bandit_id is None else [partition_of(bandit_id.encode(), count)]
    with _reader(settings) as consumer:
        vectors = _latest(consumer, names.weights, numbers)
        snapshots = _latest(consumer, names.bandit_snapshots, numbers)
    found = {key: value for key, value in vectors.items() if bandit_id is None or key == bandit_id.encode()}
    if not found:
        yield "no bandit has published weights yet" if bandit_id is None else f"no weights of {bandit_id!r} yet"
    for key in sorted(found.keys() & snapshots.keys()):
        vector, snapshot = decode(found[key]), decode(snapshots[key])
        if isinstance(vector, WeightVector) and isinstance(snapshot, BanditSnapshot):
            yield from _lines(vector, snapshot)


def _lines(vector: WeightVector, snapshot: BanditSnapshot) -> Iterator[str]:
    state = "PAUSED" if snapshot.paused else vector.phase
    bound = f"{vector.reward_bound_bps:,.1f} bps" if vector.reward_bound_bps else "not found yet"
    clipped = f"  reward bound {bound}" if clips(vector) else ""
    yield f"{vector.bandit_id}  {state}  version {vector.version}  {vector.total_steps} decisions{clipped}"
    earned = {arm.name: arm for arm in snapshot.arms}
    width = max(len(arm.name) for arm in vector.arms)
    for arm in vector.arms:
        kept = earned.get(arm.name)
        pulls = "" if kept is None else f"  {kept.pulls} pulls  {kept.cumulative_reward_bps:+.1f} bps"
        yield f"  {arm.name:<{width}}  weight {arm.weight:.4f}  probability {arm.probability:.4f}{pulls}"
    for expert in vector.experts:
        yield f"  expert {expert.name}  weight {expert.weight:.4f}{'' if expert.distribution else '  of engines'}"


def _answer(command: Command, record: Record, commands_topic: str) -> Answer | None:
    """What the record says of the command; None where it is about something else."""
    event = decode(record.value())
    if isinstance(event, CommandApplied):
        if (event.bandit_id, event.command_id) != (command.bandit_id, command.command_id):
            return None
        said = f"{event.command_id}: {event.action} of {event.bandit_id!r} {event.outcome}, version {event.version}"
        return Answer(event.outcome == "APPLIED", f"{said}: {event.detail}" if event.detail else said)
    if isinstance(event, DeadLetter) and event.source.topic == commands_topic and event.source.value == encode(command):
        return Answer(False, f"{command.command_id}: refused, {event.error_class}: {event.error}")
    return None


def _deliver(settings: Settings, topic: str, number: int, command: Command) -> None:
    producer = Producer({**settings.kafka.connection(), "enable.idempotence": True, "acks": "all"})
    failures: list[KafkaError] = []

    def note(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failures.append(error)

    producer.produce(topic, encode(command), command.bandit_id.encode(), number, on_delivery=note)
    left = producer.flush(_REQUEST_SECONDS)
    if failures or left:
        reason = failures[0].str() if failures else f"not delivered within {_REQUEST_SECONDS:g} s"
        raise Stopped(f"Kafka at {settings.kafka.bootstrap_servers}: {settings.kafka.masked(reason)}")


@contextmanager
def _reader(settings: Settings) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "fetch.wait.max.ms": 50,
            **settings.kafka.connection(),
            "group.id": settings.kafka.group_id,  # it never joins the group
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        yield consumer
    except KafkaException as failure:
        reason = settings.kafka.masked(failure.args[0].str())
        raise Stopped(f"Kafka at {settings.kafka.bootstrap_servers}: {reason}") from failure
    finally:
        consumer.close()


def _watermarks(consumer: Consumer, topic: str, number: int) -> tuple[int, int]:
    found = consumer.get_watermark_offsets(TopicPartition(topic, number), _REQUEST_SECONDS)
    if found is None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no offsets of {topic}:{number}"))
    return found


def _latest(consumer: Consumer, topic: str, numbers: Sequence[int]) -> dict[bytes, bytes]:
    """The last value of each key but the tasks' own, in partitions read to their ends."""
    waiting = set()
    for number in numbers:
        low, high = _watermarks(consumer, topic, number)
        if high > low:
            waiting.add(number)
    found: dict[bytes, bytes] = {}
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in waiting])
    deadline = time.monotonic() + _REQUEST_SECONDS
    while waiting:
        for message in consumer.consume(1_000, _POLL_SECONDS):
            error, record = message.error(), cast(Record, message)
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                waiting.discard(record.partition())
            elif error is not None:
                raise KafkaException(error)
            else:
                deadline = time.monotonic() + _REQUEST_SECONDS
                _keep(record, found)
        if time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"the end of {topic} was not reached"))
    consumer.unassign()
    return found


def _keep(record: Record, found: dict[bytes, bytes]) -> None:
    key, value = record.key(), record.value()
    if key is None or key == TASK_KEY:
        return
    if value is None:
        found.pop(key, None)
    else:
        found[key] = value


def _records(consumer: Consumer) -> Iterator[Record]:
    for message in consumer.consume(1_000, _POLL_SECONDS):
        error = message.error()
        if error is None:
            yield cast(Record, message)
        elif error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
