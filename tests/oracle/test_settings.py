"""The oracle's reading of the settings file is its own, and comes to what the processors learn by."""

from typing import Any

import pytest

from armstream.oracle.settings import difference, resolved, told
from tests.verify.desk import settings_of

SECTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"online_learning": {"gamma": 0.1}, "bandits": {"overrides": {"book": {"gamma": 0.2, "families": ["a", "b"]}}}},
    {"online_learning": {"estimator": "importance", "reward_bound_bps": "auto", "attribution": "simultaneous"}},
    {"online_learning": {"arm_mode": "family_horizon", "families": ["a", "b"], "horizons": ["5", "20"]}},
    {"online_learning": {"arm_mode": "horizon", "horizons": ["1d", "5d"], "eta": 0.1, "eta_auto": False}},
    {"online_learning": {"algorithm": "tsallis", "fixed_share": 0.01}},
    {
        "online_learning": {"feedback": "side"},
        "bandits": {"overrides": {"book": {"feedback": "drawn", "eta_auto": False, "eta": 0.2}}},
    },
    {"online_learning": {"algorithm": "tsallis", "feedback": "both", "eta_auto": "adaptive"}},
    {
        "online_learning": {
            **{"feedback": "both", "arm_mode": "family_horizon", "families": ["a", "b"], "horizons": ["5", "20"]},
        }
    },
    {"online_learning": {"algorithm": "exp4", "experts": {"base": {"ridge": 3.0, "mlp": 1.0}, "own": "exp3ix"}}},
    {"bandits": {"overrides": {"book": {"reward_bound_bps": 60, "transform": "tanh"}, "other": {"gamma": 0.5}}}},
)


@pytest.mark.parametrize("sections", SECTIONS)
def test_what_the_file_says_is_what_snapshots_tell(sections: dict[str, Any]) -> None:
    settings = settings_of(**sections)
    overrides = settings.bandits.own()
    for bandit_id in ("book", "other"):
        ours = resolved(settings.online_learning.model_dump(), overrides.get(bandit_id, {}))
        rules = settings.bandit_registry().of(bandit_id)
        assert rules is not None
        assert difference(told(rules.determining_json()), ours) == ("", "")


def test_the_bandits_own_setting_comes_first_and_the_default_last() -> None:
    """By hand: the file has gamma .1, the bandit .2; nobody sets eta_max."""
    file = {"algorithm": "exp3ix", "estimator": "implicit", "gamma": 0.1, "families": ("a", "b")}
    ours = resolved(file, {"gamma": 0.2})
    assert (ours["gamma"], ours["eta_max"], ours["arms"]) == (0.2, None, ("a", "b"))
    assert resolved(file, {})["gamma"] == 0.1
    assert difference(told('{"arms": ["a", "b"]}'), ours) == ("gamma 0.0", "0.2")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ('{"arms": ["a", "b"], "gama": 0.1}', "settings that no bandit has"),
        ("{}", "settings that no bandit has"),
        ("no JSON", "Expecting value"),
    ],
)
def test_settings_that_no_bandit_has_are_refused(wrong: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        told(wrong)
