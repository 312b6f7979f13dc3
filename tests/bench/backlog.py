"""The bench's side of Kafka: topics that are filled before the clock starts, what a group has committed, what came out.

Every measured run reads the same input topics and has a group and output topics of its own, deleted after it.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from armstream.resources import resource
from armstream.runtime.topics import create
from armstream.settings import Settings, load
from deploy.kafka.node import free_port
from tests.bench.child import BenchError
from tests.bench.load import ARMS, Record

PARTITIONS = 8
QUIET = {"log_level": 3}  # errors only: that a new broker is not ready at once is none
DEADLINE_SECONDS = 120.0

_CHUNK_RECORDS = 10_000

Settled = Mapping[str, Any]
NO_MORE: Settled = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Layout:
    """Topics that hold the trades, and a short name."""

    trades: tuple[str, ...]
    tag: str


LAYOUTS = {
    "one topic": Layout(("trades",), "one"),
    "fills and closes apart": Layout(("fills", "closes"), "apart"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """What one loop is started with: a settings file and the settings read from it."""

    path: Path
    settings: Settings


def input_topics(layout: str, prefix: str) -> list[str]:
    """The topics of the trades, then that of the commands."""
    return [f"{prefix}-{topic}" for topic in (*LAYOUTS[layout].trades, "commands")]


def settings_of(preset: str) -> Settings:
    """A file of config/."""
    return load(resource("config", f"{preset}.yaml"), {})


@contextmanager
def prepare(
    name: str,
    folder: Path,
    bootstrap_servers: str,
    layout: str,
    prefix: str,
    preset: str = "default",
    *,
    more: Settled = NO_MORE,
    arms: Sequence[str] = ARMS,
    partitions: int = PARTITIONS,
) -> Iterator[Run]:
    """A run with topics; `prefix` names the input topics, which stay, `name` all others, which go.

    Settings are those of a file of config/, save for names, addresses, the arms and B = 100: every reward is learned
    from, as the other contenders do. `more` are settings beside them.
    """
    shipped = settings_of(preset).online_learning.model_dump(mode="json")
    outputs = ("weights", "rewards", "snapshots", "dead_letters")
    *trades, commands = input_topics(layout, prefix)
    inputs = {"trades": trades, "commands": commands}
    values: dict[str, Any] = {
        "instance": "bench",
        "kafka": {"bootstrap_servers": bootstrap_servers, "group_id": name},
        "topics": {**inputs, **{output: f"{name}-{output}" for output in outputs}, "partitions": partitions},
        "online_learning": {**shipped, "families": list(arms), "reward_bound_bps": 100.0},
        "metrics": {"port": free_port()},
        "log": {"format": "text"},
        **more,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    settings = load(path, {})
    create(settings)
    try:
        yield Run(path, settings)
    finally:
        left = [topic for topic in _topics(bootstrap_servers) if name in topic]  # a contender's own ones too
        delete(bootstrap_servers, [topic for topic in left if topic not in (*trades, commands)])


def twin(run: Run, number: int) -> Run:
    """The same run's settings for another instance of it."""
    values = yaml.safe_load(run.path.read_text())
    values["instance"], values["metrics"] = f"bench-{number}", {"port": free_port()}
    path = run.path.with_stem(f"{run.path.stem}-{number}")
    path.write_text(yaml.safe_dump(values))
    return Run(path, load(path, {}))


def make_changelogs(run: Run, names: Sequence[str]) -> None:
    """Compacted topics, as many partitions as the others; they go with the run."""
    admin = AdminClient({"bootstrap.servers": run.settings.kafka.bootstrap_servers, **QUIET})
    group, partitions = run.settings.kafka.group_id, run.settings.topics.partitions
    topics = [NewTopic(f"{group}-{name}", partitions, config={"cleanup.policy": "compact"}) for name in names]
    for future in admin.create_topics(topics, operation_timeout=30).values() if topics else ():
        future.result()


def _topics(bootstrap_servers: str) -> list[str]:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, **QUIET})
    return list(admin.list_topics(timeout=DEADLINE_SECONDS).topics)


def delete(bootstrap_servers: str, topics: Sequence[str]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, **QUIET})
    for future in admin.delete_topics(list(topics), operation_timeout=30).values():
        future.result()


def fill(bootstrap_servers: str, topics: Sequence[str], records: Iterable[Record]) -> None:
    """Puts the records into one topic, or the fills into the first and the closes into the second; waits for all."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            **QUIET,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 20,
            "queue.buffering.max.messages": 2_000_000,
            "queue.buffering.max.kbytes": 2_097_151,
        }
    )
    chunks: list[list[dict[str, bytes]]] = [[] for _ in topics]
    for record in records:
        side = len(topics) - 1 if record.is_close else 0
        chunks[side].append({"key": record.key, "value": record.value})
        if len(chunks[side]) == _CHUNK_RECORDS:
            _produce(producer, topics[side], chunks[side])
            chunks[side] = []
    for topic, chunk in zip(topics, chunks, strict=True):
        _produce(producer, topic, chunk)
    left = producer.flush(DEADLINE_SECONDS)
    if left:
        raise BenchError(f"{left} records were not delivered within {DEADLINE_SECONDS:.0f} s")


def _produce(producer: Producer, topic: str, chunk: list[dict[str, bytes]]) -> None:
    queued = producer.produce_batch(topic, chunk)
    if queued != len(chunk):
        raise BenchError(f"{topic}: {len(chunk) - queued} records were not queued")


class Committed:
    """What a group has committed of a run's trades. It asks as an outsider and joins nothing."""

    def __init__(self, settings: Settings) -> None:
        client = {"bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": settings.kafka.group_id}
        self._consumer = Consumer(
            {**client, **QUIET, "isolation.level": "read_uncommitted", "enable.auto.commit": False}
        )
        self._wanted = [
            TopicPartition(topic, number)
            for topic in settings.topics.names.trades
            for number in range(settings.topics.partitions)
        ]

    def count(self) -> int:
        """Records committed, over all partitions."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                found = self._consumer.committed(self._wanted, 5)
                return sum(at.offset for at in found if at.offset > 0)
            except KafkaException as failure:
                error = failure.args[0]
                moving = error.code() in (KafkaError._TIMED_OUT, KafkaError.NOT_COORDINATOR)
                if time.monotonic() > deadline or not (moving or error.retriable()):
                    raise
                time.sleep(0.1)

    def close(self) -> None:
        self._consumer.close()


def values(settings: Settings, topic: str) -> Iterator[bytes]:
    """All that is committed in an output topic, each partition in its order."""
    partitions = settings.topics.partitions
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka.bootstrap_servers,
            "group.id": "bench-reader",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 5,
        }
    )
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)])
    ended: set[int] = set()
    deadline = time.monotonic() + DEADLINE_SECONDS
    with closing(consumer):
        while len(ended) < partitions:
            if time.monotonic() > deadline:
                raise BenchError(f"{topic} was not read within {DEADLINE_SECONDS:.0f} s")
            for message in consumer.consume(5_000, 0.05):
                error, value = message.error(), message.value()
                if error is None and value is not None:
                    yield value
                elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition() or 0)
                elif error is not None:
                    raise KafkaException(error)
