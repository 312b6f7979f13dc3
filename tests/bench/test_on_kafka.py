"""The bench on a real broker, small: contenders that are always here, and one whose outcome is another one."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from deploy.kafka.broker import Broker
from tests.bench import contenders
from tests.bench.child import BenchError
from tests.bench.latency import Steady
from tests.bench.load import make_load
from tests.bench.rounds import Backlog, Bench, Part

EVENTS, BANDITS = 4_400, 20
SMALL = {"limits": {"batch_records": 200}}  # several commits, since a rate needs two moments


@pytest.fixture(scope="module")
def bench(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    name = f"test{uuid.uuid4().hex[:8]}"
    return Bench(kafka.bootstrap_servers, tmp_path_factory.mktemp("bench"), name, lambda _: None)


@pytest.fixture(scope="module")
def backlog(bench: Bench) -> Iterator[Backlog]:
    part = Part.of(make_load(EVENTS, BANDITS, time.time_ns() // 1_000).records)
    with bench.backlog("small", "fills and closes apart", part) as filled:
        yield filled


def armstream() -> contenders.Contender:
    return replace(contenders.armstream()[0], more={**contenders.armstream()[0].more, **SMALL})


@pytest.mark.kafka
def test_who_does_the_job_has_a_rate_and_who_does_not_ends_the_bench(bench: Bench, backlog: Backlog) -> None:
    """The floor learns nothing: taken for somebody who does, it has no vectors."""
    measured = bench.round(armstream(), backlog, 1)
    assert measured.events_per_second > 0 < measured.warm_events_per_second
    floor = replace(contenders.floor(), more=SMALL)
    bench.round(floor, backlog, 1)
    with pytest.raises(BenchError, match="floor has vectors of 0 bandits"):
        bench.round(replace(floor, publishes_vectors=True), backlog, 2)


@pytest.mark.kafka
def test_every_close_after_the_warm_time_has_a_latency(bench: Bench) -> None:
    """200 events/s for 2 s after 1 s: 200 closes are due in them."""
    result = bench.paced(armstream(), "one topic", Steady(200.0, 1.0, 2.0), 1)
    assert result.close_count == pytest.approx(200, abs=2)
    assert 0 < result.p50_seconds <= result.p99_seconds <= result.p999_seconds < 30
