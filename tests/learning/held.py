"""A learner put into a state: one number an arm, as Exp3-IX and Tsallis-INF hold it."""

from collections.abc import Sequence

from armstream.learning import Learned, Learner, RewardBound


def put_back(
    learner: Learner,
    arm_names: Sequence[str],
    numbers: Sequence[float],
    arm_pulls: Sequence[int],
    cumulative_rewards: Sequence[float],
    total_steps: int,
    reward_bound: RewardBound | None = None,
) -> None:
    """The bound stays where none is given."""
    states = [(number,) for number in numbers]
    bound = learner.reward_bound if reward_bound is None else reward_bound
    learner.restore(Learned(arm_names, states, arm_pulls, cumulative_rewards, total_steps, bound))
