"""Two real versions of the package on one log: which orders of an upgrade work, forwards and back.

Law: whatever the order, nothing is lost and nothing doubled; what does not work ends with exit 1, and the newer version
goes on.
"""

import json
import shutil
import signal
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition

import armstream
from armstream.codec import HEADERS, decode
from armstream.events import (
    BanditSnapshot,
    Close,
    DeadLetter,
    Fill,
    PositionPage,
    PositionSnapshot,
    TaskSettings,
    TaskSnapshot,
)
from armstream.keys import is_bandits, is_positions
from armstream.operating import bandits
from tests.integration.check import check
from tests.integration.load import history
from tests.integration.log import latest
from tests.integration.processor import SOURCE_ROOT, Job, Process, eventually
from tests.integration.test_refusals import has_no_members
from tests.integration.test_reset import refused, reset
from tests.integration.versions import forms_known_to, landed_last, said_by, send_in, trade

OF_STATE = (BanditSnapshot, PositionPage, PositionSnapshot, TaskSettings, TaskSnapshot)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return landed_last(tmp_path_factory.mktemp("landed-last"))


@pytest.fixture(scope="module")
def old_forms(old: Path) -> frozenset[bytes]:
    """Those of the records that the old version reads."""
    return forms_known_to(old)


@pytest.fixture(scope="module")
def old_reads_new(old: Path, old_forms: frozenset[bytes]) -> bool:
    """Whether the old version knows where this one writes state, and every form of it."""
    code = "import json; from armstream.settings import Topics; print(json.dumps(Topics.__slots__))"
    return "snapshots" in said_by(old, code) and {HEADERS[kind] for kind in OF_STATE} <= old_forms


@pytest.fixture
def small(job: Job, old: Path) -> Job:
    """Its topics are those of both versions."""
    job.set({"topics.partitions": "2"})
    assert job.command("topics", "create", source_root=old).exit_code(60) == 0
    job.create_topics()
    return job


def has_ended_unharmed(old_one: Process) -> None:
    """What a version says whose task was moved, and moved on: its snapshots are not where the offsets are."""
    assert old_one.exit_code(60) == 1
    assert ": the snapshot stands at {" in old_one.text
    assert "the group's offsets were lost or moved" in old_one.text


def test_engines_and_processors_of_two_versions_work_in_every_pair_and_the_log_of_all_is_verified(
    small: Job, old: Path, old_forms: frozenset[bytes], old_reads_new: bool
) -> None:
    """But for newer engines before an old processor where what they send has a new form: the next test."""
    engines_first = {HEADERS[Fill], HEADERS[Close]} <= old_forms
    for processors, engines in ((old, (old, SOURCE_ROOT)), (SOURCE_ROOT, (old, SOURCE_ROOT))):
        processor = small.start("a", source_root=processors).wait_until_ready()
        for engine in engines:
            if engine is SOURCE_ROOT and processors is old and not engines_first:
                continue
            told = trade(small, engine, 5)
            assert told["package"].startswith(str(engine))
            assert told["fallbacks"] == ["WARMING"]
        assert processor.stop() == 0, processor.text
    trades = 20 if engines_first else 15
    assert set(told["versions"].values()) == {trades}
    assert small.verify()["counts"]["rewards"] == 6 * trades
    assert small.log.read(small.settings.topics.names.dead_letters) == []

    back = small.start("a", source_root=old)
    if old_reads_new:
        back.wait_until_ready()
        assert back.stop() == 0
    else:
        has_ended_unharmed(back)


def test_an_old_processor_makes_dead_letters_of_newer_fills_and_goes_on(
    small: Job, old: Path, old_forms: frozenset[bytes]
) -> None:
    processor = small.start("a", source_root=old).wait_until_ready()
    small.send(history(13, 20, bandits=2, arms=small.settings.online_learning.arms))
    small.wait_until_applied(processor)
    trade(small, old, 2)
    assert processor.stop() == 0, processor.text
    letters = [decode(one.value) for one in small.log.read(small.settings.topics.names.dead_letters)]
    newer = [one for one in letters if isinstance(one, DeadLetter) and one.error_class == "DECODE"]
    assert bool(newer) is (HEADERS[Fill] not in old_forms)


def test_two_versions_in_one_group_hand_their_tasks_over_and_nothing_is_lost(
    small: Job, old: Path, old_forms: frozenset[bytes], old_reads_new: bool
) -> None:
    """Engines have the older version's forms as long as a processor of it is there."""
    records = history(14, 6_000, bandits=8, arms=small.settings.online_learning.arms)
    first, second = small.start("a", source_root=old), small.start("b", source_root=old)
    first.wait_until_ready()
    second.wait_until_ready()
    send_in(small, old_forms, records[:1_000])

    assert first.stop() == 0
    send_in(small, old_forms, records[1_000:2_000])
    new = small.start("a").wait_until_ready()  # beside an old one
    send_in(small, old_forms, records[2_000:3_000])
    assert second.stop() == 0
    eventually(lambda: "assigned tasks [0, 1]" in new.text and new.is_ready, 40, f"all tasks in\n{new.text}")
    send_in(small, old_forms, records[3_000:4_000])
    small.wait_until_applied(new)

    second = small.start("b", source_root=old)  # it is given a task that the new one moved on
    if old_reads_new:
        second.wait_until_ready()
    else:
        has_ended_unharmed(second)
    send_in(small, old_forms, records[4_000:5_000])
    small.wait_until_applied(new)
    if old_reads_new:
        assert second.stop() == 0
    send_in(small, old_forms, records[5_000:])
    small.wait_until_applied(new)
    assert new.stop() == 0

    report = small.verify()
    assert (report["result"], report["counts"]["inputs"]) == ("verified", 6_000)


# The state of before is moved.

KILLED = """
import os, signal
from armstream.runtime import commit

inner, moved = commit.Committer.commit, []


def commit_three_parts(self, publications, *rest):
    if len(moved) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    publications = list(publications)
    outcome = inner(self, publications, *rest)
    if any(len(records) > 1 for one in publications for records in one.records.values()):  # else it is a claim
        moved.append(outcome)
    return outcome


commit.Committer.commit = commit_three_parts
"""


@pytest.fixture
def learned(small: Job, old: Path, old_forms: frozenset[bytes]) -> tuple[Job, dict[bytes, bytes]]:
    """The old version has learned, and positions are open: what stands in its topics, by key."""
    records = events_of(small)
    processor = small.start("a", source_root=old).wait_until_ready()
    send_in(small, old_forms, records[: len(records) // 2])
    small.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text
    return small, state_of(small, *small.settings.topics.names.state_before)


def events_of(job: Job) -> list[Fill | Close]:
    """Of which the second half closes what the first has opened."""
    return history(16, 1_200, bandits=4, arms=job.settings.online_learning.arms)


def state_of(job: Job, *names: str) -> dict[bytes, bytes]:
    """By key, of all partitions: a position has one. Tasks' own are left out, and so are claims."""
    found: dict[bytes, bytes] = {}
    for name in names:
        for values in latest(job.log.read(name)).values():
            found |= {key: value for key, value in values.items() if is_bandits(key) or is_positions(key)}
    return found


def test_a_state_of_before_is_moved_whole_and_learned_on_as_if_nothing_had_been(
    learned: tuple[Job, dict[bytes, bytes]], old: Path
) -> None:
    job, before = learned
    names, records = job.settings.topics.names, events_of(job)
    assert any(one.open_left > 0 for one in map(decode, before.values()) if isinstance(one, PositionSnapshot))
    ends = job.log.ends(names.state_before)
    assert job.verify()["result"] == "verified", "before the first start, the state is where it was"
    listed = list(bandits.listed(job.settings, None, print))
    assert sum(line.startswith("book") or "  version " in line for line in listed) == 4

    processor = job.start().wait_until_ready()
    assert state_of(job, names.snapshots) == before
    for task in (0, 1):
        moved = f"task {task}: its state, "
        assert moved in processor.text
        assert f"was moved from {names.bandit_snapshots} and {names.position_snapshots} to" in processor.text
    assert job.verify()["result"] == "verified"
    assert list(bandits.listed(job.settings, None, print)) == listed
    job.send(records[len(records) // 2 :])
    job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text
    assert job.log.ends(names.state_before) == ends, "nothing was written there"
    report = check(job)
    assert len(report.inputs) == len(records)
    assert job.verify()["result"] == "verified"

    again = job.start().wait_until_ready()
    assert "was moved from" not in again.text
    assert again.stop() == 0
    has_ended_unharmed(job.start("b", source_root=old))
    for deleted in job.admin.delete_topics(list(names.state_before), operation_timeout=30).values():
        deleted.result(30)
    last = job.start().wait_until_ready()
    assert last.stop() == 0, last.text
    assert job.verify()["result"] == "verified"


def test_a_move_that_was_broken_off_begins_again_and_leaves_nothing_stale(
    learned: tuple[Job, dict[bytes, bytes]], old: Path, old_forms: frozenset[bytes], tmp_path: Path
) -> None:
    """It was killed between two transactions; and then an older processor forgot and opened positions."""
    job, before = learned
    names, records = job.settings.topics.names, events_of(job)
    small_parts = {"limits.restore_slice_records": "20"}
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "sitecustomize.py").write_text(KILLED, encoding="utf-8")
    job.python_path = str(tmp_path / "killed")
    assert job.start(overrides=small_parts).exit_code(60) == -signal.SIGKILL
    job.python_path = ""
    partly = state_of(job, names.snapshots)
    assert 0 < len(partly) < len(before)
    assert partly.items() <= before.items()
    assert job.verify()["result"] == "verified"
    stale = {b"nobody's": next(iter(before.values())), b"nobody\0p": next(iter(before.values()))}
    producer = Producer({"bootstrap.servers": job.bootstrap_servers})
    for key, value in stale.items():
        producer.produce(names.snapshots, value, key, partition=0)
    assert producer.flush(30) == 0

    between = job.start("b", source_root=old).wait_until_ready()
    send_in(job, old_forms, records[len(records) // 2 : -200])
    job.wait_until_applied(between)
    assert between.stop() == 0, between.text
    before = state_of(job, *names.state_before)
    processor = job.start(overrides=small_parts).wait_until_ready()
    assert state_of(job, names.snapshots) == before
    job.send(records[-200:])
    job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text
    check(job)
    assert job.verify()["result"] == "verified"


def test_a_task_that_an_older_processor_moved_on_after_the_move_is_moved_again(
    learned: tuple[Job, dict[bytes, bytes]], old: Path, old_forms: frozenset[bytes]
) -> None:
    """The new one had no input: so the offsets were still those of the older one's snapshots."""
    job, before = learned
    names, records = job.settings.topics.names, events_of(job)
    assert job.start().wait_until_ready().stop() == 0
    assert state_of(job, names.snapshots) == before
    back = job.start("b", source_root=old).wait_until_ready()
    send_in(job, old_forms, records[len(records) // 2 : -200])
    job.wait_until_applied(back)
    assert back.stop() == 0, back.text
    processor = job.start().wait_until_ready()
    assert state_of(job, names.snapshots) == state_of(job, *names.state_before)
    job.send(records[-200:])
    job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text
    check(job)
    assert job.verify()["result"] == "verified"


def test_offsets_are_set_back_to_a_state_of_before_but_not_behind_what_may_be_lost(
    learned: tuple[Job, dict[bytes, bytes]],
) -> None:
    job, _ = learned
    inputs, group = job.settings.topics.names.inputs, job.settings.kafka.group_id
    eventually(lambda: has_no_members(job, group), 30, "its session has ended", 0.5)
    stood = job.log.committed(inputs)
    trades = [TopicPartition(inputs[0], number) for number in range(2)]

    def move(by: int) -> None:
        moved = [TopicPartition(one.topic, one.partition, stood[one.topic, one.partition] + by) for one in trades]
        job.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, moved)])[group].result(30)

    move(-3)
    assert reset(job, "to-snapshots")[0] == 0
    assert job.log.committed(inputs) == stood
    job.send(events_of(job)[-20:])
    move(1)
    assert "the group stands beyond it" in refused(job, "to-snapshots")
    assert reset(job, "to-snapshots", "--accept-topics")[0] == 0
    assert job.log.committed(inputs) == stood


def test_a_state_of_before_whose_half_is_gone_is_missed(learned: tuple[Job, dict[bytes, bytes]]) -> None:
    job, _ = learned
    name = job.settings.topics.names.position_snapshots
    job.admin.delete_topics([name], operation_timeout=30)[name].result(30)
    processor = job.start()
    assert processor.exit_code(60) == 1
    assert f"there is no topic {name}, which held a part of its state" in processor.text


def test_a_state_of_before_that_is_gone_is_missed(learned: tuple[Job, dict[bytes, bytes]]) -> None:
    job, _ = learned
    names = list(job.settings.topics.names.state_before)
    for deleted in job.admin.delete_topics(names, operation_timeout=30).values():
        deleted.result(30)
    processor = job.start()
    assert processor.exit_code(60) == 1
    assert "there is no snapshot of it, and group" in processor.text


def future(folder: Path) -> Path:
    """A version that is this one, but for its number and for a field more in what it writes of its tasks."""
    for name in ("processor", "schemas", "config"):
        shutil.copytree(SOURCE_ROOT.parent / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    package = folder / "processor" / "armstream" / "__init__.py"
    package.write_text(package.read_text(encoding="utf-8").replace(f'"{armstream.__version__}"', '"9.8.7"'))
    schema = folder / "schemas" / "TaskSnapshot.avsc"
    newer = json.loads(schema.read_text(encoding="utf-8"))
    newer["fields"].append({"name": "future", "type": "null", "default": None})
    schema.write_text(json.dumps(newer), encoding="utf-8")
    return folder / "processor"


def test_a_processor_that_meets_a_newer_snapshot_says_which_version_wrote_it_and_how_to_go_on(
    small: Job, tmp_path: Path
) -> None:
    newer = future(tmp_path / "future")
    processor = small.start("a", source_root=newer).wait_until_ready()
    small.send(history(15, 200, bandits=2, arms=small.settings.online_learning.arms))
    small.wait_until_applied(processor)
    assert processor.stop() == 0

    this = small.start("a")
    assert this.exit_code(60) == 1
    line = this.text.splitlines()[-1]
    assert "Traceback" not in this.text
    assert f"{small.settings.topics.names.snapshots}:" in line
    assert "is that of no known schema; armstream 9.8.7 wrote the newest there, and this is " in line
    assert "Go on with the version that wrote it, or a later one" in line

    again = small.start("a", source_root=newer).wait_until_ready()
    assert again.stop() == 0, again.text
