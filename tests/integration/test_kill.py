"""Signal 9 at random moments: the next start finds what was committed, and nothing else."""

import random
import threading
import time

from tests.integration.check import check, orphans_expired_and_positions_were_forgotten
from tests.integration.load import SHORT_WINDOWS, history
from tests.integration.processor import Job

KILLS = 20


def test_killed_twenty_times_under_load_it_goes_on_where_it_was(job: Job) -> None:
    """Moments are drawn so that kills meet starts, restores, and transactions in every state."""
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    draw = random.Random(seed)
    job.set(SHORT_WINDOWS)
    job.create_topics()
    records = history(seed, 20_000, bandits=50, arms=job.settings.online_learning.arms, lost=0.02)
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
    orphans_expired_and_positions_were_forgotten(found)
    assert seen_ready >= KILLS // 2
