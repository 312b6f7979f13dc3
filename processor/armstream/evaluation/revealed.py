"""What one reward says of the arms: what each that was seen earned, and how probable seeing it was.

Law: only a propensity that was logged with a draw divides. A reward that says less gives the reason instead.

An arm that was seen beside the drawn one has the same estimate where it was on the same side, and then earned the same.
Where the settings take both sides, the other side's reward is not in the record; it is in its estimate, as far as the
reward bound did not cut it. Beyond that it is the mirror image at the mean costs seen so far.
"""

from typing import NamedTuple

from armstream.events import Reward, RewardArm

WITHHELD = "withheld"
BLEND = "several arms, none of them drawn"
NO_PROPENSITY = "no propensity was logged"
TOO_RARE = "a propensity below 1e-12"
NO_BOUND = "the other side's reward cannot be read without the reward bound"

NO_ESTIMATE = "an arm that was seen has no estimate"
TOO_LARGE = "a reward that is no number, or beyond 1e15 bps"

_MOST = 1e15  # of a reward in basis points, of its weight, and of the bound: products of four of them stay numbers
_LEAST = 1e-12  # of a probability: the cube of one over it goes into a sum
_CUT = 1.0 - 1e-9  # of the bound: rounding on the way there and back
_SAME = 1e-9
_NOBODY = RewardArm("", 0.0)


class Revealed(NamedTuple):
    """Each arm seen with its reward (not weighted), and the probability of seeing them, which is the same for all.

    `costs_bps` are the trade's, where the other side's reward says them.
    """

    arms: tuple[tuple[str, float], ...]
    probability: float
    costs_bps: float | None = None


def revealed(reward: Reward, reward_bound_bps: float | None, mean_costs_bps: float) -> Revealed | str:
    """What it says, or why it says nothing."""
    if not reward.applied:
        return WITHHELD
    drawn = reward.arms[0] if len(reward.arms) == 1 else max(reward.arms, key=_share, default=_NOBODY)
    if drawn.share != 1.0 or reward.propensity_source == "NONE":
        return BLEND
    p = drawn.propensity
    if reward.propensity_source != "LOGGED" or p is None or not 0.0 < p <= 1.0:
        return NO_PROPENSITY
    if p < _LEAST:
        return TOO_RARE
    if not (abs(reward.reward_bps) <= _MOST and abs(reward.weight) <= _MOST):
        return TOO_LARGE
    if len(reward.arms) == 1:
        return Revealed(((drawn.name, reward.reward_bps),), p)
    if all(arm.estimate == drawn.estimate for arm in reward.arms) or reward.weight == 0.0:
        return Revealed(tuple([(arm.name, reward.reward_bps) for arm in reward.arms]), p)
    if reward_bound_bps is None or not 0.0 < reward_bound_bps <= _MOST:
        return NO_BOUND
    if any(arm.estimate is None for arm in reward.arms):
        return NO_ESTIMATE
    return _both_sides(reward, drawn, p, reward_bound_bps, mean_costs_bps)


def _share(arm: RewardArm) -> float:
    return arm.share


def _both_sides(reward: Reward, drawn: RewardArm, p: float, bound_bps: float, mean_costs_bps: float) -> Revealed | str:
    other = next(arm for arm in reward.arms if arm.estimate != drawn.estimate)
    signal = _other_signal(reward, drawn, other, p, bound_bps)
    if signal is None:
        return NO_BOUND
    mirrored, costs_bps = -2.0 * bound_bps * signal, None
    if abs(mirrored) < _CUT * bound_bps:
        costs_bps = -(reward.reward_bps + mirrored) / 2.0
    else:
        whole = -reward.reward_bps - 2.0 * mean_costs_bps
        mirrored = max(bound_bps, whole) if mirrored > 0.0 else min(-bound_bps, whole)
    arms = [(arm.name, reward.reward_bps if arm.estimate == drawn.estimate else mirrored) for arm in reward.arms]
    return Revealed(tuple(arms), p, costs_bps)


def _other_signal(reward: Reward, drawn: RewardArm, other: RewardArm, p: float, bound_bps: float) -> float | None:
    """loss - 1/2 of the other side, from the two estimates; None where they do not fit the bound.

    Where p divides alone: `weight signal / o`, and 1/2 once. Else `(weight signal + 1/2 once) / (o + implicit)`, whose
    divisor the drawn arm's estimate gives.
    """
    assert drawn.estimate is not None  # it is applied
    assert other.estimate is not None
    once = 0.5 if reward.counted else 0.0
    earned = -reward.weight * min(max(reward.reward_bps, -bound_bps), bound_bps) / (2.0 * bound_bps)
    if abs(drawn.estimate - once - earned / p) <= _SAME * (1.0 + abs(drawn.estimate)):
        signal = (other.estimate - once) * p / reward.weight
    else:
        if drawn.estimate == 0.0:
            return None
        divisor = (earned + once) / drawn.estimate
        if divisor < p * _CUT:
            return None
        signal = (other.estimate * divisor - once) / reward.weight
    return signal if abs(signal) <= 0.5 + _SAME else None
