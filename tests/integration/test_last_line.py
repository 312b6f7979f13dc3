"""Before a processor ends, its last line names the record that it ends for, and the command that gets past it."""

import time
from pathlib import Path

from armstream.events import DeadLetter, Fill
from tests.integration.load import history
from tests.integration.processor import Job
from tests.integration.test_outcomes import limit_bytes
from tests.poison.pill import PILLS, python_path


def pill(event_id: str, now_micros: int) -> Fill:
    ids = (event_id, "book-0", event_id)
    return Fill(*ids, "AAPL", "BUY", 1.0, 150.0, now_micros, arm="ridge", propensity=0.25)


def last_line(job: Job, *arguments: str) -> str:
    process = job.start("a", *arguments)
    assert process.exit_code(90) == 1, process.text
    assert "Traceback" not in process.text, process.text
    return process.text.strip().splitlines()[-1]


def test_a_record_that_no_code_survives_and_one_that_no_topic_takes_are_named_skipped_and_read_past(
    job: Job, tmp_path: Path
) -> None:
    """Together the small dead letters are above what their topic takes, each of them below: they go in parts."""
    job.set({"topics.partitions": "2", "core": "python"})  # where the pills lie
    job.create_topics()
    names, sender = job.settings.topics.names, job.sender()
    limit_bytes(job, names.dead_letters, 100_000)
    records = history(7, 200, bandits=3, arms=job.settings.online_learning.arms)
    sender.send(records[:100])
    for _ in range(60):
        sender.produce(names.trades[0], b"book-0", b"no Avro" * 1_000)
    sender.flush()
    sender.produce(names.trades[0], b"book-0", b"x" * 150_000)
    [large] = sender.flush()
    now_micros = int(time.time() * 1e6)
    pills = [place for each in PILLS for place in sender.send([pill(each, now_micros)])]
    sender.send(records[100:])
    skips = [argument for place in pills for argument in ("--skip", ":".join(map(str, place)))]
    job.python_path = python_path(tmp_path / "pills")

    at = ":".join(map(str, pills[0]))
    line = last_line(job)
    assert f"the record at {at} could not be applied: RuntimeError('cannot be decoded')" in line
    assert line.endswith(f"; `armstream run --skip {at}` sends it to dead letters")

    at = ":".join(map(str, large))
    line = last_line(job, *skips)
    assert f"the record at {at} could not be published" in line
    assert "Message size too large" in line
    assert line.endswith(f"`armstream run --skip {at}` sends it to dead letters")

    processor = job.start("a", *skips, "--skip", at).wait_until_ready()
    job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text
    skipped = frozenset([*pills, large])
    assert {tuple(place) for place in job.verify(skip=skipped)["skipped"]} == skipped
    letters = [letter.event for letter in job.log.read(names.dead_letters)]
    classes = [letter.error_class for letter in letters if isinstance(letter, DeadLetter)]
    assert sorted(classes) == ["DECODE"] * 60 + ["SKIPPED"] * 5
