"""The shadow task: the pure stages over a state of verify's own, restored as a processor restores, and its settings.
The one file of verify that knows the stages.

Law: it is fed what the processor was fed, in the recorded order; what comes out is compared before it is committed.
A bandit's learner is made from the settings that the log tells of it, whatever today's file says.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from msgspec import structs

from armstream.events import BanditSnapshot, Input, PositionPage, PositionSnapshot, WeightVector
from armstream.keys import page_key, position_key
from armstream.oracle.settings import resolved
from armstream.runtime.intake import Intake, Place, Record
from armstream.settings import Settings
from armstream.stages.bandit import weight_vector
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.pipeline import DEAD_LETTER, DUPLICATE, Applied, Pipeline
from armstream.stages.state import TaskState

__all__ = ["DEAD_LETTER", "DUPLICATE", "Applied", "Rules", "Shadow"]


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that a shadow obeys, and the parts of the file that the oracle reads for itself."""

    bandits: BanditRegistry
    rewards: TaskLimits
    max_record_bytes: int
    max_future_micros: int
    online_learning: Mapping[str, Any]
    overrides: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        return cls(
            settings.bandit_registry(),
            settings.task_limits(),
            settings.limits.record_bytes,
            settings.max_future_micros,
            settings.online_learning.model_dump(),
            settings.bandits.own(),
        )

    def resolved(self, bandit_id: str) -> Mapping[str, Any]:
        """A bandit's settings in the file, by the oracle's own reading of it."""
        return resolved(self.online_learning, self.overrides.get(bandit_id, {}))

    def under(self, in_force: str) -> "Rules":
        """These with the windows, limits and `enabled` of a task's settings, as the log records them; what it did not
        know to record stays."""
        told = json.loads(in_force)
        return replace(
            self,
            bandits=replace(
                self.bandits,
                template=replace(self.bandits.template, enabled=told["enabled"]),
                max_arms=told["max_arms"],
                max_experts=told["max_experts"],
            ),
            rewards=TaskLimits(**{name: told.get(name, ours) for name, ours in asdict(self.rewards).items()}),
            max_record_bytes=told["max_record_bytes"],
            max_future_micros=told["max_future_micros"],
        )


class Shadow:
    """One task. `bandits`, `positions` and `pages` are its state as snapshots, by their keys; `vectors` are the newest
    of each bandit."""

    def __init__(self, rules: Rules, partition_count: int) -> None:
        self._given = rules
        self._partition_count = partition_count
        self._first: dict[str, str] = {}
        self._skipped: set[Place] = set()
        self.in_force = ""
        self.bandits: dict[str, BanditSnapshot] = {}
        self.positions: dict[str, PositionSnapshot] = {}
        self.pages: dict[str, PositionPage] = {}
        self.vectors: dict[str, WeightVector] = {}
        self._open: Applied | None = None
        self._start(rules)

    def _start(self, rules: Rules) -> None:
        self.rules = rules
        self._own_rules: dict[str, Any] = dict(rules.bandits.overrides)
        for bandit_id, settings in self._first.items():
            self._own_rules[bandit_id] = self._learned_under(bandit_id, settings)
        # Which bandits were registered then, the log tells: by the dead letters of those that were not.
        bandits = replace(rules.bandits, overrides=self._own_rules, registered_only=False, on_settings_change="keep")
        self._pipeline = Pipeline(TaskState(rules.rewards, bandits))
        self._intake = Intake(self._partition_count, rules.max_record_bytes, rules.max_future_micros, self._skipped)

    def _learned_under(self, bandit_id: str, settings: str) -> Any:
        today = self.rules.bandits.of(bandit_id) or self.rules.bandits.template
        return today.learned_under(settings)

    def expect(self, first_settings: Mapping[str, str]) -> None:
        """By bandit_id, the settings that its learner is made under. Raises ValueError for what none could be."""
        self._first.update(first_settings)
        for bandit_id, settings in first_settings.items():
            self._own_rules[bandit_id] = self._learned_under(bandit_id, settings)

    # As a processor that starts.

    def restart(self, in_force: str) -> None:
        """Goes on under other settings of the task."""
        self.in_force = in_force
        self._start(self._given.under(in_force) if in_force else self._given)
        self.restore(list(self.bandits.values()), list(self.positions.values()), list(self.pages.values()))

    def restore(
        self, bandits: Iterable[BanditSnapshot], positions: Iterable[PositionSnapshot], pages: Iterable[PositionPage]
    ) -> None:
        """Raises ValueError for what no processor could restore."""
        state = self._pipeline.state
        for bandit in bandits:
            self.bandits[bandit.bandit_id] = bandit
            state.restore_bandit(bandit)
            held = state.bandit(bandit.bandit_id)
            if held is not None and held.version and held.learner is not None:
                self.vectors[bandit.bandit_id] = weight_vector(held)
        for position in positions:
            self.positions[position_key(position.bandit_id, position.position_id)] = position
            state.restore_position(position)
        for page in pages:
            self.pages[page_key(page.bandit_id, page.position_id, page.number)] = page
            state.restore_page(page)

    def pages_of(self, position: PositionSnapshot) -> list[PositionPage]:
        """In their order."""
        count = 0 if position.paged is None else position.paged.pages
        return [self.pages[page_key(position.bandit_id, position.position_id, number)] for number in range(count)]

    def begin_anew(self, bandit_id: str, before: str, after: str) -> None:
        """The next event finds the bandit's settings changed."""
        self._own_rules[bandit_id] = self._learned_under(bandit_id, after)
        self._pipeline.state.to_begin_anew[bandit_id] = before

    @contextmanager
    def unregistered(self, bandit_id: str) -> Iterator[None]:
        """There may be no such bandit meanwhile, and none but one without a learner was."""
        was = self._own_rules.pop(bandit_id, None)
        self._own_rules[bandit_id] = None
        try:
            yield
        finally:
            del self._own_rules[bandit_id]
            if was is not None:
                self._own_rules[bandit_id] = was

    # A batch.

    def skip(self, place: Place) -> None:
        """The processor was told to: it is read by nobody."""
        self._skipped.add(place)

    def read(self, records: Sequence[Record]) -> list[Input]:
        return self._intake.read(records)

    def has_learner(self, bandit_id: str) -> bool:
        bandit = self.bandits.get(bandit_id)
        return bandit is not None and bool(bandit.arms)

    def apply(self, records: Sequence[Record], events: Sequence[Input]) -> Applied:
        """Raises ApplyFailure from whatever went wrong."""
        source_of = self._intake.source_of
        self._open = self._pipeline.apply(events, lambda index: source_of(records[index]))
        return self._open

    def makes_room_for(self, position_count: int) -> bool:
        """Whether so many new positions could be too many to remember."""
        return self._pipeline.state.position_count + position_count > self.rules.rewards.max_positions_remembered

    def is_full_after(self, event_count: int) -> bool:
        """Whether so many events more could reach a limit that all bandits share."""
        state, limits = self._pipeline.state, self.rules.rewards
        return (
            self.makes_room_for(event_count)
            or state.waiting_close_count + event_count > limits.max_waiting_closes
            or state.open_position_count + event_count > limits.max_open_positions
            or state.learner_count + event_count > limits.max_bandits
        )

    def rollback(self) -> None:
        self._pipeline.rollback()

    def commit(self) -> Applied:
        applied = self._open
        assert applied is not None  # it was applied
        self._pipeline.commit()
        for bandit in applied.bandit_snapshots:
            self.bandits[bandit.bandit_id] = bandit
        for vector in applied.weight_vectors:
            self.vectors[vector.bandit_id] = vector
        for position in applied.position_snapshots:
            self.positions[position_key(position.bandit_id, position.position_id)] = position
        for page in applied.position_pages:
            self.pages[page_key(page.bandit_id, page.position_id, page.number)] = page
        for key in applied.forgotten:
            self.positions.pop(key, None)
            self.pages.pop(key, None)
        for bandit_id in applied.forgotten_bandits:
            self.bandits.pop(bandit_id, None)
        return applied

    def set_cause(self, bandit_id: str, cause_event_id: str, ts_event: int) -> None:
        """Which event came last, where the order of two topics hid it."""
        held = self._pipeline.state.bandit(bandit_id)
        assert held is not None  # something of it was published
        held.cause_event_id, held.ts_event = cause_event_id, ts_event
        changed = {"cause_event_id": cause_event_id, "ts_event": ts_event}
        self.bandits[bandit_id] = structs.replace(self.bandits[bandit_id], **changed)
        if bandit_id in self.vectors:
            self.vectors[bandit_id] = structs.replace(self.vectors[bandit_id], **changed)
