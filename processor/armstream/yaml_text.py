"""YAML in which text stays as it was written: 007, 1e-3, 12:30:45, 2024-01-01, no and ~ are what stands there.

Law: what is read are texts, lists and mappings of names, and nothing else; what a setting is, its own type says
(`typed`). Reading ends: depth and values have limits, an alias counts as what it stands for, and tags are refused. No
error shows what stands there, which may be a password.
"""

import re
from collections.abc import Collection
from typing import Any, NoReturn

import yaml

from armstream.printable import printable

DEEPEST = 32
MOST_VALUES = 200_000

_LONGEST_NUMBER = 40
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F_]+|[0-9][0-9_]*)")
_NUMBER = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NO_NUMBERS = {f"{sign}{name}" for sign in ("", "+", "-") for name in (".inf", ".Inf", ".INF")} | {
    ".nan",
    ".NaN",
    ".NAN",
}
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NULLS = {"", "~", "null", "Null", "NULL"}
_KINDS = (type(None), bool, int, float)
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}


class Plain(str):
    """Text that stood without quotes: a number, a truth or null where the setting is one, else the text."""

    __slots__ = ()


class YamlError(ValueError):
    """One line that says what is wrong and where."""


def read(text: str) -> Any:
    """A document's texts (Plain ones stood without quotes), lists and mappings; Plain "" of an empty one.

    Raises YamlError.
    """
    try:
        node = yaml.compose(text, Loader=_Composer)
        return Plain() if node is None else _Reading().value(node)
    except yaml.YAMLError as error:
        raise YamlError(_problem(error)) from None
    except (ValueError, OverflowError):  # PyYAML's own, of "\UFFFFFFFF" and of a version with 5,000 digits
        raise YamlError("is not YAML that can be read: a number in it is out of range") from None


def written(values: object) -> str:
    """Values as YAML that `read` gives back; what is not printable stands escaped."""
    text: str = yaml.dump(values, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=float("inf"))
    return "\n".join(map(printable, text.split("\n")))


def typed(value: Plain, kinds: Collection[type]) -> object:
    """The text as the first of these that it is: null, a truth, an integer, a number; else as it was written."""
    if type(None) in kinds and value in _NULLS:
        return None
    if bool in kinds and value.lower() in _TRUTHS:
        return _TRUTHS[value.lower()]
    number = _number(value) if int in kinds or float in kinds else None
    if isinstance(number, int) or (number is not None and float in kinds):
        return number
    return value


def is_null(value: object) -> bool:
    """Whether it is null or nothing, as it was written."""
    return isinstance(value, Plain) and value in _NULLS


def _number(text: str) -> int | float | None:
    """None for what is none, and for what readers of YAML read as different ones: 010 and 12:30."""
    if len(text) > _LONGEST_NUMBER:
        return None
    try:
        if _INTEGER.fullmatch(text):
            return int(text, 0)
        if text in _NO_NUMBERS:
            return float(text.replace(".", ""))
        return float(text.replace("_", "")) if _NUMBER.fullmatch(text) else None
    except ValueError:
        return None


class _Composer(yaml.BaseLoader):
    """Nodes, of which each is text by itself; depth is bounded before Python's own stack is."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self._depth > DEEPEST:
            events: Any = self
            _refuse(f"is nested more than {DEEPEST} deep", events.peek_event())
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Reading:
    """One document's nodes as values."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def value(self, node: yaml.Node, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0:
            _refuse(f"holds more than {MOST_VALUES} values, aliases counted as what they stand for", node)
        if depth > DEEPEST:  # an alias may stand for what is around it
            _refuse(f"is nested more than {DEEPEST} deep", node)
        if node.tag not in _TAGS:
            _refuse("tags are not read", node)
        if isinstance(node, yaml.ScalarNode):
            return _text(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(inner, depth + 1) for inner in node.value]
        return self._mapping(node, depth)

    def _mapping(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, inner in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in _TAGS:
                _refuse("a name must be text", key)
            name = str(_text(key))
            if name in own:
                _refuse("a name is given twice", key)
            if key.style is None and name == "<<":
                merged = {**self._merged(inner, depth + 1), **merged}
            else:
                own[name] = self.value(inner, depth + 1)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        """What `<<` brings in: a mapping, or several, of which the first stands."""
        merged: dict[str, Any] = {}
        for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(one, yaml.MappingNode):
                _refuse("what is merged must be `name: value` lines", one)
            merged = {**self.value(one, depth), **merged}
        return merged


def _text(node: yaml.ScalarNode) -> str:
    if node.style is None:
        return Plain(node.value)
    if node.style == '"':  # JSON writes what is beyond U+FFFF as a pair of surrogates
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return str(node.value)


class _Writer(yaml.SafeDumper):
    """Text that could be taken for something else in quotes, Plain text as it was written, no aliases."""

    def ignore_aliases(self, _: object) -> bool:
        return True


def _write_text(writer: Any, text: str) -> Any:
    style = "'" if type(typed(Plain(text), _KINDS)) is not Plain else None
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style if text.isprintable() else '"')


def _write_plain(writer: Any, text: Plain) -> Any:
    if not text.isprintable():
        return _write_text(writer, text)
    return writer.represent_scalar(writer.resolve(yaml.ScalarNode, text, (True, False)), str(text))


_Writer.add_representer(str, _write_text)
_Writer.add_representer(Plain, _write_plain)


def _refuse(problem: str, at: Any) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


def _problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"is not YAML that can be read: character {error.position + 1} is not printable"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "is not YAML"
    problem = re.split(r"['\"]", error.problem or "")[0].strip()
    mark = error.problem_mark
    return f"is not YAML that can be read: {problem}, line {mark.line + 1}, column {mark.column + 1}"
