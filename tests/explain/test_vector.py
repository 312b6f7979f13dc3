"""One vector explained: by hand, with what is deleted, with what is wrong, and where there is none."""

from collections.abc import Callable
from math import exp, log, sqrt
from typing import Any

import pytest

from armstream.events import BanditSnapshot, Reward, WeightVector
from armstream.explain.facts import Explanation, NotThere
from armstream.explain.vector import explain
from tests.explain.desk import PUBLISHED_MICROS, DeskTopics, explained
from tests.explain.test_agreement import require_told
from tests.stages.events import START, close, fill
from tests.verify.desk import BANDITS, Desk, settings_of
from tests.verify.test_commands import changed_desk, command, desk_that_was_reset

DAY_MICROS = 86_400_000_000
near: Any = pytest.approx


def traded(**learning: Any) -> Desk:
    """Versions 1, 2, 3: a reward each, in a transaction each."""
    desk = Desk(settings_of(online_learning=learning))
    for position_id, arm, price in (("p1", "ridge", 150.5), ("p2", "mlp", 149.0), ("p3", "boost", 151.0)):
        desk.apply(fill("f1", position_id, arm=arm, propensity=0.4, fees=0.5))
        desk.apply(close("c1", position_id, price=price, fees=0.5, slippage=0.2))
    return desk


def test_a_reward_is_told_with_its_costs_its_estimate_and_its_move_by_hand() -> None:
    """BUY 100 at 150, closed at 150.5, fees .5, slippage .2: (50 - .7) / 15000 is 32.8667 bps, as the design works out.

    The loss is (100 - 32.8667) / 200; eta is sqrt(ln 3 / 3), and sqrt(ln 3 / 6) as it is read."""
    desk = Desk(settings_of())
    desk.apply(fill("f1", propensity=0.4), close("c1", fees=0.5, slippage=0.2))
    told = explained(desk, 1)
    (part,) = told.parts
    reward_bps = (50 - 0.7) / 15_000 * 10_000
    assert part.reward_bps == near(reward_bps)
    costs = part.gross_bps, part.fill_fees_bps, part.close_fees_bps, part.slippage_bps
    assert costs == near((50 / 1.5, 0.0, -0.5 / 1.5, -0.2 / 1.5))
    estimate = (100 - reward_bps) / 200 / (0.4 + sqrt(log(3) / 3) / 2)
    assert [(arm.name, arm.share, arm.propensity, arm.estimate) for arm in part.arms] == [
        ("ridge", 1.0, 0.4, near(estimate))
    ]
    lost = exp(-sqrt(log(3) / 6) * estimate)
    assert [(arm.name, arm.weight_before, arm.weight_after) for arm in told.arms] == [
        ("ridge", near(1 / 3), near(lost / (lost + 2))),
        ("mlp", near(1 / 3), near(1 / (lost + 2))),
        ("boost", near(1 / 3), near(1 / (lost + 2))),
    ]
    assert (part.moved[0].name, part.moved[0].after) == ("ridge", near(lost / (lost + 2)))
    assert part.fill is not None
    assert part.close is not None
    assert (part.fill.offset, part.close.offset) == (0, 1)
    assert told.result == "agrees"


def test_commands_refusals_and_what_was_withheld_are_told_in_their_order() -> None:
    desk = changed_desk()
    told = explained(desk, 8)
    assert (told.version, told.first_version) == (9, 7)
    assert [part.text for part in told.parts] == [
        "PAUSE APPLIED, command 'k3'",
        "BUY 100 AAPL at 150, closed at 150.5: +33.3333 bps net",
        "RESUME APPLIED, command 'k4'",
    ]
    assert (told.parts[1].applied, told.parts[1].detail, told.parts[1].steps) == (False, "the bandit is paused", ())
    assert told.notes == ("version 8 has no vector of its own: versions 7 to 9 were published together, as one vector",)
    assert explained(desk, 2).parts[0].text == "ADD_ARM lstm 2 APPLIED, command 'k1': new"
    assert explained(desk, 6).parts[1].detail == "arm 'mlp' was removed"
    assert "REFUSED, command 'k6': " in explained(desk, 12).parts[0].text
    moved = {arm.name: arm.weight_before for arm in explained(desk, 2).arms}
    assert moved["lstm"] is None
    for version in range(1, 13):
        require_told(explained(desk, version))


def test_a_command_is_told_without_what_it_says_beside_its_action() -> None:
    experts = {"base": {"ridge": 1.0}, "best": "follow_best", "regime": "engine"}
    desk = Desk(settings_of(online_learning={"algorithm": "exp4", "experts": experts}))
    desk.apply(fill("f1", propensity=0.5, advice=dict.fromkeys(experts, 0.5)))
    for number, action in enumerate(("REMOVE_EXPERT", "PAUSE")):
        desk.apply(command(action, f"k{number}", arm="mlp", expert="best", value=3.0))
    told = explained(desk, 1)
    assert told.parts[0].text == "REMOVE_EXPERT best APPLIED, command 'k0'"
    assert ([one.name for one in told.experts], told.result) == (["base", "best", "regime"], "agrees")
    assert explained(desk, 2).parts[0].text == "PAUSE APPLIED, command 'k1'"


def test_a_change_of_settings_says_what_changed() -> None:
    told = explained(desk_that_was_reset(), 2)
    assert told.parts[0].kind == "settings"
    assert "arms from ridge, mlp, boost to ridge, new" in told.parts[0].text
    assert "gamma from 0.2 to 0.0" in told.parts[0].text
    require_told(told)


def test_a_bound_that_is_looked_for_and_a_position_that_is_written_off() -> None:
    desk = Desk(settings_of(online_learning={"reward_bound_bps": "auto"}))
    for number in range(101):
        desk.apply(fill("f1", f"p{number}", propensity=0.5), close("c1", f"p{number}", price=150.0 + number / 100))
    desk.apply(fill("f1", "end", propensity=0.5), close("c1", "end", quantity=40.0, final=True))
    assert explained(desk, 100).parts[0].detail == "the reward bound is not found yet"
    assert explained(desk, 100).after.reward_bound_bps == near((94 + 0.05) / 1.5)  # type: ignore[union-attr]
    end = explained(desk, 103)
    assert [part.detail for part in end.parts] == ["", "written off: close 'c1' was final"]
    for version in (99, 100, 101, 103):
        require_told(explained(desk, version))


@pytest.mark.parametrize("is_compacted", [False, True])
def test_the_parts_of_a_decision_before_the_snapshot_are_in_its_terms(is_compacted: bool) -> None:
    """S of the adaptive rate knows what a decision came to. The last close leaves 20, which the next fill meets."""
    desk = Desk(settings_of(online_learning={"algorithm": "tsallis", "eta_auto": "adaptive"}))
    order: dict[str, Any] = {"propensity": 0.5, "order_quantity": 300.0}
    desk.apply(fill("f1", **order), close("c1", quantity=40.0))
    desk.apply(close("c2", quantity=80.0, price=149.0, final=True))
    desk.apply(fill("f2", **order))
    assert [part.applied for part in explained(desk, 4).parts] == [True, False]  # 20 of it, and the rest written off
    if is_compacted:
        desk.compact(BANDITS)
    for version in range(1, 5):
        require_told(explained(desk, version))
    desk.delete_before(desk.names.rewards, 1)
    told = explained(desk, 4)
    if is_compacted:
        unchecked(told, "keeps no snapshot of version 2 or before, and rewards:0 begins with version 2")
    else:
        unchecked(told, "the earlier parts of position 'p1' are deleted")


# What there is.


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"version": 4}, "version 4 of 'book' is not published: the newest is 3"),
        ({"at_micros": PUBLISHED_MICROS - 1}, "nothing of 'book' was published by 2027-01-15 07:59:59.999"),
    ],
)
def test_a_vector_that_is_not_there_is_a_line_that_says_what_is(asked: Any, says: str) -> None:
    with pytest.raises(NotThere) as nothing:
        explain(DeskTopics(traded()), "book", **asked)
    assert says in str(nothing.value)


def test_a_bandit_that_nobody_knows_is_a_line() -> None:
    with pytest.raises(NotThere, match=r"no audit record of 'other' in rewards:0: `armstream arms list` shows"):
        explain(DeskTopics(traded(), "other"), "other", version=1)


def test_a_time_is_the_newest_vector_that_was_published_by_then() -> None:
    desk = traded()
    at = [PUBLISHED_MICROS + one.offset * 1_000_000 for one in desk.topics[desk.names.rewards]]
    versions = [explained(desk, at_micros=micros).version for micros in (at[0], at[1] - 1, at[1], at[2] + DAY_MICROS)]
    assert versions == [1, 1, 2, 3]
    assert explained(desk, at_micros=at[1]).asked_version is None


# What is deleted.


def test_without_its_first_audit_records_it_goes_on_from_the_nearest_snapshot() -> None:
    desk = traded()
    desk.delete_before(desk.names.rewards, 1)
    told = explained(desk, 3)
    assert (told.result, told.state_from) == ("agrees", "the snapshot of version 2")
    with pytest.raises(
        NotThere, match=r"version 1 of 'book' is deleted from rewards:0: the oldest that is kept is ver"
    ):
        explained(desk, 1)


def test_without_any_snapshot_before_it_goes_on_from_the_beginning() -> None:
    desk = traded()
    desk.compact(BANDITS)
    told = explained(desk, 3)
    assert (told.result, told.state_from) == ("agrees", "the beginning and 2 audit records after it")
    desk.compact(desk.names.weights)
    told = explained(desk, 2)
    assert told.result == "agrees"
    assert told.notes == (
        "compaction took versions 1 and 2 from weights: their weights are the oracle's, by the audit log",
    )
    assert told.after is not None
    assert (told.after.is_published, told.after.phase) == (False, None)


def unchecked(told: Explanation, says: str) -> Explanation:
    assert (told.result, says in told.text) == ("unchecked", True), told.text
    return told


def test_without_a_state_it_says_why_and_tells_what_the_records_have() -> None:
    desk = traded()
    desk.compact(BANDITS)
    desk.delete_before(desk.names.rewards, 1)
    told = unchecked(
        explained(desk, 2), "keeps no snapshot of version 1 or before, and rewards:0 begins with version 2"
    )
    (part,) = told.parts
    assert (part.steps, part.moved) == ((), ())
    assert part.gross_bps is not None
    assert [arm.weight_before for arm in told.arms] != [arm.weight_after for arm in told.arms]  # as published


def test_without_its_fill_it_says_so_and_tells_what_the_audit_record_has() -> None:
    desk = traded()
    desk.delete_before(desk.names.trades[0], 3)
    told = unchecked(explained(desk, 2), "fill 'f1' of position 'p2' is deleted")
    (part,) = told.parts
    assert (part.fill, part.missing) == (None, "fill 'f1' of position 'p2' is deleted")
    assert part.close is not None
    assert part.text.startswith("100 of fill 'f1', closed at 149: -")
    assert part.arms[0].estimate is not None
    assert explained(desk, 3).result == "agrees"  # from the snapshot of version 2


def test_without_its_command_it_says_so() -> None:
    desk = changed_desk()
    desk.delete_before(desk.names.commands, 1)
    told = unchecked(explained(desk, 2), "command 'k1' is deleted")
    assert told.parts[0].missing == "command 'k1' is deleted"


def test_a_rule_that_is_not_known_yet_is_named() -> None:
    desk = traded()
    name = BANDITS
    for at, one in enumerate(desk.topics[name]):
        if one.key == b"book":
            settings = desk.event(name, at, BanditSnapshot).settings
            desk.change(name, at, settings=settings.replace("{", '{"algorithm": "newer", ', 1))
    unchecked(
        explained(desk, 3), "no learning rule is called 'newer' here; the rules are exp3ix, exp4, tsallis: upgrade"
    )


# Ids that come again.


def test_the_same_ids_of_another_day_are_told_apart() -> None:
    desk = Desk(settings_of())
    for day in range(3):
        ts_event = START + 2 * day * DAY_MICROS
        desk.apply(fill("f1", "p1", price=150.0 + day, propensity=0.4, ts_event=ts_event))
        desk.apply(close("c1", "p1", price=150.5, ts_event=ts_event))
    desk.compact(BANDITS)
    for version in (1, 2, 3):
        told = explained(desk, version)
        require_told(told)
        assert told.parts[0].fill is not None
        assert told.parts[0].fill.price == 149.0 + version


def test_a_refused_fill_under_the_same_id_is_not_taken_for_the_one_that_counts() -> None:
    desk = Desk(settings_of())
    desk.apply(fill("f1", "p1", propensity=0.4), fill("f1", "p1", propensity=0.4, price=140.0))
    desk.apply(close("c1", "p1"))
    told = explained(desk, 1)
    require_told(told)
    assert told.parts[0].fill is not None
    assert told.parts[0].fill.price == 150.0


# What is wrong.


def of_rewards(**fields: Any) -> Callable[[Desk], None]:
    return lambda desk: desk.change(desk.names.rewards, 1, **fields)


def an_estimate(desk: Desk) -> None:
    (arm,) = desk.event(desk.names.rewards, 1, Reward).arms
    desk.change(
        desk.names.rewards, 1, arms=(type(arm)(arm.name, arm.share, arm.propensity, (arm.estimate or 0.0) + 1e-8),)
    )


def a_vector(at: int) -> Callable[[Desk], None]:
    def wrong(desk: Desk) -> None:
        vector = desk.event(desk.names.weights, at, WeightVector)
        first, second, third = vector.arms
        moved = type(first)(first.name, first.weight + 1e-8, first.probability)
        desk.change(desk.names.weights, at, arms=(moved, second, third))

    return wrong


def a_state(desk: Desk) -> None:
    """The snapshot that it goes on from is not what the vector before says."""
    name = BANDITS
    at = next(
        at
        for at, one in enumerate(desk.topics[name])
        if one.key == b"book" and desk.event(name, at, BanditSnapshot).version == 1
    )
    first, *others = desk.event(name, at, BanditSnapshot).arms
    moved = type(first)(first.name, (first.state[0] + 1e-6,), first.pulls, first.cumulative_reward_bps)
    for index in range(at, len(desk.topics[name])):
        if desk.topics[name][index].key == b"book" and desk.event(name, index, BanditSnapshot).version == 1:
            desk.change(name, index, arms=(moved, *others))


WRONG: dict[str, tuple[Callable[[Desk], None], str]] = {
    "a reward": (of_rewards(reward_bps=-72.0), "reward_bps -72.0"),
    "an estimate": (an_estimate, "estimate of 'mlp'"),
    "a rate": (of_rewards(eta=0.5), "eta 0.5"),
    "a count": (of_rewards(total_steps=3), "total_steps 3"),
    "a reward that was withheld": (of_rewards(applied=False, counted=False), "total_steps 2"),
    "an arm": (of_rewards(arms=()), "arms []"),
    "the vector": (a_vector(1), "weight of arm 'ridge'"),
    "the vector before": (a_vector(0), "weight of arm 'ridge'"),
    "the state before": (a_state, "weight of arm 'ridge'"),
}


def test_a_reward_that_taught_before_the_bound_was_found_is_named() -> None:
    desk = Desk(settings_of(online_learning={"reward_bound_bps": "auto"}))
    desk.apply(fill("f1", propensity=0.5), close("c1"))
    desk.change(desk.names.rewards, 0, applied=True)
    told = explained(desk, 1)
    assert (told.result, "applied True" in told.text) == ("differs", True), told.text


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_follow_is_named(name: str) -> None:
    breaks, says = WRONG[name]
    desk = traded()
    breaks(desk)
    told = explained(desk, 2)
    assert (told.result, says in told.text) == ("differs", True), told.text
    assert explained(desk, 3).result == ("differs" if name == "the vector" else "agrees")


def test_a_version_that_is_lost_is_named() -> None:
    desk = traded()
    del desk.topics[desk.names.rewards][1]
    with pytest.raises(
        NotThere, match=r"'book' cannot be explained: rewards:0:\d+, version 1: published was version 1; "
    ):
        explained(desk, 2)
