"""Trades as they really happen, in both layouts: what the stages make of them is right; one wrong thing is found."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from armstream.events import (
    BanditSnapshot,
    Input,
    PositionFill,
    PositionPage,
    PositionSnapshot,
    Reward,
)
from armstream.oracle.comparison import Difference
from armstream.stages import matching, memory
from armstream.stages import reward as reward_stage
from armstream.stages.facts import TaskLimits
from armstream.stages.state import Bandit, TaskState, is_flat
from tests.stages.events import START, close, fill, short_rules
from tests.verify.desk import APART, BANDITS, POSITIONS, Desk, settings_of, topic_named
from tests.verify.test_commands import restarted_under
from tests.verify.test_states import forget_what_stands_before, kept

LAYOUTS: tuple[dict[str, Any], ...] = ({}, APART)
MINUTE = 60_000_000
MILLISECONDS = START // 1_000

Batches = Sequence[Sequence[Input]]
SPREAD: dict[str, Any] = {"quantity": 10.0, "price": -0.25, "multiplier": 50.0, "notional": 2_000.0}

# Each law: what is traded, under which limits; the dead letters, by class; the rewards, as (bps, weight, applied).
TRADED: dict[str, tuple[Batches, TaskLimits, list[str], list[tuple[float, float, bool]]]] = {
    "an id that comes again with other content": (
        [[fill("f1"), close("c1", quantity=50.0)], [fill("f1", price=151.0), close("c1", quantity=40.0), fill("f1")]],
        TaskLimits(),
        ["ID_REUSED", "ID_REUSED"],
        [(33.333333333333336, 0.5, True)],
    ),
    "an exec_id under another event_id": (
        [
            [fill("f1", quantity=40.0, order_quantity=100.0, exec_id="x1")],
            [fill("f9", quantity=40.0, order_quantity=100.0, exec_id="x1")],
            [fill("f2", quantity=60.0, order_quantity=100.0, exec_id="x2"), close("c1")],
        ],
        TaskLimits(),
        [],
        [(33.333333333333336, 0.4, True), (33.333333333333336, 0.6, True)],
    ),
    "a spread that was bought below zero": (
        [[fill("f1", **SPREAD, fees=4.0), close("c1", quantity=10.0, price=0.5, fees=6.0)]],
        TaskLimits(),
        [],
        [(182.5, 1.0, True)],
    ),
    "a worthless expiry, and a price of 0 without a notional": (
        [[fill("f1"), close("c1", price=0.0)], [fill("f1", "p2", price=0.0)]],
        TaskLimits(),
        ["VALIDATION"],
        [(-10_000.0, 1.0, True)],
    ),
    "fees beyond all measure": (
        [[fill("f1"), close("c1", fees=1e6, quantity=50.0), close("c2", quantity=50.0)]],
        TaskLimits(),
        [],
        [(33.333333333333336 - 1e6 / 7_500 * 1e4, 0.5, False), (33.333333333333336, 0.5, True)],
    ),
    "milliseconds": (
        [[fill("f0", "p0", ts_event=MILLISECONDS), fill("f1"), close("c0", ts_event=MILLISECONDS), close("c1")]],
        TaskLimits(),
        ["VALIDATION", "VALIDATION"],
        [(33.333333333333336, 1.0, True)],
    ),
    "an order that was amended, and one that was overfilled": (
        [
            [fill("f1", quantity=40.0, order_quantity=100.0), fill("f2", quantity=60.0, order_quantity=150.0)],
            [fill("f1", "p2", quantity=60.0, order_quantity=100.0)],
            [fill("f2", "p2", quantity=45.0, order_quantity=100.0)],
            [close("c1", price=150.0), close("c1", "p2", quantity=105.0, price=150.0)],
        ],
        TaskLimits(),
        [],
        [(0.0, 0.4, True), (0.0, 0.6 * 60 / 110, True), (0.0, 0.6, True), (0.0, 0.4, True)],
    ),
    "a final close, a fill after it, and a close after it": (
        [
            [fill("f1", quantity=1.0, order_quantity=2.0), fill("f2", quantity=0.5, order_quantity=2.0)],
            [close("c1", quantity=0.999, price=150.0, final=True)],
            [fill("f3", quantity=0.5, order_quantity=2.0), close("c2", quantity=0.5)],
        ],
        TaskLimits(),
        ["VALIDATION"],
        [(0.0, 0.4995, True), (0.0, 0.0005, False), (0.0, 0.25, False), (0.0, 0.25, False)],
    ),
    "a memory that is full": (
        [
            [
                event
                for n in range(4)
                for event in (
                    fill("f", f"p{n}", ts_event=START + n),
                    close("c", f"p{n}", price=150.0, ts_event=START + n),
                )
            ],
            [fill("f9", "p8", ts_event=START + 1), fill("f", "p1", ts_event=START + 9)],
        ],
        TaskLimits(max_positions_remembered=2),
        ["LATE"],
        [(0.0, 1.0, True)] * 4,
    ),
    "more closes than may wait": (
        [
            [close(f"c{n}", f"p{n}", quantity=3.0, ts_event=START + n) for n in (2, 1, 3)],
            [fill("f1", "p2", ts_event=START + 9)],
        ],
        TaskLimits(max_waiting_closes=2),
        ["LIMIT"],
        [(33.333333333333336, 0.03, True)],
    ),
    "a bandit that no fill made": (
        [
            [close("c1", bandit_id="nobody")],
            [close("c2", "p2", bandit_id="nobody", ts_event=START + 2 * 1440 * MINUTE), fill("f1")],
            [close("c1", price=150.0, ts_event=START + 1)],
        ],
        TaskLimits(),
        ["ORPHAN_CLOSE"],
        [(0.0, 1.0, True)],
    ),
    "all but a billionth": (
        [[fill("f1", quantity=1.0), close("c1", quantity=1.0 - 5e-10, price=150.0)]],
        TaskLimits(),
        [],
        [(0.0, 1.0 - 5e-10, True)],
    ),
    "an order of 100 child fills": (
        [
            [fill(f"f{n}", quantity=1.0, order_quantity=100.0, ts_event=START + n) for n in range(70)],
            [fill(f"f{n}", quantity=1.0, order_quantity=100.0, ts_event=START + n) for n in (3, *range(70, 100))],
            [close("c1", quantity=99.5, price=150.0, ts_event=START + 100)],
        ],
        TaskLimits(max_events_per_position=100),
        [],
        [(0.0, 0.01, True)] * 99 + [(0.0, 0.005, True)],
    ),
}


def traded(name: str, sections: dict[str, Any]) -> Desk:
    batches, limits, _, _ = TRADED[name]
    desk = Desk(settings_of(**sections), limits)
    for batch in batches:
        desk.apply(*batch)
    return desk


@pytest.mark.parametrize("sections", LAYOUTS, ids=("together", "apart"))
@pytest.mark.parametrize("name", TRADED)
def test_what_is_traded_is_verified_whole(name: str, sections: dict[str, Any]) -> None:
    _, _, letters, rewards = TRADED[name]
    desk = traded(name, sections)
    account = desk.verify()
    published = [desk.event(desk.names.rewards, at, Reward) for at in range(len(desk.topics[desk.names.rewards]))]
    assert [one.reward_bps for one in published] == pytest.approx([bps for bps, _, _ in rewards], rel=1e-12)
    assert [one.weight for one in published] == pytest.approx([weight for _, weight, _ in rewards], rel=1e-12)
    assert [one.applied for one in published] == [applied for _, _, applied in rewards]
    assert sorted(account.dead_letters.elements()) == sorted(letters)
    assert (account.not_checked, account.counts["not_placed"]) == ([], 0)


@pytest.mark.parametrize("sections", LAYOUTS, ids=("together", "apart"))
@pytest.mark.parametrize("name", TRADED)
def test_what_is_traded_is_verified_after_a_restart_before_each_batch_too(name: str, sections: dict[str, Any]) -> None:
    batches, limits, _, rewards = TRADED[name]
    desk = Desk(settings_of(**sections), limits)
    for batch in batches:
        desk = restarted_under(desk, **sections)
        desk.apply(*batch)
    for topic in desk.names.compacted:
        desk.compact(topic)
    account = desk.verify()
    assert (account.not_checked, account.counts["rewards"], account.counts["not_placed"]) == ([], len(rewards), 0)


# What is wrong in processor and shadow alike.


def of_the_first_order(_: Any) -> Any:
    return lambda _weight, _filled, quantity, whole: quantity / (whole or quantity)


def nothing_is_written_off(_: Any) -> Any:
    return lambda *_: []


def whatever_it_costs(segment_of: Callable[..., Any]) -> Any:
    return lambda *given: segment_of(*given[:-1], 1e300)


def a_billionth_is_nothing(_: Any) -> Any:
    return lambda left, quantity, *_: left <= 1e-9 * quantity


def by_price_alone(segment_of: Callable[..., Any]) -> Any:
    return lambda decision, side, fill, *given: segment_of(decision, side, structs.replace(fill, notional=None), *given)


def time_stands_still(_: Any) -> Any:
    return lambda state, bandit_id, *_, **__: state.bandit(bandit_id)


def the_newest(_: Any) -> Any:
    def newest(state: TaskState, bandit: Bandit) -> PositionSnapshot | None:
        assert isinstance(bandit.finished, list)  # verify replays by the Python stages
        positions = [state.position(f"{bandit.bandit_id}\0{position_id}") for _, position_id in bandit.finished]
        return max((one for one in positions if one is not None and is_flat(one)), key=lambda one: one.ts_last)

    return newest


def nothing_was_forgotten(forget: Callable[..., Any]) -> Any:
    def wrong(state: TaskState, bandit: Bandit, position: PositionSnapshot) -> None:
        before = bandit.forgotten_until
        forget(state, bandit, position)
        bandit.forgotten_until = before

    return wrong


BROKEN: dict[str, tuple[Any, str, Callable[[Any], Any], str, str]] = {
    "weights": (
        reward_stage,
        "weight_of",
        of_the_first_order,
        "an order that was amended, and one that was overfilled",
        "weight 0.4",
    ),
    "write-offs": (
        reward_stage,
        "write_off",
        nothing_is_written_off,
        "a final close, a fill after it, and a close after it",
        "no such reward",
    ),
    "costs": (reward_stage, "segment_of", whatever_it_costs, "fees beyond all measure", "applied True"),
    "notional": (reward_stage, "segment_of", by_price_alone, "a spread that was bought below zero", "reward_bps"),
    "time": (reward_stage, "tell_time", time_stands_still, "a memory that is full", "watermark"),
    "who makes room": (memory, "_oldest_finished", the_newest, "a memory that is full", "forgotten"),
    "forgotten_until": (memory, "forget", nothing_was_forgotten, "a memory that is full", "forgotten_until"),
    "what is left": (matching, "is_nothing", a_billionth_is_nothing, "all but a billionth", "what is open"),
}


@pytest.mark.parametrize("sections", LAYOUTS, ids=("together", "apart"))
@pytest.mark.parametrize("name", BROKEN)
def test_a_law_that_processor_and_shadow_break_alike_is_found_by_the_oracle(
    name: str, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, attribute, breaks, law, says = BROKEN[name]
    assert traded(law, sections).verify().not_checked == []
    monkeypatch.setattr(owner, attribute, breaks(getattr(owner, attribute)))
    with pytest.raises(Difference) as difference:
        traded(law, sections).verify()
    assert says in str(difference.value)


# What is wrong in what was published.


def changed(topic: str, at: int, **fields: Any) -> Callable[[Desk], None]:
    return lambda desk: desk.change(topic_named(desk, topic), at, **fields)


def lost(topic: str, at: int) -> Callable[[Desk], None]:
    return lambda desk: desk.topics[topic_named(desk, topic)].__delitem__(at)


def is_of(kind: type, **fields: Any) -> Callable[[Any], bool]:
    return lambda event: isinstance(event, kind) and all(getattr(event, name) == it for name, it in fields.items())


def the_last(topic: str, which: Callable[[Any], bool], **fields: Any) -> Callable[[Desk], None]:
    """Other fields in the last record of a kind."""

    def corrupt(desk: Desk) -> None:
        name = topic_named(desk, topic)
        at = max(
            at
            for at, _ in enumerate(desk.topics[name])
            if desk.topics[name][at].value and which(desk.any_event(name, at))
        )
        desk.change(name, at, **fields)

    return corrupt


def without_tombstones(topic: str, key: bytes) -> Callable[[Desk], None]:
    def corrupt(desk: Desk) -> None:
        records = desk.topics[topic_named(desk, topic)]
        assert any(one.key == key and one.value is None for one in records)
        records[:] = [one for one in records if one.key != key or one.value is not None]

    return corrupt


def tombstone(topic: str, key: bytes) -> Callable[[Desk], None]:
    return lambda desk: desk.write(topic_named(desk, topic), key, None)


def page_changed(**fields: Any) -> Callable[[Desk], None]:
    def corrupt(desk: Desk) -> None:
        name = POSITIONS
        at = next(at for at, one in enumerate(desk.topics[name]) if (one.key or b"").startswith(b"\0"))
        page = desk.event(name, at, PositionPage)
        desk.change(name, at, fills=(structs.replace(page.fills[0], **fields), *page.fills[1:]))

    return corrupt


def reward_of_a_reused_id(desk: Desk) -> None:
    """The second c1 was realised, as another close."""
    desk.topics[desk.names.dead_letters].clear()
    first = desk.event(desk.names.rewards, 0, Reward)
    desk.repeat(desk.names.rewards, 0)
    cut = {name: offset + 2 for name, offset in first.cut.items()}
    desk.change(desk.names.rewards, 1, version=2, quantity=40.0, weight=0.4, counted=False, cut=cut)


PAGE = b"\x000\x00book\0p1"
WRONG: dict[str, tuple[str, Callable[[Desk], None], str]] = {
    "what differs is not said": (
        "an id that comes again with other content",
        changed("dead_letters", 0, error="F0 came again"),
        "came before in this position",
    ),
    "a reused id is lost": ("an id that comes again with other content", lost("dead_letters", 0), "ID_REUSED"),
    "a reused id is realised": ("an id that comes again with other content", reward_of_a_reused_id, ""),
    "a duplicate by exec_id counts": (
        "an exec_id under another event_id",
        changed("rewards", 1, weight=0.4, quantity=40.0),
        "",
    ),
    "basis points of the price": (
        "a spread that was bought below zero",
        changed("rewards", 0, reward_bps=-29_200.0),
        "182.5",
    ),
    "a worthless expiry": (
        "a worthless expiry, and a price of 0 without a notional",
        changed("rewards", 0, reward_bps=-9_999.0),
        "-10000.0",
    ),
    "too costly, and learned": (
        "fees beyond all measure",
        changed("rewards", 0, applied=True, counted=True, detail=""),
        "applied True",
    ),
    "too costly, for another reason": (
        "fees beyond all measure",
        changed("rewards", 0, detail="too much"),
        "detail 'too much'",
    ),
    "milliseconds are taken": ("milliseconds", lost("dead_letters", 0), "milliseconds or seconds?"),
    "a weight of the first order": (
        "an order that was amended, and one that was overfilled",
        changed("rewards", 1, weight=0.6),
        "weight 0.6",
    ),
    "an overfill that weighs by quantity": (
        "an order that was amended, and one that was overfilled",
        changed("rewards", 3, weight=0.45),
        "weight 0.45",
    ),
    "an order_quantity": (
        "an order that was amended, and one that was overfilled",
        the_last("position_snapshots", is_of(PositionSnapshot, position_id="p2"), filled_weight=0.99),
        "filled_weight 0.99",
    ),
    "a write-off that earns": (
        "a final close, a fill after it, and a close after it",
        changed("rewards", 1, reward_bps=1.0),
        "reward_bps 1.0",
    ),
    "a write-off of another close": (
        "a final close, a fill after it, and a close after it",
        changed("rewards", 1, close_event_id="c0"),
        "close_event_id 'c0'",
    ),
    "a write-off of less": (
        "a final close, a fill after it, and a close after it",
        changed("rewards", 2, quantity=0.4),
        "quantity 0.4",
    ),
    "a write-off that was learned": (
        "a final close, a fill after it, and a close after it",
        changed("rewards", 2, applied=True),
        "applied True",
    ),
    "a write-off that is lost": (
        "a final close, a fill after it, and a close after it",
        lost("rewards", 3),
        "no such reward",
    ),
    "no close was final": (
        "a final close, a fill after it, and a close after it",
        the_last("position_snapshots", is_of(PositionSnapshot), final_close_id=None),
        "final_close_id None",
    ),
    "forgotten_until": (
        "a memory that is full",
        the_last("bandit_snapshots", is_of(BanditSnapshot), forgotten_until=START),
        "forgotten_until",
    ),
    "a position that made room and is there": (
        "a memory that is full",
        without_tombstones("position_snapshots", b"book\0p2"),
        "'p2' of 'book'",
    ),
    "a position that is gone and made no room": (
        "a memory that is full",
        tombstone("position_snapshots", b"book\0p3"),
        "",
    ),
    "left of a close that made room": (
        "more closes than may wait",
        changed("dead_letters", 0, quantity_left=2.0),
        "quantity_left 2.0",
    ),
    "another close made room": ("more closes than may wait", lost("dead_letters", 0), "LIMIT"),
    "a bandit of nothing": (
        "a bandit that no fill made",
        without_tombstones("position_snapshots", b"nobody\0p1"),
        "'p1' of 'nobody'",
    ),
    "a page's price": ("an order of 100 child fills", page_changed(price=150.1), "page 0 of 'p1' of 'book', fill 'f0'"),
    "a page's weight": ("an order of 100 child fills", page_changed(weight=0.02), "weight 0.02"),
    "a page is lost": ("an order of 100 child fills", tombstone("position_snapshots", PAGE), "no page"),
    "the pages that a position says": (
        "an order of 100 child fills",
        the_last("position_snapshots", is_of(PositionSnapshot), paged=None),
        "paged",
    ),
    "what is open of many": (
        "an order of 100 child fills",
        the_last("position_snapshots", is_of(PositionSnapshot), open_from=98),
        "open_from 98",
    ),
    "a kept fill": (
        "an id that comes again with other content",
        the_last(
            "position_snapshots", is_of(PositionSnapshot), fills=(PositionFill("f1", 100.0, 151.0, 0.0, 1.0, START),)
        ),
        "price 151.0",
    ),
}


@pytest.mark.parametrize("sections", LAYOUTS, ids=("together", "apart"))
@pytest.mark.parametrize("name", WRONG)
def test_one_thing_that_is_wrong_is_found(name: str, sections: dict[str, Any]) -> None:
    law, corrupt, says = WRONG[name]
    desk = traded(law, sections)
    corrupt(desk)
    with pytest.raises(Difference) as difference:
        desk.verify()
    assert says in str(difference.value)


@pytest.mark.parametrize("sections", LAYOUTS, ids=("together", "apart"))
def test_a_bandit_that_was_forgotten_and_stands_in_the_snapshots_is_found(sections: dict[str, Any]) -> None:
    """No fill came, so its close is all there was of it, and ended."""
    desk = Desk(settings_of(**sections), short_rules())
    desk.apply(close("c1", bandit_id="nobody", ts_event=START))
    later = fill("f1", "p9", bandit_id="nobody", arm="none", ts_event=START + 9_000)
    desk.apply(later)
    assert desk.topics[BANDITS][2].value is None
    account = desk.verify()
    assert (account.not_checked, account.counts["bandits"], account.counts["not_placed"]) == ([], 0, 0)
    assert sorted(account.dead_letters) == ["ORPHAN_CLOSE", "UNKNOWN_ARM"]
    del desk.topics[BANDITS][2]
    with pytest.raises(Difference, match=r"the newest of 'nobody': published was a snapshot; .* it is forgotten"):
        desk.verify()


# Where pages are all that is left of what came before.

MANY = "an order of 100 child fills"


@pytest.mark.parametrize("sections", LAYOUTS, ids=("together", "apart"))
def test_a_state_that_is_gone_on_from_has_the_pages(sections: dict[str, Any], tmp_path: Path) -> None:
    batches, limits, _, rewards = TRADED[MANY]
    desk, state = Desk(settings_of(**sections), limits), None
    for batch in batches:
        desk.apply(*batch)
        account = desk.verify(state)
        assert account.state is not None
        state = kept(desk, tmp_path, account.state)
        forget_what_stands_before(desk, state)
    assert (account.not_checked, account.counts["rewards"], account.counts["not_placed"]) == ([], len(rewards), 0)
    assert state is not None
    assert len(state.pages) == 1
    page_changed(fees=1.0)(desk)
    with pytest.raises(Difference, match=r"page 0 of 'p1' of 'book', fill 'f0': published was fees 1\.0"):
        desk.verify(state)


def without_the_first(inputs: int) -> Desk:
    desk = traded(MANY, {})
    desk.delete_before(desk.names.trades[0], inputs)
    return desk


def test_pages_that_are_taken_as_given_are_those_of_their_position_and_hold_what_is_kept() -> None:
    account = without_the_first(20).verify()
    assert (account.counts["rewards"], account.counts["positions_not_checked"]) == (100, 1)
    assert account.state is not None
    assert len(account.state.pages) == 1
    lost = without_the_first(20)
    tombstone("position_snapshots", PAGE)(lost)
    with pytest.raises(Difference, match=r"pages, and the fills and closes in them, \(\[\], 0, 0\)"):
        lost.verify()
    altered = without_the_first(20)
    name = POSITIONS
    at = next(at for at, one in enumerate(altered.topics[name]) if one.key == PAGE)
    page = altered.event(name, at, PositionPage)
    altered.change(name, at, fills=(*page.fills[:-1], structs.replace(page.fills[-1], price=150.1)))
    with pytest.raises(Difference, match=r"'p1' of 'book', 'f63': published was price 150\.1"):
        altered.verify()
