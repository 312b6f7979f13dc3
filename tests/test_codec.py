"""The codec against fastavro, its reference, and against bytes worked out by hand."""

import io
import json
import math
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armstream import codec, events, wire
from armstream.codec import FINGERPRINTS, DecodeError, Event
from armstream.events import (
    BanditSnapshot,
    Close,
    Command,
    CommandApplied,
    DeadLetter,
    DecisionSnapshot,
    Fill,
    Paged,
    PositionClose,
    PositionFill,
    PositionPage,
    PositionSnapshot,
    Reward,
    RewardArm,
    Source,
    TaskSnapshot,
    WaitingClose,
)
from armstream.resources import resource

SCHEMAS: dict[str, Any] = {path.stem: json.loads(path.read_text()) for path in resource("schemas").glob("*.avsc")}
PARSED: dict[str, Any] = {name: fastavro.parse_schema(schema, {}) for name, schema in SCHEMAS.items()}
NAMES = sorted(SCHEMAS)
INPUTS = ("Close", "Command", "Fill")
NOW = 1_763_778_000_123_456

few = settings(max_examples=50)  # for each of twelve records

# --- the reference: fastavro, and no line of the codec ----------------------------------------------------------------


def framed(name: str, body: bytes) -> bytes:
    return b"\xc3\x01" + FINGERPRINTS[vars(events)[name]].to_bytes(8, "little") + body


def avro(schema: Any, values: Mapping[str, Any]) -> bytes:
    written = io.BytesIO()
    fastavro.schemaless_writer(written, schema, values)
    return written.getvalue()


def event_of(schema: Any, value: Any) -> Any:
    """The event whose values stand in dicts and lists."""
    if isinstance(schema, list):
        return None if value is None else event_of(schema[1], value)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "array":
        return tuple(event_of(schema["items"], item) for item in value)
    if kind == "record":
        fields = {field["name"]: event_of(field["type"], value[field["name"]]) for field in schema["fields"]}
        return vars(events)[schema["name"]](**fields)
    return value


def exact(value: Any) -> Any:
    """Equal only where every type and every bit of a double is equal."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, msgspec.Struct):
        return type(value), [exact(getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, tuple):
        return tuple, [exact(item) for item in value]
    if isinstance(value, dict):
        return dict, [(name, exact(item)) for name, item in value.items()]
    return type(value), value


# --- random records ---------------------------------------------------------------------------------------------------

EDGES = [
    sign * (1 << bits) + step for bits in (6, 13, 20, 27, 34, 41, 48, 55, 62) for sign in (1, -1) for step in (-1, 0)
]
ANY: Mapping[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(0, 20_000) | st.sampled_from([*EDGES, 2**63 - 1, -(2**63)]) | st.integers(-(2**63), 2**63 - 1),
    "timestamp-micros": st.integers(NOW - 10**9, NOW + 10**9)
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from(EDGES),
    "double": st.floats() | st.sampled_from([-0.0, math.inf, struct.unpack("<d", b"\1\2\3\4\5\6\xf8\xff")[0]]),
    "string": st.text(max_size=20)
    | st.sampled_from(["a" * size for size in (0, 62, 63, 64, 127, 128, 8191, 8192)])
    | st.sampled_from(["é" * 31, "é" * 32, "書" * 21, "\0", "\U0001f600" * 16]),
    "bytes": st.binary(max_size=80),
    "size": st.integers(0, 5) | st.sampled_from([63, 64, 65]),
}
USUAL: Mapping[str, st.SearchStrategy[Any]] = {
    **ANY,
    "int": st.integers(0, 2**31 - 1),
    "long": st.integers(0, 3_000_000),
    "timestamp-micros": st.integers(NOW - 10**13, NOW + 10**13),
    "string": st.text("abcdef0123456789-:", max_size=16) | st.just("é" * 31),
    "size": st.integers(0, 5),
}


def values_of(schema: Any, kinds: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.one_of([values_of(branch, kinds) for branch in schema])
    if not isinstance(schema, dict):
        return kinds[schema]
    kind = schema["type"]
    if kind == "array":
        items = values_of(schema["items"], kinds)
        sizes = kinds["size"] if schema["items"] == "double" else st.integers(0, 3)
        return sizes.flatmap(lambda size: st.lists(items, min_size=size, max_size=size))
    if kind == "map":
        return st.dictionaries(kinds["string"], values_of(schema["values"], kinds), max_size=3)
    if kind == "enum":
        return st.sampled_from(schema["symbols"])
    if kind == "record":
        return st.fixed_dictionaries({field["name"]: values_of(field["type"], kinds) for field in schema["fields"]})
    return kinds[str(schema.get("logicalType", kind))]


USUAL_RECORDS = {name: values_of(SCHEMAS[name], USUAL) for name in NAMES}
RECORDS = {name: USUAL_RECORDS[name] | values_of(SCHEMAS[name], ANY) for name in NAMES}


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """A record after one to three accidents, its header whole."""
    body = bytearray(avro(PARSED[name], draw(USUAL_RECORDS[name])))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        accident = draw(st.sampled_from(["cut", "set", "insert", "remove"]))
        if accident == "cut":
            del body[at:]
        elif accident == "set":
            body[at : at + 1] = bytes(
                [draw(st.sampled_from([0, 1, 2, 3, 4, 127, 128, 129, 255]) | st.integers(0, 255))]
            )
        elif accident == "insert":
            body[at:at] = draw(st.binary(min_size=1, max_size=9))
        else:
            del body[at : at + draw(st.integers(1, 9))]
    return framed(name, bytes(body))


# --- what is written and read is what fastavro writes and reads -------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@few
@given(data=st.data())
def test_an_event_is_written_as_fastavro_writes_it(name: str, data: st.DataObject) -> None:
    values = data.draw(RECORDS[name])
    assert codec.encode(event_of(SCHEMAS[name], values)) == framed(name, avro(PARSED[name], values))


@pytest.mark.parametrize("name", NAMES)
@few
@given(data=st.data())
def test_a_record_is_read_as_the_event_that_was_written(name: str, data: st.DataObject) -> None:
    values = data.draw(RECORDS[name])
    record = framed(name, avro(PARSED[name], values))
    event = exact(event_of(SCHEMAS[name], values))
    assert exact(codec.decode(record)) == event
    assert exact(codec.decode_slowly(record)) == event
    (found,) = codec.decode_inputs([record])
    assert isinstance(found, DecodeError) if name not in INPUTS else exact(found) == event


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("Fill", wire.read_fill),
        ("Close", wire.read_close),
        ("PositionPage", wire.read_position_page),
        ("PositionSnapshot", wire.read_position_snapshot),
        ("Reward", wire.read_reward),
    ],
)
@few
@given(data=st.data())
def test_the_usual_record_is_read_in_straight_lines(name: str, read: Any, data: st.DataObject) -> None:
    """Else the comparisons with the slow path would compare it with itself."""
    values = data.draw(USUAL_RECORDS[name])
    for waits in values.get("waiting", ()):
        waits["source"]["headers"] = []
    assert exact(read(framed(name, avro(PARSED[name], values)))) == exact(event_of(SCHEMAS[name], values))


def outcome(read: Any, record: bytes) -> Any:
    try:
        return exact(read(record))
    except DecodeError:
        return DecodeError


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100)
@given(data=st.data())
def test_a_damaged_record_is_the_same_on_both_paths_and_never_another_exception(name: str, data: st.DataObject) -> None:
    record = data.draw(damaged(name))
    found = outcome(codec.decode_slowly, record)
    assert outcome(codec.decode, record) == found
    (element,) = codec.decode_inputs([record])
    if name in INPUTS:
        assert (DecodeError if isinstance(element, DecodeError) else exact(element)) == found
    if found is not DecodeError:  # then fastavro reads the same, and reads it to the end
        body = io.BytesIO(record[10:])
        plain = json.loads(json.dumps(SCHEMAS[name]).replace('"logicalType": "timestamp-micros"', '"doc": ""'))
        assert exact(event_of(plain, fastavro.schemaless_reader(body, fastavro.parse_schema(plain, {}), None))) == found
        assert body.read() == b""


FULL_FILL = Fill(
    "f1", "book", "p1", "AAPL", "SELL", 1.0, 2.0, NOW, 1.0, 0.5, "TRADE", "USD", 8.0, "x1", "x2", "ridge", 0.5,
    (0.5, 0.25), 0.125, 9_000, {"ridge": 0.75}, {"expert": -0.5}, 3.0,
    {"ridge": "SELL", "mlp": "BUY", "gru": "FLAT", "": "UNKNOWN"},
)  # fmt: skip
PLAIN_FILL = Fill("f1", "book", "p1", "AAPL", "BUY", 1.0, 2.0, NOW, arm="ridge", propensity=0.5, weights_version=9)
SIGNALS_FILL = msgspec.structs.replace(PLAIN_FILL, signals={"ridge": "BUY", "mlp": "SELL", "gru": "FLAT"})
PLAIN_CLOSE = Close("c1", "book", "p1", 1.0, 2.0, NOW)
FULL_CLOSE = Close("c1", "book", "p1", 1.0, 2.0, NOW, 0.5, 0.25, True, "TRADE", "x1", "x2", True)
POSITION = PositionSnapshot(
    "book", "p1", NOW, True, 3.0, 0.75, "BUY",
    (PositionFill("f1", 2.0, 2.0, 0.5, 0.5, NOW), PositionFill("f2", 1.0, -2.0, 0.5, 0.25, NOW, "x1", 4.0)),
    (PositionClose("c1", 2.0, 2.5, 0.0, 0.1, "x2"),), 1, 0.5,
    DecisionSnapshot(
        "AAPL", 1.0, "USD", None, "ridge", 0.5, (0.5, 0.25), None, 9_000, {}, {"expert": 0.5},
        {"ridge": "BUY", "mlp": "FLAT"}, {"ridge": -0.125},
    ),
)  # fmt: skip
FULL_POSITION = msgspec.structs.replace(
    POSITION,
    waiting=(WaitingClose("c2", 9.0, 2.5, 0.0, 0.1, 1.5, NOW, Source("trades", 3, 9, b"k", b"v"), 0.75),),
    paged=Paged(2, 100, 28),
    final_close_id="c2",
)
PAGE = PositionPage("book", "p1", 1, POSITION.fills, POSITION.closes)
PIECES = [bytes([byte]) for byte in (0, 1, 2, 3, 4, 6, 8, 126, 127, 128, 129, 130, 255)]
PIECES += [b"", b"\x80\0", b"\x82\x80\0", b"\x80\x80\x80\x80\x10", b"\x80" * 8 + b"\x20"]  # longs, also too long ones


@pytest.mark.parametrize(
    "event",
    [PLAIN_FILL, SIGNALS_FILL, FULL_FILL, PLAIN_CLOSE, FULL_CLOSE, POSITION, FULL_POSITION, PAGE],
    ids=[
        "plain fill",
        "fill with signals",
        "full fill",
        "plain close",
        "full close",
        "position",
        "full position",
        "page",
    ],
)
def test_both_paths_say_the_same_wherever_one_piece_of_a_record_is_another(event: Event) -> None:
    record = codec.encode(event)
    for at in range(10, len(record) + 1):
        byte = record[at] if at < len(record) else 0
        others = [bytes([byte ^ flipped]) for flipped in (1, 2, 64, 128)]
        for piece in PIECES + others:
            for damaged_record in (
                record[:at] + piece + record[at + 1 :],
                record[:at] + piece + record[at:],
                record[:at],
            ):
                expected = outcome(codec.decode_slowly, damaged_record)
                assert outcome(codec.decode, damaged_record) == expected, (at, piece)


@pytest.mark.parametrize("count", [63, 64, 100, 1_000])
def test_a_decision_of_many_arms_is_read_in_straight_lines(count: int) -> None:
    names = [f"model {number}" for number in range(count)]
    views = tuple(zip(names, ("BUY", "SELL", "FLAT") * count, strict=False))
    fill = msgspec.structs.replace(PLAIN_FILL, probabilities=(1 / count,) * count, signals=dict(views))
    blend = msgspec.structs.replace(fill, arm=None, contributions=dict.fromkeys(names, 1 / count))
    for event in (fill, blend):
        assert exact(wire.read_fill(codec.encode(event))) == exact(event)


@few
@given(st.binary(max_size=60))
def test_noise_is_a_decode_error(noise: bytes) -> None:
    for record in (noise, b"\xc3\x01" + noise, b"\0" + noise):
        with pytest.raises(DecodeError):
            codec.decode(record)


# --- bytes worked out by hand -----------------------------------------------------------------------------------------

CLOSE = Close("c1", "b", "p", 2.0, 10.5, 1_700_000_000_000_000, 0.25, -0.0, True, "TRADE", None, "x")
CLOSE_BYTES = bytes.fromhex(
    "04 6331  02 62  02 70"  # strings: twice the size, the text
    "0000000000000040  0000000000002540"  # 2.0 and 10.5: exponents 400 and 402, little-endian
    "8080f281 83898506"  # 3.4e15 in base 128, low digit first, is 0, 0, 114, 1, 3, 9, 5, 6; + 128 on all but the last
    "000000000000d03f  0000000000000080"  # 0.25 and -0.0
    "01  02  00  02 02 78  00"  # true; symbol 1; null; a string; false
)


def test_a_close_worked_out_by_hand() -> None:
    record = bytes.fromhex("c301 524ba551dbbd56ed") + CLOSE_BYTES
    assert exact(codec.decode(record)) == exact(CLOSE)
    assert codec.encode(CLOSE) == record


def test_a_fills_signals_worked_out_by_hand() -> None:
    """Two entries: a name of one byte, and the symbol's index, twice; then the map's end."""
    plain = codec.encode(PLAIN_FILL)
    record = codec.encode(msgspec.structs.replace(PLAIN_FILL, signals={"a": "SELL", "b": "FLAT"}))
    assert plain[-2:] == b"\0\0"  # no notional, no signals
    assert record == plain[:-1] + bytes.fromhex("04  02 61 04  02 62 06  00")


def test_a_cut_worked_out_by_hand() -> None:
    assert codec.encode_cut({"fills": 64, "closes": 0}) == b"\x04\x0afills\x80\x01\x0ccloses\x00\x00"
    assert codec.encode_cut({}) == b"\0"


REWARD = Reward(
    "b",
    7,
    "p",
    "f",
    "c",
    1.0,
    9.5,
    1.0,
    True,
    True,
    6,
    (RewardArm("a", 1.0, 0.5, 0.4),),
    "LOGGED",
    0.1,
    NOW,
    "",
    {"old": 1},
)
LETTER = DeadLetter(Source("trades", 3, 9, b"k", None), "DECODE", "no value", NOW, None, {"old": 1})
APPLIED = CommandApplied("b", 8, "x", "RESET", "REFUSED", NOW, "later", {"old": 1})


@pytest.mark.parametrize(
    ("event", "encode"),
    [(REWARD, codec.encode_reward), (LETTER, codec.encode_dead_letter), (APPLIED, codec.encode_audited)],
)
def test_a_cut_of_bytes_takes_the_place_of_the_events_own(event: Any, encode: Any) -> None:
    cut = {"fills": 12_345, "closes": 2**40}
    assert encode(event, codec.encode_cut(cut)) == codec.encode(msgspec.structs.replace(event, cut=cut))


# --- what is wrong is said --------------------------------------------------------------------------------------------

MANY = b"\x80" * 8 + b"\x20"  # 2**60 as a long
CLOSE_START = CLOSE_BYTES[:7]


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (None, "no value"),
        (b"", "an empty value"),
        (b"\0\0\0\1\2" + CLOSE_BYTES, r"Confluent framing \(schema id 258\), and no schema registry is set"),
        (b"\0\0", "Confluent framing that ends within the schema id"),
        (b'{"event_id": 1}', "neither single-object nor Confluent framing: begins with 7b 22"),
        (b"\xc3\x01\1\2\3", "ends within the fingerprint"),
        (b"\xc3\x01\1\2\3\4\5\6\7\x08" + CLOSE_BYTES, "fingerprint 0807060504030201 is that of no known schema"),
        (framed("Close", b""), "Close.event_id: the record ends at byte 10"),
        (framed("Close", CLOSE_BYTES[:-1]), "Close.final: 1 bytes wanted at byte 63, where 0 are left"),
        (framed("Close", CLOSE_BYTES + b"\0"), "1 bytes after the Close, which ends at byte 64"),
        (framed("Close", b"\3" + CLOSE_BYTES), "Close.event_id: a size of -2"),
        (framed("Close", b"\4\xc3\x28" + CLOSE_BYTES[3:]), "Close.event_id: text that is not UTF-8: .* at byte 11"),
        (framed("Close", b"\6\xed\xa0\x80" + CLOSE_BYTES[3:]), "Close.event_id: text that is not UTF-8"),
        (framed("Close", CLOSE_BYTES[:-7] + b"\2" + CLOSE_BYTES[-6:]), "Close.slippage_in_price: 2 for a boolean"),
        (framed("Close", CLOSE_BYTES[:-6] + b"\x08" + CLOSE_BYTES[-5:]), "Close.exec_type: symbol 4 of .*ExecType"),
        (framed("Close", CLOSE_BYTES[:-6] + b"\1" + CLOSE_BYTES[-5:]), "Close.exec_type: symbol -1 of .*ExecType"),
        (framed("Close", CLOSE_BYTES[:-5] + b"\4" + CLOSE_BYTES[-4:]), "Close.exec_id: branch 2 of a union of 2"),
        (framed("Close", CLOSE_BYTES[:-5] + b"\1" + CLOSE_BYTES[-4:]), "Close.exec_id: branch -1 of a union of 2"),
        (
            framed("Close", CLOSE_BYTES[:23] + b"\xff" * 10 + CLOSE_BYTES[31:]),
            "Close.ts_event: an integer of more than 64",
        ),
        (
            framed("Close", CLOSE_BYTES[:23] + b"\xff" * 9 + b"\2" + CLOSE_BYTES[31:]),
            "Close.ts_event: an integer of more",
        ),
        (framed("Close", MANY + CLOSE_BYTES), f"Close.event_id: {2**60} bytes wanted"),
        (framed("TaskSnapshot", b"\0" + MANY), f"TaskSnapshot.next_offset: {2**60} items in 0 bytes"),
        (framed("TaskSnapshot", b"\0\1\0\0\0\0\0\2"), "TaskSnapshot.next_offset: a block of 0 bytes has 2"),
        (framed("TaskSnapshot", b"\0\1\x08\2a\2\0\0\2"), "TaskSnapshot.next_offset: a block of 4 bytes has 3"),
        (framed("TaskSnapshot", b"\0" + b"\xff" * 9 + b"\1\0"), f"TaskSnapshot.next_offset: {2**63} items"),
        (framed("TaskSnapshot", b"\x80\x80\x80\x80\x10\0\0\2"), f"TaskSnapshot.task: {2**31} does not fit an int"),
    ],
)
def test_a_bad_record_is_refused_at_once_with_its_reason(record: bytes | None, error: str) -> None:
    started = time.perf_counter()
    with pytest.raises(DecodeError, match=error):
        codec.decode(record)
    assert time.perf_counter() - started < 1
    (element,) = codec.decode_inputs([record])
    assert isinstance(element, DecodeError)
    assert element.__traceback__ is None, "it would hold the batch in memory"


def test_blocks_with_their_size_and_blocks_in_a_row_are_legal() -> None:
    record = framed("TaskSnapshot", b"\0" + b"\1\6\2a\2" + b"\2\2b\4" + b"\0" + b"\0" + b"\0\0\0" + b"\2")
    assert codec.decode(record) == TaskSnapshot(0, {"a": 1, "b": 2})


def test_a_bad_record_in_a_batch_stands_in_its_place() -> None:
    fill = Fill("f", "b", "p", "AAPL", "BUY", 1.0, 2.0, NOW, arm="a")
    command = Command("x", "b", "PAUSE", NOW)
    batch = [codec.encode(fill), None, codec.encode(CLOSE), b"\xc3", codec.encode(command), codec.encode(REWARD)]
    found = codec.decode_inputs(batch)
    assert [found[0], found[2], found[4]] == [fill, CLOSE, command]
    assert [str(found[index]) for index in (1, 3, 5)] == [
        "no value",
        "neither single-object nor Confluent framing: begins with c3",
        "a Reward is no input",
    ]


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (msgspec.structs.replace(CLOSE, exec_id="\ud800"), "a Close that cannot be written: .*surrogates"),
        (msgspec.structs.replace(REWARD, position_id="\udfff"), "a Reward that cannot be written: .*surrogates"),
        (msgspec.structs.replace(REWARD, version=2**63), "a Reward that cannot be written: 9223372036854775808"),
        (
            msgspec.structs.replace(REWARD, ts_event=-(2**63) - 1),
            "a Reward that cannot be written: -9223372036854775809",
        ),
        (msgspec.structs.replace(REWARD, propensity_source="GUESSED"), "a Reward that cannot be written: 'GUESSED'"),
        (msgspec.structs.replace(APPLIED, outcome="MAYBE"), "a CommandApplied that cannot be written: .*MAYBE"),
        (msgspec.structs.replace(APPLIED, version=2**63), "a CommandApplied that cannot be written"),
        (msgspec.structs.replace(LETTER, error=None), "a DeadLetter that cannot be written"),
    ],
)
def test_what_avro_cannot_hold_is_a_value_error(event: Event, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        codec.encode(event)


def test_a_cut_that_avro_cannot_hold_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="a cut that cannot be written: 9223372036854775808"):
        codec.encode_cut({"trades": 2**63})


# --- older writers ----------------------------------------------------------------------------------------------------


def other_close(folder: Path, **venue: Any) -> tuple[Any, bytes]:
    """A Close schema without `slippage`, with a field `venue` and an ExecType of one symbol more; and its header."""
    schema = json.loads(json.dumps(SCHEMAS["Close"]))
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "slippage"]
    schema["fields"].insert(3, {"name": "venue", **venue})
    (exec_type,) = [field["type"] for field in schema["fields"] if field["name"] == "exec_type"]
    exec_type["symbols"].append("BUST")
    (folder / "Close.avsc").write_text(json.dumps(schema), encoding="utf-8")
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    return schema, b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


def values_of_close(**others: Any) -> dict[str, Any]:
    return {**msgspec.structs.asdict(CLOSE), "exec_type": "TRADE", **others}


def test_another_writers_record_is_read_as_todays(tmp_path: Path) -> None:
    schema, header = other_close(tmp_path, type="string")
    record = header + avro(fastavro.parse_schema(schema, {}), values_of_close(venue="XETR", exec_type="BUST"))
    with pytest.raises(DecodeError, match="no known schema"):
        codec.decode(record)
    read = codec.decode(record, codec.load_writers(tmp_path))
    assert exact(read) == exact(msgspec.structs.replace(CLOSE, slippage=0.0, exec_type="UNKNOWN"))


def old_record(form: str, values: Mapping[str, Any]) -> bytes:
    """As the writer of a schema of schemas/old wrote it; what it knew nothing of is left out."""
    schema = json.loads((resource("schemas", "old") / form).read_text(encoding="utf-8"))
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    header = b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
    known = {field["name"]: values[field["name"]] for field in schema["fields"]}
    return header + avro(fastavro.parse_schema(schema, {}), known)


def builtins(event: msgspec.Struct) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(event, builtin_types=(bytes,))
    return values


@pytest.mark.parametrize(
    ("form", "event"),
    [
        (
            "BanditSnapshot-3.avsc",
            BanditSnapshot("b", 9, 3, (events.ArmState("a", (0.5, 2.0), 3, -2.0, 4),), "x", "y", "{}", NOW),
        ),
        ("Fill-1.avsc", msgspec.structs.replace(FULL_FILL, notional=None, signals={})),
        ("Close-1.avsc", msgspec.structs.replace(FULL_CLOSE, final=False)),
        ("DeadLetter-1.avsc", LETTER),
    ],
    ids=["no forgotten_until", "no notional", "no final", "no ID_REUSED"],
)
def test_a_record_from_before_trades_came_as_they_happen_is_read_with_defaults(form: str, event: Event) -> None:
    assert exact(codec.decode(old_record(form, builtins(event)))) == exact(event)


def test_a_fill_from_before_it_had_signals_is_read() -> None:
    fill = msgspec.structs.replace(FULL_FILL, signals={})
    assert exact(codec.decode(old_record("Fill-2.avsc", builtins(fill)))) == exact(fill)


def test_a_position_from_before_it_had_signals_is_read() -> None:
    assert POSITION.decision is not None
    (waits,) = FULL_POSITION.waiting
    then = msgspec.structs.replace(
        FULL_POSITION,
        decision=msgspec.structs.replace(POSITION.decision, signals={}, terms={}),
        waiting=(msgspec.structs.replace(waits, slippage_in_price=0.0),),
    )
    assert exact(codec.decode(old_record("PositionSnapshot-2.avsc", builtins(then)))) == exact(then)


def old_position(**fields: Any) -> bytes:
    decision = {**builtins(POSITION)["decision"], "side": "SELL", "order_quantity": 10.0}
    given = {"bandit_id": "book", "position_id": "p1", "ts_last": NOW, "counted": True, "filled_quantity": 0.0}
    given |= {"fill_ids": [], "close_ids": [], "fills": [], "closes": [], "schema_version": 1, "decision": decision}
    return old_record("PositionSnapshot-1.avsc", given | fields)


NEW_DECISION = DecisionSnapshot(
    "AAPL", 1.0, "USD", 10.0, "ridge", 0.5, (0.5, 0.25), None, 9_000, {}, {"expert": 0.5}
)  # fmt: skip


def test_a_position_with_open_fills_from_before_events_had_a_content_is_read() -> None:
    """Of f1 only the id is known; 2 of 10 and 3 of 10 are weights of .2 and .3, and 6 of 10 filled are .6 of it."""
    open_fills = [
        {"event_id": "f2", "quantity": 2.0, "price": 150.0, "fees": 0.5, "left": 0.25, "ts_event": NOW - 2},
        {"event_id": "f3", "quantity": 3.0, "price": 151.0, "fees": 0.75, "left": 3.0, "ts_event": NOW - 1},
    ]
    record = old_position(fill_ids=["f1", "f2", "f3"], close_ids=["c1"], fills=open_fills, filled_quantity=6.0)
    assert codec.decode(record) == PositionSnapshot(
        "book", "p1", NOW, True, 6.0, 0.6, "SELL",
        (
            PositionFill("f1", 0.0, 0.0, 0.0, 0.0, 0),
            PositionFill("f2", 2.0, 150.0, 0.5, 0.2, NOW - 2),
            PositionFill("f3", 3.0, 151.0, 0.75, 0.3, NOW - 1),
        ),
        (PositionClose("c1", 0.0, 0.0, 0.0, 0.0),), 1, 0.25, NEW_DECISION,
    )  # fmt: skip


def test_a_position_whose_closes_wait_from_before_events_had_a_content_is_read() -> None:
    source = {"topic": "trades", "partition": 3, "offset": 9, "key": b"k", "value": None, "headers": []}
    waits = {"event_id": "c2", "quantity": 9.0, "price": 2.5, "fees": 0.25, "slippage": 0.125, "left": 1.5}
    closes = [waits | {"ts_event": NOW - 1, "source": source}]
    record = old_position(close_ids=["c1", "c2"], closes=closes, decision=None, counted=False)
    assert codec.decode(record) == PositionSnapshot(
        "book", "p1", NOW, False, 0.0, 0.0, "UNKNOWN", (),
        (PositionClose("c1", 0.0, 0.0, 0.0, 0.0), PositionClose("c2", 9.0, 2.5, 0.25, 0.125)), 0, 0.0, None,
        (WaitingClose("c2", 9.0, 2.5, 0.25, 0.125, 1.5, NOW - 1, Source("trades", 3, 9, b"k", None)),),
    )  # fmt: skip


def test_a_done_position_from_before_events_had_a_content_is_read() -> None:
    record = old_position(fill_ids=["f1", "f2"], close_ids=["c1"], decision=None, filled_quantity=10.0)
    assert codec.decode(record) == PositionSnapshot(
        "book", "p1", NOW, True, 10.0, 1.0, "UNKNOWN",
        (PositionFill("f1", 0.0, 0.0, 0.0, 0.0, 0), PositionFill("f2", 0.0, 0.0, 0.0, 0.0, 0)),
        (PositionClose("c1", 0.0, 0.0, 0.0, 0.0),), 2, 0.0,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["BanditSnapshot-1.avsc", "BanditSnapshot-2.avsc"])
def test_a_snapshot_from_before_an_arm_had_several_numbers_is_read(form: str) -> None:
    """The first form had no choices_version either."""
    snapshot = BanditSnapshot("b", 9, 3, (events.ArmState("a", (0.5,), 3, -2.0),), "exp3ix", "implicit", "{}")
    values = msgspec.to_builtins(snapshot)
    values["arms"][0]["state"] = 0.5
    assert exact(codec.decode(old_record(form, values))) == exact(snapshot)


def test_a_task_snapshot_from_before_the_log_knew_settings_is_read() -> None:
    """By hand: task 3, next offsets {"t": 64}, schema_version 1."""
    record = bytes.fromhex("c301") + (0xBD98D10796216E6A).to_bytes(8, "little") + b"\6" + b"\2\2t\x80\1\0" + b"\2"
    assert codec.decode(record) == TaskSnapshot(3, {"t": 64}, "")


def test_a_task_snapshot_from_before_it_named_its_group_and_topics_is_read() -> None:
    """By hand: task 3, next offsets {"t": 64}, settings "{}", schema_version 1."""
    record = bytes.fromhex("c301") + (0x7509EA8C6C0AA406).to_bytes(8, "little") + b"\6" + b"\2\2t\x80\1\0" + b"\4{}\2"
    assert codec.decode(record) == TaskSnapshot(3, {"t": 64}, "{}", group="", topic_ids={}, partitions=0)


def test_another_writers_record_is_checked_where_it_is_skipped_too(tmp_path: Path) -> None:
    """fastavro alone would go round 2**60 times in a field that the reader does not have."""
    _, header = other_close(tmp_path, type={"type": "array", "items": "double"})
    with pytest.raises(DecodeError, match=f"Close.venue: {2**60} items"):
        codec.decode(header + CLOSE_START + MANY + CLOSE_BYTES[7:], codec.load_writers(tmp_path))


def test_a_writers_schema_that_does_not_resolve_is_a_decode_error(tmp_path: Path) -> None:
    schema = {"type": "record", "name": "armstream.Close", "fields": [{"name": "event_id", "type": "string"}]}
    (tmp_path / "Close.avsc").write_text(json.dumps(schema), encoding="utf-8")
    header = bytes.fromhex("c301") + bytes.fromhex(
        fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(schema), "CRC-64-AVRO")
    )
    with pytest.raises(DecodeError, match=r"Close: .*bandit_id"):
        codec.decode(header + b"\2a", codec.load_writers(tmp_path))


def test_a_schema_in_old_of_no_record_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Trade.avsc").write_text(
        '{"type": "record", "name": "armstream.Trade", "fields": []}', encoding="utf-8"
    )
    with pytest.raises(ValueError, match=r"Trade\.avsc: armstream\.Trade is the name of no record"):
        codec.load_writers(tmp_path)


# --- memory -----------------------------------------------------------------------------------------------------------


def test_what_repeats_is_one_string_in_memory() -> None:
    fill = Fill("f", "bonds", "p", "BUND", "BUY", 1.0, 2.0, NOW, currency="EUR", arm="carry")
    first, second = (codec.decode(codec.encode(fill)) for _ in range(2))
    assert isinstance(first, Fill)
    assert isinstance(second, Fill)
    for name in ("bandit_id", "instrument_id", "currency", "arm"):
        assert getattr(first, name) is getattr(second, name)


def test_the_strings_that_are_remembered_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_NAMES_LIMIT", 8)
    monkeypatch.setattr(wire, "_HIGHS_LIMIT", 8)
    for cache in ("_names", "_names_written", "_highs", "_highs_written"):
        monkeypatch.setattr(wire, cache, {})
    for number in range(100):
        reward = msgspec.structs.replace(REWARD, bandit_id=f"bandit {number}", ts_event=NOW + number * 2**28)
        assert codec.decode(codec.encode(reward)) == reward
        fill = Fill("f", f"bandit {number}", "p", "BUND", "BUY", 1.0, 2.0, NOW + number * 2**28, arm=f"arm {number}")
        assert codec.decode(codec.encode(fill)) == fill
        assert all(len(cache) <= 8 for cache in (wire._names, wire._names_written, wire._highs, wire._highs_written))
