"""`armstream reset` as an operator uses it: what it refuses, what a dry run says, and that what follows is right."""

import contextlib
import io
import os
from pathlib import Path
from unittest import mock

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # its public name, not declared so

from armstream import cli
from armstream import settings as armstream_settings
from tests.integration.check import check
from tests.integration.load import history
from tests.integration.processor import Job, eventually
from tests.integration.test_refusals import delete_up_to, has_no_members

pytestmark = pytest.mark.usefixtures("logging_as_before")


def reset(job: Job, *arguments: str) -> tuple[int, str, str]:
    return armstream(job, "reset", *arguments)


def armstream(job: Job, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, and standard error without what it waited for."""
    out, err = io.StringIO(), io.StringIO()
    environment = mock.patch.dict(os.environ, job.environment({}), clear=True)
    with environment, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(arguments)
    said = [line for line in err.getvalue().splitlines() if not line.startswith("waiting for ")]
    return code, out.getvalue(), "\n".join(said)


def refused(job: Job, *arguments: str) -> str:
    """The one line with which it ends."""
    code, out, err = reset(job, *arguments)
    assert (code, out) == (1, ""), (code, out, err)
    assert "\n" not in err
    return err


@pytest.fixture
def stopped(job: Job) -> Job:
    """A job of two partitions that has applied 200 records and stopped, its static member forgotten."""
    job.set({"topics.partitions": "2"})
    job.create_topics()
    processor = job.start().wait_until_ready()
    job.send(history(1, 200, bandits=6, arms=job.settings.online_learning.arms))
    job.wait_until_applied(processor)
    assert processor.stop() == 0
    eventually(lambda: has_no_members(job, job.settings.kafka.group_id), 30, "its session has ended", 0.5)
    return job


def offsets(job: Job) -> dict[tuple[str, int], int]:
    return job.log.committed(job.settings.topics.names.inputs)


def move(job: Job, places: dict[tuple[str, int], int]) -> None:
    moved = [TopicPartition(topic, number, offset) for (topic, number), offset in places.items()]
    wanted = ConsumerGroupTopicPartitions(job.settings.kafka.group_id, moved)
    for done in job.admin.alter_consumer_group_offsets([wanted]).values():
        done.result()


def test_offsets_that_were_lost_or_moved_are_set_back_and_nothing_is_applied_twice_or_skipped(stopped: Job) -> None:
    job = stopped
    trades = job.settings.topics.names.trades[0]
    assert reset(job, "to-snapshots") == (
        0,
        f"the offsets of group {job.settings.kafka.group_id!r} are those of its snapshots: there is nothing to set\n",
        "",
    )
    right = offsets(job)
    job.send(history(2, 60, bandits=6, arms=job.settings.online_learning.arms, name="q"))
    wrong = {(trades, 0): right[trades, 0] - 7, (trades, 1): right[trades, 1] + 3}  # past what was applied
    move(job, wrong)
    before = offsets(job)

    said = [f"set task {number}: {trades} from {wrong[trades, number]} to {right[trades, number]}" for number in (0, 1)]
    for _ in range(2):
        would = "".join(f"would {line}\n" for line in said)
        assert reset(job, "to-snapshots", "--dry-run") == (0, would + "nothing was changed\n", "")
    assert offsets(job) == before
    assert reset(job, "to-snapshots") == (0, "".join(f"{line}\n" for line in said), "")
    assert offsets(job) == right

    again = job.start().wait_until_ready()
    assert refused(job, "to-snapshots").startswith(f"group {job.settings.kafka.group_id!r} has members: a on ")
    job.wait_until_applied(again)
    assert again.stop() == 0
    check(job)


def test_a_group_that_lost_all_its_offsets_goes_on_at_its_snapshots(stopped: Job) -> None:
    job = stopped
    right, group = offsets(job), job.settings.kafka.group_id
    job.admin.delete_consumer_groups([group])[group].result()
    code, out, _ = reset(job, "to-snapshots")
    assert code == 0
    trades = job.settings.topics.names.trades[0]
    assert f"set task 0: {trades} from nothing to {right[trades, 0]}, " in out
    assert offsets(job) == right
    processor = job.start().wait_until_ready()
    job.send(history(2, 60, bandits=6, arms=job.settings.online_learning.arms, name="q"))
    job.wait_until_applied(processor)
    assert processor.stop() == 0
    check(job)


def test_what_must_not_be_reset_is_refused_in_one_line_and_nothing_is_changed(stopped: Job) -> None:
    job = stopped
    names, before = job.settings.topics.names, offsets(job)
    job.set({"kafka.group_id": "another"})
    assert "the snapshot is of group " in refused(job, "to-snapshots", "--accept-topics")
    job.set({"kafka.group_id": f"{job.settings.topics.prefix}group"})

    job.admin.delete_topics([names.commands])[names.commands].result(30)
    eventually(lambda: names.commands not in job.admin.list_topics(timeout=30).topics, 30, "deleted")
    assert f"{names.commands}: does not exist" in refused(job, "to-snapshots")
    job.create_topics()
    assert f"is of other topics than these: {names.commands}." in refused(job, "to-snapshots")
    assert offsets(job) == {**before, (names.commands, 0): 0, (names.commands, 1): 0}

    job.set({"kafka.bootstrap_servers": "127.0.0.1:1"})
    for arguments in (["to-snapshots"], ["anew", "--group", "b", "--suffix", "-2"]):
        assert "Kafka at 127.0.0.1:1: " in refused(job, *arguments)


def test_a_new_group_learns_again_from_the_beginning_onto_new_topics(stopped: Job, tmp_path: Path) -> None:
    job = stopped
    names, group = job.settings.topics.names, f"{job.settings.topics.prefix}group2"
    arguments = ("anew", "--group", group, "--suffix=-2")
    code, would, _ = reset(job, *arguments, "--dry-run")
    assert code == 0
    assert f"# would make {names.weights}-2\n" in would
    assert f"{names.weights}-2" not in job.admin.list_topics(timeout=30).topics
    code, done, _ = reset(job, *arguments)
    assert code == 0
    assert done == would.replace("would make", "made").replace("# nothing was changed\n", "")
    assert reset(job, *arguments)[0] == 0, "asked again before anything ran"

    path = tmp_path / "new.yaml"
    path.write_text(done)
    old_rewards = [record.value for record in job.audit()]
    del job._overrides["kafka.group_id"]
    assert armstream(job, "check-config", "--config", str(path))[0] == 0
    new = armstream_settings.load(path, job.environment({}))
    assert new.kafka.group_id == group
    assert new.topics.names.inputs == names.inputs
    processor = job.command("run", "--config", str(path), overrides={"instance": "a"}).wait_until_ready()
    job.set({"kafka.group_id": group, **{f"topics.{name}": getattr(new.topics, name) for name in OUTPUTS}})
    job._log = None
    job.wait_until_applied(processor)
    assert processor.stop() == 0
    check(job)
    assert job.verify()["result"] == "verified"
    assert len(job.audit()) == len(old_rewards)


def test_a_group_or_topics_that_are_not_new_and_inputs_without_their_beginning_are_refused(stopped: Job) -> None:
    job = stopped
    names, group, prefix = job.settings.topics.names, job.settings.kafka.group_id, job.settings.topics.prefix
    older = job.admin.create_topics([NewTopic(f"{names.weights}-2", 2, 1)])
    older[f"{names.weights}-2"].result(30)
    eventually(lambda: f"{names.weights}-2" in job.admin.list_topics(timeout=30).topics, 30, "made")
    used = Producer({"bootstrap.servers": job.bootstrap_servers})
    used.produce(f"{names.weights}-2", b"x", b"x", partition=1)
    assert used.flush(30) == 0

    def anew(name: str, suffix: str, *more: str) -> tuple[str, ...]:
        return ("anew", "--group", name, f"--suffix={suffix}", *more)

    assert f"topic {names.weights}-2 is not new" in refused(job, *anew(f"{prefix}other", "-2"))
    assert "must name another group and other topics" in refused(job, *anew(group, "-3"))
    assert "must name another group and other topics" in refused(job, *anew(f"{prefix}other", ""))
    assert "should match pattern" in refused(job, *anew("a b", "-3"))
    assert "should match pattern" in refused(job, *anew(f"{prefix}other", "/3"))
    job.set({"kafka.group_id": f"{prefix}third"})
    assert f"group {group!r} is not new: it has offsets of {names.commands}" in refused(job, *anew(group, "-3"))

    delete_up_to(job, names.trades[0], 5)
    lost = f"{names.trades[0]}:0 has lost its records 0 to 4"
    assert refused(job, *anew(f"{prefix}other", "-3")).startswith(f"{lost}: ")
    code, out, _ = reset(job, *anew(f"{prefix}other", "-3", "--accept-deleted", "--dry-run"))
    assert code == 0
    assert f"# lacking, and not learned from: {lost}\n" in out
    made = set(job.admin.list_topics(timeout=30).topics)
    assert not {name for name in made if name.startswith(prefix) and name.endswith("-3")}, "it was a dry run"


OUTPUTS = ("weights", "rewards", "snapshots", "bandit_snapshots", "position_snapshots", "dead_letters")
