"""How long a state of two topics takes to move to one: `python -m tests.bench.move [--positions N]`.

The version that landed last learns the state, so that it stands where that one keeps it; this one's log says the rest.
Law: what stands on `snapshots` afterwards is what stood before, or no number is printed.
"""

import argparse
import re
import tempfile
import time
from pathlib import Path

from armstream.events import Fill
from armstream.keys import is_bandits, is_positions
from deploy.kafka.broker import start_kafka
from tests.integration.log import latest
from tests.integration.processor import Job
from tests.integration.versions import forms_known_to, landed_last, send_in

_MOVED = re.compile(r"task \d+: its state, (\d+) records, was moved .* in ([\d.]+) s")


def fills(positions: int, arm: str) -> list[Fill]:
    """One of each position, of 1,000 bandits; all of them stay open."""
    now = time.time_ns() // 1_000
    return [
        Fill("f", f"book-{n % 1_000}", f"p{n}", "X", "BUY", 1.0, 9.0, now - positions + n, arm=arm)
        for n in range(positions)
    ]


def measure(job: Job, old: Path, positions: int) -> list[tuple[int, float]]:
    """(records, seconds) of each task. Raises AssertionError where the state is another one."""
    assert job.command("topics", "create", source_root=old).exit_code(60) == 0
    job.create_topics()
    processor = job.start(source_root=old).wait_until_ready()
    send_in(job, forms_known_to(old), fills(positions, job.settings.online_learning.arms[0]))
    job.wait_until_applied(processor, seconds=600)
    assert processor.stop() == 0, processor.text
    processor = job.start().wait_until_ready(600)
    assert processor.stop() == 0, processor.text
    names = job.settings.topics.names
    now, *before = (latest(job.log.read(name, 600)) for name in (names.snapshots, *names.state_before))
    for number, values in now.items():
        stood = {key: value for one in before for key, value in one.get(number, {}).items()}
        kept = {key for key in stood if is_bandits(key) or is_positions(key)}
        assert {key: values[key] for key in kept} == {key: stood[key] for key in kept}, "the state is another one"
    return [(int(count), float(seconds)) for count, seconds in _MOVED.findall(processor.text)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, default=100_000)
    positions = parser.parse_args().positions
    with start_kafka() as broker, tempfile.TemporaryDirectory() as folder:
        job = Job(broker.bootstrap_servers, "move-", Path(folder))
        job.set({"topics.partitions": "4"})
        try:
            for count, seconds in measure(job, landed_last(Path(folder) / "landed-last"), positions):
                print(f"{count:,} records in {seconds:.2f} s")  # noqa: T201 - the result
        finally:
            job.close()


if __name__ == "__main__":
    main()
