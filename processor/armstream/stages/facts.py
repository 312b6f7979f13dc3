"""What the stages obey, as plain facts. Law: settings.py makes them, stages read them, nobody changes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from armstream.learning import LearningSettings

SECOND_MICROS = 1_000_000
HOUR_MICROS = 3_600 * SECOND_MICROS
DAY_MICROS = 24 * HOUR_MICROS


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """Windows in event time (microseconds) and the limits of one task.

    `trades_share_topic`: fills and closes come in one order, so that either tells the time of both.
    """

    dedupe_window_micros: int = DAY_MICROS
    orphan_ttl_micros: int = HOUR_MICROS
    max_holding_micros: int = 400 * DAY_MICROS
    max_events_per_position: int = 10_000
    max_bandits: int = 10_000
    max_open_positions: int = 200_000
    max_waiting_closes: int = 50_000
    max_positions_remembered: int = 2_000_000
    max_cost_ratio: float = 10.0
    trades_share_topic: bool = True

    def __post_init__(self) -> None:
        for name in self.__slots__:
            limit = getattr(self, name)
            if not isinstance(limit, bool) and limit <= 0:
                raise ValueError(f"{name} must be above 0, got {limit!r}")
        if self.max_holding_micros < self.dedupe_window_micros:
            raise ValueError("max_holding must not be shorter than dedupe_window: a held position would dedupe less")


COMMANDS_REMEMBERED = 1_000  # ids a bandit
SETTINGS_CHANGE = "armstream:settings-change"  # the command_id of the reset that a change of settings is


@dataclass(frozen=True, slots=True)
class BanditRegistry:
    """Which bandits there may be, and the learning settings of each: `template`, or its own, whole, in `overrides`.

    `registered_only`: there are no bandits but those in `overrides`. `on_settings_change` says what becomes of a
    learner that was made under other settings: the processor stops, the learner goes on under its own, or begins anew.
    """

    template: LearningSettings
    overrides: Mapping[str, LearningSettings] = field(default_factory=dict)
    registered_only: bool = False
    on_settings_change: Literal["refuse", "keep", "reset"] = "refuse"
    max_arms: int = 64
    max_experts: int = 32

    def of(self, bandit_id: str) -> LearningSettings | None:
        """None for a bandit that may not be."""
        return self.overrides.get(bandit_id, None if self.registered_only else self.template)
