"""What a batch gave, as bytes, and what is counted of it. Law: it knows neither who applied the batch, nor Kafka."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from armstream.events import Action, ErrorClass, Outcome

Output = dict[str, Any]  # a key and a value, as produce_batch takes them; no value is a tombstone

BEGUN_ANEW: Final = 2  # in a window of clipped rewards, beside 0 and 1


@dataclass(slots=True)
class Measured:
    """What is counted of a batch. `windows` has, by bandit, 1 for each reward that was learned and clipped, 0 for one
    that was not clipped, BEGUN_ANEW where a command began it anew."""

    outcomes: Counter[tuple[str, int]] = field(default_factory=Counter)  # by topic and outcome
    rewards_bps: list[float] = field(default_factory=list)
    appended_ms: list[int] = field(default_factory=list)  # of the record behind each of these
    sources: Counter[str] = field(default_factory=Counter)
    commands: Counter[tuple[Action, Outcome]] = field(default_factory=Counter)
    dead_letters: Counter[ErrorClass] = field(default_factory=Counter)
    clipped: int = 0
    windows: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Published:
    """What one batch published: records by kind, in the order of the stages' Applied; a cut is in each audit record."""

    audit: list[Output]
    dead_letters: list[Output]
    weight_vectors: list[Output]
    bandit_snapshots: list[Output]
    positions: list[Output]
    next_offset: dict[str, int]
    reached: dict[str, int]  # ts_event of each topic's last fill or close
    measured: Measured
