"""The floor: the same records consumed and produced in the same transactions, without work.

`python -m tests.bench.floor SETTINGS`; SIGTERM ends it. Client, client settings and batches are Armstream's: what is
there, up to 10,000 records, in one transaction with the input offsets. Each record goes out once, as it came.
"""

import signal
import sys
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from armstream.settings import Settings, load

WAIT_SECONDS = 0.1


def run(settings: Settings) -> None:
    client: dict[str, Any] = {"bootstrap.servers": settings.kafka.bootstrap_servers}
    group = {"group.id": settings.kafka.group_id, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    consumer = Consumer({**client, **group, "isolation.level": "read_committed", "fetch.queue.backoff.ms": 5})
    name = {"transactional.id": f"{settings.kafka.group_id}-floor", "retry.backoff.ms": 1, "linger.ms": 5}
    producer = Producer({**client, **name, "queue.buffering.max.messages": 1_000_000})
    consumer.subscribe(list(settings.topics.names.trades))
    producer.init_transactions(30)
    while True:
        first = consumer.poll(WAIT_SECONDS)
        if first is not None:
            more = consumer.consume(settings.limits.batch_records - 1, 0)
            pass_on(consumer, producer, settings.topics.names.rewards, [first, *more])


def pass_on(consumer: Consumer, producer: Producer, topic: str, messages: list[Any]) -> None:
    """One transaction."""
    chunks: dict[int, list[dict[str, bytes]]] = {}
    ends: dict[tuple[str, int], int] = {}
    for message in messages:
        if message.error() is not None:
            raise RuntimeError(str(message.error()))
        partition = message.partition()
        chunks.setdefault(partition, []).append({"key": message.key(), "value": message.value()})
        ends[message.topic(), partition] = message.offset() + 1
    producer.begin_transaction()
    for partition, chunk in chunks.items():
        queued = producer.produce_batch(topic, chunk, partition)
        if queued != len(chunk):
            raise RuntimeError(f"{len(chunk) - queued} records were not queued")
    offsets = [TopicPartition(source, partition, offset) for (source, partition), offset in ends.items()]
    producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
    producer.commit_transaction()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # KeyboardInterrupt, which ends the loop
    try:
        run(load(Path(sys.argv[1]), {}))
    except KeyboardInterrupt:
        sys.exit(0)
