"""A bandit's audit records, and which of them a vector was published with.

Law: versions stand in their order without a gap, and what one transaction published has offsets without a gap.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from armstream.codec import DecodeError, decode
from armstream.events import CommandApplied, Reward
from armstream.explain.backwards import Backwards, Chunks, Kept
from armstream.explain.facts import NotThere
from armstream.oracle.comparison import Difference

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
        self._place = f"{topics.names.rewards}:{topics.number}"
        self._log = Backwards(topics.backwards(topics.names.rewards), self._entry)

    def _entry(self, kept: Kept) -> Entry:
        where = f"{kept.topic}:{self._place.rpartition(':')[2]}:{kept.offset}"
        try:
            event = decode(kept.value)
        except DecodeError as error:
            raise Difference(where, f"bytes that cannot be read: {error}", "an audit record") from error
        if not isinstance(event, Audited):
            raise Difference(where, f"a {type(event).__name__}", "an audit record")
        return Entry(event, f"{where}, version {event.version}", kept.offset, kept.rank, kept.ts_micros)

    @property
    def _oldest(self) -> Entry:
        return self._log.found[-1]

    @property
    def newest(self) -> Entry:
        """Raises NotThere where there is none."""
        while not self._log.found:
            if not self._log.more():
                raise NotThere(
                    f"no audit record of {self._bandit_id!r} in {self._place}: `armstream arms list` shows the bandits "
                    f"that there are"
                )
        return self._log.found[0]

    def read_back_to(self, version: int) -> bool:
        """Whether it reaches that far back."""
        newest = self.newest.version
        while self._oldest.version > max(version, 1) and self._log.more():
            pass
        return self._oldest.version <= max(version, 1) <= newest

    def at(self, version: int) -> Entry:
        """One that was read back to. Raises Difference where a version is not where it must be."""
        index = self.newest.version - version
        entry = self._log.found[index]
        if entry.version != version:
            raise Difference(entry.where, f"version {entry.version}", f"version {version}: one after the other")
        return entry

    def span(self, first: int, last: int) -> list[Entry]:
        """Both included, the oldest first."""
        return [self.at(version) for version in range(first, last + 1)]

    def everything(self) -> list[Entry]:
        """That was read, the newest first."""
        return self._log.found

    def read_back(self) -> bool:
        """A chunk more; False where there is none."""
        return self._log.more()

    # Which vector.

    def version_at(self, at_micros: int) -> int:
        """The newest that was published by then. Raises NotThere."""
        entry = self.newest
        seen = 0
        while True:
            for entry in self._log.found[seen:]:
                if entry.ts_micros <= at_micros:
                    return entry.version
            seen = len(self._log.found)
            if not self._log.more():
                raise NotThere(
                    f"nothing of {self._bandit_id!r} was published by {time_text(at_micros)}: the oldest that is kept "
                    f"is version {entry.version} of {time_text(entry.ts_micros)}"
                )

    def require(self, version: int) -> None:
        """Raises NotThere."""
        newest = self.newest.version
        if version > newest:
            raise NotThere(f"version {version} of {self._bandit_id!r} is not published: the newest is {newest}")
        if not self.read_back_to(version):
            oldest = self._oldest
            raise NotThere(
                f"version {version} of {self._bandit_id!r} is deleted from {self._place}: the oldest that is kept is "
                f"version {oldest.version} of {time_text(oldest.ts_micros)}"
            )

    def together_with(self, version: int) -> tuple[int, int]:
        """The first and the last version of the transaction that it was published in."""
        first = last = version
        while last < self.newest.version and _is_next(self.at(last), self.at(last + 1)):
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
