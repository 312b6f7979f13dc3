"""The command: one partition after the other, until the first difference. 0: verified or partial, 1: not."""

import sys
import time

from armstream.settings import Settings
from armstream.oracle.comparison import Difference
from armstream.verify.history import check_partition
from armstream.verify.log import Cluster, Unverifiable
from armstream.verify.report import Progress, Report
from armstream.verify.state import Rules


def run(settings: Settings, *, as_json: bool) -> int:
    """Verifies what stands in Kafka, and says so on standard output."""
    progress = Progress(sys.stderr)
    try:
        report = _verify(settings, progress)
    except Unverifiable as unverifiable:
        return _failed(str(unverifiable))
    finally:
        progress.close()
    print(report.as_json() if as_json else "\n".join(report.lines()))  # noqa: T201 - the command's result
    return 1 if report.difference is not None else 0


def _verify(settings: Settings, progress: Progress) -> Report:
    report, rules, started = Report(), Rules.of(settings), time.monotonic()
    with Cluster(settings, progress.moved) as cluster:
        progress.total = cluster.record_count()
        for number in range(cluster.partition_count):
            progress.where = f"partition {number + 1} of {cluster.partition_count}"
            try:
                report.add(check_partition(cluster.read(number), rules))
            except Difference as difference:
                report.difference, report.different_partition = difference, number
                break
    report.seconds = time.monotonic() - started
    return report


def _failed(line: str) -> int:
    print(f"verify: {line}", file=sys.stderr)  # noqa: T201 - why there is none
    return 1
