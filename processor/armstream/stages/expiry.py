"""What time ends: closes whose fill never came, positions that are done, positions held too long.

Law: everything past due expires, and that is a question to state alone, so that neither the batch's boundaries nor a
restart moves it. The heaps of a bandit only say where to look. For that, each position has a hint at or before the
moment it can be due: at `ts_last + dedupe_window` as long as the floor (the smaller watermark) has not passed it, and
then, held open, again and again, until `ts_last + max_holding`.
"""

from collections.abc import Sequence
from heapq import heappop, heappush

from armstream.codec import encode
from armstream.events import DeadLetter, PositionSnapshot, Source
from armstream.keys import position_key
from armstream.stages.reward import Taken
from armstream.stages.state import Bandit, TaskState


def expire(state: TaskState, taken: Taken) -> Sequence[DeadLetter]:
    """Ends all that is due in a bandit after one of its events: orphaned closes first, then positions, oldest first."""
    bandit, before, after, limits = taken.bandit, taken.before, taken.after, state.limits
    waiting, checks = bandit.waiting, bandit.checks
    if after.closes and (before is None or len(after.close_ids) > len(before.close_ids)):
        close = after.closes[-1]
        heappush(waiting, (close.ts_event, close.event_id, after.position_id))
    if before is None or before.ts_last + limits.dedupe_window_micros < bandit.floor:
        heappush(checks, (after.ts_last + limits.dedupe_window_micros, after.position_id))

    letters: Sequence[DeadLetter] = ()
    if waiting and waiting[0][0] + limits.orphan_ttl_micros < bandit.fill_watermark:
        letters = _expire_closes(state, bandit)
    if checks and checks[0][0] < bandit.floor:
        letters = [*letters, *_expire_positions(state, bandit)]
    return letters


def _expire_closes(state: TaskState, bandit: Bandit) -> list[DeadLetter]:
    letters: list[DeadLetter] = []
    waiting, limits = bandit.waiting, state.limits
    while waiting and waiting[0][0] + limits.orphan_ttl_micros < bandit.fill_watermark:
        ts_event, event_id, position_id = due = heappop(waiting)
        state.took_waiting(waiting, due)
        key = position_key(bandit.bandit_id, position_id)
        before = state.position(key)
        if before is None:
            continue
        for close in before.closes:
            if close.event_id == event_id and close.ts_event == ts_event:
                break
        else:
            continue  # it was matched
        after = _without_close(before, event_id)
        state.put(key, before, after)
        if after.ts_last + limits.dedupe_window_micros < bandit.floor:
            heappush(bandit.checks, (after.ts_last + limits.dedupe_window_micros, position_id))
        letters.append(
            DeadLetter(
                close.source,
                "ORPHAN_CLOSE",
                f"no fill for {close.left!r} of {close.quantity!r} within {limits.orphan_ttl_micros / 1e6:g} s",
                ts_event,
                close.left,
            )
        )
    return letters


def _expire_positions(state: TaskState, bandit: Bandit) -> list[DeadLetter]:
    letters: list[DeadLetter] = []
    floor, limits = bandit.floor, state.limits
    for position in _to_look_at(state, bandit):
        key = position_key(bandit.bandit_id, position.position_id)
        is_flat = not position.fills and not position.closes
        due = position.ts_last + (limits.dedupe_window_micros if is_flat else limits.max_holding_micros)
        if due < floor:
            state.forget(key, position)
            if not is_flat:
                letters.append(_held_too_long(position, key, limits.max_holding_micros))
            continue
        young = position.ts_last + limits.dedupe_window_micros
        again = young if young >= floor else min(due, floor + limits.dedupe_window_micros)
        heappush(bandit.checks, (again, position.position_id))
    return letters


def _to_look_at(state: TaskState, bandit: Bandit) -> list[PositionSnapshot]:
    """The positions whose hint has come, each once, oldest first."""
    checks, floor = bandit.checks, bandit.floor
    found: dict[str, PositionSnapshot] = {}
    while checks and checks[0][0] < floor:
        check = heappop(checks)
        state.took_check(checks, check)
        position = state.position(position_key(bandit.bandit_id, check[1]))
        if position is not None:
            found[check[1]] = position
    if len(found) < 2:
        return list(found.values())
    return sorted(found.values(), key=lambda position: (position.ts_last, position.position_id))


def _without_close(before: PositionSnapshot, event_id: str) -> PositionSnapshot:
    return PositionSnapshot(
        before.bandit_id,
        before.position_id,
        before.ts_last,
        before.counted,
        before.filled_quantity,
        before.fill_ids,
        before.close_ids,
        before.decision,
        before.fills,
        tuple(close for close in before.closes if close.event_id != event_id),
    )


def _held_too_long(position: PositionSnapshot, key: str, max_holding_micros: int) -> DeadLetter:
    """What is lost is the state itself, so that is what the dead letter carries."""
    return DeadLetter(
        Source("", -1, -1, key.encode(), encode(position)),
        "LIMIT",
        f"position {position.position_id!r} is forgotten: not flat, and no event for {max_holding_micros / 1e6:g} s",
        position.ts_last,
    )
