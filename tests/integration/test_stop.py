"""SIGTERM: the batch is finished and committed, and nothing read is left in between; else a line says so, in time."""

from collections.abc import Iterator

import pytest

from deploy.kafka.broker import Broker
from tests.faults.proxy import Api, Hold, Proxy
from tests.integration.check import check
from tests.integration.load import history
from tests.integration.processor import Job, eventually


@pytest.mark.parametrize("signals", [1, 2])
def test_sigterm_under_load_commits_what_was_read_and_exits_with_0(job: Job, signals: int) -> None:
    """The second signal comes where a hurried operator sends it: while the first one's batch is being finished."""
    job.set({"limits.batch_records": "10"})  # the whole takes longer than the group's offsets are late to be seen
    job.create_topics()
    records = history(7, 16_000, bandits=20, arms=job.settings.online_learning.arms)
    job.send(records)
    processor = job.start()
    inputs = job.settings.topics.names.inputs
    eventually(lambda: sum(job.log.committed(inputs).values()) > 2_000, 60, "2,000 records applied")
    if signals == 2:
        processor.terminate()
    assert processor.stop() == 0, processor.text

    found = check(job)

    assert 2_000 < len(found.inputs) < len(records), "it was not stopped in the middle"


@pytest.fixture
def proxy(kafka: Broker) -> Iterator[Proxy]:
    with Proxy(kafka.proxied.advertised, kafka.proxied.address) as proxy:
        yield proxy


def behind_proxy(kafka: Broker) -> dict[str, str]:
    return {"kafka.bootstrap_servers": kafka.proxied.advertised}


def test_a_commit_that_hangs_does_not_outlive_sigterm_by_30_s_and_nothing_is_lost(
    job: Job, kafka: Broker, proxy: Proxy
) -> None:
    job.create_topics()
    records = history(8, 400, bandits=20, arms=job.settings.online_learning.arms)
    processor = job.start(overrides=behind_proxy(kafka)).wait_until_ready()
    held = proxy.next(Api.END_TXN, Hold(), count=1_000)
    job.send(records)
    held.wait_until_met(60)
    processor.terminate()
    assert processor.exit_code(30) == 1, processor.text
    assert "SIGTERM came 25 s ago, and a call to Kafka has not come back" in processor.text.splitlines()[-1]
    proxy.forget()
    again = job.start().wait_until_ready()
    job.wait_until_applied(again)
    assert again.stop() == 0, again.text
    assert len(check(job).inputs) == len(records)


def test_who_waits_for_its_transactional_id_leaves_at_once(job: Job, kafka: Broker, proxy: Proxy) -> None:
    job.create_topics()
    held = proxy.next(Api.INIT_PRODUCER_ID, Hold(), count=1_000)
    processor = job.start(overrides=behind_proxy(kafka))
    held.wait_until_met(60)
    processor.terminate()
    assert processor.exit_code(15) == 0, processor.text
