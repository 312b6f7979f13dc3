"""The evidence plays and counts what it says, against numbers worked by hand."""

from collections.abc import Sequence
from dataclasses import replace
from math import e, exp, log, sqrt

import numpy as np
import pytest
from numpy.random import default_rng

from armstream.demo.market import Bar
from armstream.learning import AdvisedBandit, Exp3IXBandit, TsallisBandit
from armstream.resources import resource
from armstream.rules import new_learner
from armstream.settings import load
from tests.comparison import Book
from tests.evidence import markets
from tests.evidence.learners import (
    RULES,
    Exp3IX,
    Exp4,
    Feedback,
    River,
    TextbookExp3,
    Tsallis,
    exp3_bound,
    exp3ix_bound,
    tsallis_bound,
    tuned_gamma,
)
from tests.evidence.markets import SYNTHETIC, Market, late, of_book, synthetic, without_drift
from tests.evidence.play import Job, Played, know, play, run
from tests.evidence.report import earned, jobs, late_table, mean_and_error, missed, paired_table

# ---------------------------------------------------------------------------------------------------------------------
# Markets
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SYNTHETIC)
def test_rewards_are_noise_around_what_a_market_says_they_earn(name: str) -> None:
    market = synthetic(name, 3)
    deviation = (market.rewards_bps - market.means_bps).mean(axis=0)
    assert np.abs(deviation[1:]).max() < 5 * 20 / sqrt(20_000)
    assert abs(deviation[0]) < 5 * 160 / sqrt(20_000)  # a crash of 1,512 in one of a hundred: 150 bps of deviation
    assert (market.means_bps[np.arange(20_000), market.best_arms] == market.means_bps.max(axis=1)).all()


def test_the_markets_are_what_they_are_called() -> None:
    steady, switching, crash, trap = (synthetic(name, 1) for name in SYNTHETIC)
    assert steady.means_bps.sum(axis=0).tolist() == [0, 0, 0, 200_000, 0]
    assert switching.means_bps.sum(axis=0).tolist() == [40_000] * 5
    assert switching.best_arms[[0, 1_999, 2_000, 19_999]].tolist() == [0, 0, 1, 4]
    assert crash.means_bps[7] == pytest.approx([-3.12, 5, 0, 0, 0])
    assert np.median(crash.rewards_bps[:, 0]) > 10 > np.median(crash.rewards_bps[:, 1]), "it looks best nearly always"
    assert trap.means_bps[[4_999, 5_000]].tolist() == [[10, 5, 0, 0, 0], [-10, 5, 0, 0, 0]]


def test_signals_of_synthetic_markets_are_fair_coins_that_say_nothing_of_rewards() -> None:
    market = synthetic("steady", 1)
    assert market.buys is not None
    assert np.abs(market.buys.mean(axis=0) - 0.5).max() < 5 * 0.5 / sqrt(20_000)
    correlations = np.corrcoef(np.hstack([market.buys, market.rewards_bps]).T) - np.eye(10)
    assert np.abs(correlations[:5]).max() < 5 / sqrt(20_000)


def test_a_seed_is_a_market_of_its_own_and_the_same_where_rewards_are_late() -> None:
    one, other = synthetic("steady", 1), synthetic("steady", 2)
    assert (one.rewards_bps == synthetic("steady", 1).rewards_bps).all()
    assert (one.rewards_bps != other.rewards_bps).any()
    assert [late(one, delay).wait for delay in (0, 5)] == [1, 6]
    assert late(one, 5).rewards_bps is one.rewards_bps


def test_without_drift_a_history_ends_where_it_began() -> None:
    """100 to 121 in two days is a factor of 1.1 a day: 100, 110 / 1.1, 121 / 1.21; the other prices go along."""
    bars = [Bar("", close - 1.0, close + 2.0, close - 3.0, close) for close in (100.0, 132.0, 121.0)]
    flat = without_drift(bars)
    assert [bar.close for bar in flat] == pytest.approx([100.0, 120.0, 100.0])
    assert (flat[1].open, flat[2].high, flat[2].low) == pytest.approx((131 / 1.1, 123 / 1.21, 118 / 1.21))


def test_a_book_is_scored_by_what_its_trades_earned() -> None:
    book = Book("X", "5d", 5, np.array([[1.0, 5.0], [3.0, -2.0]]), np.array([[True, False], [False, False]]))
    market = of_book(book)
    assert (market.wait, market.best_arms.tolist()) == (5, [0, 0])
    assert (market.means_bps == book.rewards_bps).all()
    assert market.buys is book.buys


# ---------------------------------------------------------------------------------------------------------------------
# Rules
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "file"), [("Exp3-IX, auto", None), ("importance", "documented.yaml"), ("tracking", "tracking.yaml")]
)
def test_the_shipped_rules_are_those_of_the_files(rule: str, file: str | None) -> None:
    learner = RULES[rule].make(1_000, "logged")
    assert isinstance(learner, Exp3IX)
    path = None if file is None else resource("config", file)
    rules = load(path, {}, {"online_learning": {"families": learner.bandit.arm_names}}).online_learning.for_learner()
    shipped_bandit = new_learner(rules)
    assert isinstance(shipped_bandit, Exp3IXBandit)
    not_the_rule = {"generator"}
    played, shipped = (
        {key: value for key, value in bandit.to_dict().items() if key not in not_the_rule}
        for bandit in (learner.bandit, shipped_bandit)
    )
    assert played == shipped


@pytest.mark.parametrize(
    ("rule", "file"), [("Tsallis, auto", "tsallis.yaml"), ("tracking, Tsallis", "tracking-tsallis.yaml")]
)
def test_the_shipped_rules_of_tsallis_are_those_of_the_files(rule: str, file: str) -> None:
    learner = RULES[rule].make(1_000, "logged")
    assert isinstance(learner, Tsallis)
    shipped_bandit = new_learner(load(resource("config", file), {}).online_learning.for_learner())
    assert isinstance(shipped_bandit, TsallisBandit)
    played, shipped = (
        [bandit.to_dict()[key] for key in ("algorithm", "reward_bound_bps", "eta", "fixed_share")]
        for bandit in (learner.bandit, shipped_bandit)
    )
    assert played == shipped


def test_the_shipped_exp4_is_that_of_the_file() -> None:
    """Same experts, and the same weights after the same trade."""
    learner = RULES["EXP4"].make(1_000, "logged")
    assert isinstance(learner, Exp4)
    families = {"online_learning": {"families": learner.bandit.arm_names}}
    shipped = new_learner(load(resource("config", "exp4.yaml"), {}, families).online_learning.for_learner())
    assert isinstance(shipped, AdvisedBandit)
    for bandit in (learner.bandit, shipped):
        assert bandit.is_warming
        bandit.set_bound(100.0)
        bandit.update_advice(0, {"bandit": 0.2, "best": 0.9, "uniform": 0.2}, 70.0, 0.3)
    assert learner.bandit.read_experts() == shipped.read_experts()
    assert (learner.bandit.eta, learner.bandit.learned()) == (shipped.eta, shipped.learned())


def test_the_bounds_of_the_rules_are_auto_but_where_they_say_100() -> None:
    bounds = {name: RULES[name].make(1_000, RULES[name].feedbacks[0]).bound_bps for name in RULES}
    assert {name for name, bound in bounds.items() if bound is None} == {
        *("Exp3-IX, auto", "tracking", "Tsallis, auto", "tracking, Tsallis", "EXP4", "uniform")
    }


def test_the_textbook_by_hand() -> None:
    """+100 of 100 bps is a gain of 1; at p = 1/5 the arm's log weight moves by gamma * 5 / 5."""
    learner = TextbookExp3(20_000, "logged")
    assert learner.gamma == pytest.approx(sqrt(5 * log(5) / ((e - 1) * 20_000)))
    learner.learn(2, 1e9, [0.2] * 5, 0.0)
    gamma = learner.gamma
    weight = exp(gamma) / (exp(gamma) + 4)
    assert learner.read()[0][2] == pytest.approx((1 - gamma) * weight + gamma / 5)


def test_river_is_the_textbook_where_nothing_is_late() -> None:
    one, other = TextbookExp3(500, "logged"), River(500)
    market = Market(default_rng(1).normal(0.0, 50.0, (500, 5)), np.zeros((500, 5)), np.zeros(500, np.intp))
    draws = default_rng(2).random(500).tolist()
    assert play(one, market, draws) == pytest.approx(play(other, market, draws), rel=1e-9)


def test_the_guarantees_by_hand() -> None:
    """K = 5, T = 20,000: sqrt(KT) = 316.23, ln 5 = 1.6094."""
    assert tsallis_bound(20_000) == pytest.approx(2 * 316.2278 + 50 * 9.903488 + 16, rel=1e-6)
    assert exp3ix_bound(20_000) == pytest.approx(4 * 401.1779 + (2 * 249.2663 + 1) * 3.688879, rel=1e-4)
    assert exp3_bound(20_000) == pytest.approx(2.621693 * 401.1779, rel=1e-4)
    assert tuned_gamma(1) == 1.0


# ---------------------------------------------------------------------------------------------------------------------
# Playing
# ---------------------------------------------------------------------------------------------------------------------


class Recorder:
    """A learner of two arms that says what it was told, and when."""

    bound_bps = None

    def __init__(self) -> None:
        self.decisions = 0
        self.learned: list[tuple[int, int, float, float]] = []

    def read(self) -> tuple[list[float], float]:
        self.decisions += 1
        return [0.5, 0.5], float(self.decisions)

    def learn(self, arm: int, reward_bps: float, probabilities: Sequence[float], eta: float) -> None:
        assert probabilities == [0.5, 0.5]
        self.learned.append((self.decisions, arm, reward_bps, eta))


def test_a_reward_is_learned_when_it_is_known_with_the_rate_of_its_decision() -> None:
    """Known 2 decisions later: before the third decision the first is learned, at its own rate."""
    market = Market(
        np.array([[1.0, -1.0], [2.0, -2.0], [3.0, -3.0], [4.0, -4.0]]), np.zeros((4, 2)), np.zeros(4, np.intp), 2
    )
    recorder = Recorder()
    play(recorder, market, [0.1, 0.9, 0.1, 0.1])
    assert recorder.learned == [(2, 0, 1.0, 1.0), (3, 1, -2.0, 2.0)]


@pytest.mark.parametrize("feedback", ["logged", "current"])
def test_current_feedback_divides_by_the_probability_of_the_moment(feedback: Feedback) -> None:
    """A first loss of 1 at p = 1/2 brings p of arm 0 under 1/2: the next is divided by that, or by the 1/2 logged."""
    market = Market(np.full((4, 2), -100.0), np.zeros((4, 2)), np.zeros(4, np.intp), 2)
    bandit = Exp3IXBandit(2, gamma=0.0, eta=0.1, estimator="implicit")
    probabilities = play(Exp3IX(bandit, feedback), market, [0.1, 0.1, 0.1, 0.1])
    first = 1 / 0.55
    p = 1 / (1 + exp(0.1 * first))
    assert probabilities[2, 0] == pytest.approx(p)
    assert bandit.state[0] == pytest.approx(first + 1 / ((0.5 if feedback == "logged" else p) + 0.05))


def test_tsallis_learns_by_the_distribution_of_the_decision() -> None:
    learner = RULES["Tsallis, auto"].make(10, "logged")
    assert isinstance(learner, Tsallis)
    learner.bandit.set_bound(100.0)
    learner.learn(0, 100.0, [0.4, 0.3, 0.1, 0.1, 0.1], 0.5)
    assert learner.bandit.state == pytest.approx([0.5 - 0.5 / 0.4, 0.5, 0.0, 0.0, 0.0])


def test_a_run_counts_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uniform earns the mean of 10 and five arms; best in hindsight is arm 1; nothing collapses."""
    rewards = np.array([[0.0, 10.0, 0.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0, 0.0]])
    two = [Market(rewards, rewards, np.ones(2, np.intp)), Market(2 * rewards, 2 * rewards, np.ones(2, np.intp))]
    know({("test", "1d"): two})
    played = run(Job("uniform", ("test", "1d"), 0, "logged", 0))
    assert played.above_uniform_bps == pytest.approx(0.0)
    assert played.regret_bps == pytest.approx((10 + 20) / 4 - (15 + 30) / 5 / 4)
    assert (played.collapsed, played.regret_bound_bps) == (0.0, None)

    class Stubborn(Recorder):
        def read(self) -> tuple[list[float], float]:
            return [0.95, 0.0125, 0.0125, 0.0125, 0.0125], 0.0

        def learn(self, arm: int, reward_bps: float, probabilities: Sequence[float], eta: float) -> None:
            """Nothing."""

    rule = replace(RULES["uniform"], make=lambda decisions, feedback: Stubborn())  # noqa: ARG005 - it needs neither
    monkeypatch.setattr("tests.evidence.play.RULES", {"stubborn": rule})
    assert run(Job("stubborn", ("test", "1d"), 0, "logged", 0)).collapsed == 1.0
    know({("test", "1d"): [replace(market, best_arms=np.array([0, 1])) for market in two]})
    assert run(Job("stubborn", ("test", "1d"), 0, "logged", 0)).collapsed == 0.5


def test_the_automatic_bound_meets_its_targets_on_a_steady_market() -> None:
    """The evidence's own are over 20 seeds; three are enough to see a rule broken."""
    for rule, target in (("Exp3-IX, auto", 1.8), ("Tsallis, auto", 0.5)):
        regrets = [run(Job(rule, ("steady", ""), 0, "logged", seed)).regret_bps for seed in range(3)]
        assert sum(regrets) / 3 < target * 1.1, rule


# ---------------------------------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------------------------------


def test_a_mean_has_its_standard_error() -> None:
    """1, 2, 3: mean 2, deviation 1, error 1 / sqrt(3)."""
    assert mean_and_error(np.array([1.0, 2.0, 3.0])) == pytest.approx((2.0, 1 / sqrt(3)))


def test_pairs_are_of_one_seed() -> None:
    """10 and 30 against 9 and 28: differences 1 and 2, 1.5 with an error of .5, so t = 3; unpaired there is none."""

    def seeds(*above: float) -> list[Played]:
        return [Played(each, 0.0, None, 0.0, np.zeros(1)) for each in above]

    places = [(prices, horizon) for prices in ("as they were", "without drift") for horizon in ("1d", "5d", "20d")]
    results = {("a", place, 0, "logged"): seeds(10.0, 30.0) for place in places}
    results |= {("b", place, 0, "logged"): seeds(9.0, 28.0) for place in places}
    rows = list(paired_table(results, "a", "b"))  # type: ignore[arg-type] # literals are widened to str here
    assert rows[2] == "| as they were | 1d | 1.50 | 0.50 | 3.0 |"


def test_late_rewards_have_a_column_for_each_delay_and_propensity_that_was_played() -> None:
    """Two seeds of 1 and 3 above uniform: 2 with an error of 1. Regrets of 5 and 2, one of ten decisions collapsed."""
    seeds = [Played(1.0, 5.0, None, 0.1, np.zeros(1)), Played(3.0, 2.0, None, 0.1, np.zeros(1))]
    worse = [replace(each, above_uniform_bps=-each.above_uniform_bps) for each in seeds]
    results = {job.case: seeds for job in jobs(1)}
    results["Exp3-IX, auto", ("as they were", "1d"), 50, "current"] = worse
    rows = [*late_table(results, earned), *late_table(results, missed)]
    good, bad = "2.00 ± 1.00", "-2.00 ± 1.00"
    assert f"| as they were 1d | Exp3-IX, auto | {good} | {good} | {good} | {good} | {bad} |" in rows
    assert f"| steady | Tsallis, auto | {good} | {good} |  | {good} |  |" in rows
    good, bad = "3.50; 10 %; 0", "3.50; 10 %; 2"
    assert f"| as they were 1d | Exp3-IX, auto | {good} | {good} | {good} | {good} | {bad} |" in rows


def test_every_rule_is_played_everywhere_and_some_never_without_what_was_logged() -> None:
    every = jobs(2)
    assert len(every) == len(set(every))
    assert {job.rule for job in every} == set(RULES)
    for rule in ("Tsallis, auto", "tracking, Tsallis", "EXP4"):
        assert {job.feedback for job in every if job.rule == rule} == {"logged"}
    for rule in RULES:
        for place in ("steady", "as they were"):
            assert {job.delay for job in every if (job.rule, job.place[0]) == (rule, place)} == {0, 5, 50}
        assert {job.place[0] for job in every if job.rule == rule} == {
            *("steady", "switching", "rare crash", "as they were", "without drift")
        }
    assert markets.DECISIONS == 20_000
