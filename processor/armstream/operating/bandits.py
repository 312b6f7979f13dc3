"""Bandits as lines for a terminal. Law: a line says what the processors published, and nothing that was worked out."""

from collections.abc import Iterator

from armstream.codec import decode
from armstream.events import BanditSnapshot, WeightVector
from armstream.keys import partition_of
from armstream.operating.reader import latest, reader
from armstream.rules import UnknownRule, clips
from armstream.runtime.failures import Stopped
from armstream.runtime.topics import partition_count
from armstream.settings import Settings


def listed(settings: Settings, bandit_id: str | None) -> Iterator[str]:
    """A line for each bandit, or for one, and for its arms and experts. Raises Stopped where Kafka does not answer, and
    for a bandit whose rule this version does not know."""
    names, count = settings.topics.names, partition_count(settings)
    numbers = range(count) if bandit_id is None else [partition_of(bandit_id.encode(), count)]
    with reader(settings) as consumer:
        vectors = latest(consumer, names.weights, numbers)
        snapshots = latest(consumer, names.bandit_snapshots, numbers)
    found = {key: value for key, value in vectors.items() if bandit_id is None or key == bandit_id.encode()}
    if not found:
        yield "no bandit has published weights yet" if bandit_id is None else f"no weights of {bandit_id!r} yet"
    for key in sorted(found.keys() & snapshots.keys()):
        vector, snapshot = decode(found[key]), decode(snapshots[key])
        if isinstance(vector, WeightVector) and isinstance(snapshot, BanditSnapshot):
            try:
                yield from _lines(vector, snapshot)
            except UnknownRule as unknown:
                raise Stopped(f"bandit {vector.bandit_id!r}: {unknown}") from unknown


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
