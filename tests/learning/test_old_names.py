"""Names that were others once are read for good, and one line names the new one."""

import json
from pathlib import Path

import pytest

from armstream.learning import AdvisedBandit, Exp3IXBandit, Exp4Bandit, LearningSettings, TsallisBandit
from armstream.settings import load

ARMS = ("a", "b")


def test_settings_files_may_say_the_old_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "online_learning: {algorithm: exp4, experts: {x: engine}, horizon: 500}\n"
        "bandits: {overrides: {b: {horizon: 10000, attribution: full_information}}}\n"
    )
    settings = load(file, {"ARMSTREAM__ONLINE_LEARNING__ATTRIBUTION": "full_information"})
    assert settings.online_learning.expected_decisions == 500
    assert settings.online_learning.attribution == "undivided"
    assert settings.bandit_registry().overrides["b"].expected_decisions == 10_000
    assert settings.renamed == (
        f"online_learning.horizon: is called expected_decisions now ({file})",
        f"bandits.overrides.b.horizon: is called expected_decisions now ({file})",
        f"bandits.overrides.b.attribution: full_information is called undivided now ({file})",
        "online_learning.attribution: full_information is called undivided now "
        "(environment variable ARMSTREAM__ONLINE_LEARNING__ATTRIBUTION)",
    )
    assert load(None, {}).renamed == ()


def test_the_settings_in_a_snapshot_may_say_the_old_names() -> None:
    old = json.dumps({"arms": ARMS, "algorithm": "exp4", "experts": [["x", "engine"]], "horizon": 500})
    now = LearningSettings(ARMS, algorithm="exp4", experts=(("x", "engine"),), expected_decisions=500)
    assert now.learned_under(old) == now
    assert now.difference(old) == ""
    assert LearningSettings(ARMS).learned_under('{"arms": ["a", "b"], "attribution": "full_information"}') == (
        LearningSettings(ARMS, attribution="undivided")
    )


def test_constructors_and_updates_may_say_the_old_names() -> None:
    with pytest.warns(DeprecationWarning, match="^horizon is called expected_decisions now$"):
        assert Exp4Bandit(2, [[0.5, 0.5]], horizon=100).eta == Exp4Bandit(2, [[0.5, 0.5]], expected_decisions=100).eta
    with pytest.warns(DeprecationWarning, match="^horizon is called expected_decisions now$"):
        advised = AdvisedBandit(ARMS, {"x": "engine"}, horizon=100)
    assert advised.eta == AdvisedBandit(ARMS, {"x": "engine"}, expected_decisions=100).eta
    for bandit in (Exp3IXBandit(2, ARMS), TsallisBandit(2, ARMS, reward_bound_bps=100.0)):
        twin = bandit.copy()
        with pytest.warns(DeprecationWarning, match="^attribution 'full_information' is called 'undivided' now$"):
            bandit.update_many({"a": 1.0}, 10.0, "full_information")
        twin.update_many({"a": 1.0}, 10.0, "undivided")
        assert bandit.state == twin.state
