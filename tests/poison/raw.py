"""A producer of any record that a broker takes, by Kafka's own protocol: clients check what they send, others need not.

Record batches of format v2 in a ProduceRequest of version 7, to the leader of the partition, acknowledged by it. Header
names may be any bytes, timestamps any 64 bits. Over plain connections only.
"""

import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from confluent_kafka.admin import AdminClient

_PRODUCE, _VERSION, _ACKS_ALL, _TIMEOUT_MS = 0, 7, -1, 30_000
_CONNECT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as it goes into a batch; `timestamp_ms` is CreateTime's, any 64-bit number."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[bytes, bytes | None]] = ()
    timestamp_ms: int = 0


class RefusedByBroker(Exception):
    """The broker did not take a batch; `code` is its error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"error {code}: {message}")
        self.code = code


@dataclass(slots=True)
class RawProducer:
    """One connection for each leader. A context manager."""

    bootstrap_servers: str
    _connections: dict[int, socket.socket] = field(default_factory=dict)
    _sent: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def send(self, topic: str, partition: int, records: Sequence[RawRecord]) -> int:
        """The offset of the first, once the broker has them all. Raises RefusedByBroker, and then it has none."""
        connection = self._to_leader(topic, partition)
        batch = encode_batch(records)
        name = topic.encode()
        body = struct.pack(">hhii", -1, _ACKS_ALL, _TIMEOUT_MS, 1) + _short(name)
        body += struct.pack(">iii", 1, partition, len(batch)) + batch
        self._sent += 1
        head = struct.pack(">hhi", _PRODUCE, _VERSION, self._sent) + _short(b"poison")
        connection.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        (size,) = struct.unpack(">i", _read(connection, 4))
        answer = _read(connection, size)
        # correlation id, one topic by its name, one partition: its number, error and first offset
        at = 4 + 4 + 2 + len(name) + 4
        _, code, offset = struct.unpack_from(">ihq", answer, at)
        if code:
            raise RefusedByBroker(code, f"{topic}:{partition}, {len(batch)} bytes")
        return int(offset)

    def _to_leader(self, topic: str, partition: int) -> socket.socket:
        if partition not in self._connections:
            found = AdminClient({"bootstrap.servers": self.bootstrap_servers}).list_topics(topic, timeout=30)
            leader = found.brokers[found.topics[topic].partitions[partition].leader]
            self._connections[partition] = socket.create_connection((leader.host, leader.port), _CONNECT_SECONDS)
        return self._connections[partition]


def encode_batch(records: Sequence[RawRecord]) -> bytes:
    """One batch, not compressed, of no transaction."""
    first, largest = records[0].timestamp_ms, max(record.timestamp_ms for record in records)
    encoded = b"".join(_encode(record, at, record.timestamp_ms - first) for at, record in enumerate(records))
    checked = struct.pack(">hiqqqhii", 0, len(records) - 1, first, largest, -1, -1, -1, len(records)) + encoded
    return struct.pack(">qiibI", 0, len(checked) + 9, -1, 2, crc32c(checked)) + checked


def _encode(record: RawRecord, offset: int, later_ms: int) -> bytes:
    parts = [b"\0", _varint(later_ms), _varint(offset), _bytes(record.key), _bytes(record.value)]
    parts.append(_varint(len(record.headers)))
    for name, value in record.headers:
        parts += (_bytes(name), _bytes(value))
    encoded = b"".join(parts)
    return _varint(len(encoded)) + encoded


def _bytes(value: bytes | None) -> bytes:
    return _varint(-1) if value is None else _varint(len(value)) + value


def _varint(number: int) -> bytes:
    zigzag = (number << 1 ^ number >> 63) & 0xFFFF_FFFF_FFFF_FFFF
    encoded = bytearray()
    while zigzag > 127:
        encoded.append(zigzag & 127 | 128)
        zigzag >>= 7
    return bytes([*encoded, zigzag])


def _short(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _read(connection: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = connection.recv(size)
        if not part:
            raise ConnectionError("the broker closed the connection")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _table() -> Iterable[int]:
    for byte in range(256):
        remainder = byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F6_3B78 if remainder & 1 else 0)
        yield remainder


_CRC32C = tuple(_table())


def crc32c(data: bytes) -> int:
    """Castagnoli's, as batches are checked by."""
    crc, table = 0xFFFF_FFFF, _CRC32C
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFF_FFFF
