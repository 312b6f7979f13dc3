"""The reward bound B: given, or the 95th percentile of the first 100 |reward_bps|, and frozen from then on.

Law: nothing is learned before B is known, and no later reward moves it: a running maximum or mean square would let one
bad print decide the speed of learning for ever.

The percentile is the linear one between order statistics (R. Hyndman and Y. Fan, 'Sample Quantiles in Statistical
Packages', The American Statistician 50(4), 1996, type 7): of sizes s_1 <= ... <= s_100 it stands at 1 + .95 * 99 =
95.05, so that B = s_95 + .05 (s_96 - s_95), in plain floats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal, Self

from armstream.learning.refusals import LARGEST, MAX_REWARD_BPS, SMALLEST, legal_number

WARM_UP_REWARDS = 100
PERCENTILE = 0.95
LEAST_BOUND_BPS = 1e-6  # less is rounding, not what trades earn


@dataclass(frozen=True, slots=True)
class RewardBound:
    """`bound_bps`, or None while it warms up on `rewards_bps`: those seen so far, in order, at most 100."""

    bound_bps: float | None = None
    rewards_bps: tuple[float, ...] = ()

    @classmethod
    def given(cls, value: float | Literal["auto"]) -> Self:
        """As a setting says it. ValueError for what is neither "auto" nor a number above 0."""
        if value == "auto":
            return cls()
        return cls(legal_number("reward_bound_bps", value, SMALLEST, LARGEST))

    def after(self, reward_bps: float) -> Self:
        """The bound once this reward was seen; one that is known stays what it is, and remembers no rewards.

        A percentile under a millionth of a bp (a warm-up of zeros) is no bound: the warm-up then goes on over the
        latest 100 rewards until they have one.
        """
        if self.bound_bps is not None:
            return self
        rewards_bps = (*self.rewards_bps, reward_bps)[-WARM_UP_REWARDS:]
        if len(rewards_bps) == WARM_UP_REWARDS and (bound_bps := _percentile(rewards_bps)) >= LEAST_BOUND_BPS:
            return type(self)(bound_bps)
        return type(self)(None, rewards_bps)

    def merged(self, other: Self) -> Self:
        """The one that is known; where none is, a warm-up of these rewards and then the other's. ValueError where two
        differ: losses under two bounds have no common unit."""
        if self.bound_bps is None:
            return reduce(type(self).after, other.rewards_bps, self) if other.bound_bps is None else other
        if other.bound_bps not in (None, self.bound_bps):
            raise ValueError(f"cannot merge: reward_bound_bps {self.bound_bps} against {other.bound_bps}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {"bound_bps": self.bound_bps, "rewards_bps": list(self.rewards_bps)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """From `to_dict`. ValueError for what no bound could be."""
        if not isinstance(state, Mapping) or set(state) != {"bound_bps", "rewards_bps"}:
            raise ValueError(f"a reward bound has bound_bps and rewards_bps, got {state!r}")
        bound_bps, rewards_bps = state["bound_bps"], state["rewards_bps"]
        if not isinstance(rewards_bps, list | tuple) or len(rewards_bps) > WARM_UP_REWARDS:
            raise ValueError(f"rewards_bps must be a list of at most {WARM_UP_REWARDS}, got {rewards_bps!r}")
        legal = tuple(legal_number("rewards_bps", each, -MAX_REWARD_BPS, MAX_REWARD_BPS) for each in rewards_bps)
        if bound_bps is None:
            return cls(None, legal)
        if legal:
            raise ValueError("a reward bound that is known keeps no rewards_bps")
        return cls.given(legal_number("bound_bps", bound_bps, SMALLEST, LARGEST))


def _percentile(rewards_bps: tuple[float, ...]) -> float:
    sizes = sorted(map(abs, rewards_bps))
    position = PERCENTILE * (len(sizes) - 1)
    below = int(position)
    return sizes[below] + (position - below) * (sizes[below + 1] - sizes[below])
