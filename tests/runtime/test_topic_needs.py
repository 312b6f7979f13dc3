"""What a topic must be like, without a broker: a topic as `create` makes it, and one setting of it that differs."""

from collections.abc import Mapping

import pytest

from armstream.runtime.topic_needs import NEEDS, Difference, Found, differences, expected
from armstream.settings import Settings

SETTINGS = Settings.model_validate({"kafka": {"bootstrap_servers": "k:9092"}})


def found(changes: Mapping[str, Mapping[str, str]] | None = None, replicas: int = 1) -> dict[str, Found]:
    """All topics as `create` makes them; `changes` are settings by the topic's name."""
    return {
        topic.name: Found(topic.partitions, replicas, {**topic.config, **(changes or {}).get(topic.name, {})})
        for topic in expected(SETTINGS)
    }


def only(topics: dict[str, Found]) -> Difference:
    (difference,) = differences(SETTINGS, topics)
    return difference


INPUTS, AUDIT = ("trades", "commands"), ("rewards", "dead-letters")
SNAPSHOTS = ("weights", "snapshots")
DAY_MS = "86400000"
# (topics, setting, a value that can delete what was not read or what is needed, the value of the command, blocks)
CAN_DELETE = [
    (INPUTS + AUDIT, "retention.ms", "604799999", "604800000", False),
    (INPUTS + AUDIT, "retention.bytes", "107374182400", "-1", False),
    (INPUTS + AUDIT, "cleanup.policy", "compact", "delete", True),
    (INPUTS + AUDIT, "cleanup.policy", "compact,delete", "delete", True),
    (INPUTS + AUDIT, "cleanup.policy", "delete,compact", "delete", True),
    (INPUTS, "message.timestamp.type", "CreateTime", "LogAppendTime", True),
    (AUDIT + SNAPSHOTS, "message.timestamp.type", "CreateTime", "LogAppendTime", False),
    (SNAPSHOTS, "cleanup.policy", "delete", "compact", True),
    (SNAPSHOTS, "cleanup.policy", "compact,delete", "compact", True),
    (SNAPSHOTS, "cleanup.policy", "", "compact", True),
    (SNAPSHOTS, "delete.retention.ms", "86399999", DAY_MS, False),
    (SNAPSHOTS, "delete.retention.ms", "3600000", DAY_MS, False),
    (SNAPSHOTS, "delete.retention.ms", "3599999", DAY_MS, True),
    (SNAPSHOTS, "min.compaction.lag.ms", "1", "0", False),
    (SNAPSHOTS, "max.compaction.lag.ms", "1800001", "1800000", False),
    (SNAPSHOTS, "min.cleanable.dirty.ratio", "0.11", "0.1", False),
    (SNAPSHOTS, "segment.ms", "600001", "600000", False),
]


@pytest.mark.parametrize(
    ("topic", "setting", "wrong", "right", "blocks"),
    [(topic, *case) for topics, *case in CAN_DELETE for topic in topics],
)
def test_what_can_delete_is_named_and_its_command_mends_it(
    topic: str, setting: str, wrong: str, right: str, blocks: bool
) -> None:
    topics = found() | {topic: Found(8, 1, {**found()[topic].config, setting: wrong})}
    difference = next(one for one in differences(SETTINGS, topics) if one.topic == topic)
    assert f"{setting} is {wrong}, and " in difference.problem
    assert difference.remedy == (
        f"kafka-configs.sh --bootstrap-server k:9092 --alter --entity-type topics --entity-name {topic} "
        f"--add-config {setting}={right}"
    )
    assert difference.blocks == blocks
    assert differences(SETTINGS, topics | {topic: Found(8, 1, {**topics[topic].config, setting: right})}) == []


@pytest.mark.parametrize(
    ("topic", "setting", "value"),
    [
        ("trades", "cleanup.policy", ""),  # nothing is ever deleted
        ("trades", "retention.ms", "-1"),
        ("weights", "retention.ms", "1"),  # of what is compacted, nothing goes by its age or the topic's size
        ("snapshots", "retention.bytes", "1"),
        ("weights", "delete.retention.ms", "86400001"),
        ("trades", "segment.ms", "1"),  # only how soon deletion can act
        ("trades", "local.retention.ms", "1"),  # what is deleted here lies in the remote storage
        ("trades", "remote.log.delete.on.disable", "true"),  # where nothing is remote
        ("trades", "unclean.leader.election.enable", "true"),  # where there is no second replica
    ],
)
def test_what_deletes_nothing_that_is_needed_is_let_be(topic: str, setting: str, value: str) -> None:
    assert differences(SETTINGS, found({topic: {setting: value}})) == []


def test_retention_without_deletion_is_not_asked_for_and_counts_as_for_ever() -> None:
    """An empty cleanup.policy keeps all: inputs must then be kept as long."""
    topics = found({"rewards": {"cleanup.policy": "", "retention.ms": "1", "retention.bytes": "1"}})
    assert [(one.topic, one.problem) for one in differences(SETTINGS, topics)] == [
        ("trades", "retention.ms is 604800000, and rewards is kept -1"),
        ("commands", "retention.ms is 604800000, and rewards is kept -1"),
    ]


@pytest.mark.parametrize("topic", INPUTS + AUDIT + SNAPSHOTS)
def test_an_unclean_election_loses_what_was_acknowledged_and_blocks(topic: str) -> None:
    topics = found()
    topics[topic] = Found(8, 2, {**topics[topic].config, "unclean.leader.election.enable": "true"})
    difference = only(topics)
    assert difference.problem == (
        "unclean.leader.election.enable is true, and must be false: "
        "a replica that lacks acknowledged records may lead, and they are lost unnoticed"
    )
    assert difference.remedy.endswith(f"--entity-name {topic} --add-config unclean.leader.election.enable=false")
    assert difference.blocks


def test_two_in_sync_are_asked_of_what_has_three_replicas_whatever_the_settings_say() -> None:
    topics = found()
    topics["rewards"] = Found(8, 3, {**topics["rewards"].config, "min.insync.replicas": "1"})
    difference = only(topics)
    assert difference.problem == "min.insync.replicas is 1, and must be at least 2"
    assert difference.remedy.endswith("--entity-name rewards --add-config min.insync.replicas=2")
    assert not difference.blocks


def test_two_in_sync_are_not_asked_of_what_has_too_few_replicas_to_write_then() -> None:
    settings = Settings.model_validate({"topics": {"replication_factor": 3}})
    problems = {one.problem for one in differences(settings, found(replicas=1))}
    assert problems == {"has 1 replicas, topics.replication_factor is 3"}


def test_deletion_of_what_is_remote_when_that_is_turned_off_is_named() -> None:
    difference = only(found({"trades": {"remote.storage.enable": "true", "remote.log.delete.on.disable": "true"}}))
    assert difference.problem == (
        "remote.log.delete.on.disable is true, and must be false: "
        "who turns remote.storage.enable off deletes what lies there, read or not"
    )
    assert difference.remedy.endswith("--entity-name trades --add-config remote.log.delete.on.disable=false")
    assert not difference.blocks


def test_a_broker_that_does_not_know_a_newer_setting_is_let_be() -> None:
    topics = {
        name: Found(8, 1, {key: value for key, value in topic.config.items() if key != "min.compaction.lag.ms"})
        for name, topic in found().items()
    }
    assert differences(SETTINGS, topics) == []


def test_every_need_is_one_that_can_be_violated_here() -> None:
    tried = {setting for _, setting, *_ in CAN_DELETE}
    tried |= {"unclean.leader.election.enable", "min.insync.replicas", "remote.log.delete.on.disable"}
    assert tried - {"retention.ms"} == NEEDS.keys()
