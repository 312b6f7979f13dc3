"""The page of what happens when shows each row by a test that there is, and quotes what is said somewhere."""

import ast
import re
from functools import cache
from typing import get_args

from armstream.events import ErrorClass
from tests.docs.pages import ROOT, page, rows
from tests.docs.test_tables import SOURCE

TEXT = page("concepts/what-happens-when.md")
HEADINGS = ["what comes", "what happens", "the record says", "do", "shown by"]
ROWS = [cells for cells in rows(TEXT) if cells != HEADINGS and set(cells) != {"---"}]


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_each_row_names_tests_that_there_are() -> None:
    assert len(ROWS) > 40
    for what, *_, shown in ROWS:
        named = re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", shown)
        assert named, what
        assert [name for path, name in named if name not in names_in(path)] == []
        assert re.sub(r"tests/[\w/]+\.py::test_\w+|[` ]", "", shown) == "", what


def test_each_class_of_dead_letters_that_a_row_names_is_one() -> None:
    named = set(re.findall(r"\b[A-Z]+_[A-Z]+\b|\bLATE\b|\bLIMIT\b", " ".join(cells[2] for cells in ROWS)))
    assert {"ID_REUSED", "ORPHAN_CLOSE", "LATE", "LIMIT"} <= named <= set(get_args(ErrorClass))


def test_each_text_that_a_record_is_said_to_hold_is_said_somewhere() -> None:
    source = re.sub(r"\"\n\s*f?\"", "", SOURCE)  # a text that goes on in the next line
    records = [re.split(r"(?<!\\)\|", line)[3] for line in TEXT.splitlines() if line.startswith("| ")]
    quoted = [quote for record in records for quote in re.findall(r"`([^`]+)`", record)]
    assert len(quoted) > 20
    assert [quote for quote in quoted if quote.removeprefix("armstream_").removesuffix("_total") not in source] == []
