"""How often intervals hold, in the small; docs/evidence/intervals.md has it in the large."""

from math import comb
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from armstream.resources import resource
from tests.evidence.intervals import (
    ARMS,
    EDGE_BPS,
    MOVE_BPS,
    POLICIES,
    PRESETS,
    Job,
    run,
    settings_of,
    sided,
    summed,
)

SEEDS, TRADES, PROMISED = 50, 250, 0.93
CHANCE = 1e-3  # of a red test where the promise is kept, each


def least(count: int) -> int:
    """The fewest that hold, but for that chance, where each holds with the promised probability."""
    below, held = 0.0, 0
    while (below := below + comb(count, held) * PROMISED**held * (1.0 - PROMISED) ** (count - held)) < CHANCE:
        held += 1
    return held


def test_the_fewest_is_where_the_binomial_tail_says() -> None:
    """P(at most 39 of 50 at .93) is .0006, and that of at most 40 is .0022."""
    assert least(50) == 40


@pytest.mark.parametrize("preset", PRESETS)
def test_intervals_hold_where_the_market_turns(preset: str) -> None:
    runs = [run(Job(preset, "switching", TRADES, seed)) for seed in range(SEEDS)]
    for policy in POLICIES:
        held, given = summed(runs, policy)
        assert min(held.same, held.expected) * given >= least(given) - 1e-9


def test_each_preset_of_the_package_is_judged() -> None:
    files = {path.name for path in Path(resource("config", "default.yaml")).parent.glob("*.yaml")}
    assert {file for judged in PRESETS.values() for file in judged} == files


@pytest.mark.parametrize("files", [files for files in PRESETS.values() if len(files) > 1])
def test_files_that_are_judged_as_one_have_the_same_learner(files: tuple[str, ...]) -> None:
    assert len({settings_of(file).determining_json() for file in files}) == 1


def test_the_market_pays_the_edge_that_it_says() -> None:
    """200,000 trades: the error of a mean is 20 / sqrt(200,000) = .045 bps."""
    edges = np.zeros((200_000, len(ARMS)))
    edges[:, 1] = EDGE_BPS
    market = sided(edges, default_rng(1))
    assert market.rewards_bps.mean(axis=0) == pytest.approx(market.means_bps[0], abs=0.2)
    assert market.rewards_bps.std() == pytest.approx(MOVE_BPS, rel=0.05)
