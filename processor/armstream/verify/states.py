"""Where verify got to, a file a partition, so that the next run goes on from there.

Law: a state is replaced whole or not at all; one that is not whole, or of another group, other topics or another form,
is refused by name, and never begun anew in silence. What is read through is not kept in memory.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from armstream.codec import DecodeError, Event, decode, encode
from armstream.events import BanditSnapshot, PositionPage, PositionSnapshot
from armstream.settings import Settings
from armstream.standalone.persistence import write_atomic
from armstream.verify.published import PartitionLog, State

FORMAT = 1


class Unverifiable(Exception):
    """Nothing can be said about what was published; the text says why, in one line."""


class States:
    """Those of one group's partitions, in a folder; without one, in memory."""

    def __init__(
        self, folder: Path | None, settings: Settings, partition_count: int, topic_ids: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._names = settings.topics.names
        self._kept: dict[int, State] = {}
        self._of: dict[str, Any] = {
            "format": FORMAT,
            "group": settings.kafka.group_id,
            "topics": list(settings.topics.names.all),
            "partitions": partition_count,
            "topic_ids": dict(topic_ids),
        }

    def load(self, number: int) -> State | None:
        """Raises Unverifiable for a state that is not this group's, or not whole."""
        if self._folder is None:
            return self._kept.get(number)
        path = self._path(self._folder, number)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unverifiable(f"{path}: {error.strerror}") from error
        return self._read(path, number, content)

    def save(self, number: int, state: State) -> None:
        """Raises Unverifiable where it cannot be written."""
        if self._folder is None:
            self._kept[number] = state
            return
        path = self._path(self._folder, number)
        snapshots: list[Event] = [*state.bandits, *state.positions, *state.pages]
        content = {
            **self._of,
            "partition": number,
            "next_offset": dict(state.next_offset),
            "in_force": state.in_force,
            "snapshots": [b64encode(encode(one)).decode() for one in snapshots],
        }
        body = json.dumps(content, sort_keys=True).encode()
        try:
            write_atomic(path, [_checksum(body), b"\n", body])
        except OSError as error:
            raise Unverifiable(f"{path}: {error.strerror}") from error

    @staticmethod
    def _path(folder: Path, number: int) -> Path:
        return folder / f"partition-{number}.state"

    def _read(self, path: Path, number: int, content: bytes) -> State:
        checksum, _, body = content.partition(b"\n")
        if checksum != _checksum(body):
            raise Unverifiable(f"{path} is not whole, or was altered: remove it, and verify begins without it")
        try:
            head = json.loads(body)
        except ValueError as error:
            raise Unverifiable(f"{path} was written by another version: {error}; remove it") from error
        head.setdefault("topic_ids", self._of["topic_ids"])  # an older version did not say
        is_of_before = self._names.snapshots not in head.get("topics", ())
        for name, ours in {**self._of, "partition": number}.items():
            if head.get(name) != ours and not (is_of_before and self._are_same_but_for_state(head.get(name), ours)):
                raise Unverifiable(
                    f"{path} is of another {name}: {head.get(name)!r}, not {ours!r}; give another --state"
                )
        try:
            snapshots = [decode(b64decode(value)) for value in head["snapshots"]]
        except DecodeError as error:
            raise Unverifiable(f"{path} was written by another version: {error}; remove it") from error
        bandits = [one for one in snapshots if isinstance(one, BanditSnapshot)]
        positions = [one for one in snapshots if isinstance(one, PositionSnapshot)]
        pages = [one for one in snapshots if isinstance(one, PositionPage)]
        return State(head["next_offset"], head["in_force"], bandits, positions, pages)

    def _are_same_but_for_state(self, theirs: object, ours: object) -> bool:
        """Whether two lists of topics, or their ids, differ in nothing but where the state stands."""
        of_state = {self._names.snapshots, *self._names.state_before}
        if isinstance(theirs, dict) and isinstance(ours, dict):
            kept = [{name: one[name] for name in one if name not in of_state} for one in (theirs, ours)]
            return kept[0] == kept[1]
        if isinstance(theirs, list) and isinstance(ours, list):
            return set(theirs) - of_state == set(ours) - of_state
        return False


def require_reachable(state: State, log: PartitionLog) -> None:
    """Raises Unverifiable where records behind the state are gone, or the task has gone back behind it."""
    for name in (*log.topics.inputs, log.topics.rewards):
        begin, first = state.next_offset.get(name, 0), log.first[name]
        if first > begin:
            raise Unverifiable(
                f"{name}:{log.number}: the state stands at {begin}, and what is kept begins at {first}; verify more "
                "often than retention deletes. To begin anew from the processor's snapshots, give an empty --state"
            )
    for name in log.topics.inputs:
        begin, stands_at = state.next_offset.get(name, 0), log.stands_at.get(name, 0)
        if stands_at < begin:
            raise Unverifiable(
                f"{name}:{log.number}: the state stands at {begin}, and the task at {stands_at}: the topics were made "
                "anew; give an empty --state"
            )


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
