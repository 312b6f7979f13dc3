"""The schedule, and the moments from which a commit's delay is counted."""

from itertools import islice

from tests.faults.schedule import FAULTS, schedule


def test_a_seed_gives_one_sequence_and_another_seed_another() -> None:
    def drawn(seed: int) -> list[tuple[str, int]]:
        return [(fault.name, trial_seed) for fault, trial_seed in islice(schedule(seed, list(FAULTS)), 60)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_every_fault_is_tried_once_before_any_is_tried_again() -> None:
    faults = list(FAULTS)
    names = [fault.name for fault, _ in islice(schedule(3, faults), 2 * len(faults))]
    assert sorted(names[: len(faults)]) == sorted(names[len(faults) :]) == sorted(fault.name for fault in faults)


def test_a_trials_own_seed_and_fault_replay_it() -> None:
    """So that a line of the long run is a command."""
    fault, trial_seed = list(islice(schedule(4, list(FAULTS)), 10))[-1]
    assert next(schedule(trial_seed, [fault])) == (fault, trial_seed)
