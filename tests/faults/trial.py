"""One trial: a job of its own under load, a fault or several of a kind, and the check of all that Kafka then holds.

The load never stops while the faults happen. What is measured is the time until every partition of the input is
committed again, which with several processes is later than the first commit of any.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from armstream.events import Fill
from deploy.kafka.broker import Broker
from tests.faults.proxy import Proxy
from tests.integration.check import check
from tests.integration.load import PATIENCE_SECONDS, SHORT_WINDOWS, SPREAD_SECONDS, Sender, as_they_happen, history
from tests.integration.processor import Job, Process

_CHUNK_RECORDS = 400
_SENT_AT_ONCE = 10
_POLL_SECONDS = 0.02
_NEXT_COMMIT_SECONDS = 300.0  # a wall clock set back makes librdkafka wait for two minutes
_DAY_SECONDS = 86_400
_ENDS_SECONDS = 30.0
_VERIFY_SECONDS = 900.0  # an hour of load on busy cores
_VOID_TRIALS_AT_MOST = 3
# A fenced consumer, a call of librdkafka that never comes back, a broker that is silent about a partition, a clock that
# was ahead of the broker's by more than an hour, and no broker: for minutes, or at a start.
_GAVE_UP = (
    "start it again", "the loop has not turned", "no progress for", "Invalid timestamp",
    "could not be opened within", "look at kafka.bootstrap_servers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pace:
    """How many records a second there are for how long at most. Together they are a day of event time at most, so that
    none is ahead of its append time."""

    per_second: float = 100.0
    most_seconds: float = 1_200.0  # busy cores take so long for what idle ones do in two minutes

    @property
    def chunks(self) -> int:
        return round(self.most_seconds * self.per_second / _CHUNK_RECORDS)

    @property
    def spread_seconds(self) -> float:
        """Of event time, a chunk."""
        return min(float(SPREAD_SECONDS), _DAY_SECONDS * 0.97 / self.chunks)


class Load:
    """Sends a desk's trades at a steady rate in a thread of its own, until it is told to stop; a context."""

    def __init__(self, job: Job, draw: Random, pace: Pace = Pace(), patience_seconds: float = PATIENCE_SECONDS) -> None:
        """It fails where a broker is gone for longer than `patience_seconds`."""
        names = job.settings.topics.names
        self._sender = Sender(job.bootstrap_servers, names.trades, names.commands, patience_seconds)
        self._sending = threading.Lock()
        self._arms = job.settings.online_learning.arms
        self._draw = draw
        self._pace = pace
        self._stopping = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.sent_records = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(_NEXT_COMMIT_SECONDS)

    def stop(self) -> None:
        """Returns when all is acknowledged; raises what went wrong meanwhile."""
        self.__exit__()
        assert not self._thread.is_alive(), "the load does not end: the broker takes nothing"
        self.raise_if_it_failed()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What was sent is acknowledged, and nothing more is sent in the block."""
        with self._sending:
            yield

    def raise_if_it_failed(self) -> None:
        for failure in self._failures:
            raise failure

    def _run(self) -> None:
        try:
            self._trickle()
        except BaseException as failure:
            self._failures.append(failure)

    def _trickle(self) -> None:
        day_ago = time.time() - _DAY_SECONDS
        next_at = time.monotonic()
        spread_seconds = self._pace.spread_seconds
        for number in range(self._pace.chunks):
            first_micros = int((day_ago + number * spread_seconds) * 1e6)
            clean = history(
                self._draw.randrange(1_000_000_000), _CHUNK_RECORDS, bandits=50, arms=self._arms,
                first_micros=first_micros, name=f"h{number}-", lost=0.02, spread_seconds=spread_seconds,
            )  # fmt: skip
            records = as_they_happen(self._draw, clean, self._arms)
            for start in range(0, len(records), _SENT_AT_ONCE):
                if self._stopping.wait(max(0.0, next_at - time.monotonic())):
                    return
                next_at = max(next_at + _SENT_AT_ONCE / self._pace.per_second, time.monotonic() - 1.0)
                with self._sending:
                    self.sent_records += len(self._sender.send(records[start : start + _SENT_AT_ONCE]))
        raise AssertionError("the load has come to its end before the faults")


class Progress:
    """Sees every 20 ms up to where each partition of the trades is committed; a context."""

    def __init__(self, job: Job) -> None:
        self._topics = job.settings.topics.names.trades
        self._partitions = range(job.settings.topics.partitions)
        self._seen: list[tuple[float, dict[int, int]]] = []
        self._stopping = threading.Event()
        # read_uncommitted: asked while a transaction holds the offsets, it hears the old ones at once.
        self._consumer = Consumer(
            {"bootstrap.servers": job.bootstrap_servers, "group.id": job.settings.kafka.group_id, "log_level": 0,
             "isolation.level": "read_uncommitted", "enable.auto.commit": False}
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(_NEXT_COMMIT_SECONDS)
        self._consumer.close()

    def committed_again_at(self, since: float, partitions: Iterable[int] | None = None) -> float | None:
        """When, after `since`, the last of these partitions (by default all) was first committed further, if yet."""
        seen = self._seen[:]
        start = max((at for at, (when, _) in enumerate(seen) if when <= since), default=None)
        if start is None:
            return None
        before, waiting = seen[start][1], set(partitions or self._partitions)
        for when, offsets in seen[start + 1 :]:
            waiting -= {partition for partition in waiting if offsets[partition] > before[partition]}
            if not waiting:
                return when
        return None

    def _run(self) -> None:
        wanted = [TopicPartition(topic, number) for topic in self._topics for number in self._partitions]
        while not self._stopping.wait(_POLL_SECONDS):
            try:
                found = self._consumer.committed(wanted, timeout=1.0)
            except KafkaException:
                continue  # the broker is dead for a while: then nothing is committed either
            if any(one.error for one in found):
                continue
            offsets = dict.fromkeys(self._partitions, 0)
            for one in found:
                offsets[one.partition] += max(one.offset, 0)
            self._seen.append((time.monotonic(), offsets))


@dataclass(slots=True)
class Trial:
    """What a fault gets: the job, its randomness and load, and what it may break.

    It is the processes' supervisor too: who gives up for a reason that a new start mends is started again.
    """

    job: Job
    draw: Random
    load: Load
    progress: Progress
    kafka: Broker
    proxy: Proxy
    folder: Path
    lasts_seconds: float = 0.0  # the fault's
    processes: dict[str, Process] = field(default_factory=dict)  # the last start of each instance
    bootstrap_servers: dict[str, str] = field(default_factory=dict)  # by instance
    variables: dict[str, Mapping[str, str]] = field(default_factory=dict)  # of its environment, by instance
    memory: list[tuple[float, float]] = field(default_factory=list)  # (seconds, MiB) of one process
    sent_apart_records: int = 0
    started_again: int = 0

    def send_apart(self, events: Iterable[Fill]) -> None:
        """At once, beside the load."""
        names = self.job.settings.topics.names
        self.sent_apart_records += len(Sender(self.job.bootstrap_servers, names.trades, names.commands).send(events))

    def start(self, instance: str = "a") -> Process:
        """A processor; not ready yet. What it was started with before, it is started with again."""
        servers = self.bootstrap_servers.get(instance, self.kafka.bootstrap_servers)
        self.processes[instance] = self.job.start(
            instance, overrides={"kafka.bootstrap_servers": servers}, variables=self.variables.get(instance)
        )
        return self.processes[instance]

    def running(self, instance: str = "a") -> Process:
        """A processor that is ready: started where it is not."""
        process = self.processes.get(instance)
        return (self.start(instance) if process is None else process).wait_until_ready()

    def start_behind_proxy(self, instance: str = "a") -> Process:
        """A processor all of whose requests go through the proxy."""
        self.bootstrap_servers[instance] = self.kafka.proxied.advertised
        return self.start(instance)

    def seconds_to_next_commit(self, since: float, partitions: Iterable[int] | None = None) -> float:
        """From `since` (time.monotonic) until each of the partitions, by default all, was committed further."""
        deadline = time.monotonic() + _NEXT_COMMIT_SECONDS
        while True:
            at = self.progress.committed_again_at(since, partitions)
            if at is not None:
                return at - since
            self.supervise()
            self.load.raise_if_it_failed()
            assert time.monotonic() < deadline, f"no commit within {_NEXT_COMMIT_SECONDS} s"
            time.sleep(_POLL_SECONDS)

    def wait_for_a_commit(self) -> None:
        """From now."""
        self.seconds_to_next_commit(time.monotonic())

    def start_again_who_gave_up(self) -> None:
        for instance, process in list(self.processes.items()):
            if not process.is_alive and _gave_up(process):
                self.started_again += 1
                self.start(instance)

    def supervise(self) -> None:
        self.start_again_who_gave_up()
        assert any(one.is_alive for one in self.processes.values()), "nobody is left"

    def sleep(self, least_seconds: float, most_seconds: float) -> None:
        time.sleep(self.draw.uniform(least_seconds, most_seconds))

    def conclude(self) -> None:
        """The load ends, all of it is applied, who is alive stops in order, and everything is derived again.

        `verify` keeps its state while the load runs, and goes on from there; and it begins anew.
        """
        self.proxy.forget()
        self._verify("--state", str(self.folder / "verified"))
        self.load.stop()
        sent_records = self.load.sent_records + self.sent_apart_records
        ends = self._ends_after(sent_records)
        self.job.watch_until_applied(self.supervise)  # a fault may show after the commit that followed it
        for process in [process for process in self.processes.values() if process.is_alive]:
            assert process.stop() == 0 or _gave_up(process), process.text
        found = check(self.job)
        told = f"{len(found.inputs)} inputs are committed of {sent_records} sent; up to {found.committed}, ends {ends}"
        assert len(found.inputs) == sent_records, told
        assert self._verify("--state", str(self.folder / "verified"))["result"] == "verified"
        assert self._verify()["result"] == "verified"

    def _ends_after(self, sent_records: int) -> dict[tuple[str, int], int]:
        """Those of the inputs. Whoever is told others, and waits for these to be applied, stops too early."""
        deadline = time.monotonic() + _ENDS_SECONDS
        while sum((ends := self.job.log.ends(self.job.settings.topics.names.inputs)).values()) != sent_records:
            assert time.monotonic() < deadline, f"{sent_records} records were sent, and the inputs end at {ends}"
            time.sleep(_POLL_SECONDS)
        return ends

    def _verify(self, *arguments: str) -> dict[str, Any]:
        return self.job.verify(*arguments, seconds=_VERIFY_SECONDS)


def _gave_up(process: Process) -> bool:
    return any(line in process.text for line in _GAVE_UP)


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """`inflict(trial, times)` gives for each time the seconds to the next commit, counted from `since`."""

    name: str
    inflict: Callable[[Trial, int], list[float]]
    since: str
    settings: Mapping[str, str] = field(default_factory=dict)
    pace: Pace = Pace()
    brokers: int = 1
    disk_mib: int | None = None  # of each broker, where it is to be filled
    lasts_seconds: float = 0.0  # each time, where that is a part of it


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a trial whose check found all exact: seconds to the next commit after each fault."""

    seconds: list[float]
    started_again: int  # processes that gave up
    void_trials: int = 0  # before it, in which the broker forgot a commit
    memory: Sequence[tuple[float, float]] = ()


def attempt(fault: Fault, times: int, seed: int, kafka: Broker, proxy: Proxy, folder: Path) -> Outcome:
    """Tries a fault so many times on one job. Fails as the check does.

    A failed trial in which the broker says that it forgot a commit is void, and another takes its place.
    """
    for void_trials in range(_VOID_TRIALS_AT_MOST + 1):
        forgotten_before = kafka.forgotten_commits()
        try:
            return replace(_attempt_once(fault, times, seed, kafka, proxy, folder), void_trials=void_trials)
        except AssertionError:
            if kafka.forgotten_commits() == forgotten_before or void_trials == _VOID_TRIALS_AT_MOST:
                raise
            print("the broker forgot a commit when it was killed: the trial is void")  # noqa: T201 - shown for a failure
    raise AssertionError("a void trial without another")


def _attempt_once(fault: Fault, times: int, seed: int, kafka: Broker, proxy: Proxy, folder: Path) -> Outcome:
    with _job(f"faults-{seed}-{time.monotonic_ns()}-", kafka, folder) as job:
        job.set({**SHORT_WINDOWS, **fault.settings})
        job.create_topics()
        draw = Random(seed)
        try:
            patience_seconds = 2 * PATIENCE_SECONDS + fault.lasts_seconds
            with Load(job, Random(draw.random()), fault.pace, patience_seconds) as load, Progress(job) as progress:
                trial = Trial(job, draw, load, progress, kafka, proxy, folder, fault.lasts_seconds)
                seconds = fault.inflict(trial, times)
                trial.conclude()
        finally:
            proxy.forget()
            if not kafka.alive():
                kafka.restart()
    return Outcome(seconds, trial.started_again, memory=trial.memory)


@contextmanager
def _job(prefix: str, kafka: Broker, folder: Path) -> Iterator[Job]:
    """Its topics are deleted afterwards: the broker stays small."""
    job = Job(kafka.bootstrap_servers, prefix, folder)
    with closing(job):
        yield job
    for deleted in job.admin.delete_topics(list(job.settings.topics.names.all), operation_timeout=30).values():
        deleted.result()
