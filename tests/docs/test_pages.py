"""The pages hold together: each is reached, says what it is for, and names only what there is."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import ALL, DOCS, PAGES, ROOT, links, page, prose

MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(path: Path) -> set[str]:
    """As forges and MyST make them of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", ALL, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in links(text):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", ALL, ids=name)
def test_a_page_names_only_modules_and_targets_that_there_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [module for module in re.findall(r"python -m ([\w.]+)", text) if find_spec(module) is None] == []
    commands = re.findall(r"(?:^|`|=\S+ )make ([a-z-]+(?: [a-z-]+)*)", text, re.MULTILINE)
    assert {target for command in commands for target in command.split()} - MAKE_TARGETS == set()


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_says_first_what_it_is_for(path: Path) -> None:
    title, _, rest = path.read_text(encoding="utf-8").partition("\n")
    assert title.startswith("# ")
    first = rest.strip().split("\n\n")[0]
    assert re.match(r"This page |Armstream learns", first), first


def test_every_page_is_in_the_index_and_in_its_tree() -> None:
    text = page("index.md")
    names = {path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES} - {"index"}
    assert {link.removesuffix(".md") for link in links(text)} == names
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    listed = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    assert sorted(listed) == sorted(names)


def test_no_line_is_too_long_but_those_that_cannot_be_broken() -> None:
    for path in ALL:
        for line in prose(path.read_text(encoding="utf-8")).splitlines():
            assert len(line) <= 120 or line.startswith(("|", "![")), f"{name(path)}: {line}"
