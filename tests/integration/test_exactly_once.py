"""The main job on a quiet day: everything that was sent is learned once, and can be derived again."""

from tests.integration.check import check
from tests.integration.load import history
from tests.integration.processor import Job


def test_ten_thousand_records_are_rewarded_exactly_once_and_can_be_derived_again(job: Job) -> None:
    """Partial fills and closes, float remainders, duplicates and early closes over 50 bandits and 4 partitions."""
    job.create_topics()
    records = history(20, 10_000, bandits=50, arms=job.settings.online_learning.arms)
    processor = job.start()
    sender = job.sender()
    for start in range(0, 3_000, 500):  # first in dribs and drabs, so that there are many transactions; then at once
        sender.send(records[start : start + 500])
    processor.wait_until_ready()
    sender.send(records[3_000:])
    job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text

    found = check(job)

    assert len(found.inputs) == 10_000
    assert found.dead_letters == []
    assert len({reward.bandit_id for reward in found.reward_events}) == 50
    assert len(found.rewards) > 3_000
