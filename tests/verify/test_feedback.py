"""Whatever a decision reveals, stages and formulas agree on what it teaches: random decisions with signals.

A hundred thousand of them:

    HISTORIES=100000 .venv/bin/python -m pytest tests/verify/test_feedback.py -k agree --timeout 0
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from armstream.events import Action, BanditSnapshot, Command, PositionSnapshot, Reward
from armstream.learning import observing as observing_learners
from armstream.learning.observing import ObservingExp3IX
from armstream.oracle.comparison import Difference
from armstream.stages import bandit as bandit_stage
from armstream.stages import decision as decision_stage
from armstream.stages import reward as reward_stage
from armstream.stages.facts import TaskLimits
from tests.stages.events import START, close, fill
from tests.stages.signalled import Choices, Engine
from tests.stages.test_history import examples
from tests.verify.desk import BANDITS, POSITIONS, Desk, settings_of
from tests.verify.test_commands import restarted_under
from tests.verify.test_states import forget_what_stands_before, kept

HORIZONS = {"arm_mode": "family_horizon", "families": ["ridge", "mlp"], "horizons": ["5", "20"]}
RULES: dict[str, dict[str, Any]] = {
    "exp3ix side": {"feedback": "side"},
    "exp3ix both": {"feedback": "both"},
    "exp3ix side, a rate of its own": {"feedback": "side", "eta": 0.1, "eta_auto": False, "implicit": 0.0},
    "exp3ix both, capped, shared out": {"feedback": "both", "eta_max": 0.3, "fixed_share": 0.01, "transform": "tanh"},
    "exp3ix side, with gamma": {"feedback": "side", "gamma": 0.1, "transform": "clip", "transform_bps": 60.0},
    "exp3ix both by horizon": {"feedback": "both", **HORIZONS},
    "exp3ix drawn": {},
    "importance drawn": {"estimator": "importance", "gamma": 0.05, "attribution": "simultaneous"},
    "tsallis side": {"algorithm": "tsallis", "feedback": "side"},
    "tsallis both": {"algorithm": "tsallis", "feedback": "both"},
    "tsallis side, a rate of its own": {"algorithm": "tsallis", "feedback": "side", "eta": 0.4, "eta_auto": False},
    "tsallis side by horizon": {"algorithm": "tsallis", "feedback": "side", **HORIZONS},
    "tsallis drawn": {"algorithm": "tsallis"},
    "tsallis drawn, adaptive": {"algorithm": "tsallis", "eta_auto": "adaptive"},
    "tsallis side, adaptive": {"algorithm": "tsallis", "feedback": "side", "eta_auto": "adaptive"},
    "tsallis both, adaptive": {"algorithm": "tsallis", "feedback": "both", "eta_auto": "adaptive"},
    "tsallis both, adaptive, shared out": {
        **{"algorithm": "tsallis", "feedback": "both", "eta_auto": "adaptive", "fixed_share": 0.01},
    },
    "tsallis both by horizon, adaptive": {
        **{"algorithm": "tsallis", "feedback": "both", "eta_auto": "adaptive", **HORIZONS},
    },
}

VIEWS = {"ridge": "BUY", "mlp": "BUY", "boost": "SELL"}
DRAW: dict[str, Any] = {"propensity": 0.5, "probabilities": (0.5, 0.3, 0.2), "eta": 0.5, "signals": VIEWS}


def newest_vector(desk: Desk) -> Any:
    vectors = desk.topics[desk.names.weights]
    return desk.any_event(desk.names.weights, -1) if vectors else None


def traded(desk: Desk, engine: Engine, choices: Choices, count: int, sections: dict[str, Any]) -> Desk:
    """So many transactions of some events each, with a restart now and then."""
    for _ in range(count):
        engine.follow(newest_vector(desk))
        desk.apply(*(engine.next(choices) for _ in range(choices.of((1, 2, 5)))))
        if choices.one_in(6):
            desk = restarted_under(desk, **sections)
    return desk


def sections_of(rule: str) -> dict[str, Any]:
    return {"online_learning": RULES[rule]}


def engine_of(desk: Desk) -> Engine:
    arms = list(desk.settings.online_learning.arms)
    is_by_horizon = ":" in arms[0]
    return Engine(arms, ("new:5", "new:20", arms[1]) if is_by_horizon else ("new", "late", arms[1]))


@examples(200)
@given(st.sampled_from(sorted(RULES)), st.binary(max_size=600), st.booleans())
def test_stages_and_formulas_agree_on_what_decisions_teach(rule: str, drawn: bytes, is_short: bool) -> None:
    sections = sections_of(rule)
    limits = TaskLimits(max_events_per_position=12) if is_short else TaskLimits()
    desk, choices = Desk(settings_of(**sections), limits), Choices(drawn)
    desk = traded(desk, engine_of(desk), choices, 24, sections)
    account = desk.verify()
    assert (account.not_checked, account.counts["not_placed"]) == ([], 0)


@examples(30)
@given(st.sampled_from(sorted(RULES)), st.binary(max_size=600))
def test_verify_goes_on_from_a_state_in_the_middle_of_decisions(tmp_path_factory: Any, rule: str, drawn: bytes) -> None:
    sections, state = sections_of(rule), None
    desk, choices, folder = Desk(settings_of(**sections)), Choices(drawn), tmp_path_factory.mktemp("state")
    engine = engine_of(desk)
    for _ in range(4):
        desk = traded(desk, engine, choices, 6, sections)
        account = desk.verify(state)
        assert (account.not_checked, account.counts["not_placed"]) == ([], 0)
        assert account.state is not None
        state = kept(desk, folder, account.state)
        forget_what_stands_before(desk, state)


@pytest.mark.parametrize("slippage", [float("nan"), float("inf"), -1.7976931348623157e308])
@pytest.mark.parametrize("waits", [False, True])
def test_a_slippage_in_the_price_that_is_nobodys_number_stops_nothing_and_costs_nothing(
    slippage: float, waits: bool
) -> None:
    """+50 bps of 100 for ridge; its mirror image without costs is -50, a loss of .75, and p = 1: .5 + .25."""
    desk = Desk(settings_of(**sections_of("tsallis both")))
    views = {**VIEWS, "mlp": "SELL"}
    events = [
        fill(price=100.0, **{**DRAW, "signals": views}),
        close(price=100.5, slippage=slippage, slippage_in_price=True),
    ]
    desk.apply(*(reversed(events) if waits else events))
    reward = desk.event(desk.names.rewards, 0, Reward)
    assert [arm.estimate for arm in reward.arms] == pytest.approx([0.25, 0.75, 0.75])
    assert desk.verify().not_checked == []


def test_an_arm_that_went_and_came_again_was_asleep_for_a_blend_of_before() -> None:
    """+50 bps of 100: -.25 for ridge, and .25 for boost on the other side. mlp, whose view was another arm's, moves by
    what was played: .75 (-.25) + .25 (.25)."""
    desk = Desk(settings_of(**sections_of("tsallis both")))
    blend: dict[str, Any] = {
        "contributions": {"ridge": 0.3, "boost": 0.1},
        "signals": {"ridge": "BUY", "mlp": "BUY", "boost": "SELL"},
    }
    desk.apply(fill("f0", "p0", **DRAW), close("c0", "p0", quantity=50.0, price=150.0))  # which moves all alike
    desk.apply(fill(price=100.0, weights_version=1, **blend))
    changes: tuple[Action, ...] = ("REMOVE_ARM", "ADD_ARM")
    desk.apply(*(Command(f"k{number}", "book", action, START, arm="mlp") for number, action in enumerate(changes)))
    before = newest_losses(desk)
    desk.apply(close(price=100.5))
    reward = desk.event(desk.names.rewards, -1, Reward)
    assert [(arm.name, arm.share, arm.propensity) for arm in reward.arms] == [
        ("ridge", 0.3, None),
        ("boost", 0.1, None),
    ]
    moved = {name: loss - before[name] for name, loss in newest_losses(desk).items()}
    assert moved == pytest.approx({"ridge": -0.25, "boost": 0.25, "mlp": 0.75 * -0.25 + 0.25 * 0.25})
    assert desk.verify().not_checked == []


def test_a_mirror_image_that_comes_to_nothing_is_no_difference() -> None:
    """A fall of .55 of 85.69, and .55 a unit of costs: the other side earns 0, up to what rounding leaves in either."""
    desk = Desk(settings_of(**sections_of("tsallis both, adaptive")))
    parts: dict[str, Any] = {"quantity": 14.0, "order_quantity": 14.0, "fees": 3.85}
    desk.apply(fill(price=85.69, **parts, **DRAW), close(quantity=7.0, price=85.14, fees=1.925))
    assert desk.event(desk.names.rewards, 0, Reward).arms[2].estimate == pytest.approx(0.5)
    assert desk.verify().not_checked == []


def test_a_fill_of_a_position_that_was_done_begins_without_its_terms() -> None:
    """Filled and closed whole, it is done. Closes that come for more wait, the last is final, and a fill comes for a
    part of them: it weighs nothing, and its decision has come to nothing yet."""
    desk = Desk(settings_of(**sections_of("tsallis side, adaptive")))
    parts: dict[str, Any] = {"quantity": 10.0, "order_quantity": 10.0, "weights_version": 0}
    desk.apply(fill("f1", **parts, **DRAW), close("c1", quantity=10.0))
    desk.apply(close("c2", quantity=10.0), close("c3", quantity=10.0, final=True), fill("f2", **parts, **DRAW))
    decision = desk.event(POSITIONS, -1, PositionSnapshot).decision
    assert decision is not None
    assert decision.terms == {}
    assert desk.verify().not_checked == []


def newest_losses(desk: Desk) -> dict[str, float]:
    name = BANDITS
    snapshots = [desk.any_event(name, at) for at in range(len(desk.topics[name]))]
    newest = [one for one in snapshots if isinstance(one, BanditSnapshot)][-1]
    return {arm.name: arm.state[0] for arm in newest.arms}


# One wrong thing.


def parted(rule: str) -> Desk:
    """Two decisions in two parts each, with costs, and one close that waits. Audit: 1 to 4 rewards, 3 and 4 of SELL."""
    desk = Desk(settings_of(**sections_of(rule)))
    parts: dict[str, Any] = {"price": 100.0, "quantity": 10.0, "order_quantity": 20.0, "fees": 0.3}
    desk.apply(fill("f1", "p1", **parts, **DRAW), close("c1", "p1", quantity=5.0, price=100.4, slippage=0.1))
    desk.apply(close("c2", "p1", quantity=5.0, price=99.8, fees=0.2))
    sold = {**DRAW, "arm": "boost", "side": "SELL", "propensity": 0.2, "weights_version": 2}
    desk.apply(fill("f1", "p2", **parts, **sold), fill("f2", "p2", **parts, **sold))
    in_price = {"slippage": 0.4, "slippage_in_price": True, "quantity": 10.0}
    desk.apply(close("c1", "p2", price=99.5, **in_price), close("c2", "p2", price=99.9, **in_price))
    desk.apply(close("c1", "p3", **in_price), fill("f1", "p4", **parts, **DRAW))
    return desk


def in_arm(at: int, index: int, **fields: Any) -> Callable[[Desk], None]:
    """Other fields of an arm in a reward."""

    def corrupt(desk: Desk) -> None:
        arms = list(desk.event(desk.names.rewards, at, Reward).arms)
        arms[index] = structs.replace(arms[index], **fields)
        desk.change(desk.names.rewards, at, arms=tuple(arms))

    return corrupt


def without_an_arm(desk: Desk) -> None:
    desk.change(desk.names.rewards, 0, arms=desk.event(desk.names.rewards, 0, Reward).arms[:1])


def in_state(by: float) -> Callable[[Desk], None]:
    """The rule's own number in the newest snapshot."""

    def corrupt(desk: Desk) -> None:
        name = BANDITS
        at = max(at for at in range(len(desk.topics[name])) if isinstance(desk.any_event(name, at), BanditSnapshot))
        (number,) = desk.event(name, at, BanditSnapshot).state
        desk.change(name, at, state=(number + by,))

    return corrupt


def in_terms(**terms: float) -> Callable[[Desk], None]:
    """What the first decision came to, as its position keeps it."""

    def corrupt(desk: Desk) -> None:
        name = POSITIONS
        of_p1 = [
            at for at in range(len(desk.topics[name])) if getattr(desk.any_event(name, at), "position_id", "") == "p1"
        ]
        decision = desk.event(name, of_p1[-1], PositionSnapshot).decision
        assert decision is not None
        assert decision.terms.keys() == {"ridge", "mlp"}
        desk.change(name, of_p1[-1], decision=structs.replace(decision, terms={**decision.terms, **terms}))

    return corrupt


def in_price(desk: Desk) -> None:
    """Of the close that waits, slippage that its price holds."""
    name = POSITIONS
    at = next(
        at for at in range(len(desk.topics[name])) if getattr(desk.any_event(name, at), "position_id", "") == "p3"
    )
    (waits,) = desk.event(name, at, PositionSnapshot).waiting
    desk.change(name, at, waiting=(structs.replace(waits, slippage_in_price=0.3),))


def in_signals(desk: Desk) -> None:
    name = POSITIONS
    at = max(at for at in range(len(desk.topics[name])) if getattr(desk.any_event(name, at), "position_id", "") == "p4")
    decision = desk.event(name, at, PositionSnapshot).decision
    assert decision is not None
    desk.change(name, at, decision=structs.replace(decision, signals={**VIEWS, "boost": "FLAT"}))


BOTH, EXP3IX = "tsallis both, adaptive", "exp3ix side"
WRONG: dict[str, tuple[str, Callable[[Desk], None], str]] = {
    "an arm that was seen is not there": (EXP3IX, without_an_arm, "arms"),
    "an arm that was not drawn has a share": (EXP3IX, in_arm(0, 1, share=1.0), "arm 'mlp'"),
    "the probability of seeing one": (EXP3IX, in_arm(0, 1, propensity=0.3), "arm 'mlp'"),
    "what was estimated of the mirror image": (BOTH, in_arm(2, 0, estimate=0.1), "arm 'ridge'"),
    "the sum of Q": (EXP3IX, in_state(1e-8), "state"),
    "S": (BOTH, in_state(1e-8), "state"),
    "a term of an open decision": ("tsallis side, adaptive", in_terms(mlp=0.1), "term of 'mlp'"),
    "a term of an arm that was not seen": ("tsallis side, adaptive", in_terms(boost=1e-3), "term of 'boost'"),
    "a slippage that the price of a waiting close holds": (BOTH, in_price, "slippage_in_price 0.3"),
    "a view": (BOTH, in_signals, "decision"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_thing_that_is_wrong_with_what_was_revealed_is_found(name: str) -> None:
    rule, corrupt, says = WRONG[name]
    assert parted(rule).verify().not_checked == []
    desk = parted(rule)
    corrupt(desk)
    with pytest.raises(Difference) as difference:
        desk.verify()
    assert says in str(difference.value)


# A law that processor and shadow both have wrong.


def without_the_mirrors_costs(_: Callable[..., float]) -> Callable[..., float]:
    return lambda reward_bps, _: -reward_bps


def by_the_propensity(_: Callable[..., list[float]]) -> Callable[..., list[float]]:
    return lambda _, probabilities: list(probabilities)


def without_the_price(segment_of: Callable[..., Any]) -> Callable[..., Any]:
    """Slippage in the price is no cost of the mirror image."""
    return lambda decision, side, fill, close, _, *given: segment_of(decision, side, fill, close, 0.0, *given)


def by_one_fourth(of_draw: Callable[..., float]) -> Callable[..., float]:
    return lambda *given: of_draw(*given) / 4


def forgotten(_: Callable[..., Any]) -> Callable[..., Any]:
    """A part does not know those before it."""
    return lambda *_: ()


def by_the_drawn(_: Callable[..., float]) -> Callable[..., float]:
    """Q is 1 / (p + implicit), the same in expectation."""
    return lambda learner, decision, seen: 1 / learner._below(decision.logged.propensity, seen.eta)


BROKEN: dict[str, tuple[str, Any, str, Callable[..., Any], str]] = {
    "the mirror image pays no costs": (
        "exp3ix both",
        decision_stage,
        "mirrored",
        without_the_mirrors_costs,
        "estimate",
    ),
    "an arm seen is divided by its own p": (EXP3IX, decision_stage, "observing", by_the_propensity, "propensity"),
    "slippage in the price is forgotten": ("exp3ix both", reward_stage, "segment_of", without_the_price, "estimate"),
    "S grows by less": (BOTH, observing_learners, "_of_draw", by_one_fourth, "state"),
    "terms are forgotten": (BOTH, bandit_stage, "terms_of", forgotten, "state"),
    "Q is the drawn arm's": (EXP3IX, ObservingExp3IX, "_of_one", by_the_drawn, "state"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_law_of_feedback_that_is_wrong_in_processor_and_shadow_alike_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, owner, attribute, breaks, says = BROKEN[name]
    monkeypatch.setattr(owner, attribute, breaks(getattr(owner, attribute)))
    with pytest.raises(Difference) as difference:
        parted(rule).verify()
    assert says in str(difference.value)
