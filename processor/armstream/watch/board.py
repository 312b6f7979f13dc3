"""What is known now, and what of it is to be told. Law: who writes and who reads hold its lock, shortly.

Threads fold records and facts into it; the server and the screen ask it. Times are UTC microseconds.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isnan
from typing import Final, Literal, NamedTuple

import armstream
from armstream.figures import Figures, quantile
from armstream.settings import Settings
from armstream.watch import views
from armstream.watch.alerts import Alarms, rules
from armstream.watch.earned import BaseWeights
from armstream.watch.facts import GroupFacts, ProcessorFacts
from armstream.watch.history import BanditHistory, History, Limits
from armstream.watch.views import BanditView, Operate, ProcessorView, Progress, Pulse, Row, Snapshot

RATE_SECONDS: Final = 10.0

State = Literal["reading", "live", "no-broker", "no-records", "error"]


def now_micros() -> int:
    return time.time_ns() // 1_000


class Trouble(NamedTuple):
    """What keeps it from reading: `text` is one sentence that says what to do."""

    state: Literal["no-broker", "error"]
    text: str


class Board:
    """One for each process. `now` is the clock."""

    def __init__(self, settings: Settings, now: Callable[[], int] = now_micros) -> None:
        self.settings = settings
        self.now = now
        self._lock = threading.Lock()
        self._registry = settings.bandit_registry()
        self._history = self._empty()
        self._group: GroupFacts | None = None
        self._processors: dict[str, deque[ProcessorFacts]] = {}
        self._alarms = Alarms()
        self._looked_ts: int | None = None  # when the alarms were asked last
        self._troubles: dict[str, Trouble] = {}
        self._progress: Progress | None = None
        self._is_live = False
        self._committed: deque[tuple[int, int]] = deque()  # time and sum of the group's offsets
        self._commits: deque[tuple[int, int]] = deque()  # time and number of task snapshots
        self._sparks: dict[str, int] = {}  # what was told of each bandit's spark
        self._letters_told = -1

    # Who writes.

    @contextmanager
    def folding(self) -> Iterator[History]:
        """The history, while nobody else looks."""
        with self._lock:
            yield self._history

    def begin_anew(self) -> None:
        """The topics are others, of the same names: nothing of before counts."""
        with self._lock:
            gone = set(self._history.bandits)
            self._history = self._empty()
            self._history.gone |= gone
            self._sparks.clear()
            self._is_live, self._progress = False, None

    def note_progress(self, read: int, of: int) -> None:
        with self._lock:
            self._progress = Progress(min(read, of), of)

    def note_live(self) -> None:
        with self._lock:
            self._is_live, self._progress = True, None

    def note_trouble(self, who: str, trouble: Trouble | None) -> None:
        """`who` is the thread that has it; None where it has none any more."""
        with self._lock:
            if trouble is None:
                self._troubles.pop(who, None)
            else:
                self._troubles[who] = trouble

    def note_failed(self, text: str) -> None:
        """For good."""
        self.note_trouble("failed", Trouble("error", text))

    def note_group(self, facts: GroupFacts) -> None:
        with self._lock:
            self._group = facts
            _note(self._committed, facts.ts, facts.committed)

    def note_processors(self, facts: Mapping[str, ProcessorFacts]) -> None:
        with self._lock:
            for url, one in facts.items():
                kept = self._processors.setdefault(url, deque(maxlen=16))
                kept.append(one)

    # Who reads.

    @property
    def is_live(self) -> bool:
        return self._is_live

    def snapshot(self) -> Snapshot:
        """All rows, the pulse and what an operator sees: what a client begins with."""
        with self._lock:
            now = self.now()
            rows = [self._row(bandit, now, with_spark=True) for _, bandit in sorted(self._history.bandits.items())]
            operate = self._operate(now, with_last=True)  # first: the pulse says when it looked
            return Snapshot(
                armstream.__version__,
                self.settings.kafka.bootstrap_servers,
                self.settings.kafka.group_id,
                dict(self.settings.topics.names.by_setting()),
                now,
                rows,
                self._pulse(now),
                operate,
            )

    def changes(self) -> tuple[list[Row], list[str]]:
        """The rows that changed and the bandits that are gone since it was asked the last time: one reader alone."""
        with self._lock:
            history, now = self._history, self.now()
            rows = [self._changed_row(history.bandits[name], now) for name in sorted(history.changed)]
            gone = sorted(history.gone)
            for name in gone:
                self._sparks.pop(name, None)
            history.changed.clear()
            history.gone.clear()
            return rows, gone

    def is_snapshot_due(self) -> bool:
        """Whether more are gone than `changes` could name since it was asked the last time: one reader alone."""
        with self._lock:
            is_due, self._history.is_more_gone = self._history.is_more_gone, False
            if is_due:
                self._sparks.clear()
            return is_due

    def pulse(self) -> Pulse:
        with self._lock:
            return self._pulse(self.now())

    def operate(self) -> Operate:
        """`dead_letters.last` is None where there is none that was not told: one reader alone."""
        with self._lock:
            is_new = self._history.letters_taken != self._letters_told
            self._letters_told = self._history.letters_taken
            return self._operate(self.now(), with_last=is_new)

    def whole_operate(self) -> Operate:
        with self._lock:
            return self._operate(self.now(), with_last=True)

    def figures(self) -> tuple[Figures, tuple[float, float] | None]:
        """For the screen: counts, and the p50 and p99 seconds of the processor whose commits take longest."""
        with self._lock:
            group, history = self._group, self._history
            measured = [_processor(kept) for kept in self._processors.values()]
            latencies = [
                (one.commit_p50_ms / 1_000, one.commit_p99_ms / 1_000)
                for one in measured
                if one.commit_p50_ms is not None and one.commit_p99_ms is not None
            ]
            figures = Figures(
                events=0 if group is None else group.committed,
                rewards=history.rewards_taken,
                dead_letters=history.letters_taken,
                lag_records=0 if group is None else group.lag_records or 0,
                restore_remaining_records=sum(one.restore_remaining_records or 0 for one in measured),
            )
            return figures, max(latencies, key=lambda one: one[1], default=None)

    def bandit(self, bandit_id: str) -> BanditView | None:
        """None where there is none of the name."""
        with self._lock:
            found = self._history.bandits.get(bandit_id)
            if found is None:
                return None
            return views.bandit_of(self._history, found, self.now(), self._warm_start_steps(bandit_id))

    def rows(self) -> list[Row]:
        with self._lock:
            now = self.now()
            return [self._row(bandit, now, with_spark=False) for _, bandit in sorted(self._history.bandits.items())]

    def weights_over_time(self, most: int) -> "list[tuple[BanditHistory, list[tuple[float, ...]]]]":
        """Each bandit with the weights of its arms, oldest first, for the screen."""
        with self._lock:
            found = []
            for _, bandit in sorted(self._history.bandits.items()):
                if bandit.vector is not None:
                    names = [arm.name for arm in bandit.vector.arms]
                    columns = [bandit.spark.column(name)[-most:] for name in names]
                    rows = [row for row in zip(*columns, strict=True) if not any(map(isnan, row))]
                    rows.append(tuple(arm.weight for arm in bandit.vector.arms))
                    found.append((bandit, rows))
            return found

    # With the lock.

    def _empty(self) -> History:
        watch = self.settings.watch
        base = BaseWeights(watch.base_weights, watch.bandit_base_weights)
        return History(Limits(watch.bandits, watch.points, watch.dead_letters), base)

    def _row(self, bandit: BanditHistory, now: int, *, with_spark: bool) -> Row:
        return views.row_of(bandit, now, self._warm_start_steps(bandit.bandit_id), with_spark=with_spark)

    def _changed_row(self, bandit: BanditHistory, now: int) -> Row:
        name, taken = bandit.bandit_id, bandit.spark.taken
        with_spark = self._sparks.get(name) != taken
        self._sparks[name] = taken
        return self._row(bandit, now, with_spark=with_spark)

    def _warm_start_steps(self, bandit_id: str) -> int | None:
        settings = self._registry.of(bandit_id)
        return None if settings is None else settings.warm_start_steps

    def _pulse(self, now: int) -> Pulse:
        history = self._history
        state, text = self._state()
        _note(self._commits, now, history.task_snapshots_taken)
        return Pulse(
            now,
            state,
            text,
            self._progress if state == "reading" else None,
            history.last_record_ts,
            _rate(self._committed),
            _rate(self._commits) if self._is_live else None,
            None if self._group is None else self._group.lag_records,
            history.letters_of_day(now).total(),
            self._looked_ts,
        )

    def _state(self) -> tuple[State, str]:
        for trouble in self._troubles.values():
            return trouble.state, trouble.text
        history = self._history
        if not self._is_live:
            return "reading", "What stands in the topics is read; all is there when it has been."
        if not history.bandits:
            return "no-records", (
                "Nothing was published yet: start a processor (armstream run), and let an engine send its trades."
            )
        if history.not_kept:
            return "live", (
                f"{len(history.not_kept):,} bandits are not shown: watch.bandits is {history.limits.bandits:,}."
            )
        return "live", ""

    def _operate(self, now: int, *, with_last: bool) -> Operate:
        group, history = self._group, self._history
        latest = tuple(kept[-1] for _, kept in sorted(self._processors.items()))
        self._looked_ts = now
        return Operate(
            [] if group is None else views.partitions_of(group, now),
            [] if group is None else views.members_of(group, history),
            None if group is None else group.state,
            views.tasks_of(history),
            [_processor(kept) for _, kept in sorted(self._processors.items())],
            views.dead_letters_of(history, now, with_last=with_last),
            self._alarms.alerts(now, history, group, latest),
            rules(has_processors=bool(latest)),
        )


def _note(samples: deque[tuple[int, int]], ts: int, value: int) -> None:
    """Those older than the window go, but for one that reaches over it."""
    samples.append((ts, value))
    while len(samples) > 2 and samples[1][0] < ts - RATE_SECONDS * 1e6:
        samples.popleft()


def _rate(samples: deque[tuple[int, int]]) -> float | None:
    """A second; None before there are two samples."""
    if len(samples) < 2:
        return None
    (then, old), (now, new) = samples[0], samples[-1]
    return round(max(new - old, 0) / ((now - then) / 1e6), 2) if now > then else None


def _processor(kept: deque[ProcessorFacts]) -> ProcessorView:
    last = kept[-1]
    if last.error:
        return ProcessorView(last.url, last.ready, error=last.error)
    first = next((one for one in kept if not one.error and last.ts - one.ts <= 3 * RATE_SECONDS * 1e6), last)
    seconds = (last.ts - first.ts) / 1e6
    measured = {bound: count - first.commit_seconds.get(bound, 0.0) for bound, count in last.commit_seconds.items()}
    p50, p99 = quantile(measured, 0.5), quantile(measured, 0.99)
    return ProcessorView(
        last.url,
        last.ready,
        last.version,
        round((last.events - first.events) / seconds, 2) if seconds > 0 else None,
        round((last.commits - first.commits) / seconds, 2) if seconds > 0 else None,
        None if p50 is None else round(1_000 * p50, 2),
        None if p99 is None else round(1_000 * p99, 2),
        last.restore_remaining_records,
        last.failed_transactions,
        last.uptime_seconds,
    )
