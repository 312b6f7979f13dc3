"""The tables of docs/reference/records.md: what crosses the wire, as schemas/ have it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

from armstream.codec import EVENT_TYPES, FINGERPRINTS, load_writers
from armstream.resources import resource

LINE_LENGTH = 120
TOPICS: Mapping[str, str] = {  # record -> topic, by the default names
    "BanditSnapshot": "snapshots",
    "Close": "trades",
    "Command": "commands",
    "CommandApplied": "rewards",
    "DeadLetter": "dead-letters",
    "Fill": "trades",
    "PositionPage": "snapshots",
    "PositionSnapshot": "snapshots",
    "Reward": "rewards",
    "TaskSettings": "rewards",
    "TaskSnapshot": "snapshots",
    "WeightVector": "weights",
}


def fingerprints_table() -> Iterator[str]:
    """A row a record: today's fingerprint, and those of older writers that are still read."""
    yield "| record | topic | fingerprint | older ones that are read |"
    yield "| --- | --- | --- | --- |"
    today = {event_type.__name__: fingerprint for event_type, fingerprint in FINGERPRINTS.items()}
    older: dict[str, list[str]] = {}
    for header, writer in load_writers(resource("schemas", "old")).items():
        fingerprint = int.from_bytes(header[2:], "little")
        if fingerprint not in today.values():
            older.setdefault(writer.event_type.__name__, []).append(f"`{fingerprint:016x}`")
    for name in sorted(today):
        yield f"| {name} | `{TOPICS[name]}` | `{today[name]:016x}` | {', '.join(older.get(name, ()))} |"


def fields_tables() -> Iterator[str]:
    """For each record and each record within it a heading, what it is, and a row a field."""
    shown: set[str] = set()
    for name in sorted(event_type.__name__ for event_type in EVENT_TYPES):
        schema = json.loads(Path(resource("schemas", f"{name}.avsc")).read_text(encoding="utf-8"))
        for level, record in _records(schema, 3):
            if record["name"] in shown:
                continue
            shown.add(record["name"])
            yield ""
            yield f"{'#' * level} {record['name']}"
            yield ""
            if "doc" in record:
                yield from wrap(record["doc"], LINE_LENGTH)
                yield ""
            yield "| field | type | default | says |"
            yield "| --- | --- | --- | --- |"
            yield from map(_row, record["fields"])


def _records(schema: Any, level: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The record and those within it, each with the level of its heading."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _records(branch, level)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            yield level, schema
            for field in schema["fields"]:
                yield from _records(field["type"], 4)
        elif schema["type"] in ("array", "map"):
            yield from _records(schema.get("items", schema.get("values")), level)


def _row(field: dict[str, Any]) -> str:
    default = f"`{json.dumps(field['default'])}`" if "default" in field else "required"
    return f"| `{field['name']}` | {_type(field['type'])} | {default} | {field.get('doc', '')} |"


def _type(schema: Any) -> str:
    if isinstance(schema, list):
        return f"{_type(schema[1])} or null"
    if isinstance(schema, str):
        return schema
    kind = schema["type"]
    if kind == "array":
        return f"array of {_type(schema['items'])}"
    if kind == "map":
        return f"map of {_type(schema['values'])}"
    if kind == "enum":
        return f"{schema['name']}: {', '.join(schema['symbols'][1:])}"
    if kind == "record":
        return str(schema["name"])
    return "time" if schema.get("logicalType") == "timestamp-micros" else str(kind)
