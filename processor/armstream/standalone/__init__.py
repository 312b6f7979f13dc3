"""What serves people without Kafka: the optimizer, the reward law, EXP4 over callables, and state in a file.

`armstream.learning` gives the same names.
"""

from armstream.standalone.exp4_bandit import Exp4Bandit
from armstream.standalone.reward_tracker import ArmStats, OpenPosition, RewardTracker
from armstream.standalone.saved_optimizer import SavedOptimizer
from armstream.standalone.trade_result import TradeResult, update_after_trade
from armstream.standalone.weight_optimizer import EnsembleWeightOptimizer, Selection

__all__ = [
    "ArmStats",
    "EnsembleWeightOptimizer",
    "Exp4Bandit",
    "OpenPosition",
    "RewardTracker",
    "SavedOptimizer",
    "Selection",
    "TradeResult",
    "update_after_trade",
]
