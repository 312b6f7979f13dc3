"""Bandits that may not be: which there might be when, the log tells, whatever today's file says."""

from typing import Any

import pytest

from armstream.events import BanditSnapshot, Input
from armstream.oracle.comparison import Difference
from tests.stages.events import START, close, fill, short_rules
from tests.verify.desk import APART, BANDITS, Desk, settings_of
from tests.verify.test_commands import restarted_under

LAYOUTS: tuple[dict[str, Any], ...] = ({}, APART)
BOOK_ALONE: dict[str, Any] = {"bandits": {"mode": "registered", "overrides": {"book": {}}}}
BOTH: dict[str, Any] = {"bandits": {"mode": "registered", "overrides": {"book": {}, "other": {}}}}


def trades(bandit_id: str, position_id: str, after_micros: int) -> list[Input]:
    of: dict[str, Any] = {"bandit_id": bandit_id, "ts_event": START + after_micros}
    return [fill("f1", position_id, **of), close("c1", position_id, **of)]


@pytest.mark.parametrize("layout", LAYOUTS, ids=("together", "apart"))
def test_events_of_a_bandit_that_may_not_be_are_dead_letters_and_make_none(layout: dict[str, Any]) -> None:
    desk = Desk(settings_of(**layout, **BOOK_ALONE))
    desk.apply(*trades("other", "p1", 0), *trades("book", "p1", 1))
    account = desk.verify()
    assert (account.not_checked, account.dead_letters["UNKNOWN_BANDIT"], account.counts["bandits"]) == ([], 2, 1)
    desk.topics[desk.names.dead_letters].pop()
    with pytest.raises(Difference):
        desk.verify()


@pytest.mark.parametrize("layout", LAYOUTS, ids=("together", "apart"))
def test_a_bandit_that_was_registered_later_is_right_on_both_sides_of_it(layout: dict[str, Any]) -> None:
    desk = Desk(settings_of(**layout, **BOOK_ALONE))
    desk.apply(*trades("other", "p1", 0), *trades("book", "p1", 1))
    desk = restarted_under(desk, **layout, **BOTH)
    desk.apply(*trades("other", "p1", 2))
    account = desk.verify()
    assert (account.not_checked, account.counts["rewards"], account.counts["not_placed"]) == ([], 2, 0)


@pytest.mark.parametrize("layout", LAYOUTS, ids=("together", "apart"))
def test_closes_that_wait_when_their_bandit_may_not_be_any_more_end_by_its_refused_events(
    layout: dict[str, Any],
) -> None:
    desk = Desk(settings_of(**layout), short_rules())
    desk.apply(close("c1", bandit_id="other"), close("c2", "p2", bandit_id="other", ts_event=START + 100))
    desk = restarted_under(desk, **layout, **BOOK_ALONE)
    desk.apply(*trades("book", "p1", 1), *trades("other", "p3", 450))
    account = desk.verify()
    assert (account.not_checked, dict(account.dead_letters)) == ([], {"UNKNOWN_BANDIT": 2, "ORPHAN_CLOSE": 1})
    other = desk.event(BANDITS, -2, BanditSnapshot)
    assert (other.bandit_id, other.fill_watermark) == ("other", START + 450)
    desk.apply(*trades("other", "p4", 1_000))
    account = desk.verify()
    assert (account.not_checked, account.counts["bandits"], account.counts["not_placed"]) == ([], 1, 0)
    assert dict(account.dead_letters) == {"UNKNOWN_BANDIT": 4, "ORPHAN_CLOSE": 2}
