"""An explanation as a terminal and a reader of JSON get it."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from armstream.events import Reward
from armstream.explain.facts import TooLong
from armstream.explain.lines import lines_of
from armstream.explain.log import PartitionTopics
from tests.explain.desk import explained
from tests.explain.test_vector import traded
from tests.stages.events import close, fill
from tests.verify.desk import Desk, settings_of
from tests.verify.test_commands import changed_desk


def test_a_reward_reads_from_the_answer_to_the_formula() -> None:
    desk = Desk(settings_of(online_learning={"eta": 0.1, "eta_auto": False}))
    desk.apply(fill("f1", propensity=0.2, fees=0.0), close("c1", price=150.75))
    lines = lines_of(explained(desk, 1))
    assert lines[:2] == [
        "book  version 1  published 2027-01-15 08:00:00.000 UTC",
        "the oracle comes to the same numbers, each within 1e-10 of its size",
    ]
    text = "\n".join(lines)
    assert "  ridge   33.33 %   31.15 %    -2.18 %\n" in text  # e^-.1 / (e^-.1 + 2) is .31150
    assert "earned +50 bps = price +50, fill fees +0, close fees +0, slippage +0\n" in text
    assert "drawn  ridge with propensity 0.2, as logged\n" in text
    assert "  estimate of ridge = (weight (loss - 1/2) + 1/2) / (p + implicit)\n" in text
    assert f"  {' ' * 17} = ((0.25 - 1/2) + 1/2) / (0.2 + 0.05) = 1\n" in text
    assert "  moved  ridge -2.18 %, mlp +1.09 %, boost +1.09 %\n" in text


def test_what_differs_says_so_first() -> None:
    desk = traded()
    desk.change(desk.names.rewards, 1, eta=0.5)
    assert lines_of(explained(desk, 2))[1].startswith("DIFFERS: rewards:0:")


def test_what_is_deleted_leaves_what_the_audit_record_says() -> None:
    desk = traded()
    reward = desk.event(desk.names.rewards, 1, Reward)
    desk.delete_before(desk.names.trades[0], 4)
    text = "\n".join(lines_of(explained(desk, 2)))
    assert "\nnot checked: fill 'f1' and close 'c1' of position 'p2' are deleted\n" in text
    taught = f"  taught by the audit record: eta {reward.eta:.6g}, estimate of mlp {reward.arms[0].estimate:.6g}\n"
    assert taught in text


def test_what_was_withheld_says_why() -> None:
    assert "  withheld from the learner: the bandit is paused" in lines_of(explained(changed_desk(), 8))


def test_no_name_moves_a_cursor() -> None:
    told = replace(explained(traded(), 2), bandit_id="\x1b[2Jbook", notes=("a\nb\u202e",))
    assert all(line.isprintable() for line in lines_of(told))
    assert told.as_json().isprintable()
    assert json.loads(told.as_json())["bandit_id"] == "\x1b[2Jbook"


def test_json_has_names_for_all_that_the_lines_say_and_null_for_what_is_no_number() -> None:
    told = json.loads(explained(traded(), 2).as_json())
    (part,) = told["parts"]
    assert part["steps"][0].keys() == {"name", "of", "formula", "numbers", "value", "unit"}
    assert (part["fill"]["event_id"], part["close"]["slippage"], part["drawn"]) == ("f1", 0.2, "mlp")
    strange = replace(
        explained(traded(), 2), parts=(replace(explained(traded(), 2).parts[0], reward_bps=float("nan")),)
    )
    assert json.loads(strange.as_json())["parts"][0]["reward_bps"] is None


def test_what_takes_long_says_how_far_it_is_and_ends_when_patience_does() -> None:
    now, said = [0.0], list[str]()
    nothing: Any = None
    topics = PartitionTopics(settings_of(), "book", 0, nothing, said.append, 10.0, lambda: now[0])
    for seconds in (2.0, 4.0, 5.0, 8.0):
        now[0] = seconds
        topics.require_patience()
    assert [line.rpartition(", ")[2] for line in said] == ["4 s so far", "8 s so far"]
    now[0] = 10.5
    with pytest.raises(TooLong, match="not done in 10 s"):
        topics.require_patience()
