"""Dead letters go to their input topics again, and what becomes of them is read from the outputs.

Law: nothing is written before all that is asked for can be, and a dry run shows it byte by byte. What is sent is a
record like any other, and a letter that is sent twice is applied once, by its id: see mending.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Consumer
from msgspec.structs import replace

from armstream.access import resend_rights
from armstream.codec import DecodeError, decode
from armstream.events import (
    Command,
    CommandApplied,
    DeadLetter,
    Fill,
    PositionPage,
    PositionSnapshot,
    Reward,
    TaskSnapshot,
)
from armstream.keys import TASK_KEY
from armstream.operating.dead_letters import Letter, find
from armstream.operating.delivery import Outgoing, deliver
from armstream.operating.json_lines import bytes_value, event_values, line
from armstream.operating.mending import LEFT_OUT, Asked, Judge, Mend, NotResendable, Resend, id_of, resend_of
from armstream.operating.reader import REQUEST_SECONDS, reader, records, watermarks
from armstream.operating.spans import CONSUMER, Partition, begin, merged, spans_of
from armstream.runtime.failures import Stopped
from armstream.runtime.intake import Place, headers_of
from armstream.runtime.topics import partition_counts, require
from armstream.settings import Settings
from armstream.waiting import Say, waiting

_SAY_AFTER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A letter's record as it was sent again, with the place that it got."""

    name: str
    resend: Resend
    offset: int

    @property
    def place(self) -> Place:
        return self.resend.outgoing.topic, self.resend.outgoing.partition, self.offset

    @property
    def event_key(self) -> tuple[str, ...]:
        """By which outputs name the event."""
        event = self.resend.event
        if isinstance(event, Command):
            return event.bandit_id, event.command_id
        return event.bandit_id, event.position_id, type(event).__name__, event.event_id


@dataclass(slots=True)
class Outputs:
    """What the outputs say since the letters were sent."""

    refused: dict[Place, DeadLetter] = field(default_factory=dict)
    rewards: dict[tuple[str, ...], Reward] = field(default_factory=dict)
    commands: dict[tuple[str, ...], CommandApplied] = field(default_factory=dict)
    held: set[tuple[str, ...]] = field(default_factory=set)


def resend(
    settings: Settings,
    places: Sequence[Place],
    mend: Mend,
    asked: Asked,
    *,
    judge: Judge,
    wait_seconds: float,
    dry_run: bool,
    say: Say,
) -> Iterator[str]:
    """Sends the letters about these places, and gives a line for what became of each; `say` is told notes and waits.

    A `dry_run` gives a line of JSON for each record as it would be written, and writes nothing. Raises Stopped where
    one cannot be sent, and then none was; where Kafka does not answer; and at the end, where one was refused again or
    nobody took it in time.
    """
    require(settings, resend_rights(settings), say)
    places = list(dict.fromkeys(places))
    if len(places) > 1 and mend.whole is not None:
        raise Stopped("--value-file is the record of one letter, and several are named")
    with reader(settings, more=CONSUMER) as consumer:
        letters = find(settings, consumer, places, say)
        resends = _resends(settings, consumer, letters, mend, asked, judge, say)
        for letter, one in zip(letters, resends, strict=True):
            for note in one.notes:
                say(f"{letter.name}: {note}")
        if dry_run:
            yield from (line(_written(one.outgoing, one)) for one in resends)
            say("nothing was written")
            return
        before = _output_ends(settings, consumer, resends)
        with waiting(f"Kafka at {settings.kafka.bootstrap_servers}", REQUEST_SECONDS, say):
            offsets = deliver(settings, [one.outgoing for one in resends])
        sent = [Sent(letter.name, one, offset) for letter, one, offset in zip(letters, resends, offsets, strict=True)]
        taken = _wait_until_taken(settings, consumer, sent, before, wait_seconds, say)
        outputs = _outputs(consumer, before)
    yield from _said(sent, taken, outputs, wait_seconds)


def _resends(
    settings: Settings,
    consumer: Consumer,
    letters: Sequence[Letter],
    mend: Mend,
    asked: Asked,
    judge: Judge,
    say: Say,
) -> list[Resend]:
    counts, topics = partition_counts(settings, say), settings.topics.names
    found = []
    for letter in letters:
        try:
            found.append(
                resend_of(
                    _with_record(consumer, letter.event, topics.inputs),
                    mend,
                    asked,
                    topics=topics,
                    partition_count=counts.get(letter.event.source.topic, 1),
                    dedupe_window_seconds=settings.rewards.dedupe_window_seconds,
                    judge=judge,
                )
            )
        except NotResendable as error:
            raise Stopped(f"{letter.name}: {error}; nothing was written") from error
    return found


def _with_record(consumer: Consumer, letter: DeadLetter, inputs: Sequence[str]) -> DeadLetter:
    """The letter with its record, read from where it was left. Raises NotResendable where it is not there any more."""
    source = letter.source
    if source.topic not in inputs or not any(one.name in LEFT_OUT for one in source.headers):
        return letter
    low, end = watermarks(consumer, source.topic, source.partition)
    span = (max(low, source.offset), min(source.offset + 1, end))
    for record in merged(consumer, {(source.topic, source.partition): span}):
        whole = replace(source, key=record.key(), value=record.value(), headers=headers_of(record))
        return replace(letter, source=whole)
    raise NotResendable("its record was left in the input topic, which has it no more")


def _written(outgoing: Outgoing, one: Resend) -> Mapping[str, object]:
    return {
        "topic": outgoing.topic,
        "partition": outgoing.partition,
        "key": bytes_value(outgoing.key),
        "headers": [{"name": name, "value": bytes_value(value)} for name, value in outgoing.headers],
        **event_values(one.event),
        "value": bytes_value(outgoing.value),
    }


# What became of them.


def _output_ends(settings: Settings, consumer: Consumer, resends: Sequence[Resend]) -> dict[Partition, int]:
    names = settings.topics.names
    topics = (names.snapshots, names.dead_letters, names.rewards)
    numbers = sorted({one.outgoing.partition for one in resends})
    return {(topic, number): watermarks(consumer, topic, number)[1] for topic in topics for number in numbers}


def _wait_until_taken(
    settings: Settings,
    consumer: Consumer,
    sent: Sequence[Sent],
    before: Mapping[Partition, int],
    wait_seconds: float,
    say: Say,
) -> set[Place]:
    """Those that a processor has read by the task snapshots that it commits with what it publishes."""
    topic = settings.topics.names.snapshots
    begin(consumer, {at: end for at, end in before.items() if at[0] == topic})
    left, started, said = {one.place for one in sent}, time.monotonic(), False
    while left and (waited := time.monotonic() - started) < wait_seconds:
        if waited > _SAY_AFTER_SECONDS and not said:
            said = True
            numbers = ", ".join(sorted({str(number) for _, number, _ in left}))
            say(f"sent; waiting for the processor of partition {numbers}, {wait_seconds:g} s at most")
        for record in records(consumer):
            if record.key() != TASK_KEY:
                continue
            try:
                event = decode(record.value())
            except DecodeError:
                continue  # of a newer version: then it is said that nobody took it
            if isinstance(event, TaskSnapshot):
                left -= {
                    place for place in left if place[1] == event.task and place[2] < event.next_offset.get(place[0], 0)
                }
    return {one.place for one in sent} - left


def _outputs(consumer: Consumer, before: Mapping[Partition, int]) -> Outputs:
    spans = {at: (before[at], end) for at, (_, end) in spans_of(consumer, list(before), None).items()}
    found = Outputs()
    for record in merged(consumer, spans):
        try:
            event = decode(record.value())
        except DecodeError:
            continue  # a tombstone; or a newer version's, which says nothing to this one
        if isinstance(event, DeadLetter):
            found.refused[event.source.topic, event.source.partition, event.source.offset] = event
        elif isinstance(event, CommandApplied):
            found.commands[event.bandit_id, event.command_id] = event
        elif isinstance(event, Reward):
            for kind, event_id in (("Fill", event.fill_event_id), ("Close", event.close_event_id)):
                found.rewards[event.bandit_id, event.position_id, kind, event_id] = event
        elif isinstance(event, PositionSnapshot | PositionPage):
            at = event.bandit_id, event.position_id
            found.held |= {(*at, "Fill", one.event_id) for one in event.fills}
            found.held |= {(*at, "Close", one.event_id) for one in event.closes}
    return found


def _said(sent: Sequence[Sent], taken: set[Place], outputs: Outputs, wait_seconds: float) -> Iterator[str]:
    """A line each. Raises Stopped after them where one is not done."""
    refused, waits = 0, 0
    for one in sent:
        at = f"{one.name} is sent again as {':'.join(map(str, one.place))}, {id_of(one.resend.event)!r}"
        letter = outputs.refused.get(one.place)
        if letter is not None:
            refused += 1
            yield f"{at}: refused again, {letter.error_class}: {letter.error}"
        elif one.place in taken:
            yield f"{at}: {_outcome(one, outputs)}"
        else:
            waits += 1
            yield f"{at}: no processor has taken it within {wait_seconds:g} s; it waits there"
    if refused or waits:
        wrong = [f"{count} {what}" for count, what in ((refused, "refused again"), (waits, "not taken yet")) if count]
        raise Stopped(f"of {len(sent)} sent again: {', '.join(wrong)}")


def _outcome(one: Sent, outputs: Outputs) -> str:
    command, reward = outputs.commands.get(one.event_key), outputs.rewards.get(one.event_key)
    if command is not None:
        detail = f": {command.detail}" if command.detail else ""
        return f"{command.action} {command.outcome}, version {command.version}{detail}"
    if reward is not None:
        why = "" if reward.applied else f", not applied: {reward.detail}"
        return f"{reward.reward_bps:+.2f} bps, version {reward.version}{why}"
    if one.event_key in outputs.held:
        of_it = "what it closes waits" if not isinstance(one.resend.event, Fill) else "it is not closed yet"
        return f"its position has it; {of_it}"
    return "a duplicate, which changes nothing: the event was there already"
