"""Engines may write in transactions: the marks that these leave in the inputs are no records to come."""

from collections.abc import Iterable

from confluent_kafka import Producer, TopicPartition

from armstream.codec import encode
from tests.integration.check import check
from tests.integration.load import Event, history
from tests.integration.processor import Job, eventually


def send_in_transactions(job: Job, events: Iterable[Event]) -> None:
    """Every second transaction is aborted, and its records are sent again in the next."""
    (topic,) = job.settings.topics.names.trades
    producer = Producer(
        {"bootstrap.servers": job.bootstrap_servers, "partitioner": "murmur2_random", "transactional.id": topic}
    )
    producer.init_transactions(30)
    waiting = list(events)
    for end in range(100, len(waiting) + 100, 100):
        for is_meant in (False, True):
            producer.begin_transaction()
            for event in waiting[end - 100 : end]:
                producer.produce(topic, encode(event), event.bandit_id.encode())
            producer.flush(30)
            if is_meant:
                producer.commit_transaction(30)
            else:
                producer.abort_transaction(30)
    producer.close()


def test_the_end_is_reached_behind_the_marks_and_input_that_was_read_may_be_deleted(job: Job) -> None:
    job.create_topics()
    arms = job.settings.online_learning.arms
    first, second = (history(seed, 500, bandits=8, arms=arms, name=f"s{seed}-") for seed in (1, 2))
    processor = job.start().wait_until_ready()
    send_in_transactions(job, first)

    job.wait_until_applied(processor)
    eventually(lambda: "armstream_consumer_lag_records" in processor.metrics(), 10, "a lag")
    eventually(lambda: not lags(processor.metrics()) - {0.0}, 10, "no lag")
    assert processor.stop() == 0, processor.text
    check(job)

    ends = job.log.ends(job.settings.topics.names.inputs)
    behind = [TopicPartition(topic, partition, end) for (topic, partition), end in ends.items() if end]
    for deleted in job.admin.delete_records(behind).values():
        deleted.result()
    again = job.start().wait_until_ready()
    applied = sum(job.log.committed(job.settings.topics.names.inputs).values())
    send_in_transactions(job, second)
    job.wait_until_applied(again)
    assert again.stop() == 0, again.text
    assert sum(job.log.committed(job.settings.topics.names.inputs).values()) >= applied + len(second)


def lags(metrics: str) -> set[float]:
    lines = [line for line in metrics.splitlines() if line.startswith("armstream_consumer_lag_records{")]
    return {float(line.rpartition(" ")[2]) for line in lines}
