"""A state that stands where versions before kept it goes to the topic of now. Law: the same bytes under the same keys,
whole or not at all: the task's own snapshot comes last, so that what has none is not moved yet, and is moved again from
the beginning.

A transaction may not last for long, so there are several; what one of an earlier, broken-off move left behind, and the
state does not have, gets a tombstone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from armstream.codec import encode
from armstream.events import TaskSnapshot
from armstream.keys import CLAIM_PREFIX, TASK_KEY
from armstream.runtime.commit import Outcome
from armstream.runtime.publication import Output
from armstream.runtime.snapshots import HEADERS, Values
from armstream.settings import StateTopics

_MOST_BYTES = 8_388_608  # of a transaction, but for one record that is larger


@dataclass(slots=True)
class Part:
    """What is to be committed in one transaction: records, and the task's offsets as they are, so that a group which
    has given the task away refuses it. Whoever tries says the `outcome`."""

    records: list[Output]
    offsets: Mapping[str, int]
    outcome: Outcome | None = None


def moved(snapshot: TaskSnapshot, before: StateTopics, name: str, topic_id: str) -> TaskSnapshot:
    """The task's snapshot as it is written on `name`: it says that the state stands there."""
    told = {topic: known for topic, known in snapshot.topic_ids.items() if topic not in before}
    return replace(snapshot, topic_ids={**told, name: topic_id} if snapshot.topic_ids else {})


def transactions(state: Values, there: Values, snapshot: TaskSnapshot, most_records: int) -> Iterator[list[Output]]:
    """The records of each, in order. `state` are the values of before, `there` what stands in the topic of now."""
    keys = [key for key in there if key not in state or key == TASK_KEY]
    records: list[Output] = [{"key": key} for key in keys if not key.startswith(CLAIM_PREFIX)]
    records += [
        {"key": key, "value": value}
        for key, value in state.items()
        if key != TASK_KEY and not key.startswith(CLAIM_PREFIX)
    ]
    part: list[Output] = []
    part_bytes = 0
    for record in records:
        size_bytes = len(record["key"]) + len(record.get("value", b""))
        if part and (len(part) >= most_records or part_bytes + size_bytes > _MOST_BYTES):
            yield part
            part, part_bytes = [], 0
        part.append(record)
        part_bytes += size_bytes
    yield [*part, {"key": TASK_KEY, "value": encode(snapshot), "headers": HEADERS}]
