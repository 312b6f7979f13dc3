"""`python -m tests.bench`: contenders in turns, round by round, on one broker on this machine."""

import argparse
import os
import platform
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

from confluent_kafka import KafkaException

from deploy.kafka.broker import Broker, NoKafkaError, start_kafka
from tests.bench import contenders, growth
from tests.bench.agreement import SUMS_AGREE, WEIGHTS_AGREE
from tests.bench.backlog import LAYOUTS, settings_of
from tests.bench.child import BenchError
from tests.bench.contenders import Contender
from tests.bench.kernels import measure, table
from tests.bench.latency import Steady
from tests.bench.load import ARMS, Load, make_load
from tests.bench.pace import TooFast
from tests.bench.programs import NotHere
from tests.bench.report import GrowthResult, PresetReport, PresetResult, Report, RestoreResult, Result, plot
from tests.bench.rounds import Backlog, Bench, Part

PRESETS = ("default", "documented", "tracking", "tsallis", "tracking-tsallis", "exp4")  # the files of config/
ADVISED = "exp4"  # its fills must say what experts gave to the drawn arm, and the others' must not
ONE_TOPIC = "one topic"
HALF = "half"  # of the contender's own events a second
WHAT = ("throughput", "latency", "restore", "growth")
BUSY = 0.7


def main() -> int:
    arguments = _arguments()
    if arguments.kernels:
        sys.stdout.write("\n".join([*table(measure(arguments.rounds)), ""]))
        return 0
    started = time.monotonic()
    try:
        report = run_presets(arguments) if arguments.presets else run(arguments)
    except (BenchError, NotHere, NoKafkaError, KafkaException) as error:
        say(f"no result: {error}")
        return 1
    say(f"took {time.monotonic() - started:.0f} s")
    sys.stdout.write(f"{report.to_json() if arguments.json else report.to_table()}\n")
    if arguments.plots is not None and isinstance(report, Report):
        plot(report, arguments.plots)
    return 0


def run(arguments: argparse.Namespace) -> Report:
    """All that was asked for, in the order of WHAT: a rate of half needs the events a second."""
    load_average = _load_average()
    every = contenders.here(say, arguments.contenders, arguments.commit_ms, arguments.paced_commit_ms)
    load = _load(arguments)
    with _bench() as (bench, broker):
        parts = _parts(load, every, arguments.slow_events)
        report = Report([*_conditions(every, parts, arguments), _machine(), _where(load_average, broker)])
        if "throughput" in arguments.what:
            _throughput(bench, every, parts, arguments, report)
        if "latency" in arguments.what:
            _latency(bench, every, arguments, report)
        if "restore" in arguments.what:
            for contender in every:
                if contender.keeps_state:
                    restored = bench.restored(contender, load, parts[False])
                    report.restores.append(RestoreResult(contender.name, restored))
        if "growth" in arguments.what:
            _growth(bench, every, arguments, report)
    return report


def _parts(load: Load, every: Sequence[Contender], slow_events: int) -> Mapping[bool, Part]:
    """What is measured on by whether a contender is slow, and what that comes to."""
    say(f"the plain job on {len(load.records):,} events")
    whole = Part.of(load.records)
    if slow_events >= len(load.records) or not any(one.is_slow for one in every):
        return {False: whole, True: whole}
    return {False: whole, True: Part.of(load.records[:slow_events])}


def _throughput(
    bench: Bench,
    every: Sequence[Contender],
    parts: Mapping[bool, Part],
    arguments: argparse.Namespace,
    report: Report,
) -> None:
    with ExitStack() as stack:
        backlogs: dict[tuple[str, bool], Backlog] = {}
        for layout in arguments.layouts:
            say(f"filling topics: {layout}")
            for is_slow in {one.is_slow for one in every}:
                what = "first" if is_slow else "whole"
                filled = bench.backlog(what, layout, parts[is_slow])
                backlogs[layout, is_slow] = stack.enter_context(filled)
            for one in every:
                if layout in one.layouts:
                    report.results.append(Result(one.name, layout, len(parts[one.is_slow].records)))
        by_name = {one.name: one for one in every}
        for number in range(1, arguments.rounds + 1):
            say(f"round {number} of {arguments.rounds}")
            for result in turned(report.results, number):
                contender = by_name[result.contender]
                result.rounds.append(bench.round(contender, backlogs[result.layout, contender.is_slow], number))


def turned(results: Sequence[Result], number: int) -> Sequence[Result]:
    """Another one first in each round: what runs first finds another machine."""
    first = number % len(results)
    return (*results[first:], *results[:first])


def _latency(bench: Bench, every: Sequence[Contender], arguments: argparse.Namespace, report: Report) -> None:
    for number, rate in enumerate(arguments.rates):
        say(f"{rate} events/s for {arguments.seconds:g} s after {arguments.warm_seconds:g} s")
        for contender in every:
            events_per_second = _half(contender, report) if rate == HALF else float(rate)
            if not contender.is_paced or events_per_second is None:
                continue
            steady = Steady(events_per_second, arguments.warm_seconds, arguments.seconds)
            try:
                report.latencies.append(bench.paced(contender, ONE_TOPIC, steady, number))
            except TooFast as error:
                line = f"no latency of {contender.name} at {events_per_second:,.0f} events/s: {error}"
                say(f"  {line}")
                report.conditions.append(line)


def _half(contender: Contender, report: Report) -> float | None:
    """Half of the events a second that the contender took on one topic."""
    for result in report.results:
        if (result.contender, result.layout) == (contender.name, ONE_TOPIC):
            return sorted(result.each("events_per_second"))[len(result.rounds) // 2] / 2
    return None


def _growth(bench: Bench, every: Sequence[Contender], arguments: argparse.Namespace, report: Report) -> None:
    for case in growth.cases(arguments.bandits):
        part = Part.of(case.load(arguments.events, _now_micros()).records, case.arms)
        tag = f"{case.what.replace(' ', '')}{case.size}"
        with bench.backlog(tag, ONE_TOPIC, part, partitions=case.partitions) as backlog:
            say(f"{case.what}: {case.size:,}")
            for contender in every:
                if contender.is_armstream:
                    rounds = [
                        bench.round(contender, backlog, number, instances=case.instances)
                        for number in range(1, arguments.rounds + 1)
                    ]
                    report.growth.append(GrowthResult(contender.name, case.what, case.size, rounds))


def run_presets(arguments: argparse.Namespace) -> PresetReport:
    """Armstream under each file of config/, on its fastest core."""
    load_average, contender = _load_average(), contenders.armstream()[0]
    load, experts = _load(arguments), list(settings_of(ADVISED).online_learning.experts)
    plain = Part.of(load.records)
    advised = Part(_load(arguments, experts).records, plain.wanted)
    results = [PresetResult(preset) for preset in PRESETS]
    with _bench() as (bench, broker), ExitStack() as stack:
        usual = stack.enter_context(bench.backlog("whole", ONE_TOPIC, plain))
        with_advice = stack.enter_context(bench.backlog("advised", ONE_TOPIC, advised, preset=ADVISED))
        for number in range(1, arguments.rounds + 1):
            say(f"round {number} of {arguments.rounds}")
            first = number % len(results)
            for result in (*results[first:], *results[:first]):
                backlog = with_advice if result.preset == ADVISED else usual
                measured = bench.round(contender, backlog, number, preset=result.preset)
                say(f"  {result.preset}: {measured.events_per_second:,.0f} events/s")
                result.events_per_second.append(measured.events_per_second)
                result.cpu_seconds_per_million.append(measured.cpu_seconds_per_million)
        where = _where(load_average, broker)
    conditions = [
        f"{contender.name}; load: {len(load.records):,} events in {ONE_TOPIC}, {arguments.bandits:,} bandits, "
        f"{len(ARMS)} arms, 8 partitions, one instance, {arguments.rounds} rounds in turns",
        "every reward is learned from: B = 100 in place of auto, where a preset has a bound",
        f"{ADVISED}: the same events, whose fills say what {len(experts)} experts gave to the arm",
    ]
    return PresetReport([*conditions, _machine(), where], results)


@contextmanager
def _bench() -> Iterator[tuple[Bench, Broker]]:
    with tempfile.TemporaryDirectory(prefix="armstream-bench-") as folder, start_kafka(say=say) as broker:
        yield Bench(broker.bootstrap_servers, Path(folder), f"bench{uuid.uuid4().hex[:6]}", say), broker


def _load(arguments: argparse.Namespace, experts: Sequence[str] = ()) -> Load:
    say(f"making {arguments.events:,} events")
    return make_load(arguments.events, arguments.bandits, _now_micros(), experts=experts)


def _conditions(every: Sequence[Contender], parts: Mapping[bool, Part], arguments: argparse.Namespace) -> list[str]:
    tolerances = ", ".join(f"{tolerance:g} in {layout}" for layout, tolerance in WEIGHTS_AGREE.items())
    return [
        f"load: {len(parts[False].records):,} events, {arguments.bandits:,} bandits, {len(ARMS)} arms, 8 partitions, "
        f"one instance, {arguments.rounds} rounds in turns; slow contenders on the first {len(parts[True].records):,}",
        f"each one's final vectors are those of the plain job: version and decisions equal, weights to {tolerances}; "
        f"rewards: their number equal, their sum to {SUMS_AGREE:g}",
        f"from a close that was due to its vector in a read_committed consumer, half of the events closes: measured "
        f"for {arguments.seconds:g} s after {arguments.warm_seconds:g} s",
        *(f"{one.name}: {one.says}" for one in every),
    ]


def _machine() -> str:
    return (
        f"machine: {os.cpu_count()} cores for everything, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, confluent-kafka {version('confluent-kafka')}"
    )


def _where(load_average: float, broker: Broker) -> str:
    return f"load average before the start: {load_average:.1f}; Kafka by {broker.way}"


def _load_average() -> float:
    load_average = os.getloadavg()[0]
    if load_average > BUSY:
        say(f"the machine is busy with something else, load average {load_average:.1f}: figures will be too low")
    return load_average


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Contenders in turns on one broker.")
    parser.add_argument("--quick", action="store_true", help="less of everything, one round")
    parser.add_argument("--presets", action="store_true", help="in place of other contenders: config/'s rules in turns")
    parser.add_argument(
        "--kernels", action="store_true", help="without Kafka: one choice and one update, beside river's Exp3"
    )
    parser.add_argument(
        "--what", type=_some_of(WHAT), help="some of throughput,latency,restore,growth; default: but growth"
    )
    parser.add_argument("--contenders", type=_words, help="their tags, or how they begin: armstream,streams,naive")
    parser.add_argument("--layouts", type=_some_of(tuple(LAYOUTS)), default=list(LAYOUTS), help=", ".join(LAYOUTS))
    parser.add_argument("--rounds", type=_positive, help="default 3, 40 of kernels")
    parser.add_argument("--events", type=_positive, help="default 500,000")
    parser.add_argument("--slow-events", type=_positive, help="the first events, for slow contenders; default 60,000")
    parser.add_argument("--bandits", type=_positive, default=1_000)
    parser.add_argument("--rates", type=_words, default=["10", "1000", HALF], help="events/s; half: of what one takes")
    parser.add_argument("--warm-seconds", type=float, help="at each rate before it is measured; default 60")
    parser.add_argument("--seconds", type=float, help="how long it is measured; default 30")
    parser.add_argument("--commit-ms", type=_positive, default=contenders.STREAMS_COMMIT_MS, help="of Kafka Streams")
    parser.add_argument(
        "--paced-commit-ms", type=_positive, default=contenders.PACED_COMMIT_MS, help="the same where latency counts"
    )
    parser.add_argument(
        "--plots", type=Path, metavar="FOLDER", help="write throughput.svg, latency.svg, growth.svg there"
    )
    parser.add_argument("--json", action="store_true", help="JSON on stdout in place of the table")
    arguments = parser.parse_args()
    rounds = 40 if arguments.kernels else 3
    usual = {"rounds": rounds, "events": 500_000, "slow_events": 60_000, "warm_seconds": 60.0, "seconds": 30.0}
    quick = {"rounds": 1, "events": 110_000, "slow_events": 22_000, "warm_seconds": 5.0, "seconds": 5.0}
    defaults = {"what": ["throughput", "latency", "restore"], **(quick if arguments.quick else usual)}
    for setting, value in defaults.items():
        if getattr(arguments, setting) is None:
            setattr(arguments, setting, value)
    return arguments


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    def some(text: str) -> list[str]:
        words = _words(text)
        if not set(words) <= set(known):
            raise argparse.ArgumentTypeError(f"some of {', '.join(known)}, with commas between them")
        return words

    return some


def _positive(text: str) -> int:
    number = int(text.replace(",", "").replace("_", ""))
    if number <= 0:
        raise ValueError(text)
    return number


def _now_micros() -> int:
    return time.time_ns() // 1_000


def say(line: str) -> None:
    """Progress goes to stderr, the result to stdout."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
