"""Odd YAML, variables and arguments for the commands, and the law that each outcome keeps.

Law: a command ends with 0, 1 or 2 and lines of printable text, never with an exception. The tests try some hundred of
each; `python -m tests.settings_fuzz 30000` tries so many, and `... 30000 7 files` those of one kind by another seed.
"""

import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from armstream import cli, yaml_text
from armstream.operating.command import Answer
from armstream.resources import resource
from armstream.settings import rows

PATHS = [row.path for row in rows()]
ODD = [
    *("007", "1e-3", "12:30:45", "yes", "no", "~", "null", "", "2024-01-01", "2024-01-01T25:61:61Z", "0x10", "1_000"),
    *("0o17", "0b1", ".nan", "-.inf", "1e400", "-0", "-1", "9" * 5_000, "0x" + "f" * 5_000, "1" * 40, "true", "<<"),
    *("*a", "&a [*a]", "&a {b: *a}", "{<<: 1}", "{<<: *a}", "!!binary x", "!!python/object:os.system x", "!!int x"),
    *("[", "{", "- ", "? ", ": ", "|", ">", "'", '"', "@", "`", "%", "---", "...", "\t", "# x", "!", "\r\n", "\x85"),
    *('"\\ud800"', '"\\0"', '"\\x1b[31m"', '"\\U00110000"', '"\\u202e"', "\ufeff", "\u2028", "é", "😀", "=", "//u:p@h"),
    *("[" * 400, "{a: " * 400, "- " * 400, "&a " * 9, "x" * 3_000, "a b", "a:b", "exp3ix", "exp4", "auto", "{}", "[]"),
    *("%YAML 1." + "9" * 5_000 + "\n---\n", "1:1:1:1:1.5", "0.1.2", "{a: {b: {c: {}}}}", "[[a]]", "{[a]: b}", "{: x}"),
]
TEXT = st.one_of(st.sampled_from(ODD), st.text(max_size=12), st.text(st.characters(codec=None), max_size=5))
SCALAR = st.one_of(TEXT, st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.datetimes(), st.binary())
TREE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(TEXT, st.integers(), st.none()), inner, max_size=3)
    ),
    max_leaves=6,
)
SHIPPED = resource("config", "default.yaml").read_text()


def _nested(path: str, value: object) -> object:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def _dumped(tree: object) -> str:
    try:
        text: str = yaml.dump(tree, allow_unicode=True)
    except (yaml.YAMLError, UnicodeError):
        return repr(tree)
    return text


def _laid(lines: list[tuple[str, str]]) -> str:
    """Sections whose settings have texts behind them that were not written for YAML."""
    return "\n".join(f"{path.split('.')[0]}:\n  {path.partition('.')[2]}: {text}" for path, text in lines)


def _replaced(at: float, end: float, text: str) -> str:
    """The shipped file with a part of it replaced."""
    first, last = sorted((int(at * len(SHIPPED)), int(end * len(SHIPPED))))
    return SHIPPED[:first] + text + SHIPPED[min(last, first + 40) :]


PATH = st.sampled_from([*PATHS, "kafka.client.sasl.password", "bandits.overrides.eu.gamma", "bandits.overrides.eu"])
PART = st.floats(0, 1)
YAML = st.one_of(
    st.builds(_laid, st.lists(st.tuples(PATH, TEXT), max_size=4)),
    st.builds(_replaced, PART, PART, TEXT),
    st.builds(lambda path, tree: _dumped(_nested(path, tree)), PATH, TREE),
    st.builds(_dumped, TREE),
    st.lists(TEXT, max_size=8).map(" ".join),
    st.lists(TEXT, max_size=8).map("\n".join),
).map(lambda text: text.encode("utf-8", "surrogatepass"))
BYTES = st.one_of(
    YAML,
    st.binary(max_size=40),
    YAML.map(lambda content: content.decode("utf-8", "replace").encode("utf-16")),
    YAML.map(lambda content: b"\xef\xbb\xbf" + content),
)
VARIABLE_NAME = st.one_of(
    PATH.map(lambda path: "ARMSTREAM__" + path.upper().replace(".", "__")),
    st.lists(TEXT, max_size=4).map(lambda names: "ARMSTREAM__" + "__".join(names)),
)


def _for_a_shell(text: str) -> str:
    """The text as a shell can give it: any bytes but NUL, of which those that are no UTF-8 are surrogates."""
    return os.fsdecode(text.encode("utf-8", "surrogatepass").replace(b"\0", b""))


SHELL_TEXT = st.one_of(
    TEXT.map(_for_a_shell), st.binary(max_size=9).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))
)
ENVIRONMENT = st.dictionaries(
    VARIABLE_NAME.map(lambda name: _for_a_shell(name).replace("=", "_")), SHELL_TEXT, min_size=1, max_size=3
)
NUMBER = st.sampled_from(["nan", "inf", "-1", "1e400", "", "-0", "0", "60", "1e-400", "٣", " 5", "9" * 5_000, "1_0"])
RECORD = st.tuples(SHELL_TEXT | st.just("trades"), NUMBER, NUMBER).map(":".join)
OPTION = st.one_of(
    st.tuples(st.sampled_from(["--weight", "--wait"]), NUMBER),
    st.tuples(st.just("--skip"), st.one_of(RECORD, SHELL_TEXT)),
    st.tuples(
        st.sampled_from(["--config", "--state"]), st.sampled_from(["", "/", "/dev/null", "/dev/zero", "x" * 300])
    ),
    st.tuples(
        st.sampled_from(["--config", "--state", "--instance", "--reason", "--id", "--seed", "--rate", "--for"]),
        SHELL_TEXT,
    ),
    st.tuples(st.sampled_from(["--json", "--help", "--version", "--", "--skip=", "--wait="])),
    st.tuples(SHELL_TEXT),
    st.tuples(NUMBER),
)
COMMAND = st.sampled_from(
    [
        *(["check-config"], ["run"], ["verify"], ["topics", "check"], ["topics", "create"], ["arms", "list"], ["arms"]),
        *(["arms", name, "book"] for name in ("add", "remove", "reset", "set-bound", "pause", "resume")),
        *(["experts", name, "book"] for name in ("add", "remove")),
        *(["arms", "add", "book", "lstm"], ["arms", "set-bound", "book", "60"], []),
    ]
)
ARGUMENTS = st.builds(
    lambda command, options: [*command, *(part for option in options for part in option)],
    COMMAND,
    st.lists(OPTION, max_size=3),
)


@cache
def _shipped() -> Any:
    return yaml_text.read(SHIPPED)


def _read(text: str) -> Any:
    return _shipped() if text == SHIPPED else yaml_text.read(text)


_parser = cache(cli._parser)


@contextlib.contextmanager
def _no_kafka() -> Iterator[None]:
    """What would ask a broker is not called: all that is asked here comes before it."""
    with (
        patch("armstream.layers.read", _read),
        patch("armstream.cli._parser", _parser),
        contextlib.ExitStack() as stack,
    ):
        for name, result in (
            ("armstream.operating.command.send", Answer(True, "obeyed \x1b[31m")),
            ("armstream.operating.bandits.listed", ["a\nb"]),
            ("armstream.runtime.topics.check", []),
            ("armstream.runtime.topics.create", []),
            ("armstream.runtime.run.run", 0),
            ("armstream.verify.run.run", 0),
        ):
            stack.enter_context(patch(name, return_value=result))
        yield


def outcome(arguments: Sequence[str], environment: dict[str, str]) -> tuple[int, str, str]:
    """The exit code of a command, and what it wrote to standard output and standard error.

    Raises AssertionError where it keeps not the law, and lets every exception but SystemExit out.
    """
    out, err = io.StringIO(), io.StringIO()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARMSTREAM__")}
    with (
        _no_kafka(),
        patch.dict(os.environ, kept | environment, clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code: object = cli.main(list(arguments))
        except SystemExit as exit_:
            code = exit_.code
    shown = out.getvalue() + err.getvalue()
    assert code in (0, 1, 2), code
    assert "Traceback" not in shown
    assert all(line.isprintable() for line in shown.split("\n")), shown
    assert code == 0 or max(map(len, err.getvalue().split("\n"))) < 2_000, "an error is no page"
    assert isinstance(code, int)
    return code, out.getvalue(), err.getvalue()


def check_file(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        code, out, _ = outcome(["check-config", "--config", file.name], {})
        if code == 0:
            Path(file.name).write_text(out)
            again = outcome(["check-config", "--config", file.name], {})
            assert again == (0, out, ""), "what check-config prints reads back as the same settings"


def check_environment(environment: dict[str, str]) -> None:
    outcome(["check-config"], environment)


def check_arguments(arguments: list[str]) -> None:
    outcome(arguments, {})


CHECKS: dict[str, tuple[Callable[[Any], None], st.SearchStrategy[Any]]] = {
    "files": (check_file, BYTES),
    "variables": (check_environment, ENVIRONMENT),
    "arguments": (check_arguments, ARGUMENTS),
}


def run(name: str, examples: int, number: int) -> None:
    """So many examples of one kind, the same ones for the same number."""
    check, odd = CHECKS[name]
    tried = given(odd)(check)
    wanted = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    seed(number)(wanted(tried))()


def main() -> None:
    examples, number = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for name in sys.argv[3:] or CHECKS:
        started = time.monotonic()
        run(name, examples, number)
        sys.stdout.write(f"{examples} {name}, seed {number}: {time.monotonic() - started:.0f} s\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
