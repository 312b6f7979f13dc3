"""Sums of floats. Law: from left to right, each step rounded, on every Python. The builtin compensates from 3.12 on,
and published bits must not hang on the interpreter.
"""

from collections.abc import Iterable


def summed(numbers: Iterable[float]) -> float:
    total = 0.0
    for number in numbers:
        total += number
    return total
