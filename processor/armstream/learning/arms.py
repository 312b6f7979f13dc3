"""What every learner over named arms keeps beside what it learned: the names, their counts, the decisions, the bound.

Law: `read` alone says what weights are, and everything that shows weights asks it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from operator import index
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from armstream.learning.refusals import LARGEST, MAX_REWARD_BPS, SMALLEST, legal_arm_names, legal_number, unknown_arm
from armstream.learning.reward_bound import RewardBound

PropensitySource = Literal["LOGGED", "CURRENT", "NONE"]


class Update(NamedTuple):
    """What one reward did: the arms moved (indices), p of each (none under NONE), estimate of each, the rate used.

    A reward that only went into the bound's warm-up moved no arm: three empty tuples, NONE, and `applied` is False.
    """

    arms: tuple[int, ...]
    propensities: tuple[float, ...]
    estimates: tuple[float, ...]
    eta: float
    propensity_source: PropensitySource

    @property
    def applied(self) -> bool:
        """Whether anything was learned."""
        return bool(self.estimates)


class Reading(NamedTuple):
    """Normalised weights, the same with exploration mixed in, and the rate behind both; fresh lists of K floats."""

    weights: list[float]
    probabilities: list[float]
    eta: float


class ArmLearner(ABC):
    """The surface that the learners over named arms share. Bookkeeping only: what a reward does is each one's own."""

    __slots__ = ("_cumulative_rewards", "_index_of", "_names", "_pulls", "_reward_bound", "_total_steps")

    def __init__(self, arm_names: Sequence[str], reward_bound: RewardBound) -> None:
        self._set_names(legal_arm_names(arm_names))
        self._reward_bound = reward_bound
        self._forget_counts()

    @property
    @abstractmethod
    def gamma(self) -> float:
        """The uniform part of every choice."""

    @abstractmethod
    def read(self) -> Reading:
        """Weights and probabilities of one reading, and the rate behind them, without numpy."""

    # What it is.

    @property
    def n_arms(self) -> int:
        """K."""
        return len(self._names)

    @property
    def arm_names(self) -> list[str]:
        """A fresh list, in the order of every other list."""
        return list(self._names)

    @property
    def total_steps(self) -> int:
        """The decisions counted."""
        return self._total_steps

    @property
    def arm_pulls(self) -> list[int]:
        """Decisions counted for each arm; a fresh list."""
        return self._pulls.copy()

    @property
    def cumulative_rewards(self) -> list[float]:
        """The sum of weight * reward_bps (times the share) for each arm, before any transform; a fresh list."""
        return self._cumulative_rewards.copy()

    @property
    def reward_bound(self) -> RewardBound:
        """The bound as it is now, with its warm-up."""
        return self._reward_bound

    @property
    def reward_bound_bps(self) -> float | None:
        """None while it warms up."""
        return self._reward_bound.bound_bps

    @property
    def is_warming(self) -> bool:
        """Whether the next reward goes into the bound's warm-up, and into nothing else."""
        return self._reward_bound.bound_bps is None

    def has_arm(self, arm_name: str) -> bool:
        return arm_name in self._index_of

    def get_arm_index(self, arm_name: str) -> int:
        """ValueError for an unknown name."""
        arm = self._index_of.get(arm_name)
        if arm is None:
            raise unknown_arm(arm_name, self._names)
        return arm

    def is_clipped(self, reward_bps: float) -> bool:
        """Whether this reward would be cut by the bound."""
        bound = self._reward_bound.bound_bps
        return bound is not None and abs(reward_bps) > bound

    # Reading.

    def get_weights(self) -> NDArray[np.float64]:
        """Normalised weights; a fresh float64 array of K."""
        return np.array(self.read().weights, dtype=np.float64)

    def get_probabilities(self) -> NDArray[np.float64]:
        """Weights with exploration mixed in; a fresh float64 array of K."""
        return np.array(self.read().probabilities, dtype=np.float64)

    def get_weights_dict(self) -> dict[str, float]:
        """Arm name to normalised weight."""
        return dict(zip(self._names, self.read().weights, strict=True))

    def get_stats(self) -> dict[str, Any]:
        """n_arms, total_steps, gamma, eta and arm_stats: {name, pulls, cumulative_reward, avg_reward (0 without a
        pull), weight, probability} for each arm."""
        weights, probabilities, eta = self.read()
        return {
            "n_arms": len(self._names),
            "total_steps": self._total_steps,
            "gamma": self.gamma,
            "eta": eta,
            "arm_stats": [
                {
                    "name": name,
                    "pulls": self._pulls[arm],
                    "cumulative_reward": self._cumulative_rewards[arm],
                    "avg_reward": self._cumulative_rewards[arm] / self._pulls[arm] if self._pulls[arm] else 0.0,
                    "weight": weights[arm],
                    "probability": probabilities[arm],
                }
                for arm, name in enumerate(self._names)
            ],
        }

    # The bound.

    def warm_up(self, reward: float) -> None:
        """A reward that goes into finding the bound, and into nothing else. ValueError for one that is not legal."""
        legal = legal_number("reward", reward, -MAX_REWARD_BPS, MAX_REWARD_BPS)
        self._reward_bound = self._reward_bound.after(legal)

    def set_bound(self, reward_bound_bps: float) -> None:
        """Take this bound from now on, in place of any other; a warm-up ends. ValueError unless it is above 0.

        What was learned stays: losses of rewards under the old bound are not measured again.
        """
        self._reward_bound = RewardBound(legal_number("reward_bound_bps", reward_bound_bps, SMALLEST, LARGEST))

    # For those who inherit.

    def _set_names(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._index_of = {name: arm for arm, name in enumerate(names)}

    def _forget_counts(self) -> None:
        self._pulls = [0] * len(self._names)
        self._cumulative_rewards = [0.0] * len(self._names)
        self._total_steps = 0


def names_of(n_arms: int, arm_names: Sequence[str] | None) -> tuple[str, ...]:
    """Those given, else arm_0, arm_1, ... ValueError where there are not `n_arms` of them."""
    count = index(n_arms)
    names = tuple(f"arm_{i}" for i in range(count)) if arm_names is None else tuple(arm_names)
    if len(names) != count:
        raise ValueError(f"n_arms is {count}, but {len(names)} arm names were given")
    return names


def legal_seed(seed: int | None) -> int | None:
    """ValueError where it is negative."""
    if seed is not None and index(seed) < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    return seed
