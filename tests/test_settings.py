"""Settings: layers, errors that name path and source, and secrets that stay secret."""

import json
import socket
import traceback
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from armstream.kafka_settings import KafkaSettings
from armstream.resources import resource
from armstream.rules import new_learner
from armstream.settings import MOST_ERRORS, Settings, SettingsError, load, rows


def file_with(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def errors_of(text: str, folder: Path, environment: dict[str, str] | None = None) -> list[str]:
    """The lines of the SettingsError; the file's path is shown as FILE."""
    path = file_with(folder, text)
    with pytest.raises(SettingsError) as caught:
        load(path, environment or {})
    assert str(caught.value) == "\n".join(caught.value.lines)
    return [line.replace(str(path), "FILE") for line in caught.value.lines]


def flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    """{"a": {"b": 1}} is {"a.b": 1}; an empty mapping is a value."""
    found: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def test_the_shipped_file_holds_every_setting_with_its_default() -> None:
    shipped = flat(yaml.safe_load(resource("config", "default.yaml").read_text()))
    assert shipped == {row.path: row.default for row in rows()}
    assert list(shipped) == [row.path for row in rows()], "in another order"


def test_every_line_of_a_setting_in_the_shipped_file_can_be_read_alone() -> None:
    """Each row's default is legal by itself over an empty file, so the table and the models agree on types."""
    for row in rows():
        values: object = row.default
        for name in reversed(row.path.split(".")):
            values = {name: values}
        Settings.model_validate(json.loads(json.dumps(values)))


def test_rows_describe_type_and_bounds() -> None:
    types = {row.path: row.type for row in rows()}
    assert types["kafka.transaction_timeout_ms"] == "integer, 60000 to 900000"
    assert types["online_learning.eta"] == "number, above 0 to 1000000 or null"
    assert types["online_learning.transform"] == "none, clip, tanh"
    assert types["online_learning.families"] == "list"
    assert types["online_learning.enabled"] == "true, false"
    assert types["kafka.client"] == "mapping"


def test_a_limit_has_an_upper_bound_and_is_positive() -> None:
    for row in rows():
        if row.path.startswith(("limits.", "rewards.")):
            low, high = row.type.removeprefix("integer, ").removeprefix("number, above ").split(" to ")
            assert int(low) >= 1 or row.type.startswith("number, above 0"), row
            assert int(low) < int(high), row


def test_the_shipped_rule_is_neus() -> None:
    rules = load(None, {}).online_learning.for_learner()
    assert (rules.estimator, rules.gamma, rules.eta, rules.eta_max) == ("implicit", 0.0, None, None)
    assert rules.attribution == "undivided"
    assert rules.reward_bound_bps == "auto"


def test_settings_that_a_snapshot_left_out_were_a_bound_of_100() -> None:
    rules = load(None, {}).online_learning.for_learner()
    assert rules.difference('{"arms": ["lightgbm", "xgboost", "ridge", "lstm"]}') == (
        "reward_bound_bps was 100.0 and is 'auto'"
    )


def test_a_rule_that_clips_nothing_looks_for_no_bound(tmp_path: Path) -> None:
    rules = load(file_with(tmp_path, "online_learning: {estimator: importance}"), {}).online_learning.for_learner()
    assert rules.reward_bound_bps == 100.0
    text = "online_learning: {estimator: importance, algorithm: exp4, gamma: 0.1, experts: {uniform: uniform}}"
    assert load(file_with(tmp_path, text), {}).online_learning.for_learner().reward_bound_bps == "auto"


def test_the_documented_file_is_the_documented_rule() -> None:
    rules = load(resource("config", "documented.yaml"), {}).online_learning.for_learner()
    assert (rules.estimator, rules.gamma, rules.eta, rules.eta_max) == ("importance", 0.05, None, 0.07)
    assert rules.attribution == "simultaneous"


def test_the_tracking_file_is_the_shipped_rule_at_a_constant_rate_with_a_fixed_share() -> None:
    rules = load(resource("config", "tracking.yaml"), {}).online_learning.for_learner()
    assert (rules.estimator, rules.eta, rules.fixed_share) == ("implicit", 0.05, 0.0005)
    assert replace(rules, eta=None, fixed_share=0.0) == load(None, {}).online_learning.for_learner()
    new_learner(rules)


def test_the_tracking_file_of_tsallis_is_its_rule_at_a_constant_rate_with_a_fixed_share() -> None:
    rules = load(resource("config", "tracking-tsallis.yaml"), {}).online_learning.for_learner()
    assert (rules.eta, rules.fixed_share) == (0.1, 0.0005)
    plain = load(resource("config", "tsallis.yaml"), {}).online_learning.for_learner()
    assert replace(rules, eta=None, fixed_share=0.0) == plain
    assert new_learner(rules).read().eta == 0.1


def test_the_file_lies_over_the_defaults_the_environment_over_it_and_the_command_line_over_both(tmp_path: Path) -> None:
    path = file_with(tmp_path, "instance: file\nkafka: {group_id: file}\nlimits: {arms: 7}\n")
    environment = {"ARMSTREAM__KAFKA__GROUP_ID": "environment", "ARMSTREAM__INSTANCE": "environment"}
    settings = load(path, environment, {"instance": "line"})
    assert (settings.instance, settings.kafka.group_id, settings.limits.arms) == ("line", "environment", 7)
    assert settings.limits.bandits == 10_000


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("ONLINE_LEARNING__GAMMA", "0.25", "online_learning.gamma", 0.25),
        ("ONLINE_LEARNING__MIN_WEIGHT", "1e-6", "online_learning.min_weight", 1e-6),
        ("ONLINE_LEARNING__FAMILIES", "[a, b, 3]", "online_learning.families", ("a", "b", "3")),
        ("ONLINE_LEARNING__ETA_MAX", "", "online_learning.eta_max", None),
        ("ONLINE_LEARNING__TRANSFORM", "none", "online_learning.transform", "none"),
        ("ONLINE_LEARNING__ENABLED", "false", "online_learning.enabled", False),
        ("TOPICS__TRADES", "[fills, closes]", "topics.trades", ("fills", "closes")),
        ("TOPICS__TRADES", "orders", "topics.trades", ("orders",)),
        ("KAFKA__GROUP_ID", "007", "kafka.group_id", "007"),
        ("INSTANCE", "0", "instance", "0"),
        ("KAFKA__CLIENT__SASL_PASSWORD", "0123", "kafka.client", {"sasl.password": "0123"}),
        ("KAFKA__CLIENT", "{a.b: 1, c: true}", "kafka.client", {"a.b": "1", "c": "true"}),
    ],
)
def test_a_variable_is_text_where_the_setting_is_and_yaml_elsewhere(
    variable: str, text: str, path: str, value: object
) -> None:
    found: object = load(None, {f"ARMSTREAM__{variable}": text})
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


AS_WRITTEN = [
    "007",
    "1e-3",
    "12:30:45",
    "000660",
    "yes",
    "no",
    "on",
    "~",
    "null",
    "2024-01-01",
    "0x10",
    "1_000",
    "9" * 50,
]


def test_what_is_text_stays_as_it_was_written(tmp_path: Path) -> None:
    text = f"""
kafka: {{client: {{sasl.password: 007, sasl.username: ~}}}}
topics: {{prefix: 1e-3, trades: [000660, 0x10], commands: 2024-01-01}}
online_learning: {{algorithm: exp4, families: [{", ".join(AS_WRITTEN)}], experts: {{010: engine, no: {{1_000: 1e-3}}}}}}
bandits: {{overrides: {{{", ".join(f"{name}: {{gamma: 0.1, families: [1, 01, 1_000]}}" for name in AS_WRITTEN)}}}}}
"""
    settings = load(file_with(tmp_path, text), {})
    assert settings.kafka.client == {"sasl.password": "007", "sasl.username": "~"}
    assert settings.topics.names.inputs == ("1e-3000660", "1e-30x10", "1e-32024-01-01")
    assert settings.online_learning.families == tuple(AS_WRITTEN)
    assert settings.online_learning.experts == {"010": "engine", "no": {"1_000": 0.001}}
    assert settings.bandits.own() == {name: {"gamma": 0.1, "families": ("1", "01", "1_000")} for name in AS_WRITTEN}


@pytest.mark.parametrize("text", AS_WRITTEN)
def test_what_is_text_stays_as_it_was_written_in_the_environment(text: str) -> None:
    environment = {
        "ARMSTREAM__ONLINE_LEARNING__FAMILIES": f"[{text}, a]",
        f"ARMSTREAM__BANDITS__OVERRIDES__{text}__GAMMA": "0.1",
        "ARMSTREAM__KAFKA__CLIENT__SASL_PASSWORD": text,
        "ARMSTREAM__KAFKA__BOOTSTRAP_SERVERS": text,
        "ARMSTREAM__METRICS__HOST": text,
    }
    settings = load(None, environment)
    assert settings.online_learning.families == (text, "a")
    assert settings.bandits.own() == {text: {"gamma": 0.1}}
    assert settings.kafka.client == {"sasl.password": text}
    assert (settings.kafka.bootstrap_servers, settings.metrics.host) == (text, text)


def test_numbers_truths_and_null_are_what_they_were(tmp_path: Path) -> None:
    text = (
        "{limits: {arms: 0x10, bandits: 1_000}, online_learning: {enabled: off, gamma: 1, eta_max: 1e-3, implicit: ~}}"
    )
    settings = load(file_with(tmp_path, text), {})
    learning = settings.online_learning
    assert (settings.limits.arms, settings.limits.bandits) == (16, 1000)
    assert (learning.enabled, learning.gamma, learning.eta_max, learning.implicit) == (False, 1.0, 0.001, None)


@pytest.mark.parametrize("text", ["'5'", "010", "12:30", "5.0", "yes", "2024-01-01", "[5]", "{5: 5}", "9" * 5_000, ""])
def test_what_is_no_number_is_refused_where_a_number_is_wanted(text: str, tmp_path: Path) -> None:
    (line,) = errors_of(f"limits: {{arms: {text}}}", tmp_path)
    assert line.startswith("limits.arms: must be a valid integer")
    assert len(line) < 100


def test_only_variables_with_the_prefix_are_read() -> None:
    environment = {"KAFKA_BOOTSTRAP_SERVERS": "elsewhere:1", "ARMSTREAM_KAFKA__GROUP_ID": "x"}
    settings = load(None, environment)
    assert (settings.kafka.bootstrap_servers, settings.kafka.group_id) == ("localhost:9092", "armstream")


def test_all_errors_come_at_once_each_with_path_reason_and_source(tmp_path: Path) -> None:
    text = """
online_learning: {gamma: 1.5, gama: 0.1, families: [a, a]}
limits: {arms: many}
kafka: {transaction_timeout_ms: 59999}
tint: red
"""
    environment = {"ARMSTREAM__METRICS__PORT": "true", "ARMSTREAM__TOPICS__PREFIX": "a b"}
    assert sorted(errors_of(text, tmp_path, environment)) == [
        "kafka.transaction_timeout_ms: must be greater than or equal to 60000, not '59999' (FILE)",
        "limits.arms: must be a valid integer (FILE)",
        "metrics.port: must be a valid integer (environment variable ARMSTREAM__METRICS__PORT)",
        "online_learning.gama: no such setting, online_learning.gamma is meant (FILE)",
        "online_learning.gamma: must be less than or equal to 1, not '1.5' (FILE)",
        "tint: no such setting (FILE)",
        "topics.prefix: must match pattern '^[a-zA-Z0-9._-]*$' (environment variable ARMSTREAM__TOPICS__PREFIX)",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [", "FILE: is not YAML that can be read: expected the node content, but found, line 1, column 5"),
        ("- a", "FILE: must hold settings, one `name: value` a line"),
        ("log: {level: INFO, level: INFO}", "a name is given twice, line 1, column 20"),
        ("1: a", "1: no such setting (FILE)"),
        ("[1]: a", "a name must be text, line 1, column 1"),
        ("log: loud", "log: must be a section, `name: value` lines (FILE)"),
        ("limits: {arms: 5.5}", "limits.arms: must be a valid integer, not '5.5' (FILE)"),
        ("limits: {arms: 3}", "online_learning.arm_mode: gives 4 arms, above limits.arms, 3 (default)"),
        ("online_learning: {gamma: .nan}", "online_learning.gamma: must be a finite number, not 'nan' (FILE)"),
        (
            "online_learning: {algorithm: exp4}",
            "online_learning.experts: must name one or more where algorithm is exp4: {bandit: exp3ix}",
        ),
        (
            "online_learning: {experts: {a: engine}}",
            "online_learning.experts: is not for exp3ix, but for exp4: leave it out",
        ),
        (
            "online_learning: {expected_decisions: 500}",
            "online_learning.expected_decisions: is not for exp3ix, but for exp4: leave it out",
        ),
        (
            "online_learning: {algorithm: exp4, experts: {a: engine}, fixed_share: 0.1}",
            "online_learning.fixed_share: is not for exp4, but for exp3ix, tsallis: leave it out",
        ),
        (
            "online_learning: {algorithm: exp4, experts: {a: engine}, estimator: importance}",
            "online_learning.gamma: must be above 0 where exp4's estimator is importance",
        ),
        (
            "online_learning: {algorithm: exp4, experts: {a: {lstm: 0.5, mlp: 0.5}}}",
            "online_learning: base weights name unknown arms ['mlp']; the arms are lightgbm, xgboost, ridge, lstm",
        ),
        (
            "{online_learning: {algorithm: exp4, experts: {a: engine, b: uniform}}, limits: {experts: 1}}",
            "online_learning.experts: names 2 experts, above limits.experts, 1",
        ),
        ("online_learning: {attribution: sequential}", "contributions are a map, which has no order"),
        ("online_learning: {eta_auto: false}", "online_learning.eta: must be given where eta_auto is false"),
        ("online_learning: {eta: 0.05}", "online_learning.eta: is computed where eta_auto is true"),
        (
            "online_learning: {algorithm: tsallis, eta_auto: adaptive, eta: 0.05}",
            "online_learning.eta: is computed where eta_auto is adaptive",
        ),
        ("online_learning: {eta_auto: adaptive}", "online_learning.eta_auto: is not for exp3ix, but for tsallis"),
        (
            "online_learning: {feedback: side, estimator: importance}",
            "online_learning.feedback: must be drawn where estimator is importance",
        ),
        (
            "online_learning: {algorithm: exp4, experts: {desk: engine, flat: uniform}, feedback: both}",
            "online_learning.feedback: is not for exp4, but for exp3ix, tsallis",
        ),
        (
            "online_learning: {feedback: both, arm_mode: horizon, horizons: [1, 5]}",
            "online_learning.feedback: must be drawn where arm_mode is horizon",
        ),
        (
            "online_learning: {feedback: side, attribution: simultaneous}",
            "online_learning.attribution: must be undivided where feedback is side",
        ),
        ("online_learning: {eta: 0, eta_auto: false}", "online_learning.eta: must be greater than 0, not '0' (FILE)"),
        ("online_learning: {blend_alpha: 1.1}", "online_learning.blend_alpha: must be less than or equal to 1"),
        ("online_learning: {warm_start_steps: -1}", "warm_start_steps: must be greater than or equal to 0"),
        ("online_learning: {families: [a]}", "online_learning.families: must give at least two arms, a is one"),
        ("online_learning: {families: [a, b, a]}", "online_learning.families: must differ from each other: a, b, a"),
        ("online_learning: {arm_mode: horizon}", "online_learning.horizons: must name at least one where arm_mode is"),
        (
            "online_learning: {arm_mode: family_horizon, horizons: ['1:2']}",
            "online_learning.horizons: must hold no colon, which parts the family from the horizon",
        ),
        ("topics: {trades: [a, b, c]}", "topics.trades: must have at most 2 items"),
        ("topics: {trades: [a, a]}", "topics.trades: 'a' is the name of two topics"),
        ("topics: {weights: rewards}", "topics.rewards: 'rewards' is the name of two topics"),
        (
            "topics: {snapshots: bandit-snapshots}",
            "topics.bandit_snapshots: 'bandit-snapshots' is the name of two topics",
        ),
        ("topics: {weights: 'a/b'}", "topics.weights: must match pattern"),
        (f"topics: {{prefix: p, weights: {'x' * 249}}}", "is not a legal topic name (FILE)"),
        ("topics: {retention_ms: 0}", "topics.retention_ms: must be above 0, or -1 for ever (FILE)"),
        ("topics: {partitions: 0}", "topics.partitions: must be greater than or equal to 1, not '0' (FILE)"),
        (
            "kafka: {session_timeout_ms: 20000, max_poll_interval_ms: 10000}",
            "must be at least session_timeout_ms, 20000",
        ),
        (
            "rewards: {max_holding_days: 1, dedupe_window_seconds: 86401}",
            "must be at least dedupe_window_seconds, 86401",
        ),
        ("kafka: {client: {a: [1]}}", "kafka.client.a: must be a valid string (FILE)"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(text: str, line: str, tmp_path: Path) -> None:
    (found,) = errors_of(text, tmp_path)
    assert line in found


@pytest.mark.parametrize(
    ("bandit_id", "is_one"),
    [("a" * 200, True), ("é" * 100, True), ("a" * 201, False), ("é" * 101, False), ("", False)],
)
def test_an_id_that_no_bandit_can_have_has_no_settings(bandit_id: str, is_one: bool, tmp_path: Path) -> None:
    text = f"bandits: {{overrides: {{'{bandit_id}': {{gamma: 0.1}}}}}}"
    if is_one:
        assert load(file_with(tmp_path, text), {}).bandits.own() == {bandit_id: {"gamma": 0.1}}
    else:
        (line,) = errors_of(text, tmp_path)
        why = "no bandit can have this id: it must be 1 to 200 bytes of UTF-8, no NUL"
        assert line == f"bandits.overrides.{bandit_id}: {why} (FILE)"


@pytest.mark.parametrize("odd", ["\\0", "\\ud800", "\\udcff"])
@pytest.mark.parametrize(
    "text", ['instance: "{}"', 'bandits: {{overrides: {{"a{}": {{}}}}}}', 'online_learning: {{families: [a, "b{}"]}}']
)
def test_text_that_no_record_and_no_file_can_hold_is_refused(text: str, odd: str, tmp_path: Path) -> None:
    (line,) = errors_of(text.format(odd), tmp_path)
    assert line.endswith(": a name or a text in it holds a NUL or is no UTF-8 (FILE)")


def test_a_variable_that_is_no_utf_8_is_refused() -> None:
    with pytest.raises(SettingsError) as refused:
        load(None, {"ARMSTREAM__KAFKA__GROUP_ID": "a\udcff", "ARMSTREAM__\udcff": "a", "ARMSTREAM__": "a"})
    assert refused.value.lines == (
        "kafka.group_id: a name or a text in it holds a NUL or is no UTF-8 "
        "(environment variable ARMSTREAM__KAFKA__GROUP_ID)",
        "\udcff: a name or a text in it holds a NUL or is no UTF-8 (environment variable ARMSTREAM__\udcff)",
        ": no such setting (environment variable ARMSTREAM__)",
    )


def test_a_variable_below_a_setting_is_an_error_of_that_setting() -> None:
    with pytest.raises(SettingsError) as refused:
        load(None, {"ARMSTREAM__METRICS__PORT__X": "1", "ARMSTREAM__INSTANCE__X": "1"})
    assert [line.split(" (")[0] for line in refused.value.lines] == [
        "instance: must be a valid string",
        "metrics.port: must be a valid integer",
    ]


def test_a_window_that_one_fast_clock_could_empty_is_refused(tmp_path: Path) -> None:
    """An event that is ahead by all that is allowed would make the events on time LATE."""
    assert errors_of("rewards: {dedupe_window_seconds: 299}", tmp_path) == [
        "rewards.dedupe_window_seconds: must be at least max_future_seconds, 300 (FILE)"
    ]
    assert load(file_with(tmp_path, "rewards: {dedupe_window_seconds: 300}"), {}).rewards.max_future_seconds == 300


def test_an_error_is_short_and_there_are_not_too_many(tmp_path: Path) -> None:
    lines = errors_of("\n".join(f"{'x' * 900}{at}: 1" for at in range(500)), tmp_path)
    assert len(lines) == MOST_ERRORS
    assert max(map(len, lines)) < 700


def test_a_file_that_is_not_there_is_an_error_and_not_a_default(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read: No such file or directory"):
        load(tmp_path / "none.yaml", {})


@pytest.mark.parametrize(
    "name",
    [
        *("transactional.id", "group.instance.id", "group.id", "enable.auto.commit", "isolation.level", "acks"),
        *("partition.assignment.strategy", "partitioner", "auto.offset.reset", "enable.idempotence"),
        *("bootstrap.servers", "metadata.broker.list", "request.required.acks", "max.in.flight", "group.protocol"),
    ],
)
def test_what_the_guarantee_rests_on_is_not_the_clients_to_set(name: str, tmp_path: Path) -> None:
    (line,) = errors_of(f"kafka: {{client: {{{name}: x}}}}", tmp_path)
    assert line.startswith(f"kafka.client.{name}: is not yours to set: ")
    assert line.endswith(" (FILE)")


def test_the_clients_configuration_is_the_files_and_the_guarantees_win(tmp_path: Path) -> None:
    path = file_with(tmp_path, "instance: b\nkafka: {group_id: desk, client: {linger.ms: 3, retry.backoff.ms: 7}}")
    settings = load(path, {})
    producer, consumer = settings.producer_configuration(), settings.consumer_configuration()
    assert (producer["linger.ms"], producer["retry.backoff.ms"], producer["transactional.id"]) == ("3", "7", "desk-:b")
    assert (producer["partitioner"], producer["acks"]) == ("murmur2_random", "all")
    assert (consumer["group.id"], consumer["group.instance.id"]) == ("desk", "b")
    assert (consumer["isolation.level"], consumer["auto.offset.reset"]) == ("read_committed", "error")
    assert 0 < int(consumer["heartbeat.interval.ms"]) <= settings.kafka.session_timeout_ms / 3


def test_no_two_processes_of_any_two_groups_share_a_transactional_id() -> None:
    """Every group and every instance of up to three of the characters that could run into each other."""
    names = ["".join(letters) for length in (1, 2, 3) for letters in product("a-._", repeat=length)]
    ids = {f"{group} {instance}": _named(group, instance) for group, instance in product(names, names)}
    assert len(set(ids.values())) == len(ids) == 84**2
    assert (_named("a", "b-0"), _named("a-b", "0")) == ("a-:b-0", "a-b-:0")


def test_a_prefix_right_of_one_group_covers_no_other_and_the_one_of_before_still_covers_it() -> None:
    assert _named("desk", "b").startswith("desk-:")
    assert not _named("desk-", "b").startswith("desk-:")
    assert not _named("desk-eu", "b").startswith("desk-:")
    assert _named("desk", "b").startswith("desk-")


def _named(group: str, instance: str) -> str:
    settings = Settings.model_construct(
        instance=instance, kafka=KafkaSettings.model_construct(**dict(KafkaSettings()) | {"group_id": group})
    )
    return str(settings.producer_configuration()["transactional.id"])


@pytest.mark.parametrize("name", ["a:b", "a b", "a/b", "\u00fc", "b\n", "\0", "\x1b[2J", "a,b", "x" * 201])
def test_names_that_would_run_into_each_other_or_into_a_terminal_are_refused(name: str) -> None:
    for values in ({"instance": name}, {"kafka": {"group_id": name}}):
        with pytest.raises(ValueError, match=r"should match pattern|at most 200"):
            Settings.model_validate(values)


def test_online_learning_may_be_nested_as_the_documented_file_has_it(tmp_path: Path) -> None:
    path = file_with(tmp_path, "live_trading:\n  online_learning: {gamma: 0.05}\n")
    assert load(path, {}).online_learning.gamma == 0.05
    environment = {"ARMSTREAM__ONLINE_LEARNING__GAMMA": "0.1"}
    assert load(path, environment).online_learning.gamma == 0.1


def test_online_learning_in_both_places_is_refused_and_so_is_anything_else_that_is_nested(tmp_path: Path) -> None:
    both = "live_trading: {online_learning: {gamma: 0.05}}\nonline_learning: {gamma: 0.1}\n"
    assert errors_of(both, tmp_path) == ["online_learning: is given twice, at the top and under live_trading (FILE)"]
    more = "live_trading: {online_learning: {gamma: 0.05}, broker: x}\n"
    assert errors_of(more, tmp_path) == ["live_trading: no such setting (FILE)"]


def test_an_empty_section_changes_nothing(tmp_path: Path) -> None:
    assert load(file_with(tmp_path, "kafka:\nlimits: {}\n"), {}) == load(file_with(tmp_path, ""), {}) == load(None, {})


@pytest.mark.parametrize(
    ("mode", "arms"),
    [
        ("family", ("ridge", "lstm")),
        ("horizon", ("1", "5d")),
        ("family_horizon", ("ridge:1", "ridge:5d", "lstm:1", "lstm:5d")),
    ],
)
def test_arm_mode_says_what_the_arms_are(mode: str, arms: tuple[str, ...], tmp_path: Path) -> None:
    learning = f"{{arm_mode: {mode}, families: [ridge, lstm], horizons: [1, 5d]}}"
    assert load(file_with(tmp_path, f"online_learning: {learning}"), {}).online_learning.for_learner().arms == arms


def test_rules_carry_every_setting_in_the_stages_units(tmp_path: Path) -> None:
    text = """
rewards: {dedupe_window_seconds: 2, orphan_ttl_seconds: 3, max_holding_days: 4, max_future_seconds: 1}
limits: {events_per_position: 6, bandits: 7, open_positions: 8, waiting_closes: 9, positions_remembered: 10}
online_learning: {enabled: false, estimator: importance, gamma: 0.1, eta: 0.2, eta_auto: false, eta_max: 0.3,
  implicit: 0.4, reward_bound_bps: 50, transform: tanh, transform_bps: 60, min_weight: 0.01, fixed_share: 0.02,
  blend_alpha: 0.5, warm_start_steps: 11, ramp_steps: 12, attribution: simultaneous, families: [x, y]}
"""
    settings = load(file_with(tmp_path, text), {})
    rewards = settings.task_limits()
    assert (rewards.dedupe_window_micros, rewards.orphan_ttl_micros) == (2_000_000, 3_000_000)
    assert (rewards.max_holding_micros, settings.max_future_micros) == (345_600_000_000, 1_000_000)
    assert (rewards.max_events_per_position, rewards.max_bandits, rewards.max_open_positions) == (6, 7, 8)
    assert (rewards.max_waiting_closes, rewards.max_positions_remembered) == (9, 10)
    learning = settings.online_learning.for_learner()
    found = {name: getattr(learning, name) for name in learning.__slots__}
    assert found == {
        "arms": ("x", "y"),
        "enabled": False,
        "algorithm": "exp3ix",
        "estimator": "importance",
        "feedback": "drawn",
        "eta_auto": "anytime",
        "gamma": 0.1,
        "eta": 0.2,
        "eta_max": 0.3,
        "implicit": 0.4,
        "reward_bound_bps": 50,
        "transform": "tanh",
        "transform_bps": 60,
        "min_weight": 0.01,
        "fixed_share": 0.02,
        "attribution": "simultaneous",
        "expected_decisions": 10_000,
        "experts": (),
        "blend_alpha": 0.5,
        "warm_start_steps": 11,
        "ramp_steps": 12,
        "arm_mode": "family",
    }


def test_a_prefix_stands_before_every_topic(tmp_path: Path) -> None:
    names = load(file_with(tmp_path, "topics: {prefix: eu-, trades: [fills, closes]}"), {}).topics.names
    assert names.inputs == ("eu-fills", "eu-closes", "eu-commands")
    assert names.compacted == ("eu-weights", "eu-snapshots")
    assert names.all == (*names.inputs, *names.compacted, "eu-rewards", "eu-dead-letters")


def test_the_instance_is_the_host_name_unless_given(tmp_path: Path) -> None:
    assert load(None, {}).instance == socket.gethostname()
    assert load(file_with(tmp_path, "instance: 2"), {}).instance == "2"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(None, {}).limits.arms = 3


SECRETS = {"sasl.password": "hunter-a", "ssl.key.password": "hunter-b", "sasl.oauthbearer.client.secret": "hunter-c"}


def test_secrets_reach_the_client_and_nothing_that_is_printed(tmp_path: Path) -> None:
    secret_file = tmp_path / "secret"
    secret_file.write_text("hunter-d\n")
    environment = {
        f"ARMSTREAM__KAFKA__CLIENT__{name.upper().replace('.', '_')}": text for name, text in SECRETS.items()
    }
    text = f"kafka: {{client: {{sasl.username: desk}}, client_files: {{ssl.keystore.location: {secret_file}}}}}"
    settings = load(file_with(tmp_path, text), environment)
    whole = SECRETS | {"ssl.keystore.location": "hunter-d", "sasl.username": "desk"}
    assert settings.kafka.connection() == {"bootstrap.servers": "localhost:9092"} | whole
    assert set(settings.kafka.secrets()) == {"hunter-a", "hunter-b", "hunter-c", "hunter-d"}
    for shown in (repr(settings), str(settings), settings.to_yaml(), settings.kafka.masked("x hunter-a hunter-d")):
        assert "hunter" not in shown
    assert "sasl.username: desk" in settings.to_yaml()


def test_a_secret_of_one_letter_is_masked_by_its_name_and_leaves_words_alone(tmp_path: Path) -> None:
    settings = load(file_with(tmp_path, "kafka: {client: {sasl.password: a, sasl.username: desk}}"), {})
    assert yaml.safe_load(settings.to_yaml())["kafka"]["client"]["sasl.password"] == "********"
    assert settings.kafka.masked("a broker at localhost") == "a broker at localhost"


@pytest.mark.parametrize(
    "text",
    [
        "kafka: {client: {sasl.password: *hunter}}",
        "kafka: {client: {sasl.password: !hunter x}}",
        "kafka: {client: {sasl.password: 'hunter}}",
        "kafka: {client: {sasl.password: [hunter]}}",
        "kafka: {client: hunter}",
        "kafka: hunter",
        "kafka: {client: {acks: hunter}}",
    ],
)
def test_an_error_shows_no_secret(text: str, tmp_path: Path) -> None:
    (line,) = errors_of(text, tmp_path)
    assert "hunter" not in line
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "mine.yaml", {})
    shown = "".join(traceback.format_exception(caught.value)).replace(repr(text), "")
    assert "hunter" not in shown, "a traceback would"


@pytest.mark.parametrize(
    "text",
    [
        "kafka: {client_files: {sasl.password: hunter}}",
        'kafka: {client_files: {ssl.key.pem: "-----BEGIN\\nhunter"}}',
        "kafka: {client_files: hunter}",
        "kafka: {sasl.password: hunter}",
        "{sasl.password: hunter}",
        "{password: [hunter]}",
        "sasl.password=hunter",
        "'sasl.jaas.config=a password=\"hunter\"': x",
        "kafka: {bootstrap_servers: 'desk:hunter@broker:9092'}",
        "kafka: {bootstrap_servers: [hunter]}",
        "kafka: {session_timeout_ms: hunter}",
        "metrics: {port: hunter}",
        "log: {level: hunter}",
        "topics: {prefix: hunter/}",
        "bandits: {overrides: {eu: {sasl.password: hunter, gamma: hunter}}}",
        "bandits: {overrides: {eu: hunter}}",
        "kafka: {client: {oauth_cb: hunter}}",
        "kafka: {client: {default.topic.config: hunter}}",
        'kafka: {client: {sasl.password: "hunter\\0"}}',
    ],
)
def test_an_error_shows_no_secret_wherever_it_was_put(text: str, tmp_path: Path) -> None:
    assert all("hunter" not in line for line in errors_of(text, tmp_path))


@pytest.mark.parametrize(
    "name",
    [
        *("sasl.password", "sasl.pasword", "sasl.passwd", "ssl.key.pem", "ssl.keystore.password", "ssl_key"),
        *("sasl.jaas.config", "sasl.oauthbearer.config", "sasl.oauthbearer.client.secret", "SASL.PASSWORD"),
        *("sasl.oauthbearer.assertion.private.key.passphrase", "sasl.kerberos.kinit.cmd", "basic.auth.user.info"),
    ],
)
def test_a_setting_of_the_client_that_may_be_a_secret_is_one(name: str, tmp_path: Path) -> None:
    settings = load(file_with(tmp_path, f"kafka: {{client: {{{name}: hunter-a}}}}"), {})
    assert settings.kafka.secrets() == ("hunter-a",)
    assert "hunter" not in settings.to_yaml()


def test_user_and_arguments_of_an_address_are_secrets(tmp_path: Path) -> None:
    text = "kafka: {client: {https.x.url: 'https://desk:hunter@host/path?key=hunter2&b=hunter3'}}"
    settings = load(file_with(tmp_path, text), {})
    assert "https://********@host/path?********" in settings.to_yaml()
    assert settings.kafka.masked("x desk:hunter x") == "x ******** x"


def test_each_line_of_a_secret_is_one(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("-----BEGIN PRIVATE KEY-----\nhunter-one\nhunter-two\n-----END PRIVATE KEY-----\n")
    text = f"kafka: {{client_files: {{ssl.key.pem: {tmp_path / 'key'}}}}}"
    masked = load(file_with(tmp_path, text), {}).kafka.masked
    assert masked("PEM lib: hunter-one\\nhunter-two") == "PEM lib: ********\\n********"
    assert masked("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_a_secret_comes_from_one_place_that_can_be_read(tmp_path: Path) -> None:
    (line,) = errors_of("kafka: {client_files: {sasl.password: /nowhere}}", tmp_path)
    assert line == "kafka.client_files.sasl.password: the file cannot be read: No such file or directory (FILE)"
    secret_file = tmp_path / "secret"
    secret_file.write_text("hunter")
    twice = f"kafka: {{client: {{sasl.password: a}}, client_files: {{sasl.password: {secret_file}}}}}"
    (line,) = errors_of(twice, tmp_path)
    assert line == "kafka.client_files.sasl.password: is given twice, here and in kafka.client (FILE)"


def test_what_check_config_prints_can_be_read_again(tmp_path: Path) -> None:
    path = file_with(tmp_path, "topics: {prefix: eu-, trades: fills}\nonline_learning: {min_weight: 1e-9}")
    settings = load(path, {})
    assert load(file_with(tmp_path, settings.to_yaml()), {}) == settings


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20) | st.sampled_from(
    [*AS_WRITTEN, "\x85", "a\u2028b", " a ", "it's", '"', "\ufeff", "\r\n", "\u202e", "<<", "a: b", "=", "- a", "#"]
)


@hypothesis_settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(NAMES, min_size=2, max_size=4, unique=True),
    st.dictionaries(
        NAMES, st.fixed_dictionaries({}, optional={"gamma": st.floats(0, 1), "eta_max": st.none()}), max_size=3
    ),
    st.dictionaries(st.sampled_from(["sasl.username", "client.id", "client.rack"]), NAMES),
    NAMES,
)
def test_what_check_config_prints_is_the_same_settings_whatever_characters_they_have(
    tmp_path: Path, arms: list[str], own: dict[str, Any], client: dict[str, str], host: str
) -> None:
    values = {
        "kafka": {"client": client, "bootstrap_servers": f"broker{host.replace('@', '')}"},
        "online_learning": {"families": arms},
        "bandits": {"overrides": own},
        "metrics": {"host": host},
    }
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(values), encoding="utf-8", newline="")
    settings = load(path, {})
    assert (settings.online_learning.families, settings.bandits.own()) == (tuple(arms), own)
    assert (settings.kafka.client, settings.metrics.host) == (client, host)
    path.write_text(settings.to_yaml(), encoding="utf-8", newline="")
    again = load(path, {})
    assert again == settings
    assert again.bandits.own() == settings.bandits.own()


def test_a_bandits_own_settings_are_laid_over_those_of_all(tmp_path: Path) -> None:
    text = """
online_learning: {families: [x, y], gamma: 0.1}
bandits: {mode: registered, on_settings_change: keep,
  overrides: {eu: {gamma: 0.2, families: [x, y, z]}, us: {}}}
"""
    rules = load(file_with(tmp_path, text), {}).bandit_registry()
    eu, us = rules.of("eu"), rules.of("us")
    assert eu is not None
    assert (eu.gamma, eu.arms) == (0.2, ("x", "y", "z"))
    assert us == rules.template
    assert (rules.of("jp"), rules.on_settings_change, rules.max_arms) == (None, "keep", 64)


@pytest.mark.parametrize(
    ("bandits", "line"),
    [
        ("overrides: {eu: {gamma: 2}}", "bandits.overrides.eu.gamma: must be less than or equal to 1, not '2'"),
        ("overrides: {eu: {gama: 0.1}}", "bandits.overrides.eu.gama: no such setting"),
        ("overrides: {eu: {eta: 0.1}}", "bandits.overrides.eu.eta: is computed where eta_auto is true"),
        ("overrides: {eu: {enabled: false}}", "bandits.overrides.eu.enabled: is one for all bandits"),
        ("overrides: {eu: {families: [x]}}", "bandits.overrides.eu.families: must give at least two arms"),
        ("mode: registered", "bandits.overrides: must name the bandits where mode is registered"),
        ("on_settings_change: ignore", "bandits.on_settings_change: "),
    ],
)
def test_what_cannot_be_of_one_bandit_is_a_line_that_names_it(tmp_path: Path, bandits: str, line: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(file_with(tmp_path, f"bandits: {{{bandits}}}"), {})
    assert len(error.value.lines) == 1
    assert error.value.lines[0].startswith(line), error.value.lines


def test_what_a_learner_refuses_names_the_file_that_asked_for_it(tmp_path: Path) -> None:
    path = file_with(tmp_path, "online_learning: {algorithm: tsallis, eta_auto: false, eta: 1e-12}")
    with pytest.raises(SettingsError) as refused:
        load(path, {})
    (line,) = refused.value.lines
    assert line == f"online_learning: eta must be a number from 1e-09 to 1e+06, got 1e-12 ({path})"


@pytest.mark.parametrize(
    "alien",
    ["estimator: importance", "gamma: 0.1", "implicit: 0.1", "transform: tanh", "eta_max: 0.1", "min_weight: 0.01"],
)
def test_what_is_of_another_rule_is_refused_beside_tsallis(tmp_path: Path, alien: str) -> None:
    with pytest.raises(SettingsError, match="is not for tsallis"):
        load(file_with(tmp_path, f"online_learning: {{algorithm: tsallis, {alien}}}"), {})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("limits: {arms: 1000, experts: 1000}", "limits.experts: times arms, 8000000 bytes a vector"),
        (
            "online_learning: {transform: clip, transform_bps: 1e-8}",
            "online_learning.transform_bps: must be at least 1e-06 where reward_bound_bps is auto",
        ),
        (
            "online_learning: {algorithm: exp4, estimator: importance, gamma: 0.1, implicit: 1, experts: {a: engine}}",
            "online_learning.implicit: is for the implicit estimator",
        ),
        (
            "online_learning: {algorithm: exp4, transform_bps: 10, experts: {a: uniform}}",
            "online_learning.transform_bps: is not for exp4",
        ),
    ],
)
def test_settings_that_would_do_nothing_or_fail_later_are_refused_at_once(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(file_with(tmp_path, text), {})
    assert refused.value.lines[0].startswith(line)
