"""The documented engine's loop: what a trade earned by hand, and what each attribution makes of it."""

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from armstream.learning import EnsembleWeightOptimizer, Exp3IXBandit, TradeResult, update_after_trade

SHARES = {"lightgbm": 0.5, "ridge": 0.3, "lstm": 0.2}
ATTRIBUTIONS = ("sequential", "simultaneous", "undivided")


def trade(**changed: Any) -> TradeResult:
    """150 to 150.50 is 50 / 150 * 100 = 33.3333 bps, less 1 and 5."""
    return TradeResult(
        **{
            "entry_price": 150.0,
            "exit_price": 150.5,
            "fees_bps": 1.0,
            "slippage_bps": 5.0,
            "model_contributions": SHARES,
            **changed,
        }
    )


def test_the_reward_by_hand() -> None:
    assert trade().reward_bps == pytest.approx(100 / 3 - 6, rel=1e-13)
    assert trade(side="SELL").reward_bps == pytest.approx(-100 / 3 - 6, rel=1e-13)
    assert TradeResult(200.0, 198.0, 0.0, 0.5, SHARES, "SELL").reward_bps == pytest.approx(99.5)


def test_a_trade_of_any_kind_of_number_may_end_worthless() -> None:
    """150 to 0 is -10000 bps, less 1 and 5."""
    worthless = trade(entry_price=Decimal(150), exit_price=0, fees_bps=np.float32(1), slippage_bps=5, side="buy")
    assert worthless.reward_bps == pytest.approx(-10_006)
    assert type(worthless.reward_bps) is float


def test_it_is_the_documented_loop() -> None:
    """For each model in turn: update with its share of the reward; three decisions are counted."""
    taught, looped = Exp3IXBandit(3, list(SHARES)), Exp3IXBandit(3, list(SHARES))
    update_after_trade(taught, trade())
    for arm, share in enumerate(SHARES.values()):
        looped.update(arm, share * (100 / 3 - 6))
    assert taught.get_weights() == pytest.approx(looped.get_weights(), rel=1e-12)
    assert taught.cumulative_rewards == pytest.approx(looped.cumulative_rewards, rel=1e-12)
    assert (taught.total_steps, taught.arm_pulls) == (3, [1, 1, 1])


def test_an_optimizer_is_taught_as_its_bandit_is() -> None:
    for attribution in ATTRIBUTIONS:
        optimizer = EnsembleWeightOptimizer(list(SHARES), [])
        bandit = Exp3IXBandit(3, list(SHARES))
        assert update_after_trade(optimizer, trade(), attribution) == update_after_trade(bandit, trade(), attribution)
        assert optimizer.bandit.state == bandit.state


@pytest.mark.parametrize(
    "wrong",
    [
        {"entry_price": 0.0},
        {"entry_price": -150.0},
        {"entry_price": math.nan},
        {"exit_price": math.inf},
        {"exit_price": None},
        {"entry_price": "150"},
        {"model_contributions": {"lightgbm": math.nan}},
        {"fees_bps": math.nan},
        {"slippage_bps": math.inf},
        {"side": "LONG"},
    ],
)
def test_a_trade_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        trade(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model_contributions": {"lightgbm": 0.5, "gru": 0.5}},
        {"model_contributions": {"lightgbm": 0.5, "ridge": -0.5}},
        {"model_contributions": {}},
        {"model_contributions": {"lightgbm": 0.0}},
        {"entry_price": 1e-9, "exit_price": 1e9},
    ],
)
def test_a_trade_that_teaches_nothing_legal_changes_nothing(wrong: dict[str, Any]) -> None:
    for attribution in ATTRIBUTIONS:
        bandit = Exp3IXBandit(3, list(SHARES))
        before = bandit.to_dict()
        with pytest.raises(ValueError, match=r"."):
            update_after_trade(bandit, trade(**wrong), attribution)
        assert bandit.to_dict() == before
