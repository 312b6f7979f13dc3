"""The documents as text: README.md, docs/ and deploy/README.md, their blocks and their tables."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
ALL = (README, ROOT / "deploy" / "README.md", *PAGES)


def page(name: str) -> str:
    """A page of docs/ by its path there: "operating/settings.md"."""
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def section(text: str, title: str) -> str:
    """The text under a heading of the second level, up to the next."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section {title!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table, headings and rules too, each without the backticks around it."""
    return [
        [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        for row in text.splitlines()
        if row.startswith("|")
    ]


def links(text: str) -> list[str]:
    """Where the links and pictures of a page lead, but for those to the web."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(text)) if not re.match(r"https?:", link)]
