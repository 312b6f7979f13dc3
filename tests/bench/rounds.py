"""The measurements: contenders in turns, round by round, on one broker; who differs from the plain job ends them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from armstream.settings import Settings
from tests.bench import agreement, latency, restore, throughput
from tests.bench.agreement import Outcome
from tests.bench.backlog import LAYOUTS, PARTITIONS, delete, fill, input_topics, make_changelogs, prepare, twin, values
from tests.bench.child import BenchError, quantile, start, transaction_buckets
from tests.bench.contenders import Contender
from tests.bench.latency import Steady
from tests.bench.load import ARMS, Load, Record
from tests.bench.programs import Say
from tests.bench.report import LatencyResult
from tests.bench.restore import Restore
from tests.bench.throughput import Throughput


@dataclass(frozen=True, slots=True)
class Part:
    """Records, and what the plain job makes of them."""

    records: Sequence[Record]
    wanted: Outcome
    arms: Sequence[str] = ARMS

    @classmethod
    def of(cls, records: Sequence[Record], arms: Sequence[str] = ARMS) -> "Part":
        return cls(records, agreement.expected(records, arms), arms)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Input topics that were filled before any clock starts."""

    prefix: str
    layout: str
    part: Part
    partitions: int = PARTITIONS


@dataclass(frozen=True, slots=True)
class Bench:
    """Where all of it happens; `name` stands before every topic and group."""

    bootstrap_servers: str
    folder: Path
    name: str
    say: Say

    @contextmanager
    def backlog(
        self, what: str, layout: str, part: Part, preset: str = "default", partitions: int = PARTITIONS
    ) -> Iterator[Backlog]:
        """It goes at the end."""
        prefix = f"{self.name}-{what}-{LAYOUTS[layout].tag}"
        place = (f"{prefix}-load", self.folder, self.bootstrap_servers, layout, prefix, preset)
        with prepare(*place, partitions=partitions) as run:
            fill(self.bootstrap_servers, run.settings.topics.names.trades, part.records)
        try:
            yield Backlog(prefix, layout, part, partitions)
        finally:
            delete(self.bootstrap_servers, input_topics(layout, prefix))

    def round(
        self, contender: Contender, backlog: Backlog, number: int, preset: str = "default", instances: int = 1
    ) -> Throughput:
        """One contender once, with outputs of its own. Raises BenchError where it published what is not expected."""
        name = f"{self.name}-{number}-{LAYOUTS[backlog.layout].tag}-{contender.tag}-{preset}"
        place = (name, self.folder, self.bootstrap_servers, backlog.layout, backlog.prefix, preset)
        part = backlog.part
        with prepare(*place, more=contender.more, arms=part.arms, partitions=backlog.partitions) as run:
            with ExitStack() as stack:
                make_changelogs(run, contender.changelogs)
                runs = [run, *(twin(run, instance) for instance in range(2, instances + 1))]
                starts = [start(contender.command(one, False), one.path.with_suffix(".log")) for one in runs]
                children = [stack.enter_context(one) for one in starts]
                measured = throughput.measure(children, run.settings, len(part.records))
                for child in children:
                    child.stop()
            if preset == "default":
                _check(contender, run.settings, backlog)
            else:  # another rule has other vectors
                agreement.check_count(run.settings, contender.name, part.wanted)
        self.say(f"  {contender.name}, {backlog.layout}: {measured.events_per_second:,.0f} events/s")
        return measured

    def paced(self, contender: Contender, layout: str, steady: Steady, number: int) -> LatencyResult:
        """Latencies under a steady rate, on input topics of their own."""
        name = f"{self.name}-paced{number}-{LAYOUTS[layout].tag}-{contender.tag}"
        place = (name, self.folder, self.bootstrap_servers, layout, name)
        with ExitStack() as stack:
            run = stack.enter_context(prepare(*place, more=contender.more))
            stack.callback(delete, self.bootstrap_servers, input_topics(layout, name))
            child = stack.enter_context(start(contender.command(run, True), run.path.with_suffix(".log")))
            latencies = latency.measure(run, child, steady)
            commit_seconds = None
            if contender.is_armstream:
                commit_seconds = quantile(transaction_buckets(run.settings.metrics.port), 0.5)
            child.stop()
        result = LatencyResult.of(contender.name, layout, steady.events_per_second, latencies, commit_seconds)
        self.say(f"  {contender.name}, {layout}, {steady.events_per_second:,.0f} events/s: {result.shown()}")
        return result

    def restored(self, contender: Contender, load: Load, part: Part) -> Restore:
        """A restart after the load, on input topics of its own."""
        layout = "one topic"
        with ExitStack() as stack:
            runs = []
            for what in ("fresh", "full"):
                name = f"{self.name}-{what}-{contender.tag}"
                place = (name, self.folder, self.bootstrap_servers, layout, name)
                runs.append(stack.enter_context(prepare(*place, more=contender.more)))
                stack.callback(delete, self.bootstrap_servers, input_topics(layout, name))
            fresh, full = runs
            fill(self.bootstrap_servers, full.settings.topics.names.trades, part.records)
            states = len(part.wanted.standings) + (load.position_count if contender.publishes_rewards else 0)
            result = restore.measure(contender, fresh, full, len(part.records), states)
        self.say(f"  {contender.name}: a vector of every task {result.restored_seconds:.1f} s after its start")
        return result


def _check(contender: Contender, settings: Settings, backlog: Backlog) -> None:
    """Raises BenchError where what it published is not what the plain job makes of the backlog."""
    if contender.publishes_vectors:
        agreement.check_vectors(settings, backlog.layout, contender.name, backlog.part.wanted)
    if contender.publishes_rewards:
        agreement.check_rewards(settings, contender.name, backlog.part.wanted)
    if not (contender.publishes_vectors or contender.publishes_rewards):
        count = sum(1 for _ in values(settings, settings.topics.names.rewards))
        if count != len(backlog.part.records):
            raise BenchError(f"{contender.name} passed on {count} of {len(backlog.part.records)} records")
