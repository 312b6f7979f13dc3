"""Exp3 and Exp3-IX over K arms: refused input changes nothing, state lives in logs, and no arm dies.

Two estimators share one reading, `p_i = (1 - gamma) w_i + gamma / K`:

- ``importance``, Exp3 with importance weighting. State theta (log_weights), kept in [ln(min_weight), 0]:
  `theta_arm += clamp(eta_T * weight * reward / p_arm)`, `w = softmax(theta)`.
- ``implicit``, Neu 2015 (arXiv 1506.03271). State L (losses), never floored:
  `L_arm += loss / (p_arm + implicit_t)`, `w = softmax(-eta_t L)`.

The implicit rule maps rewards to losses by its bound (reward_bound.py), and learns nothing while that warms up.

Inside are plain floats and lists, which beat numpy below some forty arms; numpy is what callers are given.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, isfinite, log, sqrt
from operator import index
from typing import Any, Literal, Self

from armstream.learning.contract import (
    Decision,
    Learned,
    Observed,
    Part,
    PropensitySource,
    Reading,
    Update,
    legal_reward,
)
from armstream.learning.drawing import Draw, DrawingLearner, refuse_more_than_drawn
from armstream.learning.old_names import todays_attribution
from armstream.learning.refusals import (
    FINITE,
    LARGEST,
    MAX_REWARD_BPS,
    MAX_WEIGHT,
    SMALLEST,
    generator_from,
    illegal_propensity,
    illegal_reward,
    legal_arm_names,
    legal_count,
    legal_number,
    legal_numbers,
    legal_propensities,
    legal_shares,
    names_of,
    refuse_asleep,
    refuse_overflow,
)
from armstream.learning.reward_bound import RewardBound
from armstream.learning.summation import summed
from armstream.learning.transforms import Transform, share_out

_log = logging.getLogger(__name__)

_new = tuple.__new__  # a NamedTuple in half the time of calling its class, which is a tenth of an update


@dataclass(frozen=True, slots=True)
class _Parameters:
    """What a learner never changes. ValueError for what is out of range."""

    gamma: float
    eta: float | None
    eta_max: float | None
    estimator: str
    implicit: float | None
    reward_bound_bps: float | Literal["auto"]
    fixed_share: float
    transform: Transform
    min_weight: float
    is_implicit: bool = field(init=False)
    log_floor: float = field(init=False)

    def __post_init__(self) -> None:
        if self.estimator not in ("importance", "implicit"):
            raise ValueError(f"estimator must be 'importance' or 'implicit', got {self.estimator!r}")
        for name, low, high in (
            ("gamma", 0.0, 1.0),
            ("eta", SMALLEST, LARGEST),
            ("eta_max", SMALLEST, LARGEST),
            ("implicit", 0.0, LARGEST),
            ("fixed_share", 0.0, 1.0),
            ("min_weight", SMALLEST, 1.0),
        ):
            value = getattr(self, name)
            if value is not None or name in ("gamma", "fixed_share", "min_weight"):
                object.__setattr__(self, name, legal_number(name, value, low, high))
        if self.reward_bound_bps != "auto":
            bound = legal_number("reward_bound_bps", self.reward_bound_bps, SMALLEST, LARGEST)
            object.__setattr__(self, "reward_bound_bps", bound)
        object.__setattr__(self, "is_implicit", self.estimator == "implicit")
        object.__setattr__(self, "log_floor", log(self.min_weight))


class Exp3IXBandit(DrawingLearner):
    """One learner over K named arms.

    `n_arms` names may be given, else they are arm_0, arm_1, ... `gamma` in [0, 1] is the uniform part of every choice.
    A given `eta` is used as it is; None is sqrt(ln K / (K t)), at most `eta_max` (None: no cap). `implicit` (None:
    eta_t / 2) and `reward_bound_bps` belong to the implicit estimator; importance takes rewards as they are.
    `transform` ("none", "clip", "tanh") comes before both, with `transform_bps` (100 for clip, 50 for tanh) as its
    scale. `reward_bound_bps` "auto" takes the 95th percentile of the first 100 |reward|, after the transform
    (reward_bound.py): until then weights, T and counts stay, and an update says that it was not applied; a decision
    whose first part fell into the warm-up counts by the first part that is learned, so give that new_decision=True.
    `fixed_share` mixes that part of the mean weight into every weight once a decision; above 0 the order of
    rewards matters and none can be taken back exactly. `min_weight` is the least weight relative to the largest.

    Every refusal is a ValueError raised before anything changes; what is not a number or an index at all may be a
    TypeError, as early. Nothing here is safe to call from two threads.
    """

    __slots__ = ("_log_k_over_k", "_parameters")

    _title = "Exp3IX"
    _log = _log

    def __init__(
        self,
        n_arms: int,
        arm_names: Sequence[str] | None = None,
        gamma: float = 0.05,
        eta: float | None = None,
        eta_max: float | None = 0.07,
        seed: int | None = None,
        *,
        estimator: str = "importance",
        implicit: float | None = None,
        reward_bound_bps: float | Literal["auto"] = 100.0,
        fixed_share: float = 0.0,
        transform: str = "none",
        transform_bps: float | None = None,
        min_weight: float = 1e-10,
    ) -> None:
        names = names_of(n_arms, arm_names)
        self._parameters = _Parameters(
            gamma=gamma,
            eta=eta,
            eta_max=eta_max,
            estimator=estimator,
            implicit=implicit,
            reward_bound_bps=reward_bound_bps,
            fixed_share=fixed_share,
            transform=Transform(transform, transform_bps),
            min_weight=min_weight,
        )
        super().__init__(names, RewardBound.given(self._parameters.reward_bound_bps), seed)

    # What it is.

    @property
    def estimator(self) -> str:
        return self._parameters.estimator

    @property
    def gamma(self) -> float:
        return self._parameters.gamma

    @property
    def is_warming(self) -> bool:
        """Whether the next reward goes into the bound's warm-up, and into nothing else."""
        return self._parameters.is_implicit and self._reward_bound.bound_bps is None

    @property
    def eta_auto(self) -> bool:
        """Whether the rate is computed anew every update."""
        return self._parameters.eta is None

    @property
    def eta(self) -> float:
        """The rate last used (importance), the reading rate of round T + 1 (implicit), or the one given."""
        return self._rate(new_decision=False)

    def is_clipped(self, reward_bps: float) -> bool:
        """Whether this reward would be cut: by transform "clip", or by reward_bound_bps under implicit."""
        transform = self._parameters.transform
        return transform.cuts(reward_bps) or (
            self._parameters.is_implicit and super().is_clipped(transform(reward_bps))
        )

    # Reading and choosing.

    def read(self) -> Reading:
        """Weights and probabilities of one reading, without numpy."""
        eta = self._rate(new_decision=False)
        weights = self._weights(eta)
        return _new(Reading, (weights, self._explored(weights.copy()), eta))

    def decide(self) -> Draw:
        """An arm drawn by exactly one number of the generator, with all that its update needs. Counts nothing."""
        eta = self._rate(new_decision=False)
        probabilities = self._explored(self._weights(eta))
        arm = self._draw_from(probabilities)
        return _new(Draw, (arm, probabilities[arm], probabilities, eta))

    def select_arm(self) -> int:
        """The arm of `decide` alone."""
        return self.decide().arm

    # Learning.

    def learn(self, decision: Decision, part: Part, new_decision: bool, observed: Sequence[Observed] = ()) -> Update:
        """As `update`, by the propensity that was logged."""
        arm, logged, _, asleep = decision[:4]
        if observed:
            refuse_more_than_drawn(observed, decision, part)
        return self.update(arm, part.reward_bps, logged.propensity, part.weight, new_decision, asleep=asleep)

    def learn_blend(
        self,
        shares: Mapping[str, float],
        part: Part,
        new_decision: bool,
        attribution: str,
        observed: Sequence[Observed] = (),  # noqa: ARG002 - a blend reveals no more to it
        terms: Sequence[float] = (),  # noqa: ARG002 - it keeps none
    ) -> Update:
        """As `update_many`, by today's propensities."""
        return self.update_many(shares, part.reward_bps, attribution, weight=part.weight, new_decision=new_decision)

    def update(
        self,
        arm: int,
        reward: float,
        propensity: float | None = None,
        weight: float = 1.0,
        new_decision: bool = True,
        *,
        asleep: Collection[int] = (),
    ) -> Update:
        """Learn what one drawn arm earned.

        `reward` in net basis points, at most 1e12 either way. `propensity` in (0, 1] is the arm's probability when it
        was drawn (None: today's, and the update says CURRENT). `weight` in [0, 1e6] is the realised part of the
        decision; `new_decision` is False for all parts but the first, and then T and arm_pulls stay.
        Importance: `weight * reward / p`. Implicit: `(weight * (loss - 1/2) + (1/2 if new_decision)) / (p + implicit)`,
        where what is not realised counts as a zero reward.
        `asleep` are the arms that could not be drawn: each moves by `p * estimate`, what was played, so that its weight
        against all others together stays (Y. Freund, R. Schapire, Y. Singer, M. Warmuth, 'Using and combining
        predictors that specialize', STOC 1997).
        While `is_warming`, any legal reward only goes into the bound's warm-up.
        """
        if not (-MAX_REWARD_BPS <= reward <= MAX_REWARD_BPS and 0.0 <= weight <= MAX_WEIGHT):
            raise illegal_reward(reward, weight)
        reward, weight, arm = float(reward), float(weight), index(arm)
        if not 0 <= arm < len(self._names):
            raise ValueError(f"arm must be in 0..{len(self._names) - 1}, got {arm}")
        source: PropensitySource = "LOGGED"
        if propensity is None:
            source, propensity = "CURRENT", self.read().probabilities[arm]
        elif not 0.0 < propensity <= 1.0:
            raise illegal_propensity(propensity)
        p = float(propensity)
        if asleep:
            refuse_asleep(asleep, arm, len(self._names))
        eta = self._rate(new_decision)
        if self._parameters.is_implicit:
            if self._reward_bound.bound_bps is None:
                self.warm_up(reward)
                return Update((), (), (), eta, "NONE")
            unrealised = 0.5 if new_decision else 0.0
            estimate = (weight * self._signal(reward) + unrealised) / (p + self._implicit(eta))
        else:
            estimate = weight * self._signal(reward) / p
        if asleep or not self._parameters.is_implicit:
            self._apply(((arm, estimate, weight * reward),), eta, new_decision, asleep, p * estimate)
        else:
            self._apply_one(arm, estimate, weight * reward, eta, new_decision)
        update = _new(Update, ((arm,), (p,), (estimate,), eta, source, ()))
        if _log.isEnabledFor(logging.DEBUG):
            self._log_update(update, reward)
        return update

    def update_many(
        self,
        contributions: Mapping[str, float],
        reward: float,
        attribution: str = "simultaneous",
        *,
        propensities: Mapping[str, float] | None = None,
        weight: float = 1.0,
        new_decision: bool = True,
    ) -> Update:
        """Learn what a blend of arms earned; `contributions` maps arm name to share (finite, >= 0, one above 0).

        A share multiplies the estimate: `share * weight * reward / p`, for implicit
        `share * weight * (loss - 1/2) / (p + implicit)`, so that a zero reward moves nothing.

        - simultaneous: every p from one reading, T + 1 once; the order of the mapping is irrelevant.
        - sequential: one such update an arm, in the mapping's order, T + 1 (and fixed_share) each.
        - undivided: as simultaneous, without the denominators.

        `propensities` count (LOGGED) where they name exactly the arms with a share above 0, else today's do (CURRENT).
        """
        reward, weight = legal_reward(reward, weight)
        shares = legal_shares(contributions, self._index_of)
        logged = None if propensities is None else legal_propensities(propensities, self._index_of, shares)
        attribution = todays_attribution(attribution)
        if attribution not in ("simultaneous", "sequential", "undivided"):
            raise ValueError(f"attribution must be 'simultaneous', 'sequential' or 'undivided', got {attribution!r}")
        if self.is_warming:
            self.warm_up(reward)
            return Update((), (), (), self._rate(new_decision), "NONE")
        if attribution == "simultaneous":
            update = self._blend(shares, reward, logged, weight, new_decision)
        elif attribution == "sequential":
            update = self._blend_in_turn(shares, reward, logged, weight, new_decision)
        else:
            update = self._blend_undivided(shares, reward, weight, new_decision)
        if _log.isEnabledFor(logging.DEBUG):
            self._log_update(update, reward)
        return update

    def warm_up(self, reward: float) -> None:
        """As it says, after the transform."""
        legal = legal_number("reward", reward, -MAX_REWARD_BPS, MAX_REWARD_BPS)
        super().warm_up(self._parameters.transform(legal))

    # Arms that come.

    def add_arm(self, arm_name: str, initial_weight: float = 1.0) -> int:
        """Add an arm and return its index; relative weights of the others do not change.

        `initial_weight` in [0, 1e6] is in units of the mean weight; 0 takes the floor. ValueError for a name that is
        there already.
        """
        initial_weight = legal_number("initial_weight", initial_weight, 0.0, MAX_WEIGHT)
        names = legal_arm_names((*self._names, arm_name))
        relative = self._relative_weights(self._rate(new_decision=False))
        newcomer = log(max(initial_weight * summed(relative) / len(relative), self._parameters.min_weight))
        if self._parameters.is_implicit:
            state = self._for_rate_of(self._state, len(names))
            state.append(min(state) - newcomer / self._rate(new_decision=False, n_arms=len(names)))
        else:
            state = self._settled([*self._state, newcomer])
        refuse_overflow(state)
        self._state = state
        return self._append_name(names)

    # Showing, keeping and bringing back.

    def to_dict(self) -> dict[str, Any]:
        """Everything `from_dict` needs to go on bit for bit; JSON types only, nothing shared with the learner.

        Nine plain keys first: n_arms, arm_names, gamma, eta, eta_auto, weights (relative to the largest),
        total_steps, arm_pulls, cumulative_rewards. Then log_weights or losses, which win over weights, the other
        parameters, the bound as it is now, and the generator's state (one that has not drawn yet is made for it).
        """
        eta, parameters = self._rate(new_decision=False), self._parameters
        return {
            "n_arms": len(self._names),
            "arm_names": list(self._names),
            "gamma": parameters.gamma,
            "eta": eta,
            "eta_auto": parameters.eta is None,
            "weights": self._relative_weights(eta),
            "total_steps": self._total_steps,
            "arm_pulls": self._pulls.copy(),
            "cumulative_rewards": self._cumulative_rewards.copy(),
            self._state_key(): self._state.copy(),
            **{key: getattr(parameters, key) for key in _PARAMETER_KEYS if not key.startswith("transform")},
            "transform": parameters.transform.kind,
            "transform_bps": parameters.transform.scale_bps,
            "reward_bound": self._reward_bound.to_dict(),
            "generator": self._drawing_generator().bit_generator.state,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], seed: int | None = None) -> Self:
        """A learner from `to_dict`, or from its nine plain keys alone: then importance weighting with default
        parameters, its weights in any unit, where 0 takes the floor. `seed` serves where `state` has no generator.

        ValueError for a key that is missing, unknown or holds what no learner could.
        """
        parameters = {key: state[key] for key in _PARAMETER_KEYS if key in state}
        missing = [key for key in _PLAIN_KEYS if key not in state]
        unknown = [key for key in state if key not in (*_PLAIN_KEYS, *_PARAMETER_KEYS, *_OTHER_KEYS)]
        if missing or unknown:
            raise ValueError(f"not a learner's state: missing {missing}, unknown {unknown}")
        for key in _LIST_KEYS:
            if not isinstance(state.get(key, ()), list | tuple):
                raise ValueError(f"{key} must be a list, got {state[key]!r}")
        if not isinstance(state["eta_auto"], bool):
            raise ValueError(f"eta_auto must be true or false, got {state['eta_auto']!r}")
        if not state["eta_auto"] and state["eta"] is None:
            raise ValueError("eta_auto is false, but eta is missing")
        bandit = cls(
            legal_count("n_arms", state["n_arms"]),
            legal_arm_names(state["arm_names"]),
            state["gamma"],
            None if state["eta_auto"] else state["eta"],
            seed=seed,
            **parameters,
        )
        bandit._total_steps = legal_count("total_steps", state["total_steps"])  # the rate behind weights depends on it
        numbers = bandit._state_of_weights(state["weights"])
        if any(key in state for key in ("log_weights", "losses")):
            if bandit._state_key() not in state or {"log_weights", "losses"} <= set(state):
                raise ValueError(f"the {bandit.estimator} estimator has {bandit._state_key()} and nothing else")
            numbers = state[bandit._state_key()]
        reward_bound = RewardBound.from_dict(state["reward_bound"]) if "reward_bound" in state else bandit.reward_bound
        bandit.restore(
            Learned(
                state["arm_names"],
                [(number,) for number in numbers],
                state["arm_pulls"],
                state["cumulative_rewards"],
                state["total_steps"],
                reward_bound,
            )
        )
        if state.get("generator") is not None:
            bandit._generator = generator_from(state["generator"])
        return bandit

    # Inside.

    def _set_names(self, names: tuple[str, ...]) -> None:
        super()._set_names(names)
        self._log_k_over_k = log(len(self._names)) / len(self._names)

    def _give(self, twin: Self) -> None:
        super()._give(twin)
        twin._parameters, twin._log_k_over_k = self._parameters, self._log_k_over_k

    def _parameters_to_merge(self) -> _Parameters:
        return self._parameters

    def _legal_state(self, state: Sequence[float], n_arms: int) -> list[float]:
        return self._settled(legal_numbers("state", state, n_arms, -FINITE, FINITE))

    def _state_without(self, arm: int) -> list[float]:
        state = self._state[:arm] + self._state[arm + 1 :]
        if self._parameters.is_implicit:
            state = self._for_rate_of(state, len(state))
            refuse_overflow(state)
        return self._settled(state)

    def _for_rate_of(self, losses: Sequence[float], n_arms: int) -> list[float]:
        """L * eta stays what it is where the number of arms changes the rate."""
        eta, eta_after = self._rate(new_decision=False), self._rate(new_decision=False, n_arms=n_arms)
        return [loss * (eta / eta_after) for loss in losses]

    def _state_key(self) -> str:
        return "losses" if self._parameters.is_implicit else "log_weights"

    def _rate(self, new_decision: bool, n_arms: int | None = None) -> float:
        """The rate of an update, automatic: min(eta_max, sqrt(ln K / (K t))). With new_decision=False, a reading's."""
        parameters = self._parameters
        if parameters.eta is not None:
            return parameters.eta
        t = self._total_steps + 1 if new_decision or parameters.is_implicit else self._total_steps or 1
        log_k_over_k = self._log_k_over_k if n_arms is None else log(n_arms) / n_arms
        rate = sqrt(log_k_over_k / t)
        return rate if parameters.eta_max is None or rate < parameters.eta_max else parameters.eta_max

    def _implicit(self, eta: float) -> float:
        """What the implicit estimator adds to p below the fraction."""
        implicit = self._parameters.implicit
        return eta / 2.0 if implicit is None else implicit

    def _signal(self, reward: float) -> float:
        """What is divided by p: the reward (importance), or loss - 1/2 = -clip(reward, -B, B) / (2 B) (implicit)."""
        parameters = self._parameters
        if parameters.transform.kind != "none":
            reward = parameters.transform(reward)
        if not parameters.is_implicit:
            return reward
        bound = self._reward_bound.bound_bps
        assert bound is not None  # a learner that warms up has no signal
        if -bound < reward < bound:
            return -reward / (2.0 * bound)
        return -0.5 if reward > 0.0 else 0.5

    def _weights(self, eta: float) -> list[float]:
        relative = self._relative_weights(eta)
        total = summed(relative)
        return [weight / total for weight in relative]

    def _explored(self, weights: list[float]) -> list[float]:
        """With the uniform part mixed in; the same list where there is none."""
        gamma = self._parameters.gamma
        if gamma == 0.0:
            return weights
        exploit, explore = 1.0 - gamma, gamma / len(weights)
        return [exploit * weight + explore for weight in weights]

    def _relative_weights(self, eta: float) -> list[float]:
        """Weights relative to the largest, none below min_weight."""
        state, floor = self._state, self._parameters.min_weight
        if self._parameters.is_implicit:
            least = min(state)
            return [w if (w := exp(eta * (least - loss))) > floor else floor for loss in state]
        most = max(state)
        return [w if (w := exp(theta - most)) > floor else floor for theta in state]

    def _state_of_weights(self, weights: Sequence[float]) -> list[float]:
        given = legal_numbers("weights", weights, len(self._names), 0.0, MAX_WEIGHT)
        most = max(given)
        if most == 0.0:
            raise ValueError("weights must not all be 0")
        logs = [log(max(weight / most, self._parameters.min_weight)) for weight in given]
        if not self._parameters.is_implicit:
            return logs
        eta = self._rate(new_decision=False)
        return [-each / eta for each in logs]

    def _settled(self, state: list[float]) -> list[float]:
        """theta_i = max(theta_i - max(theta), ln(min_weight)); losses stay as they are. Settling twice is as once."""
        if self._parameters.is_implicit:
            return state
        most, floor = max(state), self._parameters.log_floor
        return [moved if (moved := theta - most) > floor else floor for theta in state]

    def _apply(
        self,
        steps: Sequence[tuple[int, float, float]],
        eta: float,
        new_decision: bool,
        asleep: Collection[int] = (),
        played: float = 0.0,
    ) -> None:
        """Move by (arm, estimate, reward to count) each, and those asleep by what was played; share, count: all of it,
        or a ValueError and nothing."""
        parameters = self._parameters
        state, limit = self._state.copy(), -2.0 * parameters.log_floor
        for arm, estimate, reward in steps:
            if parameters.is_implicit:
                state[arm] += estimate
            else:
                state[arm] += min(max(eta * estimate, -limit), limit)
            if not isfinite(estimate + state[arm] + (self._cumulative_rewards[arm] + reward)):
                raise ValueError(f"an estimate and the sums that it goes into must be finite, got {estimate}")
        for arm in asleep:
            state[arm] += played if parameters.is_implicit else min(max(eta * played, -limit), limit)
            if not isfinite(state[arm]):
                raise ValueError(f"the sums that an estimate goes into must be finite, got {state[arm]}")
        if not parameters.is_implicit:
            state = self._settled(state)
        if new_decision and parameters.fixed_share > 0.0:
            state = self._mixed(state, eta)
        self._state = state
        for arm, _, reward in steps:
            self._cumulative_rewards[arm] += reward
            if new_decision:
                self._pulls[arm] += 1
        if new_decision:
            self._total_steps += 1

    def _apply_one(self, arm: int, estimate: float, earned: float, eta: float, new_decision: bool) -> None:
        """What _apply does of one arm's loss where nobody sleeps: nearly every update."""
        state = self._state.copy()
        state[arm] = moved = state[arm] + estimate
        total = self._cumulative_rewards[arm] + earned
        if not isfinite(estimate + moved + total):
            raise ValueError(f"an estimate and the sums that it goes into must be finite, got {estimate}")
        if new_decision:
            if self._parameters.fixed_share > 0.0:
                state = self._mixed(state, eta)
            self._pulls[arm] += 1
            self._total_steps += 1
        self._state = state
        self._cumulative_rewards[arm] = total

    def _mixed(self, state: list[float], eta: float) -> list[float]:
        """The fixed share of unfloored w, and back to the state."""
        slope = -eta if self._parameters.is_implicit else 1.0
        best = min(state) if self._parameters.is_implicit else max(state)
        relative = [exp(slope * (each - best)) for each in state]
        total = summed(relative)
        shared = share_out([each / total for each in relative], self._parameters.fixed_share)
        return self._settled([log(each) / slope for each in shared])

    def _blend(
        self,
        shares: Mapping[int, float],
        reward: float,
        logged: Mapping[int, float] | None,
        weight: float,
        new_decision: bool,
    ) -> Update:
        """One update of several arms, every p logged or from one reading; the mapping's order changes no number."""
        known = logged if logged else self.read().probabilities
        propensities = tuple([known[arm] for arm in shares])
        eta = self._rate(new_decision)
        implicit = self._implicit(eta) if self._parameters.is_implicit else 0.0
        signal, counted = weight * self._signal(reward), weight * reward
        steps = [
            (arm, share * signal / (p + implicit), share * counted)
            for (arm, share), p in zip(shares.items(), propensities, strict=True)
        ]
        self._apply(steps, eta, new_decision)
        estimates = tuple([estimate for _, estimate, _ in steps])
        return Update(tuple(shares), propensities, estimates, eta, "LOGGED" if logged else "CURRENT")

    def _blend_in_turn(
        self,
        shares: Mapping[int, float],
        reward: float,
        logged: Mapping[int, float] | None,
        weight: float,
        new_decision: bool,
    ) -> Update:
        """Each arm on the state that the one before it left; done on a copy, since a later one may be refused."""
        trial = self.copy()
        steps = [
            trial._blend({arm: share}, reward, logged and {arm: logged[arm]}, weight, new_decision)
            for arm, share in shares.items()
        ]
        self._state, self._pulls = trial._state, trial._pulls
        self._cumulative_rewards, self._total_steps = trial._cumulative_rewards, trial._total_steps
        propensities = tuple(step.propensities[0] for step in steps)
        estimates = tuple(step.estimates[0] for step in steps)
        return Update(tuple(shares), propensities, estimates, steps[-1].eta, steps[-1].propensity_source)

    def _blend_undivided(self, shares: Mapping[int, float], reward: float, weight: float, new_decision: bool) -> Update:
        """No arm was drawn, so nothing is divided by p."""
        eta = self._rate(new_decision)
        signal, counted = weight * self._signal(reward), weight * reward
        steps = [(arm, share * signal, share * counted) for arm, share in shares.items()]
        self._apply(steps, eta, new_decision)
        return _new(Update, (tuple(shares), (), tuple([estimate for _, estimate, _ in steps]), eta, "NONE", ()))

    # Taking back.

    @property
    def _forgets(self) -> str:
        if not self._parameters.is_implicit:
            return "importance weighting floors its log weights"
        return "a fixed share was mixed in since" if self._parameters.fixed_share else ""

    def _own_moves(self, decision: Decision, update: Update) -> list[float]:
        (p,) = update.propensities
        return self._played(decision, p, 0.5 / (p + self._implicit(update.eta)))

    def _moves_of(self, decision: Decision, update: Update, new_decision: bool) -> list[float]:  # noqa: ARG002 - all in one
        return self._played(decision, update.propensities[0], update.estimates[0])

    def _played(self, decision: Decision, p: float, estimate: float) -> list[float]:
        """The drawn arm moves by the estimate, those asleep by what was played."""
        moves = [0.0] * len(self._names)
        moves[decision.arm] = estimate
        for arm in decision.asleep:
            moves[arm] = p * estimate
        return moves


_PLAIN_KEYS = (
    *("n_arms", "arm_names", "gamma", "eta", "eta_auto"),
    *("weights", "total_steps", "arm_pulls", "cumulative_rewards"),
)
_PARAMETER_KEYS = (
    *("estimator", "eta_max", "implicit", "reward_bound_bps", "fixed_share"),
    *("transform", "transform_bps", "min_weight"),
)
_LIST_KEYS = ("arm_names", "weights", "arm_pulls", "cumulative_rewards", "log_weights", "losses")
_OTHER_KEYS = ("log_weights", "losses", "reward_bound", "generator")
