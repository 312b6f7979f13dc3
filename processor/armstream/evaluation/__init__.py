"""What a bandit earned above a fixed policy, estimated from its rewards alone, with how sure that is.

Law: pure; the events, the standard library and nothing else. What cannot be estimated is counted with its reason, and
never taken for zero.
"""

from armstream.evaluation.estimator import ArmEstimate, Counted, Evaluation, Regret
from armstream.evaluation.interval import Interval

__all__ = ["ArmEstimate", "Counted", "Evaluation", "Interval", "Regret"]
