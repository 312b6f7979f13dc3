"""EXP4 as a processor runs it: some experts live in engines, which know the context, and some are its own.

Law: an update needs no context, only what each expert gave to the arm that was drawn, and the propensity of the draw.
The rule is that of advice.py, on losses `(B - clip(reward, -B, B)) / (2 B)`, or on rewards `1 - loss` under importance;
what of a decision is not realised counts as a zero reward. Nothing is learned while an automatic B warms up.

Own experts know arms by name, and so outlive arms that come and go; those that learn are taught here, after the update,
with the same numbers. An engine's expert is a name and a weight.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from armstream.learning.advice import AdviceLearner, AdviceParameters
from armstream.learning.arms import ArmLearner, Reading, Update
from armstream.learning.exp3 import Exp3IXBandit
from armstream.learning.exp4 import default_eta
from armstream.learning.experts import FollowTheBest, fixed, uniform
from armstream.learning.refusals import (
    FINITE,
    LARGEST,
    MAX_REWARD_BPS,
    MAX_WEIGHT,
    illegal_propensity,
    illegal_reward,
    legal_arm,
    legal_arm_names,
    legal_count,
    legal_number,
    legal_numbers,
    refuse_asleep,
)
from armstream.learning.reward_bound import RewardBound

ExpertKind = Literal["engine", "uniform", "exp3ix", "follow_best"] | Mapping[str, float]  # a mapping: base weights


class ExpertReading(NamedTuple):
    """An expert's normalised weight, and what it says now; an engine's expert says nothing here."""

    name: str
    weight: float
    distribution: list[float]


@dataclass(frozen=True, slots=True)
class ExpertLearned:
    """What is kept of an expert: its log weight or loss, and what it learned itself, in its own order."""

    name: str
    state: float
    learned: tuple[float, ...] = ()


class AdvisedBandit(ArmLearner):
    """One learner over named experts of two kinds, for K named arms.

    `experts` maps a name to `engine`, `uniform`, base weights by arm, `exp3ix` (an Exp3-IX with Neu's rule and the same
    bound) or `follow_best`. Where `eta` is None it is `sqrt(ln max(N, 2) / (K horizon))` of the arms and experts at
    the start, right for `horizon` decisions; `implicit` None is eta / 2. All parameters stay for life.

    Every refusal is a ValueError raised before anything changes.
    """

    __slots__ = ("_given_bound", "_kinds", "_learner", "_own")

    def __init__(
        self,
        arm_names: Sequence[str],
        experts: Mapping[str, ExpertKind],
        *,
        eta: float | None = None,
        gamma: float = 0.0,
        horizon: float = 10_000,
        estimator: str = "implicit",
        implicit: float | None = None,
        reward_bound_bps: float | Literal["auto"] = "auto",
        min_weight: float = 1e-10,
    ) -> None:
        self._given_bound = RewardBound.given(reward_bound_bps)
        super().__init__(arm_names, self._given_bound)
        legal_number("horizon", horizon, 1.0, LARGEST)
        rate = default_eta(len(self._names), len(experts), horizon) if eta is None else eta
        parameters = AdviceParameters(estimator, rate, gamma, rate / 2.0 if implicit is None else implicit, min_weight)
        self._learner = AdviceLearner(experts, parameters)
        self._kinds = dict(experts)
        self._own = {name: own for name, kind in experts.items() if (own := _new_own(kind, self._names)) is not None}
        for kind in experts.values():
            if isinstance(kind, Mapping):
                fixed(kind, self._names)  # which refuses what base weights cannot be

    # What it is.

    @property
    def experts(self) -> tuple[str, ...]:
        """Their names, in the order of every list of theirs."""
        return self._learner.names

    @property
    def state(self) -> list[float]:
        """Zeros: what is learned is learned of experts, not of arms."""
        return [0.0] * len(self._names)

    @property
    def gamma(self) -> float:
        return self._learner.parameters.gamma

    @property
    def eta(self) -> float:
        return self._learner.parameters.eta

    # Reading.

    def read(self) -> Reading:
        """What the own experts say together, by their weights among themselves (uniform where there is none): weights,
        the same with exploration mixed in, and the rate. What is played needs the engines' experts too."""
        said = [each for each in self.read_experts() if each.distribution]
        trust = sum(each.weight for each in said)
        if said:
            rows = zip(*(each.distribution for each in said), strict=True)
            weights = [sum(one.weight * share for one, share in zip(said, row, strict=True)) / trust for row in rows]
        else:
            weights = uniform(len(self._names))
        exploit, explore = 1.0 - self.gamma, self.gamma / len(weights)
        return Reading(weights, [exploit * weight + explore for weight in weights], self.eta)

    def read_experts(self) -> list[ExpertReading]:
        """Each expert's weight, and the distribution of those that are its own."""
        weights = zip(self._learner.names, self._learner.weights(), strict=True)
        return [ExpertReading(name, weight, self._said(name)) for name, weight in weights]

    # Learning.

    def update_advice(
        self,
        arm: int,
        advice_for_arm: Mapping[str, float],
        reward: float,
        propensity: float,
        weight: float = 1.0,
        new_decision: bool = True,
        *,
        asleep: Collection[int] = (),
    ) -> Update:
        """Learn what a drawn arm earned, from the probability that each expert gave to it.

        `reward` in net basis points, at most 1e12 either way; `propensity` in (0, 1]; `weight` in [0, 1e6] is the
        realised part, `new_decision` False for all parts but the first. Exactly the experts there are have spoken.
        The estimate is `(weight * (loss - 1/2) + (1/2 if new_decision)) / (p + implicit)`, or
        `(weight * (1/2 - loss) + (1/2 if new_decision)) / p` under importance. While `is_warming`, a legal reward goes
        into the bound only. `asleep` are the arms that could not be drawn, which a nested Exp3-IX must know.
        """
        if not (-MAX_REWARD_BPS <= reward <= MAX_REWARD_BPS and 0.0 <= weight <= MAX_WEIGHT):
            raise illegal_reward(reward, weight)
        arm, reward, weight = legal_arm(arm, len(self._names)), float(reward), float(weight)
        if not 0.0 < propensity <= 1.0:
            raise illegal_propensity(propensity)
        refuse_asleep(asleep, arm, len(self._names))
        given = self._learner.in_order(advice_for_arm)
        bound = self._reward_bound.bound_bps
        if bound is None:
            self.warm_up(reward)
            return Update((), (), (), self.eta, "NONE")
        gain = min(max(reward, -bound), bound) / (2.0 * bound)  # 1/2 - loss
        realised = weight * (-gain if self._learner.parameters.is_implicit else gain)
        estimate = self._learner.learn(given, realised + (0.5 if new_decision else 0.0), propensity)
        for own in self._own.values():
            if isinstance(own, FollowTheBest):
                own.learn(arm, reward, weight)
            elif isinstance(own, Exp3IXBandit):
                own.update(arm, 2.0 * gain, propensity, weight, new_decision, asleep=asleep)
        self._cumulative_rewards[arm] += weight * reward
        if new_decision:
            self._pulls[arm] += 1
            self._total_steps += 1
        return Update((arm,), (float(propensity),), (estimate,), self.eta, "LOGGED")

    def reset(self) -> None:
        """Forget everything learned and counted, own experts too; arms and experts stay. The bound is the constructor's
        again."""
        self._learner.reset()
        self._own = {name: _fresh(own, self._names) for name, own in self._own.items()}
        self._reward_bound = self._given_bound
        self._forget_counts()

    # Arms and experts that come and go.

    def add_arm(self, arm_name: str, initial_weight: float = 1.0) -> int:
        """Add an arm and return its index; trust in experts stays.

        A nested Exp3-IX gives it `initial_weight` (in [0, 1e6]) mean weights, follow-the-best a mean of 0, base weights
        what they say of it. ValueError for a name that is there.
        """
        initial_weight = legal_number("initial_weight", initial_weight, 0.0, MAX_WEIGHT)
        names = legal_arm_names((*self._names, arm_name))
        for own in self._own.values():
            if isinstance(own, FollowTheBest):
                own.add_arm()
            elif isinstance(own, Exp3IXBandit):
                own.add_arm(arm_name, initial_weight)
        self._set_names(names)
        self._pulls.append(0)
        self._cumulative_rewards.append(0.0)
        return len(names) - 1

    def remove_arm(self, arm_name: str) -> None:
        """Forget an arm; trust in experts stays. ValueError when unknown, one of two, or all that base weights have."""
        arm = self.get_arm_index(arm_name)
        names = legal_arm_names(self._names[:arm] + self._names[arm + 1 :])
        for expert, own in self._own.items():
            if isinstance(own, Mapping) and own and not any(own.get(name) for name in names):
                raise ValueError(f"expert {expert!r} has all its weight on {arm_name!r}")
        for own in self._own.values():
            if isinstance(own, FollowTheBest):
                own.remove_arm(arm)
            elif isinstance(own, Exp3IXBandit):
                own.remove_arm(arm_name)
        self._set_names(names)
        del self._pulls[arm], self._cumulative_rewards[arm]

    def add_expert(self, name: str, initial_weight: float = 1.0) -> None:
        """Add an expert with so many mean weights; relative weights of the others do not change.

        It is what the constructor was told of its name, and has learned nothing yet, else an engine's. ValueError for a
        name that is there, and for base weights without any on the arms there are.
        """
        kind = self._kinds.get(name, "engine")
        if isinstance(kind, Mapping) and not any(kind.get(arm) for arm in self._names):
            raise ValueError(f"expert {name!r} has no weight on the arms that there are")
        own = _new_own(kind, self._names)
        self._learner.add(name, initial_weight)
        if own is not None:
            self._own[name] = own

    def remove_expert(self, name: str) -> None:
        """Relative weights of the others do not change. ValueError when unknown or the last."""
        self._learner.remove(name)
        self._own.pop(name, None)

    # Keeping and bringing back.

    def learned(self) -> list[ExpertLearned]:
        """What `restore` needs of the experts."""
        return [
            ExpertLearned(name, state, _learned(self._own.get(name)))
            for name, state in zip(self._learner.names, self._learner.state, strict=True)
        ]

    def restore(
        self,
        arm_names: Sequence[str],
        arm_pulls: Sequence[int],
        cumulative_rewards: Sequence[float],
        total_steps: int,
        reward_bound: RewardBound,
        experts: Sequence[ExpertLearned],
    ) -> None:
        """Put back, bit for bit, what the properties of the same names gave. Arms and experts may differ from the
        constructor's. ValueError, with nothing changed, for what no learner could hold."""
        names = legal_arm_names(arm_names)
        rewards = legal_numbers("cumulative_rewards", cumulative_rewards, len(names), -FINITE, FINITE)
        if len(arm_pulls) != len(names):
            raise ValueError(f"arm_pulls must have {len(names)} entries, got {len(arm_pulls)}")
        pulls = [legal_count("arm_pulls", pulls) for pulls in arm_pulls]
        steps = legal_count("total_steps", total_steps)
        kinds = {each.name: self._kinds.get(each.name, "engine") for each in experts}
        own = {each.name: _restored(kinds[each.name], names, each.learned) for each in experts}
        self._learner.restore([each.name for each in experts], [each.state for each in experts])
        self._own = {name: one for name, one in own.items() if one is not None}
        self._set_names(names)
        self._pulls, self._cumulative_rewards = pulls, rewards
        self._total_steps, self._reward_bound = steps, reward_bound

    def copy(self) -> Self:
        """An independent learner in the same state."""
        twin = object.__new__(type(self))
        for name in ("_given_bound", "_index_of", "_kinds", "_names", "_reward_bound", "_total_steps"):
            setattr(twin, name, getattr(self, name))  # these are only ever replaced
        twin._learner = self._learner.copy()
        twin._own = {name: own if isinstance(own, Mapping) else own.copy() for name, own in self._own.items()}
        twin._pulls = self._pulls.copy()
        twin._cumulative_rewards = self._cumulative_rewards.copy()
        return twin

    # Inside.

    def _said(self, name: str) -> list[float]:
        own = self._own.get(name)
        if isinstance(own, Mapping):
            return _base(own, self._names)
        if isinstance(own, FollowTheBest):
            return own()
        return [] if own is None else own.read().probabilities


Own = FollowTheBest | Exp3IXBandit | Mapping[str, float]  # an empty mapping is uniform


def _new_own(kind: ExpertKind, names: Sequence[str]) -> Own | None:
    """An own expert that has seen nothing; None for an engine's. ValueError where it cannot be. Base weights may name
    arms that have gone."""
    if kind == "engine":
        return None
    if kind == "follow_best":
        return FollowTheBest(len(names))
    if kind == "exp3ix":  # it is taught in units of the bound, which may change or be found late
        return Exp3IXBandit(len(names), names, gamma=0.0, eta_max=None, estimator="implicit", reward_bound_bps=1.0)
    if kind == "uniform":
        return {}
    if not isinstance(kind, Mapping) or not kind:
        raise ValueError(f"an expert is engine, uniform, exp3ix, follow_best or base weights by arm, got {kind!r}")
    return dict(kind)


def _base(weights: Mapping[str, float], names: Sequence[str]) -> list[float]:
    """Base weights shared out over the arms that there are; without any, uniform."""
    return fixed({name: weights[name] for name in names if name in weights}, names) if weights else uniform(len(names))


def _fresh(own: Own, names: Sequence[str]) -> Own:
    if isinstance(own, FollowTheBest):
        return FollowTheBest(len(names))
    if isinstance(own, Exp3IXBandit):
        fresh = own.copy()
        fresh.reset()
        return fresh
    return own


def _learned(own: Own | None) -> tuple[float, ...]:
    """Means by arm; or T and the losses by arm."""
    if isinstance(own, FollowTheBest):
        return tuple(own.means)
    return (float(own.total_steps), *own.state) if isinstance(own, Exp3IXBandit) else ()


def _restored(kind: ExpertKind, names: Sequence[str], learned: Sequence[float]) -> Own | None:
    """ValueError where that kind cannot have learned this."""
    own = _new_own(kind, names)
    if isinstance(own, FollowTheBest):
        own.restore(learned)
    elif isinstance(own, Exp3IXBandit):
        if len(learned) != 1 + len(names) or learned[0] != int(learned[0]):
            raise ValueError(f"a nested Exp3-IX keeps T and {len(names)} losses, got {learned!r}")
        zeros = [0] * len(names)
        own.restore(names, learned[1:], zeros, [0.0] * len(names), int(learned[0]))
    return own
