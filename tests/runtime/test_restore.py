"""What a restore makes of snapshots, without Kafka: a position has the pages that it says, or nothing goes on."""

from collections.abc import Iterator
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from confluent_kafka import Consumer

import armstream
from armstream.codec import encode
from armstream.events import BanditSnapshot, Paged, PositionFill, PositionPage, PositionSnapshot, TaskSnapshot
from armstream.keys import TASK_KEY, claim_key
from armstream.runtime.failures import Stopped
from armstream.runtime.identity import ANEW, Identity, Watch
from armstream.runtime.ownership import first_claimant
from armstream.runtime.restore import Restorer, _Pages
from armstream.runtime.tasks import Progress
from armstream.settings import Settings
from armstream.stages.state import TaskState

FILLS = (PositionFill("f1", 1.0, 9.0, 0.0, 0.5, 7), PositionFill("f2", 1.0, 9.0, 0.0, 0.5, 7))
PAGES = [PositionPage("book", "p", number, FILLS[number : number + 1], ()) for number in range(2)]


def position(**fields: Any) -> PositionSnapshot:
    return PositionSnapshot("book", "p", 7, False, 2.0, 1.0, "BUY", (), (), 1, 1.0, **fields)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_a_position_and_its_pages_come_in_any_order(order: tuple[int, ...]) -> None:
    settings, pages = Settings(), _Pages(3)
    state = TaskState(settings.task_limits(), settings.bandit_registry())
    snapshots: list[PositionSnapshot | PositionPage] = [position(paged=Paged(2, 2, 0)), *PAGES]
    for at in order:
        Restorer._put_back(state, encode(snapshots[at]), 3, pages)
    pages.refuse()
    assert [fill.event_id for fill in state.pages("book\0p").fills] == ["f1", "f2"]


@pytest.mark.parametrize(
    ("snapshots", "says"),
    [
        ([position(paged=Paged(2, 2, 0)), PAGES[0]], "position 'p' of bandit 'book': 1 pages are missing"),
        ([position(), PAGES[0]], "position 'p' of bandit 'book': 1 pages too many"),
        ([PAGES[1]], "task 3: position 'p' of bandit 'book': 1 pages too many"),
    ],
)
def test_pages_that_are_missing_or_of_nobody_stop_the_restore(snapshots: list[Any], says: str) -> None:
    settings, pages = Settings(), _Pages(3)
    state = TaskState(settings.task_limits(), settings.bandit_registry())
    for snapshot in snapshots:
        Restorer._put_back(state, encode(snapshot), 3, pages)
    with pytest.raises(Stopped, match=says):
        pages.refuse()


IS_BUILT = find_spec("armstream._native") is not None
NATIVE = pytest.param("native", marks=pytest.mark.skipif(not IS_BUILT, reason="the native core is not built here"))


@pytest.fixture(params=["python", NATIVE])
def restorer(request: pytest.FixtureRequest) -> Iterator[Restorer]:
    client = {"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0}
    consumer = Consumer(client)
    watch = cast(Watch, SimpleNamespace(identity=Identity("g", {}, 4)))
    restorer = Restorer(Settings(core=request.param), consumer, watch, client)
    yield restorer
    restorer.close()
    consumer.close()


def test_a_task_that_has_read_no_claim_wants_none_where_its_process_has_claimed_meanwhile(restorer: Restorer) -> None:
    """Written twice, the claim would lose its place before another group's when the topic is compacted."""
    restorer.has_claimed = True
    assert next(restorer._claim(1, Progress()), "done") == "done"
    assert restorer.claims_wanted == set()


# A newer version's snapshots


BANDIT = BanditSnapshot("book", 0, 0, (), "exp3ix", "implicit", "")
NEWER = b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08"


def newer(snapshot: BanditSnapshot | PositionSnapshot | PositionPage | TaskSnapshot) -> list[tuple[bytes, str]]:
    """Two records that are of a newer form: of a schema that nobody knows, and of this schema by another number."""
    return [
        (NEWER + encode(snapshot)[10:], "fingerprint 0807060504030201 is that of no known schema"),
        (
            encode(msgspec.structs.replace(snapshot, schema_version=2)),
            f"a {type(snapshot).__name__} of schema_version 2, and 1 is known",
        ),
    ]


def says_how_to_go_on(stopped: Stopped, place: str, reason: str, wrote: str) -> None:
    line = str(stopped)
    assert line.startswith(f"{place}: {reason}; {wrote}, and this is {armstream.__version__}: nothing was changed.")
    assert line.endswith(f" Go on with the version that wrote it, or a later one; to stay with this one, {ANEW}")
    assert "\n" not in line


@pytest.mark.parametrize(("value", "reason"), newer(TaskSnapshot(3, {})))
def test_a_newer_task_snapshot_stops_the_restore_and_names_its_version(
    restorer: Restorer, value: bytes, reason: str
) -> None:
    restorer._writers[3] = "9.8.7"
    with pytest.raises(Stopped) as raised:
        restorer._task_snapshot(3, {"snapshots": {b"book": encode(BANDIT), TASK_KEY: value}})
    place = "snapshots:3, the newest of '\\x00task'"
    says_how_to_go_on(raised.value, place, reason, "armstream 9.8.7 wrote the newest there")


@pytest.mark.parametrize(
    ("topic", "key", "value", "reason"),
    [
        *(("snapshots", b"book", *each) for each in newer(BANDIT)),
        *(("snapshots", b"book\0p", *each) for each in newer(position())),
        *(("position-snapshots", b"\x000\0book\0p", *each) for each in newer(PAGES[0])),
    ],
)
def test_a_newer_snapshot_of_a_bandit_a_position_or_a_page_stops_the_restore(
    restorer: Restorer, topic: str, key: bytes, value: bytes, reason: str
) -> None:
    """Of a version from before the header, too."""
    snapshots = {"snapshots": {b"other": encode(BANDIT)}, "position-snapshots": {}}
    snapshots[topic][key] = value
    with pytest.raises(Stopped) as raised:
        list(restorer._build(3, snapshots, {}, {}, Progress()))
    place = f"{topic}:3, the newest of {key.decode()!r}"
    says_how_to_go_on(raised.value, place, reason, "the newest there does not say who wrote it")


@pytest.mark.parametrize(("value", "reason"), newer(TaskSnapshot(0, {}, "", "g")))
def test_a_newer_claim_stops_the_restore(value: bytes, reason: str) -> None:
    with pytest.raises(Stopped) as raised:
        first_claimant({claim_key("g", "a"): value})
    says_how_to_go_on(
        raised.value, "the first claim of these topics", reason, "the newest there does not say who wrote it"
    )
