"""Avro bytes <-> events, a record or a batch at a time; knows no Kafka.

Law: bytes become one whole event of schemas/, or a DecodeError that says what is wrong with them; never anything else,
and in time linear in their number. The framing is Avro's single-object encoding: C3 01, the eight bytes of the writer
schema's CRC-64-AVRO fingerprint (little-endian), the record. What is usual is read by wire.py in straight lines. The
slow path here first checks every byte, since fastavro forgives much and can be made to loop for ever, and then lets
fastavro read the values, also those that an older writer's schema names.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

import msgspec
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import fingerprint, to_parsing_canonical_form

from armstream import wire
from armstream.events import (
    BanditSnapshot,
    Close,
    Command,
    CommandApplied,
    DeadLetter,
    Fill,
    PositionPage,
    PositionSnapshot,
    Reward,
    TaskSettings,
    TaskSnapshot,
    WeightVector,
)
from armstream.old_records import UPGRADES, Values
from armstream.resources import resource

Event = (
    BanditSnapshot
    | Close
    | Command
    | CommandApplied
    | DeadLetter
    | Fill
    | PositionPage
    | PositionSnapshot
    | Reward
    | TaskSettings
    | TaskSnapshot
    | WeightVector
)
EVENT_TYPES: Final[tuple[type[Event], ...]] = (
    BanditSnapshot,
    Close,
    Command,
    CommandApplied,
    DeadLetter,
    Fill,
    PositionPage,
    PositionSnapshot,
    Reward,
    TaskSettings,
    TaskSnapshot,
    WeightVector,
)

_MAGIC: Final = b"\xc3\x01"
_HEADER_SIZE: Final = 10


class DecodeError(ValueError):
    """The bytes are not a record that this program can read; the text says why."""


class UnknownSchemaError(DecodeError):
    """They are well framed, and of a schema that this version does not know: a newer one may have written them."""


# --- schemas ----------------------------------------------------------------------------------------------------------

Check = Callable[[bytes, int], int]  # from where a value begins to where it ends; raises DecodeError


@dataclass(frozen=True, slots=True)
class Writer:
    """A schema that records are written with, and the event that they are read as.

    `lists` names fields, by record, that hold many values in the event and held one when this schema was written;
    `upgrade` gives today's values where that is not enough.
    """

    event_type: type[Event]
    schema: Any
    reader_schema: Any  # None where it is the writer's own
    check: Check
    lists: frozenset[str] = frozenset()
    upgrade: Callable[[Values], Values] | None = None


def load_writers(old: Path) -> Mapping[bytes, Writer]:
    """A writer for each record header: those of today's schemas and of the older ones in the folder `old`.

    Raises ValueError where an older schema's record is none of today's, or has a type that no schema of ours has.
    """
    writers = {}
    current = {}
    for event_type in EVENT_TYPES:
        schema = _parse(resource("schemas", f"{event_type.__name__}.avsc"))
        current[schema["name"]] = event_type, schema
        writers[_header(schema)] = Writer(event_type, schema, None, _check_of(schema, {}))
    for path in sorted(old.glob("*.avsc")):
        schema = _parse(path)
        if schema["name"] not in current:
            raise ValueError(f"{path.name}: {schema['name']} is the name of no record in schemas/")
        event_type, today = current[schema["name"]]
        if path.stem in UPGRADES:
            check = _check_of(schema, {})
            writers[_header(schema)] = Writer(event_type, schema, schema, check, upgrade=UPGRADES[path.stem])
            continue
        lists = _fields_of(today, is_list=True) & _fields_of(schema, is_list=False)
        reader_schema = parse_schema(_with_one_value(today, lists), {})
        writers.setdefault(_header(schema), Writer(event_type, schema, reader_schema, _check_of(schema, {}), lists))
    return MappingProxyType(writers)


def _parse(path: Path) -> Any:
    schema = json.loads(path.read_text(encoding="utf-8"))
    return parse_schema(_without_logical_types(schema), {})


def _without_logical_types(schema: Any) -> Any:
    """So that times stay integers, as events hold them; the fingerprint does not see the difference."""
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [_without_logical_types(part) for part in schema]
    return schema


def _fields_of(schema: Any, is_list: bool) -> frozenset[str]:
    """Record.field of all fields in a parsed schema that are arrays, or of all that are not."""
    if isinstance(schema, list):
        return frozenset().union(*(_fields_of(part, is_list) for part in schema))
    if not isinstance(schema, dict):
        return frozenset()
    if schema["type"] != "record":
        return _fields_of(schema.get("items", schema.get("values")), is_list)
    inner = [_fields_of(field["type"], is_list) for field in schema["fields"]]
    own = {f"{schema['name']}.{one['name']}" for one in schema["fields"] if _is_list(one["type"]) == is_list}
    return frozenset(own).union(*inner)


def _is_list(schema: Any) -> bool:
    return isinstance(schema, dict) and schema["type"] == "array"


def _with_one_value(schema: Any, lists: frozenset[str]) -> Any:
    """The schema with the item's type for each field of `lists`."""
    if isinstance(schema, list):
        return [_with_one_value(part, lists) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema["type"] == "record":
        types = {
            one["name"]: one["type"]["items"]
            if f"{schema['name']}.{one['name']}" in lists
            else _with_one_value(one["type"], lists)
            for one in schema["fields"]
        }
        fields = [{**one, "type": types[one["name"]]} for one in schema["fields"]]
        return {"type": "record", "name": schema["name"], "fields": fields}
    return {**schema, **{key: _with_one_value(schema[key], lists) for key in ("items", "values") if key in schema}}


def _listed(values: Any, schema: Any, lists: frozenset[str]) -> Any:
    """Values as read by a schema `_with_one_value`, with a list of one in the place of each of these."""
    if isinstance(values, list) and _is_list(schema):
        return [_listed(value, schema["items"], lists) for value in values]
    if not (isinstance(values, dict) and isinstance(schema, dict) and schema["type"] == "record"):
        return values
    return {
        field["name"]: [value] if f"{schema['name']}.{field['name']}" in lists else _listed(value, field["type"], lists)
        for field in schema["fields"]
        for value in [values[field["name"]]]
    }


def _header(schema: Any) -> bytes:
    # fastavro gives the fingerprint's bytes in the order of the wire, as hex.
    return _MAGIC + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


# --- checking ---------------------------------------------------------------------------------------------------------


def _check_of(schema: Any, named: dict[str, Check]) -> Check:
    """The check of a parsed schema's values; `named` collects those of the named types that were met before."""
    if isinstance(schema, list):
        return _check_union([_check_of(branch, named) for branch in schema])
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind in _CHECKS:
        return _CHECKS[kind]
    if kind in named:
        return named[kind]
    if kind == "array":
        return _check_blocks(_check_of(schema["items"], named))
    if kind == "map":
        check_value = _check_of(schema["values"], named)
        return _check_blocks(lambda record, at: check_value(record, _check_text(record, at)))
    if kind == "enum":
        check = named[schema["name"]] = _check_enum(schema["name"], len(schema["symbols"]))
        return check
    if kind == "record":
        fields = [(field["name"], _check_of(field["type"], named)) for field in schema["fields"]]
        check = named[schema["name"]] = _check_record(schema["name"].removeprefix("armstream."), fields)
        return check
    raise ValueError(f"{kind} is a type that no schema of ours has")


def _check_record(name: str, fields: Sequence[tuple[str, Check]]) -> Check:
    def check(record: bytes, at: int) -> int:
        field = ""
        try:
            for field, check_field in fields:  # noqa: B007 - the error names it
                at = check_field(record, at)
        except DecodeError as error:
            raise DecodeError(f"{name}.{field}: {error}") from None
        return at

    return check


def _check_union(branches: Sequence[Check]) -> Check:
    def check(record: bytes, at: int) -> int:
        index, at = _read_long(record, at)
        if not 0 <= index < len(branches):
            raise DecodeError(f"branch {index} of a union of {len(branches)}")
        return branches[index](record, at)

    return check


def _check_enum(name: str, symbol_count: int) -> Check:
    def check(record: bytes, at: int) -> int:
        index, at = _read_long(record, at)
        if not 0 <= index < symbol_count:
            raise DecodeError(f"symbol {index} of {name}, which has {symbol_count}")
        return at

    return check


def _check_blocks(check_item: Check) -> Check:
    """An array's or a map's blocks: each a count and the items, or minus the count, the size in bytes and the items."""

    def check(record: bytes, at: int) -> int:
        while True:
            count, at = _read_long(record, at)
            if count == 0:
                return at
            end = None
            if count < 0:
                count = -count
                size, at = _read_long(record, at)
                end = at + size
            if count > len(record) - at:  # an item has a byte or more, so this bounds the loop by the record's size
                raise DecodeError(f"{count} items in {len(record) - at} bytes")
            for _ in range(count):
                at = check_item(record, at)
            if end is not None and at != end:
                raise DecodeError(f"a block of {size} bytes has {at - end + size}")

    return check


def _check_long(record: bytes, at: int) -> int:
    return _read_long(record, at)[1]


def _check_int(record: bytes, at: int) -> int:
    value, at = _read_long(record, at)
    if not -1 << 31 <= value < 1 << 31:
        raise DecodeError(f"{value} does not fit an int")
    return at


def _check_boolean(record: bytes, at: int) -> int:
    end = _end(record, at, 1)
    if record[at] > 1:
        raise DecodeError(f"{record[at]} for a boolean")
    return end


def _check_double(record: bytes, at: int) -> int:
    return _end(record, at, 8)


def _check_bytes(record: bytes, at: int) -> int:
    size, at = _read_long(record, at)
    return _end(record, at, size)


def _check_text(record: bytes, at: int) -> int:
    size, at = _read_long(record, at)
    end = _end(record, at, size)
    try:
        record[at:end].decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"text that is not UTF-8: {error.reason} at byte {at + error.start}") from None
    return end


def _check_null(_record: bytes, at: int) -> int:
    return at


_CHECKS: Final[Mapping[str, Check]] = {
    "null": _check_null,
    "boolean": _check_boolean,
    "int": _check_int,
    "long": _check_long,
    "double": _check_double,
    "bytes": _check_bytes,
    "string": _check_text,
}


def _end(record: bytes, at: int, size: int) -> int:
    if size < 0:
        raise DecodeError(f"a size of {size}")
    if size > len(record) - at:
        raise DecodeError(f"{size} bytes wanted at byte {at}, where {len(record) - at} are left")
    return at + size


def _read_long(record: bytes, at: int) -> tuple[int, int]:
    zigzag = 0
    for index, byte in enumerate(record[at : at + 10]):
        zigzag |= (byte & 127) << 7 * index
        if byte < 128:
            if zigzag >= 1 << 64:
                break
            return zigzag >> 1 ^ -(zigzag & 1), at + index + 1
    if len(record) - at >= 10:
        raise DecodeError(f"an integer of more than 64 bits at byte {at}")
    raise DecodeError(f"the record ends at byte {len(record)}, inside an integer")


# --- decoding ---------------------------------------------------------------------------------------------------------

WRITERS: Final = load_writers(resource("schemas", "old"))
HEADERS: Final[Mapping[type[Event], bytes]] = {
    writer.event_type: header for header, writer in WRITERS.items() if writer.reader_schema is None
}
FINGERPRINTS: Final[Mapping[type[Event], int]] = {
    event_type: int.from_bytes(header[len(_MAGIC) :], "little") for event_type, header in HEADERS.items()
}


def decode(record: bytes | None, writers: Mapping[bytes, Writer] = WRITERS) -> Event:
    """The event in a record of any type, told by its fingerprint. Raises DecodeError."""
    if record:
        read = _READERS.get(record[:_HEADER_SIZE])
        if read is not None:
            try:
                return read(record)
            except wire.UNUSUAL:
                pass  # which may be right or wrong: the slow path knows
    return decode_slowly(record, writers)


def decode_slowly(record: bytes | None, writers: Mapping[bytes, Writer] = WRITERS) -> Event:
    """As decode, for a record of any shape. Raises DecodeError."""
    if not record:
        raise DecodeError("no value" if record is None else "an empty value")
    writer = writers.get(record[:_HEADER_SIZE])
    if writer is None:
        raise _framing_error(record)
    end = writer.check(record, _HEADER_SIZE)
    if end != len(record):
        raise DecodeError(f"{len(record) - end} bytes after the {writer.event_type.__name__}, which ends at byte {end}")
    try:
        values = schemaless_reader(BytesIO(record[_HEADER_SIZE:]), writer.schema, writer.reader_schema)
        if writer.lists:
            values = _listed(values, writer.reader_schema, writer.lists)
        if writer.upgrade is not None:
            values = writer.upgrade(cast(Values, values))
        return msgspec.convert(values, writer.event_type)
    except Exception as error:  # the bytes are right, so a writer's schema that does not resolve; a dead letter says so
        raise DecodeError(f"{writer.event_type.__name__}: {error}") from error


def decode_inputs(values: Sequence[bytes | None]) -> list[Fill | Close | Command | DecodeError]:
    """The input events in `values`, in order. What is no Fill, Close or Command is a DecodeError in its place."""
    events: list[Fill | Close | Command | DecodeError] = []
    append = events.append
    read_fill, read_close = wire.read_fill, wire.read_close
    fill_header, close_header = HEADERS[Fill], HEADERS[Close]
    for value in values:
        if not value:
            append(_decode_input(value))
            continue
        header = value[:_HEADER_SIZE]
        try:
            if header == fill_header:
                append(read_fill(value))
            elif header == close_header:
                append(read_close(value))
            else:
                append(_decode_input(value))
        except wire.UNUSUAL:
            append(_decode_input(value))
    return events


def _decode_input(value: bytes | None) -> Fill | Close | Command | DecodeError:
    try:
        event = decode_slowly(value)
    except DecodeError as error:
        return DecodeError(*error.args)  # without the traceback, which would hold the whole batch in memory
    if isinstance(event, Fill | Close | Command):
        return event
    return DecodeError(f"a {type(event).__name__} is no input")


def _framing_error(record: bytes) -> DecodeError:
    if record[:1] == b"\0":
        if len(record) < 5:
            return DecodeError("Confluent framing that ends within the schema id")
        schema_id = int.from_bytes(record[1:5])
        return DecodeError(f"Confluent framing (schema id {schema_id}), and no schema registry is set")
    if record[:2] != _MAGIC:
        return DecodeError(f"neither single-object nor Confluent framing: begins with {record[:2].hex(' ')}")
    if len(record) < _HEADER_SIZE:
        return DecodeError(f"single-object framing that ends within the fingerprint, after {len(record)} bytes")
    return UnknownSchemaError(f"fingerprint {int.from_bytes(record[2:10], 'little'):016x} is that of no known schema")


_READERS: Final[Mapping[bytes, Callable[[bytes], Event]]] = {
    HEADERS[Fill]: wire.read_fill,
    HEADERS[Close]: wire.read_close,
    HEADERS[PositionSnapshot]: wire.read_position_snapshot,
    HEADERS[PositionPage]: wire.read_position_page,
    HEADERS[Reward]: wire.read_reward,
}


# --- encoding ---------------------------------------------------------------------------------------------------------

_UNWRITABLE: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)


def encode(event: Event) -> bytes:
    """The record of an event, header included. Raises ValueError for what Avro cannot hold (lone surrogates, 2**63)."""
    header = HEADERS[type(event)]
    try:
        if isinstance(event, Reward):
            return wire.write_reward(header, event, wire.write_cut(event.cut))
        if isinstance(event, WeightVector):
            return wire.write_weight_vector(header, event)
        if isinstance(event, BanditSnapshot):
            return wire.write_bandit_snapshot(header, event)
        if isinstance(event, PositionSnapshot):
            return wire.write_position_snapshot(header, event)
        if isinstance(event, PositionPage):
            return wire.write_position_page(header, event)
        return _encode_slowly(header, event)
    except _UNWRITABLE as error:
        return _encode_unusual(header, event, error)


def encode_cut(next_offset: Mapping[str, int]) -> bytes:
    """The Avro bytes of a `cut`, for encode_reward and its like. Raises ValueError."""
    try:
        return wire.write_cut(next_offset)
    except _UNWRITABLE as error:
        raise ValueError(f"a cut that cannot be written: {error}") from error


def encode_reward(reward: Reward, cut: bytes) -> bytes:
    """As encode, with encode_cut's bytes in place of `reward.cut`. Raises ValueError."""
    try:
        return wire.write_reward(HEADERS[Reward], reward, cut)
    except _UNWRITABLE as error:
        return _encode_unusual(HEADERS[Reward], msgspec.structs.replace(reward, cut={}), error)[:-1] + cut


def encode_dead_letter(letter: DeadLetter, cut: bytes) -> bytes:
    """As encode, with encode_cut's bytes in place of `letter.cut`. Raises ValueError."""
    return encode(msgspec.structs.replace(letter, cut={}))[:-1] + cut  # the cut is last, and an empty one is one byte


def encode_audited(record: Reward | CommandApplied, cut: bytes) -> bytes:
    """As encode, with encode_cut's bytes in place of `record.cut`. Raises ValueError."""
    if isinstance(record, Reward):
        return encode_reward(record, cut)
    return encode(msgspec.structs.replace(record, cut={}))[:-1] + cut


def _encode_slowly(header: bytes, event: Event) -> bytes:
    written = BytesIO()
    written.write(header)
    values = msgspec.to_builtins(event, builtin_types=(bytes,))
    schemaless_writer(written, WRITERS[header].schema, values)
    return written.getvalue()


def _encode_unusual(header: bytes, event: Event, error: Exception) -> bytes:
    """What the fast path refused: too long for it (an IndexError), or nothing that Avro can hold."""
    if isinstance(error, IndexError):
        try:
            return _encode_slowly(header, event)
        except _UNWRITABLE as slow_error:
            error = slow_error
    raise ValueError(f"a {type(event).__name__} that cannot be written: {error}") from error
