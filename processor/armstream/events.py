"""The facts that cross the wire, decoded: one frozen class a record of schemas/, fields in the schema's order.

Times are UTC microseconds (`ts_event`), rewards are basis points, prices and fees are in the price currency. Field
order and defaults are those of the .avsc files; a test compares the two. `gc=False` is right because no event can be
part of a cycle, and it keeps millions of them out of the garbage collector's way.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Side = Literal["UNKNOWN", "BUY", "SELL"]
Signal = Literal["UNKNOWN", "BUY", "SELL", "FLAT"]
ExecType = Literal["UNKNOWN", "TRADE", "CORRECT", "CANCEL"]
Action = Literal[
    "UNKNOWN", "ADD_ARM", "REMOVE_ARM", "ADD_EXPERT", "REMOVE_EXPERT", "RESET", "SET_BOUND", "PAUSE", "RESUME"
]
Phase = Literal["UNKNOWN", "WARMING", "LIVE"]
PropensitySource = Literal["UNKNOWN", "LOGGED", "CURRENT", "NONE"]
Outcome = Literal["UNKNOWN", "APPLIED", "REFUSED"]
ErrorClass = Literal[
    "UNKNOWN",
    "DECODE",
    "VALIDATION",
    "MISROUTED",
    "UNKNOWN_ARM",
    "UNKNOWN_EXPERT",
    "UNKNOWN_BANDIT",
    "ORPHAN_CLOSE",
    "LATE",
    "LIMIT",
    "SKIPPED",
    "ID_REUSED",
]


class Fill(Struct, frozen=True, gc=False):
    """Opens a position or adds to it. Exactly one of `arm` and `contributions` is given.

    `signals` are the arms' views when the decision was made, of every arm that had one; the drawn arm's is the side.
    """

    event_id: str
    bandit_id: str
    position_id: str
    instrument_id: str
    side: Side
    quantity: float
    price: float
    ts_event: int
    multiplier: float = 1.0
    fees: float = 0.0
    exec_type: ExecType = "TRADE"
    currency: str = ""
    order_quantity: float | None = None
    exec_id: str | None = None
    exec_ref_id: str | None = None
    arm: str | None = None
    propensity: float | None = None
    probabilities: tuple[float, ...] = ()
    eta: float | None = None
    weights_version: int | None = None
    contributions: Mapping[str, float] = {}
    advice: Mapping[str, float] = {}
    notional: float | None = None
    signals: Mapping[str, Signal] = {}


class Close(Struct, frozen=True, gc=False):
    """Reduces or ends a position; `final`: no close follows."""

    event_id: str
    bandit_id: str
    position_id: str
    quantity: float
    price: float
    ts_event: int
    fees: float = 0.0
    slippage: float = 0.0
    slippage_in_price: bool = False
    exec_type: ExecType = "TRADE"
    exec_id: str | None = None
    exec_ref_id: str | None = None
    final: bool = False


class Command(Struct, frozen=True, gc=False):
    """An operator's change to one bandit."""

    command_id: str
    bandit_id: str
    action: Action
    ts_event: int
    arm: str | None = None
    value: float | None = None
    expert: str | None = None
    reason: str = ""

    @property
    def choice(self) -> str | None:
        """The arm or the expert that the action is about. Whatever else the command names does not count."""
        if self.action in ("ADD_EXPERT", "REMOVE_EXPERT"):
            return self.expert
        return self.arm if self.action in ("ADD_ARM", "REMOVE_ARM") else None

    @property
    def number(self) -> float | None:
        """The initial weight, or the bound; None of an action that takes neither."""
        return self.value if self.action in ("ADD_ARM", "ADD_EXPERT", "SET_BOUND") else None


class ArmWeight(Struct, frozen=True, gc=False):
    name: str
    weight: float
    probability: float


class ExpertWeight(Struct, frozen=True, gc=False):
    name: str
    weight: float
    distribution: tuple[float, ...] = ()


class WeightVector(Struct, frozen=True, gc=False):
    """What engines follow: the latest weights of one bandit; arrays keep the arms' order."""

    bandit_id: str
    version: int
    algorithm: str
    estimator: str
    arms: tuple[ArmWeight, ...]
    gamma: float
    eta: float
    reward_bound_bps: float
    total_steps: int
    phase: Phase
    blend_alpha: float
    cause_event_id: str
    ts_event: int
    experts: tuple[ExpertWeight, ...] = ()


class RewardArm(Struct, frozen=True, gc=False):
    """One arm's part of a reward; propensity and estimate are None where nothing was applied."""

    name: str
    share: float
    propensity: float | None = None
    estimate: float | None = None


class Reward(Struct, frozen=True, gc=False):
    """One segment's net reward as the learner took it: the audit log. What is optional is None where not applied."""

    bandit_id: str
    version: int
    position_id: str
    fill_event_id: str
    close_event_id: str
    quantity: float
    reward_bps: float
    weight: float
    applied: bool
    counted: bool
    total_steps: int
    arms: tuple[RewardArm, ...]
    propensity_source: PropensitySource | None
    eta: float | None
    ts_event: int
    detail: str = ""
    cut: Mapping[str, int] = {}


class CommandApplied(Struct, frozen=True, gc=False):
    """What became of a command: the other record of the audit log."""

    bandit_id: str
    version: int
    command_id: str
    action: Action
    outcome: Outcome
    ts_event: int
    detail: str = ""
    cut: Mapping[str, int] = {}


class TaskSettings(Struct, frozen=True, gc=False):
    """The windows and limits that a task obeys from the cut on, as canonical JSON: the task's own audit record."""

    task: int
    settings: str
    cut: Mapping[str, int]


class Header(Struct, frozen=True, gc=False):
    name: str
    value: bytes | None = None


class Source(Struct, frozen=True, gc=False):
    """A record as it was read, so that a dead letter can carry it whole."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[Header, ...] = ()


class DeadLetter(Struct, frozen=True, gc=False):
    """An input that could not be applied, with its bytes and the reason."""

    source: Source
    error_class: ErrorClass
    error: str
    ts_event: int
    quantity_left: float | None = None
    cut: Mapping[str, int] = {}


class ArmState(Struct, frozen=True, gc=False):
    """One arm of a learner; `state` are the rule's numbers of it: a log weight (importance), a cumulative loss
    (implicit, reduced_variance), or 0 (where experts are what is learned of).

    `added_version`: decisions made from an older vector did not know it.
    """

    name: str
    state: tuple[float, ...]
    pulls: int
    cumulative_reward_bps: float
    added_version: int = 1


class ExpertState(Struct, frozen=True, gc=False):
    """One expert of a learner; `learned` is what an expert that learns in the processor holds, in its own order."""

    name: str
    state: float
    learned: tuple[float, ...] = ()


class BanditSnapshot(Struct, frozen=True, gc=False):
    """All that a bandit needs to go on bit for bit. No arms: closes wait, no valid fill created its learner yet.

    `settings` are those that the learner was made under, as LearningSettings.determining_json gives them; `state` are
    the rule's own numbers.
    `choices_version` is the version at which the arms or the experts last changed.
    `forgotten_until` is the newest event of what was forgotten, None before the first.
    `reward_bound_bps` is None, and `warm_up_rewards_bps` hold what was seen, until an automatic bound is found.
    """

    bandit_id: str
    version: int
    total_steps: int
    arms: tuple[ArmState, ...]
    algorithm: str
    estimator: str
    settings: str
    fill_watermark: int | None = None
    close_watermark: int | None = None
    paused: bool = False
    cause_event_id: str = ""
    ts_event: int = 0
    command_ids: tuple[str, ...] = ()
    experts: tuple[ExpertState, ...] = ()
    choices_version: int = 1
    reward_bound_bps: float | None = None
    warm_up_rewards_bps: tuple[float, ...] = ()
    state: tuple[float, ...] = ()
    forgotten_until: int | None = None
    schema_version: int = 1


class TaskSnapshot(Struct, frozen=True, gc=False):
    """Where a task stands in each input topic; a topic that it lacks starts at its beginning.

    `settings` are those of the task's newest TaskSettings, "" before the first. `group` is the consumer group whose
    state this is, `topic_ids` are Kafka's ids of the input and output topics, by name, each of which has so many
    `partitions`; "", empty and 0 where an older processor wrote it.
    """

    task: int
    next_offset: Mapping[str, int]
    settings: str = ""
    group: str = ""
    topic_ids: Mapping[str, str] = {}
    partitions: int = 0
    schema_version: int = 1

    def is_ahead_of(self, other: "TaskSnapshot") -> bool:
        """Whether it has read further than another one of the task, and in no topic less."""
        stands = self.next_offset
        is_behind = any(stands.get(name, 0) < offset for name, offset in other.next_offset.items())
        return stands != other.next_offset and not is_behind


class DecisionSnapshot(Struct, frozen=True, gc=False):
    """What the fills of a position share, and the order_quantity of its newest.

    `terms` are what its parts taught of each arm so far, where the rule needs it.
    """

    instrument_id: str
    multiplier: float
    currency: str
    order_quantity: float | None
    arm: str | None
    propensity: float | None
    probabilities: tuple[float, ...]
    eta: float | None
    weights_version: int | None
    contributions: Mapping[str, float]
    advice: Mapping[str, float]
    signals: Mapping[str, Signal] = {}
    terms: Mapping[str, float] = {}


class PositionFill(Struct, frozen=True, gc=False):
    """A fill as its position keeps it; `weight` is its part of the decision. A quantity of 0: only its id is known."""

    event_id: str
    quantity: float
    price: float
    fees: float
    weight: float
    ts_event: int
    exec_id: str | None = None
    notional: float | None = None


class PositionClose(Struct, frozen=True, gc=False):
    """A close as its position keeps it; `slippage` is 0 where the price already holds it. A quantity of 0: as above."""

    event_id: str
    quantity: float
    price: float
    fees: float
    slippage: float
    exec_id: str | None = None


class WaitingClose(Struct, frozen=True, gc=False):
    """A close with quantity left to match; `slippage` is what is charged, `slippage_in_price` what the price holds."""

    event_id: str
    quantity: float
    price: float
    fees: float
    slippage: float
    left: float
    ts_event: int
    source: Source
    slippage_in_price: float = 0.0


class Paged(Struct, frozen=True, gc=False):
    """How many pages a position has, and the fills and closes in them."""

    pages: int
    fills: int
    closes: int


class PositionSnapshot(Struct, frozen=True, gc=False):
    """One position between two events. No decision: only closes came so far, or it is done.

    `fills` and `closes` are all that were accepted, in its order, but for the older ones in its `paged` pages.
    `open_from` fills (pages included) are realised or written off; `open_left` is open of the next one, and the later
    ones are open whole. `waiting` are closes with something left to match, never while a fill is open.
    `filled_quantity` and `filled_weight` are of all fills.
    """

    bandit_id: str
    position_id: str
    ts_last: int
    counted: bool
    filled_quantity: float
    filled_weight: float
    side: Side
    fills: tuple[PositionFill, ...]
    closes: tuple[PositionClose, ...]
    open_from: int
    open_left: float
    decision: DecisionSnapshot | None = None
    waiting: tuple[WaitingClose, ...] = ()
    paged: Paged | None = None
    final_close_id: str | None = None
    schema_version: int = 1


class PositionPage(Struct, frozen=True, gc=False):
    """Older events of a position, in its order: written once, forgotten with it."""

    bandit_id: str
    position_id: str
    number: int
    fills: tuple[PositionFill, ...]
    closes: tuple[PositionClose, ...]
    schema_version: int = 1


class Rejected(Struct, frozen=True, gc=False):
    """An input record that never became an event: a dead letter in the making."""

    error_class: ErrorClass
    error: str
    ts_event: int


Input = Fill | Close | Command | Rejected
