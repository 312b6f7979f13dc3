"""What is known of the weights, and as of when. Law: what is not known to be all there is, is STALE.

A partition's end is asked for from time to time. Once everything below that end is read, all that was there at the
moment of asking is known: the partition is confirmed as of that moment. A quiet topic is confirmed like a busy one.
Knows no Kafka and no clock: moments are seconds of one clock, given by the caller. One thread writes, any may read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from armstream.events import Phase, WeightVector
from armstream.learning.summation import summed

Fallback = Literal["MISSING", "WARMING", "STALE"]


@dataclass(frozen=True, slots=True)
class Status:
    """Whether a bandit's weights are live, and if not why.

    `fallback` None is live. STALE: the end of its partition was not confirmed for max_age_seconds, whether a vector is
    known or not; or its newest record could not be read, and then `reason` says which record that is, and why not.
    MISSING: it is confirmed that there is no vector. WARMING: the bandit has not learned enough yet.
    `version` is the latest known one, 0 and `phase` None without a vector. `age_seconds` is how long ago all that was
    there was known. `lag_records`: offsets between what was read and the end, as last asked for. Without any record
    both are of the partition that was confirmed the longest ago, since the bandit may be on any.
    """

    version: int
    age_seconds: float
    lag_records: int
    phase: Phase | None
    fallback: Fallback | None
    reason: str = ""


@dataclass(slots=True)
class _Partition:
    number: int
    confirmed_seconds: float = float("-inf")
    next_offset: int = 0
    end_offset: int = 0
    asked: tuple[float, int] | None = None  # the moment and the end that are to be confirmed

    def confirm(self) -> None:
        if self.asked is not None and self.next_offset >= self.asked[1]:
            self.confirmed_seconds, self.asked = self.asked[0], None


class WeightsView:
    """The latest vector of each bandit, and how far each partition was read."""

    def __init__(self, partitions: Iterable[int], max_age_seconds: float) -> None:
        self.ignored_count = 0
        self._max_age_seconds = max_age_seconds
        self._partitions = {number: _Partition(number) for number in partitions}
        self._vectors: dict[str, tuple[WeightVector, _Partition]] = {}  # a whole value is put at a time
        self._unreadable: dict[str, tuple[str, _Partition]] = {}  # why the newest record of a bandit is no vector

    # What the reading thread tells.

    def add_end(self, number: int, end_offset: int, asked_seconds: float) -> None:
        """The partition ended at `end_offset` when it was asked at `asked_seconds`."""
        partition = self._partitions[number]
        partition.end_offset = end_offset
        if partition.asked is None:  # one that is not reached yet stays: else who lags is never confirmed
            partition.asked = asked_seconds, end_offset
        partition.confirm()

    def reach(self, number: int, next_offset: int) -> None:
        """All below `next_offset` is read."""
        partition = self._partitions[number]
        partition.next_offset = next_offset
        partition.confirm()

    def next_offset(self, number: int) -> int:
        return self._partitions[number].next_offset

    def take(self, number: int, vector: WeightVector) -> bool:
        """Keeps the vector; one whose version is not above the last one's is counted and ignored, and gives False."""
        known = self._vectors.get(vector.bandit_id)
        if known is not None and vector.version <= known[0].version:
            self.ignored_count += 1
            return False
        self._vectors[vector.bandit_id] = vector, self._partitions[number]
        self._unreadable.pop(vector.bandit_id, None)
        return True

    def lose(self, number: int, bandit_id: str, reason: str, version: int = 0) -> None:
        """Its weights are not known, until the next vector is taken: a record came that nobody here can read.

        Where the record tells its `version`, what is known already may be newer, and stays.
        """
        known = self._vectors.get(bandit_id)
        if known is None or not 0 < version <= known[0].version:
            self._unreadable[bandit_id] = reason, self._partitions[number]

    def forget(self, bandit_id: str, number: int | None = None) -> None:
        """What one partition told of it, or all of them: a bandit does not end by a record that lies astray."""
        for told in (self._vectors, self._unreadable):
            if bandit_id in told and number in (None, told[bandit_id][1].number):
                del told[bandit_id]

    # What anybody asks.

    @property
    def confirmed_seconds(self) -> float:
        """The moment as of which all partitions are known; -inf before the first."""
        return min((one.confirmed_seconds for one in self._partitions.values()), default=float("-inf"))

    def bandit_ids(self) -> tuple[str, ...]:
        """The bandits that have a vector, in order."""
        return tuple(sorted(list(self._vectors)))  # noqa: C414 - list() copies in one step, sorted() would iterate

    def look(self, bandit_id: str, now_seconds: float) -> tuple[WeightVector | None, Status]:
        """The latest known vector, and whether it is live."""
        unreadable = self._unreadable.get(bandit_id)  # first: what is live by then, was live when it was asked
        known = self._vectors.get(bandit_id)
        vector = None if known is None else known[0]
        if known is not None:
            partition = known[1]
        elif unreadable is not None:
            partition = unreadable[1]
        else:
            partition = min(self._partitions.values(), key=lambda one: one.confirmed_seconds)
        age_seconds = now_seconds - partition.confirmed_seconds
        return vector, Status(
            version=0 if vector is None else vector.version,
            age_seconds=age_seconds,
            lag_records=max(partition.end_offset - partition.next_offset, 0),
            phase=None if vector is None else vector.phase,
            fallback=self._fallback(vector, age_seconds, is_readable=unreadable is None),
            reason="" if unreadable is None else unreadable[0],
        )

    def _fallback(self, vector: WeightVector | None, age_seconds: float, is_readable: bool) -> Fallback | None:
        if age_seconds > self._max_age_seconds or not is_readable:
            return "STALE"
        if vector is None:
            return "MISSING"
        return None if vector.phase == "LIVE" else "WARMING"


def weights_within(vector: WeightVector, horizon: str) -> dict[str, float]:
    """Family -> weight within one horizon, of a vector whose arms are "family:horizon"; they sum to 1.

    Raises ValueError where it has no arm of that horizon.
    """
    pairs = [(*arm.name.partition(":")[::2], arm.weight) for arm in vector.arms]
    within = {family: weight for family, its_horizon, weight in pairs if its_horizon == horizon}
    total = summed(within.values())
    if not within:
        names = ", ".join(arm.name for arm in vector.arms)
        raise ValueError(f"{vector.bandit_id!r} has no arm of horizon {horizon!r}: its arms are {names}")
    return {family: weight / total if total > 0 else 1 / len(within) for family, weight in within.items()}
