"""Whose a task's state is. Law: topics serve one group. A task snapshot names it; on fresh topics the first claim does.

A claim is a task snapshot without offsets on partition 0, under a key of its own for each process. Each process that
finds no owner writes one, and then reads all of them up to the end, past every open transaction: the first in the log's
order wins, and everybody reads the same order. Compaction keeps it, since no key is written twice.
"""

from collections.abc import Iterable, Mapping
from typing import NoReturn

from armstream.codec import DecodeError
from armstream.events import TaskSnapshot
from armstream.keys import CLAIM_PREFIX, TASK_KEY
from armstream.runtime.failures import Stopped
from armstream.runtime.identity import ANEW, Identity, grown, learned_from_another
from armstream.runtime.snapshots import Values, decoded, unreadable


def task_snapshot_in(values: Values) -> TaskSnapshot | None:
    """The task's own among the last values of a snapshot topic's keys. Raises Stopped where it is none, and
    DecodeError."""
    return _task_snapshot(values[TASK_KEY]) if TASK_KEY in values else None


def first_claimant(values: Values) -> str | None:
    """The group whose claim stands first; `values` are in the log's order. Raises Stopped."""
    claims = (value for key, value in values.items() if key.startswith(CLAIM_PREFIX))
    first = next(claims, None)
    try:
        return None if first is None else _task_snapshot(first).group
    except DecodeError as error:
        raise Stopped(unreadable("the first claim of these topics", error)) from error


def _task_snapshot(value: bytes) -> TaskSnapshot:
    snapshot = decoded(value)
    if not isinstance(snapshot, TaskSnapshot):
        raise Stopped(f"the task's own key holds a {type(snapshot).__name__}")
    return snapshot


def refuse_anothers(
    number: int, snapshot: TaskSnapshot, identity: Identity, inputs: tuple[str, ...], state: Iterable[str]
) -> None:
    """Raises Stopped where a task's state is another group's, or was learned from other topics or partitions.

    `state` are the topics that hold it. What an older processor did not say is taken as it is.
    """
    refuse_another_group(number, snapshot.group or identity.group, identity)
    if snapshot.partitions and snapshot.partitions != identity.partitions:
        raise Stopped(grown(inputs[0], snapshot.partitions, identity.partitions))
    for name in dict.fromkeys((*inputs, *state)):
        before, now = snapshot.topic_ids.get(name), identity.topic_ids.get(name)
        if before is None and snapshot.topic_ids and name not in inputs:
            raise Stopped(f"task {number}: its state is not on {name}: set the topics' names back. Else: {ANEW}")
        if now is None:
            raise Stopped(f"task {number}: there is no topic {name}, which held a part of its state. {ANEW}")
        if before is not None and before != now:
            raise Stopped(f"task {number}: {learned_from_another(name, before, now)}")


def refuse_another_group(number: int, group: str, identity: Identity) -> None:
    """Raises Stopped where the owner is not ours."""
    if group != identity.group:
        raise Stopped(
            f"task {number}: these topics are group {group!r}'s, and this is {identity.group!r}: two groups would "
            f"publish every reward twice. Set kafka.group_id to {group!r}, or: {ANEW}"
        )


def refuse_leftovers(number: int, holds_records: str) -> NoReturn:
    """Raises Stopped: neither state nor offsets stand, and an output says that there were some."""
    raise Stopped(
        f"task {number}: there are neither snapshots nor offsets of its group, and {holds_records} holds records: it "
        f"would begin again at version 1, which engines ignore, and publish every reward twice. {ANEW}"
    )


def disagreement(number: int, snapshot: TaskSnapshot | None, committed: Mapping[str, int], group: str) -> str:
    """The line where a task's snapshot and the group's offsets did not leave one transaction together."""
    if snapshot is None:
        return (
            f"task {number}: there is no snapshot of it, and group {group!r} stands at {dict(committed)}: its state "
            f"was lost. {ANEW}"
        )
    whose = "" if snapshot.group else f", where it was group {group!r} that wrote it"
    return (
        f"task {number}: the snapshot stands at {dict(snapshot.next_offset)} and group {group!r} at "
        f"{dict(committed) or 'nothing'}: the group's offsets were lost or moved; `armstream reset to-snapshots` sets "
        f"them back to the snapshot's{whose}"
    )
