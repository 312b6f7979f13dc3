"""Records of older schemas that Avro's rules of resolution cannot read. Law: an older record is read as what it meant;
what it did not say is marked as not known.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

Values = dict[str, Any]


def _position_of_ids(old: Values) -> Values:
    """PositionSnapshot before its events had a content: of what is matched only the ids are known."""
    decision = old["decision"]
    side = "UNKNOWN" if decision is None else decision.pop("side")
    open_fills = {fill["event_id"]: fill for fill in old["fills"]}
    fills = [_fill(event_id, open_fills.get(event_id), decision) for event_id in old["fill_ids"]]
    waiting = {close["event_id"]: close for close in old["closes"]}
    return {
        "bandit_id": old["bandit_id"],
        "position_id": old["position_id"],
        "ts_last": old["ts_last"],
        "counted": old["counted"],
        "filled_quantity": old["filled_quantity"],
        "filled_weight": _weight(old["filled_quantity"], decision) if fills else 0.0,
        "side": side,
        "fills": fills,
        "closes": [_close(event_id, waiting.get(event_id)) for event_id in old["close_ids"]],
        "open_from": len(fills) - len(open_fills),
        "open_left": old["fills"][0]["left"] if open_fills else 0.0,
        "decision": decision,
        "waiting": old["closes"],
    }


def _fill(event_id: str, fill: Values | None, decision: Values | None) -> Values:
    if fill is None:
        return {"event_id": event_id, "quantity": 0.0, "price": 0.0, "fees": 0.0, "weight": 0.0, "ts_event": 0}
    known = {name: fill[name] for name in ("event_id", "quantity", "price", "fees", "ts_event")}
    return {**known, "weight": _weight(fill["quantity"], decision)}


def _close(event_id: str, close: Values | None) -> Values:
    if close is None:
        return {"event_id": event_id, "quantity": 0.0, "price": 0.0, "fees": 0.0, "slippage": 0.0}
    return {name: close[name] for name in ("event_id", "quantity", "price", "fees", "slippage")}


def _weight(quantity: float, decision: Values | None) -> float:
    whole = None if decision is None else decision["order_quantity"]
    return 1.0 if whole is None else min(1.0, quantity / whole)


UPGRADES: Final[Mapping[str, Callable[[Values], Values]]] = {"PositionSnapshot-1": _position_of_ids}
