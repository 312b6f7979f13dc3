"""What the stages get wrong, the shadow gets wrong with them: the oracle beside it finds that."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from armstream.learning import Exp3IXBandit, LearningSettings, TsallisBandit
from armstream.oracle.comparison import Difference
from armstream.stages import reward as reward_stage
from armstream.stages.facts import BanditRegistry
from armstream.stages.matching import close_fills
from tests.stages.events import close, fill
from tests.verify.desk import APART, Desk, settings_of

TSALLIS = {"online_learning": {"algorithm": "tsallis"}}


def traded_under(**sections: Any) -> Desk:
    desk = Desk(settings_of(**sections))
    desk.apply(fill("f1", propensity=0.4), close("c1", fees=0.5, quantity=60.0))
    desk.apply(fill("f1", "p2", arm="mlp", propensity=0.3), close("c1", "p2"), close("c2", price=149.0, quantity=40.0))
    return desk


def test_overrides_that_are_ignored_are_found_by_the_oracles_own_reading_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bandit's own gamma is .2; processor and shadow both take the 0 of all others."""

    def of(rules: BanditRegistry, _: str) -> LearningSettings:
        return rules.template

    monkeypatch.setattr(BanditRegistry, "of", of)
    desk = traded_under(bandits={"overrides": {"book": {"gamma": 0.2}}})
    with pytest.raises(Difference, match=r"settings with gamma 0\.0; from the log follows 0\.2, as the settings file"):
        desk.verify()


def twice_the_fees(segment_of: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*given: Any) -> Any:
        segment = segment_of(*given)
        return structs.replace(segment, reward_bps=segment.reward_bps - 1e-6)

    return wrong


def a_weight_off(segment_of: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*given: Any) -> Any:
        return structs.replace(segment_of(*given), weight=0.61)

    return wrong


def an_estimate_off(update: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*given: Any, **named: Any) -> Any:
        told = update(*given, **named)
        return told._replace(estimates=tuple(each * (1 + 1e-8) for each in told.estimates))

    return wrong


def a_weight_of_arms_off(read: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(learner: Any) -> Any:
        told = read(learner)
        return told._replace(weights=[told.weights[0] + 1e-8, told.weights[1] - 1e-8, *told.weights[2:]])

    return wrong


def a_state_off(update: Callable[..., Any]) -> Callable[..., Any]:
    """What is learned is not what the record says."""

    def wrong(learner: Any, arm: int, reward: float, *given: Any, **named: Any) -> Any:
        told = update(learner, arm, reward, *given, **named)
        update(learner, arm, reward, *given, **named)
        learner._total_steps -= 1
        return told

    return wrong


def swapped(matched: Callable[..., Any]) -> Callable[..., Any]:
    """Last in, first out."""

    def wrong(fills: Any, at: int, _: float, *given: Any) -> Any:
        return matched(tuple(reversed(fills)), at, fills[-1].quantity, *given)

    return wrong


BROKEN: dict[str, tuple[Any, str, Callable[..., Any], dict[str, Any], str]] = {
    "reward": (reward_stage, "segment_of", twice_the_fees, {}, "reward_bps"),
    "reward on two topics": (reward_stage, "segment_of", twice_the_fees, APART, "reward_bps"),
    "weight of a reward": (reward_stage, "segment_of", a_weight_off, {}, "weight"),
    "estimate": (Exp3IXBandit, "update", an_estimate_off, {}, "estimate"),
    "estimate of tsallis": (TsallisBandit, "update", an_estimate_off, TSALLIS, "estimate"),
    "weights": (Exp3IXBandit, "read", a_weight_of_arms_off, {}, "weight"),
    "weights of tsallis": (TsallisBandit, "read", a_weight_of_arms_off, TSALLIS, "weight"),
    "state": (Exp3IXBandit, "update", a_state_off, {}, ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_formula_that_is_wrong_in_processor_and_shadow_alike_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, attribute, breaks, sections, says = BROKEN[name]
    assert traded_under(**sections).verify().not_checked == []
    monkeypatch.setattr(owner, attribute, breaks(getattr(owner, attribute)))
    with pytest.raises(Difference) as difference:
        traded_under(**sections).verify()
    assert says in str(difference.value)


def test_last_in_first_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reward_stage, "close_fills", swapped(close_fills))
    desk = Desk()
    parts: dict[str, Any] = {"order_quantity": 3.0}
    desk.apply(fill("f1", quantity=1.0, **parts), fill("f2", quantity=2.0, price=151.0, **parts))
    desk.apply(close("c1", quantity=1.0))
    with pytest.raises(Difference, match=r"its events \('f2', 'c1'\); from the log follows \('f1', 'c1'\)"):
        desk.verify()
