"""CSV: what a spreadsheet opens, and runs nothing of."""

import csv
from io import StringIO

import pytest

from armstream.watch import csv_text
from armstream.watch.earned import BaseWeights
from armstream.watch.history import History, Limits
from armstream.watch.views import bandit_of
from tests.watch.records import NOON, SECOND, reward, vector


def table(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(body.decode())))


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1", "\uff20SUM(A1)"])
def test_a_text_that_is_a_formula_to_a_spreadsheet_has_a_quote_before_it(name: str) -> None:
    ((header,), (cell,)) = csv.reader(StringIO(csv_text.lines([name], [[name]]).decode(), newline=""))
    assert header == cell == f"'{name}"


def test_numbers_stay_numbers_and_what_is_not_known_is_empty() -> None:
    assert csv_text.lines(["a", "b", "c"], [[-1.5, None, 3]]) == b"a,b,c\r\n-1.5,,3\r\n"


def test_names_with_commas_quotes_and_lines_are_one_cell() -> None:
    name = 'a,"b"\nc'
    assert list(csv.reader(StringIO(csv_text.lines(["name"], [[name]]).decode(), newline="")))[1] == [name]


def test_a_bandits_tables_have_a_line_for_each_moment_each_part_and_each_arm() -> None:
    history = History(Limits(), BaseWeights({}, {}))
    history.take_vector(0, vector(version=1), NOON)
    history.take_vector(0, vector(version=2, weights=(0.75, 0.25)), NOON + SECOND)
    history.take_audit(0, reward(version=2, reward_bps=-3.5), NOON + SECOND)
    view = bandit_of(history, history.bandits["book"], NOON, None)
    weights, rewards, arms = (table(csv_text.bandit(view, of)) for of in csv_text.BANDIT_TABLES)
    assert weights == [
        {"time_utc": "2026-11-28T12:00:00.000Z", "version": "1", "ridge": "0.5", "lstm": "0.5"},
        {"time_utc": "2026-11-28T12:00:01.000Z", "version": "2", "ridge": "0.75", "lstm": "0.25"},
    ]
    assert [(one["reward_bps"], one["arm"], one["propensity"]) for one in rewards] == [("-3.5", "ridge", "0.5")]
    assert [(one["arm"], one["weight"], one["pulls"]) for one in arms] == [
        ("ridge", "0.75", "1"),
        ("lstm", "0.25", "0"),
    ]
