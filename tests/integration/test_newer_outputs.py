"""What a newer version wrote, and what anybody did, as an operator's commands meet it: a line, never a traceback."""

import threading

import pytest
from confluent_kafka import Producer

from armstream.codec import encode
from armstream.events import ArmState, BanditSnapshot, Command
from armstream.keys import partition_of
from armstream.operating.bandits import listed
from armstream.operating.command import send
from armstream.operating.settings_change import to_begin_anew
from armstream.runtime.failures import Stopped
from tests.integration.processor import Job
from tests.test_engine import vector_of

NEWER = b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08"
UNKNOWN = "fingerprint 0807060504030201 is that of no known schema"


def snapshot_of(bandit_id: str) -> bytes:
    arms = tuple(ArmState(f"arm_{index}", (0.0,), 1, 1.0) for index in range(3))
    return encode(BanditSnapshot(bandit_id, 1, 1, arms, "exp3ix", "implicit", "{}"))


class Writer:
    """Writes outputs, as a processor would."""

    def __init__(self, job: Job) -> None:
        self._producer = Producer({"bootstrap.servers": job.bootstrap_servers})
        self._partitions = job.settings.topics.partitions

    def write(self, topic: str, key: bytes, value: bytes) -> str:
        """TOPIC:PARTITION:OFFSET of the record."""
        places: list[str] = []
        number = partition_of(key, self._partitions)
        self._producer.produce(
            topic,
            value,
            key,
            number,
            on_delivery=lambda _, record: places.append(f"{topic}:{number}:{record.offset()}"),
        )
        assert self._producer.flush(30) == 0
        return places[0]


def test_arms_list_shows_what_it_can_read_and_says_what_it_cannot(job: Job) -> None:
    job.create_topics()
    names, writer = job.settings.topics.names, Writer(job)
    for name in ("book", "other", "rule"):
        writer.write(names.snapshots, name.encode(), snapshot_of(name))
    writer.write(names.weights, b"other", encode(vector_of("other")))
    writer.write(names.weights, b"\xff\xfe", b"garbage")
    writer.write(names.snapshots, b"\xff\xfe", b"garbage")
    place = writer.write(names.weights, b"book", NEWER + encode(vector_of("book"))[10:])
    lines: list[str] = []
    all_of_them = listed(job.settings, None, print)
    with pytest.raises(Stopped, match=r"^2 could not be read: upgrade armstream, \S+, where the processors ha"):
        lines.extend(iter(lambda: next(all_of_them), None))
    assert f"book  cannot be read: {place}: {UNKNOWN}" in lines
    assert any(line.startswith("other  LIVE  version 1") for line in lines)

    with pytest.raises(Stopped, match="no weights of 'rule' yet"):
        list(listed(job.settings, "rule", print))
    place = writer.write(names.dead_letters, b"rule", b"garbage")
    with pytest.raises(Stopped, match=f"no weights of 'rule' yet: its last dead letter cannot be read: {place}: "):
        list(listed(job.settings, "rule", print))


def test_a_snapshot_that_cannot_be_read_is_named_before_settings_change(job: Job) -> None:
    job.set({"bandits.on_settings_change": "reset"})
    job.create_topics()
    topic = job.settings.topics.names.snapshots
    place = Writer(job).write(topic, b"book", NEWER + snapshot_of("book")[10:])
    with pytest.raises(Stopped, match=f"^{place}: {UNKNOWN}: upgrade armstream"):
        to_begin_anew(job.settings, print)


def test_a_command_whose_answer_cannot_be_read_says_which_record_may_be_it(job: Job) -> None:
    job.create_topics()
    names, writer, done = job.settings.topics.names, Writer(job), threading.Event()

    def answer() -> None:
        while not done.wait(0.2):
            writer.write(names.rewards, b"another", b"garbage")
            writer.write(names.rewards, b"book", NEWER)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with pytest.raises(
            Stopped, match=f"k1: sent, and what may answer it cannot be read: {names.rewards}:.*{UNKNOWN}"
        ):
            send(job.settings, Command("k1", "book", "PAUSE", 7), 3.0, print)
    finally:
        done.set()
        thread.join(20)
