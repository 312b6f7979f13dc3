"""What an engine sends: plain values of whatever a Fill or a Close was made of, or an error that names the field."""

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from armstream.codec import decode, encode
from armstream.engine.sendable import (
    _is_usual_close,
    _is_usual_fill,
    _judged_close,
    _judged_fill,
    sendable,
    sendable_close,
    sendable_fill,
)
from armstream.events import Close, Fill

NOW = 1_763_778_000_000_000
MAX_DOUBLE = 1.7976931348623157e308  # what nobody set
DRAWN = Fill(
    "f1", "eu-equities", "p1", "AAPL", "BUY", 3.0, 150.0, NOW, 2.0, 0.5, "TRADE", "USD", 4.0, "x1", "x0", "ridge", 0.25,
    (0.25, 0.75), 0.5, 7, {}, {"regime": 0.5}, 16.0,
)  # fmt: skip
BLENDED = replace(DRAWN, arm=None, propensity=None, probabilities=(), contributions={"ridge": 0.25, "lstm": 0.75})
CLOSED = Close("c1", "eu-equities", "p1", 3.0, 151.0, NOW, 0.5, 0.25, True, "TRADE", "x2", "x1", True)
NUMBERS = ("quantity", "price", "multiplier", "fees", "order_quantity", "propensity", "eta", "notional")
KINDS: list[Callable[[Any], Any]] = [
    *(Decimal, Fraction, np.float64, np.float32, np.array),
    lambda number: np.array(Decimal(number), dtype=object),
]


def all_as(kind: Callable[[Any], Any], event: Any) -> Any:
    """The event with each of its numbers of that kind: 3, .25 and the like are the same in all of them."""
    changed: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(event).items():
        if isinstance(value, bool):
            changed[name] = np.bool_(value)
        elif name == "ts_event":
            changed[name] = np.array(value)
        elif isinstance(value, int | float):
            changed[name] = kind(value)
        elif isinstance(value, tuple):
            changed[name] = [kind(each) for each in value]
        elif isinstance(value, dict):
            changed[name] = {key: kind(each) for key, each in value.items()}
    return replace(event, **changed)


def types_of(value: Any) -> Any:
    """The type of every part."""
    if isinstance(value, Fill | Close):
        return [types_of(each) for each in msgspec.structs.astuple(value)]
    if isinstance(value, tuple | list):
        return type(value), [types_of(each) for each in value]
    if isinstance(value, dict):
        return type(value), [(type(key), type(each)) for key, each in value.items()]
    return type(value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("event", [DRAWN, BLENDED, CLOSED], ids=["drawn", "blended", "closed"])
def test_every_number_may_be_of_any_kind_and_is_sent_as_a_plain_one(event: Any, kind: Callable[[Any], Any]) -> None:
    sent = sendable(all_as(kind, event))
    assert sent == event
    assert types_of(sent) == types_of(event)
    assert decode(encode(sent)) == event


def test_what_is_plain_already_is_sent_as_it_is() -> None:
    for event in (DRAWN, BLENDED, CLOSED):
        assert sendable(event) == event
        assert types_of(sendable(event)) == types_of(event)


WRONG_NUMBERS: list[Any] = [math.nan, math.inf, Decimal("NaN"), "3", True, 3j, [3.0], np.array([3.0]), b"3"]


@pytest.mark.parametrize("wrong", WRONG_NUMBERS, ids=repr)
def test_what_is_no_number_is_refused_by_its_field(wrong: object) -> None:
    for name in NUMBERS:
        with pytest.raises(ValueError, match=rf"^{name} must be "):
            sendable_fill(replace(DRAWN, **{name: wrong}))
    for name in ("quantity", "price", "fees", "slippage"):
        with pytest.raises(ValueError, match=rf"^{name} must be "):
            sendable_close(replace(CLOSED, **{name: wrong}))
    for name in ("ts_event", "weights_version"):
        with pytest.raises(ValueError, match=rf"^{name} must be "):
            sendable_fill(replace(DRAWN, **{name: wrong}))
    with pytest.raises(ValueError, match=r"^probabilities\[1\] must be "):
        sendable_fill(replace(DRAWN, probabilities=(0.25, wrong)))
    with pytest.raises(ValueError, match=r"^advice\['regime'\] must be "):
        sendable_fill(replace(DRAWN, advice={"regime": wrong}))
    with pytest.raises(ValueError, match=r"^contributions\['lstm'\] must be "):
        sendable_fill(replace(BLENDED, contributions={"ridge": 0.5, "lstm": wrong}))


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("quantity must be finite and above 0", {"quantity": 0.0}),
    ("quantity must be finite and above 0", {"quantity": -3.0}),
    ("multiplier must be finite and above 0", {"multiplier": 0.0}),
    ("order_quantity must be finite and above 0", {"order_quantity": 0.0}),
    ("notional must be finite and above 0", {"notional": 0.0}),
    *(
        (f"{name} must be finite and above 0", {name: MAX_DOUBLE})
        for name in ("quantity", "order_quantity", "notional")
    ),
    ("price must be within 1e\\+300 either way", {"price": -MAX_DOUBLE}),
    ("exec_id must be at most 200 bytes", {"exec_id": "x" * 201}),
    ("instrument_id must be at most 200 bytes", {"instrument_id": "I" * 201}),
    ("currency must be at most 200 bytes", {"currency": "\N{EURO SIGN}" * 67}),
    ("price must be above 0 where notional is not given", {"price": 0.0, "notional": None}),
    ("price must be above 0 where notional is not given", {"price": -1.0, "notional": None}),
    ("propensity must be above 0 and at most 1", {"propensity": 0.0}),
    ("propensity must be above 0 and at most 1", {"propensity": 1.5}),
    (r"advice\['regime'\] must be from 0 to 1", {"advice": {"regime": 1.5}}),
    ("weights_version must be from 0", {"weights_version": -1}),
    ("one of arm and contributions must be given, got both", {"contributions": {"ridge": 0.5}}),
    ("one of arm and contributions must be given, got neither", {"arm": None}),
    (r"contributions\['ridge'\] must not be negative", {"arm": None, "contributions": {"ridge": -0.5, "lstm": 1.0}}),
    ("contributions must sum to more than 0", {"arm": None, "contributions": {"ridge": 0.0}}),
    # percent
    ("contributions must sum to .* 1 at most, got 100.0", {"arm": None, "contributions": {"ridge": 60.0, "lstm": 40}}),
    ("contributions must sum to", {"arm": None, "contributions": {"ridge": 0.5, "lstm": 0.500_002}}),
    ("event_id must be 1 to 200 bytes", {"event_id": ""}),
    ("position_id must be 1 to 200 bytes", {"position_id": "p" * 201}),
    ("bandit_id must be 1 to 200 bytes", {"bandit_id": "\N{EURO SIGN}" * 67}),  # 3 bytes each
    ("bandit_id must not hold a NUL", {"bandit_id": "eu\0equities"}),
    ("position_id must be text", {"position_id": 17}),
    ("exec_type must be one of CANCEL, CORRECT, TRADE", {"exec_type": "UNKNOWN"}),
    ("side must be 'BUY' or 'SELL'", {"side": "UNKNOWN"}),
    (r"signals\['lstm'\] must be 'BUY', 'SELL' or 'FLAT', got 'UNKNOWN'", {"signals": {"lstm": "UNKNOWN"}}),
    ("signals must be a mapping of names to signals", {"signals": ["ridge"]}),
    ("signals must have that of the drawn arm 'ridge', got those of lstm", {"signals": {"lstm": "BUY"}}),
    (r"signals\['ridge'\] must be the side, .*: BUY, got SELL", {"signals": {"ridge": "SELL"}}),
    (r"signals\['ridge'\] must be the side, .*: BUY, got FLAT", {"signals": {"ridge": "flat"}}),
    (r"signals\['ridge'\] must be the side, .*: SELL, got BUY", {"signals": {"ridge": "BUY"}, "side": "sell"}),
    (
        r"signals\['ridge'\] must be BUY or SELL: it contributed 0.5",
        {"arm": None, "contributions": {"ridge": 0.5}, "signals": {"ridge": "FLAT", "lstm": "BUY"}},
    ),
    (
        r"signals\['ridge'\] must be BUY or SELL: it contributed 0.5",
        {"arm": None, "contributions": {"ridge": 0.5}, "signals": {"lstm": "BUY"}},
    ),
]


@pytest.mark.parametrize(("text", "changed"), REFUSED)
def test_what_every_processor_would_refuse_is_refused_before_it_is_sent(text: str, changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^{text}"):
        sendable_fill(replace(DRAWN, **changed))


TAKEN: list[dict[str, Any]] = [
    {"price": -1.0},  # with a notional
    {"price": 1e-300, "notional": None},
    {"fees": -0.5},  # a rebate
    {"quantity": 5.0},  # more than was ordered
    {"quantity": 1e-8},
    {"propensity": 1.0},
    {"arm": None, "contributions": {"ridge": 0.5, "lstm": 0.500_000_9}},
    {"arm": None, "contributions": {"ridge": 0.25}},
    {"event_id": "e" * 200},
    {"bandit_id": "\N{EURO SIGN}" * 66},
    {"exec_type": "CANCEL"},  # whose dead letter keeps it
    {"probabilities": (0.25, 0.25)},  # which the rule judges
    {"instrument_id": ""},
    {"signals": {"ridge": "BUY", "lstm": "SELL", "nobody": "FLAT"}},  # whom the processor knows, or not
    {"arm": None, "contributions": {"ridge": 1.0, "lstm": 0.0}, "signals": {"ridge": "SELL", "lstm": "FLAT"}},
]


@pytest.mark.parametrize("changed", TAKEN)
def test_what_a_processor_may_take_or_must_answer_is_sent(changed: dict[str, Any]) -> None:
    fill = replace(DRAWN, **changed)
    assert sendable_fill(fill) == fill


def test_a_close_may_have_any_finite_price() -> None:
    for price in (0.0, -37.63, 1e-300):
        assert sendable_close(replace(CLOSED, price=price)).price == price


def test_signals_may_be_of_any_class_of_text_and_are_sent_as_plain_ones() -> None:
    given = {np.str_("ridge"): "buy", "lstm": np.str_("Sell"), "gru": "flat"}
    plain = {"ridge": "BUY", "lstm": "SELL", "gru": "FLAT"}
    for fill in (USUAL, DRAWN, BLENDED):
        sent = sendable_fill(replace(fill, signals=given))
        assert sent.signals == plain
        assert types_of(sent.signals) == types_of(plain)
        assert decode(encode(sent)) == sent


ODD: list[Any] = [
    *(0.0, -1.0, 0.5, 1.0, 2.0, 3, math.nan, math.inf, -math.inf, True, False, np.True_, None, np.float64(1)),
    *(NOW, 0, 7, -1, 2**63, NOW * 1_000, MAX_DOUBLE, -MAX_DOUBLE, 1e300),
    *("a", "", "a" * 50, "a" * 51, "a" * 201, "a\0b", "1", np.str_("a"), "BUY", "buy", "TRADE", "CANCEL"),
    *(
        {},
        {"a": 0.5},
        {"a": math.nan},
        {"a": 2},
        {"ridge": "BUY"},
        {"ridge": "buy"},
        (),
        (0.5, 0.5),
        (math.nan,),
        (1,),
        [0.5],
        np.array([0.5]),
    ),
]
USUAL = replace(DRAWN, exec_ref_id=None, advice={}, notional=None)
USUAL_WITH_SIGNALS = replace(USUAL, signals={"ridge": "BUY", "lstm": "FLAT"})
USUAL_CLOSE = replace(CLOSED, exec_ref_id=None)


def judged(judge: Callable[[Any], Any], event: Any) -> Any:
    try:
        return judge(event)
    except ValueError:
        return None


CASES: list[tuple[Any, Callable[[Any], bool], Callable[[Any], Any]]] = [
    (USUAL, _is_usual_fill, _judged_fill),
    (USUAL_WITH_SIGNALS, _is_usual_fill, _judged_fill),
    (USUAL_CLOSE, _is_usual_close, _judged_close),
]


@pytest.mark.parametrize(("usual", "is_usual", "judge"), CASES, ids=["fill", "signals", "close"])
def test_what_passes_for_usual_is_what_would_be_judged_right_and_the_same(
    usual: Any, is_usual: Callable[[Any], bool], judge: Callable[[Any], Any]
) -> None:
    assert is_usual(usual)
    passed = 0
    for name in usual.__struct_fields__:
        for value in ODD:
            odd = replace(usual, **{name: value})
            if is_usual(odd):
                passed += 1
                right = judged(judge, odd)
                assert right == odd
                assert types_of(right) == types_of(odd)
    assert passed > 50, "else this says nothing"
