"""Settings. Law: validated whole before anything starts; each error is one line that names the path and its source.

Layers, each over the one before: config/default.yaml, the user's file, ARMSTREAM__* variables, the command line.
Mappings merge, everything else replaces. No secret is in a repr, an error or what check-config prints.
"""

import difflib
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, PrivateAttr, ValidationError, field_serializer
from pydantic_core import ErrorDetails

from armstream.kafka_settings import LEGAL, ClientConfiguration, KafkaSettings
from armstream.layers import Layers, SettingPath, shown_path
from armstream.learning import LearningSettings
from armstream.learning.feedback import Feedback
from armstream.learning.reward_bound import LEAST_BOUND_BPS
from armstream.learning.settings import DEFAULT_ALGORITHM
from armstream.resources import resource
from armstream.rules import RULES, UnknownRule, new_learner, rule_named
from armstream.section import Conflict, ConflictError, Number, Section
from armstream.stages.facts import DAY_MICROS, SECOND_MICROS, BanditRegistry, TaskLimits
from armstream.stages.sizes import most_bandit_bytes
from armstream.stages.validation import Refused, check_bandit_id, shortened
from armstream.yaml_text import Plain, typed, written

KAFKA_BATCH_BYTES = 1_048_588  # the default of max.message.bytes
DEAD_LETTER_OVERHEAD_BYTES = 65_536
BATCH_OVERHEAD_BYTES = 1_024  # around a record's key and value, at most

MOST_ERRORS = 100
_LONGEST_COMPARED = 100

# What a file may say and the stream does not do: (path, value, or None for any) -> why.
_REFUSED: Mapping[tuple[str, str | None], str] = {
    ("online_learning.attribution", "sequential"): (
        "sequential is refused in the stream: contributions are a map, which has no order; "
        "take simultaneous or undivided"
    ),
}

_FOR_ALL_BANDITS = frozenset({"enabled", "algorithm", "save_interval", "state_file"})


class SettingsError(ValueError):
    """Settings that cannot be; `lines` has one line an error, shortened in its middle where it is long."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(map(shortened, lines))
        super().__init__("\n".join(self.lines))


def _known_rule(name: str) -> str:
    try:
        return rule_named(name).name
    except UnknownRule as unknown:
        raise ValueError(f"must be one of {', '.join(sorted(RULES))}") from unknown


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _or_host_name(value: object) -> object:
    return value or socket.gethostname()


HostName = Annotated[str, Field(pattern=r"^([a-zA-Z0-9._-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?$", max_length=260)]
ProcessorAddress = Annotated[str, Field(pattern=r"^https?://[a-zA-Z0-9._\-\[\]:]+$", max_length=300)]
ArmName = Annotated[str, Field(min_length=1, max_length=100)]
TopicName = Annotated[str, Field(pattern=LEGAL, min_length=1, max_length=249)]
RuleName = Annotated[str, AfterValidator(_known_rule), Field(json_schema_extra={"enum": sorted(RULES)})]
Names = Annotated[tuple[ArmName, ...], Field(strict=False)]


class StateTopics(NamedTuple):
    """Where the state of tasks stands; the tasks' own snapshots and claims stand with the bandits'."""

    bandit_snapshots: str
    position_snapshots: str


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic's whole name, with the prefix."""

    trades: tuple[str, ...]
    commands: str
    weights: str
    snapshots: str
    rewards: str
    dead_letters: str
    bandit_snapshots: str  # these two are of before: no processor writes them
    position_snapshots: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return *self.trades, self.commands

    @property
    def compacted(self) -> tuple[str, ...]:
        return self.weights, self.snapshots

    @property
    def state(self) -> StateTopics:
        return StateTopics(self.snapshots, self.snapshots)

    @property
    def state_before(self) -> StateTopics:
        """Where versions before `snapshots` kept the state."""
        return StateTopics(self.bandit_snapshots, self.position_snapshots)

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.by_setting())

    def by_setting(self) -> Iterator[tuple[str, str]]:
        """Every topic that is used, inputs first: its setting and its name. Those of before are not among them."""
        for setting in self.__slots__:
            if setting in StateTopics._fields:
                continue
            names = getattr(self, setting)
            for name in names if setting == "trades" else (names,):
                yield setting, name


class TopicSettings(Section):
    """Topic names without the prefix (`names` has them with it), and what `topics create` gives them."""

    prefix: Annotated[str, Field(pattern=LEGAL, max_length=200)] = ""
    trades: Annotated[
        tuple[TopicName, ...], BeforeValidator(_one_or_more), Field(min_length=1, max_length=2, strict=False)
    ] = ("trades",)
    commands: TopicName = "commands"
    weights: TopicName = "weights"
    snapshots: TopicName = "snapshots"
    rewards: TopicName = "rewards"
    dead_letters: TopicName = "dead-letters"
    bandit_snapshots: TopicName = "bandit-snapshots"
    position_snapshots: TopicName = "position-snapshots"
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 8
    replication_factor: Annotated[int, Field(ge=1, le=15)] = 1
    retention_ms: Annotated[int, Field(ge=-1, le=100 * 365 * 86_400_000)] = 604_800_000

    @property
    def names(self) -> Topics:
        def whole(name: str) -> str:
            return self.prefix + name

        return Topics(
            trades=tuple(map(whole, self.trades)),
            commands=whole(self.commands),
            weights=whole(self.weights),
            snapshots=whole(self.snapshots),
            rewards=whole(self.rewards),
            dead_letters=whole(self.dead_letters),
            bandit_snapshots=whole(self.bandit_snapshots),
            position_snapshots=whole(self.position_snapshots),
        )

    def conflicts(self) -> Iterator[Conflict]:
        seen: set[str] = set()
        names = self.names
        for setting, name in (*names.by_setting(), *names.state_before._asdict().items()):
            if len(name) > 249 or name in {".", ".."}:
                yield (setting,), f"{name[:60]!r} is not a legal topic name"
            if name in seen:
                yield (setting,), f"{name!r} is the name of two topics"
            seen.add(name)
        if self.retention_ms == 0:
            yield ("retention_ms",), "must be above 0, or -1 for ever"


class LimitSettings(Section):
    """What bounds memory and a transaction; those about state are for each task."""

    batch_records: Annotated[int, Field(ge=1, le=100_000)] = 20_000
    record_bytes: Annotated[int, Field(ge=1_024, le=67_108_864)] = 1_048_576
    restore_slice_records: Annotated[int, Field(ge=1, le=1_000_000)] = 5_000
    events_per_position: Annotated[int, Field(ge=2, le=100_000)] = 10_000
    arms: Annotated[int, Field(ge=2, le=1_000)] = 64
    experts: Annotated[int, Field(ge=1, le=1_000)] = 32
    bandits: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    open_positions: Annotated[int, Field(ge=1, le=10_000_000)] = 200_000
    waiting_closes: Annotated[int, Field(ge=1, le=10_000_000)] = 50_000
    positions_remembered: Annotated[int, Field(ge=1, le=100_000_000)] = 2_000_000

    def conflicts(self) -> Iterator[Conflict]:
        vector_bytes, most_bytes = 8 * self.arms * self.experts, self.output_batch_bytes
        if vector_bytes > most_bytes:
            yield ("experts",), f"times arms, {vector_bytes} bytes a vector, must be at most {most_bytes} bytes"

    @property
    def input_batch_bytes(self) -> int:
        """What an input topic takes at most: a client's batch of Kafka's default size always fits."""
        return max(self.record_bytes, KAFKA_BATCH_BYTES)

    @property
    def output_batch_bytes(self) -> int:
        """What an output topic must take: an input whole, and what a dead letter says about it."""
        return self.input_batch_bytes + DEAD_LETTER_OVERHEAD_BYTES


class RewardSettings(Section):
    """Windows in event time, and what no reward may cost."""

    dedupe_window_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 86_400
    orphan_ttl_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 3_600
    max_holding_days: Annotated[int, Field(ge=1, le=36_500)] = 400
    max_future_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    max_cost_ratio: Annotated[float, Field(gt=0, le=1e6)] = 10.0

    def conflicts(self) -> Iterator[Conflict]:
        if self.max_holding_days * 86_400 < self.dedupe_window_seconds:
            yield ("max_holding_days",), f"must be at least dedupe_window_seconds, {self.dedupe_window_seconds}"
        if self.dedupe_window_seconds < self.max_future_seconds:
            yield ("dedupe_window_seconds",), f"must be at least max_future_seconds, {self.max_future_seconds}"


class LearningFields(Section):
    """Each setting of online_learning by itself, as one bandit may have it of its own."""

    enabled: bool = True
    algorithm: RuleName = DEFAULT_ALGORITHM
    estimator: Literal["implicit", "importance"] = "implicit"
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.0
    eta: Annotated[float | None, Field(gt=0, le=1e6)] = None
    eta_max: Annotated[float | None, Field(gt=0, le=1e6)] = None
    eta_auto: bool | Literal["adaptive"] = True
    implicit: Annotated[float | None, Field(ge=0, le=1e6)] = None
    reward_bound_bps: Annotated[float, Field(gt=0, le=1e6)] | Literal["auto"] = "auto"
    transform: Literal["none", "clip", "tanh"] = "none"
    transform_bps: Annotated[float | None, Field(gt=0, le=1e6)] = None
    min_weight: Annotated[float, Field(gt=1e-300, le=0.5)] = 1e-10
    fixed_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    blend_alpha: Annotated[float, Field(ge=0, le=1)] = 0.3
    warm_start_steps: Annotated[int, Field(ge=0, le=10**12)] = 500
    ramp_steps: Annotated[int, Field(ge=0, le=10**12)] = 0
    arm_mode: Literal["family", "horizon", "family_horizon"] = "family"
    families: Names = ("lightgbm", "xgboost", "ridge", "lstm")
    horizons: Names = ()
    attribution: Literal["undivided", "simultaneous"] = "undivided"
    feedback: Feedback = "drawn"
    expected_decisions: Annotated[int, Field(ge=1, le=10**12)] = 10_000
    experts: Mapping[ArmName, str | Mapping[ArmName, Number]] = {}
    save_interval: Annotated[int, Field(ge=1, le=10**9)] = 100
    state_file: Annotated[str, Field(min_length=1)] = "state/bandit_state.json"


class OnlineLearningSettings(LearningFields):
    """The learning rule by its name, and what it may be told; which of that it takes, the rule says."""

    @property
    def arms(self) -> tuple[str, ...]:
        if self.arm_mode == "family":
            return self.families
        if self.arm_mode == "horizon":
            return self.horizons
        return tuple(f"{family}:{horizon}" for family in self.families for horizon in self.horizons)

    def for_learner(self) -> LearningSettings:
        """What a learner is made from."""
        return LearningSettings(
            arms=self.arms,
            enabled=self.enabled,
            algorithm=self.algorithm,
            estimator=self.estimator,
            gamma=self.gamma,
            eta=self.eta,
            eta_max=self.eta_max,
            implicit=self.implicit,
            reward_bound_bps=self._reward_bound_bps(),
            transform=self.transform,
            transform_bps=self.transform_bps,
            min_weight=self.min_weight,
            fixed_share=self.fixed_share,
            attribution=self.attribution,
            expected_decisions=self.expected_decisions,
            experts=tuple(self.experts.items()),
            blend_alpha=self.blend_alpha,
            warm_start_steps=self.warm_start_steps,
            ramp_steps=self.ramp_steps,
            arm_mode=self.arm_mode,
            feedback=self.feedback,
            eta_auto="adaptive" if self.eta_auto == "adaptive" else "anytime",
        )

    def _reward_bound_bps(self) -> float | Literal["auto"]:
        """What clips nothing has no bound to find: its vectors say 100 as ever."""
        clips = rule_named(self.algorithm).clips(self.estimator)
        return self.reward_bound_bps if clips or self.reward_bound_bps != "auto" else 100.0

    def conflicts(self) -> Iterator[Conflict]:
        if self.eta_auto and self.eta is not None:
            is_so = "adaptive" if self.eta_auto == "adaptive" else "true"
            yield ("eta",), f"is computed where eta_auto is {is_so}: set eta_auto to false, or leave eta out"
        if not self.eta_auto and self.eta is None:
            yield ("eta",), "must be given where eta_auto is false"
        yield from self._conflicts_of_the_rule()
        scale = None if self.transform == "none" else self.transform_bps
        if self.reward_bound_bps == "auto" and scale is not None and scale < LEAST_BOUND_BPS:
            yield ("transform_bps",), f"must be at least {LEAST_BOUND_BPS:g} where reward_bound_bps is auto"
        for setting in ("families", "horizons"):
            names = getattr(self, setting)
            used = setting.replace("ies", "y").rstrip("s") in self.arm_mode
            if used and not names:
                yield (setting,), f"must name at least one where arm_mode is {self.arm_mode}"
            if len(set(names)) < len(names):
                yield (setting,), f"must differ from each other: {', '.join(names)}"
            if self.arm_mode == "family_horizon" and any(":" in name for name in names):
                yield (setting,), "must hold no colon, which parts the family from the horizon"
        if len(self.arms) == 1:
            setting = "horizons" if self.arm_mode == "horizon" else "families"
            yield (setting,), f"must give at least two arms, {self.arms[0]} is one"

    def _conflicts_of_the_rule(self) -> Iterator[Conflict]:
        rule, learning = rule_named(self.algorithm), self.for_learner()
        for setting in sorted(learning.given() - rule.takes):
            takers = ", ".join(name for name, each in RULES.items() if setting in each.rule.takes)
            yield (setting,), f"is not for {rule.name}, but for {takers}: leave it out"
        for setting, why in rule.refusals(learning):
            yield (setting,), why


class BanditsSettings(Section):
    """Which bandits there are, and what differs for some: settings of online_learning, by bandit_id."""

    mode: Literal["auto", "registered"] = "auto"
    overrides: Mapping[str, LearningFields] = {}
    on_settings_change: Literal["refuse", "keep", "reset"] = "refuse"

    def conflicts(self) -> Iterator[Conflict]:
        if self.mode == "registered" and not self.overrides:
            yield ("overrides",), "must name the bandits where mode is registered: {eu-equities: {}}"
        for bandit_id, override in self.overrides.items():
            try:
                check_bandit_id(bandit_id)
            except Refused:
                yield ("overrides", bandit_id), "no bandit can have this id: it must be 1 to 200 bytes of UTF-8, no NUL"
            for name in _FOR_ALL_BANDITS & override.model_fields_set:
                yield ("overrides", bandit_id, name), "is one for all bandits: set it in online_learning"

    def own(self) -> dict[str, dict[str, Any]]:
        """What differs, by bandit_id and setting."""
        return {bandit_id: override.model_dump(exclude_unset=True) for bandit_id, override in self.overrides.items()}

    @field_serializer("overrides")
    def _what_differs(self, _: object) -> dict[str, dict[str, Any]]:
        return self.own()


class MetricsSettings(Section):
    """Where /metrics, /livez and /readyz are."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 9464
    max_bandits: Annotated[int, Field(ge=0, le=10_000)] = 100


class WatchSettings(Section):
    """What `armstream watch` shows, to whom, and how much of it is kept."""

    hosts: Annotated[tuple[HostName, ...], Field(strict=False)] = ()
    clients: Annotated[int, Field(ge=1, le=1_000)] = 32
    base_weights: Mapping[ArmName, Number] = {}
    bandit_base_weights: Mapping[str, Mapping[ArmName, Number]] = {}
    processors: Annotated[tuple[ProcessorAddress, ...], Field(max_length=100, strict=False)] = ()
    read_back_days: Annotated[int, Field(ge=1, le=36_500)] = 400
    bandits: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    points: Annotated[int, Field(ge=20, le=10_000)] = 400
    dead_letters: Annotated[int, Field(ge=50, le=100_000)] = 500

    def conflicts(self) -> Iterator[Conflict]:
        whole: dict[SettingPath, Mapping[str, float]] = {
            ("bandit_base_weights", bandit_id): weights for bandit_id, weights in self.bandit_base_weights.items()
        }
        if self.base_weights:
            whole["base_weights",] = self.base_weights
        for path, weights in whole.items():
            for name, weight in weights.items():
                if not 0 <= weight < inf:
                    yield (*path, name), "must be finite and not below 0"
            if not sum(weights.values()) > 0:
                yield path, "must have a weight above 0"


class LogSettings(Section):
    """What is logged and how a line looks."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "text"] = "json"


class Settings(Section):
    """All settings, validated. `instance` names this process among its twins; "" is the host name."""

    instance: Annotated[str, BeforeValidator(_or_host_name), Field(pattern=LEGAL, max_length=200)] = ""
    core: Literal["auto", "native", "python"] = "auto"
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    limits: LimitSettings = LimitSettings()
    rewards: RewardSettings = RewardSettings()
    online_learning: OnlineLearningSettings = OnlineLearningSettings()
    bandits: BanditsSettings = BanditsSettings()
    metrics: MetricsSettings = MetricsSettings()
    watch: WatchSettings = WatchSettings()
    log: LogSettings = LogSettings()
    _renamed: tuple[str, ...] = PrivateAttr(())

    @property
    def renamed(self) -> tuple[str, ...]:
        """A line for each setting that was given by a name of before."""
        return self._renamed

    def conflicts(self) -> Iterator[Conflict]:
        yield from self._learning_conflicts(("online_learning",), self.online_learning)
        for bandit_id in self.bandits.overrides:
            path = ("bandits", "overrides", bandit_id)
            try:
                learning = self._overridden(bandit_id)
            except ValidationError as error:
                for detail in error.errors():
                    yield from _conflicts_of(detail, path)
            else:
                yield from self._learning_conflicts(path, learning)

    def _learning_conflicts(self, path: SettingPath, learning: OnlineLearningSettings) -> Iterator[Conflict]:
        arm_count = len(learning.arms)
        if arm_count > self.limits.arms:
            yield (*path, "arm_mode"), f"gives {arm_count} arms, above limits.arms, {self.limits.arms}"
        if len(learning.experts) > self.limits.experts:
            expert_count = len(learning.experts)
            yield (*path, "experts"), f"names {expert_count} experts, above limits.experts, {self.limits.experts}"
        given, limits = learning.for_learner(), self.limits
        most_bytes = most_bandit_bytes(given, limits.arms, limits.experts)
        if most_bytes > limits.output_batch_bytes - BATCH_OVERHEAD_BYTES:
            taken = f"{most_bytes} bytes a bandit, where topics take {limits.output_batch_bytes}"
            yield path, f"may need {taken}: lower limits.arms or limits.experts, or raise limits.record_bytes"
        try:
            new_learner(given)
        except ValueError as error:
            yield path, str(error)

    def _overridden(self, bandit_id: str) -> OnlineLearningSettings:
        """online_learning with what differs for one bandit. Raises ValidationError."""
        return OnlineLearningSettings.model_validate(
            {**self.online_learning.model_dump(), **self.bandits.overrides[bandit_id].model_dump(exclude_unset=True)}
        )

    @property
    def max_future_micros(self) -> int:
        """How far an event's time may be ahead of its record's append time."""
        return self.rewards.max_future_seconds * SECOND_MICROS

    @property
    def transactional_id(self) -> str:
        """This process's, which no other group's process has: neither name holds a colon, so it parts them."""
        return f"{self.kafka.group_id}-:{self.instance}"

    @property
    def reset_transactional_id(self) -> str:
        """That of `armstream reset`, which no instance has."""
        return f"{self.kafka.group_id}-::reset"

    def producer_configuration(self) -> ClientConfiguration:
        """The transactional producer's. The name stays through a restart, which so settles what a crash left open."""
        return {
            "retry.backoff.ms": 1,  # takes the 100 ms step out of send_offsets_to_transaction
            "linger.ms": 0,  # a batch is produced whole and then flushed: nothing is won by waiting
            "queue.buffering.max.messages": 0,  # no limit of its own: a batch is one
            **self.kafka.connection(),
            "transactional.id": self.transactional_id,
            "transaction.timeout.ms": self.kafka.transaction_timeout_ms,
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "message.max.bytes": self.limits.output_batch_bytes,
        }

    def consumer_configuration(self) -> ClientConfiguration:
        """The group member's: static, read_committed, and never skipping lost input in silence."""
        return {
            "fetch.queue.backoff.ms": 5,  # the default, 1000, stops fetching for a second where a batch fills the queue
            "fetch.wait.max.ms": 100,  # a partition that is sought or resumed waits for the fetch that is under way
            **self.kafka.connection(),
            "group.id": self.kafka.group_id,
            "group.instance.id": self.instance,
            "partition.assignment.strategy": "range",
            "session.timeout.ms": self.kafka.session_timeout_ms,
            "heartbeat.interval.ms": self.kafka.session_timeout_ms // 5,  # several may be lost before the member is
            "max.poll.interval.ms": self.kafka.max_poll_interval_ms,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,  # what lies before the end is read, marks of transactions too
        }

    def task_limits(self) -> TaskLimits:
        """The windows in microseconds, and the limits of one task."""
        return TaskLimits(
            dedupe_window_micros=self.rewards.dedupe_window_seconds * SECOND_MICROS,
            orphan_ttl_micros=self.rewards.orphan_ttl_seconds * SECOND_MICROS,
            max_holding_micros=self.rewards.max_holding_days * DAY_MICROS,
            max_events_per_position=self.limits.events_per_position,
            max_bandits=self.limits.bandits,
            max_open_positions=self.limits.open_positions,
            max_waiting_closes=self.limits.waiting_closes,
            max_positions_remembered=self.limits.positions_remembered,
            max_cost_ratio=self.rewards.max_cost_ratio,
            trades_share_topic=len(self.topics.trades) == 1,
        )

    def bandit_registry(self) -> BanditRegistry:
        """Which bandits there may be, and the learning settings of each."""
        return BanditRegistry(
            self.online_learning.for_learner(),
            {bandit_id: self._overridden(bandit_id).for_learner() for bandit_id in self.bandits.overrides},
            self.bandits.mode == "registered",
            self.bandits.on_settings_change,
            self.limits.arms,
            self.limits.experts,
        )

    def to_yaml(self) -> str:
        """The effective settings as YAML that can be read again, secrets masked."""
        values = self.model_dump(mode="json")
        values["kafka"]["client"] = self.kafka.masked_client()
        return written(values)


class Row(NamedTuple):
    """One setting as a table shows it."""

    path: str
    type: str
    default: object


def rows(section: type[Section] = Settings, prefix: str = "") -> Iterator[Row]:
    """Every setting, in the order of default.yaml."""
    schema = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        if isinstance(field.default, Section):
            yield from rows(type(field.default), f"{prefix}{name}.")
        else:
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            yield Row(prefix + name, _type_of(schema[name]), default)


def _type_of(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(map(_type_of, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(schema.get("enum", [schema.get("const")]))
    words = {"object": "mapping", "array": "list", "string": "text", "boolean": "true, false"}
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    if low is None or high is None:
        return words.get(schema["type"], str(schema["type"]))
    above = "above " if "exclusiveMinimum" in schema else ""
    return f"{schema['type']}, {above}{_digits(low)} to {_digits(high)}"


def _digits(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


def load(path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Settings:
    """The shipped defaults, the file, the environment and the command line's `overrides`, in layers.

    Raises SettingsError with a line for each error.
    """
    layers = Layers()
    layers.lay_file(resource("config", "default.yaml"), "default")
    if path is not None:
        layers.lay_file(path)
    layers.lay_environment(environment, _is_text)
    layers.lay((), dict(overrides or {}), "command line")
    layers.lay_client_files()
    try:
        settings = Settings.model_validate(layers.values)
    except ValidationError as error:
        lines = (line for detail in error.errors() for line in _lines(detail, layers))
        raise SettingsError(
            layers.errors + list(islice(lines, MOST_ERRORS))
        ) from None  # its own text may show a secret
    if layers.errors:
        raise SettingsError(layers.errors)
    settings._renamed = tuple(layers.renamed)
    return settings


def _is_text(path: tuple[str, ...]) -> bool:
    """Whether a setting is text, which an environment variable gives as it is: "007" stays "007"."""
    section: type[BaseModel] = Settings
    for name in path[:-1]:
        field = section.model_fields.get(name)
        if field is None or not isinstance(field.default, Section):
            return False
        section = type(field.default)
    field = section.model_fields.get(path[-1])
    return field is not None and (field.annotation is str or get_origin(field.annotation) is Literal)


def _lines(detail: ErrorDetails, layers: Layers) -> Iterator[str]:
    for path, why in _conflicts_of(detail, ()):
        yield _line(path, why, layers)


def _conflicts_of(detail: ErrorDetails, around: SettingPath) -> Iterator[Conflict]:
    """What is wrong, by path; `around` is that of the section that was looked at."""
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, ConflictError):
        for path, why in error.conflicts:
            yield (*around, *detail["loc"], *path), why
    else:
        yield (*around, *detail["loc"]), _why(detail)


def _line(path: SettingPath, why: str, layers: Layers) -> str:
    return f"{shown_path(path)}: {why} ({layers.source(path)})"


@cache
def _known() -> list[str]:
    """Every setting, then every section."""
    settings = [row.path for row in rows()]
    return settings + sorted({name.rpartition(".")[0] for name in settings} - {""})


def _why(detail: ErrorDetails) -> str:
    path, value = ".".join(map(str, detail["loc"])), detail["input"]
    refused = _REFUSED.get((path, None)) or (_REFUSED.get((path, value)) if isinstance(value, str) else None)
    if refused is not None:
        return refused
    if detail["type"] == "extra_forbidden":
        close = difflib.get_close_matches(path[:_LONGEST_COMPARED], _known(), n=1)
        return f"no such setting{f', {close[0]} is meant' if close else ''}"
    if detail["type"] == "model_type":
        return "must be a section, `name: value` lines"
    message = re.sub(r"^(Input|String|Tuple|Value) should", "must", detail["msg"]).removeprefix("Value error, ")
    if isinstance(value, Plain):
        value = typed(value, {int, float})
    is_number = isinstance(value, int | float) and not path.startswith("kafka.client")
    return f"{message}, not '{value}'" if is_number else message  # text may be a password
