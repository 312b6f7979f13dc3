"""An expert by its import path is the callable that the path names, or a clear error."""

from pathlib import Path

import pytest

from armstream.learning import Exp4Bandit
from armstream.standalone.imported_expert import imported


def test_an_expert_is_what_its_path_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "desk_experts.py").write_text(
        "def calm_first(context):\n    return [1.0, 0.0] if context['volatility'] < .2 else [0.0, 1.0]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    bandit = Exp4Bandit(2, {"regime": imported("desk_experts:calm_first")}, gamma=0.0)
    assert list(bandit.play_distribution({"volatility": 0.1})) == [1.0, 0.0]
    assert list(bandit.play_distribution({"volatility": 0.3})) == [0.0, 1.0]


def test_a_module_that_cannot_be_imported_names_no_expert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_experts.py").write_text("from json import no_such_thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="no expert at 'broken_experts:any': cannot import name 'no_such_thing'"):
        imported("broken_experts:any")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("json", "must be 'package.module:name'"),
        ("json:", "must be 'package.module:name'"),
        (":dumps", "must be 'package.module:name'"),
        ("", "must be 'package.module:name'"),
        ("no_such_desk:expert", "no expert at 'no_such_desk:expert'"),
        ("json:no_such_expert", "no expert at 'json:no_such_expert'"),
        ("math:pi", "not callable"),
    ],
)
def test_a_path_that_names_no_expert_is_refused(path: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        imported(path)
