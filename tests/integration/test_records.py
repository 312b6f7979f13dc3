"""What an operator sees of records and sends again: `cat` and `dead-letters` on real Kafka, beside a processor.

One job for all: each test has bandits of its own.
"""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from threading import Timer
from typing import Any
from unittest.mock import patch

import pytest
from confluent_kafka import Producer

from armstream import cli
from armstream.codec import encode
from armstream.events import Close, Command, DeadLetter, Fill, Reward
from armstream.keys import partition_of
from armstream.operating import spans
from deploy.kafka.broker import Broker
from tests.integration.load import history
from tests.integration.log import Record
from tests.integration.processor import Job, Process, eventually
from tests.stages.events import close, fill

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("logging_as_before")]

PARTITIONS = 4
ARMS = ("ridge", "mlp")
HOUR_MICROS = 3_600_000_000


class House:
    """The job with its processor, and the commands as an operator gives them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.topics = job.settings.topics.names
        self.trades = self.topics.trades[0]
        self.processor: Process = job.start().wait_until_ready()
        self.producer = Producer({"bootstrap.servers": job.bootstrap_servers})

    def ask(self, *arguments: str) -> tuple[int, list[str], str]:
        """A command in this process: its exit code, the lines of its output, and what it says besides."""
        shown, said = io.StringIO(), io.StringIO()
        environment = patch.dict(os.environ, self.job.environment({}), clear=True)
        with environment, redirect_stdout(shown), redirect_stderr(said):
            code = cli.main(arguments)
        return code, shown.getvalue().splitlines(), said.getvalue()

    def cat(self, *arguments: str) -> list[dict[str, Any]]:
        code, lines, said = self.ask("cat", *arguments)
        assert code == 0, said  # else it says at most how far it is
        return [json.loads(line) for line in lines]

    def resend(self, *arguments: str) -> tuple[int, list[str], str]:
        return self.ask("dead-letters", "resend", *arguments, "--by", "anna", "--reason", "a test")

    def start(self, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """A command as a process of its own."""
        command = [sys.executable, "-m", "armstream.cli", *arguments]
        environment = self.job.environment({})
        return subprocess.Popen(command, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True)

    def send(self, *events: Fill | Close | Command) -> None:
        """Applied when it returns."""
        self.job.send(events)
        self.job.wait_until_applied(self.processor)

    def put(self, topic: str, number: int, key: bytes | None, value: bytes | None) -> None:
        self.producer.produce(topic, value, key, number)
        assert self.producer.flush(30) == 0

    def letter_of(self, bandit_id: str) -> tuple[str, DeadLetter]:
        """The newest letter about a record of the bandit, with its source's place, read by the tests' own reader."""
        found = [record.event for record in self.job.log.read(self.topics.dead_letters)]
        letters = [
            one for one in found if isinstance(one, DeadLetter) and bandit_id.encode() in (one.source.value or b"")
        ]
        source = letters[-1].source
        return f"{source.topic}:{source.partition}:{source.offset}", letters[-1]

    def rewards(self, bandit_id: str) -> list[Reward]:
        found = [record.event for record in self.job.audit()]
        return [one for one in found if isinstance(one, Reward) and one.bandit_id == bandit_id]


@pytest.fixture(scope="module")
def house(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("records")
    with closing(Job(kafka.bootstrap_servers, f"records-{time.monotonic_ns()}-", folder)) as job:
        job.set({"online_learning.families": json.dumps(ARMS), "topics.partitions": str(PARTITIONS)})
        job.create_topics()
        house = House(job)
        yield house
        assert house.processor.stop() == 0, house.processor.text
        job.verify()


def now_micros() -> int:
    return time.time_ns() // 1_000


def places(shown: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(one["partition"], one["offset"]) for one in shown]


def ordered(records: Sequence[Record]) -> list[tuple[int, int]]:
    """By hand: LogAppendTime never falls within a partition, so by time, partition and offset is one order."""
    by_time = sorted(records, key=lambda one: (one.message.timestamp()[1], one.partition, one.offset))
    return [(one.partition, one.offset) for one in by_time]


def test_cat_shows_each_record_once_by_time_whatever_is_held_of_a_partition(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.send(*history(1, 600, bandits=7, arms=ARMS))
    house.put(house.trades, 0, b"book", b"garbage")
    house.put(house.trades, 1, None, None)
    records = house.job.log.read(house.trades)
    shown = house.cat("trades")
    assert places(shown) == ordered(records)
    assert [one["type"] for one in shown].count("Unreadable") == 1
    assert [one["type"] for one in shown].count("Tombstone") == 1
    assert {one["topic"] for one in shown} == {house.trades}
    monkeypatch.setattr(spans, "_HELD_RECORDS", 3)
    monkeypatch.setattr(spans, "_CONSUMED", 7)
    monkeypatch.setattr(spans, "_FIRST_STEP", 5)
    assert house.cat(house.trades) == shown
    assert house.cat("trades", "--last", "20") == shown[-20:]
    assert house.cat("trades", "--last", "100000") == shown
    assert house.cat("trades", "--last", "0") == []


def test_cat_selects_by_bandit_and_time_in_every_topic(house: House) -> None:
    house.send(*history(2, 200, bandits=3, arms=ARMS, name="s"))
    records = house.job.log.read(house.trades)
    own = [one for one in records if one.key == b"book-1"]
    shown = house.cat("trades", "--bandit", "book-1")
    assert places(shown) == ordered(own)
    assert {one["partition"] for one in shown} == {partition_of(b"book-1", PARTITIONS)}
    assert house.cat("trades", "--bandit", "book-1", "--last", "3") == shown[-3:]
    first, until = shown[len(shown) // 3]["timestamp"], shown[2 * len(shown) // 3]["timestamp"]
    within = [one for one in shown if first <= one["timestamp"] < until]
    assert house.cat("trades", "--bandit", "book-1", "--from", first, "--until", until) == within
    assert house.cat("trades", "--from", "0s") == []
    positions = house.cat("snapshots", "--bandit", "book-1")
    assert {(one["record"] or {"bandit_id": "book-1"})["bandit_id"] for one in positions} == {"book-1"}
    versions = [one["record"]["version"] for one in house.cat("rewards", "--bandit", "book-1")]
    assert versions == list(range(1, len(versions) + 1))
    assert house.cat("snapshots", "--bandit", "book-1")[-1]["record"]["version"] == versions[-1]


def test_cat_shows_what_is_committed_and_does_not_wait_for_what_is_not(house: House) -> None:
    writer = {"bootstrap.servers": house.job.bootstrap_servers, "transactional.id": f"t{time.monotonic_ns()}"}
    number, producer = partition_of(b"open", PARTITIONS), Producer(writer)
    producer.init_transactions(30)
    for ends in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        producer.produce(house.topics.commands, encode(Command("k", "open", "PAUSE", now_micros())), b"open", number)
        assert producer.flush(30) == 0
        assert house.cat("commands", "--bandit", "open") == []
        ends(30)
    eventually(lambda: len(house.cat("commands", "--bandit", "open")) == 1, 10, "the committed one is shown")


def test_cat_follows_what_comes_and_ends_quietly_with_its_reader(house: House) -> None:
    house.send(fill(bandit_id="followed", ts_event=now_micros()))
    follower = house.start("cat", "trades", "--bandit", "followed", "--last", "5", "--follow")
    assert follower.stdout is not None
    limit = Timer(90, follower.kill)
    limit.start()
    try:
        assert json.loads(follower.stdout.readline())["type"] == "Fill"
        house.send(fill(bandit_id="other", ts_event=now_micros()), close(bandit_id="followed", ts_event=now_micros()))
        shown = json.loads(follower.stdout.readline())
        assert (shown["type"], shown["key"]) == ("Close", "followed")
        group = house.job.settings.kafka.group_id
        members = house.job.admin.describe_consumer_groups([group])[group].result(30).members
        assert len(members) == 1  # the processor
        follower.stdout.close()  # as head does; nothing more comes
        assert follower.wait(60) == 0
        assert follower.stderr is not None
        assert follower.stderr.read() == ""
    finally:
        limit.cancel()
        follower.kill()
    piped = house.start("cat", "trades")
    assert piped.stdout is not None
    piped.stdout.readline()
    piped.stdout.close()
    assert piped.wait(60) == 0
    assert piped.stderr is not None
    assert piped.stderr.read() == ""


def test_cat_names_the_topics_where_there_is_no_such_one(house: House) -> None:
    code, lines, said = house.ask("cat", "positions")
    assert (code, lines) == (1, [])
    assert said.startswith(f"'positions' is no topic of these settings, which are {house.trades}, ")


def test_a_letter_is_listed_shown_mended_and_applied_once_by_two_operators_at_once(house: House) -> None:
    now = now_micros()
    house.send(fill(bandit_id="mended", ts_event=now), close(bandit_id="mended", ts_event=now + 1, quantity=0.0))
    place, letter = house.letter_of("mended")
    code, lines, said = house.ask("dead-letters", "list", "--bandit", "mended", "--class", "validation")
    assert code == 0, said
    (row,) = lines
    assert row.split()[1:4] == ["VALIDATION", place, "mended"]
    assert row.endswith(f"  {letter.error}")
    code, (shown,), _ = house.ask("dead-letters", "show", place, "--json")
    event = json.loads(shown)["source_event"]
    assert (event["type"], event["record"]["quantity"], event["record"]["event_id"]) == ("Close", 0.0, "c1")
    assert f"  error    {letter.error}" in house.ask("dead-letters", "show", place)[1]

    before = house.job.log.ends([house.trades])
    code, lines, said = house.resend(place)
    assert (code, lines) == (1, [])
    assert said.endswith(f"{place}: every processor refuses it: {letter.error}; nothing was written\n")
    code, (planned,), _ = house.resend(place, "--set", "quantity=100", "--dry-run")
    assert code == 0
    assert house.job.log.ends([house.trades]) == before

    asked = ("dead-letters", "resend", place, "--set", "quantity=100", "--reason", "a test", "--by", "anna")
    with ThreadPoolExecutor() as pool:
        processes = [house.start(*asked) for _ in range(2)]
        ended = list(pool.map(lambda one: (*one.communicate(timeout=120), one.returncode), processes))
    assert [code for *_, code in ended] == [0, 0], ended
    (reward,) = house.rewards("mended")
    assert reward.close_event_id == "c1"
    assert reward.reward_bps == pytest.approx(50 / 15_000 * 10_000)
    written = house.cat("trades", "--bandit", "mended", "--last", "2")
    plan = json.loads(planned)
    del plan["value"]
    for one in written:
        del one["offset"], one["timestamp"]
        assert one == plan
    code, (line,), _ = house.resend(place, "--set", "quantity=100")
    assert code == 0
    assert line.endswith("'c1': a duplicate, which changes nothing: the event was there already")

    code, (line,), said = house.resend(place, "--set", "quantity=90")
    assert code == 1
    assert "refused again, ID_REUSED: " in line
    lost = house.letter_of("mended")[0]
    assert f"{lost}: it is {place} mended, which was applied in another form before" in house.resend(lost)[2]
    assert len(house.rewards("mended")) == 1


def test_letters_are_sent_again_once_what_refused_them_is_mended(house: House) -> None:
    now = now_micros()
    house.send(
        fill(bandit_id="arms", position_id="p0", ts_event=now),
        fill(bandit_id="arms", arm="lstm", ts_event=now),
        fill("f2", "p2", bandit_id="arms", arm="lstm", ts_event=now),
    )
    place = house.letter_of("arms")[0]
    other = f"{place.rpartition(':')[0]}:{int(place.rpartition(':')[2]) - 1}"
    code, (line,), said = house.resend(place)
    assert code == 1
    assert "refused again, UNKNOWN_ARM: unknown arm 'lstm'" in line
    assert f"{place}: it is as it was: what it was refused for, UNKNOWN_ARM, must have been mended\n" in said
    assert house.ask("arms", "add", "arms", "lstm")[0] == 0
    code, lines, _ = house.resend(other, place)
    assert code == 0
    assert [line.partition(" is sent again as ")[0] for line in lines] == [other, place]
    assert all(line.endswith("its position has it; it is not closed yet") for line in lines), lines

    house.send(Command("k1", "unborn", "PAUSE", now))
    place = house.letter_of("unborn")[0]
    house.send(fill(bandit_id="unborn", ts_event=now))
    code, (line,), _ = house.resend(place)
    assert code == 0
    assert line.endswith("'k1': PAUSE APPLIED, version 1")


def test_an_orphan_is_matched_under_a_new_id_once_its_fill_is_there(house: House) -> None:
    """Under its own it would be a duplicate: its position knows it."""
    then = now_micros() - 3 * HOUR_MICROS
    house.send(
        fill(bandit_id="orphan", position_id="p0", ts_event=then),
        close(bandit_id="orphan", ts_event=then),
        fill(bandit_id="orphan", position_id="p9", ts_event=now_micros()),
        fill(bandit_id="orphan", ts_event=then),
    )
    place, letter = house.letter_of("orphan")
    assert (letter.error_class, letter.quantity_left) == ("ORPHAN_CLOSE", 100.0)
    code, (line,), _ = house.resend(place)
    assert code == 0
    assert line.endswith(f"'resent:{place}': +33.33 bps, version 1")
    code, (line,), _ = house.resend(place)
    assert line.endswith(f"'resent:{place}': a duplicate, which changes nothing: the event was there already")
    assert len(house.rewards("orphan")) == 1


def test_what_was_misrouted_or_unreadable_finds_its_bandit(house: House, tmp_path: Path) -> None:
    now, right = now_micros(), partition_of(b"routed", PARTITIONS)
    wrong = (right + 1) % PARTITIONS
    house.put(house.trades, wrong, b"AAPL", encode(fill(bandit_id="routed", ts_event=now)))
    house.put(house.trades, right, b"routed", b"routed, in another format")
    house.job.wait_until_applied(house.processor)
    lines = house.ask("dead-letters", "list", "--bandit", "routed")[1]
    assert sorted(line.split()[1] for line in lines) == ["DECODE", "MISROUTED"]
    misrouted, unreadable = (
        next(line.split()[2] for line in lines if error_class in line) for error_class in ("MISROUTED", "DECODE")
    )
    code, (line,), _ = house.resend(misrouted)
    assert code == 0
    assert f" is sent again as {house.trades}:{right}:" in line
    assert "--value-file" in house.resend(unreadable)[2]
    file = tmp_path / "mended.json"
    record = {"bandit_id": "routed", "position_id": "p1", "quantity": 100, "price": 150.5, "ts_event": now}
    file.write_text(json.dumps({"type": "Close", "record": record}))
    code, (line,), _ = house.resend(unreadable, "--value-file", str(file))
    assert code == 0, line
    assert line.endswith("+33.33 bps, version 1")
    (reward,) = house.rewards("routed")
    assert reward.close_event_id == f"resent:{unreadable}"


def test_what_nobody_takes_in_time_is_said_to_wait(house: House) -> None:
    now = now_micros()
    house.send(fill(bandit_id="waits", arm="lstm", ts_event=now))
    place = house.letter_of("waits")[0]
    code, (line,), said = house.resend(place, "--set", "arm=mlp", "--wait", "0")
    assert code == 1
    assert line.endswith("no processor has taken it within 0 s; it waits there")
    assert said.endswith("of 1 sent again: 1 not taken yet\n")
    house.job.wait_until_applied(house.processor)
    code, (line,), _ = house.resend(place, "--set", "arm=mlp")
    assert code == 0
    assert "a duplicate, which changes nothing" in line
    assert house.resend(f"{house.trades}:0:999999")[2].startswith(f"{house.topics.dead_letters} has no dead letter of ")
