"""Bandits as lines for a terminal. Law: a line says what the processors published, and nothing that was worked out."""

from collections.abc import Iterator

from armstream.access import list_rights
from armstream.codec import decode
from armstream.events import BanditSnapshot, DeadLetter, WeightVector
from armstream.keys import partition_of
from armstream.operating.reader import REQUEST_SECONDS, latest, reader
from armstream.rules import UnknownRule, clips
from armstream.runtime.failures import Stopped
from armstream.runtime.topics import partition_count, require
from armstream.settings import Settings
from armstream.waiting import Say, waiting


def listed(settings: Settings, bandit_id: str | None, say: Say) -> Iterator[str]:
    """A line for each bandit, or for one, and for its arms and experts; `say` is told of waits.

    Raises Stopped where Kafka does not answer, or has no weights of the one that is asked for, and for a bandit whose
    rule this version does not know.
    """
    names = settings.topics.names
    require(settings, list_rights(settings), say)
    count = partition_count(settings, names.weights, say)
    numbers = range(count) if bandit_id is None else [partition_of(bandit_id.encode(), count)]
    where = f"{names.weights} and {names.bandit_snapshots} of Kafka at {settings.kafka.bootstrap_servers}"
    with reader(settings) as consumer, waiting(where, 2 * REQUEST_SECONDS, say):
        vectors = latest(consumer, names.weights, numbers)
        snapshots = latest(consumer, names.bandit_snapshots, numbers)
        is_missing = bandit_id is not None and bandit_id.encode() not in vectors
        letters = latest(consumer, names.dead_letters, numbers) if is_missing else {}
    found = {key: value for key, value in vectors.items() if bandit_id is None or key == bandit_id.encode()}
    if not found and bandit_id is not None:
        refused = _refused(letters.get(bandit_id.encode()))
        raise Stopped(f"no weights of {bandit_id!r} yet{refused}; the same command without it lists all that there are")
    if not found:
        yield "no bandit has published weights yet"
    for key in sorted(found.keys() & snapshots.keys()):
        vector, snapshot = decode(found[key]), decode(snapshots[key])
        if isinstance(vector, WeightVector) and isinstance(snapshot, BanditSnapshot):
            try:
                yield from _lines(vector, snapshot)
            except UnknownRule as unknown:
                raise Stopped(f"bandit {vector.bandit_id!r}: {unknown}") from unknown


def _refused(letter: bytes | None) -> str:
    """What became of the last input of a bandit that was a dead letter."""
    event = None if letter is None else decode(letter)
    return f": its last dead letter is {event.error_class}, {event.error}" if isinstance(event, DeadLetter) else ""


def _lines(vector: WeightVector, snapshot: BanditSnapshot) -> Iterator[str]:
    state = "PAUSED" if snapshot.paused else vector.phase
    bound = f"{vector.reward_bound_bps:,.1f} bps" if vector.reward_bound_bps else "not found yet"
    clipped = f"  reward bound {bound}" if clips(vector) else ""
    yield f"{vector.bandit_id}  {state}  version {vector.version}  {vector.total_steps} decisions{clipped}"
    earned = {arm.name: arm for arm in snapshot.arms}
    width = max(len(arm.name) for arm in vector.arms)
    for arm in vector.arms:
        kept = earned.get(arm.name)
        pulls = "" if kept is None else f"  {kept.pulls} pulls  {kept.cumulative_reward_bps:+.1f} bps"
        yield f"  {arm.name:<{width}}  weight {arm.weight:.4f}  probability {arm.probability:.4f}{pulls}"
    for expert in vector.experts:
        yield f"  expert {expert.name}  weight {expert.weight:.4f}{'' if expert.distribution else '  of engines'}"
