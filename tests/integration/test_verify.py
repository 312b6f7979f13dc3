"""`armstream verify` on what real processors left behind: while they run, after, and after somebody wrote into it."""

import signal
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition

from armstream.codec import encode
from armstream.events import Reward, WeightVector
from armstream.keys import TASK_KEY
from tests.integration.load import history
from tests.integration.log import Record
from tests.integration.processor import Job, eventually


def write(job: Job, record: Record, value: bytes) -> None:
    """One record more, in the place of another's kind."""
    producer = Producer({"bootstrap.servers": job.bootstrap_servers})
    producer.produce(record.topic, value, record.key, partition=record.partition)
    assert producer.flush(30) == 0


def failed(job: Job) -> str:
    """What verify says where it ends with 1."""
    process = job.command("verify")
    assert process.exit_code(60) == 1, process.text
    return process.text.splitlines()[-1]


def rewards_of(job: Job) -> list[Record]:
    """The audit log without the tasks' own records."""
    return [one for one in job.log.read(job.settings.topics.names.rewards) if one.key != TASK_KEY]


def test_a_run_with_a_kill_in_it_is_right_until_somebody_writes_into_it(job: Job) -> None:
    job.set({"topics.partitions": "2"})
    job.create_topics()
    assert "has no offsets" in failed(job)
    records = history(11, 2_000, bandits=6, arms=job.settings.online_learning.arms)
    processor = job.start().wait_until_ready()
    job.send(records[:500])
    processor.kill()
    job.send(records[500:1_000])
    processor = job.start().wait_until_ready()
    for start in range(1_000, 2_000, 100):
        job.send(records[start : start + 100])
    assert job.verify()["result"] == "verified"
    job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text

    report = job.verify()

    assert (report["result"], report["partitions"], report["not_checked"]) == ("verified", 2, [])
    counts = report["counts"]
    assert counts["inputs"] == 2_000
    assert counts["rewards"] == len(rewards_of(job))
    assert counts["not_placed"] == counts["positions_in_motion"] == counts["positions_not_checked"] == 0

    vector = job.log.read(job.settings.topics.names.weights)[-1]
    assert isinstance(vector.event, WeightVector)
    write(job, vector, vector.value or b"")
    line = failed(job)
    assert line.startswith(f"different: partition {vector.partition}: {vector.topic}:{vector.partition}:")
    assert f"version {vector.event.version} of {vector.event.bandit_id!r}" in line

    reward = next(one for one in rewards_of(job) if one.partition == 0)
    assert isinstance(reward.event, Reward)
    write(job, reward, encode(reward.event))
    line = failed(job)
    assert line.startswith(f"different: partition 0: {reward.topic}:0:")
    assert f"version 1 of {reward.event.bandit_id!r}" in line


def test_a_log_whose_beginning_retention_took_is_verified_in_part_and_other_settings_are_refused(job: Job) -> None:
    job.set({"topics.partitions": "1"})
    job.create_topics()
    names = job.settings.topics.names
    processor = job.start().wait_until_ready()
    records = history(12, 1_000, bandits=3, arms=job.settings.online_learning.arms)
    for start in range(0, 1_000, 250):
        job.send(records[start : start + 250])
        job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text
    for name in (names.trades[0], names.rewards):
        job.admin.delete_records([TopicPartition(name, 0, 300)])[TopicPartition(name, 0)].result(30)

    report = job.verify()

    assert report["result"] == "partial"
    assert report["not_checked_count"] >= len(report["not_checked"]) > 0
    assert report["counts"]["inputs"] == 700
    assert report["counts"]["position_snapshots"] > report["counts"]["positions_not_checked"]
    job.set({"online_learning.reward_bound_bps": "50"})
    assert "settings with reward_bound_bps 100.0; from the log follows 50.0, as the settings file says" in failed(job)


def test_link_by_link_what_retention_took_stays_proved(job: Job, tmp_path: Path) -> None:
    """Producers of transactions leave marks between the records, which no state may take for records that are gone."""
    job.set({"topics.partitions": "1"})
    job.create_topics()
    names = job.settings.topics.names
    processor = job.start().wait_until_ready()
    records = history(13, 1_500, bandits=3, arms=job.settings.online_learning.arms)
    for start in range(0, 1_500, 500):
        job.send(records[start : start + 500])
        job.wait_until_applied(processor)
        report = job.verify("--state", str(tmp_path))
        assert (report["result"], report["not_checked"], report["counts"]["inputs"]) == ("verified", [], 500)
        ends = job.log.ends((*names.inputs, names.rewards, names.dead_letters))
        gone = [TopicPartition(name, 0, end) for (name, _), end in ends.items() if end]
        for deleted in job.admin.delete_records(gone).values():
            deleted.result(30)
    assert processor.stop() == 0, processor.text
    assert job.verify("--state", str(tmp_path))["result"] == "verified"
    assert job.verify()["result"] == "partial"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_following_goes_on_while_a_processor_runs_until_it_is_told_to_end(job: Job, number: signal.Signals) -> None:
    job.set({"topics.partitions": "2"})
    job.create_topics()
    processor = job.start().wait_until_ready()
    records = history(14, 600, bandits=4, arms=job.settings.online_learning.arms)
    job.send(records[:300])
    job.wait_until_applied(processor)
    follower = job.command("verify", "--follow")
    follower.wait_until_it_says("verified: 300 inputs", 60)
    job.send(records[300:])
    eventually(lambda: follower.text.count("verified: ") > 1, 60, "a second line")
    follower.signal(number)
    assert follower.exit_code(30) == 0, follower.text
    assert processor.stop() == 0, processor.text
