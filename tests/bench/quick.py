"""`python -m tests.bench.quick`: whether Armstream became slower beside what runs on the same machine; for CI.

Law: rates say more of the machine than of the code, so only ratios are judged. What else runs there only takes away, so
each contender counts by the best of its rounds, in turns. Each ratio has its line in ratios.json: `ratio` is what was
measured, `margin` the part of it that may be missing.
"""

import argparse
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.kafka.broker import start_kafka
from tests.bench import contenders
from tests.bench.child import BenchError
from tests.bench.load import make_load
from tests.bench.rounds import Bench, Part

RATIOS = Path(__file__).with_name("ratios.json")
PAIRS = {
    "native to python": ("armstream-native", "armstream-python"),
    "native to the naive loop": ("armstream-native", "naive"),
    "python to the naive loop": ("armstream-python", "naive"),
}
EVENTS, NAIVE_EVENTS, BANDITS, ROUNDS = 220_000, 22_000, 1_000, 3

Rates = Mapping[str, Sequence[float]]  # a contender's tag -> its events a second, by round


def ratios_of(rates: Rates) -> dict[str, float]:
    """Of the pairs that are here."""
    best = {tag: max(each) for tag, each in rates.items()}
    return {name: best[one] / best[other] for name, (one, other) in PAIRS.items() if one in best}


def judge(found: Mapping[str, float], kept: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A line for each ratio that fell by more than its margin."""
    lines = []
    for name, ratio in found.items():
        least = kept[name]["ratio"] * (1 - kept[name]["margin"])
        if ratio < least:
            lines.append(f"{name}: {ratio:.2f} times, at least {least:.2f} is wanted: see ratios.json beside the bench")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.quick", description="Ratios that must not fall.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--events", type=int, default=EVENTS)
    arguments = parser.parse_args(argv)
    try:
        found = ratios_of(measure(arguments.events, arguments.rounds))
    except BenchError as error:
        sys.stderr.write(f"no result: {error}\n")
        return 1
    for name, ratio in found.items():
        sys.stdout.write(f"{name}: {ratio:.2f} times\n")
    lines = judge(found, json.loads(RATIOS.read_text()))
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    return 1 if lines else 0


def measure(event_count: int, rounds: int) -> Rates:
    """Every core of Armstream that is here and the naive loop, in turns on one broker."""
    records = make_load(event_count, BANDITS, time.time_ns() // 1_000).records
    whole, first = Part.of(records), Part.of(records[: min(NAIVE_EVENTS, event_count)])
    every = [*contenders.armstream(), contenders.naive()]
    rates: dict[str, list[float]] = {one.tag: [] for one in every}
    with tempfile.TemporaryDirectory(prefix="armstream-bench-") as folder, start_kafka(say=_say) as broker:
        bench = Bench(broker.bootstrap_servers, Path(folder), f"quick{uuid.uuid4().hex[:6]}", _say)
        with (
            bench.backlog("whole", "one topic", whole) as backlog,
            bench.backlog("first", "one topic", first) as slow,
        ):
            for number in range(1, rounds + 1):
                turn = number % len(every)
                for one in (*every[turn:], *every[:turn]):
                    measured = bench.round(one, slow if one.is_slow else backlog, number)
                    rates[one.tag].append(measured.events_per_second)
    return rates


def _say(line: str) -> None:
    """Progress goes to stderr, the ratios to stdout."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
