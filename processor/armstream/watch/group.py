"""The group and its inputs, as the cluster tells them every second. Law: it joins no group and moves no offset.

A group's members are asked for by the old request, of all brokers: the admin client's own one of a coordinator can
abort the process where its connection ends (librdkafka's issue 4605), and brokers come and go.
"""

import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from armstream.access import REFUSALS, not_allowed, watch_rights
from armstream.settings import Settings
from armstream.watch.board import Board, Trouble
from armstream.watch.facts import UNKNOWN, GroupFacts, Member, Place, PlaceFacts

log = logging.getLogger(__name__)

# A question about topics waits by the second, and not by its own timeout.
ADMIN: Final[Mapping[str, str | int | float | bool]] = {"log_level": 0, "socket.timeout.ms": 10_000}

_REQUEST_SECONDS: Final = 5.0
_EVERY_SECONDS: Final = 1.0
_ENDS_KEPT: Final = 300
_UUID_CHARACTERS: Final = 36
_WAIT_SECONDS: Final = 2.0
_PLACES_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 10.0
_ASKS_A_TURN: Final = 8


class GroupWatch:
    """A thread that asks. What fails is told by the board, and asked again."""

    def __init__(self, settings: Settings, board: Board, stopping: threading.Event) -> None:
        self._settings, self._board, self._stopping = settings, board, stopping
        self._ends: dict[Place, deque[tuple[int, int]]] = {}
        self._waiting: dict[Place, tuple[int, int]] = {}  # a committed offset, and when the record there was appended
        self._places: list[Place] = []
        self._members: tuple[str, tuple[Member, ...]] = UNKNOWN, ()
        self._ask_places_at = self._ask_members_at = 0.0
        self._asks_left = 0  # for records, in this turn

    def run(self) -> None:
        """Until it is told to stop."""
        admin = AdminClient({**ADMIN, **self._settings.kafka.connection()})
        asker = self._consumer("read_uncommitted")  # which knows the true ends, and waits for no transaction
        reader = self._consumer("read_committed")
        try:
            while not self._stopping.is_set():
                try:
                    self._board.note_group(self._facts(admin, asker, reader))
                    self._board.note_trouble("group", None)
                except (KafkaException, TimeoutError) as failure:
                    self._board.note_trouble("group", trouble_of(self._settings, error_of(failure)))
                admin.poll(0)
                self._stopping.wait(_EVERY_SECONDS)
        finally:
            reader.close()
            asker.close()

    def _consumer(self, isolation: str) -> Consumer:
        return Consumer(
            {
                "fetch.wait.max.ms": 50,
                "queued.min.messages": 1,
                "fetch.message.max.bytes": 65_536,
                "log_level": 0,
                **self._settings.kafka.connection(),
                "group.id": self._settings.kafka.group_id,  # it never joins the group
                "isolation.level": isolation,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )

    def _facts(self, admin: AdminClient, asker: Consumer, reader: Consumer) -> GroupFacts:
        """Raises KafkaException or TimeoutError."""
        self._ask_places(admin)
        places = self._places
        wanted = [TopicPartition(*place, OFFSET_END) for place in places]
        ends = _offsets(asker.offsets_for_times(wanted, _REQUEST_SECONDS))
        committed = _offsets(asker.committed([TopicPartition(*place) for place in places], _REQUEST_SECONDS))
        self._ask_members(admin)
        now = self._board.now()
        self._note_ends(now, ends)
        found = {}
        self._asks_left = _ASKS_A_TURN
        for place in places:
            facts = PlaceFacts(committed.get(place), ends.get(place))
            found[place] = facts._replace(waiting_since_ts=self._waiting_since(reader, place, facts))
        return GroupFacts(now, *self._members, found)

    def _ask_places(self, admin: AdminClient) -> None:
        """Every partition of the inputs: new ones are noticed. Raises KafkaException or TimeoutError."""
        if time.monotonic() < self._ask_places_at:
            return
        names = TopicCollection(list(self._settings.topics.names.inputs))
        places = []
        for name, future in admin.describe_topics(names, request_timeout=_REQUEST_SECONDS).items():
            try:
                places += [(name, partition.id) for partition in future.result(2 * _REQUEST_SECONDS).partitions]
            except KafkaException as failure:
                if failure.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # the follower tells of that
                    raise
        self._places, self._ask_places_at = places, time.monotonic() + _PLACES_SECONDS

    def _ask_members(self, admin: AdminClient) -> None:
        """All brokers are asked; where one of them is away, what was known stays for a while."""
        if time.monotonic() < self._ask_members_at:
            return
        group_id = self._settings.kafka.group_id
        try:
            told = cast(list[Any], admin.list_groups(group_id, timeout=_REQUEST_SECONDS))  # its types say None
        except KafkaException as failure:
            log.debug("the group's members: %s", failure)
            self._ask_members_at = time.monotonic() + _AGAIN_SECONDS
            return
        self._members = "EMPTY", ()
        for group in (one for one in told if one.id == group_id):
            members = (
                Member(instance_of(one.id, one.client_id), one.client_host.lstrip("/"), assigned(one.assignment))
                for one in group.members
            )
            self._members = group.state.upper(), tuple(sorted(members))

    def _note_ends(self, now: int, ends: Mapping[Place, int]) -> None:
        for place, end in ends.items():
            seen = self._ends.setdefault(place, deque(maxlen=_ENDS_KEPT))
            if not seen or seen[-1][1] != end:
                seen.append((now, end))

    def _waiting_since(self, reader: Consumer, place: Place, facts: PlaceFacts) -> int | None:
        """When the end went past what is committed, as it was seen; for older ones the record itself is asked, of a few
        partitions in each turn."""
        if not facts.lag_records:
            return None
        offset, seen = facts.committed or 0, self._ends[place]
        while len(seen) > 1 and seen[1][1] <= offset:
            seen.popleft()
        if seen[0][1] <= offset:
            return next((ts for ts, end in seen if end > offset), None)
        known = self._waiting.get(place)
        if known is None or known[0] != offset:
            if not self._asks_left:
                return None
            self._asks_left -= 1
            found = _append_time(reader, place, offset)
            if found is None:
                return None
            known = self._waiting[place] = offset, found
        return known[1]


def instance_of(member_id: str, client_id: str) -> str:
    """A static member's id begins with its instance, as the broker makes it; any other's with its client.id."""
    instance = member_id[: -_UUID_CHARACTERS - 1]
    return instance or client_id


def assigned(assignment: bytes) -> tuple[Place, ...]:
    """The partitions in the consumer protocol's bytes; none where they are not of its form."""
    places: list[Place] = []
    try:
        (count,) = struct.unpack_from(">i", assignment, 2)
        at = 6
        for _ in range(count):
            (size,) = struct.unpack_from(">h", assignment, at)
            topic = assignment[at + 2 : at + 2 + size].decode()
            at += 2 + size
            (partitions,) = struct.unpack_from(">i", assignment, at)
            numbers = struct.unpack_from(f">{partitions}i", assignment, at + 4)
            at += 4 + 4 * partitions
            places += [(topic, number) for number in numbers]
    except (struct.error, UnicodeDecodeError):
        return ()
    return tuple(places)


def error_of(failure: KafkaException | TimeoutError) -> KafkaError:
    """A client that answers nothing at all, not even that it gave up, is a broker that does not answer."""
    return failure.args[0] if isinstance(failure, KafkaException) else KafkaError(KafkaError._TIMED_OUT)


def trouble_of(settings: Settings, error: KafkaError) -> Trouble:
    """What is said of an error, and what to do."""
    where = f"Kafka at {settings.kafka.bootstrap_servers}"
    if error.code() in REFUSALS:
        kinds = {KafkaError.GROUP_AUTHORIZATION_FAILED: "group"}
        kind = kinds.get(error.code(), "topic")
        return Trouble("error", not_allowed(settings, [one for one in watch_rights(settings) if one.kind == kind]))
    said = settings.kafka.masked(error.str())
    if error.code() == KafkaError._AUTHENTICATION:
        return Trouble("error", f"{where}: {said}; look at sasl.username and its password in kafka.client.")
    return Trouble(
        "no-broker", f"{where} does not answer ({said}); it is asked again every second. Look whether its brokers run."
    )


def _offsets(found: Iterable[TopicPartition]) -> dict[Place, int]:
    """Of those that have one. Raises KafkaException."""
    offsets = {}
    for one in found:
        if one.error is not None:
            raise KafkaException(one.error)
        if one.offset >= 0:
            offsets[one.topic, one.partition] = one.offset
    return offsets


def _append_time(reader: Consumer, place: Place, offset: int) -> int | None:
    """None where no record came in time. Raises KafkaException."""
    reader.assign([TopicPartition(*place, offset)])
    try:
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            message = reader.poll(0.2)
            if message is not None and message.error() is None:
                return message.timestamp()[1] * 1_000
    finally:
        reader.unassign()
    return None
