"""Records that no sane producer sends, drawn by a seed: whatever the protocol lets through, and legal ones beside them.

A record is drawn in layers: an event or bytes, what is odd about them, and an envelope (key, headers, timestamp, topic
and partition) that is mostly right, so that the odd value comes through to what is behind the envelope.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, get_args

import msgspec

from armstream.codec import encode
from armstream.events import Action, Close, Command, ExecType, Fill, Side, Signal
from armstream.keys import partition_of
from armstream.settings import Settings
from tests.integration.load import as_they_happen, history
from tests.poison.raw import RawRecord

NUMBERS = (
    *(0.0, -0.0, 1.0, -1.0, 0.1, 1e-9, 1e300, -1e300, 1.7e308, 5e-324, 1e-200, 2.0**53),
    *(float("nan"), float("inf"), float("-inf")),
)
TEXTS = (
    *(
        "",
        " ",
        "a",
        "\0",
        "a\0b",
        "\n",
        "\x1b[31m",
        "'\"`",
        "\ufeff",
        "\u202e",
        "é" * 100,
        "é" * 101,
        "\U0001f600" * 50,
    ),
    *("x" * 200, "x" * 201, "\U0001f600" * 100, "y" * 5_000, "\x01" * 300, "armstream:x", "None", "{}", "a:b"),
)
BANDITS = ("book-0", "book-1", "book-2", "é\U0001f600", "b" * 200, "a b\n", "'\"", "\x1b[31m", "-")
HEADER_NAMES = (b"", b"a", b"\xff\xfe", b"\xed\xa0\x80", b"a\0b", "é".encode(), b"n" * 3_000, "€".encode() * 2_000)
NEVER_MS = (0, -1, 1, -2, 2**62, 10**15, -(10**12))


@dataclass(frozen=True, slots=True)
class Sent:
    """A record and where it goes."""

    topic: str
    partition: int
    record: RawRecord


class Source:
    """Draws records for a job of these settings."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self._draw = Random(seed)
        self._names = settings.topics.names
        self._partitions = settings.topics.partitions
        self._most_bytes = settings.limits.record_bytes
        self._arms = settings.online_learning.arms
        self._experts = tuple(settings.online_learning.experts)
        self._now_micros = int(time.time() * 1e6)

    def records(self, count: int) -> list[Sent]:
        """In the order in which they are to be sent."""
        draw = self._draw
        self._known = as_they_happen(
            draw, history(draw.randrange(10**9), count, bandits=3, arms=self._arms), self._arms
        )
        sent: list[Sent] = []
        for event in self._known:
            if draw.random() < 0.004:
                sent += self._pile()
            sent.append(self._one(event))
        return sent[:count]

    # One record.

    def _one(self, event: Fill | Close) -> Sent:
        draw = self._draw
        choice = draw.random()
        given: Fill | Close | Command = event if choice < 0.8 else self._command()
        if isinstance(given, Fill) and self._experts and given.arm is not None:
            given = msgspec.structs.replace(given, advice={name: draw.random() for name in self._experts})
        elif isinstance(given, Fill):
            given = msgspec.structs.replace(given, signals=self._signals(given))
        if draw.random() < 0.5:
            given = self._odd(given)
        value: bytes | None = encode(given)
        if draw.random() < 0.15:
            value = self._bytes(value or b"")
        topic = {Fill: self._names.trades[0], Close: self._names.trades[-1], Command: self._names.commands}[type(given)]
        if draw.random() < 0.02:
            topic = draw.choice(self._names.inputs)
        return self._sent(topic, given.bandit_id, value)

    def _sent(self, topic: str, bandit_id: str, value: bytes | None) -> Sent:
        draw, key = self._draw, bandit_id.encode()
        odd_key = self._key(key) if draw.random() < 0.05 else key
        partition = partition_of(key, self._partitions)
        if draw.random() < 0.03:
            partition = draw.randrange(self._partitions)
        timestamp_ms = draw.choice(NEVER_MS) if draw.random() < 0.1 else self._now_micros // 1_000
        return Sent(topic, partition, RawRecord(odd_key, value, self._headers(), timestamp_ms))

    def _key(self, key: bytes) -> bytes | None:
        return self._draw.choice((None, b"", b"\0", key + b"\0", b"\xff\xfe", key * 2, b"k" * 201, b"\xff" * 100_000))

    def _headers(self) -> list[tuple[bytes, bytes | None]]:
        draw = self._draw
        if draw.random() < 0.8:
            return []
        count = draw.choice((1, 1, 2, 5, 300) if draw.random() < 0.98 else (20_000, 100_000))
        names = HEADER_NAMES if count < 300 else HEADER_NAMES[:2]
        return [(draw.choice(names), draw.choice((None, b"", b"v", b"\xff\0"))) for _ in range(count)]

    # Odd values.

    def _command(self) -> Command:
        draw = self._draw
        arm = draw.choice((*self._arms, "new", "new:er", "\U0001f600" * 100, "\x01" * 100, f"a{draw.randrange(100)}"))
        expert = draw.choice((*self._experts, "e", "\U0001f600" * 100, f"e{draw.randrange(100)}"))
        value = draw.choice((None, 1.0, 0.0, 1e-300, *NUMBERS))
        command_id = f"k{draw.randrange(10**9)}{draw.choice(('', 'é' * 80))}"
        action = draw.choice([one for one in get_args(Action) if one != "REMOVE_ARM" or draw.random() < 0.3])
        return Command(
            command_id, draw.choice(BANDITS), action, self._now_micros, arm, value, expert, draw.choice(TEXTS)
        )

    def _odd(self, event: Fill | Close | Command) -> Fill | Close | Command:
        """One to three of its fields are something else of their type."""
        draw = self._draw
        names = draw.sample(event.__struct_fields__, draw.choice((1, 1, 1, 2, 3)))
        return msgspec.structs.replace(event, **{name: self._other(name, getattr(event, name)) for name in names})

    def _other(self, name: str, value: Any) -> Any:
        draw = self._draw
        if name == "bandit_id":
            return draw.choice((*BANDITS, *BANDITS, *TEXTS))
        if name == "ts_event":
            return draw.choice((value, 0, -1, value // 1_000, value + 250_000_000, 2**63 - 1, -(2**63), 10**18))
        if name in ("side", "exec_type", "action"):
            return draw.choice(get_args({"side": Side, "exec_type": ExecType, "action": Action}[name]))
        if name in ("final", "slippage_in_price"):
            return not value
        if name == "weights_version":
            return draw.choice((None, 0, 1, -1, 2**63 - 1, -(2**63)))
        if name == "probabilities":
            return (draw.choice(NUMBERS),) * draw.choice((0, 1, len(self._arms), 999, 1_000, 1_001, 20_000))
        if name in ("contributions", "advice"):
            return self._map()
        if name == "signals":
            return {each: draw.choice(get_args(Signal)) for each in self._map()}
        if name in ("event_id", "position_id", "command_id", "instrument_id", "currency", "reason"):
            return draw.choice((*TEXTS, "z" * draw.choice((10, 196, 50_000))))
        if name in ("exec_id", "exec_ref_id", "arm", "expert"):
            return draw.choice((None, *TEXTS, *self._arms, *self._experts))
        return draw.choice((*NUMBERS, 10 ** draw.uniform(-320, 308)))

    def _signals(self, fill: Fill) -> dict[str, Signal]:
        """What all fills of a position say: none, or a view of most arms."""
        draw = Random(fill.position_id)
        if draw.random() < 0.3:
            return {}
        signals: dict[str, Signal] = {arm: draw.choice(("BUY", "SELL")) for arm in self._arms}
        if fill.arm is not None:
            del signals[draw.choice(self._arms)]
            signals[draw.choice(self._arms)] = "FLAT"
            signals[fill.arm] = fill.side
        return signals

    def _map(self) -> dict[str, float]:
        draw = self._draw
        arms = dict.fromkeys(self._arms, 1.0 / len(self._arms))
        many = {f"{draw.choice(TEXTS[:8])}{at}": 1e-4 for at in range(draw.choice((50, 300, 3_000)))}
        return draw.choice(({}, arms, {"": 1.0}, {self._arms[0]: draw.choice(NUMBERS)}, many, {**arms, "x": 0.0}))

    def _bytes(self, value: bytes) -> bytes | None:
        """Other bytes than an encoder writes."""
        draw, at = self._draw, self._draw.randrange(len(value) + 1)
        noise = draw.randbytes(draw.choice((1, 3, 12)))
        others = (None, b"", noise, value[:at], value[:at] + noise + value[at:], value[:at] + noise + value[at + 1 :])
        if draw.random() < 0.97:
            return draw.choice(
                (*others, value + b"\0", b"\0\0\0\0\7" + value[10:], b"\xc3\x01" + bytes(8) + value[10:])
            )
        size_bytes = draw.choice((self._most_bytes, self._most_bytes - len(value), 1_040_000, 900_000))
        return value + b"\xff" * max(0, min(size_bytes, 1_040_000))

    # Many records of one kind.

    def _pile(self) -> Iterator[Sent]:
        """What is large together: closes that wait with long ids and headers, fills of many, or commands."""
        draw, bandit_id, position_id = self._draw, self._draw.choice(BANDITS), f"pile {self._draw.randrange(10**6)}"
        kind, count = draw.choice(("closes", "closes", "fills", "commands")), draw.choice((70, 150, 700))
        long = draw.choice(("", "é" * 97, "i" * 190))
        for at in range(count):
            micros = self._now_micros + at
            if kind == "closes":
                event: Fill | Close | Command = Close(f"{long}{at}", bandit_id, position_id, 1.0, 2.0, micros)
                headers = [(b"", b"")] * draw.choice((0, 0, 100))
            elif kind == "fills":
                shared: dict[str, Any] = {
                    "order_quantity": 1e6,
                    "arm": self._arms[0],
                    "exec_id": f"{long}{at}",
                    "propensity": 0.5,
                }
                event = Fill(f"{long}{at}", bandit_id, position_id, "I", "BUY", 1.0, 2.0, micros, **shared)
                headers = []
            else:
                arm = f"{long[:90]}{at}"
                event = Command(f"{long}{position_id}{at}"[-200:], bandit_id, "ADD_ARM", micros, arm=arm)
                headers = []
            topic = {"closes": self._names.trades[-1], "fills": self._names.trades[0]}.get(kind, self._names.commands)
            record = RawRecord(bandit_id.encode(), encode(event), headers, micros // 1_000)
            yield Sent(topic, partition_of(bandit_id.encode(), self._partitions), record)


def batches(sent: Sequence[Sent], most_records: int = 100, most_bytes: int = 400_000) -> Iterator[list[Sent]]:
    """Neighbours of one place together, as far as a broker takes them."""
    open_batches: dict[tuple[str, int], tuple[list[Sent], int]] = {}
    for one in sent:
        place = one.topic, one.partition
        batch, size_bytes = open_batches.get(place, ([], 0))
        own_bytes = size_of(one.record)
        if batch and (len(batch) >= most_records or size_bytes + own_bytes > most_bytes):
            yield batch
            batch, size_bytes = [], 0
        batch.append(one)
        open_batches[place] = batch, size_bytes + own_bytes
    yield from (batch for batch, _ in open_batches.values())


def size_of(record: RawRecord) -> int:
    headers = sum(len(name) + len(value or b"") + 4 for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + 30
