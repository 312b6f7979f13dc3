"""What may be done to rewards before a rule sees them, and to weights after it: transforms and fixed share.

Law: a transform keeps the reward's sign, and a fixed share keeps the weights' sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import tanh

from armstream.learning.refusals import LARGEST, SMALLEST, legal_number

_SCALE_BPS = {"none": None, "clip": 100.0, "tanh": 50.0}


@dataclass(frozen=True, slots=True)
class Transform:
    """`none`; `clip` to +- scale_bps (100 where None); `tanh`: tanh(r / scale_bps) * scale_bps (50 where None)."""

    kind: str = "none"
    scale_bps: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown kind and for a scale that is out of range."""
        if self.kind not in _SCALE_BPS:
            raise ValueError(f"transform must be 'none', 'clip' or 'tanh', got {self.kind!r}")
        scale_bps = _SCALE_BPS[self.kind] if self.scale_bps is None else self.scale_bps
        if scale_bps is not None:
            object.__setattr__(self, "scale_bps", legal_number("transform_bps", scale_bps, SMALLEST, LARGEST))

    def __call__(self, reward_bps: float) -> float:
        scale_bps = self.scale_bps
        if self.kind == "none" or scale_bps is None:
            return reward_bps
        if self.kind == "clip":
            return min(max(reward_bps, -scale_bps), scale_bps)
        return tanh(reward_bps / scale_bps) * scale_bps

    def cuts(self, reward_bps: float) -> bool:
        """Whether it is `clip`, and would cut this reward."""
        return self.kind == "clip" and self(reward_bps) != reward_bps


def share_out(weights: Sequence[float], alpha: float) -> list[float]:
    """w <- (1 - alpha) w + alpha / K, of K weights that sum to 1 (M. Herbster, M. Warmuth, 'Tracking the best expert',
    Machine Learning 32, 1998)."""
    return [(1.0 - alpha) * weight + alpha / len(weights) for weight in weights]
