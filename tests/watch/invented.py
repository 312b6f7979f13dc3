"""Invented facts in the words of the watch server, for the page's tests. Law: one seed, one desk, to the last digit."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

MICROS = 1_000_000
DAY = 86_400 * MICROS
NOW = 1_795_876_327_000_000  # 2026-11-28 14:32:07 UTC
ARMS = ("lightgbm", "xgboost", "ridge", "lstm", "carry", "transformer")
DESKS = ("us-equities", "eu-equities", "jp-equities", "us-futures", "fx-majors", "rates", "credit", "metals", "energy")
WARM_START = 100
POINTS = 120


def desk() -> list["Bandit"]:
    """Nine bandits; the sixth is warming, the seventh paused."""
    return [Bandit(name, 7 + index, index) for index, name in enumerate(DESKS)]


def thousand() -> list[dict[str, Any]]:
    """A row for each of a thousand bandits, of twenty kinds."""
    kinds = [Bandit("", 7 + index, index).row() for index in range(20)]
    return [{**kinds[index % 20], "bandit_id": f"desk-{index:04d}"} for index in range(1000)]


def gain(per_trade_bps: float, error_bps: float, trades: int = 1000) -> dict[str, Any]:
    """An interval a trade, as a row has it."""
    return {
        "trades": trades,
        "per_trade_bps": per_trade_bps,
        "cumulative_bps": per_trade_bps * trades,
        "low_bps": (per_trade_bps - error_bps) * trades,
        "high_bps": (per_trade_bps + error_bps) * trades,
        "per_trade_error_bps": error_bps,
        "effective_sample": trades / 2,
    }


class Bandit:
    """One bandit with a history; all of it follows from its seed."""

    def __init__(
        self, bandit_id: str, seed: int = 7, index: int = 0, arms: Sequence[str] = ARMS, **changes: Any
    ) -> None:
        self.bandit_id = bandit_id
        self.index = index
        self.changes = changes  # what its row says otherwise
        self.arms = tuple(arms)
        random = np.random.default_rng(seed)
        drift = random.normal(0, 0.02, len(arms)) + np.array([0.03 if arm == "ridge" else 0.0 for arm in arms])
        walks = np.cumsum(random.normal(0, 0.16, (POINTS, len(arms))) + drift, axis=0)
        shares = np.exp(walks - walks.max(axis=1, keepdims=True))
        self.weights = shares / shares.sum(axis=1, keepdims=True)
        self.ts = [NOW - (POINTS - at) * DAY // 4 for at in range(POINTS)]
        self.warming = index % 9 == 5
        self.trades = 63 if self.warming else max(900, 41_210 - 1_730 * (index % 20))
        per_trade = (0.62, 0.31, -0.05, 1.12, 0.08, 0.4, -0.7)[index % 7]
        gained = np.cumsum(random.normal(0, 120, POINTS)) + np.linspace(0, per_trade * self.trades, POINTS)
        self.above = gained - gained[0]
        self.error = 1.96 * 14.5 * math.sqrt(self.trades) * np.sqrt(np.linspace(0, 1, POINTS))
        self.rewards_bps = random.normal(0.6, 24, 50)
        self.by_arm = np.cumsum(random.normal(0.1, 1, (len(arms), POINTS)), axis=1) * self.trades / 40

    def row(self, version: int = 48_213, ts: int = NOW - MICROS) -> dict[str, Any]:
        weights = [round(float(weight), 6) for weight in self.weights[-1]]
        points = slice(POINTS // 2, None)
        return {
            "bandit_id": self.bandit_id,
            "rule": ("exp3ix", "tracking", "tsallis")[self.index % 3],
            "estimator": ("implicit", "importance", "reduced_variance")[self.index % 3],
            "phase": "WARMING" if self.warming else "LIVE",
            "paused": self.index % 9 == 6,
            "arms": list(self.arms),
            "weights": weights,
            "probabilities": [0.9 * weight + 0.1 / len(weights) for weight in weights],
            "effective_models": 1 / sum(weight**2 for weight in weights),
            "steps": self.trades,
            "warm_start_steps": WARM_START,
            "blend_alpha": 0.0 if self.warming else 0.8,
            "bound_bps": None if self.warming else 60.0,
            "clipped_share": None if self.warming else (0.031, 0.012, 0.24)[self.index % 3],
            "day": _part(self.trades // 100, 1.2 - self.index % 4),
            "ever": _part(self.trades, 0.8 - self.index % 3 * 0.5),
            "closes": {"learned": self.trades, "withheld": {"warming up": 80}},
            "above_uniform": None if self.warming else self.interval(1.0),
            "above_base": None if self.warming else self.interval(0.6),
            "spark": {
                "ts": self.ts[points],
                "weights": [
                    [round(float(weight), 4) for weight in self.weights[points, arm]] for arm in range(len(weights))
                ],
            },
            "last_change": {
                "ts": ts,
                "kind": "close",
                "text": "ridge 28 → 29 % after ridge lost 1,033.9 bps, clipped to 60",
                "version": version,
                "move": "ridge 28 → 29 %",
                "cause": "ridge lost 1,033.9 bps",
                "clipped_to_bps": 60.0,
            },
            "version": version,
            "ts": ts,
            **self.changes,
        }

    def interval(self, part: float) -> dict[str, Any]:
        return gain(float(self.above[-1]) * part / self.trades, float(self.error[-1]) / self.trades, self.trades)

    def whole(self) -> dict[str, Any]:
        """What `GET /bandit` answers."""
        low, high = self.above - self.error, self.above + self.error
        return {
            "row": self.row(),
            "weights": {
                "ts": self.ts,
                "version": list(range(POINTS)),
                "series": [_curve(self.weights[:, arm]) for arm in range(len(self.arms))],
                "arms": list(self.arms),
            },
            "marks": [
                {"ts": self.ts[46], "kind": "command", "text": "transformer added by an operator"},
                {"ts": self.ts[83], "kind": "command", "text": "bound set to 60 bps"},
                {"ts": self.ts[100], "kind": "settings", "text": "windows and limits changed"},
            ],
            "reward": {
                "ts": self.ts,
                "cumulative_bps": _curve(self.above * 1.4),
                "by_arm": {"names": list(self.arms), "series": [_curve(line) for line in self.by_arm]},
                "above_uniform": {"bps": _curve(self.above), "low": _curve(low), "high": _curve(high)},
                "above_base": {"bps": _curve(self.above * 0.6), "low": _curve(low * 0.6), "high": _curve(high * 0.6)},
                "regret_bps": _curve(np.sqrt(np.arange(POINTS)) * 180),
            },
            "arms": [
                {
                    "name": arm,
                    "weight": float(self.weights[-1, index]),
                    "probability": 0.9 * float(self.weights[-1, index]) + 0.1 / len(self.arms),
                    "pulls": self.trades // (index + 3),
                    "mean_bps": (0.41, -1.2, 1.93, 0.22, 0.87, 1.1)[index % 6],
                    "error_bps": (0.4, 0.5, 0.3, 0.6, 0.4, 0.9)[index % 6],
                    "effective_sample": self.trades / (index + 6),
                }
                for index, arm in enumerate(self.arms)
            ],
            "experts": [],
            "regret": {"arm": "ridge", "per_trade_bps": 3.4, "per_trade_low_bps": 1.2},
            "not_estimated": {"no propensity was logged": 12},
            "rewards": [self.reward(48_213 - at, at) for at in range(50)],
        }

    def reward(self, version: int, at: int) -> dict[str, Any]:
        arm = (2, 3, 0, 4, 5, 1)[at % 6] % len(self.arms)
        applied = at != 4
        move = 0.004 * (1 if self.rewards_bps[at] > 0 else -1)
        return {
            "version": version,
            "ts": NOW - at * 11 * MICROS,
            "position_id": f"pos-{version}",
            "fill_event_id": f"fill-{version}",
            "close_event_id": f"close-{version}",
            "quantity": 400.0,
            "reward_bps": round(float(self.rewards_bps[at]), 4),
            "applied": applied,
            "counted": True,
            "detail": "" if applied else "the bandit is paused",
            "weight": 1.0,
            "arms": [
                {
                    "name": self.arms[arm],
                    "share": 1.0,
                    "propensity": 0.31 if applied else None,
                    "estimate": 0.641 if applied else None,
                }
            ],
            "propensity_source": "LOGGED" if applied else None,
            "eta": 0.0123 if applied else None,
            "published_version": 48_213 - at // 3 * 3,  # three rewards a commit
            "moved": [
                {"name": self.arms[arm], "before": 0.42, "after": 0.42 + move},
                {"name": self.arms[0 if arm else 1], "before": 0.2, "after": 0.2 - move},
            ]
            if applied
            else [],
        }


def _part(count: int, mean: float) -> dict[str, Any]:
    return {"count": count, "mean_bps": mean, "sum_bps": mean * count}


def _curve(values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]


def explained(bandit_id: str, version: int) -> dict[str, Any]:
    """What `GET /explain` answers: one losing trade, with the formula of Exp3-IX and its numbers."""
    return {
        "bandit_id": bandit_id,
        "version": version,
        "rule": "exp3ix",
        "estimator": "implicit",
        "result": "agrees",
        "text": "The oracle derives the same weights from the log.",
        "state_from": "the snapshot before it",
        "published_ts": NOW,
        "ts": NOW,
        "before": None,
        "after": None,
        "arms": [],
        "experts": [],
        "notes": ["The state before it was had from the log's first record on."],
        "parts": [
            {
                "kind": "reward",
                "version": version,
                "ts": NOW,
                "text": "SELL 400 AAPL lost 33.9 bps net; ridge was drawn with probability .31.",
                "quantity": 400.0,
                "weight": 1.0,
                "reward_bps": -33.9123,
                "gross_bps": -32.02,
                "fill_fees_bps": -0.6,
                "close_fees_bps": -0.6,
                "slippage_bps": -0.69,
                "fill": {"event_id": "f", "ts": NOW - 900 * MICROS, "instrument_id": "AAPL", "side": "SELL",
                         "quantity": 400.0, "price": 231.1, "currency": "USD"},
                "close": {"event_id": "c", "ts": NOW, "quantity": 400.0, "price": 231.84},
                "steps": [
                    {"name": "loss", "formula": "1/2 - r / (2 B)", "numbers": "1/2 - (-33.9) / (2 · 60)",
                     "value": 0.7826, "unit": ""},
                    {"name": "estimate", "formula": "loss / (p + g)", "numbers": ".7826 / (.31 + .0062)",
                     "value": 2.4752, "unit": ""},
                ],
                "moved": [],
                "missing": None,
            }
        ],
    }  # fmt: skip


def pulse(now: int = NOW, state: str = "live", text: str = "", **changes: Any) -> dict[str, Any]:
    return {
        "now": now,
        "state": state,
        "text": text,
        "progress": None,
        "last_record_ts": now - 400_000,
        "events_per_second": 203.4,
        "commits_per_second": 41.2,
        "lag_records": 12,
        "dead_letters_today": 3,
        "alerts_looked_ts": now - 2 * MICROS,
        **changes,
    }


def operate(alerts: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    owners = [{"client_id": f"armstream-{name}", "host": "10.0.0.7"} for name in ("a", "b")]
    return {
        "partitions": [
            {"topic": topic, "partition": number, "lag_records": 3 * number, "lag_seconds": 0.4 * number,
             "committed": 182_411 + number, "end": 182_411 + 4 * number, "owner": owners[number % 2]}
            for topic in ("trades", "commands") for number in range(4)
        ],
        "members": [
            {**owner, "version": "0.1.0", "partitions": [f"trades:{index}", f"trades:{index + 2}"]}
            for index, owner in enumerate(owners)
        ],
        "group_state": "STABLE",
        "tasks": [{"task": task, "version": "0.1.0", "snapshot_ts": NOW - task * MICROS} for task in range(4)],
        "processors": [
            {"url": f"http://10.0.0.{7 + index}:9100/metrics", "ready": True, "events_per_second": 101.7,
             "commits_per_second": 20.6, "commit_p50_ms": 11.4, "commit_p99_ms": 31.0, "restore_remaining_records": 0,
             "failed_transactions": index, "uptime_seconds": 86_400.0 * 3, "error": None}
            for index in range(2)
        ],
        "dead_letters": {
            "by_class": {"LATE": 2, "ORPHAN_CLOSE": 1},
            "today": 3,
            "last": [
                {"ts": NOW - at * 700 * MICROS, "class": ("LATE", "ORPHAN_CLOSE", "LATE")[at],
                 "error": "the fill is 2 days behind its bandit's newest fill; dedupe_window is 1 day",
                 "topic": "trades", "partition": 1, "offset": 181_000 + at, "key": "us-equities",
                 "headers": [["source", "oms-2"]], "value": '{"event_id": "e-17", "quantity": 100}',
                 "event_id": "e-17", "bandit_id": "us-equities", "remedy": "Look at the sender's clock."}
                for at in range(3)
            ],
        },
        "alerts": list(alerts),
        "rules": [
            {"name": name, "severity": "red", "looks_for": "nothing is committed", "is_watched": bool(is_watched)}
            for name, is_watched in (("ArmstreamNoCommit", 1), ("ArmstreamDown", 1), ("ArmstreamTargetDown", 0))
        ],
    }  # fmt: skip
