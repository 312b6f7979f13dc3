"""What other settings will do to bandits that have learned. Law: the snapshots are asked, and nothing is changed."""

from armstream.events import BanditSnapshot
from armstream.operating.reader import REQUEST_SECONDS, UPGRADE, Unreadable, latest_snapshots, read_as, reader
from armstream.runtime.failures import Stopped
from armstream.runtime.topics import partition_count
from armstream.settings import Settings
from armstream.waiting import Say, waiting


def to_begin_anew(settings: Settings, say: Say) -> dict[str, str]:
    """The bandits that a processor with these settings resets: bandit_id -> what each was learned under.

    That is LearningSettings.determining_json. `say` is told of waits. Raises Stopped where Kafka does not
    answer, and for a snapshot that cannot be read.
    """
    registry = settings.bandit_registry()
    if registry.on_settings_change != "reset":
        return {}
    topic = settings.topics.names.snapshots
    count = partition_count(settings, topic, say)
    where = f"{topic} of Kafka at {settings.kafka.bootstrap_servers}"
    with reader(settings) as consumer, waiting(where, REQUEST_SECONDS, say):
        newest = latest_snapshots(consumer, settings.topics.names, range(count)).values()
    found: dict[str, str] = {}
    for record in newest:
        try:
            snapshot = read_as(record, BanditSnapshot)
        except Unreadable as error:
            raise Stopped(f"{error}: {UPGRADE}") from error
        now = registry.of(snapshot.bandit_id)
        if snapshot.arms and now is not None and now.difference(snapshot.settings):
            found[snapshot.bandit_id] = snapshot.settings
    return dict(sorted(found.items()))
