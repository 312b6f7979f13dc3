"""The job in plain Python over JSON types: what the contenders in Quix Streams and Faust run, and what all must equal.

Law: it shares nothing with Armstream but the schemas, so that it can run where Armstream is not installed and so that
who equals it equals a second opinion. It knows the shipped rule (Exp3-IX, implicit exploration, gamma 0) and B = 100.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from math import exp, log, sqrt
from pathlib import Path
from typing import Any, Protocol, cast

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

SCHEMAS = Path(__file__).parents[2] / "schemas"
REWARD_BOUND_BPS = 100.0
MIN_WEIGHT = 1e-10
WARM_START_STEPS = 500
BLEND_ALPHA = 0.3
ROUNDING = 2.0**-52
BANDIT = "bandit"  # the key of the bandit's own state; every other one is a position's

Event = dict[str, Any]


class Codec:
    """Avro single-object encoding of one record type."""

    def __init__(self, name: str) -> None:
        definition = json.loads((SCHEMAS / f"{name}.avsc").read_text())
        self.schema = fastavro.parse_schema(definition)
        crc = fingerprint(to_parsing_canonical_form(definition), "CRC-64-AVRO")
        self.header = b"\xc3\x01" + bytes.fromhex(crc)  # fastavro gives it in the byte order of the wire

    def decode(self, value: bytes) -> Event:
        return cast(Event, fastavro.schemaless_reader(io.BytesIO(value[10:]), self.schema, None))

    def encode(self, event: Event) -> bytes:
        out = io.BytesIO(self.header)
        out.seek(10)
        fastavro.schemaless_writer(out, self.schema, event)
        return out.getvalue()


FILL, CLOSE, REWARD, WEIGHT_VECTOR = map(Codec, ("Fill", "Close", "Reward", "WeightVector"))


class State(Protocol):
    """The state of one bandit and its positions: JSON types by key."""

    def get(self, key: str) -> Any: ...
    def set(self, key: str, value: Any) -> None: ...


def read(value: bytes) -> tuple[bool, Event]:
    """Whether it is a close, and its fields."""
    if value.startswith(FILL.header):
        return False, FILL.decode(value)
    if value.startswith(CLOSE.header):
        return True, CLOSE.decode(value)
    raise ValueError("neither a Fill nor a Close of schemas/")


def apply(
    value: bytes, arms: Sequence[str], state_of: Callable[[str], State], cut: Mapping[str, int]
) -> Iterator[tuple[str, bytes]]:
    """One trade: ("rewards", bytes) for each segment that it realises, then ("weights", bytes) where there was one."""
    is_close, event = read(value)
    state = state_of(event["bandit_id"])
    position = state.get(event["position_id"]) or new_position()
    segments = list(take(position, event, is_close))
    state.set(event["position_id"], position)
    if not segments:
        return
    bandit = state.get(BANDIT) or new_bandit(arms)
    for segment in segments:
        yield "rewards", REWARD.encode(learn(bandit, position, segment, event, arms) | {"cut": dict(cut)})
    state.set(BANDIT, bandit)
    yield "weights", WEIGHT_VECTOR.encode(vector(bandit, event, arms))


def new_position() -> Event:
    return {"ids": [], "open": [], "waiting": [], "counted": False, "filled": 0.0, "weighed": 0.0, "decision": None}


def new_bandit(arms: Sequence[str]) -> Event:
    return {"version": 0, "total_steps": 0, "losses": [0.0] * len(arms)}


def take(position: Event, event: Event, is_close: bool) -> Iterator[Event]:
    """Matches first in, first out, and gives what is realised; a trade that is known changes nothing."""
    known = f"{'close' if is_close else 'fill'} {event['event_id']}"
    if known in position["ids"]:
        return
    position["ids"].append(known)
    leg = {"id": event["event_id"], "quantity": event["quantity"], "left": event["quantity"], "price": event["price"]}
    if is_close:
        slippage = 0.0 if event["slippage_in_price"] else event["slippage"]
        position["waiting"].append({**leg, "costs": event["fees"] + slippage})
    else:
        position["decision"] = {name: event[name] for name in ("arm", "propensity", "side", "multiplier")}
        whole = event["order_quantity"] or event["quantity"]
        weight = (1.0 - position["weighed"]) * min(1.0, event["quantity"] / (whole - position["filled"]))
        position["filled"] += event["quantity"]
        position["weighed"] += weight
        position["open"].append({**leg, "costs": event["fees"], "weight": weight})
    rounding = len(position["ids"]) * ROUNDING
    while position["open"] and position["waiting"]:
        yield _segment(position, rounding)


def _segment(position: Event, rounding: float) -> Event:
    fill, close, decision = position["open"][0], position["waiting"][0], position["decision"]
    quantity = min(fill["left"], close["left"])
    for leg, queue in ((fill, position["open"]), (close, position["waiting"])):
        leg["left"] -= quantity
        if leg["left"] <= rounding * leg["quantity"]:
            queue.pop(0)
    sign = 1.0 if decision["side"] == "BUY" else -1.0
    net = sign * (close["price"] - fill["price"]) * quantity * decision["multiplier"]
    net -= fill["costs"] * quantity / fill["quantity"] + close["costs"] * quantity / close["quantity"]
    counted, position["counted"] = not position["counted"], True
    return {
        "fill_event_id": fill["id"],
        "close_event_id": close["id"],
        "quantity": quantity,
        "reward_bps": net / (fill["price"] * quantity * decision["multiplier"]) * 10_000,
        "weight": fill["weight"] * (quantity / fill["quantity"]),
        "counted": counted,
    }


def learn(bandit: Event, position: Event, segment: Event, event: Event, arms: Sequence[str]) -> Event:
    """The bandit learns from the segment; gives the Reward's fields, without its cut."""
    decision = position["decision"]
    arm = arms.index(decision["arm"])
    rate = _rate(bandit, arms)
    propensity = decision["propensity"]
    source = "CURRENT" if propensity is None else "LOGGED"
    if propensity is None:
        propensity = _weights(bandit, arms)[arm]
    clipped = min(max(segment["reward_bps"], -REWARD_BOUND_BPS), REWARD_BOUND_BPS)
    loss = (REWARD_BOUND_BPS - clipped) / (2 * REWARD_BOUND_BPS)
    estimate = (segment["weight"] * (loss - 0.5) + 0.5 * segment["counted"]) / (propensity + rate / 2)
    bandit["losses"][arm] += estimate
    bandit["version"] += 1
    bandit["total_steps"] += segment["counted"]
    taken = {"name": decision["arm"], "share": 1.0, "propensity": propensity, "estimate": estimate}
    return segment | {
        "bandit_id": event["bandit_id"],
        "version": bandit["version"],
        "position_id": event["position_id"],
        "applied": True,
        "total_steps": bandit["total_steps"],
        "arms": [taken],
        "propensity_source": source,
        "eta": rate,
        "ts_event": _micros(event),
    }


def vector(bandit: Event, event: Event, arms: Sequence[str]) -> Event:
    live = bandit["total_steps"] >= WARM_START_STEPS
    weights = zip(arms, _weights(bandit, arms), strict=True)
    return {
        "bandit_id": event["bandit_id"],
        "version": bandit["version"],
        "algorithm": "exp3ix",
        "estimator": "implicit",
        "arms": [{"name": name, "weight": weight, "probability": weight} for name, weight in weights],
        "gamma": 0.0,
        "eta": _rate(bandit, arms),
        "reward_bound_bps": REWARD_BOUND_BPS,
        "total_steps": bandit["total_steps"],
        "phase": "LIVE" if live else "WARMING",
        "blend_alpha": BLEND_ALPHA if live else 0.0,
        "cause_event_id": event["event_id"],
        "ts_event": _micros(event),
    }


def _rate(bandit: Event, arms: Sequence[str]) -> float:
    """The rate of the next decision."""
    return sqrt(log(len(arms)) / (len(arms) * (bandit["total_steps"] + 1)))


def _weights(bandit: Event, arms: Sequence[str]) -> list[float]:
    rate, least = _rate(bandit, arms), min(bandit["losses"])
    relative = [max(exp(-rate * (loss - least)), MIN_WEIGHT) for loss in bandit["losses"]]
    total = sum(relative)
    return [weight / total for weight in relative]


def _micros(event: Event) -> int:
    """fastavro reads a timestamp as a datetime."""
    ts_event: datetime = event["ts_event"]
    return round(ts_event.timestamp() * 1_000_000)


def settings_from(path: Path) -> dict[str, str]:
    """NAME=VALUE lines."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines())
