"""What stands on a topic, a line of JSON a record. Law: a record that cannot be read is shown, and stops nothing; no
topic is ever held in memory."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError

from armstream.access import cat_rights
from armstream.keys import is_of, partition_of
from armstream.operating.json_lines import line, record_values
from armstream.operating.reader import REQUEST_SECONDS, reader, records
from armstream.operating.spans import CONSUMER, Partition, Span, begin, merged, newest, spans_of
from armstream.runtime.failures import Stopped
from armstream.runtime.intake import Record
from armstream.runtime.topics import partition_counts, require
from armstream.settings import Settings, Topics
from armstream.waiting import Say, waiting

_SAY_AFTER_SECONDS = 2.0
_SAY_EVERY_SECONDS = 10.0

Wanted = Callable[[Record], bool]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records: of one bandit, not before `from_ms`, before `until_ms`, the `last` of those."""

    bandit_id: str | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    last: int | None = None

    def is_in_time(self, record: Record) -> bool:
        appended_ms = record.timestamp()[1]
        if self.from_ms is not None and appended_ms < self.from_ms:
            return False
        return self.until_ms is None or appended_ms < self.until_ms

    def has(self, record: Record) -> bool:
        """All but `last`."""
        is_asked_for = self.bandit_id is None or is_of(record.key(), self.bandit_id.encode())
        return is_asked_for and self.is_in_time(record)


def cat(
    settings: Settings, topic: str, selection: Selection, *, follow: bool, say: Say, is_read: Callable[[], bool]
) -> Iterator[str]:
    """A line for each record that stands committed now, by time, and with `follow` for each that comes, as it comes.

    `topic` is a topic's name, or its setting. `is_read` is asked while nothing comes whether anybody still reads the
    lines; `say` is told of waits. Raises Stopped where there is no such topic, or Kafka does not answer.
    """
    names = topics_named(settings.topics.names, settings.topics.prefix, topic)
    require(settings, cat_rights(settings, names), say)
    partitions = _partitions(settings, names, selection.bandit_id, say)
    with reader(settings, more={**CONSUMER, "error_cb": _teller(settings, say)}) as consumer:
        with waiting(f"the offsets of {topic}", 2 * REQUEST_SECONDS, say):
            spans = spans_of(consumer, partitions, selection.from_ms)
        for record in selected(consumer, spans, selection.last, selection.has, say):
            yield line(record_values(record))
        if follow:
            begin(consumer, {at: end for at, (_, end) in spans.items()})
            while is_read():
                for record in records(consumer):
                    if selection.has(record):
                        yield line(record_values(record))


def _teller(settings: Settings, say: Say) -> Callable[[KafkaError], None]:
    """Says what librdkafka hears of a broker that went away: nothing else would, while records are followed."""
    said_at = -_SAY_EVERY_SECONDS

    def tell(error: KafkaError) -> None:
        nonlocal said_at
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:  # it joins no group
            return
        if time.monotonic() - said_at >= _SAY_EVERY_SECONDS:
            said_at = time.monotonic()
            say(f"Kafka at {settings.kafka.bootstrap_servers}: {settings.kafka.masked(error.str())}")

    return tell


def topics_named(names: Topics, prefix: str, name: str) -> tuple[str, ...]:
    """The topics of a name, whole or without the prefix, or of a setting: `trades` may be two. Raises Stopped."""
    by_setting: dict[str, tuple[str, ...]] = {}
    for setting, topic in (*names.by_setting(), *names.state_before._asdict().items()):
        by_setting[setting] = (*by_setting.get(setting, ()), topic)
    whole = (*names.all, *names.state_before)
    if name in whole:
        return (name,)
    if name.replace("-", "_") in by_setting:
        return by_setting[name.replace("-", "_")]
    if prefix + name in whole:
        return (prefix + name,)
    raise Stopped(f"{name!r} is no topic of these settings, which are {', '.join(names.all)}")


def selected(
    consumer: Consumer, spans: Mapping[Partition, Span], last: int | None, wanted: Wanted, say: Say
) -> Iterator[Record]:
    """The records of the spans that are wanted, or the `last` of them, by time."""
    watched = _watched(wanted, sum(end - start for start, end in spans.values()), last is None, say)
    if last is not None:
        yield from newest(consumer, spans, last, watched)
    else:
        yield from filter(watched, merged(consumer, spans))


def _watched(wanted: Wanted, total: int, is_shown: bool, say: Say) -> Wanted:
    """The same, which says how far it is as long as nothing is shown."""
    looked_at, say_at = 0, time.monotonic() + _SAY_AFTER_SECONDS

    def watched(record: Record) -> bool:
        nonlocal looked_at, say_at
        looked_at += 1
        now = time.monotonic()
        is_wanted = wanted(record)
        if is_wanted and is_shown:
            say_at = now + _SAY_AFTER_SECONDS
        elif now > say_at:
            say_at = now + _SAY_EVERY_SECONDS
            say(f"{looked_at} records looked at, of {total} at most")
        return is_wanted

    return watched


def _partitions(settings: Settings, names: Iterable[str], bandit_id: str | None, say: Say) -> list[Partition]:
    """Those of the topics that hold the bandit's records. Raises Stopped where a topic is missing."""
    counts = partition_counts(settings, say)
    found: list[Partition] = []
    for name in names:
        if name not in counts:
            raise Stopped(f"there is no topic {name}: `armstream topics create`")
        numbers = range(counts[name]) if bandit_id is None else [partition_of(bandit_id.encode(), counts[name])]
        found += [(name, number) for number in numbers]
    return found
