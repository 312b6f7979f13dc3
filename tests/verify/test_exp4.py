"""What verify makes of EXP4: right histories are right, one thing that is wrong with trust or advice is found."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from armstream.events import BanditSnapshot, Command, CommandApplied, Fill, WeightVector
from armstream.oracle.comparison import Difference
from tests.stages.events import START, close, fill
from tests.verify.desk import BANDITS, Desk, settings_of
from tests.verify.test_commands import command, restarted_under

EXPERTS = {
    "base": {"ridge": 3.0, "mlp": 1.0},
    "uniform": "uniform",
    "bandit": "exp3ix",
    "best": "follow_best",
    "regime": "engine",
}
SAID = {"base": 0.75, "uniform": 0.3, "bandit": 0.4, "best": 1.0, "regime": 0.1}


def exp4(**learning: Any) -> dict[str, Any]:
    return {"algorithm": "exp4", "experts": EXPERTS, "reward_bound_bps": 60.0, **learning}


def advised(position_id: str, event_id: str = "f1", **fields: Any) -> Fill:
    return fill(event_id, position_id, **{"propensity": 0.4, "advice": SAID, **fields})


def advised_desk(**learning: Any) -> Desk:
    """Audit: 1 and 2 rewards of parts, 3 a reward of a draw without a vector, 4 ADD_EXPERT, 5 REMOVE_EXPERT, 6 a reward
    of a position from before, 7 one decided before, 8 ADD_ARM, 9 a reward of the new arm, 10 REMOVE_ARM,
    11 REMOVE_EXPERT refused, 12 RESET, 13 a reward, 14 SET_BOUND, 15 a reward beyond it."""
    desk = Desk(settings_of(online_learning=exp4(**learning)))
    parts: dict[str, Any] = {"order_quantity": 100.0, "quantity": 60.0}
    desk.apply(advised("p1", **parts), close("c1", "p1", quantity=50.0, price=149.0))
    desk.apply(close("c2", "p1", quantity=10.0, price=151.0))
    desk.apply(advised("p2", weights_version=0, advice={"regime": 0.5}, arm="mlp"), close("c1", "p2", price=152.0))
    desk.apply(advised("p3", arm="boost"))
    desk.apply(command("ADD_EXPERT", "k1", expert="new", value=2.0), command("REMOVE_EXPERT", "k2", expert="base"))
    desk.apply(close("c1", "p3", price=148.0), advised("p4", weights_version=3), close("c1", "p4"))
    now = {**{name: given for name, given in SAID.items() if name != "base"}, "new": 0.2}
    desk.apply(command("ADD_ARM", "k3", arm="lstm", value=0.5))
    desk.apply(advised("p5", arm="lstm", advice=now, weights_version=8), close("c1", "p5", price=151.0))
    desk.apply(command("REMOVE_ARM", "k4", arm="boost"), command("REMOVE_EXPERT", "k5", expert="base"))
    desk.apply(command("RESET", "k6"), advised("p6", advice=now), close("c1", "p6", price=150.2))
    desk.apply(
        command("SET_BOUND", "k7", value=7.0), advised("p7", advice=now, arm="mlp"), close("c1", "p7", price=151.0)
    )
    return desk


@pytest.mark.parametrize(
    "learning",
    [
        {},
        {"eta": 0.2, "eta_auto": False, "gamma": 0.1},
        {"estimator": "importance", "gamma": 0.2, "expected_decisions": 100},
    ],
    ids=("implicit", "given", "importance"),
)
def test_trust_advice_and_commands_for_experts_are_derived_again(learning: dict[str, Any]) -> None:
    account = advised_desk(**learning).verify()
    assert account.not_checked == []
    counts = {
        name: account.counts[name] for name in ("commands", "rewards", "withheld", "not_placed", "weight_vectors")
    }
    assert counts == {"commands": 7, "rewards": 8, "withheld": 0, "not_placed": 0, "weight_vectors": 10}


def test_a_long_history_with_a_bound_that_is_found_is_derived_again() -> None:
    desk = Desk(settings_of(online_learning=exp4(reward_bound_bps="auto")))
    for number in range(160):
        arm = ("ridge", "mlp", "boost")[number % 3]
        said = {name: (number * 7 + at) % 11 / 11 for at, name in enumerate(EXPERTS)}
        price = 150.0 + (number * 13 % 17 - 8) / 10
        desk.apply(
            advised(f"p{number}", arm=arm, advice=said, propensity=0.1 + number % 7 / 10),
            close("c1", f"p{number}", price=price),
        )
    account = desk.verify()
    assert account.not_checked == []
    assert (account.counts["rewards"], account.counts["withheld"]) == (160, 100)


def test_a_restart_under_other_experts_begins_anew() -> None:
    desk = advised_desk()
    other = restarted_under(
        desk,
        online_learning=exp4(experts={"bandit": "exp3ix", "regime": "engine"}),
        bandits={"on_settings_change": "reset"},
    )
    other.apply(advised("p8", advice={"bandit": 0.5, "regime": 0.5}), close("c1", "p8", price=151.0))
    other.apply(advised("p9", weights_version=2), close("c1", "p9", price=151.0))
    account = other.verify()
    assert account.not_checked == []
    assert account.counts["settings_changes"] == 1


def test_a_log_that_begins_at_a_snapshot_goes_on_from_it() -> None:
    desk = advised_desk()
    names = desk.names
    for topic in (*names.inputs, names.rewards):
        desk.delete_before(topic, max(len(desk.topics[topic]) - 3, 0))
    for topic in names.compacted:
        desk.compact(topic)
    account = desk.verify()
    assert account.counts["weight_vectors"] == 1
    desk.apply(
        advised("p8", advice={"uniform": 0.1, "bandit": 0.2, "best": 0.3, "regime": 0.4, "new": 0.5}), close("c1", "p8")
    )
    desk.verify()


def in_vector(**fields: Any) -> Callable[[Desk], None]:
    """Another field of the first expert in the first vector."""

    def corrupt(desk: Desk) -> None:
        vector = desk.event(desk.names.weights, 0, WeightVector)
        desk.change(desk.names.weights, 0, experts=(replace(vector.experts[0], **fields), *vector.experts[1:]))

    return corrupt


def in_snapshot(at: int, **fields: Any) -> Callable[[Desk], None]:
    """Another field of an expert in the first snapshot of the bandit."""

    def corrupt(desk: Desk) -> None:
        name = BANDITS
        snapshot = desk.event(name, 0, BanditSnapshot)
        experts = list(snapshot.experts)
        experts[at] = replace(experts[at], **fields)
        desk.change(name, 0, experts=tuple(experts))

    return corrupt


def in_fill(at: int, **fields: Any) -> Callable[[Desk], None]:
    return lambda desk: desk.change(desk.names.trades[0], at, **fields)


def in_audit(at: int, **fields: Any) -> Callable[[Desk], None]:
    return lambda desk: desk.change(desk.names.rewards, at, **fields)


def in_command(at: int, **fields: Any) -> Callable[[Desk], None]:
    return lambda desk: desk.change(desk.names.commands, at, **fields)


def arm_weight(desk: Desk) -> None:
    vector = desk.event(desk.names.weights, 0, WeightVector)
    desk.change(desk.names.weights, 0, arms=(replace(vector.arms[0], weight=0.5), *vector.arms[1:]))


WRONG: dict[str, tuple[Callable[[Desk], None], str]] = {
    "an expert's weight": (in_vector(weight=0.19), "expert 'base': published was weight"),
    "what an expert says": (in_vector(distribution=(0.7, 0.3, 0.0)), "expert 'base': published was distribution 0.7"),
    "an own expert that says nothing": (in_vector(distribution=()), "distribution ()"),
    "an expert's name": (in_vector(name="bias"), "experts ['bias'"),
    "an arm's weight": (arm_weight, "arm 'ridge': published was weight 0.5"),
    "a rate": (lambda desk: desk.change(desk.names.weights, 0, eta=0.1), "eta 0.1"),
    "an expert's name in a snapshot": (in_snapshot(0, name="bias"), "experts ['bias'"),
    "an expert's state": (in_snapshot(0, state=0.1), "expert 'base': published was state 0.1"),
    "what the nested learner learned": (in_snapshot(2, learned=(1.0, 0.9, 0.0, 0.0)), "learned 0.9"),
    "how many steps the nested learner made": (in_snapshot(2, learned=(2.0, 0.9, 0.0, 0.0)), "learned 2.0"),
    "the mean of late": (in_snapshot(3, learned=(1.0, 0.0, 0.0)), "learned 1.0"),
    "what an engine's expert cannot have learned": (in_snapshot(4, learned=(1.0,)), "how many numbers in learned 1"),
    "when experts changed": (
        lambda desk: desk.change(BANDITS, 0, choices_version=2),
        "choices_version 2",
    ),
    "what an expert gave": (in_fill(0, advice={**SAID, "regime": 0.2}), ""),
    "a draw that an expert is missing in": (
        in_fill(0, advice={name: SAID[name] for name in ("base", "best")}),
        "the advice of 'uniform' is missing",
    ),
    "advice out of range": (in_fill(0, advice={**SAID, "regime": 1.5}), "the advice of 'regime' must be from 0 to 1"),
    "a draw without its propensity": (in_fill(0, propensity=None), "a drawn arm needs its logged propensity"),
    "a decision that was older": (in_fill(7, weights_version=9), "unknown expert 'base'"),
    "an outcome": (in_audit(3, outcome="REFUSED", detail="why"), "outcome 'REFUSED'"),
    "another outcome": (in_audit(10, outcome="APPLIED"), "outcome 'APPLIED'"),
    "the new expert's weight": (in_command(0, value=1.9), "expert 'new'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_thing_that_is_wrong_is_found(name: str) -> None:
    corrupt, says = WRONG[name]
    desk = advised_desk()
    corrupt(desk)
    with pytest.raises(Difference) as difference:
        desk.verify()
    assert says in str(difference.value)


def test_advice_for_a_bandit_without_experts_should_have_been_refused() -> None:
    desk = Desk()
    desk.apply(fill("f1", "p1"), close("c1", "p1"))
    desk.change(desk.names.trades[0], 0, advice={"oracle": 1.0})
    with pytest.raises(Difference, match="but this bandit has no experts"):
        desk.verify()


def test_base_weights_that_come_back_after_an_arm_has_gone_are_derived_again() -> None:
    experts = {"base": {"ridge": 3.0, "mlp": 1.0}, "uniform": "uniform"}
    desk = Desk(settings_of(online_learning={"algorithm": "exp4", "experts": experts}))
    desk.apply(fill("f1", "p1", propensity=0.5, advice={"base": 0.75, "uniform": 1 / 3}), close("c1", "p1"))
    asked: list[tuple[Any, dict[str, Any]]] = [
        ("REMOVE_EXPERT", {"expert": "base"}),
        ("REMOVE_ARM", {"arm": "mlp"}),
        ("ADD_EXPERT", {"expert": "base"}),
        ("REMOVE_EXPERT", {"expert": "base"}),
        ("ADD_ARM", {"arm": "lstm"}),
        ("REMOVE_ARM", {"arm": "ridge"}),
        ("ADD_EXPERT", {"expert": "base"}),  # refused: nothing of it is left
    ]
    desk.apply(*[Command(f"k{number}", "book", action, START, **named) for number, (action, named) in enumerate(asked)])
    assert desk.verify().counts["commands"] == 7


def test_what_a_command_says_beside_its_action_changes_nothing() -> None:
    """A command for an expert may name an arm too, and one for an arm an expert; any may bring a value."""
    experts = {"base": {"ridge": 1.0}, "bandit": "exp3ix", "best": "follow_best", "regime": "engine"}
    desk = Desk(settings_of(online_learning={"algorithm": "exp4", "experts": experts, "reward_bound_bps": 60.0}))
    beside: dict[str, Any] = {"arm": "mlp", "expert": "base", "value": 3.0}
    asked: list[tuple[Any, dict[str, Any]]] = [
        ("REMOVE_EXPERT", {"expert": "best"}),
        ("PAUSE", {}),
        ("RESUME", {}),
        ("RESET", {}),
        ("SET_BOUND", {"value": 7.0}),
        ("ADD_EXPERT", {"expert": "best", "value": 2.0}),
        ("ADD_ARM", {"arm": "lstm"}),
        ("REMOVE_ARM", {"arm": "boost"}),
    ]
    desk.apply(fill("f1", "p1", propensity=0.5, advice=dict.fromkeys(experts, 0.5)))
    for number, (action, named) in enumerate(asked):
        desk.apply(command(action, f"k{number}", **{**beside, **named}))
    account = desk.verify()
    assert (account.not_checked, account.counts["commands"]) == ([], 8)
    audit = [desk.event(desk.names.rewards, at, CommandApplied) for at in range(8)]
    assert [applied.outcome for applied in audit] == ["APPLIED"] * 8
    weights = [arm.weight for arm in desk.event(desk.names.weights, 0, WeightVector).arms]
    # All on ridge, and a third each, halved: the third that is trusted as much is an engine's, and says nothing here.
    assert weights == pytest.approx([2 / 3, 1 / 6, 1 / 6])
