"""A record becomes an event, or the reason why not.

What needs the envelope (key, partition, append time) is judged here; what needs state is judged by the stages. The
order of the records is kept: element i of what comes out is record i.
"""

from collections.abc import Sequence
from typing import Protocol

from armstream.codec import DecodeError, decode_inputs
from armstream.events import Header, Input, Rejected, Source
from armstream.keys import partition_of

_ROUTES_KEPT = 100_000
_BANDIT_ID_MAX_BYTES = 200
_HEADER_BYTES = 8  # at most, around the name and the value of one
_LEFT_OUT = "armstream.left_out_bytes"


class Record(Protocol):
    """A confluent_kafka.Message that is no error: what it says of itself is never None."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def timestamp(self) -> tuple[int, int]: ...
    def headers(self) -> list[tuple[str, str | bytes | None]] | None: ...


class Intake:
    """Turns one task's records into what its pipeline applies.

    `max_record_bytes` bounds a record after decompression, which the topic's own limit does not. `skip` names records
    (topic, partition, offset) that an operator sends to dead letters unread.
    """

    def __init__(
        self,
        partition_count: int,
        max_record_bytes: int,
        max_future_micros: int,
        skip: frozenset[tuple[str, int, int]],
    ) -> None:
        self._partition_count = partition_count
        self._max_record_bytes = max_record_bytes
        self._max_future_micros = max_future_micros
        self._skip = skip
        self._routes: dict[bytes | None, tuple[str, int]] = {}

    def read(self, records: Sequence[Record]) -> list[Input]:
        """One event or Rejected for each record, in order."""
        inputs: list[Input] = []
        routes, skip = self._routes, self._skip
        max_record_bytes, max_future_micros = self._max_record_bytes, self._max_future_micros
        for record, event in zip(records, decode_inputs([record.value() for record in records]), strict=True):
            appended_micros = record.timestamp()[1] * 1_000
            if skip and (record.topic(), record.partition(), record.offset()) in skip:
                inputs.append(Rejected("SKIPPED", "skipped by the operator", appended_micros))
                continue
            value = record.value()
            if value is not None and len(value) > max_record_bytes:
                reason = f"the record's value has {len(value)} bytes, limits.record_bytes allows {max_record_bytes}"
                inputs.append(Rejected("LIMIT", reason, appended_micros))
                continue
            if isinstance(event, DecodeError):
                inputs.append(Rejected("DECODE", str(event), appended_micros))
                continue
            key = record.key()
            route = routes.get(key) or self._route(key)
            if route[0] != event.bandit_id or route[1] != record.partition():
                inputs.append(self._misrouted(key, event.bandit_id, record.partition(), appended_micros))
            elif event.ts_event > appended_micros + max_future_micros:
                ahead_seconds = (event.ts_event - appended_micros) / 1e6
                reason = f"ts_event is {ahead_seconds:.1f} s after the record's append time"
                inputs.append(Rejected("VALIDATION", reason, appended_micros))
            else:
                inputs.append(event)
        return inputs

    def source_of(self, record: Record) -> Source:
        """The record whole, as a dead letter carries it; what is above the limit stays where it is, and is named."""
        key, value = record.key(), record.value()
        headers = tuple(
            Header(name, content.encode() if isinstance(content, str) else content)
            for name, content in record.headers() or ()
        )
        size_bytes = len(key or b"") + len(value or b"") + sum(len(one.name) + len(one.value or b"") for one in headers)
        published_bytes = size_bytes + len(key or b"") + _HEADER_BYTES * len(headers)  # its key is the letter's too
        if published_bytes > self._max_record_bytes:
            key, value, headers = None, None, (Header(_LEFT_OUT, str(size_bytes).encode()),)
        return Source(record.topic(), record.partition(), record.offset(), key, value, headers)

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

    def _misrouted(self, key: bytes | None, bandit_id: str, partition: int, appended_micros: int) -> Rejected:
        if self._route(key)[0] != bandit_id or not bandit_id:
            reason = f"the record's key is {key!r}; it must be its bandit_id {bandit_id!r}: 1 to 200 bytes, no NUL"
        else:
            right = self._route(key)[1]
            reason = f"bandit {bandit_id!r} belongs on partition {right}, not {partition}: partitioner=murmur2_random"
        return Rejected("MISROUTED", reason, appended_micros)
