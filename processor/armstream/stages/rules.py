"""What the stages obey, as plain facts: settings.py makes them, stages read them, nobody changes them."""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from armstream.learning import Exp3IXBandit

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


@dataclass(frozen=True, slots=True)
class LearningRules:
    """The learner every bandit is made from, and how its weights are published."""

    arms: tuple[str, ...]
    enabled: bool = True
    algorithm: Literal["exp3ix"] = "exp3ix"
    estimator: Literal["importance", "implicit"] = "implicit"
    gamma: float = 0.0
    eta: float | None = None
    eta_max: float | None = None
    implicit: float | None = None
    reward_bound_bps: float = 100.0
    transform: Literal["none", "clip", "tanh"] = "none"
    transform_bps: float | None = None
    min_weight: float = 1e-10
    fixed_share: float = 0.0
    attribution: Literal["simultaneous", "full_information"] = "full_information"
    blend_alpha: float = 0.3
    warm_start_steps: int = 500
    ramp_steps: int = 0

    def new_bandit(self) -> Exp3IXBandit:
        """A learner that has seen nothing. Raises ValueError where the parameters cannot be."""
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

    def determining_json(self) -> str:
        """The settings that decide learned numbers, as canonical JSON: state made under others does not fit."""
        published_only = {"blend_alpha", "warm_start_steps", "ramp_steps", "enabled"}
        return json.dumps({name: getattr(self, name) for name in self.__slots__ if name not in published_only})

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of `determining_json`."""
        return hashlib.sha256(self.determining_json().encode()).hexdigest()[:16]

    def difference(self, determining_json: str) -> str:
        """What differs from the settings that a snapshot was made under, as text; empty where all of it fits."""
        ours, theirs = json.loads(self.determining_json()), json.loads(determining_json)
        return "; ".join(
            f"{name} was {theirs.get(name)!r} and is {ours.get(name)!r}"
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        )
