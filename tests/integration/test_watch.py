"""`armstream watch` as a desk has it: a process that reads a real cluster, through a broker's end and its return."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from armstream.events import Command, Reward, WeightVector
from armstream.keys import partition_of
from deploy.kafka.broker import Broker, start_kafka
from deploy.kafka.node import free_port
from tests.integration.load import history
from tests.integration.processor import Job, Process, eventually

ARMS = ("lightgbm", "xgboost", "ridge", "lstm")
BANDITS = 3


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """One that may be killed: never a given one."""
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    with start_kafka(environment=environment) as broker:
        yield broker


@pytest.fixture
def job(own_broker: Broker, tmp_path: Path) -> Iterator[Job]:
    job = Job(own_broker.bootstrap_servers, "w-", tmp_path)
    yield job
    job.close()


class Page:
    """What a browser is told."""

    def __init__(self, job: Job, metrics_port: int) -> None:
        self._port = free_port()
        overrides = {"watch.processors": json.dumps([f"http://127.0.0.1:{metrics_port}"])}
        self.process: Process = job.command("watch", "--http", f"127.0.0.1:{self._port}", overrides=overrides)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as response:
            return json.load(response)

    @contextmanager
    def events(self) -> Iterator[Iterator[tuple[str, Any]]]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/events", timeout=15) as response:

            def told() -> Iterator[tuple[str, Any]]:
                name = ""
                for line in response:
                    if line.startswith(b"event: "):
                        name = line[7:].decode().strip()
                    elif line.startswith(b"data: "):
                        yield name, json.loads(line[6:])

            yield told()

    def snapshot(self) -> Any:
        with self.events() as told:
            return next(data for name, data in told if name == "snapshot")

    def state(self) -> str:
        """ "" where it does not answer yet."""
        assert self.process.is_alive, self.process.text
        try:
            return str(self.snapshot()["pulse"]["state"])
        except OSError:
            return ""

    def row(self, bandit_id: str) -> Any:
        return next((row for row in self.snapshot()["bandits"] if row["bandit_id"] == bandit_id), None)


def first(told: Iterator[tuple[str, Any]], wanted: str, holds: Callable[[Any], bool], seconds: float) -> Any:
    """The first event of that name that holds. It fails with what was told last."""
    deadline = time.monotonic() + seconds
    last: dict[str, Any] = {}
    for name, data in told:
        if name == wanted and holds(data):
            return data
        last[name] = data
        assert time.monotonic() < deadline, f"no such {wanted} within {seconds:g} s; the last ones: {last}"
    raise AssertionError(f"the stream ended before such a {wanted}; the last ones: {last}")


def send(job: Job, seed: int) -> None:
    job.send(history(seed, 120, bandits=BANDITS, arms=ARMS, name=f"s{seed}-"))


def last_vectors(job: Job) -> dict[str, WeightVector]:
    events = [record.event for record in job.log.read(job.settings.topics.names.weights) if record.value is not None]
    return {event.bandit_id: event for event in events if isinstance(event, WeightVector)}


def shows_what_was_published(page: Page, job: Job) -> None:
    """Vectors and sums are those of the log, read by another reader, once the page has read as far."""
    vectors = last_vectors(job)
    rewards = [event for record in job.audit() if isinstance(event := record.event, Reward)]
    earned_bps = {
        bandit_id: sum(one.weight * one.reward_bps for one in rewards if one.bandit_id == bandit_id)
        for bandit_id in vectors
    }

    def has_read_all() -> bool:
        rows = {row["bandit_id"]: row for row in page.snapshot()["bandits"]}
        return rows.keys() == vectors.keys() and all(
            row["version"] == vectors[bandit_id].version
            and row["ever"]["sum_bps"] == pytest.approx(earned_bps[bandit_id], abs=1e-3)
            for bandit_id, row in rows.items()
        )

    eventually(has_read_all, 20, "every bandit, its last version and what it earned")
    for row in page.snapshot()["bandits"]:
        vector = vectors[row["bandit_id"]]
        assert row["weights"] == pytest.approx([arm.weight for arm in vector.arms], abs=1e-6)
        assert (row["version"], row["steps"], row["phase"]) == (vector.version, vector.total_steps, vector.phase)
        assert row["day"]["sum_bps"] == pytest.approx(earned_bps[row["bandit_id"]], abs=1e-3)


def test_the_page_shows_what_is_published_what_is_wrong_and_goes_on_by_itself_when_the_broker_is_back(
    job: Job, own_broker: Broker
) -> None:
    job.create_topics()
    metrics_port = free_port()
    processor = job.start(overrides={"metrics.port": str(metrics_port)})
    eventually(lambda: "serving http" in processor.text, 60, "the processor")
    page = Page(job, metrics_port)
    eventually(lambda: page.state() == "no-records", 60, "no-records, where nothing was published")
    send(job, 1)
    job.wait_until_applied(processor)
    shows_what_was_published(page, job)
    it_says_who_owns_what_and_how_far_behind_they_are(page)
    version = page.row("book-0")["version"]
    why = page.get(f"/explain?id=book-0&version={version}")
    assert (why["bandit_id"], why["version"], why["result"]) == ("book-0", version, "agrees")
    assert why["parts"] != []

    it_shows_a_dead_letter_and_a_command(page, job, processor)
    it_says_that_nobody_answers_and_then_goes_on(page, job, own_broker, processor)
    again = Page(job, metrics_port)
    eventually(lambda: again.state() == "live", 60, "another one has read it all back")
    shows_what_was_published(again, job)
    for each in (page, again):
        each.process.signal(signal.SIGINT)
        assert each.process.exit_code() == 0, each.process.text
        assert "Traceback" not in each.process.text
    assert processor.stop() == 0, processor.text


def it_says_who_owns_what_and_how_far_behind_they_are(page: Page) -> None:
    def known() -> bool:
        operate = page.snapshot()["operate"]
        asked = all(one["ready"] is not False for one in operate["processors"])  # it was asked since it was ready
        return asked and bool(operate["partitions"]) and all(one["lag_records"] == 0 for one in operate["partitions"])

    eventually(known, 20, "no lag, and a processor that is ready")
    operate = page.snapshot()["operate"]
    assert {(one["topic"], one["partition"]) for one in operate["partitions"]} == {
        (topic, number) for topic in ("w-trades", "w-commands") for number in range(4)
    }
    assert {one["owner"]["client_id"] for one in operate["partitions"]} == {"a"}
    assert operate["group_state"] == "STABLE"
    (member,) = operate["members"]
    assert len(member["partitions"]) == 8
    assert [one["task"] for one in operate["tasks"] if one["snapshot_ts"]] != []
    (scraped,) = operate["processors"]
    assert (scraped["ready"], scraped["error"]) == (True, "")


def it_shows_a_dead_letter_and_a_command(page: Page, job: Job, processor: Process) -> None:
    names = job.settings.topics.names
    number = partition_of(b"book-0", 4)
    producer = Producer({"bootstrap.servers": job.bootstrap_servers})
    producer.produce(names.trades[0], b"<script>", b"book-0", number, headers={"from": b"a test"})
    assert producer.flush(20) == 0
    job.send([Command("c-1", "book-0", "PAUSE", int(time.time() * 1e6), reason="lunch")])
    job.wait_until_applied(processor)

    def is_paused() -> bool:
        row = page.row("book-0")
        return bool(row["paused"]) and row["last_change"]["kind"] == "command"

    eventually(is_paused, 20, "paused")
    (mark,) = [one for one in page.get("/bandit?id=book-0")["marks"] if one["kind"] == "command"]
    assert mark["text"] == "PAUSE APPLIED: lunch"

    def letters() -> Any:
        return page.snapshot()["operate"]["dead_letters"]

    eventually(lambda: letters()["by_class"].get("DECODE") == 1, 20, "the dead letter")
    (letter,) = [one for one in letters()["last"] if one["class"] == "DECODE"]
    assert (letter["class"], letter["value"], letter["key"]) == ("DECODE", "<script>", "book-0")
    assert letter["headers"] == [["from", "a test"]]
    assert letter["topic"] == names.trades[0]
    stand = [record.event for record in job.log.read(names.dead_letters)]
    assert letters()["today"] == len(stand) == len(letters()["last"]) == sum(letters()["by_class"].values())
    alerts = page.snapshot()["operate"]["alerts"]
    assert [one["name"] for one in alerts] == ["ArmstreamDeadLetters"]
    assert "1 DECODE" in alerts[0]["text"]


def it_says_that_nobody_answers_and_then_goes_on(page: Page, job: Job, own_broker: Broker, processor: Process) -> None:
    with page.events() as told:
        own_broker.kill()
        pulse = first(told, "pulse", lambda data: data["state"] == "no-broker", 60)
        assert "Look whether its brokers run" in pulse["text"]
        time.sleep(7)  # requests run out of time meanwhile
        own_broker.restart()
        first(told, "pulse", lambda data: data["state"] == "live", 90)
        send(job, 2)
        job.wait_until_applied(processor)
        first(told, "rows", lambda data: any(row["bandit_id"] == "book-1" for row in data["bandits"]), 60)
    eventually(lambda: page.row("book-1")["version"] == last_vectors(job)["book-1"].version, 30, "book-1")
    shows_what_was_published(page, job)
