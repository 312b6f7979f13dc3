"""EXP4 over N experts that are called, and K arms: it learns which adviser to trust. Refused input changes nothing.

P. Auer, N. Cesa-Bianchi, Y. Freund, R. Schapire, 'The nonstochastic multiarmed bandit problem', SIAM J. Comput. 32
(2002); EXP4-IX after G. Neu 2015 (arXiv 1506.03271). The rule is that of learning/exp4/trust.py; here are the
experts themselves, which advise a distribution over arms for a context, the draws, and how a reward in bps becomes a
loss:

`loss = (B - clip(reward, -B, B)) / (2 B)`, B = reward_bound_bps

p is the arm's probability when it was drawn. An expert is never changed here: one that learns is taught by its owner.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from operator import index
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from armstream.learning.advice import Advice, Expert, legal_advice
from armstream.learning.contract import PropensitySource, Update, legal_reward
from armstream.learning.exp4.trust import AdviceLearner, AdviceParameters, default_eta
from armstream.learning.old_names import todays_decisions
from armstream.learning.refusals import (
    LARGEST,
    SMALLEST,
    generator_from,
    legal_arm,
    legal_count,
    legal_number,
    legal_seed,
)

Experts = Mapping[str, Expert] | Sequence[Expert]


class Exp4Bandit:
    """One learner over `n_arms` arms that trusts its experts by what their advice earned.

    `experts` maps name to expert, or is a sequence of them, then named expert_0, ... An expert is a callable from the
    context (any object, None too) to K floats that are not negative and sum to 1, or such a distribution itself.
    Defaults are those for T = `expected_decisions`: eta = sqrt(ln max(N, 2) / (K T)); gamma = min(1, K eta) for
    importance, 0 for implicit; implicit = eta / 2. All stay for life. `importance` takes rewards as they are (the
    theory asks for [0, 1]); `implicit` maps bps by `reward_bound_bps` to losses in [0, 1].
    `min_weight` is the least weight of an expert relative to the largest: none dies.

    Every refusal is a ValueError raised before anything changes; what an expert raises comes through, as early.
    """

    __slots__ = ("_experts", "_generator", "_learner", "_n_arms", "_reward_bound_bps", "_seed", "_total_steps")

    def __init__(
        self,
        n_arms: int,
        experts: Experts,
        eta: float | None = None,
        gamma: float | None = None,
        expected_decisions: float = 10_000,
        seed: int | None = None,
        *,
        estimator: str = "importance",
        implicit: float | None = None,
        reward_bound_bps: float = 100.0,
        min_weight: float = 1e-10,
        horizon: float | None = None,
    ) -> None:
        expected_decisions = todays_decisions(expected_decisions, horizon)
        self._n_arms = _legal_n_arms(n_arms)
        self._experts = _legal_experts(experts, self._n_arms)
        legal_number("expected_decisions", expected_decisions, 1.0, LARGEST)
        if eta is None:
            eta = default_eta(self._n_arms, len(self._experts), expected_decisions)
        if gamma is None:
            gamma = 0.0 if estimator == "implicit" else min(1.0, self._n_arms * eta)
        parameters = AdviceParameters(estimator, eta, gamma, eta / 2.0 if implicit is None else implicit, min_weight)
        self._learner = AdviceLearner(self._experts, parameters)
        self._reward_bound_bps = legal_number("reward_bound_bps", reward_bound_bps, SMALLEST, LARGEST)
        self._seed = legal_seed(seed)
        self._generator: np.random.Generator | None = None  # made when it first draws
        self._total_steps = 0

    # What it is.

    @property
    def n_arms(self) -> int:
        """K."""
        return self._n_arms

    @property
    def experts(self) -> list[str]:
        """Their names, in the order of every other list."""
        return list(self._experts)

    @property
    def estimator(self) -> str:
        return self._learner.parameters.estimator

    @property
    def eta(self) -> float:
        return self._learner.parameters.eta

    @property
    def gamma(self) -> float:
        return self._learner.parameters.gamma

    @property
    def total_steps(self) -> int:
        """T, the decisions counted."""
        return self._total_steps

    @property
    def state(self) -> list[float]:
        """log_weights (importance) or losses (implicit) of the experts; a fresh list."""
        return self._learner.state

    @property
    def expert_weights(self) -> NDArray[np.float64]:
        """q, normalised; a fresh float64 array of N."""
        return np.array(self._learner.weights(), dtype=np.float64)

    # Choosing.

    def play_distribution(self, x: Any = None) -> NDArray[np.float64]:
        """The probabilities of the arms at context x; a fresh float64 array of K. ValueError for wrong advice."""
        return np.array(self._learner.play(self._advice(x)), dtype=np.float64)

    def choose(self, x: Any = None) -> int:
        """An arm drawn from play_distribution(x), by exactly one number of the generator. Counts nothing."""
        cumulative = list(accumulate(self._learner.play(self._advice(x))))
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
        `new_decision` is False for all parts but the first, and then T stays. Under implicit, what is not realised
        counts as a zero reward, so that parts sum to the whole: `weight * (loss - 1/2) + (1/2 if new_decision)` takes
        the loss's place.
        """
        legal_reward(reward, weight)
        arm = legal_arm(arm, self._n_arms)
        advice = self._advice(x)
        source: PropensitySource = "LOGGED"
        if propensity is None:
            source, propensity = "CURRENT", self._learner.play(advice)[arm]
            if propensity == 0.0:
                raise ValueError(f"arm {arm} cannot have been drawn at this context: its probability is 0")
        estimate = self._learn([each[arm] for each in advice], reward, propensity, weight, new_decision)
        return Update((arm,), (float(propensity),), (estimate,), self.eta, source)

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
        legal_reward(reward, weight)
        given = self._learner.in_order(advice_for_arm)
        estimate = self._learn(given, reward, propensity, weight, new_decision)
        return Update((), (float(propensity),), (estimate,), self.eta, "LOGGED")

    def merge(self, other: "Exp4Bandit | Mapping[str, Any]") -> None:
        """Add what another, or a snapshot of it, learned apart from a uniform start: relative weights multiply, T adds.

        ValueError unless both have the same experts in the same order and the same parameters.
        """
        if not isinstance(other, Exp4Bandit):
            other = Exp4Bandit.from_snapshot(other, self._experts)
        ours, theirs = (self._n_arms, self._reward_bound_bps), (other._n_arms, other._reward_bound_bps)
        if ours != theirs:
            raise ValueError(f"cannot merge: parameters n_arms and reward_bound_bps {ours} against {theirs}")
        self._learner.merge(other._learner)
        self._total_steps += other._total_steps

    def reset(self) -> None:
        """Forget everything learned and counted; experts, parameters and the generator stay."""
        self._learner.reset()
        self._total_steps = 0

    # Experts that come and go.

    def add_expert(self, name: str, expert: Expert, initial_weight: float = 1.0) -> None:
        """Relative weights of the others do not change. `initial_weight` in [0, 1e6] is in units of the mean weight; 0
        takes the floor. ValueError for a name that is there already."""
        legal = _legal_experts({name: expert}, self._n_arms)
        self._learner.add(name, initial_weight)
        self._experts = {**self._experts, **legal}

    def remove_expert(self, name: str) -> None:
        """Relative weights of the others do not change. ValueError when unknown or the last."""
        self._learner.remove(name)
        self._experts = {other: expert for other, expert in self._experts.items() if other != name}

    # Keeping and bringing back.

    def create(self, seed: int | None = None) -> Self:
        """A learner with these experts and parameters that has learned nothing."""
        twin = object.__new__(type(self))
        twin._n_arms, twin._reward_bound_bps, twin._experts = self._n_arms, self._reward_bound_bps, self._experts
        twin._learner = AdviceLearner(self._experts, self._learner.parameters)
        twin._seed, twin._generator = seed, None
        twin._total_steps = 0
        return twin

    def snapshot(self) -> dict[str, Any]:
        """Everything but the experts themselves that `from_snapshot` needs to go on bit for bit; JSON types only."""
        parameters = self._learner.parameters
        return {
            "experts": list(self._experts),
            "n_arms": self._n_arms,
            "reward_bound_bps": self._reward_bound_bps,
            **{name: getattr(parameters, name) for name in _PARAMETER_KEYS},
            _state_key(parameters.estimator): self._learner.state,
            "total_steps": self._total_steps,
            "generator": self._drawing_generator().bit_generator.state,
        }

    @classmethod
    def from_snapshot(cls, state: Mapping[str, Any], experts: Experts) -> Self:
        """A learner from `snapshot`, with the experts of the same names; the snapshot's order is kept.

        ValueError for a key that is missing, unknown or holds what no learner could, and for other experts.
        """
        state_key = _state_key(state.get("estimator"))
        keys = {"experts", "n_arms", "reward_bound_bps", *_PARAMETER_KEYS, state_key, "total_steps", "generator"}
        if state.keys() != keys:
            missing, unknown = sorted(keys - state.keys()), sorted(state.keys() - keys)
            raise ValueError(f"not a learner's snapshot: missing {missing}, unknown {unknown}")
        n_arms = _legal_n_arms(legal_count("n_arms", state["n_arms"]))
        given = _legal_experts(experts, n_arms)
        names = state["experts"]
        if not isinstance(names, list) or len(names) != len(given) or not all(name in names for name in given):
            raise ValueError(f"the snapshot has experts {names}, given are {list(given)}")
        if not isinstance(state[state_key], list | tuple):
            raise ValueError(f"{state_key} must be a list, got {state[state_key]!r}")
        bandit = object.__new__(cls)
        bandit._n_arms, bandit._seed = n_arms, None
        bandit._reward_bound_bps = legal_number("reward_bound_bps", state["reward_bound_bps"], SMALLEST, LARGEST)
        bandit._experts = {name: given[name] for name in names}
        bandit._learner = AdviceLearner(names, AdviceParameters(**{name: state[name] for name in _PARAMETER_KEYS}))
        bandit._learner.restore(names, state[state_key])
        bandit._total_steps = legal_count("total_steps", state["total_steps"])
        bandit._generator = generator_from(state["generator"])
        return bandit

    # Inside.

    def _advice(self, x: Any) -> list[list[float]]:
        """What each expert says of context x, each summing to 1."""
        return [
            legal_advice(name, expert(x), self._n_arms) if callable(expert) else expert
            for name, expert in self._experts.items()
        ]

    def _learn(
        self, advice_for_arm: Sequence[float], reward: float, p: float, weight: float, new_decision: bool
    ) -> float:
        """The estimate by which each expert's state moved, times its advice: all of it, or a ValueError and nothing."""
        earned = float(weight) * float(reward)
        if self._learner.parameters.is_implicit and weight > 0.0:
            bound = self._reward_bound_bps
            loss_above_half = -min(max(float(reward), -bound), bound) / (2.0 * bound)
            earned = float(weight) * loss_above_half + (0.5 if new_decision else 0.0)
        estimate = self._learner.learn(advice_for_arm, earned, p)
        if new_decision and weight > 0.0:
            self._total_steps += 1
        return estimate

    def _drawing_generator(self) -> np.random.Generator:
        if self._generator is None:
            self._generator = np.random.Generator(np.random.PCG64(self._seed))
        return self._generator


_PARAMETER_KEYS = ("estimator", "eta", "gamma", "implicit", "min_weight")


def _state_key(estimator: object) -> str:
    return "losses" if estimator == "implicit" else "log_weights"


def _legal_n_arms(n_arms: int) -> int:
    if index(n_arms) < 2:
        raise ValueError(f"a learner needs at least two arms, got {n_arms}")
    return index(n_arms)


def _legal_experts(experts: Experts, n_arms: int) -> dict[str, Callable[[Any], Advice] | list[float]]:
    """Name to expert; a fixed distribution is checked here, once."""
    if isinstance(experts, str) or not isinstance(experts, Mapping | Sequence):
        raise ValueError(f"experts are a mapping by name or a sequence, got {experts!r}")
    if not isinstance(experts, Mapping):
        experts = {f"expert_{number}": expert for number, expert in enumerate(experts)}
    return {
        name: expert if callable(expert) else legal_advice(name, expert, n_arms) for name, expert in experts.items()
    }
