"""Rewards: each segment once, its numbers, and what the learner made of it.

Law: the arithmetic is compared with the events, the learner with the published reward, so that one difference is
found where it is and not in all that follows.
"""

from fractions import Fraction

from armstream.events import CommandApplied, DecisionSnapshot, Reward
from armstream.verify.commands import Commands
from armstream.verify.comparison import Difference, is_near, require
from armstream.verify.known import MAY_BE_OLDER, Known, Realised
from armstream.verify.learner import Learner, Logged, Taught
from armstream.verify.published import Cut, place, require_version
from armstream.verify.rewards import MAX_REWARD_BPS, reward_of, weight_of
from armstream.verify.state import Bandit

WARMING_UP = "the reward bound is not found yet"  # the reason of a reward that goes into finding it


class Audit:
    """One partition's rewards."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._commands = Commands(known)
        self._warming: set[str] = set()  # bandits whose bound was not known before the event at this cut

    def begin_anew(self, changes: list[tuple[str, CommandApplied]]) -> None:
        """Changes of settings, which stand before the event at whose cut they are."""
        for where, applied in changes:
            bandit = self._known.bandit(applied.bandit_id)
            self._number(where, bandit, applied)
            self._commands.begin_anew(where, bandit, applied)

    def compare(self, cut: Cut, audited: list[tuple[str, Reward | CommandApplied]]) -> None:
        """Each segment that was realised on the way to this cut is rewarded here, once, each command has its outcome,
        and nothing else is here."""
        self._warming = {
            record.bandit_id
            for _, record in audited
            if (learner := self._known.bandit(record.bandit_id).learner) is not None and learner.is_warming
        }
        for where, record in audited:
            bandit = self._known.bandit(record.bandit_id)
            self._number(where, bandit, record)
            if isinstance(record, CommandApplied):
                self._commands.compare(where, cut, bandit, record)
            else:
                self._reward(where, cut, bandit, record)
        self._known.has_read_rewards = self._known.has_read_rewards or bool(audited)
        self._require_no_more(cut)
        self._commands.require_no_more(cut)

    def _reward(self, where: str, cut: Cut, bandit: Bandit, reward: Reward) -> None:
        realised = self._matching(where, bandit, reward)
        if realised is not None:
            self._compare_reward(where, cut, bandit, reward, realised)
        self._teach(where, bandit, reward, realised)
        self._known.account.counts["rewards"] += 1
        bandit.causes = None if realised is None else realised.causes(cut)

    def _number(self, where: str, bandit: Bandit, reward: Reward | CommandApplied) -> None:
        is_next = bandit.version is not None and reward.version == bandit.version + 1
        if bandit.version is not None and not is_next and not self._known.may_lack_rewards(bandit):
            require_version(where, reward, bandit.version)
        if not is_next:
            bandit.is_known, bandit.learner = reward.version == 1, None
            if not bandit.is_known:
                self._known.account.leave_out(f"what {bandit.bandit_id!r} learned before version {reward.version}")
        bandit.version, bandit.has_rewards = reward.version, True
        if bandit.is_known and bandit.learner is None:
            bandit.make_learner()

    def _matching(self, where: str, bandit: Bandit, reward: Reward) -> Realised | None:
        """The segment that this reward is of; None where the log is too short to tell."""
        position = bandit.positions.get(reward.position_id)
        if position is not None and position.doubt:
            return None
        ahead = self._known.realised
        if not (self._known.has_all_rewards or self._known.has_read_rewards):  # rewards from before are gone
            while ahead and not ahead[0].is_that_of(reward):
                ahead.popleft().position.counted = True
        if ahead and ahead[0].is_that_of(reward) and self._has_its_numbers(reward):
            return ahead.popleft()
        if self._known.is_whole:
            published = (
                f"a reward of {reward.reward_bps:.10g} bps for {reward.quantity:.10g} of fill {reward.fill_event_id!r} "
                f"and close {reward.close_event_id!r}, position {reward.position_id!r}"
            )
            raise Difference(where, published, str(ahead[0]) if ahead else "no reward here")
        if position is not None:
            self._known.doubt(bandit, position, MAY_BE_OLDER)
        return None

    def _has_its_numbers(self, reward: Reward) -> bool:
        """Where the log is whole it must have; where not, another quantity tells of events that are gone."""
        realised = self._known.realised[0]
        counts = reward.applied and not realised.position.counted
        quantity = float(realised.segment.quantity)
        same = is_near(reward.quantity, quantity, realised.segment.quantity_scale) and reward.counted == counts
        return self._known.is_whole or same

    def _compare_reward(self, where: str, cut: Cut, bandit: Bandit, reward: Reward, realised: Realised) -> None:
        segment = realised.segment
        fill, close = segment.fill.event, segment.close.event
        reward_bps, scale = reward_of(fill, close, segment.quantity)
        is_legal = -MAX_REWARD_BPS <= reward_bps <= MAX_REWARD_BPS
        shares = {fill.arm: 1.0} if fill.arm is not None else fill.contributions
        shares = {name: share for name, share in shares.items() if share}
        arms = [arm.name for arm in reward.arms]
        if bandit.is_known:
            is_legal = is_legal and not bandit.paused and not shares.keys() - set(bandit.arms)
            is_legal = is_legal and bandit.bandit_id not in self._warming
            if bandit.rules.algorithm != "exp3ix" and fill.arm is not None:
                is_legal = is_legal and fill.propensity is not None and fill.propensity >= 1e-80
            is_legal = is_legal and not (bandit.trust is not None and fill.arm is None)
            arms = [name for name in (*bandit.arms, *sorted(shares.keys() - set(bandit.arms))) if name in shares]
        require(
            where,
            [
                ("whether its cut ends with one of its events", bool(realised.causes(cut)), True),
                ("quantity", reward.quantity, float(segment.quantity), segment.quantity_scale),
                ("reward_bps", reward.reward_bps, reward_bps, scale),
                ("weight", reward.weight, weight_of(fill, reward.quantity), 0.0),
                ("ts_event", reward.ts_event, segment.ts_event),
                ("applied", reward.applied, is_legal and reward.applied),
                ("counted", reward.counted, reward.applied and not realised.position.counted),
                ("a reason in detail", bool(reward.detail), not reward.applied),
                ("arms", [arm.name for arm in reward.arms], arms),
                ("shares", {arm.name: arm.share for arm in reward.arms}, shares),
            ],
        )
        realised.position.counted = realised.position.counted or reward.counted

    def _require_no_more(self, cut: Cut) -> None:
        while self._known.realised:
            realised = self._known.realised[0]
            if self._known.is_whole:
                rewards = f"{self._known.names.rewards}:{self._known.log.number}"
                where = f"{rewards}, at {place(realised.segment.close.source)}"
                raise Difference(where, f"no such reward up to the cut {cut}", str(realised))
            if self._known.has_all_rewards or self._known.has_read_rewards:
                self._known.doubt(realised.bandit, realised.position, MAY_BE_OLDER)
            else:
                self._known.realised.popleft().position.counted = True

    def _teach(self, where: str, bandit: Bandit, reward: Reward, realised: Realised | None) -> None:
        """The learner takes the published reward, which was compared before, as far as it could be."""
        learner = bandit.learner
        if not reward.applied:
            self._known.account.counts["withheld"] += 1
            if learner is not None and learner.is_warming and reward.detail == WARMING_UP:
                learner.warm_up(reward.reward_bps)
            numbers = [number for arm in reward.arms for number in (arm.propensity, arm.estimate)]
            optional = [reward.propensity_source, reward.eta, *numbers]
            require(where, [("what is for applied rewards", optional, [None] * len(optional))])
        elif bandit.is_known and learner is not None:
            require(where, [("applied", reward.applied, not learner.is_warming)])
            taught = _taught(bandit, learner, reward, _decision(bandit, reward, realised))
            if taught is None:
                bandit.is_known, bandit.learner = False, None
                self._known.account.leave_out(f"{where}: what was logged with the draw is not known without its fill")
                return
            _compare_lessons(where, reward, taught)
        if learner is not None:
            require(where, [("total_steps", reward.total_steps, learner.total_steps)])


def _decision(bandit: Bandit, reward: Reward, realised: Realised | None) -> DecisionSnapshot | None:
    """The decision that was rewarded; None where its fill is no longer kept, and the position may be another one."""
    if realised is not None:
        return realised.position.first_decision
    position = bandit.positions.get(reward.position_id)
    if position is None or reward.fill_event_id not in position.fill_ids or position.first_decision is None:
        return None
    decision = position.first_decision
    is_same = decision.arm in (None, reward.arms[0].name)
    logged = reward.arms[0].propensity if reward.propensity_source == "LOGGED" else None
    return decision if is_same and decision.propensity == logged else None


def _taught(bandit: Bandit, learner: Learner, reward: Reward, decision: DecisionSnapshot | None) -> Taught | None:
    """What the reward did; None where that is not known: no fill of a draw is left, which says what else was logged."""
    indexes = [learner.arms.index(arm.name) for arm in reward.arms]
    reward_bps, weight, counted = reward.reward_bps, reward.weight, reward.counted
    may_be_draw = len(reward.arms) == 1 and reward.arms[0].share == 1.0 and reward.propensity_source != "NONE"
    if decision is None and may_be_draw:
        return None
    if decision is None or decision.arm is None:
        shares = {index: arm.share for index, arm in zip(indexes, reward.arms, strict=True)}
        return learner.learn_blend(shares, reward_bps, weight, counted)
    (arm,) = indexes
    logged = _logged(decision, arm, bandit, learner)
    asleep = bandit.later(decision, arm) or [at for at, each in enumerate(logged.probabilities) if each == 0.0]
    if bandit.trust is not None:
        advice = decision.advice
        return bandit.trust.learn(learner, arm, reward_bps, logged.propensity, advice, weight, counted, asleep)
    if learner.is_tsallis:
        return learner.learn_draw(arm, reward_bps, logged, weight, counted, asleep)
    return learner.learn_arm(arm, reward_bps, decision.propensity, weight, counted, asleep)


def _logged(decision: DecisionSnapshot, arm: int, bandit: Bandit, learner: Learner) -> Logged:
    """The decision's whole distribution, where what was logged is one over today's arms; else its propensity alone."""
    propensity, probabilities = decision.propensity or 0.0, decision.probabilities
    is_whole = (
        decision.eta is not None
        and 1e-9 <= decision.eta < 1e6
        and (1 if decision.weights_version is None else decision.weights_version) >= bandit.choices_version
        and len(probabilities) == learner.count
        and all(0 <= one <= 1 for one in probabilities)
        and abs(float(sum(map(Fraction, probabilities))) - 1) <= 5e-7
        and abs(probabilities[arm] - propensity) <= 5e-7 * propensity
    )
    return Logged(propensity, probabilities, decision.eta) if is_whole else Logged(propensity)


def _compare_lessons(where: str, reward: Reward, taught: Taught) -> None:
    require(
        where,
        [
            ("propensity_source", reward.propensity_source, taught.propensity_source),
            ("eta", reward.eta, taught.eta, 0.0),
        ],
    )
    for arm, lesson in zip(reward.arms, taught.lessons, strict=True):
        rows = [
            ("propensity", arm.propensity, lesson.propensity, 0.0),
            ("estimate", arm.estimate, lesson.estimate, lesson.estimate_scale),
        ]
        require(f"{where}, arm {arm.name!r}", rows)
