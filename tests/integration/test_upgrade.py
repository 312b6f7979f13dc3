"""Two real versions of the package on one log: which orders of an upgrade work, forwards and back.

Law: whatever the order, nothing is lost and nothing doubled; what does not work ends with exit 1, and the newer version
goes on.
"""

import json
import shutil
from pathlib import Path

import pytest

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
from tests.integration.load import history
from tests.integration.processor import SOURCE_ROOT, Job, Process, eventually
from tests.integration.versions import forms_known_to, landed_last, send_in, trade

OF_STATE = (BanditSnapshot, PositionPage, PositionSnapshot, TaskSettings, TaskSnapshot)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return landed_last(tmp_path_factory.mktemp("landed-last"))


@pytest.fixture(scope="module")
def old_forms(old: Path) -> frozenset[bytes]:
    """Those of the records that the old version reads."""
    return forms_known_to(old)


@pytest.fixture(scope="module")
def old_reads_new(old_forms: frozenset[bytes]) -> bool:
    """Whether the old version knows every form in which this one writes state."""
    return {HEADERS[kind] for kind in OF_STATE} <= old_forms


@pytest.fixture
def small(job: Job) -> Job:
    job.set({"topics.partitions": "2"})
    job.create_topics()
    return job


def has_ended_unharmed(old_one: Process) -> None:
    """What a version says that meets snapshots of a newer form."""
    assert old_one.exit_code(60) == 1
    assert "is that of no known schema" in old_one.text


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
    assert f"{small.settings.topics.names.bandit_snapshots}:" in line
    assert "is that of no known schema; armstream 9.8.7 wrote the newest there, and this is " in line
    assert "Go on with the version that wrote it, or a later one" in line

    again = small.start("a", source_root=newer).wait_until_ready()
    assert again.stop() == 0, again.text
