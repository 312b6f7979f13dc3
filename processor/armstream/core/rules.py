"""Which learners the core has, and bandits as it takes and gives them. Law: a learner that is not known here to be the
core's is Python's, whatever its name.
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
from armstream.rules import rule_named
from armstream.stages.state import NEVER_YET, Bandit

if TYPE_CHECKING:
    from armstream._native import Fields, Numbers

MadeUnder = tuple[LearningSettings, Rule, str, str, Learner]  # of the core's rules; the learner has learned nothing

_LATEST = NEVER_YET - 1  # as 64 bits hold it: behind every event too

_OBSERVING: tuple[type[Learner], ...] = (ObservingExp3IX, ObservingTsallis, AdaptiveTsallis)
_TSALLIS: tuple[type[Learner], ...] = (TsallisBandit, ObservingTsallis, AdaptiveTsallis)
_KNOWN: frozenset[type[Learner]] = frozenset((Exp3IXBandit, *_OBSERVING, *_TSALLIS))


class Rulebook:
    """What bandits were made under, as the core takes it, once for all that share their settings."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[LearningSettings, Rules | None]] = {}  # by id of settings, which are held

    def rules_of(self, settings: LearningSettings) -> Rules | None:
        """None for those of a learner that the core has not."""
        known = self._known.get(id(settings))
        if known is None:
            known = self._known[id(settings)] = settings, _rules_of(settings)
        return known[1]

    def fields_of(self, bandit: Bandit) -> "Fields[Rules] | None":
        """What a bandit is, in the order of the crate's bandit_of; None where the core cannot teach it."""
        settings, learner = bandit.settings, bandit.learner
        rules = None if settings is None else self.rules_of(settings)
        if rules is None or learner is None:
            return None
        numbers = (
            bandit.version,
            bandit.fill_watermark,
            bandit.close_watermark,
            bandit.floor,
            bandit.ts_event,
            bandit.forgotten_until,
            bandit.finished_count,
            min(bandit.held_until, _LATEST),
            bandit.choices_version,
        )
        arms = tuple(bandit.arm_index), tuple(bandit.added_versions.values())
        ids, cause = bandit.command_ids, bandit.cause_event_id
        return numbers, bandit.paused, ids, cause, rules, arms, _numbers_of(learner)


def bandit_of(bandit_id: str, fields: "Fields[MadeUnder | None]") -> Bandit:
    """The bandit that they are, but for its hints; its learner is the caller's."""
    numbers, paused, command_ids, cause_event_id, made_under, (names, added_versions), learner = fields
    bandit = Bandit(bandit_id)
    (
        bandit.version,
        bandit.fill_watermark,
        bandit.close_watermark,
        bandit.floor,
        bandit.ts_event,
        bandit.forgotten_until,
        bandit.finished_count,
        bandit.held_until,
        bandit.choices_version,
    ) = numbers
    bandit.paused, bandit.command_ids, bandit.cause_event_id = paused, command_ids, cause_event_id
    if made_under is not None and learner is not None:
        bandit.settings, bandit.rule, bandit.settings_json, bandit.estimator, blank = made_under
        bandit.arm_index = {name: index for index, name in enumerate(names)}
        bandit.added_versions = dict(zip(names, added_versions, strict=True))
        bandit.learner = _learner_of(blank, names, learner)
        bandit.owns_learner = True
    return bandit


def _rules_of(settings: LearningSettings) -> Rules | None:
    rule = rule_named(settings.algorithm)
    blank = rule.new_learner(settings)
    parameters = _parameters(settings, blank)
    if parameters is None:
        return None
    estimator, settings_json = rule.published_estimator(settings), settings.determining_json()
    published = {
        "algorithm": settings.algorithm,
        "estimator": estimator,
        "settings_json": settings_json,
        "blend_alpha": float(settings.blend_alpha),
        "warm_start_steps": settings.warm_start_steps,
        "ramp_steps": settings.ramp_steps,
    }
    return Rules((settings, rule, settings_json, estimator, blank), published, parameters)


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


def _numbers_of(learner: Learner) -> "Numbers":
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


def _learner_of(blank: Learner, names: tuple[str, ...], numbers: "Numbers") -> Learner:
    """The Python learner that holds them."""
    state, pulls, rewards, total_steps, bound_bps, warm_up, own = numbers
    learner = blank.copy()
    own_state = (own,) if learner.learned().own_state else ()
    bound = RewardBound(bound_bps, tuple(warm_up))
    learner.restore(Learned(names, [(each,) for each in state], pulls, rewards, total_steps, bound, own_state))
    return learner
