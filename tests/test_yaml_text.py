"""YAML as texts: what stands there is what is read, and what is written is read again."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from armstream.yaml_text import DEEPEST, MOST_VALUES, Plain, YamlError, read, typed, written


@pytest.mark.parametrize(
    "text",
    ["007", "1e-3", "12:30:45", "000660", "yes", "no", "on", "off", "~", "null", "2024-01-01", "0x10", "1_000", ".nan"],
)
def test_a_scalar_is_the_text_that_stands_there(text: str) -> None:
    assert read(f"{text}: [{text}, '{text}', {{a: {text}}}]") == {text: [text, text, {"a": text}]}


def test_what_stood_without_quotes_is_known() -> None:
    plain, single, double, block = read("- 5\n- '5'\n- \"5\"\n- |-\n  5\n")
    assert plain == single == double == block == "5"
    assert [type(one) for one in (plain, single, double, block)] == [Plain, str, str, str]


@pytest.mark.parametrize(
    ("text", "kinds", "value"),
    [
        ("5", {int}, 5),
        ("-5", {int}, -5),
        ("1_000", {int}, 1000),
        ("0x10", {int}, 16),
        ("5", {float}, 5),
        ("1e-10", {float}, 1e-10),
        ("1.5", {int, float}, 1.5),
        ("1_000.5", {float}, 1000.5),
        ("1e400", {float}, float("inf")),
        ("-.inf", {float}, float("-inf")),
        ("yes", {bool}, True),
        ("Off", {bool}, False),
        ("~", {type(None), float}, None),
        ("", {type(None)}, None),
    ],
)
def test_a_text_is_the_kind_that_is_asked_for(text: str, kinds: set[type], value: object) -> None:
    found = typed(Plain(text), kinds)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        *[(text, {int, float}) for text in ("010", "0o17", "12:30", "٣", "", "nan", "inf", "1 2", "9" * 5_000, "1__0")],
        *[("0x" + "f" * 5_000, {int}), ("1.5", {int}), ("yes", {int, float, type(None)}), ("1", {bool}), ("~", {int})],
        *[(text, set()) for text in ("5", "1e-3", "yes", "~", "")],
    ],
)
def test_a_text_that_is_none_of_the_kinds_or_that_readers_of_yaml_differ_about_stays_text(
    text: str, kinds: set[type]
) -> None:
    found = typed(Plain(text), kinds)
    assert (found, type(found)) == (text, Plain)


def test_json_is_yaml_its_pairs_of_surrogates_too() -> None:
    values = {"😀": ["𐒡", "é", "\n"], "a/b": {"c": "\u2028"}}
    assert read(json.dumps(values)) == values
    assert read('"\\ud83d"') == "\ud83d"


def test_merge_keys_bring_in_what_is_not_there() -> None:
    assert read("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}") == {"a": {"x": "1", "y": "2"}, "b": {"x": "1", "y": "3"}}
    assert read("{<<: [{x: 1}, {x: 2, y: 2}]}") == {"x": "1", "y": "2"}
    assert read("{'<<': 1}") == {"<<": "1"}


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]\n" for at in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("&a [*a]", f"is nested more than {DEEPEST} deep"),
        ("a: &a {b: *a}", f"is nested more than {DEEPEST} deep"),
        ("a: &a {<<: *a}", f"is nested more than {DEEPEST} deep"),
        ("[" * 50_000, f"is nested more than {DEEPEST} deep"),
        ("- " * 2_000, f"is nested more than {DEEPEST} deep"),
        (BOMB, f"holds more than {MOST_VALUES} values"),
        ("a: !!binary aGk=", "tags are not read, line 1, column 4"),
        ("!!python/object/apply:os.system [ls]", "tags are not read, line 1, column 1"),
        ("!!int 1: a", "a name must be text, line 1, column 1"),
        ("[1]: a", "a name must be text, line 1, column 1"),
        ("a: 1\na: 2", "a name is given twice, line 2, column 1"),
        ("a:\n\tb: 1", "found character, line 2, column 1"),
        ("<<: 1", "what is merged must be"),
        ('"\\UFFFFFFFF"', "a number in it is out of range"),
        (f"%YAML 1.{'9' * 5_000}\n--- a", "a number in it is out of range"),
        ("a: \x07", "character 4 is not printable"),
        ("--- a\n--- b", "but found another document, line 2, column 1"),
        ("a: *hunter", "found undefined alias, line 1, column 4"),
    ],
)
def test_what_cannot_be_read_is_one_line_without_what_stands_there(text: str, problem: str) -> None:
    with pytest.raises(YamlError) as refused:
        read(text)
    said = str(refused.value)
    assert said.startswith("is not YAML that can be read: ")
    assert problem in said
    assert said.isprintable()
    assert "hunter" not in said


ODD = ["\x85", "a\u2028b", " a ", "\u202e", "it's", '"', "\\", "", "~", "1e-3", "<<", "a: b", "# c", "\ufeff", "\r\n"]
ODD = ["\x85", "a\u2028b", " a ", "\u202e", "it's", '"', "\\", "", "~", "1e-3", "<<", "a: b", "# c", "\ufeff", "\r\n"]
TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from([*ODD, "=", "\0", "😀", "x " * 90])
TREE = st.recursive(
    TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)


@settings(deadline=None, max_examples=150)
@given(TREE)
def test_what_is_written_is_read_again_whatever_characters_it_has(tree: Any) -> None:
    shown = written(tree)
    assert read(shown) == tree
    assert all(line.isprintable() for line in shown.split("\n"))


@settings(deadline=None, max_examples=80)
@given(st.dictionaries(st.text("abc", min_size=1), st.none() | st.booleans() | st.integers() | st.floats() | TEXT))
def test_what_is_written_says_the_same_to_other_readers(values: dict[str, Any]) -> None:
    others = yaml.safe_load(written(values))
    assert others.keys() == values.keys()
    for name, value in values.items():
        assert repr(others[name]) == repr(value)


def test_text_that_stood_without_quotes_is_written_so() -> None:
    assert written({"a": Plain("1e-9"), "b": "1e-9", "c": Plain("007"), "d": Plain("\u202e")}) == (
        "a: 1e-9\nb: '1e-9'\nc: 007\nd: \"\\u202e\"\n"
    )
