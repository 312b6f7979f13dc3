"""The demo as a process of its own, on a real broker and without a processor: what it sends, and how it leaves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from armstream.codec import decode
from armstream.demo.desk import HORIZONS
from armstream.demo.families import FAMILIES
from armstream.demo.market import STOCKS
from armstream.events import Close, Fill
from armstream.runtime import topics
from armstream.settings import load

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "demo.yaml"

pytestmark = pytest.mark.kafka


@pytest.fixture(params=["trades", "[fills, closes]"], ids=["one topic", "fills and closes apart"])
def environment(request: pytest.FixtureRequest, bootstrap_servers: str, topic_prefix: str) -> dict[str, str]:
    """Of a demo whose topics are there."""
    own = {
        "ARMSTREAM__KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "ARMSTREAM__TOPICS__PREFIX": topic_prefix,
        "ARMSTREAM__TOPICS__TRADES": request.param,
        "ARMSTREAM__TOPICS__PARTITIONS": "3",
    }
    topics.create(load(CONFIG, own))
    return {name: value for name, value in os.environ.items() if not name.startswith("ARMSTREAM__")} | own


def start(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "armstream.cli", "demo", "--config", str(CONFIG), *arguments]
    return subprocess.Popen(
        command,
        env=dict(environment) | {"PYTHONPATH": str(ROOT / "processor")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def sent(environment: Mapping[str, str]) -> dict[str, list[tuple[str, Fill | Close]]]:
    """Topic -> (key, event) of all that its partitions hold."""
    settings = load(CONFIG, environment)
    consumer = Consumer(
        {**settings.kafka.connection(), "group.id": "test", "enable.partition.eof": True, "enable.auto.commit": False}
    )
    found: dict[str, list[tuple[str, Fill | Close]]] = {topic: [] for topic in settings.topics.names.trades}
    ends = [TopicPartition(topic, partition, OFFSET_BEGINNING) for topic in found for partition in range(3)]
    consumer.assign(ends)
    open_count, deadline = len(ends), time.monotonic() + 30
    while open_count:
        assert time.monotonic() < deadline
        record = consumer.poll(1)
        if record is None:
            continue
        if record.error() is not None:
            open_count -= 1
            continue
        event, key = decode(record.value()), record.key()
        assert isinstance(event, Fill | Close)
        found[record.topic() or ""].append(((key or b"").decode(), event))
    consumer.close()
    return found


def test_it_trades_every_bandit_closes_what_it_opened_and_ends_with_0(environment: dict[str, str]) -> None:
    process = start(environment, "--for", "2", "--rate", "400")
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    by_topic = sent(environment)
    records = [record for records in by_topic.values() for record in records]
    events = [event for _, event in records]
    assert all(key == event.bandit_id for key, event in records)
    assert {event.bandit_id for event in events} == {f"{stock}-{horizon}" for stock in STOCKS for horizon in HORIZONS}
    assert 300 < len(events) < 400 * 3 + 5 * 26  # ... and what is flattened at the end
    fills = [event for event in events if isinstance(event, Fill)]
    opened: dict[str, float] = {}
    for fill in fills:
        opened[fill.position_id] = opened.get(fill.position_id, 0.0) + fill.quantity
    assert {event.position_id: event.quantity for event in events if isinstance(event, Close)} == opened
    # there was no vector: every family was as likely as the others, and drawn
    assert {(fill.propensity, fill.weights_version) for fill in fills} == {(1 / len(FAMILIES), 0)}
    assert {fill.arm for fill in fills} == set(FAMILIES)
    assert {tuple(fill.signals) for fill in fills} == {tuple(FAMILIES)}
    if len(by_topic) == 2:
        assert [{type(event) for _, event in records} for records in by_topic.values()] == [{Fill}, {Close}]
    assert "fees 1 bps a side, slippage 2 bps a round trip" in text


@pytest.mark.parametrize("environment", ["trades"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_with_nothing_left_open(environment: dict[str, str], number: signal.Signals) -> None:
    process = start(environment)
    deadline = time.monotonic() + 30
    while not any(sent(environment).values()):
        assert time.monotonic() < deadline
    process.send_signal(number)
    text, _ = process.communicate(timeout=15)
    assert process.returncode == 0, text
    assert "nothing left open" in text
    (records,) = sent(environment).values()
    closed = {event.position_id for _, event in records if isinstance(event, Close)}
    assert {event.position_id for _, event in records if isinstance(event, Fill)} == closed


@pytest.mark.parametrize("environment", ["trades"], indirect=True)
def test_an_arm_that_no_family_has_is_refused_with_a_clear_line(environment: dict[str, str]) -> None:
    environment |= {"ARMSTREAM__ONLINE_LEARNING__FAMILIES": "[momentum, oracle]"}
    process = start(environment)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "the demo has no family oracle; it has momentum," in text
    assert "Traceback" not in text
