"""Which faults there are, and a schedule of them that a seed replays.

Law: a seed gives one sequence of (fault, seed of the trial); a trial's own seed, with its fault's name, replays it.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random

from tests.faults import brokers, clock, connections, gone, memory, processes, state
from tests.faults.connections import answer_cut, delayed, delayed_for_long, dropped, late, on_requests
from tests.faults.proxy import Action, Api
from tests.faults.trial import Fault, Pace, Trial

_SEEDS = 1_000_000_000
_REQUESTS = {
    "Produce": Api.PRODUCE,
    "AddPartitionsToTxn": Api.ADD_PARTITIONS_TO_TXN,
    "AddOffsetsToTxn": Api.ADD_OFFSETS_TO_TXN,
    "TxnOffsetCommit": Api.TXN_OFFSET_COMMIT,
    "EndTxn": Api.END_TXN,
    "Heartbeat": Api.HEARTBEAT,
    "Fetch": Api.FETCH,
}
_ACTIONS: tuple[tuple[str, Callable[[Trial], Action], str], ...] = (
    ("delayed", delayed, "its release"),
    ("dropped", dropped, "the cut"),
    ("answer cut", answer_cut, "the cut"),
    ("late, after its retry", late, "its arrival"),
)

# Each with how often one trial of the long run does it.
FAULTS: dict[Fault, int] = {
    Fault("SIGKILL", processes.kill, "its next start"): 25,
    Fault("SIGSTOP, session lost", processes.zombie(8.0), "SIGSTOP"): 5,
    Fault("SIGSTOP, session and poll interval lost", processes.zombie(12.0), "SIGSTOP", processes.SLEEPY): 4,
    Fault("SIGSTOP at a request, session lost", processes.zombie_at_a_request, "SIGSTOP"): 5,
    Fault("SIGSTOP until the transaction expired", processes.expire, "SIGCONT"): 1,
    Fault("two processes with one name", processes.same_name, "the second's start"): 3,
    Fault("instances join and leave", processes.join_and_leave, "start or SIGTERM"): 10,
    Fault("broker killed", connections.kill_broker, "it answers again"): 10,
    Fault("broker out of reach, session lost", connections.out_of_reach, "it is back"): 5,
    Fault("session lost in a commit", connections.session_lost_in_a_commit, "the commit's release"): 2,
    Fault("a broker of three killed", brokers.kill_one, "the kill", brokers.SETTINGS, brokers=3): 8,
    Fault("every leader of three brokers moved", brokers.move_leaders, "the move", brokers.SETTINGS, brokers=3): 10,
    Fault("output refused as too large", state.oversize, "its next start"): 2,
    Fault("restore of 100,000 positions", state.restore(100_000), "its next start"): 2,
    **{
        Fault(f"{name} {how}", on_requests((api, action)), since): 10
        for name, api in _REQUESTS.items()
        for how, action, since in _ACTIONS
    },
    Fault("EndTxn delayed by 31 to 36 s", on_requests((Api.END_TXN, delayed_for_long)), "its release"): 1,
    Fault("Produce delayed by 31 to 36 s", on_requests((Api.PRODUCE, delayed_for_long)), "its release"): 1,
}
# These take long, root, or a C compiler: each is tried by its name.
BY_NAME: dict[Fault, int] = {
    Fault("an hour of load", memory.soak(3_600), "the end of the hour", pace=Pace(60.0, 4_200.0)): 1,
    Fault("tasks moved, memory flat", memory.moved, "start or SIGTERM", pace=Pace(50.0, 1_500.0)): 100,
    Fault("clocks jump by an hour or a day", clock.jumps, "the clock is right"): 10,
    Fault("broker gone, idle", gone.while_idle, "it is back", gone.TWO_TASKS, lasts_seconds=600.0): 1,
    Fault("broker gone, busy", gone.while_busy, "it is back", lasts_seconds=600.0): 1,
    Fault(
        "one disk of three full",
        brokers.full_disks(1),
        "its broker's end",
        brokers.SETTINGS,
        brokers=3,
        disk_mib=brokers.DISK_MIB,
    ): 3,
    Fault(
        "two disks of three full",
        brokers.full_disks(2),
        "both are back",
        brokers.SETTINGS,
        brokers=3,
        disk_mib=brokers.DISK_MIB,
    ): 3,
}
NAMES = {fault.name: fault for fault in (*FAULTS, *BY_NAME)}


def schedule(seed: int, faults: Sequence[Fault]) -> Iterator[tuple[Fault, int]]:
    """Each fault once, in a drawn order, and then all of them again; the first trial has the schedule's own seed."""
    draw = Random(seed)
    trial_seed = seed
    while True:
        for fault in draw.sample(faults, len(faults)):
            yield fault, trial_seed
            trial_seed = draw.randrange(_SEEDS)
