"""What is remembered, and until when: a bandit's time, its finished positions, and the closes that wait.

Law: what is remembered never refuses what is new. A finished position is forgotten when it is old, or the oldest where
there is no room; `forgotten_until` then rises to its last event, and nothing at or before it is taken for new. All of
it is a question to state alone: the heaps of a bandit only say where to look.
"""

from armstream.events import DeadLetter, PositionSnapshot, WaitingClose
from armstream.keys import position_key
from armstream.stages.matching import is_done
from armstream.stages.pages import event_count
from armstream.stages.state import Bandit, TaskState, is_flat
from armstream.stages.validation import FIRST_CREDIBLE_MICROS, check_time


def tell_time(state: TaskState, bandit_id: str, ts_event: int, is_fill: bool) -> Bandit | None:
    """The bandit of an event, moved on to the event's time, with what is old by now forgotten. None for an unknown one.

    Raises Refused for a time that is none.
    """
    if ts_event < FIRST_CREDIBLE_MICROS:
        check_time(ts_event)
    bandit = state.bandit(bandit_id)
    if bandit is None or ts_event <= (bandit.fill_watermark if is_fill else bandit.close_watermark):
        return bandit
    bandit = state.touch(bandit_id)
    move_watermarks(state, bandit, ts_event, is_fill)
    if bandit.finished and bandit.finished[0][0] < bandit.floor - state.limits.dedupe_window_micros:
        forget_finished(state, bandit)
    return bandit


def move_watermarks(state: TaskState, bandit: Bandit, ts_event: int, is_fill: bool) -> None:
    """The touched bandit's, by the newest event; where fills and closes come in one order, either moves both."""
    if state.limits.trades_share_topic:
        bandit.fill_watermark = bandit.close_watermark = bandit.floor = ts_event
        return
    if is_fill:
        bandit.fill_watermark = ts_event
    else:
        bandit.close_watermark = ts_event
    bandit.set_floor()


def forget_finished(state: TaskState, bandit: Bandit) -> None:
    """Those whose last event is a dedupe_window behind the floor."""
    finished, oldest_kept = bandit.finished, bandit.floor - state.limits.dedupe_window_micros
    while finished and finished[0][0] < oldest_kept:
        position = _finished_at(state, bandit, state.pop_hint(finished))
        if position is not None:
            forget(state, bandit, position)


def forget(state: TaskState, bandit: Bandit, position: PositionSnapshot) -> None:
    """A position of the touched bandit."""
    state.forget(position_key(position.bandit_id, position.position_id), position)
    if is_flat(position):
        bandit.finished_count -= 1
        state.finished_count -= 1
    bandit.forgotten_until = max(bandit.forgotten_until, position.ts_last)


def make_room(state: TaskState, bandit: Bandit) -> None:
    """Forgets the oldest finished position of the task, which has one: the bandit's own, else that of the bandit which
    has most of them."""
    position = _oldest_finished(state, bandit)
    if position is None:
        oldest = [_oldest_finished(state, one) for one in state.with_most_finished()]
        position = min(
            (one for one in oldest if one is not None), key=lambda one: (one.ts_last, one.bandit_id, one.position_id)
        )
    forget(state, state.touch(position.bandit_id), position)


def _oldest_finished(state: TaskState, bandit: Bandit) -> PositionSnapshot | None:
    finished = bandit.finished
    while finished:
        position = _finished_at(state, bandit, finished[0])
        if position is not None:
            return position
        state.pop_hint(finished)
    return None


def _finished_at(state: TaskState, bandit: Bandit, hint: tuple[int, str]) -> PositionSnapshot | None:
    position = state.position(position_key(bandit.bandit_id, hint[1]))
    return position if position is not None and position.ts_last == hint[0] and is_flat(position) else None


# Closes that wait.


def end_oldest_waiting(state: TaskState) -> DeadLetter:
    """The task's oldest close that waits makes room. There is one."""
    while True:
        ts_event, bandit_id, position_id, event_id = state.pop_hint(state.waiting)
        found = find_waiting(state, bandit_id, position_id, event_id, ts_event)
        if found is None:
            continue
        position, close = found
        most = state.limits.max_waiting_closes
        error = f"{most} closes wait for their fills, and this is the oldest: {close.left!r} of {close.quantity!r}"
        letter = DeadLetter(close.source, "LIMIT", error, ts_event, close.left)
        return end_waiting(state, bandit_id, position, close, letter)


def find_waiting(
    state: TaskState, bandit_id: str, position_id: str, event_id: str, ts_event: int
) -> tuple[PositionSnapshot, WaitingClose] | None:
    """The close that a hint names, in its position. None where it was matched, or ended."""
    position = state.position(position_key(bandit_id, position_id))
    for close in () if position is None else position.waiting:
        if close.event_id == event_id and close.ts_event == ts_event:
            assert position is not None  # it has the close
            return position, close
    return None


def end_waiting(
    state: TaskState, bandit_id: str, position: PositionSnapshot, close: WaitingClose, letter: DeadLetter
) -> DeadLetter:
    """The close waits no more, as `letter` says, which is given back. Of a bandit without a learner nothing is kept."""
    bandit = state.touch(bandit_id)
    after = without_waiting(position, close.event_id)
    key = position_key(bandit_id, position.position_id)
    if is_flat(after) and bandit.learner is None:
        state.forget(key, position)
        forget_if_empty(state, bandit)
    else:
        state.put(key, position, after)
        state.note_flat(bandit, position, after)
        forget_finished(state, bandit)
    return letter


def forget_if_empty(state: TaskState, bandit: Bandit) -> None:
    """A bandit that no fill ever made a learner of is nothing but its closes that wait."""
    if bandit.learner is None and not _waits(state, bandit):
        state.forget_bandit(bandit)


def _waits(state: TaskState, bandit: Bandit) -> bool:
    """Whether any close of it waits."""
    hints = bandit.waiting
    while hints:
        ts_event, event_id, position_id = hints[0]
        if find_waiting(state, bandit.bandit_id, position_id, event_id, ts_event) is not None:
            return True
        state.pop_hint(hints)
    return False


def without_waiting(before: PositionSnapshot, event_id: str) -> PositionSnapshot:
    waiting = tuple(close for close in before.waiting if close.event_id != event_id)
    decision = before.decision
    if decision is not None and not (waiting or before.open_left):
        count = event_count(before)
        decision = None if is_done(before.final_close_id, decision, before.filled_quantity, count) else decision
    return PositionSnapshot(
        before.bandit_id,
        before.position_id,
        before.ts_last,
        before.counted,
        before.filled_quantity,
        before.filled_weight,
        before.side,
        before.fills,
        before.closes,
        before.open_from,
        before.open_left,
        decision,
        waiting,
        before.paged,
        before.final_close_id,
    )
