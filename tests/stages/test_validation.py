"""What no state could take: each refusal's class and words, and that it leaves nothing behind."""

import math
from typing import Any

import pytest

from armstream.events import Command, Rejected
from tests.stages.events import START, close, fill, learning_rules, short_rules, source_of
from tests.stages.task import Task

BAD_FILLS: list[tuple[dict[str, Any], str, str]] = [
    ({"event_id": ""}, "VALIDATION", "event_id must be 1 to 200 bytes"),
    ({"event_id": "x" * 201}, "VALIDATION", "event_id must be 1 to 200 bytes of UTF-8, got 201"),
    ({"position_id": "é" * 101}, "VALIDATION", "position_id must be 1 to 200 bytes of UTF-8, got 202"),
    ({"bandit_id": "x" * 201}, "VALIDATION", "bandit_id must be"),
    ({"bandit_id": ""}, "VALIDATION", "bandit_id must be"),
    ({"bandit_id": "a\0b"}, "VALIDATION", "NUL"),
    ({"side": "UNKNOWN"}, "VALIDATION", "side"),
    ({"exec_type": "UNKNOWN"}, "VALIDATION", "exec_type is UNKNOWN"),
    ({"exec_type": "CORRECT"}, "VALIDATION", "CORRECT is not supported yet"),
    ({"exec_type": "CANCEL"}, "VALIDATION", "CANCEL is not supported yet"),
    *(
        ({name: value}, "VALIDATION", f"must be finite and above 0: {name} {value!r}")
        for name in ("quantity", "multiplier", "order_quantity")
        for value in (0.0, -1.0, math.inf, math.nan)
    ),
    *(({"fees": value}, "VALIDATION", f"must be finite: fees {value!r}") for value in (math.inf, -math.inf, math.nan)),
    *(({"propensity": value}, "VALIDATION", "propensity must be") for value in (0.0, -0.1, 1.0001, math.nan, 1e-250)),
    ({"arm": None}, "VALIDATION", "got neither"),
    ({"arm": "ridge", "contributions": {"mlp": 1.0}}, "VALIDATION", "got both"),
    ({"contributions": {"mlp": -0.1, "ridge": 1.0}}, "VALIDATION", "contribution of 'mlp'"),
    ({"contributions": {"mlp": math.nan}}, "VALIDATION", "contribution of 'mlp'"),
    ({"contributions": {"mlp": 1e7}}, "VALIDATION", "contribution of 'mlp'"),
    ({"contributions": {"mlp": 0.0}}, "VALIDATION", "contributions must be above 0"),
    ({"contributions": {"mlp": 40.0, "ridge": 60.0}}, "VALIDATION", "at most 1 in all, got 100.0: percent?"),
    ({"contributions": {"mlp": 0.5, "ridge": 0.5 + 1.1e-6}}, "VALIDATION", "at most 1 in all, got 1.0000011: percent?"),
    *(
        (
            {"price": value},
            "VALIDATION",
            f"a fill at a price of {value!r} needs notional, what basis points of one unit",
        )
        for value in (0.0, -0.0, -1.0)
    ),
    *(
        ({"price": value}, "VALIDATION", f"must be finite: price {value!r}")
        for value in (math.inf, -math.inf, math.nan)
    ),
    ({"price": math.nan, "notional": 1.0}, "VALIDATION", "must be finite: price nan"),
    *(
        ({"price": price, "notional": value}, "VALIDATION", f"must be finite and above 0: notional {value!r}")
        for price in (150.0, -1.0)
        for value in (0.0, -1.0, math.inf, math.nan)
    ),
    ({"arm": "nobody"}, "UNKNOWN_ARM", "unknown arm 'nobody'; the arms are 'ridge', 'mlp', 'boost'"),
    ({"contributions": {"mlp": 0.5, "nobody": 0.0}}, "UNKNOWN_ARM", "unknown arm 'nobody'"),
    ({"signals": {"ridge": "BUY", "mlp": "UNKNOWN"}}, "VALIDATION", "the signal of 'mlp' is UNKNOWN"),
    ({"signals": {"mlp": "BUY"}}, "VALIDATION", "the signal of the drawn arm 'ridge' is missing"),
    ({"signals": {"ridge": "SELL"}}, "VALIDATION", "the drawn arm 'ridge' is SELL, and the fill's side BUY"),
    ({"signals": {"ridge": "BUY"}, "side": "SELL"}, "VALIDATION", "'ridge' is BUY, and the fill's side SELL"),
    ({"signals": {"ridge": "FLAT"}}, "VALIDATION", "the drawn arm 'ridge' is FLAT, and the fill's side BUY"),
    (
        {"contributions": {"mlp": 0.5, "ridge": 0.5}, "signals": {"mlp": "FLAT", "ridge": "BUY"}},
        "VALIDATION",
        "'mlp' has a contribution of 0.5, and its signal is FLAT",
    ),
    (
        {"contributions": {"mlp": 0.5, "ridge": 0.5}, "signals": {"ridge": "BUY"}},
        "VALIDATION",
        "'mlp' has a contribution of 0.5, and signals say nothing of it",
    ),
    ({"signals": {"ridge": "BUY", "nobody": "SELL"}}, "UNKNOWN_ARM", "unknown arm 'nobody'"),
    ({"signals": {"ridge": "BUY", "nobody": "SELL"}, "weights_version": 1}, "UNKNOWN_ARM", "unknown arm 'nobody'"),
    ({"advice": {"expert_0": 0.5}}, "UNKNOWN_EXPERT", "'expert_0'"),
]

BAD_CLOSES: list[tuple[dict[str, Any], str]] = [
    ({"event_id": ""}, "event_id must be"),
    ({"position_id": "x" * 201}, "position_id must be"),
    ({"bandit_id": "\0"}, "NUL"),
    ({"exec_type": "UNKNOWN"}, "exec_type is UNKNOWN"),
    ({"exec_type": "CORRECT"}, "not supported yet"),
    *(({"quantity": value}, f"above 0: quantity {value!r}") for value in (0.0, -1.0, math.inf, math.nan)),
    *(
        ({name: value}, f"must be finite: {name}")
        for name in ("price", "fees", "slippage")
        for value in (math.inf, math.nan)
    ),
]

COMMANDS: list[tuple[dict[str, Any], str]] = [
    ({"action": "UNKNOWN"}, "action is UNKNOWN"),
    ({"action": "ADD_ARM"}, "ADD_ARM needs arm"),
    ({"action": "ADD_ARM", "arm": "x" * 101}, "at most 100 characters"),
    ({"action": "REMOVE_EXPERT", "expert": ""}, "REMOVE_EXPERT needs expert"),
    ({"action": "SET_BOUND"}, "SET_BOUND needs value"),
    *(
        ({"action": "SET_BOUND", "value": value}, "the bound must be from 1e-06 to 1e+06")
        for value in (0.0, 1e-300, 1e7)
    ),
    ({"action": "ADD_ARM", "arm": "new", "value": math.nan}, "the initial weight must be"),
    ({"action": "PAUSE", "command_id": ""}, "command_id must be"),
    ({"action": "PAUSE", "bandit_id": "a\0b"}, "NUL"),
]


@pytest.fixture
def task() -> Task:
    return Task(short_rules(), learning_rules())


def assert_a_dead_letter_and_no_trace(task: Task, event: Any, error_class: str, words: str) -> None:
    applied = task.apply(event)
    (letter,) = applied.dead_letters
    assert (letter.error_class, letter.source, letter.ts_event) == (error_class, source_of(0), START)
    assert words in letter.error
    assert list(applied.outcomes) == [2]
    assert task.published.bandits == task.published.positions == {}
    assert (task.state.bandit_count, task.state.position_count) == (0, 0)


@pytest.mark.parametrize(("fields", "error_class", "words"), BAD_FILLS)
def test_a_bad_fill_is_a_dead_letter(task: Task, fields: dict[str, Any], error_class: str, words: str) -> None:
    assert_a_dead_letter_and_no_trace(task, fill(**fields), error_class, words)


@pytest.mark.parametrize(("fields", "words"), BAD_CLOSES)
def test_a_bad_close_is_a_dead_letter(task: Task, fields: dict[str, Any], words: str) -> None:
    assert_a_dead_letter_and_no_trace(task, close(**fields), "VALIDATION", words)


@pytest.mark.parametrize(("fields", "words"), COMMANDS)
def test_a_bad_command_is_a_dead_letter(task: Task, fields: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"command_id": "k1", "bandit_id": "book", "ts_event": START} | fields
    assert_a_dead_letter_and_no_trace(task, Command(**given), "VALIDATION", words)


def test_a_rejected_input_is_a_dead_letter_as_it_is(task: Task) -> None:
    assert_a_dead_letter_and_no_trace(
        task, Rejected("MISROUTED", "on partition 3", START), "MISROUTED", "on partition 3"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"event_id": "x" * 200, "position_id": "é" * 100, "bandit_id": "y" * 200},
        {"event_id": "a\0b", "position_id": "\0"},
        {"propensity": 1.0},
        {"propensity": 1e-200},
        {"fees": -3.0},
        {"order_quantity": 100.0},
        {"contributions": {"mlp": 0.4, "ridge": 0.6}},
        {"contributions": {"mlp": 0.5, "ridge": 0.5 + 0.9e-6}},
        {"contributions": {"mlp": 0.01, "ridge": 0.0}},
        {"price": -1.0, "notional": 1e-300, "multiplier": 5e-324},
        {"price": 0.0, "notional": 1.0},
        {"order_quantity": 7.0},
        {"signals": {"ridge": "BUY", "mlp": "SELL", "boost": "FLAT"}},
        {"contributions": {"mlp": 1.0, "ridge": 0.0}, "signals": {"mlp": "SELL", "ridge": "FLAT"}},
    ],
)
def test_what_is_just_legal_is_taken(task: Task, fields: dict[str, Any]) -> None:
    bandit_id, position_id = fields.get("bandit_id", "book"), fields.get("position_id", "p1")
    applied = task.apply(fill(**fields), close(bandit_id=bandit_id, position_id=position_id))
    assert list(applied.outcomes) == [0, 0]
    assert applied.rewards[0].applied


def test_signals_of_an_arm_that_is_there_no_more_are_taken_from_an_older_vector_alone(task: Task) -> None:
    task.apply(fill(), Command("k", "book", "REMOVE_ARM", START, arm="mlp"))  # the vector that says so has version 1
    signals = {"ridge": "BUY", "mlp": "SELL"}
    older = fill("f2", "p2", signals=signals, weights_version=0)
    newest = fill("f3", "p3", signals=signals, weights_version=1)
    silent = fill("f4", "p4", signals=signals)
    applied = task.apply(older, newest, silent)
    assert list(applied.outcomes) == [0, 2, 2]
    assert [letter.error_class for letter in applied.dead_letters] == ["UNKNOWN_ARM", "UNKNOWN_ARM"]


def test_more_signals_than_arms_may_be_are_refused() -> None:
    task = Task(short_rules(), learning_rules(), max_arms=4)
    gone = {f"gone {number}": "SELL" for number in range(3)}
    taken = fill(signals={"ridge": "BUY"} | gone, weights_version=0)
    refused = fill("f2", "p2", signals={"ridge": "BUY", "mlp": "BUY"} | gone, weights_version=0)
    applied = task.apply(taken, refused)
    assert list(applied.outcomes) == [0, 2]
    (letter,) = applied.dead_letters
    assert (letter.error_class, letter.error) == ("LIMIT", "there are 5 signals, and limits.arms is 4")


NOT_MICROSECONDS = {
    "seconds": 1_700_000_000,
    "milliseconds": 1_700_000_000_000,
    "a microsecond before 1990": 631_151_999_999_999,
    "none": 0,
}


@pytest.mark.parametrize("ts_event", NOT_MICROSECONDS.values(), ids=list(NOT_MICROSECONDS))
@pytest.mark.parametrize("shared", [True, False], ids=["one topic", "two topics"])
def test_a_time_before_1990_is_a_dead_letter_that_asks_for_its_unit(ts_event: int, shared: bool) -> None:
    task = Task(short_rules(trades_share_topic=shared), learning_rules())
    events = fill(ts_event=ts_event), close(ts_event=ts_event), Command("k", "book", "PAUSE", ts_event)
    applied = task.apply(*events)
    assert [(letter.error_class, letter.error) for letter in applied.dead_letters] == [
        ("VALIDATION", f"ts_event must be UTC microseconds, got {ts_event}: milliseconds or seconds?")
    ] * 3
    assert task.published.bandits == task.published.positions == {}
    assert list(task.apply(fill(ts_event=631_152_000_000_000)).outcomes) == [0]


@pytest.mark.parametrize("estimator", ["importance", "implicit"])
def test_the_worst_that_is_legal_never_makes_a_learner_refuse(estimator: str) -> None:
    task = Task(short_rules(), learning_rules(estimator=estimator, attribution="simultaneous"))
    extremes: list[dict[str, Any]] = [
        {"propensity": 1e-200},
        {"contributions": {"mlp": 1.0 + 0.9e-6, "ridge": 5e-324}},
        {"propensity": None},
    ]
    for number, fields in enumerate(extremes):
        for price in (99_999_999.0, 1e-4):  # 1e12 bps less a few, and a loss of all
            position_id = f"p{number}-{price}"
            applied = task.apply(
                fill(position_id=position_id, price=1.0, **fields), close(position_id=position_id, price=price)
            )
            assert applied.rewards[0].applied


LONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"arm": "\x01" * 250_000}, "unknown arm '"),
    ({"contributions": {"\x01" * 250_000: 1.0}}, "unknown arm '"),
    ({"instrument_id": "I" * 201}, "instrument_id must be at most 200 bytes of UTF-8, got 201"),
    ({"currency": "\u20ac" * 67}, "currency must be at most 200 bytes of UTF-8, got 201"),
    ({"probabilities": (0.0,) * 1_001}, "at most 1000 entries"),
    ({"advice": dict.fromkeys(map(str, range(1_001)), 0.0)}, "at most 1000 entries"),
    ({"advice": {"e" * 101: 0.5}, "weights_version": 0}, "an expert's name must have at most 100 characters"),
    ({"signals": {"\x01" * 250_000: "BUY"}}, "unknown arm '"),
    ({"signals": {"a" * 101: "BUY"}, "weights_version": 0}, "an arm's name must have at most 100 characters"),
)


@pytest.mark.parametrize(("fields", "error"), LONG)
def test_what_is_too_long_is_refused_in_few_words(task: Task, fields: dict[str, Any], error: str) -> None:
    """A dead letter carries its record and its reason, and one topic must take both."""
    letter = task.apply(fill(**fields)).dead_letters[0]
    assert error in letter.error
    assert len(letter.error) < 700


def test_a_refused_command_is_quoted_in_few_words(task: Task) -> None:
    task.apply(fill())
    applied = task.apply(Command("k", "book", "REMOVE_ARM", START, arm="\x01" * 300_000))
    (refused,) = applied.commands_applied
    assert (refused.outcome, len(refused.detail) < 700) == ("REFUSED", True)
