"""What a record on `weights` tells. Law: it is the vector of the bandit that its key names, whole and fit to draw from,
or it says what is wrong with it.

A processor of a newer version may write what this one does not know, and anybody may write anything.
"""

from collections.abc import Iterable, Mapping
from math import inf, isfinite
from typing import Final

from armstream.codec import DecodeError, decode
from armstream.engine.sendable import ID_MAX_BYTES
from armstream.events import WeightVector
from armstream.learning.summation import summed
from armstream.rules import RULES

_REASON_MAX_CHARACTERS: Final = 300
_END_VERSION: Final = 1 << 63


class Unreadable(ValueError):
    """A record that is no vector to draw from; the text says why.

    `of` are the bandits whose weights it makes unknown, each with the version that it tells of, 0 where it tells none.
    """

    def __init__(self, reason: str, of: Mapping[str, int]) -> None:
        super().__init__(reason if len(reason) <= _REASON_MAX_CHARACTERS else f"{reason[:_REASON_MAX_CHARACTERS]}...")
        self.of = of


def bandit_named(key: bytes | None) -> str | None:
    """The bandit whose records have this key; None where it is no bandit's."""
    if not key or len(key) > ID_MAX_BYTES or b"\0" in key:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


def vector_of(key: bytes | None, value: bytes) -> WeightVector:
    """The vector in a record. Raises Unreadable."""
    bandit_id = bandit_named(key)
    named = {} if bandit_id is None else {bandit_id: 0}
    try:
        vector = decode(value)
    except DecodeError as error:
        raise Unreadable(str(error), named) from error
    if not isinstance(vector, WeightVector):
        raise Unreadable(f"a {type(vector).__name__}, no WeightVector", named)
    if vector.bandit_id != bandit_id:
        # A processor that names its records by another law may have written it: the bandit moved on, or did not.
        moved = bandit_named(vector.bandit_id.encode())
        told = {} if moved is None else {moved: vector.version}
        raise Unreadable(f"a vector of bandit {vector.bandit_id!r} under the key {key!r}", told | named)
    flaw = _flaw(vector)
    if flaw:
        raise Unreadable(flaw, named)
    return vector


def _flaw(vector: WeightVector) -> str:
    """Why nothing can be drawn from it as it was meant; "" where it can."""
    names = [arm.name for arm in vector.arms]
    experts = vector.experts
    if vector.algorithm not in RULES:
        return f"no learning rule is called {vector.algorithm!r} here"
    if vector.phase == "UNKNOWN":
        return "its phase is UNKNOWN"
    if not names or len(set(names)) < len(names):
        return f"{len(names)} arms, {len(set(names))} of them by names of their own"
    if any(expert.distribution and len(expert.distribution) != len(names) for expert in experts):
        return f"an expert's distribution is not over its {len(names)} arms"
    if not 0 < vector.version < _END_VERSION:
        return f"its version is {vector.version}"
    if not (0.0 <= vector.blend_alpha <= 1.0 and 0.0 <= vector.gamma <= 1.0 and isfinite(vector.eta)):
        return f"its blend_alpha, gamma and eta are {vector.blend_alpha}, {vector.gamma} and {vector.eta}"
    if not _is_distribution(arm.probability for arm in vector.arms):
        return "its probabilities are none"
    shares = [[arm.weight for arm in vector.arms], [expert.weight for expert in experts]]
    if not all(_are_shares(row) for row in (*shares, *(expert.distribution for expert in experts))):
        return "its weights are none"
    return ""


def _is_distribution(numbers: Iterable[float]) -> bool:
    """Up to its sum: who draws divides by it."""
    row = list(numbers)
    return _are_shares(row) and 0.0 < summed(row) < inf


def _are_shares(row: Iterable[float]) -> bool:
    return all(0.0 <= number < inf for number in row)
