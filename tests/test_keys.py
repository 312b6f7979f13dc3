"""A key leads to one partition, the same that Java's clients and librdkafka choose."""

import pytest

from armstream.keys import TASK_KEY, murmur2, partition_of, position_key

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
