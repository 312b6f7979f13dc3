"""The bandit stage: segments become audit records, and bandits that moved become weight vectors.

Law: a bandit's version counts its audit records, one a segment, taught or not. What a learner would refuse never
reaches it, so a refusal inside it is a crash.
"""

from collections.abc import Mapping
from typing import NamedTuple

from armstream.events import (
    ArmWeight,
    DecisionSnapshot,
    ExpertWeight,
    PropensitySource,
    Reward,
    RewardArm,
    WeightVector,
)
from armstream.learning import Learner, Update
from armstream.learning.blending import effective_alpha
from armstream.stages.decision import drawn, grown, revealed, revealed_by_blend, terms_of
from armstream.stages.matching import Segment
from armstream.stages.reward import Taken
from armstream.stages.state import Bandit, TaskState
from armstream.stages.withholding import WARMING_UP

_new = tuple.__new__  # a NamedTuple in half the time of calling its class


class Lesson(NamedTuple):
    """What a segment taught: its audit record, and the decision's terms after it, where the learner keeps them."""

    reward: Reward
    terms: Mapping[str, float]


def learn(state: TaskState, taken: Taken, segment: Segment, new_decision: bool, terms: Mapping[str, float]) -> Lesson:
    """Teaches the touched bandit's learner one segment of the position.

    `new_decision`: no segment of the position was counted before. `terms` are what those before it added, by arm.
    """
    bandit, decision = taken.bandit, taken.decision
    bandit.version += 1
    assert decision is not None  # only fills are matched, and a fill brings its decision
    if segment.withheld:
        if segment.withheld == WARMING_UP and bandit.learner is not None and bandit.learner.is_warming:
            state.own_learner(bandit).warm_up(segment.reward_bps)
        return _new(Lesson, (_withheld(taken, segment), terms))
    learner = state.own_learner(bandit)
    if decision.arm is not None:
        update = _learn_draw(learner, taken, decision, decision.arm, segment, new_decision, terms)
    else:
        update = _learn_blend(learner, taken, decision, segment, new_decision, terms)
    if update.terms:
        terms = grown(bandit, terms, update.terms)
    arms = _arms(bandit, decision, update)
    reward = _reward(taken, segment, arms, True, new_decision, update.propensity_source, update.eta)
    return _new(Lesson, (reward, terms))


def _learn_draw(
    learner: Learner,
    taken: Taken,
    logged: DecisionSnapshot,
    arm_name: str,
    segment: Segment,
    new_decision: bool,
    terms: Mapping[str, float],
) -> Update:
    bandit = taken.bandit
    decision = drawn(bandit, logged, bandit.arm_index[arm_name], learner.reads_distribution)
    if terms:
        decision = decision._replace(terms=terms_of(bandit, terms))
    if not logged.signals:
        return learner.learn(decision, segment, new_decision)
    decision, observed = revealed(bandit, logged, decision, taken.after.side, segment)
    return learner.learn(decision, segment, new_decision, observed)


def _learn_blend(
    learner: Learner,
    taken: Taken,
    logged: DecisionSnapshot,
    segment: Segment,
    new_decision: bool,
    terms: Mapping[str, float],
) -> Update:
    bandit, settings = taken.bandit, taken.bandit.settings
    assert settings is not None  # its learner was made by them
    shares = {name: share for name, share in logged.contributions.items() if share}
    observed = revealed_by_blend(bandit, logged, taken.after.side, segment)
    return learner.learn_blend(shares, segment, new_decision, settings.attribution, observed, terms_of(bandit, terms))


def _arms(bandit: Bandit, decision: DecisionSnapshot, update: Update) -> tuple[RewardArm, ...]:
    """The drawn arm, and what else was seen, which has no share; or each arm of a blend."""
    if decision.arm is not None and len(update.arms) == 1:  # nearly always
        return (RewardArm(decision.arm, 1.0, update.propensities[0], update.estimates[0]),)
    names, shares = list(bandit.arm_index), decision.contributions if decision.arm is None else {decision.arm: 1.0}
    propensities = update.propensities or (None,) * len(update.arms)
    return tuple(
        RewardArm(names[arm], shares.get(names[arm], 0.0), propensity, estimate)
        for arm, propensity, estimate in sorted(zip(update.arms, propensities, update.estimates, strict=True))
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
