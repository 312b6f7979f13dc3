"""The topics on a real broker: made, described back, and each difference found with the command that mends it."""

import threading
import time
from collections.abc import Callable, Mapping

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its public names, which it does not declare so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from armstream.runtime import topics
from armstream.runtime.failures import Stopped
from armstream.runtime.topic_needs import Difference, expected
from armstream.runtime.topics import check, create
from armstream.settings import Settings

pytestmark = pytest.mark.kafka

WEEK_MS = "604800000"
CLEAN = {"unclean.leader.election.enable": "false", "message.timestamp.type": "LogAppendTime"}
DELETED = CLEAN | {
    "cleanup.policy": "delete",
    "retention.ms": WEEK_MS,
    "retention.bytes": "-1",
}
COMPACTED = CLEAN | {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.1",
    "segment.ms": "600000",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "1800000",
    "delete.retention.ms": "86400000",
}
LARGEST_INPUT = {"max.message.bytes": "1048588"}
LARGEST_OUTPUT = {"max.message.bytes": "1114124"}  # and 64 KiB
CONTRACT: Mapping[str, Mapping[str, str]] = {
    "fills": DELETED | LARGEST_INPUT,
    "closes": DELETED | LARGEST_INPUT,
    "commands": DELETED | LARGEST_INPUT,
    "weights": COMPACTED | LARGEST_OUTPUT,
    "rewards": DELETED | LARGEST_OUTPUT,
    "snapshots": COMPACTED | LARGEST_OUTPUT,
    "dead-letters": DELETED | LARGEST_OUTPUT,
}


def eventually(condition: Callable[[], bool]) -> None:
    """A broker learns a little later what its controller has already confirmed."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the broker does not show the change"
        time.sleep(0.02)


class Cluster:
    """What a person with Kafka's own tools would do."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self.bootstrap_servers, self.prefix = bootstrap_servers, prefix
        self.admin = AdminClient({"bootstrap.servers": bootstrap_servers})

    def settings(self, **topics: object) -> Settings:
        section = {"prefix": self.prefix, "trades": ["fills", "closes"], "partitions": 3, **topics}
        return Settings.model_validate({"kafka": {"bootstrap_servers": self.bootstrap_servers}, "topics": section})

    def make(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        topic = NewTopic(self.prefix + name, partitions, 1, config=dict(config or {}))
        self.admin.create_topics([topic])[self.prefix + name].result(30)
        eventually(lambda: name in self.partitions())

    def alter(self, name: str, setting: str, value: str) -> None:
        entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, self.prefix + name, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(30)
        eventually(lambda: self.config(name)[setting] == value)

    def grow(self, name: str, partitions: int) -> None:
        grown = NewPartitions(self.prefix + name, partitions)
        self.admin.create_partitions([grown])[self.prefix + name].result(30)
        eventually(lambda: self.partitions()[name] == partitions)

    def delete(self, name: str) -> None:
        self.admin.delete_topics([self.prefix + name])[self.prefix + name].result(30)
        eventually(lambda: name not in self.partitions())

    def partitions(self) -> dict[str, int]:
        found = self.admin.list_topics(timeout=30).topics.items()
        return {
            name.removeprefix(self.prefix): len(one.partitions) for name, one in found if name.startswith(self.prefix)
        }

    def config(self, name: str) -> dict[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, self.prefix + name)
        found = self.admin.describe_configs([resource])[resource].result(30)
        return {entry.name: entry.value for entry in found.values()}


@pytest.fixture
def cluster(bootstrap_servers: str, topic_prefix: str) -> Cluster:
    return Cluster(bootstrap_servers, topic_prefix)


def test_create_makes_every_topic_with_the_contracts_settings_and_then_nothing_differs(cluster: Cluster) -> None:
    settings = cluster.settings()
    assert create(settings) == [cluster.prefix + name for name in ("fills", "closes", "commands", *OUTPUTS)]
    assert cluster.partitions() == dict.fromkeys(CONTRACT, 3)
    for name, wanted in CONTRACT.items():
        found = cluster.config(name)
        assert {key: found[key] for key in wanted} == wanted, name
    assert check(settings) == []
    assert create(settings) == []


OUTPUTS = ("weights", "snapshots", "rewards", "dead-letters")


def test_a_retention_of_for_ever_is_made_and_found_well(cluster: Cluster) -> None:
    settings = cluster.settings(retention_ms=-1)
    create(settings)
    assert {cluster.config(name)["retention.ms"] for name in ("fills", "commands", "rewards")} == {"-1"}
    assert check(settings) == []


def test_three_replicas_go_with_two_in_sync_and_fewer_with_the_brokers_own() -> None:
    def in_sync(replication_factor: int) -> set[str | None]:
        values = {"topics": {"replication_factor": replication_factor}}
        return {topic.config.get("min.insync.replicas") for topic in expected(Settings.model_validate(values))}

    assert (in_sync(1), in_sync(2), in_sync(3)) == ({None}, {None}, {"2"})


def test_a_larger_record_limit_moves_all_sizes_and_a_smaller_one_leaves_room_for_a_batch() -> None:
    def sizes(record_bytes: int) -> dict[str, int]:
        found = expected(Settings.model_validate({"limits": {"record_bytes": record_bytes}}))
        return {topic.name: int(topic.config["max.message.bytes"]) for topic in found}

    assert (sizes(2_000_000)["trades"], sizes(2_000_000)["dead-letters"]) == (2_000_000, 2_065_536)
    assert (sizes(1_024)["trades"], sizes(1_024)["dead-letters"]) == (1_048_588, 1_114_124)


def test_missing_topics_are_named_with_the_command_and_only_they_are_made(cluster: Cluster) -> None:
    settings = cluster.settings()
    create(settings)
    cluster.delete("rewards")
    (difference,) = check(settings)
    assert str(difference) == f"{cluster.prefix}rewards: does not exist; to mend it: armstream topics create"
    assert difference.blocks
    assert create(settings) == [f"{cluster.prefix}rewards"]
    assert check(settings) == []


KAFKA_CONFIGS = (
    "kafka-configs.sh --bootstrap-server {servers} --alter --entity-type topics --entity-name {topic} "
    "--add-config {setting}={value}"
)
OLDEST = "it deletes a partition's oldest records, read or not"
LARGE = "a dead letter or a waiting close may need"


# (topic, setting, a value that does not fit, what is said of it, the value that the command sets, blocks)
MISFITS = [
    ("fills", "message.timestamp.type", "CreateTime", "and must be LogAppendTime", "LogAppendTime", True),
    ("commands", "cleanup.policy", "compact", "and must be delete", "delete", True),
    ("commands", "retention.bytes", "1000000", f"and must be -1: {OLDEST}", "-1", False),
    ("rewards", "message.timestamp.type", "CreateTime", "and must be LogAppendTime", "LogAppendTime", False),
    ("snapshots", "max.compaction.lag.ms", "7200000", "and must be at most 1800000", "1800000", False),
    ("snapshots", "min.compaction.lag.ms", "3600000", "and must be at most 0", "0", False),
    ("snapshots", "delete.retention.ms", "3599999", "and must be at least 86400000", "86400000", True),
    ("weights", "cleanup.policy", "delete", "and must be compact", "compact", True),
    ("snapshots", "cleanup.policy", "compact,delete", "and must be compact", "compact", True),
    ("snapshots", "min.cleanable.dirty.ratio", "0.5", "and must be at most 0.1", "0.1", False),
    ("weights", "segment.ms", "600001", "and must be at most 600000", "600000", False),
    ("weights", "max.compaction.lag.ms", "1800001", "and must be at most 1800000", "1800000", False),
    ("weights", "delete.retention.ms", "86399999", "and must be at least 86400000", "86400000", False),
    ("dead-letters", "max.message.bytes", "1114123", f"and {LARGE} 1114124", "1114124", False),
    ("snapshots", "max.message.bytes", "1048588", f"and {LARGE} 1114124", "1114124", False),
    ("closes", "max.message.bytes", "1048589", "and limits.record_bytes allows 1048588", "1048588", False),
    ("closes", "retention.ms", "604799999", f"and topics.retention_ms is {WEEK_MS}", WEEK_MS, False),
    ("rewards", "retention.ms", "604799998", f"and topics.retention_ms is {WEEK_MS}", WEEK_MS, False),
]


def test_each_setting_that_does_not_fit_is_named_with_the_command_that_mends_it(cluster: Cluster) -> None:
    settings = cluster.settings()
    create(settings)
    for name, setting, wrong, *_ in MISFITS:
        cluster.alter(name, setting, wrong)
    expected_differences = set()
    for name, setting, wrong, reason, right, blocks in MISFITS:
        topic = cluster.prefix + name
        command = KAFKA_CONFIGS.format(servers=cluster.bootstrap_servers, topic=topic, setting=setting, value=right)
        expected_differences.add(Difference(topic, f"{setting} is {wrong}, {reason}", command, blocks))
    assert set(check(settings)) == expected_differences
    for difference in check(settings):  # in this order: the least lag may not be above the largest
        assignment = difference.remedy.rpartition(" ")[2]
        cluster.alter(difference.topic.removeprefix(cluster.prefix), *assignment.split("="))
    assert check(settings) == [], "the commands mend it"


def test_what_the_brokers_give_to_a_topic_that_says_nothing_is_known(cluster: Cluster) -> None:
    """Made by somebody else, without a setting of its own: Kafka's brokers keep a week, by the senders' clocks."""
    settings = cluster.settings(retention_ms=2 * int(WEEK_MS))
    create(settings)
    for name in ("commands", "weights"):
        cluster.delete(name)
        cluster.make(name, 3)
    problems = [
        (one.topic.removeprefix(cluster.prefix), one.problem.partition(",")[0], one.blocks) for one in check(settings)
    ]
    assert problems == [
        ("commands", "message.timestamp.type is CreateTime", True),
        ("weights", "cleanup.policy is delete", True),
        ("weights", "message.timestamp.type is CreateTime", False),
        ("weights", "min.cleanable.dirty.ratio is 0.5", False),
        ("weights", f"segment.ms is {WEEK_MS}", False),
        ("weights", f"max.compaction.lag.ms is {2**63 - 1}", False),
        ("weights", "max.message.bytes is 1048588", False),
        ("commands", f"retention.ms is {WEEK_MS}", False),
    ]


def test_what_is_better_than_asked_is_well(cluster: Cluster) -> None:
    settings = cluster.settings()
    create(settings)
    cluster.alter("weights", "segment.ms", "1000")
    cluster.alter("weights", "min.cleanable.dirty.ratio", "0.01")
    cluster.alter("weights", "delete.retention.ms", "90000000")
    for name in ("fills", "closes", "commands"):
        cluster.alter(name, "retention.ms", "-1")
    assert check(settings) == []


def test_inputs_are_kept_as_long_as_the_audit_log_is(cluster: Cluster) -> None:
    settings = cluster.settings()
    create(settings)
    cluster.alter("rewards", "retention.ms", "-1")
    differences = check(settings)
    assert {one.topic.removeprefix(cluster.prefix) for one in differences} == {"fills", "closes", "commands"}
    for one in differences:
        assert one.problem == f"retention.ms is {WEEK_MS}, and {cluster.prefix}rewards is kept -1"
        assert one.remedy.endswith("--add-config retention.ms=-1")


def test_a_topic_with_other_partitions_is_named_and_create_makes_nothing_beside_it(cluster: Cluster) -> None:
    settings = cluster.settings()
    cluster.make("fills", 2, CONTRACT["fills"])
    cluster.make("weights", 3, CONTRACT["weights"])
    cluster.make("rewards", 1, CONTRACT["rewards"])
    count, weights, rewards = [one for one in check(settings) if "does not exist" not in one.problem]
    prefix, servers = cluster.prefix, f"--bootstrap-server {cluster.bootstrap_servers}"
    assert count.topic == f"{prefix}fills"
    assert (count.problem, count.remedy) == ("has 2 partitions, topics.partitions is 3", "set topics.partitions to 2")
    assert not count.blocks
    assert weights.problem == f"has 3 partitions, {prefix}fills has 2, and all must have the same"
    assert weights.remedy.startswith(
        f"kafka-topics.sh {servers} --delete --topic {prefix}weights (its records are lost)"
    )
    assert rewards.remedy.startswith(f"kafka-topics.sh {servers} --alter --topic {prefix}rewards --partitions 2 ")
    assert weights.blocks
    assert rewards.blocks
    with pytest.raises(Stopped, match=rf"topics.partitions is 3, but these exist with: {prefix}fills 2"):
        create(settings)
    assert cluster.partitions().keys() == {"fills", "weights", "rewards"}


def test_topics_that_agree_with_each_other_and_not_with_the_setting_do_not_block(cluster: Cluster) -> None:
    create(cluster.settings(partitions=2))
    (difference,) = check(cluster.settings(partitions=5))
    assert (difference.problem, difference.blocks) == ("has 2 partitions, topics.partitions is 5", False)
    cluster.grow("closes", 4)
    assert [one.topic for one in check(cluster.settings(partitions=2)) if one.blocks] == [f"{cluster.prefix}closes"]


def test_more_replicas_than_there_are_is_a_difference_and_more_than_brokers_is_refused(cluster: Cluster) -> None:
    create(cluster.settings())
    problems = {one.problem for one in check(cluster.settings(replication_factor=2))}
    assert problems == {"has 1 replicas, topics.replication_factor is 2"}
    cluster.delete("rewards")
    with pytest.raises(Stopped, match=f"^{cluster.prefix}rewards: Kafka at .*replication factor"):
        create(cluster.settings(replication_factor=9))


def test_many_who_create_at_once_all_end_well(cluster: Cluster) -> None:
    settings = cluster.settings()
    made: list[str] = []
    failures: list[BaseException] = []

    def run(call: Callable[[Settings], list[str]]) -> None:
        try:
            made.extend(call(settings))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(create,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert {name.removeprefix(cluster.prefix) for name in made} == set(CONTRACT)
    assert check(settings) == []


@pytest.mark.parametrize("call", [check, create], ids=["check", "create"])
def test_no_broker_is_a_clear_line_in_bounded_time(
    call: Callable[[Settings], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "_REQUEST_SECONDS", 0.5)
    settings = Settings.model_validate({"kafka": {"bootstrap_servers": "127.0.0.1:1"}})
    with pytest.raises(Stopped, match=r"^Kafka at 127\.0\.0\.1:1: "):
        call(settings)
