"""What is said of one vector, as facts. Law: times are UTC microseconds, rewards are basis points, costs are negative,
and None is what nobody knows any more."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, json

from armstream.oracle.steps import Step
from armstream.printable import json_printable

Result = Literal["agrees", "differs", "unchecked"]
Kind = Literal["reward", "command", "settings"]


class NotThere(Exception):
    """There is no such vector; the text is one line that says what there is."""


class TooLong(Exception):
    """It would take longer than whoever asked wants to wait."""


class Read(Struct, frozen=True):
    """A vector beside its arms. `is_published`: it still stands on `weights`, and phase and blend_alpha are known."""

    version: int
    total_steps: int | None
    eta: float | None
    reward_bound_bps: float | None
    phase: str | None
    blend_alpha: float | None
    is_published: bool


class ArmMove(Struct, frozen=True):
    """None where the arm was not there yet, or any more."""

    name: str
    weight_before: float | None
    weight_after: float | None
    probability_before: float | None
    probability_after: float | None


class ExpertMove(Struct, frozen=True):
    name: str
    weight_before: float | None
    weight_after: float | None


class Moved(Struct, frozen=True):
    """An arm's weight before and after one part."""

    name: str
    before: float | None
    after: float | None


class FillRead(Struct, frozen=True):
    event_id: str
    topic: str
    partition: int
    offset: int
    ts: int
    instrument_id: str
    side: str
    quantity: float
    price: float
    fees: float
    multiplier: float
    notional: float | None
    currency: str
    arm: str | None
    propensity: float | None
    contributions: Mapping[str, float]
    signals: Mapping[str, str]
    order_quantity: float | None


class CloseRead(Struct, frozen=True):
    event_id: str
    topic: str
    partition: int
    offset: int
    ts: int
    quantity: float
    price: float
    fees: float
    slippage: float
    slippage_in_price: bool
    final: bool


class ArmTold(Struct, frozen=True):
    """As the audit record says it."""

    name: str
    share: float
    propensity: float | None
    estimate: float | None


class Part(Struct, frozen=True):
    """One audit record: what it says, and what the oracle makes of it."""

    kind: Kind
    version: int
    ts: int
    text: str
    position_id: str | None = None
    quantity: float | None = None
    weight: float | None = None
    reward_bps: float | None = None
    gross_bps: float | None = None
    fill_fees_bps: float | None = None
    close_fees_bps: float | None = None
    slippage_bps: float | None = None
    applied: bool | None = None
    counted: bool | None = None
    detail: str = ""
    fill: FillRead | None = None
    close: CloseRead | None = None
    drawn: str | None = None
    propensity_source: str | None = None
    eta: float | None = None
    arms: tuple[ArmTold, ...] = ()
    steps: tuple[Step, ...] = ()
    moved: tuple[Moved, ...] = ()
    action: str | None = None
    outcome: str | None = None
    command_id: str | None = None
    missing: str | None = None


class Explanation(Struct, frozen=True):
    """One vector. `reading` is how the state after it comes to its weights."""

    bandit_id: str
    version: int
    asked_version: int | None
    first_version: int
    rule: str
    estimator: str
    result: Result
    text: str
    state_from: str
    published_ts: int
    ts: int
    before: Read | None
    after: Read | None
    arms: tuple[ArmMove, ...]
    experts: tuple[ExpertMove, ...]
    parts: tuple[Part, ...]
    reading: tuple[Step, ...]
    notes: tuple[str, ...]

    def as_json(self) -> str:
        """One object on one line; steps are objects too."""
        return json_printable(json.encode(_as_objects(self)).decode())


def _as_objects(told: object) -> object:
    """A Step is a tuple to msgspec, and a reader wants names."""
    if isinstance(told, Step):
        return told._asdict()
    if isinstance(told, Struct):
        return {name: _as_objects(getattr(told, name)) for name in told.__struct_fields__}
    if isinstance(told, tuple):
        return [_as_objects(one) for one in told]
    return told
