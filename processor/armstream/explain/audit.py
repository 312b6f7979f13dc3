"""A bandit's audit records, and which of them a vector was published with.

Law: versions stand in their order without a gap, and what one transaction published has offsets without a gap.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from armstream.events import CommandApplied, Reward
from armstream.explain.backwards import Backwards, Chunks, Kept, read_as
from armstream.explain.facts import NotThere
from armstream.oracle.comparison import Difference
from armstream.stages.facts import SETTINGS_CHANGE

MOST_KEPT = 100_000  # records that are younger than what is looked for: as many as a transaction may have

Audited = Reward | CommandApplied


class Entry(NamedTuple):
    event: Audited
    where: str
    offset: int
    rank: int
    ts_micros: int

    @property
    def version(self) -> int:
        return self.event.version


class Audit:
    """Read from the newest back, as far as it is asked for."""

    def __init__(self, topics: Chunks, bandit_id: str) -> None:
        self._bandit_id = bandit_id
        self._number = topics.number
        self._place = f"{topics.names.rewards}:{topics.number}"
        self._log = Backwards(topics.backwards(topics.names.rewards), self._entry)
        self._newest = 0
        self.oldest_change: Entry | None = None  # of settings, of all that was read

    def _entry(self, kept: Kept) -> Entry:
        event = read_as(kept, self._number, (Reward, CommandApplied), "an audit record")
        assert isinstance(event, Audited)  # as it was asked for
        where = f"{kept.place(self._number)}, version {event.version}"
        entry = Entry(event, where, kept.offset, kept.rank, kept.ts_micros)
        self._newest = self._newest or event.version
        if isinstance(event, CommandApplied) and event.command_id == SETTINGS_CHANGE:
            self.oldest_change = entry
        return entry

    @property
    def _oldest(self) -> Entry:
        return self._log.found[-1]

    @property
    def newest(self) -> int:
        """Its version. Raises NotThere where there is no record."""
        while not self._log.found:
            if not self._log.more():
                raise NotThere(
                    f"no audit record of {self._bandit_id!r} in {self._place}: `armstream arms list` shows the bandits "
                    f"that there are"
                )
        return self._newest

    @property
    def oldest(self) -> Entry:
        """Of what was read."""
        return self._log.found[-1]

    def read_back_to(self, version: int) -> bool:
        """Whether it reaches that far back."""
        while self.oldest.version > max(version, 1) and self._log.more():
            pass
        return self.oldest.version <= max(version, 1) <= self.newest

    def at(self, version: int) -> Entry:
        """One that was read back to. Raises Difference where a version is not where it must be."""
        first = self._log.found[0]
        entry = self._log.found[min(max(first.version - version, 0), len(self._log.found) - 1)]
        if entry.version != version:
            raise Difference(entry.where, f"version {entry.version}", f"version {version}: one after the other")
        return entry

    def span(self, first: int, last: int) -> list[Entry]:
        """Both included, the oldest first."""
        return [self.at(version) for version in range(first, last + 1)]

    # Which vector.

    def version_at(self, at_micros: int) -> int:
        """The newest that was published by then. Raises NotThere."""
        if self.newest:
            found = self._search(lambda entry: entry.ts_micros <= at_micros)
            if found is not None:
                return found.version
        raise NotThere(
            f"nothing of {self._bandit_id!r} was published by {time_text(at_micros)}: the oldest that is kept is "
            f"version {self.oldest.version} of {time_text(self.oldest.ts_micros)}"
        )

    def require(self, version: int) -> None:
        """Raises NotThere."""
        if version > self.newest:
            raise NotThere(f"version {version} of {self._bandit_id!r} is not published: the newest is {self.newest}")
        if self._search(lambda entry: entry.version <= version) is None:
            raise NotThere(
                f"version {version} of {self._bandit_id!r} is deleted from {self._place}: the oldest that is kept is "
                f"version {self.oldest.version} of {time_text(self.oldest.ts_micros)}"
            )

    def _search(self, is_it: Callable[[Entry], bool]) -> Entry | None:
        """The newest of that kind; what is much younger is not kept."""
        looked = 0
        while True:
            for entry in self._log.found[looked:]:
                if is_it(entry):
                    return entry
            del self._log.found[:-MOST_KEPT]
            looked = len(self._log.found)
            if not self._log.more():
                return None

    def together_with(self, version: int) -> tuple[int, int]:
        """The first and the last version of the transaction that it was published in."""
        first = last = version
        while last < self.newest and _is_next(self.at(last), self.at(last + 1)):
            last += 1
        while self.read_back_to(first - 1) and first > 1 and _is_next(self.at(first - 1), self.at(first)):
            first -= 1
        return first, last


def _is_next(one: Entry, other: Entry) -> bool:
    """Whether no transaction ended in between."""
    return other.rank - one.rank == other.offset - one.offset


def time_text(micros: int) -> str:
    """As ISO 8601 has it, in UTC, with the digits that there are."""
    try:
        moment = datetime.fromtimestamp(micros / 1e6, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{micros} us"
    return moment.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", " UTC")
