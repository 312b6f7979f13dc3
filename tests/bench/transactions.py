"""What a transaction costs by what it touches: `python -m tests.bench.transactions [--rounds N]`.

Each is as Armstream's: small records, the offsets of its tasks, one commit, with Armstream's own client settings. Cases
run in turns, so that a slow moment of the machine meets them all; a round of a case is the median of its transactions.
"""

import argparse
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from armstream.settings import Settings
from deploy.kafka.broker import start_kafka

PARTITIONS, TRANSACTIONS, RECORDS = 8, 40, 10
VALUE = bytes(200)
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Case:
    """`producers` transactions at once, each of so many tasks that write to so many topics."""

    producers: int
    tasks: int
    topics: int
    order: str = "records first"

    def shown(self) -> str:
        once = "one producer" if self.producers == 1 else f"{self.producers} producers at once"
        return f"{once}, tasks each {self.tasks}, topics {self.topics}, {self.order}"


CASES = (
    *(Case(1, tasks, 3) for tasks in (1, 2, 4, 8)),
    *(Case(1, tasks, 4) for tasks in (1, 4, 8)),  # a state on two topics, as it was
    Case(1, 1, 3, "offsets first"),
    Case(1, 8, 3, "offsets first"),
    Case(1, 8, 3, "records flushed first"),
    Case(2, 4, 3),
    Case(4, 2, 3),
    Case(8, 1, 3),
)


class Committing:
    """One producer with the group of its own that its offsets go to."""

    def __init__(self, servers: str, name: str, prefix: str) -> None:
        settings = Settings.model_validate({"instance": name, "kafka": {"bootstrap_servers": servers}})
        self._producer = Producer({**settings.producer_configuration(), "transactional.id": f"{prefix}{name}"})
        self._producer.init_transactions(SECONDS)
        client: dict[str, Any] = {"bootstrap.servers": servers, "group.id": f"{prefix}{name}"}
        self._consumer = Consumer(client)
        self._prefix = prefix
        self._count = 0

    def commit(self, case: Case, first_task: int) -> None:
        self._count += 1
        tasks = [(first_task + number) % PARTITIONS for number in range(case.tasks)]
        producer = self._producer
        producer.begin_transaction()
        offsets = [TopicPartition(f"{self._prefix}input", task, self._count) for task in tasks]
        metadata = self._consumer.consumer_group_metadata()
        if case.order == "offsets first":
            producer.send_offsets_to_transaction(offsets, metadata, SECONDS)
        for topic in range(case.topics):
            for task in tasks:
                records = [{"key": b"book", "value": VALUE} for _ in range(RECORDS)]
                if producer.produce_batch(f"{self._prefix}{topic}", records, task) < RECORDS:
                    raise SystemExit("a record was not queued")
        if case.order == "records flushed first":
            producer.flush(SECONDS)
        if case.order != "offsets first":
            producer.send_offsets_to_transaction(offsets, metadata, SECONDS)
        producer.commit_transaction(SECONDS)

    def close(self) -> None:
        self._producer.close()
        self._consumer.close()


def measured(case: Case, committing: Sequence[Committing], pool: ThreadPoolExecutor) -> float:
    """Milliseconds until all of a case's transactions are committed: the median of many."""
    seconds = []
    for _ in range(TRANSACTIONS):
        started = time.monotonic()
        calls = [pool.submit(committing[n].commit, case, n * case.tasks) for n in range(case.producers)]
        for call in calls:
            call.result()
        seconds.append(time.monotonic() - started)
    return median(seconds) * 1e3


@contextmanager
def opened(say: Callable[[str], None]) -> Iterator[list[Committing]]:
    with ExitStack() as stack:
        servers = stack.enter_context(start_kafka(say=say)).bootstrap_servers
        prefix = f"transactions-{uuid.uuid4().hex[:6]}-"
        topics = [NewTopic(f"{prefix}{name}", PARTITIONS, 1) for name in ("input", *range(4))]
        admin = AdminClient({"bootstrap.servers": servers})  # it must outlive its answers
        for made in admin.create_topics(topics).values():
            made.result(SECONDS)
        committing = [Committing(servers, str(number), prefix) for number in range(PARTITIONS)]
        for each in committing:
            stack.callback(each.close)
        yield committing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    milliseconds: dict[Case, list[float]] = {case: [] for case in CASES}
    with opened(print) as committing, ThreadPoolExecutor(PARTITIONS) as pool:
        for case in CASES:
            measured(case, committing, pool)  # everything is connected, and every partition known
        for _ in range(rounds):
            for case in CASES:
                milliseconds[case].append(measured(case, committing, pool))
    print("| a transaction | ms: median (least to most) |\n| --- | --- |")  # noqa: T201 - the result
    for case, each in milliseconds.items():
        print(f"| {case.shown()} | {median(each):.1f} ({min(each):.1f} to {max(each):.1f}) |")  # noqa: T201 - the result


if __name__ == "__main__":
    main()
