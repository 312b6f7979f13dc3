"""Odd files, variables and arguments: every command ends with a code and printable lines, never with a traceback.

`python -m tests.settings_fuzz 30000` tries more.
"""

import pytest

from tests.settings_fuzz import CHECKS, outcome, run


@pytest.mark.parametrize("name", CHECKS)
def test_a_command_ends_in_order_whatever_it_is_given(name: str) -> None:
    run(name, examples=100, number=1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "--skip", f"trades:0:{'9' * 5_000}"], 2, "invalid TOPIC:PARTITION:OFFSET value"),
        (["run", "--skip", "trades:0:٣"], 2, "invalid TOPIC:PARTITION:OFFSET value"),
        (["run", "--skip", "trades:0:-0"], 2, "invalid TOPIC:PARTITION:OFFSET value"),
        (["run", "--skip", "trades: 0:1"], 2, "invalid TOPIC:PARTITION:OFFSET value"),
        (["run", "--skip", "trades:0:1_0"], 2, "invalid TOPIC:PARTITION:OFFSET value"),
        (["run", "--skip", "trades:+0:1"], 2, "invalid TOPIC:PARTITION:OFFSET value"),
        (["run", "--instance", "\udcff"], 2, "argument --instance: is no UTF-8"),
        (["run", "--instance", "a b"], 1, "instance: must match pattern"),
        (["arms", "add", "book", "lstm", "--weight", "nan"], 1, "the initial weight must be from 0"),
        (["arms", "add", "book", "lstm", "--weight", "1e400"], 1, "the initial weight must be from 0"),
        (["arms", "add", "book", ""], 1, "ADD_ARM needs arm"),
        (["arms", "add", "book", "\udcff"], 2, "argument arm: is no UTF-8"),
        (["arms", "set-bound", "book", "-1"], 1, "bound"),
        (["arms", "set-bound", "book", "many"], 2, "invalid float value"),
        (["arms", "pause", "é" * 101], 1, "bandit_id must be 1 to 200 bytes of UTF-8, got 202"),
        (["arms", "pause", "book", "--id", ""], 1, "command_id must be 1 to 200 bytes"),
        (["arms", "pause", "book", "--reason", "\udcff"], 2, "argument --reason: is no UTF-8"),
        *[
            (["arms", "pause", "book", "--wait", wait], 2, "argument --wait")
            for wait in ("nan", "inf", "-1", "1e400", "")
        ],
        (["check-config", "\x1b[31m\n\u202e"], 2, "unrecognized arguments: \\x1b[31m\\n\\u202e"),
        (["\x1b[31m"], 2, "invalid choice: '\\x1b[31m'"),
        (["check-config", "x" * 100_000], 2, "unrecognized arguments: xxx"),
        (["check-config", "--config", "/"], 1, "/: cannot be read: it is a directory"),
        (["check-config", "--config", ""], 1, ".: cannot be read: it is a directory"),
        (["check-config", "--config", "\udcff\x1b"], 1, "\\udcff\\x1b: cannot be read: No such file or directory"),
        (["check-config", "--config", "a\0b"], 1, "a\\x00b: cannot be read: no file can have this name"),
    ],
)
def test_what_an_argument_cannot_be_is_said(arguments: list[str], code: int, said: str) -> None:
    found = outcome(arguments, {})
    assert (found[0], found[1]) == (code, "")
    assert said in found[2]


@pytest.mark.parametrize("arguments", [["arms", "pause", "book"], ["arms", "list"]])
def test_what_records_say_is_shown_escaped(arguments: list[str]) -> None:
    assert outcome(arguments, {}) == (0, {"pause": "obeyed \\x1b[31m\n", "list": "a\\nb\n"}[arguments[1]], "")
