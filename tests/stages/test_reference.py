"""The slow reference itself, on examples worked by hand: what the stages are compared with must be right first."""

from fractions import Fraction
from typing import Any

import pytest

from armstream.events import Input
from tests.stages.events import ARMS, START, close, fill, short_rules
from tests.stages.reference import YEAR_1990, Replay, replay

PART: dict[str, Any] = {"order_quantity": 1_000.0}


def replayed(*events: Input, registered: Any = None, **fields: Any) -> Replay:
    """Windows of 1,000, 400 and 4,000 microseconds, one topic, no limit near."""
    return replay(events, ARMS, short_rules(**fields), registered)


def letters(out: Replay) -> list[tuple[int, int | None, str]]:
    return [(letter.cause, letter.index, letter.error_class) for letter in out.dead_letters]


def weights(out: Replay) -> list[float]:
    return [reward.segment.weight for reward in out.rewards]


def test_an_order_that_is_not_amended_weighs_its_fills_by_quantity() -> None:
    parts = [fill(f"f{n}", quantity=q, order_quantity=100.0) for n, q in enumerate((40.0, 35.0, 25.0))]
    assert weights(replayed(*parts, close())) == [0.4, 0.35, 0.25]


def test_an_order_amended_from_100_to_150_shares_what_is_left_of_the_decision() -> None:
    # .4; then (1 - .4) 60 / (150 - 40) = 18/55; then the rest, 1 - 2/5 - 18/55 = 15/55.
    parts = [
        fill("f1", quantity=40.0, order_quantity=100.0),
        fill("f2", quantity=60.0, order_quantity=150.0),
        fill("f3", quantity=50.0, order_quantity=150.0),
    ]
    out = replayed(*parts, close("c1", quantity=70.0), close("c2", quantity=80.0))
    halves = [0.4, float(Fraction(18, 110)), float(Fraction(18, 110)), float(Fraction(15, 55))]
    assert [(r.segment.fill_event_id, r.segment.close_event_id, r.segment.quantity) for r in out.rewards] == [
        ("f1", "c1", 40.0),
        ("f2", "c1", 30.0),
        ("f2", "c2", 30.0),
        ("f3", "c2", 50.0),
    ]
    assert weights(out) == halves
    assert [reward.counted for reward in out.rewards] == [True, False, False, False]


def test_an_overfill_takes_the_rest_of_the_weight_and_what_follows_none() -> None:
    parts = [fill(f"f{n}", quantity=q, order_quantity=100.0) for n, q in enumerate((60.0, 45.0, 5.0))]
    assert weights(replayed(*parts, close(quantity=110.0))) == [0.6, 0.4, 0.0]


def test_what_is_filled_and_flat_is_done_and_an_amendment_comes_too_late() -> None:
    out = replayed(fill(order_quantity=100.0), close(), fill("f2", quantity=50.0, order_quantity=150.0))
    assert letters(out) == [(2, 2, "VALIDATION")]


def test_the_same_id_is_a_duplicate_with_the_same_content_and_reused_with_another() -> None:
    out = replayed(
        fill(**PART),
        fill(**PART, ts_event=START + 5, instrument_id="MSFT"),
        fill(**PART, price=151.0),
        fill(**PART, side="SELL"),
        close("c1", quantity=50.0, slippage=0.2),
        close("c1", quantity=50.0, slippage=0.2),
        close("c1", quantity=50.0, slippage=0.2, slippage_in_price=True),
        fill(**PART, exec_type="CANCEL"),
    )
    assert out.duplicates == [1, 5]
    assert letters(out) == [(2, 2, "ID_REUSED"), (3, 3, "ID_REUSED"), (6, 6, "ID_REUSED"), (7, 7, "VALIDATION")]


def test_the_same_exec_id_is_a_duplicate_under_another_event_id() -> None:
    order: dict[str, Any] = {"order_quantity": 100.0}
    out = replayed(
        fill("f1", quantity=40.0, exec_id="x1", **order),
        fill("f2", quantity=40.0, exec_id="x1", **order),
        fill("f3", quantity=60.0, exec_id="x2", **order),
        fill("f4", quantity=61.0, exec_id="x2", **order),
        close(exec_id="x1"),
    )
    assert out.duplicates == [1]
    assert letters(out) == [(3, 3, "ID_REUSED")]
    assert weights(out) == [0.4, 0.6]


def test_an_id_is_free_again_once_its_own_return_is_past_the_window() -> None:
    day: list[Input] = [fill(), close()]
    next_day: list[Input] = [fill(ts_event=START + 1_001, price=90.0), close(ts_event=START + 1_001, price=99.0)]
    out = replayed(*day, *next_day)
    assert [reward.segment.reward_bps for reward in out.rewards] == [pytest.approx(100 / 3), 1_000.0]
    assert (letters(out), out.forgotten_until) == ([], {"book": START})
    # On two topics the first fill of the day cannot move the watermark of closes: its id is still known.
    out = replayed(*day, *next_day, trades_share_topic=False)
    assert letters(out) == [(2, 2, "ID_REUSED")]
    assert out.watermarks == {"book": (START + 1_001, START + 1_001)}


def test_an_event_that_is_refused_moves_the_watermarks() -> None:
    out = replayed(fill(), close(), fill("f2", "p2", arm="nobody", ts_event=START + 5_000), fill("f3", "p3"))
    assert letters(out) == [(2, 2, "UNKNOWN_ARM"), (3, 3, "LATE")]
    assert (out.remembered, out.watermarks) == (set(), {"book": (START + 5_000, START + 5_000)})


def test_milliseconds_move_nothing_and_1990_is_the_first_credible_moment() -> None:
    out = replayed(fill(ts_event=YEAR_1990 - 1), fill(ts_event=YEAR_1990), close(ts_event=START // 1_000))
    assert letters(out) == [(0, 0, "VALIDATION"), (2, 2, "VALIDATION")]
    assert out.watermarks == {"book": (YEAR_1990, YEAR_1990)}


def test_what_was_forgotten_for_room_is_late_and_what_is_open_is_not() -> None:
    out = replayed(
        fill("f1", "p1", ts_event=START + 10, **PART),  # stays open
        fill("f2", "p2", ts_event=START + 20),
        close("c2", "p2", ts_event=START + 30),
        fill("f3", "p3", ts_event=START + 40),  # p2 is forgotten for it
        fill("f2", "p2", ts_event=START + 20),
        fill("f4", "p2", ts_event=START + 30),
        close("c1", "p1", ts_event=START + 15),  # at or before it, but its position is remembered
        fill("f5", "p2", ts_event=START + 31),  # p1 is flat, and goes
        max_positions_remembered=2,
    )
    assert letters(out) == [(4, 4, "LATE"), (5, 5, "LATE")]
    assert out.forgotten_until == {"book": START + 30}
    assert out.remembered == {("book", "p3"), ("book", "p2")}


def test_room_is_made_by_the_own_bandit_else_by_the_one_that_holds_most() -> None:
    def trade(bandit_id: str, position_id: str, ts_event: int) -> list[Input]:
        of: dict[str, Any] = {"bandit_id": bandit_id, "ts_event": START + ts_event}
        return [fill("f", position_id, **of), close("c", position_id, **of)]

    held: list[Input] = [*trade("a", "p1", 1), *trade("b", "p1", 5), *trade("b", "p2", 3), *trade("c", "p1", 2)]
    out = replayed(*held, *trade("d", "p1", 9), max_positions_remembered=4)
    assert out.remembered == {("a", "p1"), ("b", "p1"), ("c", "p1"), ("d", "p1")}
    assert out.forgotten_until == {"a": None, "b": START + 3, "c": None, "d": None}
    out = replayed(*held, *trade("c", "p2", 9), max_positions_remembered=4)
    assert out.remembered == {("a", "p1"), ("b", "p1"), ("b", "p2"), ("c", "p2")}
    out = replayed(*trade("b", "p1", 3), *trade("a", "p1", 3), *trade("c", "p1", 4), max_positions_remembered=2)
    assert out.remembered == {("b", "p1"), ("c", "p1")}  # of one age the lesser name goes
    out = replayed(fill("f1", "p1"), close("c2", "p2"), fill("f3", "p3"), max_positions_remembered=2)
    assert letters(out) == [(2, 2, "LIMIT")]


def test_the_oldest_close_waits_no_more_where_too_many_do() -> None:
    out = replayed(
        fill("f1", "p1", quantity=10.0, ts_event=START + 100),
        close("c1", "p1", quantity=30.0, ts_event=START + 100),  # 20 wait
        close("c2", "p2", quantity=5.0, ts_event=START + 50),  # the new one is the oldest
        close("c3", "p3", quantity=7.0, ts_event=START + 150),
        close("c4", "p1", bandit_id="other", quantity=8.0, ts_event=START + 149),
        close("c4", "p1", bandit_id="other", quantity=8.0, ts_event=START + 149),  # nothing knows it any more
        max_waiting_closes=1,
    )
    expected = [(2, 2, "LIMIT", 5.0), (3, 1, "LIMIT", 20.0), (4, 4, "LIMIT", 8.0), (5, 5, "LIMIT", 8.0)]
    assert [(d.cause, d.index, d.error_class, d.quantity_left) for d in out.dead_letters] == expected
    assert out.remembered == {("book", "p1"), ("book", "p2"), ("book", "p3")}
    assert list(out.watermarks) == ["book"]


def test_closes_of_a_bandit_without_fills_expire_by_their_own_time_and_leave_nothing() -> None:
    events = (close("c1", "p1"), close("c2", "p2", ts_event=START + 1_001))
    out = replayed(*events, trades_share_topic=False)
    assert letters(out) == [(1, 0, "ORPHAN_CLOSE")]
    assert (out.remembered, out.watermarks) == ({("book", "p2")}, {"book": (None, START + 1_001)})
    assert out.forgotten_until == {"book": None}
    # Where fills share the topic, they are no later than closes: the shorter patience holds.
    assert letters(replayed(close("c1", "p1"), close("c2", "p2", ts_event=START + 401))) == [(1, 0, "ORPHAN_CLOSE")]


def test_a_bandit_that_is_refused_a_fill_ends_with_its_last_close() -> None:
    out = replayed(close("c1", "p1"), fill("f1", "p2", arm="nobody", ts_event=START + 401))
    assert letters(out) == [(1, 1, "UNKNOWN_ARM"), (1, 0, "ORPHAN_CLOSE")]
    assert (out.remembered, out.watermarks) == (set(), {})


def test_a_final_close_writes_off_what_is_left_and_what_comes_later() -> None:
    out = replayed(
        fill(quantity=1.0, ts_event=START + 7),
        close(quantity=0.999, final=True),
        close("c2", quantity=0.001),
        fill("f2", quantity=0.5, ts_event=START + 3),
    )
    assert letters(out) == [(2, 2, "VALIDATION")]
    facts = [(r.index, r.segment.quantity, r.segment.weight, r.applied, r.counted) for r in out.rewards]
    assert facts == [(1, 0.999, 0.999, True, True), (1, 0.001, 0.001, False, False), (3, 0.5, 0.0, False, False)]
    written_off = [reward.segment for reward in out.rewards[1:]]
    assert [(s.reward_bps, s.withheld) for s in written_off] == [(0.0, "written off: close 'c1' was final")] * 2
    assert [s.ts_event for s in written_off] == [START + 7, START + 3]


def test_a_final_close_that_comes_first_waits_and_what_is_above_it_is_written_off() -> None:
    order: dict[str, Any] = {"order_quantity": 4.0}
    out = replayed(
        close("c1", quantity=3.0, final=True),
        fill("f1", quantity=2.0, **order),
        fill("f2", quantity=2.0, arm="mlp", **order),  # it still waits: one decision
        fill("f3", quantity=2.0, **order),
    )
    assert letters(out) == [(2, 2, "VALIDATION")]
    assert [(r.segment.fill_event_id, r.segment.quantity, r.segment.weight, r.applied) for r in out.rewards] == [
        ("f1", 2.0, 0.5, True),
        ("f3", 1.0, 0.25, True),
        ("f3", 1.0, 0.25, False),
    ]


def test_a_worthless_expiry_loses_all_and_negative_prices_need_a_notional() -> None:
    (worthless,) = replayed(fill(quantity=2.0, price=5.0), close(quantity=2.0, price=0.0)).rewards
    assert (worthless.segment.reward_bps, worthless.applied) == (-10_000.0, True)
    # 7.63 a barrel, 10 barrels a contract, of 500 a contract.
    oil = fill(quantity=2.0, price=-37.63, multiplier=10.0, notional=500.0)
    (spread,) = replayed(oil, close(quantity=2.0, price=-30.0)).rewards
    assert spread.segment.reward_bps == pytest.approx(1_526.0, rel=1e-15)
    bad = [fill(price=0.0), fill(price=-1.0), fill(price=1.0, notional=0.0), fill(price=1.0, notional=float("nan"))]
    assert [letter.error_class for letter in replayed(*bad).dead_letters] == ["VALIDATION"] * 4


def test_costs_above_ten_times_the_notional_are_not_learned_from() -> None:
    (at, above) = replayed(
        fill("f1", "p1", price=10.0, quantity=1.0), close("c1", "p1", quantity=1.0, fees=60.0, slippage=40.0),
        fill("f2", "p2", price=10.0, quantity=1.0, fees=-60.0), close("c2", "p2", quantity=2.0, fees=80.5),
    ).rewards  # fmt: skip
    assert (at.applied, above.applied) == (True, False)
    (unset,) = replayed(fill(fees=1.7976931348623157e308), close()).rewards
    assert (unset.applied, unset.segment.withheld) == (False, "unlearnable")


def test_shares_in_percent_are_refused() -> None:
    out = replayed(fill(contributions={"ridge": 60.0, "mlp": 40.0}), fill(contributions={"ridge": 0.5, "mlp": 0.5}))
    assert letters(out) == [(0, 0, "VALIDATION")]


def test_a_position_full_of_events_takes_closes_and_no_fills() -> None:
    parts = [fill(f"f{n}", quantity=1.0, **PART) for n in range(3)]
    out = replayed(*parts, close("c1", quantity=1.0), close("c2", quantity=1.0), max_events_per_position=2)
    assert letters(out) == [(2, 2, "LIMIT")]
    assert len(out.rewards) == 2


def test_what_is_open_is_never_evicted() -> None:
    out = replayed(fill("f1", "p1", **PART), fill("f2", "p2"), fill("f3", "p1", **PART), max_open_positions=1)
    assert letters(out) == [(1, 1, "LIMIT")]
    # A fill that waiting closes use up opens nothing; what was closed makes room.
    out = replayed(close("c2", "p2"), fill("f1", "p1"), fill("f2", "p2"), close("c1", "p1"), fill("f3", "p3"),
                   max_open_positions=1)  # fmt: skip
    assert letters(out) == []


def test_bandits_are_counted_once_they_learn() -> None:
    out = replayed(close(bandit_id="a"), close(bandit_id="b"), fill(bandit_id="a"), fill(bandit_id="b"), max_bandits=1)
    assert letters(out) == [(3, 3, "LIMIT")]
    assert list(out.watermarks) == ["a", "b"]


def test_a_bandit_that_is_not_registered_is_refused_closes_too() -> None:
    out = replayed(fill(), close(), close(bandit_id="other"), registered={"book"})
    assert letters(out) == [(2, 2, "UNKNOWN_BANDIT")]


def test_a_rate_that_is_no_number_is_no_other_decision() -> None:
    out = replayed(fill("f1", eta=float("nan"), **PART), fill("f2", eta=float("nan"), **PART))
    assert letters(out) == []


def test_a_position_without_an_event_for_too_long_is_a_dead_letter_of_its_own() -> None:
    out = replayed(fill(**PART), fill("f2", "p2", ts_event=START + 4_001))
    assert letters(out) == [(1, None, "LIMIT")]
    assert out.forgotten_until == {"book": START}
