"""What a bandit earned, by arm, and above uniform and base. Law: what cannot be estimated is None, and never 0.

The estimates are those of `armstream.evaluation`; here they are asked, and written into rows over time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from armstream.evaluation import ArmEstimate, Evaluation, Interval, Regret
from armstream.events import Reward

CUMULATIVE: Final = "\0cumulative"
UNIFORM, UNIFORM_LOW, UNIFORM_HIGH = "\0uniform", "\0uniform low", "\0uniform high"
BASE, BASE_LOW, BASE_HIGH = "\0base", "\0base low", "\0base high"
REGRET: Final = "\0regret"
_MOST_BPS: Final = 1e15


@dataclass(frozen=True, slots=True)
class BaseWeights:
    """The desk's own fixed weights: for all bandits, and for some by their own."""

    of_all: Mapping[str, float]
    of_bandit: Mapping[str, Mapping[str, float]]

    def of(self, bandit_id: str) -> Mapping[str, float] | None:
        """None where a setting names none."""
        return self.of_bandit.get(bandit_id, self.of_all) or None


class Earned:
    """One bandit's."""

    __slots__ = ("_by_arm_bps", "_evaluation", "has_base")

    def __init__(self, base: Mapping[str, float] | None) -> None:
        self.has_base = base is not None
        self._evaluation = Evaluation(base=base)
        self._by_arm_bps: dict[str, float] = {}

    def add(self, reward: Reward, arms: tuple[str, ...], reward_bound_bps: float | None) -> None:
        """`arms` are those that there were: the same object until they change. What several arms share is parted."""
        self._evaluation.add(reward, arms, reward_bound_bps)
        for one in reward.arms:
            if one.share:
                earned_bps = one.share * reward.weight * reward.reward_bps
                if abs(earned_bps) <= _MOST_BPS:  # a withheld one may be NaN
                    self._by_arm_bps[one.name] = self._by_arm_bps.get(one.name, 0.0) + earned_bps

    def row(self, cumulative_bps: float) -> dict[str, float]:
        """What a series keeps of this moment."""
        row = {**self._by_arm_bps, CUMULATIVE: cumulative_bps}
        for interval, names in (
            (self.above_uniform(), (UNIFORM, UNIFORM_LOW, UNIFORM_HIGH)),
            (self.above_base(), (BASE, BASE_LOW, BASE_HIGH)),
        ):
            if interval is not None:
                row |= zip(names, (interval.cumulative_bps, interval.low_bps, interval.high_bps), strict=True)
        regret = self.regret()
        if regret is not None:
            row[REGRET] = regret.cumulative_bps
        return row

    def above_uniform(self) -> Interval | None:
        return self._evaluation.above_uniform()

    def above_base(self) -> Interval | None:
        return self._evaluation.above_base()

    def regret(self) -> Regret | None:
        return self._evaluation.regret()

    def decisions(self) -> int:
        """Those that the estimates rest on."""
        return self._evaluation.counted().decisions

    def arms(self) -> list[ArmEstimate]:
        return self._evaluation.arms()

    def not_estimated(self) -> Mapping[str, int]:
        """Rewards that say nothing of what another choice would have earned, by reason."""
        return self._evaluation.counted().not_estimated
