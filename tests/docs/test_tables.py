"""The tables of docs/ say what is there: settings, limits, metrics, topics, commands, records and errors."""

import argparse
import re
from pathlib import Path
from typing import get_args

import pytest

import armstream
from armstream import cli
from armstream.events import ErrorClass
from armstream.runtime.metrics import Metrics
from armstream.runtime.topic_needs import NEEDS, expected
from armstream.settings import Settings
from tests import tables
from tests.docs.pages import DOCS, PAGES, page, rows, section

SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in Path(armstream.__file__).parent.rglob("*.py"))


def commands_of(parser: argparse.ArgumentParser, name: str) -> list[str]:
    """The command lines that do something: `armstream topics create`, not `armstream topics`."""
    children = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not children:
        return [name]
    return [
        line
        for action in children
        for at, child in action.choices.items()
        for line in commands_of(child, f"{name} {at}")
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_a_table_that_comes_from_code_is_as_its_source_says(path: Path) -> None:
    """Where it is red, `python -m tests.tables` writes it."""
    text = path.read_text(encoding="utf-8")
    assert text == tables.rewritten(text)


def test_every_source_of_a_table_has_its_page() -> None:
    assert sorted(name for path in PAGES for name in tables.names(path)) == sorted(tables.SOURCES)


def test_every_limit_has_its_default_in_the_table_of_limits() -> None:
    settings = Settings()
    defaults = [cells[1] for cells in rows(page("reference/limits.md"))]
    for name in set(type(settings.limits).model_fields) - {"restore_slice_records"}:  # a pace, nothing is past it
        assert f"{getattr(settings.limits, name):,}" in defaults, name
    rewards = settings.rewards
    assert rewards.dedupe_window_seconds == 86_400
    assert "1 day" in defaults
    assert rewards.orphan_ttl_seconds == 3_600
    assert "1 hour" in defaults
    assert f"{rewards.max_holding_days} days" in defaults
    assert f"{rewards.max_future_seconds} s" in defaults


def test_the_table_of_metrics_names_every_metric_with_its_type_and_labels() -> None:
    suffixes = {"counter": "_total", "info": "_info"}
    families = {family.name + suffixes.get(family.type, ""): family.type for family in Metrics(Settings()).collect()}
    documented = {cells[0]: cells for cells in rows(page("operating/metrics.md")) if cells[0].startswith("armstream_")}
    assert {name: kind for name, (_, kind, *_) in documented.items()} == families
    labels = {name: set(re.findall(r"(\w+)(?: \([^)]*\))?", cells[2])) for name, cells in documented.items()}
    for family in Metrics(Settings()).collect():
        for sample in family.samples:
            assert set(sample.labels) - {"le"} <= labels[family.name + suffixes.get(family.type, "")], sample


def test_the_table_of_topics_is_what_topics_create_makes() -> None:
    documented = {cells[0]: cells[1] for cells in rows(page("operating/topics.md").partition("## Retention")[0])[2:]}
    assert documented == {topic.name: topic.config["cleanup.policy"] for topic in expected(Settings())}


def test_every_setting_that_is_judged_has_its_row() -> None:
    """retention.ms is judged by itself: how long the inputs are kept goes by how long the audit log is."""
    table = rows(section(page("operating/topics.md"), "What can delete records"))
    assert {cells[0] for cells in table[2:]} == {"retention.ms", *NEEDS}


def test_the_table_of_commands_is_that_of_the_command_line() -> None:
    named = [cells[0] for cells in rows(page("reference/commands.md")) if cells[0].startswith("armstream ")]
    assert named == commands_of(cli._parser(with_demo=True), "armstream")


def test_every_option_that_is_mentioned_exists() -> None:
    known: set[str] = set()
    waiting = [cli._parser(with_demo=True)]
    while waiting:
        for action in waiting.pop()._actions:
            known.update(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()
    mentioned = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", page("reference/commands.md") + page("operating/arms.md")))
    assert {"--config", "--weight", "--reason"} <= mentioned <= known


def test_every_class_of_dead_letters_has_its_row() -> None:
    table = rows(section(page("reference/errors.md"), "Dead letters"))
    assert [cells[0] for cells in table[2:]] == [name for name in get_args(ErrorClass) if name != "UNKNOWN"]


@pytest.mark.parametrize("title", ["Rewards that were not applied", "Lines with which a processor stops"])
def test_every_line_that_is_quoted_is_said_somewhere(title: str) -> None:
    """Its parts between the dots are in the source; a line that nobody says any more helps nobody."""
    source = re.sub(r"\"\n\s*f?\"", "", SOURCE)  # a text that goes on in the next line
    text = section(page("reference/errors.md"), title)
    quoted = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    parts = [
        part.strip("' ")
        for line in quoted
        for quote in re.findall(r"`([^`]+)`", line)
        for part in re.split(r"\.\.\.|1e\+12", quote)
        if len(part.strip("' ")) > 4
    ]
    assert len(parts) > 5
    assert [part for part in parts if part not in source] == []
