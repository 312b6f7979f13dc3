"""A record as a line of JSON: read back by a strict parser, it says what the record said."""

import json
from typing import Any

import pytest

from armstream.codec import encode
from armstream.events import DeadLetter, Header, Source
from armstream.operating.json_lines import line, record_values
from tests.runtime.records import ReadRecord
from tests.stages.events import fill


def read_back(record: ReadRecord) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    written = line(record_values(record))
    assert written.isprintable()
    found: dict[str, Any] = json.loads(written, parse_constant=refuse)
    return found


def test_a_record_says_where_it_stands_what_is_around_it_and_its_own_fields() -> None:
    event = fill(price=0.1, contributions={"ridge": 0.25}, signals={"ridge": "BUY"})
    found = read_back(ReadRecord("trades", 3, 7, b"book", encode(event), 1_795_857_243_120, (("origin", b"feed"),)))
    record = found.pop("record")
    assert found == {
        "topic": "trades",
        "partition": 3,
        "offset": 7,
        "timestamp": "2026-11-28T09:14:03.120Z",
        "key": "book",
        "headers": [{"name": "origin", "value": "feed"}],
        "type": "Fill",
    }
    assert list(record) == list(event.__struct_fields__)
    assert (record["price"], record["contributions"], record["arm"]) == (0.1, {"ridge": 0.25}, None)


@pytest.mark.parametrize(
    ("number", "text"), [(float("nan"), "NaN"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity")]
)
def test_what_json_has_no_number_for_is_a_text(number: float, text: str) -> None:
    found = read_back(ReadRecord("trades", 0, 0, b"book", encode(fill(price=number, probabilities=(0.5, number)))))
    assert (found["record"]["price"], found["record"]["probabilities"]) == (text, [0.5, text])


def test_bytes_are_text_where_they_are_and_base64_where_they_are_not() -> None:
    source = Source("trades", 0, 1, b"\xff", b'{"side": 1}', (Header("a", None), Header("a", b"\x00")))
    found = read_back(ReadRecord("dead-letters", 0, 0, b"\xff\xfe", encode(DeadLetter(source, "DECODE", "x", 7))))
    assert found["key"] == {"base64": "//4="}
    assert found["record"]["source"]["key"] == {"base64": "/w=="}
    assert found["record"]["source"]["value"] == '{"side": 1}'
    assert found["record"]["source"]["headers"] == [{"name": "a", "value": None}, {"name": "a", "value": "\0"}]


def test_a_tombstone_and_what_cannot_be_read_have_their_lines_too() -> None:
    tombstone = read_back(ReadRecord("weights", 0, 0, b"book", None))
    assert (tombstone["type"], tombstone["record"]) == ("Tombstone", None)
    garbage = read_back(ReadRecord("trades", 0, 0, None, b"\xc3\x28"))
    assert (garbage["type"], garbage["key"], garbage["value"]) == ("Unreadable", None, {"base64": "wyg="})
    assert garbage["error"].startswith("neither single-object nor Confluent framing")
    newer = read_back(ReadRecord("trades", 0, 0, b"book", b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08"))
    assert newer["error"].startswith("fingerprint 0807060504030201 is that of no known schema; upgrade armstream")


def test_no_character_of_a_record_moves_a_terminal() -> None:
    found = read_back(ReadRecord("trades", 0, 0, b"book", encode(fill(event_id="\x1b[31m\u202e\n市"))))
    assert found["record"]["event_id"] == "\x1b[31m\u202e\n市"
