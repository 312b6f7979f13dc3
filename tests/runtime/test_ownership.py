"""Whose a task's state is, without Kafka."""

from typing import Any

import pytest
from msgspec.structs import replace

from armstream.codec import encode
from armstream.events import BanditSnapshot, TaskSnapshot
from armstream.keys import TASK_KEY, claim_key, is_bandits
from armstream.runtime.failures import Stopped
from armstream.runtime.identity import Identity
from armstream.runtime.ownership import disagreement, first_claimant, refuse_anothers, task_snapshot_in
from armstream.settings import Settings

TOPICS = Settings().topics.names
IDENTITY = Identity("desk", {name: f"id of {name}" for name in TOPICS.all}, 4)
OURS = TaskSnapshot(2, {"trades": 7, "commands": 0}, "{}", IDENTITY.group, IDENTITY.topic_ids, IDENTITY.partitions)


def claim(group: str) -> bytes:
    return encode(TaskSnapshot(0, {}, "", group, {}, 4))


def test_of_claims_the_first_in_the_logs_order_wins_and_none_is_a_state() -> None:
    claims = {claim_key("b", "x"): claim("b"), claim_key("a", "x"): claim("a"), claim_key("c", "x"): claim("c")}
    assert first_claimant(claims) == "b"
    assert task_snapshot_in(claims) is None
    assert not any(map(is_bandits, claims))


def test_each_process_of_each_group_claims_under_a_key_of_its_own() -> None:
    """A key that is written twice moves to the log's end when it is compacted."""
    names = [("a", "b"), ("a", "c"), ("b", "c"), ("a-b", "c"), ("a", "b-c")]
    assert len({claim_key(group, instance) for group, instance in names}) == len(names)


def test_where_nobody_claimed_there_is_no_owner() -> None:
    bandit = encode(BanditSnapshot("book", 1, 0, (), "exp3ix", "implicit", "{}"))
    assert first_claimant({b"book": bandit}) is None


def test_a_task_key_that_holds_something_else_stops() -> None:
    bandit = encode(BanditSnapshot("book", 1, 0, (), "exp3ix", "implicit", "{}"))
    with pytest.raises(Stopped, match="a BanditSnapshot"):
        task_snapshot_in({TASK_KEY: bandit})


def test_a_snapshot_of_ours_and_an_older_one_that_does_not_say_are_taken() -> None:
    refuse_anothers(2, OURS, IDENTITY, TOPICS.inputs, TOPICS.state)
    refuse_anothers(2, TaskSnapshot(2, {"trades": 7}, "{}"), IDENTITY, TOPICS.inputs, TOPICS.state)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"group": "other"}, r"these topics are group 'other''s, and this is 'desk'"),
        ({"partitions": 3}, r"trades has 4 partitions, and had 3 when its state was learned"),
        (
            {"topic_ids": {**IDENTITY.topic_ids, "trades": "old"}},
            r"trades was deleted and made anew: its id was old, and is id of trades;",
        ),
        ({"topic_ids": {"trades": "id of trades"}}, r"its state is not on snapshots: set the topics' names"),
        ({"topic_ids": {**IDENTITY.topic_ids, "commands": "old"}}, r"commands was deleted and made anew"),
        (
            {"topic_ids": {**IDENTITY.topic_ids, "snapshots": "old"}},
            r"snapshots was deleted and made anew",
        ),
    ],
)
def test_a_snapshot_of_others_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(Stopped, match=says):
        refuse_anothers(2, replace(OURS, **fields), IDENTITY, TOPICS.inputs, TOPICS.state)


@pytest.mark.parametrize("name", ["weights", "rewards", "dead-letters"])
def test_an_output_that_was_made_anew_does_not_end_the_learning(name: str) -> None:
    refuse_anothers(2, replace(OURS, topic_ids={**OURS.topic_ids, name: "old"}), IDENTITY, TOPICS.inputs, TOPICS.state)


def test_offsets_are_set_back_only_where_a_snapshot_says_to_what() -> None:
    assert "to-snapshots" not in disagreement(2, None, {"trades": 7}, "desk")
    assert "`armstream reset to-snapshots`" in disagreement(2, OURS, {}, "desk")
    old = TaskSnapshot(2, {"trades": 7})
    assert "where it was group 'desk' that wrote it" in disagreement(2, old, {}, "desk")
