"""What a learning rule must say, and when it is asked. Law: a rule answers for itself; whoever uses it names none.

A *rule* is what a name in the settings stands for, and has no state. It is asked

- when settings are read: `takes`, `refusals`, `clips`, `new_learner`, which refuses what cannot be;
- when a fill comes, before anything changes: `fill_refusal`, which makes it a dead letter;
- when a part of a decision is realised: `withheld`, which keeps the part from the learner and says why;
- when something is published: `published_estimator`, `clips`.

A *learner* is what one bandit has learned under a rule. It learns in two terms, since decisions come in parts and may
be taken back. A *decision's own term* (one more decision and pull, and what a rule adds for the decision itself) comes
with the first part that counts, and goes with the last. A *part's term* holds nothing of it. `learn` adds a part's
term, with or without the decision's; `take_back` removes a part's term, `take_back_decision` the decision's own, each
from the Update that added it.

What a draw reveals is a loss by observed arm with the probability of observing it (T. Kocak, G. Neu, M. Valko,
R. Munos, 'Efficient learning by implicit exploration in bandit problems with side observations', NIPS 2014): the drawn
arm's with the probability of the draw, and more where `observed` says so.

All that a learner holds goes out by `learned` and comes back by `restore`, bit for bit: an array of numbers an arm, and
an array of the rule's own.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from armstream.learning.refusals import (
    FINITE,
    LARGEST,
    MAX_REWARD_BPS,
    MAX_WEIGHT,
    SMALLEST,
    illegal_reward,
    legal_arm_names,
    legal_count,
    legal_number,
    legal_numbers,
    unknown_arm,
)
from armstream.learning.reward_bound import RewardBound
from armstream.learning.settings import LearningSettings

PropensitySource = Literal["LOGGED", "CURRENT", "NONE"]


# What is told to a rule and its learners.


class Logged(Protocol):
    """What an engine logged with a decision. A fill is one, and so is the decision that a position keeps."""

    @property
    def arm(self) -> str | None: ...
    @property
    def propensity(self) -> float | None: ...
    @property
    def probabilities(self) -> Sequence[float]: ...
    @property
    def eta(self) -> float | None: ...
    @property
    def contributions(self) -> Mapping[str, float]: ...
    @property
    def advice(self) -> Mapping[str, float]: ...


class Decision(NamedTuple):
    """A decision in which an arm was drawn, over the learner's arms of now.

    `is_whole`: what was logged holds a distribution over these arms, and its rate. `asleep` are the arms that could not
    be drawn. `observing` has the probability of observing each arm's loss, none where the drawn arm's alone was seen;
    `terms` has what the parts so far added to each, none before the first (see `keeps_terms`).
    """

    arm: int
    logged: Logged
    is_whole: bool
    asleep: Sequence[int]
    observing: Sequence[float] = ()
    terms: Sequence[float] = ()


class Part(Protocol):
    """What of a decision was realised at once: net basis points, and the part of the decision, mostly in [0, 1]."""

    @property
    def reward_bps(self) -> float: ...
    @property
    def weight(self) -> float: ...


class Observed(NamedTuple):
    """An arm whose loss the draw revealed: what it would have earned, and the probability of observing it."""

    arm: int
    reward_bps: float
    probability: float


# What a learner says.


class Update(NamedTuple):
    """What one reward did: the arms seen (indices), p of each (none under NONE), estimate of each, the rate used.

    A draw always has its p, also where nothing was divided by it: LOGGED, or CURRENT. NONE is for blends. Where a draw
    reveals more than the drawn arm, p is the probability of observing. `terms` are what a decision's terms grow by, an
    entry an arm, where the learner `keeps_terms`.

    A reward that only went into the bound's warm-up moved no arm: three empty tuples, NONE, and `applied` is False.
    """

    arms: tuple[int, ...]
    propensities: tuple[float, ...]
    estimates: tuple[float, ...]
    eta: float
    propensity_source: PropensitySource
    terms: tuple[float, ...] = ()

    @property
    def applied(self) -> bool:
        """Whether anything was learned."""
        return bool(self.estimates)


class Reading(NamedTuple):
    """Normalised weights, the same with exploration mixed in, and the rate behind both; fresh lists of K floats."""

    weights: list[float]
    probabilities: list[float]
    eta: float


class ExpertReading(NamedTuple):
    """An expert's normalised weight, and what it says now; an engine's expert says nothing here."""

    name: str
    weight: float
    distribution: list[float]


class ExpertLearned(NamedTuple):
    """What is kept of an expert: its log weight or loss, and what it learned itself, in its own order."""

    name: str
    state: float
    learned: tuple[float, ...] = ()


class Learned(NamedTuple):
    """All that a learner holds. The arms' lists are in the order of `arm_names`; `own_state` is the rule's own."""

    arm_names: Sequence[str]
    arm_states: Sequence[Sequence[float]]
    arm_pulls: Sequence[int]
    cumulative_rewards: Sequence[float]
    total_steps: int
    reward_bound: RewardBound
    own_state: Sequence[float] = ()
    experts: Sequence[ExpertLearned] = ()


class Learner(ABC):
    """One bandit's learner over K named arms: names, counts and the bound are kept here, what is learned by a rule.

    Every refusal is a ValueError raised before anything changes.
    """

    reads_distribution: ClassVar[bool] = False
    """Whether it learns from a decision's whole distribution, not from the drawn arm's propensity alone."""
    keeps_terms: ClassVar[bool] = False
    """Whether it must be told with each part what the parts before it added: `Decision.terms`."""

    __slots__ = (
        "_cumulative_rewards",
        "_given_bound",
        "_index_of",
        "_names",
        "_pulls",
        "_reward_bound",
        "_total_steps",
    )

    def __init__(self, arm_names: Sequence[str], given_bound: RewardBound) -> None:
        self._set_names(legal_arm_names(arm_names))
        self._given_bound = self._reward_bound = given_bound
        self._forget_counts()

    # What a rule must say.

    @property
    @abstractmethod
    def gamma(self) -> float:
        """The uniform part of every choice."""

    @abstractmethod
    def read(self) -> Reading:
        """Weights and probabilities of one reading, and the rate behind them, without numpy."""

    @abstractmethod
    def learn(self, decision: Decision, part: Part, new_decision: bool, observed: Sequence[Observed] = ()) -> Update:
        """Add the part's term, and with `new_decision` the decision's own.

        No `observed`: the drawn arm alone. ValueError for more of them than the rule learns from.
        """

    @abstractmethod
    def _arm_states(self) -> Sequence[Sequence[float]]:
        """The numbers of each arm."""

    @abstractmethod
    def _set_state(self, learned: Learned) -> None:
        """Put back arm_states, own_state and experts. ValueError for what no such learner could hold."""

    @abstractmethod
    def _forget_state(self) -> None:
        """What is learned is as at the start, for the arms there are."""

    @abstractmethod
    def add_arm(self, arm_name: str, initial_weight: float = 1.0) -> int:
        """Add an arm of so many mean weights and return its index; what was learned of the others stays."""

    @abstractmethod
    def remove_arm(self, arm_name: str) -> None:
        """Forget an arm; what was learned of the others stays. ValueError when unknown or one of two."""

    # What a rule may say otherwise. (Arguments that a default does not look at are for those who override it.)

    def learn_blend(
        self,
        shares: Mapping[str, float],  # noqa: ARG002
        part: Part,  # noqa: ARG002
        new_decision: bool,  # noqa: ARG002
        attribution: str,  # noqa: ARG002
        observed: Sequence[Observed] = (),  # noqa: ARG002
        terms: Sequence[float] = (),  # noqa: ARG002
    ) -> Update:
        """As `learn`, where nothing was drawn: `shares` by arm name, above 0. `attribution` is the settings'.

        `observed` are all arms awake, each with probability 1, where the settings take their signals as feedback.
        """
        raise ValueError("this rule learns from drawn arms alone")

    def take_back(self, decision: Decision, part: Part, new_decision: bool, update: Update) -> None:  # noqa: ARG002
        """Remove the term of a part that `update` added; the decision's own stays. `new_decision` is what `learn` got.

        ValueError where the rule forgets what it would have to remove.
        """
        raise ValueError("nothing can be taken back: this rule forgets what it would have to remove")

    def take_back_decision(self, decision: Decision, update: Update) -> None:  # noqa: ARG002
        """Remove the decision's own term, which its first `update` added. ValueError as `take_back`."""
        raise ValueError("nothing can be taken back: this rule forgets what it would have to remove")

    def take_back_blend(
        self,
        shares: Mapping[str, float],  # noqa: ARG002
        part: Part,  # noqa: ARG002
        update: Update,  # noqa: ARG002
        observed: Sequence[Observed] = (),  # noqa: ARG002
        terms: Sequence[float] = (),  # noqa: ARG002
    ) -> None:
        """As `take_back`, of a part that `learn_blend` learned. A blend's decision has no term of its own but the
        count."""
        raise ValueError("nothing can be taken back: this rule learns from drawn arms alone")

    def _own_state(self) -> Sequence[float]:
        """The rule's own numbers."""
        return ()

    @property
    def experts(self) -> Sequence[str]:
        """The names of those whom it trusts; none, where the rule trusts nobody."""
        return ()

    def read_experts(self) -> list[ExpertReading]:
        """Each expert's weight, and the distribution of those that are the processor's own."""
        return []

    def _learned_experts(self) -> Sequence[ExpertLearned]:
        """What `restore` needs of the experts."""
        return ()

    def add_expert(self, name: str, initial_weight: float = 1.0) -> None:  # noqa: ARG002
        """ValueError for a name that is there, and where the rule trusts nobody."""
        raise ValueError(f"no expert can be added, {name!r} neither: this rule has none")

    def remove_expert(self, name: str) -> None:
        """ValueError when unknown or the last, and where the rule trusts nobody."""
        raise ValueError(f"unknown expert {name!r}: this rule has none")

    # What it is.

    @property
    def n_arms(self) -> int:
        """K."""
        return len(self._names)

    @property
    def arm_names(self) -> list[str]:
        """A fresh list, in the order of every other list."""
        return list(self._names)

    @property
    def total_steps(self) -> int:
        """The decisions counted."""
        return self._total_steps

    @property
    def arm_pulls(self) -> list[int]:
        """Decisions counted for each arm; a fresh list."""
        return self._pulls.copy()

    @property
    def cumulative_rewards(self) -> list[float]:
        """The sum of weight * reward_bps (times the share) for each arm, before any transform; a fresh list."""
        return self._cumulative_rewards.copy()

    @property
    def reward_bound(self) -> RewardBound:
        """The bound as it is now, with its warm-up."""
        return self._reward_bound

    @property
    def reward_bound_bps(self) -> float | None:
        """None while it warms up."""
        return self._reward_bound.bound_bps

    @property
    def is_warming(self) -> bool:
        """Whether the next reward goes into the bound's warm-up, and into nothing else."""
        return self._reward_bound.bound_bps is None

    def has_arm(self, arm_name: str) -> bool:
        return arm_name in self._index_of

    def get_arm_index(self, arm_name: str) -> int:
        """ValueError for an unknown name."""
        arm = self._index_of.get(arm_name)
        if arm is None:
            raise unknown_arm(arm_name, self._names)
        return arm

    def is_clipped(self, reward_bps: float) -> bool:
        """Whether this reward would be cut by the bound."""
        bound = self._reward_bound.bound_bps
        return bound is not None and abs(reward_bps) > bound

    # Showing.

    def get_weights(self) -> NDArray[np.float64]:
        """Normalised weights; a fresh float64 array of K."""
        return np.array(self.read().weights, dtype=np.float64)

    def get_probabilities(self) -> NDArray[np.float64]:
        """Weights with exploration mixed in; a fresh float64 array of K."""
        return np.array(self.read().probabilities, dtype=np.float64)

    def get_weights_dict(self) -> dict[str, float]:
        """Arm name to normalised weight."""
        return dict(zip(self._names, self.read().weights, strict=True))

    def get_stats(self) -> dict[str, Any]:
        """n_arms, total_steps, gamma, eta and arm_stats: {name, pulls, cumulative_reward, avg_reward (0 without a
        pull), weight, probability} for each arm."""
        weights, probabilities, eta = self.read()
        return {
            "n_arms": len(self._names),
            "total_steps": self._total_steps,
            "gamma": self.gamma,
            "eta": eta,
            "arm_stats": [
                {
                    "name": name,
                    "pulls": self._pulls[arm],
                    "cumulative_reward": self._cumulative_rewards[arm],
                    "avg_reward": self._cumulative_rewards[arm] / self._pulls[arm] if self._pulls[arm] else 0.0,
                    "weight": weights[arm],
                    "probability": probabilities[arm],
                }
                for arm, name in enumerate(self._names)
            ],
        }

    # The bound.

    def warm_up(self, reward: float) -> None:
        """A reward that goes into finding the bound, and into nothing else. ValueError for one that is not legal."""
        legal = legal_number("reward", reward, -MAX_REWARD_BPS, MAX_REWARD_BPS)
        self._reward_bound = self._reward_bound.after(legal)

    def set_bound(self, reward_bound_bps: float) -> None:
        """Take this bound from now on, in place of any other; a warm-up ends. ValueError unless it is above 0.

        What was learned stays: losses of rewards under the old bound are not measured again.
        """
        self._reward_bound = RewardBound(legal_number("reward_bound_bps", reward_bound_bps, SMALLEST, LARGEST))

    # Keeping and bringing back.

    def reset(self) -> None:
        """Forget everything learned and counted; arms, parameters and a generator stay. The bound is the constructor's
        again: one that was set is forgotten, an automatic one warms up anew."""
        self._reward_bound = self._given_bound
        self._forget_state()
        self._forget_counts()

    def learned(self) -> Learned:
        """What `restore` needs."""
        return Learned(
            self._names,
            self._arm_states(),
            self._pulls.copy(),
            self._cumulative_rewards.copy(),
            self._total_steps,
            self._reward_bound,
            self._own_state(),
            self._learned_experts(),
        )

    def restore(self, learned: Learned) -> None:
        """Put back, bit for bit, what `learned` gave; parameters and a generator stay.

        Arms may differ from the constructor's. ValueError, with nothing changed, for what no learner could hold.
        """
        names = legal_arm_names(learned.arm_names)
        rewards = legal_numbers("cumulative_rewards", learned.cumulative_rewards, len(names), -FINITE, FINITE)
        for what, entries in (("arm_pulls", learned.arm_pulls), ("arm_states", learned.arm_states)):
            if len(entries) != len(names):
                raise ValueError(f"{what} must have {len(names)} entries, got {len(entries)}")
        pulls = [legal_count("arm_pulls", each) for each in learned.arm_pulls]
        total_steps = legal_count("total_steps", learned.total_steps)
        self._set_state(learned)
        self._total_steps, self._pulls, self._cumulative_rewards = total_steps, pulls, rewards
        self._reward_bound = learned.reward_bound
        self._set_names(names)

    def copy(self) -> Self:
        """An independent learner in the same state; a generator that has drawn goes on in both alike."""
        twin = object.__new__(type(self))
        self._give(twin)
        return twin

    def _give(self, twin: Self) -> None:
        """Give a twin all there is: shared what is only ever replaced, a copy of what is changed in place."""
        twin._names, twin._index_of = self._names, self._index_of
        twin._given_bound, twin._reward_bound = self._given_bound, self._reward_bound
        twin._pulls, twin._cumulative_rewards = self._pulls.copy(), self._cumulative_rewards.copy()
        twin._total_steps = self._total_steps

    # For those who inherit.

    def _set_names(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._index_of = {name: arm for arm, name in enumerate(names)}

    def _append_name(self, names: tuple[str, ...]) -> int:
        """`names` are those there were and a newcomer, whose index this gives."""
        self._pulls.append(0)
        self._cumulative_rewards.append(0.0)
        self._set_names(names)
        return len(names) - 1

    def _delete_name(self, arm: int, names: tuple[str, ...]) -> None:
        """`names` are those that stay."""
        del self._pulls[arm], self._cumulative_rewards[arm]
        self._set_names(names)

    def _forget_counts(self) -> None:
        self._pulls = [0] * len(self._names)
        self._cumulative_rewards = [0.0] * len(self._names)
        self._total_steps = 0

    def _count(self, earned: Mapping[int, float], new_decision: bool) -> None:
        """Count what each of these arms earned, weighted, and with it a decision."""
        for arm, reward in earned.items():
            self._cumulative_rewards[arm] += reward
            if new_decision:
                self._pulls[arm] += 1
        if new_decision:
            self._total_steps += 1

    def _uncount_decision(self, arms: Collection[int]) -> None:
        """A decision of these arms was none. ValueError where none of them was counted."""
        if not self._total_steps or not all(self._pulls[arm] for arm in arms):
            raise ValueError("no decision of these arms is counted that could be taken back")
        for arm in arms:
            self._pulls[arm] -= 1
        self._total_steps -= 1


def legal_reward(reward: float, weight: float) -> tuple[float, float]:
    """Both as floats. ValueError for a reward beyond 1e12 bps either way, or a weight outside [0, 1e6]."""
    if not (-MAX_REWARD_BPS <= reward <= MAX_REWARD_BPS and 0.0 <= weight <= MAX_WEIGHT):
        raise illegal_reward(reward, weight)
    return float(reward), float(weight)


class Rule(ABC):
    """What one name of `algorithm` stands for. (Defaults look at nothing: they are for rules with nothing to say.)"""

    name: ClassVar[str]
    takes: ClassVar[frozenset[str]]
    """Which of settings.RULES_OWN it takes; the others must be left out."""

    @abstractmethod
    def new_learner(self, settings: LearningSettings) -> Learner:
        """A learner that has seen nothing. ValueError where the parameters cannot be."""

    def refusals(self, settings: LearningSettings) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        """Settings that it takes, and not so: the setting's name, and why."""
        yield from ()

    def published_estimator(self, settings: LearningSettings) -> str:
        """The estimator as snapshots and vectors name it."""
        return settings.estimator

    def clips(self, estimator: str) -> bool:  # noqa: ARG002
        """Whether rewards are clipped to a bound under the estimator of that (published) name."""
        return True

    def fill_refusal(self, logged: Logged) -> str:  # noqa: ARG002
        """Why a fill with this decision is a dead letter; "" where it is not."""
        return ""

    def withheld(self, logged: Logged) -> str:  # noqa: ARG002
        """Why nothing can be learned from a decision that was taken, perhaps under another rule; "" where it can."""
        return ""
