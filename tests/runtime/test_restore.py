"""What a restore makes of snapshots, without Kafka: a position has the pages that it says, or nothing goes on."""

from typing import Any

import pytest

from armstream.codec import encode
from armstream.events import Paged, PositionFill, PositionPage, PositionSnapshot
from armstream.runtime.failures import Stopped
from armstream.runtime.restore import Restorer, _Pages
from armstream.settings import Settings
from armstream.stages.state import TaskState

FILLS = (PositionFill("f1", 1.0, 9.0, 0.0, 0.5, 7), PositionFill("f2", 1.0, 9.0, 0.0, 0.5, 7))
PAGES = [PositionPage("book", "p", number, FILLS[number : number + 1], ()) for number in range(2)]


def position(**fields: Any) -> PositionSnapshot:
    return PositionSnapshot("book", "p", 7, False, 2.0, 1.0, "BUY", (), (), 1, 1.0, **fields)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_a_position_and_its_pages_come_in_any_order(order: tuple[int, ...]) -> None:
    settings, pages = Settings(), _Pages(3)
    state = TaskState(settings.task_limits(), settings.bandit_registry())
    snapshots: list[PositionSnapshot | PositionPage] = [position(paged=Paged(2, 2, 0)), *PAGES]
    for at in order:
        Restorer._put_back(state, encode(snapshots[at]), 3, pages)
    pages.refuse()
    assert [fill.event_id for fill in state.pages("book\0p").fills] == ["f1", "f2"]


@pytest.mark.parametrize(
    ("snapshots", "says"),
    [
        ([position(paged=Paged(2, 2, 0)), PAGES[0]], "position 'p' of bandit 'book': 1 pages are missing"),
        ([position(), PAGES[0]], "position 'p' of bandit 'book': 1 pages too many"),
        ([PAGES[1]], "task 3: position 'p' of bandit 'book': 1 pages too many"),
    ],
)
def test_pages_that_are_missing_or_of_nobody_stop_the_restore(snapshots: list[Any], says: str) -> None:
    settings, pages = Settings(), _Pages(3)
    state = TaskState(settings.task_limits(), settings.bandit_registry())
    for snapshot in snapshots:
        Restorer._put_back(state, encode(snapshot), 3, pages)
    with pytest.raises(Stopped, match=says):
        pages.refuse()
