"""One partition's log without Kafka: events go through the stages and the runtime's own publication.

What comes out is what a cluster would hold, record by record, so that a test can corrupt one thing in it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec

from armstream.codec import DecodeError, Event, decode, encode
from armstream.events import Close, Command, Fill, Input, Rejected, Source, TaskSnapshot
from armstream.keys import TASK_KEY, is_bandits, is_positions
from armstream.runtime.identity import Identity
from armstream.runtime.intake import Intake
from armstream.runtime.publication import Publication, publish_task
from armstream.settings import Settings
from armstream.stages.facts import TaskLimits
from armstream.stages.pipeline import Pipeline
from armstream.stages.state import TaskState
from armstream.verify.partition import check_partition
from armstream.verify.published import Account, PartitionLog, State, first_settings
from armstream.verify.shadow import Rules
from armstream.verify.states import require_reachable
from tests.runtime.records import ReadRecord

NUMBER, PARTITIONS = 0, 1
TOPIC_IDS = {"trades": "trades-id", "rewards": "rewards-id"}
APPENDED_MS = 1_900_000_000_000  # after every event
ARMS = ("ridge", "mlp", "boost")
BANDITS, POSITIONS = "bandits' and the task's", "positions' and their pages'"  # parts of `snapshots`
APART = {"topics": {"trades": ["fills", "closes"]}}

E = TypeVar("E", bound=Event)


def settings_of(**sections: Mapping[str, Any]) -> Settings:
    """The shipped settings with three arms and B = 100; `sections` are laid over them."""
    learning = {"families": ARMS, "reward_bound_bps": 100.0, **sections.get("online_learning", {})}
    return Settings.model_validate({**sections, "online_learning": learning})


class Part(MutableSequence[Source]):
    """The records of a topic with certain keys, as if they were a list."""

    def __init__(self, records: list[Source], is_its: Callable[[bytes], bool]) -> None:
        self._records, self._is_its = records, is_its

    def _at(self) -> list[int]:
        return [at for at, one in enumerate(self._records) if self._is_its(one.key or b"")]

    def __len__(self) -> int:
        return len(self._at())

    def __getitem__(self, at: Any) -> Any:
        found = self._at()[at]
        return [self._records[one] for one in found] if isinstance(found, list) else self._records[found]

    def __setitem__(self, at: Any, value: Any) -> None:
        if isinstance(at, slice):
            kept = {one.offset for one in value}
            self._records[:] = [one for one in self._records if one.offset in kept or not self._is_its(one.key or b"")]
        else:
            self._records[self._at()[at]] = value

    def __delitem__(self, at: Any) -> None:
        found = self._at()[at]
        for one in reversed(found) if isinstance(found, list) else [found]:
            del self._records[one]

    def insert(self, at: int, value: Source) -> None:
        here = self._at()
        self._records.insert(here[at] if at < len(here) else len(self._records), value)


class Logs(defaultdict[str, Any]):
    """Records by topic; `snapshots` in its parts, too."""

    def __init__(self, snapshots: str, topics: Mapping[str, Iterable[Source]] | None = None) -> None:
        super().__init__(list, {name: list(records) for name, records in (topics or {}).items()})
        self._snapshots = snapshots

    def __reduce__(self) -> Any:
        return Logs, (self._snapshots, dict(self))

    def __getitem__(self, name: str) -> Any:
        if name == BANDITS:
            return Part(self[self._snapshots], lambda key: not is_positions(key))
        if name == POSITIONS:
            return Part(self[self._snapshots], is_positions)
        return super().__getitem__(name)


@dataclass
class Desk:
    """A task and the topics that it reads and writes, `topics` by name. A transaction takes one more offset."""

    settings: Settings = field(default_factory=settings_of)
    reward_rules: TaskLimits = field(default_factory=TaskLimits)
    topics: Any = field(default_factory=dict)
    skip: frozenset[tuple[str, int, int]] = frozenset()
    in_force: str = ""  # settings, as the audit log has them

    def __post_init__(self) -> None:
        self.topics = Logs(self.names.snapshots, self.topics)
        self.reward_rules = replace(self.reward_rules, trades_share_topic=len(self.settings.topics.trades) == 1)
        self.pipeline = Pipeline(TaskState(self.reward_rules, self.settings.bandit_registry()))
        self.next_offset = dict.fromkeys(self.settings.topics.names.inputs, 0)
        self.first: dict[str, int] = defaultdict(int)
        self.ends: dict[str, int] = defaultdict(int)

    @property
    def names(self) -> Any:
        return self.settings.topics.names

    def apply(self, *events: Input) -> None:
        """One transaction."""
        records = [self.send(event) for event in events]
        limits = self.settings.limits.record_bytes, self.settings.max_future_micros
        intake = Intake(PARTITIONS, *limits, self.skip)
        applied = self.pipeline.apply(intake.read(records), lambda index: intake.source_of(records[index]))
        publication = Publication()
        self.next_offset = publish_task(
            *(publication, self.names, NUMBER, applied, records, self.next_offset, {}, self.in_force),
            Identity(self.settings.kafka.group_id, TOPIC_IDS, PARTITIONS),
        )
        self.pipeline.commit()
        for (topic, _), outputs in publication.records.items():
            for output in outputs:
                self.write(topic, output["key"], output.get("value"))
            self.ends[topic] += 1

    def send(self, event: Input) -> ReadRecord:
        """An input that nobody has applied yet."""
        topic = {Fill: self.names.trades[0], Close: self.names.trades[-1], Command: self.names.commands}.get(
            type(event), self.names.trades[0]
        )
        value = b"no event" if isinstance(event, Rejected) else encode(event)
        key = b"key" if isinstance(event, Rejected) else event.bandit_id.encode()
        self.write(topic, key, value)
        return _read(self.topics[topic][-1])

    def write(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """A record at the end of a topic."""
        name = self.names.snapshots if topic in (BANDITS, POSITIONS) else topic
        self.topics[name].append(Source(name, NUMBER, self.ends[name], key, value))
        self.ends[name] += 1

    # Corruption.

    def change(self, topic: str, at: int, **fields: Any) -> None:
        """Gives other fields to the event in the record at an index of a topic."""
        source = self.topics[topic][at]
        event = msgspec.structs.replace(decode(source.value), **fields)
        self.topics[topic][at] = msgspec.structs.replace(source, value=encode(event))

    def repeat(self, topic: str, at: int) -> None:
        """The record once more, at the end."""
        source = self.topics[topic][at]
        self.write(topic, source.key, source.value)

    def delete_before(self, topic: str, at: int) -> None:
        """As retention does, from the front; a topic left empty still begins where it ended."""
        records = self.topics[topic]
        self.first[topic] = records[at].offset if at < len(records) else self.ends[topic] if records else 0
        del records[:at]

    def compact(self, topic: str) -> None:
        """Keeps the last record of each key."""
        last = {source.key: source.offset for source in self.topics[topic]}
        self.topics[topic][:] = [one for one in self.topics[topic] if last[one.key] == one.offset]

    def any_event(self, topic: str, at: int) -> Any:
        """None where it is no event."""
        try:
            return decode(self.topics[topic][at].value)
        except DecodeError:
            return None

    def event(self, topic: str, at: int, kind: type[E]) -> E:
        event = decode(self.topics[topic][at].value)
        assert isinstance(event, kind)
        return event

    # What verify sees.

    def log(self, settled: Mapping[str, int] | None = None, begins: Mapping[str, int] | None = None) -> PartitionLog:
        """`begins`: where a state stands, which reading goes on from."""
        names, begin = self.names, begins or {}
        topics = {
            name: [one for one in self.topics[name] if one.offset >= begin.get(name, 0)]
            for name in (*names.all, names.bandit_snapshots)
        }
        snapshots = latest(self.topics[names.snapshots])
        bandits = {key: value for key, value in snapshots.items() if is_bandits(key)}
        newest = decode(snapshots[TASK_KEY]) if TASK_KEY in snapshots else None
        assert newest is None or isinstance(newest, TaskSnapshot)
        return PartitionLog(
            number=NUMBER,
            partition_count=PARTITIONS,
            topics=names,
            state=names.state,
            group=self.settings.kafka.group_id,
            topic_ids=TOPIC_IDS,
            newest=newest,
            first={name: self.first[name] for name in (*names.inputs, names.rewards, names.dead_letters)},
            begins=begin,
            settled=self.next_offset if settled is None else settled,
            committed=self.next_offset,
            stands_at=self.next_offset,
            ends={name: self.ends[name] for name in (*names.all, names.bandit_snapshots)},
            inputs={name: map(_read, topics[name]) for name in names.inputs},
            rewards=iter(topics[names.rewards]),
            dead_letters=iter(topics[names.dead_letters]),
            weights=iter(topics[names.weights]),
            snapshots=[iter(topics[name]) for name in (names.bandit_snapshots, names.snapshots)],
            positions=latest(self.topics[POSITIONS]),
            bandits=bandits,
            first_settings=first_settings(bandits, topics[names.rewards]),
        )

    @property
    def rules(self) -> Rules:
        return replace(Rules.of(self.settings), rewards=self.reward_rules)

    def verify(self, state: State | None = None) -> Account:
        """As one run does, from a state that it kept, where it has one."""
        log = self.log(begins=None if state is None else state.next_offset)
        if state is not None:
            require_reachable(state, log)
        return check_partition(log, self.rules, state)


def topic_named(desk: Desk, setting: str) -> Any:
    """A topic by its setting, or a part of `snapshots` by what is in it."""
    parts = {"bandit_snapshots": BANDITS, "position_snapshots": POSITIONS}
    return parts.get(setting) or getattr(desk.names, setting)


def _read(source: Source) -> ReadRecord:
    """The record as a consumer gives it."""
    return ReadRecord(source.topic, source.partition, source.offset, source.key, source.value, APPENDED_MS)


def latest(records: Sequence[Source]) -> dict[bytes, bytes]:
    """The last value of each key; a tombstone ends its key."""
    found: dict[bytes, bytes] = {}
    for record in records:
        assert record.key is not None
        if record.value is None:
            found.pop(record.key, None)
        else:
            found[record.key] = record.value
    return found
