"""What an event must be, whatever the state: each refusal is a clear text and costs nothing but a dead letter.

Law: only what a learner takes without a word gets through, so that no bad number ever reaches one.
"""

from collections.abc import Collection
from math import fsum, inf, isfinite

from armstream.events import Close, Command, ErrorClass, Fill

MAX_SHARE = 1e6  # beyond it a share times a legal reward would leave what a learner takes
MAX_BOUND_BPS = 1e6
MAX_CONTRIBUTED = 1.0 + 1e-6  # of one decision, in all
FIRST_CREDIBLE_MICROS = 631_152_000_000_000  # 1990-01-01; seconds and milliseconds of today are before it
LARGEST = 1e300  # of a price or a quantity: what nobody set is often the largest double, and sums must stay finite
MIN_PROPENSITY = 1e-200  # below it an estimate need not be finite

_ID_MAX_BYTES = 200
_NAME_MAX_CHARACTERS = 100  # as in the settings
_LISTED_MAX = 1_000  # arms and experts that a decision may list: as many as the limits allow
_ERROR_MAX_CHARACTERS = 600
_ID_SURELY_FITS = 50  # UTF-8 takes at most four bytes a character

_COMMAND_NEEDS = {
    "ADD_ARM": "arm",
    "REMOVE_ARM": "arm",
    "ADD_EXPERT": "expert",
    "REMOVE_EXPERT": "expert",
    "SET_BOUND": "value",
}


class Refused(Exception):
    """An input that becomes a dead letter; nothing has changed. `error` is shortened."""

    def __init__(self, error_class: ErrorClass, error: str) -> None:
        super().__init__(error)
        self.error_class = error_class
        self.error = shortened(error)


def shortened(error: str) -> str:
    """What quotes an input may be as long as the input, and is published beside it: its topic must take both."""
    if len(error) <= _ERROR_MAX_CHARACTERS:
        return error
    half = _ERROR_MAX_CHARACTERS // 2
    return f"{error[:half]}... {len(error) - 2 * half} characters ...{error[-half:]}"


def check_bandit_id(bandit_id: str) -> None:
    """Raises Refused for what can name no bandit; who asks for a bandit that exists need not ask."""
    _check_ids(bandit_id=bandit_id)
    if "\0" in bandit_id:
        raise Refused("VALIDATION", f"bandit_id must not hold a NUL, got {bandit_id!r}")


def check_time(ts_event: int) -> None:
    """Raises Refused for a time that must be in another unit."""
    if ts_event < FIRST_CREDIBLE_MICROS:
        raise Refused("VALIDATION", f"ts_event must be UTC microseconds, got {ts_event}: milliseconds or seconds?")


def check_fill(fill: Fill, arms: Collection[str]) -> None:
    """Raises Refused for a fill that no state could take; `arms` are the bandit's."""
    if not (0 < len(fill.event_id) <= _ID_SURELY_FITS and 0 < len(fill.position_id) <= _ID_SURELY_FITS):
        _check_ids(event_id=fill.event_id, position_id=fill.position_id)
    if (
        len(fill.instrument_id) > _ID_SURELY_FITS
        or len(fill.currency) > _ID_SURELY_FITS
        or len(fill.probabilities) > _LISTED_MAX
        or fill.exec_id is not None
        or fill.advice
    ):
        _check_kept(fill)
    if fill.exec_type != "TRADE":
        raise _bad_exec_type(fill.exec_type)
    if fill.side not in ("BUY", "SELL"):
        raise Refused("VALIDATION", f"side must be BUY or SELL, got {fill.side}")
    order_quantity = fill.order_quantity
    if not (0.0 < fill.quantity <= LARGEST and 0.0 < fill.multiplier <= LARGEST):
        raise _not_positive(fill, ("quantity", "multiplier"))
    if not 0.0 < fill.price <= LARGEST or fill.notional is not None:
        _check_basis(fill)
    if order_quantity is not None and not 0.0 < order_quantity <= LARGEST:
        raise _not_positive(fill, ("order_quantity",))
    if not -inf < fill.fees < inf:
        raise _not_finite(fill, ("fees",))
    propensity = fill.propensity
    if propensity is not None and not MIN_PROPENSITY <= propensity <= 1.0:
        raise Refused(
            "VALIDATION", f"propensity must be in (0, 1], and not below {MIN_PROPENSITY:g}, got {propensity!r}"
        )
    if fill.contributions:
        _check_contributions(fill, arms)
    elif fill.arm is None:
        raise Refused("VALIDATION", "one of arm and contributions must be given, got neither")
    elif fill.arm not in arms:
        raise _unknown_arm(fill.arm, arms)


def check_advice(fill: Fill, experts: Collection[str], is_older: bool) -> None:
    """What the bandit's experts gave to the drawn arm, each of them and no other, unless `is_older`: the decision was
    made before the experts last changed. `experts` is empty where the rule knows none. Raises Refused."""
    for name, given in fill.advice.items():
        if len(name) > _NAME_MAX_CHARACTERS:
            raise Refused("VALIDATION", f"an expert's name must have at most {_NAME_MAX_CHARACTERS} characters")
        if not 0.0 <= given <= 1.0:
            raise Refused("VALIDATION", f"the advice of {name!r} must be from 0 to 1, got {given!r}")
    if is_older:
        return
    if not experts:
        raise Refused("UNKNOWN_EXPERT", f"advice of {_named(fill.advice)}, but this bandit has no experts")
    for name in fill.advice:
        if name not in experts:
            raise Refused("UNKNOWN_EXPERT", f"unknown expert {name!r}; the experts are {_named(experts)}")
    for name in experts:
        if name not in fill.advice:
            raise Refused("UNKNOWN_EXPERT", f"the advice of {name!r} is missing")


def check_signals(fill: Fill, arms: Collection[str], max_arms: int, is_older: bool) -> None:
    """The views that a fill was made from: of `arms`, and where it `is_older` also of such as are there no more. The
    drawn arm's is the side of the trade. Raises Refused."""
    signals = fill.signals
    if len(signals) > max_arms and len(signals) > len(arms):
        raise Refused("LIMIT", f"there are {len(signals)} signals, and limits.arms is {max_arms}")
    for name, signal in signals.items():
        if signal == "UNKNOWN":
            raise Refused("VALIDATION", f"the signal of {name!r} is UNKNOWN")
        if name not in arms:
            if not is_older:
                raise _unknown_arm(name, arms)
            if len(name) > _NAME_MAX_CHARACTERS:
                raise Refused("VALIDATION", f"an arm's name must have at most {_NAME_MAX_CHARACTERS} characters")
    if fill.arm is None:
        for name, share in fill.contributions.items():
            if share and signals.get(name, "FLAT") == "FLAT":
                said = "its signal is FLAT" if name in signals else "signals say nothing of it"
                raise Refused("VALIDATION", f"{name!r} has a contribution of {share!r}, and {said}")
        return
    drawn = signals.get(fill.arm)
    if drawn is None:
        raise Refused("VALIDATION", f"the signal of the drawn arm {fill.arm!r} is missing")
    if drawn != fill.side:
        raise Refused(
            "VALIDATION", f"the signal of the drawn arm {fill.arm!r} is {drawn}, and the fill's side {fill.side}"
        )


def check_close(close: Close) -> None:
    """Raises Refused for a close that no state could take."""
    if not (0 < len(close.event_id) <= _ID_SURELY_FITS and 0 < len(close.position_id) <= _ID_SURELY_FITS):
        _check_ids(event_id=close.event_id, position_id=close.position_id)
    if close.exec_id is not None:
        _check_text("exec_id", close.exec_id)
    if close.exec_type != "TRADE":
        raise _bad_exec_type(close.exec_type)
    if not 0.0 < close.quantity <= LARGEST:
        raise _not_positive(close, ("quantity",))
    if not -LARGEST <= close.price <= LARGEST:
        raise _not_finite(close, ("price",))
    if not (-inf < close.fees < inf and -inf < close.slippage < inf):
        raise _not_finite(close, ("fees", "slippage"))


def check_command(command: Command) -> None:
    """Raises Refused for a command that could never be obeyed."""
    check_time(command.ts_event)
    _check_ids(command_id=command.command_id)
    check_bandit_id(command.bandit_id)
    if command.action == "UNKNOWN":
        raise Refused("VALIDATION", "action is UNKNOWN")
    needed = _COMMAND_NEEDS.get(command.action)
    if needed is not None and getattr(command, needed) in (None, ""):
        raise Refused("VALIDATION", f"{command.action} needs {needed}")
    if command.action == "ADD_ARM" and len(command.arm or "") > _NAME_MAX_CHARACTERS:
        raise Refused("VALIDATION", f"an arm's name must have at most {_NAME_MAX_CHARACTERS} characters")
    if command.action == "ADD_EXPERT" and len(command.expert or "") > _NAME_MAX_CHARACTERS:
        raise Refused("VALIDATION", f"an expert's name must have at most {_NAME_MAX_CHARACTERS} characters")
    value = command.value
    if value is None:
        return
    if command.action == "SET_BOUND" and not 1.0 / MAX_BOUND_BPS <= value <= MAX_BOUND_BPS:
        raise Refused(
            "VALIDATION", f"the bound must be from {1.0 / MAX_BOUND_BPS:g} to {MAX_BOUND_BPS:g} bps, got {value!r}"
        )
    if command.action in ("ADD_ARM", "ADD_EXPERT") and not 0.0 <= value <= MAX_SHARE:
        raise Refused("VALIDATION", f"the initial weight must be from 0 to {MAX_SHARE:g}, got {value!r}")


def check_event(event: Fill | Close | Command) -> None:
    """Raises Refused for an event that no task takes, whatever its bandits, arms and settings are."""
    check_time(event.ts_event)
    check_bandit_id(event.bandit_id)
    if isinstance(event, Fill):
        check_fill(event, [*event.contributions, event.arm or ""])
    elif isinstance(event, Close):
        check_close(event)
    else:
        check_command(event)


def _check_ids(**ids: str) -> None:
    for name, value in ids.items():
        size_bytes = len(value.encode())
        if not 1 <= size_bytes <= _ID_MAX_BYTES:
            raise Refused("VALIDATION", f"{name} must be 1 to {_ID_MAX_BYTES} bytes of UTF-8, got {size_bytes}")


def _check_kept(fill: Fill) -> None:
    """What a position keeps must fit its snapshot, whatever else is in it."""
    _check_text("instrument_id", fill.instrument_id)
    _check_text("currency", fill.currency)
    if fill.exec_id is not None:
        _check_text("exec_id", fill.exec_id)
    if len(fill.probabilities) > _LISTED_MAX or len(fill.advice) > _LISTED_MAX:
        raise Refused("VALIDATION", f"probabilities and advice must have at most {_LISTED_MAX} entries")


def _check_text(name: str, text: str) -> None:
    size_bytes = len(text.encode())
    if size_bytes > _ID_MAX_BYTES:
        raise Refused("VALIDATION", f"{name} must be at most {_ID_MAX_BYTES} bytes of UTF-8, got {size_bytes}")


def _check_basis(fill: Fill) -> None:
    """Basis points need something above 0 to be taken of."""
    if not -LARGEST <= fill.price <= LARGEST:
        raise _not_finite(fill, ("price",))
    if fill.notional is None:
        raise Refused(
            "VALIDATION",
            f"a fill at a price of {fill.price!r} needs notional, what basis points of one unit are taken of, above 0",
        )
    if not 0.0 < fill.notional <= LARGEST:
        raise _not_positive(fill, ("notional",))


def _check_contributions(fill: Fill, arms: Collection[str]) -> None:
    if fill.arm is not None:
        raise Refused("VALIDATION", "one of arm and contributions must be given, got both")
    for name, share in fill.contributions.items():
        if not 0.0 <= share <= MAX_SHARE:
            raise Refused("VALIDATION", f"the contribution of {name!r} must be from 0 to {MAX_SHARE:g}, got {share!r}")
    for name in fill.contributions:
        if name not in arms:
            raise _unknown_arm(name, arms)
    contributed = fsum(fill.contributions.values())
    if not 0.0 < contributed <= MAX_CONTRIBUTED:
        raise Refused(
            "VALIDATION", f"contributions must be above 0 and at most 1 in all, got {contributed!r}: percent?"
        )


def _bad_exec_type(exec_type: str) -> Refused:
    if exec_type == "UNKNOWN":
        return Refused("VALIDATION", "exec_type is UNKNOWN")
    return Refused("VALIDATION", f"exec_type {exec_type} is not supported yet")


def _not_positive(event: Fill | Close, names: tuple[str, ...]) -> Refused:
    bad = [f"{name} {value!r}" for name in names if not 0.0 < (value := getattr(event, name)) <= LARGEST]
    return Refused("VALIDATION", f"must be finite and above 0: {', '.join(bad)}{_unset(event, names)}")


def _not_finite(event: Fill | Close, names: tuple[str, ...]) -> Refused:
    bad = [f"{name} {value!r}" for name in names if not abs(value := getattr(event, name)) <= LARGEST]
    return Refused("VALIDATION", f"must be finite: {', '.join(bad)}{_unset(event, names)}")


def _unset(event: Fill | Close, names: tuple[str, ...]) -> str:
    is_set = all(abs(value) <= LARGEST for name in names if isfinite(value := getattr(event, name)))
    return "" if is_set else f"; above {LARGEST:g} it is nobody's number: unset?"


def _unknown_arm(arm: str, arms: Collection[str]) -> Refused:
    return Refused("UNKNOWN_ARM", f"unknown arm {arm!r}; the arms are {_named(arms)}")


def _named(names: Collection[str]) -> str:
    return ", ".join(map(repr, names))
