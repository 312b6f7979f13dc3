"""A broker that is gone for longer than its clients wait for it: idle ones go on, busy ones end and are started again.

Law: whoever ends says why in one line, with 1; whoever had nothing on its way does not end.
"""

import time

from tests.faults.processes import IN_TRANSACTION
from tests.faults.proxy import Hold
from tests.faults.trial import Trial
from tests.integration.processor import Process

_IDLE_SECONDS = 2.0  # the last transaction's marks are written: a broker that stands alone could forget them
_REQUEST_SECONDS = 30.0
_READY_SECONDS = 180.0  # of three that start together on busy cores
_PATIENCE_SECONDS = 200.0  # 30 s of a call, and 90 for a new producer
_LOOK_SECONDS = 0.2
_LINE_CHARACTERS = 2_500

TWO_TASKS = {"topics.partitions": "2"}  # the third instance is a standby


def while_idle(trial: Trial, times: int) -> list[float]:
    """Of three instances one has no task. None ends, and whoever has a task then works on."""
    seconds: list[float] = []
    for instance in ("a", "b", "standby"):
        trial.start_behind_proxy(instance)
    processes = [process.wait_until_ready(_READY_SECONDS) for process in trial.processes.values()]
    for _ in range(times):
        trial.wait_for_a_commit()
        with trial.load.paused():
            trial.job.wait_until_applied(*processes)
            time.sleep(_IDLE_SECONDS)
            trial.kafka.kill()
            time.sleep(trial.lasts_seconds)
            trial.kafka.restart()
            back_at = time.monotonic()
        seconds.append(trial.seconds_to_next_commit(back_at))
        for process in processes:
            assert process.is_alive, process.text
    return seconds


def while_busy(trial: Trial, times: int) -> list[float]:
    """It goes in the middle of a transaction, and is away at least until somebody has ended, who is started again at
    once, as often as it ends."""
    seconds: list[float] = []
    if not trial.processes:
        trial.start_behind_proxy()
    for _ in range(times):
        for process in trial.processes.values():
            process.wait_until_ready(_READY_SECONDS)
        trial.wait_for_a_commit()
        started_again = trial.started_again
        trial.proxy.next(trial.draw.choice(IN_TRANSACTION), Hold()).wait_until_met(_REQUEST_SECONDS)
        trial.kafka.kill()
        trial.proxy.forget()
        gone_at = time.monotonic()
        while trial.started_again == started_again or time.monotonic() < gone_at + trial.lasts_seconds:
            assert time.monotonic() < gone_at + trial.lasts_seconds + _PATIENCE_SECONDS, "nobody ends who was busy"
            for process in trial.processes.values():
                if not process.is_alive:
                    _assert_that_it_says_why(process)
            trial.supervise()
            time.sleep(_LOOK_SECONDS)
        trial.kafka.restart()
        seconds.append(trial.seconds_to_next_commit(time.monotonic()))
    return seconds


def _assert_that_it_says_why(process: Process) -> None:
    assert process.exit_code() == 1, process.text
    assert "Traceback" not in process.text, process.text
    assert max(map(len, process.text.splitlines())) < _LINE_CHARACTERS, process.text
