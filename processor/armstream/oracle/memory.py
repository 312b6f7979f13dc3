"""What is remembered of positions, and until when: the laws of forgetting a second time.

Law: a finished position, which has nothing open and nothing that waits, is forgotten once it is old, or where there is
no room and it is the oldest: of its own bandit, else of the bandit that has most of them. `forgotten_until` then rises.
"""

from heapq import heappop, heappush

from armstream.oracle.position import NEVER, Position


class Memory:
    """Of one bandit: its positions by id. `forgotten_until` is the newest event of what was forgotten."""

    def __init__(self, bandit_id: str, task: "TaskMemory") -> None:
        self.bandit_id = bandit_id
        self._task = task
        self._positions: dict[str, Position] = {}
        self.forgotten_until = NEVER
        self._finished: set[str] = set()
        self._oldest: list[tuple[int, str]] = []  # (ts_last, position_id); what is no more so is passed over

    def get(self, position_id: str) -> Position | None:
        return self._positions.get(position_id)

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def finished_count(self) -> int:
        return len(self._finished)

    def note(self, position_id: str, position: Position) -> None:
        """It is new, or something of it has changed."""
        self._task.position_count += position_id not in self._positions
        self._positions[position_id] = position
        if position.part_count:
            self._finished.discard(position_id)
        else:
            self._finished.add(position_id)
            heappush(self._oldest, (position.ts_last, position_id))

    def forget(self, position_id: str, raises: bool = True) -> Position | None:
        """None where it is not remembered. `raises`: forgotten_until."""
        position = self._positions.pop(position_id, None)
        if position is not None:
            self._task.position_count -= 1
            self._finished.discard(position_id)
            if raises:
                self.forgotten_until = max(self.forgotten_until, position.ts_last)
        return position

    def oldest(self) -> tuple[int, str] | None:
        """(ts_last, position_id) of the oldest that is finished."""
        while self._oldest:
            ts_last, position_id = self._oldest[0]
            if position_id in self._finished and self._positions[position_id].ts_last == ts_last:
                return ts_last, position_id
            heappop(self._oldest)
        return None

    def eldest(self, count: int) -> list[tuple[int, str]]:
        """So many of the finished, or as many as there are, oldest first."""
        found: list[tuple[int, str]] = []
        while len(found) < count and (oldest := self.oldest()) is not None:
            found += [oldest] if oldest not in found[-1:] else []
            heappop(self._oldest)
        for each in found:
            heappush(self._oldest, each)
        return found

    def forget_before(self, ts_event: int) -> None:
        """All that is finished and was last touched before that."""
        while (oldest := self.oldest()) is not None and oldest[0] < ts_event:
            self.forget(oldest[1])


class TaskMemory:
    """Of all bandits of a task, at most `max_positions` in all."""

    def __init__(self, max_positions: int) -> None:
        self.max_positions = max_positions
        self.position_count = 0
        self._bandits: dict[str, Memory] = {}

    def of(self, bandit_id: str) -> Memory:
        """A bandit's, made where there is none."""
        if bandit_id not in self._bandits:
            self._bandits[bandit_id] = Memory(bandit_id, self)
        return self._bandits[bandit_id]

    def drop(self, bandit_id: str) -> None:
        """The bandit itself is forgotten, which has no positions any more."""
        self._bandits.pop(bandit_id, None)

    def make_room(self, own: Memory) -> None:
        """After an event of a bandit."""
        while self.position_count > self.max_positions and (memory := self._to_make_room(own)) is not None:
            oldest = memory.oldest()
            assert oldest is not None  # it has finished ones
            memory.forget(oldest[1])

    def _to_make_room(self, own: Memory) -> Memory | None:
        if own.finished_count:
            return own
        most = max((one.finished_count for one in self._bandits.values()), default=0)
        return min(
            (one for one in self._bandits.values() if most and one.finished_count == most), key=_age, default=None
        )


def _age(memory: Memory) -> tuple[int, str, str]:
    ts_last, position_id = memory.oldest() or (NEVER, "")
    return ts_last, memory.bandit_id, position_id
