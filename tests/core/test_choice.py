"""Which of the two runs: what was asked for by name is there, or says why not."""

import pytest

from armstream.core import CoreMissing, choice, is_native, which_runs


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
