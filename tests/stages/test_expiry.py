"""What time ends, at the exact microsecond: orphaned closes, flat positions, positions held too long."""

from typing import Any

import pytest

from armstream.codec import decode
from armstream.events import PositionSnapshot
from tests.stages.events import START, close, fill, learning_rules, short_rules, source_of
from tests.stages.task import Task

WINDOW, TTL, HOLDING = 1_000, 400, 4_000


@pytest.fixture
def task() -> Task:
    """Fills and closes on a topic each, so that each kind has a time of its own."""
    return Task(short_rules(trades_share_topic=False), learning_rules())


def both_at(task: Task, ts_event: int) -> None:
    """Moves both watermarks by a position that is flat at once."""
    name = f"tick-{ts_event}"
    task.apply(fill(name, name, ts_event=ts_event), close(name, name, ts_event=ts_event))


def test_a_waiting_close_is_an_orphan_once_the_fills_are_its_ttl_past_it(task: Task) -> None:
    task.apply(close(quantity=7.0))
    assert task.apply(fill("f", "p2", ts_event=START + TTL)).dead_letters == []
    applied = task.apply(fill("f", "p3", ts_event=START + TTL + 1))
    (letter,) = applied.dead_letters
    assert (letter.error_class, letter.quantity_left, letter.ts_event) == ("ORPHAN_CLOSE", 7.0, START)
    assert letter.source == source_of(0)
    assert (applied.dead_letter_indexes, list(applied.outcomes)) == ([0], [0])
    assert task.state.waiting_close_count == 0
    assert [each.event_id for each in task.position().closes] == ["c1"]


def test_closes_alone_are_orphans_once_their_own_time_is_the_window_past_them(task: Task) -> None:
    task.apply(close("c1", quantity=7.0))
    assert task.apply(close("c2", "p2", ts_event=START + WINDOW)).dead_letters == []
    (letter,) = task.apply(close("c3", "p3", ts_event=START + WINDOW + 1)).dead_letters
    assert (letter.error_class, letter.quantity_left, letter.source) == ("ORPHAN_CLOSE", 7.0, source_of(0))
    assert letter.error == "no fill for 7.0 of 7.0 within 0.001 s"


def test_closes_alone_on_the_topic_of_fills_are_orphans_after_the_ttl() -> None:
    task = Task(short_rules(), learning_rules())
    task.apply(close("c1"))
    assert task.apply(close("c2", "p2", ts_event=START + TTL)).dead_letters == []
    (letter,) = task.apply(close("c3", "p3", ts_event=START + TTL + 1)).dead_letters
    assert (letter.error_class, letter.source) == ("ORPHAN_CLOSE", source_of(0))


def test_an_orphan_keeps_what_it_matched_before(task: Task) -> None:
    task.apply(fill(quantity=30.0, order_quantity=100.0), close(quantity=100.0, fees=10.0, price=150.0))
    applied = task.apply(fill("f", "p2", ts_event=START + TTL + 1))
    assert applied.dead_letters[0].quantity_left == 70.0
    (reward,) = (reward for _, reward in task.published.rewards)
    assert (reward.quantity, reward.weight) == (30.0, 0.3)
    assert reward.reward_bps == pytest.approx(-3.0 / 4_500 * 10_000, rel=1e-12)
    task.apply(fill("f2", quantity=70.0, order_quantity=100.0, ts_event=START + TTL + 1))
    assert task.position().open_left == 70.0  # the orphan is gone


def test_a_close_that_comes_too_late_to_wait_is_an_orphan_at_once_unless_its_fill_is_there(task: Task) -> None:
    task.apply(fill("f1", "p1", ts_event=START), fill("f2", "p2", ts_event=START + 900))
    applied = task.apply(close("c1", "p1"), close("c3", "p3"))
    assert len(applied.rewards) == 1
    assert [letter.source.offset for letter in applied.dead_letters] == [3]


def test_orphans_go_in_the_order_of_time_and_event_id(task: Task) -> None:
    task.apply(
        close("c9", "p1", ts_event=START),
        close("c2", "p2", ts_event=START + 5),
        close("c1", "p3", ts_event=START + 5),
        close("c0", "p1", ts_event=START + 6),
    )
    applied = task.apply(fill("f", "p4", ts_event=START + TTL + 7))
    assert [letter.source.offset for letter in applied.dead_letters] == [0, 2, 1, 3]


def test_the_fill_that_moves_the_watermark_is_matched_before_anything_expires(task: Task) -> None:
    task.apply(close("c1", "p1"))
    applied = task.apply(fill("f1", "p1", ts_event=START + TTL + 1))
    assert (len(applied.rewards), applied.dead_letters) == (1, [])


def test_a_flat_position_is_forgotten_once_the_smaller_watermark_is_the_window_past_it(task: Task) -> None:
    task.apply(fill(), close(ts_event=START + 7))
    task.apply(fill("f", "p2", quantity=900.0, ts_event=START + 50_000))  # one watermark alone forgets nothing
    assert task.remembers("p1")
    task.apply(close("c", "p2", ts_event=START + 7 + WINDOW))
    assert task.remembers("p1")
    applied = task.apply(close("c0", "p2", ts_event=START + 7 + WINDOW + 1))
    assert applied.forgotten == ["book\0p1"]
    assert applied.dead_letters == []
    assert not task.remembers("p1")


def test_a_flat_position_of_closes_alone_is_forgotten_too(task: Task) -> None:
    task.apply(close("c1", "p1"))
    both_at(task, START + TTL + 1)  # an orphan now
    both_at(task, START + WINDOW + 1)
    assert not task.remembers("p1")


def test_duplicates_are_caught_until_a_position_is_forgotten(task: Task) -> None:
    task.apply(fill(), close())
    both_at(task, START + WINDOW)
    assert list(task.apply(fill(), close()).outcomes) == [1, 1]
    both_at(task, START + WINDOW + 1)
    assert [letter.error_class for letter in task.apply(fill(), close()).dead_letters] == ["LATE", "LATE"]


def test_an_open_position_is_not_forgotten_with_the_window(task: Task) -> None:
    task.apply(fill())
    for step in range(1, HOLDING // 100 + 1):
        both_at(task, START + step * 100)
    assert task.remembers("p1")
    assert list(task.apply(close(ts_event=START + HOLDING)).outcomes) == [0]


def test_a_position_held_open_and_closed_at_last_is_forgotten_on_time(task: Task) -> None:
    """The close is as old as it may be, so that the position is due soon after it, long before its last hint."""
    task.apply(fill())
    both_at(task, START + 3_000)
    task.apply(close(ts_event=START + 2_000))
    assert task.remembers("p1")
    both_at(task, START + 3_001)
    assert not task.remembers("p1")


def test_a_position_without_an_event_for_max_holding_is_a_dead_letter_that_carries_it(task: Task) -> None:
    task.apply(fill(quantity=30.0, order_quantity=90.0), close(quantity=10.0, ts_event=START + 5))
    both_at(task, START + 5 + HOLDING)
    held = task.position()
    assert held.ts_last == START + 5
    assert task.published.dead_letters == []
    both_at(task, START + 5 + HOLDING + 1)
    ((_, letter),) = task.published.dead_letters
    assert (letter.error_class, letter.ts_event, letter.quantity_left) == ("LIMIT", START + 5, None)
    assert (letter.source.topic, letter.source.partition, letter.source.offset) == ("", -1, -1)
    assert letter.source.key == b"book\0p1"
    assert letter.source.value is not None
    carried = decode(letter.source.value)
    assert isinstance(carried, PositionSnapshot)
    assert carried == held
    assert not task.remembers("p1")
    assert task.state.open_position_count == 0


def test_positions_go_in_the_order_of_their_last_event(task: Task) -> None:
    task.apply(
        fill("f", "p2", ts_event=START + 1), fill("f", "p3", ts_event=START), fill("f", "p1", ts_event=START + 1)
    )
    both_at(task, START + 2 + HOLDING)
    keys = [letter.source.key for _, letter in task.published.dead_letters]
    assert keys == [b"book\0p3", b"book\0p1", b"book\0p2"]


def test_what_comes_and_goes_within_a_batch_is_neither_written_nor_forgotten(task: Task) -> None:
    far = START + 10 * WINDOW
    applied = task.apply(fill(), close(), fill("f", "p2", ts_event=far), close("c", "p2", ts_event=far))
    assert [position.position_id for position in applied.position_snapshots] == ["p2"]
    assert applied.forgotten == []


def test_a_position_that_comes_back_in_the_batch_that_forgot_it_is_written(task: Task) -> None:
    task.apply(fill(), close())
    far = START + 10 * WINDOW
    applied = task.apply(
        fill("f", "p2", ts_event=far), close("c", "p2", ts_event=far), fill("f9", "p1", arm="mlp", ts_event=far)
    )
    assert applied.forgotten == []
    assert [each.event_id for each in task.position("p1").fills] == ["f9"]


def test_each_bandit_has_its_own_time(task: Task) -> None:
    task.apply(fill(bandit_id="other"), close(bandit_id="other"))
    both_at(task, START + 100_000)
    assert task.remembers("p1", "other")


def test_an_orphan_of_old_makes_its_position_flat_and_forgotten_at_once() -> None:
    task = Task(short_rules(orphan_ttl_micros=3_000), learning_rules())
    task.apply(close("c1", "p1"))
    both_at(task, START + 2_500)
    assert task.remembers("p1")
    both_at(task, START + 3_001)
    assert not task.remembers("p1")


def test_a_position_held_long_leaves_nothing_behind() -> None:
    task = Task(short_rules(max_holding_micros=10**9), learning_rules())
    task.apply(*(fill("f", f"p{number}") for number in range(50)))
    both_at(task, START + 5_000)
    assert len(task.state.held("book")) == 50
    task.apply(*(close("c", f"p{number}", ts_event=START + 5_000) for number in range(50)))
    both_at(task, START + 6_001)
    both_at(task, START + 7_002)
    book = task.state.bandit("book")
    assert book is not None
    assert len(book.finished) <= 4
    assert task.state.held("book") == []


def test_hints_do_not_pile_up(task: Task) -> None:
    """One position, opened and closed many times over a long time, keeps a hint each time, and not past the window."""
    task.apply(fill("held", "held"))
    for step in range(1, 60):
        order: dict[str, Any] = {"order_quantity": 1e6, "ts_event": START + step * 60}
        task.apply(fill(f"f{step}", **order), close(f"c{step}", ts_event=START + step * 60))
    for _ in range(5):
        task.abort(fill("f", "p9", ts_event=START + 9_000), close("c", "p9", ts_event=START + 9_000))
    book = task.state.bandit("book")
    assert book is not None
    assert len(book.finished) <= WINDOW // 60 + 1 + 5  # an aborted one stays until it is looked at
    assert [position.position_id for position in task.state.held("book")] == ["held"]
    both_at(task, START + 60 * 60 + 10_000)
    assert len(book.finished) <= 1
    assert (book.waiting, task.state.waiting) == ([], [])


def test_a_limit_that_was_lowered_makes_room_as_far_as_there_is_something_finished(task: Task) -> None:
    task.apply(*(fill("f", f"p{number}", quantity=50.0, order_quantity=100.0) for number in range(3)))
    task.apply(fill("f", "p9"), close("c", "p9"))
    task.reward_rules = short_rules(max_positions_remembered=2, trades_share_topic=False)
    task.restart()
    assert list(task.apply(fill("g", "p0", quantity=50.0, order_quantity=100.0)).outcomes) == [0]
    assert task.remembered() == {("book", "p0"), ("book", "p1"), ("book", "p2")}
    assert list(task.apply(close("c", "p1", quantity=50.0, final=True)).outcomes) == [0]
    assert task.remembered() == {("book", "p0"), ("book", "p2")}
