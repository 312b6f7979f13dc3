"""Both stages in a row over one task's state: a batch of inputs in, what is to be published out.

Law: events are applied one by one, each wholly (match, teach, expire) before the next, so that where a batch begins
or ends changes nothing but which snapshots and vectors are coalesced. Nothing is committed before `commit`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from armstream.events import (
    BanditSnapshot,
    Close,
    Command,
    CommandApplied,
    DeadLetter,
    Fill,
    Input,
    PositionPage,
    PositionSnapshot,
    Reward,
    Source,
    WeightVector,
)
from armstream.stages.bandit import is_clipped, learn, weight_vector
from armstream.stages.command import begin_anew, obey
from armstream.stages.expiry import expire
from armstream.stages.reward import Taken, take_close, take_fill
from armstream.stages.state import TaskState
from armstream.stages.validation import Refused

APPLIED, DUPLICATE, DEAD_LETTER = 0, 1, 2

S = TypeVar("S", bound=TaskState)


class ApplyFailure(Exception):
    """Applying the event at `index` of the batch failed in a way that no input should be able to cause."""

    def __init__(self, index: int) -> None:
        super().__init__(f"applying event {index} of the batch failed")
        self.index = index


@dataclass(frozen=True, slots=True)
class Applied:
    """What one batch published, each list in order of first touch; cuts are left empty.

    `audit_indexes` and `dead_letter_indexes` are the batch index behind each of theirs and never decrease;
    `outcomes` holds APPLIED, DUPLICATE or DEAD_LETTER for each input; `clipped`, the places in `audit` of rewards that
    the learner cut; `forgotten`, keys of positions and of pages.
    """

    outcomes: bytearray
    audit: list[Reward | CommandApplied]
    audit_indexes: list[int]
    dead_letters: list[DeadLetter]
    dead_letter_indexes: list[int]
    weight_vectors: list[WeightVector]
    bandit_snapshots: list[BanditSnapshot]
    position_snapshots: list[PositionSnapshot]
    position_pages: list[PositionPage]
    forgotten: list[str]
    forgotten_bandits: list[str]
    clipped: list[int]

    @property
    def rewards(self) -> list[Reward]:
        """The audit records that are rewards."""
        return [record for record in self.audit if isinstance(record, Reward)]

    @property
    def commands_applied(self) -> list[CommandApplied]:
        """The audit records that are not."""
        return [record for record in self.audit if isinstance(record, CommandApplied)]


class BatchByBatch(Generic[S]):
    """One task's state that batches change; each is committed or rolled back before the next."""

    def __init__(self, state: S) -> None:
        self._state = state
        self._is_open = False

    @property
    def state(self) -> S:
        """To look at between batches."""
        return self._state

    def commit(self) -> None:
        """The batch was published: it is state now."""
        self._end()
        self._state.commit()

    def rollback(self) -> None:
        """The batch was not published: state is as it was before."""
        self._end()
        self._state.rollback()

    def drop(self) -> None:
        """As rollback, where there may be no batch to end."""
        if self._is_open:
            self.rollback()

    def _begin(self) -> None:
        """Raises RuntimeError before the last batch has ended."""
        if self._is_open:
            raise RuntimeError("the last batch was neither committed nor rolled back")
        self._is_open = True
        self._state.begin()

    def _end(self) -> None:
        if not self._is_open:
            raise RuntimeError("there is no batch to end")
        self._is_open = False


class Pipeline(BatchByBatch[TaskState]):
    """Applies batches to one task's state by the stages."""

    def apply(self, events: Sequence[Input], source_of: Callable[[int], Source]) -> Applied:
        """One task's part of a batch, in order. `source_of` gives the record behind a batch index.

        Raises ApplyFailure from whatever went wrong, RuntimeError before the last batch has ended. After a failure
        only `rollback` is left.
        """
        self._begin()
        batch = Batch(self._state, len(events), source_of)
        index = 0
        try:
            if events:
                batch.begin_anew()
            for index, event in enumerate(events):
                batch.apply(index, event)
        except Exception as failure:
            raise ApplyFailure(index) from failure
        return batch.result()


class Batch:
    """One batch on its way through: the outputs so far, over the state's overlay."""

    def __init__(self, state: TaskState, size: int, source_of: Callable[[int], Source]) -> None:
        self._state = state
        self._source_of = source_of
        self.outcomes = bytearray(size)
        self.audit: list[Reward | CommandApplied] = []
        self.audit_indexes: list[int] = []
        self.dead_letters: list[DeadLetter] = []
        self.dead_letter_indexes: list[int] = []
        self.clipped: list[int] = []

    def apply(self, index: int, event: Input) -> None:
        try:
            if isinstance(event, Fill):
                taken = take_fill(self._state, event)
            elif isinstance(event, Close):
                taken = take_close(self._state, event, index, self._source_of)
            elif isinstance(event, Command):
                self._obey(index, event)
                return
            else:
                raise Refused(event.error_class, event.error)
        except Refused as refused:
            letter = DeadLetter(self._source_of(index), refused.error_class, refused.error, event.ts_event)
            self._bury(index, letter)
            self.outcomes[index] = DEAD_LETTER
            if isinstance(event, Fill | Close):
                self._bury_all(index, expire(self._state, event.bandit_id, None))
            return
        if taken is None:
            self.outcomes[index] = DUPLICATE
        elif taken.segments:
            self._teach(index, event, taken)
        letters = expire(self._state, event.bandit_id, taken)
        if letters:
            self._bury_all(index, letters)

    def expire(self, index: int, bandit_id: str) -> None:
        """What is due in a bandit after an event at `index` that somebody else applied."""
        self._bury_all(index, expire(self._state, bandit_id, None))

    def _bury_all(self, index: int, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            self._bury(index, letter)

    def _teach(self, index: int, event: Fill | Close, taken: Taken) -> None:
        bandit = taken.bandit
        counted = taken.before is not None and taken.before.counted
        assert taken.decision is not None  # it has segments
        before = terms = taken.decision.terms
        for segment in taken.segments:
            reward, terms = learn(self._state, taken, segment, not counted, terms)
            counted = counted or reward.applied
            self.audit.append(reward)
            self.audit_indexes.append(index)
            if is_clipped(bandit, reward):
                self.clipped.append(len(self.audit) - 1)
        if terms is not before:
            self._state.keep_terms(taken.after, terms)
        bandit.cause_event_id, bandit.ts_event = event.event_id, event.ts_event

    def begin_anew(self) -> None:
        """Right before the first event: its record stands for the moment."""
        for bandit_id, settings_before in self._state.to_begin_anew.items():
            self.audit.append(begin_anew(self._state, bandit_id, settings_before))
            self.audit_indexes.append(0)

    def _obey(self, index: int, command: Command) -> None:
        audited = obey(self._state, command)
        if audited is None:
            self.outcomes[index] = DUPLICATE
            return
        self.audit.append(audited)
        self.audit_indexes.append(index)

    def _bury(self, index: int, letter: DeadLetter) -> None:
        self.dead_letters.append(letter)
        self.dead_letter_indexes.append(index)

    def result(self) -> Applied:
        state = self._state
        bandits = state.touched_bandits()
        position_snapshots, position_pages, forgotten = state.changed_positions()
        return Applied(
            self.outcomes,
            self.audit,
            self.audit_indexes,
            self.dead_letters,
            self.dead_letter_indexes,
            [weight_vector(bandit) for bandit, advanced in bandits if advanced],
            [state.bandit_snapshot(bandit) for bandit, _ in bandits],
            position_snapshots,
            position_pages,
            forgotten,
            state.forgotten_bandits(),
            self.clipped,
        )
