"""How many bytes state takes in its record, at most. Law: whatever legal inputs leave behind fits one record.

The smallest topic that `topics create` makes takes records of 1,114,124 bytes. By hand, with ids and texts of 200 bytes
and names of 100 characters, which are 400 bytes at most:

- A position: its own ids and numbers, 700 bytes; 64 events, of which a fill is the larger with two ids, six numbers and
  their marks, 470 bytes; its decision, and the terms of the arms that are named in it, in as many bytes; the closes
  that wait. Together 700 + 64 * 470 + 2 * 131,072 + 262,144 = 555,068.
- A page of it: 64 such events and 420 bytes.
- A bandit: see `most_bandit_bytes`, which the settings are judged by.
- What is published of a decision or a bandit (a reward, a vector) holds the same names and fewer numbers.
- A dead letter of an input is bounded by its intake, one of a position by the position, one of a close that waited by
  what may wait.
"""

from collections.abc import Iterable

from armstream.events import Fill, WaitingClose
from armstream.learning import LearningSettings
from armstream.stages.facts import COMMANDS_REMEMBERED
from armstream.stages.validation import Refused

MAX_WAITING_BYTES = 262_144  # of the closes that wait in one position
MAX_DECISION_BYTES = 131_072

_NAME_BYTES = 402  # 100 characters of 4 bytes, and their length
_ID_BYTES = 202
_NUMBER_BYTES = 10  # at most, and a double has 8
_NAMES_SURELY_FIT = 256  # of a decision: 256 * (402 + 8), 1,000 probabilities and 1,000 bytes for the rest
_CLOSE_NUMBERS_BYTES = 6 * 8 + 4 * _NUMBER_BYTES
_HEADER_BYTES = 12  # around the name and the value of one


def check_decision(fill: Fill) -> None:
    """Raises Refused for a decision that its position's record might not take. A signal counts as a number, which the
    term of its arm is."""
    named = len(fill.contributions) + len(fill.advice) + len(fill.signals)
    if named <= _NAMES_SURELY_FIT:
        return
    texts = [fill.instrument_id, fill.currency, fill.arm or "", *fill.contributions, *fill.advice, *fill.signals]
    numbers = len(fill.probabilities) + named + 8
    size_bytes = sum(len(text.encode()) + 2 for text in texts) + 8 * numbers
    if size_bytes > MAX_DECISION_BYTES:
        raise Refused("LIMIT", f"the decision has {size_bytes} bytes, and {MAX_DECISION_BYTES} are allowed")


def waiting_bytes(closes: Iterable[WaitingClose]) -> int:
    """The closes that wait, as their position's record holds them, or a little more."""
    size_bytes = 0
    for close in closes:
        source = close.source
        size_bytes += _CLOSE_NUMBERS_BYTES + len(close.event_id.encode()) + len(source.topic)
        size_bytes += len(source.key or b"") + len(source.value or b"")
        for header in source.headers:
            size_bytes += _HEADER_BYTES + len(header.name.encode()) + len(header.value or b"")
    return size_bytes


def most_bandit_bytes(settings: LearningSettings, max_arms: int, max_experts: int) -> int:
    """A bandit's record, with as many arms and experts as commands may give it.

    Its settings stand twice in the record of their change. An expert of the processor's own keeps, or says, a number an
    arm; what commands add is an engine's. An arm of the settings may have a longer name than a command can give.
    """
    own_experts = sum(kind != "engine" for _, kind in settings.experts)
    experts = max_experts if settings.experts else 0
    longer_names = sum(max(0, len(name.encode()) + 2 - _NAME_BYTES) for name in settings.arms)
    return (
        4_096
        + longer_names
        + 2 * len(settings.determining_json())
        + COMMANDS_REMEMBERED * _ID_BYTES
        + max_arms * (_NAME_BYTES + 5 * _NUMBER_BYTES)
        + experts * (_NAME_BYTES + 2 * _NUMBER_BYTES)
        + own_experts * 8 * (max_arms + 2)
    )
