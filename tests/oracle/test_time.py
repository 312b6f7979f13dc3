"""What time it is by the oracle, and what is forgotten by then."""

from typing import Any

import pytest

from armstream.events import BanditSnapshot
from armstream.oracle.bandit import BanditOracle, Laws
from armstream.oracle.settings import DEFAULTS
from armstream.rules import formula_of
from tests.stages.events import START, close, fill

SETTINGS = {**DEFAULTS, "arms": ("ridge", "mlp")}


@pytest.mark.parametrize(("shares", "marks"), [(True, (START + 10, START + 10)), (False, (START + 10, START + 8))])
def test_where_both_come_in_one_order_the_later_of_two_old_watermarks_is_the_time(
    shares: bool, marks: tuple[int, int]
) -> None:
    oracle = BanditOracle("book", SETTINGS, Laws(1_000, 10.0, shares), formula_of)
    old: dict[str, Any] = {"fill_watermark": START + 10, "close_watermark": START + 5}
    oracle.restore(BanditSnapshot("book", 0, 0, (), "", "", "", **old))
    oracle.tell_time(close("c9", ts_event=START + 8))
    oracle.tell_time(close("c9", ts_event=START // 1_000))  # milliseconds
    assert (oracle.fill_watermark, oracle.close_watermark) == marks


def test_what_is_finished_is_forgotten_once_its_window_is_behind_both() -> None:
    oracle = BanditOracle("book", SETTINGS, Laws(1_000, 10.0, False), formula_of)
    for event in (fill(), close(), fill("f2", "p2", ts_event=START + 1_001)):
        oracle.tell_time(event)
        oracle.accept(event)
    assert oracle.memory.get("p1") is not None
    oracle.tell_time(close("c9", "p9", ts_event=START + 1_001))
    assert (oracle.memory.get("p1"), oracle.memory.forgotten_until) == (None, START)
    assert oracle.memory.get("p2") is not None, "it is open"
