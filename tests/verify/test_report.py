"""What verify says at the end, and how far it is meanwhile."""

import io
import json
from collections import Counter

from armstream.oracle.comparison import Difference
from armstream.verify.published import NAMED_AT_MOST, Account
from armstream.verify.report import Progress, Report

CONTROLS, SHOWN = "a\x1b[31m\n\u202e\x7f", "a\\x1b[31m\\n\\u202e\\x7f"


def test_no_control_character_of_a_record_reaches_a_terminal() -> None:
    report = Report(difference=Difference(CONTROLS, "b", "c"), different_partition=3)
    assert report.lines() == [f"different: partition 3: {SHOWN}: published was b; from the log follows c"]
    assert report.as_json().isprintable()
    assert json.loads(report.as_json())["difference"]["where"] == CONTROLS
    stream = io.StringIO()
    Progress(stream).say(CONTROLS)
    assert stream.getvalue() == f"{SHOWN}\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_partitions_add_up_and_what_was_not_checked_makes_it_partial() -> None:
    report = Report()
    report.add(Account(Counter(inputs=2, realised=2, bandits=1)))
    assert report.result == "verified"
    doubtful = Account(Counter(inputs=3, open=3, bandits=2), Counter(SKIPPED=1), [("trades", 1, 7)])
    for number in range(NAMED_AT_MOST + 5):
        doubtful.leave_out(f"position {number}")
    report.add(doubtful)
    shown = json.loads(report.as_json())
    assert (shown["result"], shown["partitions"], shown["bandits"], shown["difference"]) == ("partial", 2, 3, None)
    assert (shown["counts"]["inputs"], shown["counts"]["realised"], shown["counts"]["open"]) == (5, 2, 3)
    assert (len(shown["not_checked"]), shown["not_checked_count"]) == (NAMED_AT_MOST, NAMED_AT_MOST + 5)
    assert (shown["skipped"], shown["dead_letters"]) == ([["trades", 1, 7]], {"SKIPPED": 1})
    assert report.lines()[0].startswith("partial: 5 inputs of 3 bandits in 2 partitions")


def test_a_difference_is_one_line_with_what_was_published_and_what_follows() -> None:
    report = Report(difference=Difference("rewards:3:7", "weight 0.5", "0.6"), different_partition=3)
    line = "rewards:3:7: published was weight 0.5; from the log follows 0.6"
    assert report.lines() == [f"different: partition 3: {line}"]
    shown = json.loads(report.as_json())
    assert shown["result"] == "different"
    assert shown["difference"] == {
        "partition": 3, "where": "rewards:3:7", "published": "weight 0.5", "derived": "0.6", "text": line,
    }  # fmt: skip


def test_a_terminal_gets_a_bar_that_is_taken_away_and_a_file_a_line_every_five_seconds() -> None:
    for stream, wanted in ((Terminal(), "\r\x1b[2K["), (io.StringIO(), "verify: 50%")):
        now = [0.0]
        progress = Progress(stream, lambda now=now: now[0])  # type: ignore[misc]  # mypy has no type for the default
        progress.total, progress.where = 200, "partition 1 of 4"
        for second in range(1, 11):
            now[0] = float(second)
            progress.moved(20)
        progress.close()
        shown = stream.getvalue()
        assert shown.startswith(wanted)
        assert "100 of 200 records  20/s  partition 1 of 4" in shown
        assert shown.count("partition 1 of 4") == (10 if stream.isatty() else 2)
        assert shown.endswith("\r\x1b[2K" if stream.isatty() else "\n")
