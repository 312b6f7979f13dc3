"""What engines rely on: the compacted topic has the latest vector of each bandit, where their own keys lead."""

import random

from armstream.codec import decode
from armstream.events import Reward, WeightVector
from armstream.keys import partition_of
from tests.integration.load import history
from tests.integration.log import latest
from tests.integration.processor import Job
from tests.test_keys import JAVA_MURMUR2


def test_a_consumer_that_starts_late_has_the_latest_vector_of_each_bandit(job: Job) -> None:
    """Read from the beginning to the end after everything was written, the last value of each key."""
    job.create_topics()
    records = history(3, 2_000, bandits=30, arms=job.settings.online_learning.arms)
    processor = job.start().wait_until_ready()
    for start in range(0, 2_000, 200):
        job.send(records[start : start + 200])
        job.wait_until_applied(processor)
    assert processor.stop() == 0

    names = job.settings.topics.names
    written = job.log.read(names.weights)

    rewards = [record.event for record in job.log.read(names.rewards)]
    last_version = {reward.bandit_id: reward.version for reward in rewards if isinstance(reward, Reward)}
    vectors = {key.decode(): decode(value) for values in latest(written).values() for key, value in values.items()}
    assert len(vectors) == 30
    assert vectors.keys() == last_version.keys()
    for bandit_id, vector in vectors.items():
        assert isinstance(vector, WeightVector)
        assert (vector.bandit_id, vector.version) == (bandit_id, last_version[bandit_id])
        assert [arm.name for arm in vector.arms] == list(job.settings.online_learning.arms)
        assert abs(sum(arm.probability for arm in vector.arms) - 1.0) < 1e-12
    assert len(written) > len(vectors), "there was nothing older to be told apart from"


def test_java_librdkafka_and_armstream_put_a_key_on_the_same_partition(job: Job) -> None:
    job.set({"topics.partitions": "7"})
    job.create_topics()
    topic = job.settings.topics.names.rewards
    draw = random.Random(2)
    keys = [*JAVA_MURMUR2, *(draw.randbytes(length) for length in range(1, 201))]
    sender = job.sender()
    for key in keys:
        sender.produce(topic, key, b"")
    sender.flush()

    placed = {record.key: record.partition for record in job.log.read(topic)}

    assert placed.keys() == set(keys)
    for key in keys:
        partition = placed[key]
        assert partition == partition_of(key, 7)
        if key in JAVA_MURMUR2:
            assert partition == (JAVA_MURMUR2[key] & 0x7FFFFFFF) % 7
