"""What experts say of one decision. Law: their logged advice, mixed by their weights, is what was drawn from.

An arm that cannot be drawn is taken out of each expert's advice, and the rest renormalised. An expert that has nothing
left is asleep: it stays out of the mixture, and is logged as having said what was played, which moves its weight as the
mixture's (Y. Freund, R. Schapire, Y. Singer, M. Warmuth, 'Using and combining predictors that specialize', STOC 1997).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from armstream.events import WeightVector
from armstream.learning.advice import Expert, legal_advice
from armstream.learning.summation import summed

Said = Mapping[str, Sequence[float] | None]  # by expert, in the order of the names; None: asleep


def said_by_all(
    vector: WeightVector,
    arms: Collection[str] | None,
    can_be_drawn: Sequence[bool],
    context: Any,
    experts: Mapping[str, Expert],
) -> Said:
    """The advice of every expert of the vector, over its arms: as published, or of the engine's own.

    An engine's expert advises on `arms` in their order, on the vector's where none are given. Raises ValueError for one
    that `experts` lacks and for wrong advice, with the expert's name; what an expert raises comes through.
    """
    names = [arm.name for arm in vector.arms]
    own = {expert.name: expert.distribution for expert in vector.experts if expert.distribution}
    missing = [expert.name for expert in vector.experts if expert.name not in own and expert.name not in experts]
    if missing:
        raise ValueError(f"{vector.bandit_id!r} asks for experts that choose was not given: {', '.join(missing)}")
    needed = {expert.name: experts[expert.name] for expert in vector.experts if expert.name not in own}
    advised = _advised(needed, names if arms is None else arms, context)
    rows = {name: [by_arm.get(arm, 0.0) for arm in names] for name, by_arm in advised.items()} | own
    return {expert.name: _masked(rows[expert.name], can_be_drawn) for expert in vector.experts}


def said_by_engine(
    arms: Collection[str], can_be_drawn: Sequence[bool], context: Any, experts: Mapping[str, Expert]
) -> Said:
    """The advice of the engine's experts, where there is no vector yet. Raises as `said_by_all`."""
    advised = _advised(experts, arms, context)
    return {name: _masked(list(by_arm.values()), can_be_drawn) for name, by_arm in advised.items()}


def mixed(vector: WeightVector, said: Said, can_be_drawn: Sequence[bool]) -> list[float]:
    """(1 - gamma) of what those who are awake say by their weights, and gamma shared out over what can be drawn: all of
    it where nobody who is awake has a weight."""
    awake = [(expert.weight, row) for expert in vector.experts if (row := said[expert.name]) is not None]
    trusted = [(weight, row) for weight, row in awake if weight > 0.0]
    trust = summed(weight for weight, _ in trusted)
    share = 1.0 / can_be_drawn.count(True)
    explore = vector.gamma if trusted else 1.0
    played = [explore * share if can else 0.0 for can in can_be_drawn]
    for weight, row in trusted:
        part = (1.0 - explore) * weight / trust
        played = [p + part * each for p, each in zip(played, row, strict=True)]
    return played


def given_to(arm: int, said: Said, propensity: float) -> dict[str, float]:
    """What each expert gave to the arm that was drawn."""
    return {name: propensity if row is None else min(row[arm], 1.0) for name, row in said.items()}


def _advised(experts: Mapping[str, Expert], arms: Collection[str], context: Any) -> dict[str, dict[str, float]]:
    """By expert, what it gives to each arm."""
    if experts and not isinstance(arms, Sequence):
        raise ValueError(f"experts advise on arms in their order, and {type(arms).__name__} has none: give a list")
    order = list(dict.fromkeys(arms))
    return {
        name: dict(
            zip(order, legal_advice(name, expert(context) if callable(expert) else expert, len(order)), strict=True)
        )
        for name, expert in experts.items()
    }


def _masked(row: Sequence[float], can_be_drawn: Sequence[bool]) -> list[float] | None:
    left = [each if can else 0.0 for each, can in zip(row, can_be_drawn, strict=True)]
    mass = summed(left)
    return [each / mass for each in left] if mass > 0.0 else None
