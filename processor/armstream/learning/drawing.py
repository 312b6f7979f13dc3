"""What Exp3-IX and Tsallis-INF share: one number an arm, a generator to draw with, merging, and taking back.

Law: a generator is made when it first draws, and nothing in the stream does.
"""

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from logging import DEBUG, Logger
from typing import ClassVar, NamedTuple, Self

import numpy as np

from armstream.learning.contract import Decision, Learned, Learner, Observed, Part, Update
from armstream.learning.refusals import legal_arm_names, legal_seed, refuse_overflow
from armstream.learning.reward_bound import RewardBound


class Draw(NamedTuple):
    """A decision as it must be logged: the arm (index), its probability, those of all, and the rate behind them."""

    arm: int
    propensity: float
    probabilities: list[float]
    eta: float


class DrawingLearner(Learner):
    """A learner whose state is one number an arm. `_title` names the rule in its log lines."""

    __slots__ = ("_generator", "_seed", "_state")

    _title: ClassVar[str]
    _log: ClassVar[Logger]

    def __init__(self, arm_names: Sequence[str], given_bound: RewardBound, seed: int | None) -> None:
        super().__init__(arm_names, given_bound)
        self._seed = legal_seed(seed)
        self._generator: np.random.Generator | None = None
        self._state = [0.0] * len(self._names)

    @property
    def state(self) -> list[float]:
        """The number of each arm: all that was learned; a fresh list."""
        return self._state.copy()

    # What each rule says of its numbers.

    @property
    @abstractmethod
    def eta(self) -> float:
        """The rate of the next decision."""

    @abstractmethod
    def _signal(self, reward: float) -> float:
        """What is divided by a probability: loss - 1/2, mostly."""

    @abstractmethod
    def _parameters_to_merge(self) -> object:
        """What must be equal in two learners that are merged."""

    @abstractmethod
    def _legal_state(self, state: Sequence[float], n_arms: int) -> list[float]:
        """As a learner holds it. ValueError for what none could hold."""

    @abstractmethod
    def _state_without(self, arm: int) -> list[float]:
        """What is left where an arm goes."""

    @property
    @abstractmethod
    def _forgets(self) -> str:
        """Why nothing can be taken back exactly; "" where it can."""

    @abstractmethod
    def _own_moves(self, decision: Decision, update: Update) -> list[float]:
        """What the decision's own term moved each arm by."""

    # Merging and arms that go.

    def merge(self, other: Self) -> None:
        """Add what `other` learned apart from zero: states, counts and T add; this generator stays.

        A bound that is known is taken by the one that warms up; two warm-ups are joined, `other`'s rewards last.
        ValueError unless both have the same arms in the same order, the same parameters and no two bounds.
        """
        if self._names != other._names:
            raise ValueError(f"cannot merge: arms {', '.join(self._names)} against {', '.join(other._names)}")
        ours, theirs = self._parameters_to_merge(), other._parameters_to_merge()
        if ours != theirs:
            raise ValueError(f"cannot merge: parameters {ours} against {theirs}")
        reward_bound = self._reward_bound.merged(other._reward_bound)
        state = [a + b for a, b in zip(self._state, other._state, strict=True)]
        rewards = [a + b for a, b in zip(self._cumulative_rewards, other._cumulative_rewards, strict=True)]
        refuse_overflow(rewards)
        self._state = self._legal_state(state, len(state))
        self._reward_bound, self._cumulative_rewards = reward_bound, rewards
        self._pulls = [a + b for a, b in zip(self._pulls, other._pulls, strict=True)]
        self._total_steps += other._total_steps

    def remove_arm(self, arm_name: str) -> None:
        """Forget an arm; relative weights of the others do not change. ValueError when unknown or one of two."""
        arm = self.get_arm_index(arm_name)
        names = legal_arm_names(self._names[:arm] + self._names[arm + 1 :])
        self._state = self._state_without(arm)
        self._delete_name(arm, names)

    # Taking back.

    def take_back(self, decision: Decision, part: Part, new_decision: bool, update: Update) -> None:
        """Remove a part's term: what `update` moved each arm by, without the decision's own."""
        moves = self._moves_of(decision, update, new_decision)
        if new_decision:
            moves = [move - own for move, own in zip(moves, self._own_moves(decision, update), strict=True)]
        self._state = self._state_less(moves)
        self._cumulative_rewards[decision.arm] -= part.weight * part.reward_bps

    def take_back_decision(self, decision: Decision, update: Update) -> None:
        """Remove the decision's own term, which the first `update` of it added."""
        state = self._state_less(self._own_moves(decision, update))
        self._uncount_decision([decision.arm])
        self._state = state

    def take_back_blend(
        self,
        shares: Mapping[str, float],
        part: Part,
        update: Update,
        observed: Sequence[Observed] = (),  # noqa: ARG002 - a blend reveals no more to it
        terms: Sequence[float] = (),  # noqa: ARG002 - it keeps none
    ) -> None:
        """Remove the term of a blend's part; a blend's decision has no term of its own but the count."""
        moves = [0.0] * len(self._names)
        for arm, estimate in zip(update.arms, update.estimates, strict=True):
            moves[arm] = estimate
        self._state = self._state_less(moves)
        for name, share in shares.items():
            self._cumulative_rewards[self._index_of[name]] -= share * part.weight * part.reward_bps

    @abstractmethod
    def _moves_of(self, decision: Decision, update: Update, new_decision: bool) -> list[float]:
        """What `update` moved each arm by, all terms together."""

    def _state_less(self, moves: Sequence[float]) -> list[float]:
        if self._forgets:
            raise ValueError(f"nothing can be taken back: {self._forgets}")
        return self._legal_state([each - move for each, move in zip(self._state, moves, strict=True)], len(moves))

    # Drawing.

    def _draw_from(self, probabilities: Sequence[float]) -> int:
        """An arm, by exactly one number of the generator."""
        generator = self._generator or self._drawing_generator()
        drawn, reached, arm = generator.random(), 0.0, 0
        for arm, probability in enumerate(probabilities):  # noqa: B007 - the last, where rounding leaves it below 1
            reached += probability
            if drawn < reached:
                break
        if self._log.isEnabledFor(DEBUG):
            self._log.debug(
                f"{self._title} selected arm %d (%s) with p=%.3g", arm, self._names[arm], probabilities[arm]
            )
        return arm

    def _drawing_generator(self) -> np.random.Generator:
        if self._generator is None:
            self._generator = np.random.Generator(np.random.PCG64(self._seed))
        return self._generator

    def _log_update(self, update: Update, reward: float) -> None:
        weights = self.read().weights
        for arm, estimate in zip(update.arms, update.estimates, strict=True):
            self._log.debug(
                f"{self._title} update: arm=%d, reward=%.2fbps, r_hat=%.2f, eta=%.3g, new_weight=%.4g",
                *(arm, reward, estimate, update.eta, weights[arm]),
            )

    # Keeping and bringing back.

    def _arm_states(self) -> list[tuple[float, ...]]:
        return [(each,) for each in self._state]

    def _set_state(self, learned: Learned) -> None:
        if learned.own_state or learned.experts or any(len(each) != 1 for each in learned.arm_states):
            raise ValueError("this rule holds one number an arm, and nothing else")
        self._state = self._legal_state([each[0] for each in learned.arm_states], len(learned.arm_states))

    def _forget_state(self) -> None:
        self._state = [0.0] * len(self._names)

    def _give(self, twin: Self) -> None:
        super()._give(twin)
        twin._seed, twin._state = self._seed, self._state
        twin._generator = None if self._generator is None else copy.deepcopy(self._generator)

    def __copy__(self) -> Self:
        return self.copy()


def refuse_more_than_drawn(observed: Sequence[Observed], decision: Decision, part: Part) -> None:
    """ValueError where what a draw revealed is not the drawn arm's part alone, for a rule that learns from no more."""
    drawn = Observed(decision.arm, part.reward_bps, decision.logged.propensity or 0.0)
    if any(each != drawn for each in observed):
        raise ValueError("this rule learns from the drawn arm alone")
