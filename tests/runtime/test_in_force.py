"""The settings that the audit log must know are written in one way only, so that a change of one shows as text."""

from armstream.runtime.in_force import settings_in_force
from armstream.settings import Settings


def test_they_are_all_there_in_microseconds_and_in_one_order() -> None:
    """Worked out by hand from the defaults: a day, an hour, 400 days, five minutes."""
    assert settings_in_force(Settings()) == (
        '{"dedupe_window_micros": 86400000000, "enabled": true, "max_arms": 64, "max_bandits": 10000, '
        '"max_cost_ratio": 10.0, "max_events_per_position": 10000, "max_experts": 32, "max_future_micros": 300000000, '
        '"max_holding_micros": 34560000000000, "max_open_positions": 200000, "max_positions_remembered": 2000000, '
        '"max_record_bytes": 1048576, "max_waiting_closes": 50000, "orphan_ttl_micros": 3600000000, '
        '"trades_share_topic": true}'
    )


def test_what_only_a_learner_or_kafka_obeys_makes_no_difference() -> None:
    changed = {
        "online_learning": {"gamma": 0.1, "warm_start_steps": 7},
        "limits": {"batch_records": 5},
        "kafka": {"group_id": "other"},
    }
    assert settings_in_force(Settings.model_validate(changed)) == settings_in_force(Settings())
    off = Settings.model_validate({"online_learning": {"enabled": False}})
    assert settings_in_force(off) == settings_in_force(Settings()).replace('"enabled": true', '"enabled": false')
    apart = Settings.model_validate({"topics": {"trades": ["fills", "closes"]}})
    assert settings_in_force(apart) == settings_in_force(Settings()).replace(
        '"trades_share_topic": true', '"trades_share_topic": false'
    )
