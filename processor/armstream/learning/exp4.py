"""EXP4 over N experts and K arms: it learns which adviser to trust. Refused input changes nothing, state lives in logs.

P. Auer, N. Cesa-Bianchi, Y. Freund, R. Schapire, 'The nonstochastic multiarmed bandit problem', SIAM J. Comput. 32
(2002). Each expert advises a distribution over arms for a context x; q are the normalised weights of the experts:

`play(x) = (1 - gamma) sum_n q_n advice_n(x) + gamma / K`

- ``importance``, theirs. State log_weights, kept in [ln(min_weight), 0]:
  `log_weight_n += clamp(eta * weight * advice_n(x)[arm] * reward / p)`, `q = softmax(log_weights)`.
- ``implicit``, EXP4-IX (G. Neu 2015, arXiv 1506.03271). State losses, never floored:
  `loss_n += weight * advice_n(x)[arm] * loss / (p + implicit)`, `q = softmax(-eta losses)`.

p is the arm's probability when it was drawn. An expert is never changed here: one that learns is taught by its owner.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from math import exp, fsum, isfinite, log, sqrt
from operator import index
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from armstream.learning.exp3 import PropensitySource, Update
from armstream.learning.refusals import (
    FINITE,
    LARGEST,
    MAX_REWARD_BPS,
    MAX_WEIGHT,
    SMALLEST,
    generator_from,
    illegal_propensity,
    illegal_reward,
    legal_arm,
    legal_count,
    legal_number,
    legal_numbers,
    refuse_overflow,
)

ADVICE_TOLERANCE = 1e-6  # of its sum: advice may come in single precision

Advice = Sequence[float] | NDArray[np.floating[Any]]
Expert = Callable[[Any], Advice] | Advice
Experts = Mapping[str, Expert] | Sequence[Expert]


@dataclass(frozen=True, slots=True)
class _Parameters:
    """What a learner never changes. ValueError for what is out of range."""

    n_arms: int
    estimator: str
    eta: float
    gamma: float
    implicit: float
    reward_bound_bps: float
    min_weight: float

    def __post_init__(self) -> None:
        if self.n_arms < 2:
            raise ValueError(f"a learner needs at least two arms, got {self.n_arms}")
        if self.estimator not in ("importance", "implicit"):
            raise ValueError(f"estimator must be 'importance' or 'implicit', got {self.estimator!r}")
        for name, low, high in (
            ("eta", SMALLEST, LARGEST),
            ("gamma", 0.0, 1.0),
            ("implicit", 0.0, LARGEST),
            ("reward_bound_bps", SMALLEST, LARGEST),
            ("min_weight", SMALLEST, 1.0),
        ):
            object.__setattr__(self, name, legal_number(name, getattr(self, name), low, high))

    @property
    def is_implicit(self) -> bool:
        return self.estimator == "implicit"


class Exp4Bandit:
    """One learner over `n_arms` arms that trusts its experts by what their advice earned.

    `experts` maps name to expert, or is a sequence of them, then named expert_0, ... An expert is a callable from the
    context (any object, None too) to K floats that are not negative and sum to 1, or such a distribution itself.
    Defaults are those for `horizon` decisions: eta = sqrt(ln max(N, 2) / (K horizon)); gamma = min(1, K eta) for
    importance, 0 for implicit; implicit = eta / 2. All stay for life. `importance` takes rewards as they are (the
    theory asks for [0, 1]); `implicit` maps bps by `reward_bound_bps` to losses in [0, 1].
    `min_weight` is the least weight of an expert relative to the largest: none dies.

    Every refusal is a ValueError raised before anything changes; what an expert raises comes through, as early.
    """

    __slots__ = ("_experts", "_generator", "_parameters", "_seed", "_state", "_total_steps")

    def __init__(
        self,
        n_arms: int,
        experts: Experts,
        eta: float | None = None,
        gamma: float | None = None,
        horizon: float = 10_000,
        seed: int | None = None,
        *,
        estimator: str = "importance",
        implicit: float | None = None,
        reward_bound_bps: float = 100.0,
        min_weight: float = 1e-10,
    ) -> None:
        n_arms = index(n_arms)
        self._experts = _legal_experts(experts, max(n_arms, 1))
        legal_number("horizon", horizon, 1.0, LARGEST)
        if eta is None:
            eta = sqrt(log(max(len(self._experts), 2)) / (max(n_arms, 1) * horizon))
        if gamma is None:
            gamma = 0.0 if estimator == "implicit" else min(1.0, n_arms * eta)
        self._parameters = _Parameters(
            n_arms=n_arms,
            estimator=estimator,
            eta=eta,
            gamma=gamma,
            implicit=eta / 2.0 if implicit is None else implicit,
            reward_bound_bps=reward_bound_bps,
            min_weight=min_weight,
        )
        if seed is not None and index(seed) < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self._seed = seed
        self._generator: np.random.Generator | None = None  # made when it first draws
        self._state = [0.0] * len(self._experts)
        self._total_steps = 0

    # What it is.

    @property
    def n_arms(self) -> int:
        """K."""
        return self._parameters.n_arms

    @property
    def experts(self) -> list[str]:
        """Their names, in the order of every other list."""
        return list(self._experts)

    @property
    def estimator(self) -> str:
        return self._parameters.estimator

    @property
    def eta(self) -> float:
        return self._parameters.eta

    @property
    def gamma(self) -> float:
        return self._parameters.gamma

    @property
    def total_steps(self) -> int:
        """T, the decisions counted."""
        return self._total_steps

    @property
    def state(self) -> list[float]:
        """log_weights (importance) or losses (implicit) of the experts; a fresh list."""
        return self._state.copy()

    @property
    def expert_weights(self) -> NDArray[np.float64]:
        """q, normalised; a fresh float64 array of N."""
        return np.array(self._weights(), dtype=np.float64)

    # Choosing.

    def play_distribution(self, x: Any = None) -> NDArray[np.float64]:
        """The probabilities of the arms at context x; a fresh float64 array of K. ValueError for wrong advice."""
        return np.array(self._play(self._advice(x)), dtype=np.float64)

    def choose(self, x: Any = None) -> int:
        """An arm drawn from play_distribution(x), by exactly one number of the generator. Counts nothing."""
        cumulative = list(accumulate(self._play(self._advice(x))))
        last_possible = cumulative.index(cumulative[-1])  # rounding may leave the whole below the number drawn
        return min(bisect_right(cumulative, self._drawing_generator().random()), last_possible)

    # Learning.

    def update(
        self,
        arm: int,
        x: Any,
        reward: float,
        weight: float = 1.0,
        propensity: float | None = None,
        new_decision: bool = True,
    ) -> Update:
        """Learn what `arm`, drawn at context x, earned.

        `propensity` in (0, 1] is its probability when it was drawn; None is today's play distribution at x, and the
        update says CURRENT. `weight` in [0, 1e6] is the realised part of the decision, and 0 changes nothing;
        `new_decision` is False for all parts but the first, and then T stays.
        """
        self._refuse_reward(reward, weight)
        arm = legal_arm(arm, self._parameters.n_arms)
        advice = self._advice(x)
        source: PropensitySource = "LOGGED"
        if propensity is None:
            source, propensity = "CURRENT", self._play(advice)[arm]
            if propensity == 0.0:
                raise ValueError(f"arm {arm} cannot have been drawn at this context: its probability is 0")
        estimate = self._learn([each[arm] for each in advice], reward, propensity, weight, new_decision)
        return Update((arm,), (float(propensity),), (estimate,), self._parameters.eta, source)

    def update_advice(
        self,
        advice_for_arm: Mapping[str, float],
        reward: float,
        propensity: float,
        weight: float = 1.0,
        new_decision: bool = True,
    ) -> Update:
        """As `update`, from the probability that each expert gave to the arm that was drawn: no context is needed.

        ValueError unless exactly the experts there are have spoken: one that is missing is never taken as 0.
        """
        self._refuse_reward(reward, weight)
        missing = [name for name in self._experts if name not in advice_for_arm]
        unknown = [name for name in advice_for_arm if name not in self._experts]
        if missing or unknown:
            raise ValueError(f"advice must be every expert's: missing {missing}, unknown {unknown}")
        given = [legal_number(f"the advice of {name!r}", advice_for_arm[name], 0.0, 1.0) for name in self._experts]
        estimate = self._learn(given, reward, propensity, weight, new_decision)
        return Update((), (float(propensity),), (estimate,), self._parameters.eta, "LOGGED")

    def merge(self, other: "Exp4Bandit | Mapping[str, Any]") -> None:
        """Add what another, or a snapshot of it, learned apart from a uniform start: relative weights multiply, T adds.

        ValueError unless both have the same experts in the same order and the same parameters.
        """
        if not isinstance(other, Exp4Bandit):
            other = Exp4Bandit.from_snapshot(other, self._experts)
        if self.experts != other.experts:
            raise ValueError(f"cannot merge: experts {', '.join(self.experts)} against {', '.join(other.experts)}")
        if self._parameters != other._parameters:
            raise ValueError(f"cannot merge: parameters {self._parameters} against {other._parameters}")
        state = self._settled([a + b for a, b in zip(self._state, other._state, strict=True)])
        refuse_overflow(state)
        self._state = state
        self._total_steps += other._total_steps

    def reset(self) -> None:
        """Forget everything learned and counted; experts, parameters and the generator stay."""
        self._state = [0.0] * len(self._experts)
        self._total_steps = 0

    # Experts that come and go.

    def add_expert(self, name: str, expert: Expert, initial_weight: float = 1.0) -> None:
        """Relative weights of the others do not change. `initial_weight` in [0, 1e6] is in units of the mean weight; 0
        takes the floor. ValueError for a name that is there already."""
        initial_weight = legal_number("initial_weight", initial_weight, 0.0, MAX_WEIGHT)
        if name in self._experts:
            raise ValueError(f"expert {name!r} is there already")
        experts = {**self._experts, **_legal_experts({name: expert}, self._parameters.n_arms)}
        relative = self._relative_weights()
        newcomer = log(max(initial_weight * fsum(relative) / len(relative), self._parameters.min_weight))
        if self._parameters.is_implicit:
            state = [*self._state, min(self._state) - newcomer / self._parameters.eta]
        else:
            state = self._settled([*self._state, newcomer])
        refuse_overflow(state)
        self._state, self._experts = state, experts

    def remove_expert(self, name: str) -> None:
        """Relative weights of the others do not change. ValueError when unknown or the last."""
        if name not in self._experts:
            raise ValueError(f"unknown expert {name!r}; the experts are {', '.join(self._experts)}")
        if len(self._experts) == 1:
            raise ValueError(f"{name!r} is the last expert")
        state = [each for other, each in zip(self._experts, self._state, strict=True) if other != name]
        self._state = self._settled(state)
        self._experts = {other: expert for other, expert in self._experts.items() if other != name}

    # Keeping and bringing back.

    def create(self, seed: int | None = None) -> Self:
        """A learner with these experts and parameters that has learned nothing."""
        twin = object.__new__(type(self))
        twin._parameters, twin._experts = self._parameters, self._experts
        twin._seed, twin._generator = seed, None
        twin.reset()
        return twin

    def snapshot(self) -> dict[str, Any]:
        """Everything but the experts themselves that `from_snapshot` needs to go on bit for bit; JSON types only."""
        return {
            "experts": list(self._experts),
            **{name: getattr(self._parameters, name) for name in _PARAMETER_KEYS},
            self._state_key(): self._state.copy(),
            "total_steps": self._total_steps,
            "generator": self._drawing_generator().bit_generator.state,
        }

    @classmethod
    def from_snapshot(cls, state: Mapping[str, Any], experts: Experts) -> Self:
        """A learner from `snapshot`, with the experts of the same names; the snapshot's order is kept.

        ValueError for a key that is missing, unknown or holds what no learner could, and for other experts.
        """
        state_key = "losses" if state.get("estimator") == "implicit" else "log_weights"
        keys = {"experts", *_PARAMETER_KEYS, state_key, "total_steps", "generator"}
        if state.keys() != keys:
            missing, unknown = sorted(keys - state.keys()), sorted(state.keys() - keys)
            raise ValueError(f"not a learner's snapshot: missing {missing}, unknown {unknown}")
        legal_count("n_arms", state["n_arms"])
        parameters = _Parameters(**{name: state[name] for name in _PARAMETER_KEYS})
        given = _legal_experts(experts, parameters.n_arms)
        names = state["experts"]
        if not isinstance(names, list) or len(names) != len(given) or not all(name in names for name in given):
            raise ValueError(f"the snapshot has experts {names}, given are {list(given)}")
        bandit = object.__new__(cls)
        bandit._parameters, bandit._seed = parameters, None
        bandit._experts = {name: given[name] for name in names}
        learned = state[state_key]
        if not isinstance(learned, list | tuple):
            raise ValueError(f"{state_key} must be a list, got {learned!r}")
        bandit._state = bandit._settled(legal_numbers(state_key, learned, len(names), -FINITE, FINITE))
        bandit._total_steps = legal_count("total_steps", state["total_steps"])
        bandit._generator = generator_from(state["generator"])
        return bandit

    # Inside.

    def _advice(self, x: Any) -> list[list[float]]:
        """What each expert says of context x, each summing to 1."""
        n_arms = self._parameters.n_arms
        return [
            _legal_advice(name, expert(x), n_arms) if callable(expert) else expert
            for name, expert in self._experts.items()
        ]

    def _play(self, advice: Sequence[Sequence[float]]) -> list[float]:
        """(1 - gamma) sum_n q_n advice_n + gamma / K, none above 1 for rounding."""
        exploit, explore = 1.0 - self._parameters.gamma, self._parameters.gamma / self._parameters.n_arms
        weights = self._weights()
        mixed = [sum([q * each for q, each in zip(weights, said, strict=True)]) for said in zip(*advice, strict=True)]
        return [min(exploit * each + explore, 1.0) for each in mixed]

    def _learn(
        self, advice_for_arm: Sequence[float], reward: float, p: float, weight: float, new_decision: bool
    ) -> float:
        """The estimate by which each expert's state moved, times its advice: all of it, or a ValueError and nothing."""
        if not 0.0 < p <= 1.0:
            raise illegal_propensity(p)
        parameters = self._parameters
        if parameters.is_implicit:
            bound = parameters.reward_bound_bps
            loss = (bound - min(max(float(reward), -bound), bound)) / (2.0 * bound)
            estimate = float(weight) * loss / (float(p) + parameters.implicit)
            state = [each + said * estimate for each, said in zip(self._state, advice_for_arm, strict=True)]
        else:
            estimate = float(weight) * float(reward) / float(p)
            limit = -2.0 * log(parameters.min_weight)
            moves = [min(max(parameters.eta * said * estimate, -limit), limit) for said in advice_for_arm]
            state = self._settled([each + move for each, move in zip(self._state, moves, strict=True)])
        if not isfinite(estimate):
            raise ValueError(f"an estimate must be finite, got {estimate}")
        refuse_overflow(state)
        self._state = state
        if new_decision and weight > 0.0:
            self._total_steps += 1
        return estimate

    def _refuse_reward(self, reward: float, weight: float) -> None:
        if not (-MAX_REWARD_BPS <= reward <= MAX_REWARD_BPS and 0.0 <= weight <= MAX_WEIGHT):
            raise illegal_reward(reward, weight)

    def _weights(self) -> list[float]:
        relative = self._relative_weights()
        total = sum(relative)
        return [each / total for each in relative]

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

    def _state_key(self) -> str:
        return "losses" if self._parameters.is_implicit else "log_weights"

    def _drawing_generator(self) -> np.random.Generator:
        if self._generator is None:
            self._generator = np.random.Generator(np.random.PCG64(self._seed))
        return self._generator


_PARAMETER_KEYS = tuple(each.name for each in fields(_Parameters))


def _legal_experts(experts: Experts, n_arms: int) -> dict[str, Callable[[Any], Advice] | list[float]]:
    """Name to expert; a fixed distribution is checked here, once."""
    if isinstance(experts, str) or not isinstance(experts, Mapping | Sequence):
        raise ValueError(f"experts are a mapping by name or a sequence, got {experts!r}")
    if not isinstance(experts, Mapping):
        experts = {f"expert_{number}": expert for number, expert in enumerate(experts)}
    if not experts:
        raise ValueError("a learner needs at least one expert")
    if not all(isinstance(name, str) and name for name in experts):
        raise ValueError(f"an expert's name must be a string that is not empty, got {list(experts)!r}")
    return {
        name: expert if callable(expert) else _legal_advice(name, expert, n_arms) for name, expert in experts.items()
    }


def _legal_advice(name: str, advice: Advice, n_arms: int) -> list[float]:
    """The advice as floats that sum to 1."""
    try:
        said = [float(each) for each in advice]
    except (TypeError, ValueError) as error:
        raise ValueError(f"the advice of {name!r} must be {n_arms} numbers, got {advice!r}") from error
    if len(said) != n_arms:
        raise ValueError(f"the advice of {name!r} must have {n_arms} entries, got {len(said)}")
    total = sum(said)
    if not all(each >= 0.0 for each in said) or not abs(total - 1.0) <= ADVICE_TOLERANCE:
        raise ValueError(f"the advice of {name!r} must not be negative and must sum to 1, got {said}")
    return said if total == 1.0 else [each / total for each in said]
