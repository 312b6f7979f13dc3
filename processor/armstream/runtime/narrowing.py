"""Which record a transaction cannot publish: batches are made smaller until it stands alone.

Law: each time the next batches are a tenth, until all that was in the aborted one is behind; then they are whole again.
So what a full batch could not publish is published in parts, and what a record alone cannot is named.
"""

from collections.abc import Mapping, Sequence

from armstream.runtime.intake import Record
from armstream.runtime.tasks import Offsets

_SHRINKS_BY = 10


class Narrowing:
    """How many records the next batch may have."""

    def __init__(self, most_records: int) -> None:
        self._whole = most_records
        self._suspects: dict[int, Offsets] = {}  # by task, the ends of what was aborted
        self.most_records = most_records

    def note_abort(self, record_count: int, ends: Mapping[int, Offsets]) -> None:
        """A batch of so many records was aborted; `ends` are the next offsets of its tasks after it."""
        self.most_records = max(1, min(self.most_records, record_count) // _SHRINKS_BY)
        for number, next_offset in ends.items():
            suspects = self._suspects.setdefault(number, {})
            for topic, offset in next_offset.items():
                suspects[topic] = max(offset, suspects.get(topic, 0))

    def note_commit(self, next_offsets: Mapping[int, Offsets]) -> None:
        """Where the ready tasks stand now. What is of another task is somebody else's to find."""
        if not self._suspects:
            return
        self._suspects = {
            number: suspects
            for number, suspects in self._suspects.items()
            if number in next_offsets and any(next_offsets[number][topic] < end for topic, end in suspects.items())
        }
        if not self._suspects:
            self.most_records = self._whole


def place_of(record: Record) -> str:
    """TOPIC:PARTITION:OFFSET, as --skip takes it."""
    return f"{record.topic()}:{record.partition()}:{record.offset()}"


def named(records: Sequence[Record]) -> str:
    """The record; of many, how many there are and which came first."""
    if not records:
        return "no record"
    first = place_of(records[0])
    return f"the record at {first}" if len(records) == 1 else f"{len(records)} records, {first} the first,"


def skip_command(record: Record) -> str:
    return f"`armstream run --skip {place_of(record)}` sends it to dead letters"
