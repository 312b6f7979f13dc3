"""A log that the stages made is verified; whatever is changed in it, one thing at a time, is found and named."""

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from armstream.codec import decode, encode
from armstream.events import (
    Close,
    Command,
    DeadLetter,
    Fill,
    Input,
    PositionSnapshot,
    Rejected,
    Reward,
    Source,
    TaskSnapshot,
    WeightVector,
)
from armstream.oracle.comparison import Difference
from armstream.verify.partition import check_partition
from armstream.verify.report import INPUTS
from tests.stages.events import START, close, fill, short_rules
from tests.stages.histories import histories
from tests.stages.test_history import cut, splits
from tests.verify.desk import APART, BANDITS, NUMBER, POSITIONS, Desk, settings_of, topic_named

HOUR = 3_600_000_000
LAYOUTS: tuple[dict[str, Any], ...] = ({}, APART)
IMPORTANCE = {
    "online_learning": {"estimator": "importance", "gamma": 0.05, "eta_max": 0.07, "attribution": "simultaneous"}
}
TSALLIS = {"online_learning": {"algorithm": "tsallis"}}
SIDE = {"online_learning": {"feedback": "side"}}
BOTH = {"online_learning": {"algorithm": "tsallis", "feedback": "both", "eta_auto": "adaptive"}}
TRACKING = {"online_learning": {"algorithm": "tsallis", "eta": 0.1, "eta_auto": False, "fixed_share": 0.01}}
AUTOMATIC = {"online_learning": {"reward_bound_bps": "auto"}}
SHARED = {"online_learning": {"eta": 0.1, "eta_auto": False, "fixed_share": 0.001, "transform": "tanh"}}

TRADED: list[list[Input]] = [
    [fill("f1", "p1", propensity=0.4), close("c1", "p1", fees=0.5, slippage=0.2)],  # 32.8667 bps
    [fill("f1", "p2", side="SELL", quantity=50.0, price=200.0), close("c1", "p2", quantity=20.0, price=198.0)],
    [fill("f1", "p3", contributions={"mlp": 0.75, "boost": 0.25}, order_quantity=0.3, quantity=0.1, price=10.0)],
    [fill("f2", "p3", contributions={"mlp": 0.75, "boost": 0.25}, order_quantity=0.3, quantity=0.2, price=11.0)],
    [close("c1", "p3", quantity=0.3, price=10.8)],
    [close("c1", "p2", quantity=20.0, price=198.0), Rejected("DECODE", "no event", START)],  # a duplicate, and junk
    [close("c1", "p4", quantity=3.0, price=99.0), close("c1", "p5", quantity=7.0)],
    [fill("f1", "p4", arm="mlp", quantity=1.0, price=100.0, ts_event=START + 1_000)],  # c1 goes on waiting for 2
    [fill("f1", "p6", bandit_id="other", quantity=4.0), close("c1", "p6", bandit_id="other", quantity=1.0)],
    [Command("k1", "nobody", "PAUSE", START)],
    [fill("f1", "p7", ts_event=START + 2 * HOUR, arm="boost")],  # ends the wait of p4's and p5's closes
    [close("c1", "p7", quantity=60.0, ts_event=START + 2 * HOUR), close("c2", "p2", quantity=5.0, ts_event=START)],
    [close("c1", "p8", quantity=1.0, ts_event=START + 2 * HOUR + 1)],
]  # fmt: skip


def traded(sections: dict[str, Any], transactions: int = len(TRADED)) -> Desk:
    """Rewards: book 1 to 7, other 1. Dead letters: junk, the command, two orphans."""
    desk = Desk(settings_of(**sections))
    for batch in TRADED[:transactions]:
        desk.apply(*batch)
    return desk


@pytest.fixture(params=LAYOUTS, ids=("together", "apart"))
def desk(request: pytest.FixtureRequest) -> Desk:
    return traded(request.param)


def found(desk: Desk) -> str:
    """The line about the difference that there must be."""
    with pytest.raises(Difference) as raised:
        desk.verify()
    line = str(raised.value)
    assert "\n" not in line
    return line


# What is right.


def test_what_the_stages_publish_is_right_and_every_input_is_in_one_place(desk: Desk) -> None:
    account = desk.verify()
    counts = account.counts
    assert account.not_checked == []
    assert counts["inputs"] == 19
    # f1 c1 | c1 of p2 | f1 f2 c1 of p3 | f1 of p4 | c1 of p6 | c1 of p7 | c2 of p2
    placed = {name: counts[name] for name in INPUTS}
    assert placed == {
        "realised": 10,
        "open": 3,  # p2, p6, p7
        "waiting": 1,  # p8
        "duplicates": 1,
        "dead_letters": 4,
        "expired": 0,
        "commands": 0,
        "not_placed": 0,
    }


def test_what_was_learned_by_the_other_rules_is_right_too() -> None:
    for sections in (IMPORTANCE, SHARED):
        account = traded(sections).verify()
        assert (account.not_checked, account.counts["rewards"]) == ([], 8)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), splits, st.sampled_from([{}, IMPORTANCE, SHARED, AUTOMATIC, TSALLIS, TRACKING, SIDE, BOTH]))
def test_any_history_on_one_topic_is_verified_whole(
    events: list[Input], sizes: list[int], sections: dict[str, Any]
) -> None:
    desk = Desk(settings_of(**sections), short_rules())
    for batch in cut(events, sizes):
        desk.apply(*batch)
    account = desk.verify()
    assert (account.not_checked, account.counts["not_placed"]) == ([], 0)
    assert account.counts["inputs"] == len(events)


def test_rewards_of_a_bandit_that_is_left_out_are_not_taken_for_anothers() -> None:
    """Whether book-1's p1 was forgotten before its next event is hidden; its reward stands in the window in which
    book-2's fill may come last."""

    def filled(position_id: str, after_micros: int = 1_100, **fields: Any) -> Fill:
        given = {"bandit_id": "book-1", "quantity": 0.1, "price": 99.5, "order_quantity": 1_000.0, "propensity": 0.25}
        return fill("e1", position_id, **(given | {"ts_event": START + after_micros} | fields))

    def closed(position_id: str, after_micros: int = 1_100) -> Close:
        given = {"bandit_id": "book-1", "quantity": 0.1, "price": 99.5, "slippage": 0.25}
        return close("e1", position_id, ts_event=START + after_micros, **given)

    events: list[Input] = [
        *(closed("p1", 0), filled("p1", 0), filled("p1", 0), filled("p2"), Rejected("DECODE", "no event", START)),
        *(filled("p1", quantity=0.0), closed("p1"), filled("p1", quantity=0.0), filled("p1"), filled("p1")),
        *(filled("p1"), closed("p2"), filled("p1"), filled("p1", bandit_id="book-2"), closed("p1")),
    ]
    desk = Desk(settings_of(**APART), short_rules())
    desk.apply(*events)
    assert any("'book-1'" in line for line in desk.verify().not_checked)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), splits)
def test_no_history_on_two_topics_is_called_different(events: list[Input], sizes: list[int]) -> None:
    """What hangs on an order that nobody recorded is named, and taken for neither right nor wrong."""
    desk = Desk(settings_of(**APART), short_rules())
    for batch in cut(events, sizes):
        desk.apply(*batch)
    account = desk.verify()
    assert account.not_checked or account.counts["not_placed"] == 0


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), splits, st.sampled_from(LAYOUTS), st.data())
def test_no_history_whose_beginning_was_deleted_is_called_different(
    events: list[Input], sizes: list[int], sections: dict[str, Any], data: st.DataObject
) -> None:
    """What is sent again is sent as it was."""
    sent = [named_by_content(event) for event in events]
    for first in data.draw(st.lists(st.integers(0, len(sent) - 1), max_size=6), label="sent again"):
        sent.insert(data.draw(st.integers(first, len(sent))), sent[first])
    desk = Desk(settings_of(**sections), short_rules())
    for batch in cut(sent, sizes):
        desk.apply(*batch)
    names = desk.names
    for name in (*names.inputs, names.rewards, names.dead_letters):
        desk.delete_before(name, data.draw(st.integers(0, len(desk.topics[name])), label=name))
    for name in (names.weights, BANDITS):
        if data.draw(st.booleans(), label=f"{name} compacted"):
            desk.compact(name)
    desk.verify()


def named_by_content(event: Input) -> Input:
    if not isinstance(event, Fill | Close) or not event.event_id:
        return event
    return msgspec.structs.replace(event, event_id=f"{event.event_id}-{zlib.crc32(repr(event).encode())}")


def test_a_partition_without_its_first_records_is_verified_in_part_and_what_is_wrong_in_the_rest_is_found() -> None:
    def without_the_beginning() -> Desk:
        desk = traded({})
        desk.delete_before(desk.names.trades[0], 9)
        desk.delete_before(desk.names.rewards, 4)
        desk.compact(desk.names.weights)
        return desk

    account = without_the_beginning().verify()
    assert (account.counts["rewards"], account.counts["weight_vectors"]) == (4, 2)
    assert account.not_checked
    late = without_the_beginning()
    late.change(late.names.rewards, 2, weight=0.6 + 1e-9)
    assert "weight 0.600000001" in found(late)
    gap = without_the_beginning()
    gap.change(gap.names.rewards, 3, version=8)
    assert "version 8 of 'book'" in found(gap)
    vector = without_the_beginning()
    scaled_arm("weights", -1, 2, "probability")(vector)
    assert "probability" in found(vector)


def test_positions_that_were_touched_while_they_were_read_are_left_out_and_counted(desk: Desk) -> None:
    """The task stood behind p8's close no more than a moment before: p8's snapshot may be read without it."""
    before = dict(desk.event(BANDITS, -3, TaskSnapshot).next_offset)
    del desk.topics[POSITIONS][14]
    account = check_partition(desk.log(settled=before), desk.rules)
    assert account.not_checked == []
    assert "'p8' of 'book'" in found(desk)


@pytest.mark.parametrize("sections", LAYOUTS)
def test_what_a_later_transaction_published_is_left_for_later(sections: dict[str, Any]) -> None:
    """The task's newest snapshot was read before the last two transactions, the rest after them."""
    then, now = traded(sections, len(TRADED) - 2), traded(sections)
    names, log = now.names, then.log()
    live = replace(
        log,
        rewards=iter(now.topics[names.rewards]),
        weights=iter(now.topics[names.weights]),
        dead_letters=iter(now.topics[names.dead_letters]),
        inputs=now.log().inputs,
    )
    account = check_partition(live, now.rules)
    assert (account.not_checked, account.counts["rewards"], account.counts["weight_vectors"]) == ([], 6, 5)


def test_offsets_of_the_group_that_are_not_the_tasks_are_found(desk: Desk) -> None:
    ahead = {name: offset + 1 for name, offset in desk.next_offset.items()}
    behind = dict.fromkeys(desk.next_offset, 0)
    for committed in (ahead, behind):
        with pytest.raises(Difference, match="as the group's offset in"):
            check_partition(replace(desk.log(), committed=committed), desk.rules)


def test_a_blend_that_todays_settings_do_not_give_is_named_and_no_difference() -> None:
    desk = traded({})
    sooner = settings_of(online_learning={"warm_start_steps": 2}).bandit_registry()
    account = check_partition(desk.log(), replace(desk.rules, bandits=sooner))
    assert account.not_checked_count == 4  # the vectors of two and more steps
    assert "warm_start_steps" in account.not_checked[0]


@pytest.mark.parametrize(("filled", "closed"), [(10.2, (10.0, 0.2)), (1000.3, (1000.0, 0.3)), (0.3, (0.1, 0.2))])
def test_what_rounding_leaves_is_nothing(filled: float, closed: tuple[float, ...]) -> None:
    """10.2 - 10 is 0.2 - 7e-16 in doubles."""
    desk = Desk()
    desk.apply(fill("f1", "p1", quantity=filled))
    desk.apply(*(close(f"c{quantity}", "p1", quantity=quantity) for quantity in closed))
    account = desk.verify()
    assert (account.not_checked, account.counts["rewards"], account.counts["not_placed"]) == ([], 2, 0)
    assert account.counts["waiting"] == account.counts["open"] == 0


# What is wrong.


def lost(topic: str, at: int) -> Callable[[Desk], None]:
    return lambda desk: desk.topics[topic_named(desk, topic)].__delitem__(at)


def changed(topic: str, at: int, **fields: Any) -> Callable[[Desk], None]:
    return lambda desk: desk.change(topic_named(desk, topic), at, **fields)


def scaled(topic: str, at: int, field: str, by: float = 1 + 1e-9) -> Callable[[Desk], None]:
    """A number of a record is off by so much."""

    def corrupt(desk: Desk) -> None:
        name = topic_named(desk, topic)
        desk.change(name, at, **{field: getattr(desk.any_event(name, at), field) * by})

    return corrupt


def scaled_arm(topic: str, at: int, arm: int, field: str, by: float = 1 + 1e-9) -> Callable[[Desk], None]:
    """A number of one of the record's arms is off by so much."""

    def corrupt(desk: Desk) -> None:
        name = topic_named(desk, topic)
        arms = list(desk.any_event(name, at).arms)
        was = getattr(arms[arm], field)
        changed = tuple(each * by for each in was) if isinstance(was, tuple) else was * by
        arms[arm] = msgspec.structs.replace(arms[arm], **{field: changed})
        desk.change(name, at, arms=tuple(arms))

    return corrupt


def arms_swapped(desk: Desk) -> None:
    vector = desk.event(desk.names.weights, 2, WeightVector)
    desk.change(desk.names.weights, 2, arms=(vector.arms[1], vector.arms[0], vector.arms[2]))


def reward_doubled(desk: Desk) -> None:
    """Published twice under one version, as by a transaction that two processes ended."""
    desk.repeat(desk.names.rewards, 3)


def reward_doubled_under_a_new_version(desk: Desk) -> None:
    reward = desk.event(desk.names.rewards, 7, Reward)
    desk.repeat(desk.names.rewards, 7)
    desk.change(desk.names.rewards, 8, version=reward.version + 1)


def reward_lost_and_versions_closed_up(desk: Desk) -> None:
    rewards = desk.names.rewards
    del desk.topics[rewards][3]
    for at in (3, 5, 6):
        desk.change(rewards, at, version=desk.event(rewards, at, Reward).version - 1)


def vector_repeated(desk: Desk) -> None:
    desk.repeat(desk.names.weights, 1)


def vector_of_no_reward(desk: Desk) -> None:
    desk.repeat(desk.names.weights, 5)
    desk.change(desk.names.weights, 6, version=9)


def letter_doubled(desk: Desk) -> None:
    desk.repeat(desk.names.dead_letters, 0)


def letter_doubled_in_its_transaction(desk: Desk) -> None:
    letters = desk.topics[desk.names.dead_letters]
    letters.insert(1, letters[0])


def orphan_doubled(desk: Desk) -> None:
    desk.repeat(desk.names.dead_letters, 2)


def letter_with_other_bytes(desk: Desk) -> None:
    letter = desk.event(desk.names.dead_letters, 0, DeadLetter)
    desk.change(desk.names.dead_letters, 0, source=msgspec.structs.replace(letter.source, value=b"no events"))


def orphan_with_other_headers(desk: Desk) -> None:
    letter = desk.event(desk.names.dead_letters, 3, DeadLetter)
    desk.change(desk.names.dead_letters, 3, source=msgspec.structs.replace(letter.source, key=b"books"))


def input_lost(desk: Desk) -> None:
    """The open fill of p6 was never applied: as if no processor had seen it."""
    name = desk.names.trades[0]
    at = next(i for i, one in enumerate(desk.topics[name]) if one.key == b"other")
    for topic in (desk.names.rewards, desk.names.weights, BANDITS, POSITIONS):
        desk.topics[topic][:] = [one for one in desk.topics[topic] if not (one.key or b"").startswith(b"other")]
    assert isinstance(desk.any_event(name, at), Fill)


def input_that_is_nowhere(desk: Desk) -> None:
    """It was read, since the task stands behind it, and nothing tells of it."""
    name = desk.names.trades[-1]
    desk.send(close("c9", "p9", quantity=1.0, ts_event=START + 2 * HOUR))
    desk.next_offset[name] = desk.ends[name]
    task = desk.event(BANDITS, -1, TaskSnapshot)
    desk.repeat(BANDITS, -1)
    desk.change(BANDITS, -1, next_offset={**task.next_offset, name: desk.ends[name]})


def duplicate_applied(desk: Desk) -> None:
    """c1 of p2, sent twice, was realised twice."""
    reward = desk.event(desk.names.rewards, 1, Reward)
    again = desk.topics[desk.names.trades[-1]]
    at = max(
        i
        for i, one in enumerate(again)
        if isinstance(e := desk.any_event(one.topic, i), Close) and (e.position_id == "p2" and e.event_id == "c1")
    )
    cut_after = dict(desk.event(desk.names.dead_letters, 0, DeadLetter).cut)
    cut_after[desk.names.trades[-1]] = again[at].offset + 1
    if desk.names.trades[0] == desk.names.trades[-1]:
        cut_after[desk.names.trades[0]] = again[at].offset + 1
    else:
        cut_after[desk.names.trades[0]] -= 1
    value = encode(msgspec.structs.replace(reward, version=5, cut=cut_after, counted=False))
    rewards = desk.topics[desk.names.rewards]
    rewards.insert(4, msgspec.structs.replace(rewards[1], value=value))
    for later in (5, 7, 8):
        desk.change(desk.names.rewards, later, version=desk.event(desk.names.rewards, later, Reward).version + 1)


def snapshot_of_an_older_version(desk: Desk) -> None:
    source = desk.topics[BANDITS][8]
    desk.topics[BANDITS][22] = msgspec.structs.replace(desk.topics[BANDITS][22], value=source.value)


def position_left(desk: Desk) -> None:
    name, at = POSITIONS, 13
    position = desk.event(name, at, PositionSnapshot)
    desk.change(name, at, open_left=position.open_left + 50.0 * 1e-9)


def position_of_nobody(desk: Desk) -> None:
    name = POSITIONS
    desk.repeat(name, 13)
    desk.change(name, -1, position_id="p99")
    desk.topics[name][-1] = msgspec.structs.replace(desk.topics[name][-1], key=b"book\0p99")


def foreign_record(desk: Desk) -> None:
    desk.repeat(desk.names.weights, 0)
    desk.topics[desk.names.rewards].append(
        Source(
            desk.names.rewards,
            NUMBER,
            desk.ends[desk.names.rewards],
            b"book",
            desk.topics[desk.names.weights][-1].value,
        )
    )


def reward_beyond_the_task(desk: Desk) -> None:
    reward = desk.event(desk.names.rewards, 7, Reward)
    desk.repeat(desk.names.rewards, 7)
    at = {name: offset + 5 for name, offset in reward.cut.items()}
    desk.change(desk.names.rewards, 8, version=8, cut=at)


WRONG: dict[str, tuple[Callable[[Desk], None], tuple[str, ...]]] = {
    "a reward doubled": (reward_doubled, ("rewards:0:", "version 4 of 'book'", "version 8")),
    "a reward doubled under a new version": (reward_doubled_under_a_new_version, ("version 8 of 'book'", "no reward")),
    "a reward lost": (lost("rewards", 3), ("version 5 of 'book'", "version 4")),
    "the last reward lost": (lost("rewards", 7), ("no such reward", "close 'c2', position 'p2' of 'book'")),
    "a reward lost and the gap closed": (reward_lost_and_versions_closed_up, ("fill 'f2' and close 'c1'", "'p3'")),
    "reward_bps": (scaled("rewards", 0, "reward_bps"), ("rewards:0:0, version 1 of 'book'", "reward_bps 32.866")),
    "quantity": (scaled("rewards", 0, "quantity"), ("quantity 100.0000001",)),
    "weight of a reward": (scaled("rewards", 6, "weight"), ("version 6 of 'book'", "weight 0.60000000")),
    "applied": (changed("rewards", 0, applied=False), ("version 1 of 'book'", "applied False")),
    "counted": (changed("rewards", 1, counted=False), ("version 2 of 'book'", "counted False")),
    "counted twice": (changed("rewards", 3, counted=True), ("version 4 of 'book'", "counted True")),
    "an arm": (scaled_arm("rewards", 2, 0, "share"), ("version 3 of 'book', arm 'mlp'", "share 0.75000")),
    "logged propensity": (scaled_arm("rewards", 0, 0, "propensity"), ("arm 'ridge': published was propensity 0.4",)),
    "current propensity": (scaled_arm("rewards", 1, 0, "propensity"), ("version 2", "propensity")),
    "estimate": (scaled_arm("rewards", 4, 0, "estimate"), ("version 5 of 'book', arm 'mlp'", "estimate")),
    "rate of a reward": (scaled("rewards", 4, "eta"), ("version 5 of 'book'", "eta")),
    "propensity_source": (changed("rewards", 0, propensity_source="CURRENT"), ("'LOGGED'",)),
    "total_steps": (changed("rewards", 4, total_steps=9), ("version 5 of 'book'", "total_steps 9", "follows 4")),
    "time of a reward": (changed("rewards", 0, ts_event=START + 1), ("ts_event",)),
    "cut": (changed("rewards", 6, cut={}), ("version 6 of 'book'", "the cut")),
    "fill of a reward": (changed("rewards", 0, fill_event_id="f9"), ("fill_event_id 'f9'", "'f1'")),
    "weight": (scaled_arm("weights", 2, 0, "weight"), ("weights:0:", "version 4 of 'book', arm 'ridge'", "weight")),
    "probability": (scaled_arm("weights", 5, 2, "probability"), ("version 7 of 'book', arm 'boost'", "probability")),
    "rate of a vector": (scaled("weights", 1, "eta"), ("version 2 of 'book'", "eta")),
    "arms in another order": (arms_swapped, ("version 4 of 'book'", "arms")),
    "cause": (changed("weights", 3, cause_event_id="f2"), ("version 5 of 'book'", "cause_event_id", "'f1'")),
    "steps of a vector": (changed("weights", 0, total_steps=2), ("version 1 of 'book'", "total_steps 2")),
    "a vector repeated": (vector_repeated, ("version 2 of 'book'", "one above 7")),
    "a vector's version": (changed("weights", 1, version=3), ("version 3 of 'book'", "version 4")),
    "the newest vector lost": (lost("weights", 5), ("the newest of 'book'", "version 5", "version 7")),
    "a vector of no reward": (vector_of_no_reward, ("version 9 of 'book'", "nothing")),
    "a dead letter doubled": (letter_doubled, ("dead-letters:0:7, dead letter of", "the cut")),
    "a dead letter doubled in its transaction": (
        letter_doubled_in_its_transaction,
        ("a dead letter, DECODE", "none there"),
    ),
    "an orphan doubled": (orphan_doubled, ("ORPHAN_CLOSE", "none there")),
    "a dead letter lost": (lost("dead_letters", 0), ("no dead letter of it", "framing")),
    "an orphan lost": (lost("dead_letters", 2), ("no dead letter of it", "ORPHAN_CLOSE")),
    "bytes of a dead letter": (letter_with_other_bytes, ("dead-letters:0:", "b'no events'")),
    "key of an orphan": (orphan_with_other_headers, ("dead-letters:0:", "key b'book'")),
    "quantity_left": (scaled("dead_letters", 2, "quantity_left"), ("dead-letters:0:", "quantity_left 2.000000002")),
    "an input that no processor applied": (input_lost, ("fill 'f1' and close 'c1', position 'p6' of 'other'",)),
    "an input that is nowhere": (input_that_is_nowhere, ("'p9'", "no snapshot")),
    "a duplicate applied": (duplicate_applied, ("version 5 of 'book'", "position 'p2'", "no reward")),
    "a snapshot of an older state": (snapshot_of_an_older_version, ("snapshot of 'book'", "version 4", "follows 7")),
    "state in a snapshot": (
        scaled_arm("bandit_snapshots", 20, 0, "state"),
        ("snapshot of 'book', arm 'ridge'", "state"),
    ),
    "pulls in a snapshot": (scaled_arm("bandit_snapshots", 20, 0, "pulls", 2), ("arm 'ridge'", "pulls")),
    "earned in a snapshot": (scaled_arm("bandit_snapshots", 2, 0, "cumulative_reward_bps"), ("cumulative_reward_bps",)),
    "watermark": (
        changed("bandit_snapshots", 18, close_watermark=START - 1),
        ("snapshot of 'book'", "close_watermark"),
    ),
    "another settings' snapshot": (changed("bandit_snapshots", 0, settings='{"arms": ["a", "b"]}'), ("settings '",)),
    "the newest snapshot lost": (lost("bandit_snapshots", 22), ("the newest of 'book'", "_watermark")),
    "a task that goes back": (changed("bandit_snapshots", 21, next_offset={}), ("snapshots:0:", "the cut")),
    "another task": (changed("bandit_snapshots", 21, task=4), ("task 4",)),
    "what is left of a fill": (position_left, ("'p2' of 'book'", "open_left 25.00000005", "25.0")),
    "ids of a position": (changed("position_snapshots", 13, closes=()), ("'p2' of 'book'", "closes")),
    "counted of a position": (changed("position_snapshots", 12, counted=False), ("'p7' of 'book'", "counted")),
    "decision of a position": (changed("position_snapshots", 12, decision=None), ("'p7' of 'book'", "decision")),
    "time of a position": (changed("position_snapshots", 14, ts_last=START), ("'p8' of 'book'", "ts_last")),
    "filled quantity": (scaled("position_snapshots", 4, "filled_quantity"), ("'p3' of 'book'", "filled_quantity")),
    "a position lost": (lost("position_snapshots", 14), ("'p8' of 'book'", "no snapshot")),
    "a position of nobody's": (position_of_nobody, ("'p99' of 'book'",)),
    "a record of another kind": (foreign_record, ("rewards:0:", "a WeightVector", "a Reward")),
    "a reward behind all input": (reward_beyond_the_task, ("rewards:0:", "at the cut")),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_thing_that_is_wrong_is_found_and_named(desk: Desk, name: str) -> None:
    corrupt, says = WRONG[name]
    corrupt(desk)
    line = found(desk)
    assert all(part in line for part in says), line


def test_slippage_in_a_waiting_closes_price_is_compared_where_it_is_known() -> None:
    """A processor that came before did not write it down: 0 says nothing."""
    desk = Desk(settings_of())
    desk.apply(close("c1", "p1", slippage=0.25, slippage_in_price=True))
    desk.verify()
    topic = POSITIONS
    (position,) = [
        event for record in desk.topics[topic] if isinstance(event := decode(record.value), PositionSnapshot)
    ]
    (waits,) = position.waiting
    desk.change(topic, 0, waiting=(msgspec.structs.replace(waits, slippage_in_price=0.0),))
    desk.verify()
    desk.change(topic, 0, waiting=(msgspec.structs.replace(waits, slippage_in_price=0.75),))
    assert "slippage_in_price" in found(desk)
