"""A trading engine that learns from its own trades, without Kafka: `python -m tests.examples.documented_engine`.

Five models vote on real daily prices (the demo's). The engine trades the way that most weight votes, and when a trade
is over it tells the optimizer which models were behind it, and with what share.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence

from armstream.demo.families import FAMILIES, LOOKBACK_BARS
from armstream.demo.market import Bar, load_bars
from armstream.learning import EnsembleWeightOptimizer, TradeResult, blend, update_after_trade
from armstream.standalone.saved_optimizer import SavedOptimizer

HELD_BARS = 5
FEES_BPS, SLIPPAGE_BPS = 2.0, 2.0  # declared: 1 bps a side, and 2 of slippage
BASE_WEIGHTS = dict.fromkeys(FAMILIES, 1 / len(FAMILIES))


class Engine:
    """What to trade, by base weights alone or blended with what was learned."""

    def __init__(self, saved: SavedOptimizer, *, use_online_learning: bool, bandit_blend_alpha: float = 0.3) -> None:
        self.saved = saved
        self.use_online_learning = use_online_learning
        self.bandit_blend_alpha = bandit_blend_alpha

    def weights(self) -> dict[str, float]:
        """Base alone for the first 500 decisions learned from, then 30 % of the bandit's; each sums to 1."""
        if not self.use_online_learning:
            return BASE_WEIGHTS
        optimizer = self.saved.optimizer
        learned = optimizer.get_blending_weights()
        return blend(BASE_WEIGHTS, learned, total_steps=optimizer.total_steps, alpha=self.bandit_blend_alpha)

    def decide(self, bars: Sequence[Bar]) -> tuple[str, dict[str, float]]:
        """The side that most weight votes for, and the share of each model that did."""
        weights = self.weights()
        votes = {family: FAMILIES[family](bars) for family in weights}
        behind_buy = sum(weights[family] for family, vote in votes.items() if vote == "BUY")
        side, behind = ("BUY", behind_buy) if behind_buy >= 0.5 else ("SELL", 1 - behind_buy)
        return side, {family: weights[family] / behind for family, vote in votes.items() if vote == side}

    def learn(self, trade: TradeResult) -> None:
        """A reward net of costs, shared by contributions; saved to the state file each `save_interval` updates."""
        if self.use_online_learning:
            update_after_trade(self.saved, trade)


def trades(engine: Engine, bars: Sequence[Bar]) -> Iterator[TradeResult]:
    """One trade after the other: in at a bar's close, out five bars later, and learned from before the next."""
    for now in range(LOOKBACK_BARS, len(bars) - HELD_BARS, HELD_BARS):
        side, contributions = engine.decide(bars[now - LOOKBACK_BARS : now + 1])
        entry_price, exit_price = bars[now].close, bars[now + HELD_BARS].close
        trade = TradeResult(entry_price, exit_price, FEES_BPS, SLIPPAGE_BPS, contributions, side)
        engine.learn(trade)
        yield trade


def report(stock: str, engine: Engine, rewards_bps: Sequence[float]) -> Iterator[str]:
    how = "base and bandit" if engine.use_online_learning else "base alone"
    yield f"{stock} {how}: {len(rewards_bps)} trades, {sum(rewards_bps) / len(rewards_bps):+.2f} bps a trade"
    if engine.use_online_learning:
        learned, blended = engine.saved.optimizer.get_blending_weights(), engine.weights()
        for family, base in BASE_WEIGHTS.items():
            yield f"  {family:15} base {base:.3f}  bandit {learned[family]:.3f}  blended {blended[family]:.3f}"


def run(state_file: str, bars_of: Mapping[str, Sequence[Bar]], use_online_learning: bool) -> Iterator[str]:
    """Trade each stock in turn, with one optimizer for all that lives in `state_file`."""
    optimizer = EnsembleWeightOptimizer(list(FAMILIES), [], eta=0.001)  # an eta for rewards of some 100 bps
    with SavedOptimizer(optimizer, state_file, save_interval=100) as saved:
        engine = Engine(saved, use_online_learning=use_online_learning)
        for stock, bars in bars_of.items():
            yield from report(stock, engine, [trade.reward_bps for trade in trades(engine, bars)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state-file", default="state/bandit_state.json", help="where it goes on from (%(default)s)")
    parser.add_argument("--base-alone", action="store_true", help="use_online_learning: false")
    arguments = parser.parse_args()
    for line in run(arguments.state_file, load_bars(), use_online_learning=not arguments.base_alone):
        print(line)  # noqa: T201 - a script
