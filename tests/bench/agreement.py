"""Whether a contender did the work: its final vectors and its rewards equal those of the slow job in plain Python.

Law: no number is printed of a contender that differs; what differs ends the bench.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

from armstream.codec import HEADERS, decode
from armstream.events import TaskSettings, WeightVector
from armstream.settings import Settings
from tests.bench import plain
from tests.bench.backlog import values
from tests.bench.child import BenchError
from tests.bench.load import Record

SUMS_AGREE = 1e-6
# On one topic each bandit has one order of rewards. On two it has not: which of two rewards comes first changes the
# rate that an estimate is divided by: closes that come up to 5,000 records late moved a weight by up to 0.013 in the
# plain job. A formula that is wrong shows on one topic, a reward that is missing in the number of decisions.
WEIGHTS_AGREE = {"one topic": 1e-9, "fills and closes apart": 0.02}


@dataclass(frozen=True, slots=True)
class Standing:
    """The last vector of a bandit."""

    version: int
    total_steps: int
    weights: Sequence[float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the records come to."""

    reward_count: int
    sum_bps: float
    standings: Mapping[str, Standing]


def expected(records: Iterable[Record], arms: Sequence[str]) -> Outcome:
    """By the plain job, one record after another."""
    states: dict[str, _Memory] = {}
    count, sum_bps, last = 0, 0.0, dict[bytes, bytes]()
    for record in records:
        for name, value in plain.apply(
            record.value, arms, lambda bandit_id: states.setdefault(bandit_id, _Memory()), {}
        ):
            if name == "weights":
                last[record.key] = value
            else:
                count += 1
                sum_bps += plain.REWARD.decode(value)["reward_bps"]
    return Outcome(count, sum_bps, _standings(last.values()))


class _Memory(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


def check_vectors(settings: Settings, layout: str, who: str, wanted: Outcome) -> None:
    """Raises BenchError where a final vector is not the expected one."""
    last: dict[bytes, bytes] = {}
    for value in values(settings, settings.topics.names.weights):
        last[_key(value)] = value  # in a partition's order, and a bandit is in one
    compare(_standings(last.values()), wanted.standings, layout, who)


def _key(vector: bytes) -> bytes:
    """The first field of a vector, its bandit_id, with its length."""
    return vector[10 : 11 + (vector[10] >> 1)]


def compare(found: Mapping[str, Standing], wanted: Mapping[str, Standing], layout: str, who: str) -> None:
    """Raises BenchError that names the first difference."""
    if found.keys() != wanted.keys():
        raise BenchError(f"{who} has vectors of {len(found)} bandits, {len(wanted)} are expected")
    tolerance = WEIGHTS_AGREE[layout]
    for bandit_id, theirs in sorted(found.items()):
        ours = wanted[bandit_id]
        if (theirs.version, theirs.total_steps) != (ours.version, ours.total_steps):
            raise BenchError(
                f"{who}: {bandit_id} ended at version {theirs.version} after {theirs.total_steps} decisions, "
                f"expected are {ours.version} and {ours.total_steps}"
            )
        off = max(abs(its - own) for its, own in zip(theirs.weights, ours.weights, strict=True))
        if off > tolerance:
            raise BenchError(f"{who}: a weight of {bandit_id} is off by {off:.2g}, more than {tolerance:g}")


def check_rewards(settings: Settings, who: str, wanted: Outcome) -> None:
    """Raises BenchError where their number or their sum is not the expected one."""
    count, sum_bps = 0, 0.0
    for value in values(settings, settings.topics.names.rewards):
        if value.startswith(HEADERS[TaskSettings]):
            continue  # it says under which settings the rewards came about
        reward = plain.REWARD.decode(value)
        if value[:10] != plain.REWARD.header or not reward["applied"]:
            raise BenchError(f"{who}: not an applied reward: {reward}")
        count += 1
        sum_bps += reward["reward_bps"]
    if count != wanted.reward_count or not isclose(sum_bps, wanted.sum_bps, rel_tol=SUMS_AGREE):
        raise BenchError(
            f"{who} made {count} rewards that sum to {sum_bps!r} bps, expected are {wanted.reward_count} "
            f"and {wanted.sum_bps!r} bps"
        )


def check_count(settings: Settings, who: str, wanted: Outcome) -> None:
    """Raises BenchError where the number of rewards is not the expected one; other rules learn other things of them."""
    count = sum(
        1 for value in values(settings, settings.topics.names.rewards) if not value.startswith(HEADERS[TaskSettings])
    )
    if count != wanted.reward_count:
        raise BenchError(f"{who} made {count} rewards, expected are {wanted.reward_count}")


def _standings(vectors: Iterable[bytes]) -> dict[str, Standing]:
    standings = {}
    for value in vectors:
        vector = decode(value)
        if not isinstance(vector, WeightVector):
            raise BenchError(f"not a weight vector: {vector}")
        weights = [arm.weight for arm in vector.arms]
        standings[vector.bandit_id] = Standing(vector.version, vector.total_steps, weights)
    return standings
