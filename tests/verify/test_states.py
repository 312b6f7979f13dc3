"""A run goes on where the last one ended, link by link; what it would go on from wrongly is refused by name."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from armstream.codec import encode
from armstream.events import Input, Reward, TaskSettings
from armstream.keys import TASK_KEY
from armstream.oracle.comparison import Difference
from armstream.stages.facts import TaskLimits
from armstream.verify.published import State
from armstream.verify.states import States, Unverifiable
from tests.stages.events import START, close, fill, short_rules
from tests.stages.histories import histories
from tests.stages.test_history import cut, splits
from tests.verify.desk import APART, NUMBER, PARTITIONS, TOPIC_IDS, Desk, settings_of, topic_named
from tests.verify.test_commands import restarted_under
from tests.verify.test_history import AUTOMATIC, BOTH, IMPORTANCE, SIDE, TRADED, TSALLIS
from tests.verify.test_history import named_by_content as named

ADVISED = {"online_learning": {"algorithm": "exp4", "experts": {"bandit": "exp3ix", "best": "follow_best"}}}


def kept(desk: Desk, folder: Path, state: State) -> State:
    """As the next run reads it."""
    States(folder, desk.settings, PARTITIONS, TOPIC_IDS).save(0, state)
    loaded = States(folder, desk.settings, PARTITIONS, TOPIC_IDS).load(0)
    assert loaded is not None
    return loaded


def forget_what_stands_before(desk: Desk, state: State) -> None:
    """Retention takes all that the state has behind it, and compaction what it may."""
    for name in (*desk.names.inputs, desk.names.rewards, desk.names.dead_letters):
        behind = [one for one in desk.topics[name] if one.offset < state.next_offset.get(name, 0)]
        desk.delete_before(name, len(behind))
    for name in desk.names.compacted:
        desk.compact(name)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    histories(),
    splits,
    st.sampled_from([{}, APART, IMPORTANCE, AUTOMATIC, TSALLIS, ADVISED, SIDE, APART | BOTH]),
    st.data(),
)
def test_a_log_longer_than_its_retention_is_proved_link_by_link(
    tmp_path: Path, events: list[Input], sizes: list[int], sections: dict[str, Any], data: st.DataObject
) -> None:
    """What is kept when a run begins is nothing but what came since the last one."""
    desk = Desk(settings_of(**sections), short_rules())
    state: State | None = None
    for batch in cut([named(event) for event in events], sizes):
        desk.apply(*batch)
        if data.draw(st.booleans(), label="a run"):
            account = desk.verify(state)
            assert "topics" in sections or (account.not_checked, account.counts["not_placed"]) == ([], 0)
            if account.state is not None:
                state = kept(desk, tmp_path, account.state)
                forget_what_stands_before(desk, state)
    desk.verify(state)


def traded_on(desk: Desk, batches: Sequence[Sequence[Input]]) -> Desk:
    for batch in batches:
        desk.apply(*batch)
    return desk


def test_what_is_wrong_in_the_last_link_is_found_by_what_the_state_knows(tmp_path: Path) -> None:
    desk = traded_on(Desk(), TRADED[:7])
    state = desk.verify().state
    assert state is not None
    state = kept(desk, tmp_path, state)
    forget_what_stands_before(desk, state)
    traded_on(desk, TRADED[7:])
    account = desk.verify(state)
    assert (account.not_checked, account.counts["rewards"], account.counts["not_placed"]) == ([], 4, 0)
    reward = desk.event(desk.names.rewards, -1, Reward)
    desk.change(desk.names.rewards, -1, reward_bps=reward.reward_bps * (1 + 1e-9))  # its fill is no longer kept
    with pytest.raises(Difference, match=r"version 7 of 'book': published was reward_bps"):
        desk.verify(state)


def test_a_partition_whose_beginning_is_gone_is_proved_from_the_processors_snapshots_on(tmp_path: Path) -> None:
    desk = traded_on(Desk(), TRADED[:7])
    desk.delete_before(desk.names.trades[0], 5)
    account = desk.verify()
    assert "from here on: taken from the processor's snapshots at {'trades': " in account.not_checked[0]
    assert account.state is not None
    state = kept(desk, tmp_path, account.state)
    traded_on(desk, TRADED[7:])
    assert (desk.verify(state).not_checked, desk.verify(state).counts["rewards"]) == ([], 4)


def state_of(desk: Desk) -> State:
    state = desk.verify().state
    assert state is not None
    return state


def test_a_state_that_was_altered_or_cut_off_is_refused(tmp_path: Path) -> None:
    desk = traded_on(Desk(), TRADED)
    kept(desk, tmp_path, state_of(desk))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for wrong in (
        whole[:-1],
        whole[:40],
        b"",
        whole.replace(b'"trades": ', b'"trades":  '),
        whole[:-9] + b"x" + whole[-8:],
    ):
        path.write_bytes(wrong)
        with pytest.raises(Unverifiable, match=r"partition-0\.state is not whole, or was altered: remove it"):
            States(tmp_path, desk.settings, PARTITIONS, TOPIC_IDS).load(0)


@pytest.mark.parametrize(
    ("sections", "partitions", "what"),
    [
        ({"kafka": {"group_id": "other"}}, 1, "another group: 'armstream', not 'other'"),
        ({"topics": {"prefix": "uat-"}}, 1, "another topics: "),
        ({}, 2, "another partitions: 1, not 2"),
    ],
)
def test_the_state_of_something_else_is_refused(
    sections: dict[str, Any], partitions: int, what: str, tmp_path: Path
) -> None:
    desk = traded_on(Desk(), TRADED)
    kept(desk, tmp_path, state_of(desk))
    with pytest.raises(Unverifiable, match=what):
        States(tmp_path, settings_of(**sections), partitions, TOPIC_IDS).load(0)


def test_a_state_of_before_state_stood_on_one_topic_is_gone_on_from(tmp_path: Path) -> None:
    """And nothing else may differ."""
    desk = traded_on(Desk(), TRADED)
    names = desk.names
    ids = {**TOPIC_IDS, names.snapshots: "s"}
    inputs = [name for name in names.all if name != names.snapshots]
    for topics, told in (
        ([*inputs, *names.state_before], {**TOPIC_IDS, names.bandit_snapshots: "b"}),
        ([*inputs[1:], *names.state_before], {**TOPIC_IDS, names.bandit_snapshots: "b"}),
        ([*inputs, *names.state_before], {**TOPIC_IDS, "trades": "another"}),
    ):
        states = States(tmp_path, desk.settings, PARTITIONS, ids)
        states._of |= {"topics": topics, "topic_ids": told}
        states.save(0, state_of(desk))
        reader = States(tmp_path, desk.settings, PARTITIONS, ids)
        if topics[0] == inputs[0] and told["trades"] == TOPIC_IDS["trades"]:
            assert reader.load(0) is not None
            continue
        with pytest.raises(Unverifiable, match="is of another topic"):
            reader.load(0)


def test_a_state_of_another_form_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = traded_on(Desk(), TRADED)
    monkeypatch.setattr("armstream.verify.states.FORMAT", 0)
    kept(desk, tmp_path, state_of(desk))
    monkeypatch.undo()
    with pytest.raises(Unverifiable, match=r"another format: 0, not 1"):
        States(tmp_path, desk.settings, PARTITIONS, TOPIC_IDS).load(0)


def test_a_state_that_is_older_than_what_is_kept_is_refused_with_the_way_out() -> None:
    desk = traded_on(Desk(), TRADED[:3])
    state = state_of(desk)
    traded_on(desk, TRADED[3:])
    desk.delete_before(desk.names.trades[0], 12)
    with pytest.raises(
        Unverifiable, match=r"trades:0: the state stands at 5, and what is kept begins at .*empty --state"
    ):
        desk.verify(state)


def test_a_state_ahead_of_topics_that_were_made_anew_is_refused() -> None:
    state = state_of(traded_on(Desk(), TRADED))
    with pytest.raises(Unverifiable, match=r"the topics were made anew"):
        traded_on(Desk(), TRADED[:3]).verify(state)


def test_after_a_difference_nothing_is_kept(tmp_path: Path) -> None:
    desk = traded_on(Desk(), TRADED)
    desk.change(desk.names.rewards, 0, weight=0.5)
    with pytest.raises(Difference):
        desk.verify()
    assert list(tmp_path.iterdir()) == []


def test_a_replaced_state_is_the_newer_one_and_alone(tmp_path: Path) -> None:
    desk = traded_on(Desk(), TRADED[:3])
    kept(desk, tmp_path, state_of(desk))
    traded_on(desk, TRADED[3:])
    state = kept(desk, tmp_path, state_of(desk))
    assert state.next_offset["trades"] == desk.next_offset["trades"]
    (path,) = tmp_path.iterdir()
    head = json.loads(path.read_bytes().split(b"\n")[1])
    assert (head["group"], head["partition"]) == ("armstream", 0)


# Settings in force.


def tell_settings(desk: Desk) -> None:
    """A record of the task's settings, as a processor that begins under them leaves it before its first batch."""
    told = {name: getattr(desk.reward_rules, name) for name in desk.reward_rules.__slots__}
    limits = {"max_arms": 64, "max_experts": 32, "max_record_bytes": 1_048_576, "max_future_micros": 300_000_000}
    desk.in_force = json.dumps({"enabled": True, **told, **limits}, sort_keys=True)
    desk.write(desk.names.rewards, TASK_KEY, encode(TaskSettings(NUMBER, desk.in_force, desk.next_offset)))


@pytest.mark.parametrize("is_told", [True, False])
def test_a_window_that_changed_holds_from_the_input_on_at_which_the_log_says_so(is_told: bool, tmp_path: Path) -> None:
    """c2 is LATE under a window of 1 ms; after a start under one of a day, c3 of the same time is not."""
    desk = Desk(settings_of(), short_rules())
    if is_told:
        tell_settings(desk)
    desk.apply(fill("f1", ts_event=START + 3_000), close("c1", quantity=50.0, ts_event=START + 3_000))
    desk.apply(close("c2", quantity=10.0, ts_event=START + 1))
    desk.reward_rules = TaskLimits()
    desk = restarted_under(desk)
    if not is_told:
        desk.apply(close("c3", quantity=10.0, ts_event=START + 1))
        with pytest.raises(Difference, match=r"no such reward; .*close 'c2'"):
            desk.verify()
        return
    tell_settings(desk)
    desk.apply(close("c3", quantity=10.0, ts_event=START + 1))
    account = desk.verify()
    assert (account.not_checked, account.counts["rewards"], account.dead_letters) == ([], 2, {"LATE": 1})
    assert account.state is not None
    state = kept(desk, tmp_path, account.state)
    desk.apply(close("c4", quantity=10.0, ts_event=START + 1))
    desk.reward_rules = short_rules()  # today's file says otherwise; what the state says holds
    assert desk.verify(state).counts["rewards"] == 1


def test_settings_in_force_that_are_not_as_they_were_told_are_found() -> None:
    def told() -> Desk:
        desk = Desk(settings_of(), short_rules())
        tell_settings(desk)
        desk.apply(*TRADED[0])
        return desk

    assert told().verify().not_checked == []
    changes: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("rewards", {"settings": "{}"}, r"settings '\{\}'"),
        ("rewards", {"settings": "no JSON"}, "settings 'no JSON'"),
        ("rewards", {"task": 3}, "task 3"),
        ("bandit_snapshots", {"settings": "{}"}, r"settings in force '\{\}'"),
    )
    for topic, fields, says in changes:
        desk = told()
        name = topic_named(desk, topic)
        desk.change(name, 0 if topic == "rewards" else -1, **fields)
        with pytest.raises(Difference, match=says):
            desk.verify()
    desk = told()
    del desk.topics[desk.names.rewards][0]
    with pytest.raises(Difference, match=r"settings in force .* follows ''"):
        desk.verify()
