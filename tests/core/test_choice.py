"""Which of the two runs: what was asked for by name is there, or says why not."""

import pytest

from armstream.core import CoreMissing, choice, is_native, which_runs
from armstream.stages.facts import BanditRegistry
from tests.stages.events import learning_rules


def test_without_the_core_auto_runs_the_stages_and_says_what_that_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "is_built", lambda: False)
    assert not is_native("auto")
    assert "several times as fast" in which_runs("auto")
    with pytest.raises(CoreMissing, match="build it with cargo, or set core: auto"):
        is_native("native")


def test_with_the_core_auto_runs_it_and_python_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "is_built", lambda: True)
    assert is_native("auto")
    assert is_native("native")
    assert not is_native("python")
    assert which_runs("python") == "the Python stages run, as core: python says"


def test_auto_is_the_stages_where_the_core_has_the_rule_of_no_bandit() -> None:
    exp4 = learning_rules(algorithm="exp4", experts=(("trend", "exp3ix"),))
    advised, mixed = BanditRegistry(exp4), BanditRegistry(exp4, {"usual": learning_rules()})
    assert [is_native("auto", bandits) for bandits in (advised, mixed)] == [False, True]
    assert not is_native("auto", BanditRegistry(learning_rules(), {"advised": exp4}, registered_only=True))
    assert is_native("native", advised)
    assert "the rule of no bandit" in which_runs("auto", advised)
