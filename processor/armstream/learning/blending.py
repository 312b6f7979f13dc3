"""Base weights mixed with learned ones. Law: what is given out is normalised, and a mixture has the keys of base."""

from collections.abc import Mapping
from math import isfinite

from armstream.learning.summation import summed


def effective_alpha(total_steps: int, *, alpha: float, warm_start_steps: int, ramp_steps: int) -> float:
    """The bandit's part of a blend, in [0, alpha].

    0 below `warm_start_steps`; from there `alpha * (total_steps - warm_start_steps) / ramp_steps` until it reaches
    `alpha`, at once where `ramp_steps` is 0.
    """
    steps = total_steps - warm_start_steps
    if steps < 0:
        return 0.0
    if steps >= ramp_steps:
        return alpha
    return alpha * steps / ramp_steps


def mix(base: Mapping[str, float], weights: Mapping[str, float], alpha: float) -> dict[str, float]:
    """`(1 - alpha) base + alpha * mass * w` for each key of base, in its order; it sums to 1.

    `mass` is the base share of the keys that `weights` knows, w the weights normalised over these; a key that
    `weights` does not know keeps its base share. Both need not sum to 1: a negative counts as 0, all zero is uniform.

    ValueError for an empty base, a number that is not finite, alpha outside [0, 1].
    """
    if not base:
        raise ValueError("base weights must name at least one arm")
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must be from 0 to 1, got {alpha!r}")
    mixed = normalised("base", base)
    learned = normalised("learned", {name: weights[name] for name in base if name in weights})
    mass = summed(mixed[name] for name in learned)
    for name, weight in learned.items():
        mixed[name] = (1.0 - alpha) * mixed[name] + alpha * mass * weight
    return mixed


def blend(
    base: Mapping[str, float],
    bandit: Mapping[str, float],
    *,
    total_steps: int,
    alpha: float = 0.3,
    warm_start_steps: int = 500,
    ramp_steps: int = 0,
) -> dict[str, float]:
    """`mix` of base weights and a bandit's after `total_steps` decisions, with the alpha that it has earned by then.

    Base alone below `warm_start_steps`; see `effective_alpha`. ValueError as `mix`, and for counts below 0.
    """
    for name, steps in (
        ("total_steps", total_steps),
        ("warm_start_steps", warm_start_steps),
        ("ramp_steps", ramp_steps),
    ):
        if not steps >= 0:
            raise ValueError(f"{name} must not be negative, got {steps!r}")
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must be from 0 to 1, got {alpha!r}")
    earned = effective_alpha(total_steps, alpha=alpha, warm_start_steps=warm_start_steps, ramp_steps=ramp_steps)
    return mix(base, bandit, earned)


def normalised(whose: str, weights: Mapping[str, float]) -> dict[str, float]:
    """The weights so that they sum to 1: a negative counts as 0, all zero is uniform.

    ValueError, which says `whose` they are, for one that is not finite.
    """
    for name, weight in weights.items():
        if not isfinite(weight):
            raise ValueError(f"the {whose} weight of {name!r} must be finite, got {weight!r}")
    most = max(weights.values(), default=0.0)
    if most <= 0.0:
        return dict.fromkeys(weights, 1.0 / max(len(weights), 1))
    relative = {name: max(weight, 0.0) / most for name, weight in weights.items()}  # a sum of these is finite
    total = summed(relative.values())
    return {name: weight / total for name, weight in relative.items()}
