"""What is remembered of positions, and until when: the laws of forgetting a second time.

Law: a finished position, which has nothing open and nothing that waits, is forgotten once it is old, or where there is
no room and it is the oldest: of its own bandit, else of the bandit that has most of them. `forgotten_until` then rises.
"""

from collections.abc import Iterable
from heapq import heappop, heappush

from armstream.oracle.position import NEVER, Position


class Memory:
    """Of one bandit: its positions by id. `forgotten_until` is the newest event of what was forgotten."""

    def __init__(self, bandit_id: str) -> None:
        self.bandit_id = bandit_id
        self.positions: dict[str, Position] = {}
        self.forgotten_until = NEVER
        self.finished_count = 0
        self._finished: set[str] = set()
        self._oldest: list[tuple[int, str]] = []  # (ts_last, position_id); what is no more so is passed over

    def note(self, position_id: str, position: Position) -> None:
        """Something of the position has changed."""
        self.positions[position_id] = position
        if position.part_count:
            self._finished.discard(position_id)
        else:
            self._finished.add(position_id)
            heappush(self._oldest, (position.ts_last, position_id))
        self.finished_count = len(self._finished)

    def forget(self, position_id: str, raises: bool = True) -> Position | None:
        """None where it is not remembered."""
        position = self.positions.pop(position_id, None)
        if position is not None:
            self._finished.discard(position_id)
            self.finished_count = len(self._finished)
            if raises:
                self.forgotten_until = max(self.forgotten_until, position.ts_last)
        return position

    def oldest(self) -> tuple[int, str] | None:
        """(ts_last, position_id) of the oldest that is finished."""
        while self._oldest:
            ts_last, position_id = self._oldest[0]
            if position_id in self._finished and self.positions[position_id].ts_last == ts_last:
                return ts_last, position_id
            heappop(self._oldest)
        return None

    def forget_before(self, ts_event: int) -> None:
        """All that is finished and was last touched before that."""
        while (oldest := self.oldest()) is not None and oldest[0] < ts_event:
            self.forget(oldest[1])


def make_room(own: Memory, all_of_them: Iterable[Memory]) -> bool:
    """Forgets the oldest that is finished. False where none is."""
    if own.finished_count:
        memory = own
    else:
        finished = [one for one in all_of_them if one.finished_count]
        if not finished:
            return False
        most = max(one.finished_count for one in finished)
        memory = min((one for one in finished if one.finished_count == most), key=_age)
    oldest = memory.oldest()
    assert oldest is not None  # it has finished ones
    memory.forget(oldest[1])
    return True


def _age(memory: Memory) -> tuple[int, str, str]:
    ts_last, position_id = memory.oldest() or (0, "")
    return ts_last, memory.bandit_id, position_id
