"""The documented engine's loop trades, learns from each trade by its contributions, and goes on from its file."""

import subprocess
import sys
from pathlib import Path

import pytest

from armstream.demo.families import FAMILIES
from armstream.demo.market import STOCKS, Bar, load_bars
from armstream.learning import EnsembleWeightOptimizer
from armstream.standalone.persistence import read_json
from armstream.standalone.saved_optimizer import SavedOptimizer
from tests.examples.documented_engine import BASE_WEIGHTS, Engine, run, trades


@pytest.fixture
def state_file(tmp_path: Path) -> str:
    return str(tmp_path / "bandit_state.json")


def rising(n_bars: int) -> list[Bar]:
    """1 % a day; all models but mean_reversion buy it."""
    prices = [100.0 * 1.01**day for day in range(n_bars)]
    return [Bar(f"day {day}", price, price, price, price) for day, price in enumerate(prices)]


def engine(state_file: str, use_online_learning: bool) -> Engine:
    optimizer = EnsembleWeightOptimizer(list(FAMILIES), [], eta=0.001)
    return Engine(SavedOptimizer(optimizer, state_file), use_online_learning=use_online_learning)


def test_a_trade_by_hand(state_file: str) -> None:
    """Four of five equal votes: BUY, a quarter each; (1.01^5 - 1) * 10,000 less 2 and 2 is 506.1005 bps. Each learns
    eta * .25 * reward / p, and p is first 1/5."""
    trading = engine(state_file, use_online_learning=True)
    (trade,) = trades(trading, rising(66))
    assert trade.side == "BUY"
    assert trade.model_contributions == pytest.approx(dict.fromkeys(FAMILIES.keys() - {"mean_reversion"}, 0.25))
    assert trade.reward_bps == pytest.approx(506.10050, abs=1e-4)
    bandit = trading.saved.optimizer.bandit
    assert bandit.arm_pulls == [int(family != "mean_reversion") for family in FAMILIES]
    assert sum(bandit.cumulative_rewards) == pytest.approx(trade.reward_bps)
    behind = bandit.get_weights_dict()["momentum"] / bandit.get_weights_dict()["mean_reversion"]
    assert behind == pytest.approx(2.718281828459045 ** (0.001 * 0.25 * trade.reward_bps * 5), rel=1e-9)


def test_it_trades_on_base_weights_for_500_decisions_and_then_on_blended_ones(state_file: str) -> None:
    """Four decisions a trade: 125 trades. Then mean_reversion has .7 * .2 + .3 * next to nothing."""
    trading = engine(state_file, use_online_learning=True)
    weights = [trading.weights() for _ in trades(trading, rising(61 + 130 * 5))]
    assert weights[123] == pytest.approx(BASE_WEIGHTS)
    assert weights[124]["mean_reversion"] == pytest.approx(0.14, abs=0.005)
    assert sum(weights[124].values()) == pytest.approx(1.0)


def test_base_alone_learns_nothing(state_file: str) -> None:
    trading = engine(state_file, use_online_learning=False)
    assert len(list(trades(trading, rising(700)))) > 125
    assert trading.weights() == BASE_WEIGHTS
    assert trading.saved.optimizer.total_steps == 0


def test_it_goes_on_from_its_file_as_if_it_had_never_stopped(state_file: str) -> None:
    bars = load_bars()
    in_one = list(run(state_file, {"AAPL": bars["AAPL"], "GOOG": bars["GOOG"]}, use_online_learning=True))
    other_file = f"{state_file}.other"
    in_two = [line for stock in ("AAPL", "GOOG") for line in run(other_file, {stock: bars[stock]}, True)]
    assert in_two == in_one
    kept, other = read_json(state_file), read_json(other_file)
    assert kept.pop("generator") != other.pop("generator"), "it is unseeded and draws nothing"
    assert kept == other
    assert kept["total_steps"] > 500


def test_its_command_trades_every_stock(state_file: str) -> None:
    command = [sys.executable, "-m", "tests.examples.documented_engine", "--state-file", state_file]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=root)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if "trades" in line] == list(STOCKS)
    assert all(sum(line.split()[0] == family for line in lines) == len(STOCKS) for family in FAMILIES)
