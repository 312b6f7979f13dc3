"""Dead letters, found and shown. Law: each is shown whole, with what its record says; nothing is written.

A letter is named by the record that it is about, TOPIC:PARTITION:OFFSET, or by its own place in `dead-letters`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer

from armstream.access import letters_rights
from armstream.codec import DecodeError, decode
from armstream.events import Close, Command, DeadLetter, ErrorClass, Fill, Source
from armstream.keys import is_of
from armstream.operating.cat import Selection, selected
from armstream.operating.json_lines import bytes_value, line, record_values, value_values
from armstream.operating.mending import ADVICE
from armstream.operating.moment import written
from armstream.operating.reader import REQUEST_SECONDS, UPGRADE, Unreadable, place_of, read_as, reader
from armstream.operating.spans import CONSUMER, merged, spans_of
from armstream.runtime.failures import Stopped
from armstream.runtime.intake import Place, Record
from armstream.runtime.topics import partition_count, require
from armstream.settings import Settings
from armstream.waiting import Say, waiting

_KEY_CHARACTERS, _ERROR_CHARACTERS = 24, 160
_CLASS_WIDTH = max(map(len, ADVICE))


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it stands in its topic."""

    record: Record
    event: DeadLetter

    @property
    def name(self) -> str:
        """By which it is asked for: its source's place, its own where its source is no record."""
        source = self.event.source
        return place_text(source) if source.topic else place_of(self.record)


def place_text(source: Source) -> str:
    return f"{source.topic}:{source.partition}:{source.offset}"


def listed(settings: Settings, selection: Selection, error_class: ErrorClass | None, say: Say) -> Iterator[str]:
    """A line a letter, oldest first; `say` is told of waits.

    Raises Stopped where Kafka does not answer, and at the end where some could not be read.
    """
    topic = settings.topics.names.dead_letters
    require(settings, letters_rights(settings), say)
    count = partition_count(settings, topic, say)
    unreadable = 0

    def wanted(record: Record) -> bool:
        return selection.is_in_time(record) and _is_listed(record, error_class, selection.bandit_id)

    with reader(settings, more=CONSUMER) as consumer:
        with waiting(f"the offsets of {topic}", 2 * REQUEST_SECONDS, say):
            spans = spans_of(consumer, [(topic, number) for number in range(count)], selection.from_ms)
        for record in selected(consumer, spans, selection.last, wanted, say):
            try:
                yield _line(Letter(record, read_as(record, DeadLetter)))
            except Unreadable as error:
                unreadable += 1
                yield f"{written(record.timestamp()[1])}  cannot be read: {error}"
    if unreadable:
        raise Stopped(f"{unreadable} could not be read: {UPGRADE}")


def show(settings: Settings, place: Place, *, as_json: bool, say: Say) -> Iterator[str]:
    """Lines about one letter, or one line of JSON. Raises Stopped where it is not there, or Kafka does not answer."""
    require(settings, letters_rights(settings), say)
    with reader(settings, more=CONSUMER) as consumer:
        (letter,) = find(settings, consumer, [place], say)
    source = letter.event.source
    if as_json:
        yield line({**record_values(letter.record), "source_event": value_values(source.value)})
    else:
        yield from _shown(letter)


def find(settings: Settings, consumer: Consumer, places: Sequence[Place], say: Say) -> list[Letter]:
    """The newest letter about each place, in their order. Raises Stopped where one is not there."""
    topic = settings.topics.names.dead_letters
    count = partition_count(settings, topic, say)
    numbers = sorted({number for _, number, _ in places if number < count})
    found: dict[Place, Letter] = {}
    with waiting(f"the offsets of {topic}", REQUEST_SECONDS, say):
        spans = spans_of(consumer, [(topic, number) for number in numbers], None)
    wanted = set(places)
    for record in merged(consumer, spans):
        own = record.topic(), record.partition(), record.offset()
        try:
            letter = Letter(record, read_as(record, DeadLetter))
        except Unreadable as error:
            if own in wanted:
                raise Stopped(f"{error}: {UPGRADE}") from error
            continue
        source = letter.event.source
        for place in wanted & {own, (source.topic, source.partition, source.offset)}:
            found[place] = letter
    for place in places:
        if place not in found:
            name = ":".join(map(str, place))
            raise Stopped(f"{topic} has no dead letter of {name}; `armstream dead-letters list` names those it has")
    return [found[place] for place in places]


def _is_listed(record: Record, error_class: ErrorClass | None, bandit_id: str | None) -> bool:
    """One that cannot be read is, whatever is asked for."""
    try:
        letter = read_as(record, DeadLetter)
    except Unreadable:
        return True
    if error_class is not None and letter.error_class != error_class:
        return False
    return bandit_id is None or is_of(letter.source.key, bandit_id.encode()) or _bandit_of(letter.source) == bandit_id


def _bandit_of(source: Source) -> str | None:
    """Whom the record is about by what it says: its key may be wrong."""
    try:
        event = decode(source.value)
    except DecodeError:
        return None
    return event.bandit_id if isinstance(event, Fill | Close | Command) else None


def _line(letter: Letter) -> str:
    event, key = letter.event, letter.event.source.key
    shown = "-" if key is None else key.decode(errors="backslashreplace")
    return (
        f"{written(letter.record.timestamp()[1])}  {event.error_class:<{_CLASS_WIDTH}}  {letter.name}  "
        f"{_shortened(shown, _KEY_CHARACTERS)}  {_shortened(event.error, _ERROR_CHARACTERS)}"
    )


def _shortened(text: str, most_characters: int) -> str:
    return text if len(text) <= most_characters else f"{text[: most_characters - 3]}..."


def _shown(letter: Letter) -> Iterator[str]:
    event, source = letter.event, letter.event.source
    yield f"{letter.name}  {event.error_class}"
    yield f"  error    {event.error}"
    yield f"  at       {written(letter.record.timestamp()[1])}"
    yield f"  letter   {place_of(letter.record)}"
    yield f"  key      {_text(bytes_value(source.key))}"
    for header in source.headers:
        yield f"  header   {header.name}: {_text(bytes_value(header.value))}"
    if event.quantity_left is not None:
        yield f"  left     {event.quantity_left!r}: what was not matched yet"
    yield from _shown_value(source)
    yield f"  do       {ADVICE[event.error_class]}"


def _shown_value(source: Source) -> Iterator[str]:
    if source.value is None:
        yield "  record   not carried: a header says how large it was, or it had no value"
        return
    values: dict[str, Any] = value_values(source.value)
    yield f"  record   {values['type']}, {len(source.value)} bytes"
    if values["record"] is None:
        yield f"           {values['error']}"
        yield f"           {_text(values['value'])}"
        return
    width = max(map(len, values["record"]))
    for name, value in values["record"].items():
        if value not in (None, "", [], {}):
            yield f"    {name:<{width}}  {_text(value)}"


def _text(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else line({"": value})[5:-1]
