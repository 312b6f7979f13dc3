"""The group's offsets set back to the task snapshots'. Law: an offset is never set past what its snapshot applied.

Snapshots and offsets leave one transaction together, here as in a processor. Meanwhile this is the group's only member:
who joins then gets partitions afterwards, and a process that was thrown out cannot commit.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from msgspec.structs import replace

from armstream.access import REFUSALS, Right, to_snapshots_rights, why_refused
from armstream.codec import encode
from armstream.events import TaskSnapshot
from armstream.keys import TASK_KEY
from armstream.operating.group import only_member, refuse_members
from armstream.operating.reader import REQUEST_SECONDS
from armstream.operating.standing import Standing, standings
from armstream.runtime.failures import Stopped
from armstream.runtime.identity import ANEW, LOST_INPUT, ask, grown, identities, those_of_before
from armstream.runtime.snapshots import HEADERS
from armstream.runtime.topics import admin_client, check, partition_count, require
from armstream.settings import Settings
from armstream.waiting import Say, waiting

_CALL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """What is set for one task: offsets by topic, and its snapshot with today's topic ids where it is written."""

    task: int
    offsets: Mapping[str, int] = field(default_factory=dict)
    before: Mapping[str, int] = field(default_factory=dict)
    snapshot: TaskSnapshot | None = None
    topic: str = ""  # that it is written on

    def __str__(self) -> str:
        moves = [f"{name} from {self.before.get(name, 'nothing')} to {to}" for name, to in self.offsets.items()]
        return f"task {self.task}: {', '.join([*moves, *(['topic ids'] if self.snapshot else [])])}"


def to_snapshots(settings: Settings, *, accept_topics: bool, dry_run: bool, say: Say) -> Iterator[str]:
    """Sets the group's offsets to the snapshots', and gives a line for each task where something is set.

    A `dry_run` gives the same lines and changes nothing. With `accept_topics` snapshots of other topics are taken for
    these, which must have the same records at the same offsets. Raises Stopped where it refuses, or Kafka does not
    answer; then nothing was changed.
    """
    require(settings, to_snapshots_rights(settings), say)
    blocking = next((difference for difference in check(settings, say) if difference.blocks), None)
    if blocking is not None:
        raise Stopped(str(blocking))
    refuse_members(settings, settings.kafka.group_id, say)
    count = partition_count(settings, settings.topics.names.inputs[0], say)
    topic_ids = _topic_ids(settings, say)
    steps = plan(settings, standings(settings, count, say), topic_ids, accept_topics)
    if not steps:
        yield f"the offsets of group {settings.kafka.group_id!r} are those of its snapshots: there is nothing to set"
    elif dry_run:
        yield from (f"would set {step}" for step in steps)
        yield "nothing was changed"
    else:
        with only_member(settings, count, say) as member:
            if plan(settings, standings(settings, count, say), topic_ids, accept_topics) != steps:
                raise Stopped("somebody moved offsets or snapshots meanwhile: ask again; nothing was changed")
            _commit(settings, steps, member, say)
        yield from (f"set {step}" for step in steps)


def plan(
    settings: Settings, found: Sequence[Standing], topic_ids: Mapping[str, str], accept_topics: bool
) -> list[Step]:
    """The steps, for each task where something is to be set. Raises Stopped where one must not be taken."""
    if all(standing.snapshot is None for standing in found):
        raise Stopped(f"there is no snapshot on {settings.topics.names.snapshots}; {ANEW}")
    steps = []
    for standing in found:
        if standing.snapshot is None:
            _refuse_lost_state(settings, standing)
            continue
        _refuse_foreign(settings, standing, standing.snapshot, len(found))
        others = _other_topics(settings, standing, standing.snapshot, topic_ids)
        if others and not accept_topics:
            raise Stopped(
                f"task {standing.task}: the snapshot is of other topics than these: {', '.join(others)}. Where they "
                f"hold the same records at the same offsets: --accept-topics. Where they do not: {ANEW}"
            )
        offsets = {name: standing.snapshot.next_offset[name] for name in _stands_in(settings, standing)}
        moved = {name: offset for name, offset in offsets.items() if standing.committed.get(name) != offset}
        if moved and not standing.snapshot.topic_ids and not accept_topics:
            raise Stopped(
                f"task {standing.task}: the snapshot does not say of which topics it is: an older processor wrote it. "
                f"Where none was deleted and made anew since: --accept-topics. Else: {ANEW}"
            )
        _refuse_to_go_back(settings, standing, moved, accept_topics)
        named = {name: topic_ids[name] for name in standing.snapshot.topic_ids if name in topic_ids}
        written = replace(standing.snapshot, topic_ids=named) if others else None
        if moved or written:
            steps.append(
                Step(
                    standing.task,
                    moved,
                    standing.committed,
                    written,
                    standing.state.bandit_snapshots if written else "",
                )
            )
    return steps


def _refuse_lost_state(settings: Settings, standing: Standing) -> None:
    if standing.committed or standing.has_published:
        stands = f"the group stands at {dict(standing.committed)}" if standing.committed else "it has published"
        raise Stopped(
            f"task {standing.task}: {stands}, and there is no snapshot of it on "
            f"{settings.topics.names.snapshots}: what was learned is gone; {ANEW}"
        )


def _refuse_foreign(settings: Settings, standing: Standing, snapshot: TaskSnapshot, count: int) -> None:
    group = settings.kafka.group_id
    if snapshot.group not in ("", group):
        raise Stopped(
            f"task {snapshot.task}: the snapshot is of group {snapshot.group!r}, and kafka.group_id is {group!r}: "
            f"set it to {snapshot.group!r}, or take other output topics"
        )
    names = settings.topics.names
    for name in dict.fromkeys(standing.state):
        if snapshot.topic_ids and name not in snapshot.topic_ids:
            raise Stopped(
                f"task {snapshot.task}: its state is not on {name}: set topics.prefix and the names back. Else: {ANEW}"
            )
    if snapshot.partitions not in (0, count):
        raise Stopped(grown(names.inputs[0], snapshot.partitions, count))


def _refuse_to_go_back(settings: Settings, standing: Standing, moved: Mapping[str, int], accept_topics: bool) -> None:
    """A state of before that the group is ahead of may be what was left when the newer one was lost."""
    names = settings.topics.names
    is_behind = any(standing.committed.get(name, 0) > offset for name, offset in moved.items())
    if standing.state != names.state and is_behind and not accept_topics:
        raise Stopped(
            f"task {standing.task}: its state stands on {standing.state.bandit_snapshots}, not on {names.snapshots}, "
            "and the group stands beyond it. Where somebody moved the offsets: --accept-topics. Where "
            f"{names.snapshots} held a newer state and was deleted, that one is lost: {ANEW}"
        )


def _other_topics(
    settings: Settings, standing: Standing, snapshot: TaskSnapshot, topic_ids: Mapping[str, str]
) -> list[str]:
    """What is read, inputs and state, and is not the snapshot's. A start takes other outputs as they are."""
    read = dict.fromkeys((*settings.topics.names.inputs, *standing.state))
    return [name for name in read if snapshot.topic_ids.get(name, topic_ids.get(name)) != topic_ids.get(name)]


def _stands_in(settings: Settings, standing: Standing) -> Iterator[str]:
    """The inputs that the snapshot stands in. Raises Stopped where its offset is not one of theirs."""
    assert standing.snapshot is not None
    stands, inputs = standing.snapshot.next_offset, settings.topics.names.inputs
    strange = [name for name in stands if name not in inputs]
    if strange:
        raise Stopped(
            f"task {standing.task}: the snapshot stands in {', '.join(strange)}, and the inputs are "
            f"{', '.join(inputs)}: topics that were moved must keep their names; {ANEW}"
        )
    for name in inputs:
        low, high = standing.marks[name]
        if name not in stands:
            if name in standing.committed:
                group = settings.kafka.group_id
                raise Stopped(
                    f"task {standing.task}: the snapshot has read nothing of {name}, and the group stands at "
                    f"{standing.committed[name]}: `kafka-consumer-groups.sh --bootstrap-server "
                    f"{settings.kafka.bootstrap_servers} --group {group} --delete-offsets --topic {name}` lets it "
                    "begin at the beginning"
                )
        elif stands[name] < low:
            lost = f"{name}:{standing.task}: records {stands[name]} to {low - 1}"
            raise Stopped(f"{lost} were deleted unread; {LOST_INPUT}")
        elif stands[name] > high:
            raise Stopped(
                f"{name}:{standing.task} ends at {high}, and the snapshot has applied what was before {stands[name]}: "
                f"the topic was made anew, or a copy of it is not whole; {ANEW}"
            )
        else:
            yield name


def _topic_ids(settings: Settings, say: Say) -> dict[str, str]:
    admin, where = admin_client(settings), f"Kafka at {settings.kafka.bootstrap_servers}"
    with waiting(where, 2 * REQUEST_SECONDS, say):
        try:
            names = settings.topics.names
            found = {**identities(ask(admin, names.all)), **those_of_before(ask(admin, names.state_before))}
        except (KafkaException, TimeoutError) as failure:
            reason = settings.kafka.masked(str(failure)) or "it did not answer"
            raise Stopped(f"{where}: the topics' ids: {reason}") from failure
    return {name: one.topic_id for name, one in found.items() if one is not None}


def _commit(settings: Settings, steps: Sequence[Step], member: Consumer, say: Say) -> None:
    """All of it in one transaction. Raises Stopped where it is not known to have been committed."""
    producer = Producer(
        {**settings.producer_configuration(), "transactional.id": settings.reset_transactional_id, "log_level": 0}
    )
    offsets = [TopicPartition(name, step.task, to) for step in steps for name, to in step.offsets.items()]
    try:
        producer.init_transactions(_CALL_SECONDS)
        producer.begin_transaction()
        for step in steps:
            if step.snapshot is not None:
                producer.produce(step.topic, encode(step.snapshot), TASK_KEY, partition=step.task, headers=HEADERS)
        if offsets:
            producer.send_offsets_to_transaction(offsets, member.consumer_group_metadata(), _CALL_SECONDS)
        producer.commit_transaction(_CALL_SECONDS)
    except KafkaException as failure:
        error = failure.args[0]
        if error.code() in REFUSALS:
            before = Right("Write", "topic", settings.topics.names.bandit_snapshots)
            rights = (
                *to_snapshots_rights(settings),
                *([before] if any(step.topic == before.name for step in steps) else []),
            )
            raise Stopped(why_refused(settings, error, rights, say)) from failure
        reason = settings.kafka.masked(error.str())
        raise Stopped(
            f"the transaction failed: {reason}; `armstream reset to-snapshots --dry-run` says what holds now"
        ) from failure
    finally:
        with suppress(KafkaException):  # a producer that has failed for good raises it again
            producer.close()
