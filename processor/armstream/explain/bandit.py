"""`armstream explain`, and what the page asks: one vector of one bandit. Law: rights are asked for first, and reading
is all that it needs."""

from armstream.access import explain_rights
from armstream.explain.facts import Explanation, NotThere, TooLong
from armstream.explain.lines import lines_of
from armstream.explain.log import PartitionTopics
from armstream.explain.vector import explain
from armstream.keys import partition_of
from armstream.operating.reader import reader
from armstream.runtime.topics import partition_count, require
from armstream.settings import Settings
from armstream.waiting import Say

__all__ = ["Explanation", "NotThere", "TooLong", "explained", "lines_of"]

PATIENCE_SECONDS = 600.0


def explained(
    settings: Settings,
    bandit_id: str,
    *,
    version: int | None = None,
    at_micros: int | None = None,
    say: Say,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Explanation:
    """The vector that a version was published with, or the newest that was published by a time.

    `say` is told of waits, and how far it is. Raises NotThere, TooLong, and Stopped where Kafka does not answer.
    """
    if (version is None) == (at_micros is None):
        raise ValueError("give either a version or a time")
    names = settings.topics.names
    require(settings, explain_rights(settings), say)
    number = partition_of(bandit_id.encode(), partition_count(settings, names.rewards, say))
    with reader(settings) as consumer:
        topics = PartitionTopics(settings, bandit_id, number, consumer, say, patience_seconds)
        return explain(topics, bandit_id, version=version, at_micros=at_micros)
