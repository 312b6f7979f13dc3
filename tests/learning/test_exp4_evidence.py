"""A shorter run of the evidence: where the best arm depends on the context, EXP4 finds the expert that knows it."""

import pytest

from tests.learning.exp4_evidence import BEST, OTHERS, bound, regret, table

DECISIONS = 4_000
SEEDS = range(3)


def test_exp4_has_a_fifth_less_regret_than_exp3_and_stays_under_its_bound() -> None:
    """Whatever one arm Exp3-IX settles on, it is best in one regime of five: some .8 * .15 * T of regret."""
    beside = sum(regret("Exp3-IX", DECISIONS, seed) for seed in SEEDS)
    assert beside == pytest.approx(len(SEEDS) * 0.8 * (BEST - OTHERS) * DECISIONS, rel=0.1)
    for learner in ("EXP4", "EXP4-IX"):
        regrets = [regret(learner, DECISIONS, seed) for seed in SEEDS]
        assert sum(regrets) < 0.8 * beside
        assert max(regrets) < bound(DECISIONS)
        assert min(regrets) > 0.0


def test_the_bound_by_hand() -> None:
    """2 * 1.31083 * sqrt(5 * 20,000 * 1.60944) = 1051.75."""
    assert bound(20_000) == pytest.approx(1051.75, abs=0.05)


def test_the_table_has_a_row_for_each_learner() -> None:
    rows = list(table(50, 2))[4:]
    assert [row.split(" | ")[0] for row in rows] == ["| EXP4", "| EXP4-IX", "| Exp3-IX"]
