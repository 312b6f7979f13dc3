"""What came of trials, one JSON line each; `python -m tests.faults.results FILE ...` makes the table from them.

Law: the table says nothing that is not in the lines, so that pieces run at different times make one table.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from matplotlib import rcParams
from matplotlib.figure import Figure

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
    lasts_seconds: float = 0.0  # each time, of a fault that has a duration


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
        for seconds in sorted({result.lasts_seconds for result in theirs}):
            name = f"{fault.name} for {seconds:.0f} s" if seconds else fault.name
            rows.append(_row(name, fault.since, [result for result in theirs if result.lasts_seconds == seconds]))
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


def plot(results: Sequence[Result], file: Path) -> None:
    """The memory of every process that was watched, over time, as SVG."""
    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "faults"})  # small, and the same every time
    figure = Figure(figsize=(9.5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for result in results:
        if result.memory:
            seconds, mib = zip(*result.memory, strict=True)
            axes.plot([one / 60 for one in seconds], mib, linewidth=1.2, label=result.fault)
    axes.set(xlabel="minutes", ylabel="resident memory, MiB", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, format="svg", metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.results", description="The table of lines of results."
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="what `--results FILE` of faults wrote")
    parser.add_argument("--plot", type=Path, metavar="SVG", help="draw the memory of the processes that were watched")
    options = parser.parse_args(arguments)
    results = read(options.files)
    print("\n".join(table(results)))  # noqa: T201 - a command prints
    if options.plot is not None:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
