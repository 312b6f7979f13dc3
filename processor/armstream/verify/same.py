"""Two records that must be the same: every field equal, numbers within 1e-10 of their size."""

from msgspec import Struct

from armstream.events import CommandApplied, DeadLetter, Reward, WaitingClose
from armstream.oracle.comparison import require

_PARTS = {"waiting": "waiting close"}
_NOTHING: frozenset[str] = frozenset()
_NOT_KNOWN_ONCE = frozenset({"slippage_in_price"})  # of a close that waited: 0 where a processor came before it


def require_same(where: str, published: Struct, derived: Struct, ignored: frozenset[str] = _NOTHING) -> None:
    """Raises Difference for the first field that differs; `ignored` are not looked at."""
    for name in published.__struct_fields__:
        theirs, ours = getattr(published, name), getattr(derived, name)
        if theirs == ours or name in ignored:
            continue
        if isinstance(theirs, Struct) and isinstance(ours, Struct):
            require_same(where, theirs, ours)
        elif isinstance(theirs, tuple) and any(isinstance(one, Struct) for one in (*theirs, *ours)):
            _require_same_parts(where, name, theirs, ours)
        elif isinstance(theirs, tuple) and len(theirs) == len(ours):
            require(where, [(name, one, other, 0.0) for one, other in zip(theirs, ours, strict=True)])
        else:
            require(where, [(name, theirs, ours, 0.0)])


def _require_same_parts(where: str, name: str, published: tuple[Struct, ...], derived: tuple[Struct, ...]) -> None:
    require(where, [(name, list(map(_name_of, published)), list(map(_name_of, derived)))])
    part = _PARTS.get(name, name.removesuffix("s"))
    for theirs, ours in zip(published, derived, strict=True):
        is_unknown = isinstance(theirs, WaitingClose) and not theirs.slippage_in_price
        require_same(f"{where}, {part} {_name_of(theirs)!r}", theirs, ours, _NOT_KNOWN_ONCE if is_unknown else _NOTHING)


def _name_of(part: Struct) -> str:
    name: str = getattr(part, "event_id", "") or getattr(part, "name", "")
    return name


def said(fact: Reward | CommandApplied | DeadLetter) -> str:
    """A record in a few words."""
    if isinstance(fact, Reward):
        return (
            f"a reward of {fact.reward_bps:.10g} bps for {fact.quantity:.10g} of fill {fact.fill_event_id!r} and close "
            f"{fact.close_event_id!r}, position {fact.position_id!r} of {fact.bandit_id!r}"
        )
    if isinstance(fact, CommandApplied):
        return f"what became of command {fact.command_id!r}, {fact.action} of {fact.bandit_id!r}"
    return f"a dead letter, {fact.error_class}: {fact.error}"
