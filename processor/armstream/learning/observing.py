"""Learners over all that a draw reveals, and Tsallis-INF's adaptive rate.

Law: the loss of arm i is observed when any arm that reveals it was drawn, and is divided by o_i, the probability of
that under the distribution of the decision (T. Kocak, G. Neu, M. Valko, R. Munos, 'Efficient learning by implicit
exploration in bandit problems with side observations', NIPS 2014). A part moves the arms seen; the arms asleep move by
what was played, the sum over the arms awake of p_i times their move.

- Exp3-IX: `(weight (loss_i - 1/2) + 1/2 once a decision) / (o_i + implicit)`. The rate is theirs,
  `sqrt(ln K / (K + Q))`, Q the sum of `sum_i p_i / (o_i + implicit)` over the decisions so far. That is K for one at
  most, which would be the rate of learning/exp3ix.py.
- Tsallis-INF: 1/2 for every arm once a decision, `weight (loss_i - 1/2) / o_i` for those seen. So a reward of 0 moves
  nothing, and what is squared below is centred.
- Its adaptive rate: `K^(1/4) / sqrt(S + sqrt(K) / 4)`. S sums `min(4, sum_i p_i^(3/2) A_i^2)` over decisions, A_i what
  the parts of one added to arm i, weights and all: the local norm of the estimates, which the analysis of FTRL with
  this regulariser sums (Zimmert and Seldin, in learning/tsallis.py). Rates of this form: S. Ito, T. Tsuchiya, J. Honda,
  'Nearly Optimal Best-of-Both-Worlds Algorithms for Online Learning with Feedback Graphs', NeurIPS 2022; T. Tsuchiya,
  S. Ito, J. Honda, 'Stability-penalty-adaptive follow-the-regularized-leader', NeurIPS 2023. In the worst case a
  decision adds sqrt(K) / 4 in expectation, and the rate is 2 / sqrt(n + 1): half of what the theorem of
  learning/tsallis.py takes.

  The cap: a propensity that was logged wrong, say 1e-8, would add 2,500 and end learning. Where it is right, an
  observation of o_i = p_i adds `p_i^(-1/2) / 4` at most, which is above 4 below p = 1/256; arms of so little
  probability are drawn so rarely that a decision loses less than `sqrt(p_i) / 4 <= 1/64` for each in expectation.
"""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import fsum, log, sqrt
from typing import Any, Final, NamedTuple, Self

from armstream.learning.contract import Decision, Learned, Observed, Part, PropensitySource, Update, legal_reward
from armstream.learning.drawing import DrawingLearner
from armstream.learning.exp3ix import Exp3IXBandit
from armstream.learning.refusals import (
    FINITE,
    illegal_propensity,
    legal_number,
    legal_shares,
    refuse_overflow,
)
from armstream.learning.tsallis import TsallisBandit

MOST_OF_ONE_DECISION: Final = 4.0  # of S


class Seen(NamedTuple):
    """The arms whose loss is known of one decision, by index: how probable observing each was, and the rate then."""

    probabilities: Mapping[int, float]
    eta: float


class ObservingLearner(DrawingLearner):
    """What is learned from each arm seen, and that a decision can be taken back; a rule says what divides, and how a
    decision begins."""

    __slots__ = ()

    reads_distribution = True

    # What a rule says.

    @abstractmethod
    def _below(self, probability: float, eta: float) -> float:
        """What a loss that was observed with that probability is divided by."""

    @abstractmethod
    def _beginning(self, decision: Decision, seen: Seen) -> list[float]:
        """What the decision's own term moves each arm by."""

    @abstractmethod
    def _share(self, state: list[float], eta: float) -> list[float]:
        """The state with the fixed share of a decision mixed in."""

    def _note(self, decision: Decision, seen: Seen, parts: Sequence[float], new_decision: bool) -> None:
        """A part was learned, which moved each arm by `parts`, with or without its decision's beginning."""

    # Learning.

    def learn(self, decision: Decision, part: Part, new_decision: bool, observed: Sequence[Observed] = ()) -> Update:
        """As the contract says. Without `observed` it is the drawn arm alone, seen with its propensity."""
        reward, weight = legal_reward(part.reward_bps, part.weight)
        eta = self.eta
        if self.is_warming:
            self.warm_up(reward)
            return Update((), (), (), eta, "NONE")
        source, seen_arms = self._seen(decision, reward, observed)
        seen = Seen({each.arm: each.probability for each in seen_arms}, eta)
        parts = self._spread(
            decision,
            seen,
            {
                each.arm: weight * self._signal(each.reward_bps) / self._below(each.probability, eta)
                for each in seen_arms
            },
        )
        moves = parts
        if new_decision:
            moves = [move + own for move, own in zip(parts, self._beginning(decision, seen), strict=True)]
        self._apply_moves(moves, {decision.arm: weight * reward}, eta, new_decision)
        self._note(decision, seen, parts, new_decision)
        arms = tuple(seen.probabilities)
        estimates = tuple([moves[arm] for arm in arms])
        return Update(arms, tuple(seen.probabilities.values()), estimates, eta, source, self._terms(parts, arms))

    def learn_blend(
        self,
        shares: Mapping[str, float],
        part: Part,
        new_decision: bool,
        attribution: str,
        observed: Sequence[Observed] = (),
        terms: Sequence[float] = (),
    ) -> Update:
        """As the contract says; without `observed` an arm's loss counts by its share, undivided.

        A beginning would move all arms alike, so that a blend's decision has none. Arms asleep move by what was played:
        the shares among those awake.
        """
        if attribution != "undivided":
            raise ValueError(f"attribution must be 'undivided' here, got {attribution!r}")
        reward, weight = legal_reward(part.reward_bps, part.weight)
        by_arm = legal_shares(shares, self._index_of)
        eta = self.eta
        if self.is_warming:
            self.warm_up(reward)
            return Update((), (), (), eta, "NONE")
        parts = self._blend_parts(by_arm, reward, weight, eta, observed)
        earned = {arm: share * weight * reward for arm, share in by_arm.items()}
        self._apply_moves(parts, earned, eta, new_decision)
        arms = tuple([each.arm for each in observed] or sorted(by_arm))
        grown = self._terms(parts, arms)
        self._note_blend(terms, grown, eta, new_decision)
        return Update(arms, (), tuple([parts[arm] for arm in arms]), eta, "NONE", grown)

    def update(self, *_: Any, **__: Any) -> Update:
        """It learns by `learn` alone, which is told the whole decision. TypeError."""
        raise TypeError("this learner learns by `learn`, which is told the whole decision")

    update_many = update

    # Taking back.

    def take_back(self, decision: Decision, part: Part, new_decision: bool, update: Update) -> None:
        """As the contract says; `decision.terms` hold what the part added."""
        super().take_back(decision, part, new_decision, update)
        self._note_taken_back(decision, _seen_by(update), self._parts_of(decision, update, new_decision))

    def take_back_decision(self, decision: Decision, update: Update) -> None:
        super().take_back_decision(decision, update)
        self._note_decision_taken_back(decision, _seen_by(update))

    def take_back_blend(
        self,
        shares: Mapping[str, float],
        part: Part,
        update: Update,
        observed: Sequence[Observed] = (),
        terms: Sequence[float] = (),
    ) -> None:
        by_arm = legal_shares(shares, self._index_of)
        parts = self._blend_parts(by_arm, part.reward_bps, part.weight, update.eta, observed)
        self._state = self._state_less(parts)
        for arm, share in by_arm.items():
            self._cumulative_rewards[arm] -= share * part.weight * part.reward_bps
        self._note_blend(terms, [-each for each in self._terms(parts, update.arms)], update.eta, new_decision=False)

    def _note_taken_back(self, decision: Decision, seen: Seen, parts: Sequence[float]) -> None:
        """A part that moved each arm by `parts` was taken back."""

    def _note_decision_taken_back(self, decision: Decision, seen: Seen) -> None:
        """A decision's own term was taken back."""

    def _note_blend(self, terms: Sequence[float], grown: Sequence[float], eta: float, new_decision: bool) -> None:
        """A blend's part was learned, by which its `terms` have grown."""

    def _own_moves(self, decision: Decision, update: Update) -> list[float]:
        return self._beginning(decision, _seen_by(update))

    def _moves_of(self, decision: Decision, update: Update, new_decision: bool) -> list[float]:
        parts = self._parts_of(decision, update, new_decision)
        if not new_decision:
            return parts
        return [part + own for part, own in zip(parts, self._own_moves(decision, update), strict=True)]

    def _parts_of(self, decision: Decision, update: Update, new_decision: bool) -> list[float]:
        """What the part alone moved each arm by."""
        own = self._own_moves(decision, update) if new_decision else [0.0] * len(self._names)
        moved = {arm: estimate - own[arm] for arm, estimate in zip(update.arms, update.estimates, strict=True)}
        return self._spread(decision, _seen_by(update), moved)

    # Keeping and bringing back.

    def to_dict(self) -> dict[str, Any]:
        """It is kept by `learned` and `restore`. TypeError."""
        raise TypeError("this learner is kept by `learned` and `restore`")

    @classmethod
    def from_dict(cls, *_: Any, **__: Any) -> Self:
        """As to_dict."""
        raise TypeError("this learner is brought back by `restore`")

    # Inside.

    def _seen(
        self, decision: Decision, reward: float, observed: Sequence[Observed]
    ) -> tuple[PropensitySource, Sequence[Observed]]:
        """What was observed; the drawn arm alone by its propensity as logged, or as it is now."""
        if observed:
            for each in observed:
                if not 0.0 < each.probability <= 1.0:
                    raise illegal_propensity(each.probability)
            return "LOGGED", observed
        p = decision.logged.propensity
        if p is None:
            return "CURRENT", [Observed(decision.arm, reward, self.read().probabilities[decision.arm])]
        if not 0.0 < p <= 1.0:
            raise illegal_propensity(p)
        return "LOGGED", [Observed(decision.arm, reward, p)]

    def _spread(self, decision: Decision, seen: Seen, moved: Mapping[int, float]) -> list[float]:
        """What each arm moves by: those seen as it says, those asleep by what was played."""
        moves = [0.0] * len(self._names)
        for arm, move in moved.items():
            moves[arm] = move
        if decision.asleep:
            played = fsum([_chance(decision, seen, arm) * move for arm, move in moved.items()])
            for arm in decision.asleep:
                moves[arm] = played
        return moves

    def _blend_parts(
        self, shares: Mapping[int, float], reward: float, weight: float, eta: float, observed: Sequence[Observed]
    ) -> list[float]:
        moves = [0.0] * len(self._names)
        if not observed:
            signal = weight * self._signal(reward)
            for arm, share in shares.items():
                moves[arm] = share * signal
            return moves
        for each in observed:
            moves[each.arm] = weight * self._signal(each.reward_bps) / self._below(each.probability, eta)
        awake = [each.arm for each in observed]
        played = _played({arm: shares.get(arm, 0.0) for arm in awake}, moves)
        for arm in set(range(len(moves))).difference(awake):
            moves[arm] = played
        return moves

    def _apply_moves(self, moves: Sequence[float], earned: Mapping[int, float], eta: float, new_decision: bool) -> None:
        """Move and count, all of it, or a ValueError and nothing."""
        state = self._legal_state([each + move for each, move in zip(self._state, moves, strict=True)], len(moves))
        if new_decision:
            state = self._share(state, eta)
        refuse_overflow([self._cumulative_rewards[arm] + reward for arm, reward in earned.items()])
        self._state = state
        self._count(earned, new_decision)

    def _terms(self, parts: Sequence[float], seen: Collection[int]) -> tuple[float, ...]:
        """Of the arms seen alone: those asleep were not."""
        return tuple([part if arm in seen else 0.0 for arm, part in enumerate(parts)]) if self.keeps_terms else ()


class SummingLearner(ObservingLearner):
    """One whose rate shrinks by a sum over decisions, which is its own state.

    (It has no slots: of two bases only one can.)
    """

    _sum: float

    def _own_state(self) -> tuple[float, ...]:
        return (self._sum,)

    def _set_state(self, learned: Learned) -> None:
        if len(learned.own_state) != 1:
            raise ValueError(f"this learner holds one number of its own, got {len(learned.own_state)}")
        total = legal_number("own_state", learned.own_state[0], 0.0, FINITE)
        super()._set_state(learned._replace(own_state=()))
        self._sum = total

    def _forget_state(self) -> None:
        super()._forget_state()
        self._sum = 0.0

    def _give(self, twin: Self) -> None:
        super()._give(twin)
        twin._sum = self._sum

    def merge(self, other: Self) -> None:
        """As it says; the sums add."""
        super().merge(other)
        self._sum += other._sum

    def _add(self, amount: float) -> None:
        """What rounding, or a reset in the middle of a decision, would leave below 0 is 0."""
        self._sum = max(self._sum + amount, 0.0)


class ObservingExp3IX(SummingLearner, Exp3IXBandit):
    """Exp3-IX (implicit) over all that a draw reveals."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """As Exp3IXBandit. ValueError for another estimator than implicit."""
        super().__init__(*arguments, **named)
        if not self._parameters.is_implicit:
            raise ValueError("importance weighting learns from the drawn arm alone")
        self._sum = 0.0

    def _rate(self, new_decision: bool, n_arms: int | None = None) -> float:  # noqa: ARG002 - a sum has no t + 1
        """min(eta_max, sqrt(ln K / (K + Q)))."""
        parameters, count = self._parameters, len(self._names) if n_arms is None else n_arms
        if parameters.eta is not None:
            return parameters.eta
        rate = sqrt(log(count) / (count + self._sum))
        return rate if parameters.eta_max is None or rate < parameters.eta_max else parameters.eta_max

    def _below(self, probability: float, eta: float) -> float:
        return probability + self._implicit(eta)

    def _beginning(self, decision: Decision, seen: Seen) -> list[float]:
        moved = {arm: 0.5 / self._below(each, seen.eta) for arm, each in seen.probabilities.items()}
        return self._spread(decision, seen, moved)

    def _share(self, state: list[float], eta: float) -> list[float]:
        return self._mixed(state, eta) if self._parameters.fixed_share > 0.0 else state

    def _note(self, decision: Decision, seen: Seen, parts: Sequence[float], new_decision: bool) -> None:  # noqa: ARG002
        if new_decision:
            self._add(self._of_one(decision, seen))

    def _note_decision_taken_back(self, decision: Decision, seen: Seen) -> None:
        self._add(-self._of_one(decision, seen))

    def _note_blend(self, terms: Sequence[float], grown: Sequence[float], eta: float, new_decision: bool) -> None:  # noqa: ARG002
        if new_decision:
            self._add(1.0 / self._below(1.0, eta))

    def _of_one(self, decision: Decision, seen: Seen) -> float:
        """sum_i p_i / (o_i + implicit) over the arms awake. Where the draw's own p is all that is known, its estimate
        1 / (p + implicit), which is K at most in expectation, and so here."""
        if not decision.is_whole:
            (p,) = seen.probabilities.values()
            return min(1.0 / self._below(p, seen.eta), float(len(self._names)))
        probabilities = decision.logged.probabilities
        observing = decision.observing or probabilities
        return fsum([p / self._below(o, seen.eta) for p, o in zip(probabilities, observing, strict=True) if p > 0.0])


class ObservingTsallis(ObservingLearner, TsallisBandit):
    """Tsallis-INF over all that a draw reveals."""

    __slots__ = ()

    def _below(self, probability: float, eta: float) -> float:  # noqa: ARG002 - it divides by nothing else
        return probability

    def _beginning(self, decision: Decision, seen: Seen) -> list[float]:  # noqa: ARG002 - it is every decision's
        return [0.5] * len(self._names)

    def _share(self, state: list[float], eta: float) -> list[float]:  # noqa: ARG002 - it reads its own
        return self._mixed(state) if self._fixed_share > 0.0 else state


class AdaptiveTsallis(SummingLearner, ObservingTsallis):
    """The same by the adaptive rate.

    An arm that comes is placed by the rate there was. From then on the rate of the new K reads all; S stays.
    """

    keeps_terms = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """As TsallisBandit. ValueError where eta is given."""
        super().__init__(*arguments, **named)
        if self._given_eta is not None:
            raise ValueError(f"an adaptive rate is computed: leave eta out, got {self._given_eta!r}")
        self._sum = 0.0

    @property
    def eta(self) -> float:
        """K^(1/4) / sqrt(S + sqrt(K) / 4)."""
        root = sqrt(len(self._names))
        return sqrt(root) / sqrt(self._sum + root / 4.0)

    def _note(self, decision: Decision, seen: Seen, parts: Sequence[float], new_decision: bool) -> None:  # noqa: ARG002
        terms = decision.terms or [0.0] * len(parts)
        after = {arm: term + parts[arm] if arm in seen.probabilities else term for arm, term in enumerate(terms)}
        self._add(_of_draw(decision, seen, after) - _of_draw(decision, seen, dict(enumerate(terms))))

    def _note_taken_back(self, decision: Decision, seen: Seen, parts: Sequence[float]) -> None:
        terms = dict(enumerate(decision.terms))
        before = {arm: term - parts[arm] if arm in seen.probabilities else term for arm, term in terms.items()}
        self._add(_of_draw(decision, seen, before) - _of_draw(decision, seen, terms))

    def _note_blend(self, terms: Sequence[float], grown: Sequence[float], eta: float, new_decision: bool) -> None:  # noqa: ARG002
        before = terms or [0.0] * len(grown)
        self._add(_of_blend([term + more for term, more in zip(before, grown, strict=True)]) - _of_blend(before))


def _seen_by(update: Update) -> Seen:
    return Seen(dict(zip(update.arms, update.propensities, strict=True)), update.eta)


def _chance(decision: Decision, seen: Seen, arm: int) -> float:
    """p of an arm, 0 where it is not known."""
    if decision.is_whole:
        return decision.logged.probabilities[arm]
    return seen.probabilities.get(arm, 0.0)


def _played(shares: Mapping[int, float], moves: Sequence[float]) -> float:
    """What these arms move by on average, by share; all alike where none has one."""
    total = fsum(shares.values())
    if total == 0.0:
        return fsum(moves[arm] for arm in shares) / len(shares)
    return fsum(share / total * moves[arm] for arm, share in shares.items())


def _of_draw(decision: Decision, seen: Seen, terms: Mapping[int, float]) -> float:
    """A decision's part of S: min(4, sum_i p_i^(3/2) A_i^2)."""
    return _capped(_chance(decision, seen, arm) ** 1.5 * term * term for arm, term in terms.items() if term)


def _of_blend(terms: Iterable[float]) -> float:
    """The most that it can be, where no p is known."""
    return _capped([max(term * term for term in terms)])


def _capped(squares: Iterable[float]) -> float:
    return min(fsum(squares), MOST_OF_ONE_DECISION)
