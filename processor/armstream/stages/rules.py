"""What the stages obey, as plain facts: settings.py makes them, stages read them, nobody changes them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from armstream.learning import AdvisedBandit, Exp3IXBandit, ExpertKind, TsallisBandit

SECOND_MICROS = 1_000_000
HOUR_MICROS = 3_600 * SECOND_MICROS
DAY_MICROS = 24 * HOUR_MICROS


@dataclass(frozen=True, slots=True)
class RewardRules:
    """Windows in event time (microseconds) and the limits of one task."""

    dedupe_window_micros: int = DAY_MICROS
    orphan_ttl_micros: int = HOUR_MICROS
    max_holding_micros: int = 400 * DAY_MICROS
    max_events_per_position: int = 1_000
    max_bandits: int = 10_000
    max_open_positions: int = 200_000
    max_waiting_closes: int = 50_000
    max_positions_remembered: int = 2_000_000

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)!r}")
        if self.max_holding_micros < self.dedupe_window_micros:
            raise ValueError("max_holding must not be shorter than dedupe_window: a held position would dedupe less")


Learner = Exp3IXBandit | TsallisBandit | AdvisedBandit

COMMANDS_REMEMBERED = 1_000  # ids a bandit
SETTINGS_CHANGE = "armstream:settings-change"  # the command_id of the reset that a change of settings is

# What is decided anew with each published vector, so that it may change without a learner's noticing.
_PUBLISHED_ONLY = frozenset({"blend_alpha", "warm_start_steps", "ramp_steps", "enabled", "arm_mode"})


@dataclass(frozen=True, slots=True)
class LearningRules:
    """What one bandit's learner is made from, and how its weights are published.

    `arms` and `experts` (name and kind, exp4 alone) are those that it begins with; commands may change them later.
    Snapshots leave out what is a default here, so defaults stay for life, whatever the settings ship with.
    """

    arms: tuple[str, ...]
    enabled: bool = True
    algorithm: Literal["exp3ix", "exp4", "tsallis"] = "exp3ix"
    estimator: Literal["importance", "implicit"] = "implicit"
    gamma: float = 0.0
    eta: float | None = None
    eta_max: float | None = None
    implicit: float | None = None
    reward_bound_bps: float | Literal["auto"] = 100.0
    transform: Literal["none", "clip", "tanh"] = "none"
    transform_bps: float | None = None
    min_weight: float = 1e-10
    fixed_share: float = 0.0
    attribution: Literal["simultaneous", "full_information"] = "full_information"
    horizon: int = 10_000
    experts: tuple[tuple[str, ExpertKind], ...] = ()
    blend_alpha: float = 0.3
    warm_start_steps: int = 500
    ramp_steps: int = 0
    arm_mode: Literal["family", "horizon", "family_horizon"] = "family"

    def new_learner(self) -> Learner:
        """A learner that has seen nothing. Raises ValueError where the parameters cannot be."""
        if self.algorithm == "tsallis":
            return TsallisBandit(
                len(self.arms),
                list(self.arms),
                reward_bound_bps=self.reward_bound_bps,
                eta=self.eta,
                fixed_share=self.fixed_share,
            )
        if self.algorithm == "exp4":
            return AdvisedBandit(
                self.arms,
                dict(self.experts),
                eta=self.eta,
                gamma=self.gamma,
                horizon=self.horizon,
                estimator=self.estimator,
                implicit=self.implicit,
                reward_bound_bps=self.reward_bound_bps,
                min_weight=self.min_weight,
            )
        return Exp3IXBandit(
            len(self.arms),
            list(self.arms),
            gamma=self.gamma,
            eta=self.eta,
            eta_max=self.eta_max,
            estimator=self.estimator,
            implicit=self.implicit,
            reward_bound_bps=self.reward_bound_bps,
            fixed_share=self.fixed_share,
            transform=self.transform,
            transform_bps=self.transform_bps,
            min_weight=self.min_weight,
        )

    @property
    def published_estimator(self) -> str:
        """The estimator as snapshots and vectors name it: that of tsallis is its own."""
        return "reduced_variance" if self.algorithm == "tsallis" else self.estimator

    @property
    def has_bound(self) -> bool:
        """Whether rewards are clipped to a bound."""
        return self.algorithm != "exp3ix" or self.estimator == "implicit"

    def determining_json(self) -> str:
        """What decides learned numbers, as canonical JSON: the arms, and what is no default of this class."""
        chosen = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in _PUBLISHED_ONLY and getattr(self, field.name) != field.default
        }
        return json.dumps(chosen, sort_keys=True)

    def learned_under(self, determining_json: str) -> "LearningRules":
        """These rules with the determining ones of that JSON in place of their own.

        Raises ValueError or TypeError for what no rules gave.
        """
        chosen = json.loads(determining_json)
        published_only = {name: getattr(self, name) for name in _PUBLISHED_ONLY}
        experts = tuple((name, kind) for name, kind in chosen.get("experts", ()))
        return LearningRules(**{**chosen, "arms": tuple(chosen["arms"]), "experts": experts}, **published_only)

    def difference(self, determining_json: str) -> str:
        """What differs from the settings in that JSON, as text; empty where nothing does."""
        theirs = self.learned_under(determining_json)
        return "; ".join(
            f"{field.name} was {getattr(theirs, field.name)!r} and is {getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(theirs, field.name) != getattr(self, field.name)
        )


@dataclass(frozen=True, slots=True)
class BanditRules:
    """Which rules each bandit obeys: `template`, or its own in `overrides`, which hold whole rules by bandit_id.

    `registered_only`: there are no bandits but those in `overrides`. `on_settings_change` says what becomes of a
    learner that was made under other rules: the processor stops, the learner goes on under its own, or begins anew.
    """

    template: LearningRules
    overrides: Mapping[str, LearningRules] = field(default_factory=dict)
    registered_only: bool = False
    on_settings_change: Literal["refuse", "keep", "reset"] = "refuse"
    max_arms: int = 64
    max_experts: int = 32

    def of(self, bandit_id: str) -> LearningRules | None:
        """None for a bandit that may not be."""
        return self.overrides.get(bandit_id, None if self.registered_only else self.template)
