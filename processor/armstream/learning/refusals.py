"""What no learner takes. Law: a refusal is a ValueError that names what is wrong, before anything changes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf, isfinite
from operator import index
from sys import float_info
from typing import Any, cast

import numpy as np

MAX_REWARD_BPS = 1e12
MAX_WEIGHT = 1e6
SMALLEST, LARGEST = 1e-200, 1e200  # of rates, floors and scales: logs divided by them stay finite
FINITE = float_info.max
SUM_TOLERANCE = 1e-6  # of a logged distribution: it may come in single precision
MIN_LOGGED_PROPENSITY = 1e-80  # below it a sum of losses may leave what a learner holds


def legal_number(what: str, value: object, low: float, high: float) -> float:
    if not isinstance(value, float | int | np.floating | np.integer) or not low <= value <= high:
        raise ValueError(f"{what} must be a number from {low:g} to {high:g}, got {value!r}")
    return float(value)


def legal_numbers(what: str, values: Sequence[float], n: int, low: float, high: float) -> list[float]:
    if len(values) != n:
        raise ValueError(f"{what} must have {n} entries, got {len(values)}")
    return [legal_number(what, value, low, high) for value in values]


def legal_count(what: str, value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"{what} must be a whole number from 0 to 2**63 - 1, got {value!r}")
    return value


def refuse_text(what: str, names: object) -> None:
    """A text where several names are wanted: it would be taken for its letters."""
    if isinstance(names, str | bytes):
        raise ValueError(f"{what} must be several names, such as [{names!r}], got the text {names!r}")


def legal_arm_names(names: Iterable[str]) -> tuple[str, ...]:
    refuse_text("arm_names", names)
    legal = tuple(names)
    if len(legal) < 2:
        raise ValueError(f"a learner needs at least two arms, got {len(legal)}")
    if not all(isinstance(name, str) and name for name in legal):
        raise ValueError(f"an arm's name must be a string that is not empty, got {legal!r}")
    if len(set(legal)) != len(legal):
        raise ValueError(f"arm names must differ, got {', '.join(legal)}")
    return legal


def names_of(n_arms: int, arm_names: Sequence[str] | None) -> tuple[str, ...]:
    """Those given, else arm_0, arm_1, ... ValueError where there are not `n_arms` of them."""
    count = index(n_arms)
    refuse_text("arm_names", arm_names)
    names = tuple(f"arm_{i}" for i in range(count)) if arm_names is None else tuple(arm_names)
    if len(names) != count:
        raise ValueError(f"n_arms is {count}, but {len(names)} arm names were given")
    return names


def legal_seed(seed: int | None) -> int | None:
    """ValueError where it is negative."""
    if seed is not None and index(seed) < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    return seed


def legal_arm(arm: int, n_arms: int) -> int:
    arm = index(arm)
    if not 0 <= arm < n_arms:
        raise ValueError(f"arm must be in 0..{n_arms - 1}, got {arm}")
    return arm


def refuse_asleep(asleep: Collection[int], drawn: int, n_arms: int) -> None:
    """Arms that could not be drawn: each once, and not the one that was."""
    if len(set(asleep)) != len(asleep) or drawn in asleep or not all(0 <= arm < n_arms for arm in asleep):
        raise ValueError(f"asleep must be other arms of 0..{n_arms - 1} than the drawn {drawn}, got {sorted(asleep)}")


def illegal_reward(reward: float, weight: float) -> ValueError:
    if not -MAX_REWARD_BPS <= reward <= MAX_REWARD_BPS:
        return ValueError(f"reward must be a number of bps within +-{MAX_REWARD_BPS:g}, got {reward!r}")
    return ValueError(f"weight must be from 0 to {MAX_WEIGHT:g}, got {weight!r}")


def illegal_propensity(propensity: float) -> ValueError:
    return ValueError(f"propensity must be above 0 and at most 1, got {propensity!r}")


def unlogged_draw(rule: str, arm: str | None, propensity: float | None) -> str:
    """Why a rule that guesses no propensity cannot take this decision; "" where it can."""
    if arm is None:
        return ""
    if propensity is None:
        return f"a drawn arm needs its logged propensity: {rule} guesses none"
    if propensity < MIN_LOGGED_PROPENSITY:
        return f"propensity must not be below {MIN_LOGGED_PROPENSITY:g} with {rule}, got {propensity!r}"
    return ""


def unknown_arm(arm_name: str, names: Iterable[str]) -> ValueError:
    return ValueError(f"unknown arm {arm_name!r}; the arms are {', '.join(names)}")


def legal_shares(contributions: Mapping[str, float], index_of: Mapping[str, int]) -> dict[int, float]:
    """Arm index to share, those above 0, in the order given."""
    shares = {}
    for name, share in contributions.items():
        if not 0.0 <= share < inf:
            raise ValueError(f"the share of {name!r} must be finite and not negative, got {share!r}")
        arm = index_of.get(name)
        if arm is None:
            raise unknown_arm(name, index_of)
        if share > 0.0:
            shares[arm] = float(share)
    if not shares:
        raise ValueError("contributions must have a share above 0")
    return shares


def legal_propensities(
    propensities: Mapping[str, float], index_of: Mapping[str, int], shares: Mapping[int, float]
) -> dict[int, float] | None:
    """Arm index to logged propensity where they name exactly the arms with a share, else None."""
    logged = {}
    for name, p in propensities.items():
        if not 0.0 < p <= 1.0:
            raise illegal_propensity(p)
        if name not in index_of:
            raise unknown_arm(name, index_of)
        logged[index_of[name]] = float(p)
    return logged if logged.keys() == shares.keys() else None


def refuse_overflow(*sums: list[float]) -> None:
    if not all(isfinite(each) for numbers in sums for each in numbers):
        raise ValueError(f"numbers must be finite, got {list(sums)}")


def generator_from(state: object) -> np.random.Generator:
    bit_generator = np.random.PCG64()
    try:
        bit_generator.state = cast(Any, state)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise ValueError(f"not a PCG64 generator's state: {state!r}") from error
    return np.random.Generator(bit_generator)
