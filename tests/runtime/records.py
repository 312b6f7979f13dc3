"""A record as a consumer gives it, for tests that need no broker."""

from dataclasses import dataclass


@dataclass
class ReadRecord:
    topic_name: str
    number: int
    at: int
    key_bytes: bytes | None
    value_bytes: bytes | None
    appended_ms: int = 1_700_000_000_000
    header_list: tuple[tuple[str, str | bytes | None], ...] = ()

    def topic(self) -> str:
        return self.topic_name

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.key_bytes

    def value(self) -> bytes | None:
        return self.value_bytes

    def timestamp(self) -> tuple[int, int]:
        return 2, self.appended_ms

    def headers(self) -> list[tuple[str, str | bytes | None]] | None:
        return list(self.header_list) or None

    def set_headers(self, value: list[tuple[str, str | bytes | None]], /) -> None:
        self.header_list = tuple(value)
