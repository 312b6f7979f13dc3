"""What reaches a terminal is printable, and JSON stays JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armstream.printable import json_printable, printable

ANY = st.text(st.characters(codec=None))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("träde 😀 x", "träde 😀 x"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nb\tc\0", "a\\r\\nb\\tc\\x00"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u2028\udcff\U000e0001", "\\u2028\\udcff\\U000e0001"),
    ],
)
def test_what_is_not_printable_is_shown_by_its_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(ANY)
def test_all_that_is_shown_is_printable_ascii_or_as_it_was(text: str) -> None:
    assert printable(text).isprintable()
    assert text.isprintable() == (printable(text) == text)


@given(st.dictionaries(ANY, ANY))
def test_json_says_the_same(values: dict[str, str]) -> None:
    line = json_printable(json.dumps(values, ensure_ascii=False))
    assert line.isprintable()
    assert json.loads(line) == json.loads(json.dumps(values))  # pairs of lone surrogates are one character in JSON
