"""Positions of many events: they are rewarded whole, nothing is forgotten of them, and an event costs the same however
many came before it."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import pytest

from armstream.codec import Event, encode
from armstream.events import Paged, PositionClose, PositionFill, PositionPage, Source
from armstream.keys import page_key
from armstream.stages.facts import TaskLimits
from armstream.stages.pages import PAGE_EVENTS, Pages
from armstream.stages.pipeline import Applied
from tests.stages.events import START, close, fill, learning_rules, short_rules
from tests.stages.task import Task

ORDER: dict[str, Any] = {"order_quantity": 1_500.0, "quantity": 1.0}
restarted_or_not = pytest.mark.parametrize("steps", [Task.going_on, Task.restart], ids=["going on", "restarted"])


@pytest.fixture(params=[True, False], ids=["one topic", "two topics"])
def task(request: pytest.FixtureRequest) -> Task:
    return Task(TaskLimits(trades_share_topic=request.param), learning_rules())


def bytes_of(applied: Applied) -> int:
    """What a batch wrote of positions."""
    written: Sequence[Event] = [*applied.position_snapshots, *applied.position_pages]
    return sum(len(encode(record)) for record in written)


@restarted_or_not
def test_1500_child_fills_and_one_close_are_rewarded_at_the_default_limits(
    task: Task, steps: Callable[[Task], None]
) -> None:
    """Each at a price of its own: the n-th earns 0.01 n of 100 + 0.01 (1500 - n) in bps."""
    fills = [fill(f"f{n}", price=100.0 + 0.01 * (1_500 - n), **ORDER) for n in range(1_500)]
    for at in range(0, 1_500, 100):
        task.apply(*fills[at : at + 100])
        steps(task)
    task.apply(close(quantity=1_500.0, price=115.0))
    rewards = [reward for _, reward in task.published.rewards]
    by_hand = [0.01 * n / (100.0 + 0.01 * (1_500 - n)) * 1e4 for n in range(1_500)]
    assert [reward.reward_bps for reward in rewards] == pytest.approx(by_hand, rel=1e-9, abs=1e-9)
    assert [reward.fill_event_id for reward in rewards] == [f"f{n}" for n in range(1_500)]
    assert [reward.weight for reward in rewards] == pytest.approx([1 / 1_500] * 1_500, rel=1e-9)
    assert sum(reward.counted for reward in rewards) == 1
    assert task.published.dead_letters == []
    assert task.position().decision is None  # done


@restarted_or_not
def test_what_is_in_pages_is_known_and_closed_first_in_first_out(task: Task, steps: Callable[[Task], None]) -> None:
    for n in range(300):
        task.apply(fill(f"f{n}", price=100.0 + n, exec_id=f"x{n}", **ORDER), close(f"c{n}", quantity=0.5))
    steps(task)
    pages = task.position().paged
    assert pages is not None
    assert (pages.pages, pages.fills + pages.closes) == (600 // PAGE_EVENTS, 600 - 600 % PAGE_EVENTS)
    again = task.apply(
        fill("f0", price=100.0, exec_id="x0", **ORDER),
        fill("other", price=103.0, exec_id="x3", **ORDER),
        close("c7", quantity=0.5),
        fill("f9", price=1.0, **ORDER),
        close("c9", quantity=0.25),
    )
    assert list(again.outcomes) == [1, 1, 1, 2, 2]
    assert [letter.error_class for letter in again.dead_letters] == ["ID_REUSED", "ID_REUSED"]
    # 150 of 300 are closed: the next is f150, in a page by now.
    applied = task.apply(close("c", quantity=3.0, price=200.0))
    assert [reward.fill_event_id for reward in applied.rewards] == ["f150", "f151", "f152"]
    assert applied.rewards[0].reward_bps == pytest.approx((200.0 - 250.0) / 250.0 * 1e4, rel=1e-12)


def test_an_event_id_in_a_page_comes_before_an_exec_id_beside_it(task: Task) -> None:
    """Where pages end decides nothing: f1, sent again with the exec_id of another, is f1."""
    task.apply(*(fill(f"f{n}", price=100.0 + n, exec_id=f"x{n}", **ORDER) for n in range(70)))
    task.apply(*(close(f"c{n}", quantity=0.25, exec_id=f"x{n}", price=100.0 + n) for n in range(70)))
    again = task.apply(
        fill("f1", price=101.0, exec_id="x69", **ORDER), close("c1", quantity=0.25, price=101.0, exec_id="x69")
    )
    assert list(again.outcomes) == [1, 1]


def test_a_page_is_written_once_when_64_events_are_there_and_forgotten_with_its_position() -> None:
    task = Task(short_rules(), learning_rules())
    for n in range(63):
        assert task.apply(fill(f"f{n}", **ORDER)).position_pages == []
    (page,) = task.apply(close("c0", quantity=1.0)).position_pages
    assert (page.number, len(page.fills), len(page.closes)) == (0, 63, 1)
    assert (task.position().fills, task.position().closes) == ((), ())
    assert task.position().paged == Paged(1, 63, 1)
    task.apply(*(fill(f"g{n}", **ORDER) for n in range(64)))
    assert task.position().paged == Paged(2, 127, 1)
    keys = [page_key("book", "p1", number) for number in (0, 1)]
    assert [key in task.published.positions for key in keys] == [True, True]
    assert task.position().open_from == 1
    task.apply(close("c1", quantity=126.0, final=True))
    applied = task.apply(fill("f", "p2", ts_event=START + 1_001))
    assert applied.forgotten == ["book\0p1", *keys]
    assert task.published.positions.keys() == {"book\0p2"}


def test_pages_that_a_batch_made_or_forgot_are_as_before_after_its_rollback(task: Task) -> None:
    task.apply(*(fill(f"f{n}", **ORDER) for n in range(100)))
    far = START + 10 * 86_400_000_000
    for _ in range(2):
        task.abort(*(fill(f"g{n}", **ORDER) for n in range(100)), close(quantity=200.0, final=True))
        task.abort(close(quantity=100.0, final=True), fill("f", "p2", ts_event=far), close("c", "p2", ts_event=far))
    applied = task.apply(*(fill(f"g{n}", **ORDER) for n in range(100)), fill("f3", **ORDER), fill("g3", **ORDER))
    assert [page.number for page in applied.position_pages] == [1, 2]
    assert list(applied.outcomes[-2:]) == [1, 1]


def test_pages_are_restored_in_any_order() -> None:
    pages = Pages()
    parts = [
        PositionPage("b", "p", number, (PositionFill(f"f{number}", 1.0, 2.0, 0.0, 0.1, START),),
                     (PositionClose(f"c{number}", 1.0, 2.0, 0.0, 0.0, f"x{number}"),))
        for number in range(4)
    ]  # fmt: skip
    for number in (2, 0, 3, 1):
        pages.put_back(parts[number])
    assert pages.pages == parts
    assert [each.event_id for each in pages.fills] == ["f0", "f1", "f2", "f3"]
    assert pages.close(("exec_id", "x2")) == parts[2].closes[0]
    assert pages.take_back() == parts[3]
    assert pages.fill(("event_id", "f3")) is None
    assert pages.fill(("event_id", "f2")) == parts[2].fills[0]


@restarted_or_not
def test_past_the_limit_of_events_fills_are_refused_and_closes_taken(steps: Callable[[Task], None]) -> None:
    task = Task(TaskLimits(max_events_per_position=100), learning_rules())
    task.apply(*(fill(f"f{n}", **ORDER) for n in range(100)))
    steps(task)
    (letter,) = task.apply(fill("f100", **ORDER)).dead_letters
    assert (letter.error_class, letter.error) == ("LIMIT", "the position has 100 events already")
    applied = task.apply(*(close(f"c{n}", quantity=1.0) for n in range(100)))
    assert (len(applied.rewards), applied.dead_letters, set(applied.outcomes)) == (100, [], {0})
    assert list(task.apply(fill("f3", **ORDER)).outcomes) == [1]  # known, at the limit too


def no_letter(_index: int) -> Source:
    pytest.fail("there is no dead letter")


def lines_of(work: Callable[[], object]) -> int:
    """How many lines of Python it runs, loops line by line."""
    count = 0

    def note(_frame: FrameType, kind: str, _argument: object) -> Any:
        nonlocal count
        count += kind == "line"
        return note

    sys.settrace(note)
    try:
        work()
    finally:
        sys.settrace(None)
    return count


def test_an_event_costs_the_same_however_old_its_position_is(task: Task) -> None:
    """A fill and a close, as long after a page's end, at 64 events and at 6,400: as many lines run, as much is
    written."""
    order: dict[str, Any] = {"order_quantity": 1e6, "quantity": 1.0}
    costs = []
    for begun, first in ((0, 64), (64 + 5, 6_400)):  # three fills, and the two that are looked at
        task.apply(*(fill(f"f{number:05d}", **order) for number in range(begun, first + 3)))
        for event in (fill(f"g{first:05d}", **order), close(f"h{first:05d}", quantity=1.5)):
            lines = lines_of(partial(task.pipeline.apply, [event], no_letter))
            task.pipeline.rollback()
            costs.append((lines, bytes_of(task.apply(event))))
    for (young_lines, young_bytes), (old_lines, old_bytes) in zip(costs[:2], costs[2:], strict=True):
        assert old_lines <= young_lines + 2
        assert old_bytes <= young_bytes + 8  # its counts have a byte or two more
        assert old_bytes < 1_000


def test_all_that_a_position_of_many_fills_writes_grows_with_their_number(task: Task) -> None:
    order: dict[str, Any] = {"order_quantity": 1e6, "quantity": 1.0}
    written = [bytes_of(task.apply(fill(f"f{number:05d}", **order))) for number in range(2_560)]
    assert sum(written[-640:]) <= 1.02 * sum(written[640:1_280])
    assert max(written) <= 2 * 64 * 60
