"""What came of trials, one JSON line each; `python -m tests.faults.results FILE ...` makes the table from them.

Law: the table says nothing that is not in the lines, so that pieces run at different times make one table.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.bench.report import percentile
from tests.faults.schedule import BY_NAME, FAULTS


@dataclass(frozen=True, slots=True)
class Result:
    """Of one trial. `seconds` to the next commit after each fault; `memory` (seconds, MiB) of a process;
    `failure` is "" where all was exact."""

    fault: str
    times: int
    seed: int
    commit: str
    trial_seconds: float
    seconds: Sequence[float] = ()
    started_again: int = 0
    void_trials: int = 0
    memory: Sequence[tuple[float, float]] = ()
    failure: str = ""


def append(file: Path, result: Result) -> None:
    """One line more."""
    with file.open("ab") as lines:
        lines.write(msgspec.json.encode(result) + b"\n")


def read(files: Iterable[Path]) -> list[Result]:
    """Raises msgspec.MsgspecError for a line that is none of ours."""
    return [msgspec.json.decode(line, type=Result) for file in files for line in file.read_bytes().splitlines()]


def table(results: Sequence[Result]) -> list[str]:
    """A row for each fault that was tried, in the order of the schedule's list."""
    columns = ("fault", "times tried", "result", "next commit counted from", "p50 s", "p99 s")
    rows = [f"| {' | '.join(columns)} |", "| --- | --: | --- | --- | --: | --: |"]
    for fault in (*FAULTS, *BY_NAME):
        theirs = [result for result in results if result.fault == fault.name]
        if theirs:
            rows.append(_row(fault.name, fault.since, theirs))
    return rows


def _row(name: str, since: str, results: Sequence[Result]) -> str:
    failed_seeds = [str(result.seed) for result in results if result.failure]
    said = f"failed with seed {', '.join(failed_seeds)}" if failed_seeds else "exact"
    started_again = sum(result.started_again for result in results)
    if started_again:
        said += f"; a process gave up and was started again {started_again} times"
    void_trials = sum(result.void_trials for result in results)
    if void_trials:
        said += f"; {void_trials} trials void, the broker forgot a commit"
    seconds = [one for result in results for one in result.seconds]
    p50, p99 = (f"{percentile(seconds, share):.2f}" if seconds else "" for share in (0.5, 0.99))
    return f"| {name} | {sum(result.times for result in results)} | {said} | {since} | {p50} | {p99} |"


if __name__ == "__main__":
    print("\n".join(table(read(map(Path, sys.argv[1:])))))  # noqa: T201 - a command prints
