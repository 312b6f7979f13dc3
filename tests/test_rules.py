"""The table of rules: an unknown name is an error wherever it comes from, and nobody outside names a rule."""

import ast
import re
from pathlib import Path

import msgspec
import pytest

import armstream
from armstream.events import BanditSnapshot
from armstream.learning import LearningSettings
from armstream.oracle.settings import DEFAULTS
from armstream.rules import RULES, UnknownRule, clips, formula_of, new_learner, rule_named
from armstream.settings import SettingsError, load
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.state import SettingsMismatch, TaskState
from tests.stages.events import ARMS, close, fill, learning_rules
from tests.stages.task import Task

ROOT = Path(armstream.__file__).parent
WHO_NAME_RULES = {"learning", "oracle", "standalone", "rules.py", "core/rules.py"}  # whom they are about
WHO_MAY_SHOW_THEM = {"demo"}  # its configurations are each of one rule


def test_the_table_has_each_rule_under_its_own_name() -> None:
    names = {name: entry.rule.name for name, entry in RULES.items()}
    assert names == {name: name for name in ("exp3ix", "exp4", "tsallis")}


def test_an_unknown_name_is_an_error_that_lists_the_names_there_are() -> None:
    for ask in (
        rule_named,
        lambda name: new_learner(LearningSettings(ARMS, algorithm=name)),
        lambda name: formula_of({**DEFAULTS, "algorithm": name, "arms": ARMS}),
    ):
        with pytest.raises(UnknownRule, match=r"no learning rule is called 'exp5' here; the rules are exp3ix, exp4, t"):
            ask("exp5")
    snapshot = BanditSnapshot("b", 1, 1, (), "exp5", "implicit", "{}")
    with pytest.raises(UnknownRule):
        clips(snapshot)


def test_settings_with_an_unknown_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("online_learning: {algorithm: exp5}")
    with pytest.raises(SettingsError, match=r"online_learning\.algorithm: must be one of exp3ix, exp4, tsallis"):
        load(file, {})


@pytest.mark.parametrize("own", ["", ', "depth": 3'])
@pytest.mark.parametrize("policy", ["refuse", "keep", "reset"])
def test_a_snapshot_of_a_rule_that_this_version_does_not_know_is_refused_by_name(policy: str, own: str) -> None:
    """It was restored as another rule: `keep` goes by the settings in the snapshot."""
    task = Task(TaskLimits(), learning_rules())
    task.apply(fill("f1", "p1"), close("c1", "p1"))
    settings = f'{{"algorithm": "exp5", "arms": ["ridge", "mlp", "boost"]{own}}}'
    snapshot = msgspec.structs.replace(task.bandit(), algorithm="exp5", settings=settings)
    state = TaskState(TaskLimits(), BanditRegistry(learning_rules(), on_settings_change=policy))  # type: ignore[arg-type]
    with pytest.raises(SettingsMismatch, match=r"bandit 'book' cannot be restored, it learned by 'exp5'"):
        state.restore_bandit(snapshot)


def names_a_rule(text: str) -> bool:
    return re.search("|".join(RULES), text, re.IGNORECASE) is not None


def rules_named_in(source: str) -> list[str]:
    """Every identifier, import, string and docstring of a module that names a rule."""
    found = []
    for node in ast.walk(ast.parse(source)):
        texts = [getattr(node, field, None) for field in ("id", "attr", "name", "arg", "module", "value")]
        found += [text for text in texts if isinstance(text, str) and names_a_rule(text)]
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_but_the_rules_and_their_table_names_a_rule(path: Path) -> None:
    name = path.relative_to(ROOT)
    if {name.parts[0], name.as_posix()} & (WHO_NAME_RULES | WHO_MAY_SHOW_THEM):
        return
    assert rules_named_in(path.read_text(encoding="utf-8")) == []


def test_the_walk_sees_a_rule_wherever_it_is_named() -> None:
    for source in (
        "if rules.algorithm == 'tsallis': pass",
        "from armstream.learning import Exp3IXBandit",
        "from armstream.learning.exp4.trust import Expert",
        "def update_tsallis(): pass",
        "learn(exp4=True)",
        "is_exp4 = 1",
        'def f():\n    """What exp4 does."""',
    ):
        assert rules_named_in(source), source
    assert rules_named_in("exponent = rule.name") == []


def test_floats_are_summed_in_one_order_on_every_python() -> None:
    """From 3.12 on the builtin is compensated; sizes in bytes are whole, and may be summed as one likes."""
    found = []
    for room in ("learning", "stages", "engine", "standalone"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sum":
                    found.append(f"{path.relative_to(ROOT)}: {ast.unparse(node)}")
    assert [one for one in found if not one.startswith("stages/sizes.py: ")] == []
    assert len(found) == 3
