"""A task's life: each arrow of the drawing leads where it says, and no other way is open."""

import gc
import weakref
from collections.abc import Callable

import pytest
from armstream.learning import LearningSettings
from armstream.stages.facts import BanditRegistry, TaskLimits

from armstream.runtime.tasks import IllegalMove, Progress, State, Steps, Task, Tasks
from armstream.stages.pipeline import Pipeline
from armstream.stages.state import TaskState

LOST, ASSIGNED, RESTORING, READY, KEPT = State.LOST, State.ASSIGNED, State.RESTORING, State.READY, State.KEPT


def task(number: int) -> Task:
    return Task(number, Pipeline(TaskState(TaskLimits(), BanditRegistry(LearningSettings(("a", "b"))))), {"trades": 7})


def one_step(number: int, held: Task | None, progress: Progress) -> Steps:
    """A restore that takes what is held, or makes a state, after one step."""
    progress.moved(0)
    yield
    return held or task(number)


def assigned(*numbers: int) -> Tasks:
    tasks = Tasks()
    tasks.assign(numbers)
    return tasks


def make_ready(tasks: Tasks) -> Tasks:
    """Every task that is assigned and not ready yet."""
    while waiting := tasks.waiting(1):
        tasks.begin(waiting[0], one_step)
        restore = tasks.restoring[waiting[0]]
        assert restore.step() is None
        done = restore.step()
        assert done is not None
        tasks.finish(done.number, done)
    return tasks


def in_state(state: State) -> Tasks:
    """Task 1 is in that state; where it is KEPT, there is no assignment."""
    tasks = Tasks()
    if state is LOST:
        return tasks
    tasks.assign([1])
    if state is RESTORING:
        tasks.begin(1, one_step)
    if state in (READY, KEPT):
        make_ready(tasks)
    if state is KEPT:
        tasks.revoke([1])
    return tasks


def assign_others(tasks: Tasks) -> None:
    tasks.assign([])
    tasks.give_up()


MOVES: dict[str, Callable[[Tasks], object]] = {
    "assign": lambda tasks: tasks.assign([1]),
    "begin": lambda tasks: tasks.begin(1, one_step),
    "finish": lambda tasks: tasks.finish(1, task(1)),
    "doubt": lambda tasks: tasks.doubt(1),
    "revoke": lambda tasks: tasks.revoke([1]),
    "assign others, and give up": assign_others,
}
LEGAL = {
    (LOST, "assign"): ASSIGNED,
    (LOST, "assign others, and give up"): LOST,
    (ASSIGNED, "begin"): RESTORING,
    (ASSIGNED, "revoke"): LOST,
    (RESTORING, "finish"): READY,
    (RESTORING, "revoke"): LOST,
    (READY, "doubt"): ASSIGNED,
    (READY, "revoke"): KEPT,
    (KEPT, "assign"): ASSIGNED,
    (KEPT, "assign others, and give up"): LOST,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("move", MOVES)
def test_a_task_moves_along_an_arrow_or_not_at_all(state: State, move: str) -> None:
    tasks = in_state(state)
    assert tasks.state(1) is state
    if (state, move) in LEGAL:
        MOVES[move](tasks)
        assert tasks.state(1) is LEGAL[state, move]
    else:
        with pytest.raises(IllegalMove, match="task"):
            MOVES[move](tasks)
        assert tasks.state(1) is state


@pytest.mark.parametrize("begun", [False, True])
def test_what_is_held_outlives_a_restore_that_is_cut_short(begun: bool) -> None:
    """Groups often rebalance twice in a row."""
    tasks = make_ready(assigned(1))
    state = tasks.ready[1]
    tasks.revoke([1])
    tasks.assign([1])
    if begun:
        tasks.begin(1, one_step)
        tasks.restoring[1].step()
    tasks.revoke([1])
    assert (tasks.state(1), tasks.restoring) == (KEPT, {})
    tasks.assign([1])
    assert make_ready(tasks).ready[1] is state


def test_a_restore_is_told_what_is_held_and_a_doubted_task_holds_nothing() -> None:
    told: list[Task | None] = []

    def steps(number: int, held: Task | None, progress: Progress) -> Steps:
        told.append(held)
        return one_step(number, held, progress)

    tasks = make_ready(assigned(1))
    state = tasks.ready[1]
    tasks.revoke([1])
    tasks.assign([1])
    tasks.begin(1, steps)
    tasks.finish(1, state)
    tasks.doubt(1)
    tasks.begin(1, steps)
    assert told == [state, None]


def test_a_restore_that_is_cut_short_is_closed() -> None:
    """It holds a consumer."""
    closed: list[int] = []

    def steps(number: int, _held: Task | None, _progress: Progress) -> Steps:
        try:
            yield
        finally:
            closed.append(number)
        raise AssertionError("it went on")

    tasks = assigned(1, 2)
    for number in (1, 2):
        tasks.begin(number, steps)
        tasks.restoring[number].step()
    restores = tasks.restoring  # so that it is not their end that closes them
    tasks.revoke([1, 2])
    assert sorted(closed) == sorted(restores) == [1, 2]


def test_only_so_many_restores_are_under_way_and_the_lowest_numbers_come_first() -> None:
    tasks = assigned(5, 3, 4, 1)
    assert tasks.waiting(2) == [1, 3]
    tasks.begin(1, one_step)
    assert tasks.waiting(2) == [3]
    tasks.begin(3, one_step)
    assert (tasks.waiting(2), tasks.waiting(1)) == ([], [])
    tasks.finish(1, task(1))
    assert tasks.waiting(2) == [4]


def test_all_are_ready_only_while_there_is_an_assignment_and_each_of_its_tasks_is() -> None:
    tasks = Tasks()
    assert not tasks.are_ready
    tasks.assign([1, 2])
    tasks.begin(1, one_step)
    tasks.finish(1, task(1))
    assert not tasks.are_ready
    make_ready(tasks)
    assert tasks.are_ready
    tasks.revoke([1, 2])
    assert not tasks.are_ready
    tasks.assign([])  # more members than tasks
    assert tasks.are_ready


def test_what_did_not_come_back_is_given_up_once_the_next_assignment_is_ready_and_not_before() -> None:
    tasks = make_ready(assigned(1, 2))
    tasks.revoke([1, 2])
    assert tasks.give_up() == []
    tasks.assign([2, 3])
    tasks.begin(2, one_step)
    assert (tasks.give_up(), tasks.state(1)) == ([], KEPT)
    tasks.finish(2, task(2))
    make_ready(tasks)
    assert (tasks.give_up(), tasks.state(1), sorted(tasks.ready)) == ([1], LOST, [2, 3])
    assert tasks.give_up() == []


def test_the_state_of_a_task_that_was_given_up_is_freed_though_the_collector_was_told_to_leave_it() -> None:
    tasks = make_ready(assigned(1))
    state = weakref.ref(tasks.ready[1].pipeline.state)
    gc.freeze()
    try:
        tasks.revoke([1])
        assign_others(tasks)
        assert state() is None
    finally:
        gc.unfreeze()


def test_a_second_assignment_before_the_first_is_revoked_is_refused() -> None:
    tasks = assigned(1)
    with pytest.raises(IllegalMove, match="assigned before"):
        tasks.assign([1, 2])


def test_all_that_is_assigned_is_revoked_together() -> None:
    """With the range assignor: less would leave tasks that nobody makes ready again."""
    tasks = assigned(1, 2)
    with pytest.raises(IllegalMove, match="are revoked"):
        tasks.revoke([1])
