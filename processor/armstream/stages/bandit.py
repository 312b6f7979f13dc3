"""The bandit stage: segments become audit records, and bandits that moved become weight vectors.

Law: a book's version counts its audit records, one a segment, taught or not. What a learner would refuse never
reaches it, so a refusal inside it is a crash.
"""

from collections.abc import Sequence
from math import fsum

from armstream.events import ArmWeight, DecisionSnapshot, ExpertWeight, Reward, RewardArm, WeightVector
from armstream.learning import AdvisedBandit, TsallisBandit, Update
from armstream.learning.tsallis import SUM_TOLERANCE
from armstream.learning.weight_optimizer import effective_alpha
from armstream.stages.reward import Segment, Taken
from armstream.stages.state import WARMING_UP, Book, TaskState

MIN_LOGGED_ETA, MAX_LOGGED_ETA = 1e-9, 1e6


def learn(state: TaskState, taken: Taken, segment: Segment, new_decision: bool) -> Reward:
    """Teaches the touched book's learner one segment of the position and gives the audit record.

    `new_decision`: no segment of the position was counted before.
    """
    book, decision = taken.book, taken.decision
    book.version += 1
    if segment.refusal:
        if segment.refusal == WARMING_UP and book.learner is not None and book.learner.is_warming:
            state.own_learner(book).warm_up(segment.reward_bps)
        return _untaught(taken, segment)
    learner = state.own_learner(book)
    assert decision is not None  # only fills are matched, and a fill brings its decision
    if decision.arm is not None:
        index = book.arm_index[decision.arm]
        if isinstance(learner, TsallisBandit):
            update = _update_tsallis(learner, book, index, segment, decision, new_decision)
        elif isinstance(learner, AdvisedBandit):
            update = _update_exp4(learner, book, index, segment, decision, new_decision)
        else:
            asleep = _asleep(book, decision, index)
            reward_bps, weight = segment.reward_bps, segment.weight
            update = learner.update(index, reward_bps, decision.propensity, weight, new_decision, asleep=asleep)
        arms: tuple[RewardArm, ...] = (RewardArm(decision.arm, 1.0, update.propensities[0], update.estimates[0]),)
    else:
        rules, shares = book.rules, decision.contributions
        assert rules is not None  # its learner was made by them
        assert not isinstance(learner, AdvisedBandit)  # from which a decision without a draw is withheld
        names = {name: share for name, share in shares.items() if share}
        update = learner.update_many(
            names, segment.reward_bps, rules.attribution, weight=segment.weight, new_decision=new_decision
        )
        names_in_order = learner.arm_names
        propensities = update.propensities or (None,) * len(update.arms)
        arms = tuple(
            RewardArm(names_in_order[arm], shares[names_in_order[arm]], propensity, estimate)
            for arm, propensity, estimate in sorted(zip(update.arms, propensities, update.estimates, strict=True))
        )
    return Reward(
        book.bandit_id,
        book.version,
        taken.after.position_id,
        segment.fill_event_id,
        segment.close_event_id,
        segment.quantity,
        segment.reward_bps,
        segment.weight,
        True,
        new_decision,
        learner.total_steps,
        arms,
        update.propensity_source,
        update.eta,
        segment.ts_event,
    )


def _update_tsallis(
    learner: TsallisBandit, book: Book, arm: int, segment: Segment, decision: DecisionSnapshot, new_decision: bool
) -> Update:
    """By the decision's whole distribution where that was logged and is over today's arms, else by its propensity."""
    whole = _is_whole_distribution(book, decision, arm)
    return learner.update(
        arm,
        segment.reward_bps,
        decision.propensity,
        probabilities=decision.probabilities if whole else None,
        eta=decision.eta if whole else None,
        weight=segment.weight,
        new_decision=new_decision,
        asleep=_later(book, decision, arm),
    )


def _update_exp4(
    learner: AdvisedBandit, book: Book, arm: int, segment: Segment, decision: DecisionSnapshot, new_decision: bool
) -> Update:
    """By what each expert gave to the drawn arm.

    One that was not there when it was drawn is taken to have said what was played, so that its trust against all others
    together stays (Y. Freund, R. Schapire, Y. Singer, M. Warmuth, 'Using and combining predictors that specialize',
    STOC 1997).
    """
    propensity, said = decision.propensity, decision.advice
    assert propensity is not None  # a draw without one is withheld
    advice = {name: said.get(name, propensity) for name in learner.experts}
    asleep = _asleep(book, decision, arm)
    reward_bps, weight = segment.reward_bps, segment.weight
    return learner.update_advice(arm, advice, reward_bps, propensity, weight, new_decision, asleep=asleep)


def _asleep(book: Book, decision: DecisionSnapshot, arm: int) -> Sequence[int]:
    """The arms that could not be drawn: those that came later, or have no part of the whole distribution."""
    later, probabilities = _later(book, decision, arm), decision.probabilities
    if later or 0.0 not in probabilities or not _is_whole_distribution(book, decision, arm):
        return later
    return [index for index, each in enumerate(probabilities) if each == 0.0]


def _later(book: Book, decision: DecisionSnapshot, arm: int) -> Sequence[int]:
    """The arms that were added after the vector that the decision was made from, where it says from which."""
    version = decision.weights_version
    if version is None or version >= book.choices_version:
        return ()
    known = max(version, 1)  # 0: there was no vector yet
    later = [index for name, index in book.arm_index.items() if book.added_versions[name] > known]
    return [index for index in later if index != arm]


def _is_whole_distribution(book: Book, decision: DecisionSnapshot, arm: int) -> bool:
    """Whether what was logged is a distribution over today's arms, with its rate, that gives `arm` the propensity."""
    probabilities, propensity, eta = decision.probabilities, decision.propensity, decision.eta
    if eta is None or propensity is None or len(probabilities) != len(book.arm_index):
        return False
    version = 1 if decision.weights_version is None else decision.weights_version  # who does not say knew the first
    if version < book.choices_version:
        return False
    if not MIN_LOGGED_ETA <= eta < MAX_LOGGED_ETA or not all(0.0 <= one <= 1.0 for one in probabilities):
        return False
    tolerance = SUM_TOLERANCE / 2
    return (
        abs(fsum(probabilities) - 1.0) <= tolerance and abs(probabilities[arm] - propensity) <= tolerance * propensity
    )


def is_clipped(book: Book, reward: Reward) -> bool:
    """Whether the learner cut this reward before it learned."""
    return reward.applied and book.learner is not None and book.learner.is_clipped(reward.reward_bps)


def _untaught(taken: Taken, segment: Segment) -> Reward:
    """The record of a segment that taught nothing: what is optional is None."""
    book, decision = taken.book, taken.decision
    learner = book.learner
    assert decision is not None  # as above
    assert learner is not None  # the fill's acceptance made one
    shares = decision.contributions if decision.arm is None else {decision.arm: 1.0}
    names = [*book.arm_index, *sorted(shares.keys() - book.arm_index)]  # those that were removed last
    return Reward(
        book.bandit_id,
        book.version,
        taken.after.position_id,
        segment.fill_event_id,
        segment.close_event_id,
        segment.quantity,
        segment.reward_bps,
        segment.weight,
        False,
        False,
        learner.total_steps,
        tuple(RewardArm(name, shares[name]) for name in names if shares.get(name)),
        None,
        None,
        segment.ts_event,
        segment.refusal,
    )


def weight_vector(book: Book) -> WeightVector:
    """What engines follow, as of now; the book has a learner."""
    learner, rules = book.learner, book.rules
    assert learner is not None  # its version advanced
    assert rules is not None
    weights, probabilities, eta = learner.read()
    total_steps = learner.total_steps
    is_warming = learner.is_warming or total_steps < rules.warm_start_steps
    alpha = effective_alpha(
        total_steps, alpha=rules.blend_alpha, warm_start_steps=rules.warm_start_steps, ramp_steps=rules.ramp_steps
    )
    return WeightVector(
        book.bandit_id,
        book.version,
        rules.algorithm,
        rules.published_estimator,
        tuple(map(ArmWeight, book.arm_index, weights, probabilities)),
        learner.gamma,
        eta,
        learner.reward_bound_bps or 0.0,  # an automatic one that is not found yet
        total_steps,
        "WARMING" if is_warming else "LIVE",
        0.0 if is_warming else alpha,
        book.cause_event_id,
        book.ts_event,
        _expert_weights(learner) if isinstance(learner, AdvisedBandit) else (),
    )


def _expert_weights(learner: AdvisedBandit) -> tuple[ExpertWeight, ...]:
    """Those of its own say what they advise; what an engine's says, the engine knows."""
    return tuple(ExpertWeight(name, weight, tuple(said)) for name, weight, said in learner.read_experts())
