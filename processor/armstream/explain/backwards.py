"""Topics of one bandit's partition from their ends back, a chunk at a time. Law: no more is read than is asked for, and
nothing twice; only the bandit's own records are kept."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from armstream.codec import DecodeError, Event, decode
from armstream.oracle.comparison import Difference
from armstream.settings import Topics

E = TypeVar("E", bound=Event)
T = TypeVar("T")


class Kept(NamedTuple):
    """A record of the bandit. `rank` counts the records of the whole partition, whatever their keys, so that two of
    which the offsets are as far apart as the ranks have nothing between them: no end of a transaction either."""

    topic: str
    offset: int
    rank: int
    ts_micros: int  # of the record: when it was published or appended
    value: bytes | None

    def place(self, number: int) -> str:
        """TOPIC:PARTITION:OFFSET."""
        return f"{self.topic}:{number}:{self.offset}"


def read_as(kept: Kept, number: int, kinds: tuple[type[E], ...], expected: str) -> E:
    """The event of a record. Raises Difference where it is none of those kinds."""
    try:
        event = decode(kept.value)
    except DecodeError as error:
        raise Difference(kept.place(number), f"bytes that cannot be read: {error}", expected) from error
    if not isinstance(event, kinds):
        raise Difference(kept.place(number), f"a {type(event).__name__}", expected)
    return event


class Chunks(Protocol):
    """One partition of every topic."""

    @property
    def names(self) -> Topics: ...

    @property
    def number(self) -> int: ...

    def backwards(self, topic: str, end: int | None = None) -> Iterator[Sequence[Kept]]:
        """From `end`, or where the topic ends, back to its first record; each chunk in the order of offsets."""

    def snapshots_backwards(self) -> Iterator[Sequence[Kept]]:
        """The same of `snapshots`, and then of the topic where versions before kept the bandits' snapshots."""

    def require_patience(self) -> None:
        """Raises TooLong."""


class Backwards(Generic[T]):
    """What was read of a topic so far, the newest first; `read` gives None for what is of no interest."""

    def __init__(self, chunks: Iterator[Sequence[Kept]], read: Callable[[Kept], T | None]) -> None:
        self._chunks = chunks
        self._read = read
        self.found: list[T] = []

    def more(self) -> bool:
        """Reads one chunk more; False where there is none."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self.found += [one for kept in reversed(chunk) if (one := self._read(kept)) is not None]
        return True
