"""The formulas with their numbers, by hand: each step's numbers and what they come to."""

from math import exp, log, sqrt
from typing import Any

import pytest

from armstream.oracle.exp3ix import Exp3IXFormula
from armstream.oracle.formula import NOTHING_LOGGED, Evidence, Formula, Logged, Seen
from armstream.oracle.settings import DEFAULTS
from armstream.oracle.tsallis import TsallisFormula

ARMS = ("a", "b", "c")

near: Any = pytest.approx


def said(steps: Any) -> list[tuple[str, str, str, Any]]:
    return [(step.name, step.of, step.numbers, near(step.value)) for step in steps]


def drawn(formula: Formula, arm: int, reward_bps: float, weight: float, counts: bool, logged: Logged) -> Any:
    """The steps, and then it is learned."""
    evidence = Evidence(arm, {}, reward_bps, weight, counts, logged)
    steps = formula.steps(evidence)
    formula.learn(evidence)
    return said(steps)


def test_one_step_of_exp3_ix_and_the_reading_after_it() -> None:
    """eta = .1, B = 100: +50 bps is a loss of .25, .25 / (.2 + .05) = 1; weight e^-.1 against 1 and 1."""
    formula = Exp3IXFormula({**DEFAULTS, "eta": 0.1}, ARMS)
    assert drawn(formula, 0, 50.0, 1.0, True, Logged(0.2)) == [
        ("eta", "", "0.1", 0.1),
        ("implicit", "", "0.1 / 2", 0.05),
        ("loss", "a", "(100 - 50) / (2 * 100)", 0.25),
        ("estimate", "a", "((0.25 - 1/2) + 1/2) / (0.2 + 0.05)", 1.0),
        ("L", "a", "0 + 1", 1.0),
    ]
    z = exp(-0.1) + 2
    assert said(formula.reading_steps()) == [
        ("eta", "", "0.1", 0.1),
        ("weight", "a", "exp((-0.1) * (1 - 0)) / 2.904837418", exp(-0.1) / z),
        ("weight", "b", "exp((-0.1) * (0 - 0)) / 2.904837418", 1 / z),
        ("weight", "c", "exp((-0.1) * (0 - 0)) / 2.904837418", 1 / z),
    ]


def test_a_later_part_of_a_decision_beyond_the_bound_has_no_half_and_the_rate_of_the_next_round() -> None:
    """T = 1, so that t = 2: sqrt(ln 3 / 6). -150 is clipped to -100, a loss of 1: .4 * .5 / (.2 + eta / 2)."""
    formula = Exp3IXFormula({**DEFAULTS}, ARMS)
    drawn(formula, 0, 0.0, 0.6, True, Logged(0.2))
    eta, before = sqrt(log(3) / 6), 0.5 / (0.2 + sqrt(log(3) / 3) / 2)
    estimate = 0.2 / (0.2 + eta / 2)
    assert drawn(formula, 0, -150.0, 0.4, False, Logged(0.2)) == [
        ("eta", "", "sqrt(ln(3) / (3 * 2))", eta),
        ("implicit", "", "0.427904 / 2", eta / 2),
        ("loss", "a", "(100 - max(-100, min(100, (-150)))) / (2 * 100)", 1.0),
        ("estimate", "a", "(0.4 * (1 - 1/2)) / (0.2 + 0.213952)", estimate),
        ("L", "a", f"{before:.10g} + {estimate:.10g}", before + estimate),
    ]


def test_one_step_of_tsallis_by_the_whole_distribution() -> None:
    """eta^2 = .25: b is 1/2 for .5 and .3, and 0 for .2. +50 bps: (-1/4 + 1/2 - 1/2) / .5 + 1/2 = 0 for the drawn arm,
    and 1/2 for b."""
    formula = TsallisFormula({**DEFAULTS, "algorithm": "tsallis", "eta": 1.0}, ARMS)
    assert drawn(formula, 0, 50.0, 1.0, True, Logged(0.5, (0.5, 0.3, 0.2), 0.5)) == [
        ("loss", "a", "(100 - 50) / (2 * 100)", 0.25),
        ("eta", "", "0.5", 0.5),
        ("b", "a", "1/2 if 0.5 >= 0.5 ** 2 else 0", 0.5),
        ("estimate", "a", "((0.25 - 1/2) + 1/2 - 0.5) / 0.5 + 0.5", 0.0),
        ("move", "b", "1/2 if 0.3 >= 0.5 ** 2 else 0", 0.5),
        ("L", "a", "0 + 0", 0.0),
        ("L", "b", "0 + 0.5", 0.5),
    ]


def test_equal_losses_of_tsallis_read_as_equal_weights() -> None:
    """eta = 1 and four arms: 4 / d^2 = 1/4 for d = 4."""
    formula = TsallisFormula({**DEFAULTS, "algorithm": "tsallis", "eta": 1.0}, ("a", "b", "c", "d"))
    steps = said(formula.reading_steps())
    assert steps[:3] == [
        ("eta", "", "1", 1.0),
        ("d", "", "4", 4.0),
        ("weight", "a", "4 / (1 * (0 - 0 + 4)) ** 2", 0.25),
    ]


def test_what_a_side_reveals_and_what_was_asleep_of_the_adaptive_rate() -> None:
    """o = .8 for a and b, -20 bps of b: losses .25 and .6, terms -.3125 and .125, with 1/2 each; c moves by what was
    played, .5 * -.3125 + .3 * .125. S grows by .5^1.5 .3125^2 + .3^1.5 .125^2."""
    formula = TsallisFormula({**DEFAULTS, "algorithm": "tsallis", "eta_auto": "adaptive", "feedback": "side"}, ARMS)
    seen = Seen(0, 50.0, 0.0, 0.8, 0.5, 1.0), Seen(1, -20.0, 60.0, 0.8, 0.3, 0.0)
    logged = Logged(0.5, (0.5, 0.3, 0.2), 0.5, (2,), None, seen, ((0.5, 0.8), (0.3, 0.8)))
    played = 0.5 * -0.3125 + 0.3 * 0.125
    assert drawn(formula, 0, 50.0, 1.0, True, logged) == [
        ("loss", "a", "(100 - 50) / (2 * 100)", 0.25),
        ("estimate", "a", "1/2 + (0.25 - 1/2) / 0.8", 0.1875),
        ("reward", "b", "(-20)", -20.0),
        ("loss", "b", "(100 - (-20)) / (2 * 100)", 0.6),
        ("estimate", "b", "1/2 + (0.6 - 1/2) / 0.8", 0.625),
        ("move", "c", "1/2 + 0.5 * (-0.3125) + 0.3 * 0.125", 0.5 + played),
        ("L", "a", "0 + 0.1875", 0.1875),
        ("L", "b", "0 + 0.625", 0.625),
        ("L", "c", "0 + 0.38125", 0.38125),
        (
            *("S", "", "max(0, 0 + min(4, 0.5 ** 1.5 * (-0.3125) ** 2 + 0.3 ** 1.5 * 0.125 ** 2))"),
            near(0.5**1.5 * 0.3125**2 + 0.3**1.5 * 0.125**2),
        ),
    ]


def test_a_blend_moves_each_arm_by_its_share() -> None:
    """.75 and .25 of weight .5 times (.25 - 1/2)."""
    formula = Exp3IXFormula({**DEFAULTS, "eta": 0.1}, ARMS)
    steps = formula.steps(Evidence(None, {0: 0.75, 2: 0.25}, 50.0, 0.5, True, NOTHING_LOGGED))
    assert [step for step in said(steps) if step[0] == "estimate"] == [
        ("estimate", "a", "0.75 * 0.5 * (0.25 - 1/2)", -0.09375),
        ("estimate", "c", "0.25 * 0.5 * (0.25 - 1/2)", -0.03125),
    ]


def test_saying_it_learns_nothing() -> None:
    formula = Exp3IXFormula({**DEFAULTS, "fixed_share": 0.01}, ARMS)
    evidence = Evidence(1, {}, 20.0, 1.0, True, Logged(0.3))
    assert formula.steps(evidence) == formula.steps(evidence)
    assert (formula.state, formula.total_steps, formula.pulls) == ([0.0] * 3, 0, [0] * 3)


SETTINGS: dict[str, dict[str, Any]] = {
    "exp3ix": {},
    "exp3ix, shared": {"fixed_share": 0.01},
    "exp3ix, side": {"feedback": "side", "fixed_share": 0.01},
    "importance, shared": {"estimator": "importance", "fixed_share": 0.01, "eta": 0.05},
    "tsallis, shared": {"algorithm": "tsallis", "fixed_share": 0.01},
    "tsallis, adaptive, shared": {"algorithm": "tsallis", "eta_auto": "adaptive", "fixed_share": 0.01},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_last_step_of_each_arm_is_its_state_afterwards(name: str) -> None:
    """Of importance the largest is taken off once more."""
    settings = {**DEFAULTS, **SETTINGS[name]}
    rule = TsallisFormula if settings["algorithm"] == "tsallis" else Exp3IXFormula
    formula = rule(settings, ARMS)
    for arm, reward_bps, weight, counts in ((0, 50.0, 0.5, True), (0, -30.0, 0.5, False), (2, -80.0, 1.0, True)):
        evidence = Evidence(arm, {}, reward_bps, weight, counts, Logged(0.3, (0.3, 0.4, 0.3), 0.5))
        steps, state, q = formula.steps(evidence), dict(zip(ARMS, formula.state, strict=True)), 0.0
        for step in steps:
            q += step.value if step.name == "Q" else 0.0
            if step.name in ("L", "theta"):
                state[step.of] = step.value
        before = getattr(formula, "sum_of_q", 0.0)
        formula.learn(evidence)
        largest = max(state.values()) if settings["estimator"] == "importance" and rule is Exp3IXFormula else 0.0
        assert formula.state == near([each - largest for each in state.values()])
        if settings["feedback"] == "side":
            assert getattr(formula, "sum_of_q", 0.0) == near(before + q)
