"""A record becomes an event, or the reason why not.

What needs the envelope (key, partition, append time) is judged here; what needs state is judged by the stages. The
order of the records is kept: element i of what comes out is record i. A record that is skipped, or above the limit, is
looked at from outside alone.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from operator import methodcaller
from typing import Protocol

from armstream.codec import DecodeError, decode_inputs
from armstream.events import ErrorClass, Header, Input, Rejected, Source
from armstream.keys import partition_of

_ROUTES_KEPT = 100_000
_BANDIT_ID_MAX_BYTES = 200
_HEADER_BYTES = 8  # at most, around the name and the value of one
_LEFT_OUT = "armstream.left_out_bytes"
_UNREADABLE = Header("armstream.headers_left_out", b"they cannot be read: is a name no UTF-8?")
_ask_for_headers = methodcaller("headers")
_SKIPPED_MAX_BYTES = 65_536  # so that a topic which takes less than it should takes it
_MOST_MILLISECONDS = 2**63 // 1_000 - 1  # what microseconds hold

Headers = list[tuple[str, str | bytes | None]]
Place = tuple[str, int, int]  # topic, partition, offset


class Record(Protocol):
    """A confluent_kafka.Message that is no error: what it says of itself is never None."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def timestamp(self) -> tuple[int, int]: ...
    def headers(self) -> Headers | None: ...
    def set_headers(self, value: Headers, /) -> None: ...


def headers_of(record: Record) -> tuple[Header, ...]:
    """The record's headers; where they cannot be read, one that says why.

    Where a name is no UTF-8 the client sets an error and gives a list with holes in it all the same. A plain call may
    not notice, and Python then ends with a segmentation fault; methodcaller's does notice. The list is replaced, since
    the client gives it without the error when it is asked once more.
    """
    try:
        given = _ask_for_headers(record) or ()
    except Exception:  # which one, Python's version decides
        given = mark_unreadable(record)
    return tuple(Header(name, content.encode() if isinstance(content, str) else content) for name, content in given)


def mark_unreadable(record: Record) -> Headers:
    """The headers that it has from now on: they say that its own cannot be read."""
    given: Headers = [(_UNREADABLE.name, _UNREADABLE.value)]
    record.set_headers(given)
    return given


class Intake:
    """Turns one task's records into what its pipeline applies.

    `max_record_bytes` bounds a record after decompression, which the topic's own limit does not. `skip` names records
    that an operator sends to dead letters unread.
    """

    def __init__(
        self, partition_count: int, max_record_bytes: int, max_future_micros: int, skip: AbstractSet[Place]
    ) -> None:
        self._partition_count = partition_count
        self._max_record_bytes = max_record_bytes
        self._max_future_micros = max_future_micros
        self._skip = skip
        self._routes: dict[bytes | None, tuple[str, int]] = {}

    @property
    def skips(self) -> bool:
        """Whether there are records that go to dead letters unread."""
        return bool(self._skip)

    def read(self, records: Sequence[Record]) -> list[Input]:
        """One event or Rejected for each record, in order."""
        inputs: list[Input] = []
        routes, max_future_micros = self._routes, self._max_future_micros
        for record, event in zip(records, decode_inputs(self._values(records)), strict=True):
            if isinstance(event, DecodeError):
                inputs.append(_rejected(record, *self._why_unread(record, event)))
                continue
            key = record.key()
            route = routes.get(key) or self._route(key)
            if route[0] != event.bandit_id or route[1] != record.partition():
                inputs.append(_rejected(record, "MISROUTED", self._why_misrouted(record, event.bandit_id)))
            elif event.ts_event > (latest := record.timestamp()[1] * 1_000 + max_future_micros):
                ahead_seconds = (event.ts_event - latest + max_future_micros) / 1e6
                reason = f"ts_event is {ahead_seconds:.1f} s after the record's append time"
                inputs.append(_rejected(record, "VALIDATION", reason))
            else:
                inputs.append(event)
        return inputs

    def source_of(self, record: Record) -> Source:
        """The record whole, as a dead letter carries it; what is too large stays where it is, and is named."""
        key, value, headers = record.key(), record.value(), headers_of(record)
        key_bytes = len(key or b"")
        size_bytes = key_bytes + len(value or b"")
        for header in headers:
            size_bytes += len(header.name.encode()) + len(header.value or b"")
        published_bytes = size_bytes + key_bytes + _HEADER_BYTES * len(headers)  # its key is the letter's too
        is_skipped = self._is_skipped(record)
        if published_bytes > (
            min(_SKIPPED_MAX_BYTES, self._max_record_bytes) if is_skipped else self._max_record_bytes
        ):
            key, value, headers = None, None, (Header(_LEFT_OUT, str(size_bytes).encode()),)
        return Source(record.topic(), record.partition(), record.offset(), key, value, headers)

    def _values(self, records: Sequence[Record]) -> list[bytes | None]:
        """Of each record, None for what is left unread."""
        values = [record.value() for record in records]
        if self._skip or max(map(len, filter(None, values)), default=0) > self._max_record_bytes:
            return [
                None if self._is_skipped(record) or len(value or b"") > self._max_record_bytes else value
                for record, value in zip(records, values, strict=True)
            ]
        return values

    def _is_skipped(self, record: Record) -> bool:
        return (record.topic(), record.partition(), record.offset()) in self._skip

    def _why_unread(self, record: Record, error: DecodeError) -> tuple[ErrorClass, str]:
        if self._is_skipped(record):
            return "SKIPPED", "skipped by the operator"
        size_bytes = len(record.value() or b"")
        if size_bytes > self._max_record_bytes:
            return (
                "LIMIT",
                f"the record's value has {size_bytes} bytes, limits.record_bytes allows {self._max_record_bytes}",
            )
        return "DECODE", str(error)

    def _route(self, key: bytes | None) -> tuple[str, int]:
        """(bandit_id, partition) of a key; ("", -1), which no event matches, for what is no bandit's key."""
        try:
            bandit_id = (key or b"").decode()
        except UnicodeDecodeError:
            bandit_id = ""
        if key is None or not 1 <= len(key) <= _BANDIT_ID_MAX_BYTES or "\0" in bandit_id or not bandit_id:
            return "", -1
        if len(self._routes) >= _ROUTES_KEPT:
            self._routes.clear()
        route = self._routes[key] = bandit_id, partition_of(key, self._partition_count)
        return route

    def _why_misrouted(self, record: Record, bandit_id: str) -> str:
        key = record.key()
        if self._route(key)[0] != bandit_id or not bandit_id:
            return f"the record's key is {key!r}; it must be its bandit_id {bandit_id!r}: 1 to 200 bytes, no NUL"
        right = self._route(key)[1]
        return (
            f"bandit {bandit_id!r} belongs on partition {right}, not {record.partition()}: partitioner=murmur2_random"
        )


def _rejected(record: Record, error_class: ErrorClass, error: str) -> Rejected:
    appended_ms = record.timestamp()[1]
    return Rejected(error_class, error, max(-_MOST_MILLISECONDS, min(appended_ms, _MOST_MILLISECONDS)) * 1_000)
