"""What a draw reveals: of which arms the loss is known when one was drawn, and how probable that was.

Law: arms are parted into groups before anything is drawn, and a draw reveals its group. So the probability of observing
an arm is that of drawing any of its group: N. Alon, N. Cesa-Bianchi, C. Gentile, S. Mannor, Y. Mansour, O. Shamir,
'Nonstochastic multi-armed bandits with graph-structured feedback', SIAM J. Comput. 46(6), 2017.
"""

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Literal

Feedback = Literal["drawn", "side", "both"]
Group = tuple[str, str]  # side, "" where both are one; horizon, "" where arms have none of their own

SIDES = ("BUY", "SELL")


def groups_of(
    arm_names: Sequence[str], signals: Mapping[str, str], feedback: str, by_horizon: bool
) -> list[Group | None]:
    """The group of each arm, None for those without a side, which could not be drawn.

    `by_horizon`: an arm is 'family:horizon', and reveals those of its horizon alone, because it said when to close.
    """
    groups: list[Group | None] = []
    for name in arm_names:
        side = signals.get(name)
        if side not in SIDES:
            groups.append(None)
            continue
        horizon = name.partition(":")[2] if by_horizon else ""
        groups.append((side if feedback == "side" else "", horizon))
    return groups


def observing(groups: Sequence[Group | None], probabilities: Sequence[float]) -> list[float]:
    """The probability of observing each arm's loss: the sum of its group's `probabilities`, 0 where it has no group.

    It is exactly 1 where all that have a group have the same.
    """
    members: dict[Group, list[float]] = {}
    for group, probability in zip(groups, probabilities, strict=True):
        if group is not None:
            members.setdefault(group, []).append(probability)
    if len(members) == 1:
        return [0.0 if group is None else 1.0 for group in groups]
    sums = {group: min(fsum(each), 1.0) for group, each in members.items()}
    return [0.0 if group is None else sums[group] for group in groups]


def mirrored(reward_bps: float, costs_bps: float) -> float:
    """What the other side of the same trade would have earned: the same move against it, and the same costs paid."""
    return -(reward_bps + costs_bps) - costs_bps
