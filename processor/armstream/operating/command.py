"""A command goes to the processors, and what became of it is read from their outputs.

Law: nothing is changed here. A command is a record like any other, applied in order with the data; who does not hear
of it in time may ask again with the same id, which changes things once. What cannot be read is no answer, and is named
where no other comes.
"""

import time
from dataclasses import dataclass

from confluent_kafka import TopicPartition

from armstream.access import ask_rights
from armstream.codec import DecodeError, decode, encode
from armstream.events import Command, CommandApplied, DeadLetter
from armstream.keys import partition_of
from armstream.operating.delivery import Outgoing, deliver
from armstream.operating.reader import REQUEST_SECONDS, UPGRADE, place_of, reader, records, watermarks
from armstream.runtime.failures import Stopped
from armstream.runtime.intake import Record
from armstream.runtime.topics import partition_count, require
from armstream.settings import Settings
from armstream.waiting import Say, waiting

_SAY_AFTER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command: whether it was obeyed, and the line about it."""

    is_obeyed: bool
    line: str


def send(settings: Settings, command: Command, wait_seconds: float, say: Say) -> Answer:
    """Sends a command and waits for its outcome; `say` is told what it waits for.

    Raises Stopped where Kafka does not answer, or nobody took the command in time.
    """
    names = settings.topics.names
    require(settings, ask_rights(settings), say)
    number = partition_of(command.bandit_id.encode(), partition_count(settings, names.commands, say))
    with reader(settings) as consumer:
        outputs = (names.rewards, names.dead_letters)
        with waiting(f"Kafka at {settings.kafka.bootstrap_servers}", 3 * REQUEST_SECONDS, say):
            ends = {name: watermarks(consumer, name, number)[1] for name in outputs}
            deliver(settings, [Outgoing(names.commands, number, command.bandit_id.encode(), encode(command))])
        consumer.assign([TopicPartition(name, number, end) for name, end in ends.items()])
        started, said, unreadable = time.monotonic(), False, ""
        while (waited := time.monotonic() - started) < wait_seconds:
            if waited > _SAY_AFTER_SECONDS and not said:
                said = True
                say(f"{command.command_id}: sent; waiting for the processor of partition {number}")
            for record in records(consumer):
                try:
                    answer = _answer(command, record, names.commands)
                except DecodeError as error:
                    if record.key() == command.bandit_id.encode():
                        unreadable = f"{place_of(record)}: {error}"
                    continue
                if answer is not None:
                    return answer
    if unreadable:
        raise Stopped(f"{command.command_id}: sent, and what may answer it cannot be read: {unreadable}; {UPGRADE}")
    raise Stopped(
        f"{command.command_id}: sent, and no processor has taken it within {wait_seconds:g} s; it waits in "
        f"{names.commands}:{number}. To ask again: --id {command.command_id}"
    )


def _answer(command: Command, record: Record, commands_topic: str) -> Answer | None:
    """What the record says of the command; None where it is about something else. Raises DecodeError."""
    event = decode(record.value())
    if isinstance(event, CommandApplied):
        if (event.bandit_id, event.command_id) != (command.bandit_id, command.command_id):
            return None
        said = f"{event.command_id}: {event.action} of {event.bandit_id!r} {event.outcome}, version {event.version}"
        return Answer(event.outcome == "APPLIED", f"{said}: {event.detail}" if event.detail else said)
    if isinstance(event, DeadLetter) and event.source.topic == commands_topic and event.source.value == encode(command):
        return Answer(False, f"{command.command_id}: refused, {event.error_class}: {event.error}")
    return None
