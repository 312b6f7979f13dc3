"""What is written where a state is moved, without Kafka: all of it, the task's own snapshot last, and nothing stale."""

from typing import Any

import pytest

from armstream.codec import decode
from armstream.events import TaskSnapshot
from armstream.keys import TASK_KEY, claim_key
from armstream.runtime import moving
from armstream.runtime.moving import moved, transactions
from armstream.runtime.snapshots import HEADERS, is_of_now
from armstream.settings import Settings

NAMES = Settings().topics.names
TASK = TaskSnapshot(1, {"trades": 7, "commands": 0}, "{}", "desk", {"trades": "t", "weights": "w"}, 4)
STATE = {b"book": b"1", claim_key("desk", "a"): b"claim", b"book\0p": b"2", b"\x000\0book\0p": b"3", TASK_KEY: b"task"}


def written(there: dict[bytes, bytes], most_records: int = 100) -> list[list[tuple[bytes, Any]]]:
    return [[(one["key"], one.get("value")) for one in part] for part in transactions(STATE, there, TASK, most_records)]


def test_a_state_goes_as_the_same_bytes_under_the_same_keys_and_its_tasks_snapshot_comes_last() -> None:
    (part,) = written({})
    assert part[:-1] == [(b"book", b"1"), (b"book\0p", b"2"), (b"\x000\0book\0p", b"3")]
    assert part[-1][0] == TASK_KEY
    assert decode(part[-1][1]) == TASK
    (records,) = transactions(STATE, {}, TASK, 100)
    assert [one for one in records if "headers" in one] == records[-1:]
    assert records[-1]["headers"] == HEADERS


def test_what_a_broken_off_move_left_and_the_state_has_not_is_ended_first_and_claims_stay() -> None:
    there = {claim_key("desk", "b"): b"claim", b"book": b"0", b"gone": b"0", b"gone\0p": b"0", TASK_KEY: b"older"}
    (part,) = written(there)
    assert part[:3] == [(b"gone", None), (b"gone\0p", None), (TASK_KEY, None)]
    assert part[3] == (b"book", b"1")
    assert not any(key.startswith(b"\0group") for key, _ in part)


@pytest.mark.parametrize("most_records", [1, 2, 3, 5])
def test_no_transaction_has_more_records_than_it_may_but_for_the_tasks_own(most_records: int) -> None:
    parts = written({b"gone": b"0"}, most_records)
    assert [one for part in parts for one in part] == written({b"gone": b"0"})[0]
    assert [len(part) for part in parts[:-1]] == [most_records] * (len(parts) - 1)
    assert len(parts[-1]) <= most_records + 1
    assert [key for part in parts[:-1] for key, _ in part].count(TASK_KEY) == 0


def test_no_transaction_has_more_bytes_than_it_may_but_for_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_MOST_BYTES", 7)
    assert [len(part) for part in written({})] == [1, 1, 2]


@pytest.mark.parametrize(
    ("now", "before", "holds"),
    [
        (None, None, False),
        (None, {"trades": 7}, False),
        ({"trades": 7}, None, True),
        ({"trades": 7}, {"trades": 7}, True),
        ({"trades": 8}, {"trades": 7}, True),
        ({"trades": 7}, {"trades": 8}, False),
        ({"trades": 7, "commands": 1}, {"trades": 8, "commands": 0}, True),
    ],
)
def test_the_state_of_now_holds_unless_an_older_processor_moved_on_with_the_one_of_before(
    now: dict[str, int] | None, before: dict[str, int] | None, holds: bool
) -> None:
    snapshots = [None if offsets is None else TaskSnapshot(1, offsets) for offsets in (now, before)]
    assert is_of_now(*snapshots) is holds


def test_a_moved_snapshot_says_where_its_state_stands_now_and_keeps_what_else_it_knew() -> None:
    """Of weights that were made anew meanwhile, too: else nobody would publish the vectors again."""
    ids = {"trades": "t", "weights": "w", "bandit-snapshots": "b", "position-snapshots": "p"}
    told = moved(TaskSnapshot(1, {"trades": 7}, "{}", "desk", ids, 4), NAMES.state_before, NAMES.snapshots, "s")
    assert told == TaskSnapshot(1, {"trades": 7}, "{}", "desk", {"trades": "t", "weights": "w", "snapshots": "s"}, 4)


def test_a_snapshot_of_before_topics_had_ids_says_none_when_it_is_moved() -> None:
    old = TaskSnapshot(1, {"trades": 7})
    assert moved(old, NAMES.state_before, NAMES.snapshots, "s") == old
