"""The comparison scores what it says it scores, against numbers worked by hand."""

from math import exp, log, sqrt

import numpy as np
import pytest

from armstream.demo.desk import HORIZONS
from armstream.demo.market import Bar
from armstream.learning import Exp3IXBandit
from tests.comparison import ARMS, Book, books, in_turn, learning_rules, play


def test_an_arm_earns_what_the_demo_would_pay_it() -> None:
    """Decided at a close, filled at the next open, ended `held` closes later; 1 bps a side and 2 bps of slippage."""
    bars = [Bar("", 100.0 + day, 101.0 + day, 99.0 + day, 100.5 + day) for day in range(90)]

    of_horizon = {book.horizon: book for book in books("X", bars)}

    assert {name: len(book.rewards_bps) for name, book in of_horizon.items()} == {"1d": 30, "5d": 26, "20d": 11}
    first_decision = 59
    for horizon, held_bars in HORIZONS.items():
        entry, exit_ = bars[first_decision + 1].open, bars[first_decision + held_bars].close
        costs = entry * 1e-4 + exit_ * 3e-4
        expected = (exit_ - entry - costs) / entry * 10_000
        buy_and_hold = of_horizon[horizon].rewards_bps[0, ARMS.index("buy_and_hold")]
        assert buy_and_hold == pytest.approx(expected, rel=1e-12)
        # Prices only rise: mean reversion is short, and pays what the others earn, and costs.
        mean_reversion = of_horizon[horizon].rewards_bps[0, ARMS.index("mean_reversion")]
        assert mean_reversion == pytest.approx(expected - 2 * (exit_ - entry) / entry * 10_000, rel=1e-12)
        assert of_horizon[horizon].buys[0].tolist() == [arm != "mean_reversion" for arm in ARMS]


def test_a_reward_is_learned_when_its_position_ends_by_the_propensity_of_its_draw() -> None:
    """Held two bars: the first two decisions are uniform, and only the third knows the first reward."""
    rewards_bps = np.array([[60.0, -100.0], [40.0, 0.0], [30.0, 10.0]])
    bandit = Exp3IXBandit(2, estimator="implicit", gamma=0.0, eta_max=None, reward_bound_bps=100.0)

    earned_bps = play(bandit, Book("X", "2d", 2, rewards_bps, rewards_bps > 0.0), [0.1, 0.1, 0.1])

    eta = [sqrt(log(2) / (2 * t)) for t in range(1, 5)]
    first = 0.2 / (0.5 + eta[0] / 2)  # a loss of (100 - 60) / 200, drawn with probability 1/2
    p = 1 / (1 + exp(eta[1] * first))
    assert earned_bps.tolist() == pytest.approx([-20.0, 20.0, 30.0 * p + 10.0 * (1 - p)], rel=1e-12)
    losses = first + 0.3 / (0.5 + eta[1] / 2) + 0.35 / (p + eta[2] / 2)
    assert bandit.read().weights[0] == pytest.approx(1 / (1 + exp(eta[3] * losses)), rel=1e-12)


def test_what_is_learned_moves_the_next_score() -> None:
    rewards_bps = np.array([[-100.0, 100.0], [-100.0, 100.0]])
    bandit = Exp3IXBandit(2, estimator="implicit", gamma=0.0, eta_max=None, reward_bound_bps=100.0)

    earned_bps = play(bandit, Book("X", "1d", 1, rewards_bps, rewards_bps > 0.0), [0.1, 0.9])

    loss = 1.0 / (0.5 + sqrt(log(2) / 2) / 2)
    p = 1 / (1 + exp(sqrt(log(2) / 4) * loss))
    assert earned_bps.tolist() == pytest.approx([0.0, 100.0 * (1 - p) - 100.0 * p], rel=1e-12)


def test_trades_of_several_stocks_come_in_turn_and_a_short_history_ends_early() -> None:
    assert in_turn([np.array([1.0, 2.0, 3.0]), np.array([10.0])]).tolist() == [1.0, 10.0, 2.0, 3.0]


def test_the_rules_are_those_of_the_files() -> None:
    rules = learning_rules()

    assert {name: (one.estimator, one.gamma, one.eta_max) for name, one in rules.items()} == {
        "importance": ("importance", 0.05, 0.07),
        "shipped, B auto": ("implicit", 0.0, None),
        "shipped, B = 100": ("implicit", 0.0, None),
        "shipped, B = 1000": ("implicit", 0.0, None),
    }
    assert [one.reward_bound_bps for one in rules.values()][1:] == ["auto", 100.0, 1000.0]
