"""Which snapshots are followed, where they stand on one topic, or still where versions before kept them; and a cluster
that does not answer is waited for, in whatever way it does not."""

from threading import Event as Flag
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

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


class Mute:
    """A consumer whose cluster tells no ends: the client gives None then."""

    def get_watermark_offsets(self, *_: Any) -> None:
        return None

    def list_topics(self, *_: Any) -> None:
        return None


def test_ends_that_nobody_tells_are_a_broker_that_does_not_answer(follower: Follower) -> None:
    with pytest.raises(KafkaException) as failure:
        follower._assign(cast(Consumer, Mute()), [(NAMES.weights, 3)], set())
    assert failure.value.args[0].code() == KafkaError._TIMED_OUT
    assert f"{NAMES.weights}:3" in str(failure.value)


@pytest.mark.parametrize("failure", [KafkaException(KafkaError(KafkaError._TRANSPORT)), TimeoutError()])
def test_the_follower_goes_on_after_whatever_kind_of_silence(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, stopping, tries = Board(Settings()), Flag(), []

    def follow(_: Follower) -> None:
        tries.append(board.pulse().state)
        if len(tries) == 2:
            stopping.set()
        raise failure

    monkeypatch.setattr(Follower, "_follow", follow)
    monkeypatch.setattr("armstream.watch.follow._AGAIN_SECONDS", 0.0)
    Follower(Settings(), board, stopping).run()
    assert tries == ["reading", "no-broker"]
