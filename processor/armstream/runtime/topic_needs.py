"""What a topic must be like, and what differs. Law: whatever can delete what was not read is known here.

What would go unnoticed blocks a start: records that vanish from the middle of an input, snapshots that vanish. What a
start would notice, it warns of. Every difference comes with the command that mends it; whether to run it is a person's
decision.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from armstream.settings import Settings

_LONGEST_RESTORE_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as `create` makes it."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as it is. `config` is what holds for it, whether its own or inherited from the brokers."""

    partitions: int
    replicas: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as it must be, and what mends it. A run refuses to start where one `blocks`."""

    topic: str
    problem: str
    remedy: str
    blocks: bool

    def __str__(self) -> str:
        return f"{self.topic}: {self.problem}; to mend it: {self.remedy}"


@dataclass(frozen=True, slots=True)
class _Need:
    """How an existing topic's setting may stand to the one that `create` gives."""

    must_be: Literal["same", "at least", "at most"]
    blocks: bool = False
    because: str = ""

    def holds(self, actual: str, wanted: str) -> bool:
        if self.must_be == "same":
            return actual == wanted
        return float(actual) >= float(wanted) if self.must_be == "at least" else float(actual) <= float(wanted)


NEEDS: Mapping[str, _Need] = {
    "cleanup.policy": _Need("same", blocks=True),
    "message.timestamp.type": _Need("same"),
    "retention.bytes": _Need("same", because="it deletes a partition's oldest records, read or not"),
    "remote.log.delete.on.disable": _Need(
        "same", because="who turns remote.storage.enable off deletes what lies there, read or not"
    ),
    "min.cleanable.dirty.ratio": _Need("at most"),
    "segment.ms": _Need("at most"),
    "min.compaction.lag.ms": _Need("at most"),  # before the next one, which may not be below it
    "max.compaction.lag.ms": _Need("at most"),
    "delete.retention.ms": _Need("at least"),
    "min.insync.replicas": _Need("at least"),
    "unclean.leader.election.enable": _Need(
        "same", blocks=True, because="a replica that lacks acknowledged records may lead, and they are lost unnoticed"
    ),
}


def expected(settings: Settings) -> tuple[Topic, ...]:
    """Every topic, inputs first, with the settings of its kind."""
    names, section = settings.topics.names, settings.topics
    every = {
        # A wrong clock must not date its record: retention goes by it, and brokers refuse one that is an hour ahead.
        "message.timestamp.type": "LogAppendTime",
        "unclean.leader.election.enable": "false",
        **_durable(section.replication_factor),
    }
    deleted = every | {
        "cleanup.policy": "delete",
        "retention.ms": str(section.retention_ms),
        "retention.bytes": "-1",
    }
    compacted = every | {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.1",
        "segment.ms": "600000",
        "min.compaction.lag.ms": "0",
        "max.compaction.lag.ms": "1800000",
        "delete.retention.ms": "86400000",  # longer than the longest restore
    }
    inputs = {"max.message.bytes": str(settings.limits.input_batch_bytes)}
    outputs = {"max.message.bytes": str(settings.limits.output_batch_bytes)}
    configs = dict.fromkeys(names.inputs, deleted | inputs)
    configs |= dict.fromkeys(names.compacted, compacted | outputs)
    configs |= dict.fromkeys((names.rewards, names.dead_letters), deleted | outputs)
    return tuple(
        Topic(name, section.partitions, section.replication_factor, config) for name, config in configs.items()
    )


def _durable(replicas: int) -> dict[str, str]:
    """With fewer replicas, two in sync would stop all writing as soon as one broker is away."""
    return {"min.insync.replicas": "2"} if replicas >= 3 else {}


def differences(settings: Settings, found: Mapping[str, Found]) -> list[Difference]:
    """What differs from `expected` in the topics that were `found`, by name; nothing where all is well."""
    topics = expected(settings)
    return [
        *_partition_differences(settings, found),
        *(difference for topic in topics for difference in _of_topic(settings, topic, found.get(topic.name))),
        *_size_differences(settings, found),
        *_retention_differences(settings, found),
    ]


def _partition_differences(settings: Settings, found: Mapping[str, Found]) -> Iterator[Difference]:
    """The first topic there is, an input where one exists, says what all must have: most often it is not ours."""
    first = next((name for name in settings.topics.names.all if name in found), None)
    if first is None:
        return
    right = found[first].partitions
    if right != settings.topics.partitions:
        problem = f"has {right} partitions, topics.partitions is {settings.topics.partitions}"
        yield Difference(first, problem, f"set topics.partitions to {right}", blocks=False)
    for name, topic in found.items():
        count = topic.partitions
        if count == right:
            continue
        problem = f"has {count} partitions, {first} has {right}, and all must have the same"
        if count < right:
            command = _command(settings, "kafka-topics.sh", f"--alter --topic {name} --partitions {right}")
            remedy = f"{command} (while it is empty: keys move)"
        else:
            command = _command(settings, "kafka-topics.sh", f"--delete --topic {name}")
            remedy = f"{command} (its records are lost), then armstream topics create"
        yield Difference(name, problem, remedy, blocks=True)


def _of_topic(settings: Settings, topic: Topic, found: Found | None) -> Iterator[Difference]:
    if found is None:
        yield Difference(topic.name, "does not exist", "armstream topics create", blocks=True)
        return
    if found.replicas < topic.replication_factor:
        problem = f"has {found.replicas} replicas, topics.replication_factor is {topic.replication_factor}"
        remedy = _command(settings, "kafka-reassign-partitions.sh", "--execute --reassignment-json-file PLAN.json")
        yield Difference(topic.name, problem, remedy, blocks=False)
    is_input = topic.name in settings.topics.names.inputs
    wanted_config = _wanted(topic, found)
    for name, need in NEEDS.items():
        wanted, actual = wanted_config.get(name), found.config.get(name)
        if wanted is None or actual is None or need.holds(actual, wanted):
            continue
        must = wanted if need.must_be == "same" else f"{need.must_be} {wanted}"
        problem = f"{name} is {actual}, and must be {must}{need.because and f': {need.because}'}"
        blocks = need.blocks or (is_input and name == "message.timestamp.type") or _outlived(name, actual)
        yield Difference(topic.name, problem, _alter(settings, topic.name, name, wanted), blocks)


def _wanted(topic: Topic, found: Found) -> dict[str, str]:
    """The settings that matter to this topic as it is."""
    wanted = {name: value for name, value in topic.config.items() if name != "min.insync.replicas"}
    wanted |= _durable(found.replicas)
    if found.config.get("remote.storage.enable") == "true":
        wanted["remote.log.delete.on.disable"] = "false"
    if found.replicas == 1:  # there is no other that could lead
        del wanted["unclean.leader.election.enable"]
    if wanted["cleanup.policy"] == "delete" and found.config["cleanup.policy"] == "":  # it deletes nothing
        for name in ("cleanup.policy", "retention.bytes"):
            del wanted[name]
    return wanted


def _outlived(name: str, actual: str) -> bool:
    """A restore that has read a record would not meet its tombstone any more."""
    return name == "delete.retention.ms" and int(actual) < _LONGEST_RESTORE_MS


def _size_differences(settings: Settings, found: Mapping[str, Found]) -> Iterator[Difference]:
    """An output may carry a whole input."""
    names, setting = settings.topics.names, "max.message.bytes"
    sizes = {name: int(topic.config[setting]) for name, topic in found.items()}
    most = settings.limits.input_batch_bytes
    for name, size in sizes.items():
        if name in names.inputs and size > most:
            problem = f"{setting} is {size}, and limits.record_bytes allows {most}"
            yield Difference(name, problem, _alter(settings, name, setting, most), blocks=False)
        least = settings.limits.output_batch_bytes
        if name not in names.inputs and size < least:
            problem = f"{setting} is {size}, and a dead letter or a waiting close may need {least}"
            yield Difference(name, problem, _alter(settings, name, setting, least), blocks=False)


def _retention_differences(settings: Settings, found: Mapping[str, Found]) -> Iterator[Difference]:
    """Published numbers can be derived again only while their inputs are there."""
    names, setting = settings.topics.names, "retention.ms"
    deleted = (*names.inputs, names.rewards, names.dead_letters)
    kept_ms = {name: _kept_ms(found[name]) for name in deleted if name in found}
    wanted_ms = _for_ever(str(settings.topics.retention_ms))
    audit_ms = max(wanted_ms, kept_ms.get(names.rewards, 0.0))
    leasts = dict.fromkeys(names.inputs, audit_ms) | {names.rewards: wanted_ms, names.dead_letters: wanted_ms}
    for name, least_ms in leasts.items():
        if kept_ms.get(name, least_ms) < least_ms:
            least = "-1" if least_ms == float("inf") else f"{least_ms:.0f}"
            reason = f"{names.rewards} is kept" if least_ms > wanted_ms else "topics.retention_ms is"
            problem = f"{setting} is {found[name].config[setting]}, and {reason} {least}"
            yield Difference(name, problem, _alter(settings, name, setting, least), blocks=False)


def _kept_ms(topic: Found) -> float:
    return float("inf") if topic.config["cleanup.policy"] == "" else _for_ever(topic.config["retention.ms"])


def _for_ever(retention_ms: str) -> float:
    return float("inf") if retention_ms == "-1" else float(retention_ms)


def _alter(settings: Settings, topic: str, name: str, value: object) -> str:
    arguments = f"--alter --entity-type topics --entity-name {topic} --add-config {name}={value}"
    return _command(settings, "kafka-configs.sh", arguments)


def _command(settings: Settings, script: str, arguments: str) -> str:
    return f"{script} --bootstrap-server {settings.kafka.bootstrap_servers} {arguments}"
