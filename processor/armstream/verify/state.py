"""One partition's state as it follows from the log: bandits, their positions, and what of them was published.

Law: a position is lists of what is left and the ids that it has seen. What is flat and a dedupe_window behind the
smaller watermark is gone, and whoever asks for it is told so: nothing has to expire at the right moment.
"""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import inf, isfinite
from typing import NamedTuple

from armstream.events import (
    BanditSnapshot,
    Close,
    DecisionSnapshot,
    Fill,
    Header,
    OpenFill,
    PositionSnapshot,
    Source,
    WaitingClose,
    WeightVector,
)
from armstream.settings import Settings
from armstream.stages.rules import BanditRules, LearningRules
from armstream.verify.comparison import Row, is_near, require
from armstream.verify.experts import Trust
from armstream.verify.learner import Learner
from armstream.verify.rewards import LEFT_TOLERANCE, Part, Segment, match

SWEPT_FROM = 1_000  # positions of a bandit

_LEFT_OUT = "armstream.left_out_bytes"


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings as checks read them: windows in microseconds, and which rules each bandit has today."""

    bandits: BanditRules
    dedupe_window_micros: int
    orphan_ttl_micros: int
    max_holding_micros: int

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        rewards = settings.reward_rules()
        return cls(
            settings.bandit_rules(),
            rewards.dedupe_window_micros,
            rewards.orphan_ttl_micros,
            rewards.max_holding_micros,
        )


class Position:
    """All fills and closes of one decision so far. `doubt` says why its state is not known, "" where it is."""

    __slots__ = (
        "close_ids",
        "closes",
        "counted",
        "decision",
        "doubt",
        "fill_ids",
        "filled_quantity",
        "fills",
        "first_decision",
        "is_moving",
        "is_overclosed",
        "position_id",
        "ts_last",
    )

    def __init__(self, position_id: str) -> None:
        self.position_id = position_id
        self.fills: list[Part[Fill]] = []
        self.closes: list[Part[Close]] = []
        self.fill_ids: list[str] = []
        self.close_ids: list[str] = []
        self.decision: DecisionSnapshot | None = None
        self.first_decision: DecisionSnapshot | None = None
        self.is_overclosed = False  # done, and closes came beyond that
        self.filled_quantity = 0.0
        self.counted = False
        self.ts_last = -(2**63)
        self.is_moving = False  # touched while snapshots were read: its own may be from before or after
        self.doubt = ""

    @property
    def is_flat(self) -> bool:
        return not (self.fills or self.closes)

    @property
    def part_count(self) -> int:
        """Events of which something is left."""
        return len(self.fills) + len(self.closes)

    def has_seen(self, event: Fill | Close) -> bool:
        return event.event_id in (self.fill_ids if isinstance(event, Fill) else self.close_ids)

    def refusal(self, event: Fill | Close, arms: Collection[str]) -> str:
        """Why this event should have been a dead letter; "" where it fits."""
        numbers = {"quantity": event.quantity, "price": event.price}
        if isinstance(event, Fill):
            numbers |= {"multiplier": event.multiplier, "order_quantity": event.order_quantity or 1.0}
            if event.side not in ("BUY", "SELL"):
                return f"side is {event.side}"
            unknown = [name for name in event.contributions or [event.arm] if name not in arms]
            if unknown:
                return f"{unknown[0]!r} is no arm"
            if not self.doubt and self.decision is None and self.fill_ids:
                return "its position is filled and closed already"
            if not self.doubt and self.decision is not None and self.decision != decision_of(event):
                return "its position has another decision"
        if event.exec_type != "TRADE":
            return f"exec_type is {event.exec_type}"
        wrong = [f"{name} is {number!r}" for name, number in numbers.items() if not 0 < number < inf]
        costs = [event.fees, *([event.slippage] if isinstance(event, Close) else [])]
        return wrong[0] if wrong else "" if all(map(isfinite, costs)) else "its costs are not finite"

    def take(self, event: Fill | Close, source: Source) -> list[Segment]:
        """Puts an event in and gives what it realises. Raises Undecided."""
        self.ts_last = max(self.ts_last, event.ts_event)
        if isinstance(event, Fill):
            self.fill_ids.append(event.event_id)
            self.filled_quantity = event.quantity + (0.0 if self.decision is None else self.filled_quantity)
            self.decision = self.first_decision = self.decision or decision_of(event)
        else:
            self.close_ids.append(event.event_id)
        if self.doubt:
            return []
        if isinstance(event, Fill):
            self.fills.append(Part(event, source))
        else:
            self.closes.append(Part(event, source))
        segments = match(self.fills, self.closes)
        is_done = not self.fills and self.first_decision is not None and self._is_filled(self.first_decision)
        self.is_overclosed = self.is_overclosed or (is_done and bool(self.closes))
        if is_done and not self.closes:
            self.decision = None
        return segments

    def _is_filled(self, decision: DecisionSnapshot) -> bool:
        whole = decision.order_quantity
        return whole is None or self.filled_quantity >= whole * (1.0 - LEFT_TOLERANCE)

    def _decision_as(self, published: DecisionSnapshot | None) -> DecisionSnapshot | None:
        """Done and closed beyond that, a position has it or not by what came last, and nothing hangs on it."""
        return published if self.is_overclosed and published in (None, self.first_decision) else self.decision

    def check(self, where: str, published: PositionSnapshot) -> None:
        """Raises Difference where the snapshot is not this state; what is left is relative to its event's quantity."""
        require(
            where,
            [
                ("position_id", published.position_id, self.position_id),
                ("fill_ids", list(published.fill_ids), self.fill_ids),
                ("close_ids", list(published.close_ids), self.close_ids),
                ("ts_last", published.ts_last, self.ts_last),
                ("counted", published.counted, self.counted),
                ("filled_quantity", published.filled_quantity, self.filled_quantity, 0.0),
                ("decision", repr(published.decision), repr(self._decision_as(published.decision))),  # NaN is not NaN
                ("open fills", [fill.event_id for fill in published.fills], [p.event.event_id for p in self.fills]),
                ("waiting closes", [one.event_id for one in published.closes], [p.event.event_id for p in self.closes]),
            ],
        )
        for fill, part in zip(published.fills, self.fills, strict=True):
            self._check_left(f"{where}, fill {fill.event_id!r}", fill, part)
        for close, waiting in zip(published.closes, self.closes, strict=True):
            at = f"{where}, close {close.event_id!r}"
            self._check_left(at, close, waiting)
            slippage = 0.0 if waiting.event.slippage_in_price else waiting.event.slippage
            require(at, [("slippage", close.slippage, slippage)])
            require_source(at, close.source, waiting.source)

    @staticmethod
    def _check_left(where: str, published: OpenFill | WaitingClose, part: Part[Fill] | Part[Close]) -> None:
        event = part.event
        require(
            where,
            [
                ("quantity", published.quantity, event.quantity),
                ("price", published.price, event.price),
                ("fees", published.fees, event.fees),
                ("ts_event", published.ts_event, event.ts_event),
                ("left", published.left, float(part.left), event.quantity),
            ],
        )


def decision_of(fill: Fill) -> DecisionSnapshot:
    """What every fill of a position shares."""
    return DecisionSnapshot(**{name: getattr(fill, name) for name in DecisionSnapshot.__struct_fields__})


def require_source(where: str, published: Source, source: Source) -> None:
    """Raises Difference unless the record is published whole, or its size where it was left out for it."""
    if published.value is None and [header.name for header in published.headers] == [_LEFT_OUT]:
        source = Source(source.topic, source.partition, source.offset, headers=(Header(_LEFT_OUT, _size(source)),))
    require(where, [(name, getattr(published, name), getattr(source, name)) for name in Source.__struct_fields__])


def _size(source: Source) -> bytes:
    headers = sum(len(header.name) + len(header.value or b"") for header in source.headers)
    return str(len(source.key or b"") + len(source.value or b"") + headers).encode()


Cause = tuple[str, int]  # an event's id and time


class ReadVector(NamedTuple):
    """A published vector and its record."""

    source: Source
    vector: WeightVector


class Bandit:
    """One bandit as its audit records made it.

    `rules` are those that its learner is made under, `arms_before` those of the last change of arms, which fills of the
    same window may name. `version` None: no audit record nor snapshot told it yet. `is_known`: what it learned follows
    from the first reward, or from a snapshot that was taken over. A watermark is None before its first event.
    """

    def __init__(self, bandit_id: str, rules: LearningRules, version: int | None, knows_watermarks: bool) -> None:
        self.bandit_id = bandit_id
        self.rules = rules
        self.arms_before: tuple[str, ...] = ()
        self.paused = False
        self.command_ids: tuple[str, ...] = ()
        self.version = version
        self.is_known = version == 0
        self.known_from = 0  # the version from which on it is
        self.has_rewards = False
        self.learner: Learner | None = None
        self.trust: Trust | None = None  # in experts, where its rule has them
        self.choices_version = 1  # that of the last change of arms or experts
        self.added_versions: dict[str, int] = {}  # of each arm
        self.fill_watermark: int | None = None
        self.close_watermark: int | None = None
        self.knows_watermarks = knows_watermarks
        self.causes: list[Cause] | None = [("", 0)]  # what may stand behind the last audit record; None: anything
        self.positions: dict[str, Position] = {}
        self.sweep_at = SWEPT_FROM
        self.settled_floor: int | None = None
        self.vectors: deque[ReadVector] = deque()  # not compared yet
        self.last_vector_version = 0

    @property
    def experts(self) -> list[str]:
        return [] if self.trust is None else self.trust.names

    def advice_refusal(self, fill: Fill) -> str:
        """Why what its experts gave, as this fill says it, should have been refused; "" where it fits."""
        is_exp4 = self.rules.algorithm == "exp4"
        if is_exp4 and (fill.arm is None or fill.propensity is None):
            return "it is no draw with its propensity"
        wrong = [name for name, given in fill.advice.items() if not 0 <= given <= 1]
        if wrong:
            return f"the advice of {wrong[0]!r} is out of range"
        if fill.weights_version is not None and fill.weights_version < self.choices_version:
            return ""
        names = [name for name, _ in self.rules.experts] if self.learner is None else self.experts
        return "" if set(names) == set(fill.advice) else f"its advice is not that of {', '.join(names) or 'nobody'}"

    @property
    def arms(self) -> tuple[str, ...]:
        return self.rules.arms if self.learner is None else tuple(self.learner.arms)

    def make_learner(self) -> None:
        """One that has seen nothing, made by the first fill or by a change of settings, which is an audit record."""
        self.learner = Learner(self.rules)
        self.choices_version = max(self.version or 0, 1)
        self.added_versions = dict.fromkeys(self.learner.arms, self.choices_version)
        self.trust = Trust.new(self.rules) if self.rules.algorithm == "exp4" else None

    def later(self, decision: DecisionSnapshot, drawn: int) -> list[int]:
        """The arms that came after the vector that the decision was made from, where it says from which."""
        if self.learner is None or decision.weights_version is None:
            return []
        known = max(decision.weights_version, 1)
        return [arm for arm, name in enumerate(self.learner.arms) if self.added_versions[name] > known and arm != drawn]

    @property
    def floor(self) -> int | None:
        """The smaller watermark, which forgetting is measured from; None while one is missing or not known."""
        return self.floor_after(())

    def floor_after(self, events: Iterable[Fill | Close]) -> int | None:
        """The floor once all of `events` were accepted, in whatever order."""
        marks: list[int] = []
        for kind, watermark in ((Fill, self.fill_watermark), (Close, self.close_watermark)):
            times = [event.ts_event for event in events if isinstance(event, kind)]
            times += [] if watermark is None else [watermark]
            marks += [max(times)] if times else []
        return min(marks) if self.knows_watermarks and len(marks) == 2 else None

    def watermark(self, event: Fill | Close) -> int | None:
        return self.fill_watermark if isinstance(event, Fill) else self.close_watermark

    def is_moved_by(self, event: Fill | Close) -> bool:
        watermark = self.watermark(event)
        return watermark is None or event.ts_event > watermark

    def see(self, event: Fill | Close) -> None:
        """An accepted event moves its kind's watermark."""
        newest = max(event.ts_event, self.watermark(event) or event.ts_event)
        if isinstance(event, Fill):
            self.fill_watermark = newest
        else:
            self.close_watermark = newest

    def take_over(self, snapshot: BanditSnapshot) -> None:
        """Goes on from a snapshot where what came before is no longer kept."""
        if not self.is_known:
            self.version, self.is_known, self.known_from = snapshot.version, True, snapshot.version
            self.learner = self.trust = None
            if snapshot.arms:
                self.rules = self.rules.learned_under(snapshot.settings)
                self.learner = Learner.restored(
                    self.rules,
                    snapshot.arms,
                    snapshot.total_steps,
                    snapshot.reward_bound_bps,
                    snapshot.warm_up_rewards_bps,
                )
            if snapshot.experts:
                self.trust = Trust.restored(self.rules, [arm.name for arm in snapshot.arms], snapshot.experts)
            self.choices_version = snapshot.choices_version
            self.added_versions = {arm.name: arm.added_version for arm in snapshot.arms}
            self.paused, self.command_ids = snapshot.paused, snapshot.command_ids
            self.causes = [(snapshot.cause_event_id, snapshot.ts_event)]
        if not self.knows_watermarks:
            self.fill_watermark, self.close_watermark = snapshot.fill_watermark, snapshot.close_watermark
            self.knows_watermarks = True

    def check_snapshot(self, where: str, published: BanditSnapshot) -> None:
        """Raises Difference where the snapshot is not this state. A sum's scale is the largest that it ever was."""
        learner = self.learner
        arms, rules = (self.arms, self.rules) if learner is not None else ((), None)
        require(
            where,
            [
                ("version", published.version, self.version),
                ("arms", tuple(arm.name for arm in published.arms), arms),
                ("algorithm", published.algorithm, rules.algorithm if rules else ""),
                ("estimator", published.estimator, rules.published_estimator if rules else ""),
                ("settings", published.settings, rules.determining_json() if rules else ""),
                ("experts", [expert.name for expert in published.experts], self.experts),
                ("choices_version", published.choices_version, self.choices_version),
                ("reward_bound_bps", published.reward_bound_bps, learner.bound_bps if learner else None, 0.0),
                ("total_steps", published.total_steps, 0 if learner is None else learner.total_steps),
                ("fill_watermark", published.fill_watermark, self.fill_watermark),
                ("close_watermark", published.close_watermark, self.close_watermark),
                ("paused", published.paused, self.paused),
                ("command_ids", published.command_ids, self.command_ids),
                *self._cause_rows(published),
            ],
        )
        if learner is None:
            return
        require(
            where,
            [
                (
                    "how many rewards the bound was looked for in",
                    len(published.warm_up_rewards_bps),
                    len(learner.warm_up_bps),
                )
            ],
        )
        for ours, theirs in zip(learner.warm_up_bps, published.warm_up_rewards_bps, strict=True):
            require(where, [("warm_up_rewards_bps", theirs, ours, 0.0)])
        for index, arm in enumerate(published.arms):
            require(
                f"{where}, arm {arm.name!r}",
                [
                    ("state", arm.state, learner.state[index], max(learner.largest_state)),
                    ("pulls", arm.pulls, learner.pulls[index]),
                    ("added_version", arm.added_version, self.added_versions[arm.name]),
                    (
                        "cumulative_reward_bps",
                        arm.cumulative_reward_bps,
                        learner.cumulative_rewards[index],
                        learner.largest_rewards[index],
                    ),
                ],
            )
        for expert, known in zip(published.experts, self.trust.experts if self.trust else (), strict=True):
            at, learned = f"{where}, expert {expert.name!r}", known.learned(self.arms)
            require(at, [("state", expert.state, known.state, known.largest_state)])
            require(at, [("how much it learned", len(expert.learned), len(learned))])
            for theirs, (number, scale) in zip(expert.learned, learned, strict=True):
                require(at, [("learned", theirs, number, scale)])

    def check_vector(self, where: str, published: WeightVector) -> str:
        """Raises Difference where the vector is not this state; gives what of it could not be checked, else ""."""
        learner, learning = self.learner, self.rules
        assert learner is not None  # its version advanced
        require(
            where,
            [
                ("version", published.version, self.version),
                ("algorithm", published.algorithm, learning.algorithm),
                ("estimator", published.estimator, learning.published_estimator),
                ("arms", tuple(arm.name for arm in published.arms), self.arms),
                ("experts", [expert.name for expert in published.experts], self.experts),
                ("gamma", published.gamma, learner.gamma),
                ("eta", published.eta, self.trust.eta if self.trust else learner.reading_rate(), 0.0),
                ("reward_bound_bps", published.reward_bound_bps, learner.bound_bps or 0.0, 0.0),
                ("total_steps", published.total_steps, learner.total_steps),
                *self._cause_rows(published),
            ],
        )
        weights = self.trust.own_mixture(self.arms) if self.trust else learner.weights()
        probabilities = learner.explored(weights)
        self._check_trust(where, published)
        for arm, weight, probability in zip(published.arms, weights, probabilities, strict=True):
            at = f"{where}, arm {arm.name!r}"
            rows = [("weight", arm.weight, weight, 0.0), ("probability", arm.probability, probability, 0.0)]
            require(at, rows)
        return self._blend_doubt(where, published, learning, learner.is_warming)

    def _check_trust(self, where: str, published: WeightVector) -> None:
        if self.trust is None:
            return
        for expert, ours, weight in zip(published.experts, self.trust.experts, self.trust.weights(), strict=True):
            at, said = f"{where}, expert {expert.name!r}", ours.says(self.arms)
            require(at, [("weight", expert.weight, weight, 0.0), ("says", len(expert.distribution), len(said))])
            for arm, theirs, share in zip(self.arms, expert.distribution, said, strict=bool(said)):
                require(f"{at}, arm {arm!r}", [("share", theirs, share, 0.0)])

    def _cause_rows(self, published: BanditSnapshot | WeightVector) -> list[Row]:
        cause = published.cause_event_id, published.ts_event
        if self.causes is None or cause in self.causes:
            return []
        return [("cause_event_id and ts_event", cause, self.causes[0])]

    @staticmethod
    def _blend_doubt(where: str, published: WeightVector, learning: LearningRules, bound_is_missing: bool) -> str:
        """phase and blend_alpha hang on settings that may change between two runs, and the log does not keep them."""
        steps = published.total_steps
        is_warming = bound_is_missing or steps < learning.warm_start_steps
        ramp = (steps - learning.warm_start_steps) / learning.ramp_steps if learning.ramp_steps else 1.0
        alpha = 0.0 if is_warming else learning.blend_alpha * min(1.0, ramp)
        if published.phase == ("WARMING" if is_warming else "LIVE") and is_near(published.blend_alpha, alpha):
            return ""
        return (
            f"{where}: phase {published.phase} and blend_alpha {published.blend_alpha!r} do not follow from today's "
            "blend_alpha, warm_start_steps and ramp_steps; they may have been others then"
        )
