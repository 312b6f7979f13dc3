"""What explain reads of a desk without Kafka: its topics, in chunks that are as small as can be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from armstream.explain.backwards import Kept
from armstream.explain.facts import Explanation
from armstream.explain.vector import explain
from tests.verify.desk import NUMBER, Desk

PUBLISHED_MICROS = 1_800_000_000_000_000  # of offset 0; each offset comes a second later


@dataclass
class DeskTopics:
    """`chunk` offsets a chunk."""

    desk: Desk
    bandit_id: str = "book"
    chunk: int = 3
    number: int = NUMBER

    @property
    def names(self) -> Any:
        return self.desk.names

    def backwards(self, topic: str, end: int | None = None) -> Iterator[Sequence[Kept]]:
        records = [one for one in self.desk.topics[topic] if end is None or one.offset < end]
        kept = [
            Kept(topic, one.offset, rank, PUBLISHED_MICROS + one.offset * 1_000_000, one.value)
            for rank, one in enumerate(records)
            if one.key == self.bandit_id.encode()
        ]
        for at in range(len(kept), 0, -self.chunk):
            yield kept[max(0, at - self.chunk) : at]

    def snapshots_backwards(self) -> Iterator[Sequence[Kept]]:
        return self.backwards(self.names.snapshots)

    def require_patience(self) -> None:
        """A test has all the time that pytest gives it."""


def explained(desk: Desk, version: int | None = None, at_micros: int | None = None) -> Explanation:
    return explain(DeskTopics(desk), "book", version=version, at_micros=at_micros)
