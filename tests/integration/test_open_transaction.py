"""An open transaction hides what is committed behind it, and holds the group's offsets: a restore waits for its end."""

import time

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.integration.check import check
from tests.integration.load import history
from tests.integration.processor import Job


def test_a_restore_waits_for_a_strangers_transaction_and_loses_nothing(job: Job) -> None:
    job.create_topics()
    records = history(9, 1_500, bandits=20, arms=job.settings.online_learning.arms)
    processor = job.start().wait_until_ready()
    job.send(records[:500])
    job.wait_until_applied(processor)

    stranger = Producer({"bootstrap.servers": job.bootstrap_servers, "transactional.id": f"stranger-{time.time()}"})
    stranger.init_transactions(30)
    stranger.begin_transaction()
    name = job.settings.topics.names.snapshots
    for partition in range(4):
        stranger.produce(name, b"never committed", b"a stranger's key", partition=partition)
    assert stranger.flush(30) == 0

    job.send(records[500:1_000])  # these snapshots are committed behind the open transaction
    job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text

    again = job.start()
    again.wait_until_it_says("assigned tasks [0, 1, 2, 3]")
    for _ in range(30):
        assert not again.is_ready, f"it did not wait:\n{again.text}"
        time.sleep(0.1)
    assert "is ready at" not in again.text
    stranger.abort_transaction(30)
    again.wait_until_ready()
    job.send(records[1_000:])
    job.wait_until_applied(again)
    assert again.stop() == 0, again.text

    assert len(check(job).inputs) == len(records)


def test_what_a_killed_process_of_an_older_version_left_open_is_waited_for(job: Job) -> None:
    """Its transactional id had another form, so no start settles it. The brokers end it, after its timeout of 60 s."""
    job.set({"topics.partitions": "1"})
    job.create_topics()
    records = history(10, 400, bandits=5, arms=job.settings.online_learning.arms)
    processor = job.start().wait_until_ready()
    job.send(records[:200])
    job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text

    group, trades = job.settings.kafka.group_id, job.settings.topics.names.trades[0]
    older = Producer({"bootstrap.servers": job.bootstrap_servers, "transactional.id": f"{group}-a"})
    older.init_transactions(30)
    older.begin_transaction()
    member = Consumer({"bootstrap.servers": job.bootstrap_servers, "group.id": group})
    older.send_offsets_to_transaction([TopicPartition(trades, 0, 400)], member.consumer_group_metadata(), 30)
    member.close()

    job.send(records[200:])
    again = job.start()
    again.wait_until_it_says("assigned tasks [0]")
    for _ in range(20):
        assert not again.is_ready, f"it did not wait:\n{again.text}"
        time.sleep(0.1)
    older.abort_transaction(30)  # as the brokers do
    again.wait_until_ready()
    job.wait_until_applied(again)
    assert again.stop() == 0, again.text
    assert len(check(job).inputs) == len(records)
