"""Streams in which nothing is usual: the core gives the stages' bytes, and about their rate."""

import pytest

pytest.importorskip("armstream._native", reason="the native core is not built here")

from armstream.stages.facts import BanditRegistry
from tests.core.bench import ratio
from tests.core.streams import NOTHING_USUAL, SOME_USUAL
from tests.core.task import OnCore, OnStages, records_of
from tests.stages.bench import BATCH

LEAST = 0.6  # .8 is the aim, which a busy machine blurs


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
def test_where_nothing_is_usual_the_core_has_nearly_the_rate_of_the_stages(name: str) -> None:
    assert max(ratio(NOTHING_USUAL[name], 2 * BATCH, 2) for _ in range(2)) > LEAST
