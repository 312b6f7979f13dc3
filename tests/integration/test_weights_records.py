"""What anybody may write to `weights`, on a real broker. Law: it stops no follower; it makes its own bandit stale, with
the reason, until that bandit's next vector; the others stay live."""

import os
import random
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from numpy.random import default_rng

from armstream.codec import encode
from armstream.engine import FollowerError, StaleWeightsError, WeightsFollower
from armstream.events import Fill
from armstream.keys import partition_of
from tests.integration.processor import eventually
from tests.integration.test_engine import follow, publish, transactional, wait_for_version
from tests.test_engine import vector_of

PARTITIONS = 3
NEWER = b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08"  # the header of a schema that nobody knows
FAR_FUTURE_MILLIS = 253_402_300_799_000


@pytest.fixture
def weights(bootstrap_servers: str, topic_prefix: str) -> str:
    """A topic that takes anything: also records without a key, of 4 MB, and of the year 9999."""
    topic = f"{topic_prefix}weights"
    config = {
        "cleanup.policy": "delete",
        "max.message.bytes": "8000000",
        "message.timestamp.after.max.ms": str(2**63 - 1),
        "message.timestamp.before.max.ms": str(2**63 - 1),
        "retention.ms": "-1",
    }
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1, config=config)])[topic].result(30)
    return topic


class Writer:
    """Writes what it is told, where it is told: a bandit's own partition where it is not."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "message.max.bytes": 8_000_000})

    def write(
        self,
        key: bytes | None,
        value: bytes | None,
        partition: int | None = None,
        timestamp: int = 0,
        headers: list[tuple[str, str | bytes | None]] | None = None,
    ) -> int:
        """Gives the record's offset."""
        offsets: list[int] = []
        self._producer.produce(
            self._topic,
            value,
            key,
            partition_of(key or b"", PARTITIONS) if partition is None else partition,
            on_delivery=lambda error, record: offsets.append(-1 if error else record.offset() or 0),
            timestamp=timestamp,
            headers=headers,
        )
        assert self._producer.flush(30) == 0
        assert offsets[0] >= 0
        return offsets[0]


@pytest.fixture
def writer(bootstrap_servers: str, weights: str) -> Writer:
    return Writer(bootstrap_servers, weights)


def test_a_vector_that_cannot_be_read_makes_its_bandit_stale_until_the_next_that_can(
    bootstrap_servers: str, weights: str, writer: Writer
) -> None:
    publish(bootstrap_servers, weights, [vector_of("book", 7), vector_of("other", 3)])
    base = {"arm_0": 0.5, "arm_1": 0.5}
    with follow(bootstrap_servers, weights) as early:
        offset = writer.write(b"book", NEWER + encode(vector_of("book", 8))[10:])
        place = f"{weights}:{partition_of(b'book', PARTITIONS)}:{offset}"
        eventually(lambda: early.status("book").fallback == "STALE", 20, "stale")
        with follow(bootstrap_servers, weights) as late:
            for follower in (early, late):
                status = follower.status("book")
                assert status.reason == f"{place}: fingerprint 0807060504030201 is that of no known schema"
                assert (status.version, status.phase) == (7, "LIVE")
                assert follower.weights("book") is None
                assert follower.blend("book", base) == base
                with pytest.raises(
                    StaleWeightsError, match=f"'book' are stale: {place}: .*upgrade this engine's armst"
                ):
                    follower.choose("book", default_rng(1), arms=("a", "b"))
                assert follower.choose("other", default_rng(1)).weights_version == 3
                assert follower.unreadable_count == 1
        publish(bootstrap_servers, weights, [vector_of("book", 9)])
        wait_for_version(early, "book", 9)
        assert early.status("book").fallback is None
        assert early.status("book").reason == ""
        assert early.choose("book", default_rng(1)).weights_version == 9


def odd_records(writer: Writer) -> int:
    """One of each kind that is of no bandit here; how many of them are unreadable."""
    good = encode(vector_of("book", 5))  # older than what is known
    for key in (None, b"", b"\0task", b"\xff\xfe", b"bo\0ok", b"k" * 300_000):
        writer.write(key, None)
        writer.write(key, good)
        writer.write(key, b"garbage")
    writer.write(b"book", None, partition=(partition_of(b"book", PARTITIONS) + 1) % PARTITIONS)
    writer.write(b"book", good, partition=(partition_of(b"book", PARTITIONS) + 1) % PARTITIONS)
    writer.write(b"large", os.urandom(4_000_000))
    writer.write(b"old", encode(vector_of("old", 1)), timestamp=1)
    writer.write(b"late", encode(vector_of("late", 1)), timestamp=FAR_FUTURE_MILLIS)
    writer.write(
        b"headed", encode(vector_of("headed", 1)), headers=[("", b""), ("é" * 999, None), ("\t\n", b"\xff")] * 30
    )
    writer.write(b"gone", None)
    return 13


def test_nothing_that_may_lie_there_stops_it_and_what_is_of_others_changes_nothing(
    bootstrap_servers: str, weights: str, writer: Writer
) -> None:
    publish(bootstrap_servers, weights, [vector_of("book", 7)])
    producer = transactional(bootstrap_servers, weights)
    with follow(bootstrap_servers, weights) as early:
        unreadable = odd_records(writer)
        for end in (producer.abort_transaction, producer.commit_transaction):
            producer.begin_transaction()
            producer.produce(weights, b"garbage", "aborted" if end == producer.abort_transaction else "committed")
            producer.flush(30)
            end(30)
        publish(bootstrap_servers, weights, [vector_of("book", 8)])
        wait_for_version(early, "book", 8)
        eventually(lambda: early.unreadable_count == unreadable + 1, 20, "all read")
        with follow(bootstrap_servers, weights) as late:
            for follower in (early, late):
                fallbacks = {name: follower.status(name).fallback for name in ("book", "old", "late", "headed")}
                assert set(fallbacks.values()) == {None}, fallbacks
                assert follower.status("large").fallback == follower.status("committed").fallback == "STALE"
                assert follower.status("aborted").fallback == follower.status("gone").fallback == "MISSING"
                assert follower.unreadable_count == unreadable + 1
                assert follower.bandit_ids() == ("book", "headed", "late", "old")


def random_records(seed: int, count: int) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Keys and values: of wild bytes, of mutated vectors and of other events, under keys of all kinds."""
    rng = random.Random(seed)
    ids = [f"wild-{number}" for number in range(40)]
    events = [encode(vector_of(name, rng.randrange(1, 99))) for name in ids]
    events.append(encode(Fill("e", "wild-1", "p", "X", "BUY", 1.0, 1.0, 1)))
    for _ in range(count):
        event = rng.choice(events)
        mutated = bytearray(event)
        for _ in range(rng.randrange(1, 4)):
            mutated[rng.randrange(10, len(event))] = rng.randrange(256)
        wild = (None, event, bytes(mutated), rng.randbytes(rng.randrange(200)), NEWER + event[10:], event[:-1])
        value = rng.choice(wild)
        key = rng.choice(ids).encode() if rng.random() < 0.8 else rng.choice([None, b"", rng.randbytes(9), b"\0task"])
        yield key, value


def test_thousands_of_random_records_stop_nobody_and_untouched_bandits_stay_live(
    bootstrap_servers: str, weights: str
) -> None:
    ground = [f"ground-{number}" for number in range(30)]
    publish(bootstrap_servers, weights, [vector_of(name, 5) for name in ground])
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    rng = default_rng(1)
    with follow(bootstrap_servers, weights) as follower:
        for number, (key, value) in enumerate(random_records(14, 6_000)):
            producer.produce(weights, value, key, partition=number % PARTITIONS)
            producer.poll(0)
            if number % 20 == 0:
                assert follower.choose(ground[number % 30], rng).weights_version == 5
        assert producer.flush(60) == 0
        publish(bootstrap_servers, weights, [vector_of(name, 6) for name in ground])
        for name in ground:
            wait_for_version(follower, name, 6)
            assert follower.status(name).fallback is None
        assert follower.unreadable_count > 2_000
        publish(bootstrap_servers, weights, [vector_of(f"wild-{number}", 1 << 62) for number in range(40)])
        for number in range(40):
            wait_for_version(follower, f"wild-{number}", 1 << 62)
            assert follower.status(f"wild-{number}").fallback is None


def test_what_the_engines_own_function_raises_names_the_record(bootstrap_servers: str, weights: str) -> None:
    publish(bootstrap_servers, weights, [vector_of("book", 1)])

    def refuse(*_: object) -> None:
        raise SystemExit("mine")

    place = f"{weights}:{partition_of(b'book', PARTITIONS)}:0"
    with (
        pytest.raises(FollowerError, match=rf"on_vector ended the following at {place}: SystemExit\('mine'\)"),
        WeightsFollower({"bootstrap.servers": bootstrap_servers}, topic=weights, on_vector=refuse),
    ):
        pass
