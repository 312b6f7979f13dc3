"""A formula with its numbers in it, a line a number.

Law: `numbers` is the formula as one could type it (`ln`, `sqrt`, `exp` and `tanh` are functions), and comes to `value`
but for the digits that are not shown. Nothing is learned by saying it.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Step(NamedTuple):
    """`name` is what is worked out, `of` the arm or the expert that it is of, or ""."""

    name: str
    of: str
    formula: str
    numbers: str
    value: float
    unit: str = ""


def shown(number: float, digits: int = 6) -> str:
    """In parentheses, where a sign would stand behind another."""
    text = f"{number:.{digits}g}"
    return f"({text})" if text.startswith("-") else text


def total(terms: Iterable[str]) -> str:
    return " + ".join(terms) or "0"


def precise(number: float) -> str:
    """A sum of many: what matters of it may be its last digits."""
    return shown(number, 10)


def times(weight: float, term: str) -> str:
    """A weight of 1 is not said."""
    return term if weight == 1.0 else f"{shown(weight)} * {term}"


def plus_half(term: str, start: float) -> str:
    """`term + 1/2`, where it is there."""
    return f"{term} + 1/2" if start else term
