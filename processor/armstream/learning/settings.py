"""What one bandit's learner is made from, as a plain fact. Law: defaults here stay for life, since snapshots leave out
what is a default; what ships is said in config/default.yaml."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from armstream.learning.old_names import today

DEFAULT_ALGORITHM = "exp3ix"

ExpertKind = str | Mapping[str, float]  # engine, or one of the processor's own by its kind; a mapping: base weights

# What is decided anew with each published vector, so that it may change without a learner's noticing.
_PUBLISHED_ONLY = frozenset({"blend_alpha", "warm_start_steps", "ramp_steps", "enabled", "arm_mode"})

RULES_OWN = (
    *("estimator", "gamma", "eta_max", "implicit", "transform", "transform_bps", "min_weight"),
    *("fixed_share", "attribution", "expected_decisions", "experts", "feedback", "eta_auto"),
)
"""Settings that a rule takes or not; one that is left out is what LearningSettings has by default."""


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """How one bandit learns, and how its weights are published.

    `arms` and `experts` (name and kind) are those that it begins with; commands may change them later. Which of the
    others a rule takes, it says itself.
    """

    arms: tuple[str, ...]
    enabled: bool = True
    algorithm: str = DEFAULT_ALGORITHM
    estimator: str = "implicit"
    gamma: float = 0.0
    eta: float | None = None
    eta_max: float | None = None
    implicit: float | None = None
    reward_bound_bps: float | Literal["auto"] = 100.0
    transform: str = "none"
    transform_bps: float | None = None
    min_weight: float = 1e-10
    fixed_share: float = 0.0
    attribution: str = "undivided"
    expected_decisions: int = 10_000
    experts: tuple[tuple[str, ExpertKind], ...] = ()
    blend_alpha: float = 0.3
    warm_start_steps: int = 500
    ramp_steps: int = 0
    arm_mode: str = "family"
    feedback: str = "drawn"
    eta_auto: str = "anytime"

    @property
    def reveals_by_horizon(self) -> bool:
        """Whether a draw reveals arms of its own horizon alone."""
        return self.arm_mode == "family_horizon"

    def given(self) -> frozenset[str]:
        """Which of RULES_OWN are not as they are where they are left out."""
        own = [field for field in fields(self) if field.name in RULES_OWN]
        return frozenset(field.name for field in own if getattr(self, field.name) != field.default)

    def determining_json(self) -> str:
        """What decides learned numbers, as canonical JSON: the arms, and what is no default of this class."""
        published_only = self._published_only()
        chosen = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in published_only and getattr(self, field.name) != field.default
        }
        return json.dumps(chosen, sort_keys=True)

    def learned_under(self, determining_json: str) -> "LearningSettings":
        """These settings with the determining ones of that JSON in place of their own.

        Raises ValueError or TypeError for what no settings gave.
        """
        chosen = today(json.loads(determining_json))
        theirs = {name: getattr(self, name) for name in _PUBLISHED_ONLY}
        if chosen.get("feedback", "drawn") != "drawn":
            theirs["arm_mode"] = "family"  # its default, which the JSON leaves out
        experts = tuple((name, kind) for name, kind in chosen.get("experts", ()))
        return LearningSettings(**{**theirs, **chosen, "arms": tuple(chosen["arms"]), "experts": experts})

    def _published_only(self) -> frozenset[str]:
        """How arms are named decides what a draw reveals, where that is more than the drawn arm."""
        return _PUBLISHED_ONLY if self.feedback == "drawn" else _PUBLISHED_ONLY - {"arm_mode"}

    def difference(self, determining_json: str) -> str:
        """What differs from the settings in that JSON, as text; empty where nothing does."""
        theirs = self.learned_under(determining_json)
        return "; ".join(
            f"{field.name} was {getattr(theirs, field.name)!r} and is {getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(theirs, field.name) != getattr(self, field.name)
        )
