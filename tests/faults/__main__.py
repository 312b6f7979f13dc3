"""`python -m tests.faults`: faults by a schedule, for so many minutes, on a broker of its own; then a table.

Every trial runs on a job of its own under load and ends with the check of all that Kafka then holds.
"""

import argparse
import io
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from deploy.kafka.broker import Broker, start_kafka
from tests.bench.report import percentile
from tests.faults.proxy import Proxy
from tests.faults.schedule import FAULTS, NAMES, schedule
from tests.faults.trial import Fault, attempt


@dataclass(slots=True)
class Tally:
    """What came of one fault."""

    tries: int = 0
    seconds: list[float] = field(default_factory=list)
    started_again: int = 0
    void_trials: int = 0
    failed_seeds: list[int] = field(default_factory=list)

    def row(self, fault: Fault) -> str:
        result = f"failed with seed {', '.join(map(str, self.failed_seeds))}" if self.failed_seeds else "exact"
        if self.started_again:
            result += f"; a process gave up and was started again {self.started_again} times"
        if self.void_trials:
            result += f"; {self.void_trials} trials void, the broker forgot a commit"
        times = [f"{percentile(self.seconds, share):.2f}" if self.seconds else "" for share in (0.5, 0.99)]
        return f"| {fault.name} | {self.tries} | {result} | {fault.since} | {times[0]} | {times[1]} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Faults by a seeded schedule; each trial is derived again from the log.",
        epilog="example: python -m tests.faults --minutes 10 --seed 1",
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="no new trial after that; 0 makes one trial")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule; with --fault, of that one's trial")
    parser.add_argument("--fault", choices=list(NAMES), default=None, metavar="NAME", help=f"of {', '.join(NAMES)}")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    faults = list(FAULTS) if options.fault is None else [NAMES[options.fault]]
    _say(f"seed {seed}")
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    with (
        start_kafka(say=_say, environment=environment) as kafka,
        Proxy(kafka.proxied.advertised, kafka.proxied.address) as proxy,
    ):
        tallies = _run(seed, faults, time.monotonic() + options.minutes * 60, kafka, proxy)
    _say("\n".join(["", *_table(tallies)]))
    return 1 if any(tally.failed_seeds for tally in tallies.values()) else 0


def _run(seed: int, faults: Sequence[Fault], until: float, kafka: Broker, proxy: Proxy) -> dict[Fault, Tally]:
    tallies = {fault: Tally() for fault in faults}
    for fault, trial_seed in schedule(seed, faults):
        _try(fault, trial_seed, tallies[fault], kafka, proxy)
        if time.monotonic() >= until:
            return tallies
    raise AssertionError("a schedule has no end")


def _try(fault: Fault, seed: int, tally: Tally, kafka: Broker, proxy: Proxy) -> None:
    started, times = time.monotonic(), FAULTS[fault]
    tally.tries += times
    said = io.StringIO()  # what the processes said, for a trial that failed
    with tempfile.TemporaryDirectory(prefix="armstream-faults-") as folder:
        try:
            with redirect_stdout(said), _librdkafka_is_quiet():
                outcome = attempt(fault, times, seed, kafka, proxy, Path(folder))
        except Exception:
            tally.failed_seeds.append(seed)
            _say(f"{said.getvalue()}\n{traceback.format_exc()}")
            _say(f'FAILED {fault.name}; again: make faults MINUTES=0 SEED={seed} FAULT="{fault.name}"')
            return
    tally.seconds += outcome.seconds
    tally.started_again += outcome.started_again
    tally.void_trials += outcome.void_trials
    listed = " ".join(f"{one:.2f}" for one in outcome.seconds)
    _say(f"{fault.name}, {times} times, seed {seed}: exact; next commit after {listed} s; {_took(started)}")


@contextmanager
def _librdkafka_is_quiet() -> Iterator[None]:
    """Its lines about the broker that was killed go to the file descriptor of standard error: nowhere, for a while."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _took(started: float) -> str:
    return f"trial of {time.monotonic() - started:.0f} s"


def _table(tallies: dict[Fault, Tally]) -> list[str]:
    columns = ("fault", "times tried", "result", "next commit counted from", "p50 s", "p99 s")
    head = [f"| {' | '.join(columns)} |", "| --- | --: | --- | --- | --: | --: |"]
    return head + [tally.row(fault) for fault, tally in tallies.items() if tally.tries]


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command prints


if __name__ == "__main__":
    sys.exit(main())
