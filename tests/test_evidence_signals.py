"""The evidence of signals: a draw reveals what the market has, and tables count what they say."""

from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest
from numpy.random import default_rng

from armstream.demo.desk import FEES_BPS, SLIPPAGE_BPS
from armstream.demo.market import Bar
from armstream.learning.feedback import mirrored
from armstream.learning.observing import AdaptiveTsallis
from armstream.resources import resource
from armstream.settings import load
from tests.comparison import ARMS, books
from tests.evidence import signals
from tests.evidence.markets import Market, synthetic
from tests.evidence.play import play
from tests.evidence.signals import PAIRS, RULES, Scored, Told, cases, paired, score, settings_of, table

ROW = np.array([[50.0, -50.0, 30.0, 0.0, 10.0]])
BUYS = np.array([[True, False, True, False, False]])
P = [0.4, 0.2, 0.1, 0.2, 0.1]


def taught(rule: str, arm: int) -> AdaptiveTsallis:
    """The rule's bandit after one draw on ROW at P, with B = 100."""
    learner = RULES[rule](Market(ROW, ROW, ROW.argmax(axis=1), 1, BUYS))
    assert isinstance(learner, Told)
    assert isinstance(learner.bandit, AdaptiveTsallis)
    learner.bandit.set_bound(100.0)
    learner.learn(arm, float(ROW[0, arm]), P, 2.0)
    return learner.bandit


def test_a_draw_reveals_its_own_arm_its_side_or_all_by_hand() -> None:
    """1/2 for every arm, and -reward / 200 over the probability of observing it: .4; .4 + .1; 1."""
    assert taught("Tsallis, adaptive", 0).state == pytest.approx([0.5 - 0.25 / 0.4, 0.5, 0.5, 0.5, 0.5])
    side = [0.5 - 0.25 / 0.5, 0.5, 0.5 - 0.15 / 0.5, 0.5, 0.5]
    assert taught("Tsallis, adaptive, side", 0).state == pytest.approx(side)
    assert taught("Tsallis, adaptive, both", 0).state == pytest.approx([0.25, 0.75, 0.35, 0.5, 0.45])


def test_rewards_that_come_late_are_taught_with_the_signals_of_their_decision() -> None:
    """Five in order, each with its own row: what arm 4 is moved by says which rows were taught."""
    rewards = np.arange(10.0).reshape(-1, 1) * np.ones(5)
    market = Market(rewards, rewards, np.zeros(10, np.intp), 6, np.ones((10, 5), np.bool_))
    learner = RULES["Tsallis, adaptive, both"](market)
    assert isinstance(learner, Told)
    learner.bandit.set_bound(100.0)
    play(learner, market, [0.5] * 10)
    assert learner.bandit.learned().arm_states[4][0] == pytest.approx(sum(0.5 - each / 200 for each in range(4)))


@pytest.mark.parametrize(("feedback", "file"), [("side", "sides.yaml"), ("both", "both-sides.yaml")])
def test_the_presets_are_those_of_the_files(feedback: str, file: str) -> None:
    families = {"online_learning": {"families": list(ARMS)}}
    shipped = load(resource("config", file), {}, families).online_learning.for_learner()
    assert settings_of("tsallis", feedback).determining_json() == shipped.determining_json()  # type: ignore[arg-type]


@pytest.mark.parametrize("feedback", ["drawn", "side", "both"])
def test_exp3ix_differs_from_the_shipped_one_in_its_feedback_alone(feedback: str) -> None:
    shipped = load(None, {}, {"online_learning": {"families": list(ARMS)}}).online_learning.for_learner()
    played = settings_of("exp3ix", feedback)  # type: ignore[arg-type]
    assert played.determining_json() == replace(shipped, feedback=feedback).determining_json()


def test_on_real_prices_the_other_side_earned_the_mirror_image() -> None:
    """What the book has for a SELL is what `both` takes it for: costs are 1 bps of the entry and 3 of the exit."""
    generator = default_rng(1)
    closes = 100.0 * np.exp(np.cumsum(generator.normal(0.0, 0.02, 120)))
    bars = [Bar("", close * 0.99, close * 1.03, close * 0.97, close) for close in closes.tolist()]
    for book in books("X", bars):
        both_ways = 0
        for number, (rewards, buys) in enumerate(zip(book.rewards_bps, book.buys, strict=True)):
            entry, exit_ = bars[60 + number].open, bars[59 + number + book.held_bars].close
            costs_bps = FEES_BPS + (FEES_BPS + SLIPPAGE_BPS) * exit_ / entry
            for arm in np.flatnonzero(~buys):
                assert rewards[arm] == pytest.approx(mirrored(rewards[ARMS.index("buy_and_hold")], costs_bps))
                both_ways += 1
        assert both_ways > 0


def test_a_rate_times_one_is_the_adaptive_one_and_times_two_the_double() -> None:
    market = Market(ROW, ROW, ROW.argmax(axis=1), 1, BUYS)
    rates = [signals.OF_RATES[f"side, rate times {times}"](market).read()[1] for times in ("1", "2", "0.5")]
    assert rates == pytest.approx([2.0, 4.0, 1.0])  # S = 0: K^(1/4) / sqrt(sqrt(K) / 4)
    assert RULES["Exp3-IX, side"](market).read()[1] == pytest.approx(sqrt(log(5) / 5))


def test_a_run_counts_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Always .6 on arm 0, which is the best at one of three decisions; arm 1 is the best of all together."""

    class Stubborn:
        bound_bps = None

        def read(self) -> tuple[list[float], float]:
            return [0.6, 0.1, 0.1, 0.1, 0.1], 0.0

        def learn(self, arm: int, reward_bps: float, probabilities: list[float], eta: float) -> None:
            """Nothing."""

    monkeypatch.setattr(signals, "RULES", {"stubborn": lambda market: Stubborn()})  # noqa: ARG005 - it needs none
    rewards = np.array([[10.0, 0.0, 0.0, 0.0, 0.0], [0.0, 20.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    market = Market(rewards, rewards, np.array([0, 1, 1]), 1, rewards > 0.0)
    scored = score(("stubborn", ("test", "1d"), 0), 0, [market])
    assert scored == pytest.approx(((6 + 2) / 3 - (2 + 4) / 3, 20 / 3 - (6 + 2) / 3, 2 / 3))


def test_tables_show_means_over_seeds_and_pair_them_by_hand() -> None:
    """10 and 30 against 9 and 28: differences 1 and 2, 1.5 with an error of .5, so t = 3."""
    one, other = PAIRS[0]
    place = ("as they were", "1d")
    results = {
        (one, place, 0): [Scored(10.0, 1.0, 0.2), Scored(30.0, 2.0, 0.4)],
        (other, place, 0): [Scored(9.0, 1.0, 0.2), Scored(28.0, 2.0, 0.4)],
    }
    assert list(table(results))[2] == f"| as they were 1d | 0 | {one} | 20.00 | 10.00 | 1.50 | 30 % | 0 of 2 |"
    assert list(paired(results))[2:] == [f"| as they were | 1d | {one} above {other} | 1.50 | 0.50 | 3.0 | 2 of 2 |"]


def test_every_rule_is_played_everywhere_once() -> None:
    every = cases(list(RULES))
    assert len(every) == len(set(every)) == len(RULES) * (4 * 3 + 6)
    assert {delay for _, (name, _), delay in every if name == "trap"} == {0, 5, 50}


def test_more_that_a_draw_reveals_costs_less_regret_on_a_steady_market() -> None:
    """The evidence's own are over 20 seeds; two are enough to see a rule broken."""
    drawn, side, both = (
        sum(score((rule, ("steady", ""), 0), seed, []).regret_bps for seed in range(2))
        for rule in ("Tsallis, adaptive", "Tsallis, adaptive, side", "Tsallis, adaptive, both")
    )
    assert drawn > side > both > 0.0
    assert synthetic("steady", 0).buys is not None
