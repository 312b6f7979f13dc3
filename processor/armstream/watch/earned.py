"""What a bandit earned, by arm, and above uniform and base. Law: what cannot be estimated is None, and never 0.

The estimates are those of `armstream.evaluation`; here they are asked, and written into rows over time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import Final, NamedTuple

from armstream.events import Reward

CUMULATIVE: Final = "\0cumulative"
UNIFORM, UNIFORM_LOW, UNIFORM_HIGH = "\0uniform", "\0uniform low", "\0uniform high"
BASE, BASE_LOW, BASE_HIGH = "\0base", "\0base low", "\0base high"
REGRET: Final = "\0regret"


class Interval(NamedTuple):
    trades: int
    per_trade_bps: float
    cumulative_bps: float
    low_bps: float
    high_bps: float
    per_trade_error_bps: float
    effective_sample: float


class ArmEarned(NamedTuple):
    """What the trades of one arm earned: their number, and the mean with its standard error."""

    name: str
    pulls: int
    mean_bps: float | None
    error_bps: float | None
    effective_sample: float | None


@dataclass(frozen=True, slots=True)
class BaseWeights:
    """The desk's own fixed weights: for all bandits, and for some by their own."""

    of_all: Mapping[str, float]
    of_bandit: Mapping[str, Mapping[str, float]]

    def of(self, bandit_id: str) -> Mapping[str, float] | None:
        """None where a setting names none."""
        return self.of_bandit.get(bandit_id, self.of_all) or None


class _Arm:
    __slots__ = ("pulls", "sum_bps", "sum_squares", "weight")

    def __init__(self) -> None:
        self.pulls, self.sum_bps, self.sum_squares, self.weight = 0, 0.0, 0.0, 0.0


class Earned:
    """Running sums of one bandit."""

    __slots__ = ("_arms", "_base")

    def __init__(self, base: Mapping[str, float] | None) -> None:
        self._base = base
        self._arms: dict[str, _Arm] = {}

    def add(self, reward: Reward, arms: Sequence[str]) -> None:
        """`arms` are those that there were; a reward of several arms is shared among them."""
        del arms
        for one in reward.arms:
            if not one.share:
                continue
            arm = self._arms.setdefault(one.name, _Arm())
            weight = one.share * reward.weight
            arm.pulls += reward.counted
            arm.weight += weight
            arm.sum_bps += weight * reward.reward_bps
            arm.sum_squares += weight * reward.reward_bps**2

    def row(self, cumulative_bps: float) -> dict[str, float]:
        """What a series keeps of this moment."""
        row = {name: arm.sum_bps for name, arm in self._arms.items()}
        row[CUMULATIVE] = cumulative_bps
        for interval, (middle, low, high) in (
            (self.above_uniform(), (UNIFORM, UNIFORM_LOW, UNIFORM_HIGH)),
            (self.above_base(), (BASE, BASE_LOW, BASE_HIGH)),
        ):
            row[middle], row[low], row[high] = (
                (nan, nan, nan)
                if interval is None
                else (interval.cumulative_bps, interval.low_bps, interval.high_bps)
            )
        regret = self.regret_bps()
        row[REGRET] = nan if regret is None else regret
        return row

    def above_uniform(self) -> Interval | None:
        return None

    def above_base(self) -> Interval | None:
        return None

    def regret_bps(self) -> float | None:
        """What the best arm in hindsight would have earned more, by the same estimates."""
        return None

    def arms(self) -> list[ArmEarned]:
        """In the order in which they were drawn first."""
        return [_earned(name, arm) for name, arm in self._arms.items()]


def _earned(name: str, arm: _Arm) -> ArmEarned:
    if not arm.weight > 0:
        return ArmEarned(name, arm.pulls, None, None, None)
    mean = arm.sum_bps / arm.weight
    variance = max(arm.sum_squares / arm.weight - mean**2, 0.0)
    error = sqrt(variance / (arm.weight - 1)) if arm.weight > 1 else None
    return ArmEarned(name, arm.pulls, mean, error, arm.weight)
