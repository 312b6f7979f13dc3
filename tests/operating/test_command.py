"""What the outputs of a partition say of one command; what is about something else says nothing."""

import pytest

from armstream.codec import DecodeError, encode
from armstream.events import Command, CommandApplied, DeadLetter, Source, TaskSettings
from armstream.operating.command import Answer, _answer
from tests.runtime.records import ReadRecord

COMMAND = Command("k1", "book", "PAUSE", 7)
APPLIED = CommandApplied("book", 9, "k1", "PAUSE", "APPLIED", 7)


def answer_of(event: CommandApplied | DeadLetter | TaskSettings) -> Answer | None:
    return _answer(COMMAND, ReadRecord("outputs", 0, 0, b"book", encode(event)), "commands")


def test_a_command_that_was_obeyed_or_refused_is_answered_with_its_version() -> None:
    assert answer_of(APPLIED) == Answer(True, "k1: PAUSE of 'book' APPLIED, version 9")
    refused = CommandApplied("book", 9, "k1", "PAUSE", "REFUSED", 7, "it is paused")
    assert answer_of(refused) == Answer(False, "k1: PAUSE of 'book' REFUSED, version 9: it is paused")


def test_a_command_that_became_a_dead_letter_is_answered_with_the_reason() -> None:
    source = Source("commands", 0, 3, b"book", encode(COMMAND))
    letter = DeadLetter(source, "UNKNOWN_BANDIT", "there is no bandit 'book'", 7)
    assert answer_of(letter) == Answer(False, "k1: refused, UNKNOWN_BANDIT: there is no bandit 'book'")


@pytest.mark.parametrize(
    "event",
    [
        CommandApplied("other", 9, "k1", "PAUSE", "APPLIED", 7),
        CommandApplied("book", 9, "k2", "PAUSE", "APPLIED", 7),
        DeadLetter(Source("trades", 0, 3, b"book", encode(COMMAND)), "DECODE", "x", 7),
        TaskSettings(0, "{}", {"trades": 3}),
    ],
    ids=["another bandit", "another command", "another topic", "the task's settings"],
)
def test_what_is_about_something_else_is_no_answer(event: CommandApplied | DeadLetter | TaskSettings) -> None:
    assert answer_of(event) is None


def test_what_cannot_be_read_is_left_to_the_caller_to_name() -> None:
    newer = b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08" + encode(APPLIED)[10:]
    for value in (newer, b"garbage", None):
        with pytest.raises(DecodeError):
            _answer(COMMAND, ReadRecord("outputs", 0, 0, b"book", value), "commands")
