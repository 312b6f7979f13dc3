"""One task on the Python stages, and one on the native core, driven alike by records, without Kafka."""

from collections.abc import Mapping, Sequence
from typing import Any

from armstream.codec import decode, encode
from armstream.core.pipeline import CorePipeline
from armstream.core.runs import Runs
from armstream.core.state import CoreState
from armstream.events import (
    BanditSnapshot,
    Close,
    Command,
    Fill,
    Input,
    PositionPage,
    PositionSnapshot,
    TaskSnapshot,
)
from armstream.keys import is_positions
from armstream.runtime.identity import Identity
from armstream.runtime.intake import Intake
from armstream.runtime.publication import Publication, publish_core, publish_task
from armstream.settings import TopicSettings
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.pipeline import Pipeline
from armstream.stages.state import TaskState
from tests.runtime.records import ReadRecord

TOPICS = TopicSettings().names
IDENTITY = Identity("desk", {"trades": "id"}, 1)
MAX_RECORD_BYTES, MAX_FUTURE_MICROS = 4_000, 300_000_000
Records = dict[tuple[str, int], list[dict[str, Any]]]


def records_of(events: Sequence[Input], first: int = 0) -> list[ReadRecord]:
    """The events as records of one partition, in order; a Rejected is bytes that are none."""
    records = []
    for number, event in enumerate(events):
        topic = "commands" if isinstance(event, Command) else "trades"
        is_event = isinstance(event, Fill | Close | Command)
        value = encode(event) if isinstance(event, Fill | Close | Command) else b"none"
        key = event.bandit_id.encode() if isinstance(event, Fill | Close | Command) else b"nobody"
        appended_ms = (event.ts_event + 1_000_000 if is_event else event.ts_event) // 1_000
        records.append(ReadRecord(topic, 0, first + number, key, value, appended_ms))
    return records


class Lives:
    """What both tasks share: topics that are compacted as Kafka would, and a restart from them."""

    def __init__(self, limits: TaskLimits, registry: BanditRegistry) -> None:
        self.limits, self.registry = limits, registry
        self.intake = Intake(1, MAX_RECORD_BYTES, MAX_FUTURE_MICROS, frozenset())
        self.next_offset = {"trades": 0, "commands": 0}
        self.snapshots: dict[bytes, bytes] = {}

    def compact(self, records: Records) -> None:
        for record in records.get((TOPICS.snapshots, 0), []):
            if record.get("value") is None:
                del self.snapshots[record["key"]]
            else:
                self.snapshots[record["key"]] = record["value"]

    def values(self) -> list[bytes]:
        """Positions and pages first, in the reverse of the order in which they were written."""
        positions = [value for key, value in self.snapshots.items() if is_positions(key)]
        return [*reversed(positions), *(value for key, value in self.snapshots.items() if not is_positions(key))]


def restore(state: TaskState, value: bytes) -> None:
    record = decode(value)
    if isinstance(record, PositionPage):
        state.restore_page(record)
    elif isinstance(record, PositionSnapshot):
        state.restore_position(record)
    elif isinstance(record, BanditSnapshot):
        state.restore_bandit(record)
    else:
        assert isinstance(record, TaskSnapshot)


class OnStages(Lives):
    def __init__(self, limits: TaskLimits, registry: BanditRegistry) -> None:
        super().__init__(limits, registry)
        self.pipeline = Pipeline(TaskState(limits, registry))

    def publish(self, records: list[ReadRecord]) -> tuple[Records, dict[str, int], object]:
        """What a batch publishes, the offsets after it, and what is counted."""
        publication = Publication()
        applied = self.pipeline.apply(self.intake.read(records), lambda at: self.intake.source_of(records[at]))
        after = publish_task(publication, TOPICS, 0, applied, records, self.next_offset, {}, "", IDENTITY)
        counted = [*applied.outcomes], len(applied.clipped), sorted(r.reward_bps for r in applied.rewards)
        return publication.records, after, counted

    def restart(self) -> None:
        self.pipeline = Pipeline(TaskState(self.limits, self.registry))
        for value in self.values():
            restore(self.pipeline.state, value)


class OnCore(Lives):
    """`hands_over`: every event goes through the stages, over the core's state. `runs`: how many go at once."""

    def __init__(
        self, limits: TaskLimits, registry: BanditRegistry, hands_over: bool = False, runs: Runs | None = None
    ) -> None:
        super().__init__(limits, registry)
        self.hands_over, self.runs = hands_over, runs
        self.pipeline = CorePipeline(self._state(), runs)

    def _state(self) -> CoreState:
        return CoreState(self.limits, self.registry, 0, 1, MAX_RECORD_BYTES, MAX_FUTURE_MICROS)

    def publish(self, records: list[ReadRecord]) -> tuple[Records, dict[str, int], object]:
        publication = Publication()
        published = self.pipeline.apply(
            records, self.next_offset, self.intake.read, self.intake.source_of, self.hands_over
        )
        after = publish_core(publication, TOPICS, 0, published, {}, "", IDENTITY)
        measured = published.measured
        outcomes = [*self.pipeline.state.core.ends()[2]]
        return publication.records, after, (outcomes, measured.clipped, sorted(measured.rewards_bps))

    def restart(self) -> None:
        self.pipeline = CorePipeline(self._state(), self.runs)
        state, values, at = self.pipeline.state, self.values(), 0
        while (at := state.restore_records(values, at, lambda _key, _pages: None)) < len(values):
            restore(state, values[at])
            at += 1


def counts(state: TaskState) -> Mapping[str, int]:
    return {
        name: getattr(state, name)
        for name in (
            *("bandit_count", "learner_count", "position_count", "finished_count"),
            *("open_position_count", "waiting_close_count"),
        )
    }
