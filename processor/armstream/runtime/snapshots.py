"""Snapshots as they stand in their topics. Law: a form that this version does not know is refused, in one line, with
the version that wrote it and how to go on; that version stands in a header, which needs no schema.
"""

from collections.abc import Mapping
from typing import Final, cast

from confluent_kafka import Message

from armstream import __version__
from armstream.codec import DecodeError, Event, decode
from armstream.events import TaskSnapshot
from armstream.runtime.identity import ANEW
from armstream.runtime.intake import Record, headers_of

WRITER: Final = "armstream.version"
HEADERS: Final[dict[str, str | bytes | None]] = {WRITER: __version__}  # of each task snapshot

_SCHEMA_VERSION: Final = 1

Values = Mapping[bytes, bytes]  # the last of each key


def decoded(value: bytes) -> Event:
    """Raises DecodeError, also for a snapshot of another form under the same schema."""
    snapshot = decode(value)
    form = getattr(snapshot, "schema_version", _SCHEMA_VERSION)
    if form != _SCHEMA_VERSION:
        raise DecodeError(f"a {type(snapshot).__name__} of schema_version {form}, and {_SCHEMA_VERSION} is known")
    return snapshot


def is_of_now(now: TaskSnapshot | None, before: TaskSnapshot | None) -> bool:
    """Whether the state of now is the one that holds; else it is the one of before, or there is none.

    Where an older processor had the task again after it was moved, and moved it on, that one is ahead.
    """
    return now is not None and (before is None or not before.is_ahead_of(now))


def writer_of(message: Message) -> str:
    """The version that wrote a task snapshot; "" where it does not say."""
    said = next((one.value for one in headers_of(cast(Record, message)) if one.name == WRITER), None)
    return "" if said is None else said.decode(errors="replace")


def unreadable(place: str, error: Exception, writer: str = "") -> str:
    """The line about a snapshot that this version cannot restore."""
    wrote = f"armstream {writer} wrote the newest there" if writer else "the newest there does not say who wrote it"
    return (
        f"{place}: {error}; {wrote}, and this is {__version__}: nothing was changed. Go on with the version that wrote "
        f"it, or a later one; to stay with this one, {ANEW}"
    )
