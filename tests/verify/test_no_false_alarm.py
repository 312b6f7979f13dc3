"""What is right, and looked wrong once: verify says so, or names what it does not know."""

from typing import Any

import pytest
from msgspec import structs

from armstream.events import Command, Fill, PositionPage
from armstream.oracle.comparison import Difference
from tests.stages.events import START, close, fill, short_rules
from tests.verify.desk import APART, POSITIONS, Desk, settings_of
from tests.verify.test_exp4 import SAID, advised, exp4

HOUR = 3_600_000_000


def test_a_small_last_fill_that_is_closed_in_part_is_right() -> None:
    """An order of 1.0 in fills of .99999997 and 3e-8, closed by .99999999: doubles leave 1e-8 with an error of 1e-16,
    which is 1e-8 of it, and nothing of what was subtracted."""
    desk = Desk()
    desk.apply(fill("f1", quantity=0.99999997, order_quantity=1.0), fill("f2", quantity=3e-8, order_quantity=1.0))
    desk.apply(close("c1", quantity=0.99999999))
    account = desk.verify()
    assert (account.not_checked, account.counts["rewards"], account.counts["position_snapshots"]) == ([], 2, 1)


@pytest.mark.parametrize("is_compacted", [False, True])
def test_two_input_topics_with_compacted_snapshots_and_a_command_are_right(is_compacted: bool) -> None:
    desk = Desk(settings_of(**APART))
    for number in range(4):
        desk.apply(fill(f"f{number}", f"p{number}", ts_event=START + number))
        desk.apply(close(f"c{number}", f"p{number}", ts_event=START + number, quantity=50.0))
        desk.apply(Command(f"k{number}", "book", "RESET", START), fill(f"f{number}", f"q{number}"))
    if is_compacted:
        for topic in desk.names.compacted:
            desk.compact(topic)
    account = desk.verify()
    assert (account.not_checked, account.counts["rewards"], account.counts["commands"]) == ([], 4, 4)


@pytest.mark.parametrize("sections", [{}, APART])
def test_dead_letters_that_alone_were_cut_are_no_alarm(sections: dict[str, Any]) -> None:
    desk = Desk(settings_of(**sections), short_rules())
    desk.apply(fill("f1", arm="nobody"), fill("f1"), close("c1", exec_type="CANCEL"), close("c1"))
    desk.apply(fill("f2", "p2", ts_event=START + 500), close("c9", "p9", ts_event=START + 10))
    desk.apply(close("c2", "p2", ts_event=START + 501), fill("f3", "p3", price=0.0, ts_event=START + 501))
    letters = len(desk.topics[desk.names.dead_letters])
    assert letters == 4
    for kept in range(letters):
        desk.delete_before(desk.names.dead_letters, len(desk.topics[desk.names.dead_letters]) - (letters - 1 - kept))
        account = desk.verify()
        assert (account.not_checked, account.counts["rewards"], account.counts["not_placed"]) == ([], 2, 0)


def test_a_fill_that_was_skipped_and_whose_dead_letter_is_cut_leaves_its_bandit_out() -> None:
    desk = Desk(skip=frozenset({("trades", 0, 0)}))
    desk.apply(fill("f1"), close("c1"))
    desk.apply(fill("f2", "p2", bandit_id="other"), close("c2", "p2", bandit_id="other"))
    account = desk.verify()
    assert (account.not_checked, account.skipped) == ([], [("trades", 0, 0)])
    desk.delete_before(desk.names.dead_letters, 1)
    account = desk.verify()
    assert account.not_checked_count == 1
    assert "bandit 'book' from here on: a dead letter of it may be gone" in account.not_checked[0]
    assert account.counts["weight_vectors"] == 1


def test_an_exp4_bandit_whose_fills_all_became_dead_letters_is_right() -> None:
    desk = Desk(settings_of(online_learning=exp4()))
    desk.apply(advised("p1", advice={}), close("c1", "p1"))
    desk.apply(advised("p2", propensity=None), close("c1", "p2"))
    account = desk.verify()
    assert (account.not_checked, account.counts["dead_letters"], account.counts["waiting"]) == ([], 2, 2)


def test_a_fill_that_became_a_dead_letter_and_was_sent_again_is_right() -> None:
    desk = Desk(settings_of(online_learning=exp4()))
    wrong: Fill = advised("p1", advice={**SAID, "regime": 1.5})
    desk.apply(wrong, close("c1", "p1"))
    desk.apply(advised("p1"), wrong)
    account = desk.verify()
    assert (account.not_checked, account.counts["rewards"]) == ([], 1)
    assert (account.counts["dead_letters"], account.counts["duplicates"]) == (1, 1)


def test_estimates_that_are_too_small_for_all_their_digits_are_right() -> None:
    """Doubles below 2.2e-308 lose digits: 1e-314 has 9 of them left, and 1e-10 of it none."""
    importance = {"estimator": "importance", "gamma": 0.05, "eta_max": 0.07, "attribution": "simultaneous"}
    desk = Desk(settings_of(online_learning=importance))
    for number in range(5):
        small = {"contributions": {"mlp": 1e-315 * (number + 1), "boost": 0.5}}
        desk.apply(fill("f1", f"p{number}", **small), close("c1", f"p{number}", price=150.0 + 0.1 * number))
    account = desk.verify()
    assert (account.not_checked, account.counts["rewards"]) == ([], 5)


def test_an_id_that_comes_again_when_its_position_may_be_forgotten_leaves_its_bandit_out() -> None:
    """The close moves the watermark past p1's window, and whether p1's fill came before it no record tells."""
    desk = Desk(settings_of(**APART), short_rules())
    desk.apply(fill("f1"), close("c1"))
    desk.apply(fill("f2", "p2", ts_event=START + 1_600))
    desk.apply(close("c2", "p2", ts_event=START + 900))
    desk.apply(close("c3", "p3", ts_event=START + 1_500), fill("f9", "p1", ts_event=START + 1_700))
    account = desk.verify()
    assert account.not_checked == [
        "bandit 'book' from here on: no record tells whether a position was forgotten before its next event"
    ]


@pytest.mark.parametrize("is_altered", [False, True])
def test_a_page_that_ends_elsewhere_for_want_of_an_order_is_right(is_altered: bool) -> None:
    """The last event of the page is a fill or the close that realises it, which is the first of those that follow."""
    desk = Desk(settings_of(**APART))
    of: dict[str, Any] = {"quantity": 1.0, "order_quantity": 100.0}
    desk.apply(*(fill(f"f{number}", ts_event=START + number, **of) for number in range(62)))
    desk.apply(close("c1", quantity=62.0, ts_event=START + 62))
    desk.apply(fill("f63", ts_event=START + 63, **of), close("c2", quantity=1.0, ts_event=START + 63))
    if is_altered:
        name = POSITIONS
        at = next(at for at, one in enumerate(desk.topics[name]) if (one.key or b"").startswith(b"\0"))
        page = desk.event(name, at, PositionPage)
        desk.change(name, at, fills=(structs.replace(page.fills[0], price=150.1), *page.fills[1:]))
        with pytest.raises(Difference, match=r"fill 'f0': published was price 150\.1"):
            desk.verify()
    else:
        assert desk.verify().not_checked == []
