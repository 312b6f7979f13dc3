"""What verify says: a line or an object at the end, and how far it is meanwhile.

Law: standard output has the result and nothing else; how far it is goes to standard error.
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from armstream.oracle.comparison import Difference
from armstream.printable import json_printable, printable
from armstream.verify.published import Account

NAMED_AT_MOST = 50  # of what was not checked
_BAR_WIDTH = 30
_BAR_SECONDS, _LINE_SECONDS = 0.2, 5.0


@dataclass(slots=True)
class Report:
    """All partitions that were verified, and the first difference, which ended it."""

    counts: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, int, int]] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    not_checked_count: int = 0
    taken: list[str] = field(default_factory=list)
    partitions: int = 0
    difference: Difference | None = None
    different_partition: int | None = None
    seconds: float = 0.0

    def add(self, account: Account) -> None:
        self.partitions += 1
        self.counts += account.counts
        self.dead_letters += account.dead_letters
        self.skipped += account.skipped
        self.not_checked_count += account.not_checked_count
        self.not_checked += account.not_checked[: NAMED_AT_MOST - len(self.not_checked)]
        self.taken += account.taken[: NAMED_AT_MOST - len(self.taken)]

    @property
    def result(self) -> str:
        if self.difference is not None:
            return "different"
        return "partial" if self.not_checked_count else "verified"

    def as_json(self) -> str:
        """One object on one line."""
        difference: dict[str, Any] | None = None
        if self.difference is not None:
            difference = {
                "partition": self.different_partition,
                "where": self.difference.where,
                "published": self.difference.published,
                "derived": self.difference.derived,
                "text": str(self.difference),
            }
        line = json.dumps(
            {
                "result": self.result,
                "partitions": self.partitions,
                "bandits": self.counts["bandits"],
                "counts": {name: self.counts[name] for name in COUNTED},
                "dead_letters": dict(self.dead_letters),
                "skipped": self.skipped,
                "not_checked": self.not_checked,
                "not_checked_count": self.not_checked_count,
                "taken": self.taken,
                "difference": difference,
                "seconds": round(self.seconds, 3),
            }
        )
        return json_printable(line)

    def lines(self) -> list[str]:
        """A few, for people's terminals."""
        return list(map(printable, self._lines()))

    def _lines(self) -> list[str]:
        if self.difference is not None:
            return [f"different: partition {self.different_partition}: {self.difference}"]
        counts = self.counts
        lines = [
            f"{self.result}: {counts['inputs']:,} inputs of {counts['bandits']:,} bandits in {self.partitions} "
            f"partitions, in {self.seconds:.1f} s",
            f"inputs: {_listed(counts, INPUTS)}",
            f"published: {_listed(counts, PUBLISHED)}",
        ]
        if self.dead_letters:
            lines.append(f"dead letters: {_listed(self.dead_letters, sorted(self.dead_letters))}")
        if counts["positions_in_motion"]:
            lines.append(
                f"left out, for a processor touched them meanwhile: {counts['positions_in_motion']:,} positions"
            )
        if self.not_checked_count:
            lines.append(f"not checked: {self.not_checked_count:,}")
            lines += [f"  {one}" for one in self.not_checked]
        if self.taken:
            lines += ["taken as given:", *(f"  {one}" for one in self.taken)]
        return lines


INPUTS = ("realised", "open", "waiting", "duplicates", "dead_letters", "expired", "commands", "not_placed")
PUBLISHED = ("rewards", "withheld", "weight_vectors", "bandit_snapshots", "position_snapshots")
COUNTED = ("inputs", *INPUTS, *PUBLISHED, "positions_in_motion", "positions_not_checked")


def _listed(counts: Counter[str], names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in names if counts[name])


class Progress:
    """How far it is: a bar that is drawn again on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream.isatty()
        self._every_seconds = _BAR_SECONDS if self._is_terminal else _LINE_SECONDS
        self._started = self._shown_at = clock()
        self._has_bar = False
        self._done = 0
        self.total = 0
        self.where = ""

    def begin(self, total: int) -> None:
        """A pass over so many records."""
        self.total, self._done = total, 0
        self._started = self._shown_at = self._clock()

    def moved(self, records: int) -> None:
        self._done += records
        now = self._clock()
        if now - self._shown_at >= self._every_seconds:
            self._shown_at = now
            self._show(now)

    def _show(self, now: float) -> None:
        part = min(1.0, self._done / self.total) if self.total else 0.0
        rate = self._done / max(now - self._started, 1e-9)
        text = f"{part:4.0%}  {self._done:,} of {self.total:,} records  {rate:,.0f}/s  {self.where}"
        if self._is_terminal:
            filled = round(part * _BAR_WIDTH)
            self._stream.write(f"\r\x1b[2K[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {text}")
            self._has_bar = True
        else:
            self._stream.write(f"verify: {text.strip()}\n")
        self._stream.flush()

    def say(self, line: str) -> None:
        self.close()
        self._stream.write(f"{printable(line)}\n")
        self._stream.flush()

    def close(self) -> None:
        """Takes the bar away."""
        if self._has_bar:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
