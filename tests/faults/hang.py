"""`python -m tests.faults.hang`: how often a bare producer hangs behind one request that arrives after its own retry.

Every second transaction has such a request. A hang is a send_offsets_to_transaction of 2 s that is not back after 20 s.
"""

import argparse
import logging
import os
import random
import threading
import time
from contextlib import suppress
from typing import NoReturn

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from deploy.kafka.broker import start_kafka
from tests.faults.proxy import Api, Late, Proxy

_HANG_SECONDS = 20.0
_APIS = (Api.PRODUCE, Api.ADD_PARTITIONS_TO_TXN, Api.ADD_OFFSETS_TO_TXN, Api.TXN_OFFSET_COMMIT)
_PARTITIONS = range(4)


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hang", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recovery", choices=("none", "rebootstrap"), default="none", help="librdkafka's default: 2nd")
    options = parser.parse_args()
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    with (
        start_kafka(environment=environment) as kafka,
        Proxy(kafka.proxied.advertised, kafka.proxied.address) as proxy,
    ):
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        for made in admin.create_topics([NewTopic(name, len(_PARTITIONS), 1) for name in ("in", "out")]).values():
            made.result()
        tries, hangs = _try(proxy, kafka.proxied.advertised, options.minutes, options.seed, options.recovery)
    print(f"metadata.recovery.strategy {options.recovery}: {hangs} hangs in {tries} late requests", flush=True)  # noqa: T201
    os._exit(0)  # a producer that hangs would not let it go


def _try(proxy: Proxy, servers: str, minutes: float, seed: int, recovery: str) -> tuple[int, int]:
    """(late requests, hangs)."""
    draw, tries, hangs, left_behind = random.Random(seed), 0, 0, []
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "hang", "group.instance.id": "a"})
    consumer.subscribe(["in"])
    producer = _open(servers, recovery)
    until = time.monotonic() + minutes * 60
    while time.monotonic() < until:
        for is_late in (False, True):
            producer.begin_transaction()
            for partition in _PARTITIONS:
                producer.produce("out", b"x", partition=partition)
            if is_late:
                proxy.next(draw.choice(_APIS), Late(draw.uniform(0.02, 1.0)))
                tries += 1
            if not _send_offsets(producer, consumer):
                hangs += 1
                left_behind.append(producer)  # its end would hang too
                break
        else:
            with suppress(KafkaException):  # what came late may have ended its transaction for it
                producer.close()
        proxy.forget()
        producer = _open(servers, recovery)
    return tries, hangs


def _open(servers: str, recovery: str) -> Producer:
    producer = Producer(
        {"bootstrap.servers": servers, "transactional.id": "hang", "transaction.timeout.ms": 60_000, "log_level": 0,
         "retry.backoff.ms": 1, "linger.ms": 0, "metadata.recovery.strategy": recovery}
    )  # fmt: skip
    producer.init_transactions(60)
    return producer


def _send_offsets(producer: Producer, consumer: Consumer) -> bool:
    """Ends the transaction, as it may; False where its offsets are not sent in time."""

    def call() -> None:
        offsets = [TopicPartition("in", partition, 1) for partition in _PARTITIONS]
        try:
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 2.0)
            producer.commit_transaction(10)
        except KafkaException as failure:
            logging.getLogger(__name__).info("%s", failure)
            if failure.args[0].txn_requires_abort():
                producer.abort_transaction(10)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    deadline = time.monotonic() + _HANG_SECONDS
    while thread.is_alive() and time.monotonic() < deadline:
        consumer.poll(0.01)
    return not thread.is_alive()


if __name__ == "__main__":
    main()
