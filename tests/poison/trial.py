"""One trial: records that no sane producer sends, on a real broker, to the real program.

Law: whatever any producer can write to an input topic, the batch commits; what is refused is a dead letter that fits
its topic; what state it leaves fits its topic; the processor restarts from it; `verify` holds.
"""

import random
import time
from collections import Counter
from dataclasses import dataclass, field

from armstream.events import DeadLetter
from tests.integration.processor import Job
from tests.integration.test_outcomes import set_config
from tests.poison.draw import Sent, Source, batches
from tests.poison.raw import RawProducer, RefusedByBroker

_LAYOUTS: tuple[dict[str, str], ...] = (
    {},
    {"topics.trades": "[fills, closes]"},
    {"limits.record_bytes": "1024"},
    {"limits.record_bytes": "20000", "limits.events_per_position": "6", "limits.arms": "1000"},
    {"online_learning.algorithm": "tsallis", "limits.waiting_closes": "50", "limits.bandits": "3"},
    {
        "online_learning.algorithm": "exp4",
        "online_learning.experts": "{one: engine, two: exp3ix, three: follow_best, four: {ridge: 1.0}}",
    },
    {"limits.positions_remembered": "40", "rewards.dedupe_window_seconds": "60", "rewards.orphan_ttl_seconds": "30"},
    {"limits.open_positions": "5", "online_learning.reward_bound_bps": "auto"},
)


@dataclass(slots=True)
class Tally:
    """What was sent and what came of it."""

    sent: int = 0
    refused_by_broker: int = 0
    rewards: int = 0
    letters: Counter[str] = field(default_factory=Counter)
    largest_bytes: Counter[str] = field(default_factory=Counter)  # by topic, without its prefix

    def add(self, other: "Tally") -> None:
        self.sent += other.sent
        self.refused_by_broker += other.refused_by_broker
        self.rewards += other.rewards
        self.letters += other.letters
        for topic, size_bytes in other.largest_bytes.items():
            self.largest_bytes[topic] = max(size_bytes, self.largest_bytes[topic])

    def __str__(self) -> str:
        letters = ", ".join(f"{name} {count}" for name, count in sorted(self.letters.items()))
        largest = ", ".join(f"{topic} {size_bytes}" for topic, size_bytes in sorted(self.largest_bytes.items()))
        return (
            f"{self.sent} records ({self.refused_by_broker} more the broker refused), {self.rewards} rewards; "
            f"dead letters: {letters}; largest record in bytes: {largest}"
        )


def attempt(job: Job, seed: int, count: int) -> Tally:
    """Fails where the law does not hold."""
    draw = random.Random(seed)
    job.set({"topics.partitions": "2", **draw.choice(_LAYOUTS)})
    job.create_topics()
    sent, tally = Source(job.settings, seed).records(count), Tally()
    half = len(sent) // 2
    _send_by_their_own_time(job, sent[:half], tally)
    processor = job.start().wait_until_ready()
    _send(job, sent[half:], tally)
    seconds = 90 + count / 50
    job.wait_until_applied(processor, seconds=seconds)
    assert processor.stop() == 0, processor.text
    again = job.start().wait_until_ready()
    _send(job, Source(job.settings, seed + 1).records(20), tally)
    job.wait_until_applied(again, seconds=seconds)
    assert again.stop() == 0, again.text
    for process in (processor, again):
        assert "Traceback" not in process.text, process.text
        assert max(map(len, process.text.splitlines())) <= 2_000
    report = job.verify()
    assert not report["not_checked"], report
    _look_at(job, tally)
    return tally


def _send_by_their_own_time(job: Job, sent: list[Sent], tally: Tally) -> None:
    """As records stand there that came while the topic's operator had it otherwise."""
    for topic in job.settings.topics.names.inputs:
        set_config(job, topic, "message.timestamp.type", "CreateTime")
        set_config(job, topic, "message.timestamp.after.max.ms", str(2**63 - 1))
    time.sleep(0.2)
    _send(job, sent, tally)
    for topic in job.settings.topics.names.inputs:
        set_config(job, topic, "message.timestamp.type", "LogAppendTime")


def _send(job: Job, sent: list[Sent], tally: Tally) -> None:
    with RawProducer(job.bootstrap_servers) as producer:
        for batch in batches(sent):
            topic, partition = batch[0].topic, batch[0].partition
            try:
                producer.send(topic, partition, [one.record for one in batch])
                tally.sent += len(batch)
            except RefusedByBroker:
                for one in batch:
                    try:
                        producer.send(topic, partition, [one.record])
                        tally.sent += 1
                    except RefusedByBroker:
                        tally.refused_by_broker += 1


def _look_at(job: Job, tally: Tally) -> None:
    """Each dead letter is one, and nothing is larger than the smallest topic takes."""
    settings = job.settings
    names, prefix = settings.topics.names, settings.topics.prefix
    for topic in names.all:
        short = topic.removeprefix(prefix)
        for record in job.log.read(topic):
            size_bytes = len(record.key or b"") + len(record.value or b"")
            tally.largest_bytes[short] = max(size_bytes, tally.largest_bytes[short])
            tally.rewards += topic == names.rewards
            if topic == names.dead_letters:
                letter = record.event
                assert isinstance(letter, DeadLetter)
                assert len(letter.error) < 700
                tally.letters[letter.error_class] += 1
    assert max(tally.largest_bytes.values()) < 1_114_124
