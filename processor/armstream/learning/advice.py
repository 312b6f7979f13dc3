"""What an expert advises. Law: a distribution over K arms, or an error that names the expert."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armstream.learning.summation import summed

ADVICE_TOLERANCE = 1e-6  # of its sum: advice may come in single precision

Advice = Sequence[float] | NDArray[np.floating[Any]]
Expert = Callable[[Any], Advice] | Advice


def legal_advice(name: str, advice: Advice, n_arms: int) -> list[float]:
    """The advice as K floats that sum to 1. ValueError, with the expert's name, for any other."""
    try:
        said = [] if isinstance(advice, str) else [float(each) for each in advice]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the advice of {name!r} must be {n_arms} numbers, got {advice!r}") from error
    if len(said) != n_arms:
        raise ValueError(f"the advice of {name!r} must have {n_arms} entries, got {len(said)}")
    total = summed(said)
    if not all(each >= 0.0 for each in said) or not abs(total - 1.0) <= ADVICE_TOLERANCE:
        raise ValueError(f"the advice of {name!r} must not be negative and must sum to 1, got {said}")
    return said if total == 1.0 else [each / total for each in said]
