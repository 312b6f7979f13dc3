"""Whatever a bandit went through, each of its vectors is explained, and the oracle comes to it.

Ten thousand histories:

    HISTORIES=10000 .venv/bin/python -m pytest tests/explain/test_agreement.py -k random --timeout 0
"""

import math
import warnings
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from armstream.events import Fill
from armstream.explain.facts import Explanation
from armstream.oracle.steps import Step
from armstream.resources import resource
from armstream.settings import load
from tests.explain.desk import explained
from tests.stages.signalled import Choices
from tests.stages.test_history import examples
from tests.verify.desk import APART, BANDITS, Desk, settings_of
from tests.verify.test_exp4 import EXPERTS, advised_desk
from tests.verify.test_feedback import HORIZONS, RULES, engine_of, newest_vector, traded

TRACKED: dict[str, dict[str, Any]] = {
    **RULES,
    "tracking": {"eta": 0.05, "eta_auto": False, "fixed_share": 0.0005},
    "tracking, tsallis": {"algorithm": "tsallis", "eta": 0.2, "eta_auto": False, "fixed_share": 0.01},
    "importance, shared, tanh": {"estimator": "importance", "fixed_share": 0.01, "transform": "tanh"},
    "simultaneous": {"attribution": "simultaneous", "gamma": 0.1},
    "an automatic bound": {"reward_bound_bps": "auto"},
    "tsallis both by horizon": {"algorithm": "tsallis", "feedback": "both", **HORIZONS},
}
TYPED = {"sqrt": math.sqrt, "ln": math.log, "exp": math.exp, "tanh": math.tanh, "min": min, "max": max}


def as_typed(step: Step) -> float:
    """What the numbers come to, as somebody would type them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return float(eval(step.numbers, {"__builtins__": {}}, TYPED))


def require_typed(steps: Iterable[Step]) -> None:
    for step in steps:
        size = max(1e-4 * abs(step.value), 2e-4)
        assert as_typed(step) == pytest.approx(step.value, abs=size), step


def require_told(told: Explanation) -> None:
    """It agrees, the parts are the transaction's, and each that was learned from is worked out to its end."""
    assert (told.result, told.first_version + len(told.parts) - 1) == ("agrees", told.version), told.text
    assert told.before is not None
    assert told.after is not None
    for part in told.parts:
        require_typed(part.steps)
        said = {step.of: step.value for step in part.steps if step.name == "estimate"}
        estimates = {arm.name: arm.estimate for arm in part.arms if arm.estimate is not None}
        assert said == pytest.approx(estimates, rel=1e-9, abs=1e-9)
        if part.gross_bps is not None and part.applied:
            costs = [part.fill_fees_bps, part.close_fees_bps, part.slippage_bps]
            assert part.gross_bps + sum(cost or 0.0 for cost in costs) == pytest.approx(part.reward_bps, abs=1e-6)
    require_typed(told.reading)
    weights = {step.of: step.value for step in told.reading if step.name == "weight"}
    after = {arm.name: arm.weight_after for arm in told.arms if arm.weight_after is not None}
    assert weights == pytest.approx(after, abs=1e-9)
    assert told.as_json().startswith('{"bandit_id":"book')


def versions_of(desk: Desk) -> list[int]:
    return [desk.any_event(desk.names.weights, at).version for at in range(len(desk.topics[desk.names.weights]))]


@examples(60)
@given(st.sampled_from(sorted(TRACKED)), st.binary(max_size=400), st.booleans(), st.booleans())
def test_a_random_history_is_explained_vector_by_vector(
    rule: str, drawn: bytes, is_compacted: bool, is_apart: bool
) -> None:
    """`is_apart`: fills and closes come on two topics."""
    sections: dict[str, Any] = {"online_learning": TRACKED[rule], **(APART if is_apart else {})}
    desk, choices = Desk(settings_of(**sections)), Choices(drawn)
    desk = traded(desk, engine_of(desk), choices, 16, sections)
    versions = versions_of(desk)
    if is_compacted:
        desk.compact(BANDITS)
        desk.compact(desk.names.weights)
    for version in versions[-3:] if is_compacted else versions:
        require_told(explained(desk, version))


@pytest.mark.parametrize(
    "learning",
    [{}, {"eta": 0.2, "eta_auto": False, "gamma": 0.1}, {"estimator": "importance", "gamma": 0.2}],
    ids=("implicit", "given", "importance"),
)
@pytest.mark.parametrize("is_compacted", [False, True])
def test_trust_in_experts_is_explained(learning: dict[str, Any], is_compacted: bool) -> None:
    desk = advised_desk(**learning)
    if is_compacted:
        desk.compact(BANDITS)
    for version in range(1, 16):
        require_told(explained(desk, version))
    assert {expert.name for expert in explained(desk, 1).experts} == set(EXPERTS)


NOT_ALONE = {"demo-exp4"}  # it is laid over the demo's arms
PRESETS = sorted({path.stem for path in resource("config", "default.yaml").parent.glob("*.yaml")} - NOT_ALONE)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_explained(preset: str) -> None:
    """Fifty transactions of draws and blends in parts, with commands between them; B = 100 from the first on."""
    shipped = load(resource("config", f"{preset}.yaml"), {}).online_learning.model_dump(mode="json")
    sections = {"online_learning": {**shipped, "reward_bound_bps": 100.0}}
    desk, choices = Desk(settings_of(**sections)), Choices(Random(7).randbytes(2_000))
    engine = engine_of(desk)
    experts = dict.fromkeys(shipped["experts"] or (), 0.4)
    for _ in range(50):
        engine.follow(newest_vector(desk))
        events = [engine.next(choices) for _ in range(choices.of((1, 2, 5)))]
        desk.apply(*(replace(one, advice=experts) if isinstance(one, Fill) and one.arm else one for one in events))
    told = [explained(desk, version) for version in versions_of(desk)[::4]]
    for one in told:
        require_told(one)
    assert sum(part.applied is True for one in told for part in one.parts) > 10
