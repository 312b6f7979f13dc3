"""The command: passes, what it says, and how it ends; without Kafka."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pytest
from msgspec import structs

from armstream.verify import run as command
from armstream.verify.published import PartitionLog
from tests.verify.desk import BANDITS, PARTITIONS, TOPIC_IDS, Desk
from tests.verify.test_history import TRADED


class DeskCluster:
    """A cluster of one desk. `between` is called at each look whether something is new."""

    partition_count = PARTITIONS
    topic_ids = TOPIC_IDS

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.begins: list[Mapping[str, int]] = []

    def __call__(self, *_: object) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def record_count(self) -> int:
        return 0

    def ends(self) -> dict[int, int]:
        return {0: sum(self.desk.next_offset.values())}

    def read(self, _: int, begins: Mapping[str, int]) -> PartitionLog:
        self.begins.append(begins)
        return self.desk.log(begins=begins)


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    for batch in TRADED[:6]:
        desk.apply(*batch)
    return desk


def run_on(desk: Desk, monkeypatch: pytest.MonkeyPatch, moments: list[Callable[[], Any]], **given: Any) -> int:
    """`moments` happen one after the other in the pauses of --follow; then comes Ctrl-C."""

    def pause(_: float) -> None:
        if not moments:
            raise KeyboardInterrupt
        moments.pop(0)()

    monkeypatch.setattr(command, "Cluster", DeskCluster(desk))
    monkeypatch.setattr("armstream.verify.run.time.sleep", pause)
    return command.run(desk.settings, as_json=True, **given)


def test_a_second_run_goes_on_from_the_state_of_the_first(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_on(desk, monkeypatch, [], state=tmp_path / "new") == 0
    desk.apply(*TRADED[6])
    assert run_on(desk, monkeypatch, [], state=tmp_path / "new") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["result"], first["counts"]["inputs"]) == ("verified", 9)
    assert (second["result"], second["counts"]["inputs"], second["counts"]["waiting"]) == ("verified", 2, 2)


def test_following_verifies_what_comes_and_ends_with_0_on_ctrl_c(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = [lambda: desk.apply(*TRADED[6]), lambda: None, lambda: desk.apply(*TRADED[7])]
    assert run_on(desk, monkeypatch, moments, follow=True) == 0
    inputs = [json.loads(line)["counts"]["inputs"] for line in capsys.readouterr().out.splitlines()]
    assert inputs == [9, 2, 1]


def test_following_says_at_times_that_nothing_is_new(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "SAY_SECONDS", 0.0)
    assert run_on(desk, monkeypatch, [lambda: None], follow=True) == 0
    assert capsys.readouterr().err.splitlines() == ["verified: nothing new"]


def test_following_ends_with_1_at_a_difference_and_keeps_the_state_before_it(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong() -> None:
        desk.apply(*TRADED[6], *TRADED[7])
        desk.change(desk.names.rewards, -1, weight=0.5)

    assert run_on(desk, monkeypatch, [wrong], follow=True, state=tmp_path) == 1
    results = [json.loads(line)["result"] for line in capsys.readouterr().out.splitlines()]
    assert results == ["verified", "different"]
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_bytes().split(b"\n")[1])["next_offset"]["trades"] == 9


def test_a_newest_snapshot_that_is_none_is_a_difference(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshots = desk.topics[BANDITS]
    newest = max(at for at, source in enumerate(snapshots) if source.key == b"book")
    snapshots[newest] = structs.replace(snapshots[newest], value=b"no snapshot")
    assert run_on(desk, monkeypatch, []) == 1
    difference = json.loads(capsys.readouterr().out)["difference"]
    assert difference["published"].startswith("bytes that are not a BanditSnapshot")


def test_a_state_that_cannot_be_gone_on_from_is_1_and_a_line(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "partition-0.state").write_bytes(b"something else")
    assert run_on(desk, monkeypatch, [], state=tmp_path) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("verify: ")
