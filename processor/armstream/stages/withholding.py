"""Whether a reward may be learned. Law: this is the only place that says so. What is withheld is published, not
applied, with the reason.
"""

from armstream.events import DecisionSnapshot
from armstream.learning.refusals import MAX_REWARD_BPS
from armstream.stages.state import Bandit, TaskState

WARMING_UP = "the reward bound is not found yet"  # so this reward goes into finding it, and into nothing else


def why_withheld(state: TaskState, bandit: Bandit, decision: DecisionSnapshot) -> str:
    """Why the bandit learns nothing of this decision now; "" where it does."""
    if not state.registry.template.enabled:
        return "learning is disabled"
    if bandit.paused:
        return "the bandit is paused"
    arm, arms = decision.arm, bandit.arm_index
    if arm is not None:
        if arm not in arms:
            return f"arm {arm!r} was removed"
    else:
        for name, share in decision.contributions.items():
            if share and name not in arms:
                return f"arm {name!r} was removed"
    assert bandit.rule is not None  # only fills are matched, and a fill's acceptance made a learner
    assert bandit.learner is not None
    return bandit.rule.withheld(decision) or (WARMING_UP if bandit.learner.is_warming else "")


def why_unlearnable(reward_bps: float) -> str:
    """Why no learner takes a reward beyond MAX_REWARD_BPS, or one that is no number."""
    return f"a reward of {reward_bps!r} bps is not finite or beyond {MAX_REWARD_BPS:g}"


def why_too_costly(costs: float, notional: float, max_cost_ratio: float) -> str:
    """Why no learner takes what cost more than it was worth: such fees are a mistake of their sender."""
    return (
        f"costs of {costs:g} are above rewards.max_cost_ratio, {max_cost_ratio:g}, times the notional of {notional:g}"
    )
