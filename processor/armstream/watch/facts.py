"""What the cluster and the processors say of themselves, as plain facts. Law: unknown is None."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

UNKNOWN = "UNKNOWN"  # the state of a group that nobody has told of yet

Place = tuple[str, int]  # a topic and the number of a partition


class PlaceFacts(NamedTuple):
    """One input partition: what its group has committed, where it ends, since when its first unread record waits."""

    committed: int | None
    end: int | None
    waiting_since_ts: int | None = None

    @property
    def lag_records(self) -> int | None:
        if self.end is None:
            return None
        return max(self.end - (self.committed or 0), 0)


class Member(NamedTuple):
    """One of the group's; `client_id` is its instance where it has one."""

    client_id: str
    host: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """The group at one moment, `ts`."""

    ts: int
    state: str
    members: tuple[Member, ...]
    places: Mapping[Place, PlaceFacts]

    def owner(self, place: Place) -> Member | None:
        return next((member for member in self.members if place in member.places), None)

    @property
    def lag_records(self) -> int | None:
        """None where no partition's is known."""
        known = [facts.lag_records for facts in self.places.values() if facts.lag_records is not None]
        return sum(known) if known else None

    @property
    def committed(self) -> int:
        return sum(facts.committed or 0 for facts in self.places.values())


@dataclass(frozen=True, slots=True)
class ProcessorFacts:
    """One processor's /metrics at one moment; `error` says why there is none."""

    url: str
    ts: int
    ready: bool | None = None
    version: str | None = None
    events: int = 0
    duplicates: int = 0
    commits: int = 0
    failed_transactions: int = 0
    restore_remaining_records: int = 0
    uptime_seconds: float | None = None
    dedupe_window_seconds: float | None = None
    dedupe_window_setting_seconds: float | None = None
    commit_seconds: Mapping[float, float] = field(default_factory=dict)
    error: str = ""
