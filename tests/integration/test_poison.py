"""Bad records in the middle of a batch: each is a dead letter with its bytes and the reason; the rest is applied."""

import time
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from armstream.codec import encode
from armstream.events import Close, Command, Fill
from armstream.keys import partition_of
from tests.integration.check import check
from tests.integration.load import Event, history
from tests.integration.processor import Job
from tests.poison.trial import attempt

BOOK = "book-0"  # of the history's, so that good records surround the bad ones
HEADERS = [("trace", b"\x00\xff1"), ("desk", b"equities"), ("desk", b"again")]
HOUR_MICROS = 3_600_000_000
PARTITIONS = 2
HOME = partition_of(BOOK.encode(), PARTITIONS)


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that no bandit may learn from; what its dead letter must say."""

    error_class: str
    says: str
    value: bytes | None
    key: bytes | None = BOOK.encode()
    partition: int = HOME
    is_command: bool = False
    quantity_left: float | None = None
    offset: int = -1

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        return HEADERS


BUSY: dict[str, Any] = {"position_id": "busy", "order_quantity": 200.0}


def fill(now_micros: int, **changed: Any) -> Fill:
    plain = Fill("f", BOOK, "poisoned", "AAPL", "BUY", 10.0, 150.0, now_micros, arm="ridge", propensity=0.25)
    return msgspec.structs.replace(plain, **changed)


def close(now_micros: int, **changed: Any) -> Close:
    return msgspec.structs.replace(Close("c", BOOK, "poisoned", 10.0, 150.5, now_micros), **changed)


def poisons(now_micros: int) -> list[Poison]:
    good = encode(fill(now_micros, position_id="misrouted"))
    two_hours_ago = now_micros - 2 * HOUR_MICROS
    other = encode(fill(now_micros, bandit_id="another book"))
    return [
        Poison("DECODE", "", b"not Avro at all"),
        Poison("DECODE", "", b""),
        Poison("DECODE", "", None),
        Poison("DECODE", "", good[:-1]),
        Poison("DECODE", "1 bytes after the Fill", good + b"\0"),
        Poison("DECODE", "registry", b"\0\0\0\0\7" + good[10:]),
        Poison("DECODE", "fingerprint", b"\xc3\x01" + bytes(8) + good[10:]),
        Poison("VALIDATION", "price", encode(fill(now_micros, price=float("nan")))),
        Poison("VALIDATION", "quantity", encode(fill(now_micros, quantity=-1.0))),
        Poison("VALIDATION", "side", encode(fill(now_micros, side="UNKNOWN"))),
        Poison("VALIDATION", "CORRECT", encode(close(now_micros, exec_type="CORRECT"))),
        Poison("VALIDATION", "propensity", encode(fill(now_micros, propensity=0.0))),
        Poison("VALIDATION", "neither", encode(fill(now_micros, arm=None))),
        Poison("VALIDATION", "append time", encode(fill(now_micros + HOUR_MICROS))),
        Poison("VALIDATION", "action is UNKNOWN", encode(Command("x1", BOOK, "UNKNOWN", now_micros)), is_command=True),
        Poison("MISROUTED", "another book", other),
        Poison("MISROUTED", "murmur2_random", good, partition=1 - HOME),
        Poison("MISROUTED", "key", good, key=None),
        Poison("MISROUTED", "key", good, key=b"\xff\xfe"),
        Poison("UNKNOWN_ARM", "'nobody'", encode(fill(now_micros, arm="nobody"))),
        Poison("UNKNOWN_ARM", "'nobody'", encode(fill(now_micros, arm=None, contributions={"nobody": 1.0}))),
        Poison("UNKNOWN_EXPERT", "'oracle'", encode(fill(now_micros, advice={"oracle": 0.5}))),
        Poison("ORPHAN_CLOSE", "3600 s", encode(close(two_hours_ago, position_id="lonely")), quantity_left=10.0),
        Poison("LATE", "behind", encode(fill(now_micros - 25 * HOUR_MICROS, position_id="old"))),
        Poison("LATE", "behind", encode(close(now_micros - 25 * HOUR_MICROS, position_id="old"))),
        Poison("LIMIT", "6 events", encode(fill(now_micros, event_id="f2", **BUSY))),
        Poison("ID_REUSED", "quantity 10.0, not 100.0", encode(fill(now_micros, **BUSY))),
        Poison("VALIDATION", "milliseconds or seconds?", encode(fill(now_micros // 1_000))),
        Poison("VALIDATION", "needs notional", encode(fill(now_micros, price=0.0))),
        Poison("UNKNOWN_ARM", "characters", encode(fill(now_micros, arm="\x01" * 250_000))),
        Poison("MISROUTED", "characters", good, key=b"\xff" * 400_000),
        Poison("VALIDATION", "instrument_id must", encode(fill(now_micros, instrument_id="I" * 990_000))),
        Poison("VALIDATION", "exec_id must", encode(close(now_micros, exec_id="x" * 100_000))),
        Poison("VALIDATION", "at most 1000 entries", encode(fill(now_micros, probabilities=(0.0,) * 100_000))),
        Poison("VALIDATION", "percent?", encode(fill(now_micros, arm=None, contributions={"ridge": 60.0}))),
    ]  # fmt: skip


def test_a_poison_record_of_each_kind_in_the_middle_of_a_batch_leaves_the_rest_applied(job: Job) -> None:
    job.set({"topics.partitions": str(PARTITIONS), "limits.events_per_position": "6"})
    job.create_topics()
    names = job.settings.topics.names
    trades = names.trades[0]
    now_micros = int(time.time() * 1e6)
    records = history(5, 600, bandits=3, arms=job.settings.online_learning.arms)
    busy: list[Event] = [
        fill(now_micros, **(BUSY | {"quantity": 100.0})),
        *(close(now_micros, position_id="busy", event_id=f"c{number}", quantity=5.0) for number in range(5)),
    ]
    sender = job.sender()
    sender.send(records[:300])
    sender.send(busy)
    sent: list[Poison] = []
    for poison in poisons(now_micros):
        topic = names.commands if poison.is_command else trades
        sender.produce(topic, poison.key, poison.value, partition=poison.partition, headers=poison.headers)
        [(_, _, offset)] = sender.flush()
        sent.append(replace(poison, offset=offset))
    sender.produce(trades, BOOK.encode(), encode(fill(now_micros, position_id="skipped")), headers=HEADERS)
    [(_, _, offset)] = sender.flush()
    skipped = (trades, HOME, offset)
    sent.append(Poison("SKIPPED", "operator", encode(fill(now_micros, position_id="skipped")), offset=offset))
    sender.send(records[300:])

    processor = job.start("a", "--skip", f"{trades}:{HOME}:{offset}").wait_until_ready()
    job.wait_until_applied(processor)
    metrics = processor.metrics()
    assert processor.stop() == 0, processor.text

    found = check(job, skip=frozenset([skipped]))
    [committed] = [
        line for line in metrics.splitlines() if line.startswith('armstream_transactions_total{outcome="com')
    ]
    assert float(committed.split()[-1]) < 20, "the records came one by one, not in batches"
    letters = {
        (letter.source.topic, letter.source.partition, letter.source.offset): (message, letter)
        for message, letter in zip(found.dead_letters, found.dead_letter_events, strict=True)
    }
    assert len(letters) == len(found.dead_letters) == len(sent)
    for poison in sent:
        topic = names.commands if poison.is_command else trades
        message, letter = letters[topic, poison.partition, poison.offset]
        assert (letter.error_class, poison.says in letter.error) == (poison.error_class, True), f"{poison}: {letter}"
        assert (letter.source.key, letter.source.value) == (poison.key, poison.value)
        assert [(header.name, header.value) for header in letter.source.headers] == HEADERS
        assert letter.cut[topic] == poison.offset + 1
        assert letter.quantity_left == poison.quantity_left
        assert (message.key, message.partition) == (poison.key, poison.partition)
    rewarded = {reward.position_id for reward in found.reward_events}
    assert rewarded.isdisjoint({"poisoned", "misrouted", "lonely", "old", "skipped"})
    assert "busy" in rewarded
    assert {record.position_id for record in records[300:] if record.bandit_id == BOOK} & rewarded, "nothing after it"


def test_records_that_no_sane_producer_sends_end_nothing(job: Job) -> None:
    """`python -m tests.poison` sends many more, in other layouts."""
    tally = attempt(job, seed=20, count=300)
    assert tally.sent > 300
    assert {"DECODE", "VALIDATION", "MISROUTED", "UNKNOWN_ARM"} <= tally.letters.keys()
    assert tally.rewards > 20
