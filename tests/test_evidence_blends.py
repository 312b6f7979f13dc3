"""The comparison of blends: each policy plays what it says it plays, and learns what was logged with the decision."""

import numpy as np
import pytest
import yaml

from armstream.learning import AdvisedBandit
from armstream.resources import resource
from tests.evidence import blends
from tests.evidence.blends import ARMS, BASES, POLICIES, FixedBlend, exp4, mean_bps, side_by_side, table
from tests.evidence.learners import Exp4
from tests.evidence.markets import Market
from tests.evidence.play import play


def market_of(rewards: list[list[float]], wait: int = 1) -> Market:
    earned = np.array(rewards)
    return Market(earned, earned, earned.argmax(axis=1), wait)


def test_base_alone_earns_its_weights_by_hand() -> None:
    """Trend is .3, .1, .3, .2, .1 over momentum, mean reversion, breakout, average cross, buy and hold."""
    market = market_of([[10.0, 0.0, 0.0, 0.0, 0.0], [0.0, 20.0, 0.0, -5.0, 0.0]])
    assert mean_bps([market], ("trend", "base alone", 1)) == pytest.approx((3.0 + (2.0 - 1.0)) / 2)


def test_the_fixed_blend_is_base_until_it_is_warm_and_then_thirty_percent_the_bandits() -> None:
    rewards = [[30.0 if arm == 2 else float(number % 7) for arm in range(5)] for number in range(700)]
    policy = FixedBlend(BASES["contrarian"])
    played = play(policy, market_of(rewards), np.random.default_rng(1).random(700).tolist())
    base = [BASES["contrarian"][arm] for arm in ARMS]
    assert played[0] == pytest.approx(base)
    assert played[599] == pytest.approx(base)  # 100 rewards found the bound, 500 decisions more warm it up
    weights = policy._learner.bandit.read().weights
    assert policy.read()[0] == pytest.approx([0.7 * b + 0.3 * w for b, w in zip(base, weights, strict=True)])
    assert played[699][2] > base[2]


def test_the_learned_blend_is_taught_what_each_expert_said_at_the_decision() -> None:
    """Rewards come three decisions later; by hand with the same draws."""
    generator = np.random.default_rng(3)
    rewards = generator.normal(0.0, 30.0, (300, 5))
    draws = generator.random(300).tolist()
    policy = exp4(BASES["trend"])
    assert isinstance(policy, Exp4)
    played = play(policy, market_of(rewards.tolist(), wait=3), draws)
    twin = AdvisedBandit(ARMS, {"base": BASES["trend"], "bandit": "exp3ix", "uniform": "uniform"})
    decisions: list[tuple[int, float, dict[str, float]]] = []
    for now, draw in enumerate(draws):
        if now >= 3:
            arm, propensity, advice = decisions[now - 3]
            twin.update_advice(arm, advice, float(rewards[now - 3][arm]), propensity)
        probabilities = twin.read().probabilities
        assert played[now] == pytest.approx(probabilities, abs=1e-15)
        arm = min(int(np.searchsorted(np.cumsum(probabilities), draw, side="right")), 4)
        said = {each.name: each.distribution[arm] for each in twin.read_experts()}
        decisions.append((arm, probabilities[arm], said))
    assert twin.total_steps == 197  # a hundred found the bound, and three are still to come
    assert policy.bandit.learned() == twin.learned()


def test_the_tables_show_all_seeds_and_pair_them_with_those_of_base_alone() -> None:
    """Differences of +1 and +3: a mean of 2, a standard error of 1."""
    place = ("as they were", "1d")
    results = {(place, "trend", policy): [5.0, 5.0] for policy in POLICIES} | {(place, "trend", "EXP4"): [6.0, 8.0]}
    assert list(table(results))[-1] == "| as they were | 1d | trend | EXP4 | 2.00 | 1.00 | 0 of 2 |"
    (row,) = list(side_by_side(results))[2:]
    assert row == "| as they were | 1d | trend | 5.00 | 5.00 | 5.00 | 7.00 (6.00 to 8.00) |"


def test_every_base_is_a_distribution_over_the_demos_families() -> None:
    for base in blends.BASES.values():
        assert base.keys() == set(ARMS)
        assert sum(base.values()) == pytest.approx(1.0)
    shipped = yaml.safe_load(resource("config", "demo-exp4.yaml").read_text(encoding="utf-8"))
    assert shipped["online_learning"]["experts"]["base"] == blends.BASES["trend"]
