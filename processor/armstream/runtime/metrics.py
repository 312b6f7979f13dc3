"""What an operator may know, at any moment, from another thread. Law: the loop pays once a batch, never once a record.

prometheus-client's own counters and histograms lock for each observation; here a batch is counted whole and the
families are made when somebody asks. Labels are bounded: bandits and arms only up to metrics.max_bandits.
"""

import platform
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast, get_args

import numpy as np
from numpy.typing import ArrayLike
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from armstream import __version__
from armstream.codec import decode
from armstream.core.published import BEGUN_ANEW, Measured, Output, Published
from armstream.events import Action, BanditSnapshot, CommandApplied, ErrorClass, Reward, WeightVector
from armstream.rules import clips
from armstream.runtime.intake import Record
from armstream.settings import Settings
from armstream.stages.bandit import weight_vector
from armstream.stages.facts import SECOND_MICROS
from armstream.stages.pipeline import APPLIED, Applied
from armstream.stages.state import TaskState

OUTCOMES = ("applied", "duplicate", "dead_letter")  # by the pipeline's outcome numbers
ACTIONS = tuple(action for action in get_args(Action) if action != "UNKNOWN")
TRANSACTION_OUTCOMES = ("committed", "aborted", "unknown")
NOT_APPLIED = "NOT_APPLIED"  # the propensity_source of a reward that taught nothing
PROPENSITY_SOURCES = ("LOGGED", "CURRENT", "NONE", NOT_APPLIED)
CLIPPED_WINDOW_REWARDS = 500  # behind a bandit's clipped share

# From half of the fastest commit to a consumer's whole patience; dense around the usual commit, 2 to 25 ms.
SECONDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03),
    *(0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
REWARD_BPS = (-1000, -500, -250, -100, -50, -25, -10, -5, 0, 5, 10, 25, 50, 100, 250, 500, 1000)
BATCH_RECORDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 100_000)

Label = TypeVar("Label", int, str)
Samples = Iterable[tuple[tuple[object, ...], float]]  # label values, value


class Histogram:
    """Counts of values by upper bound (inclusive); many values cost one call."""

    def __init__(self, name: str, documentation: str, bounds: Iterable[float]) -> None:
        self._name, self._documentation = name, documentation
        self._bounds = np.array([*bounds], dtype=np.float64)
        self._counts = np.zeros(len(self._bounds) + 1, dtype=np.int64)
        self._sum = 0.0

    def observe(self, values: ArrayLike) -> None:
        """Counts every finite value."""
        array = np.asarray(values, dtype=np.float64)
        array = array[np.isfinite(array)]
        buckets = np.searchsorted(self._bounds, array, side="left")
        self._counts += np.bincount(buckets, minlength=len(self._counts))
        self._sum += float(array.sum())

    def family(self) -> HistogramMetricFamily:
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        cumulative = np.cumsum(self._counts).tolist()
        family = HistogramMetricFamily(f"armstream_{self._name}", self._documentation)
        family.add_metric((), list(zip(bounds, cumulative, strict=True)), self._sum)
        return family


@dataclass(frozen=True, slots=True)
class _Standing:
    """What one task holds."""

    bandits: int
    open_positions: int
    waiting_closes: int
    dedupe_window_seconds: float


@dataclass(slots=True)
class _Bandit:
    """The latest that one bandit published, and of its last rewards which were clipped."""

    partition: int
    snapshot: BanditSnapshot | bytes  # a record is read when somebody asks
    vector: WeightVector | bytes | None = None
    clipped: deque[bool] = field(default_factory=lambda: deque(maxlen=CLIPPED_WINDOW_REWARDS))


class Metrics(Collector):
    """All metrics of one process. Every method may be called from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._lock = threading.Lock()
        self._max_bandits = settings.metrics.max_bandits
        self._dedupe_window_seconds = settings.rewards.dedupe_window_seconds
        # What can be counted is there from the start, as 0: a rate needs a first value.
        self._records = Counter({(topic, outcome): 0 for topic in settings.topics.names.inputs for outcome in OUTCOMES})
        self._rewards = Counter(dict.fromkeys(PROPENSITY_SOURCES, 0))
        self._dead_letters = Counter(dict.fromkeys(get_args(ErrorClass), 0))
        self._commands = Counter({(action, outcome): 0 for action in ACTIONS for outcome in ("APPLIED", "REFUSED")})
        self._transactions = Counter(dict.fromkeys(TRANSACTION_OUTCOMES, 0))
        self._clipped = 0
        self._reward_bps = Histogram("reward_bps", "Net reward of each segment, in basis points.", REWARD_BPS)
        self._transaction_seconds = Histogram("transaction_seconds", "Producing and committing a batch.", SECONDS)
        self._apply_seconds = Histogram("apply_seconds", "Decoding, applying and encoding a batch.", SECONDS)
        self._batch_records = Histogram("batch_records", "Input records in a transaction.", BATCH_RECORDS)
        self._close_to_commit_seconds = Histogram(
            "close_to_commit_seconds",
            "Of each reward, from the append of the record that realised it to its commit.",
            SECONDS,
        )
        self._lag_records: dict[tuple[str, int], int] = {}
        self._restore_remaining_records: dict[int, int] = {}
        self._standings: dict[int, _Standing] = {}
        self._bandits: dict[str, _Bandit] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def observe_transaction(
        self, outcome: str, apply_seconds: float, transaction_seconds: float, record_count: int
    ) -> None:
        """Once a transaction; `outcome` is one of TRANSACTION_OUTCOMES."""
        with self._lock:
            self._transactions[outcome] += 1
            self._batch_records.observe([record_count])
            self._apply_seconds.observe([apply_seconds])
            self._transaction_seconds.observe([transaction_seconds])

    def observe_batch(self, partition: int, records: Sequence[Record], applied: Applied) -> None:
        """Once for each task's part of a committed batch."""
        snapshots = [(snapshot.bandit_id, snapshot) for snapshot in applied.bandit_snapshots]
        vectors = [(vector.bandit_id, vector) for vector in applied.weight_vectors]
        self._observe(partition, _measured(records, applied), snapshots, vectors)

    def observe_published(self, partition: int, published: Published) -> None:
        """As observe_batch, of what the native core published."""
        snapshots, vectors = _named(published.bandit_snapshots), _named(published.weight_vectors)
        self._observe(partition, published.measured, snapshots, vectors)

    def _observe(
        self,
        partition: int,
        measured: Measured,
        snapshots: Iterable[tuple[str, BanditSnapshot | bytes]],
        vectors: Iterable[tuple[str, WeightVector | bytes]],
    ) -> None:
        now_ms = time.time() * 1_000
        waited_ms = now_ms - np.array(measured.appended_ms, dtype=np.float64)
        with self._lock:
            self._records.update({(topic, OUTCOMES[outcome]): n for (topic, outcome), n in measured.outcomes.items()})
            for source, count in measured.sources.items():
                self._rewards[source or NOT_APPLIED] += count
            self._commands.update(measured.commands)
            self._dead_letters.update(measured.dead_letters)
            self._clipped += measured.clipped
            if measured.rewards_bps:
                self._reward_bps.observe(measured.rewards_bps)
                self._close_to_commit_seconds.observe(np.maximum(waited_ms, 0.0) / 1_000)  # clocks may differ
            self._note_bandits(partition, snapshots, vectors)
            self._note_clipped(measured.windows)

    def observe_restored(self, partition: int, state: TaskState) -> None:
        """Once a task is ready: its bandits have their gauges, also while nothing comes for them."""
        room, snapshots, vectors = self._max_bandits - len(self._bandits), [], []
        for bandit in state.bandits():
            if bandit.bandit_id not in self._bandits:
                if room <= 0:
                    continue
                room -= 1
            snapshots.append((bandit.bandit_id, state.bandit_snapshot(bandit)))
            if bandit.learner is not None and bandit.version:
                vectors.append((bandit.bandit_id, weight_vector(bandit)))
        with self._lock:
            self._note_bandits(partition, snapshots, vectors)

    def observe_standing(self, partition: int, lag_records: Mapping[str, int], state: TaskState) -> None:
        """Now and then: how far a task is behind in each input topic, and how much it holds."""
        with self._lock:
            for topic, lag in lag_records.items():
                self._lag_records[topic, partition] = lag
            self._standings[partition] = _Standing(
                state.bandit_count,
                state.open_position_count,
                state.waiting_close_count,
                state.shortest_window_micros() / SECOND_MICROS,
            )

    def set_restore_remaining(self, partition: int, record_count: int) -> None:
        """How many snapshot records of a task are still to be read."""
        with self._lock:
            self._restore_remaining_records[partition] = record_count

    def forget_task(self, partition: int) -> None:
        """The task went elsewhere: its gauges disappear; what was counted stays."""
        with self._lock:
            self._standings.pop(partition, None)
            self._restore_remaining_records.pop(partition, None)
            self._lag_records = {at: lag for at, lag in self._lag_records.items() if at[1] != partition}
            self._bandits = {name: one for name, one in self._bandits.items() if one.partition != partition}

    def exposition(self, accept: str | None = None) -> tuple[bytes, str]:
        """All of it as text, and its content type, as an Accept header asks for it."""
        encode, content_type = choose_encoder(accept or "")
        return encode(self.registry), content_type

    def collect(self) -> Iterator[Metric]:
        """The families, from one moment."""
        with self._lock:
            families = [*self._counter_families(), *self._gauge_families()]
            held = [(name, replace(one, clipped=one.clipped.copy())) for name, one in self._bandits.items()]
        bandits = [(name, _read(one)) for name, one in held]
        clipped_shares = _clipped_shares(bandits)
        yield from families
        yield from _bandit_families(bandits, clipped_shares)
        build = {"version": __version__, "python": platform.python_version()}
        yield InfoMetricFamily("armstream_build", "What runs.", value=build)

    def _note_bandits(
        self,
        partition: int,
        snapshots: Iterable[tuple[str, BanditSnapshot | bytes]],
        vectors: Iterable[tuple[str, WeightVector | bytes]],
    ) -> None:
        bandits, most = self._bandits, self._max_bandits
        for bandit_id, snapshot in snapshots:
            known = bandits.get(bandit_id)
            if known is not None:
                known.snapshot = snapshot
            elif len(bandits) < most:
                bandits[bandit_id] = _Bandit(partition, snapshot)
        for bandit_id, vector in vectors:
            known = bandits.get(bandit_id)
            if known is not None:
                known.vector = vector

    def _note_clipped(self, windows: Mapping[str, bytes]) -> None:
        """A bandit's rewards in their order; a command that gives it another bound begins its window anew."""
        for bandit_id, window in windows.items():
            known = self._bandits.get(bandit_id)
            if known is None:
                continue
            anew = window.rfind(BEGUN_ANEW)
            if anew >= 0:
                known.clipped.clear()
            known.clipped.extend(map(bool, window[anew + 1 :]))

    def _counter_families(self) -> Iterator[Metric]:
        yield _counter("records", "Input records.", ("topic", "outcome"), self._records.items())
        yield _counter("rewards", "Rewards published.", ("propensity_source",), _labelled(self._rewards))
        yield _counter("dead_letters", "Dead letters published.", ("error_class",), _labelled(self._dead_letters))
        yield _counter("commands", "Commands obeyed or refused.", ("action", "outcome"), self._commands.items())
        yield _counter("rewards_clipped", "Rewards beyond reward_bound_bps.", (), [((), self._clipped)])
        yield _counter("transactions", "Transactions ended.", ("outcome",), _labelled(self._transactions))
        for histogram in (
            self._reward_bps,
            self._transaction_seconds,
            self._apply_seconds,
            self._batch_records,
            self._close_to_commit_seconds,
        ):
            yield histogram.family()

    def _gauge_families(self) -> Iterator[Metric]:
        window = [((), self._dedupe_window_seconds)]
        yield _gauge("dedupe_window_setting_seconds", "How far back duplicates should be known.", (), window)
        lag = self._lag_records.items()
        yield _gauge("consumer_lag_records", "Input records not yet committed.", ("topic", "partition"), lag)
        remaining, standings = self._restore_remaining_records, self._standings.items()
        by_task: dict[str, tuple[str, dict[int, int] | dict[int, float]]] = {
            "restore_remaining_records": ("Snapshot records still to be read.", remaining),
            "bandits": ("Bandits held.", {task: one.bandits for task, one in standings}),
            "open_positions": ("Positions not flat.", {task: one.open_positions for task, one in standings}),
            "waiting_closes": ("Closes that wait for a fill.", {task: one.waiting_closes for task, one in standings}),
            "dedupe_window_seconds": (
                "How far back duplicates are known, of the bandit where that is least.",
                {task: one.dedupe_window_seconds for task, one in standings},
            ),
        }
        for name, (documentation, values) in by_task.items():
            yield _gauge(name, documentation, ("partition",), _labelled(values))


def _measured(records: Sequence[Record], applied: Applied) -> Measured:
    """What is counted of a batch that the stages applied."""
    rewards, windows = applied.rewards, dict[str, bytearray]()
    clipped = frozenset(applied.clipped)
    for place, record in enumerate(applied.audit):
        if isinstance(record, CommandApplied):
            if record.action in ("SET_BOUND", "RESET") and record.outcome == "APPLIED":
                windows.setdefault(record.bandit_id, bytearray()).append(BEGUN_ANEW)
        elif record.applied:
            windows.setdefault(record.bandit_id, bytearray()).append(place in clipped)
    return Measured(
        _records_by_outcome(records, applied.outcomes),
        [reward.reward_bps for reward in rewards],
        [
            records[index].timestamp()[1]
            for index, record in zip(applied.audit_indexes, applied.audit, strict=True)
            if isinstance(record, Reward)
        ],
        Counter([reward.propensity_source or "" for reward in rewards]),
        Counter((record.action, record.outcome) for record in applied.commands_applied),
        Counter(letter.error_class for letter in applied.dead_letters),
        len(applied.clipped),
        {bandit_id: bytes(window) for bandit_id, window in windows.items()},
    )


def _records_by_outcome(records: Sequence[Record], outcomes: bytearray) -> Counter[tuple[str, int]]:
    """Counts by (topic, outcome)."""
    topics = [record.topic() for record in records]
    if outcomes.count(APPLIED) == len(topics):  # nearly every batch, and a third of the cost
        return Counter({(topic, APPLIED): count for topic, count in Counter(topics).items()})
    return Counter(zip(topics, outcomes, strict=True))


def _named(records: Iterable[Output]) -> Iterator[tuple[str, bytes]]:
    """Of records that are no tombstones, whose they are and what they say."""
    return ((record["key"].decode(), record["value"]) for record in records if record.get("value") is not None)


def _read(bandit: _Bandit) -> _Bandit:
    """With its records read."""
    if isinstance(bandit.snapshot, bytes):
        bandit.snapshot = cast(BanditSnapshot, decode(bandit.snapshot))
    if isinstance(bandit.vector, bytes):
        bandit.vector = cast(WeightVector, decode(bandit.vector))
    return bandit


def _labelled(values: Mapping[Label, int] | Mapping[Label, float]) -> Iterator[tuple[tuple[Label], float]]:
    return (((label,), value) for label, value in values.items())


def _counter(name: str, documentation: str, labels: Sequence[str], values: Samples) -> CounterMetricFamily:
    family = CounterMetricFamily(f"armstream_{name}", documentation, labels=labels)
    for key, value in values:
        family.add_metric([*map(str, key)], value)
    return family


def _gauge(name: str, documentation: str, labels: Sequence[str], values: Samples) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"armstream_{name}", documentation, labels=labels)
    for key, value in values:
        family.add_metric([*map(str, key)], value)
    return family


def _clipped_shares(bandits: Sequence[tuple[str, _Bandit]]) -> dict[tuple[str], float]:
    """0 to 1, of those whose rule clips and whose window is full: before that a share says little."""
    return {
        (bandit_id,): sum(bandit.clipped) / CLIPPED_WINDOW_REWARDS
        for bandit_id, bandit in bandits
        if len(bandit.clipped) == CLIPPED_WINDOW_REWARDS and clips(cast(BanditSnapshot, bandit.snapshot))
    }


def _bandit_families(
    bandits: Sequence[tuple[str, _Bandit]], clipped_shares: Mapping[tuple[str], float]
) -> Iterator[Metric]:
    snapshots = {bandit_id: cast(BanditSnapshot, bandit.snapshot) for bandit_id, bandit in bandits}
    vectors = [cast(WeightVector, bandit.vector) for _, bandit in bandits if bandit.vector is not None]
    weights = {(vector.bandit_id, arm.name): arm.weight for vector in vectors for arm in vector.arms}
    rewards = {
        (bandit_id, arm.name): arm.cumulative_reward_bps
        for bandit_id, snapshot in snapshots.items()
        for arm in snapshot.arms
    }
    of_arm = ("bandit_id", "arm")
    yield _gauge("bandit_weight", "Normalised weight of an arm.", of_arm, weights.items())
    trust = {(vector.bandit_id, expert.name): expert.weight for vector in vectors for expert in vector.experts}
    yield _gauge("bandit_expert_weight", "Normalised weight of an expert.", ("bandit_id", "expert"), trust.items())
    yield _gauge("bandit_cumulative_reward_bps", "Rewards of an arm, summed by weight.", of_arm, rewards.items())
    versions = {(bandit_id,): snapshot.version for bandit_id, snapshot in snapshots.items()}
    steps = {(bandit_id,): snapshot.total_steps for bandit_id, snapshot in snapshots.items()}
    yield _gauge("bandit_version", "Audit records of a bandit.", ("bandit_id",), versions.items())
    yield _gauge("bandit_total_steps", "Decisions that a bandit learned from.", ("bandit_id",), steps.items())
    shares = clipped_shares.items()
    yield _gauge("bandit_clipped_share", "Of the last 500 rewards it learned from, 0 to 1.", ("bandit_id",), shares)
