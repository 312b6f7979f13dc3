"""Where the state before a vector is had, and what stands on `weights` of it.

Law: the nearest snapshot that is not younger than the vector before; where compaction took them all, the beginning.
"""

from collections.abc import Mapping
from typing import NamedTuple

from armstream.events import BanditSnapshot, CommandApplied, WeightVector
from armstream.explain.audit import Audit, Entry
from armstream.explain.backwards import Backwards, Chunks, Kept, read_as
from armstream.operating.reader import UPGRADE
from armstream.oracle.settings import told
from armstream.rules import formula_of
from armstream.verify.published import settings_changed

MOST_REPLAYED = 100_000  # audit records: they are held, and their fills and closes with them


class Base(NamedTuple):
    """`snapshot` None: the learner begins at `settings`, as the first fill made it. `version`: of the last audit record
    in it."""

    version: int
    snapshot: BanditSnapshot | None
    settings: str


class Vector(NamedTuple):
    vector: WeightVector
    where: str


def base_of(topics: Chunks, bandit_id: str, audit: Audit, version: int) -> Base | str:
    """The state at a version or before it, from which the audit records lead on; else why there is none."""
    base = _nearest(topics, bandit_id, audit, version)
    return base if isinstance(base, str) else why_unknown(base.settings) or base


def why_unknown(settings: str) -> str:
    """Why no oracle knows a learner under these settings, which a newer version may have; "" where one does."""
    try:
        formula_of(told(settings))
    except ValueError as error:
        return f"{error}: {UPGRADE}"
    return ""


def _nearest(topics: Chunks, bandit_id: str, audit: Audit, version: int) -> Base | str:
    name = topics.names.snapshots
    log, newest = Backwards(topics.snapshots_backwards(), lambda kept: _snapshot(kept, topics.number)), None
    while log.more():
        newest = newest or next(iter(log.found), None)
        for snapshot in log.found:
            if snapshot.version <= version and snapshot.arms:
                found = Base(snapshot.version, snapshot, snapshot.settings)
                why = f"its nearest snapshot is of version {snapshot.version}"
                return _why_not(topics, audit, found.version, version, why) or found
        log.found.clear()
    why = _why_not(
        topics, audit, 0, version, f"{name}:{topics.number} keeps no snapshot of version {version} or before"
    )
    if why:
        return why
    if newest is None or not newest.arms:
        return f"{name}:{topics.number} has no snapshot of {bandit_id!r}, which tells the settings that it began with"
    change = audit.oldest_change
    settings = newest.settings if change is None else settings_changed(change.where, _command(change))[0]
    return Base(0, None, settings)


def _why_not(topics: Chunks, audit: Audit, base: int, version: int, why: str) -> str:
    """Why the records behind a state do not lead on to a version; "" where they do."""
    if version - base > MOST_REPLAYED:
        return f"{why}, which is {version - base:,} audit records before it; {MOST_REPLAYED:,} are replayed at most"
    if audit.read_back_to(base + 1):
        return ""
    return f"{why}, and {topics.names.rewards}:{topics.number} begins with version {audit.oldest.version}"


def _command(change: Entry) -> CommandApplied:
    assert isinstance(change.event, CommandApplied)  # nothing else changes settings
    return change.event


def _snapshot(kept: Kept, number: int) -> BanditSnapshot | None:
    """None for a tombstone. Raises Difference."""
    if kept.value is None:
        return None
    return read_as(kept, number, (BanditSnapshot,), "a BanditSnapshot")


def vectors_of(topics: Chunks, before: int, version: int) -> Mapping[int, Vector]:
    """The vectors of two versions, where they still stand: compaction takes the older ones of a bandit."""
    found: dict[int, Vector] = {}
    log = Backwards(topics.backwards(topics.names.weights), lambda kept: _vector(kept, topics.number))
    while log.more():
        for one in log.found:
            if one.vector.version in (before, version):
                found.setdefault(one.vector.version, one)
        if log.found and log.found[-1].vector.version <= before:
            break
        log.found.clear()
    return found


def _vector(kept: Kept, number: int) -> Vector | None:
    if kept.value is None:
        return None
    event = read_as(kept, number, (WeightVector,), "a WeightVector")
    return Vector(event, f"{kept.place(number)}, version {event.version}")
