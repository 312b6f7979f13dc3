"""Tsallis-INF over K arms: refused input changes nothing, logged decisions are learned in any order, and no arm dies.

J. Zimmert and Y. Seldin, 'Tsallis-INF: An Optimal Algorithm for Stochastic and Adversarial Bandits', JMLR 22(28),
2021, at alpha = 1/2 with the reduced-variance estimator. State: cumulative losses L and decisions n.

- Reading (their Algorithms 1 and 2): `eta = 4 / sqrt(n + 1)`, their rate for this estimator in round t = n + 1;
  `p_a = 4 / (eta (L_a - x))^2` with the x below min L for which they sum to 1.
- Learning, with the p and eta of the decision: `b_a = 1/2 where p_a >= eta^2, else 0`;
  `L_a += b_a` for all arms, and `L_drawn += (loss - b_drawn) / p_drawn`; `n += 1`.

Their Theorem 1: against any losses in [0, 1] that were fixed beforehand, with no delay, the expected regret after T
rounds is at most 2 sqrt(KT) + 10 K ln T + 16 losses; with plain importance weights (b = 0) and 2 / sqrt(t) it is
4 sqrt(KT) + 1. Where one arm is better by fixed gaps both grow as ln T.

For markets that turn there may be a constant `eta`, and a `fixed_share` alpha: after each decision's update
`p <- (1 - alpha) p + alpha / K` and `L_a = 2 / (eta sqrt(p_a))`, which reads as p with x = 0. That is outside the
theorem, and gives up the freedom of order.

A loss is (B - clip(reward_bps, -B, B)) / (2 B), B the reward bound (reward_bound.py).
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from math import fsum, sqrt
from typing import Any, Literal, Self

from armstream.learning.contract import (
    Decision,
    Learned,
    Observed,
    Part,
    Reading,
    Update,
    legal_reward,
)
from armstream.learning.drawing import Draw, DrawingLearner, refuse_more_than_drawn
from armstream.learning.old_names import todays_attribution
from armstream.learning.refusals import (
    LARGEST,
    MAX_WEIGHT,
    SMALLEST,
    SUM_TOLERANCE,
    generator_from,
    illegal_propensity,
    legal_arm,
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
from armstream.learning.transforms import share_out

_log = logging.getLogger(__name__)

MAX_LOSS = 1e100  # either way, of a cumulative one: the probability of every arm stays above 0 in floats
MAX_NEWTON_STEPS = 100  # 35 for a thousand equal arms
LEAST_INITIAL_WEIGHT = 1e-10
LEAST_ETA, MAX_ETA = 1e-9, 1e6  # of a given one: a loss made from p stays one


class TsallisBandit(DrawingLearner):
    """One learner over K named arms.

    `n_arms` names may be given, else they are arm_0, arm_1, ... `reward_bound_bps` "auto" takes the 95th percentile of
    the first 100 |reward| (reward_bound.py), during which nothing else is learned or counted, and updates say so; a
    decision whose first part fell into that counts by the first part that is learned: give that new_decision=True.
    `eta` None is 4 / sqrt(n + 1); one that is given stays. `fixed_share` in [0, 1] is alpha above.

    Every refusal is a ValueError raised before anything changes; what is not a number or an index at all may be a
    TypeError, as early. Nothing here is safe to call from two threads.
    """

    __slots__ = ("_fixed_share", "_given_eta")

    reads_distribution = True  # b is of all arms

    _title = "Tsallis-INF"
    _log = _log

    def __init__(
        self,
        n_arms: int,
        arm_names: Sequence[str] | None = None,
        seed: int | None = None,
        *,
        reward_bound_bps: float | Literal["auto"] = "auto",
        eta: float | None = None,
        fixed_share: float = 0.0,
    ) -> None:
        super().__init__(names_of(n_arms, arm_names), RewardBound.given(reward_bound_bps), seed)
        self._given_eta = None if eta is None else legal_number("eta", eta, LEAST_ETA, MAX_ETA)
        self._fixed_share = legal_number("fixed_share", fixed_share, 0.0, 1.0)

    # What it is.

    @property
    def gamma(self) -> float:
        """0: nothing uniform is mixed in."""
        return 0.0

    @property
    def eta(self) -> float:
        """The rate of the next decision: the given one, or 4 / sqrt(n + 1)."""
        return 4.0 / sqrt(self._total_steps + 1) if self._given_eta is None else self._given_eta

    # Reading and choosing.

    def read(self) -> Reading:
        """Probabilities, which are the weights too, and the rate behind them; fresh lists of K floats."""
        eta = self.eta
        probabilities = _probabilities(self._state, eta)
        return Reading(probabilities, probabilities.copy(), eta)

    def decide(self) -> Draw:
        """An arm drawn by exactly one number of the generator, with all that its update needs. Counts nothing."""
        _, probabilities, eta = self.read()
        arm = self._draw_from(probabilities)
        return Draw(arm, probabilities[arm], probabilities, eta)

    def select_arm(self) -> int:
        """The arm of `decide` alone; whoever learns from it needs the rest too."""
        return self.decide().arm

    # Learning.

    def learn(self, decision: Decision, part: Part, new_decision: bool, observed: Sequence[Observed] = ()) -> Update:
        """As `update`, by the decision's whole distribution where that was logged, else by its propensity."""
        arm, logged, is_whole, asleep = decision[:4]
        if observed:
            refuse_more_than_drawn(observed, decision, part)
        return self.update(
            arm,
            part.reward_bps,
            logged.propensity,
            probabilities=logged.probabilities if is_whole else None,
            eta=logged.eta if is_whole else None,
            weight=part.weight,
            new_decision=new_decision,
            asleep=() if is_whole else asleep,
        )

    def learn_blend(
        self,
        shares: Mapping[str, float],
        part: Part,
        new_decision: bool,
        attribution: str,
        observed: Sequence[Observed] = (),  # noqa: ARG002 - a blend reveals no more to it
        terms: Sequence[float] = (),  # noqa: ARG002 - it keeps none
    ) -> Update:
        """As `update_many`."""
        return self.update_many(shares, part.reward_bps, attribution, weight=part.weight, new_decision=new_decision)

    def update(
        self,
        arm: int,
        reward: float,
        propensity: float | None = None,
        *,
        probabilities: Sequence[float] | None = None,
        eta: float | None = None,
        weight: float = 1.0,
        new_decision: bool = True,
        asleep: Collection[int] = (),
    ) -> Update:
        """Learn what one drawn arm earned, from what was logged when it was drawn.

        `reward` in net basis points, at most 1e12 either way. `probabilities` (K floats that sum to 1) and `eta` are
        those of the decision; `propensity`, where given too, must be the arm's among them. With `propensity` alone b is
        0 and the update's rate is 2 / sqrt(n + 1), or the given one, which moves no number: unbiased, with more
        variance, and read with a rate that the theorem has for the other estimator. With none it is a ValueError.
        `weight` in [0, 1e6] is the realised part of the decision; `new_decision` is False for all parts but the first,
        and then n, arm_pulls and b stay out. What is not realised counts as a zero reward (a loss of 1/2), so that
        parts sum to the whole: `L_arm += (weight * (loss - 1/2) + (1/2 - b_arm if new_decision)) / p_arm`.
        An arm that could not be drawn moves by what was played, `sum_a p_a (what L_a moves by)`, so that its weight
        against all others together stays (Y. Freund, R. Schapire, Y. Singer, M. Warmuth, 'Using and combining
        predictors that specialize', STOC 1997): those of probability 0, and with `propensity` alone those `asleep`.
        The estimate in the result is what L_arm moved by. While `is_warming`, a legal reward goes into the bound only.
        """
        reward, weight = legal_reward(reward, weight)
        arm = legal_arm(arm, len(self._names))
        p, baselines, eta = self._legal_decision(arm, propensity, probabilities, eta)
        if asleep:
            refuse_asleep(asleep, arm, len(self._names))
            if probabilities is not None:
                raise ValueError(f"probabilities say by their zeros which arms were asleep, got {sorted(asleep)} too")
        if self.is_warming:
            self.warm_up(reward)
            return Update((), (), (), eta, "NONE")
        unrealised = 0.5 - baselines[arm] if new_decision else 0.0
        estimate = (weight * self._signal(reward) + unrealised) / p + (baselines[arm] if new_decision else 0.0)
        others = baselines if new_decision else [0.0] * len(baselines)
        moves = self._moves(arm, p, estimate, others, probabilities or (), asleep)
        self._apply(moves, {arm: weight * reward}, new_decision)
        update = Update((arm,), (p,), (estimate,), eta, "LOGGED")
        if _log.isEnabledFor(logging.DEBUG):
            self._log_update(update, reward)
        return update

    def update_many(
        self,
        contributions: Mapping[str, float],
        reward: float,
        attribution: str = "undivided",
        *,
        propensities: Mapping[str, float] | None = None,
        weight: float = 1.0,
        new_decision: bool = True,
    ) -> Update:
        """Learn what a blend of arms earned; `contributions` maps arm name to share (finite, >= 0, one above 0).

        A zero reward moves nothing, as nothing was drawn; n + 1 once, a pull for each arm with a share.

        - undivided: `L_arm += share * weight * (loss - 1/2)`.
        - simultaneous: the same divided by p, from `propensities`, which must name exactly the arms with a share.

        sequential is a ValueError: its later arms have no propensity that was logged.
        """
        reward, weight = legal_reward(reward, weight)
        shares = legal_shares(contributions, self._index_of)
        logged = None if propensities is None else legal_propensities(propensities, self._index_of, shares)
        attribution = todays_attribution(attribution)
        if attribution not in ("simultaneous", "undivided"):
            raise ValueError(f"attribution must be 'simultaneous' or 'undivided' here, got {attribution!r}")
        is_divided = attribution == "simultaneous"
        if is_divided and logged is None:
            raise ValueError("simultaneous needs the logged propensity of each arm with a share, and of no other")
        eta = self.eta
        if self.is_warming:
            self.warm_up(reward)
            return Update((), (), (), eta, "NONE")
        used = tuple(logged[arm] for arm in shares) if is_divided and logged is not None else ()
        signal = weight * self._signal(reward)
        estimates = tuple(
            share * signal / p for share, p in zip(shares.values(), used or (1.0,) * len(shares), strict=True)
        )
        moves = [0.0] * len(self._names)
        for arm, estimate in zip(shares, estimates, strict=True):
            moves[arm] = estimate
        self._apply(moves, {arm: share * weight * reward for arm, share in shares.items()}, new_decision)
        update = Update(tuple(shares), used, estimates, eta, "LOGGED" if is_divided else "NONE")
        if _log.isEnabledFor(logging.DEBUG):
            self._log_update(update, reward)
        return update

    # Arms that come.

    def add_arm(self, arm_name: str, initial_weight: float = 1.0) -> int:
        """Add an arm and return its index; the others keep their losses, and make room by a lower x.

        It comes with L = x + 2 sqrt(K / initial_weight) / eta, K the arms there were: at the x there was that is
        `initial_weight` (in [0, 1e6]; 0 is 1e-10) times the mean probability. ValueError for a name that is there.
        """
        initial_weight = legal_number("initial_weight", initial_weight, 0.0, MAX_WEIGHT)
        names = legal_arm_names((*self._names, arm_name))
        eta = self.eta
        above_x = sqrt(len(self._names) / max(initial_weight, LEAST_INITIAL_WEIGHT))
        newcomer = min(self._state) + (above_x - _root(_distances(self._state, eta))) * 2.0 / eta
        self._state = [*self._state, legal_number("losses", newcomer, -MAX_LOSS, MAX_LOSS)]
        return self._append_name(names)

    # Showing, keeping and bringing back.

    def to_dict(self) -> dict[str, Any]:
        """Everything `from_dict` needs to go on bit for bit; JSON types only, nothing shared with the learner.

        `reward_bound_bps` and `eta` (None: automatic) are what the learner was made with, `reward_bound` what it has
        now; a generator that has not drawn yet is made for it.
        """
        return {
            "algorithm": "tsallis",
            "n_arms": len(self._names),
            "arm_names": list(self._names),
            "total_steps": self._total_steps,
            "arm_pulls": self._pulls.copy(),
            "cumulative_rewards": self._cumulative_rewards.copy(),
            "losses": self._state.copy(),
            **self._parameters_to_merge(),
            "reward_bound": self._reward_bound.to_dict(),
            "generator": self._drawing_generator().bit_generator.state,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """A learner from `to_dict`. ValueError for a key that is missing, unknown or holds what no learner could."""
        if set(state) != set(_KEYS) or state["algorithm"] != "tsallis":
            missing, unknown = [key for key in _KEYS if key not in state], [key for key in state if key not in _KEYS]
            raise ValueError(f"not a Tsallis learner's state: missing {missing}, unknown {unknown}")
        for key in ("arm_names", "losses", "arm_pulls", "cumulative_rewards"):
            if not isinstance(state[key], list | tuple):
                raise ValueError(f"{key} must be a list, got {state[key]!r}")
        names = legal_arm_names(state["arm_names"])
        parameters = {key: state[key] for key in _PARAMETER_KEYS}
        bandit = cls(legal_count("n_arms", state["n_arms"]), names, **parameters)
        bandit.restore(
            Learned(
                names,
                [(loss,) for loss in state["losses"]],
                state["arm_pulls"],
                state["cumulative_rewards"],
                state["total_steps"],
                RewardBound.from_dict(state["reward_bound"]),
            )
        )
        bandit._generator = generator_from(state["generator"])
        return bandit

    # Inside.

    def _give(self, twin: Self) -> None:
        super()._give(twin)
        twin._given_eta, twin._fixed_share = self._given_eta, self._fixed_share

    def _parameters_to_merge(self) -> dict[str, Any]:
        """What it was made with, as the constructor takes it."""
        bound = self._given_bound.bound_bps
        values = ("auto" if bound is None else bound, self._given_eta, self._fixed_share)
        return dict(zip(_PARAMETER_KEYS, values, strict=True))

    def _legal_state(self, state: Sequence[float], n_arms: int) -> list[float]:
        return legal_numbers("losses", state, n_arms, -MAX_LOSS, MAX_LOSS)

    def _state_without(self, arm: int) -> list[float]:
        return self._state[:arm] + self._state[arm + 1 :]

    def _legal_decision(
        self, arm: int, propensity: float | None, probabilities: Sequence[float] | None, eta: float | None
    ) -> tuple[float, list[float], float]:
        """p of the arm, b of all arms (a fresh list), and the rate, of a decision as it was logged."""
        if (probabilities is None) != (eta is None):
            raise ValueError("probabilities and eta are one decision's: give both or neither")
        if probabilities is None or eta is None:
            if propensity is None:
                raise ValueError(
                    "this rule needs what was logged with the draw: probabilities and eta, or the propensity; "
                    "today's in its place would divide by ever smaller numbers"
                )
            if not 0.0 < propensity <= 1.0:
                raise illegal_propensity(propensity)
            rate = self.eta / 2.0 if self._given_eta is None else self._given_eta
            return float(propensity), [0.0] * len(self._names), rate
        legal = legal_numbers("probabilities", probabilities, len(self._names), 0.0, 1.0)
        rate = legal_number("eta", eta, SMALLEST, LARGEST)
        if abs(fsum(legal) - 1.0) > SUM_TOLERANCE:
            raise ValueError(f"probabilities must sum to 1, got {fsum(legal)!r}")
        p = legal[arm]
        if p == 0.0:
            raise illegal_propensity(p)
        if propensity is not None and not abs(propensity - p) <= SUM_TOLERANCE * p:
            raise ValueError(f"propensity {propensity!r} is not the arm's among the probabilities, {p!r}")
        least = rate * rate
        return p, [0.5 if each >= least else 0.0 for each in legal], rate

    def _moves(
        self,
        arm: int,
        p: float,
        estimate: float,
        others: Sequence[float],
        probabilities: Sequence[float],
        asleep: Collection[int],
    ) -> list[float]:
        """What L moves by: the drawn arm by its estimate, the others by `others`, and those that could not be drawn (of
        probability 0, or `asleep`) by what was played, sum_a p_a (what L_a moves by)."""
        moves = [*others]
        moves[arm] = estimate
        played = p * estimate
        if 0.0 in probabilities:
            played = fsum(each * move for each, move in zip(probabilities, moves, strict=True))
            asleep = [sleeper for sleeper, each in enumerate(probabilities) if each == 0.0]
        for sleeper in asleep:
            moves[sleeper] = played
        return moves

    def _signal(self, reward: float) -> float:
        """loss - 1/2 = -clip(reward, -B, B) / (2 B)."""
        bound = self._reward_bound.bound_bps
        assert bound is not None  # a learner that warms up has no signal
        return -min(max(reward, -bound), bound) / (2.0 * bound)

    def _apply(self, moves: Sequence[float], earned: Mapping[int, float], new_decision: bool) -> None:
        """Move L and count `earned` (arm index to bps): all of it, or a ValueError and nothing."""
        losses = [loss + move for loss, move in zip(self._state, moves, strict=True)]
        _refuse_too_large(losses)
        if new_decision and self._fixed_share > 0.0:
            losses = self._mixed(losses)
            _refuse_too_large(losses)
        rewards = self._cumulative_rewards.copy()
        for arm, reward in earned.items():
            rewards[arm] += reward
        refuse_overflow(rewards)
        self._state, self._cumulative_rewards = losses, rewards
        if new_decision:
            for arm in earned:
                self._pulls[arm] += 1
            self._total_steps += 1

    def _mixed(self, losses: Sequence[float]) -> list[float]:
        """fixed_share: p <- (1 - alpha) p + alpha / K, by the rate of this round, and back to losses."""
        eta = self.eta
        return [2.0 / (eta * sqrt(p)) for p in share_out(_probabilities(losses, eta), self._fixed_share)]

    # Taking back.

    @property
    def _forgets(self) -> str:
        return "a fixed share was mixed in since" if self._fixed_share else ""

    def _moves_of(self, decision: Decision, update: Update, new_decision: bool) -> list[float]:
        baselines = self._baselines(decision, update.eta) if new_decision else [0.0] * len(self._names)
        return self._moves(decision.arm, update.propensities[0], update.estimates[0], baselines, *_of(decision))

    def _own_moves(self, decision: Decision, update: Update) -> list[float]:
        arm, (p,), baselines = decision.arm, update.propensities, self._baselines(decision, update.eta)
        estimate = (0.5 - baselines[arm]) / p + baselines[arm]
        return self._moves(arm, p, estimate, baselines, *_of(decision))

    def _baselines(self, decision: Decision, eta: float) -> list[float]:
        """b of all arms; none without the whole distribution."""
        if not decision.is_whole:
            return [0.0] * len(self._names)
        return [0.5 if each >= eta * eta else 0.0 for each in decision.logged.probabilities]


def _of(decision: Decision) -> tuple[Sequence[float], Collection[int]]:
    """The whole distribution, which says by its zeros who was asleep, or else who was."""
    return (decision.logged.probabilities, ()) if decision.is_whole else ((), decision.asleep)


def _refuse_too_large(losses: Sequence[float]) -> None:
    if not all(-MAX_LOSS <= loss <= MAX_LOSS for loss in losses):
        raise ValueError(f"losses must stay within +-{MAX_LOSS:g}, got {losses}")


def _probabilities(losses: Sequence[float], eta: float) -> list[float]:
    """p_a = 4 / (eta (L_a - x))^2 with the x for which they sum to 1."""
    distances = _distances(losses, eta)
    root = _root(distances)
    relative = [1.0 / ((distance + root) * (distance + root)) for distance in distances]
    total = fsum(relative)  # 1, but for the last digits
    return [each / total for each in relative]


def _distances(losses: Sequence[float], eta: float) -> list[float]:
    """eta / 2 times the distance of each L above the least: in these units p is (distance + root)^-2."""
    least, half_rate = min(losses), eta / 2.0
    return [half_rate * (loss - least) for loss in losses]


def _root(distances: Sequence[float]) -> float:
    """u with `sum (distance + u)^-2 = 1`, in [1, sqrt K], by Newton from 1; the least distance is 0.

    The paper's `x -= (sum p - 1) / (eta sum p^1.5)` from x = min L - 2 / eta, in u = eta (min L - x) / 2. The sum is
    convex and falls in u, so the steps go up to the root and never past it, but for rounding, where they end.
    """
    root = 1.0
    for _ in range(MAX_NEWTON_STEPS):
        total = cubes = 0.0
        for distance in distances:
            inverse = 1.0 / (distance + root)
            square = inverse * inverse
            total += square
            cubes += square * inverse
        following = root + (total - 1.0) / (2.0 * cubes)
        if following <= root:
            break
        root = following
    return root


_PARAMETER_KEYS = ("reward_bound_bps", "eta", "fixed_share")
_KEYS = (
    *("algorithm", "n_arms", "arm_names", "total_steps", "arm_pulls", "cumulative_rewards", "losses"),
    *(*_PARAMETER_KEYS, "reward_bound", "generator"),
)
