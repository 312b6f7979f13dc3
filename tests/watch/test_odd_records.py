"""Records that no processor of ours writes: none stops the following, and what the page is told stays JSON."""

import json
from dataclasses import dataclass
from math import inf, nan
from threading import Event as Flag
from typing import Any, NoReturn, cast

import pytest
from confluent_kafka import Message
from msgspec import json as wire_json
from msgspec.structs import replace

from armstream.codec import Event, encode
from armstream.events import RewardArm, TaskSettings
from armstream.settings import Settings
from armstream.stages.facts import SETTINGS_CHANGE
from armstream.watch import csv_text
from armstream.watch.board import Board
from armstream.watch.follow import Follower
from tests.watch.records import NOON, letter, obeyed, reward, vector

NAMES = Settings().topics.names
TWO_SIDES = (RewardArm("ridge", 1.0, 0.5, 0.3), RewardArm("lstm", 0.0, 0.5, None))
TOO_DEEP, TOO_LONG = "[" * 100_000, '{"settings_before": {"a": 0}, "settings": {"a": %s}}' % ("9" * 5_000)
LONE = r'{"settings_before": {"a": 0}, "settings": {"a": "\ud800"}}'
ODD: dict[str, tuple[str, Event]] = {
    "a weight without a number": (NAMES.weights, vector(version=9, weights=(nan, 0.5))),
    "a weight without an end": (NAMES.weights, vector(version=9, weights=(inf, 0.5))),
    "no arm": (NAMES.weights, vector(version=9, weights=(), arms=())),
    "a bound without a number": (NAMES.weights, vector(version=9, bound_bps=nan)),
    "a reward without a number": (NAMES.rewards, reward(version=9, reward_bps=nan)),
    "a withheld one without a number": (NAMES.rewards, reward(version=9, reward_bps=nan, applied=False)),
    "a large reward": (NAMES.rewards, reward(version=9, reward_bps=1e308)),
    "a large part": (NAMES.rewards, reward(version=9, weight=1e308)),
    "a part without a number": (NAMES.rewards, reward(version=9, weight=nan)),
    "a share without a number": (NAMES.rewards, replace(reward(version=9), arms=(RewardArm("ridge", nan),))),
    "an estimate that lacks": (NAMES.rewards, replace(reward(version=9), arms=TWO_SIDES)),
    **{
        f"settings {number}": (NAMES.rewards, obeyed("RESET", 9, command_id=SETTINGS_CHANGE, detail=detail))
        for number, detail in enumerate((TOO_DEEP, TOO_LONG, LONE))
    },
    **{
        f"settings of a task {number}": (NAMES.rewards, TaskSettings(0, settings, {}))
        for number, settings in enumerate((TOO_DEEP, TOO_LONG, LONE))
    },
    "a letter in a letter": (NAMES.dead_letters, letter(value=encode(letter(value=encode(reward(reward_bps=nan)))))),
}


@dataclass(frozen=True)
class Appended:
    """A record as a consumer gives it."""

    where: str
    at: int
    event: Event
    time_ms: int = NOON // 1_000

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return self.where

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, self.time_ms

    def key(self) -> bytes:
        return b"book"

    def value(self) -> bytes:
        return encode(self.event)

    def headers(self) -> list[Any]:
        return []


def board_of(*events: tuple[str, Event] | tuple[str, Event, int]) -> Board:
    """What a follower made of them, and of a good reward of 10 bps behind them."""
    board = Board(Settings(), now=lambda: NOON)
    records = [Appended(one[0], at, *one[1:]) for at, one in enumerate((*events, (NAMES.rewards, reward(version=99))))]
    Follower(Settings(), board, Flag())._take(cast(list[Message], records))
    return board


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


def assert_is_shown(board: Board) -> None:
    """All that the page asks for can be had."""
    view = board.bandit("book")
    assert view is not None
    for told in (board.snapshot(), board.changes()[0], board.operate(), view):
        json.loads(wire_json.encode(told), parse_constant=refuse)
    csv_text.desk(board.rows())
    csv_text.operate(board.whole_operate())
    for table in csv_text.BANDIT_TABLES:
        csv_text.bandit(view, table)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_record_stops_nothing_and_poisons_no_sum(name: str) -> None:
    first, task = (NAMES.weights, vector()), (NAMES.rewards, TaskSettings(0, '{"a": 0}', {}))
    board = board_of(first, task, ODD[name])
    assert_is_shown(board)
    (row,) = board.rows()
    last_bps = 10.0 if name in ("an estimate that lacks", "a share without a number") else 0.0
    assert row.ever.sum_bps == 10.0 + last_bps
    assert row.weights == [0.5, 0.5]
    view = board.bandit("book")
    assert view is not None
    assert len(view.rewards) == 1 + (ODD[name][0] == NAMES.rewards and "settings" not in name)


@pytest.mark.parametrize("time_ms", [-1, 2**53, 2**62, 253_402_300_800_000])
def test_a_record_of_a_strange_time_is_never_of_later_than_now(time_ms: int) -> None:
    board = board_of((NAMES.weights, vector(), time_ms), (NAMES.rewards, reward(), time_ms))
    assert_is_shown(board)
    assert board.pulse().last_record_ts == NOON
