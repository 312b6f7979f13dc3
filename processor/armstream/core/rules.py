"""Which learners the core has, and their numbers to and fro. Law: a learner that is not known here to be the core's is
Python's, whatever its name.
"""

from math import log
from typing import TYPE_CHECKING, Any

from armstream._native import Rules
from armstream.learning import Learned, Learner, LearningSettings, RewardBound, Rule
from armstream.learning.exp3ix import Exp3IXBandit
from armstream.learning.observing import AdaptiveTsallis, ObservingExp3IX, ObservingTsallis
from armstream.learning.old_names import todays_attribution
from armstream.learning.transforms import Transform
from armstream.learning.tsallis import TsallisBandit

if TYPE_CHECKING:
    from armstream._native import Numbers

_OBSERVING: tuple[type[Learner], ...] = (ObservingExp3IX, ObservingTsallis, AdaptiveTsallis)
_TSALLIS: tuple[type[Learner], ...] = (TsallisBandit, ObservingTsallis, AdaptiveTsallis)
_KNOWN: frozenset[type[Learner]] = frozenset((Exp3IXBandit, *_OBSERVING, *_TSALLIS))


def rules_of(settings: LearningSettings, rule: Rule, settings_json: str, learner: Learner) -> Rules:
    """What `learner` was made under, as the core takes it."""
    published = {
        "algorithm": settings.algorithm,
        "estimator": rule.published_estimator(settings),
        "settings_json": settings_json,
        "blend_alpha": float(settings.blend_alpha),
        "warm_start_steps": settings.warm_start_steps,
        "ramp_steps": settings.ramp_steps,
    }
    return Rules(settings, published, _parameters(settings, learner))


def _parameters(settings: LearningSettings, learner: Learner) -> dict[str, Any] | None:
    """None for what the core has not."""
    kind = type(learner)
    is_tsallis, is_observing = kind in _TSALLIS, kind in _OBSERVING
    is_undivided = todays_attribution(settings.attribution) == "undivided"
    if kind not in _KNOWN or settings.experts or not (is_undivided or kind is Exp3IXBandit):
        return None
    if settings.attribution == "sequential":
        return None
    transform = Transform("none") if is_tsallis else Transform(settings.transform, settings.transform_bps)
    return {
        "is_tsallis": is_tsallis,
        "is_observing": is_observing,
        "is_adaptive": kind is AdaptiveTsallis,
        "is_implicit": not is_tsallis and settings.estimator == "implicit",
        "gamma": float(settings.gamma),
        "eta": settings.eta,
        "eta_max": settings.eta_max,
        "implicit": settings.implicit,
        "fixed_share": float(settings.fixed_share),
        "transform": transform.kind,
        "transform_bps": 1.0 if transform.scale_bps is None else transform.scale_bps,
        "min_weight": float(settings.min_weight),
        "log_floor": log(settings.min_weight),
        "feedback": settings.feedback,
        "is_undivided": is_undivided,
        "reveals_by_horizon": settings.reveals_by_horizon,
    }


def numbers_of(learner: Learner) -> "Numbers":
    """All that a learner of the core's kind holds."""
    held = learner.learned()
    bound = held.reward_bound
    return (
        [state[0] for state in held.arm_states],
        list(held.arm_pulls),
        list(held.cumulative_rewards),
        held.total_steps,
        bound.bound_bps,
        list(bound.rewards_bps),
        held.own_state[0] if held.own_state else 0.0,
    )


def learner_of(settings: LearningSettings, rule: Rule, names: tuple[str, ...], numbers: "Numbers") -> Learner:
    """The Python learner that holds them."""
    state, pulls, rewards, total_steps, bound_bps, warm_up, own = numbers
    learner = rule.new_learner(settings)
    own_state = (own,) if learner.learned().own_state else ()
    bound = RewardBound(bound_bps, tuple(warm_up))
    learner.restore(Learned(names, [(each,) for each in state], pulls, rewards, total_steps, bound, own_state))
    return learner
