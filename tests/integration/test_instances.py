"""Two processes share the work, and hand it over."""

import threading
import time

from tests.integration.check import check, orphans_expired_and_positions_were_forgotten
from tests.integration.load import SHORT_WINDOWS, history
from tests.integration.processor import Job, Process, eventually

ALL_TASKS = "assigned tasks [0, 1, 2, 3]"


def leaves(process: Process, other: Process) -> None:
    """One ends in order, and the other has all tasks when the static member's session has ended."""
    had_all = other.text.count(ALL_TASKS)
    assert process.stop() == 0, process.text
    eventually(lambda: other.text.count(ALL_TASKS) > had_all and other.is_ready, 40, f"all tasks in\n{other.text}")


def test_one_instance_leaves_and_another_joins_under_load(job: Job) -> None:
    job.set(SHORT_WINDOWS)
    job.create_topics()
    records = history(4, 10_000, bandits=50, arms=job.settings.online_learning.arms, lost=0.02)
    rushing = threading.Event()

    def trickle() -> None:
        sender = job.sender()
        for start in range(0, len(records), 25):
            sender.send(records[start : start + 25])
            if not rushing.is_set():
                time.sleep(0.05)

    load = threading.Thread(target=trickle)
    load.start()
    try:
        first, second = job.start("a"), job.start("b")
        first.wait_until_ready()
        second.wait_until_ready()
        time.sleep(1.0)
        leaves(first, second)
        third = job.start("c").wait_until_ready()
        third.wait_until_it_says("is ready at")
        time.sleep(1.0)
        leaves(third, second)  # whose own state of these tasks is old by now
    finally:
        rushing.set()
        load.join()
    job.wait_until_applied(second)
    assert second.stop() == 0, second.text

    found = check(job)

    assert len(found.inputs) == len(records)
    orphans_expired_and_positions_were_forgotten(found)
    assert "did not come back: its state is given up" in second.text, second.text  # what the third one took
    for process in (first, second, third):
        assert "is ready at" in process.text, f"it did no work:\n{process.text}"
