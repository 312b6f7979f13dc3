"""State in files: what was written is read, whatever kills the writer or spoils a file; nothing older in silence."""

import json
import logging
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import pytest

from armstream.standalone.persistence import newest_state, read_json, write_atomic_json

KILLS = 15
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "bandit_state.json"


def backup(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def names(path: Path) -> set[str]:
    return {each.name.removeprefix(path.name) for each in path.parent.iterdir()}


def test_what_is_written_is_read_and_the_folder_is_made(path: Path) -> None:
    state = {"arm_names": ["ridge", "größe"], "weights": [1.0, 5e-324, 0.1 + 0.2], "eta": None, "T": 2**62}
    write_atomic_json(path, state)
    assert read_json(path) == state
    assert read_json(str(path)) == state
    assert names(path) == {""}
    write_atomic_json(path, MappingProxyType({"n": 1}))
    assert read_json(path) == {"n": 1}


def test_three_backups_are_kept_the_newest_first(path: Path) -> None:
    for n in range(6):
        write_atomic_json(path, {"n": n})
    assert names(path) == {"", ".1", ".2", ".3"}
    assert [json.loads(backup(path, number).read_text())["n"] for number in (1, 2, 3)] == [4, 3, 2]


def test_so_many_backups_as_asked_for(path: Path) -> None:
    for n in range(4):
        write_atomic_json(path, {"n": n}, backups=0)
    assert names(path) == {""}
    for n in range(4):
        write_atomic_json(path, {"n": n}, backups=1)
    assert names(path) == {"", ".1"}


SPOILED = {
    "empty": b"",
    "truncated": json.dumps({"weights": [1.0] * 100}).encode()[:-7],
    "nulls": b"\0" * 300,
    "garbage": bytes(range(256)),
    "not an object": b"[1, 2]",
    "a number that is none": b'{"weights": [NaN]}',
    "infinite": b'{"weights": [-Infinity]}',
    "nested without end": b"[" * 100_000,
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_corrupt_file_falls_back_to_the_newest_good_backup_and_says_so(
    path: Path, spoiled: str, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(4):
        write_atomic_json(path, {"n": n})
    path.write_bytes(SPOILED[spoiled])
    assert read_json(path) == {"n": 2}
    backup(path, 1).write_bytes(SPOILED[spoiled])
    caplog.clear()
    found = newest_state(path)
    assert (found.state, found.path) == ({"n": 1}, backup(path, 2))
    assert len(found.passed_over) == 2
    assert all("corrupt" in each for each in found.passed_over)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert str(backup(path, 2)) in warning.message
    assert all(each in warning.message for each in found.passed_over)


def test_a_good_file_is_read_without_a_word(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for n in range(3):
        write_atomic_json(path, {"n": n})
    found = newest_state(path)
    assert (found.state, found.path, found.passed_over) == ({"n": 2}, path, ())
    assert not caplog.records


def test_where_no_file_is_good_the_error_names_each_and_no_file_is_touched(path: Path) -> None:
    write_atomic_json(path, {"n": 0})
    write_atomic_json(path, {"n": 1})
    for each in (path, backup(path, 1)):
        each.write_bytes(b"{")
    with pytest.raises(ValueError, match="no good state") as refused:
        read_json(path)
    assert str(path) in str(refused.value)
    assert str(backup(path, 1)) in str(refused.value)
    assert path.read_bytes() == backup(path, 1).read_bytes() == b"{"


def test_no_file_at_all_is_a_clear_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no state in .*bandit_state\.json"):
        read_json(path)
    path.parent.mkdir()
    path.with_name("bandit_state.json.tmp").write_text('{"n": 1}')
    path.with_name("bandit_state.json.old").write_text('{"n": 1}')
    with pytest.raises(FileNotFoundError, match=r"no state in .*bandit_state\.json"):
        read_json(path)


@pytest.mark.parametrize("state", [{"weights": math.nan}, {"weights": math.inf}, {"weights": {1, 2}}, [1, 2]])
def test_what_is_not_json_is_refused_before_any_file_is_touched(path: Path, state: dict[str, object]) -> None:
    write_atomic_json(path, {"n": 0})
    with pytest.raises(ValueError, match="JSON"):
        write_atomic_json(path, state)
    assert names(path) == {""}
    assert read_json(path) == {"n": 0}
    with pytest.raises(ValueError, match="backups"):
        write_atomic_json(path, {"n": 1}, backups=-1)


class Crash(BaseException):
    """The process ends here."""


@contextmanager
def crash_at_rename(number: int) -> Iterator[None]:
    """The process ends before the rename of that number, from 0."""
    done = iter(range(100))
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if next(done) == number:
            raise Crash
        return rename(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        yield


def test_a_crash_before_any_rename_leaves_what_was_written_before(path: Path) -> None:
    """Four renames once there are three backups. The last state written is there, and writing goes on after."""
    for n in range(5):
        write_atomic_json(path, {"n": n})
    for n, number in enumerate((0, 1, 2, 3, 3, 3, 2, 3, 3, 3), start=5):
        last = read_json(path)
        with crash_at_rename(number), suppress(Crash):  # some backups are gone by then, so that a rename may be none
            write_atomic_json(path, {"n": n})
        assert read_json(path) in (last, {"n": n})
    write_atomic_json(path, {"n": 99})
    assert newest_state(path).path == path
    assert read_json(path) == {"n": 99}


def test_a_crash_before_the_last_rename_is_said_when_reading(path: Path) -> None:
    write_atomic_json(path, {"n": 0})
    with crash_at_rename(1), pytest.raises(Crash):
        write_atomic_json(path, {"n": 1})
    found = newest_state(path)
    assert (found.state, found.path) == ({"n": 0}, backup(path, 1))
    assert found.passed_over == (f"{path} is missing",)


def test_the_file_is_flushed_before_it_is_renamed_and_the_folder_after(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order is all that can be seen of a power cut here."""
    seen: list[str | int] = []
    rename, flush = Path.replace, os.fsync

    def replace(self: Path, target: Path) -> Path:
        seen.append("rename")
        return rename(self, target)

    def fsync(descriptor: int) -> None:
        seen.append(os.fstat(descriptor).st_ino)
        flush(descriptor)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic_json(path, {"n": 0})
    assert seen == [path.stat().st_ino, "rename", path.parent.stat().st_ino]


WRITER = """
import itertools, sys
from armstream.standalone.persistence import write_atomic_json
filler = ["some 300 kB"] * 20_000
for n in itertools.count():
    write_atomic_json(sys.argv[1], {"filler": filler, "n": n, "end": n})
    print(n, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_the_state_it_last_wrote_or_a_newer_one(path: Path) -> None:
    chance = random.Random(4)
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randrange(1, 6)):
                written = int(writer.stdout.readline())
            spins = chance.randrange(0, 200_000)  # into the write after that one
            while spins:
                spins -= 1
            writer.kill()
            written = max([written, *(int(line) for line in writer.stdout if line.endswith("\n"))])
        state = read_json(path)
        assert state["n"] == state["end"]
        assert state["n"] in (written, written + 1)


@contextmanager
def folder_that_is_not_ours(file_mode: int) -> Iterator[Path]:
    """A state in a folder that may be read and not written, by a file of that mode; for root, as nobody."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "bandit_state.json"
        write_atomic_json(path, {"n": 0})
        path.chmod(file_mode)
        path.parent.chmod(0o555)
        is_root = os.geteuid() == 0
        try:
            if is_root:
                os.seteuid(NOBODY)
            yield path
        finally:
            if is_root:
                os.seteuid(0)
            path.parent.chmod(0o755)


def test_a_folder_that_may_not_be_written_is_an_error_that_names_it() -> None:
    with folder_that_is_not_ours(0o444) as path:
        with pytest.raises(PermissionError, match=str(path)):
            write_atomic_json(path, {"n": 1})
        assert read_json(path) == {"n": 0}


def test_a_file_that_may_not_be_read_is_an_error_and_not_passed_over() -> None:
    with folder_that_is_not_ours(0o000) as path, pytest.raises(PermissionError, match=str(path)):
        read_json(path)
