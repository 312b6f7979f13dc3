"""What happens between a process and its broker: the broker dies, a request is late, lost, or its answer is."""

import time
from collections.abc import Callable

from tests.faults.proxy import Action, Api, CutAnswer, Delay, Drop, Hold, Late
from tests.faults.trial import Trial

_REQUEST_SECONDS = 60.0
_SESSION_SECONDS = 6.0


def kill_broker(trial: Trial, times: int) -> list[float]:
    """Signal 9 in the middle of the load, and the same data again after up to three seconds."""
    seconds: list[float] = []
    trial.start().wait_until_ready()
    for _ in range(times):
        trial.wait_for_a_commit()
        trial.sleep(0.0, 1.5)
        trial.kafka.kill()
        trial.sleep(0.0, 3.0)
        trial.kafka.restart()
        seconds.append(trial.seconds_to_next_commit(time.monotonic()))
    return seconds


def out_of_reach(trial: Trial, times: int) -> list[float]:
    """No connection holds for longer than the session, and then all is as before."""
    seconds: list[float] = []
    trial.start_behind_proxy().wait_until_ready()
    for _ in range(times):
        trial.wait_for_a_commit()
        trial.sleep(0.0, 1.0)
        with trial.proxy.out_of_reach():
            trial.sleep(_SESSION_SECONDS + 2.0, _SESSION_SECONDS + 4.0)
        seconds.append(trial.seconds_to_next_commit(time.monotonic()))
    return seconds


def session_lost_in_a_commit(trial: Trial, times: int) -> list[float]:
    """The broker hears the heartbeats, the process no answer, and its commit is on the way for as long.

    librdkafka then heartbeats without a member id until its loss was served, and the group fences it for that.
    """
    seconds: list[float] = []
    process = trial.start_behind_proxy().wait_until_ready()
    for _ in range(times):
        trial.wait_for_a_commit()
        unanswered = trial.proxy.next(Api.HEARTBEAT, CutAnswer(), count=1_000)
        trial.proxy.next(Api.END_TXN, Hold()).wait_until_met(30)
        time.sleep(_SESSION_SECONDS + 1.5)
        unanswered.left = 0
        time.sleep(3.0)  # two heartbeats
        trial.proxy.forget()
        seconds.append(trial.seconds_to_next_commit(time.monotonic()))
        assert process.is_alive, process.text
    return seconds


def on_requests(*faults: tuple[Api, Callable[[Trial], Action]]) -> Callable[[Trial, int], list[float]]:
    """Something is done to single requests of one kind or more, each at a moment of its own."""

    def inflict(trial: Trial, times: int) -> list[float]:
        seconds: list[float] = []
        trial.start_behind_proxy().wait_until_ready()
        for api, action in faults * times:
            trial.wait_for_a_commit()
            trial.sleep(0.0, 0.5)
            rule = trial.proxy.next(api, action(trial))
            seconds.append(trial.seconds_to_next_commit(rule.wait_until_ended(_REQUEST_SECONDS)))
        return seconds

    return inflict


def delayed(trial: Trial) -> Delay:
    """Up to and beyond the second after which a commit is held to be late."""
    return Delay(trial.draw.choice((0.3, 0.9, 1.3, 2.5)))


def delayed_for_long(trial: Trial) -> Delay:
    """Beyond every call's deadline."""
    return Delay(trial.draw.uniform(31.0, 36.0))


def dropped(_: Trial) -> Drop:
    return Drop()


def answer_cut(_: Trial) -> CutAnswer:
    return CutAnswer()


def late(trial: Trial) -> Late:
    """The client's retry is answered long before; the broker meets the first one in another transaction."""
    return Late(trial.draw.uniform(0.02, 1.0))
