"""EXP4 as a processor runs it: some experts live in engines, which know the context, and some are its own.

Law: an update needs no context, only what each expert gave to the arm that was drawn, and the propensity of the draw.
The rule is that of trust.py, on losses `(B - clip(reward, -B, B)) / (2 B)`, or on rewards `1 - loss` under importance;
what of a decision is not realised counts as a zero reward. Nothing is learned while an automatic B warms up.

Own experts know arms by name, and so outlive arms that come and go; those that learn are taught here, after the update,
with the same numbers. An engine's expert is a name and a weight.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, Self

from armstream.learning.contract import (
    Decision,
    ExpertLearned,
    ExpertReading,
    Learned,
    Learner,
    Logged,
    Observed,
    Part,
    Reading,
    Rule,
    Update,
    legal_reward,
)
from armstream.learning.drawing import refuse_more_than_drawn
from armstream.learning.exp3ix import Exp3IXBandit
from armstream.learning.exp4.experts import FollowTheBest, fixed, uniform
from armstream.learning.exp4.trust import AdviceLearner, AdviceParameters, default_eta
from armstream.learning.old_names import todays_decisions
from armstream.learning.refusals import (
    LARGEST,
    MAX_WEIGHT,
    illegal_propensity,
    legal_arm,
    legal_arm_names,
    legal_number,
    refuse_asleep,
    unlogged_draw,
)
from armstream.learning.reward_bound import RewardBound
from armstream.learning.settings import ExpertKind, LearningSettings
from armstream.learning.summation import summed


class AdvisedBandit(Learner):
    """One learner over named experts of two kinds, for K named arms.

    `experts` maps a name to `engine`, `uniform`, base weights by arm, `exp3ix` (an Exp3-IX with Neu's rule and the same
    bound) or `follow_best`. Where `eta` is None it is `sqrt(ln max(N, 2) / (K expected_decisions))` of the arms and
    experts at the start, right for so many decisions; `implicit` None is eta / 2. All parameters stay for life.

    Every refusal is a ValueError raised before anything changes.
    """

    __slots__ = ("_kinds", "_learner", "_own")

    def __init__(
        self,
        arm_names: Sequence[str],
        experts: Mapping[str, ExpertKind],
        *,
        eta: float | None = None,
        gamma: float = 0.0,
        expected_decisions: float = 10_000,
        estimator: str = "implicit",
        implicit: float | None = None,
        reward_bound_bps: float | Literal["auto"] = "auto",
        min_weight: float = 1e-10,
        horizon: float | None = None,
    ) -> None:
        expected_decisions = todays_decisions(expected_decisions, horizon)
        super().__init__(arm_names, RewardBound.given(reward_bound_bps))
        legal_number("expected_decisions", expected_decisions, 1.0, LARGEST)
        rate = default_eta(len(self._names), len(experts), expected_decisions) if eta is None else eta
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
        trust = summed(each.weight for each in said)
        if said:
            rows = zip(*(each.distribution for each in said), strict=True)
            weights = [summed(one.weight * share for one, share in zip(said, row, strict=True)) / trust for row in rows]
        else:
            weights = uniform(len(self._names))
        exploit, explore = 1.0 - self.gamma, self.gamma / len(weights)
        return Reading(weights, [exploit * weight + explore for weight in weights], self.eta)

    def read_experts(self) -> list[ExpertReading]:
        """Each expert's weight, and the distribution of those that are its own."""
        weights = zip(self._learner.names, self._learner.weights(), strict=True)
        return [ExpertReading(name, weight, self._said(name)) for name, weight in weights]

    # Learning.

    def learn(self, decision: Decision, part: Part, new_decision: bool, observed: Sequence[Observed] = ()) -> Update:
        """As `update_advice`, by what each expert gave to the drawn arm.

        One that was not there when it was drawn is taken to have said what was played, so that its trust against all
        others together stays (Y. Freund, R. Schapire, Y. Singer, M. Warmuth, 'Using and combining predictors that
        specialize', STOC 1997).
        """
        arm, logged, _, asleep = decision[:4]
        if observed:
            refuse_more_than_drawn(observed, decision, part)
        propensity = logged.propensity
        assert propensity is not None  # a draw without one is withheld
        advice = self._advice_of(logged)
        return self.update_advice(arm, advice, part.reward_bps, propensity, part.weight, new_decision, asleep=asleep)

    def _advice_of(self, logged: Logged) -> dict[str, float]:
        return {name: logged.advice.get(name, logged.propensity or 0.0) for name in self._learner.names}

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
        reward, weight = legal_reward(reward, weight)
        arm = legal_arm(arm, len(self._names))
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
        self._count({arm: weight * reward}, new_decision)
        return Update((arm,), (float(propensity),), (estimate,), self.eta, "LOGGED")

    # Taking back.

    def take_back(self, decision: Decision, part: Part, new_decision: bool, update: Update) -> None:
        """Remove the part's term from the trust in each expert. ValueError where an own expert has learned from it."""
        own = self._own_estimate(update) if new_decision else 0.0
        self._take_back(decision, update.estimates[0] - own)
        self._cumulative_rewards[decision.arm] -= part.weight * part.reward_bps

    def take_back_decision(self, decision: Decision, update: Update) -> None:
        """Remove the 1/2 of the first `update`, and the count."""
        twin = self._learner.copy()
        self._take_back(decision, self._own_estimate(update))
        try:
            self._uncount_decision([decision.arm])
        except ValueError:
            self._learner = twin
            raise

    def _take_back(self, decision: Decision, estimate: float) -> None:
        self._refuse_to_forget_exactly()
        advice = self._advice_of(decision.logged)
        self._learner.take_back([advice[name] for name in self._learner.names], estimate)

    def _refuse_to_forget_exactly(self) -> None:
        learning = [name for name, own in self._own.items() if not isinstance(own, Mapping)]
        if learning:
            raise ValueError(f"nothing can be taken back: {', '.join(learning)} learned from it too")
        if not self._learner.parameters.is_implicit:
            raise ValueError("nothing can be taken back: importance weighting floors its log weights")

    def _own_estimate(self, update: Update) -> float:
        return 0.5 / (update.propensities[0] + self._learner.parameters.implicit)

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
        return self._append_name(names)

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
        self._delete_name(arm, names)

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

    def _arm_states(self) -> list[tuple[float, ...]]:
        """Zeros: what is learned is learned of experts, not of arms."""
        return [(0.0,)] * len(self._names)

    def _learned_experts(self) -> list[ExpertLearned]:
        return [
            ExpertLearned(name, state, _learned(self._own.get(name)))
            for name, state in zip(self._learner.names, self._learner.state, strict=True)
        ]

    def _set_state(self, learned: Learned) -> None:
        if learned.own_state or any(map(any, learned.arm_states)):
            raise ValueError("exp4 holds no number of an arm, and none of its own")
        kinds = {each.name: self._kinds.get(each.name, "engine") for each in learned.experts}
        own = {each.name: _restored(kinds[each.name], learned.arm_names, each.learned) for each in learned.experts}
        self._learner.restore([each.name for each in learned.experts], [each.state for each in learned.experts])
        self._own = {name: one for name, one in own.items() if one is not None}

    def _forget_state(self) -> None:
        self._learner.reset()
        self._own = {name: _fresh(own, self._names) for name, own in self._own.items()}

    def _give(self, twin: Self) -> None:
        super()._give(twin)
        twin._kinds, twin._learner = self._kinds, self._learner.copy()
        twin._own = {name: own if isinstance(own, Mapping) else own.copy() for name, own in self._own.items()}

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
        losses, zeros = [(loss,) for loss in learned[1:]], [0] * len(names)
        own.restore(Learned(names, losses, zeros, zeros, int(learned[0]), own.reward_bound))
    return own


class Exp4(Rule):
    """EXP4 over experts by name: it learns whom to trust from drawn arms, each with what the experts gave to it."""

    name = "exp4"
    takes = frozenset({"estimator", "gamma", "implicit", "min_weight", "expected_decisions", "experts"})

    def new_learner(self, settings: LearningSettings) -> AdvisedBandit:
        return AdvisedBandit(
            settings.arms,
            dict(settings.experts),
            eta=settings.eta,
            gamma=settings.gamma,
            expected_decisions=settings.expected_decisions,
            estimator=settings.estimator,
            implicit=settings.implicit,
            reward_bound_bps=settings.reward_bound_bps,
            min_weight=settings.min_weight,
        )

    def refusals(self, settings: LearningSettings) -> Iterator[tuple[str, str]]:
        if not settings.experts:
            yield "experts", "must name one or more where algorithm is exp4: {bandit: exp3ix}"
        if settings.estimator == "importance" and settings.gamma == 0.0:
            yield "gamma", "must be above 0 where exp4's estimator is importance"
        if settings.estimator == "importance" and settings.implicit is not None:
            yield "implicit", "is for the implicit estimator: leave it out"

    def fill_refusal(self, logged: Logged) -> str:
        if logged.arm is None:
            return "exp4 learns from drawn arms: contributions do not tell what an expert gave"
        return unlogged_draw(self.name, logged.arm, logged.propensity)

    def withheld(self, logged: Logged) -> str:
        if logged.arm is None:
            return "no arm was drawn"
        return "no propensity was logged with the draw" if self.fill_refusal(logged) else ""
