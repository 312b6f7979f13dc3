"""Experts for an Exp4Bandit, beside those of learning/exp4/experts.py. Law: each advises a distribution over K arms.

A fixed distribution is an expert as it is; so is any function of the context. One that learns is taught by its owner,
after `Exp4Bandit.update`, with the same numbers.
"""

from collections.abc import Sequence
from math import exp
from typing import Any

from armstream.learning.exp3ix import Exp3IXBandit
from armstream.learning.refusals import legal_number, legal_numbers
from armstream.learning.summation import summed

_LARGEST = 1e100  # of coefficients and contexts: no score overflows


class LinearScorer:
    """softmax((coefficients . context + intercepts) / temperature), with K rows of D coefficients."""

    __slots__ = ("_coefficients", "_intercepts", "_temperature")

    def __init__(
        self,
        coefficients: Sequence[Sequence[float]],
        intercepts: Sequence[float] | None = None,
        temperature: float = 1.0,
    ) -> None:
        if len(coefficients) < 2:
            raise ValueError(f"an expert advises on at least two arms, got {len(coefficients)} rows")
        width = len(coefficients[0])
        self._coefficients = [
            legal_numbers("a row of coefficients", row, width, -_LARGEST, _LARGEST) for row in coefficients
        ]
        given = [0.0] * len(coefficients) if intercepts is None else intercepts
        self._intercepts = legal_numbers("intercepts", given, len(coefficients), -_LARGEST, _LARGEST)
        self._temperature = legal_number("temperature", temperature, 1e-6, 1e6)

    def __call__(self, context: Sequence[float]) -> list[float]:
        """`context` is D numbers, else a ValueError."""
        numbers = legal_numbers("the context", context, len(self._coefficients[0]), -_LARGEST, _LARGEST)
        scores = [
            (summed(a * b for a, b in zip(row, numbers, strict=True)) + intercept) / self._temperature
            for row, intercept in zip(self._coefficients, self._intercepts, strict=True)
        ]
        most = max(scores)
        powers = [exp(score - most) for score in scores]
        total = summed(powers)
        return [power / total for power in powers]


class NestedExp3:
    """An Exp3-IX learner as an expert: its advice is its probabilities. `bandit` is its own, to be kept by to_dict."""

    __slots__ = ("bandit",)

    def __init__(self, bandit: Exp3IXBandit) -> None:
        self.bandit = bandit

    def __call__(self, context: Any = None) -> list[float]:  # noqa: ARG002 - it looks at no context
        return self.bandit.read().probabilities

    def learn(self, arm: int, reward: float, propensity: float, weight: float = 1.0, new_decision: bool = True) -> None:
        """`propensity` is that of the play distribution, which drew the arm: the bandit itself drew nothing."""
        self.bandit.update(arm, reward, propensity, weight, new_decision)
