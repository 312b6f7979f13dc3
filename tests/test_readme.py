"""The README says what is there: settings, metrics, commands, targets and files are compared, its code is run."""

import argparse
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from armstream import cli
from armstream.events import Reward, WeightVector
from armstream.learning import AdvisedBandit, Exp3IXBandit
from armstream.rules import new_learner
from armstream.runtime.metrics import Metrics
from armstream.runtime.topics import expected
from armstream.settings import Settings, load
from tests.integration.processor import Job
from tests.settings_table import table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """The text under a heading, up to the next of its kind."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section {title!r}"
    return found[1]


def first_cells(text: str) -> list[str]:
    """The first cell of every row, without its backticks; a heading row is one too."""
    return [row.split("|")[1].strip().strip("`") for row in text.splitlines() if row.startswith("|")]


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


def test_the_table_of_settings_is_that_of_the_settings() -> None:
    rows = list(table())
    assert [row for row in section("Settings").splitlines() if row.startswith("|")] == rows


def test_every_limit_has_its_default_in_the_table_of_limits() -> None:
    settings = Settings()
    defaults = [cells[2].strip() for row in section("Limits").splitlines() if len(cells := row.split("|")) > 3]
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
    rows = [row.split("|")[1:4] for row in section("Metrics").splitlines() if row.startswith("| `")]
    assert {name.strip(" `"): kind.strip() for name, kind, _ in rows} == families
    labels = {name.strip(" `"): set(re.findall(r"(\w+)(?: \([^)]*\))?", text)) for name, _, text in rows}
    for family in Metrics(Settings()).collect():
        for sample in family.samples:
            documented = labels[family.name + suffixes.get(family.type, "")]
            assert set(sample.labels) - {"le"} <= documented, sample


def test_the_table_of_topics_is_what_topics_create_makes() -> None:
    rows = [row.split("|") for row in section("Topics and records").splitlines() if row.startswith("| `")]
    documented = {cells[1].strip(" `"): cells[2].strip() for cells in rows}
    assert documented == {topic.name: topic.config["cleanup.policy"] for topic in expected(Settings())}


def test_the_table_of_commands_is_that_of_the_command_line() -> None:
    parser = cli._parser(with_demo=True)
    assert first_cells(section("Commands"))[2:] == commands_of(parser, "armstream")


def test_every_option_that_is_mentioned_exists() -> None:
    parser = cli._parser(with_demo=True)
    known: set[str] = set()
    waiting = [parser]
    while waiting:
        for action in waiting.pop()._actions:
            known.update(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()
    mentioned = set(re.findall(r"--[a-z]+", section("Commands") + section("On a real cluster")))
    assert mentioned
    assert mentioned <= known


def test_every_make_target_that_is_mentioned_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    mentioned = set(
        re.findall(r"\bmake ([a-z-]+)", "\n".join(re.findall(r"`[^`\n]+`|^make .*$", README, re.MULTILINE)))
    )
    assert {"run", "test", "bench", "compare"} <= mentioned
    assert mentioned <= targets


def test_every_module_and_file_that_is_mentioned_exists() -> None:
    modules = re.findall(r"python -m ([\w.]+)", README)
    files = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert modules
    assert files
    assert [name for name in modules if find_spec(name) is None] == []
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_every_link_within_the_page_has_its_heading() -> None:
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def test_its_rules_for_single_bandits_are_valid(tmp_path: Path) -> None:
    _, text, _ = blocks("yaml")
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    rules = load(file, {}).bandit_registry()
    ours = rules.of("eu-equities")
    assert ours is not None
    assert (ours.gamma, ours.reward_bound_bps, rules.of("us-equities")) == (0.02, 60, None)
    assert rules.of("jp-equities") == rules.template


def test_its_experts_are_valid(tmp_path: Path) -> None:
    text, *_ = blocks("yaml")
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    learner = new_learner(load(file, {}).online_learning.for_learner())
    assert isinstance(learner, AdvisedBandit)
    assert learner.experts == ("base", "bandit", "best", "uniform", "regime")


def test_its_settings_file_is_valid(tmp_path: Path) -> None:
    *_, text = blocks("yaml")
    secret, file = tmp_path / "secret", tmp_path / "mine.yaml"
    secret.write_text("hunter2\n")
    file.write_text(text.replace("/run/secrets/kafka-password", str(secret)))
    settings = load(file, {})
    assert settings.kafka.connection()["sasl.password"] == "hunter2"
    assert settings.topics.replication_factor == 3


def test_the_variable_that_it_names_for_a_secret_sets_it() -> None:
    (variable,) = set(re.findall(r"ARMSTREAM__KAFKA__CLIENT__\w+", README))
    assert load(None, {variable: "hunter2"}).kafka.connection()["sasl.password"] == "hunter2"


def test_the_learner_and_the_reward_law_are_used_without_kafka_as_it_says() -> None:
    *_, library = blocks("python")
    names: dict[str, object] = {}
    exec(library, names)
    assert names["reward_bps"] == pytest.approx((50.0 - 0.70) / 15_000 * 10_000, rel=1e-12)
    bandit, weights = names["bandit"], names["weights"]
    assert isinstance(bandit, Exp3IXBandit)
    # loss (100 - 32.8667) / 200, eta_1 / 2 = sqrt(ln 3 / 3) / 2, read with eta_2 = sqrt(ln 3 / 6); by hand
    assert weights == pytest.approx({"lightgbm": 0.289547, "ridge": 0.355227, "lstm": 0.355227}, abs=1e-6)


@pytest.mark.kafka
def test_an_engine_that_does_as_it_says_is_rewarded(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """Its two blocks as they stand, but for the broker's address and the topics' prefix, beside a real processor."""
    _, engine, sending, _ = blocks("python")  # test_first_minute.py runs the first
    engine, sending = (
        re.sub(r'"(weights|trades)"', rf'"{topic_prefix}\1"', code.replace("localhost:9092", bootstrap_servers))
        for code in (engine, sending)
    )
    job = Job(bootstrap_servers, topic_prefix, tmp_path)
    try:
        job.create_topics()
        processor = job.start().wait_until_ready()
        names: dict[str, object] = {}

        exec(engine, names)
        assert names["vector"] is None
        exec(sending, names)
        job.wait_until_applied(processor)

        (record,) = job.audit()
        reward = record.event
        assert isinstance(reward, Reward)
        assert reward.reward_bps == pytest.approx((50.0 - 0.70) / 15_000 * 10_000, rel=1e-12)
        assert (reward.bandit_id, reward.propensity_source) == ("eu-equities", "LOGGED")
        assert [arm.propensity for arm in reward.arms] == [0.25]

        exec(engine, names)
        vector = names["vector"]
        assert isinstance(vector, WeightVector)
        assert (vector.version, vector.total_steps) == (1, 1)
    finally:
        job.close()
