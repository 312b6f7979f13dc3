"""One decision by the formulas: what is open and what waits of it, what each fill weighs, and what a snapshot must say.

Law: which events were accepted comes from whoever asks; what they come to does not. Weights are shared out in the order
in which the position took its fills. Once a close was final, what is still open is written off, then and later.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from armstream.events import (
    Close,
    DecisionSnapshot,
    Fill,
    PositionFill,
    PositionPage,
    PositionSnapshot,
    WaitingClose,
)
from armstream.oracle.comparison import Row, require
from armstream.oracle.formula import Sized
from armstream.oracle.matching import Part, Rounding, Segment, exact, match, weight_of, write_off

NEVER = -(2**63)

_DECISION_TERMS = tuple(name for name in DecisionSnapshot.__struct_fields__ if name != "terms")  # those of a fill
_FILL_TERMS = ("event_id", "quantity", "price", "fees", "ts_event", "exec_id", "notional")
_CLOSE_TERMS = ("event_id", "quantity", "price", "fees", "ts_event")


class Position:
    """One decision so far. `unfilled` is what the weights of its fills leave of 1; `terms` are what its parts came to,
    by arm name, where the rule asks for that, each with its scale. `is_done`, as of the last event: no part can come
    any more, and they are gone. A fill that still comes has a decision of its own."""

    __slots__ = (
        "closes",
        "counted",
        "decision",
        "event_count",
        "filled",
        "filled_rounded",
        "fills",
        "final_close_id",
        "is_done",
        "terms",
        "ts_last",
        "unfilled",
        "weight_scale",
    )

    def __init__(self) -> None:
        self.fills: list[Part[Fill]] = []
        self.closes: list[Part[Close]] = []
        self.decision: DecisionSnapshot | None = None
        self.counted = False
        self.ts_last = NEVER
        self.event_count = 0
        self.filled = Fraction(0)
        self.filled_rounded = 0.0
        self.unfilled = 1.0
        self.weight_scale = 1.0
        self.final_close_id: str | None = None
        self.is_done = False
        self.terms: dict[str, Sized] = {}

    @property
    def part_count(self) -> int:
        """Events of which something is left."""
        return len(self.fills) + len(self.closes)

    def accept(self, event: Fill | Close) -> list[Segment]:
        """What the event realises, and what is written off with it."""
        if self.is_done:
            self.terms = {}
        self.event_count += 1
        self.ts_last = max(self.ts_last, event.ts_event)
        if isinstance(event, Fill):
            self._open(event)
        else:
            self.closes.append(Part(event))
            if event.final:
                self.final_close_id = event.event_id
        rounding = Rounding(self.event_count, self.filled_rounded)
        segments = match(self.fills, self.closes, rounding)
        if self.final_close_id is not None:
            segments += write_off(self.fills, self.final_close_id, event.ts_event)
        self.is_done = not self.part_count and (self.final_close_id is not None or self._is_filled(rounding))
        return segments

    def _is_filled(self, rounding: Rounding) -> bool:
        """Whether no fill is missing of the whole order."""
        whole = None if self.decision is None else self.decision.order_quantity
        return whole is None or rounding.explains(whole - self.filled_rounded, whole)

    def _open(self, fill: Fill) -> None:
        decision = self.decision
        if decision is None or decision.order_quantity != fill.order_quantity or self.final_close_id is not None:
            self.decision = decision_of(fill)  # the first; an amended order; or one of its own, after all was closed
        weight, scale = weight_of(fill, self.filled, self.unfilled)
        self.weight_scale = max(self.weight_scale, scale)
        self.fills.append(Part(fill, None, weight, self.weight_scale))
        self.filled = self.filled + exact(fill.quantity) if self.filled else exact(fill.quantity)
        self.filled_rounded += fill.quantity
        self.unfilled -= weight

    def drop_close(self, event_id: str) -> Part[Close] | None:
        """The wait of a close has ended; None where it did not wait."""
        part = next((one for one in self.closes if one.event.event_id == event_id), None)
        if part is not None:
            self.closes.remove(part)
        return part

    # Snapshots.

    def check(self, where: str, snapshot: PositionSnapshot, pages: Sequence[PositionPage]) -> None:
        """Raises Difference unless exact matching leaves this."""
        opened = list(open_fills(snapshot, pages))
        names, waiting = [part.event.event_id for part in self.fills], [part.event.event_id for part in self.closes]
        require(where, [("what is open", [fill.event_id for fill, _ in opened], names)])
        require(where, [("what waits", [close.event_id for close in snapshot.waiting], waiting)])
        for (fill, left), part in zip(opened, self.fills, strict=True):
            at = f"{where}, fill {fill.event_id!r}"
            require(at, [("left", left, float(part.left), part.scale)])
            require(at, [("weight", fill.weight, part.weight, part.weight_scale)])
        for close, its in zip(snapshot.waiting, self.closes, strict=True):
            require(f"{where}, close {close.event_id!r}", [("left", close.left, float(its.left), its.scale)])
        rows: list[Row] = [
            ("filled_quantity", snapshot.filled_quantity, float(self.filled), 0.0),
            ("filled_weight", snapshot.filled_weight, 1.0 - self.unfilled, self.weight_scale),
            ("how many events", event_count(snapshot), self.event_count),
            ("ts_last", snapshot.ts_last, self.ts_last),
            ("final_close_id", snapshot.final_close_id, self.final_close_id),
        ]
        if snapshot.decision is not None:
            theirs = snapshot.decision.terms
            for name in sorted(theirs.keys() | self.terms.keys()):  # one that is not there is 0
                rows.append((f"term of {name!r}", theirs.get(name, 0.0), *self.terms.get(name, (0.0, 0.0))))
        require(where, rows)

    def restore(self, snapshot: PositionSnapshot, pages: Sequence[PositionPage]) -> None:
        """Goes on from a published state."""
        self.counted, self.ts_last = snapshot.counted, snapshot.ts_last
        self.decision = None if snapshot.decision is None else decision_of(snapshot.decision)
        self.terms = (
            {}
            if snapshot.decision is None
            else {name: (term, abs(term)) for name, term in snapshot.decision.terms.items()}
        )
        self.event_count, self.final_close_id = event_count(snapshot), snapshot.final_close_id
        self.filled_rounded = snapshot.filled_quantity
        self.filled, self.unfilled = exact(snapshot.filled_quantity), 1.0 - snapshot.filled_weight
        of: dict[str, Any] = {"bandit_id": snapshot.bandit_id, "position_id": snapshot.position_id}
        shared = {"side": snapshot.side, "instrument_id": ""} | of
        if snapshot.decision is not None:
            shared |= _fields(snapshot.decision, _DECISION_TERMS)
        self.fills = [
            Part(Fill(**shared, **_fields(fill, _FILL_TERMS)), left, fill.weight)
            for fill, left in open_fills(snapshot, pages)
        ]
        self.closes = [Part(_close(one, of), one.left) for one in snapshot.waiting]


def open_fills(snapshot: PositionSnapshot, pages: Sequence[PositionPage]) -> Iterator[tuple[PositionFill, float]]:
    """Fills that are not realised whole, and what is open of each; `pages` are the position's, in their order."""
    fills = [*[fill for page in pages for fill in page.fills], *snapshot.fills]
    left = snapshot.open_left
    for fill in fills[snapshot.open_from :]:
        yield fill, left or fill.quantity
        left = 0.0


def event_count(snapshot: PositionSnapshot) -> int:
    """How many fills and closes it was made of."""
    paged = snapshot.paged
    return len(snapshot.fills) + len(snapshot.closes) + (0 if paged is None else paged.fills + paged.closes)


def decision_of(logged: Fill | DecisionSnapshot) -> DecisionSnapshot:
    """What every fill of a position shares, and its order_quantity; not what it came to."""
    return DecisionSnapshot(*[getattr(logged, name) for name in _DECISION_TERMS])


def _close(waits: WaitingClose, of: dict[str, Any]) -> Close:
    is_in_price = waits.slippage_in_price != 0.0
    slippage = waits.slippage_in_price if is_in_price else waits.slippage
    return Close(**of, **_fields(waits, _CLOSE_TERMS), slippage=slippage, slippage_in_price=is_in_price)


def _fields(fact: DecisionSnapshot | PositionFill | WaitingClose, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in names}
