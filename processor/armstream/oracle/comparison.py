"""Equal means within 1e-10 of a number's scale: its own size, or that of the terms that it is the sum of.

Law: the first thing that differs ends everything, in one line: where, what was published, what follows from the log.
"""

import sys
from collections.abc import Iterable
from math import isfinite

TOLERANCE = 1e-10
_LEAST_NORMAL = sys.float_info.min  # numbers below it lose digits

Row = tuple[str, object, object] | tuple[str, object, object, float]


class Difference(Exception):
    """Something published that does not follow from the log, or the other way round; `bandit_id` says whose."""

    def __init__(self, where: str, published: str, derived: str, bandit_id: str = "") -> None:
        super().__init__(f"{where}: published was {published}; from the log follows {derived}")
        self.where = where
        self.published = published
        self.derived = derived
        self.bandit_id = bandit_id


def is_near(published: float, derived: float, scale: float = 0.0) -> bool:
    """Whether two numbers are equal within TOLERANCE of the largest of both and `scale`; NaN equals NaN."""
    if published == derived:
        return True
    if not (isfinite(published) and isfinite(derived)):
        return repr(published) == repr(derived)
    return abs(published - derived) <= TOLERANCE * max(abs(published), abs(derived), scale, _LEAST_NORMAL)


def require(where: str, rows: Iterable[Row]) -> None:
    """Raises Difference for the first row (name, published, derived) that differs.

    A fourth element is the scale within which two floats are near; without it they must be equal.
    """
    for name, published, derived, *scale in rows:
        if published == derived:
            continue
        near = scale and isinstance(published, float) and isinstance(derived, float)
        if not (near and is_near(published, derived, scale[0])):  # type: ignore[arg-type]  # floats
            raise Difference(where, f"{name} {published!r}", repr(derived))
