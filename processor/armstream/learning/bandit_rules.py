"""The rules that draw one arm: Exp3-IX and Tsallis-INF, each with the learner that its settings ask for.

Law: where nothing is said of feedback and of an adaptive rate, a rule's learner is what it always was.
"""

from collections.abc import Iterator

from armstream.learning.contract import Logged, Rule
from armstream.learning.exp3ix import Exp3IXBandit
from armstream.learning.observing import AdaptiveTsallis, ObservingExp3IX, ObservingTsallis
from armstream.learning.refusals import unlogged_draw
from armstream.learning.settings import LearningSettings
from armstream.learning.tsallis import TsallisBandit


class Exp3IX(Rule):
    """Exp3-IX after Neu 2015, and Exp3 with importance weighting, whose estimate needs no loss and so no bound."""

    name = "exp3ix"
    takes = frozenset(
        {
            *("estimator", "gamma", "eta_max", "implicit", "transform", "transform_bps", "min_weight"),
            *("fixed_share", "attribution", "feedback"),
        }
    )

    def new_learner(self, settings: LearningSettings) -> Exp3IXBandit:
        learner = Exp3IXBandit if settings.feedback == "drawn" else ObservingExp3IX
        return learner(
            len(settings.arms),
            settings.arms,
            gamma=settings.gamma,
            eta=settings.eta,
            eta_max=settings.eta_max,
            estimator=settings.estimator,
            implicit=settings.implicit,
            reward_bound_bps=settings.reward_bound_bps,
            fixed_share=settings.fixed_share,
            transform=settings.transform,
            transform_bps=settings.transform_bps,
            min_weight=settings.min_weight,
        )

    def refusals(self, settings: LearningSettings) -> Iterator[tuple[str, str]]:
        yield from _refusals_of_feedback(settings)
        if settings.feedback != "drawn" and settings.estimator == "importance":
            yield "feedback", "must be drawn where estimator is importance, which learns from the drawn arm alone"

    def clips(self, estimator: str) -> bool:
        return estimator == "implicit"


class Tsallis(Rule):
    """Tsallis-INF, which guesses no propensity: its rate shrinks as 1 / sqrt(n), and a guess would feed itself."""

    name = "tsallis"
    takes = frozenset({"fixed_share", "attribution", "feedback", "eta_auto"})

    def new_learner(self, settings: LearningSettings) -> TsallisBandit:
        learner: type[TsallisBandit] = AdaptiveTsallis
        if settings.eta_auto == "anytime":
            learner = TsallisBandit if settings.feedback == "drawn" else ObservingTsallis
        return learner(
            len(settings.arms),
            settings.arms,
            reward_bound_bps=settings.reward_bound_bps,
            eta=settings.eta,
            fixed_share=settings.fixed_share,
        )

    def refusals(self, settings: LearningSettings) -> Iterator[tuple[str, str]]:
        yield from _refusals_of_feedback(settings)
        if settings.attribution == "simultaneous":
            yield "attribution", "must be undivided where algorithm is tsallis, which guesses no propensity"

    def published_estimator(self, settings: LearningSettings) -> str:  # noqa: ARG002 - it has one
        return "reduced_variance"

    def fill_refusal(self, logged: Logged) -> str:
        return unlogged_draw(self.name, logged.arm, logged.propensity)

    def withheld(self, logged: Logged) -> str:
        return "no propensity was logged with the draw" if self.fill_refusal(logged) else ""


def _refusals_of_feedback(settings: LearningSettings) -> Iterator[tuple[str, str]]:
    if settings.feedback == "drawn":
        return
    if settings.arm_mode == "horizon":
        yield "feedback", "must be drawn where arm_mode is horizon: the drawn arm decides when the trade is closed"
    if settings.attribution == "simultaneous":
        yield "attribution", f"must be undivided where feedback is {settings.feedback}"
