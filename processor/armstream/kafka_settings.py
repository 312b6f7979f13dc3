"""The kafka section of the settings. Law: what the guarantee rests on is nobody's to set, and no secret is shown.

A setting of `client` is a secret where its name says so or where it came from a file; so are the user, the password
and the arguments in an address, and the lines of a secret that has several.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from armstream.logs import MASK, masked
from armstream.section import Conflict, Section

LEGAL = r"^[a-zA-Z0-9._-]*$"

_BROKER_CLEAN_UP_SECONDS = 10.0  # transaction.abort.timed.out.transaction.cleanup.interval.ms
_SECRET = re.compile(
    r"pas+w|pass|pwd|secret|private|credential|token|assertion|[._]pem$|oauthbearer\.config|jaas|kinit\.cmd|user\.info|_key$",
    re.IGNORECASE,
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/?#\s]+(?=@)|(?<=[?&;])[^\s]+")
_LEAST_LINE_CHARACTERS = 8

_GUARANTEE = "exactly once rests on it"
_OWNED: Mapping[str, str] = {
    "bootstrap.servers": "set kafka.bootstrap_servers",
    "metadata.broker.list": "set kafka.bootstrap_servers",
    "group.id": "set kafka.group_id",
    "session.timeout.ms": "set kafka.session_timeout_ms",
    "heartbeat.interval.ms": "it follows from kafka.session_timeout_ms",
    "max.poll.interval.ms": "set kafka.max_poll_interval_ms",
    "transaction.timeout.ms": "set kafka.transaction_timeout_ms",
    "message.max.bytes": "it follows from limits.record_bytes",
    "group.instance.id": "it is the setting instance",
    "transactional.id": "it follows from the setting instance",
    "group.protocol": "trades and commands of one partition number must land together: classic, with range",
    "group.remote.assignor": "trades and commands of one partition number must land together: classic, with range",
    "partition.assignment.strategy": "trades and commands of one partition number must land together: range",
    "partitioner": "every client of a bandit must agree on its partition: murmur2_random",
    "auto.offset.reset": "lost input is never skipped in silence: error",
    "allow.auto.create.topics": "topics are made by `armstream topics create`",
    "enable.auto.commit": f"{_GUARANTEE}: offsets are committed in the transaction",
    "enable.auto.offset.store": f"{_GUARANTEE}: offsets are committed in the transaction",
    "enable.partition.eof": f"{_GUARANTEE}: a restore ends at the end of the partition",
    "isolation.level": f"{_GUARANTEE}: read_committed",
    "enable.idempotence": f"{_GUARANTEE}: true",
    "acks": f"{_GUARANTEE}: all",
    "request.required.acks": f"{_GUARANTEE}: all",
    "retries": f"{_GUARANTEE}: librdkafka retries until the transaction ends",
    "message.send.max.retries": f"{_GUARANTEE}: librdkafka retries until the transaction ends",
    "message.timeout.ms": f"{_GUARANTEE}: it follows from kafka.transaction_timeout_ms",
    "delivery.timeout.ms": f"{_GUARANTEE}: it follows from kafka.transaction_timeout_ms",
    "max.in.flight": f"{_GUARANTEE}: order within a partition",
    "max.in.flight.requests.per.connection": f"{_GUARANTEE}: order within a partition",
}
_NO_TEXT = re.compile(r".*_cb|on_.*|logger|default\.topic\.config")  # the Python client wants an object there

ClientConfiguration = dict[str, str | int | float | bool]


class KafkaSettings(Section):
    """Where Kafka is and how long its clients wait. `client` goes to librdkafka as it is."""

    bootstrap_servers: Annotated[str, Field(min_length=1)] = "localhost:9092"
    group_id: Annotated[str, Field(pattern=LEGAL, min_length=1, max_length=200)] = "armstream"
    client: Annotated[Mapping[str, str], Field(repr=False)] = {}
    client_files: Mapping[str, str] = {}
    session_timeout_ms: Annotated[int, Field(ge=6_000, le=1_800_000)] = 10_000
    max_poll_interval_ms: Annotated[int, Field(ge=10_000, le=86_400_000)] = 300_000
    transaction_timeout_ms: Annotated[int, Field(ge=60_000, le=900_000)] = 60_000

    def conflicts(self) -> Iterator[Conflict]:
        if "@" in self.bootstrap_servers:
            yield ("bootstrap_servers",), "must be host:port, without a user: set sasl.username in kafka.client"
        for name in self.client:
            if name in _OWNED:
                yield ("client", name), f"is not yours to set: {_OWNED[name]}"
            elif _NO_TEXT.fullmatch(name):
                yield ("client", name), "is not yours to set: it is no text"
        if self.max_poll_interval_ms < self.session_timeout_ms:
            yield ("max_poll_interval_ms",), f"must be at least session_timeout_ms, {self.session_timeout_ms}"

    @property
    def longest_transaction_seconds(self) -> float:
        """How long a transaction of ours may stay open whose process was killed: the brokers look now and then."""
        return self.transaction_timeout_ms / 1_000 + _BROKER_CLEAN_UP_SECONDS

    def connection(self) -> ClientConfiguration:
        """What every Kafka client starts from, secrets included: never log it."""
        return {"bootstrap.servers": self.bootstrap_servers, **self.client}

    def secrets(self) -> tuple[str, ...]:
        """The values that no log and no screen may show."""
        found: list[str] = []
        for name, value in self.client.items():
            if self._is_secret(name):
                found += [value, *filter(_is_telling, map(str.strip, value.splitlines()))]
            elif "://" in value:
                found += _IN_ADDRESS.findall(value)
        return tuple(dict.fromkeys(filter(None, found)))

    def masked(self, text: str) -> str:
        """The text without secrets, and without what librdkafka quotes of `client` when it refuses a value."""
        for value in self.client.values():
            text = text.replace(f'"{value}"', f'"{MASK}"') if value else text
        return masked(text, self.secrets())

    def masked_client(self) -> dict[str, str]:
        """`client` without what came from files, and with its secrets masked."""
        own = {name: value for name, value in self.client.items() if name not in self.client_files}
        return {name: MASK if self._is_secret(name) else _masked_address(value) for name, value in own.items()}

    def _is_secret(self, name: str) -> bool:
        return name in self.client_files or _SECRET.search(name) is not None


def _masked_address(value: str) -> str:
    return _IN_ADDRESS.sub(MASK, value) if "://" in value else value


def _is_telling(line: str) -> bool:
    """Whether a line of a secret is one itself, and not the frame around it."""
    return len(line) >= _LEAST_LINE_CHARACTERS and not line.startswith("-----")
