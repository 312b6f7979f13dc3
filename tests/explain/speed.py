"""How long `armstream explain` takes: vectors new and old, of a log of so many events in one partition, ten bandits.

    .venv/bin/python -m tests.explain.speed 60000

CPU time is the command's own; elapsed time has Kafka's part in it, and that of whatever else runs on the machine.
"""

import resource
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from armstream.explain.bandit import explained
from deploy.kafka.broker import start_kafka
from tests.integration.load import history
from tests.integration.processor import Job

BANDIT = "book-3"
_STEP_RECORDS = 10_000


def main(count: int) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(start_kafka(say=_say))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        job = stack.enter_context(closing(Job(broker.bootstrap_servers, "speed-", Path(folder))))
        _fill(job, count)
        _measure(job)


def _fill(job: Job, count: int) -> None:
    job.set({"topics.partitions": "1"})
    job.create_topics()
    process = job.start().wait_until_ready()
    arms = job.settings.online_learning.arms
    for step in range(count // _STEP_RECORDS):
        job.send(history(step, _STEP_RECORDS, bandits=10, arms=arms, name=f"s{step}-"))
    job.wait_until_applied(process, seconds=900.0)
    process.stop()


def _measure(job: Job) -> None:
    _explain(job, None)
    newest = explained(job.settings, BANDIT, at_micros=time.time_ns() // 1_000, say=_say).version
    for version in (newest, newest // 2, 1):
        _explain(job, version)


def _explain(job: Job, version: int | None) -> None:
    at_micros = time.time_ns() // 1_000 if version is None else None
    started, cpu = time.monotonic(), time.process_time()
    told = explained(job.settings, BANDIT, version=version, at_micros=at_micros, say=_say)
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    _say(
        f"version {told.version:>7,}  {told.result}  {len(told.parts):>5,} parts  {seconds:6.2f} s  "
        f"{cpu_seconds:5.2f} s of CPU  {megabytes:4.0f} MB  {told.state_from}"
    )


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the command's result


if __name__ == "__main__":
    main(int(sys.argv[1]))
