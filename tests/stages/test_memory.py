"""Time, ids and memory: when an id is known, when it is free again, what is forgotten, and what never is."""

from collections.abc import Callable
from typing import Any

import pytest

from armstream.events import Close, Command, DeadLetter, Fill, Input, Reward
from armstream.stages.facts import DAY_MICROS, HOUR_MICROS, TaskLimits
from tests.stages.events import START, close, fill, learning_rules, short_rules, source_of
from tests.stages.task import Task

MINUTE = 60_000_000
PART: dict[str, Any] = {"quantity": 40.0, "order_quantity": 100.0}

one_topic_or_two = pytest.mark.parametrize("shared", [True, False], ids=["one topic", "two topics"])
restarted_or_not = pytest.mark.parametrize("steps", [Task.going_on, Task.restart], ids=["going on", "restarted"])


@pytest.fixture(params=[True, False], ids=["one topic", "two topics"])
def task(request: pytest.FixtureRequest) -> Task:
    return Task(short_rules(trades_share_topic=request.param), learning_rules())


def letters(task: Task) -> list[DeadLetter]:
    return [letter for _, letter in task.published.dead_letters]


def classes(task: Task) -> list[str]:
    return [letter.error_class for letter in letters(task)]


def rewards(task: Task) -> list[Reward]:
    return [reward for _, reward in task.published.rewards]


def trade(name: str, ts_event: int = START, **fields: Any) -> tuple[Fill, Close]:
    """A position that is flat at once."""
    return fill(name, name, ts_event=ts_event, **fields), close(name, name, ts_event=ts_event, **fields)


# Ids that begin anew.


def sessions(hours_apart: int) -> list[list[Input]]:
    """F0 to F19 on five days, a trade every twenty minutes, closed after ten, at a price of the day."""
    days: list[list[Input]] = []
    for day in range(5):
        events: list[Input] = []
        for number in range(20):
            at = START + day * hours_apart * HOUR_MICROS + number * 20 * MINUTE
            price = 100.0 + day
            events.append(fill(f"F{number}", f"P{number}", price=price, ts_event=at))
            events.append(close(f"C{number}", f"P{number}", price=price + 1.0, ts_event=at + 10 * MINUTE))
        days.append(events)
    return days


@restarted_or_not
def test_ids_that_begin_anew_after_the_window_are_new_trades(steps: Callable[[Task], None]) -> None:
    task = Task(TaskLimits(), learning_rules())
    for events in sessions(hours_apart=25):
        task.apply(*events)
        steps(task)
    assert (letters(task), set(task.published.outcomes)) == ([], {0})
    by_hand = [1.0 / (100.0 + day) * 1e4 for day in range(5) for _ in range(20)]
    assert [reward.reward_bps for reward in rewards(task)] == pytest.approx(by_hand, rel=1e-12)


@restarted_or_not
def test_on_two_topics_only_each_days_first_trade_is_refused_by_name(steps: Callable[[Task], None]) -> None:
    """F0 cannot move the time of the closes. So on day two it is known, and C0 waits an hour for a fill. On day three
    F0 is new, and C0 is known from day two, so the position stays open, and on the days after both are known."""
    task = Task(TaskLimits(trades_share_topic=False), learning_rules())
    for events in sessions(hours_apart=25):
        task.apply(*events)
        steps(task)
    assert len(rewards(task)) == 5 * 20 - 4
    assert classes(task) == ["ID_REUSED", "ORPHAN_CLOSE", "ID_REUSED", *["ID_REUSED"] * 4]
    assert 1 not in task.published.outcomes  # no duplicate


@one_topic_or_two
def test_ids_that_begin_anew_within_the_window_are_refused_loudly_and_never_for_ever(shared: bool) -> None:
    """At the same hours each day the close of yesterday is not yet a day old: every other day is refused, by name."""
    task = Task(TaskLimits(trades_share_topic=shared), learning_rules())
    days = sessions(hours_apart=24)
    for events in days[:2]:
        task.apply(*events)
    assert len(rewards(task)) == 20
    assert classes(task) == ["ID_REUSED"] * 40
    for events in days[2:]:
        task.apply(*events)
    assert 1 not in task.published.outcomes
    if shared:
        assert len(rewards(task)) == 60  # of the days one, three and five


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (fill(), fill(price=151.0), "event_id 'f1' came before in this position with other content: price 151.0,"),
        (fill(), fill(quantity=7.0), "quantity 7.0, not 100.0"),
        (fill(), fill(fees=0.5), "fees 0.5, not 0.0"),
        (fill(), fill(side="SELL"), "side 'SELL', not 'BUY'"),
        (fill(), fill(fees=0.5, side="SELL"), "fees 0.5, not 0.0, side 'SELL', not 'BUY'"),
        (close(), close(price=0.0), "event_id 'c1' came before in this position with other content: price 0.0,"),
        (close(), close(quantity=7.0), "quantity 7.0, not 100.0"),
        (close(), close(fees=0.5), "fees 0.5, not 0.0"),
        (close(), close(slippage=0.5), "slippage 0.5, not 0.0"),
        (fill(exec_id="x"), fill("f2", price=151.0, exec_id="x"), "exec_id 'x' came before in this position"),
        (close(exec_id="x"), close("c2", fees=1.0, exec_id="x"), "exec_id 'x' came before in this position"),
    ],
)  # fmt: skip
@restarted_or_not
def test_an_id_with_other_content_is_refused_with_what_differs_and_how_ids_become_unique(
    task: Task, steps: Callable[[Task], None], first: Input, second: Input, words: str
) -> None:
    task.apply(first)
    steps(task)
    before = dict(task.published.positions)
    (letter,) = task.apply(second).dead_letters
    assert letter.error_class == "ID_REUSED"
    assert words in letter.error
    assert letter.error.endswith(
        "; an id must not come again within rewards.dedupe_window_seconds: put the day or the session into it"
    )
    assert task.published.positions == before


@restarted_or_not
def test_a_duplicate_is_the_same_id_with_the_same_quantity_price_fees_and_side(
    task: Task, steps: Callable[[Task], None]
) -> None:
    """Whatever else it says. Slippage that the price holds is not charged, so it is no content."""
    task.apply(fill(**PART), close(slippage=0.2, slippage_in_price=True))
    steps(task)
    again = task.apply(fill(**PART, instrument_id="MSFT", arm="mlp", exec_id="x"), close(slippage=0.0))
    assert list(again.outcomes) == [1, 1]
    assert (again.audit, again.dead_letters, again.position_snapshots) == ([], [], [])


@restarted_or_not
def test_what_a_later_sending_adds_is_other_content_and_never_lost_in_silence(
    task: Task, steps: Callable[[Task], None]
) -> None:
    task.apply(fill(), close(quantity=40.0), close("c2", quantity=20.0, final=True))
    steps(task)
    again = task.apply(fill(notional=150.0), close(quantity=40.0, final=True), close("c2", quantity=20.0, final=True))
    assert [letter.error_class for letter in again.dead_letters] == ["ID_REUSED", "ID_REUSED"]
    assert "notional 150.0, not None" in again.dead_letters[0].error
    assert "final True, not False" in again.dead_letters[1].error
    assert list(again.outcomes) == [2, 2, 1]


@restarted_or_not
def test_the_same_exec_id_is_a_duplicate_under_another_event_id(task: Task, steps: Callable[[Task], None]) -> None:
    """40, 40 again under a new id, and the true 60 of an order of 100."""
    applied = task.apply(fill("f1", **PART, exec_id="x1"), fill("f2", **PART, exec_id="x1"))
    assert list(applied.outcomes) == [0, 1]
    steps(task)
    applied = task.apply(fill("f3", quantity=60.0, order_quantity=100.0, exec_id="x2"), close())
    assert list(applied.outcomes) == [0, 0]
    assert [(reward.quantity, reward.weight) for reward in rewards(task)] == [(40.0, 0.4), (60.0, 0.6)]


def test_an_exec_id_is_known_by_kind_and_position_and_an_empty_one_is_none(task: Task) -> None:
    applied = task.apply(
        fill("f1", "p1", **PART, exec_id="x"),
        close("c1", "p1", exec_id="x"),
        fill("f1", "p2", **PART, exec_id="x"),
        fill("f2", "p2", **PART, exec_id=""),
        fill("f3", "p2", **(PART | {"quantity": 20.0}), exec_id=""),
    )
    assert list(applied.outcomes) == [0, 0, 0, 0, 0]


# Time.

REFUSED: dict[str, Input] = {
    "a duplicate": fill(**PART, ts_event=START + 500),
    "an id reused": fill(**PART, price=151.0, ts_event=START + 500),
    "no arm": fill("f2", "p2", arm="nobody", ts_event=START + 500),
    "no price": fill("f2", "p2", price=-1.0, ts_event=START + 500),
    "another decision": fill("f2", **PART, propensity=0.5, ts_event=START + 500),
    "not supported": fill("f2", "p2", exec_type="CANCEL", ts_event=START + 500),
    "a duplicate close": close("c1", quantity=40.0, ts_event=START + 500),
    "a close's id reused": close("c1", quantity=39.0, ts_event=START + 500),
    "no quantity": close("c2", quantity=0.0, ts_event=START + 500),
}


@pytest.mark.parametrize("event", REFUSED.values(), ids=list(REFUSED))
@restarted_or_not
def test_an_event_moves_its_bandits_time_also_where_it_is_refused_or_a_duplicate(
    task: Task, steps: Callable[[Task], None], event: Input
) -> None:
    task.apply(fill(**PART), close(quantity=40.0))
    steps(task)
    assert list(task.apply(event).outcomes) != [0]
    fills, closes = task.bandit().fill_watermark, task.bandit().close_watermark
    if task.reward_rules.trades_share_topic:
        assert (fills, closes) == (START + 500, START + 500)
    else:
        is_fill = isinstance(event, Fill)
        assert (fills, closes) == ((START + 500, START) if is_fill else (START, START + 500))


@pytest.mark.parametrize("ts_event", [START // 1_000, START // 1_000_000, 0, 631_151_999_999_999, -(2**63)])
def test_a_time_that_is_none_moves_nothing(task: Task, ts_event: int) -> None:
    task.apply(*trade("p1"))
    before = dict(task.published.bandits)
    task.apply(fill("f2", "p2", ts_event=ts_event), close("c2", "p2", ts_event=ts_event))
    assert task.published.bandits == before
    assert classes(task) == ["VALIDATION", "VALIDATION"]
    assert list(task.apply(*trade("p3")).outcomes) == [0, 0]  # what is right is not LATE by it


def test_a_refused_event_ends_what_is_due_by_its_time() -> None:
    task = Task(short_rules(), learning_rules())
    task.apply(*trade("old"), close("c", "waits", ts_event=START + 10))
    applied = task.apply(fill("f2", "p2", price=-1.0, ts_event=START + 1_011))
    assert [letter.error_class for letter in applied.dead_letters] == ["VALIDATION", "ORPHAN_CLOSE"]
    assert applied.dead_letter_indexes == [0, 0]
    assert not task.remembers("old")
    assert list(applied.outcomes) == [2]


def test_an_event_forgets_what_is_old_before_it_is_looked_up() -> None:
    task = Task(short_rules(), learning_rules())
    task.apply(*trade("p1"))
    again = trade("p1", START + 1_000)  # the window, exactly: known
    assert list(task.apply(*again).outcomes) == [1, 1]
    again = trade("p1", START + 1_001, price=160.0)
    assert list(task.apply(*again).outcomes) == [0, 0]
    assert [reward.reward_bps for reward in rewards(task)][1] == 0.0


# Memory that is full.


@restarted_or_not
def test_what_is_remembered_never_refuses_what_is_new(steps: Callable[[Task], None]) -> None:
    """Three are remembered; of a hundred trades each is rewarded, also thirty days later."""
    task = Task(TaskLimits(max_positions_remembered=3), learning_rules())
    for number in range(100):
        task.apply(*trade(f"p{number}", START + number * MINUTE))
        if number % 10 == 9:
            steps(task)
    assert (len(rewards(task)), letters(task)) == (100, [])
    assert task.remembered() == {("book", "p97"), ("book", "p98"), ("book", "p99")}
    assert task.bandit().forgotten_until == START + 96 * MINUTE
    assert task.state.shortest_window_micros() == 3 * MINUTE
    task.apply(*trade("later", START + 30 * DAY_MICROS))
    assert len(rewards(task)) == 101


@restarted_or_not
def test_what_was_forgotten_for_room_is_late_and_never_counts_twice(task: Task, steps: Callable[[Task], None]) -> None:
    task.reward_rules = short_rules(max_positions_remembered=2, trades_share_topic=task.reward_rules.trades_share_topic)
    task.restart()
    trades = [trade(f"p{number}", START + number) for number in range(4)]
    for events in trades:
        task.apply(*events)
    steps(task)
    assert task.bandit().forgotten_until == START + 1
    for events in trades[:2]:
        assert list(task.apply(*events).outcomes) == [2, 2]
    assert classes(task) == ["LATE"] * 4
    assert letters(task)[0].error == "0.000001 s behind what was forgotten, and of an unknown position"
    assert [list(task.apply(*events).outcomes) for events in trades[2:]] == [[1, 1], [1, 1]]
    assert list(task.apply(*trade("new", START + 2)).outcomes) == [0, 0]
    assert len(rewards(task)) == 5


def test_closes_of_open_positions_are_never_late_by_what_was_forgotten(task: Task) -> None:
    task.apply(fill("f", "open", order_quantity=300.0))
    task.reward_rules = short_rules(max_positions_remembered=2, trades_share_topic=task.reward_rules.trades_share_topic)
    task.restart()
    for number in range(3):
        task.apply(*trade(f"p{number}", START + 100 + number))
    assert task.bandit().forgotten_until == START + 101
    assert list(task.apply(close("c", "open", ts_event=START + 1)).outcomes) == [0]
    assert list(task.apply(fill("f2", "open", order_quantity=300.0, ts_event=START + 1)).outcomes) == [0]


@restarted_or_not
def test_room_is_made_by_the_oldest_of_the_bandit_else_of_the_one_that_remembers_most(
    task: Task, steps: Callable[[Task], None]
) -> None:
    """Ties go by the time of the last event, then the bandit's id, then the position's."""
    task.reward_rules = short_rules(max_positions_remembered=5, trades_share_topic=task.reward_rules.trades_share_topic)
    task.restart()
    task.apply(
        *trade("p2", START + 1, bandit_id="b"),
        *trade("p1", START + 1, bandit_id="b"),
        *trade("p4", START + 1, bandit_id="a"),
        *trade("p3", START + 2, bandit_id="a"),
        *trade("p5", START, bandit_id="c"),
    )
    steps(task)
    gone = []
    for bandit_id, position_id in (("c", "n1"), ("new", "n2"), ("new2", "n3"), ("b", "n4")):
        before = task.remembered()
        task.apply(*trade(position_id, START + 3, bandit_id=bandit_id))
        gone += sorted(before - task.remembered())
        steps(task)
    # Its own of c; then of a and b, two each, the oldest: a's p4 (START + 1, as b's); then b has most; b's own.
    assert gone == [("c", "p5"), ("a", "p4"), ("b", "p1"), ("b", "p2")]
    assert task.bandit("a").forgotten_until == START + 1
    assert task.bandit("new").forgotten_until is None


@restarted_or_not
def test_what_is_open_is_never_evicted_and_refuses_loudly(task: Task, steps: Callable[[Task], None]) -> None:
    task.reward_rules = short_rules(max_positions_remembered=2, trades_share_topic=task.reward_rules.trades_share_topic)
    task.restart()
    task.apply(fill("f", "p1"), close("c", "p2"))
    steps(task)
    applied = task.apply(fill("f", "p3"), close("c", "p4"))
    assert [letter.error_class for letter in applied.dead_letters] == ["LIMIT", "LIMIT"]
    assert applied.dead_letters[0].error == "2 positions are remembered already, and none of them is finished"
    assert task.remembered() == {("book", "p1"), ("book", "p2")}
    assert list(task.apply(close("c", "p1"), *trade("p5")).outcomes) == [0, 0, 0]
    assert task.remembered() == {("book", "p2"), ("book", "p5")}


def test_a_raised_window_at_a_restart_counts_no_forgotten_trade_twice(task: Task) -> None:
    task.apply(*trade("p1"), *trade("p2", START + 1_001))
    assert not task.remembers("p1")
    task.reward_rules = short_rules(dedupe_window_micros=3_000, trades_share_topic=task.reward_rules.trades_share_topic)
    task.restart()
    assert list(task.apply(*trade("p1")).outcomes) == [2, 2]
    assert classes(task) == ["LATE", "LATE"]
    assert len(rewards(task)) == 2


def test_what_was_forgotten_is_in_the_snapshot_and_never_falls(task: Task) -> None:
    """Held too long, in the window, and by room."""
    task.apply(fill("f", "held", ts_event=START + 900))
    task.apply(*trade("p1", START + 500), *trade("p2", START + 1_600))
    assert task.bandit().forgotten_until == START + 500
    task.restart()
    task.apply(*trade("p3", START + 900 + 4_001))
    assert not task.remembers("held")
    assert task.bandit().forgotten_until == START + 1_600  # p2 too, which is younger than what was held
    assert classes(task) == ["LIMIT"]
    task.apply(*trade("p4", START + 900 + 4_001))
    assert task.bandit().forgotten_until == START + 1_600


def test_the_window_in_force_is_the_shortest_of_all_bandits() -> None:
    task = Task(TaskLimits(max_positions_remembered=2), learning_rules())
    assert task.state.shortest_window_micros() == DAY_MICROS
    task.apply(*trade("p1"), *trade("p2", START + 5), *trade("p3", START + 7))
    assert task.state.shortest_window_micros() == 7  # p1 is forgotten: what is 7 behind is LATE


# Closes that wait.


@one_topic_or_two
@restarted_or_not
def test_a_bandit_of_closes_alone_goes_with_the_last_of_them(shared: bool, steps: Callable[[Task], None]) -> None:
    task = Task(short_rules(trades_share_topic=shared), learning_rules())
    waits = 400 if shared else 1_000  # where closes tell the time of fills, as where a fill did
    task.apply(close("c1", "p1", bandit_id="b"), close("c2", "p2", bandit_id="b", ts_event=START + 5))
    steps(task)
    applied = task.apply(close("c3", "p3", bandit_id="b", ts_event=START + waits + 1))
    assert [(letter.error_class, letter.source) for letter in applied.dead_letters] == [("ORPHAN_CLOSE", source_of(0))]
    assert task.remembered() == {("b", "p2"), ("b", "p3")}
    steps(task)
    # A close that is refused moves the time on, and nothing is left of the bandit.
    applied = task.apply(close("c4", "p4", bandit_id="b", quantity=0.0, ts_event=START + 2 * waits + 2))
    assert [letter.error_class for letter in applied.dead_letters] == ["VALIDATION", "ORPHAN_CLOSE", "ORPHAN_CLOSE"]
    assert applied.forgotten_bandits == ["b"]
    assert (task.published.bandits, task.published.positions) == ({}, {})
    assert (task.state.bandit_count, task.state.position_count, task.state.waiting_close_count) == (0, 0, 0)


def test_a_bandit_of_closes_alone_goes_with_what_was_held_too_long() -> None:
    task = Task(short_rules(orphan_ttl_micros=6_000), learning_rules())
    task.apply(close("c1", bandit_id="b"))
    applied = task.apply(fill("f1", bandit_id="b", price=0.0, ts_event=START + 4_001))
    assert [letter.error_class for letter in applied.dead_letters] == ["VALIDATION", "LIMIT"]
    assert (applied.forgotten, applied.forgotten_bandits) == (["b\0p1"], ["b"])
    assert task.state.bandit_count == 0


def test_a_bandit_that_came_back_in_the_batch_that_forgot_it_is_written(task: Task) -> None:
    task.apply(close("c1", bandit_id="b"))
    applied = task.apply(
        close("c2", "p2", bandit_id="b", quantity=0.0, ts_event=START + 1_001),
        fill("f", "p3", bandit_id="b", ts_event=START + 1_001),
    )
    assert applied.forgotten_bandits == []
    assert [bandit.bandit_id for bandit in applied.bandit_snapshots] == ["b"]
    assert task.bandit("b").arms


@one_topic_or_two
def test_where_bandits_are_registered_closes_of_another_are_refused(shared: bool) -> None:
    limits, rules = short_rules(trades_share_topic=shared), learning_rules()
    task = Task(limits, rules, overrides={"book": rules}, registered_only=True)
    applied = task.apply(close("c1", bandit_id="other"), fill("f1", bandit_id="other"), close("c1"))
    assert [letter.error_class for letter in applied.dead_letters] == ["UNKNOWN_BANDIT", "UNKNOWN_BANDIT"]
    assert list(task.published.bandits) == ["book"]


@restarted_or_not
def test_where_too_many_closes_wait_the_oldest_becomes_the_dead_letter(
    task: Task, steps: Callable[[Task], None]
) -> None:
    task.reward_rules = short_rules(max_waiting_closes=2, trades_share_topic=task.reward_rules.trades_share_topic)
    task.restart()
    task.apply(
        fill("f1", "p1", quantity=30.0, order_quantity=90.0, ts_event=START + 3),
        close("c1", "p1", quantity=50.0, ts_event=START + 3),
        close("c2", "p2", bandit_id="b", ts_event=START + 5),
    )
    steps(task)
    applied = task.apply(close("c3", "p3", ts_event=START + 4))
    (letter,) = applied.dead_letters
    assert (letter.error_class, letter.quantity_left, letter.source) == ("LIMIT", 20.0, source_of(1))
    assert letter.error == "2 closes wait for their fills, and this is the oldest: 20.0 of 50.0"
    assert list(applied.outcomes) == [0]
    steps(task)
    # A new one that is the oldest itself ends, and is known all the same.
    applied = task.apply(close("c4", "p1", quantity=5.0, ts_event=START + 2))
    assert [(each.error_class, each.source.offset) for each in applied.dead_letters] == [("LIMIT", 4)]
    assert list(task.apply(close("c4", "p1", quantity=5.0, ts_event=START + 2)).outcomes) == [1]
    steps(task)
    # Those that stayed find their fills.
    applied = task.apply(fill("f2", "p2", bandit_id="b", ts_event=START + 5), fill("f3", "p3", ts_event=START + 5))
    assert [reward.close_event_id for reward in applied.rewards] == ["c2", "c3"]


def test_closes_of_bandits_without_fills_fill_no_limit_for_ever(task: Task) -> None:
    task.reward_rules = short_rules(
        max_waiting_closes=3, max_bandits=2, trades_share_topic=task.reward_rules.trades_share_topic
    )
    task.restart()
    for number in range(20):
        task.apply(close("c", f"p{number}", bandit_id=f"stray {number}", ts_event=START + number))
    assert (task.state.waiting_close_count, task.state.bandit_count, task.state.learner_count) == (3, 3, 0)
    applied = task.apply(
        fill("f", "p", bandit_id="b1", ts_event=START + 30),
        fill("f", "p", bandit_id="b2", ts_event=START + 30),
        fill("f", "p", bandit_id="b3", ts_event=START + 30),
    )
    assert list(applied.outcomes) == [0, 0, 2]  # two with a learner, whatever waits
    assert applied.dead_letters[0].error == "there are 2 bandits already"


def test_a_command_of_milliseconds_is_refused(task: Task) -> None:
    task.apply(fill())
    (letter,) = task.apply(Command("k", "book", "PAUSE", START // 1_000)).dead_letters
    assert letter.error_class == "VALIDATION"
    assert "milliseconds or seconds?" in letter.error
