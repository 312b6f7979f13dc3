"""Numbers over time in bounded memory. Law: the whole time is covered, from the first row to the last one that was due.

Where there is no room the step between two rows grows, and rows nearer to each other than that go. A column that began
later has no number (NaN) before.
"""

from array import array
from collections.abc import Iterator, Mapping
from math import isnan, nan


class Series:
    """Rows of named numbers; a row is taken when it is due: the step since the last one is over."""

    __slots__ = ("_columns", "_most", "_step_micros", "_ts", "taken")

    def __init__(self, most: int, least_step_micros: int = 0) -> None:
        """At most `most` rows, 4 or more."""
        self._most, self._step_micros = most, least_step_micros
        self._ts = array("q")
        self._columns: dict[str, array[float]] = {}
        self.taken = 0  # counts what was taken, so that a reader knows whether there is more

    def __len__(self) -> int:
        return len(self._ts)

    @property
    def ts(self) -> list[int]:
        return list(self._ts)

    def is_due(self, ts: int) -> bool:
        return not self._ts or ts - self._ts[-1] >= self._step_micros

    def add(self, ts: int, row: Mapping[str, float]) -> None:
        """Takes a row, which is due. `ts` is not below the last one's."""
        count = len(self._ts)
        self._ts.append(ts)
        for name in row:
            if name not in self._columns:
                self._columns[name] = array("d", [nan]) * count
        for name, column in self._columns.items():
            column.append(row.get(name, nan))
        self.taken += 1
        if len(self._ts) > self._most:
            self._thin()

    def column(self, name: str) -> list[float]:
        """NaN where the row had none of the name."""
        found = self._columns.get(name)
        return [nan] * len(self._ts) if found is None else found.tolist()

    def names(self) -> Iterator[str]:
        """In the order in which they came."""
        return iter(self._columns)

    def _thin(self) -> None:
        """Keeps the first row, and each that is a step behind the last one kept; the newest stays in any case."""
        self._step_micros = max(2 * self._step_micros, 2 * (self._ts[-1] - self._ts[0]) // self._most, 1)
        kept = [0]
        for at in range(1, len(self._ts)):
            if self._ts[at] - self._ts[kept[-1]] >= self._step_micros:
                kept.append(at)
        if kept[-1] != len(self._ts) - 1:
            kept.append(len(self._ts) - 1)
        self._ts = array("q", [self._ts[at] for at in kept])
        columns = {name: array("d", [column[at] for at in kept]) for name, column in self._columns.items()}
        self._columns = {name: column for name, column in columns.items() if not all(map(isnan, column))}
