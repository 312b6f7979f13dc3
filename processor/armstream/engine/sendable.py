"""A fill or a close as it is sent. Law: what every processor would refuse is refused here, before anything is sent.

Its values become plain ones. A refusal is a ValueError that names the field. What only the processor can know (the
bandit's arms, whether the id is used, what else is in the position) it answers with a dead letter.
"""

from collections.abc import Mapping
from math import fsum, inf
from typing import Final, cast, get_args

from armstream.events import Close, ExecType, Fill, Signal
from armstream.plain import (
    END_MICROS,
    FIRST_MICROS,
    LARGEST,
    are_plain_numbers,
    are_plain_signals,
    numbers_by_name,
    plain_number,
    plain_numbers,
    plain_side,
    plain_text,
    plain_truth,
    positive_number,
    signals_by_name,
    utc_micros,
    whole_number,
)

ID_MAX_BYTES: Final = 200
SHARES_MOST: Final = 1.0 + 1e-6  # contributions may come in single precision

_ID_SURELY_FITS = 50  # UTF-8 takes at most four bytes a character
_EXEC_TYPES: Final = frozenset(get_args(ExecType)) - {"UNKNOWN"}


def sendable(event: Fill | Close) -> Fill | Close:
    """As the two below. Raises TypeError for what is neither."""
    if isinstance(event, Fill):
        return sendable_fill(event)
    if isinstance(event, Close):
        return sendable_close(event)
    raise TypeError(f"only a Fill or a Close can be sent, got {event!r}")


def sendable_fill(fill: Fill) -> Fill:
    """The fill with plain values. Raises ValueError for one that no processor takes, whatever its state."""
    return fill if _is_usual_fill(fill) else _judged_fill(fill)


def sendable_close(close: Close) -> Close:
    """The close with plain values. Raises ValueError for one that no processor takes, whatever its state."""
    return close if _is_usual_close(close) else _judged_close(close)


# What is usual: a draw's events of floats and texts. These two decide nothing where they say no, and cost a third.


def _is_usual_fill(fill: Fill) -> bool:
    quantity, price, multiplier, fees = fill.quantity, fill.price, fill.multiplier, fill.fees
    order_quantity, propensity, eta = fill.order_quantity, fill.propensity, fill.eta
    return (
        _are_usual_names(fill)
        and type(fill.instrument_id) is type(fill.currency) is type(fill.arm) is type(fill.side) is str
        and len(fill.instrument_id) <= _ID_SURELY_FITS
        and len(fill.currency) <= _ID_SURELY_FITS
        and fill.side in ("BUY", "SELL")
        and type(quantity) is type(price) is type(multiplier) is type(fees) is type(propensity) is float
        and 0.0 < quantity <= LARGEST
        and 0.0 < price <= LARGEST
        and 0.0 < multiplier <= LARGEST
        and -inf < fees < inf
        and 0.0 < propensity <= 1.0
        and (order_quantity is None or (type(order_quantity) is float and 0.0 < order_quantity <= LARGEST))
        and (eta is None or (type(eta) is float and -inf < eta < inf))
        and type(fill.weights_version) is int
        and 0 <= fill.weights_version < 1 << 63
        and are_plain_numbers(fill.probabilities)
        and fill.notional is None
        and not fill.contributions
        and not fill.advice
        and type(fill.contributions) is type(fill.advice) is type(fill.signals) is dict
        and (not fill.signals or (are_plain_signals(fill.signals) and fill.signals.get(fill.arm) == fill.side))
    )


def _is_usual_close(close: Close) -> bool:
    quantity, price, fees, slippage = close.quantity, close.price, close.fees, close.slippage
    return (
        _are_usual_names(close)
        and type(quantity) is type(price) is type(fees) is type(slippage) is float
        and 0.0 < quantity <= LARGEST
        and -LARGEST <= price <= LARGEST
        and -inf < fees < inf
        and -inf < slippage < inf
        and type(close.slippage_in_price) is type(close.final) is bool
    )


def _are_usual_names(event: Fill | Close) -> bool:
    """Also its time and its kind of report."""
    event_id, bandit_id, position_id, exec_id = event.event_id, event.bandit_id, event.position_id, event.exec_id
    return (
        type(event_id) is type(bandit_id) is type(position_id) is type(event.exec_type) is str
        and 0 < len(event_id) <= _ID_SURELY_FITS
        and 0 < len(bandit_id) <= _ID_SURELY_FITS
        and 0 < len(position_id) <= _ID_SURELY_FITS
        and "\0" not in bandit_id
        and event.exec_type == "TRADE"
        and (exec_id is None or (type(exec_id) is str and len(exec_id) <= _ID_SURELY_FITS))
        and event.exec_ref_id is None
        and type(event.ts_event) is int
        and FIRST_MICROS <= event.ts_event < END_MICROS
    )


# What each field must be.


def _judged_fill(fill: Fill) -> Fill:
    notional = fill.notional
    propensity, eta, order_quantity, version = fill.propensity, fill.eta, fill.order_quantity, fill.weights_version
    arm, exec_id, exec_ref_id = fill.arm, fill.exec_id, fill.exec_ref_id
    return Fill(
        _legal_id("event_id", fill.event_id),
        _legal_bandit_id(fill.bandit_id),
        _legal_id("position_id", fill.position_id),
        _legal_text("instrument_id", fill.instrument_id),
        plain_side("side", fill.side),
        positive_number("quantity", fill.quantity),
        _entry_price(fill.price, has_notional=notional is not None),
        utc_micros("ts_event", fill.ts_event),
        positive_number("multiplier", fill.multiplier),
        plain_number("fees", fill.fees),
        _legal_exec_type(fill.exec_type),
        _legal_text("currency", fill.currency),
        None if order_quantity is None else positive_number("order_quantity", order_quantity),
        None if exec_id is None else _legal_text("exec_id", exec_id),
        None if exec_ref_id is None else plain_text("exec_ref_id", exec_ref_id),
        None if arm is None else plain_text("arm", arm),
        None if propensity is None else _legal_propensity(propensity),
        plain_numbers("probabilities", fill.probabilities),
        None if eta is None else plain_number("eta", eta),
        None if version is None else whole_number("weights_version", version),
        _legal_contributions(fill),
        _legal_advice(fill),
        None if notional is None else positive_number("notional", notional),
        _legal_signals(fill),
    )


def _judged_close(close: Close) -> Close:
    exec_id, exec_ref_id = close.exec_id, close.exec_ref_id
    return Close(
        _legal_id("event_id", close.event_id),
        _legal_bandit_id(close.bandit_id),
        _legal_id("position_id", close.position_id),
        positive_number("quantity", close.quantity),
        _legal_price(close.price),
        utc_micros("ts_event", close.ts_event),
        plain_number("fees", close.fees),
        plain_number("slippage", close.slippage),
        plain_truth("slippage_in_price", close.slippage_in_price),
        _legal_exec_type(close.exec_type),
        None if exec_id is None else _legal_text("exec_id", exec_id),
        None if exec_ref_id is None else plain_text("exec_ref_id", exec_ref_id),
        plain_truth("final", close.final),
    )


def _legal_id(field: str, value: object) -> str:
    plain = plain_text(field, value)
    if not 0 < len(plain) <= _ID_SURELY_FITS and not 1 <= len(plain.encode(errors="replace")) <= ID_MAX_BYTES:
        raise ValueError(f"{field} must be 1 to {ID_MAX_BYTES} bytes of UTF-8, got {plain!r}")
    return plain


def _legal_text(field: str, value: object) -> str:
    plain = plain_text(field, value)
    if len(plain) > _ID_SURELY_FITS and len(plain.encode(errors="replace")) > ID_MAX_BYTES:
        raise ValueError(f"{field} must be at most {ID_MAX_BYTES} bytes of UTF-8, got {plain!r}")
    return plain


def _legal_price(value: object) -> float:
    price = plain_number("price", value)
    if not -LARGEST <= price <= LARGEST:
        raise ValueError(f"price must be within {LARGEST:g} either way, got {value!r}")
    return price


def _legal_bandit_id(value: object) -> str:
    plain = _legal_id("bandit_id", value)
    if "\0" in plain:
        raise ValueError(f"bandit_id must not hold a NUL, got {plain!r}")
    return plain


def _entry_price(value: object, has_notional: bool) -> float:
    price = _legal_price(value)
    if price <= 0.0 and not has_notional:
        raise ValueError(f"price must be above 0 where notional is not given, the basis of one unit, got {value!r}")
    return price


def _legal_exec_type(value: object) -> ExecType:
    if not isinstance(value, str) or value not in _EXEC_TYPES:
        raise ValueError(f"exec_type must be one of {', '.join(sorted(_EXEC_TYPES))}, got {value!r}")
    return cast(ExecType, value)


def _legal_propensity(value: object) -> float:
    propensity = plain_number("propensity", value)
    if not 0.0 < propensity <= 1.0:
        raise ValueError(f"propensity must be above 0 and at most 1, got {value!r}")
    return propensity


def _legal_contributions(fill: Fill) -> dict[str, float]:
    """Raises ValueError also where the fill has neither an arm nor these, or both."""
    shares = numbers_by_name("contributions", fill.contributions)
    if bool(shares) == (fill.arm is not None):
        raise ValueError(f"one of arm and contributions must be given, got {'both' if shares else 'neither'}")
    for name, share in shares.items():
        if share < 0.0:
            raise ValueError(f"contributions[{name!r}] must not be negative, got {share!r}")
    if shares and not 0.0 < (total := fsum(shares.values())) <= SHARES_MOST:
        raise ValueError(f"contributions must sum to more than 0 and to 1 at most, got {total!r}")
    return shares


def _legal_advice(fill: Fill) -> dict[str, float]:
    advice = numbers_by_name("advice", fill.advice)
    for name, given in advice.items():
        if not 0.0 <= given <= 1.0:
            raise ValueError(f"advice[{name!r}] must be from 0 to 1, got {given!r}")
    return advice


def _legal_signals(fill: Fill) -> Mapping[str, Signal]:
    """Raises ValueError also where what was traded had no such view."""
    signals = signals_by_name("signals", fill.signals)
    if not signals:
        return signals
    if fill.arm is None:
        for name, share in fill.contributions.items():
            if share and signals.get(name, "FLAT") == "FLAT":
                raise ValueError(f"signals[{name!r}] must be BUY or SELL: it contributed {share!r}")
        return signals
    drawn, side = signals.get(fill.arm), plain_side("side", fill.side)
    if drawn is None:
        raise ValueError(f"signals must have that of the drawn arm {fill.arm!r}, got those of {', '.join(signals)}")
    if drawn != side:
        raise ValueError(f"signals[{fill.arm!r}] must be the side, as the drawn arm's is: {side}, got {drawn}")
    return signals
