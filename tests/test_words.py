"""One word means one thing. Law: a word that docs/concepts/glossary.md gives away is kept out, but where it is listed.

A book is a trading book to a desk and an order book to an engine: a learner is a bandit. Full information means in the
literature that every arm's own outcome was seen. A horizon is a holding time. A rule is named by what it does.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.docs.pages import ALL, ROOT

BOOK = r"(?<![a-z])books?(?![a-z])"
FULL_INFORMATION = r"full[_ ]information"
DOCUMENTED = r"\bdocumented (?:rule|one|engine|loop|file|key|name|learning)"
HORIZON = r"horizon: (?:Annotated\[)?(?:int|\d|Offsets)|\.horizon\b|\bK horizon|(?:by the|to its|verify's) horizon"

# Where a word may stand: it names what older files said.
IN_DOCUMENTS: Mapping[str, frozenset[str]] = {
    BOOK: frozenset({"docs/concepts/glossary.md"}),
    FULL_INFORMATION: frozenset({"docs/concepts/glossary.md", "docs/rules/attribution.md"}),
    DOCUMENTED: frozenset(),
    HORIZON: frozenset(),
}
IN_CODE: Mapping[str, tuple[str, ...]] = {  # what begins with one of these
    BOOK: (),
    FULL_INFORMATION: ("processor/armstream/learning/old_names.py", "processor/armstream/oracle/settings.py"),
    DOCUMENTED: (),
    HORIZON: (),
}
KINDS = ("*.py", "*.yaml", "*.yml", "*.avsc")
FOLDERS = ("processor", "schemas", "config", "deploy")
CODE = sorted(path for folder in FOLDERS for kind in KINDS for path in (ROOT / folder).rglob(kind))


def found(word: str, paths: list[Path]) -> Iterator[str]:
    """Each line with the word, as file:line."""
    pattern = re.compile(word, re.IGNORECASE)
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                yield f"{path.relative_to(ROOT).as_posix()}:{number}"


@pytest.mark.parametrize("word", IN_DOCUMENTS)
def test_a_document_does_not_say(word: str) -> None:
    assert [at for at in found(word, list(ALL)) if at.rpartition(":")[0] not in IN_DOCUMENTS[word]] == []


@pytest.mark.parametrize("word", IN_CODE)
def test_code_schemas_and_settings_do_not_say(word: str) -> None:
    assert [at for at in found(word, CODE) if not at.startswith(IN_CODE[word])] == []


@pytest.mark.parametrize(
    ("word", "says", "does_not_say"),
    [
        (BOOK, ["a book a stock", "touched_books", "class Book:"], ["the textbook's Exp3", "notebooks", "bookish"]),
        (FULL_INFORMATION, ["attribution: full_information", "Full information"], ["full of information"]),
        (DOCUMENTED, ["the documented rule"], ["config/documented.yaml", "documented_series(page)"]),
        (HORIZON, ["horizon: 20000", "rules.horizon", "horizon: Offsets"], ["family:horizon", "horizon: str"]),
    ],
)
def test_a_word_is_found_where_it_is_said_and_not_within_another(
    word: str, says: list[str], does_not_say: list[str]
) -> None:
    assert all(re.search(word, text, re.IGNORECASE) for text in says)
    assert not any(re.search(word, text, re.IGNORECASE) for text in does_not_say)
