"""`python -m tests.faults`: faults by a schedule, for so many minutes, on a broker of its own; then a table.

Every trial runs on a job of its own under load and ends with the check of all that Kafka then holds.
"""

import argparse
import io
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from armstream.core import which_runs
from armstream.settings import load
from deploy.kafka.broker import Broker, start_kafka
from deploy.kafka.java_cluster import start_cluster
from deploy.kafka.node import Proxied, free_port
from tests.faults.proxy import Proxy
from tests.faults.results import Result, append, table
from tests.faults.schedule import BY_NAME, FAULTS, NAMES, schedule
from tests.faults.trial import Fault, attempt


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Faults by a seeded schedule; each trial is derived again from the log. Processors run on the "
        "native core where it is built, with ARMSTREAM__CORE=python on the Python stages.",
        epilog="example: python -m tests.faults --minutes 10 --seed 1",
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="no new trial after that; 0 makes one trial")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule; with --fault, of that one's trial")
    named = f"this one, and others where it is said again: of {', '.join(NAMES)}"
    parser.add_argument("--fault", choices=list(NAMES), action="append", metavar="NAME", help=named)
    parser.add_argument("--times", type=int, default=None, help="how often a trial does it, in place of what is usual")
    lasts = "what has a duration lasts so long, in place of what is usual: a broker is gone for 600 s"
    parser.add_argument("--lasts", type=float, default=None, metavar="SECONDS", help=lasts)
    parser.add_argument("--results", type=Path, default=None, metavar="FILE", help="a JSON line more for each trial")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    faults = [NAMES[name] for name in options.fault] if options.fault else list(FAULTS)
    _say(f"seed {seed}")
    core = {name: value for name, value in os.environ.items() if name == "ARMSTREAM__CORE"}
    _say(which_runs(load(None, core).core))
    with ExitStack() as started:
        sites = _start(faults, started)
        until = time.monotonic() + options.minutes * 60
        results = _run(seed, faults, until, options.times, options.lasts, options.results, sites)
    _say("\n".join(["", *table(results)]))
    return 1 if any(result.failure for result in results) else 0


@dataclass(frozen=True, slots=True)
class Sites:
    """Where trials take place: by how many brokers, and a proxy of the lone one."""

    kafka: Mapping[int, Broker]
    proxy: Proxy


def _start(faults: Sequence[Fault], started: ExitStack) -> Sites:
    """One broker, and three, where a fault needs them."""
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    kafka: dict[int, Broker] = {}
    proxied = Proxied(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")  # nobody calls that of three brokers
    if any(fault.brokers == 1 for fault in faults):
        kafka[1] = started.enter_context(start_kafka(say=_say, environment=environment))
        proxied = kafka[1].proxied
    if any(fault.brokers == 3 for fault in faults):
        disk_mib = next((fault.disk_mib for fault in faults if fault.disk_mib is not None), None)
        kafka[3] = started.enter_context(start_cluster(_say, disk_mib))
    return Sites(kafka, started.enter_context(Proxy(proxied.advertised, proxied.address)))


def _run(
    seed: int,
    faults: Sequence[Fault],
    until: float,
    times: int | None,
    lasts_seconds: float | None,
    file: Path | None,
    sites: Sites,
) -> list[Result]:
    results: list[Result] = []
    commit = _commit()
    for fault, trial_seed in schedule(seed, faults):
        seconds = fault.lasts_seconds and (fault.lasts_seconds if lasts_seconds is None else lasts_seconds)
        tried = replace(fault, lasts_seconds=seconds)
        results.append(_try(tried, times or (FAULTS | BY_NAME)[fault], trial_seed, commit, sites))
        if file is not None:
            append(file, results[-1])
        if time.monotonic() >= until:
            return results
    raise AssertionError("a schedule has no end")


def _try(fault: Fault, times: int, seed: int, commit: str, sites: Sites) -> Result:
    started = time.monotonic()
    said = io.StringIO()  # what the processes said, for a trial that failed
    with tempfile.TemporaryDirectory(prefix="armstream-faults-") as folder:
        try:
            with redirect_stdout(said), _librdkafka_is_quiet():
                outcome = attempt(fault, times, seed, sites.kafka[fault.brokers], sites.proxy, Path(folder))
        except Exception as failure:
            _say(f"{said.getvalue()}\n{traceback.format_exc()}")
            lasts = f' ARGS="--lasts {fault.lasts_seconds:g}"' if fault.lasts_seconds else ""
            named = f'SEED={seed} TIMES={times} FAULT="{fault.name}"{lasts}'
            _say(f"FAILED {fault.name}; again: make faults MINUTES=0 {named}")
            seconds, lasts_seconds = time.monotonic() - started, fault.lasts_seconds
            return Result(fault.name, times, seed, commit, seconds, failure=repr(failure), lasts_seconds=lasts_seconds)
    seconds = time.monotonic() - started
    listed = " ".join(f"{one:.2f}" for one in outcome.seconds)
    _say(f"{fault.name}, {times} times, seed {seed}: exact; next commit after {listed} s; trial of {seconds:.0f} s")
    return Result(fault.name, times, seed, commit, seconds, lasts_seconds=fault.lasts_seconds, **asdict(outcome))


def _commit() -> str:
    """The code's, with "-dirty" where something of it is in no commit; "" outside a repository."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return described.stdout.strip()


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


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command prints


if __name__ == "__main__":
    sys.exit(main())
