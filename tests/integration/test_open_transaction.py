"""A stranger's open transaction on a snapshot topic hides what is committed behind it: a restore waits for its end."""

import time

import pytest
from confluent_kafka import Producer

from tests.integration.check import check
from tests.integration.load import history
from tests.integration.processor import Job


@pytest.mark.parametrize("topic", ["bandit_snapshots", "position_snapshots"])
def test_a_restore_waits_for_a_strangers_transaction_and_loses_nothing(job: Job, topic: str) -> None:
    job.create_topics()
    records = history(9, 1_500, bandits=20, arms=job.settings.online_learning.arms)
    processor = job.start().wait_until_ready()
    job.send(records[:500])
    job.wait_until_applied(processor)

    stranger = Producer({"bootstrap.servers": job.bootstrap_servers, "transactional.id": f"stranger-{time.time()}"})
    stranger.init_transactions(30)
    stranger.begin_transaction()
    name = getattr(job.settings.topics.names, topic)
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
