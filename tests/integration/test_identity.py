"""Topics and groups that are not what they were stop a processor with one line; no record is passed over."""

import time
from collections import Counter

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import NewPartitions, NewTopic  # type: ignore[attr-defined]  # a public name, not declared so
from msgspec.structs import replace

from armstream.codec import decode, encode
from armstream.events import Reward, TaskSnapshot, WeightVector
from armstream.keys import TASK_KEY, claim_key
from armstream.runtime.identity import ask, identities
from tests.integration.check import check
from tests.integration.log import latest
from tests.integration.processor import Job, Process, eventually
from tests.integration.test_refusals import refusal_of, run_on, send_some


@pytest.fixture
def lone(job: Job) -> Job:
    """A job of one partition, with its topics."""
    job.set({"topics.partitions": "1"})
    job.create_topics()
    return job


def topic_id(job: Job, name: str) -> str:
    return identities(ask(job.admin, [name]))[name].topic_id


def make_anew(job: Job, *names: str) -> None:
    """Deletes the topics, and makes them as they were."""
    for done in job.admin.delete_topics(list(names), operation_timeout=30).values():
        done.result()

    def made() -> bool:
        try:
            job.create_topics()
        except KafkaException:  # a broker that still deletes
            return False
        return len(identities(ask(job.admin, names))) == len(names)

    eventually(made, 30, f"{names} are there again", every_seconds=0.2)


def task_snapshots(job: Job) -> dict[int, TaskSnapshot]:
    """The newest of each task."""
    found = {}
    for task, values in latest(job.log.read(job.settings.topics.names.snapshots)).items():
        if TASK_KEY in values:
            snapshot = decode(values[TASK_KEY])
            assert isinstance(snapshot, TaskSnapshot)
            found[task] = snapshot
    return found


def write(job: Job, key: bytes, value: bytes) -> None:
    """A snapshot by hand, on partition 0."""
    producer = Producer({"bootstrap.servers": job.bootstrap_servers})
    producer.produce(job.settings.topics.names.snapshots, value, key, partition=0)
    assert producer.flush(30) == 0


# Topics that were made anew.


def test_a_snapshot_names_its_group_its_topics_and_their_partitions(lone: Job) -> None:
    assert run_on(lone, 100).stop() == 0
    settings = lone.settings
    ids = {name: topic_id(lone, name) for name in settings.topics.names.all}
    snapshot = task_snapshots(lone)[0]
    assert (snapshot.group, snapshot.topic_ids, snapshot.partitions) == (settings.kafka.group_id, ids, 1)
    assert lone.verify()["result"] == "verified"


@pytest.mark.parametrize("at", [0, 1], ids=["trades", "commands"])
def test_an_input_that_was_made_anew_while_nothing_ran_is_not_read_on(lone: Job, at: int) -> None:
    """The new one is longer than the old offset: nothing in Kafka says that anything is wrong."""
    name = lone.settings.topics.names.inputs[at]
    assert run_on(lone, 100).stop() == 0
    before = topic_id(lone, name)
    make_anew(lone, name)
    send_some(lone, 150, seed=2)
    line = refusal_of(lone.start())
    assert f"{name} was deleted and made anew: its id was {before}, and is {topic_id(lone, name)}" in line
    assert "`armstream reset anew --group NEW --suffix SUFFIX`" in line
    assert "kafka-consumer-groups" not in line
    verified = lone.command("verify")
    assert verified.exit_code(60) == 1
    assert "made anew" in verified.text


def test_an_input_that_is_made_anew_while_it_is_read_ends_the_process(lone: Job) -> None:
    name = lone.settings.topics.names.trades[0]
    processor = run_on(lone, 100)
    before = topic_id(lone, name)
    make_anew(lone, name)
    send_some(lone, 150, seed=2)
    line = refusal_of(processor)
    assert f"{name} was deleted and made anew: its id was {before}, and is {topic_id(lone, name)}" in line
    assert "`armstream reset anew" in line
    assert line.partition("run: ")[2] in refusal_of(lone.start())  # and so does each start after it


def test_state_that_was_lost_with_its_topic_is_missed(lone: Job) -> None:
    """Else closes would become orphans, one by one."""
    assert run_on(lone, 100).stop() == 0
    name = lone.settings.topics.names.snapshots
    make_anew(lone, name)
    line = refusal_of(lone.start())
    assert "there is no snapshot of it" in line


def test_weights_that_were_made_anew_are_published_again(lone: Job) -> None:
    """Else engines would have none until each bandit's next reward."""
    assert run_on(lone, 200).stop() == 0
    names = lone.settings.topics.names
    before = latest(lone.log.read(names.weights))[0]
    make_anew(lone, names.weights)
    processor = lone.start().wait_until_ready()
    eventually(lambda: len(lone.log.read(names.weights)) >= len(before), 30, "vectors")
    assert processor.stop() == 0
    after = latest(lone.log.read(names.weights))[0]
    assert {key: decode(value) for key, value in after.items()} == {key: decode(value) for key, value in before.items()}
    assert all(isinstance(decode(value), WeightVector) for value in after.values())
    assert f"{names.weights} was deleted and made anew" in processor.text
    assert lone.verify()["result"] == "verified"


# State that is gone.


def test_state_and_offsets_that_are_both_gone_are_missed_where_outputs_stand(lone: Job) -> None:
    """A bandit would begin again at version 1, which engines ignore for ever."""
    names = lone.settings.topics.names
    assert run_on(lone, 100).stop() == 0
    make_anew(lone, names.snapshots)
    lone.set({"kafka.group_id": names.weights + "-other"})  # which has no offsets
    line = refusal_of(lone.start())
    assert f"{names.weights}:0 holds records" in line
    assert "version 1" in line
    assert "`armstream reset anew" in line
    make_anew(lone, names.weights)
    assert f"{names.rewards}:0 holds records" in refusal_of(lone.start())


def test_snapshots_that_are_gone_are_missed_where_offsets_stand(lone: Job) -> None:
    names = lone.settings.topics.names
    assert run_on(lone, 100).stop() == 0
    make_anew(lone, names.snapshots)
    line = refusal_of(lone.start())
    assert "there is no snapshot of it" in line
    assert "`armstream reset anew" in line
    assert "to-snapshots" not in line


def test_what_an_older_processor_did_not_say_is_taken_as_it_is_and_said(lone: Job) -> None:
    assert run_on(lone, 100).stop() == 0
    snapshot = task_snapshots(lone)[0]
    write(lone, TASK_KEY, encode(replace(snapshot, group="", topic_ids={}, partitions=0)))
    processor = lone.start().wait_until_ready()
    eventually(lambda: task_snapshots(lone)[0] == snapshot, 30, "the snapshot says whose it is")
    assert processor.stop() == 0
    check(lone)


# Two groups.


def rewards_by_version(job: Job) -> Counter[tuple[str, int]]:
    events = [record.event for record in job.audit()]
    return Counter((event.bandit_id, event.version) for event in events if isinstance(event, Reward))


def test_a_second_group_is_refused_and_the_first_goes_on(lone: Job) -> None:
    processor = run_on(lone, 100)
    group = lone.settings.kafka.group_id
    line = refusal_of(lone.start("b", overrides={"kafka.group_id": group + "-b"}))
    assert f"these topics are group {group!r}'s" in line
    assert "publish every reward twice" in line
    send_some(lone, 100, seed=2)
    lone.wait_until_applied(processor)
    assert processor.stop() == 0
    assert set(rewards_by_version(lone).values()) == {1}
    check(lone)


@pytest.mark.parametrize("seed", range(2))
def test_of_two_groups_that_start_together_on_fresh_topics_one_goes_on(job: Job, seed: int) -> None:
    job.set({"topics.partitions": "3"})
    job.create_topics()
    send_some(job, 200, seed)
    groups = [job.settings.kafka.group_id, job.settings.kafka.group_id + "-b"]
    both = [job.start("same", overrides={"kafka.group_id": group}) for group in groups]
    eventually(lambda: sum(process.is_alive for process in both) == 1, 60, "one of them has ended", every_seconds=0.2)
    (first,) = (process for process in both if process.is_alive)
    (second,) = (process for process in both if not process.is_alive)
    assert f"these topics are group {groups[both.index(first)]!r}'s" in refusal_of(second)
    job.set({"kafka.group_id": groups[both.index(first)]})
    job.wait_until_applied(first)
    assert first.stop() == 0
    first_key = next(one.key for one in job.log.read(job.settings.topics.names.snapshots) if one.partition == 0)
    assert first_key == claim_key(job.settings.kafka.group_id, "same"), "it worked before it had claimed"
    assert {snapshot.group for snapshot in task_snapshots(job).values()} == {job.settings.kafka.group_id}
    assert len(task_snapshots(job)) == 3
    assert set(rewards_by_version(job).values()) == {1}
    check(job)


def test_the_first_claim_holds_though_its_process_died_at_once(lone: Job) -> None:
    for group in ("other", lone.settings.kafka.group_id):  # and so did ours, which came second
        write(lone, claim_key(group, "x"), encode(TaskSnapshot(0, {}, "", group, {}, 1)))
    send_some(lone, 100, seed=1)
    line = refusal_of(lone.start())
    assert "these topics are group 'other''s" in line
    assert rewards_by_version(lone) == Counter()
    lone.set({"kafka.group_id": "other"})
    processor = lone.start().wait_until_ready()
    lone.wait_until_applied(processor)
    assert processor.stop() == 0
    check(lone)


# Partitions.


def add_partitions(job: Job, count: int, *names: str) -> None:
    for done in job.admin.create_partitions([NewPartitions(name, count) for name in names]).values():
        done.result()


def growth_of(process: Process) -> str:
    line = refusal_of(process)
    assert "has 2 partitions, and had 1 when its state was learned" in line
    assert "Make new topics" in line
    assert "--alter" not in line
    return line


def test_partitions_that_are_added_while_it_runs_are_said_at_once(lone: Job) -> None:
    trades = lone.settings.topics.names.trades[0]
    processor = run_on(lone, 100)
    add_partitions(lone, 2, trades)
    started = time.monotonic()
    assert trades in growth_of(processor)
    assert time.monotonic() - started < 45  # ten seconds, on a machine with nothing else to do


def test_an_input_that_was_made_anew_with_fewer_partitions_is_named_before_its_neighbours_are_blamed(job: Job) -> None:
    """Else the line advises to delete what is whole."""
    job.set({"topics.partitions": "2"})
    job.create_topics()
    assert run_on(job, 100).stop() == 0
    trades = job.settings.topics.names.trades[0]
    for done in job.admin.delete_topics([trades], operation_timeout=30).values():
        done.result()
    eventually(lambda: not identities(ask(job.admin, [trades])), 30, "it is gone")
    for done in job.admin.create_topics([NewTopic(trades, 1, 1)]).values():
        done.result()
    line = refusal_of(job.start())
    assert f"{trades} was deleted and made anew" in line
    assert "--delete" not in line


def test_an_input_that_has_grown_while_nothing_ran_is_named_before_its_neighbours_are_blamed(lone: Job) -> None:
    assert run_on(lone, 100).stop() == 0
    add_partitions(lone, 2, lone.settings.topics.names.trades[0])
    growth_of(lone.start())


def test_partitions_that_were_added_to_all_topics_while_nothing_ran_are_said(lone: Job) -> None:
    assert run_on(lone, 100).stop() == 0
    add_partitions(lone, 2, *lone.settings.topics.names.all)
    lone.set({"topics.partitions": "2"})
    growth_of(lone.start())
