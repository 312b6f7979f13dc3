"""What snapshots say of their topics and their group is the topics' and the group's, or a difference."""

from typing import Any

import pytest

from armstream.codec import encode
from armstream.events import TaskSnapshot
from armstream.keys import claim_key
from armstream.oracle.comparison import Difference
from armstream.verify.states import States, Unverifiable
from tests.stages.events import close, fill
from tests.verify.desk import BANDITS, PARTITIONS, TOPIC_IDS, Desk


def traded() -> Desk:
    desk = Desk()
    desk.apply(fill("f", "p"))
    desk.apply(close("c", "p"))
    return desk


@pytest.mark.parametrize(
    ("at", "fields", "says"),
    [
        (-1, {"topic_ids": {**TOPIC_IDS, "trades": "old"}}, "old as the id of trades"),
        (-1, {"group": "other"}, "group 'other'"),
        (1, {"group": "other"}, "group 'other'"),
    ],
)
def test_another_group_and_another_topic_are_differences(at: int, fields: dict[str, Any], says: str) -> None:
    desk = traded()
    assert isinstance(desk.event(BANDITS, at, TaskSnapshot), TaskSnapshot)
    desk.change(BANDITS, at, **fields)
    with pytest.raises(Difference, match=says):
        desk.verify()


def test_what_an_older_processor_did_not_say_is_no_difference() -> None:
    desk = traded()
    desk.change(BANDITS, -1, group="", topic_ids={}, partitions=0)
    desk.verify()


def test_an_older_snapshot_may_name_a_topic_that_was_given_up() -> None:
    desk = traded()
    desk.change(BANDITS, 1, topic_ids={"trades": "old"})
    desk.verify()


def test_a_claim_says_nothing_of_a_state() -> None:
    desk = Desk()
    desk.write(BANDITS, claim_key("other", "x"), encode(TaskSnapshot(0, {}, "", "other", {}, 1)))
    desk.apply(fill("f", "p"))
    desk.apply(close("c", "p"))
    desk.verify()


def test_a_state_of_verifys_own_is_of_topics_and_not_of_names(tmp_path: Any) -> None:
    desk = traded()
    state = desk.verify().state
    assert state is not None
    States(tmp_path, desk.settings, PARTITIONS, TOPIC_IDS).save(0, state)
    with pytest.raises(Unverifiable, match="is of another topic_ids"):
        States(tmp_path, desk.settings, PARTITIONS, {**TOPIC_IDS, "trades": "new"}).load(0)
