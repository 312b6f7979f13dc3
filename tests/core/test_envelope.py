"""What makes a record unusual by its envelope or form, both take alike: keys, times, sizes, headers, and bytes that are
right and that our writers would not give."""

import struct
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("armstream._native", reason="the native core is not built here")

from armstream.codec import decode, encode
from armstream.core.state import CoreState
from armstream.events import DeadLetter, Input
from armstream.stages.facts import TaskLimits
from armstream.stages.pipeline import ApplyFailure
from tests.core.task import MAX_FUTURE_MICROS, MAX_RECORD_BYTES, TOPICS, OnCore, OnStages, Records, records_of
from tests.core.test_equality import tasks
from tests.runtime.records import ReadRecord
from tests.stages.events import START, close, fill, learning_rules

PROBABILITIES = (0.25, 0.5, 0.25)
LOGGED: dict[str, Any] = {"propensity": 0.25, "probabilities": PROBABILITIES, "eta": 0.5, "weights_version": 3}


def published(records: list[ReadRecord]) -> Records:
    """By both the same: what is published of a batch behind one that made the bandit."""
    first: list[Input] = [fill("f0", "p0", **LOGGED), close("c0", "p0")]
    both: tuple[OnStages, OnCore] = tasks(TaskLimits(), learning_rules())
    for task in both:
        task.publish(records_of(first))
        task.pipeline.commit()
        task.next_offset = {"trades": 2, "commands": 0}
    (by_stages, *standing), (by_core, *core_standing) = (task.publish(records) for task in both)
    assert by_core == by_stages
    assert core_standing == standing
    return by_core


def dead_letter(records: list[ReadRecord]) -> tuple[str, str]:
    (letter,) = [decode(record["value"]) for record in published(records)[TOPICS.dead_letters, 0]]
    assert isinstance(letter, DeadLetter)
    return letter.error_class, letter.error


def record(event: Input) -> ReadRecord:
    (one,) = records_of([event], 2)
    return one


def test_another_key_is_misrouted() -> None:
    assert dead_letter([replace(record(fill("f1", "p1")), key_bytes=b"other")])[0] == "MISROUTED"
    assert dead_letter([replace(record(close("c1", "p1")), key_bytes=None)])[0] == "MISROUTED"


def test_a_time_far_ahead_of_its_append_is_refused_and_one_at_the_limit_is_not() -> None:
    appended_ms = (START + 1_000 - MAX_FUTURE_MICROS) // 1_000
    late, in_time = (
        replace(record(fill("f1", "p1", ts_event=START + at)), appended_ms=appended_ms) for at in (1_001, 1_000)
    )
    assert "after the record's append time" in dead_letter([late])[1]
    assert (TOPICS.dead_letters, 0) not in published([in_time])


def test_a_record_above_the_limit_is_a_dead_letter_without_its_bytes() -> None:
    big = fill("f1", "p1", instrument_id="x" * MAX_RECORD_BYTES)
    assert dead_letter([record(big)])[0] == "LIMIT"


def test_an_early_close_keeps_its_headers() -> None:
    early = replace(record(close("c1", "p1")), header_list=(("source", b"desk 7"),))
    assert b"desk 7" in published([early])[TOPICS.snapshots, 0][0]["value"]


class NoText(ReadRecord):
    """Its header's name is no UTF-8: the client says so once, and then gives what is not to be touched."""

    def headers(self) -> list[tuple[str, str | bytes | None]] | None:
        if self.header_list:
            return super().headers()
        self.header_list = (("holes", b"never to be read"),)
        raise SystemError("returned a result with an exception set")


def test_an_early_close_whose_headers_cannot_be_read_is_kept_with_what_says_so() -> None:
    early = record(close("c1", "p1"))
    (by_stages, *_), (by_core, *_) = (
        task.publish([NoText(early.topic_name, 0, 2, early.key_bytes, early.value_bytes, early.appended_ms)])
        for task in tasks(TaskLimits(), learning_rules())
    )
    assert by_core == by_stages
    assert b"they cannot be read" in by_core[TOPICS.snapshots, 0][0]["value"]


def test_an_array_in_two_blocks_is_the_array() -> None:
    fact = fill("f1", "p1", **LOGGED)
    whole = encode(fact)
    one_block = b"\6" + struct.pack("<3d", *PROBABILITIES) + b"\0"
    two_blocks = b"\2" + one_block[1:9] + b"\4" + one_block[9:]
    assert whole.count(one_block) == 1
    split = replace(record(fact), value_bytes=whole.replace(one_block, two_blocks))
    assert published([split]) == published([record(fact)])


def test_ids_of_two_hundred_bytes_are_taken_and_longer_ones_refused() -> None:
    assert (TOPICS.dead_letters, 0) not in published([record(fill("e" * 200, "é" * 100))])
    assert dead_letter([record(fill("e" * 201, "p1"))])[0] == "VALIDATION"


@pytest.mark.parametrize(("module", "is_named"), [("pyo3_runtime", True), ("somewhere", False)])
def test_a_panic_names_its_record_as_any_fault_does_and_a_signal_passes(
    module: str, is_named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To Python a panic is a BaseException of a module that cannot be imported."""
    panic = type("PanicException", (BaseException,), {"__module__": module})

    def fail(*_: object) -> None:
        raise panic("index out of bounds")

    _, core = tasks(TaskLimits(), learning_rules(), hands_over=True)
    monkeypatch.setattr(CoreState, "give_back", fail)
    with pytest.raises((ApplyFailure, panic)) as failure:
        core.publish(records_of([fill("f0", "p0")]))
    assert type(failure.value) is (ApplyFailure if is_named else panic)
