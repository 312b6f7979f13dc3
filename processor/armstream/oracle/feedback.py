"""What a decision reveals, by the formula of Kocak, Neu, Valko and Munos 2014: the loss of an arm is seen when any arm
that reveals it was drawn, and what is learned of it is divided by the probability of that.

Law: arms are of one group where a draw of the one reveals the other. The probability of seeing an arm is the sum of the
logged probabilities over its group. An arm without a view was asleep, and so was one that could not be drawn.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from math import fsum
from typing import Any

from armstream.events import Side
from armstream.oracle.formula import Seen, Settings, Sized

Group = tuple[str, ...]
Chances = tuple[tuple[float, float], ...]
RewardOf = Callable[[bool], Sized]  # of an arm on the position's side, or on the other


def asleep_by(signals: Mapping[str, Any], arms: Sequence[str]) -> list[int]:
    """The arms that had no view to act on; none, where nobody says what views there were."""
    return [at for at, name in enumerate(arms) if signals and not has_view(signals, name)]


def has_view(signals: Mapping[str, Any], name: str) -> bool:
    return signals.get(name) in ("BUY", "SELL")


def groups_of(
    settings: Settings, arms: Sequence[str], signals: Mapping[str, Any], asleep: Collection[int]
) -> list[Group | None]:
    """The group of each arm; None: it was asleep, as the `asleep` are. Under both a group has both sides. Where arms
    differ in how long they hold, none reveals an arm of another horizon: the drawn one decided when to close."""
    groups: list[Group | None] = []
    for at, name in enumerate(arms):
        side = (signals[name],) if has_view(signals, name) else ()
        horizon = (name.partition(":")[2],) if settings["arm_mode"] == "family_horizon" else ()
        revealed_by = () if settings["feedback"] == "both" else side
        groups.append((*revealed_by, *horizon) if side and at not in asleep else None)
    return groups


def seen_by_draw(
    groups: Sequence[Group | None],
    arm: int,
    probabilities: Sequence[float],
    signals: Sequence[Any],
    side: Side,
    reward_of: RewardOf,
) -> tuple[tuple[Seen, ...], Chances]:
    """What the draw of `arm` reveals, and the chances of all arms awake. `signals` are in the order of the arms."""
    chances = {at: _chance_of(group, groups, probabilities) for at, group in enumerate(groups) if group is not None}
    seen = tuple(
        Seen(at, *reward_of(signals[at] == side), chances[at], probabilities[at], float(at == arm))
        for at in chances
        if groups[at] == groups[arm]
    )
    return seen, tuple((probabilities[at], chance) for at, chance in chances.items())


def _chance_of(group: Group, groups: Sequence[Group | None], probabilities: Sequence[float]) -> float:
    """That of seeing an arm of this group: 1 where the draw reveals all arms awake, whatever their sum lacks."""
    if all(each in (None, group) for each in groups):
        return 1.0
    return min(1.0, fsum(p for p, each in zip(probabilities, groups, strict=True) if each == group))


def seen_by_blend(
    groups: Sequence[Group | None],
    shares: Mapping[int, float],
    signals: Sequence[Any],
    side: Side,
    reward_of: RewardOf,
) -> tuple[tuple[Seen, ...], Chances]:
    """Nothing was drawn, so that all arms awake are seen for certain. What was played are the shares of those; each the
    same, where none of them has any."""
    awake = [at for at, group in enumerate(groups) if group is not None]
    whole = fsum(shares.get(at, 0.0) for at in awake)
    seen = tuple(
        Seen(
            at,
            *reward_of(signals[at] == side),
            1.0,
            shares.get(at, 0.0) / whole if whole else 1 / len(awake),
            shares.get(at, 0.0),
        )
        for at in awake
    )
    return seen, ((1.0, 1.0),)
