"""An engine's choice and the events that follow from it. Law: what is logged is the distribution that was drawn from.

Ids are made here, once: sending the same event again changes nothing.
"""

import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from numpy.random import Generator

from armstream.engine.advice import Said, given_to, mixed, said_by_all, said_by_engine
from armstream.engine.sendable import sendable_close, sendable_fill
from armstream.events import Close, ExecType, Fill, Signal, WeightVector
from armstream.learning.advice import Expert
from armstream.learning.refusals import refuse_text
from armstream.learning.summation import summed
from armstream.plain import Moment, Number, Truth, signals_by_name

_any_fill: Final[Callable[..., Fill]] = Fill  # in the schema's order, of values that are not plain yet
_any_close: Final[Callable[..., Close]] = Close


def _new_id() -> str:
    return uuid.uuid4().hex


def _wall_clock_micros() -> int:
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True)
class Decision:
    """One draw of an arm, and the maker of its fills and closes.

    `probabilities` is the distribution it was drawn from, in the vector's order, 0 for an arm that was left out;
    `propensity` is the drawn arm's, `advice` what each expert gave to it. `signals` are the arms' views, where `choose`
    was given them. weights_version 0 and no eta: there was no vector yet.
    """

    bandit_id: str
    arm: str
    propensity: float
    probabilities: tuple[float, ...]
    eta: float | None
    weights_version: int
    position_id: str = field(default_factory=_new_id)
    advice: Mapping[str, float] = field(default_factory=dict)
    signals: Mapping[str, Signal] = field(default_factory=dict)

    def fill(
        self,
        *,
        instrument_id: str,
        side: str,
        quantity: Number,
        price: Number,
        fees: Number = 0.0,
        multiplier: Number = 1.0,
        order_quantity: Number | None = None,
        notional: Number | None = None,
        signals: Mapping[str, str] | None = None,
        currency: str = "",
        exec_type: ExecType = "TRADE",
        exec_id: str | None = None,
        exec_ref_id: str | None = None,
        ts_event: Moment | None = None,
        event_id: str | None = None,
    ) -> Fill:
        """A fill of this decision. `fees` are absolute, in the price's currency; ts_event None is now.

        `side` is BUY or SELL. `order_quantity` is the decision's whole size as known now, needed where it fills in
        parts. `notional` is what basis points of one unit are taken of, above 0, in place of price times multiplier;
        with it the price may be any finite one, else it is above 0. `signals` are BUY, SELL or FLAT by arm, of every
        arm that had a view when the decision was made: the drawn arm's is the side. None takes those that `choose` was
        given; all fills of a position say the same. Numbers may be numpy's or Decimal, and ts_event a datetime that
        knows its zone in place of UTC microseconds. The event_id is made here, once: sending the same fill again
        changes nothing. Raises ValueError, with the field's name, for what every processor would refuse.
        """
        return sendable_fill(
            _any_fill(
                event_id or _new_id(),
                self.bandit_id,
                self.position_id,
                instrument_id,
                side,
                quantity,
                price,
                _wall_clock_micros() if ts_event is None else ts_event,
                multiplier,
                fees,
                exec_type,
                currency,
                order_quantity,
                exec_id,
                exec_ref_id,
                self.arm,
                self.propensity,
                self.probabilities,
                self.eta,
                self.weights_version,
                {},  # contributions: one arm was drawn
                self.advice,
                notional,
                self.signals if signals is None else signals,
            )
        )

    def close(
        self,
        *,
        quantity: Number,
        price: Number,
        fees: Number = 0.0,
        slippage: Number = 0.0,
        slippage_in_price: Truth = False,
        final: Truth = False,
        exec_type: ExecType = "TRADE",
        exec_id: str | None = None,
        exec_ref_id: str | None = None,
        ts_event: Moment | None = None,
        event_id: str | None = None,
    ) -> Close:
        """A close of this decision's position. `fees` and `slippage` are absolute, in the price's currency.

        The price may be any finite one: 0 expires worthless. `final`: no close follows, and what is still open then is
        written off. Numbers, ts_event and ValueError as in `fill`.
        """
        return sendable_close(
            _any_close(
                event_id or _new_id(),
                self.bandit_id,
                self.position_id,
                quantity,
                price,
                _wall_clock_micros() if ts_event is None else ts_event,
                fees,
                slippage,
                slippage_in_price,
                exec_type,
                exec_id,
                exec_ref_id,
                final,
            )
        )


def draw(
    bandit_id: str,
    vector: WeightVector | None,
    rng: Generator,
    *,
    context: Any = None,
    experts: Mapping[str, Expert] | None = None,
    arms: Collection[str] | None = None,
    available: Collection[str] | None = None,
    signals: Mapping[str, str] | None = None,
    position_id: str | None = None,
) -> Decision:
    """Draws an arm with one number of `rng`: from the vector's probabilities, or uniformly without a vector.

    `arms` are the models that the engine has; they are needed, in their order, where there is no vector. `available`
    are those that can trade now. An arm that is not in both, where given, is left out: its probability is 0 and the
    rest is renormalised. A name that the vector does not know is never drawn. `signals` are the arms' views, BUY, SELL
    or FLAT: an arm that is FLAT or has none is left out too. `position_id` None makes a new one.
    Where the vector has experts, it is drawn from what they say of `context`, mixed by their weights: `experts`
    are the engine's, by name, functions of the context or distributions, over `arms` in their order (over the vector's,
    where none are given); those that the vector does not name are not asked. Raises ValueError where there is nothing
    to draw from, for an expert that is missing, for wrong advice, for a text in the place of names, and for a signal of
    an arm that is neither the vector's nor in `arms`.
    """
    refuse_text("arms", arms)
    refuse_text("available", available)
    if vector is not None:
        names: Sequence[str] = [arm.name for arm in vector.arms]
        masses = [arm.probability for arm in vector.arms]
    elif arms:
        names = tuple(dict.fromkeys(arms))
        masses = [1.0] * len(names)
    else:
        raise ValueError(f"{bandit_id!r} has no weights yet: choose needs the arms to draw from")
    views = None if signals is None else signals_by_name("signals", signals)
    known = names if arms is None else dict.fromkeys((*names, *arms))
    awake = None if views is None else _awake(bandit_id, views, known)
    allowed = [each for each in (arms, available, awake) if each is not None]
    can_be_drawn = [all(name in each for each in allowed) for name in names]
    said: Said = {}
    if vector is not None and vector.experts and any(can_be_drawn):
        said = said_by_all(vector, arms, can_be_drawn, context, experts or {})
        masses = mixed(vector, said, can_be_drawn)
    elif vector is None and experts:
        said = said_by_engine(arms or (), can_be_drawn, context, experts)
    masses = [mass if can else 0.0 for mass, can in zip(masses, can_be_drawn, strict=True)]
    total = summed(masses)
    if not total > 0:
        why = "" if views is None else ": each is left out, FLAT or without a signal"
        raise ValueError(f"nothing to draw from: none of {bandit_id!r}'s arms ({', '.join(names)}) can be drawn{why}")
    probabilities = tuple([mass / total for mass in masses])
    chosen = _pick(probabilities, rng.random())
    return Decision(
        bandit_id=bandit_id,
        arm=names[chosen],
        propensity=probabilities[chosen],
        probabilities=probabilities,
        eta=None if vector is None else vector.eta,
        weights_version=0 if vector is None else vector.version,
        position_id=position_id or _new_id(),
        advice=given_to(chosen, said, probabilities[chosen]),
        signals={} if views is None else {name: view for name, view in views.items() if name in names},
    )


def _awake(bandit_id: str, views: Mapping[str, Signal], known: Collection[str]) -> Collection[str]:
    """The arms that would trade. Raises ValueError for a view of an arm that nobody knows."""
    unknown = [name for name in views if name not in known]
    if unknown:
        raise ValueError(
            f"signals must be of arms of {bandit_id!r}, got {', '.join(unknown)}: it has {', '.join(known)}"
        )
    return {name for name, view in views.items() if view != "FLAT"}


def _pick(probabilities: Sequence[float], number: float) -> int:
    """The index whose share of [0, 1) holds `number`; the last possible one where rounding left a gap at the end."""
    above = 0.0
    last = 0
    for index, probability in enumerate(probabilities):
        if probability > 0:
            above += probability
            last = index
            if number < above:
                break
    return last
