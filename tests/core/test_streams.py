"""Streams in which nothing is usual: the core gives the stages' bytes, and hands over what costs little to hand on."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

pytest.importorskip("armstream._native", reason="the native core is not built here")

from armstream.codec import decode
from armstream.core import rules
from armstream.core.state import CoreState
from armstream.events import DeadLetter, Input, Reward
from armstream.stages.facts import BanditRegistry, TaskLimits
from tests.core.streams import FIRST, NOTHING_USUAL, SECOND, SOME_USUAL, trades
from tests.core.task import TOPICS, OnCore, OnStages, records_of
from tests.stages.bench import BANDITS, BATCH
from tests.stages.events import START, close, fill, learning_rules


def counted(calls: Counter[str], what: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def count(*given: Any) -> Any:
        calls[what] += 1
        return call(*given)

    return count


@pytest.mark.parametrize("name", [*NOTHING_USUAL, *SOME_USUAL])
def test_a_stream_of_whole_runs_gives_the_bytes_of_the_stages(name: str) -> None:
    stream = {**NOTHING_USUAL, **SOME_USUAL}[name]
    registry = BanditRegistry(stream.rules)
    stages, core = OnStages(stream.limits, registry), OnCore(stream.limits, registry)
    records = records_of(stream.whole(1_200))
    for at, end in ((0, BATCH), (BATCH, BATCH + 700), (BATCH + 700, None)):
        ours, theirs = core.publish(records[at:end]), stages.publish(records[at:end])
        assert ours == theirs
        for task in (stages, core):
            task.pipeline.commit()
            task.next_offset = theirs[1]


@pytest.mark.parametrize("name", NOTHING_USUAL)
def test_where_nothing_is_usual_the_stages_get_long_runs_and_no_bandit_changes_its_form_again_and_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These are what a hand-over costs beside the stages; clocks on busy machines say less."""
    stream, calls = NOTHING_USUAL[name], Counter[str]()
    to_the_core = counted(calls, "to the core", rules.Rulebook.fields_of)
    monkeypatch.setattr(rules.Rulebook, "fields_of", to_the_core)
    monkeypatch.setattr("armstream.core.state.bandit_of", counted(calls, "to the stages", rules.bandit_of))
    core = OnCore(stream.limits, BanditRegistry(stream.rules))
    monkeypatch.setattr(core.intake, "read", counted(calls, "runs", core.intake.read))
    records = records_of(stream.whole(6_000))
    for at in range(0, len(records), BATCH):
        if at == BATCH:
            calls.clear()
        _, core.next_offset, _ = core.publish(records[at : at + BATCH])
        core.pipeline.commit()
    assert calls["runs"] < 60
    assert calls["to the core"] < 60
    assert calls["to the stages"] < BANDITS + 60


@pytest.mark.parametrize(("close_id", "hand_overs"), [("c~ 1", 0), ("it's", 1), ("a\\b", 1), ("c\u00e9", 1)])
def test_a_final_close_of_what_is_open_is_the_cores_where_python_quotes_its_id_as_it_is(
    close_id: str, hand_overs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = START + SECOND
    parts = [
        fill(f"f{n}", "p", bandit_id="book-1", quantity=quantity, order_quantity=100.0, ts_event=at + n)
        for n, quantity in enumerate((30.0, 50.0, 20.0))
    ]
    final = close(close_id, "p", bandit_id="book-1", quantity=45.0, final=True, ts_event=at + 10)
    published, calls = published_by_both([*parts, final], monkeypatch)
    assert calls["read"] == hand_overs
    written_off = [
        reward
        for record in published[TOPICS.rewards, 0]
        if isinstance(reward := decode(record["value"]), Reward) and not reward.applied
    ]
    said = f"written off: close {close_id!r} was final"
    assert [(one.fill_event_id, one.quantity, one.detail) for one in written_off] == [
        ("f1", 35.0, said),
        ("f2", 20.0, said),
    ]


@pytest.mark.parametrize(("quantity", "looks"), [(150.0, 0), (100.00001, 1), (1e17, 1)])
def test_an_orphan_is_the_cores_where_python_shows_its_quantities_without_an_exponent(
    quantity: float, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a position that is done but for it: its decision goes with it."""
    at, hour = START + SECOND, 3_600 * SECOND
    events: list[Input] = [
        fill("f", "p", bandit_id="book-1", quantity=100.0, ts_event=at),
        close("c", "p", bandit_id="book-1", quantity=quantity, ts_event=at + 1),
        close("alone", "q", bandit_id="book-1", quantity=7.0, ts_event=at + 2),
        fill("later", "r", bandit_id="book-1", ts_event=at + hour + 2),
        fill("latest", "s", bandit_id="book-1", ts_event=at + hour + 3),
    ]
    published, calls = published_by_both(events, monkeypatch)
    letters = [decode(record["value"]) for record in published[TOPICS.dead_letters, 0]]
    assert [letter.error for letter in letters if isinstance(letter, DeadLetter)] == [
        f"no fill for {quantity - 100.0!r} of {quantity!r} within 3600 s",
        "no fill for 7.0 of 7.0 within 3600 s",
    ]
    assert calls["look"] == looks


def published_by_both(
    events: Sequence[Input], monkeypatch: pytest.MonkeyPatch
) -> tuple[Mapping[tuple[str, int], Sequence[Any]], Counter[str]]:
    """What the stages and the core publish of a batch behind the first fills, which is the same; and how often the core
    handed records to be read, or looks at its state."""
    registry, calls = BanditRegistry(learning_rules()), Counter[str]()
    stages, core = OnStages(TaskLimits(), registry), OnCore(TaskLimits(), registry)
    monkeypatch.setattr(core.intake, "read", counted(calls, "read", core.intake.read))
    monkeypatch.setattr(CoreState, "look", counted(calls, "look", CoreState.look))
    records = records_of([*trades(FIRST), *events])
    for batch in (records[: 2 * FIRST], records[2 * FIRST :]):
        calls.clear()
        theirs = stages.publish(batch)
        assert core.publish(batch) == theirs
        for task in (stages, core):
            task.pipeline.commit()
            task.next_offset = theirs[1]
    return theirs[0], calls
