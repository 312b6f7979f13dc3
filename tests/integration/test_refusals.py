"""What cannot be is refused with one line that says what is wrong and what mends it, and exit code 1."""

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.cimpl import NewPartitions

from tests.integration.check import check
from tests.integration.load import history
from tests.integration.processor import Job, Process, eventually


def run_on(job: Job, record_count: int, seed: int = 1) -> Process:
    """A processor that has applied so many records."""
    send_some(job, record_count, seed)
    processor = job.start().wait_until_ready()
    job.wait_until_applied(processor)
    return processor


def send_some(job: Job, record_count: int, seed: int) -> None:
    job.send(history(seed, record_count, bandits=8, arms=job.settings.online_learning.arms, name=f"s{seed}-"))


def refusal_of(process: Process) -> str:
    """The one line of an exit with code 1; a crash's many lines are none."""
    assert process.exit_code(60) == 1, process.text
    assert "Traceback" not in process.text, process.text
    return process.text.strip().splitlines()[-1]


def test_topics_that_do_not_exist_are_asked_for(job: Job) -> None:
    line = refusal_of(job.start())
    assert job.settings.topics.names.trades[0] in line
    assert "armstream topics create" in line


def test_a_topic_with_another_partition_count_is_named(job: Job) -> None:
    job.create_topics()
    weights = job.settings.topics.names.weights
    for done in job.admin.create_partitions([NewPartitions(weights, 6)]).values():
        done.result()
    line = refusal_of(job.start())
    assert f"{weights}: has 6 partitions" in line
    assert "topics create" in line


def test_a_member_with_other_topics_stops_the_processor(job: Job) -> None:
    """`range` would give it a task's trades without its commands."""
    job.create_topics()
    names = job.settings.topics.names
    stranger = Consumer(
        {"bootstrap.servers": job.bootstrap_servers, "group.id": job.settings.kafka.group_id,
         "partition.assignment.strategy": "range", "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
    )  # fmt: skip
    try:
        stranger.subscribe(list(names.trades))
        eventually(lambda: stranger.poll(0.1) is None and bool(stranger.assignment()), 30, "the stranger is a member")
        processor = job.start()
        eventually(lambda: stranger.poll(0.1) is None and not processor.is_alive, 30, f"an end of\n{processor.text}")
        line = refusal_of(processor)
    finally:
        stranger.close()
    assert "same topics" in line
    assert names.commands in line


def test_a_second_process_with_the_same_name_takes_over_and_the_first_says_so(job: Job) -> None:
    """Nothing is lost or doubled by it."""
    job.create_topics()
    first = run_on(job, 500)
    second = job.start()
    line = refusal_of(first)
    assert "another process, on " in line
    assert "on /" not in line  # Java shows an address so
    assert "has taken over the instance name 'a'" in line
    assert "start it again" not in line
    second.wait_until_ready()
    send_some(job, 500, seed=2)
    job.wait_until_applied(second)
    assert second.stop() == 0, second.text
    assert len(check(job).inputs) == 1_000


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("online_learning.gamma", "0.1"),
        ("online_learning.reward_bound_bps", "200.0"),
        ("online_learning.families", "[lightgbm, xgboost, ridge]"),
    ],
)
def test_settings_that_do_not_fit_the_snapshots_are_named(job: Job, setting: str, value: str) -> None:
    job.create_topics()
    assert run_on(job, 200).stop() == 0
    line = refusal_of(job.start(overrides={setting: value}))
    assert {"gamma": "gamma", "reward_bound_bps": "reward_bound_bps", "families": "arms"}[setting.split(".")[1]] in line
    assert "other settings" in line
    again = job.start().wait_until_ready()  # and nothing was spoiled by the attempt
    send_some(job, 200, seed=2)
    job.wait_until_applied(again)
    assert again.stop() == 0
    check(job)


def test_input_that_retention_ate_unread_is_named(job: Job) -> None:
    job.set({"topics.partitions": "1"})
    job.create_topics()
    assert run_on(job, 200).stop() == 0
    send_some(job, 100, seed=2)
    trades = job.settings.topics.names.trades[0]
    delete_up_to(job, trades, 250)
    line = refusal_of(job.start())
    assert f"{trades}:0" in line
    assert "200 to 249" in line
    assert "retention" in line


def test_input_that_retention_ate_after_it_was_read_is_not_missed(job: Job) -> None:
    job.set({"topics.partitions": "1"})
    job.create_topics()
    assert run_on(job, 200).stop() == 0
    delete_up_to(job, job.settings.topics.names.trades[0], 200)
    processor = job.start().wait_until_ready()
    send_some(job, 100, seed=2)
    job.wait_until_applied(processor)
    assert processor.stop() == 0


def delete_up_to(job: Job, topic: str, offset: int) -> None:
    for done in job.admin.delete_records([TopicPartition(topic, 0, offset)]).values():
        done.result()


def test_offsets_that_somebody_moved_are_named(job: Job) -> None:
    """The snapshot and the group's offsets left in one transaction; where they disagree, nothing is guessed."""
    job.set({"topics.partitions": "1"})
    job.create_topics()
    assert run_on(job, 200).stop() == 0
    group, trades = job.settings.kafka.group_id, job.settings.topics.names.trades[0]
    eventually(lambda: has_no_members(job, group), 30, "the static member's session has ended", every_seconds=0.5)
    moved = ConsumerGroupTopicPartitions(group, [TopicPartition(trades, 0, 150)])
    for done in job.admin.alter_consumer_group_offsets([moved]).values():
        done.result()
    line = refusal_of(job.start())
    assert "200" in line
    assert "150" in line
    assert "armstream reset to-snapshots" in line


def has_no_members(job: Job, group: str) -> bool:
    return not job.admin.describe_consumer_groups([group])[group].result().members
