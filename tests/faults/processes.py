"""What happens to processes: signals that kill or stop them, twins that come and go, a name used twice."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from tests.faults.proxy import Api, Hold
from tests.faults.trial import Trial
from tests.integration.processor import Job, Process, eventually

_ALL_TASKS = "assigned tasks [0, 1, 2, 3]"
_TAKE_OVER_SECONDS = 40.0
_ASLEEP_SECONDS = 8.0  # longer than the session
_ON_THE_WAY_SECONDS = 0.5  # what the sleeper had sent still counts as before its sleep
_EXPIRES_SECONDS = 75.0  # longer than transaction.timeout.ms, 60 s, and the broker's clean-up every 10 s
IN_TRANSACTION = (Api.ADD_PARTITIONS_TO_TXN, Api.PRODUCE, Api.ADD_OFFSETS_TO_TXN, Api.TXN_OFFSET_COMMIT, Api.END_TXN)

SLEEPY = {"kafka.max_poll_interval_ms": "10000"}


def kill(trial: Trial, times: int) -> list[float]:
    """Signal 9 at random; one in four meets a process that starts or restores."""
    seconds: list[float] = []
    process = trial.start().wait_until_ready()
    for number in range(times):
        if number % 4 == 3:
            trial.sleep(0.2, 2.0)
        else:
            process.wait_until_ready()
            trial.sleep(0.0, 1.0)
        process.kill()
        started = time.monotonic()
        process = trial.start()
        if number % 4 != 2:  # the next one kills it while it starts
            seconds.append(trial.seconds_to_next_commit(started))
    return seconds


def zombie(asleep_seconds: float) -> Callable[[Trial, int], list[float]]:
    """A process sleeps past its session in the middle of its work, a twin has its tasks, and then it wakes."""

    def inflict(trial: Trial, times: int) -> list[float]:
        seconds: list[float] = []
        trial.start("a")
        trial.start("b")
        for _ in range(times):
            _both_work(trial)
            trial.sleep(0.0, 1.0)
            with uncommitted_rewards(trial.job) as partitions:
                partition = next(partitions)
                name = next(name for name, process in trial.processes.items() if partition in tasks_of(process))
                sleeper, twin = trial.processes[name], trial.processes["a" if name == "b" else "b"]
                had_all = twin.text.count(_ALL_TASKS)
                sleeper.signal(signal.SIGSTOP)
            seconds.append(_woken_after_takeover(trial, sleeper, twin, had_all, asleep_seconds))
        return seconds

    return inflict


def zombie_at_a_request(trial: Trial, times: int) -> list[float]:
    """The same, stopped while one request of its transaction is on the way."""
    seconds: list[float] = []
    trial.start_behind_proxy("a")
    twin = trial.start("b")
    for _ in range(times):
        _both_work(trial)
        trial.sleep(0.0, 1.0)
        sleeper, had_all, hold = trial.processes["a"], twin.text.count(_ALL_TASKS), Hold()
        trial.proxy.next(trial.draw.choice(IN_TRANSACTION), hold).wait_until_met(30)
        sleeper.signal(signal.SIGSTOP)
        hold.released.set()
        seconds.append(_woken_after_takeover(trial, sleeper, twin, had_all, _ASLEEP_SECONDS))
    return seconds


def _both_work(trial: Trial) -> None:
    def ready() -> bool:
        trial.start_again_who_gave_up()
        return all(one.is_alive and one.is_ready and tasks_of(one) for one in trial.processes.values())

    eventually(ready, 60, "both work")
    trial.wait_for_a_commit()


def _woken_after_takeover(trial: Trial, sleeper: Process, twin: Process, had_all: int, asleep_seconds: float) -> float:
    """Where the sleeper's transaction is open its twin waits for it, and goes on when it wakes."""
    stopped_at = time.monotonic()
    eventually(lambda: twin.text.count(_ALL_TASKS) > had_all, _TAKE_OVER_SECONDS, f"all tasks in\n{twin.text}")
    time.sleep(max(0.0, stopped_at + asleep_seconds - time.monotonic()))
    sleeper.signal(signal.SIGCONT)
    return _ON_THE_WAY_SECONDS + trial.seconds_to_next_commit(stopped_at + _ON_THE_WAY_SECONDS)


def expire(trial: Trial, times: int) -> list[float]:
    """The only process sleeps until the broker has aborted its transaction, and wakes."""
    seconds: list[float] = []
    process = trial.start_behind_proxy().wait_until_ready()
    for _ in range(times):
        hold = Hold()
        trial.proxy.next(trial.draw.choice(IN_TRANSACTION[1:]), hold).wait_until_met(30)
        process.signal(signal.SIGSTOP)
        hold.released.set()
        time.sleep(_EXPIRES_SECONDS)
        process.signal(signal.SIGCONT)
        seconds.append(trial.seconds_to_next_commit(time.monotonic()))
    return seconds


def same_name(trial: Trial, times: int) -> list[float]:
    """A second process takes a name that is in use: one of the two ends, and says why."""
    seconds: list[float] = []
    trial.start().wait_until_ready()
    for _ in range(times):
        trial.sleep(0.0, 1.0)
        pair, started = [trial.processes.pop("a"), trial.start()], time.monotonic()
        eventually(lambda: not all(one.is_alive for one in pair), 60, "one of the two ends")  # noqa: B023
        ended, staying = sorted(pair, key=lambda one: one.is_alive)
        assert ended.exit_code() == 1
        assert "instance" in ended.text.strip().splitlines()[-1], ended.text
        trial.processes["a"] = staying
        seconds.append(trial.seconds_to_next_commit(started))
        assert trial.processes["a"] is staying, f"both ended:\n{staying.text}"
    return seconds


def join_and_leave(trial: Trial, times: int) -> list[float]:
    """Instances come and go; one to three are there. A static member's tasks wait for the end of its session."""
    seconds: list[float] = []
    there = [trial.start("i0").wait_until_ready()]
    for number in range(1, times + 1):
        trial.sleep(0.0, 1.0)
        changed_at = time.monotonic()
        if len(there) == 1 or (len(there) == 2 and trial.draw.random() < 0.5):
            there.append(trial.start(f"i{number}").wait_until_ready())
        else:
            leaving = there.pop(trial.draw.randrange(len(there)))
            had = [one.text.count("assigned tasks") for one in there]
            assert leaving.stop() == 0, leaving.text
            eventually(
                lambda: all(one.text.count("assigned tasks") > before for one, before in zip(there, had, strict=True)),  # noqa: B023
                _TAKE_OVER_SECONDS,
                "the tasks are given to others",
            )
        seconds.append(trial.seconds_to_next_commit(changed_at))
    return seconds


def tasks_of(process: Process) -> set[int]:
    """What it was assigned last, and not revoked since."""
    said = re.findall(r"(assigned|revoked) tasks \[([\d, ]*)\]", process.text)
    if not said or said[-1][0] == "revoked":
        return set()
    return {int(number) for number in said[-1][1].split(",") if number.strip()}


@contextmanager
def uncommitted_rewards(job: Job) -> Iterator[Iterator[int]]:
    """The partitions of new rewards as they appear, committed or not yet."""
    topic = job.settings.topics.names.rewards
    consumer = Consumer(
        {"bootstrap.servers": job.bootstrap_servers, "group.id": "none", "isolation.level": "read_uncommitted",
         "fetch.wait.max.ms": 500, "fetch.min.bytes": 1, "enable.auto.commit": False, "auto.offset.reset": "latest"}
    )  # fmt: skip
    consumer.assign([TopicPartition(topic, number, OFFSET_END) for number in range(job.settings.topics.partitions)])

    def appearing() -> Iterator[int]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            yield message.partition() or 0
        raise AssertionError("no reward within 60 s")

    try:
        yield appearing()
    finally:
        consumer.close()
