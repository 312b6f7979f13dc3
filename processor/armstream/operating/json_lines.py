"""A record of any of our topics as a line of JSON. Law: every record has its line, also one that cannot be read.

Bytes are text where they are UTF-8, else {"base64": ...}. JSON has no NaN and no infinity: they are the texts "NaN",
"Infinity" and "-Infinity", since null says that nothing was given. All else stands as it does in the record.
"""

import base64
import json
from collections.abc import Mapping
from math import isfinite, isnan
from typing import Any

import msgspec

from armstream.codec import DecodeError, Event, UnknownSchemaError, decode
from armstream.operating.moment import written
from armstream.operating.reader import UPGRADE
from armstream.printable import json_printable
from armstream.runtime.intake import Record, headers_of

_NO_TIMESTAMP = 0
TOMBSTONE, UNREADABLE = "Tombstone", "Unreadable"

Values = dict[str, Any]

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def line(values: Mapping[str, Any]) -> str:
    return json_printable(_ENCODER.encode(values))


def record_values(record: Record) -> Values:
    """Where it stands, what is around it, and what is in it."""
    kind, timestamp_ms = record.timestamp()
    return {
        "topic": record.topic(),
        "partition": record.partition(),
        "offset": record.offset(),
        "timestamp": None if kind == _NO_TIMESTAMP else written(timestamp_ms),
        "key": bytes_value(record.key()),
        "headers": [{"name": one.name, "value": bytes_value(one.value)} for one in headers_of(record)],
        **value_values(record.value()),
    }


def value_values(value: bytes | None) -> Values:
    """The `type` of a record, and the `record`; of one that cannot be read why not, and its bytes."""
    if value is None:
        return {"type": TOMBSTONE, "record": None}
    try:
        return event_values(decode(value))
    except DecodeError as error:
        why = f"{error}; {UPGRADE}" if isinstance(error, UnknownSchemaError) else str(error)
        return {"type": UNREADABLE, "record": None, "error": why, "value": bytes_value(value)}


def event_values(event: Event) -> Values:
    return {
        "type": type(event).__name__,
        "record": _as_json(msgspec.to_builtins(event, builtin_types=(bytes,))),
    }


def bytes_value(value: bytes | None) -> str | Values | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode("ascii")}


def number_value(value: float) -> float | str:
    if isfinite(value):
        return value
    if isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _as_json(value: Any) -> Any:
    """What msgspec made of an event."""
    kind = type(value)
    if kind is float:
        return value if isfinite(value) else number_value(value)
    if kind is dict:
        return {name: _as_json(one) for name, one in value.items()}
    if kind is list or kind is tuple:
        return [_as_json(one) for one in value]
    return bytes_value(value) if kind is bytes else value
