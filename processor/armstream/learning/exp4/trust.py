"""What EXP4 learns: how far each named expert is trusted. It knows experts by name, and neither arms nor contexts.

With q the normalised weights of the experts, and advice_n a distribution over K arms:

`play = (1 - gamma) sum_n q_n advice_n + gamma / K`

- ``importance`` (Auer, Cesa-Bianchi, Freund, Schapire 2002). State log_weights, kept in [ln(min_weight), 0]:
  `log_weight_n += clamp(eta * advice_n[arm] * reward / p)`, `q = softmax(log_weights)`.
- ``implicit``, EXP4-IX (G. Neu 2015, arXiv 1506.03271). State losses, never floored:
  `loss_n += advice_n[arm] * loss / (p + implicit)`, `q = softmax(-eta losses)`.

Refused input changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, isfinite, log, sqrt
from typing import Self

from armstream.learning.refusals import (
    FINITE,
    LARGEST,
    MAX_WEIGHT,
    SMALLEST,
    illegal_propensity,
    legal_number,
    legal_numbers,
    refuse_overflow,
)
from armstream.learning.summation import summed


@dataclass(frozen=True, slots=True)
class AdviceParameters:
    """What a learner never changes. ValueError for what is out of range."""

    estimator: str
    eta: float
    gamma: float
    implicit: float
    min_weight: float

    def __post_init__(self) -> None:
        if self.estimator not in ("importance", "implicit"):
            raise ValueError(f"estimator must be 'importance' or 'implicit', got {self.estimator!r}")
        for name, low, high in (
            ("eta", SMALLEST, LARGEST),
            ("gamma", 0.0, 1.0),
            ("implicit", 0.0, LARGEST),
            ("min_weight", SMALLEST, 1.0),
        ):
            object.__setattr__(self, name, legal_number(name, getattr(self, name), low, high))

    @property
    def is_implicit(self) -> bool:
        return self.estimator == "implicit"


def default_eta(n_arms: int, n_experts: int, expected_decisions: float) -> float:
    """sqrt(ln max(N, 2) / (K T)), right for T = `expected_decisions`."""
    return sqrt(log(max(n_experts, 2)) / (n_arms * expected_decisions))


class AdviceLearner:
    """Trust in N experts. Every refusal is a ValueError raised before anything changes."""

    __slots__ = ("_names", "_parameters", "_state")

    def __init__(self, names: Iterable[str], parameters: AdviceParameters) -> None:
        self._names = _legal_names(names)
        self._parameters = parameters
        self._state = [0.0] * len(self._names)

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of every list."""
        return self._names

    @property
    def parameters(self) -> AdviceParameters:
        return self._parameters

    @property
    def state(self) -> list[float]:
        """log_weights (importance) or losses (implicit); a fresh list."""
        return self._state.copy()

    # Reading.

    def weights(self) -> list[float]:
        """q, normalised; a fresh list of N."""
        relative = self._relative_weights()
        total = summed(relative)
        return [each / total for each in relative]

    def play(self, advice: Sequence[Sequence[float]]) -> list[float]:
        """The probabilities of the arms, of N rows of K that sum to 1 each; none above 1 for rounding."""
        weights, gamma = self.weights(), self._parameters.gamma
        exploit, explore = 1.0 - gamma, gamma / len(advice[0])
        mixed = [
            summed([q * each for q, each in zip(weights, said, strict=True)]) for said in zip(*advice, strict=True)
        ]
        return [min(exploit * each + explore, 1.0) for each in mixed]

    # Learning.

    def learn(self, advice_for_arm: Sequence[float], earned: float, p: float) -> float:
        """Moves each expert by what it gave to the arm that was drawn with probability p; gives the estimate.

        `earned` is the reward (importance) or the loss (implicit), times its realised part.
        """
        if not 0.0 < p <= 1.0:
            raise illegal_propensity(p)
        parameters = self._parameters
        if parameters.is_implicit:
            estimate = float(earned) / (float(p) + parameters.implicit)
            state = [each + said * estimate for each, said in zip(self._state, advice_for_arm, strict=True)]
        else:
            estimate, limit = float(earned) / float(p), -2.0 * log(parameters.min_weight)
            moves = [min(max(parameters.eta * said * estimate, -limit), limit) for said in advice_for_arm]
            state = self._settled([each + move for each, move in zip(self._state, moves, strict=True)])
        if not isfinite(estimate):
            raise ValueError(f"an estimate must be finite, got {estimate}")
        refuse_overflow(state)
        self._state = state
        return estimate

    def take_back(self, advice_for_arm: Sequence[float], estimate: float) -> None:
        """Remove what an estimate moved; under implicit alone, since the floor of importance forgets."""
        state = [each - said * estimate for each, said in zip(self._state, advice_for_arm, strict=True)]
        refuse_overflow(state)
        self._state = state

    def in_order(self, advice_for_arm: Mapping[str, float]) -> list[float]:
        """What each expert gave to the arm that was drawn. ValueError unless exactly the experts there are have spoken:
        one that is missing is never taken as 0."""
        missing = [name for name in self._names if name not in advice_for_arm]
        unknown = [name for name in advice_for_arm if name not in self._names]
        if missing or unknown:
            raise ValueError(f"advice must be every expert's: missing {missing}, unknown {unknown}")
        return [legal_number(f"the advice of {name!r}", advice_for_arm[name], 0.0, 1.0) for name in self._names]

    def merge(self, other: Self) -> None:
        """Add what another learned apart from a uniform start: relative weights multiply.

        ValueError unless both have the same experts in the same order and the same parameters.
        """
        if self._names != other._names:
            raise ValueError(f"cannot merge: experts {', '.join(self._names)} against {', '.join(other._names)}")
        if self._parameters != other._parameters:
            raise ValueError(f"cannot merge: parameters {self._parameters} against {other._parameters}")
        state = self._settled([a + b for a, b in zip(self._state, other._state, strict=True)])
        refuse_overflow(state)
        self._state = state

    def reset(self) -> None:
        """Forget what was learned; the experts stay."""
        self._state = [0.0] * len(self._names)

    # Experts that come and go.

    def add(self, name: str, initial_weight: float = 1.0) -> None:
        """Relative weights of the others do not change. `initial_weight` in [0, 1e6] is in units of the mean weight; 0
        takes the floor. ValueError for a name that is there already."""
        initial_weight = legal_number("initial_weight", initial_weight, 0.0, MAX_WEIGHT)
        if name in self._names:
            raise ValueError(f"expert {name!r} is there already")
        names = _legal_names((*self._names, name))
        relative = self._relative_weights()
        newcomer = log(max(initial_weight * fsum(relative) / len(relative), self._parameters.min_weight))
        if self._parameters.is_implicit:
            state = [*self._state, min(self._state) - newcomer / self._parameters.eta]
        else:
            state = self._settled([*self._state, newcomer])
        refuse_overflow(state)
        self._state, self._names = state, names

    def remove(self, name: str) -> None:
        """Relative weights of the others do not change. ValueError when unknown or the last."""
        if name not in self._names:
            raise ValueError(f"unknown expert {name!r}; the experts are {', '.join(self._names)}")
        if len(self._names) == 1:
            raise ValueError(f"{name!r} is the last expert")
        at = self._names.index(name)
        self._names = self._names[:at] + self._names[at + 1 :]
        self._state = self._settled(self._state[:at] + self._state[at + 1 :])

    # Keeping and bringing back.

    def restore(self, names: Iterable[str], state: Sequence[float]) -> None:
        """Put back, bit for bit, what the properties of the same names gave; the experts may be others now."""
        legal = _legal_names(names)
        what = "losses" if self._parameters.is_implicit else "log_weights"
        self._state = self._settled(legal_numbers(what, state, len(legal), -FINITE, FINITE))
        self._names = legal

    def copy(self) -> Self:
        twin = object.__new__(type(self))
        twin._names, twin._parameters, twin._state = self._names, self._parameters, self._state  # only ever replaced
        return twin

    # Inside.

    def _relative_weights(self) -> list[float]:
        """Weights relative to the largest, none below min_weight."""
        floor = self._parameters.min_weight
        if self._parameters.is_implicit:
            least, eta = min(self._state), self._parameters.eta
            return [max(exp(eta * (least - loss)), floor) for loss in self._state]
        most = max(self._state)
        return [max(exp(each - most), floor) for each in self._state]

    def _settled(self, state: list[float]) -> list[float]:
        """log_weights with the largest subtracted and floored; losses stay as they are. Settling twice is as once."""
        if self._parameters.is_implicit:
            return state
        most, floor = max(state), log(self._parameters.min_weight)
        return [max(each - most, floor) for each in state]


def _legal_names(names: Iterable[str]) -> tuple[str, ...]:
    legal = tuple(names)
    if not legal:
        raise ValueError("a learner needs at least one expert")
    if not all(isinstance(name, str) and name for name in legal):
        raise ValueError(f"an expert's name must be a string that is not empty, got {list(legal)!r}")
    if len(set(legal)) != len(legal):
        raise ValueError(f"experts' names must differ, got {', '.join(legal)}")
    return legal
