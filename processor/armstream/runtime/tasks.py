"""The tasks of one member, and the life of each. Law: a task moves along an arrow, or IllegalMove says that it cannot.

    LOST --assign--> ASSIGNED --begin--> RESTORING --finish--> READY
                        ^                                        |
                        +-----------------doubt------------------+

    ASSIGNED, RESTORING, READY --keep--> KEPT --assign--> ASSIGNED
    ASSIGNED, RESTORING        --lose--> LOST
                                         KEPT --give up--> LOST

A task that is revoked is kept where a state of it is held, else lost. What is held says nothing of who moved on with
the task meanwhile: it is valid again where the committed offsets equal its own, which the restore asks.

What was revoked is kept until an assignment stands, each of its tasks READY; what did not come back with it is given
up. Another member has it by then and moves it on, so that the state could serve only a task without any input.
"""

import time
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from armstream.stages.pipeline import Pipeline

if TYPE_CHECKING:
    from armstream.core.pipeline import CorePipeline

Offsets = dict[str, int]


@dataclass(slots=True)
class Task:
    """One partition number's state across the co-partitioned topics.

    `settings` are those that the audit log has last, as settings_in_force gives them; "" where it has none. It
    `is_due` where its snapshot does not say yet whose it is: that is committed without waiting for input, and with it
    every vector where it `lacks_vectors`.
    """

    number: int
    pipeline: "Pipeline | CorePipeline"
    next_offset: Offsets
    settings: str = ""
    is_due: bool = False
    lacks_vectors: bool = False


@dataclass(slots=True)
class Progress:
    """How far a restore is; `blocked_by` names what it waits for."""

    remaining_records: int = 0
    blocked_by: str = ""
    moved_at: float = field(default_factory=time.monotonic)

    def moved(self, remaining_records: int) -> None:
        self.remaining_records, self.moved_at = remaining_records, time.monotonic()


Steps = Generator[None, None, Task]
MakeSteps = Callable[[int, Task | None, Progress], Steps]  # number, what is held of it, progress to tell


@dataclass(slots=True)
class Restore:
    """A task on its way to ready, a step at a time."""

    steps: Steps
    progress: Progress
    started_at: float = field(default_factory=time.monotonic)

    def step(self) -> Task | None:
        """The task, where this was the last step."""
        try:
            next(self.steps)
        except StopIteration as done:
            task: Task = done.value
            return task
        return None


class State(Enum):
    """Where a task is in its life."""

    LOST = "lost"  # nothing is held: so is every task that never came
    ASSIGNED = "assigned"  # waits for its restore to begin
    RESTORING = "restoring"
    READY = "ready"  # its records are applied
    KEPT = "kept"  # revoked, and its state is held


_ARROWS: Mapping[str, Mapping[State, State]] = {
    "assign": {State.LOST: State.ASSIGNED, State.KEPT: State.ASSIGNED},
    "begin": {State.ASSIGNED: State.RESTORING},
    "finish": {State.RESTORING: State.READY},
    "doubt": {State.READY: State.ASSIGNED},
    "keep": {State.ASSIGNED: State.KEPT, State.RESTORING: State.KEPT, State.READY: State.KEPT},
    "lose": {State.ASSIGNED: State.LOST, State.RESTORING: State.LOST},
    "give up": {State.KEPT: State.LOST},
}


class IllegalMove(RuntimeError):
    """A task was told to do what its state does not allow: a fault of this program."""


@dataclass(slots=True)
class _Life:
    state: State = State.LOST
    held: Task | None = None
    restore: Restore | None = None


class Tasks:
    """Which tasks this member has, and where each is in its life. Nothing here calls Kafka."""

    def __init__(self) -> None:
        self._lives: dict[int, _Life] = {}  # LOST ones are not in it
        self._assigned: frozenset[int] | None = None  # None between a revocation and the next assignment

    # Reading.

    @property
    def assigned(self) -> frozenset[int]:
        return self._assigned or frozenset()

    @property
    def are_ready(self) -> bool:
        """There is an assignment, and each of its tasks is ready."""
        return self._assigned is not None and not self.are_restoring

    @property
    def are_restoring(self) -> bool:
        """A task is on its way to ready, or waits for its turn."""
        return any(life.state in (State.ASSIGNED, State.RESTORING) for life in self._lives.values())

    @property
    def ready(self) -> dict[int, Task]:
        return {
            number: life.held
            for number, life in self._lives.items()
            if life.state is State.READY and life.held is not None
        }

    @property
    def restoring(self) -> dict[int, Restore]:
        return {number: life.restore for number, life in self._lives.items() if life.restore is not None}

    def state(self, number: int) -> State:
        life = self._lives.get(number)
        return State.LOST if life is None else life.state

    def waiting(self, restores_at_once: int) -> list[int]:
        """Those whose restore may begin, where so many may be under way."""
        room = max(0, restores_at_once - len(self.restoring))
        return sorted(number for number, life in self._lives.items() if life.state is State.ASSIGNED)[:room]

    # Moves. Each raises IllegalMove.

    def assign(self, numbers: Collection[int]) -> None:
        """The group gave this member these tasks, and no others."""
        if self._assigned is not None:
            raise IllegalMove(f"tasks {sorted(numbers)} are assigned before {sorted(self._assigned)} were revoked")
        for number in numbers:
            self._move(number, "assign")
        self._assigned = frozenset(numbers)

    def begin(self, number: int, make_steps: MakeSteps) -> None:
        """Its restore begins, with what is held of it."""
        life = self._move(number, "begin")
        progress = Progress()
        life.restore = Restore(make_steps(number, life.held, progress), progress)

    def finish(self, number: int, task: Task) -> None:
        life = self._move(number, "finish")
        life.held, life.restore = task, None

    def doubt(self, number: int) -> None:
        """Somebody else moved on with it: what is held is not its state any more, and it is restored anew."""
        self._move(number, "doubt").held = None

    def revoke(self, numbers: Collection[int]) -> None:
        """The group took all that this member had; there is no assignment until the next one."""
        if self.assigned != frozenset(numbers):
            raise IllegalMove(f"tasks {sorted(numbers)} are revoked, and {sorted(self.assigned)} are assigned")
        for number in numbers:
            life = self._lives[number]
            if life.restore is not None:
                life.restore.steps.close()
                life.restore = None
            self._move(number, "lose" if life.held is None else "keep")
        self._assigned = None

    def give_up(self) -> list[int]:
        """Lets go of what is kept, where the tasks that are assigned are ready; which those were."""
        if not self.are_ready:
            return []
        kept = [number for number, life in self._lives.items() if life.state is State.KEPT]
        for number in kept:
            self._move(number, "give up")
        return kept

    def _move(self, number: int, arrow: str) -> _Life:
        life = self._lives.get(number) or _Life()
        to = _ARROWS[arrow].get(life.state)
        if to is None:
            raise IllegalMove(f"task {number} is {life.state.value}: it has no arrow {arrow!r}")
        life.state = to
        if to is State.LOST:
            del self._lives[number]
        else:
            self._lives[number] = life
        return life
