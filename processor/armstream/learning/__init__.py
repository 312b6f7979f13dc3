"""The mathematics of Armstream: how rewards move the weights of arms. Standard library and numpy, no clock, no I/O.

What is of `armstream.standalone` is loaded when it is asked for: that room imports this one.
"""

from typing import TYPE_CHECKING

from armstream.learning.bandit_rules import Exp3IX, Tsallis
from armstream.learning.blending import blend, mix
from armstream.learning.contract import (
    Decision,
    ExpertLearned,
    Learned,
    Learner,
    Logged,
    Observed,
    Part,
    Reading,
    Rule,
    Update,
)
from armstream.learning.drawing import Draw
from armstream.learning.exp3ix import Exp3IXBandit
from armstream.learning.exp4.bandit import AdvisedBandit, Exp4
from armstream.learning.reward_bound import RewardBound
from armstream.learning.settings import ExpertKind, LearningSettings
from armstream.learning.tsallis import TsallisBandit

if TYPE_CHECKING:
    from armstream.standalone import (
        ArmStats,
        EnsembleWeightOptimizer,
        Exp4Bandit,
        OpenPosition,
        RewardTracker,
        SavedOptimizer,
        Selection,
        TradeResult,
        update_after_trade,
    )

__all__ = [
    "AdvisedBandit",
    "ArmStats",
    "Decision",
    "Draw",
    "EnsembleWeightOptimizer",
    "Exp3IX",
    "Exp3IXBandit",
    "Exp4",
    "Exp4Bandit",
    "ExpertKind",
    "ExpertLearned",
    "Learned",
    "Learner",
    "LearningSettings",
    "Logged",
    "Observed",
    "OpenPosition",
    "Part",
    "Reading",
    "RewardBound",
    "RewardTracker",
    "Rule",
    "SavedOptimizer",
    "Selection",
    "TradeResult",
    "Tsallis",
    "TsallisBandit",
    "Update",
    "blend",
    "mix",
    "update_after_trade",
]


def __getattr__(name: str) -> object:
    """A name of the standalone room."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from armstream import standalone  # noqa: PLC0415 - that room imports this one

    return getattr(standalone, name)
