"""A cut is the next offset of every input topic at the moment an output was applied."""

import pytest

import armstream
from armstream.codec import decode, encode, encode_cut, encode_reward
from armstream.events import Close, Fill, PositionPage, Reward, Source, TaskSettings, TaskSnapshot
from armstream.keys import TASK_KEY, page_key
from armstream.runtime.identity import Identity
from armstream.runtime.publication import Publication, cuts_of, publish_settings, publish_task
from armstream.settings import Settings
from armstream.stages.pipeline import Pipeline
from armstream.stages.state import TaskState
from tests.runtime.records import ReadRecord

NOW = 1_700_000_000_000_000
IDENTITY = Identity("desk", {"trades": "id"}, 4)
REWARD = Reward("b", 1, "p", "f", "c", 1.0, 2.0, 1.0, False, False, 0, (), None, None, 5)


def cut_behind(cut: bytes) -> dict[str, int]:
    reward = decode(encode_reward(REWARD, cut))
    assert isinstance(reward, Reward)
    return dict(reward.cut)


def test_each_cut_holds_what_was_applied_up_to_its_index_of_both_topics() -> None:
    records = [
        ReadRecord("fills", 0, 10, b"b", b""),
        ReadRecord("closes", 0, 20, b"b", b""),
        ReadRecord("fills", 0, 13, b"b", b""),
        ReadRecord("fills", 0, 14, b"b", b""),
    ]
    cuts, after = cuts_of(records, {"fills": 9, "closes": 18, "commands": 0}, [0, 1, 1, 2])
    assert list(map(cut_behind, cuts)) == [
        {"fills": 11, "closes": 18, "commands": 0},
        {"fills": 11, "closes": 21, "commands": 0},
        {"fills": 11, "closes": 21, "commands": 0},
        {"fills": 14, "closes": 21, "commands": 0},
    ]
    assert after == {"fills": 15, "closes": 21, "commands": 0}


def test_a_batch_without_outputs_still_moves_the_offsets() -> None:
    cuts, after = cuts_of([ReadRecord("trades", 2, 4, b"b", b"")], {"trades": 3, "commands": 7}, [])
    assert (cuts, after) == ([], {"trades": 5, "commands": 7})


def test_a_cut_keeps_the_order_of_the_inputs() -> None:
    assert cut_behind(encode_cut({"b": 1, "a": 2})) == {"b": 1, "a": 2}
    assert encode_cut({"b": 1, "a": 2}) != encode_cut({"a": 2, "b": 1})


def test_settings_that_begin_to_hold_stand_before_what_is_published_under_them_at_the_cut_before_it() -> None:
    settings, publication = Settings(), Publication()
    topics, before = settings.topics.names, {"trades": 3, "commands": 0}
    fill = Fill("f", "book", "p", "X", "BUY", 1.0, 100.0, NOW, arm=settings.online_learning.arms[0])
    close = Close("c", "book", "p", 1.0, 101.0, NOW + 1)
    records = [ReadRecord("trades", 2, 3, b"book", encode(fill)), ReadRecord("trades", 2, 4, b"book", encode(close))]
    pipeline = Pipeline(TaskState(settings.task_limits(), settings.bandit_registry()))
    applied = pipeline.apply([fill, close], lambda _: pytest.fail("there is no dead letter"))

    publish_settings(publication, topics, 2, "{}", before)
    publish_task(publication, topics, 2, applied, records, before, {}, "{}", IDENTITY)

    first, reward = publication.records["rewards", 2]
    assert (first["key"], decode(first["value"])) == (TASK_KEY, TaskSettings(2, "{}", before))
    assert reward["key"] == b"book"
    snapshot = publication.records["snapshots", 2][-1]
    assert (snapshot["key"], decode(snapshot["value"])) == (
        TASK_KEY,
        TaskSnapshot(2, {"trades": 5, "commands": 0}, "{}", "desk", {"trades": "id"}, 4),
    )
    assert snapshot["headers"] == {"armstream.version": armstream.__version__}
    others = [record for records in publication.records.values() for record in records if record is not snapshot]
    assert not any("headers" in record for record in others)


def test_pages_stand_before_their_position_and_what_is_forgotten_leaves_tombstones() -> None:
    settings = Settings()
    topics, before = settings.topics.names, {"trades": 0, "commands": 0}
    pipeline = Pipeline(TaskState(settings.task_limits(), settings.bandit_registry()))
    now, hour = 1_700_000_000_000_000, 3_600_000_000
    arm = settings.online_learning.arms[0]

    def publish(*events: Fill | Close) -> dict[tuple[str, int], list[tuple[bytes, bool]]]:
        records = [ReadRecord("trades", 2, at, b"book", encode(event)) for at, event in enumerate(events)]
        publication = Publication()
        applied = pipeline.apply(events, lambda index: Source("trades", 2, index, b"book", encode(events[index])))
        publish_task(publication, topics, 2, applied, records, before, {}, "", IDENTITY)
        pipeline.commit()
        return {
            at: [(record["key"], "value" in record) for record in outputs]
            for at, outputs in publication.records.items()
        }

    fills = [Fill(f"f{n}", "book", "p", "X", "BUY", 1.0, 9.0, now, order_quantity=64.0, arm=arm) for n in range(64)]
    page = page_key("book", "p", 0).encode()
    first = publish(*fills, Close("c", "none", "q", 1.0, 9.0, now))
    assert first["snapshots", 2] == [
        (page, True),
        (b"book\0p", True),
        (b"none\0q", True),
        (b"book", True),
        (b"none", True),
        (TASK_KEY, True),
    ]

    late = now + 100 * hour
    second = publish(
        Close("c", "book", "p", 64.0, 9.0, now),
        Fill("f", "none", "q", "X", "BUY", 1.0, 9.0, late, arm="nobody"),
        Fill("f", "book", "r", "X", "BUY", 1.0, 9.0, late, arm=arm),
    )
    assert second["snapshots", 2] == [
        (b"book\0r", True),
        (b"book\0p", False),
        (b"none\0q", False),
        (page, False),
        (b"book", True),
        (b"none", False),
        (TASK_KEY, True),
    ]
    assert isinstance(decode(encode(PositionPage("book", "p", 0, (), ()))), PositionPage)
