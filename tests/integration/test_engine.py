"""The engine's side on a real broker: following the weights through everything, and events that a processor takes."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest
from confluent_kafka import OFFSET_END, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from numpy.random import default_rng

from armstream.codec import encode
from armstream.engine import (
    Decision,
    FollowerError,
    PublishError,
    StaleWeightsError,
    Status,
    TradesPublisher,
    WeightsFollower,
)
from armstream.events import Close, Fill, Reward, WeightVector
from armstream.keys import partition_of
from deploy.kafka.broker import Broker, start_kafka
from tests.integration.processor import Job, eventually
from tests.test_engine import fill_of, vector_of


def create_topic(bootstrap_servers: str, topic: str) -> None:
    """Compacted, three partitions."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(topic, 3, 1, config={"cleanup.policy": "compact,delete"})])[topic].result(30)


@pytest.fixture
def weights_topic(bootstrap_servers: str, topic_prefix: str) -> str:
    topic = f"{topic_prefix}weights"
    create_topic(bootstrap_servers, topic)
    return topic


def publish(bootstrap_servers: str, topic: str, vectors: Iterable[WeightVector]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "partitioner": "murmur2_random"})
    for vector in vectors:
        producer.produce(topic, encode(vector), vector.bandit_id)
    assert producer.flush(30) == 0


def transactional(bootstrap_servers: str, topic: str) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "transactional.id": topic,
            "transaction.timeout.ms": 60_000,
            "partitioner": "murmur2_random",
        }
    )
    producer.init_transactions(30)
    return producer


def follow(bootstrap_servers: str, topic: str, **more: float) -> WeightsFollower:
    return WeightsFollower({"bootstrap.servers": bootstrap_servers}, topic=topic, **more)  # type: ignore[arg-type]


def wait_for_version(follower: WeightsFollower, bandit_id: str, version: int) -> None:
    eventually(lambda: follower.status(bandit_id).version >= version, 20, f"version {version} of {bandit_id}", 0.01)


def test_a_late_follower_has_the_latest_vector_of_every_bandit_at_once(
    bootstrap_servers: str, weights_topic: str
) -> None:
    publish(
        bootstrap_servers,
        weights_topic,
        (vector_of(f"bandit-{n}", version) for version in range(1, 6) for n in range(40)),
    )
    with follow(bootstrap_servers, weights_topic) as follower:
        assert follower.bandit_ids() == tuple(sorted(f"bandit-{n}" for n in range(40)))
        assert {follower.weights(bandit_id) for bandit_id in follower.bandit_ids()} == {
            vector_of(f"bandit-{n}", 5) for n in range(40)
        }
        assert follower.weights("nobody") is None
        assert follower.ignored_count == 0


def test_an_empty_topic_answers_at_once_and_choose_draws_uniformly(bootstrap_servers: str, weights_topic: str) -> None:
    with follow(bootstrap_servers, weights_topic) as follower:
        decision = follower.choose("book", default_rng(1), arms=("a", "b"))
    assert (decision.propensity, decision.weights_version) == (0.5, 0)


def test_it_follows_and_choose_draws_from_what_came(bootstrap_servers: str, weights_topic: str) -> None:
    with follow(bootstrap_servers, weights_topic) as follower:
        publish(
            bootstrap_servers, weights_topic, [vector_of(version=1), vector_of(version=2, probabilities=(0.0, 1.0))]
        )
        wait_for_version(follower, "book", 2)
        decision = follower.choose("book", default_rng(1))
        assert (decision.arm, decision.propensity, decision.weights_version) == ("arm_1", 1.0, 2)


def test_versions_that_do_not_go_up_are_ignored_and_counted(bootstrap_servers: str, weights_topic: str) -> None:
    late = [vector_of(version=7), vector_of(version=7, probabilities=(1.0,)), vector_of(version=3)]
    with follow(bootstrap_servers, weights_topic) as follower:
        publish(bootstrap_servers, weights_topic, [*late, vector_of("other")])
        wait_for_version(follower, "book", 7)
        publish(bootstrap_servers, weights_topic, [vector_of(version=8)])  # behind the late ones, on their partition
        wait_for_version(follower, "book", 8)
        assert follower.ignored_count == 2


def test_what_a_transaction_has_not_committed_is_not_seen_and_what_it_aborted_never(
    bootstrap_servers: str, weights_topic: str
) -> None:
    producer = transactional(bootstrap_servers, weights_topic)
    with follow(bootstrap_servers, weights_topic) as follower:
        producer.begin_transaction()
        producer.produce(weights_topic, encode(vector_of(version=99)), "book")
        producer.flush(30)
        time.sleep(0.5)
        assert follower.weights("book") is None
        producer.abort_transaction(30)
        publish(bootstrap_servers, weights_topic, [vector_of(version=1)])
        wait_for_version(follower, "book", 1)
        assert follower.weights("book") == vector_of(version=1)


def test_entering_waits_for_what_is_committed_behind_an_open_transaction(
    bootstrap_servers: str, weights_topic: str
) -> None:
    """The last stable offset lies before the committed vector: stopping there would answer without it."""
    blocker = transactional(bootstrap_servers, weights_topic)
    blocker.begin_transaction()
    blocker.produce(weights_topic, encode(vector_of(version=1)), "book")
    blocker.flush(30)
    publish(bootstrap_servers, weights_topic, [vector_of(version=2)])
    end = threading.Timer(1.0, lambda: blocker.abort_transaction(30))
    end.start()
    started = time.monotonic()
    with follow(bootstrap_servers, weights_topic) as follower:
        waited_seconds = time.monotonic() - started
        assert follower.weights("book") == vector_of(version=2)
    end.join()
    assert waited_seconds > 0.5


def test_an_end_that_is_not_reached_in_time_is_a_clear_error(bootstrap_servers: str, weights_topic: str) -> None:
    blocker = transactional(bootstrap_servers, weights_topic)
    blocker.begin_transaction()
    blocker.produce(weights_topic, encode(vector_of(version=1)), "book")
    blocker.flush(30)
    with (
        pytest.raises(FollowerError, match="not read to its end in 1 s"),
        follow(bootstrap_servers, weights_topic, start_timeout_seconds=1.0),
    ):
        pass
    blocker.abort_transaction(30)


def test_a_topic_that_is_not_there_is_a_clear_error(bootstrap_servers: str, topic_prefix: str) -> None:
    with (
        pytest.raises(FollowerError, match=f"{topic_prefix}nothing"),
        follow(bootstrap_servers, f"{topic_prefix}nothing"),
    ):
        pass


def test_a_tombstone_ends_a_bandit(bootstrap_servers: str, weights_topic: str) -> None:
    publish(bootstrap_servers, weights_topic, [vector_of(version=5)])
    producer = Producer({"bootstrap.servers": bootstrap_servers, "partitioner": "murmur2_random"})
    producer.produce(weights_topic, None, "book")
    producer.flush(30)
    with follow(bootstrap_servers, weights_topic) as follower:
        assert follower.weights("book") is None


def test_after_its_block_it_does_not_answer(bootstrap_servers: str, weights_topic: str) -> None:
    with follow(bootstrap_servers, weights_topic) as follower:
        pass
    with pytest.raises(FollowerError, match="with block"):
        follower.weights("book")


def test_every_vector_taken_is_told_with_its_record_time(bootstrap_servers: str, weights_topic: str) -> None:
    told: list[tuple[int, float]] = []
    began = time.time()
    publish(bootstrap_servers, weights_topic, [vector_of(version=1), vector_of(version=2), vector_of(version=2)])
    with WeightsFollower(
        {"bootstrap.servers": bootstrap_servers},
        topic=weights_topic,
        on_vector=lambda vector, published: told.append((vector.version, published)),
    ):
        pass
    assert [version for version, _ in told] == [1, 2]
    assert all(began - 0.01 <= published <= time.time() for _, published in told)


# What passes, and what lasts


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """One that may be killed: never a given one."""
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    with start_kafka(environment=environment) as broker:
        yield broker


class Asking:
    """Threads that ask for everything all the time."""

    def __init__(self, follower: WeightsFollower, max_age_seconds: float) -> None:
        self.failures: list[str] = []
        self.statuses: list[Status] = []
        self._follower = follower
        self._max_age_seconds = max_age_seconds
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(3)]

    def __enter__(self) -> "Asking":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self, seed: int) -> None:
        rng, last_version = default_rng(seed), 0
        while not self._stop.wait(0.01):
            try:
                status = self._follower.status("book")
                self.statuses.append(status)
                if (status.age_seconds > self._max_age_seconds) != (status.fallback == "STALE"):
                    self.failures.append(f"{status}")
                if status.version < last_version:
                    self.failures.append(f"{status} after version {last_version}")
                last_version = status.version
                blended = self._follower.blend("book", {"arm_0": 0.5, "arm_1": 0.5})
                if abs(sum(blended.values()) - 1.0) > 1e-12:
                    self.failures.append(f"{blended}")
                self._follower.choose("book", rng)
            except StaleWeightsError:
                continue
            except Exception as error:
                self.failures.append(f"{error!r}")
                return


def test_through_a_broker_restart_it_is_stale_for_a_while_and_then_live_with_what_came(own_broker: Broker) -> None:
    servers, max_age_seconds = own_broker.bootstrap_servers, 2.0
    create_topic(servers, "weights")
    publish(servers, "weights", [vector_of(version=1, probabilities=(0.9, 0.1))])
    base = {"arm_0": 0.5, "arm_1": 0.5}

    def is_live(version: int) -> Callable[[], bool]:
        def condition() -> bool:
            status = follower.status("book")
            return status.version == version and status.fallback is None

        return condition

    with (
        follow(servers, "weights", max_age_seconds=max_age_seconds) as follower,
        Asking(follower, max_age_seconds) as asking,
    ):
        eventually(is_live(1), 20, "live")
        # nothing is published, and it stays live for longer than max_age_seconds
        time.sleep(max_age_seconds + 1)
        eventually(is_live(1), 20, "live on a quiet topic")

        own_broker.kill()
        eventually(lambda: follower.status("book").fallback == "STALE", 30, "stale")
        assert follower.weights("book") is None
        assert follower.blend("book", base) == base
        with pytest.raises(StaleWeightsError, match="'book' are stale"):
            follower.choose("book", default_rng(1), arms=("arm_0", "arm_1"))

        own_broker.restart()
        eventually(is_live(1), 60, "live again")
        publish(servers, "weights", [vector_of(version=2, probabilities=(0.2, 0.8))])
        eventually(is_live(2), 60, "live with what came afterwards")
        # alpha is .3: .7 * .5 + .3 * .2
        assert follower.blend("book", base) == pytest.approx({"arm_0": 0.41, "arm_1": 0.59}, rel=1e-12)
        assert follower.choose("book", default_rng(1)).weights_version == 2
        assert follower.ignored_count == 0
    assert asking.failures == []
    assert {status.fallback for status in asking.statuses} == {None, "STALE"}


def test_a_topic_that_is_deleted_is_stale_and_then_raised_to_every_caller(
    bootstrap_servers: str, weights_topic: str
) -> None:
    publish(bootstrap_servers, weights_topic, [vector_of()])
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    with follow(bootstrap_servers, weights_topic, max_age_seconds=2.0) as follower:
        admin.delete_topics([weights_topic])[weights_topic].result(30)
        with pytest.raises(FollowerError, match=f"{weights_topic}'.*[Uu]nknown topic"):
            eventually(lambda: follower.status("book").version > 1, 20, "an error")
        with pytest.raises(FollowerError):
            follower.blend("book", {"arm_0": 1.0})


@pytest.mark.parametrize("vector_count", [2, 60])
def test_a_topic_made_anew_under_the_same_name_is_not_taken_for_the_old_one(
    bootstrap_servers: str, weights_topic: str, vector_count: int
) -> None:
    """Whether it has fewer records than were read, or so many that reading could go on as if nothing had been."""
    publish(bootstrap_servers, weights_topic, (vector_of(f"bandit-{n}") for n in range(20)))
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    with follow(bootstrap_servers, weights_topic) as follower:
        admin.delete_topics([weights_topic])[weights_topic].result(30)
        eventually(lambda: is_created(bootstrap_servers, weights_topic), 20, "the topic made anew")
        publish(bootstrap_servers, weights_topic, (vector_of(f"anew-{n}") for n in range(vector_count)))
        with pytest.raises(FollowerError, match=f"{weights_topic}' was made anew"):
            eventually(lambda: follower.status("bandit-0").version > 1, 20, "an error")


def is_created(bootstrap_servers: str, topic: str) -> bool:
    try:
        create_topic(bootstrap_servers, topic)
    except KafkaException:  # the old one is not gone yet
        return False
    return True


def test_a_topic_whose_records_were_all_deleted_is_read_to_its_end(bootstrap_servers: str, weights_topic: str) -> None:
    publish(bootstrap_servers, weights_topic, (vector_of(f"bandit-{n}") for n in range(20)))
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    everything = [TopicPartition(weights_topic, partition, OFFSET_END) for partition in range(3)]
    for deleted in admin.delete_records(everything).values():
        deleted.result(30)
    with follow(bootstrap_servers, weights_topic) as follower:
        assert follower.bandit_ids() == ()
        assert follower.status("bandit-0").fallback == "MISSING"


def test_an_open_transaction_hides_what_is_behind_it_and_so_makes_its_partition_stale(
    bootstrap_servers: str, weights_topic: str
) -> None:
    """Committed vectors may lie behind it: a vector that is the latest seen need not be the latest there is."""
    publish(bootstrap_servers, weights_topic, [vector_of(version=1)])
    blocker = transactional(bootstrap_servers, weights_topic)
    with follow(bootstrap_servers, weights_topic, max_age_seconds=1.0) as follower:
        eventually(lambda: follower.status("book").fallback is None, 20, "live")
        blocker.begin_transaction()
        blocker.produce(weights_topic, encode(vector_of("other", version=1)), "book")
        blocker.flush(30)
        publish(bootstrap_servers, weights_topic, [vector_of(version=2)])
        eventually(lambda: follower.status("book").lag_records == 2, 20, "the end, as it was asked for")
        eventually(lambda: follower.status("book").fallback == "STALE", 20, "stale")
        assert follower.status("book").version == 1
        blocker.abort_transaction(30)
        eventually(lambda: follower.status("book").fallback is None, 20, "live")
        assert follower.weights("book") == vector_of(version=2)


# Publishing


def test_events_go_to_their_bandits_partition_by_javas_partitioner_fills_and_closes_apart(job: Job) -> None:
    job.set({"topics.trades": "[fills, closes]"})
    job.create_topics()
    topics = job.settings.topics.names.trades
    decisions = [Decision(f"book-{n}", "lightgbm", 0.25, (0.25,) * 4, None, 0) for n in range(40)]
    with TradesPublisher({"bootstrap.servers": job.bootstrap_servers}, topics=topics) as publisher:
        for decision in decisions:
            publisher.publish(decision.fill(instrument_id="X", side="BUY", quantity=1.0, price=100.0))
            publisher.publish(decision.close(quantity=1.0, price=101.0))
    for topic, kind in zip(topics, (Fill, Close), strict=True):
        records = job.log.read(topic)
        assert {record.key for record in records} == {f"book-{n}".encode() for n in range(40)}
        for record in records:
            assert isinstance(record.event, kind)
            assert record.key == record.event.bandit_id.encode()
            assert record.partition == partition_of(record.key, 4)


def test_a_topic_that_is_not_there_gives_the_event_back(bootstrap_servers: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}nothing"
    client = {
        "bootstrap.servers": bootstrap_servers,
        "message.timeout.ms": 1_000,
        "topic.metadata.propagation.max.ms": 500,
    }
    text = f"Fill 'f1'.* not delivered to '{topic}'"
    with pytest.raises(PublishError, match=text) as raised, TradesPublisher(client, topics=[topic]) as publisher:
        publisher.publish(fill_of())
    assert raised.value.events == (fill_of(),)


def test_a_processor_learns_from_what_an_engine_drew_and_published(job: Job) -> None:
    """Round by round: uniform draws without a vector, then draws from the vector before, some with an arm left out."""
    job.create_topics()
    names, arms = job.settings.topics.names, job.settings.online_learning.arms
    processor = job.start().wait_until_ready()
    client, rng = {"bootstrap.servers": job.bootstrap_servers}, default_rng(3)
    decisions: dict[str, Decision] = {}
    with (
        follow(job.bootstrap_servers, names.weights) as follower,
        TradesPublisher(client, topics=names.trades) as publisher,
    ):
        for version in range(1, 13):
            available = None if version % 3 else set(arms[1:])
            decision = follower.choose("book", rng, arms=arms, available=available)
            decisions[decision.position_id] = decision
            fill = decision.fill(instrument_id="X", side="BUY", quantity=10.0, price=100.0)
            publisher.publish(fill)
            publisher.publish(decision.close(quantity=10.0, price=100.0 + version / 10))
            publisher.publish(fill)  # again: it changes nothing
            wait_for_version(follower, "book", version)
        status = follower.status("book")
    job.wait_until_applied(processor)
    assert processor.stop() == 0
    assert (status.version, status.fallback) == (12, "WARMING")

    assert job.log.read(names.dead_letters) == []
    rewards = [record.event for record in job.audit()]
    assert len(rewards) == len(decisions) == 12
    for reward in rewards:
        assert isinstance(reward, Reward)
        decision = decisions[reward.position_id]
        assert reward.propensity_source == "LOGGED"
        assert [(arm.name, arm.propensity) for arm in reward.arms] == [(decision.arm, decision.propensity)]
        assert reward.reward_bps == pytest.approx(reward.version * 10.0, rel=1e-9)  # version / 10 on 100
        assert decision.weights_version == reward.version - 1
        assert sum(decision.probabilities) == pytest.approx(1.0, rel=1e-12)
        assert (decision.probabilities[0] == 0.0) == (reward.version % 3 == 0)
