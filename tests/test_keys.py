"""A key leads to one partition, the same that Java's clients and librdkafka choose."""

import pytest

from armstream.keys import TASK_KEY, claim_key, is_of, murmur2, page_key, partition_of, position_key

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
