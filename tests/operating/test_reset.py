"""Which offsets are set, and what is refused, by what stands in Kafka: no broker is asked."""

from collections.abc import Mapping

import pytest

from armstream.events import TaskSnapshot
from armstream.operating.reset import Step, plan
from armstream.operating.standing import Standing
from armstream.runtime.failures import Stopped
from armstream.settings import Settings

SETTINGS = Settings.model_validate({"kafka": {"group_id": "desk", "bootstrap_servers": "k:9092"}})
IDS = {name: f"id of {name}" for name in SETTINGS.topics.names.all}
OTHER_IDS = {name: f"another of {name}" for name in IDS}
MARKS = {"trades": (5, 100), "commands": (0, 9)}


def snapshot(task: int = 0, **changes: object) -> TaskSnapshot:
    fields = {"next_offset": {"trades": 70, "commands": 3}, "settings": "{}", "group": "desk", "topic_ids": IDS}
    return TaskSnapshot(**{"task": task, "partitions": 1, **fields, **changes})  # type: ignore[arg-type]


def standing(
    snapshot: TaskSnapshot | None, committed: Mapping[str, int], *, task: int = 0, has_published: bool = False
) -> Standing:
    return Standing(task, snapshot, committed, MARKS, SETTINGS.topics.names.state, has_published)


BEFORE = {name: f"id of {name}" for name in SETTINGS.topics.names.state_before}


def before(committed: Mapping[str, int]) -> Standing:
    """A task whose state stands where versions before kept it."""
    names = SETTINGS.topics.names
    ids = {name: at for name, at in IDS.items() if name != names.snapshots} | BEFORE
    return Standing(0, snapshot(topic_ids=ids), committed, MARKS, names.state_before)


def planned(found: Standing, *, accept_topics: bool = False, ids: Mapping[str, str] = IDS) -> list[Step]:
    return plan(SETTINGS, [found], ids, accept_topics)


def refusal(found: Standing, *, accept_topics: bool = False, ids: Mapping[str, str] = IDS) -> str:
    with pytest.raises(Stopped) as caught:
        planned(found, accept_topics=accept_topics, ids=ids)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("accept_topics", [False, True])
def test_nothing_is_set_where_offsets_and_snapshots_agree(accept_topics: bool) -> None:
    assert planned(standing(snapshot(), {"trades": 70, "commands": 3}), accept_topics=accept_topics) == []


@pytest.mark.parametrize(
    ("committed", "line"),
    [
        ({}, "task 0: trades from nothing to 70, commands from nothing to 3"),
        ({"trades": 70}, "task 0: commands from nothing to 3"),
        ({"trades": 71, "commands": 3}, "task 0: trades from 71 to 70"),
        ({"trades": 0, "commands": 4}, "task 0: trades from 0 to 70, commands from 4 to 3"),
    ],
)
def test_lost_and_moved_offsets_are_set_to_what_the_snapshot_applied(committed: dict[str, int], line: str) -> None:
    (step,) = planned(standing(snapshot(), committed))
    assert str(step) == line
    assert {**committed, **step.offsets} == {"trades": 70, "commands": 3}
    assert step.snapshot is None


@pytest.mark.parametrize("offset", [5, 100])
def test_an_offset_may_be_the_first_or_the_end_and_nothing_beyond(offset: int) -> None:
    def stands(at: int) -> Standing:
        return standing(snapshot(next_offset={"trades": at, "commands": 3}), {})

    assert planned(stands(offset))[0].offsets["trades"] == offset
    assert refusal(stands(4)).startswith("trades:0: records 4 to 4 were deleted unread; ")
    assert refusal(stands(101)).startswith("trades:0 ends at 100, and the snapshot has applied what was before 101: ")


def test_snapshots_of_another_group_or_another_number_of_partitions_are_not_taken_whatever_is_accepted() -> None:
    assert refusal(standing(snapshot(group="fx"), {}), accept_topics=True).startswith(
        "task 0: the snapshot is of group 'fx', and kafka.group_id is 'desk': set it to 'fx', or take other output"
    )
    grown = refusal(standing(snapshot(partitions=2), {}), accept_topics=True)
    assert grown.startswith("trades has 1 partitions, and had 2 when its state was learned: ")


def test_snapshots_of_other_topics_are_taken_when_they_are_accepted_and_then_name_these() -> None:
    found = standing(snapshot(), {}, task=0)
    assert refusal(found, ids=IDS | {"trades": "x"}).startswith(
        "task 0: the snapshot is of other topics than these: trades. "
    )
    (step,) = planned(found, accept_topics=True, ids=OTHER_IDS)
    assert step.snapshot == snapshot(topic_ids=OTHER_IDS)
    assert str(step) == "task 0: trades from nothing to 70, commands from nothing to 3, topic ids"
    assert str(planned(standing(snapshot(), MAPPED), accept_topics=True, ids=OTHER_IDS)[0]) == "task 0: topic ids"


MAPPED = {"trades": 70, "commands": 3}


@pytest.mark.parametrize("topic", ["weights", "rewards", "dead-letters"])
def test_outputs_that_were_made_anew_are_for_a_start_to_take(topic: str) -> None:
    assert planned(standing(snapshot(), MAPPED), ids=IDS | {topic: "x"}) == []


def test_a_snapshot_of_an_older_processor_is_taken_for_ours_on_the_operators_word() -> None:
    """A topic that was made anew since, and is longer by now, would lose what is before the offset."""
    old = TaskSnapshot(0, MAPPED)
    assert planned(standing(old, MAPPED)) == []
    assert refusal(standing(old, {})).startswith("task 0: the snapshot does not say of which topics it is: ")
    (step,) = planned(standing(old, {}), accept_topics=True)
    assert (step.offsets, step.snapshot) == (MAPPED, None), "the processor's first commit names them"


def test_a_snapshot_that_stands_in_topics_under_other_names_is_refused_since_it_would_all_be_read_again() -> None:
    found = standing(snapshot(next_offset={"fills": 70, "commands": 3}, topic_ids={}), {})
    assert "stands in fills, and the inputs are trades, commands: " in refusal(found, accept_topics=True)


def test_state_under_another_name_is_refused_whatever_is_accepted() -> None:
    """Half of the state would be an empty topic's."""
    elsewhere = {name: at for name, at in IDS.items() if name != "snapshots"} | {"positions": "x"}
    line = refusal(standing(snapshot(topic_ids=elsewhere), {}), accept_topics=True, ids=OTHER_IDS)
    assert line.startswith("task 0: its state is not on snapshots: set topics.prefix and the names back.")


def test_an_output_under_another_name_is_left_for_the_start_to_say() -> None:
    before = {name: at for name, at in IDS.items() if name != "weights"} | {"w": "x"}
    (step,) = planned(standing(snapshot(topic_ids=before), MAPPED), accept_topics=True, ids=OTHER_IDS)
    assert step.snapshot is not None
    assert step.snapshot.topic_ids == {name: at for name, at in OTHER_IDS.items() if name != "weights"}


def test_an_offset_in_a_topic_of_which_the_snapshot_read_nothing_is_refused_with_what_deletes_it() -> None:
    only_trades = snapshot(next_offset={"trades": 70})
    assert planned(standing(only_trades, {"trades": 70})) == [], "it begins at the beginning of commands"
    assert (
        "`kafka-consumer-groups.sh --bootstrap-server k:9092 --group desk --delete-offsets --topic commands`"
        in refusal(standing(only_trades, {"commands": 2}))
    )


def test_without_a_snapshot_there_is_nothing_to_set_back_to_and_learning_that_is_gone_is_said() -> None:
    def two(second: Standing) -> list[Step]:
        return plan(SETTINGS, [standing(snapshot(partitions=2), MAPPED), second], IDS, accept_topics=True)

    assert "there is no snapshot on snapshots; `armstream reset anew --group NEW" in refusal(standing(None, {}))
    assert two(standing(None, {}, task=1)) == [], "nothing ever came to its partition"
    for second in (standing(None, {"trades": 1}, task=1), standing(None, {}, task=1, has_published=True)):
        with pytest.raises(Stopped, match=r"^task 1: .* there is no snapshot of it on snapshots: what was"):
            two(second)


# A state that was not moved yet.


def test_offsets_go_back_to_a_state_of_before_unless_the_group_is_ahead_of_it() -> None:
    """It may be what was left when `snapshots`, to which it was moved, was deleted: then rewards would come twice."""
    ids = IDS | BEFORE
    (step,) = planned(before({"trades": 60, "commands": 3}), ids=ids)
    assert (step.offsets, step.snapshot) == ({"trades": 70}, None)
    line = refusal(before({"trades": 80, "commands": 3}), ids=ids)
    assert line.startswith(
        "task 0: its state stands on bandit-snapshots, not on snapshots, and the group stands beyond"
    )
    (step,) = planned(before({"trades": 80, "commands": 3}), ids=ids, accept_topics=True)
    assert step.offsets == {"trades": 70}


def test_new_ids_of_the_topics_of_before_are_written_where_the_state_stands() -> None:
    other = OTHER_IDS | {name: f"another of {name}" for name in BEFORE}
    assert "is of other topics than these: trades, commands, bandit-snapshots, position-snapshots" in refusal(
        before({"trades": 70, "commands": 3}), ids=other
    )
    (step,) = planned(before({"trades": 70, "commands": 3}), ids=other, accept_topics=True)
    assert step.topic == "bandit-snapshots"
    assert step.snapshot is not None
    assert step.snapshot.topic_ids["position-snapshots"] == "another of position-snapshots"
