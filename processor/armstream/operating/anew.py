"""A new group that learns again from the beginning of the inputs. Law: what exists is not changed, and serves on."""

import json
from collections.abc import Iterator

from pydantic import ValidationError

from armstream.access import anew_rights
from armstream.kafka_settings import KafkaSettings
from armstream.operating.group import refuse_members, refuse_offsets
from armstream.operating.reader import reader, watermarks
from armstream.runtime.failures import Stopped
from armstream.runtime.topics import create, partition_count, partition_counts, require
from armstream.settings import Settings, TopicSettings
from armstream.waiting import Say

_OUTPUTS = ("weights", "rewards", "snapshots", "bandit_snapshots", "position_snapshots", "dead_letters")


def anew(
    settings: Settings, *, group: str, suffix: str, accept_deleted: bool, dry_run: bool, say: Say
) -> Iterator[str]:
    """Makes the output topics of a new group, and gives the lines of a settings file for it; all others are comments.

    The new topics' names are today's with the suffix. A `dry_run` gives the same and makes nothing. Raises Stopped
    where Kafka does not answer, and where it refuses: a group that is not new, topics that hold something, inputs that
    lack their beginning, unless `accept_deleted`.
    """
    new = _renamed(settings, group, suffix)
    require(new, anew_rights(new), say)
    count = partition_count(settings, settings.topics.names.inputs[0], say)
    new = new.model_copy(update={"topics": new.topics.model_copy(update={"partitions": count})})
    refuse_members(settings, group, say)
    refuse_offsets(settings, group, say)
    made = _to_be_made(new, say)
    lacking = _deleted(settings, count)
    if lacking and not accept_deleted:
        raise Stopped(
            f"{'; '.join(lacking)}: what they taught, and the positions that they opened, would be lacking; "
            "to begin without them: --accept-deleted"
        )
    if not dry_run:
        create(new, say)
    yield from (f"# {'would make' if dry_run else 'made'} {name}" for name in made)
    yield from (f"# lacking, and not learned from: {what}" for what in lacking)
    yield from _file(settings, new)
    if dry_run:
        yield "# nothing was changed"


def _renamed(settings: Settings, group: str, suffix: str) -> Settings:
    """The settings of the new group. Raises Stopped where they are none."""
    if group == settings.kafka.group_id or not suffix:
        raise Stopped("--group and --suffix must name another group and other topics than today's")
    names = {output: getattr(settings.topics, output) + suffix for output in _OUTPUTS}
    try:
        kafka = KafkaSettings.model_validate({**dict(settings.kafka), "group_id": group})
        topics = TopicSettings.model_validate({**dict(settings.topics), **names})
    except ValidationError as error:
        detail = error.errors()[0]
        raise Stopped(f"--group {group!r}, --suffix {suffix!r}: {detail['msg']}") from None
    return settings.model_copy(update={"kafka": kafka, "topics": topics})


def _to_be_made(new: Settings, say: Say) -> list[str]:
    """The output topics that do not exist. Raises Stopped where an input does not, or an output holds something."""
    names, existing = new.topics.names, partition_counts(new, say)
    missing = [name for name in names.inputs if name not in existing]
    if missing:
        raise Stopped(
            f"there is no topic {', '.join(missing)}: inputs are read from their beginning, and must be there"
        )
    outputs = [name for name in names.all if name not in names.inputs]
    with reader(new, "read_uncommitted") as ends:
        for name in outputs:
            if name in existing and any(watermarks(ends, name, number)[1] for number in range(existing[name])):
                raise Stopped(f"topic {name} is not new: it has held records; name another --suffix")
    return [name for name in outputs if name not in existing]


def _deleted(settings: Settings, count: int) -> list[str]:
    """Which records are gone from the inputs' beginnings."""
    with reader(settings, "read_uncommitted") as ends:
        lows = {
            f"{name}:{number}": watermarks(ends, name, number)[0]
            for name in settings.topics.names.inputs
            for number in range(count)
        }
    return [f"{place} has lost its records 0 to {low - 1}" for place, low in lows.items() if low > 0]


def _file(settings: Settings, new: Settings) -> Iterator[str]:
    """What differs from today's settings file. Names are quoted: 007 is text."""
    old_weights, weights = settings.topics.names.weights, new.topics.names.weights
    yield "# For the processors of the new group, over the settings of today's; variables of the environment come last."
    yield "kafka:"
    yield f"  group_id: {json.dumps(new.kafka.group_id)}"
    yield "topics:"
    yield from (f"  {output}: {json.dumps(getattr(new.topics, output))}" for output in _OUTPUTS)
    yield f"# Engines follow {weights} from now on, not {old_weights}: topics.weights in their settings, and a restart."
    yield "# Versions begin again at 1 there. A follower ignores what is not above the last version that it saw, so"
    yield "# nothing of the new topic may be copied to the old one. Today's group may serve engines until they change."
