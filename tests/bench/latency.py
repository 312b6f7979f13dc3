"""Close to readable vector: from the produce call of a close to the moment a reader of `weights` has its effect.

Every close of this load is one whole position, so the n-th close of a bandit makes its version n, and a vector of
version v covers the first v closes.
"""

import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from confluent_kafka import OFFSET_END, Consumer, KafkaException, Producer, TopicPartition

from armstream.codec import decode, encode
from armstream.events import Close, Fill, WeightVector
from armstream.settings import Settings
from tests.bench.backlog import PARTITIONS, QUIET
from tests.bench.child import BenchError
from tests.bench.load import ARMS

BANDITS = 1_000
WARM_UP_SECONDS = 3.0
_FILLS_AHEAD = 150  # a close is sent so many fills after its own
_PATIENCE_SECONDS = 30.0

Sent = Mapping[str, deque[tuple[int, float]]]  # bandit -> number of each close on its way, and when it was sent


def measure(settings: Settings, events_per_second: int, seconds: float) -> list[float]:
    """Seconds of each close after the first three seconds, in order of arrival. Half of the events are closes.

    Raises BenchError where a vector does not come, or its cause is not the close that its version says.
    """
    sent: Sent = {_bandit_id(number): deque() for number in range(BANDITS)}
    pair_count = round(events_per_second * (WARM_UP_SECONDS + seconds) / 2)
    with closing(_follow(settings)) as follower, ThreadPoolExecutor(1) as sender:
        measured_from = time.monotonic() + WARM_UP_SECONDS
        sending = sender.submit(_send, settings, events_per_second, pair_count, sent)
        return _receive(follower, sending, sent, pair_count - _FILLS_AHEAD, measured_from)


def _send(settings: Settings, events_per_second: int, pair_count: int, sent: Sent) -> None:
    """A fill and an older fill's close in turns, each at its time. Engines do not linger."""
    topics = settings.topics.names.trades
    client = {"bootstrap.servers": settings.kafka.bootstrap_servers, "partitioner": "murmur2_random"}
    producer = Producer({**client, **QUIET, "enable.idempotence": True, "linger.ms": 0})
    started = time.monotonic()
    for number in range(pair_count):
        _sleep_until(started + 2 * number / events_per_second)
        fill = _fill(number)
        producer.produce(topics[0], encode(fill), fill.bandit_id)
        if number >= _FILLS_AHEAD:
            _sleep_until(started + (2 * number + 1) / events_per_second)
            close = _close(number - _FILLS_AHEAD)
            value = encode(close)
            sent[close.bandit_id].append((number - _FILLS_AHEAD, time.monotonic()))
            producer.produce(topics[-1], value, close.bandit_id)
        producer.poll(0)
    if producer.flush(_PATIENCE_SECONDS):
        raise BenchError(f"events were not delivered within {_PATIENCE_SECONDS:.0f} s")


def _sleep_until(at: float) -> None:
    time.sleep(max(0.0, at - time.monotonic()))


def _follow(settings: Settings) -> Consumer:
    """A reader of what is committed, at the end of `weights`."""
    client = {"bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "bench-follower"}
    consumer = Consumer(
        {**client, "isolation.level": "read_committed", "enable.auto.commit": False, "fetch.queue.backoff.ms": 1}
    )
    topic = settings.topics.names.weights
    consumer.assign([TopicPartition(topic, number, OFFSET_END) for number in range(PARTITIONS)])
    consumer.poll(1.0)  # nothing is there yet; meanwhile it connects
    return consumer


def _receive(
    follower: Consumer, sending: "Future[None]", sent: Sent, close_count: int, measured_from: float
) -> list[float]:
    latencies: list[float] = []
    versions = dict.fromkeys(sent, 0)
    moved_at = time.monotonic()
    while sum(versions.values()) < close_count:
        message = follower.poll(0.1)
        now = time.monotonic()
        if sending.done():
            sending.result()
        if message is None:
            if now - moved_at > _PATIENCE_SECONDS:
                raise BenchError(f"{close_count - sum(versions.values())} closes have not reached a weight vector")
            continue
        error, value = message.error(), message.value()
        if error is not None or value is None:
            raise KafkaException(error)
        moved_at = now
        vector = decode(value)
        if not isinstance(vector, WeightVector):
            raise BenchError(f"not a weight vector: {vector}")
        last = -1
        for _ in range(vector.version - versions[vector.bandit_id]):
            last, sent_at = sent[vector.bandit_id].popleft()
            if sent_at >= measured_from:
                latencies.append(now - sent_at)
        if _number(vector.cause_event_id) != last:
            raise BenchError(f"the cause of {vector} should be event {last}")
        versions[vector.bandit_id] = vector.version
    return latencies


def _bandit_id(number: int) -> str:
    return f"desk-{number % BANDITS:04d}"


def _number(event_id: str) -> int:
    """The position's number; a fill is the cause where, on another topic, it came after its close."""
    return int(event_id.partition("-")[2])


def _fill(number: int) -> Fill:
    return Fill(
        event_id=f"fill-{number:027d}",
        bandit_id=_bandit_id(number),
        position_id=f"{number:032d}",
        instrument_id="AAPL",
        side="BUY",
        quantity=100.0,
        price=150.0,
        ts_event=time.time_ns() // 1_000,
        fees=0.5,
        arm=ARMS[number % len(ARMS)],
        propensity=0.2,
        probabilities=(0.2,) * len(ARMS),
        eta=0.05,
        weights_version=1,
    )


def _close(number: int) -> Close:
    return Close(
        event_id=f"close-{number:026d}",
        bandit_id=_bandit_id(number),
        position_id=f"{number:032d}",
        quantity=100.0,
        price=150.5,
        ts_event=time.time_ns() // 1_000,
        fees=0.5,
        slippage=0.2,
    )
