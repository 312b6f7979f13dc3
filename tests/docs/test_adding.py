"""'How to add' names only files that there are, and all that its example touched."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, page, rows

PAGES = sorted((DOCS / "adding").glob("*.md"))
TAKE_WHAT_COMES = ("processor/armstream/runtime/", "processor/armstream/operating/")  # they know no single action


def listed_in(text: str) -> list[str]:
    """The files and folders that the table's rows begin with."""
    return [cells[0] for cells in rows(text) if re.fullmatch(r"[\w./-]+[/.][\w./-]*", cells[0])]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_file_of_the_list_is_there(path: Path) -> None:
    listed = listed_in(path.read_text(encoding="utf-8"))
    assert len(listed) > 8
    assert [file for file in listed if not (ROOT / file).exists()] == []


def files_with(word: str) -> set[str]:
    """Files of schemas/ and of the package, but for verify's, that hold the word."""
    kept = [*(ROOT / "schemas").glob("*.avsc"), *(ROOT / "processor" / "armstream").rglob("*.py")]
    pattern = re.compile(rf"\b{word}\b")
    return {
        path.relative_to(ROOT).as_posix()
        for path in kept
        if pattern.search(path.read_text(encoding="utf-8")) and not {"verify", "oracle"} & set(path.parts)
    }


@pytest.mark.parametrize(("name", "word"), [("command", "SET_BOUND"), ("field", "added_versions?")])
def test_every_file_that_the_example_stands_in_is_in_the_list(name: str, word: str) -> None:
    """Or the folder that the file is in: who follows the list forgets none of them."""
    listed = listed_in(page(f"adding/{name}.md"))
    found = files_with(word)
    assert len(found) > 4
    assert {file for file in found if not file.startswith((*listed, *TAKE_WHAT_COMES))} == set()
