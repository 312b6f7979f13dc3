"""The rules of the evidence, behind one small surface: read probabilities, learn one reward.

The shipped rules' parameters are written out, and a test compares them with config/*.yaml. Exp3 twice more, from
outside: the textbook's, and river's class as it is.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import e, exp, log, sqrt
from typing import Literal, Protocol

from river.bandit import Exp3

from armstream.learning import AdvisedBandit, Exp3IXBandit, TsallisBandit
from tests.evidence.markets import N_ARMS

OUTSIDE_BOUND_BPS = 100.0  # textbook and river take rewards in [0, 1]
CONFIDENCE = 0.05  # of the bound that holds with high probability

Feedback = Literal["logged", "current"]


class Learner(Protocol):
    @property
    def bound_bps(self) -> float | None:
        """B, where the rule has one now."""

    def read(self) -> tuple[list[float], float]:
        """K probabilities, and the rate behind them."""

    def learn(self, arm: int, reward_bps: float, probabilities: list[float], eta: float) -> None:
        """What a drawn arm earned; probabilities and rate are those of the decision."""


@dataclass(frozen=True, slots=True)
class Exp3IX:
    """Where feedback is "current" it never sees a logged propensity."""

    bandit: Exp3IXBandit
    feedback: Feedback

    @property
    def bound_bps(self) -> float | None:
        return self.bandit.reward_bound_bps

    def read(self) -> tuple[list[float], float]:
        reading = self.bandit.read()
        return reading.probabilities, reading.eta

    def learn(self, arm: int, reward_bps: float, probabilities: list[float], eta: float) -> None:  # noqa: ARG002 - as all
        self.bandit.update(arm, reward_bps, probabilities[arm] if self.feedback == "logged" else None)


@dataclass(frozen=True, slots=True)
class Tsallis:
    bandit: TsallisBandit

    @property
    def bound_bps(self) -> float | None:
        return self.bandit.reward_bound_bps

    def read(self) -> tuple[list[float], float]:
        reading = self.bandit.read()
        return reading.probabilities, reading.eta

    def learn(self, arm: int, reward_bps: float, probabilities: list[float], eta: float) -> None:
        self.bandit.update(arm, reward_bps, probabilities=probabilities, eta=eta)


class Exp4:
    """The stream's learner over own experts, with what each of them said at the decision. Rewards come in order."""

    def __init__(self, bandit: AdvisedBandit) -> None:
        self.bandit = bandit
        self._said: deque[dict[str, list[float]]] = deque()  # of decisions whose rewards are to come

    @property
    def bound_bps(self) -> float | None:
        return self.bandit.reward_bound_bps

    def read(self) -> tuple[list[float], float]:
        self._said.append({each.name: each.distribution for each in self.bandit.read_experts()})
        reading = self.bandit.read()
        return reading.probabilities, reading.eta

    def learn(self, arm: int, reward_bps: float, probabilities: list[float], eta: float) -> None:  # noqa: ARG002 - as all
        advice = {name: said[arm] for name, said in self._said.popleft().items()}
        self.bandit.update_advice(arm, advice, reward_bps, probabilities[arm])


def tuned_gamma(decisions: int) -> float:
    """P. Auer et al., SIAM J. Comput. 32 (2002), corollary 3.2, for gains of at most `decisions`."""
    return min(1.0, sqrt(N_ARMS * log(N_ARMS) / ((e - 1.0) * decisions)))


class TextbookExp3:
    """Auer et al. 2002, figure 1, in logs: it knows how long it will play, and rewards scaled to [0, 1] by 100 bps."""

    def __init__(self, decisions: int, feedback: Feedback) -> None:
        self.gamma = tuned_gamma(decisions)
        self.feedback = feedback
        self.log_weights = [0.0] * N_ARMS

    @property
    def bound_bps(self) -> float | None:
        return OUTSIDE_BOUND_BPS

    def read(self) -> tuple[list[float], float]:
        most = max(self.log_weights)
        relative = [exp(each - most) for each in self.log_weights]
        total = sum(relative)
        return [(1.0 - self.gamma) * each / total + self.gamma / N_ARMS for each in relative], self.gamma

    def learn(self, arm: int, reward_bps: float, probabilities: list[float], eta: float) -> None:  # noqa: ARG002 - as all
        p = probabilities[arm] if self.feedback == "logged" else self.read()[0][arm]
        self.log_weights[arm] += self.gamma * _gain(reward_bps) / p / N_ARMS


class River:
    """river's Exp3 with the same gamma. It divides by the p of its last reading, whenever the reward comes."""

    def __init__(self, decisions: int) -> None:
        self.policy = Exp3(gamma=tuned_gamma(decisions), seed=0)

    @property
    def bound_bps(self) -> float | None:
        return OUTSIDE_BOUND_BPS

    def read(self) -> tuple[list[float], float]:
        self.policy.pull(list(range(N_ARMS)))  # it draws too; the evidence draws by its own numbers, the same for all
        return list(self.policy._probabilities.values()), self.policy.gamma

    def learn(self, arm: int, reward_bps: float, probabilities: list[float], eta: float) -> None:  # noqa: ARG002 - as all
        self.policy.update(arm, _gain(reward_bps))  # type: ignore[no-untyped-call] # it has no hints


class Uniform:
    """Every arm alike, whatever it earned."""

    bound_bps = None

    def read(self) -> tuple[list[float], float]:
        return [1.0 / N_ARMS] * N_ARMS, 0.0

    def learn(self, arm: int, reward_bps: float, probabilities: list[float], eta: float) -> None:
        """Nothing."""


def _gain(reward_bps: float) -> float:
    return (min(max(reward_bps, -OUTSIDE_BOUND_BPS), OUTSIDE_BOUND_BPS) + OUTSIDE_BOUND_BPS) / (2.0 * OUTSIDE_BOUND_BPS)


@dataclass(frozen=True, slots=True)
class Rule:
    """`make(decisions, feedback)` is a new learner; `regret_bound(decisions)` in losses or gains of [0, 1], where the
    rule has one as it is run here."""

    make: Callable[[int, Feedback], Learner]
    regret_bound: Callable[[int], float] | None = None
    feedbacks: tuple[Feedback, ...] = ("logged", "current")


def shipped(decisions: int, feedback: Feedback) -> Learner:  # noqa: ARG001 - it needs no horizon
    return Exp3IX(
        Exp3IXBandit(N_ARMS, gamma=0.0, eta_max=None, estimator="implicit", reward_bound_bps="auto"), feedback
    )


def shipped_at_100(decisions: int, feedback: Feedback) -> Learner:  # noqa: ARG001 - it needs no horizon
    return Exp3IX(Exp3IXBandit(N_ARMS, gamma=0.0, eta_max=None, estimator="implicit"), feedback)


def importance(decisions: int, feedback: Feedback) -> Learner:  # noqa: ARG001 - it needs no horizon
    return Exp3IX(Exp3IXBandit(N_ARMS), feedback)


def tracking(decisions: int, feedback: Feedback) -> Learner:  # noqa: ARG001 - it needs no horizon
    bandit = Exp3IXBandit(
        N_ARMS,
        gamma=0.0,
        eta=0.05,
        eta_max=None,
        estimator="implicit",
        fixed_share=0.0005,
        reward_bound_bps="auto",
    )
    return Exp3IX(bandit, feedback)


def tsallis(decisions: int, feedback: Feedback) -> Learner:  # noqa: ARG001 - it needs no horizon, and no other feedback
    return Tsallis(TsallisBandit(N_ARMS))


def tracking_tsallis(decisions: int, feedback: Feedback) -> Learner:  # noqa: ARG001 - as above
    return Tsallis(TsallisBandit(N_ARMS, eta=0.1, fixed_share=0.0005))


def exp4(decisions: int, feedback: Feedback) -> Learner:  # noqa: ARG001 - it has the shipped horizon
    arms = [f"arm_{number}" for number in range(N_ARMS)]
    return Exp4(AdvisedBandit(arms, {"bandit": "exp3ix", "best": "follow_best", "uniform": "uniform"}))


def river(decisions: int, feedback: Feedback) -> Learner:  # noqa: ARG001 - it knows no logged propensity
    return River(decisions)


def uniform(decisions: int, feedback: Feedback) -> Learner:  # noqa: ARG001 - it learns nothing
    return Uniform()


def exp3ix_bound(decisions: int) -> float:
    """G. Neu 2015, theorem 1, anytime rates: with probability .95."""
    k_t, k_log = N_ARMS * decisions, log(N_ARMS)
    return 4.0 * sqrt(k_t * k_log) + (2.0 * sqrt(k_t / k_log) + 1.0) * log(2.0 / CONFIDENCE)


def tsallis_bound(decisions: int) -> float:
    """J. Zimmert and Y. Seldin 2021, theorem 1, against any losses: in expectation."""
    return 2.0 * sqrt(N_ARMS * decisions) + 10.0 * N_ARMS * log(decisions) + 16.0


def exp3_bound(decisions: int) -> float:
    """Auer et al. 2002, corollary 3.2: in expectation."""
    return 2.0 * sqrt(e - 1.0) * sqrt(decisions * N_ARMS * log(N_ARMS))


RULES: Mapping[str, Rule] = {
    "Exp3-IX, auto": Rule(shipped, exp3ix_bound),
    "Exp3-IX, B = 100": Rule(shipped_at_100, exp3ix_bound),
    "importance": Rule(importance),
    "tracking": Rule(tracking),
    "Tsallis, auto": Rule(tsallis, tsallis_bound, ("logged",)),
    "tracking, Tsallis": Rule(tracking_tsallis, None, ("logged",)),
    "EXP4": Rule(exp4, None, ("logged",)),
    "textbook Exp3": Rule(TextbookExp3, exp3_bound),
    "river's Exp3": Rule(river, exp3_bound, ("current",)),
    "uniform": Rule(uniform, None, ("logged",)),
}
