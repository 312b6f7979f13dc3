"""A log that two versions wrote: the state stood on topics of before, and was moved to `snapshots` while it learned."""

import pytest
from msgspec.structs import replace

from armstream.codec import decode
from armstream.events import BanditSnapshot, TaskSnapshot
from armstream.keys import TASK_KEY
from armstream.oracle.comparison import Difference
from armstream.runtime.moving import transactions
from tests.stages.events import close, fill
from tests.verify.desk import BANDITS, Desk, latest

FORGOTTEN = b"nobody's"


def trade(desk: Desk, *numbers: int) -> None:
    for number in numbers:
        desk.apply(fill(f"f{number}", f"p{number}"), close(f"c{number}", f"p{number}"))


def moved() -> Desk:
    """Trades, a move that was broken off, a trade more by the older version, the whole move, and trades more."""
    desk = Desk()
    names = desk.names
    trade(desk, 1, 2)
    desk.apply(fill("open", "left open"))
    begun = dict(latest(desk.topics[names.snapshots]))
    trade(desk, 3)
    state = latest(desk.topics[names.snapshots])
    desk.topics[names.bandit_snapshots] = [replace(one, topic=names.bandit_snapshots) for one in desk.topics[BANDITS]]
    desk.ends[names.bandit_snapshots] = desk.ends[names.snapshots]
    desk.topics[names.snapshots], desk.ends[names.snapshots] = [], 0
    for key in (b"book", b"book\0p1"):
        desk.write(names.snapshots, key, begun[key])
    desk.write(names.snapshots, FORGOTTEN, begun[b"book"])
    task = decode(state[TASK_KEY])
    assert isinstance(task, TaskSnapshot)
    there = latest(desk.topics[names.snapshots])
    for part in transactions(state, there, task, 3):
        for record in part:
            desk.write(names.snapshots, record["key"], record.get("value"))
    trade(desk, 4, 5)
    desk.apply(close("at last", "left open"))
    return desk


def test_a_log_of_both_versions_is_verified_whole_with_what_a_broken_off_move_left() -> None:
    account = moved().verify()
    assert (account.not_checked, account.counts["rewards"], account.counts["open"]) == ([], 6, 0)
    assert account.counts["not_placed"] == 0


def test_it_is_verified_too_once_the_topics_of_before_are_deleted() -> None:
    desk = moved()
    del desk.topics[desk.names.bandit_snapshots]
    assert desk.verify().not_checked == []


def at_first(desk: Desk, key: bytes, *, move: int) -> int:
    """Where on `snapshots` the record of a key stands, of those before the first task snapshot the one so named."""
    records = desk.topics[desk.names.snapshots]
    return [at for at, one in enumerate(records) if one.key == key][move]


def test_a_moved_snapshot_is_judged_by_what_was_learned_before() -> None:
    desk = moved()
    at = at_first(desk, b"book", move=1)
    snapshot = desk.event(desk.names.snapshots, at, BanditSnapshot)
    desk.change(desk.names.snapshots, at, total_steps=snapshot.total_steps + 1)
    with pytest.raises(Difference, match="total_steps"):
        desk.verify()


def test_a_snapshot_that_came_twice_after_the_move_is_judged_each_time() -> None:
    """There nothing was broken off."""
    desk = moved()
    records = desk.topics[desk.names.snapshots]
    at = at_first(desk, b"book", move=3)
    stale = records[at_first(desk, b"book", move=1)].value
    records.insert(at, replace(records[at], value=stale))
    with pytest.raises(Difference, match="snapshot of 'book'"):
        desk.verify()


def test_a_snapshot_that_is_lost_from_the_topics_of_before_is_not_missed_but_a_wrong_one_is_found() -> None:
    desk = moved()
    name = desk.names.bandit_snapshots
    snapshot = desk.event(name, 0, BanditSnapshot)
    del desk.topics[name][0]
    assert desk.verify().not_checked == []
    wrong = moved()
    wrong.change(name, 0, version=snapshot.version + 7)
    with pytest.raises(Difference, match=f"^{name}:0:"):
        wrong.verify()
