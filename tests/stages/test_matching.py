"""What a trade earns: prices of any sign, costs, orders that change, final closes, and the dust of doubles."""

import math
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import pytest

from armstream.events import (
    Close,
    DeadLetter,
    DecisionSnapshot,
    Fill,
    Input,
    PositionClose,
    PositionFill,
    PositionSnapshot,
    Reward,
    Source,
    WaitingClose,
)
from armstream.stages.facts import TaskLimits
from armstream.stages.matching import is_nothing
from tests.stages.events import START, close, fill, learning_rules, short_rules
from tests.stages.task import Task

restarted_or_not = pytest.mark.parametrize("steps", [Task.going_on, Task.restart], ids=["going on", "restarted"])
HUNDRED: dict[str, Any] = {"order_quantity": 100.0}


@pytest.fixture(params=[True, False], ids=["one topic", "two topics"])
def task(request: pytest.FixtureRequest) -> Task:
    return Task(TaskLimits(trades_share_topic=request.param), learning_rules())


def letters(task: Task) -> list[DeadLetter]:
    return [letter for _, letter in task.published.dead_letters]


def rewards(task: Task) -> list[Reward]:
    return [reward for _, reward in task.published.rewards]


def run(task: Task, events: Sequence[Input], steps: Callable[[Task], None]) -> None:
    """A batch an event."""
    for event in events:
        task.apply(event)
        steps(task)


# Prices.


def test_what_expires_worthless_earns_minus_all(task: Task) -> None:
    task.apply(fill(price=2.0, fees=1.0), close(price=0.0))
    (reward,) = rewards(task)
    assert reward.reward_bps == pytest.approx((-200.0 - 1.0) / 200.0 * 1e4, rel=1e-12)
    assert (reward.applied, reward.counted, letters(task)) == (True, True, [])


def test_a_short_option_that_expires_worthless_earns_all(task: Task) -> None:
    task.apply(fill(side="SELL", price=2.0), close(price=0.0))
    assert rewards(task)[0].reward_bps == 10_000.0


def test_an_arm_whose_options_expire_worthless_nine_times_in_ten_loses_its_weight() -> None:
    """Against one that earns nothing: 90 times -100 %, 10 times +100 %."""
    task = Task(TaskLimits(), learning_rules(arms=("ridge", "mlp")))
    for number in range(100):
        name = f"p{number}"
        task.apply(
            fill(name, name, price=2.0, propensity=0.5), close(name, name, price=4.0 if number % 10 == 0 else 0.0)
        )
        name = f"q{number}"
        task.apply(fill(name, name, arm="mlp", propensity=0.5), close(name, name, price=150.0))
    assert (len(rewards(task)), letters(task)) == (200, [])
    weights = {arm.name: arm.weight for arm in task.published.weights["book"].arms}
    assert weights["ridge"] < 0.05
    assert weights["mlp"] > 0.95


def test_a_close_may_have_a_price_below_zero(task: Task) -> None:
    """Crude oil, 20 April 2020: bought at 10, closed at -37.63."""
    task.apply(fill(price=10.0, quantity=2.0, multiplier=1_000.0), close(price=-37.63, quantity=2.0))
    assert rewards(task)[0].reward_bps == pytest.approx(-47.63 / 10.0 * 1e4, rel=1e-12)
    assert rewards(task)[0].applied


def test_a_fill_may_have_any_price_where_it_gives_what_basis_points_are_taken_of(task: Task) -> None:
    # Power bought at -20 and closed at -5: 15 a unit, times a multiplier of 2, less fees of 3, of 60 a unit.
    task.apply(
        fill(price=-20.0, quantity=10.0, multiplier=2.0, notional=60.0, fees=3.0), close(price=-5.0, quantity=10.0)
    )
    # A spread sold at 0.
    task.apply(
        fill("f", "p2", side="SELL", price=0.0, quantity=1.0, notional=50.0),
        close("c", "p2", price=-0.25, quantity=1.0),
    )
    assert [reward.reward_bps for reward in rewards(task)] == pytest.approx([297.0 / 600.0 * 1e4, 50.0], rel=1e-12)
    assert [reward.applied for reward in rewards(task)] == [True, True]


@restarted_or_not
def test_a_notional_takes_the_place_of_price_times_multiplier(task: Task, steps: Callable[[Task], None]) -> None:
    run(task, [fill(price=100.0, multiplier=50.0, notional=1_000.0), close(price=101.0)], steps)
    assert rewards(task)[0].reward_bps == pytest.approx(1.0 * 50.0 / 1_000.0 * 1e4, rel=1e-12)


@pytest.mark.parametrize("price", [0.0, -0.0, -20.0])
def test_a_fill_at_zero_or_below_without_notional_is_refused_with_what_it_needs(task: Task, price: float) -> None:
    (letter,) = task.apply(fill(price=price)).dead_letters
    assert letter.error_class == "VALIDATION"
    assert letter.error == (
        f"a fill at a price of {price!r} needs notional, what basis points of one unit are taken of, above 0"
    )


# Costs.


@pytest.mark.parametrize(
    ("of_fill", "of_close", "costs"),
    [
        ({"fees": 1e10}, {}, "1e+10"),
        ({"fees": -1e10}, {}, "1e+10"),
        ({}, {"fees": 1e10}, "1e+10"),
        ({}, {"slippage": 1e10}, "1e+10"),
        ({"fees": 75_000.0}, {"fees": -50_000.0, "slippage": 25_001.0}, "150001"),
    ],
)
def test_a_segment_whose_costs_are_beyond_the_ratio_is_published_and_not_learned(
    task: Task, of_fill: dict[str, Any], of_close: dict[str, Any], costs: str
) -> None:
    """Ten times a notional of 15,000."""
    task.apply(fill(**of_fill), close(**of_close))
    (reward,) = rewards(task)
    assert (reward.applied, reward.counted, reward.total_steps) == (False, False, 0)
    assert reward.detail == (f"costs of {costs} are above rewards.max_cost_ratio, 10, times the notional of 15000")
    assert math.isfinite(reward.reward_bps)
    assert task.position().open_left == 0.0


def test_costs_at_the_ratio_and_rebates_are_learned(task: Task) -> None:
    task.apply(fill(fees=75_000.0), close(fees=50_000.0, slippage=25_000.0))
    task.apply(fill("f", "p2", fees=-1.5), close("c", "p2", price=150.0, fees=-1.5))
    assert [reward.applied for reward in rewards(task)] == [True, True]
    assert rewards(task)[1].reward_bps == pytest.approx(3.0 / 15_000.0 * 1e4, rel=1e-12)


def test_the_ratio_is_a_segments_own() -> None:
    """A close of a tenth bears a tenth of the fill's fees, and all of its own."""
    task = Task(short_rules(max_cost_ratio=0.01), learning_rules())
    task.apply(
        fill(fees=100.0), close("c1", quantity=10.0), close("c2", quantity=10.0, fees=5.1), close("c3", quantity=80.0)
    )
    assert [reward.applied for reward in rewards(task)] == [True, False, True]
    assert rewards(task)[1].detail.startswith("costs of 15.1 are above")


@pytest.mark.parametrize("unset", [1.7976931348623157e308, -1.7976931348623157e308])
@pytest.mark.parametrize("name", ["fees", "slippage"])
def test_an_unset_double_is_never_learned(task: Task, name: str, unset: float) -> None:
    fields: dict[str, Any] = {name: unset}
    task.apply(fill(), close(**fields))
    (reward,) = rewards(task)
    assert (reward.applied, reward.counted) == (False, False)
    assert "not finite or beyond" in reward.detail


# Orders that change.


@restarted_or_not
def test_an_order_amended_from_100_to_150_shares_what_is_left(task: Task, steps: Callable[[Task], None]) -> None:
    """.4 of 100; then (1 - .4) 60 / (150 - 40) = 18/55; then the rest, 15/55."""
    run(
        task,
        [
            fill("f1", quantity=40.0, order_quantity=100.0),
            fill("f2", quantity=60.0, order_quantity=150.0),
            close("c1", quantity=70.0),
            fill("f3", quantity=50.0, order_quantity=150.0),
            close("c2", quantity=80.0),
        ],
        steps,
    )
    assert [(r.fill_event_id, r.close_event_id, r.quantity) for r in rewards(task)] == [
        ("f1", "c1", 40.0),
        ("f2", "c1", 30.0),
        ("f2", "c2", 30.0),
        ("f3", "c2", 50.0),
    ]
    assert [r.weight for r in rewards(task)] == pytest.approx([0.4, 9 / 55, 9 / 55, 15 / 55], rel=1e-15)
    assert [r.counted for r in rewards(task)] == [True, False, False, False]
    assert task.position().decision is None  # 150 of 150
    assert letters(task) == []


def test_weights_follow_the_positions_own_order(task: Task) -> None:
    """The later fill of the amended order comes first: .4 is 60 of 150, and the 40 of an order of 100 are the rest."""
    task.apply(fill("f2", quantity=60.0, order_quantity=150.0), fill("f1", quantity=40.0, **HUNDRED), close())
    assert [(r.fill_event_id, r.weight) for r in rewards(task)] == [("f2", 0.4), ("f1", 0.6)]


@restarted_or_not
def test_an_overfill_is_taken_and_has_the_rest_of_the_weight(task: Task, steps: Callable[[Task], None]) -> None:
    """60 and 45 for 100, and a straggler of 5 whose weight is nothing."""
    parts = [
        fill("f1", quantity=60.0, **HUNDRED),
        fill("f2", quantity=45.0, **HUNDRED),
        fill("f3", quantity=5.0, **HUNDRED),
    ]
    run(task, [*parts, close(quantity=110.0)], steps)
    assert [(r.quantity, r.weight, r.applied) for r in rewards(task)] == [
        (60.0, 0.6, True),
        (45.0, 0.4, True),
        (5.0, 0.0, True),
    ]
    assert letters(task) == []


def test_the_only_fill_of_more_than_the_order_is_the_whole_decision(task: Task) -> None:
    task.apply(fill(quantity=101.0, **HUNDRED), close(quantity=101.0))
    assert [r.weight for r in rewards(task)] == [1.0]


@restarted_or_not
def test_an_order_that_is_not_amended_weighs_its_parts_by_quantity(task: Task, steps: Callable[[Task], None]) -> None:
    quantities = (12.5, 30.0, 7.5, 25.0, 25.0)
    run(task, [*(fill(f"f{n}", quantity=q, **HUNDRED) for n, q in enumerate(quantities)), close()], steps)
    assert [r.weight for r in rewards(task)] == pytest.approx([q / 100.0 for q in quantities], rel=1e-14)


def test_a_whole_that_was_amended_down_to_what_is_filled_is_done(task: Task) -> None:
    """60 of 100, then 10 more of an order that is 70 by now."""
    task.apply(
        fill("f1", quantity=60.0, **HUNDRED), fill("f2", quantity=10.0, order_quantity=70.0), close(quantity=70.0)
    )
    assert [r.weight for r in rewards(task)] == pytest.approx([0.6, 0.4], rel=1e-15)
    assert task.position().decision is None


def test_the_order_of_names_makes_no_other_decision_where_the_order_is_amended(task: Task) -> None:
    views = {"ridge": "BUY", "mlp": "SELL"}
    turned = dict(reversed(views.items()))
    task.apply(fill("f1", quantity=60.0, signals=views, **HUNDRED))
    task.apply(fill("f2", quantity=10.0, signals=turned, order_quantity=70.0), close(quantity=70.0))
    assert letters(task) == []
    assert [r.weight for r in rewards(task)] == pytest.approx([0.6, 0.4], rel=1e-15)


@restarted_or_not
def test_a_part_fill_whose_eta_is_no_number_is_of_the_same_decision(task: Task, steps: Callable[[Task], None]) -> None:
    unset: dict[str, Any] = {"eta": math.nan, "quantity": 50.0, **HUNDRED}
    run(task, [fill("f1", **unset), fill("f2", **unset), close()], steps)
    assert (letters(task), [r.weight for r in rewards(task)]) == ([], [0.5, 0.5])
    (letter,) = task.apply(fill("f3", "p2", **unset), fill("f4", "p2", **(unset | {"eta": 0.1}))).dead_letters
    assert letter.error == "eta not as in the first fill: a new decision needs a new position_id"


# A close that was the last.

WRITTEN_OFF = "written off: close 'c1' was final"


@restarted_or_not
def test_what_a_final_close_leaves_is_written_off_and_audited(task: Task, steps: Callable[[Task], None]) -> None:
    """A fee taken in the base currency: 1.0 filled, .999 closed."""
    run(task, [fill(quantity=1.0, fees=0.15), close(quantity=0.999, final=True, ts_event=START + 5)], steps)
    realised, left = rewards(task)
    assert (realised.quantity, realised.applied, realised.counted) == (0.999, True, True)
    assert realised.weight == pytest.approx(0.999, rel=1e-15)
    assert realised.reward_bps == pytest.approx((0.5 * 0.999 - 0.15 * 0.999) / (150.0 * 0.999) * 1e4, rel=1e-12)
    assert (left.fill_event_id, left.close_event_id, left.ts_event) == ("f1", "c1", START + 5)
    assert (left.quantity, left.weight) == pytest.approx((0.001, 0.001), rel=1e-12)
    assert (left.reward_bps, left.applied, left.counted, left.detail) == (0.0, False, False, WRITTEN_OFF)
    assert (left.propensity_source, left.eta, left.total_steps) == (None, None, 1)
    assert [(arm.name, arm.share, arm.estimate) for arm in left.arms] == [("ridge", 1.0, None)]
    position = task.position()
    assert (position.open_left, position.final_close_id, position.decision) == (0.0, "c1", None)
    assert task.state.finished_count == 1
    assert task.published.weights["book"].version == 2


@restarted_or_not
def test_fills_after_a_final_close_are_written_off_and_closes_refused(
    task: Task, steps: Callable[[Task], None]
) -> None:
    run(task, [fill("f1", quantity=60.0, **HUNDRED), close("c1", quantity=60.0, final=True)], steps)
    assert task.position().decision is None
    run(task, [fill("f2", quantity=40.0, ts_event=START + 9, **HUNDRED), close("c2", quantity=40.0)], steps)
    first, later = rewards(task)
    assert (first.weight, first.applied) == (0.6, True)
    assert (later.fill_event_id, later.close_event_id, later.quantity) == ("f2", "c1", 40.0)
    assert (later.weight, later.reward_bps, later.applied, later.detail) == (0.4, 0.0, False, WRITTEN_OFF)
    assert later.ts_event == START + 9
    (letter,) = letters(task)
    assert (letter.error_class, letter.error) == (
        "VALIDATION",
        "close 'c1' was final: no close of its position follows it",
    )
    assert task.state.open_position_count == 0


def test_a_final_close_writes_off_each_open_fill_by_itself(task: Task) -> None:
    task.apply(
        *(fill(f"f{n}", quantity=25.0, ts_event=START + n, **HUNDRED) for n in range(4)),
        close("c1", quantity=30.0, final=True, ts_event=START + 2),
    )
    facts = [(r.fill_event_id, r.quantity, r.applied, r.ts_event - START) for r in rewards(task)]
    assert facts == [
        ("f0", 25.0, True, 2),
        ("f1", 5.0, True, 2),
        ("f1", 20.0, False, 2),
        ("f2", 25.0, False, 2),
        ("f3", 25.0, False, 3),
    ]
    assert [r.weight for r in rewards(task)] == pytest.approx([0.25, 0.05, 0.2, 0.25, 0.25], rel=1e-15)


def test_a_final_close_that_closes_all_writes_nothing_off(task: Task) -> None:
    task.apply(fill(), close(final=True))
    assert [r.applied for r in rewards(task)] == [True]
    (letter,) = task.apply(close("c2")).dead_letters
    assert "was final" in letter.error


def test_a_close_that_comes_after_the_final_one_is_refused_though_it_was_earlier(task: Task) -> None:
    task.apply(close("c2", quantity=30.0, final=True, ts_event=START + 9), fill())
    (letter,) = task.apply(close("c1", quantity=70.0)).dead_letters
    assert letter.error_class == "VALIDATION"
    assert [(r.quantity, r.applied) for r in rewards(task)] == [(30.0, True), (70.0, False)]


def test_a_final_close_that_waits_is_matched_and_the_rest_written_off(task: Task) -> None:
    task.apply(close("c1", quantity=30.0, final=True))
    assert [close.left for close in task.position().waiting] == [30.0]
    task.apply(fill(quantity=100.0))
    assert [(r.quantity, r.applied) for r in rewards(task)] == [(30.0, True), (70.0, False)]
    assert task.position().open_left == 0.0


@restarted_or_not
def test_a_final_close_gives_the_same_in_every_interleaving(steps: Callable[[Task], None]) -> None:
    """Fills of 40 and 35 of 100, closes of 30 and then a final 20: 50 is realised, 25 written off, by hand. A final
    close that comes before the other one refuses it, which is what it says."""
    events: list[Fill | Close] = [
        fill("f1", quantity=40.0, price=100.0, **HUNDRED),
        fill("f2", quantity=35.0, price=110.0, **HUNDRED),
        close("c1", quantity=30.0, price=120.0),
        close("c2", quantity=20.0, price=130.0, final=True),
    ]
    by_hand = {
        ("f1", "c1", 30.0): (2_000.0, 0.3),
        ("f1", "c2", 10.0): (3_000.0, 0.1),
        ("f2", "c2", 10.0): (20.0 / 110.0 * 1e4, 0.1),
    }
    count = 0
    for order in permutations(events):
        if [e.event_id for e in order if isinstance(e, Close)] != ["c1", "c2"]:
            continue
        if [e.event_id for e in order if isinstance(e, Fill)] != ["f1", "f2"]:
            continue
        count += 1
        for shared in (True, False):
            task = Task(TaskLimits(trades_share_topic=shared), learning_rules())
            run(task, order, steps)
            realised = {(r.fill_event_id, r.close_event_id, r.quantity): r for r in rewards(task) if r.applied}
            assert realised.keys() == by_hand.keys()
            for key, (reward_bps, weight) in by_hand.items():
                assert realised[key].reward_bps == pytest.approx(reward_bps, rel=1e-12)
                assert realised[key].weight == pytest.approx(weight, rel=1e-12)
            (left,) = (r for r in rewards(task) if not r.applied)
            assert (left.fill_event_id, left.close_event_id, left.quantity) == ("f2", "c2", 25.0)
            assert left.weight == pytest.approx(0.25, rel=1e-12)
            assert (task.position().open_left, task.position().waiting, letters(task)) == (0.0, (), [])
    assert count == 6


def test_a_write_off_moves_no_learner(task: Task) -> None:
    task.apply(fill(quantity=50.0), close(quantity=50.0))
    before = task.bandit().arms
    task.apply(fill("f1", "p2", quantity=50.0), close("c1", "p2", quantity=1.0, price=150.0, final=True))
    after = task.bandit()
    assert (after.version, after.total_steps) == (3, 2)
    assert after.arms[0].pulls == before[0].pulls + 1  # by the unit that was closed


# Dust.


@restarted_or_not
def test_all_but_one_unit_of_1e15_leaves_one_unit(task: Task, steps: Callable[[Task], None]) -> None:
    run(task, [fill(quantity=1e15), close("c1", quantity=1e15 - 1.0)], steps)
    assert (task.position().open_left, task.state.open_position_count) == (1.0, 1)
    run(task, [close("c2", quantity=1.0, price=151.0)], steps)
    assert [r.quantity for r in rewards(task)] == [1e15 - 1.0, 1.0]
    assert (task.position().open_left, task.position().decision) == (0.0, None)


@restarted_or_not
def test_quantities_of_1e_minus_8_are_as_exact_as_others(task: Task, steps: Callable[[Task], None]) -> None:
    """One unit of 1e-8 of a coin is open after 1 is closed but for it."""
    run(task, [fill(quantity=1.0), close("c1", quantity=0.99999999)], steps)
    assert task.position().open_left == pytest.approx(1e-8, rel=1e-6)
    run(task, [close("c2", quantity=1e-8)], steps)
    assert [r.quantity for r in rewards(task)] == pytest.approx([0.99999999, 1e-8], rel=1e-7)
    assert (task.position().open_left, task.position().waiting) == (0.0, ())
    run(task, [fill("f", "p2", quantity=1e-8), close("c", "p2", quantity=1e-8)], steps)
    assert rewards(task)[-1].weight == 1.0


def test_thousand_tenths_close_a_hundred_with_nothing_left(task: Task) -> None:
    task.apply(fill(quantity=100.0), *(close(f"c{n}", quantity=0.1) for n in range(1_000)))
    assert (task.position().open_left, task.position().waiting, len(rewards(task))) == (0.0, (), 1_000)


@pytest.mark.parametrize(
    ("left", "quantity", "filled", "count", "nothing"),
    [
        (0.0, 1.0, 1.0, 2, True),
        (-1e-17, 1.0, 1.0, 2, True),
        (2 * 2.0**-52, 1.0, 1.0, 2, True),
        (2.1 * 2.0**-52, 1.0, 1.0, 2, False),
        (2 * 2.0**-52, 1.0, 0.5, 2, True),  # the larger of the two counts
        (20 * 2.0**-52, 1.0, 10.0, 2, True),  # a small event of a large position
        (20.1 * 2.0**-52, 1.0, 10.0, 2, False),
        (1e-9, 1.0, 1.0, 2, False),
        (1e-8, 1e-8, 1e8, 1_000, False),  # never all of an event
        (2.0**-40, 2.0**-30, 2.0**20, 2, True),  # a 1024th of it, where rounding can be as large
        (2.0**-40, 2.0**-30.1, 2.0**20, 2, False),
        (1.0, 1e15, 1e15, 100, False),  # a whole unit, where doubles hold whole numbers
        (0.999, 1e15, 1e15, 100, True),
        (1.0, 2.0**53, 2.0**53, 100, False),
        (2.0, 2.0**54, 2.0**54, 2, True),  # where they do not
    ],
)
def test_what_is_left_is_nothing_where_rounding_can_have_left_it(
    left: float, quantity: float, filled: float, count: int, nothing: bool
) -> None:
    """At most n * 2**-52 of the position's largest quantity after n events, a 1024th of the event's own, and less than
    one unit up to 2**53."""
    assert is_nothing(left, quantity, filled, count) is nothing


@restarted_or_not
def test_parts_that_sum_up_to_less_than_the_close_by_rounding_leave_nothing(
    task: Task, steps: Callable[[Task], None]
) -> None:
    """Ten tenths of a large position: what doubles lose of it is of its size, not of a tenth's."""
    parts = [fill(f"f{n}", quantity=0.1 + 1e5 * (n == 0), order_quantity=1e5 + 1.0) for n in range(10)]
    whole = sum(part.quantity for part in parts)
    run(task, [*parts, close(quantity=whole)], steps)
    assert (task.position().open_left, task.position().waiting) == (0.0, ())
    assert len(rewards(task)) == 10


# What was before.


def test_a_position_of_which_only_ids_are_known_goes_on(task: Task) -> None:
    """From before events had a content: f1 of 40 is realised by c1, 25 of f2 are open, of an order of 100."""
    task.state.restore_position(
        PositionSnapshot(
            "book", "p1", START, True, 65.0, 0.65, "BUY",
            (PositionFill("f1", 0.0, 0.0, 0.0, 0.0, 0), PositionFill("f2", 25.0, 150.0, 0.0, 0.25, START)),
            (PositionClose("c1", 0.0, 0.0, 0.0, 0.0),), 1, 25.0,
            DecisionSnapshot("AAPL", 1.0, "", 100.0, "ridge", None, (), None, None, {}, {}),
        )
    )  # fmt: skip
    known = task.apply(fill("f1", price=1.0, **HUNDRED), close("c1", price=1.0), fill("f2", quantity=25.0, **HUNDRED))
    assert list(known.outcomes) == [1, 1, 1]
    (letter,) = task.apply(fill("f2", quantity=25.0, price=1.0, **HUNDRED)).dead_letters
    assert letter.error_class == "ID_REUSED"
    applied = task.apply(fill("f3", quantity=35.0, **HUNDRED), close("c2", quantity=60.0))
    assert [(r.fill_event_id, r.quantity) for r in applied.rewards] == [("f2", 25.0), ("f3", 35.0)]
    assert [r.weight for r in applied.rewards] == pytest.approx([0.25, 0.35], rel=1e-12)
    assert task.position().decision is None


def test_closes_of_a_position_of_ids_wait_for_their_fills(task: Task) -> None:
    source = Source("trades", 0, 7, b"key", b"old")
    task.state.restore_position(
        PositionSnapshot(
            "book", "p1", START, False, 0.0, 0.0, "UNKNOWN", (),
            (PositionClose("c1", 0.0, 0.0, 0.0, 0.0), PositionClose("c2", 50.0, 151.5, 0.0, 0.0)), 0, 0.0, None,
            (WaitingClose("c2", 50.0, 151.5, 0.0, 0.0, 30.0, START, source),),
        )
    )  # fmt: skip
    applied = task.apply(close("c1", price=1.0), close("c2", quantity=50.0, price=151.5), fill(quantity=100.0))
    assert list(applied.outcomes) == [1, 1, 0]
    assert [(r.close_event_id, r.quantity, r.weight, r.reward_bps) for r in applied.rewards] == [
        ("c2", 30.0, 0.3, 100.0)
    ]


def test_a_position_that_was_done_before_events_had_a_content_stays_done(task: Task) -> None:
    task.state.restore_position(
        PositionSnapshot(
            "book", "p1", START, True, 100.0, 1.0, "UNKNOWN", (PositionFill("f1", 0.0, 0.0, 0.0, 0.0, 0),),
            (PositionClose("c1", 0.0, 0.0, 0.0, 0.0),), 1, 0.0,
        )
    )  # fmt: skip
    applied = task.apply(fill(side="SELL", price=1.0), close(price=1.0), fill("f2"))
    assert list(applied.outcomes) == [1, 1, 2]
    assert "filled and closed already" in applied.dead_letters[0].error


# What is not supported, and how it is said.


def test_an_inverse_contract_is_a_trade_of_the_other_side_at_the_reciprocal_price(task: Task) -> None:
    """100 contracts of 1 USD, long at 50,000 and out at 55,000: 100 / 50000 - 100 / 55000 coins of 100 / 50000."""
    contract: dict[str, Any] = {"side": "SELL", "price": 1 / 50_000, "fees": 0.000001}
    task.apply(fill(**contract), close(price=1 / 55_000))
    coins = 100 / 50_000 - 100 / 55_000 - 0.000001
    assert rewards(task)[0].reward_bps == pytest.approx(coins / (100 / 50_000) * 1e4, rel=1e-9)


def test_a_position_that_turns_round_is_refused_by_its_side(task: Task) -> None:
    """No netting: 100 bought and 150 sold are a close of 100 and a position of its own."""
    applied = task.apply(fill(**HUNDRED), fill("f2", side="SELL", quantity=150.0, **HUNDRED))
    (letter,) = applied.dead_letters
    assert (letter.error_class, letter.error) == (
        "VALIDATION",
        "side not as in the first fill: a new decision needs a new position_id",
    )
    assert list(task.apply(close(quantity=150.0)).outcomes) == [0]
    assert [waiting.left for waiting in task.position().waiting] == [50.0]  # in time an ORPHAN_CLOSE


@pytest.mark.parametrize("field", ["order_quantity", "notional", "quantity", "multiplier", "price"])
def test_a_number_that_nobody_set_is_refused_where_it_would_make_a_reward_of_nothing(field: str) -> None:
    """Divided by the largest double, any move is 0."""
    task = Task(short_rules(), learning_rules())
    unset: dict[str, Any] = {field: 1.7976931348623157e308}
    task.apply(fill(**unset))
    ((_, letter),) = task.published.dead_letters
    what = "must be finite" if field == "price" else "must be finite and above 0"
    assert (letter.error_class, letter.error) == (
        "VALIDATION",
        f"{what}: {field} 1.7976931348623157e+308; above 1e+300 it is nobody's number: unset?",
    )


@pytest.mark.parametrize(
    ("quantity", "multiplier", "price"), [(1e200, 1e200, 1.0), (1e-200, 1e-200, 1.0), (5e-324, 1.0, 1.0)]
)
def test_a_notional_that_doubles_cannot_hold_teaches_nothing(quantity: float, multiplier: float, price: float) -> None:
    task = Task(short_rules(), learning_rules())
    task.apply(fill(quantity=quantity, multiplier=multiplier, price=price), close(quantity=quantity, price=price / 2.0))
    ((_, reward),) = task.published.rewards
    assert (reward.applied, "is not finite or beyond" in reward.detail) == (False, True)


def test_an_exec_id_has_the_limit_of_ids_since_the_position_keeps_it() -> None:
    task = Task(short_rules(), learning_rules())
    task.apply(fill(exec_id="x" * 201), fill(exec_id="x" * 200), close(exec_id="\u00e9" * 101))
    assert [letter.error for _, letter in task.published.dead_letters] == [
        "exec_id must be at most 200 bytes of UTF-8, got 201",
        "exec_id must be at most 200 bytes of UTF-8, got 202",
    ]
