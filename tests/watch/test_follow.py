"""Which snapshots are followed, where they stand on one topic, or still where versions before kept them."""

from threading import Event as Flag

import pytest

from armstream.keys import TASK_KEY, claim_key
from armstream.settings import Settings
from armstream.watch.board import Board
from armstream.watch.follow import Follower

NAMES = Settings().topics.names


@pytest.fixture
def follower() -> Follower:
    return Follower(Settings(), Board(Settings()), Flag())


def test_of_snapshots_bandits_and_tasks_are_followed_and_positions_are_not_read(follower: Follower) -> None:
    keys = [b"book", TASK_KEY, b"book\0p", b"\x000\0book\0p", claim_key("desk", "a"), b"", None]
    assert [key for key in keys if follower._is_of_interest(NAMES.snapshots, 0, key)] == [b"book", TASK_KEY]


def test_snapshots_of_before_are_followed_until_their_task_was_moved(follower: Follower) -> None:
    """Read later than those of now, they would take the page back to what was."""
    before = NAMES.bandit_snapshots
    assert follower._is_of_interest(NAMES.snapshots, 0, b"book"), "of a move that is under way"
    assert follower._is_of_interest(before, 0, b"book")
    follower._is_of_interest(NAMES.snapshots, 0, TASK_KEY)
    assert not follower._is_of_interest(before, 0, b"book")
    assert follower._is_of_interest(before, 1, b"book")
