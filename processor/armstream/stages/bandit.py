"""The bandit stage: segments become audit records, and bandits that moved become weight vectors.

Law: a bandit's version counts its audit records, one a segment, taught or not. What a learner would refuse never
reaches it, so a refusal inside it is a crash.
"""

from collections.abc import Sequence
from math import fsum

from armstream.events import (
    ArmWeight,
    DecisionSnapshot,
    ExpertWeight,
    PropensitySource,
    Reward,
    RewardArm,
    WeightVector,
)
from armstream.learning import Decision
from armstream.learning.blending import effective_alpha
from armstream.learning.refusals import SUM_TOLERANCE
from armstream.stages.matching import Segment
from armstream.stages.reward import Taken
from armstream.stages.state import Bandit, TaskState
from armstream.stages.withholding import WARMING_UP

MIN_LOGGED_ETA, MAX_LOGGED_ETA = 1e-9, 1e6

_new = tuple.__new__  # a NamedTuple in half the time of calling its class


def learn(state: TaskState, taken: Taken, segment: Segment, new_decision: bool) -> Reward:
    """Teaches the touched bandit's learner one segment of the position and gives the audit record.

    `new_decision`: no segment of the position was counted before.
    """
    bandit, decision = taken.bandit, taken.decision
    bandit.version += 1
    assert decision is not None  # only fills are matched, and a fill brings its decision
    if segment.withheld:
        if segment.withheld == WARMING_UP and bandit.learner is not None and bandit.learner.is_warming:
            state.own_learner(bandit).warm_up(segment.reward_bps)
        return _withheld(taken, segment)
    learner = state.own_learner(bandit)
    if decision.arm is not None:
        arm = bandit.arm_index[decision.arm]
        drawn = _decision(bandit, decision, arm, learner.reads_distribution)
        update = learner.learn(drawn, segment, new_decision)
        arms: tuple[RewardArm, ...] = (RewardArm(decision.arm, 1.0, update.propensities[0], update.estimates[0]),)
    else:
        settings, shares = bandit.settings, decision.contributions
        assert settings is not None  # its learner was made by them
        given = {name: share for name, share in shares.items() if share}
        update = learner.learn_blend(given, segment, new_decision, settings.attribution)
        names = learner.arm_names
        propensities = update.propensities or (None,) * len(update.arms)
        arms = tuple(
            RewardArm(names[arm], shares[names[arm]], propensity, estimate)
            for arm, propensity, estimate in sorted(zip(update.arms, propensities, update.estimates, strict=True))
        )
    return _reward(taken, segment, arms, True, new_decision, update.propensity_source, update.eta)


def _decision(bandit: Bandit, logged: DecisionSnapshot, arm: int, reads_distribution: bool) -> Decision:
    """The decision over the arms of now. Its distribution is looked at where the rule reads it, or an arm has 0."""
    asleep: Sequence[int] = _later(bandit, logged, arm)
    probabilities = logged.probabilities
    has_zero = not asleep and 0.0 in probabilities
    is_whole = (reads_distribution or has_zero) and _is_whole_distribution(bandit, logged, arm)
    if has_zero and is_whole:
        asleep = [index for index, each in enumerate(probabilities) if each == 0.0]
    return _new(Decision, (arm, logged, is_whole, asleep))


def _later(bandit: Bandit, decision: DecisionSnapshot, arm: int) -> Sequence[int]:
    """The arms that were added after the vector that the decision was made from, where it says from which."""
    version = decision.weights_version
    if version is None or version >= bandit.choices_version:
        return ()
    known = max(version, 1)  # 0: there was no vector yet
    later = [index for name, index in bandit.arm_index.items() if bandit.added_versions[name] > known]
    return [index for index in later if index != arm]


def _is_whole_distribution(bandit: Bandit, decision: DecisionSnapshot, arm: int) -> bool:
    """Whether what was logged is a distribution over today's arms, with its rate, that gives `arm` the propensity."""
    probabilities, propensity, eta = decision.probabilities, decision.propensity, decision.eta
    if eta is None or propensity is None or len(probabilities) != len(bandit.arm_index):
        return False
    version = 1 if decision.weights_version is None else decision.weights_version  # who does not say knew the first
    if version < bandit.choices_version:
        return False
    if not MIN_LOGGED_ETA <= eta < MAX_LOGGED_ETA or not all(0.0 <= one <= 1.0 for one in probabilities):
        return False
    tolerance = SUM_TOLERANCE / 2
    return (
        abs(fsum(probabilities) - 1.0) <= tolerance and abs(probabilities[arm] - propensity) <= tolerance * propensity
    )


def is_clipped(bandit: Bandit, reward: Reward) -> bool:
    """Whether the learner cut this reward before it learned."""
    return reward.applied and bandit.learner is not None and bandit.learner.is_clipped(reward.reward_bps)


def _withheld(taken: Taken, segment: Segment) -> Reward:
    """The record of a segment that taught nothing: what is optional is None."""
    arm_index, decision = taken.bandit.arm_index, taken.decision
    assert decision is not None  # as above
    shares = decision.contributions if decision.arm is None else {decision.arm: 1.0}
    names = [*arm_index, *sorted(shares.keys() - arm_index)]  # those that were removed last
    arms = tuple(RewardArm(name, shares[name]) for name in names if shares.get(name))
    return _reward(taken, segment, arms, False, False, None, None)


def _reward(
    taken: Taken,
    segment: Segment,
    arms: tuple[RewardArm, ...],
    applied: bool,
    counted: bool,
    propensity_source: PropensitySource | None,
    eta: float | None,
) -> Reward:
    bandit = taken.bandit
    assert bandit.learner is not None  # the fill's acceptance made one
    return Reward(  # in the record's order: by name it takes five times as long
        bandit.bandit_id,
        bandit.version,
        taken.after.position_id,
        segment.fill_event_id,
        segment.close_event_id,
        segment.quantity,
        segment.reward_bps,
        segment.weight,
        applied,
        counted,
        bandit.learner.total_steps,
        arms,
        propensity_source,
        eta,
        segment.ts_event,
        segment.withheld,
    )


def weight_vector(bandit: Bandit) -> WeightVector:
    """What engines follow, as of now; the bandit has a learner."""
    learner, settings = bandit.learner, bandit.settings
    assert learner is not None  # its version advanced
    assert settings is not None
    weights, probabilities, eta = learner.read()
    total_steps = learner.total_steps
    is_warming = learner.is_warming or total_steps < settings.warm_start_steps
    alpha = effective_alpha(
        total_steps,
        alpha=settings.blend_alpha,
        warm_start_steps=settings.warm_start_steps,
        ramp_steps=settings.ramp_steps,
    )
    return WeightVector(
        bandit.bandit_id,
        bandit.version,
        settings.algorithm,
        bandit.estimator,
        tuple(map(ArmWeight, bandit.arm_index, weights, probabilities)),
        learner.gamma,
        eta,
        learner.reward_bound_bps or 0.0,  # an automatic one that is not found yet
        total_steps,
        "WARMING" if is_warming else "LIVE",
        0.0 if is_warming else alpha,
        bandit.cause_event_id,
        bandit.ts_event,
        # Those of its own say what they advise; what an engine's says, the engine knows.
        tuple(ExpertWeight(name, weight, tuple(said)) for name, weight, said in learner.read_experts()),
    )
