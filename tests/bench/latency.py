"""Close to readable vector: from the moment at which a close was due to the moment its effect is read.

A vector of version v covers the first v closes of its bandit (see pace.py), so one vector ends the wait of several.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from armstream.codec import decode, encode
from armstream.events import WeightVector
from tests.bench.backlog import Run
from tests.bench.child import BenchError, Child, python, start
from tests.bench.pace import (
    BANDITS,
    PATIENCE_SECONDS,
    TOO_FAST,
    Pace,
    TooFast,
    bandit_of,
    close_of,
    fill_of,
    number_of,
    producer_of,
)

PROBE = "probe"
ANSWER_SECONDS = 120.0
_UNTIL_FIRST_SECONDS = 2.0  # for the sender to start


@dataclass(frozen=True, slots=True)
class Steady:
    """A rate, how long it runs before anything is measured, and how long it is measured."""

    events_per_second: float
    warm_seconds: float
    seconds: float


def measure(run: Run, child: Child, steady: Steady) -> list[float]:
    """Seconds of each close that was due after the warm time, in order of arrival. Half of the events are closes.

    Raises BenchError where a vector does not come, or its cause is not the close that its version says.
    """
    with closing(follow(run)) as follower:
        probe(run, child, follower, 0)
        pair_count = round(steady.events_per_second * (steady.warm_seconds + steady.seconds) / 2)
        pace = Pace(steady.events_per_second, pair_count, time.monotonic() + _UNTIL_FIRST_SECONDS)
        told = [str(run.path), repr(pace.events_per_second), str(pair_count), repr(pace.starts_at)]
        with start(python("tests.bench.pace", *told), run.path.with_suffix(".pace.log")) as sender:
            latencies = _receive(follower, child, sender, pace, pace.starts_at + steady.warm_seconds)
            if sender.wait(PATIENCE_SECONDS) != 0:
                _check_rate(sender, pace)
                sender.check()
    if not latencies:
        raise BenchError(f"no close was due within {steady.seconds:g} s at {steady.events_per_second:g} events/s")
    return latencies


def follow(run: Run) -> Consumer:
    """A reader of what is committed, at the end of `weights`."""
    client = {"bootstrap.servers": run.settings.kafka.bootstrap_servers, "group.id": "bench-follower"}
    consumer = Consumer(
        {**client, "isolation.level": "read_committed", "enable.auto.commit": False, "fetch.queue.backoff.ms": 1}
    )
    topic = run.settings.topics.names.weights
    consumer.assign([TopicPartition(topic, number, OFFSET_END) for number in range(run.settings.topics.partitions)])
    consumer.poll(1.0)  # nothing is there yet; meanwhile it connects
    return consumer


def probe(run: Run, child: Child, follower: Consumer, number: int, bandits: Sequence[str] = (PROBE,)) -> float:
    """A position of each of these bandits; returns when their vectors were read, with the seconds that it took."""
    producer, topics, waiting = producer_of(run.settings), run.settings.topics.names.trades, set(bandits)
    started = time.monotonic()
    for bandit_id in bandits:
        producer.produce(topics[0], encode(fill_of(number, bandit_id)), bandit_id)
        producer.produce(topics[-1], encode(close_of(number, bandit_id)), bandit_id)
    if producer.flush(PATIENCE_SECONDS):
        raise BenchError(f"the probe was not delivered within {PATIENCE_SECONDS:.0f} s")
    while time.monotonic() < started + ANSWER_SECONDS:
        child.check()
        vector = _next_vector(follower)
        if vector is not None and number_of(vector.cause_event_id) == number:
            waiting.discard(vector.bandit_id)
            if not waiting:
                return time.monotonic() - started
    raise BenchError(f"no vector of a probe within {ANSWER_SECONDS:.0f} s")


def _check_rate(sender: Child, pace: Pace) -> None:
    """Raises TooFast where the sender gave up: what it had not sent by then never comes."""
    if sender.exit_code() == TOO_FAST:
        raise TooFast(f"the sender could not keep {pace.events_per_second:,.0f} events/s")


def _receive(follower: Consumer, child: Child, sender: Child, pace: Pace, measured_from: float) -> list[float]:
    latencies: list[float] = []
    versions = dict.fromkeys(map(bandit_of, range(BANDITS)), 0)
    left, moved_at = pace.close_count, pace.starts_at
    while left > 0:
        vector, now = _next_vector(follower), time.monotonic()
        if vector is None or vector.bandit_id == PROBE:
            child.check()
            _check_rate(sender, pace)
            if now - moved_at > PATIENCE_SECONDS + BANDITS / pace.events_per_second:
                raise BenchError(f"{left} closes have not reached a weight vector")
            continue
        moved_at = now
        place = number_of(vector.cause_event_id) % BANDITS
        closes = [place + BANDITS * index for index in range(versions[vector.bandit_id], vector.version)]
        if not closes or number_of(vector.cause_event_id) != closes[-1]:
            raise BenchError(f"the cause of {vector} is not the close that its version says")
        latencies += [now - due for due in map(pace.close_due, closes) if due >= measured_from]
        versions[vector.bandit_id] = vector.version
        left -= len(closes)
    return latencies


def _next_vector(follower: Consumer) -> WeightVector | None:
    message = follower.poll(0.1)
    if message is None:
        return None
    error, value = message.error(), message.value()
    if error is not None or value is None:
        raise KafkaException(error)
    vector = decode(value)
    if not isinstance(vector, WeightVector):
        raise BenchError(f"not a weight vector: {vector}")
    return vector
