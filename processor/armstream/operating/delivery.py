"""Records that an operator writes. Law: each is delivered and its offset known, or it is said which are not."""

from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, Message, Producer

from armstream.operating.reader import REQUEST_SECONDS
from armstream.runtime.failures import Stopped
from armstream.settings import BATCH_OVERHEAD_BYTES, Settings


@dataclass(frozen=True, slots=True)
class Outgoing:
    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes | None], ...] = ()


def deliver(settings: Settings, outgoing: Sequence[Outgoing]) -> list[int]:
    """The offset of each, in order. Raises Stopped where one is not known to be delivered; the others may be."""
    producer = Producer(
        {
            "log_level": 0,
            "message.max.bytes": settings.limits.input_batch_bytes + BATCH_OVERHEAD_BYTES,
            **settings.kafka.connection(),
            "enable.idempotence": True,
            "acks": "all",
        }
    )
    offsets: dict[int, int] = {}
    failures: list[KafkaError] = []
    for number, one in enumerate(outgoing):

        def note(error: KafkaError | None, message: Message, number: int = number) -> None:
            if error is not None:
                failures.append(error)
            else:
                offsets[number] = message.offset() or 0

        producer.produce(one.topic, one.value, one.key, one.partition, on_delivery=note, headers=[*one.headers])
        producer.poll(0)
    left = producer.flush(REQUEST_SECONDS)
    if failures or left:
        reason = failures[0].str() if failures else f"not delivered within {REQUEST_SECONDS:g} s"
        whole = f"{len(offsets)} of {len(outgoing)} were delivered: " if len(outgoing) > 1 else ""
        raise Stopped(f"Kafka at {settings.kafka.bootstrap_servers}: {whole}{settings.kafka.masked(reason)}")
    return [offsets[number] for number in range(len(outgoing))]
