"""Experts of the processor's own. Law: an expert advises a distribution over K arms; one that learns changes by `learn`
alone, by what the drawn arm earned, whoever drew it.
"""

from collections.abc import Mapping, Sequence
from math import fsum
from operator import index
from typing import Any, Self

from armstream.learning.refusals import (
    MAX_REWARD_BPS,
    MAX_WEIGHT,
    illegal_reward,
    legal_arm,
    legal_number,
    legal_numbers,
)


def uniform(n_arms: int) -> list[float]:
    """1 / K each."""
    if n_arms < 2:
        raise ValueError(f"an expert advises on at least two arms, got {n_arms}")
    return [1.0 / n_arms] * n_arms


def fixed(weights: Mapping[str, float], arm_names: Sequence[str]) -> list[float]:
    """Base weights by name, normalised, in the order of the arms; an arm that they do not name has 0.

    ValueError for a name that is no arm, a weight that is negative or not finite, and weights that are all 0.
    """
    unknown = [name for name in weights if name not in arm_names]
    if unknown:
        raise ValueError(f"base weights name unknown arms {unknown}; the arms are {', '.join(arm_names)}")
    given = [legal_number(f"the weight of {name!r}", weights.get(name, 0.0), 0.0, 1e300) for name in arm_names]
    most = max(given)
    if most == 0.0:
        raise ValueError("base weights must not all be 0")
    total = fsum(each / most for each in given)
    return [each / most / total for each in given]


class FollowTheBest:
    """All on the arm with the largest mean reward of late, evenly on those that tie; from a mean of 0 each.

    A reward of full weight moves the drawn arm's mean by `1 - decay` of the way: `mean += (1 - decay ** weight)
    (reward - mean)`, so that with .99 the last hundred or so of an arm's rewards count.
    """

    __slots__ = ("_decay", "_means")

    def __init__(self, n_arms: int, decay: float = 0.99) -> None:
        self._means = [0.0] * len(uniform(index(n_arms)))
        self._decay = legal_number("decay", decay, 0.0, 1.0)

    def __call__(self, context: Any = None) -> list[float]:  # noqa: ARG002 - it looks at no context
        best = max(self._means)
        share = 1.0 / self._means.count(best)
        return [share if mean == best else 0.0 for mean in self._means]

    def learn(self, arm: int, reward: float, weight: float = 1.0) -> None:
        """`reward` in bps, at most 1e12 either way; `weight` in [0, 1e6] is the realised part. ValueError else."""
        if not (-MAX_REWARD_BPS <= reward <= MAX_REWARD_BPS and 0.0 <= weight <= MAX_WEIGHT):
            raise illegal_reward(reward, weight)
        arm = legal_arm(arm, len(self._means))
        step = 1.0 - self._decay ** float(weight)
        mean = self._means[arm] + step * (float(reward) - self._means[arm])
        self._means[arm] = min(max(mean, -MAX_REWARD_BPS), MAX_REWARD_BPS)  # which a rounding could leave

    @property
    def means(self) -> list[float]:
        """The arms' mean rewards of late, in bps; a fresh list."""
        return self._means.copy()

    def add_arm(self) -> None:
        """One more arm, with a mean of 0."""
        self._means = [*self._means, 0.0]

    def remove_arm(self, arm: int) -> None:
        """The arms behind it move up. ValueError for one of two."""
        if len(self._means) == 2:
            raise ValueError("an expert advises on at least two arms")
        self._means = self._means[:arm] + self._means[arm + 1 :]

    def restore(self, means: Sequence[float]) -> None:
        """Put back what `means` gave, perhaps of other arms. ValueError for what none could be."""
        self._means = legal_numbers("means", means, max(len(means), 2), -MAX_REWARD_BPS, MAX_REWARD_BPS)

    def copy(self) -> Self:
        twin = type(self)(len(self._means), self._decay)
        twin._means = self._means.copy()
        return twin

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` needs to go on bit for bit; JSON types only."""
        return {"means": self._means.copy(), "decay": self._decay}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """ValueError for what no such expert could hold."""
        if state.keys() != {"means", "decay"} or not isinstance(state["means"], list):
            raise ValueError(f"not the state of a FollowTheBest: {dict(state)!r}")
        expert = cls(len(state["means"]), state["decay"])
        expert.restore(state["means"])
        return expert
