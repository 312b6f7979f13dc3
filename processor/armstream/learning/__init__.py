"""The mathematics of Armstream: how rewards move the weights of arms. Standard library and numpy, no clock, no I/O."""

from armstream.learning.advised import AdvisedBandit, ExpertKind, ExpertLearned
from armstream.learning.arms import Reading, Update
from armstream.learning.exp3 import Exp3IXBandit
from armstream.learning.exp4 import Exp4Bandit
from armstream.learning.reward_bound import RewardBound
from armstream.learning.reward_tracker import ArmStats, OpenPosition, RewardTracker
from armstream.learning.trade_result import TradeResult, update_after_trade
from armstream.learning.tsallis import Draw, TsallisBandit
from armstream.learning.weight_optimizer import EnsembleWeightOptimizer, Selection, blend, mix

__all__ = [
    "AdvisedBandit",
    "ArmStats",
    "Draw",
    "EnsembleWeightOptimizer",
    "Exp3IXBandit",
    "Exp4Bandit",
    "ExpertKind",
    "ExpertLearned",
    "OpenPosition",
    "Reading",
    "RewardBound",
    "RewardTracker",
    "Selection",
    "TradeResult",
    "TsallisBandit",
    "Update",
    "blend",
    "mix",
    "update_after_trade",
]
