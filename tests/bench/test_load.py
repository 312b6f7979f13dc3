"""The load is what the bench says it is."""

from collections import Counter, defaultdict

import msgspec
import pytest

from armstream.codec import decode
from armstream.events import Close, Fill
from tests.bench.load import GAP_EVENTS, make_load

EVENTS = 22_000
TS_LAST = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def events() -> list[Fill | Close]:
    decoded = [decode(record.value) for record in make_load(EVENTS, 50, TS_LAST).records]
    return [event for event in decoded if isinstance(event, Fill | Close)]


def test_half_of_the_events_are_fills_and_no_two_have_one_id(events: list[Fill | Close]) -> None:
    assert Counter(type(event) for event in events) == {Fill: EVENTS // 2, Close: EVENTS // 2}
    assert len({event.event_id for event in events}) == EVENTS


def test_the_same_seed_gives_the_same_records_and_another_one_others() -> None:
    first, again, other = (make_load(2_200, 50, TS_LAST, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.records != other.records


def test_advice_is_with_every_fill_and_changes_nothing_else(events: list[Fill | Close]) -> None:
    """Of two experts one gave a quarter of the propensity, the other three."""
    advised = [decode(record.value) for record in make_load(EVENTS, 50, TS_LAST, experts=["a", "b"]).records]
    for plain, event in zip(events, advised, strict=True):
        if isinstance(event, Fill):
            assert event.propensity is not None
            assert event.advice == pytest.approx({"a": event.propensity / 4, "b": event.propensity * 3 / 4})
            assert msgspec.structs.replace(event, advice={}) == plain
        else:
            assert event == plain


def test_every_position_is_closed_by_as_much_as_was_filled_and_some_in_parts(events: list[Fill | Close]) -> None:
    sizes: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    parts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for event in events:
        closes = isinstance(event, Close)
        sizes[event.position_id][closes] += event.quantity
        parts[event.position_id][closes] += 1
    assert all(filled == closed for filled, closed in sizes.values())
    assert Counter(map(tuple, parts.values())) == {(1, 1): 8_000, (1, 2): 1_000, (2, 1): 1_000}
    assert make_load(EVENTS, 50, TS_LAST).reward_count == 8_000 + 2 * 2_000


def test_most_closes_come_tens_to_thousands_of_events_after_the_fill(events: list[Fill | Close]) -> None:
    opened: dict[str, int] = {}
    gaps = []
    for index, event in enumerate(events):
        if isinstance(event, Fill):
            opened.setdefault(event.position_id, index)
        else:
            gaps.append(index - opened[event.position_id])
    gaps.sort()
    assert gaps[len(gaps) // 20] > GAP_EVENTS[0] / 2
    assert gaps[-len(gaps) // 20] < 2 * GAP_EVENTS[1]
    assert 200 < gaps[len(gaps) // 2] < 500  # the middle of 20 and 5,000 on a logarithmic scale is 316


def test_arms_and_the_way_to_the_close_are_as_asked_for() -> None:
    """Of 7 arms all are drawn; every first close comes 300 events after its fill, give or take what happens between."""
    names = tuple(f"arm-{number}" for number in range(7))
    load = make_load(EVENTS, 50, TS_LAST, arms=names, gap_events=(300, 301))
    fills: dict[str, int] = {}
    gaps = []
    drawn = set()
    for index, event in enumerate(decode(record.value) for record in load.records):
        assert isinstance(event, Fill | Close)
        if isinstance(event, Fill):
            fills[event.position_id] = index
            drawn.add(event.arm)
            assert len(event.probabilities) == 7
        elif event.position_id in fills:
            gaps.append(index - fills.pop(event.position_id))
    assert drawn == set(names)
    assert load.position_count == len(gaps) == EVENTS // 22 * 10
    assert 250 < sorted(gaps)[len(gaps) // 2] < 350
