"""Why a client was fenced, in one line. Law: the group is asked, and nothing is guessed.

A group knows a static member by its instance name, and by the id that it gave to whoever joined last under that name.
An id that this process never had is another process's. Where the id is ours, or there is none, nobody else came: the
broker was silent for longer than a session. librdkafka then heartbeats without an id, and the group fences it for that.
"""

from collections.abc import Set
from concurrent.futures import TimeoutError as FutureTimeoutError

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import MemberDescription  # type: ignore[attr-defined]  # a public name, not declared so

from armstream.runtime.topics import admin_client
from armstream.settings import Settings

_REQUEST_SECONDS = 5.0


def is_fence(error: KafkaError) -> bool:
    return _is_members(error) or error.code() == KafkaError._FENCED or "fenced" in error.str().lower()


def cause_of_fence(settings: Settings, error: KafkaError, own_ids: Set[str]) -> str:
    """The line for an error that `is_fence`; `own_ids` are the member ids that this process had."""
    instance, group = settings.instance, settings.kafka.group_id
    name = f"the instance name {instance!r} in group {group!r}"
    if not _is_members(error):  # a producer's
        return f"another process has taken over {name}: each needs one of its own (--instance)"
    try:
        holder = _holder(settings)
    except (KafkaException, FutureTimeoutError) as failure:
        reason = failure.args[0].str() if isinstance(failure, KafkaException) else "no answer"
        return (
            f"fenced, and the group could not be asked who has {name} now ({reason}): start it again, and let no other "
            "process have that name (--instance)"
        )
    if holder is not None and holder.member_id not in own_ids:
        return f"another process, on {holder.host}, has taken over {name}: each needs one of its own (--instance)"
    return (
        f"the broker was silent for longer than kafka.session_timeout_ms, {settings.kafka.session_timeout_ms}, and the "
        f"session ended; nobody else has {name}: start it again"
    )


def _is_members(error: KafkaError) -> bool:
    """A consumer's fatal error comes with another code, and with this one's text."""
    return error.code() == KafkaError.FENCED_INSTANCE_ID or "Static consumer fenced" in error.str()


def _holder(settings: Settings) -> MemberDescription | None:
    """The member that the group knows by our instance name. Raises KafkaException or TimeoutError."""
    admin, group = admin_client(settings), settings.kafka.group_id  # named: a client that is freed never answers
    asked = admin.describe_consumer_groups([group], request_timeout=_REQUEST_SECONDS)[group]
    members: list[MemberDescription] = asked.result(2 * _REQUEST_SECONDS).members
    return next((member for member in members if member.group_instance_id == settings.instance), None)
