"""A bandit's settings, from the settings file and from what snapshots tell, by code of this room alone.

Law: a setting of the bandit's own comes before that of all bandits, and that before the default; the defaults are
stated here, and stay for life. Only what decides learned numbers is looked at.
"""

import json
from collections.abc import Mapping
from typing import Any

from armstream.oracle.formula import Settings

DEFAULTS: Settings = {
    "algorithm": "exp3ix",
    "estimator": "implicit",
    "gamma": 0.0,
    "eta": None,
    "eta_max": None,
    "implicit": None,
    "reward_bound_bps": 100.0,
    "transform": "none",
    "transform_bps": None,
    "min_weight": 1e-10,
    "fixed_share": 0.0,
    "attribution": "undivided",
    "expected_decisions": 10_000,
    "experts": (),
    "feedback": "drawn",
    "eta_auto": "anytime",
    "arm_mode": "family",  # says what a draw reveals, and so nothing where it reveals the drawn arm alone
}

RENAMED = {"horizon": "expected_decisions", "full_information": "undivided"}  # names and values of older snapshots


def told(determining_json: str) -> Settings:
    """The settings in a snapshot, which leaves out what is a default. Raises ValueError."""
    stated = json.loads(determining_json)
    chosen = dict(_renamed(*one) for one in stated.items()) if isinstance(stated, dict) else {}
    if "arms" not in chosen or chosen.keys() - {*DEFAULTS, "arms"}:
        raise ValueError(f"settings that no bandit has: {determining_json[:200]}")
    return _plain({**DEFAULTS, **chosen})


def _renamed(name: str, value: Any) -> tuple[str, Any]:
    """By today's names."""
    return RENAMED.get(name, name), RENAMED.get(value, value) if isinstance(value, str) else value


def resolved(online_learning: Mapping[str, Any], override: Mapping[str, Any]) -> Settings:
    """The settings of one bandit: the file's online_learning (validated), and its own part of bandits.overrides."""
    merged = {**online_learning, **override}
    families, horizons = [list(map(str, merged.get(name) or ())) for name in ("families", "horizons")]
    arms = {
        "family": families,
        "horizon": horizons,
        "family_horizon": [f"{family}:{horizon}" for family in families for horizon in horizons],
    }[merged.get("arm_mode", "family")]
    chosen = {name: merged[name] for name in DEFAULTS if name in merged}
    clips_nothing = (chosen["algorithm"], chosen["estimator"]) == ("exp3ix", "importance")
    if clips_nothing and chosen["reward_bound_bps"] == "auto":  # there is no bound to find
        chosen["reward_bound_bps"] = 100.0
    if chosen.get("eta_auto") != "adaptive":  # whether a rate is given, eta says
        chosen["eta_auto"] = "anytime"
    if chosen.get("feedback", "drawn") == "drawn":
        chosen["arm_mode"] = "family"
    if isinstance(chosen.get("experts"), Mapping):
        chosen["experts"] = list(chosen["experts"].items())
    return _plain({**DEFAULTS, **chosen, "arms": arms})


def difference(theirs: Settings, ours: Settings) -> tuple[str, str]:
    """The first setting that differs, as both have it; two empty texts where none does."""
    for name in ("arms", *DEFAULTS):
        if theirs[name] != ours[name]:
            return f"{name} {theirs[name]!r}", repr(ours[name])
    return "", ""


def _plain(settings: Mapping[str, Any]) -> Settings:
    """Lists as tuples, so that what is alike is equal."""
    experts = tuple(
        (str(name), dict(kind) if isinstance(kind, Mapping) else kind) for name, kind in settings["experts"]
    )
    return {**settings, "arms": tuple(settings["arms"]), "experts": experts}
