"""The tables of docs/ that come from code: `python -m tests.tables` writes them into their pages.

Law: a table stands between `<!-- table: NAME -->` and `<!-- end -->`, and holds exactly what its source says.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.expectation import many_table, one_draw_table
from tests.records_table import fields_tables, fingerprints_table
from tests.rights_table import table as rights_table
from tests.settings_table import table as settings_table

DOCS = Path(__file__).parents[1] / "docs"
SOURCES: Mapping[str, Callable[[], Iterator[str]]] = {
    "settings": settings_table,
    "rights": rights_table,
    "fingerprints": fingerprints_table,
    "fields": fields_tables,
    "one draw": one_draw_table,
    "many decisions": many_table,
}
_TABLE = re.compile(r"<!-- table: (?P<name>[a-z ]+) -->\n.*?<!-- end -->", re.DOTALL)


def names(page: Path) -> list[str]:
    return [found["name"] for found in _TABLE.finditer(page.read_text(encoding="utf-8"))]


def rewritten(text: str) -> str:
    """The page's text with every table as its source says. Raises KeyError for a table that has no source."""

    def table(found: re.Match[str]) -> str:
        rows = "\n".join(SOURCES[found["name"]]()).strip()
        return f"<!-- table: {found['name']} -->\n\n{rows}\n\n<!-- end -->"

    return _TABLE.sub(table, text)


def main() -> None:
    for page in sorted(DOCS.rglob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"wrote {page.relative_to(DOCS.parent)}\n")


if __name__ == "__main__":
    main()
