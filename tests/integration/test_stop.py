"""SIGTERM under load: the batch is finished and committed, and nothing read is left in between."""

import pytest

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
