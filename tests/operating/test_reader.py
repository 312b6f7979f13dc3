"""A partition that was just made has no leader yet: it is waited for, and not for ever."""

from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from armstream.operating import reader
from armstream.operating.reader import LEADER_SECONDS, watermarks
from armstream.runtime.failures import Stopped


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Led:
    """A consumer whose partition gets its leader at a moment."""

    def __init__(self, clock: Clock, led_after_seconds: float) -> None:
        self._clock, self._led_at = clock, clock.now + led_after_seconds

    def get_watermark_offsets(self, *_: Any) -> tuple[int, int]:
        if self._clock.now < self._led_at:
            raise KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))
        return (3, 7)

    def list_topics(self, topic: str, seconds: float) -> None: ...


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(reader, "time", clock)
    return clock


def test_a_leader_that_comes_late_is_waited_for(clock: Clock) -> None:
    late = cast(Consumer, Led(clock, LEADER_SECONDS - 1))
    assert watermarks(late, "snapshots", 4) == (3, 7)


def test_a_leader_that_does_not_come_ends_the_wait_with_one_line_that_says_what_to_do(clock: Clock) -> None:
    began = clock.now
    with pytest.raises(Stopped, match=r"snapshots:4: no broker leads it after 60 s; try again"):
        watermarks(cast(Consumer, Led(clock, 1e9)), "snapshots", 4)
    assert clock.now - began <= LEADER_SECONDS + 1
