"""Signal 9 at random moments: the next start finds what was committed, and nothing else."""

import random
import threading
import time

import pytest

from tests.integration.check import check
from tests.integration.load import SHORT_WINDOWS, as_they_happen, history
from tests.integration.processor import Job

KILLS = 12


@pytest.mark.parametrize("trades", ["[trades]", "[fills, closes]"])
def test_killed_again_and_again_under_load_it_goes_on_where_it_was(job: Job, trades: str) -> None:
    """Moments are drawn so that kills meet starts, restores, and transactions in every state. Trades are as they really
    happen."""
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    draw = random.Random(seed)
    job.set(SHORT_WINDOWS | {"topics.trades": trades})
    job.create_topics()
    arms = job.settings.online_learning.arms
    records = as_they_happen(draw, history(seed, 10_000, bandits=50, arms=arms, lost=0.02), arms)
    stopped = threading.Event()

    def trickle() -> None:
        sender = job.sender()
        for start in range(0, len(records), 20):
            sender.send(records[start : start + 20])
            if not stopped.is_set():
                time.sleep(0.05)

    load = threading.Thread(target=trickle)
    load.start()
    try:
        seen_ready = 0
        for kill in range(KILLS):
            processor = job.start()
            if kill % 4:  # one in four may die while it starts or restores
                processor.wait_until_ready()
                seen_ready += 1
                time.sleep(draw.uniform(0.0, 1.0))
            else:
                time.sleep(draw.uniform(0.5, 3.0))
            processor.kill()
    finally:
        stopped.set()
        load.join()
    processor = job.start().wait_until_ready()
    job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text

    found = check(job)

    assert len(found.inputs) == len(records)
    classes = {letter.error_class for letter in found.dead_letter_events}
    assert classes >= {"ORPHAN_CLOSE", "VALIDATION", "ID_REUSED"}
    assert any(reward.detail.startswith("written off") for reward in found.reward_events)
    assert seen_ready >= KILLS // 2
