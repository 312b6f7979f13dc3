"""One bandit's rewards as they come, weighed for uniform, for base weights, and for each arm alone.

Law: memory is a few sums an arm and a policy, and what is open of a bounded number of decisions. Each reward is added
once, in the order of the log.
"""

from collections.abc import Mapping, Sequence
from math import fsum, isfinite

from msgspec import Struct

from armstream.evaluation.interval import Interval, Mean, Played, Weighed, above, mean_of
from armstream.evaluation.revealed import Revealed, revealed
from armstream.events import Reward

OPEN_DECISIONS = 256  # of a bandit; what comes later of the oldest is taken for a decision of its own
_WHOLE = 1.0 - 1e-9  # of a decision: the weights of its parts sum to 1


class ArmEstimate(Struct, frozen=True, gc=False):
    """What one arm alone earns a trade, over the decisions at which it was there.

    `pulls` are the decisions that drew it and `earned_bps` what they earned. `mean_bps`, with half the width of its
    95 % interval, is None until the effective sample is large enough.
    """

    name: str
    pulls: int
    earned_bps: float
    mean_bps: float | None
    error_bps: float | None
    effective_sample: float


class Regret(Struct, frozen=True, gc=False):
    """The arm that would have earned the most alone, by the same estimates, and how much more than was earned.

    It is the largest of several estimates, and so too large in the mean. `low_bps` and `high_bps` are this arm's.
    """

    arm: str
    cumulative_bps: float
    low_bps: float
    high_bps: float


class Counted(Struct, frozen=True, gc=False):
    """Decisions and rewards that the estimates rest on, and the rewards that they cannot rest on, by reason."""

    decisions: int
    rewards: int
    not_estimated: Mapping[str, int]


class _Sums:
    """Of one policy: products of what its decisions weigh, and how long it was there."""

    __slots__ = ("before", "rw", "rx", "since", "w", "ww", "www", "wwx", "wxx", "x", "xw", "xx")

    def __init__(self) -> None:
        self.x = self.w = self.rx = self.rw = self.xx = self.xw = self.ww = 0.0
        self.wxx = self.wwx = self.www = 0.0
        self.before = Played(0, 0.0, 0.0)  # of the times that it was there, and is over
        self.since: Played | None = None

    def weigh(self, x: float, w: float, r: float) -> None:
        """A decision, as far as it is realised."""
        self.x += x
        self.w += w
        self.rx += r * x
        self.rw += r * w
        xw, ww = x * w, w * w
        self.xx += x * x
        self.xw += xw
        self.ww += ww
        self.wxx += x * xw
        self.wwx += xw * w
        self.www += ww * w

    def grow(self, was_x: float, w: float, was_r: float, x: float, r: float) -> None:
        """A part of a decision that is counted: x and r more than they were."""
        self.x += x
        self.rx += (was_r + r) * (was_x + x) - was_r * was_x
        self.rw += r * w
        more = x * (2.0 * was_x + x)
        self.xx += more
        self.xw += x * w
        self.wxx += w * more
        self.wwx += x * w * w

    def come(self, now: Played) -> None:
        if self.since is None:
            self.since = now

    def go(self, now: Played) -> None:
        self.before, self.since = self.played(now), None

    def played(self, now: Played) -> Played:
        """What was played while it was there."""
        if self.since is None:
            return self.before
        was, since = self.before, self.since
        return Played(was.trades + now.trades - since.trades, was.r + now.r - since.r, was.rr + now.rr - since.rr)

    def weighed(self) -> Weighed:
        return Weighed(
            *(self.x, self.w, self.rx, self.rw, self.xx, self.xw, self.ww),
            *(self.wxx, self.wwx, self.www),
        )


class _Arm(_Sums):
    __slots__ = ("earned_bps", "pulls")

    def __init__(self) -> None:
        super().__init__()
        self.pulls, self.earned_bps = 0, 0.0


class _Open(Struct):
    """A decision that is realised in part: what each arm seen earned so far, weighted."""

    rewards: dict[str, float]
    probability: float
    r: float
    weight: float


class Evaluation:
    """Of one bandit. `base` are weights by arm, of any sum; ValueError where they are no weights."""

    def __init__(self, base: Mapping[str, float] | None = None) -> None:
        self._base = None if base is None else _legal_base(base)
        self._trades, self._r, self._rr = 0, 0.0, 0.0
        self._rewards = 0
        self._not_estimated: dict[str, int] = {}
        self._names: Sequence[str] = ()
        self._each = 0.0  # uniform's probability of each of them
        self._shares: Mapping[str, float] = {}  # base, over the arms there are
        self._uniform, self._of_base = _Sums(), _Sums()
        self._arms: dict[str, _Arm] = {}
        self._present: frozenset[str] = frozenset()
        self._open: dict[str, _Open] = {}
        self._costs_bps, self._costs_seen = 0.0, 0

    def add(self, reward: Reward, arms: Sequence[str], reward_bound_bps: float | None = None) -> None:
        """A reward of the log. `arms` are those there were when it was drawn, or the nearest that is known: an arm that
        is not among them has no part in a policy. The same object each time is the quickest.

        `reward_bound_bps` is the learner's then, which the vector has: it is needed where draws reveal both sides.
        """
        if arms is not self._names:
            self._know(arms)
        mean_costs_bps = self._costs_bps / self._costs_seen if self._costs_seen else 0.0
        seen = revealed(reward, reward_bound_bps, mean_costs_bps)
        if isinstance(seen, str):
            self._not_estimated[seen] = self._not_estimated.get(seen, 0) + 1
            return
        self._rewards += 1
        if seen.costs_bps is not None:
            self._costs_bps += seen.costs_bps
            self._costs_seen += 1
        known = None if reward.counted else self._open.get(reward.position_id)
        self._count(reward, seen)
        if known is not None:
            self._grow(known, reward, seen)
            return
        self._weigh(reward, seen)
        if reward.weight < _WHOLE and reward.counted:
            self._remember(reward, seen)

    # What they come to.

    @property
    def earned_bps(self) -> float:
        """What the decisions that are estimated earned, by their weights."""
        return self._r

    def above_uniform(self) -> Interval | None:
        """What was earned above all arms alike. None while too little is known."""
        return above(self._uniform.played(self._now()), self._uniform.weighed())

    def above_base(self) -> Interval | None:
        """The same above the base weights, over the decisions at which any of them was there. None without a base."""
        return above(self._of_base.played(self._now()), self._of_base.weighed())

    def above_arm(self, name: str) -> Interval | None:
        """The same above one arm alone, over the decisions at which it was there. None for one never heard of."""
        arm = self._arms.get(name)
        return None if arm is None else above(arm.played(self._now()), arm.weighed())

    def arms(self) -> list[ArmEstimate]:
        """Each arm ever heard of, in the order in which they came."""
        return [_estimate(name, arm, mean_of(arm.weighed())) for name, arm in self._arms.items()]

    def regret(self) -> Regret | None:
        """Against the best arm in hindsight. None while no arm's mean is known."""
        best: Regret | None = None
        for name in self._arms:
            found = self.above_arm(name)
            if found is not None and (best is None or -found.cumulative_bps > best.cumulative_bps):
                best = Regret(name, -found.cumulative_bps, -found.high_bps, -found.low_bps)
        return best

    def counted(self) -> Counted:
        return Counted(self._trades, self._rewards, dict(self._not_estimated))

    # Inside.

    def _now(self) -> Played:
        return Played(self._trades, self._r, self._rr)

    def _know(self, names: Sequence[str]) -> None:
        """The arms that there are from now on."""
        self._names, present = names, frozenset(names)
        if present == self._present:
            return
        now = self._now()
        for name in names:
            self._arm(name).come(now)
        for name in self._present - present:
            self._arms[name].go(now)
        self._present, self._each = present, 1.0 / len(present) if present else 0.0
        base = {name: self._base[name] for name in present if name in self._base} if self._base else {}
        total = fsum(base.values())
        self._shares = {name: weight / total for name, weight in base.items()} if total > 0.0 else {}
        for policy, is_there in ((self._uniform, bool(present)), (self._of_base, bool(self._shares))):
            if is_there:
                policy.come(now)
            elif policy.since is not None:
                policy.go(now)

    def _arm(self, name: str) -> _Arm:
        arm = self._arms.get(name)
        if arm is None:
            arm = self._arms[name] = _Arm()
        return arm

    def _count(self, reward: Reward, seen: Revealed) -> None:
        drawn = seen.arms[0][0] if len(seen.arms) == 1 else next(arm.name for arm in reward.arms if arm.share)
        arm = self._arm(drawn)
        arm.earned_bps += reward.weight * reward.reward_bps
        if reward.counted:
            arm.pulls += 1

    def _weigh(self, reward: Reward, seen: Revealed) -> None:
        """A new decision; or what is left of one whose beginning was forgotten, which counts no second time."""
        r, chance, weight = reward.weight * reward.reward_bps, seen.probability, reward.weight
        once = 1.0 / chance if reward.counted else 0.0
        self._trades += reward.counted
        self._r += r
        self._rr += r * r
        uniform = uniform_x = base = base_x = 0.0
        for name, reward_bps in seen.arms:
            x = weight * reward_bps / chance
            if name in self._present:
                self._arms[name].weigh(x, once, r)
                uniform += self._each
                uniform_x += self._each * x
                share = self._shares.get(name, 0.0)
                base += share
                base_x += share * x
        self._uniform.weigh(uniform_x, uniform * once, r)
        if self._shares:
            self._of_base.weigh(base_x, base * once, r)

    def _grow(self, known: _Open, reward: Reward, seen: Revealed) -> None:
        """A later part of a decision."""
        r, chance, was_r = reward.weight * reward.reward_bps, known.probability, known.r
        self._r += r
        self._rr += r * (2.0 * was_r + r)
        uniform = uniform_x = was_uniform_x = base = base_x = was_base_x = 0.0
        for name, reward_bps in seen.arms:
            x, was_x = reward.weight * reward_bps / chance, known.rewards.get(name, 0.0) / chance
            known.rewards[name] = known.rewards.get(name, 0.0) + reward.weight * reward_bps
            if name in self._present:
                self._arms[name].grow(was_x, 1.0 / chance, was_r, x, r)
                share = self._shares.get(name, 0.0)
                uniform, base = uniform + self._each / chance, base + share / chance
                uniform_x, base_x = uniform_x + self._each * x, base_x + share * x
                was_uniform_x, was_base_x = was_uniform_x + self._each * was_x, was_base_x + share * was_x
        self._uniform.grow(was_uniform_x, uniform, was_r, uniform_x, r)
        if self._shares:
            self._of_base.grow(was_base_x, base, was_r, base_x, r)
        known.r += r
        known.weight += reward.weight
        if known.weight >= _WHOLE:
            del self._open[reward.position_id]

    def _remember(self, reward: Reward, seen: Revealed) -> None:
        weight = reward.weight
        if len(self._open) >= OPEN_DECISIONS:
            del self._open[next(iter(self._open))]
        earned = {name: weight * reward_bps for name, reward_bps in seen.arms}
        self._open[reward.position_id] = _Open(earned, seen.probability, weight * reward.reward_bps, weight)


def _estimate(name: str, arm: _Arm, mean: Mean | None) -> ArmEstimate:
    effective = arm.w * arm.w / arm.ww if arm.ww > 0.0 else 0.0
    if mean is None:
        return ArmEstimate(name, arm.pulls, arm.earned_bps, None, None, effective)
    return ArmEstimate(name, arm.pulls, arm.earned_bps, mean.bps, mean.error_bps, effective)


def _legal_base(base: Mapping[str, float]) -> Mapping[str, float]:
    if not all(isfinite(weight) and weight >= 0.0 for weight in base.values()) or not any(base.values()):
        raise ValueError(f"base weights must be finite, at least 0 and one of them above 0, got {dict(base)}")
    most = max(base.values())
    return {name: weight / most for name, weight in base.items()}  # whose sum stays a number
