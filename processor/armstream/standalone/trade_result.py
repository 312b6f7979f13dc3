"""A whole engine's loop: one trade of a blend, net of its costs, teaches each model by its share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from armstream.learning.contract import Update
from armstream.plain import numbers_by_name, plain_number, plain_side, positive_number


@dataclass(frozen=True, slots=True)
class TradeResult:
    """A trade that is over. The entry price is above 0, the exit price finite; fees and slippage in basis points of the
    entry price, for the whole trade; `model_contributions` maps arm to its share. Numbers may be numpy's or Decimal,
    and are floats then. ValueError for what cannot be.
    """

    entry_price: float
    exit_price: float
    fees_bps: float
    slippage_bps: float
    model_contributions: Mapping[str, float]
    side: str = "BUY"

    def __post_init__(self) -> None:
        plain = {
            "entry_price": positive_number("entry_price", self.entry_price),
            "exit_price": plain_number("exit_price", self.exit_price),
            "fees_bps": plain_number("fees_bps", self.fees_bps),
            "slippage_bps": plain_number("slippage_bps", self.slippage_bps),
            "model_contributions": numbers_by_name("model_contributions", self.model_contributions),
            "side": plain_side("side", self.side),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def reward_bps(self) -> float:
        """`sign * (exit - entry) / entry * 10_000 - fees - slippage`: 150 to 150.50 at 1 and 5 bps is 27.3333."""
        sign = 1.0 if self.side == "BUY" else -1.0
        gross_bps = sign * (self.exit_price - self.entry_price) / self.entry_price * 10_000
        return gross_bps - self.fees_bps - self.slippage_bps


class LearnsBlends(Protocol):
    """What learns from several models behind one trade: an Exp3IXBandit, an EnsembleWeightOptimizer, a saved one."""

    def update_many(self, contributions: Mapping[str, float], reward: float, attribution: str) -> Update: ...


def update_after_trade(bandit: LearnsBlends, trade: TradeResult, attribution: str = "sequential") -> Update:
    """Teach `bandit` what the trade earned, shared by contributions.

    sequential is one update an arm, in turn; under a large eta it favours the model that comes last, whose p the
    others have just made small. ValueError, with nothing changed, for an unknown model, no share above 0 or a reward
    beyond 1e12 bps.
    """
    return bandit.update_many(trade.model_contributions, trade.reward_bps, attribution)
