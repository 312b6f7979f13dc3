"""schemas/ is the wire contract: nothing in it changes unless these tests are changed with it."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from armstream import codec, events
from armstream.codec import EVENT_TYPES, FINGERPRINTS
from armstream.resources import resource

# Record: its CRC-64-AVRO fingerprint, and the SHA-256 of its whole JSON (sorted keys, no blanks), first 16 digits: the
# fingerprint sees neither defaults nor logical types. To change one is to change the wire: put the old schema in old/.
PINNED = {
    "BanditSnapshot": ("ae7b0eb4cc280aec", "57f6818b4c7c3c24"),
    "Close": ("ed56bddb51a54b52", "81c303cbf48bb2aa"),
    "Command": ("031bcf4306fe19ce", "927fd8c67007aa01"),
    "CommandApplied": ("b6abb1915c779ce2", "ee15ae93062624a7"),
    "DeadLetter": ("e5d7520df842775d", "4b6ab9ad4dbe3177"),
    "Fill": ("35f4e548ea0503e1", "e4907bd1b2735836"),
    "PositionPage": ("432a120847adf3c3", "7af52c85f11c7532"),
    "PositionSnapshot": ("4224dc263a83a23d", "56de69160d272773"),
    "Reward": ("7ef48ddc63f31b2a", "243fde0ca40e34ac"),
    "TaskSettings": ("e18319d71bd57a37", "96f8703957b89f97"),
    "TaskSnapshot": ("26609bb20dc8c839", "f867d12510b1691e"),
    "WeightVector": ("b8466ad6ae3d0b6b", "575d51e9033518d1"),
}


def _schemas() -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in resource("schemas").glob("*.avsc")}


def _types(schema: Any) -> list[dict[str, Any]]:
    """Every schema object within `schema`, itself included."""
    if isinstance(schema, list):
        return [found for part in schema for found in _types(part)]
    if not isinstance(schema, dict):
        return []
    inner = [schema.get(key) for key in ("type", "items", "values")] + [
        field["type"] for field in schema.get("fields", ())
    ]
    return [schema, *(found for part in inner for found in _types(part))]


def _named(kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (found["name"], found)
        for schema in _schemas().values()
        for found in _types(schema)
        if found.get("type") == kind
    ]


def _canonical(schema: Any) -> str:
    """Avro's Parsing Canonical Form, for schemas of one namespace in which every name is used once."""
    if isinstance(schema, str):
        return json.dumps(schema)
    if isinstance(schema, list):
        return "[" + ",".join(map(_canonical, schema)) + "]"
    kind = schema["type"]
    if kind == "array":
        return f'{{"type":"array","items":{_canonical(schema["items"])}}}'
    if kind == "map":
        return f'{{"type":"map","values":{_canonical(schema["values"])}}}'
    if kind == "enum":
        symbols = ",".join(map(json.dumps, schema["symbols"]))
        return f'{{"name":"armstream.{schema["name"]}","type":"enum","symbols":[{symbols}]}}'
    if kind == "record":
        fields = ",".join(f'{{"name":"{f["name"]}","type":{_canonical(f["type"])}}}' for f in schema["fields"])
        return f'{{"name":"armstream.{schema["name"]}","type":"record","fields":[{fields}]}}'
    return _canonical(kind)  # a primitive with a logical type


def _crc64(text: bytes) -> int:
    """CRC-64-AVRO, bit by bit, from the specification."""
    empty = 0xC15D213AA4D7A795
    crc = empty
    for byte in text:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (empty if crc & 1 else 0)
    return crc


def test_the_crc_gives_the_specifications_own_example() -> None:
    assert _crc64(b'"null"') == 7195948357588979594


def test_every_schema_is_as_pinned() -> None:
    found = {}
    for name, schema in _schemas().items():
        whole = json.dumps(schema, sort_keys=True, separators=(",", ":")).encode()
        found[name] = (f"{_crc64(_canonical(schema).encode()):016x}", hashlib.sha256(whole).hexdigest()[:16])
    assert found == PINNED


def test_the_codec_frames_by_the_pinned_fingerprints() -> None:
    framed = {event_type.__name__: f"{fingerprint:016x}" for event_type, fingerprint in FINGERPRINTS.items()}
    assert framed == {name: fingerprint for name, (fingerprint, _) in PINNED.items()}


def test_every_schema_has_an_event_and_every_event_a_schema() -> None:
    assert sorted(_schemas()) == sorted(event_type.__name__ for event_type in EVENT_TYPES)


def _python_type(schema: Any, namespace: dict[str, Any]) -> Any:
    """The annotation that events.py owes to a schema."""
    if isinstance(schema, list):
        null, branch = schema  # an optional value; schemas/ has no other unions
        assert null == "null"
        return _python_type(branch, namespace) | None
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "array":
        return tuple[_python_type(schema["items"], namespace), ...]  # type: ignore[misc] # made at run time
    if kind == "map":
        return namespace["Mapping"][str, _python_type(schema["values"], namespace)]
    if kind == "enum":
        return namespace["Literal"][tuple(schema["symbols"])]
    if kind == "record":
        return namespace[schema["name"]]
    return {"string": str, "bytes": bytes, "boolean": bool, "int": int, "long": int, "double": float}[kind]


@pytest.mark.parametrize(("name", "schema"), _named("record"))
def test_an_event_has_its_schemas_fields_types_and_defaults_in_order(name: str, schema: dict[str, Any]) -> None:
    owed: list[tuple[str, Any, Any]] = []
    for field in reversed(schema["fields"]):
        default = field.get("default", "required")
        if owed and owed[-1][2] == "required":  # Python wants what stands before a required field to be given too
            default = "required"
        owed.append((field["name"], _python_type(field["type"], vars(events)), () if default == [] else default))
    has = []
    for field in msgspec.structs.fields(vars(events)[name]):
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        has.append((field.name, field.type, "required" if default is msgspec.NODEFAULT else default))
    assert has == owed[::-1]


@pytest.mark.parametrize(("_name", "schema"), _named("enum"))
def test_an_enum_begins_with_unknown_and_falls_back_to_it(_name: str, schema: dict[str, Any]) -> None:
    assert schema["symbols"][0] == schema["default"] == "UNKNOWN"


def test_one_name_means_one_enum_and_one_record_everywhere() -> None:
    meanings: dict[str, Any] = {}
    for name, schema in _named("enum") + _named("record"):
        assert meanings.setdefault(name, schema) == schema, name


@pytest.mark.parametrize(("_name", "schema"), _named("record"))
def test_every_optional_field_has_a_default(_name: str, schema: dict[str, Any]) -> None:
    lacking = [f["name"] for f in schema["fields"] if isinstance(f["type"], list) and f.get("default", 0) is not None]
    assert lacking == []


@pytest.mark.parametrize(("_name", "schema"), _named("record"))
def test_every_time_is_in_utc_microseconds(_name: str, schema: dict[str, Any]) -> None:
    for field in schema["fields"]:
        if field["name"].startswith("ts_") or field["name"].endswith(("_watermark", "_until")):
            (time,) = _types(field["type"])
            assert time == {"type": "long", "logicalType": "timestamp-micros"}, field["name"]


def test_an_old_schema_is_a_schema_of_ours() -> None:
    old = resource("schemas", "old")
    writers = codec.load_writers(old)
    assert len(writers) == len(EVENT_TYPES) + len(list(Path(old).glob("*.avsc")))


def test_a_schemas_text_names_no_type_twice() -> None:
    """Avro allows one definition of a name in a schema; fastavro does not insist."""
    for path in resource("schemas").glob("*.avsc"):
        names = re.findall(r'"type": "(?:enum|record)",\s+"name": "(\w+)"', path.read_text(encoding="utf-8"))
        assert len(names) == len(set(names)), path.name
