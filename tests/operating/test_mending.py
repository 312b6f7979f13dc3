"""What a letter is sent again as: the id is the letter's, whoever asks, and what cannot be applied is not sent."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import msgspec
import pytest
from fastavro import schemaless_writer

from armstream.codec import WRITERS, decode, encode
from armstream.events import Close, Command, DeadLetter, ErrorClass, Fill, Header, Source
from armstream.keys import partition_of
from armstream.operating.mending import ADVICE, Asked, InputEvent, Mend, NotResendable, Resend, place_id, resend_of
from armstream.settings import Settings
from armstream.stages.validation import Refused, check_event
from tests.stages.events import START, close, fill

TOPICS = Settings().topics.names
PARTITIONS = 4
RIGHT = partition_of(b"book", PARTITIONS)
ASKED = Asked("anna", "the feed sent 0", START)
DAY_MICROS = 86_400_000_000


def judge(event: InputEvent) -> None:
    try:
        check_event(event)
    except Refused as refused:
        raise ValueError(str(refused)) from refused


def letter(
    event: InputEvent | bytes | None,
    error_class: ErrorClass = "VALIDATION",
    *,
    error: str = "x",
    left: float | None = None,
    topic: str = "trades",
    number: int = RIGHT,
    key: bytes | None = b"book",
    headers: tuple[Header, ...] = (),
) -> DeadLetter:
    value = event if event is None or isinstance(event, bytes) else encode(event)
    return DeadLetter(Source(topic, number, 1042, key, value, headers), error_class, error, START, left)


def again(one: DeadLetter, whole: Any = None, asked: Asked = ASKED, **changes: str) -> Resend:
    return resend_of(
        one,
        Mend(changes, whole),
        asked,
        topics=TOPICS,
        partition_count=PARTITIONS,
        dedupe_window_seconds=86_400,
        judge=judge,
    )


def refusal(one: DeadLetter, whole: Any = None, **changes: str) -> str:
    with pytest.raises(NotResendable) as refused:
        again(one, whole, ASKED, **changes)
    return str(refused.value)


def test_as_it_is_the_record_is_the_same_byte_by_byte_and_says_who_sent_it_again_and_why() -> None:
    written = again(letter(fill(), "UNKNOWN_ARM", headers=(Header("origin", b"feed"), Header("none", None)))).outgoing
    assert (written.topic, written.partition, written.key, written.value) == ("trades", RIGHT, b"book", encode(fill()))
    assert written.headers == (
        ("origin", b"feed"),
        ("none", None),
        ("armstream.resent-from", f"trades:{RIGHT}:1042".encode()),
        ("armstream.resent-by", b"anna"),
        ("armstream.resent-reason", b"the feed sent 0"),
    )


def test_an_older_form_of_a_record_stays_as_it_is_too() -> None:
    """Its bytes are not those that this version writes."""
    header, writer = next(
        (header, one) for header, one in WRITERS.items() if one.event_type is Fill and one.reader_schema is not None
    )
    older = BytesIO()
    older.write(header)
    schemaless_writer(older, writer.schema, msgspec.to_builtins(fill()))
    resend = again(letter(older.getvalue(), "UNKNOWN_ARM"))
    assert (resend.event, resend.outgoing.value) == (fill(), older.getvalue())
    assert older.getvalue() != encode(fill())


def test_mended_or_not_and_whoever_asks_the_event_keeps_its_own_id() -> None:
    one = letter(close(quantity=0.0))
    mended = again(one, quantity="100", slippage_in_price="true").event
    assert mended == close(quantity=100.0, slippage_in_price=True)
    assert decode(again(one, quantity="100", slippage_in_price="true").outgoing.value) == mended
    other = again(one, None, Asked("ben", "y", START + 7), quantity="90").event
    assert isinstance(other, Close)
    assert other.event_id == "c1"
    again_refused = letter(mended, headers=(Header("armstream.resent-from", b"trades:0:1"),))
    assert again(again_refused).event == mended


PLACE = f"resent:trades:{RIGHT}:1042"


@pytest.mark.parametrize(
    ("one", "event_id", "exec_id"),
    [
        (letter(fill(exec_id="x1"), "ID_REUSED", error="event_id 'f1' came before"), PLACE, "x1"),
        (letter(fill(exec_id="x1"), "ID_REUSED", error="exec_id 'x1' came before"), PLACE, PLACE),
        (letter(close(exec_id="x1"), "ORPHAN_CLOSE", left=100.0), PLACE, PLACE),
        (letter(close(), "LIMIT", left=100.0), PLACE, None),
        (letter(close(), "LIMIT"), "c1", None),
        (letter(fill(event_id="é" * 101)), PLACE, None),
        (letter(fill(event_id="")), PLACE, None),
    ],
    ids=["id taken", "exec_id taken", "orphan", "waited", "never waited", "id too long", "no id"],
)
def test_where_its_own_id_cannot_serve_it_is_made_of_the_letters_place(
    one: DeadLetter, event_id: str, exec_id: str | None
) -> None:
    event = again(one).event
    assert not isinstance(event, Command)
    assert (event.event_id, event.exec_id) == (event_id, exec_id)


def test_an_id_of_a_place_is_legal_however_long_the_topics_name_is() -> None:
    long, other = Source("t" * 249, 3, 1042), Source("t" * 248 + "u", 3, 1042)
    assert len(place_id(long)) <= 200
    assert place_id(long) != place_id(other)


def test_a_mended_one_that_lost_against_another_is_not_sent_under_a_new_id() -> None:
    """It would count twice: both are one letter."""
    lost = letter(close(quantity=90.0), "ID_REUSED", headers=(Header("armstream.resent-from", b"trades:3:7"),))
    assert refusal(lost).startswith("it is trades:3:7 mended, which was applied in another form before")


def test_of_a_close_of_which_a_part_was_matched_the_rest_is_sent_with_its_part_of_the_costs() -> None:
    orphan = letter(close(quantity=100.0, fees=1.0, slippage=2.0), "ORPHAN_CLOSE", left=25.0)
    event = again(orphan).event
    assert isinstance(event, Close)
    assert (event.quantity, event.fees, event.slippage) == (25.0, 0.25, 0.5)
    asked_for = again(orphan, quantity="30").event
    assert isinstance(asked_for, Close)
    assert (asked_for.quantity, asked_for.fees) == (30.0, 1.0)


def test_what_was_misrouted_goes_to_its_bandits_partition_with_its_key() -> None:
    resend = again(letter(fill(), "MISROUTED", number=(RIGHT + 1) % PARTITIONS, key=b"AAPL"))
    assert (resend.outgoing.partition, resend.outgoing.key) == (RIGHT, b"book")
    assert any(f"it goes to partition {RIGHT} with the key 'book'" in note for note in resend.notes)


def test_what_cannot_be_read_is_sent_whole_from_a_file_under_the_letters_id() -> None:
    garbage = letter(b"garbage", "DECODE")
    assert refusal(garbage).endswith("send it whole, from a file: --value-file")
    record = {"bandit_id": "book", "position_id": "p1", "quantity": 100, "price": 150.5, "ts_event": START}
    resend = again(garbage, {"type": "Close", "record": {**record, "event_id": "mine"}})
    assert resend.event == close(event_id=PLACE)
    assert again(garbage, {"type": "Close", "record": record}).event == resend.event


@pytest.mark.parametrize(
    ("whole", "said"),
    [
        ([], "must be"),
        ({"type": "Fill"}, "must be"),
        ({"type": "Reward", "record": {}}, "type must be Close"),
        ({"type": "Fill", "record": {}}, "type must be Close"),
        ({"type": "Close", "record": {"qty": 1}}, "a Close has no qty"),
        ({"type": "Close", "record": {"quantity": "many"}}, "--value-file: Expected `float`"),
        ({"type": "Close", "record": {"quantity": "\ud800"}}, "surrogates not allowed"),
    ],
)
def test_a_file_that_is_no_record_of_the_kind_is_refused(whole: object, said: str) -> None:
    assert said in refusal(letter(close()), whole)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"qty": "1"}, "a Fill has no qty; it has event_id, bandit_id"),
        ({"event_id": "f2"}, "event_id is not yours to set"),
        ({"quantity": "many"}, "quantity: 'many'"),
        ({"side": "HOLD"}, "side: 'HOLD'"),
        ({"signals": "BUY"}, "signals: 'BUY'"),
        ({"quantity": "0"}, "every processor refuses it: must be finite and above 0: quantity 0.0"),
        ({"price": "nan"}, "every processor refuses it"),
        ({"ts_event": str(START // 1_000)}, "every processor refuses it: ts_event must be UTC microseconds"),
    ],
)
def test_a_field_that_is_not_there_or_cannot_be_so_is_refused_by_name(changes: Mapping[str, str], said: str) -> None:
    assert said in refusal(letter(fill(), "UNKNOWN_ARM"), **changes)


def test_fields_of_every_kind_can_be_set() -> None:
    event = again(
        letter(fill()),
        arm="null",
        contributions='{"mlp": 1}',
        signals='{"mlp": "BUY"}',
        probabilities="[0.5, 0.5]",
        order_quantity="200",
        weights_version="7",
        currency="100",
        exec_id="9",
    ).event
    assert event == fill(
        contributions={"mlp": 1.0},
        signals={"mlp": "BUY"},
        probabilities=(0.5, 0.5),
        order_quantity=200.0,
        weights_version=7,
        currency="100",
        exec_id="9",
    )


def test_a_command_is_sent_again_on_its_topic_alone() -> None:
    command = Command("k1", "book", "PAUSE", START)
    assert again(letter(command, "UNKNOWN_BANDIT", topic="commands")).event == command
    assert refusal(letter(command, topic="trades")) == "a Command does not belong on trades"
    assert refusal(letter(fill(), topic="commands")) == "a Fill does not belong on commands"


def test_what_is_no_input_record_of_these_settings_is_refused() -> None:
    forgotten = DeadLetter(Source("", -1, -1, b"book\0p1", b""), "LIMIT", "x", START)
    assert "what was forgotten of a position" in refusal(forgotten)
    assert "no input topic" in refusal(letter(fill(), topic="old-trades"))


@pytest.mark.parametrize(
    ("one", "changes", "now_micros", "said"),
    [
        (letter(fill(), "LATE"), {}, START, "it is late again"),
        (letter(fill(), "LATE"), {"ts_event": str(START + 1)}, START, "if it was counted before it counts twice"),
        (letter(fill(), "UNKNOWN_ARM"), {}, START, "it is as it was"),
        (letter(close(), "ORPHAN_CLOSE", left=100.0), {}, START, "without its fill it becomes an orphan again"),
        (letter(fill(), "SKIPPED"), {}, START + DAY_MICROS + 1, "24.0 h ago: it is LATE where its bandit has traded"),
    ],
)
def test_what_will_be_in_vain_or_count_twice_is_said_before(
    one: DeadLetter, changes: dict[str, str], now_micros: int, said: str
) -> None:
    (note,) = again(one, None, Asked("anna", "x", now_micros), **changes).notes
    assert said in note


def test_nothing_is_said_of_what_can_be_applied() -> None:
    assert again(letter(fill(), "SKIPPED")).notes == ()
    assert isinstance(again(letter(fill(), "VALIDATION"), quantity="7").event, Fill)
    assert again(letter(fill(), "VALIDATION"), quantity="7").notes == ()


def test_there_is_advice_for_every_class() -> None:
    assert set(ADVICE) == set(ErrorClass.__args__)  # type: ignore[attr-defined]
