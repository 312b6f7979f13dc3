"""A transaction that cannot be: nothing of it is published, the process says so, and what comes after goes on."""

import re
import signal
import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its public names, which it does not declare so
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from armstream.runtime.commit import Committer, Outcome
from armstream.runtime.publication import Publication
from tests.integration.check import check
from tests.integration.load import history
from tests.integration.processor import Job, eventually


def limit_bytes(job: Job, topic: str, max_message_bytes: int) -> None:
    set_config(job, topic, "max.message.bytes", str(max_message_bytes))


def set_config(job: Job, topic: str, name: str, value: str) -> None:
    """As an operator changes a topic while it is in use. What was accepted holds once the brokers have heard of it."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for done in job.admin.incremental_alter_configs([resource]).values():
        done.result(30)

    def is_shown() -> bool:
        asked = job.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])
        return all(told.result(30)[name].value == value for told in asked.values())

    eventually(is_shown, 30, f"{name} of {topic} is {value}")


def test_what_the_broker_refuses_is_named_by_its_record_and_goes_on_once_it_fits(job: Job) -> None:
    """The broker's refusal fails the commit, so that its outcome is asked of the broker each time."""
    job.create_topics()
    arms = job.settings.online_learning.arms
    first, second = (history(seed, 200, bandits=8, arms=arms, name=f"s{seed}-") for seed in (1, 2))
    processor = job.start().wait_until_ready()
    job.send(first)
    job.wait_until_applied(processor)
    topic = job.settings.topics.names.rewards
    limit_bytes(job, topic, 100)
    published = len(job.log.read(topic))

    job.send(second)
    assert processor.exit_code(60) == 1, processor.text
    last_line = processor.text.strip().splitlines()[-1]
    named = re.search(rf"the record at {job.settings.topics.names.trades[0]}:\d:\d+ could not be published", last_line)
    assert named, last_line
    assert "Traceback" not in processor.text
    assert len(job.log.read(topic)) == published

    limit_bytes(job, topic, 1_200_000)
    again = job.start().wait_until_ready()
    job.wait_until_applied(again)
    assert again.stop() == 0, again.text
    assert len(check(job).inputs) == len(first) + len(second)


def test_what_is_refused_while_a_later_part_is_made_is_told_all_the_same(job: Job) -> None:
    """The producer then refuses the later part as well, and does not say why."""
    job.create_topics()
    names = job.settings.topics.names
    limit_bytes(job, names.rewards, 100)
    value = bytes(1_000)
    record = {"key": b"book", "value": value}
    plain = Producer({"bootstrap.servers": job.bootstrap_servers})

    def is_heeded() -> bool:
        refusals: list[KafkaError | None] = []
        plain.produce(names.rewards, value, b"book", 0, on_delivery=lambda error, _: refusals.append(error))
        return plain.flush(20) == 0 and refusals[0] is not None

    parts = [Publication({(name, 0): [record]}) for name in (names.rewards, names.weights)]

    def is_member() -> bool:
        consumer.poll(0.1)
        return bool(consumer.assignment())

    def is_answered() -> bool:
        committer._producer.poll(0.05)
        return len(committer._producer) == 0

    def one_by_one() -> Iterator[Publication]:
        for number, part in enumerate(parts):
            part.move(number, {names.trades[0]: 1})
            yield part
            eventually(is_answered, 60, "the broker's answer")

    consumer = Consumer(job.settings.consumer_configuration())
    consumer.subscribe([names.trades[0]])
    committer = Committer(job.settings.producer_configuration(), lambda: None)
    try:
        eventually(is_member, 60, "a member")
        eventually(is_heeded, 30, "the limit, which holds a moment after it is shown")
        assert committer.commit(one_by_one(), consumer, lambda: None) is Outcome.ABORTED
        assert committer.is_of_a_record, committer.error
        assert set(job.log.committed(names.inputs).values()) == {0}
    finally:
        committer.close()
        consumer.close()


def test_a_process_that_slept_past_its_session_commits_nothing_of_what_its_twin_took_over(job: Job) -> None:
    """Woken, it learns that it was thrown out; what it held is done once."""
    job.set({"kafka.session_timeout_ms": "6000", "limits.batch_records": "50"})
    job.create_topics()
    records = history(3, 3_000, bandits=8, arms=job.settings.online_learning.arms)
    sleeper = job.start("a").wait_until_ready()
    twin = job.start("b").wait_until_ready()
    job.send(records)
    inputs = job.settings.topics.names.inputs
    eventually(lambda: sum(job.log.committed(inputs).values()) > 500, 60, "500 records applied")
    sleeper.signal(signal.SIGSTOP)
    time.sleep(9.0)
    sleeper.signal(signal.SIGCONT)
    job.wait_until_applied(sleeper, twin)
    assert [process.stop() for process in (sleeper, twin)] == [0, 0], sleeper.text
    assert len(check(job).inputs) == len(records)
