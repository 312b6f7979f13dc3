"""What a part of a transaction publishes: the stages' outputs as bytes, by topic and partition.

Every output goes to its task's own partition. A cut is made here, from the batch index that the stage names and the
offsets that only the runtime knows. The task snapshot says in a header which version of the program wrote it: who
cannot read the schema can read that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from armstream.codec import encode, encode_audited, encode_cut, encode_dead_letter
from armstream.core.published import Published
from armstream.events import TaskSettings, TaskSnapshot, WeightVector
from armstream.keys import TASK_KEY, claim_key, page_key, position_key
from armstream.runtime.identity import Identity
from armstream.runtime.intake import Record
from armstream.runtime.snapshots import HEADERS
from armstream.settings import Topics
from armstream.stages.pipeline import Applied

Output = dict[str, Any]  # a key and a value, as produce_batch takes them; no value is a tombstone


@dataclass(frozen=True, slots=True)
class Publication:
    """Records by (topic, partition), in the order in which they are to be read; only a last one may have headers. With
    them the next offsets of the inputs that they are made of."""

    records: dict[tuple[str, int], list[Output]] = field(default_factory=dict)
    next_offsets: dict[tuple[str, int], int] = field(default_factory=dict)

    def move(self, partition: int, next_offset: Mapping[str, int]) -> None:
        """The inputs of a task, by topic, are read on from there once this is committed."""
        self.next_offsets.update({(topic, partition): offset for topic, offset in next_offset.items()})

    def add(self, topic: str, partition: int, records: list[Output]) -> None:
        if records:
            self.records.setdefault((topic, partition), []).extend(records)


def cuts_of(
    records: Sequence[Record], next_offset: Mapping[str, int], indexes: Sequence[int]
) -> tuple[list[bytes], dict[str, int]]:
    """The encoded cut behind each batch index (non-decreasing), and the next offsets after the whole batch."""
    offsets, at = dict(next_offset), 0
    cuts: list[bytes] = []
    last_index, cut = -1, b""
    for index in indexes:
        if index != last_index:
            while at <= index:
                record = records[at]
                offsets[record.topic()] = record.offset() + 1
                at += 1
            last_index, cut = index, encode_cut(offsets)
        cuts.append(cut)
    for record in records[at:]:
        offsets[record.topic()] = record.offset() + 1
    return cuts, offsets


def publish_settings(
    publication: Publication, topics: Topics, task: int, settings: str, next_offset: Mapping[str, int]
) -> None:
    """Adds that a task obeys these settings from its next offsets on. It comes before what is published under them."""
    record = TaskSettings(task, settings, next_offset)
    publication.add(topics.rewards, task, [{"key": TASK_KEY, "value": encode(record)}])


def publish_claim(publication: Publication, topics: Topics, identity: Identity, instance: str) -> None:
    """Adds that this process's group wants to be the one that these topics serve."""
    claim = TaskSnapshot(0, {}, "", identity.group, identity.topic_ids, identity.partitions)
    record = {"key": claim_key(identity.group, instance), "value": encode(claim)}
    publication.add(topics.snapshots, 0, [record])


def publish_vectors(publication: Publication, topics: Topics, task: int, vectors: Iterable[WeightVector]) -> None:
    """Adds vectors, in the order in which they are to be read."""
    records = [{"key": vector.bandit_id.encode(), "value": encode(vector)} for vector in vectors]
    publication.add(topics.weights, task, records)


def publish_task(
    publication: Publication,
    topics: Topics,
    task: int,
    applied: Applied,
    records: Sequence[Record],
    next_offset: Mapping[str, int],
    ends: Mapping[str, int],
    settings: str,
    identity: Identity,
) -> dict[str, int]:
    """Adds all that one task's part of a batch publishes; gives the task's next offsets after it.

    `settings` are those that it was applied under, as the audit log has them; `identity` says whose the task is.
    `ends` are the ends of partitions that were reached: behind the last record stand no records, but maybe the marks
    of a producer's transactions, which must not look like input to come.
    """
    audit_cuts, after = cuts_of(records, next_offset, applied.audit_indexes)
    after |= {topic: end for topic, end in ends.items() if end > after[topic]}
    dead_letter_cuts, _ = cuts_of(records, next_offset, applied.dead_letter_indexes)
    publication.add(
        topics.rewards,
        task,
        [
            {"key": audited.bandit_id.encode(), "value": encode_audited(audited, cut)}
            for audited, cut in zip(applied.audit, audit_cuts, strict=True)
        ],
    )
    publish_vectors(publication, topics, task, applied.weight_vectors)
    publication.add(
        topics.snapshots,
        task,
        [
            *(
                {"key": page_key(page.bandit_id, page.position_id, page.number).encode(), "value": encode(page)}
                for page in applied.position_pages
            ),
            *(
                {"key": position_key(position.bandit_id, position.position_id).encode(), "value": encode(position)}
                for position in applied.position_snapshots
            ),
            *({"key": key.encode()} for key in applied.forgotten),
            *({"key": bandit.bandit_id.encode(), "value": encode(bandit)} for bandit in applied.bandit_snapshots),
            *({"key": bandit_id.encode()} for bandit_id in applied.forgotten_bandits),
            _standing(task, after, settings, identity),
        ],
    )
    publication.add(
        topics.dead_letters,
        task,
        [
            {"key": letter.source.key, "value": encode_dead_letter(letter, cut)}
            for letter, cut in zip(applied.dead_letters, dead_letter_cuts, strict=True)
        ],
    )
    return after


def publish_core(
    publication: Publication,
    topics: Topics,
    task: int,
    published: Published,
    ends: Mapping[str, int],
    settings: str,
    identity: Identity,
) -> dict[str, int]:
    """As publish_task, of what the native core wrote already."""
    after = dict(published.next_offset)
    after |= {topic: end for topic, end in ends.items() if end > after[topic]}
    publication.add(topics.rewards, task, published.audit)
    publication.add(topics.weights, task, published.weight_vectors)
    standing = _standing(task, after, settings, identity)
    publication.add(topics.snapshots, task, [*published.positions, *published.bandit_snapshots, standing])
    publication.add(topics.dead_letters, task, published.dead_letters)
    return after


def _standing(task: int, after: Mapping[str, int], settings: str, identity: Identity) -> Output:
    """The task's own snapshot, behind all others."""
    snapshot = TaskSnapshot(task, after, settings, identity.group, identity.topic_ids, identity.partitions)
    return {"key": TASK_KEY, "value": encode(snapshot), "headers": HEADERS}
