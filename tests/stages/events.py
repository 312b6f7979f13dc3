"""Events as the tests of this folder write them: everything that does not matter has a value."""

from typing import Any

from armstream.events import Close, Fill, Source
from armstream.learning import LearningSettings
from armstream.stages.facts import TaskLimits

ARMS = ("ridge", "mlp", "boost")
START = 1_700_000_000_000_000  # UTC microseconds


def fill(event_id: str = "f1", position_id: str = "p1", **fields: Any) -> Fill:
    given: dict[str, Any] = {
        "bandit_id": "book",
        "instrument_id": "AAPL",
        "side": "BUY",
        "quantity": 100.0,
        "price": 150.0,
    }
    given |= {"ts_event": START} | fields
    if "contributions" not in fields:
        given = {"arm": "ridge"} | given
    return Fill(event_id=event_id, position_id=position_id, **given)


def close(event_id: str = "c1", position_id: str = "p1", **fields: Any) -> Close:
    given: dict[str, Any] = {"bandit_id": "book", "quantity": 100.0, "price": 150.5, "ts_event": START} | fields
    return Close(event_id=event_id, position_id=position_id, **given)


def source_of(index: int) -> Source:
    return Source("trades", 0, index, b"key", b"record %d" % index)


def short_rules(**fields: Any) -> TaskLimits:
    """Windows of a thousandth of a second or so, so that a short history crosses them."""
    given: dict[str, Any] = {"dedupe_window_micros": 1_000, "orphan_ttl_micros": 400, "max_holding_micros": 4_000}
    return TaskLimits(**given | fields)


def learning_rules(**fields: Any) -> LearningSettings:
    return LearningSettings(**({"arms": ARMS} | fields))
