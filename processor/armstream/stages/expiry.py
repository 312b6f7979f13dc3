"""What time ends: closes whose fill never came, positions that are done, positions held too long.

Law: everything past due expires, and that is a question to state alone, so that neither the batch's boundaries nor a
restart moves it. What a bandit keeps beside its state only says where to look.
"""

from collections.abc import Sequence

from armstream.codec import encode
from armstream.events import DeadLetter, PositionSnapshot, Source
from armstream.keys import position_key
from armstream.stages.memory import (
    end_oldest_waiting,
    end_waiting,
    find_waiting,
    forget,
    forget_finished,
    forget_if_empty,
    make_room,
)
from armstream.stages.reward import Taken
from armstream.stages.state import NEVER, NEVER_YET, Bandit, TaskState


def expire(state: TaskState, bandit_id: str, taken: Taken | None) -> Sequence[DeadLetter]:
    """Ends all that is due in a bandit after one of its events: orphaned closes first, then positions, oldest first;
    then what there is no room for.

    `taken` is None for an event that changed nothing but, maybe, what time it is.
    """
    if taken is not None:
        bandit, before, after = taken.bandit, taken.before, taken.after
        state.note_flat(bandit, before, after)
        if after.waiting and (before is None or len(after.waiting) > len(before.waiting)):
            state.note_waiting(bandit, after.position_id, after.waiting[-1])
        return _end_due(state, bandit)
    touched = state.touched(bandit_id)
    return () if touched is None else _end_due(state, touched)  # where nothing changed, nothing is due that was not


def _end_due(state: TaskState, bandit: Bandit) -> Sequence[DeadLetter]:
    bandit_id = bandit.bandit_id
    letters: Sequence[DeadLetter] = ()
    limits = state.limits
    if bandit.waiting:
        letters = _expire_closes(state, bandit)
        if state.touched(bandit_id) is None:
            return letters
    if bandit.finished and bandit.finished[0][0] < bandit.floor - limits.dedupe_window_micros:
        forget_finished(state, bandit)
    if bandit.held_until < bandit.floor:
        letters = [*letters, *_expire_held(state, bandit)]
    while state.position_count > limits.max_positions_remembered and state.finished_count:
        make_room(state, bandit)
    return letters


def _oldest_wait(state: TaskState, bandit: Bandit) -> int:
    """Closes before this time wait no more. Where no fill tells the time, closes do, and it takes longer."""
    limits = state.limits
    if bandit.fill_watermark == NEVER:
        return bandit.close_watermark - limits.dedupe_window_micros
    return bandit.fill_watermark - limits.orphan_ttl_micros


def _expire_closes(state: TaskState, bandit: Bandit) -> list[DeadLetter]:
    """Those that waited too long, and then the oldest of the task, as long as too many wait."""
    letters: list[DeadLetter] = []
    hints, before = bandit.waiting, _oldest_wait(state, bandit)
    waited_micros = (
        state.limits.dedupe_window_micros if bandit.fill_watermark == NEVER else state.limits.orphan_ttl_micros
    )
    while hints and hints[0][0] < before:
        ts_event, event_id, position_id = state.pop_hint(hints)
        found = find_waiting(state, bandit.bandit_id, position_id, event_id, ts_event)
        if found is None:
            continue
        position, close = found
        error = f"no fill for {close.left!r} of {close.quantity!r} within {waited_micros / 1e6:g} s"
        letter = DeadLetter(close.source, "ORPHAN_CLOSE", error, ts_event, close.left)
        letters.append(end_waiting(state, bandit.bandit_id, position, close, letter))
    while state.waiting_close_count > state.limits.max_waiting_closes:
        letters.append(end_oldest_waiting(state))
    return letters


def _expire_held(state: TaskState, bandit: Bandit) -> list[DeadLetter]:
    letters: list[DeadLetter] = []
    max_holding_micros = state.limits.max_holding_micros
    bandit.held_until = NEVER_YET
    for position in state.held(bandit.bandit_id):
        if position.ts_last + max_holding_micros >= bandit.floor:
            bandit.held_until = position.ts_last + max_holding_micros
            break
        letters.append(_held_too_long(position, max_holding_micros))
        forget(state, bandit, position)
    forget_if_empty(state, bandit)
    return letters


def _held_too_long(position: PositionSnapshot, max_holding_micros: int) -> DeadLetter:
    """What is lost is the state itself, so that is what the dead letter carries."""
    key = position_key(position.bandit_id, position.position_id)
    return DeadLetter(
        Source("", -1, -1, key.encode(), encode(position)),
        "LIMIT",
        f"position {position.position_id!r} is forgotten: not flat, and no event for {max_holding_micros / 1e6:g} s",
        position.ts_last,
    )
