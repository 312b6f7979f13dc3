"""What happens with state: a transaction that the broker refuses, and a task that takes long to restore."""

import time
from collections.abc import Callable, Container, Iterator
from itertools import count, islice

from armstream.events import Fill
from armstream.keys import partition_of
from tests.faults.trial import Trial
from tests.integration.test_outcomes import limit_bytes

_HEAVY = 0  # the task with many positions
_HEAVY_BANDITS = 100


def oversize(trial: Trial, times: int) -> list[float]:
    """The rewards' topic takes nothing for a while: the process ends, and the next start goes on."""
    seconds: list[float] = []
    topic, most_bytes = trial.job.settings.topics.names.rewards, trial.job.settings.limits.output_batch_bytes
    process = trial.start().wait_until_ready()
    for _ in range(times):
        trial.wait_for_a_commit()
        trial.sleep(0.0, 1.0)
        limit_bytes(trial.job, topic, 100)
        assert process.exit_code(60) == 1, process.text
        assert "could not be published" in process.text.strip().splitlines()[-1], process.text
        limit_bytes(trial.job, topic, most_bytes)
        started = time.monotonic()
        process = trial.start()
        seconds.append(trial.seconds_to_next_commit(started))
    return seconds


def restore(positions: int) -> Callable[[Trial, int], list[float]]:
    """One task restores so many open positions while the others flow: they do not wait for it."""

    def inflict(trial: Trial, times: int) -> list[float]:
        seconds: list[float] = []
        process = trial.start().wait_until_ready()
        trial.send_apart(open_positions(trial, positions, {_HEAVY}))
        trial.job.wait_until_applied(process)
        others = set(range(trial.job.settings.topics.partitions)) - {_HEAVY}
        for _ in range(times):
            process.kill()
            started = time.monotonic()
            process = trial.start()
            trial.seconds_to_next_commit(started, others)
            assert f"task {_HEAVY} is ready" not in process.text, f"the others waited for it:\n{process.text}"
            seconds.append(trial.seconds_to_next_commit(started))
        return seconds

    return inflict


def open_positions(trial: Trial, positions: int, tasks: Container[int] = range(1_000)) -> Iterator[Fill]:
    """One fill each, on bandits of these tasks that nobody else trades."""
    settings = trial.job.settings
    partition_count = settings.topics.partitions
    names = (f"heavy-{number}" for number in count())
    heavy = (name for name in names if partition_of(name.encode(), partition_count) in tasks)
    bandits = list(islice(heavy, _HEAVY_BANDITS))
    ts_event = int((time.time() - 60) * 1e6)
    for number in range(positions):
        yield Fill(
            event_id="f",
            bandit_id=bandits[number % _HEAVY_BANDITS],
            position_id=f"open-{number}",
            instrument_id="AAPL",
            side=trial.draw.choice(("BUY", "SELL")),
            quantity=float(trial.draw.randint(1, 100)),
            price=trial.draw.uniform(20.0, 200.0),
            arm=trial.draw.choice(settings.online_learning.arms),
            ts_event=ts_event,
        )
