"""What stands committed in a partition, as a consumer tells it that is written out here."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

import armstream
from armstream.codec import encode
from armstream.events import BanditSnapshot, TaskSnapshot
from armstream.keys import TASK_KEY
from armstream.runtime.committed import FirstRecord, last_task_snapshots
from armstream.runtime.failures import Stopped
from armstream.runtime.snapshots import writer_of
from tests.runtime.records import ReadRecord


class Told(ReadRecord):
    """A record of `state`, or the end of a partition, or an error."""

    code: int | None = None

    def error(self) -> KafkaError | None:
        return None if self.code is None else KafkaError(self.code)


def record(number: int, at: int, snapshot: TaskSnapshot | None, key: bytes = TASK_KEY, **more: Any) -> Told:
    return Told("state", number, at, key, None if snapshot is None else encode(snapshot), **more)


def end(number: int, at: int, code: int = KafkaError._PARTITION_EOF) -> Told:
    told = Told("state", number, at, None, None)
    told.code = code
    return told


class Script:
    """A consumer that tells one thing a call; None is a call in which nothing came, and the last goes on."""

    def __init__(self, *told: Told | None) -> None:
        self.told = list(told)
        self.assigned: list[tuple[str, int]] = []

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self.assigned = [(one.topic, one.partition) for one in partitions]

    def unassign(self) -> None:
        self.assigned = []

    def poll(self, _: float) -> Told | None:
        return self.told.pop(0) if len(self.told) > 1 else self.told[0]

    def consume(self, _: int, seconds: float) -> list[Told]:
        told = self.poll(seconds)
        return [] if told is None else [told]


def snapshots(script: Script, ends: dict[int, int], patience_seconds: float = 60.0) -> dict[int, TaskSnapshot]:
    marks = {number: (0, end) for number, end in ends.items()}
    return last_task_snapshots(cast(Consumer, script), "state", marks, patience_seconds)


def at(task: int, offset: int) -> TaskSnapshot:
    return TaskSnapshot(task, {"trades": offset})


def test_the_last_of_each_partition_is_found_among_other_keys_up_to_the_marks_of_transactions() -> None:
    script = Script(
        record(0, 0, at(0, 5)), record(0, 1, at(0, 7)), record(1, 0, at(1, 3)), record(0, 2, at(0, 9), key=b"book"),
        end(0, 4), end(1, 2),
    )  # fmt: skip
    assert snapshots(script, {0: 4, 1: 2, 2: 0}) == {0: at(0, 7), 1: at(1, 3)}


def test_a_tombstone_ends_what_came_before_it() -> None:
    assert snapshots(Script(record(0, 0, at(0, 5)), record(0, 1, None)), {0: 2}) == {}


def test_what_an_open_transaction_may_still_commit_is_waited_for() -> None:
    script = Script(record(0, 0, at(0, 5)), end(0, 2), None, None, record(0, 2, at(0, 7)), end(0, 4))
    assert snapshots(script, {0: 4}) == {0: at(0, 7)}


def test_a_transaction_that_stays_open_is_named_by_its_place() -> None:
    with pytest.raises(Stopped, match=r"state:0: the end, 4, was not reached .* --topic state --partition 0` names it"):
        snapshots(Script(end(0, 2)), {0: 4}, patience_seconds=0.0)


def test_one_that_cannot_be_read_is_named_with_the_version_that_wrote_it() -> None:
    newer = record(0, 0, at(0, 5), header_list=(("armstream.version", b"9.9.9"),))
    newer.value_bytes = b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08"
    with pytest.raises(
        Stopped, match=rf"state:0:0: .*armstream 9\.9\.9 wrote.*this is {armstream.__version__}: nothing"
    ):
        snapshots(Script(newer), {0: 1})


def test_another_kind_under_the_tasks_own_key_is_named_by_its_place() -> None:
    strange = record(0, 0, at(0, 5))
    strange.value_bytes = encode(BanditSnapshot("book", 0, 0, (), "exp3ix", "implicit", ""))
    with pytest.raises(Stopped, match="state:0:0: the task's own key holds a BanditSnapshot"):
        snapshots(Script(strange), {0: 1})


def test_an_error_that_is_no_end_is_raised() -> None:
    refused = end(0, 0, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        snapshots(Script(refused), {0: 1})
    with pytest.raises(KafkaException):
        is_there(Script(refused), (0, 1))


def is_there(script: Script, marks: tuple[int, int]) -> bool:
    first = FirstRecord(cast(Consumer, script), "state", 3, marks)
    while (answer := first.is_there(0.0)) is None:
        pass
    return answer


@pytest.mark.parametrize(
    ("told", "marks", "answer"),
    [
        ([record(3, 2, at(3, 1))], (2, 4), True),
        ([None, end(3, 4)], (2, 4), False),  # an aborted transaction's records, and its mark
        ([end(3, 2), None, record(3, 2, at(3, 1))], (2, 4), True),  # a transaction that was open is committed
        ([end(3, 2), None, end(3, 4)], (2, 4), False),  # or aborted
        ([None], (4, 4), False),  # deleted
    ],
)
def test_a_record_is_there_where_one_was_committed(
    told: list[Told | None], marks: tuple[int, int], answer: bool
) -> None:
    assert is_there(Script(*told), marks) is answer


def test_what_is_empty_is_not_read() -> None:
    script = Script(None)
    FirstRecord(cast(Consumer, script), "state", 3, (4, 4))
    assert script.assigned == []


def test_how_far_it_is_known_can_be_told() -> None:
    first = FirstRecord(cast(Consumer, Script(cast(Message, end(3, 3)))), "state", 3, (2, 4))  # type: ignore[arg-type]
    assert first.is_there(0.0) is None
    assert (first.reached, first.end) == (3, 4)


def test_a_task_snapshot_whose_headers_cannot_be_read_says_no_writer() -> None:
    """As the client does where a name is no UTF-8; without the care of headers_of it may end the process."""

    class Unreadable(ReadRecord):
        def headers(self) -> list[tuple[str, str | bytes | None]] | None:
            raise SystemError("headers with an error set")

    assert writer_of(cast(Message, Unreadable("state", 0, 0, TASK_KEY, b""))) == ""
