"""What an envelope says decides before any state is asked."""

import pytest

from armstream import codec
from armstream.codec import DecodeError, decode, encode, encode_cut, encode_dead_letter
from armstream.events import Close, Command, DeadLetter, Fill, Header, Input, Rejected, Source
from armstream.keys import partition_of
from armstream.runtime import intake as runtime_intake
from armstream.runtime.intake import Intake
from tests.runtime.records import ReadRecord

PARTITIONS = 8
APPENDED_MS = 1_700_000_000_000
MAX_FUTURE_MICROS = 5 * 60 * 1_000_000
CLOSE = Close("c1", "book", "p1", 1.0, 2.0, APPENDED_MS * 1_000)
FILL = Fill("f1", "book", "p1", "AAPL", "BUY", 1.0, 2.0, APPENDED_MS * 1_000, arm="ridge")


def intake(*skip: tuple[str, int, int], max_record_bytes: int = 10_000) -> Intake:
    return Intake(PARTITIONS, max_record_bytes, MAX_FUTURE_MICROS, frozenset(skip))


def read_one(value: bytes | None, key: bytes | None = b"book", partition: int | None = None) -> Input:
    home = partition_of(key or b"", PARTITIONS) if partition is None else partition
    (read,) = intake().read([ReadRecord("trades", home, 7, key, value)])
    return read


def refusal(read: Input) -> tuple[str, str]:
    assert isinstance(read, Rejected)
    assert read.ts_event == APPENDED_MS * 1_000
    return read.error_class, read.error


def test_events_come_out_in_the_records_order() -> None:
    home = partition_of(b"book", PARTITIONS)
    values = [encode(FILL), b"", encode(CLOSE)]
    records = [ReadRecord("trades", home, at, b"book", value) for at, value in enumerate(values)]
    first, second, third = intake().read(records)
    assert (first, third) == (FILL, CLOSE)
    assert refusal(second)[0] == "DECODE"


@pytest.mark.parametrize("value", [None, b"", b"\xc3\x01short", b"\x00\x00\x00\x00\x05abc", encode(CLOSE) + b"\0"])
def test_what_cannot_be_decoded_is_rejected_with_its_reason(value: bytes | None) -> None:
    error_class, error = refusal(read_one(value))
    assert error_class == "DECODE"
    assert error


@pytest.mark.parametrize("key", [None, b"", b"other", b"\xff\xfe", b"bo\0ok", b"b" * 201])
def test_a_key_that_is_not_the_bandit_id_is_misrouted(key: bytes | None) -> None:
    error_class, error = refusal(read_one(encode(CLOSE), key))
    assert error_class == "MISROUTED"
    assert "'book'" in error


@pytest.mark.parametrize("bandit_id", ["", "bo\0ok", "b" * 201, "\u00e9" * 101])
def test_a_bandit_id_that_no_key_may_be_is_misrouted_even_where_the_key_equals_it(bandit_id: str) -> None:
    close = Close("c1", bandit_id, "p1", 1.0, 2.0, APPENDED_MS * 1_000)
    assert refusal(read_one(encode(close), bandit_id.encode()))[0] == "MISROUTED"


def test_a_record_on_another_partition_than_its_keys_is_misrouted() -> None:
    home = partition_of(b"book", PARTITIONS)
    error_class, error = refusal(read_one(encode(CLOSE), partition=(home + 1) % PARTITIONS))
    assert error_class == "MISROUTED"
    assert f"belongs on partition {home}" in error


@pytest.mark.parametrize(("ahead_micros", "is_taken"), [(MAX_FUTURE_MICROS, True), (MAX_FUTURE_MICROS + 1, False)])
def test_a_clock_may_be_ahead_by_max_future_and_no_more(ahead_micros: int, is_taken: bool) -> None:
    close = Close("c1", "book", "p1", 1.0, 2.0, APPENDED_MS * 1_000 + ahead_micros)
    read = read_one(encode(close))
    if is_taken:
        assert read == close
    else:
        assert refusal(read)[0] == "VALIDATION"


def test_a_skipped_record_is_rejected_unread_and_its_neighbours_are_not() -> None:
    home = partition_of(b"book", PARTITIONS)
    records = [ReadRecord("trades", home, at, b"book", encode(CLOSE)) for at in (6, 7, 8)]
    before, skipped, after = intake(("trades", home, 7)).read(records)
    assert (before, after) == (CLOSE, CLOSE)
    assert refusal(skipped)[0] == "SKIPPED"


def test_a_value_above_the_limit_is_rejected_and_its_dead_letter_names_the_size_instead_of_the_bytes() -> None:
    home = partition_of(b"book", PARTITIONS)
    record = ReadRecord("trades", home, 7, b"book", b"x" * 101)
    small = intake(max_record_bytes=100)
    (read,) = small.read([record])
    assert refusal(read)[0] == "LIMIT"
    source = small.source_of(record)
    assert (source.topic, source.partition, source.offset) == ("trades", home, 7)
    assert (source.key, source.value, source.headers) == (None, None, (Header("armstream.left_out_bytes", b"105"),))


def test_a_source_carries_the_record_whole() -> None:
    record = ReadRecord("trades", 3, 7, b"k", b"v", header_list=(("a", b"1"), ("b", None), ("c", "text")))
    source = intake().source_of(record)
    assert (source.topic, source.partition, source.offset, source.key, source.value) == ("trades", 3, 7, b"k", b"v")
    assert source.headers == (Header("a", b"1"), Header("b", None), Header("c", b"text"))


class NoUTF8(ReadRecord):
    """As the client behaves: the first call raises, the second gives a list with a hole, which ends Python."""

    asked = 0

    def headers(self) -> list[tuple[str, str | bytes | None]] | None:
        self.asked += 1
        if self.header_list:
            return super().headers()
        assert self.asked == 1, "the hole was asked for"
        return [(b"\xff\xfe".decode(), b"1")]


def test_headers_that_cannot_be_read_are_told_of_in_their_place_however_often_they_are_asked_for() -> None:
    record = NoUTF8("trades", 3, 7, b"k", b"v")
    for _ in range(3):
        source = intake().source_of(record)
        (header,) = source.headers
        assert header.name == "armstream.headers_left_out"
        assert b"UTF-8" in (header.value or b"")
        assert (source.key, source.value) == (b"k", b"v")


def test_a_skipped_record_is_carried_as_long_as_it_is_small() -> None:
    small, large = (ReadRecord("trades", 0, at, b"k", b"v" * size) for at, size in ((1, 65_534), (2, 65_535)))
    skipping = intake(("trades", 0, 1), ("trades", 0, 2), max_record_bytes=1_000_000)
    assert skipping.source_of(small).value == b"v" * 65_534  # and its key twice
    assert skipping.source_of(large).headers == (Header("armstream.left_out_bytes", b"65536"),)
    assert intake(max_record_bytes=1_000_000).source_of(large).value == b"v" * 65_535


def test_a_headers_name_counts_by_its_bytes_since_they_are_what_is_published() -> None:
    record = ReadRecord("trades", 3, 7, None, None, header_list=(("€" * 40, b"1"),))  # 3 bytes each, 8 around them
    assert intake(max_record_bytes=129).source_of(record).headers[0].name == "€" * 40
    left_out = intake(max_record_bytes=128).source_of(record)
    assert left_out.headers == (Header("armstream.left_out_bytes", b"121"),)


def test_what_is_skipped_or_too_large_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a record which no decoder survives can be skipped."""
    read = codec.decode_inputs

    def fragile(values: list[bytes | None]) -> list[Fill | Close | Command | DecodeError]:
        assert not any(value and value.startswith(b"bad") for value in values)
        return read(values)

    monkeypatch.setattr(runtime_intake, "decode_inputs", fragile)
    home = partition_of(b"book", PARTITIONS)
    values = [encode(CLOSE), b"bad", b"bad" * 4_000, None]
    records = [ReadRecord("trades", home, at, b"book", value) for at, value in enumerate(values)]
    good, skipped, large, empty = intake(("trades", home, 1)).read(records)
    assert good == CLOSE
    assert [refusal(one)[0] for one in (skipped, large, empty)] == ["SKIPPED", "LIMIT", "DECODE"]


@pytest.mark.parametrize("appended_ms", [-1, 0, -(2**63), 2**63 - 1])
def test_the_time_of_a_refusal_fits_its_dead_letter_whatever_the_record_says(appended_ms: int) -> None:
    (read,) = intake().read([ReadRecord("trades", 0, 7, b"k", b"", appended_ms)])
    assert isinstance(read, Rejected)
    assert abs(read.ts_event - appended_ms * 1_000) < 1e6 or abs(read.ts_event) > 9.2e18
    letter = DeadLetter(Source("trades", 0, 7), read.error_class, read.error, read.ts_event)
    assert decode(encode_dead_letter(letter, encode_cut({}))) == letter
