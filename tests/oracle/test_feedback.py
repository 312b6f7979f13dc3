"""What a decision reveals, and what that teaches: the laws of Exp3-IX and of Tsallis-INF by hand.

Four arms; all numbers of a market are of one trade unless a test says otherwise: +50 bps net with B = 100 is a loss of
.25, and its mirror image, which pays 5 bps of costs as well, is -60 bps and a loss of .8.
"""

from math import log, sqrt
from typing import Any

import pytest

from armstream.oracle.exp3ix import Exp3IXFormula
from armstream.oracle.feedback import Group, asleep_by, groups_of, seen_by_blend, seen_by_draw
from armstream.oracle.formula import Logged, Seen, Settings, Sized
from armstream.oracle.matching import mirror_of
from armstream.oracle.settings import DEFAULTS
from armstream.oracle.tsallis import TsallisFormula
from tests.stages.events import close, fill

ARMS = ("a", "b", "c", "d")
SIGNALS: dict[str, Any] = {"a": "BUY", "b": "BUY", "c": "SELL", "d": "FLAT"}
CHANCES = (0.5, 0.3, 0.2, 0.0)
AS_DRAWN = tuple((p, p) for p in CHANCES)

near: Any = pytest.approx


def settings_of(**given: Any) -> Settings:
    return {**DEFAULTS, **given}


def earned(is_same_side: bool) -> Sized:
    return (50.0, 0.0) if is_same_side else (-60.0, 60.0)


def drawn(feedback: str, arm: int = 0, terms: Any = None, side: Any = "BUY", **given: Any) -> Logged:
    """What was logged of a draw on `side` by CHANCES and SIGNALS."""
    groups = groups_of(settings_of(feedback=feedback), ARMS, SIGNALS, ())
    seen, chances = seen_by_draw(groups, arm, CHANCES, [SIGNALS[name] for name in ARMS], side, earned)
    of: dict[str, Any] = {"probabilities": CHANCES, "eta": 0.6, "asleep": [3], "terms": terms or {}}
    return Logged(CHANCES[arm], seen=seen, chances=chances, **{**of, **given})


def blended(shares: dict[int, float], terms: Any = None) -> Logged:
    groups = groups_of(settings_of(feedback="both"), ARMS, SIGNALS, ())
    seen, chances = seen_by_blend(groups, shares, [SIGNALS[name] for name in ARMS], "BUY", earned)
    return Logged(seen=seen, chances=chances, asleep=[3], terms=terms or {})


def numbers(lessons: Any) -> list[tuple[int, float, Any, Any]]:
    return [(one.arm, one.share, near(one.propensity), near(one.estimate)) for one in lessons]


def states(formula: Exp3IXFormula | TsallisFormula) -> Any:
    return near(formula.state, abs=1e-15)


# What is revealed.


@pytest.mark.parametrize(
    ("given", "later", "groups"),
    [
        ({"feedback": "side"}, (), [("BUY",), ("BUY",), ("SELL",), None]),
        ({"feedback": "both"}, (), [(), (), (), None]),
        ({"feedback": "both"}, (1,), [(), None, (), None]),
    ],
)
def test_arms_of_one_group_reveal_each_other(
    given: dict[str, Any], later: tuple[int, ...], groups: list[Group | None]
) -> None:
    assert groups_of(settings_of(**given), ARMS, SIGNALS, later) == groups


def test_arms_of_another_horizon_are_of_another_group() -> None:
    arms, signals = ("a:5", "a:20", "b:5"), {"a:5": "BUY", "a:20": "SELL", "b:5": "SELL"}
    both, side = [settings_of(feedback=name, arm_mode="family_horizon") for name in ("both", "side")]
    assert groups_of(both, arms, signals, ()) == [("5",), ("20",), ("5",)]
    assert groups_of(side, arms, signals, ()) == [("BUY", "5"), ("SELL", "20"), ("SELL", "5")]


def test_an_arm_without_a_view_was_asleep_and_nobody_where_no_views_are_known() -> None:
    assert asleep_by({"a": "BUY", "c": "FLAT"}, ARMS) == [1, 2, 3]
    assert asleep_by({}, ARMS) == []


def test_a_draw_reveals_its_side_with_the_probability_of_the_side() -> None:
    logged = drawn("side")
    assert [(one.arm, one.chance, one.played, one.share) for one in logged.seen] == [
        (0, near(0.8), 0.5, 1.0),
        (1, near(0.8), 0.3, 0.0),
    ]
    assert logged.chances == (
        (0.5, near(0.8)),
        (0.3, near(0.8)),
        (0.2, near(0.2)),
    )


def test_under_both_all_arms_awake_are_seen_for_certain_and_the_other_side_is_the_mirror_image() -> None:
    """The probabilities sum to 1 but for their last digits: what is certain is exactly 1."""
    seen = drawn("both", arm=1).seen
    assert seen == (
        Seen(0, 50.0, 0.0, 1.0, 0.5, 0.0),
        Seen(1, 50.0, 0.0, 1.0, 0.3, 1.0),
        Seen(2, -60.0, 60.0, 1.0, 0.2, 0.0),
    )


def test_an_arm_that_could_not_be_drawn_is_of_no_group_whatever_its_view() -> None:
    groups = groups_of(settings_of(feedback="side"), ARMS, {**SIGNALS, "d": "BUY"}, [3])
    seen, chances = seen_by_draw(groups, 0, CHANCES, ["BUY", "BUY", "SELL", "BUY"], "BUY", earned)
    assert ([one.arm for one in seen], len(chances)) == ([0, 1], 3)


def test_a_blend_sees_all_arms_awake_and_plays_its_shares_of_those() -> None:
    """Of shares .3 and .1 of a and c, three quarters of what was played is a. d has a share, but was asleep."""
    assert [(one.arm, one.chance, one.played, one.share) for one in blended({0: 0.3, 2: 0.1, 3: 0.6}).seen] == [
        (0, 1.0, near(0.75), 0.3),
        (1, 1.0, 0.0, 0.0),
        (2, 1.0, near(0.25), 0.1),
    ]
    assert [one.played for one in blended({3: 1.0}).seen] == [1 / 3] * 3


def test_the_mirror_image_pays_the_costs_as_well() -> None:
    """BUY 100 at 100.00, closed at 100.50: 50 bps before costs. Fees 10 are 10 bps, closing fees 20 of 200 for half of
    it 10 bps, slippage 30 of 200 15 bps. Charged: 15 net, and -50 - 35. In the price: 30 net, of a market that moved by
    50 and the 15 that the price has lost already, and -65 - 35."""
    bought = fill(price=100.0, fees=10.0)
    charged = close(price=100.5, quantity=200.0, fees=20.0, slippage=30.0)
    assert mirror_of(bought, charged, 15.0) == (near(-85.0), near(15.0 + 2 * 35.0))
    in_price = close(price=100.5, quantity=200.0, fees=20.0, slippage=30.0, slippage_in_price=True)
    assert mirror_of(bought, in_price, 30.0)[0] == near(-100.0)


def test_a_rebate_is_paid_to_the_mirror_image_too() -> None:
    """-10 bps of costs: 60 net is 50 before costs, and its mirror image -50 + 10."""
    assert mirror_of(fill(price=100.0, fees=-10.0), close(price=100.5), 60.0)[0] == near(-40.0)


def test_costs_beyond_what_doubles_hold_are_infinite() -> None:
    huge = close(quantity=1.0, price=100.0, slippage=1e300, slippage_in_price=True)
    assert mirror_of(fill(price=1e-10), huge, 0.0)[0] == float("-inf")


def test_a_slippage_in_the_price_that_nobody_gave_is_none() -> None:
    for slippage in (float("nan"), float("inf"), -1.7976931348623157e308):
        unset = close(price=100.5, slippage=slippage, slippage_in_price=True)
        assert mirror_of(fill(price=100.0), unset, 50.0)[0] == -50.0


# Exp3-IX.


def exp3ix(**given: Any) -> Exp3IXFormula:
    return Exp3IXFormula(settings_of(**given), ARMS)


def test_exp3ix_learns_of_every_arm_on_the_drawn_side() -> None:
    """eta = .1, implicit .05: .25 / (.8 + .05) for a and b; d, asleep, moves by what was played, (.5 + .3) times that.
    Q = .8 / .85 + .2 / .25."""
    formula = exp3ix(feedback="side", eta=0.1)
    taught = formula.learn_draw(0, 50.0, 1.0, True, drawn("side"))
    each = 0.25 / 0.85
    assert numbers(taught.lessons) == [(0, 1.0, 0.8, each), (1, 0.0, 0.8, each)]
    assert [each, each, 0.0, 0.8 * each] == states(formula)
    assert formula.own_state() == [(near(0.8 / 0.85 + 0.8), 0.0)]
    assert (formula.total_steps, formula.pulls, formula.earned_bps) == (1, [1, 0, 0, 0], [50.0, 0.0, 0.0, 0.0])


def test_exp3ix_learns_of_both_sides_and_of_a_later_part_without_the_decisions_own_term() -> None:
    """The other side's loss is .8. A part of .4: .4 (.25 - .5) = -.1 and .4 (.8 - .5) = .12, over 1.05; Q stays."""
    formula = exp3ix(feedback="both", eta=0.1)
    taught = formula.learn_draw(0, 50.0, 1.0, True, drawn("both"))
    assert numbers(taught.lessons) == [
        (0, 1.0, 1.0, 0.25 / 1.05),
        (1, 0.0, 1.0, 0.25 / 1.05),
        (2, 0.0, 1.0, 0.8 / 1.05),
    ]
    assert formula.state[3] == near((0.8 * 0.25 + 0.2 * 0.8) / 1.05)
    taught = formula.learn_draw(0, 50.0, 0.4, False, drawn("both"))
    assert numbers(taught.lessons) == [
        (0, 1.0, 1.0, -0.1 / 1.05),
        (1, 0.0, 1.0, -0.1 / 1.05),
        (2, 0.0, 1.0, 0.12 / 1.05),
    ]
    assert formula.sum_of_q == near(1 / 1.05)


def test_exp3ix_goes_by_the_sum_of_q() -> None:
    """K = 4: sqrt(ln 4 / 4) = .588705; implicit is half of it, and Q = .8 / (.8 + .294353) + .2 / (.2 + .294353)."""
    formula = exp3ix(feedback="side")
    assert formula.eta == near(sqrt(log(4) / 4))
    taught = formula.learn_draw(0, 50.0, 1.0, True, drawn("side"))
    q = 0.8 / (0.8 + 0.2943525) + 0.2 / (0.2 + 0.2943525)
    assert (taught.eta, formula.eta) == (near(0.588705, rel=1e-6), near(sqrt(log(4) / (4 + q))))
    assert exp3ix(feedback="side", eta_max=0.07).eta == 0.07
    formula.reset()
    assert (formula.own_state(), formula.eta) == ([(0.0, 0.0)], near(sqrt(log(4) / 4)))


@pytest.mark.parametrize(
    ("logged", "q"),
    [
        (Logged(0.5, CHANCES, 0.1, chances=AS_DRAWN), 0.5 / 0.55 + 0.3 / 0.35 + 0.2 / 0.25),
        (Logged(0.5), 1 / 0.55),
        (Logged(0.01), 4.0),  # 1 / .06 is above K
        (Logged(), 1 / 0.3),  # today's probability, a quarter
    ],
)  # fmt: skip
def test_exp3ix_counts_q_of_what_is_taught_as_drawn(logged: Logged, q: float) -> None:
    formula = exp3ix(feedback="side", eta=0.1)
    taught = formula.learn_draw(0, 50.0, 1.0, True, logged)
    p = logged.propensity or 0.25
    assert numbers(taught.lessons) == [(0, 1.0, p, 0.25 / (p + 0.05))]
    assert formula.sum_of_q == near(q)


def test_exp3ix_divides_by_nothing_where_an_arm_could_not_be_played_and_implicit_is_0() -> None:
    formula = exp3ix(feedback="side", eta=0.1, implicit=0.0)
    formula.learn_draw(0, 50.0, 1.0, True, drawn("side")._replace(chances=((0.8, 0.8), (0.2, 0.2), (0.0, 0.0))))
    assert formula.sum_of_q == 2.0


def test_exp3ix_learns_a_blend_of_both_sides_whole() -> None:
    """No share multiplies an estimate: -.25 / 1.05 and .3 / 1.05; d moves by three quarters of the one and a quarter of
    the other. Pulls and rewards go by shares."""
    formula, shares = exp3ix(feedback="both", eta=0.1), {0: 0.75, 2: 0.25}
    taught = formula.learn_blend(shares, 50.0, 1.0, True, blended(shares))
    same, other = -0.25 / 1.05, 0.3 / 1.05
    assert numbers(taught.lessons) == [(0, 0.75, None, same), (1, 0.0, None, same), (2, 0.25, None, other)]
    assert formula.state[3] == near(0.75 * same + 0.25 * other)
    assert (formula.pulls, formula.earned_bps) == ([1, 0, 1, 0], [37.5, 0.0, 12.5, 0.0])
    assert (formula.sum_of_q, taught.propensity_source) == (near(1 / 1.05), "NONE")


def test_a_blend_without_signals_is_learned_as_ever_and_counts_as_much_q() -> None:
    formula = exp3ix(feedback="both", eta=0.1)
    taught = formula.learn_blend({0: 0.75, 3: 0.25}, 50.0, 1.0, True)
    assert taught.lessons[0].estimate == -0.1875
    assert formula.sum_of_q == near(1 / 1.05)


def test_an_arm_that_comes_leaves_what_the_rate_times_the_losses_was() -> None:
    formula = exp3ix(feedback="side")
    formula.learn_draw(0, 50.0, 1.0, True, drawn("side"))
    before, ratio, q = formula.weights(), formula.weights()[0] / formula.weights()[2], formula.sum_of_q
    formula.add_arm("e", 1.0)
    assert formula.eta == near(sqrt(log(5) / (5 + q)))
    assert formula.weights()[0] / formula.weights()[2] == near(ratio)
    assert formula.weights()[4] == near(0.2)
    formula.remove_arm("e")
    assert formula.weights() == near(before)
    assert formula.sum_of_q == q


# Tsallis-INF.


def tsallis(**given: Any) -> TsallisFormula:
    return TsallisFormula(settings_of(**given), ARMS)


def test_tsallis_moves_every_arm_by_one_half_and_those_seen_by_their_loss() -> None:
    """a and b: (.25 - .5) / .8 = -.3125 beside the half; c .5 alone; d, asleep, .5 and (.5 + .3) (-.3125) = -.25."""
    formula = tsallis(feedback="side")
    taught = formula.learn_draw(0, 50.0, 1.0, True, drawn("side"))
    assert numbers(taught.lessons) == [(0, 1.0, 0.8, 0.1875), (1, 0.0, 0.8, 0.1875)]
    assert states(formula) == [0.1875, 0.1875, 0.5, 0.25]
    assert (formula.own_state(), taught.terms, formula.eta) == ([], {}, near(4 / sqrt(2)))


def test_a_later_part_of_a_decision_has_no_half() -> None:
    """.4 (-.25) and, of the other side, .4 (.3); d by .8 (-.1) + .2 (.12)."""
    formula = tsallis(feedback="both")
    formula.learn_draw(0, 50.0, 0.4, False, drawn("both"))
    assert states(formula) == [-0.1, -0.1, 0.12, -0.056]


def test_a_propensity_alone_teaches_its_arm_and_those_asleep_by_what_was_played() -> None:
    """-.25 / .5 for a; .5 (-.5) for d."""
    formula = tsallis(feedback="side")
    taught = formula.learn_draw(0, 50.0, 1.0, True, Logged(0.5, asleep=[3]))
    assert states(formula) == [0.0, 0.5, 0.5, 0.25]
    assert numbers(taught.lessons) == [(0, 1.0, 0.5, 0.0)]


def test_the_adaptive_rate_is_of_the_terms_seen() -> None:
    """K^(1/4) = sqrt 2, sqrt(K) / 4 = .5: 2 at first. A = -.3125 for a and b: S = (.5^1.5 + .3^1.5) .3125^2 =
    (.3535534 + .1643168) .09765625 = .0505732, and the rate is sqrt(2 / .5505732)."""
    formula = tsallis(feedback="side", eta_auto="adaptive")
    assert formula.eta == 2.0
    taught = formula.learn_draw(0, 50.0, 1.0, True, drawn("side"))
    assert formula.sum_of_squares[0] == near(0.05057326, rel=1e-6)
    assert formula.eta == near(sqrt(2 / 0.55057326), rel=1e-6)
    assert taught.terms == {"a": (-0.3125, 0.3125), "b": (-0.3125, 0.3125)}
    formula.reset()
    assert formula.own_state() == [(0.0, 0.0)]


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.25, 0.75), (0.75, 0.25)])
def test_s_is_the_same_in_parts_and_whole(weights: tuple[float, float]) -> None:
    whole, parts = tsallis(feedback="both", eta_auto="adaptive"), tsallis(feedback="both", eta_auto="adaptive")
    whole.learn_draw(0, 50.0, 1.0, True, drawn("both"))
    terms = parts.learn_draw(0, 50.0, weights[0], True, drawn("both")).terms
    parts.learn_draw(0, 50.0, weights[1], False, drawn("both", terms=terms))
    # (.3535534 + .1643168) .25^2 + .0894427 .3^2
    assert whole.sum_of_squares[0] == near(0.03236689 + 0.00804984, rel=1e-6)
    assert parts.sum_of_squares[0] == near(whole.sum_of_squares[0])
    assert parts.state == near(whole.state)


def test_what_was_earned_twice_and_lost_again_leaves_no_trace_in_s() -> None:
    formula = tsallis(eta_auto="adaptive")
    terms = formula.learn_draw(0, 50.0, 1.0, True, Logged(0.5)).terms
    assert formula.sum_of_squares[0] == near(0.5**1.5 * 0.25)
    terms = formula.learn_draw(0, -50.0, 1.0, False, Logged(0.5, terms=terms)).terms
    assert terms == {"a": (0.0, 0.5)}
    assert formula.sum_of_squares[0] == near(0.0, abs=1e-15)


def test_one_decision_adds_4_at_most_and_is_taken_back_by_no_more() -> None:
    """p = 1e-8: (1e-8)^1.5 (.25e8)^2 = 625. Another part of -.25e8 leaves A = 0."""
    formula = tsallis(eta_auto="adaptive")
    terms = formula.learn_draw(0, -50.0, 1.0, True, Logged(1e-8)).terms
    assert formula.sum_of_squares[0] == 4.0
    formula.learn_draw(0, 50.0, 1.0, False, Logged(1e-8, terms=terms))
    assert formula.sum_of_squares[0] == 0.0


def test_s_is_never_below_0_where_a_decision_began_before_a_reset() -> None:
    formula = tsallis(eta_auto="adaptive")
    terms = formula.learn_draw(0, 50.0, 1.0, True, Logged(0.5)).terms
    formula.reset()
    formula.learn_draw(0, -50.0, 1.0, False, Logged(0.5, terms=terms))
    assert formula.sum_of_squares[0] == 0.0


def test_a_whole_distribution_that_is_taught_as_drawn_counts_what_was_seen_before() -> None:
    """A = -.25 / .5 = -.5 for a: .5^1.5 .25."""
    formula = tsallis(feedback="side", eta_auto="adaptive")
    formula.learn_draw(0, 50.0, 1.0, True, Logged(0.5, CHANCES, 0.6, [3]))
    assert formula.sum_of_squares[0] == near(0.5**1.5 * 0.25)
    assert states(formula) == [0.0, 0.5, 0.5, 0.25]


def test_a_blend_of_both_sides_counts_its_largest_term() -> None:
    """a and b -.25, c +.3: S = .09; d moves by .75 (-.25) + .25 (.3) = -.1125."""
    formula, shares = tsallis(feedback="both", eta_auto="adaptive"), {0: 0.75, 2: 0.25}
    taught = formula.learn_blend(shares, 50.0, 1.0, True, blended(shares))
    assert numbers(taught.lessons) == [(0, 0.75, None, -0.25), (1, 0.0, None, -0.25), (2, 0.25, None, 0.3)]
    assert states(formula) == [-0.25, -0.25, 0.3, -0.1125]
    assert formula.sum_of_squares[0] == near(0.09)
    taught = formula.learn_blend(shares, 50.0, 1.0, False, blended(shares, taught.terms))
    assert formula.sum_of_squares[0] == near(0.36)  # .6^2
    assert taught.lessons[0].estimate == near(-0.25)


def test_a_blend_without_signals_counts_what_it_moves() -> None:
    """.75 (-.25) = -.1875 for a, and .25 (-.25) for c: S = .1875^2."""
    formula = tsallis(eta_auto="adaptive")
    formula.learn_blend({0: 0.75, 2: 0.25}, 50.0, 1.0, True)
    assert states(formula) == [-0.1875, 0.0, -0.0625, 0.0]
    assert formula.sum_of_squares[0] == near(0.03515625)


def test_an_arm_that_goes_takes_its_term_along_and_s_stays() -> None:
    formula = tsallis(feedback="side", eta_auto="adaptive")
    terms = formula.learn_draw(0, 50.0, 1.0, True, drawn("side")).terms
    s = formula.sum_of_squares[0]
    formula.remove_arm("b")
    assert formula.sum_of_squares[0] == s
    assert formula.eta == near(3**0.25 / sqrt(s + sqrt(3) / 4))
    # Today's arms are others, so that the next part is taught by its propensity alone: A of a goes on from -.3125.
    terms = formula.learn_draw(0, 50.0, 0.4, False, Logged(0.5, terms=terms)).terms
    assert terms == {"a": (near(-0.5125), near(0.5125))}
    assert formula.sum_of_squares[0] == near(s + 0.5**1.5 * (0.5125**2 - 0.3125**2))
