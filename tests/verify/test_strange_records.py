"""Whatever lies in the outputs, verify ends with a line: what differs, and where; never with a traceback."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armstream.events import Source
from armstream.keys import TASK_KEY
from armstream.oracle.comparison import Difference
from armstream.verify.log import _Scan
from armstream.verify.states import Unverifiable
from tests.stages.events import close, fill
from tests.verify.desk import BANDITS, POSITIONS, Desk, Logs

NEWER = b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08"


def traded() -> Desk:
    desk = Desk()
    for number in range(6):
        position = f"p{number}"
        desk.apply(
            fill(f"f{number}", position), close(f"c{number}", position), fill(f"bad{number}", position, price=-1.0)
        )
    desk.apply(fill("open", "left open"))
    return desk


TRADED = traded()
SNAPSHOTS = TRADED.names.snapshots
OUTPUTS = [TRADED.names.rewards, TRADED.names.weights, TRADED.names.dead_letters, SNAPSHOTS]
KEYS = [b"book", b"other", TASK_KEY, b"", b"\xff\xfe", b"book\0p1", b"\x000\0book\0p1", b"\0group\0g\0a", b"k" * 300]


def with_topics(topics: dict[str, list[Source]]) -> Desk:
    desk = Desk()
    desk.topics = Logs(SNAPSHOTS, topics)
    desk.next_offset, desk.ends = TRADED.next_offset, TRADED.ends
    desk.first = TRADED.first.copy()
    return desk


def written() -> st.SearchStrategy[bytes | None]:
    all_of_them = [one.value for topic in OUTPUTS for one in TRADED.topics[topic] if one.value is not None]
    whole = st.sampled_from(all_of_them)
    cut = st.tuples(whole, st.integers(0, 200)).map(lambda each: each[0][: each[1]])
    newer = whole.map(lambda value: NEWER + value[10:])
    mutated = st.tuples(whole, st.integers(10, 10_000), st.integers(0, 255)).map(_mutated)
    return st.one_of(st.none(), st.binary(max_size=40), whole, cut, newer, mutated)


def _mutated(each: tuple[bytes, int, int]) -> bytes:
    value, at, byte = bytearray(each[0]), each[1], each[2]
    value[10 + at % (len(value) - 10)] = byte
    return bytes(value)


@settings(max_examples=200)
@given(st.sampled_from(OUTPUTS), st.integers(0, 50), st.sampled_from(KEYS), written(), st.booleans(), st.integers(0, 3))
def test_any_record_in_the_place_of_another_or_behind_the_last_is_judged(
    topic: str, at: int, key: bytes, value: bytes | None, is_last: bool, gone: int
) -> None:
    topics = {name: list(records) for name, records in TRADED.topics.items()}
    records = topics[topic]
    if topic == SNAPSHOTS and key == TASK_KEY:
        key = b"book"  # where the task stands is found before: see below
    if is_last:
        records.append(Source(topic, 0, TRADED.ends[topic], key, value))
    else:
        before = records[at % len(records)]
        records[at % len(records)] = Source(topic, 0, before.offset, key, value)
    desk = with_topics(topics)
    if gone:
        desk.delete_before(desk.names.trades[0], gone)
    with suppress(Difference, Unverifiable):
        desk.verify()


@pytest.mark.parametrize("topic", [*OUTPUTS[:3], BANDITS, POSITIONS])
def test_what_a_newer_version_may_have_written_asks_for_that_version(topic: str) -> None:
    topics = Logs(SNAPSHOTS, TRADED.topics)
    at = max(at for at, one in enumerate(topics[topic]) if one.value is not None and one.key != TASK_KEY)
    last = topics[topic][at]
    topics[topic][at] = msgspec.structs.replace(last, value=NEWER + (last.value or b"")[10:])
    with pytest.raises(Difference, match="where a newer armstream wrote it, verify with that one"):
        with_topics(topics).verify()


def test_a_task_snapshot_that_a_newer_version_may_have_written_asks_for_that_version() -> None:
    newest = Source("snapshots", 3, 7, TASK_KEY, NEWER)
    with pytest.raises(Unverifiable, match=r"^snapshots:3:7: fingerprint 0807.*; where a newer armstream wrote it"):
        _Scan().take(newest)
