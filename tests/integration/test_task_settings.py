"""Windows and limits are in the audit log from where they begin to hold: once, whatever happens meanwhile."""

import json
import random
import time
from itertools import pairwise

from armstream.codec import decode
from armstream.events import TaskSettings, TaskSnapshot
from armstream.keys import TASK_KEY
from tests.integration.load import history
from tests.integration.log import latest
from tests.integration.processor import Job
from tests.integration.test_outcomes import limit_bytes

WINDOW = "rewards.dedupe_window_seconds"


def recorded(job: Job) -> dict[int, list[TaskSettings]]:
    """Those of each task, in their order. Fails where the newest is not the one that the task's snapshot holds."""
    names = job.settings.topics.names
    found: dict[int, list[TaskSettings]] = {}
    for record in job.log.read(names.rewards):
        if record.key == TASK_KEY:
            event = record.event
            assert isinstance(event, TaskSettings)
            assert event.task == record.partition
            found.setdefault(record.partition, []).append(event)
    for task, values in latest(job.log.read(names.snapshots)).items():
        snapshot = decode(values[TASK_KEY])
        assert isinstance(snapshot, TaskSnapshot)
        assert snapshot.settings == found[task][-1].settings
    return found


def send_some(job: Job, seed: int, count: int = 200) -> None:
    job.send(history(seed, count, bandits=16, arms=job.settings.online_learning.arms, name=f"s{seed}-"))


def run_on(job: Job, seed: int) -> None:
    """A start, some records, and an end in order."""
    processor = job.start()
    send_some(job, seed)
    job.wait_until_applied(processor)
    assert processor.wait_until_ready().stop() == 0, processor.text


def test_settings_are_written_where_they_begin_to_hold_and_not_again_while_they_do(job: Job) -> None:
    job.set({"topics.partitions": "2"})
    job.create_topics()
    names = job.settings.topics.names
    run_on(job, 1)
    first = recorded(job)
    assert {task: [json.loads(one.settings)["dedupe_window_micros"] for one in of] for task, of in first.items()} == {
        0: [86_400_000_000],
        1: [86_400_000_000],
    }
    assert all(dict(one.cut) == dict.fromkeys(names.inputs, 0) for (one,) in first.values())
    assert [one.key for one in job.log.read(names.rewards) if one.offset == 0] == [TASK_KEY, TASK_KEY]

    run_on(job, 2)
    assert recorded(job) == first

    stood = job.log.committed(names.inputs)
    job.set({WINDOW: "7200"})
    run_on(job, 3)
    run_on(job, 4)
    changed = recorded(job)
    for task, (before, after) in changed.items():
        assert [before] == first[task]
        assert json.loads(after.settings) == {**json.loads(before.settings), "dedupe_window_micros": 7_200_000_000}
        assert dict(after.cut) == {name: stood[name, task] for name in names.inputs}


def test_no_kill_makes_a_task_write_the_same_settings_twice_or_not_at_all(job: Job) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    draw = random.Random(seed)
    job.create_topics()
    for step in range(8):
        processor = job.start(overrides={WINDOW: str(3_600 * (1 + step // 2 % 2))})
        if step % 2:
            processor.wait_until_ready()
        send_some(job, step, 400)
        time.sleep(draw.uniform(0.0, 0.5))  # a moment, not a wait: the kill meets whatever is under way
        processor.kill()
    job.set({WINDOW: "10800"})
    run_on(job, 100)
    found = recorded(job)
    assert sorted(found) == [0, 1, 2, 3]
    for written in found.values():
        assert all(one.settings != next_one.settings for one, next_one in pairwise(written))
        assert json.loads(written[-1].settings)["dedupe_window_micros"] == 10_800_000_000


def test_an_aborted_transaction_leaves_the_settings_to_the_next_one(job: Job) -> None:
    job.set({"topics.partitions": "1"})
    job.create_topics()
    topic = job.settings.topics.names.rewards
    processor = job.start().wait_until_ready()
    limit_bytes(job, topic, 100)
    send_some(job, 1)
    processor.wait_until_it_says("the commit's outcome is unknown")
    limit_bytes(job, topic, 1_200_000)
    job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text
    assert [len(of) for of in recorded(job).values()] == [1]
