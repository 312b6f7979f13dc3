"""What the pages show is right: settings files are valid, and the library's code gives the numbers beside it."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from armstream.learning import Exp3IXBandit, RewardTracker, blend
from armstream.settings import load
from tests.docs.pages import blocks, page


def test_the_rules_for_single_bandits_are_valid(tmp_path: Path) -> None:
    (text,) = blocks(page("operating/settings.md"), "yaml")
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    rules = load(file, {}).bandit_registry()
    ours = rules.of("eu-equities")
    assert ours is not None
    assert (ours.gamma, ours.reward_bound_bps, rules.of("us-equities")) == (0.02, 60, None)
    assert rules.of("jp-equities") == rules.template


def test_the_experts_are_valid(tmp_path: Path) -> None:
    (text,) = blocks(page("rules/exp4.md"), "yaml")
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    experts = load(file, {}).online_learning.experts
    assert tuple(experts) == ("base", "bandit", "best", "uniform", "regime")


def test_the_settings_file_of_a_real_cluster_is_valid(tmp_path: Path) -> None:
    text, _ = blocks(page("operating/deploy.md"), "yaml")
    secret, file = tmp_path / "secret", tmp_path / "mine.yaml"
    secret.write_text("hunter2\n")
    file.write_text(text.replace("/run/secrets/kafka-password", str(secret)))
    settings = load(file, {})
    assert settings.kafka.connection()["sasl.password"] == "hunter2"
    assert settings.topics.replication_factor == 3


def test_the_variable_that_is_named_for_a_secret_sets_it() -> None:
    variables = re.findall(r"`(ARMSTREAM__KAFKA__CLIENT__SASL_PASSWORD)`", page("operating/settings.md"))
    assert load(None, {variables[0]: "hunter2"}).kafka.connection()["sasl.password"] == "hunter2"


def test_the_learner_and_the_reward_law_are_used_without_kafka_as_it_says() -> None:
    (library,) = blocks(page("engines/standalone.md"), "python")
    names: dict[str, object] = {}
    exec(library, names)
    assert names["reward_bps"] == pytest.approx((50.0 - 0.70) / 15_000 * 10_000, rel=1e-12)
    bandit, weights = names["bandit"], names["weights"]
    assert isinstance(bandit, Exp3IXBandit)
    # loss (100 - 32.8667) / 200, eta_1 / 2 = sqrt(ln 3 / 3) / 2, read with eta_2 = sqrt(ln 3 / 6); by hand
    assert weights == pytest.approx({"lightgbm": 0.289547, "ridge": 0.355227, "lstm": 0.355227}, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("Exp3IXBandit", Exp3IXBandit),
        ("record_trade", RewardTracker.record_trade),
        ("close_trade", RewardTracker.close_trade),
        ("blend", blend),
    ],
)
def test_a_signature_that_is_written_out_is_that_of_the_code(name: str, called: Callable[..., object]) -> None:
    (written,) = re.findall(rf"\b{name}(\([a-z_]+, [^)]*\))", page("engines/standalone.md"))
    names: dict[str, Callable[..., object]] = {}
    exec(f"def written{written}: ...", names)
    said, there = (
        {
            parameter.name: (parameter.default, parameter.kind)
            for parameter in inspect.signature(each).parameters.values()
        }
        for each in (names["written"], called)
    )
    there.pop("self", None)
    assert said == there
