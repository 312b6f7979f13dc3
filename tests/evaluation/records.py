"""Reward records as the tests of this folder write them: everything that does not matter has a value."""

from typing import Any

from armstream.events import Reward, RewardArm

ARMS = ("ridge", "mlp", "boost", "carry")


def reward_of(reward_bps: float, arm: str = "ridge", propensity: float | None = 0.25, **fields: Any) -> Reward:
    """A draw of one arm, realised whole."""
    given: dict[str, Any] = {
        **{"bandit_id": "book", "version": 1, "position_id": "p1", "fill_event_id": "f", "close_event_id": "c"},
        **{"quantity": 1.0, "weight": 1.0, "applied": True, "counted": True, "total_steps": 1, "ts_event": 0},
        **{"arms": (RewardArm(arm, 1.0, propensity, 1.0),), "propensity_source": "LOGGED", "eta": 0.1},
    }
    return Reward(**{**given, "reward_bps": reward_bps} | fields)
