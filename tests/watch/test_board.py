"""What is known now: states, rates, and that nothing is told twice."""

from dataclasses import dataclass

import pytest

from armstream.settings import Settings
from armstream.stages.facts import SECOND_MICROS
from armstream.watch.board import Board, Trouble
from armstream.watch.facts import GroupFacts, PlaceFacts, ProcessorFacts
from armstream.watch.group import assigned, instance_of
from tests.watch.records import NOON, letter, reward, vector


@dataclass
class Clock:
    now: int = NOON

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(Settings.model_validate({"watch": {"bandits": 2, "base_weights": {"ridge": 1.0}}}), clock)


def test_the_state_is_what_keeps_it_from_being_live(board: Board) -> None:
    assert board.pulse().state == "reading"
    board.note_progress(3, 10)
    progress = board.pulse().progress
    assert progress is not None
    assert (progress.read, progress.of) == (3, 10)
    board.note_live()
    assert (board.pulse().state, board.pulse().progress) == ("no-records", None)
    with board.folding() as history:
        history.take_vector(0, vector("a"), NOON)
    assert board.pulse().state == "live"
    board.note_trouble("group", Trouble("no-broker", "Look."))
    assert (board.pulse().state, board.pulse().text) == ("no-broker", "Look.")
    board.note_trouble("group", None)
    assert board.pulse().state == "live"


def test_bandits_that_find_no_room_are_told_of(board: Board) -> None:
    with board.folding() as history:
        for name in ("a", "b", "c", "d"):
            history.take_vector(0, vector(name), NOON)
    board.note_live()
    assert board.pulse().text == "2 bandits are not shown: watch.bandits is 2."


def test_rates_are_those_of_the_last_ten_seconds(board: Board, clock: Clock) -> None:
    for second in range(60):
        clock.now = NOON + second * SECOND_MICROS
        committed = 5 * second if second < 40 else 200 + 50 * (second - 40)
        board.note_group(GroupFacts(clock.now, "STABLE", (), {("trades", 0): PlaceFacts(committed, committed + 7)}))
    pulse = board.pulse()
    assert (pulse.events_per_second, pulse.lag_records) == (50.0, 7)


def test_a_row_is_told_once_for_all_its_changes_and_its_spark_where_that_has_changed(
    board: Board,
) -> None:
    with board.folding() as history:
        history.take_vector(0, vector("a", 1), NOON)
        history.take_vector(0, vector("a", 2), NOON)
    ((row,), _) = board.changes()
    assert (row.version, row.spark is not None) == (2, True)
    assert board.changes() == ([], [])
    with board.folding() as history:
        history.take_vector(0, vector("a", 3), NOON + 1)
    ((row,), _) = board.changes()
    assert (row.version, row.spark) == (3, None), "less than a second later there is no other point"
    with board.folding() as history:
        history.take_vector(0, vector("a", 4), NOON + 2 * SECOND_MICROS)
    ((row,), _) = board.changes()
    assert row.spark is not None
    assert row.spark.ts == [NOON, NOON + 2 * SECOND_MICROS]


def test_dead_letters_are_told_whole_once_and_counted_each_time(board: Board) -> None:
    with board.folding() as history:
        history.take_letter(0, 1, letter("DECODE", b"\xff\x00<b>", offset=12), NOON)
    told, again = board.operate().dead_letters, board.operate().dead_letters
    assert told.last is not None
    assert (told.last[0].value, told.last[0].offset, told.today) == ("\\xff\x00<b>", 12, 1)
    assert (again.last, again.today) == (None, 1)


def test_above_base_is_asked_where_a_setting_names_base(board: Board) -> None:
    with board.folding() as history:
        history.take_vector(0, vector("a"), NOON)
        for version in range(1, 200):
            arm = ("ridge", "lstm")[version % 2]
            history.take_audit(0, reward("a", version, 20.0 if arm == "ridge" else 0.0, arm=arm), NOON)
    (row,) = board.rows()
    assert row.above_uniform is not None
    assert row.above_base is not None
    # half of the trades earn 20, and base, which is always ridge, 20 each: 10 a trade less
    assert row.above_base.per_trade_bps == pytest.approx(-10.0, abs=0.2)
    assert row.above_uniform.per_trade_bps == pytest.approx(0.0, abs=0.2)


def test_topics_that_were_made_anew_begin_anew(board: Board) -> None:
    with board.folding() as history:
        history.take_vector(0, vector("a", 5), NOON)
    board.note_live()
    board.begin_anew()
    assert board.changes() == ([], ["a"])
    assert board.pulse().state == "reading"
    with board.folding() as history:
        history.take_vector(0, vector("a", 1), NOON)
    assert board.rows()[0].version == 1


def test_a_processor_is_measured_by_the_difference_of_its_counters(board: Board, clock: Clock) -> None:
    url = "http://10.0.0.5:9464"
    clock.now += 10 * SECOND_MICROS
    first = ProcessorFacts(url, NOON, True, "0.2.0", 100, commits=10, commit_seconds={0.01: 5.0, 0.1: 10.0})
    second = ProcessorFacts(url, clock.now, True, "0.2.0", 600, commits=30, commit_seconds={0.01: 25.0, 0.1: 30.0})
    for facts in (first, second):
        board.note_processors({url: facts})
    (seen,) = board.operate().processors
    assert (seen.events_per_second, seen.commits_per_second) == (50.0, 2.0)
    # 20 commits since, all at most 10 ms: linear within the bucket, the half at 5 ms and 99 % at 9.9 ms
    assert (seen.commit_p50_ms, seen.commit_p99_ms) == (5.0, 9.9)
    board.note_processors({url: ProcessorFacts(url, clock.now, error="refused")})
    (seen,) = board.operate().processors
    assert (seen.ready, seen.error, seen.events_per_second) == (None, "refused", None)


def test_an_assignment_is_read_from_the_protocols_bytes() -> None:
    """Written out by hand: version 0; trades with 0 and 3, commands with 1; no user data."""
    trades = b"\x00\x06trades\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03"
    commands = b"\x00\x08commands\x00\x00\x00\x01\x00\x00\x00\x01"
    whole = b"\x00\x00\x00\x00\x00\x02" + trades + commands + b"\xff\xff\xff\xff"
    assert assigned(whole) == (("trades", 0), ("trades", 3), ("commands", 1))
    assert assigned(b"") == assigned(whole[:15]) == assigned(b"\x00\x00\x7f\xff\xff\xff") == ()


def test_an_instance_is_what_its_member_id_begins_with() -> None:
    uuid = "8a1b0f4e-1d2c-4a5b-9c3d-0e1f2a3b4c5d"
    assert instance_of(f"processor-a-{uuid}", "rdkafka") == "processor-a"
    assert instance_of("", "rdkafka") == "rdkafka"


def test_bandits_that_come_and_go_while_nobody_looks_take_no_memory(board: Board) -> None:
    """There is room for two: who looks afterwards is given a snapshot instead of the names."""
    with board.folding() as history:
        for number in range(1_000):
            history.take_vector(0, vector(f"b{number}"), NOON)
            history.forget_bandit(f"b{number}")
    rows, gone = board.changes()
    assert (rows, len(gone)) == ([], 2)
    assert [board.is_snapshot_due(), board.is_snapshot_due()] == [True, False]
