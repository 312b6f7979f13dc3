"""Fills and closes on two topics, which have no common order: one may be days behind, and nothing is lost."""

import time

import msgspec
import pytest

from armstream.events import Close, Fill
from tests.integration.check import check
from tests.integration.load import SPREAD_SECONDS, Event, history
from tests.integration.processor import Job

DAYS = 10
APART = {"topics.trades": "[fills, closes]"}


def backlog(seed: int, record_count: int, arms: tuple[str, ...]) -> tuple[list[Event], list[Event]]:
    """Fills and closes of the last ten days, each topic in the order of its events' time."""
    first_micros = int((time.time() - DAYS * 86_400) * 1e6)
    stretch = (DAYS - 0.5) * 86_400 / SPREAD_SECONDS
    records: list[Event] = [
        msgspec.structs.replace(record, ts_event=first_micros + int((record.ts_event - first_micros) * stretch))
        for record in history(seed, record_count, bandits=12, arms=arms, first_micros=first_micros)
    ]
    records.sort(key=lambda record: record.ts_event)
    return [one for one in records if isinstance(one, Fill)], [one for one in records if isinstance(one, Close)]


def test_fills_and_closes_apart_are_rewarded_exactly_once_too(job: Job) -> None:
    job.set(APART)
    job.create_topics()
    records = history(6, 5_000, bandits=12, arms=job.settings.online_learning.arms)
    processor = job.start().wait_until_ready()
    for start in range(0, len(records), 250):
        job.send(records[start : start + 250])
    job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text

    found = check(job)

    assert (len(found.inputs), found.dead_letters) == (5_000, [])


@pytest.mark.parametrize("ahead", ["fills", "closes", "neither"])
def test_a_backlog_where_one_topic_runs_days_ahead_leaves_no_orphan(job: Job, ahead: str) -> None:
    """Ten days of one topic are applied before the first record of the other; or both wait when it starts.

    Closes alone wait for a dedupe_window of their own time: it is longer than they are ahead.
    """
    job.set(APART | {"rewards.dedupe_window_seconds": str((DAYS + 1) * 86_400)})
    job.create_topics()
    fills, closes = backlog(8, 3_000, job.settings.online_learning.arms)
    first, second = (closes, fills) if ahead == "closes" else (fills, closes)
    job.send(first)
    if ahead == "neither":
        job.send(second)
    processor = job.start().wait_until_ready()
    job.wait_until_applied(processor)
    if ahead != "neither":
        job.send(second)
        job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text

    found = check(job)

    assert [(letter.error_class, letter.error) for letter in found.dead_letter_events] == []
    assert len(found.inputs) == 3_000


@pytest.mark.parametrize("appended_first", ["fills", "closes"])
def test_the_topic_that_runs_ahead_waits_where_state_would_pass_its_limit(job: Job, appended_first: str) -> None:
    """The backlog is many times what may be open or wait; read to its end first, either topic would pass a limit."""
    limits = {"limits.open_positions": "800", "limits.waiting_closes": "800", "limits.batch_records": "200"}
    job.set(APART | limits | {"topics.partitions": "1"})
    job.create_topics()
    fills, closes = backlog(8, 12_000, job.settings.online_learning.arms)
    for records in (fills, closes) if appended_first == "fills" else (closes, fills):
        job.send(records)
        time.sleep(0.1)
    processor = job.start().wait_until_ready()
    job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text

    found = check(job)

    assert [(letter.error_class, letter.error) for letter in found.dead_letter_events] == []
    assert "waits for the other" in processor.text, "nothing ran ahead: the test shows nothing"
