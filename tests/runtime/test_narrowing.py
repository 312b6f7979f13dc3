"""A batch that cannot be published is made smaller until one record stands alone."""

from armstream.runtime.narrowing import Narrowing, named, skip_command
from tests.runtime.records import ReadRecord


def test_the_record_that_cannot_be_published_is_alone_after_a_few_tries_and_what_is_before_it_is_committed() -> None:
    bad, count = 7_777, 10_000
    narrowing, at, tries, alone = Narrowing(count), 0, 0, -1
    while alone < 0:
        size = min(narrowing.most_records, count - at)
        tries += 1
        if at <= bad < at + size:
            if size == 1:
                alone = at
            narrowing.note_abort(size, {3: {"trades": at + size}})
        else:
            at += size
            narrowing.note_commit({3: {"trades": at}})
    assert (alone, at) == (bad, bad)
    assert tries <= 5 * 10


def test_batches_are_whole_again_once_all_that_failed_is_behind() -> None:
    narrowing = Narrowing(1_000)
    narrowing.note_abort(200, {0: {"trades": 100, "commands": 5}, 1: {"trades": 100}})
    assert narrowing.most_records == 20
    narrowing.note_commit({0: {"trades": 100, "commands": 4}, 1: {"trades": 300}})
    assert narrowing.most_records == 20
    narrowing.note_commit({0: {"trades": 100, "commands": 5}, 1: {"trades": 300}})
    assert narrowing.most_records == 1_000


def test_a_task_that_went_elsewhere_keeps_nobody_small() -> None:
    narrowing = Narrowing(1_000)
    narrowing.note_abort(1, {0: {"trades": 100}})
    assert narrowing.most_records == 1
    narrowing.note_commit({1: {"trades": 0}})
    assert narrowing.most_records == 1_000


def test_a_line_names_the_record_as_skip_takes_it() -> None:
    one, two = ReadRecord("eu.trades", 3, 7, None, None), ReadRecord("eu.trades", 3, 8, None, None)
    assert named([one]) == "the record at eu.trades:3:7"
    assert named([one, two]) == "2 records, eu.trades:3:7 the first,"
    assert named([]) == "no record"
    assert skip_command(one) == "`armstream run --skip eu.trades:3:7` sends it to dead letters"
