"""The table of attributions by hand, and that a larger share of what earned ends with a larger weight."""

from math import exp, log, sqrt

import pytest

from armstream.learning import Exp3IXBandit
from tests.learning.contributions import ATTRIBUTIONS, RULES, SHARES, after, table

NET_BPS = 100 / 3 - 6
SIGNAL = -NET_BPS / 200  # loss - 1/2 with B = 100


def softmax(powers: list[float]) -> list[float]:
    return [exp(each) / sum(map(exp, powers)) for each in powers]


def read(powers: list[float]) -> list[float]:
    """Importance weighting's p: gamma = .05."""
    return [0.95 * weight + 0.05 / 3 for weight in softmax(powers)]


@pytest.mark.parametrize(("rule", "eta"), [("importance", 0.07), ("importance, eta = .01", 0.01)])
def test_importance_weighting_by_hand(rule: str, eta: float) -> None:
    """Shares of 27.3333 bps are 13.6667, 8.2, 5.4667; over p = 1/3 they are 41, 24.6, 16.4; the automatic rate,
    sqrt(ln 3 / (3 t)), is .35 at t = 3, so that its cap of .07 binds. In turn, each p is that after the one before."""
    update, weights = after(rule, "undivided", 1)
    assert update.estimates == pytest.approx((41 / 3, 8.2, 16.4 / 3), rel=1e-12)
    assert weights == pytest.approx(softmax([eta * 41 / 3, eta * 8.2, eta * 16.4 / 3]), rel=1e-12)

    update, weights = after(rule, "simultaneous", 1)
    assert update.estimates == pytest.approx((41.0, 24.6, 16.4), rel=1e-12)
    assert weights == pytest.approx(softmax([eta * 41.0, eta * 24.6, eta * 16.4]), rel=1e-12)

    update, weights = after(rule, "sequential", 1)
    second = 8.2 / read([eta * 41.0, 0.0, 0.0])[1]
    third = 16.4 / 3 / read([eta * 41.0, eta * second, 0.0])[2]
    assert update.estimates == pytest.approx((41.0, second, third), rel=1e-12)
    assert weights == pytest.approx(softmax([eta * 41.0, eta * second, eta * third]), rel=1e-9, abs=1e-10)


def test_the_shipped_rule_by_hand() -> None:
    """eta_t = sqrt(ln 3 / (3 t)), no exploration; the weights are read with the rate of the round after."""
    first, second, third, fourth = (sqrt(log(3) / (3 * t)) for t in (1, 2, 3, 4))
    shares = list(SHARES.values())

    update, weights = after("shipped", "undivided", 1)
    assert update.estimates == pytest.approx([share * SIGNAL for share in shares], rel=1e-12)
    assert weights == pytest.approx(softmax([-second * share * SIGNAL for share in shares]), rel=1e-12)

    update, weights = after("shipped", "simultaneous", 1)
    estimates = [share * SIGNAL / (1 / 3 + first / 2) for share in shares]
    assert update.estimates == pytest.approx(estimates, rel=1e-12)
    assert weights == pytest.approx(softmax([-second * each for each in estimates]), rel=1e-12)

    update, weights = after("shipped", "sequential", 1)
    losses = [0.5 * SIGNAL / (1 / 3 + first / 2), 0.0, 0.0]
    losses[1] = 0.3 * SIGNAL / (softmax([-second * each for each in losses])[1] + second / 2)
    losses[2] = 0.2 * SIGNAL / (softmax([-third * each for each in losses])[2] + third / 2)
    assert update.estimates == pytest.approx(losses, rel=1e-12)
    assert weights == pytest.approx(softmax([-fourth * each for each in losses]), rel=1e-12)


def test_the_table_has_a_row_for_each_rule_and_attribution() -> None:
    rows = table()[2:]
    assert [row.split(" | ")[:2] for row in rows] == [[f"| {rule}", each] for rule in RULES for each in ATTRIBUTIONS]


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
@pytest.mark.parametrize("estimator", ["importance", "implicit"])
def test_a_larger_share_of_what_earned_ends_with_a_larger_weight(estimator: str, attribution: str) -> None:
    """a has most of each gain and least of each loss, c the other way round, b as much of one as of the other; c is
    named first, so that it is not the order that counts."""
    bandit = Exp3IXBandit(3, ["c", "b", "a"], eta=0.001 if estimator == "importance" else None, estimator=estimator)
    for _ in range(300):
        bandit.update_many({"c": 0.1, "b": 0.3, "a": 0.6}, 25.0, attribution)
        bandit.update_many({"c": 0.6, "b": 0.3, "a": 0.1}, -25.0, attribution)
    c, b, a = bandit.read().weights
    assert a > 1.2 * b > 1.2 * 1.2 * c


def test_with_a_large_rate_division_by_p_gives_the_first_trades_to_the_arm_that_comes_last() -> None:
    """Under importance weighting's rate of .07 lightgbm's estimate of 41 leaves the others a small p, and what is
    divided by it is large: lstm, with the smallest share, ends with all. Undivided has no such p."""
    assert after("importance", "sequential", 1)[1][2] > 0.99
    undivided = after("importance", "undivided", 1)[1]
    assert undivided == sorted(undivided, reverse=True)
