"""Bandits as lines for a terminal. Law: a line says what the processors published, and nothing that was worked out.

A bandit that cannot be read is a line that says why, and the others follow.
"""

from collections.abc import Iterator

from armstream.access import list_rights
from armstream.events import BanditSnapshot, DeadLetter, WeightVector
from armstream.keys import partition_of
from armstream.operating.reader import REQUEST_SECONDS, UPGRADE, Unreadable, latest, latest_snapshots, read_as, reader
from armstream.rules import UnknownRule, clips
from armstream.runtime.failures import Stopped
from armstream.runtime.intake import Record
from armstream.runtime.topics import partition_count, require
from armstream.settings import Settings
from armstream.waiting import Say, waiting


def listed(settings: Settings, bandit_id: str | None, say: Say) -> Iterator[str]:
    """A line for each bandit, or for one, and for its arms and experts; `say` is told of waits.

    Raises Stopped where Kafka does not answer, or has no weights of the one that is asked for, and at the end where
    some could not be read.
    """
    names = settings.topics.names
    require(settings, list_rights(settings), say)
    count = partition_count(settings, names.weights, say)
    numbers = range(count) if bandit_id is None else [partition_of(bandit_id.encode(), count)]
    where = f"{names.weights} and {names.snapshots} of Kafka at {settings.kafka.bootstrap_servers}"
    with reader(settings) as consumer, waiting(where, 2 * REQUEST_SECONDS, say):
        vectors = latest(consumer, names.weights, numbers)
        snapshots = latest_snapshots(consumer, names, numbers)
        is_missing = bandit_id is not None and bandit_id.encode() not in vectors
        letters = latest(consumer, names.dead_letters, numbers) if is_missing else {}
    found = {key: value for key, value in vectors.items() if bandit_id is None or key == bandit_id.encode()}
    if not found and bandit_id is not None:
        refused = _refused(letters.get(bandit_id.encode()))
        raise Stopped(f"no weights of {bandit_id!r} yet{refused}; the same command without it lists all that there are")
    if not found:
        yield "no bandit has published weights yet"
    unreadable = 0
    for key in sorted(found.keys() & snapshots.keys()):
        try:
            yield from _lines(read_as(found[key], WeightVector), read_as(snapshots[key], BanditSnapshot))
        except (Unreadable, UnknownRule) as error:
            unreadable += 1
            yield f"{key.decode(errors='replace')}  cannot be read: {error}"
    if unreadable:
        raise Stopped(f"{unreadable} could not be read: {UPGRADE}")


def _refused(letter: Record | None) -> str:
    """What became of the last input of a bandit that was a dead letter."""
    if letter is None:
        return ""
    try:
        event = read_as(letter, DeadLetter)
    except Unreadable as error:
        return f": its last dead letter cannot be read: {error}: {UPGRADE}"
    return f": its last dead letter is {event.error_class}, {event.error}"


def _lines(vector: WeightVector, snapshot: BanditSnapshot) -> Iterator[str]:
    state = "PAUSED" if snapshot.paused else vector.phase
    bound = f"{vector.reward_bound_bps:,.1f} bps" if vector.reward_bound_bps else "not found yet"
    clipped = f"  reward bound {bound}" if clips(vector) else ""
    yield f"{vector.bandit_id}  {state}  version {vector.version}  {vector.total_steps} decisions{clipped}"
    earned = {arm.name: arm for arm in snapshot.arms}
    width = max((len(arm.name) for arm in vector.arms), default=0)
    for arm in vector.arms:
        kept = earned.get(arm.name)
        pulls = "" if kept is None else f"  {kept.pulls} pulls  {kept.cumulative_reward_bps:+.1f} bps"
        yield f"  {arm.name:<{width}}  weight {arm.weight:.4f}  probability {arm.probability:.4f}{pulls}"
    for expert in vector.experts:
        yield f"  expert {expert.name}  weight {expert.weight:.4f}{'' if expert.distribution else '  of engines'}"
