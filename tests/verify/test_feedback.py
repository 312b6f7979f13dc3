"""Whatever a decision reveals, stages and formulas agree on what it teaches: random decisions with signals.

A hundred thousand of them:

    HISTORIES=100000 .venv/bin/python -m pytest tests/verify/test_feedback.py -k agree --timeout 0
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armstream.events import Reward
from armstream.stages.facts import TaskLimits
from tests.stages.events import close, fill
from tests.stages.signalled import Choices, Engine
from tests.stages.test_history import examples
from tests.verify.desk import Desk, settings_of
from tests.verify.test_commands import restarted_under
from tests.verify.test_states import forget_what_stands_before, kept

HORIZONS = {"arm_mode": "family_horizon", "families": ["ridge", "mlp"], "horizons": ["5", "20"]}
RULES: dict[str, dict[str, Any]] = {
    "exp3ix side": {"feedback": "side"},
    "exp3ix both": {"feedback": "both"},
    "exp3ix side, a rate of its own": {"feedback": "side", "eta": 0.1, "eta_auto": False, "implicit": 0.0},
    "exp3ix both, capped, shared out": {"feedback": "both", "eta_max": 0.3, "fixed_share": 0.01, "transform": "tanh"},
    "exp3ix side, with gamma": {"feedback": "side", "gamma": 0.1, "transform": "clip", "transform_bps": 60.0},
    "exp3ix both by horizon": {"feedback": "both", **HORIZONS},
    "exp3ix drawn": {},
    "importance drawn": {"estimator": "importance", "gamma": 0.05, "attribution": "simultaneous"},
    "tsallis side": {"algorithm": "tsallis", "feedback": "side"},
    "tsallis both": {"algorithm": "tsallis", "feedback": "both"},
    "tsallis side, a rate of its own": {"algorithm": "tsallis", "feedback": "side", "eta": 0.4, "eta_auto": False},
    "tsallis side by horizon": {"algorithm": "tsallis", "feedback": "side", **HORIZONS},
    "tsallis drawn": {"algorithm": "tsallis"},
    "tsallis drawn, adaptive": {"algorithm": "tsallis", "eta_auto": "adaptive"},
    "tsallis side, adaptive": {"algorithm": "tsallis", "feedback": "side", "eta_auto": "adaptive"},
    "tsallis both, adaptive": {"algorithm": "tsallis", "feedback": "both", "eta_auto": "adaptive"},
    "tsallis both, adaptive, shared out": {
        **{"algorithm": "tsallis", "feedback": "both", "eta_auto": "adaptive", "fixed_share": 0.01},
    },
    "tsallis both by horizon, adaptive": {
        **{"algorithm": "tsallis", "feedback": "both", "eta_auto": "adaptive", **HORIZONS},
    },
}


def newest_vector(desk: Desk) -> Any:
    vectors = desk.topics[desk.names.weights]
    return desk.any_event(desk.names.weights, -1) if vectors else None


def traded(desk: Desk, engine: Engine, choices: Choices, count: int, sections: dict[str, Any]) -> Desk:
    """So many transactions of some events each, with a restart now and then."""
    for _ in range(count):
        engine.follow(newest_vector(desk))
        desk.apply(*(engine.next(choices) for _ in range(choices.of((1, 2, 5)))))
        if choices.one_in(6):
            desk = restarted_under(desk, **sections)
    return desk


def sections_of(rule: str) -> dict[str, Any]:
    return {"online_learning": RULES[rule]}


def engine_of(desk: Desk) -> Engine:
    arms = list(desk.settings.online_learning.arms)
    is_by_horizon = ":" in arms[0]
    return Engine(arms, ("new:5", "new:20", arms[1]) if is_by_horizon else ("new", "late", arms[1]))


@examples(200)
@given(st.sampled_from(sorted(RULES)), st.binary(max_size=600), st.booleans())
def test_stages_and_formulas_agree_on_what_decisions_teach(rule: str, drawn: bytes, is_short: bool) -> None:
    sections = sections_of(rule)
    limits = TaskLimits(max_events_per_position=12) if is_short else TaskLimits()
    desk, choices = Desk(settings_of(**sections), limits), Choices(drawn)
    desk = traded(desk, engine_of(desk), choices, 24, sections)
    account = desk.verify()
    assert (account.not_checked, account.counts["not_placed"]) == ([], 0)


@examples(30)
@given(st.sampled_from(sorted(RULES)), st.binary(max_size=600))
def test_verify_goes_on_from_a_state_in_the_middle_of_decisions(tmp_path_factory: Any, rule: str, drawn: bytes) -> None:
    sections, state = sections_of(rule), None
    desk, choices, folder = Desk(settings_of(**sections)), Choices(drawn), tmp_path_factory.mktemp("state")
    engine = engine_of(desk)
    for _ in range(4):
        desk = traded(desk, engine, choices, 6, sections)
        account = desk.verify(state)
        assert (account.not_checked, account.counts["not_placed"]) == ([], 0)
        assert account.state is not None
        state = kept(desk, folder, account.state)
        forget_what_stands_before(desk, state)


@pytest.mark.parametrize("slippage", [float("nan"), float("inf"), -1.7976931348623157e308])
@pytest.mark.parametrize("waits", [False, True])
def test_a_slippage_in_the_price_that_is_nobodys_number_stops_nothing_and_costs_nothing(
    slippage: float, waits: bool
) -> None:
    """+50 bps of 100 for ridge; its mirror image without costs is -50, a loss of .75, and p = 1: .5 + .25."""
    desk = Desk(settings_of(**sections_of("tsallis both")))
    views = {"ridge": "BUY", "mlp": "SELL", "boost": "SELL"}
    draw: dict[str, Any] = {"propensity": 0.5, "probabilities": (0.5, 0.3, 0.2), "eta": 0.5, "signals": views}
    events = [fill(price=100.0, **draw), close(price=100.5, slippage=slippage, slippage_in_price=True)]
    desk.apply(*(reversed(events) if waits else events))
    reward = desk.event(desk.names.rewards, 0, Reward)
    assert [arm.estimate for arm in reward.arms] == pytest.approx([0.25, 0.75, 0.75])
    assert desk.verify().not_checked == []
