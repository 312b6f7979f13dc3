"""A key leads to one partition, the same that Java's clients and librdkafka choose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armstream.keys import (
    CLAIM_PREFIX,
    TASK_KEY,
    claim_key,
    is_bandits,
    is_of,
    is_positions,
    murmur2,
    page_key,
    partition_of,
    position_key,
)

# org.apache.kafka.common.utils.UtilsTest.testMurmur2
JAVA_MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "signed"), JAVA_MURMUR2.items())
def test_murmur2_gives_the_values_of_kafkas_own_unit_test(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % 2**32


def test_the_partition_drops_the_sign_bit_as_java_does() -> None:
    assert partition_of(b"21", 1_000) == (-973932308 & 0x7FFFFFFF) % 1_000


def test_the_keys_of_the_wire_are_as_they_ever_were() -> None:
    """Compacted topics hold them: another key would leave what stands under the old one there for ever."""
    assert TASK_KEY == b"\0task"
    assert position_key("book", "p1").encode() == b"book\0p1"


@pytest.mark.parametrize(
    ("key", "is_books"),
    [
        (b"book", True),
        (position_key("book", "p1").encode(), True),
        (position_key("book", "").encode(), True),
        (page_key("book", "p1", 0).encode(), True),
        (page_key("book", "p1", 12).encode(), True),
        (b"books", False),
        (b"boo", False),
        (position_key("books", "book").encode(), False),
        (page_key("books", "book", 0).encode(), False),
        (page_key("other", "p1", 0).encode(), False),
        (TASK_KEY, False),
        (claim_key("book", "book"), False),
        (b"", False),
        (None, False),
    ],
)
def test_a_key_is_of_the_bandit_that_it_is_about_and_of_no_other(key: bytes | None, is_books: bool) -> None:
    assert is_of(key, b"book") is is_books


BANDIT_IDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
TEXTS = st.one_of(st.sampled_from(["", "task", "group", "0", "1\0a", "\0", "\0task"]), st.text(max_size=8))


@st.composite
def keyed(draw: st.DrawFn) -> tuple[tuple[object, ...], bytes]:
    """What a snapshot is of, and its key."""
    kind = draw(st.sampled_from(["bandit", "position", "page", "task", "claim"]))
    bandit_id = draw(st.one_of(st.sampled_from(["task", "group", "0", "1"]), BANDIT_IDS))
    text, number = draw(TEXTS), draw(st.integers(0, 12))
    keys: dict[str, tuple[tuple[object, ...], bytes | str]] = {
        "bandit": ((bandit_id,), bandit_id),
        "position": ((bandit_id, text), position_key(bandit_id, text)),
        "page": ((bandit_id, text, number), page_key(bandit_id, text, number)),
        "task": ((), TASK_KEY),
        "claim": ((), claim_key(bandit_id, bandit_id)),
    }
    of, key = keys[kind]
    return (kind, *of), key if isinstance(key, bytes) else key.encode(errors="replace")


@given(keyed(), keyed())
def test_no_two_snapshots_share_a_key_and_each_key_tells_its_kind(
    one: tuple[tuple[object, ...], bytes], other: tuple[tuple[object, ...], bytes]
) -> None:
    """They stand on one compacted topic: what shared a key would take the other's place."""
    (kind, *of), key = one
    assert is_bandits(key) is (kind == "bandit")
    assert is_positions(key) is (kind in ("position", "page"))
    assert (key == TASK_KEY) is (kind == "task")
    assert key.startswith(CLAIM_PREFIX) is (kind == "claim")
    if one[0] != other[0] and "claim" not in (kind, other[0][0]):
        assert key != other[1], of


@pytest.mark.parametrize("key", [b"", b"\0", b"\0task", b"\0task\0", b"\x001", b"\0group\0g\0a", b"\0\0book\0p"])
def test_what_is_nobodys_key_is_no_bandits_and_no_positions(key: bytes) -> None:
    assert not is_bandits(key)
    assert not is_positions(key)
