"""What a dead letter is sent again as. Law: whoever sends a letter again, and however often, the event has one id.

It is the event's own id, by which every copy of it is known: the engine's, another letter's, another operator's. Where
that id cannot serve, since it is known already with what became of the event, is taken by another event, is none, or
cannot be read, it is made of the place of the letter's record. Nothing else decides it: not who asks, not what is
mended.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import replace

from armstream.codec import DecodeError, decode, encode
from armstream.events import Close, Command, DeadLetter, ErrorClass, Fill, Header, Source
from armstream.keys import partition_of
from armstream.operating.delivery import Outgoing
from armstream.settings import Topics

InputEvent = Fill | Close | Command
Judge = Callable[[InputEvent], None]  # raises ValueError for what no processor takes, whatever its state

FROM, BY, REASON = "armstream.resent-from", "armstream.resent-by", "armstream.resent-reason"
LEFT_OUT: Final = frozenset(
    {"armstream.left_out_bytes", "armstream.headers_left_out"}
)  # of a letter, not of the record

_KINDS: Mapping[str, type[InputEvent]] = {"Fill": Fill, "Close": Close, "Command": Command}
_ID_MAX_BYTES = 200
_OURS = "armstream:"  # no command's id may begin so

# What to do about a letter of each class, before it is sent again.
ADVICE: Final[Mapping[ErrorClass, str]] = {
    "UNKNOWN": "upgrade armstream: a newer processor wrote the class",
    "DECODE": "upgrade what reads it and send it again; or send it whole, from a file: --value-file",
    "VALIDATION": "mend the sender, and the field that the error names: --set FIELD=VALUE",
    "MISROUTED": "mend the sender's partitioner or key; sent again it goes to its bandit's partition",
    "UNKNOWN_ARM": "add the arm, `armstream arms add`, and send it again; or mend the name: --set arm=NAME",
    "UNKNOWN_EXPERT": "add the expert, `armstream experts add`, and send it again",
    "UNKNOWN_BANDIT": "register the bandit, or send its first fill, and send it again; or mend the name",
    "ORPHAN_CLOSE": "look for its fill, a dead letter too perhaps; send that one again first, then this one",
    "LATE": "it may have been counted before; sent again it is late again, unless the window was raised",
    "LIMIT": "raise the limit that the error names, or make room, and send it again",
    "SKIPPED": "send it again once what stopped the processor is mended",
    "ID_REUSED": "look whether it is another trade than the one before; sent again it has an id of its own",
}


class NotResendable(ValueError):
    """The letter cannot be sent again as it is asked; the text says why, and what could be."""


@dataclass(frozen=True, slots=True)
class Mend:
    """What is changed: fields by name, as texts, and the event as a file gives it."""

    changes: Mapping[str, str] = field(default_factory=dict)
    whole: object | None = None

    @property
    def is_asked_for(self) -> bool:
        return bool(self.changes) or self.whole is not None


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for it, why, and when (UTC microseconds)."""

    by: str
    reason: str
    now_micros: int


@dataclass(frozen=True, slots=True)
class Resend:
    """What is written, and what an operator should know of it before."""

    event: InputEvent
    outgoing: Outgoing
    notes: tuple[str, ...]


def resend_of(
    letter: DeadLetter,
    mend: Mend,
    asked: Asked,
    *,
    topics: Topics,
    partition_count: int,
    dedupe_window_seconds: float,
    judge: Judge,
) -> Resend:
    """Raises NotResendable."""
    source = letter.source
    if source.topic not in topics.inputs:
        raise NotResendable(
            f"its source is on {source.topic}, which is no input topic of these settings"
            if source.topic
            else "it is what was forgotten of a position, no input record"
        )
    original = _original(source)
    event = _given(mend.whole, original) if mend.whole is not None else original
    if event is None:
        raise NotResendable(f"{_why_unreadable(source)}: send it whole, from a file: --value-file")
    if isinstance(event, Command) != (source.topic == topics.commands):
        raise NotResendable(f"a {type(event).__name__} does not belong on {source.topic}")
    event, notes = _of_what_is_left(letter, changed(event, mend.changes), mend)
    event = _named(letter, original, event)
    try:
        judge(event)
        value = encode(event)
    except ValueError as error:
        raise NotResendable(f"every processor refuses it: {error}") from error
    if source.value is not None and event == original:
        value = source.value
    notes += _notes(letter, event, event != original, asked.now_micros, dedupe_window_seconds)
    key = event.bandit_id.encode()
    number = partition_of(key, partition_count)
    if number != source.partition or key != source.key:
        notes += (f"it goes to partition {number} with the key {event.bandit_id!r}, where its bandit belongs",)
    return Resend(event, Outgoing(source.topic, number, key, value, _headers(source, asked)), notes)


def changed(event: InputEvent, changes: Mapping[str, str]) -> InputEvent:
    """The event with fields set by their texts: `null` where a field may lack, JSON for a list or a map.

    Raises NotResendable.
    """
    types = get_type_hints(type(event))
    found: dict[str, Any] = {}
    for name, text in changes.items():
        if name == id_field(event):
            raise NotResendable(f"{name} is not yours to set: a letter has one id, whoever sends it again")
        if name not in types:
            raise NotResendable(f"a {type(event).__name__} has no {name}; it has {', '.join(types)}")
        try:
            found[name] = _value_of(text, types[name])
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeEncodeError) as error:
            raise NotResendable(f"{name}: {text!r}: {error}") from None
    return replace(event, **found)


def id_field(event: InputEvent) -> str:
    return "command_id" if isinstance(event, Command) else "event_id"


def id_of(event: InputEvent) -> str:
    return event.command_id if isinstance(event, Command) else event.event_id


def place_id(source: Source) -> str:
    """The id that is made of a record's place. A topic's name may be longer than an id."""
    place = f"{source.partition}:{source.offset}"
    whole = f"resent:{source.topic}:{place}"
    if len(whole) <= _ID_MAX_BYTES:
        return whole
    return f"resent:{hashlib.sha256(source.topic.encode()).hexdigest()}:{place}"


def _original(source: Source) -> InputEvent | None:
    """The event as it came. None where it cannot be read, or is no input."""
    try:
        event = decode(source.value)
    except DecodeError:
        return None
    return event if isinstance(event, InputEvent) else None


def _why_unreadable(source: Source) -> str:
    try:
        return f"its record is a {type(decode(source.value)).__name__}, which is no input"
    except DecodeError as error:
        return f"its record cannot be read, {error}"


def _given(whole: object, original: InputEvent | None) -> InputEvent:
    """The event of a file: {"type": "Fill", "record": {...}}, as `cat` and `show` write it. Raises NotResendable."""
    shape = 'it must be {"type": "Fill", "record": {...}}, as in source_event of `armstream dead-letters show --json`'
    if not isinstance(whole, Mapping) or not isinstance(whole.get("record"), Mapping):
        raise NotResendable(f"--value-file: {shape}")
    kind = _KINDS.get(str(whole.get("type")))
    if kind is None or (original is not None and not isinstance(original, kind)):
        raise NotResendable(
            f"--value-file: type must be {' or '.join(_KINDS) if original is None else type(original).__name__}"
        )
    record: dict[str, Any] = {"command_id" if kind is Command else "event_id": "", **whole["record"]}
    strange = [str(name) for name in record if name not in kind.__struct_fields__]
    if strange:
        raise NotResendable(f"--value-file: a {kind.__name__} has no {', '.join(strange)}")
    try:
        return msgspec.convert(record, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # JSON may escape what is no character
        raise NotResendable(f"--value-file: {error}") from None


def _value_of(text: str, kind: Any) -> Any:
    if text == "null" and type(None) in get_args(kind):
        return None
    if get_origin(kind) in (Mapping, tuple):
        return msgspec.json.decode(text, type=kind)
    return msgspec.convert(text, kind, strict=False)


def _of_what_is_left(letter: DeadLetter, event: InputEvent, mend: Mend) -> tuple[InputEvent, tuple[str, ...]]:
    """A close of which a part was matched is sent again as the rest of it, with the rest's part of its costs."""
    left = letter.quantity_left
    if left is None or not isinstance(event, Close) or mend.whole is not None or "quantity" in mend.changes:
        return event, ()
    if not 0.0 < left < event.quantity:
        return event, ()
    part = left / event.quantity
    rest = replace(event, quantity=left, fees=event.fees * part, slippage=event.slippage * part)
    return rest, (f"{left!r} of {event.quantity!r} was not matched yet, and is sent with its part of the costs",)


def _named(letter: DeadLetter, original: InputEvent | None, event: InputEvent) -> InputEvent:
    """The event under the id of the letter. Raises NotResendable."""
    own = "" if original is None else id_of(original)
    first = next((one.value or b"" for one in letter.source.headers if one.name == FROM), None)
    if first is not None and letter.error_class == "ID_REUSED":
        place = first.decode(errors="replace")
        raise NotResendable(f"it is {place} mended, which was applied in another form before; it would count twice")
    is_remembered = letter.quantity_left is not None  # the close waited, and its position knows its ids
    is_legal = 1 <= len(own.encode()) <= _ID_MAX_BYTES and not own.startswith(_OURS)
    if is_legal and not is_remembered and letter.error_class != "ID_REUSED":
        return replace(event, **{id_field(event): own})
    made = place_id(letter.source)
    if isinstance(event, Command):
        return replace(event, command_id=made)
    is_exec_id_known = is_remembered or letter.error.startswith("exec_id ")
    return replace(event, event_id=made, exec_id=made if event.exec_id and is_exec_id_known else event.exec_id)


def _notes(
    letter: DeadLetter, event: InputEvent, is_mended: bool, now_micros: int, dedupe_window_seconds: float
) -> tuple[str, ...]:
    notes = []
    if letter.error_class == "LATE" and not is_mended:
        notes.append("it is late again, unless rewards.dedupe_window_seconds was raised")
    elif letter.error_class == "LATE":
        notes.append("if it was counted before it counts twice: what was forgotten is not known again")
    elif letter.error_class in ("VALIDATION", "DECODE", "UNKNOWN_ARM", "UNKNOWN_EXPERT", "UNKNOWN_BANDIT", "LIMIT"):
        if not is_mended:
            notes.append(f"it is as it was: what it was refused for, {letter.error_class}, must have been mended")
    elif letter.error_class == "ORPHAN_CLOSE":
        notes.append("without its fill it becomes an orphan again")
    age_seconds = (now_micros - event.ts_event) / 1e6
    if letter.error_class != "LATE" and not isinstance(event, Command) and age_seconds > dedupe_window_seconds:
        notes.append(
            f"its ts_event is {age_seconds / 3_600:.1f} h ago: it is LATE where its bandit has traded since, and "
            f"rewards.dedupe_window_seconds is {dedupe_window_seconds:g}"
        )
    return tuple(notes)


def _headers(source: Source, asked: Asked) -> tuple[tuple[str, bytes | None], ...]:
    """Its own, and which record it was, who sends it again and why."""
    ours = (
        Header(FROM, f"{source.topic}:{source.partition}:{source.offset}".encode()),
        Header(BY, asked.by.encode()),
        Header(REASON, asked.reason.encode()),
    )
    names = {one.name for one in ours} | LEFT_OUT
    kept = [one for one in source.headers if one.name not in names]
    return tuple((one.name, one.value) for one in (*kept, *ours))
