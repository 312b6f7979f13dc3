"""Log lines: one a record, parsed back by what reads them, without secrets."""

import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from armstream.logs import LineFormatter, Repeats, configure


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("armstream.runtime.loop", logging.WARNING, "loop.py", 7, message, arguments, None)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    vars(made).update(extra)
    return made


def test_a_json_line_has_time_level_logger_message_and_what_was_given_extra() -> None:
    line = LineFormatter("json").format(record("aborted %d", 3, partition=4, topic="träde", ready=True, rate=0.5))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "WARNING",
        "logger": "armstream.runtime.loop",
        "message": "aborted 3",
        "partition": 4,
        "topic": "träde",
        "ready": True,
        "rate": 0.5,
    }


def test_a_text_line_says_the_same_and_stays_one_line() -> None:
    line = LineFormatter("text").format(record("two\nlines", partition=4))
    assert line == "2023-11-14T22:13:20.250Z WARNING armstream.runtime.loop: two\\nlines partition=4"


CONTROLS = "a\x1b[31m\x9b\x7f\u202e\u2028\r\n\udcff"


def test_no_control_character_is_in_a_line() -> None:
    line = LineFormatter("text").format(record("%s", CONTROLS, bandit=CONTROLS))
    assert line.endswith(": {0} bandit={0}".format("a\\x1b[31m\\x9b\\x7f\\u202e\\u2028\\r\\n\\udcff"))
    shown = LineFormatter("json").format(record("%s", CONTROLS, bandit=CONTROLS))
    assert shown.isprintable()
    fields = json.loads(shown)
    assert (fields["message"], fields["bandit"]) == (CONTROLS, CONTROLS)


def test_what_a_kafka_client_says_again_and_again_is_written_once_in_ten_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the numbers of a ten minutes' outage: 20 lines a second, one kind for each of two clients."""
    now, repeats, written = 0.0, Repeats(), list[str]()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for count in range(12_000):
        now = count / 20
        one = f"[thrd:127.0.0.1:{9_000 + count % 7}/bootstrap]: Connection refused (after {count % 3}ms)"
        for name in ("restore", "member"):
            made = record("%s [%s] %s", "FAIL", f"rdkafka#{name}-5", one)
            if repeats.filter(made):
                written.append(made.getMessage())
    assert len(written) == 2 * 60
    assert written[2].endswith("Connection refused (after 2ms) (and 199 more like it in 10 s)")
    assert repeats.filter(record("kafka: %s", "another one"))
    assert all(repeats.filter(record("task %d is ready", 1)) for _ in range(3)), "what is ours is all written"


def test_what_libraries_say_are_lines_as_any_other_and_no_outage_repeats_them() -> None:
    code = """
import logging, warnings
from armstream.logs import configure
configure("INFO", "json")
warnings.warn("closed", RuntimeWarning)
for _ in range(3):
    logging.error("%s [%s] %s", "FAIL", "rdkafka#producer-1", "Connection refused")
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    warning, refused = map(json.loads, done.stderr.splitlines())
    assert warning["level"] == "WARNING"
    assert "RuntimeWarning: closed" in warning["message"]
    assert refused["message"] == "FAIL [rdkafka#producer-1] Connection refused"


def test_no_line_of_an_exception_looks_like_a_record_of_its_own() -> None:
    made = record("x")
    try:
        raise ValueError("a\x1b\n2023-11-14T22:13:20.250Z ERROR forged: x")
    except ValueError:
        made.exc_info = sys.exc_info()
    first, *others = LineFormatter("text").format(made).split("\n")
    assert first == "2023-11-14T22:13:20.250Z WARNING armstream.runtime.loop: x"
    assert others[-2:] == ["  ValueError: a\\x1b", "  2023-11-14T22:13:20.250Z ERROR forged: x"]
    assert all(line.startswith("  ") for line in others)


@pytest.mark.usefixtures("root")
def test_json_stays_json_in_an_encoding_that_has_not_its_characters() -> None:
    for encoding in ("ascii", "latin-1", "utf-8"):
        written = io.BytesIO()
        stream = io.TextIOWrapper(written, encoding=encoding, errors="backslashreplace")
        configure("WARNING", "json", stream=stream)
        logging.getLogger("a.b").warning("träde 市")
        stream.flush()
        assert json.loads(written.getvalue().decode(encoding))["message"] == "träde 市"


def test_what_json_cannot_hold_becomes_text() -> None:
    fields = json.loads(LineFormatter("json").format(record("x", rate=float("nan"), at=("trades", 3), none=None)))
    assert (fields["rate"], fields["at"], fields["none"]) == ("nan", "('trades', 3)", None)


@pytest.mark.parametrize("line_format", ["json", "text"])
def test_no_secret_is_shown_wherever_it_stands(line_format: str) -> None:
    formatter = LineFormatter("json" if line_format == "json" else "text", ["hunt", 'hunt"er', ""])
    made = record("password=%s", 'hunt"er', conf={"sasl.password": "hunt"})
    try:
        raise ValueError('hunt"er')
    except ValueError:
        made.exc_info = sys.exc_info()
    line = formatter.format(made)
    assert "hun" not in line
    assert 'er")' not in line
    assert "er')" not in line
    assert "Traceback" in line
    assert line.count("********") == 4, "message, extra, the raise line and its text"


def test_a_secret_that_is_a_part_of_ordinary_words_masks_none_of_them() -> None:
    line = LineFormatter("text", ["a", "or", "the"]).format(record("waiting for the broker at kafka:9092"))
    assert line.endswith("waiting for the broker at kafka:9092")


def test_a_secret_that_is_too_short_to_be_masked_is_told_of_at_the_start(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure("INFO", "text", ["a"], stream)
    assert "a secret of kafka.client has fewer than 4 characters: lines do not mask it" in stream.getvalue()
    configure("INFO", "text", ["hunter", ""], silent := io.StringIO())
    assert silent.getvalue() == ""
    assert root.level == logging.INFO


def test_a_secret_of_digits_leaves_numbers_alone() -> None:
    fields = json.loads(LineFormatter("json", ["5432"]).format(record("at 5432", offset=15432)))
    assert (fields["message"], fields["offset"]) == ("at ********", 15432)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_configure_sends_every_logger_to_one_stream_from_the_level_up(root: logging.Logger) -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("INFO", "text", stream=first)
    configure("WARNING", "json", ["hunter"], second)
    logging.getLogger("a.b").info("not shown")
    logging.getLogger("a.b").warning("hunter")
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["message"] == "********"
    assert root.level == logging.WARNING


def overlong(line_format: str, text: str) -> str:
    """The longest line that a record makes, whose message, extra field and exception quote the text."""
    formatter = LineFormatter("json" if line_format == "json" else "text", ["hunter2"])
    made = record("it said %s", text, quoted=text, number=7)
    try:
        raise ValueError(text)
    except ValueError:
        made.exc_info = sys.exc_info()
    return max(formatter.format(made).split("\n"), key=len)


@pytest.mark.parametrize("line_format", ["json", "text"])
@pytest.mark.parametrize("quoted", ["x", "\0", "\n", "\U0001f600", "'\"", "hunter2"])
def test_no_line_is_longer_than_a_screen_whatever_it_quotes(line_format: str, quoted: str) -> None:
    for count in (1_999, 5_000, 300_000):
        line = overlong(line_format, quoted * count)
        assert len(line) <= 2_000
        if line_format == "json":
            fields = json.loads(line)
            assert (fields["number"], fields["level"]) == (7, "WARNING")
            assert fields["message"].startswith("it said ")
            assert " characters ..." in fields["message"]
    assert "hunter2" not in overlong(line_format, "hunter2" * 5_000)


def test_a_line_that_is_cut_keeps_its_beginning_and_its_end_and_says_how_much_is_gone() -> None:
    line = LineFormatter("text").format(record("a" * 3_000 + "z" * 3_000))
    head, cut = line.split(": ", 1)
    assert head == "2023-11-14T22:13:20.250Z WARNING armstream.runtime.loop"
    assert cut == "a" * 500 + "... 5000 characters ..." + "z" * 500
    assert len(LineFormatter("text").format(record("a" * 1_900))) > 1_900, "what fits is whole"
