"""`python -m tests.bench`: armstream and the naive loop in turns, round by round, on one broker on this machine."""

import argparse
import os
import platform
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from math import isclose
from pathlib import Path

from deploy.kafka.broker import start_kafka
from tests.bench import latency, throughput
from tests.bench.backlog import LAYOUTS, Rewards, delete, fill, input_topics, prepare, read_rewards, settings_of
from tests.bench.child import BenchError, Buckets, Child, quantile, start, transaction_buckets, wait_until_ready
from tests.bench.kernels import measure, table
from tests.bench.load import ARMS, Load, Record, make_load
from tests.bench.naive import COMMIT_SECONDS
from tests.bench.report import LayoutResult, PresetReport, PresetResult, Report, percentile

PRESETS = ("default", "documented", "tracking", "tsallis", "tracking-tsallis", "exp4")  # the files of config/
ADVISED = "exp4"  # its fills must say what experts gave to the drawn arm, and the others' must not
PRESETS_LAYOUT = "one topic"
SUMS_AGREE = 1e-6
BUSY = 0.7


@dataclass(frozen=True, slots=True)
class Bench:
    """The load, the part of it that the naive loop gets, and where all of it happens."""

    load: Load
    naive_events: int
    bootstrap_servers: str
    folder: Path
    name: str  # stands before every topic and group

    def fill_topics(self, layout: str) -> None:
        """The backlog, before any clock starts."""
        for prefix, count in {
            self._whole(layout): len(self.load.records),
            self._part(layout): self.naive_events,
        }.items():
            self._fill(layout, prefix, self.load.records[:count])

    def fill_advised(self, layout: str, load: Load) -> None:
        """The backlog of the preset that has experts."""
        self._fill(layout, self._whole(layout, ADVISED), load.records)

    def _fill(self, layout: str, prefix: str, records: Sequence[Record]) -> None:
        with prepare(f"{prefix}-load", self.folder, self.bootstrap_servers, layout, prefix) as run:
            fill(self.bootstrap_servers, run.settings.topics.names.trades, records)

    def delete_topics(self, layout: str) -> None:
        self._delete(layout, {self._whole(layout), self._part(layout)})

    def delete_advised(self, layout: str) -> None:
        self._delete(layout, {self._whole(layout, ADVISED)})

    def _delete(self, layout: str, prefixes: Iterable[str]) -> None:
        for prefix in prefixes:
            delete(self.bootstrap_servers, input_topics(layout, prefix))

    def ours(self, layout: str, number: int, result: LayoutResult) -> Rewards:
        """One round of armstream on the whole load."""
        name = f"{self.name}-{number}-{LAYOUTS[layout].tag}-armstream"
        measured, buckets, rewards = self._on_the_whole(name, layout, "default")
        result.ours_events_per_second.append(measured.events_per_second)
        result.ours_cpu_seconds_per_million.append(measured.cpu_seconds_per_million)
        result.backlog_commit_p50_seconds.append(quantile(buckets, 0.5))
        result.backlog_commit_p99_seconds.append(quantile(buckets, 0.99))
        _say(f"  armstream, {layout}: {measured.events_per_second:,.0f} events/s")
        return rewards

    def preset(self, layout: str, number: int, result: PresetResult) -> None:
        """One round of armstream under a file of config/."""
        measured, _, _ = self._on_the_whole(f"{self.name}-{number}-{result.preset}", layout, result.preset)
        result.events_per_second.append(measured.events_per_second)
        result.cpu_seconds_per_million.append(measured.cpu_seconds_per_million)
        _say(f"  {result.preset}: {measured.events_per_second:,.0f} events/s")

    def _on_the_whole(self, name: str, layout: str, preset: str) -> tuple[throughput.Throughput, Buckets, Rewards]:
        with prepare(name, self.folder, self.bootstrap_servers, layout, self._whole(layout, preset), preset) as run:
            with _armstream(run.path) as child:
                measured = throughput.measure(child, run.settings, len(self.load.records))
                buckets = transaction_buckets(run.settings.metrics.port)
                child.stop()
            rewards = read_rewards(run.settings, self.naive_events)
        if rewards.count_in_all != self.load.reward_count:
            raise BenchError(f"armstream made {rewards.count_in_all} rewards of {self.load.reward_count}")
        return measured, buckets, rewards

    def naive(self, layout: str, number: int, result: LayoutResult) -> Rewards:
        """One round of the naive loop on its part of the load."""
        name = f"{self.name}-{number}-{LAYOUTS[layout].tag}-naive"
        with prepare(name, self.folder, self.bootstrap_servers, layout, self._part(layout)) as run:
            with start(["tests.bench.naive", str(run.path)], run.path.with_suffix(".log")) as child:
                measured = throughput.measure(child, run.settings, self.naive_events)
                child.stop()
            result.naive_events_per_second.append(measured.events_per_second)
            result.naive_cpu_seconds_per_million.append(measured.cpu_seconds_per_million)
            _say(f"  naive loop, {layout}: {measured.events_per_second:,.0f} events/s")
            return read_rewards(run.settings, self.naive_events)

    def paced(self, layout: str, events_per_second: int, seconds: float, result: LayoutResult) -> None:
        """Latencies of armstream under a steady rate, on input topics of their own."""
        name = f"{self.name}-paced-{LAYOUTS[layout].tag}"
        with prepare(name, self.folder, self.bootstrap_servers, layout, name) as run:
            with _armstream(run.path) as child:
                wait_until_ready(child, run.settings.metrics.port)
                latencies = latency.measure(run.settings, events_per_second, seconds)
                buckets = transaction_buckets(run.settings.metrics.port)
                child.stop()
            delete(self.bootstrap_servers, input_topics(layout, name))
        result.paced_commit_p50_seconds = quantile(buckets, 0.5)
        result.paced_commit_p99_seconds = quantile(buckets, 0.99)
        result.close_to_vector_p50_seconds = percentile(latencies, 0.5)
        result.close_to_vector_p99_seconds = percentile(latencies, 0.99)
        shown = f"{result.close_to_vector_p50_seconds * 1e3:.1f} and {result.close_to_vector_p99_seconds * 1e3:.1f}"
        _say(f"  close to readable vector, {layout}: p50 and p99 {shown} ms")

    def _whole(self, layout: str, preset: str = "default") -> str:
        return f"{self.name}-{'advised' if preset == ADVISED else 'whole'}-{LAYOUTS[layout].tag}"

    def _part(self, layout: str) -> str:
        whole = self.naive_events == len(self.load.records)
        return self._whole(layout) if whole else f"{self.name}-part-{LAYOUTS[layout].tag}"


def main() -> int:
    arguments = _arguments()
    if arguments.kernels:
        sys.stdout.write("\n".join([*table(measure(arguments.rounds)), ""]))
        return 0
    started, load_average = time.monotonic(), os.getloadavg()[0]
    if load_average > BUSY:
        _say(f"the machine is busy with something else, load average {load_average:.1f}: figures will be too low")
    _say(f"making {arguments.events:,} events")
    load = make_load(arguments.events, arguments.bandits, _now_micros())
    try:
        with tempfile.TemporaryDirectory(prefix="armstream-bench-") as folder, start_kafka(say=_say) as broker:
            naive_events = len(load.records) if arguments.presets else min(arguments.naive_events, len(load.records))
            name = f"bench{uuid.uuid4().hex[:6]}"
            bench = Bench(load, naive_events, broker.bootstrap_servers, Path(folder), name)
            conditions = [f"load average before the start: {load_average:.1f}", f"Kafka by {broker.way}"]
            report = (_run_presets if arguments.presets else _run)(bench, arguments, conditions)
    except BenchError as error:
        _say(f"no result: {error}")
        return 1
    _say(f"took {time.monotonic() - started:.0f} s")
    sys.stdout.write(f"{report.to_json() if arguments.json else report.to_table()}\n")
    return 0


def _run(bench: Bench, arguments: argparse.Namespace, conditions: Sequence[str]) -> Report:
    results = {layout: LayoutResult(layout) for layout in LAYOUTS}
    for layout in LAYOUTS:
        _say(f"filling topics: {layout}")
        bench.fill_topics(layout)
    for number in range(1, arguments.rounds + 1):
        _say(f"round {number} of {arguments.rounds}")
        for layout, result in results.items():
            compare(bench.ours(layout, number, result), bench.naive(layout, number, result))
    for layout in LAYOUTS:
        bench.delete_topics(layout)
    _say(f"{arguments.rate:,} events/s for {arguments.seconds:g} s, each layout")
    for layout, result in results.items():
        bench.paced(layout, arguments.rate, arguments.seconds, result)
    return Report([*_conditions(bench, arguments), *conditions], list(results.values()))


def _run_presets(bench: Bench, arguments: argparse.Namespace, conditions: Sequence[str]) -> PresetReport:
    results = [PresetResult(preset) for preset in PRESETS]
    _say(f"filling topics: {PRESETS_LAYOUT}")
    bench.fill_topics(PRESETS_LAYOUT)
    experts = list(settings_of(ADVISED).online_learning.experts)
    bench.fill_advised(PRESETS_LAYOUT, make_load(arguments.events, arguments.bandits, _now_micros(), experts=experts))
    for number in range(1, arguments.rounds + 1):
        _say(f"round {number} of {arguments.rounds}")
        first = number % len(results)  # another one each round: what runs first finds another machine
        for result in (*results[first:], *results[:first]):
            bench.preset(PRESETS_LAYOUT, number, result)
    bench.delete_topics(PRESETS_LAYOUT)
    bench.delete_advised(PRESETS_LAYOUT)
    load = (
        f"load: {len(bench.load.records):,} events in {PRESETS_LAYOUT}, {arguments.bandits:,} bandits, "
        f"{len(ARMS)} arms, 8 partitions, one instance, {arguments.rounds} rounds in turns"
    )
    learned = "every reward is learned from: B = 100 in place of auto, where a preset has a bound"
    advised = f"{ADVISED}: the same events, whose fills say what {len(experts)} experts gave to the arm"
    return PresetReport([load, learned, advised, _machine(), *conditions], results)


def compare(ours: Rewards, naive: Rewards) -> None:
    """Raises BenchError where the two loops did not do the same work."""
    if ours.count != naive.count or not isclose(ours.sum_bps, naive.sum_bps, rel_tol=SUMS_AGREE):
        raise BenchError(
            f"the loops disagree: {ours.count} rewards that sum to {ours.sum_bps!r} bps, the naive loop's are "
            f"{naive.count} and {naive.sum_bps!r} bps"
        )


def _conditions(bench: Bench, arguments: argparse.Namespace) -> list[str]:
    return [
        f"load: {len(bench.load.records):,} events, {arguments.bandits:,} bandits, {len(ARMS)} arms, 8 partitions, one "
        f"instance, {arguments.rounds} rounds in turns; the naive loop on the first {bench.naive_events:,} events",
        f"rewards of both loops agree: their number, and their sum to {SUMS_AGREE:g}",
        f"naive loop: poll, fastavro, dicts, nothing coalesced, a transaction every {COMMIT_SECONDS * 1e3:.0f} ms",
        f"paced: {arguments.rate:,} events/s for {arguments.seconds:g} s after {latency.WARM_UP_SECONDS:g} s, half of "
        "them closes; from a close's produce call to its vector in a read_committed consumer",
        "commit: produce and commit of a batch, from /metrics, linear within a bucket",
        _machine(),
    ]


def _machine() -> str:
    return (
        f"machine: {os.cpu_count()} cores for everything, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, confluent-kafka {version('confluent-kafka')}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Events a second and latency, beside the loop one would write first."
    )
    parser.add_argument("--quick", action="store_true", help="about a minute: less of everything, one round")
    parser.add_argument("--presets", action="store_true", help="in place of the naive loop: config/'s rules in turns")
    parser.add_argument(
        "--kernels", action="store_true", help="without Kafka: one choice and one update, beside river's Exp3"
    )
    parser.add_argument("--rounds", type=_positive, help="default 3, 40 of kernels")
    parser.add_argument("--events", type=_positive, help="default 500,000")
    parser.add_argument("--naive-events", type=_positive, help="the naive loop's part of them; default 200,000")
    parser.add_argument("--bandits", type=_positive, default=1_000)
    parser.add_argument("--rate", type=_positive, default=1_000, help="events/s for the latencies")
    parser.add_argument("--seconds", type=_positive, help="how long at that rate; default 25")
    parser.add_argument("--json", action="store_true", help="JSON on stdout in place of the table")
    arguments = parser.parse_args()
    usual = {"rounds": 40 if arguments.kernels else 3, "events": 500_000, "naive_events": 200_000, "seconds": 25}
    quick = {"rounds": 1, "events": 200_000, "naive_events": 50_000, "seconds": 5}
    for setting, value in (quick if arguments.quick else usual).items():
        if getattr(arguments, setting) is None:
            setattr(arguments, setting, value)
    return arguments


def _positive(text: str) -> int:
    number = int(text.replace(",", "").replace("_", ""))
    if number <= 0:
        raise ValueError(text)
    return number


def _now_micros() -> int:
    return time.time_ns() // 1_000


def _armstream(settings: Path) -> AbstractContextManager[Child]:
    return start(["armstream.cli", "run", "--config", str(settings)], settings.with_suffix(".log"))


def _say(line: str) -> None:
    """Progress goes to stderr, the result to stdout."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
