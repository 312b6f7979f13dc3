"""The command: one partition after the other, until the first difference. 0: verified or partial, 1: not."""

import sys
import time
from pathlib import Path

from armstream.access import NoAccess
from armstream.oracle.comparison import Difference
from armstream.settings import Settings
from armstream.verify.log import Cluster
from armstream.verify.partition import check_partition
from armstream.verify.report import Progress, Report
from armstream.verify.shadow import Rules
from armstream.verify.states import States, Unverifiable, require_reachable

SAY_SECONDS = 30.0
PAUSE_SECONDS = 2.0


def run(settings: Settings, *, as_json: bool, state: Path | None = None, follow: bool = False) -> int:
    """Verifies what stands in Kafka, and says so on standard output. `state` is a folder that keeps where it got to;
    `follow` goes on until Ctrl-C or a difference."""
    progress = Progress(sys.stderr)
    try:
        with Cluster(settings, progress.moved, progress.say) as cluster:
            keeps = state is not None or follow
            states = States(state, settings, cluster.partition_count) if keeps else None
            code = _pass(cluster, settings, states, progress, as_json)
            if follow and code == 0:
                code = _follow(cluster, settings, states, progress, as_json)
    except (Unverifiable, NoAccess) as failure:
        progress.close()
        return _failed(str(failure))
    except KeyboardInterrupt:
        if not follow:
            raise
        code = 0
    finally:
        progress.close()
    return code


def _follow(cluster: Cluster, settings: Settings, states: States | None, progress: Progress, as_json: bool) -> int:
    """Pass after pass; a line for each in which something was verified, and one at the latest every SAY_SECONDS."""
    seen, said = cluster.ends(), time.monotonic()
    while True:
        time.sleep(PAUSE_SECONDS)
        ends = cluster.ends()
        if ends != seen:
            code = _pass(cluster, settings, states, progress, as_json)
            seen, said = ends, time.monotonic()
            if code:
                return code
        elif time.monotonic() - said >= SAY_SECONDS:
            print("verified: nothing new", file=sys.stderr, flush=True)  # noqa: T201 - how far it is
            said = time.monotonic()


def _pass(cluster: Cluster, settings: Settings, states: States | None, progress: Progress, as_json: bool) -> int:
    report = _verify(cluster, settings, states, progress)
    progress.close()
    print(report.as_json() if as_json else "\n".join(report.lines()), flush=True)  # noqa: T201 - the command's result
    return 1 if report.difference is not None else 0


def _verify(cluster: Cluster, settings: Settings, states: States | None, progress: Progress) -> Report:
    report, rules, started = Report(), Rules.of(settings), time.monotonic()
    progress.begin(cluster.record_count())
    for number in range(cluster.partition_count):
        progress.where = f"partition {number + 1} of {cluster.partition_count}"
        state = None if states is None else states.load(number)
        try:
            log = cluster.read(number, {} if state is None else state.next_offset)
            if state is not None:
                require_reachable(state, log)
            account = check_partition(log, rules, state)
        except Difference as difference:
            report.difference, report.different_partition = difference, number
            break
        report.add(account)
        if states is not None and account.state is not None:
            states.save(number, account.state)
    report.seconds = time.monotonic() - started
    return report


def _failed(line: str) -> int:
    print(f"verify: {line}", file=sys.stderr)  # noqa: T201 - why there is none
    return 1
