"""A task as the runtime drives it, without Kafka: batches in, an audit log and compacted topics out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from armstream.codec import decode, encode
from armstream.events import (
    BanditSnapshot,
    CommandApplied,
    DeadLetter,
    Input,
    PositionPage,
    PositionSnapshot,
    Reward,
    WeightVector,
)
from armstream.keys import page_key, position_key
from armstream.learning import LearningSettings
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.pipeline import Applied, Pipeline
from armstream.stages.state import TaskState
from tests.stages.events import source_of


@dataclass
class Published:
    """What the topics hold: logs whole, compacted topics by key as bytes. `positions` hold their pages too."""

    rewards: list[tuple[int, Reward]] = field(default_factory=list)
    commands_applied: list[tuple[int, CommandApplied]] = field(default_factory=list)
    dead_letters: list[tuple[int, DeadLetter]] = field(default_factory=list)
    outcomes: list[int] = field(default_factory=list)
    weights: dict[str, WeightVector] = field(default_factory=dict)
    bandits: dict[str, bytes] = field(default_factory=dict)
    positions: dict[str, bytes] = field(default_factory=dict)
    clipped_count: int = 0


class Task:
    """One task's life: `apply` publishes and commits, `abort` does neither, `restart` goes on from the snapshots."""

    def __init__(self, reward_rules: TaskLimits, learning_rules: LearningSettings, **bandit_rules: Any) -> None:
        self.reward_rules = reward_rules
        self.learning_rules = learning_rules
        self.bandit_rules = BanditRegistry(learning_rules, **bandit_rules)
        self.state = TaskState(reward_rules, self.bandit_rules)
        self.pipeline = Pipeline(self.state)
        self.published = Published()
        self.inputs_read = 0

    def apply(self, *events: Input) -> Applied:
        """One batch, committed."""
        applied = self._pipe(events)
        self.pipeline.commit()
        self._publish(applied)
        self.inputs_read += len(events)
        return applied

    def abort(self, *events: Input) -> Applied:
        applied = self._pipe(events)
        self.pipeline.rollback()
        return applied

    def _pipe(self, events: Sequence[Input]) -> Applied:
        first = self.inputs_read
        return self.pipeline.apply(events, lambda index: source_of(first + index))

    def going_on(self) -> None:
        """What a restart is compared with: nothing happens."""

    def restart(self) -> None:
        """A new process: positions and pages first, in the reverse of the order in which they were written."""
        self.state = TaskState(self.reward_rules, self.bandit_rules)
        for value in reversed(self.published.positions.values()):
            record = decode(value)
            if isinstance(record, PositionPage):
                self.state.restore_page(record)
            else:
                assert isinstance(record, PositionSnapshot)
                self.state.restore_position(record)
        for value in self.published.bandits.values():
            bandit = decode(value)
            assert isinstance(bandit, BanditSnapshot)
            self.state.restore_bandit(bandit)
        self.pipeline = Pipeline(self.state)

    def bandit(self, bandit_id: str = "book") -> BanditSnapshot:
        bandit = decode(self.published.bandits[bandit_id])
        assert isinstance(bandit, BanditSnapshot)
        return bandit

    def position(self, position_id: str = "p1", bandit_id: str = "book") -> PositionSnapshot:
        position = decode(self.published.positions[position_key(bandit_id, position_id)])
        assert isinstance(position, PositionSnapshot)
        return position

    def remembers(self, position_id: str, bandit_id: str = "book") -> bool:
        return position_key(bandit_id, position_id) in self.published.positions

    def remembered(self) -> set[tuple[str, str]]:
        """(bandit_id, position_id) of every position published."""
        keys = (key.partition("\0") for key in self.published.positions)
        return {(bandit_id, position_id) for bandit_id, _, position_id in keys if bandit_id}

    def _publish(self, applied: Applied) -> None:
        out, first = self.published, self.inputs_read
        out.outcomes += applied.outcomes
        for index, audited in zip(applied.audit_indexes, applied.audit, strict=True):
            if isinstance(audited, Reward):
                out.rewards.append((first + index, audited))
            else:
                out.commands_applied.append((first + index, audited))
        causes = (first + index for index in applied.dead_letter_indexes)
        out.dead_letters += zip(causes, applied.dead_letters, strict=True)
        out.clipped_count += len(applied.clipped)
        for vector in applied.weight_vectors:
            out.weights[vector.bandit_id] = vector
        for bandit in applied.bandit_snapshots:
            out.bandits[bandit.bandit_id] = encode(bandit)
        for bandit_id in applied.forgotten_bandits:
            del out.bandits[bandit_id]
        for position in applied.position_snapshots:
            out.positions[position_key(position.bandit_id, position.position_id)] = encode(position)
        for page in applied.position_pages:
            out.positions[page_key(page.bandit_id, page.position_id, page.number)] = encode(page)
        for key in applied.forgotten:
            del out.positions[key]
