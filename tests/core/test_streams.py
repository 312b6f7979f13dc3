"""Streams in which nothing is usual: the core gives the stages' bytes, and hands over what costs little to hand on."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("armstream._native", reason="the native core is not built here")

from armstream.core import rules
from armstream.stages.facts import BanditRegistry
from tests.core.streams import NOTHING_USUAL, SOME_USUAL
from tests.core.task import OnCore, OnStages, records_of
from tests.stages.bench import BANDITS, BATCH


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

    def counted(what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def count(*given: Any) -> Any:
            calls[what] += 1
            return call(*given)

        return count

    monkeypatch.setattr(rules.Rulebook, "fields_of", counted("to the core", rules.Rulebook.fields_of))
    monkeypatch.setattr("armstream.core.state.bandit_of", counted("to the stages", rules.bandit_of))
    core = OnCore(stream.limits, BanditRegistry(stream.rules))
    monkeypatch.setattr(core.intake, "read", counted("runs", core.intake.read))
    records = records_of(stream.whole(6_000))
    for at in range(0, len(records), BATCH):
        if at == BATCH:
            calls.clear()
        _, core.next_offset, _ = core.publish(records[at : at + BATCH])
        core.pipeline.commit()
    assert calls["runs"] < 60
    assert calls["to the core"] < 60
    assert calls["to the stages"] < BANDITS + 60
