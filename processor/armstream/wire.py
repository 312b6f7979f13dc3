"""Records of the usual shape, read and written in straight lines: the codec's fast path.

Law of the readers: a reader gives exactly the event that fastavro gives, or raises one of UNUSUAL, which decides
nothing: the slow path reads the record again and finds the words for what is wrong. Usual is: strings of at most 63
bytes, arrays and maps of one block, a ts_event of eight bytes (1979 to 3111).

Law of the writers: for every legal event exactly the bytes that fastavro writes. What cannot be written raises; so does
an IndexError for an id of 8,192 bytes or more, which the slow path writes.

Avro in short: a long is a zigzag varint (n >= 0 becomes 2n; seven bits a byte, low bits first, 128 says that more
follows); a string is its size, a long, and that many bytes of UTF-8; a double is 8 bytes, little-endian; an enum is its
index; an optional value is 0, or 2 and the value; an array or map is a count and its items, again and again, then 0.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from armstream.events import (
    BanditSnapshot,
    Close,
    DecisionSnapshot,
    ExecType,
    Fill,
    Paged,
    Phase,
    PositionClose,
    PositionFill,
    PositionPage,
    PositionSnapshot,
    PropensitySource,
    Reward,
    RewardArm,
    Side,
    Signal,
    Source,
    WaitingClose,
    WeightVector,
)


class Unusual(LookupError):
    """The record is not of the usual shape, which says nothing about whether it is right."""


UNUSUAL: Final = (LookupError, struct.error, UnicodeDecodeError)  # a lookup also fails where a record ends too soon

# --- reading ----------------------------------------------------------------------------------------------------------

_LONG_OR_NEGATIVE: Final = 0b1000_0001  # bits of a size's first byte
_BOOLEANS: Final = {0: False, 1: True}
_SIDES: Final[Mapping[int, Side]] = {0: "UNKNOWN", 2: "BUY", 4: "SELL"}
_SIGNALS: Final[Mapping[int, Signal]] = {0: "UNKNOWN", 2: "BUY", 4: "SELL", 6: "FLAT"}
_EXEC_TYPES: Final[Mapping[int, ExecType]] = {0: "UNKNOWN", 2: "TRADE", 4: "CORRECT", 6: "CANCEL"}

# ts_event stands between doubles, so one struct reads its eight bytes with them, as two, two and four. Tables beat
# shifts, and hold only what is right at its place (not negative; more follows, or ends), so the rest is a KeyError.
_LOW: Final = {a | 128 | (b | 128) << 8: (a | b << 7) >> 1 for a in range(0, 128, 2) for b in range(128)}
_MIDDLE: Final = {a | 128 | (b | 128) << 8: (a | b << 7) << 13 for a in range(128) for b in range(128)}
_HIGHS_LIMIT: Final = 4_096
_highs: dict[int, int] = {}  # these four bytes stay as they are for 134 seconds

_FILL: Final = struct.Struct("<BddHHIddBB")  # side, quantity, price, ts_event, multiplier, fees, exec_type, size
_CLOSE: Final = struct.Struct("<ddHHIddBB")  # quantity, price, ts_event, fees, slippage, slippage_in_price, exec_type
_POSITION: Final = struct.Struct("<HHIBddB")  # ts_last, counted, filled_quantity, filled_weight, side
_POSITION_FILL: Final = struct.Struct("<ddddHHI")  # quantity, price, fees, weight, ts_event
_REWARD_READ: Final = struct.Struct("<dddBB")  # quantity, reward_bps, weight, applied, counted
_WAITING_CLOSE: Final = struct.Struct("<dddddHHI")  # quantity, price, fees, slippage, left, ts_event
_TIME: Final = struct.Struct("<HHI")
_SOURCES: Final[Mapping[bytes, PropensitySource]] = {
    b"\2\0": "UNKNOWN",
    b"\2\2": "LOGGED",
    b"\2\4": "CURRENT",
    b"\2\6": "NONE",
}
_SHIFTS: Final = (0, 7, 14, 21, 28, 35, 42, 49)
_NO_WAITING: Final[tuple[WaitingClose, ...]] = ()
_DOUBLE: Final = struct.Struct("<d")
_FOUR_DOUBLES: Final = struct.Struct("<4d")
_DOUBLES: Final = tuple(struct.Struct(f"<{count}d") for count in range(1_001))  # as many as a decision may list

# Names repeat where ids do not: one str a name saves a decode here, and memory and hashing wherever it goes.
_NAMES_LIMIT: Final = 65_536
_names: dict[bytes, str] = {}


def read_fill(record: bytes) -> Fill:
    """The Fill in `record`, whose header is not looked at. Raises UNUSUAL."""
    event_size = record[10]
    bandit_at = 11 + (event_size >> 1)
    bandit_size = record[bandit_at]
    position_at = bandit_at + 1 + (bandit_size >> 1)
    position_size = record[position_at]
    instrument_at = position_at + 1 + (position_size >> 1)
    instrument_size = record[instrument_at]
    side_at = instrument_at + 1 + (instrument_size >> 1)
    if (event_size | bandit_size | position_size | instrument_size) & _LONG_OR_NEGATIVE:
        raise Unusual
    bandit_id = record[bandit_at + 1 : position_at]
    instrument_id = record[instrument_at + 1 : side_at]
    side, quantity, price, low, middle, high, multiplier, fees, exec_type, currency_size = _FILL.unpack_from(
        record, side_at
    )
    at = side_at + 43
    currency = ""
    if currency_size:
        currency, at = _name_at(record, at - 1)
    if record[at : at + 3] == b"\0\0\0":
        order_quantity = exec_id = exec_ref_id = None
        at += 3
    else:
        order_quantity, at = _optional_double_at(record, at)
        exec_id, at = _optional_text_at(record, at)
        exec_ref_id, at = _optional_text_at(record, at)
    arm, propensity, probabilities, eta, weights_version, contributions, advice, at = _choice_at(record, at)
    notional = None
    signals: dict[str, Signal] = {}
    if record[at:] != b"\0\0":
        notional, at = _optional_double_at(record, at)
        signals, at = _signals_at(record, at)
        if at != len(record):
            raise Unusual
    return Fill(
        record[11:bandit_at].decode(),
        _names.get(bandit_id) or _learn_name(bandit_id),
        record[position_at + 1 : instrument_at].decode(),
        _names.get(instrument_id) or _learn_name(instrument_id),
        _SIDES[side],
        quantity,
        price,
        _LOW[low] + _MIDDLE[middle] + (_highs.get(high) or _learn_high(high)),
        multiplier,
        fees,
        _EXEC_TYPES[exec_type],
        currency,
        order_quantity,
        exec_id,
        exec_ref_id,
        arm,
        propensity,
        probabilities,
        eta,
        weights_version,
        contributions,
        advice,
        notional,
        signals,
    )


def read_close(record: bytes) -> Close:
    """The Close in `record`, whose header is not looked at. Raises UNUSUAL."""
    event_size = record[10]
    bandit_at = 11 + (event_size >> 1)
    bandit_size = record[bandit_at]
    position_at = bandit_at + 1 + (bandit_size >> 1)
    position_size = record[position_at]
    quantity_at = position_at + 1 + (position_size >> 1)
    if (event_size | bandit_size | position_size) & _LONG_OR_NEGATIVE:
        raise Unusual
    bandit_id = record[bandit_at + 1 : position_at]
    quantity, price, low, middle, high, fees, slippage, slippage_in_price, exec_type = _CLOSE.unpack_from(
        record, quantity_at
    )
    at = quantity_at + 42
    if record[at:] == b"\0\0\0":
        exec_id, exec_ref_id, final = None, None, False
    else:
        exec_id, at = _optional_text_at(record, at)
        exec_ref_id, at = _optional_text_at(record, at)
        final = _BOOLEANS[record[at]]
        if at + 1 != len(record):
            raise Unusual
    return Close(
        record[11:bandit_at].decode(),
        _names.get(bandit_id) or _learn_name(bandit_id),
        record[position_at + 1 : quantity_at].decode(),
        quantity,
        price,
        _LOW[low] + _MIDDLE[middle] + (_highs.get(high) or _learn_high(high)),
        fees,
        slippage,
        _BOOLEANS[slippage_in_price],
        _EXEC_TYPES[exec_type],
        exec_id,
        exec_ref_id,
        final,
    )


def read_reward(record: bytes) -> Reward:
    """The Reward in `record`, whose header is not looked at. Raises UNUSUAL."""
    bandit_id, at = _name_at(record, 10)
    version, at = _long_at(record, at)
    position_id, at = _text_at(record, at)
    fill_event_id, at = _text_at(record, at)
    close_event_id, at = _text_at(record, at)
    quantity, reward_bps, weight, applied, counted = _REWARD_READ.unpack_from(record, at)
    total_steps, at = _long_at(record, at + 26)
    count, at = _long_at(record, at)
    arms = []
    for _ in range(count):
        name, at = _name_at(record, at)
        (share,) = _DOUBLE.unpack_from(record, at)
        propensity, at = _optional_double_at(record, at + 8)
        estimate, at = _optional_double_at(record, at)
        arms.append(RewardArm(name, share, propensity, estimate))
    if count:
        if record[at]:
            raise Unusual
        at += 1
    source: PropensitySource | None = None
    if record[at]:
        source = _SOURCES[record[at : at + 2]]
        at += 1
    eta, at = _optional_double_at(record, at + 1)
    low, middle, high = _TIME.unpack_from(record, at)
    detail, at = _text_at(record, at + 8)
    count, at = _long_at(record, at)
    cut = {}
    for _ in range(count):
        name, at = _name_at(record, at)
        cut[name], at = _long_at(record, at)
    if record[at + (count > 0) - 1] or at + (count > 0) != len(record):
        raise Unusual
    return Reward(
        bandit_id,
        version,
        position_id,
        fill_event_id,
        close_event_id,
        quantity,
        reward_bps,
        weight,
        _BOOLEANS[applied],
        _BOOLEANS[counted],
        total_steps,
        tuple(arms),
        source,
        eta,
        _LOW[low] + _MIDDLE[middle] + (_highs.get(high) or _learn_high(high)),
        detail,
        cut,
    )


def read_position_snapshot(record: bytes) -> PositionSnapshot:
    """The PositionSnapshot in `record`, whose header is not looked at. Raises UNUSUAL, also where a close came early
    with headers."""
    bandit_id, at = _name_at(record, 10)
    position_id, at = _text_at(record, at)
    low, middle, high, counted, filled_quantity, filled_weight, side = _POSITION.unpack_from(record, at)
    fills, at = _position_fills_at(record, at + 26)
    closes, at = _position_closes_at(record, at)
    open_from, at = _long_at(record, at)
    (open_left,) = _DOUBLE.unpack_from(record, at)
    some = record[at + 8]
    at += 9
    decision = None
    if some == 2:
        decision, at = _decision_at(record, at)
    elif some:
        raise Unusual
    waiting, paged, final_close_id = _NO_WAITING, None, None
    if record[at : at + 3] == b"\0\0\0":
        at += 3
    else:
        waiting, at = _waiting_at(record, at)
        paged, at = _paged_at(record, at)
        final_close_id, at = _optional_text_at(record, at)
    schema_version, at = _long_at(record, at)
    if at != len(record) or schema_version >= 1 << 31 or open_from >= 1 << 31:
        raise Unusual
    return PositionSnapshot(
        bandit_id,
        position_id,
        _LOW[low] + _MIDDLE[middle] + (_highs.get(high) or _learn_high(high)),
        _BOOLEANS[counted],
        filled_quantity,
        filled_weight,
        _SIDES[side],
        fills,
        closes,
        open_from,
        open_left,
        decision,
        waiting,
        paged,
        final_close_id,
        schema_version,
    )


def _waiting_at(record: bytes, at: int) -> tuple[tuple[WaitingClose, ...], int]:
    count, at = _long_at(record, at)
    if count == 0:
        return _NO_WAITING, at
    waiting = []
    for _ in range(count):
        event_id, at = _text_at(record, at)
        quantity, price, fees, slippage, left, low, middle, high = _WAITING_CLOSE.unpack_from(record, at)
        topic, at = _name_at(record, at + 48)
        partition, at = _long_at(record, at)
        offset, at = _long_at(record, at)
        key, at = _optional_bytes_at(record, at)
        value, at = _optional_bytes_at(record, at)
        (slippage_in_price,) = _DOUBLE.unpack_from(record, at + 1)
        if record[at] or partition >= 1 << 31:  # it has headers, or no partition
            raise Unusual
        at += 9
        source = Source(topic, partition, offset, key, value)
        ts_event = _LOW[low] + _MIDDLE[middle] + (_highs.get(high) or _learn_high(high))
        waiting.append(
            WaitingClose(event_id, quantity, price, fees, slippage, left, ts_event, source, slippage_in_price)
        )
    if record[at]:
        raise Unusual
    return tuple(waiting), at + 1


def _paged_at(record: bytes, at: int) -> tuple[Paged | None, int]:
    some = record[at]
    if some == 0:
        return None, at + 1
    if some != 2:
        raise Unusual
    pages, at = _long_at(record, at + 1)
    fills, at = _long_at(record, at)
    closes, at = _long_at(record, at)
    if max(pages, fills, closes) >= 1 << 31:
        raise Unusual
    return Paged(pages, fills, closes), at


def read_position_page(record: bytes) -> PositionPage:
    """The PositionPage in `record`, whose header is not looked at. Raises UNUSUAL."""
    bandit_id, at = _name_at(record, 10)
    position_id, at = _text_at(record, at)
    number, at = _long_at(record, at)
    fills, at = _position_fills_at(record, at)
    closes, at = _position_closes_at(record, at)
    schema_version, at = _long_at(record, at)
    if at != len(record) or max(number, schema_version) >= 1 << 31:
        raise Unusual
    return PositionPage(bandit_id, position_id, number, fills, closes, schema_version)


def _decision_at(record: bytes, at: int) -> tuple[DecisionSnapshot, int]:
    instrument_id, at = _name_at(record, at)
    (multiplier,) = _DOUBLE.unpack_from(record, at)
    currency, at = _name_at(record, at + 8)
    order_quantity, at = _optional_double_at(record, at)
    choice = _choice_at(record, at)
    signals, at = _signals_at(record, choice[7])
    terms, at = _doubles_by_name_at(record, at)
    return DecisionSnapshot(instrument_id, multiplier, currency, order_quantity, *choice[:7], signals, terms), at


def _position_fills_at(record: bytes, at: int) -> tuple[tuple[PositionFill, ...], int]:
    count, at = _long_at(record, at)
    if count == 0:
        return (), at
    fills = []
    for _ in range(count):
        event_id, at = _text_at(record, at)
        quantity, price, fees, weight, low, middle, high = _POSITION_FILL.unpack_from(record, at)
        at += 40
        exec_id = notional = None
        if record[at : at + 2] == b"\0\0":
            at += 2
        else:
            exec_id, at = _optional_text_at(record, at)
            notional, at = _optional_double_at(record, at)
        ts_event = _LOW[low] + _MIDDLE[middle] + (_highs.get(high) or _learn_high(high))
        fills.append(PositionFill(event_id, quantity, price, fees, weight, ts_event, exec_id, notional))
    if record[at]:
        raise Unusual
    return tuple(fills), at + 1


def _position_closes_at(record: bytes, at: int) -> tuple[tuple[PositionClose, ...], int]:
    count, at = _long_at(record, at)
    if count == 0:
        return (), at
    closes = []
    for _ in range(count):
        event_id, at = _text_at(record, at)
        quantity, price, fees, slippage = _FOUR_DOUBLES.unpack_from(record, at)
        exec_id, at = _optional_text_at(record, at + 32)
        closes.append(PositionClose(event_id, quantity, price, fees, slippage, exec_id))
    if record[at]:
        raise Unusual
    return tuple(closes), at + 1


def _choice_at(  # noqa: PLR0912, PLR0915 - straight lines cost less than calls
    record: bytes, at: int
) -> tuple[
    str | None, float | None, tuple[float, ...], float | None, int | None, dict[str, float], dict[str, float], int
]:
    """arm, propensity, probabilities, eta, weights_version, contributions, advice, and where they end."""
    arm = propensity = eta = weights_version = None
    probabilities: tuple[float, ...] = ()
    some = record[at]
    at += 1
    if some == 2:
        size = record[at]
        end = at + 1 + (size >> 1)
        if size & _LONG_OR_NEGATIVE:
            raise Unusual
        name = record[at + 1 : end]
        arm = _names.get(name)
        if arm is None:
            arm = _learn_name(name)
        at = end
    elif some:
        raise Unusual
    some = record[at]
    at += 1
    if some == 2:
        (propensity,) = _DOUBLE.unpack_from(record, at)
        at += 8
    elif some:
        raise Unusual
    count = record[at]
    at += 1
    if count:
        if count & _LONG_OR_NEGATIVE:
            count, at = _many_at(record, at - 1)
        else:
            count >>= 1
        probabilities = _DOUBLES[count].unpack_from(record, at)
        at += 8 * count
        if record[at]:
            raise Unusual
        at += 1
    some = record[at]
    at += 1
    if some == 2:
        (eta,) = _DOUBLE.unpack_from(record, at)
        at += 8
    elif some:
        raise Unusual
    some = record[at]
    at += 1
    if some == 2:
        weights_version, at = _long_at(record, at)
    elif some:
        raise Unusual
    if record[at : at + 2] == b"\0\0":
        return arm, propensity, probabilities, eta, weights_version, {}, {}, at + 2
    contributions, at = _doubles_by_name_at(record, at)
    advice, at = _doubles_by_name_at(record, at)
    return arm, propensity, probabilities, eta, weights_version, contributions, advice, at


def _optional_double_at(record: bytes, at: int) -> tuple[float | None, int]:
    some = record[at]
    if some == 0:
        return None, at + 1
    if some != 2:
        raise Unusual
    return _DOUBLE.unpack_from(record, at + 1)[0], at + 9


def _optional_text_at(record: bytes, at: int) -> tuple[str | None, int]:
    some = record[at]
    if some == 0:
        return None, at + 1
    if some != 2:
        raise Unusual
    return _text_at(record, at + 1)


def _optional_bytes_at(record: bytes, at: int) -> tuple[bytes | None, int]:
    some = record[at]
    if some == 0:
        return None, at + 1
    if some != 2:
        raise Unusual
    size, at = _long_at(record, at + 1)
    end = at + size
    return record[at:end], end


def _text_at(record: bytes, at: int) -> tuple[str, int]:
    size = record[at]
    if size & _LONG_OR_NEGATIVE:
        raise Unusual
    end = at + 1 + (size >> 1)
    return record[at + 1 : end].decode(), end


def _texts_at(record: bytes, at: int) -> tuple[tuple[str, ...], int]:
    count = record[at]
    at += 1
    if count == 0:
        return (), at
    if count & _LONG_OR_NEGATIVE:
        raise Unusual
    texts = []
    for _ in range(count >> 1):
        text, at = _text_at(record, at)
        texts.append(text)
    if record[at]:
        raise Unusual
    return tuple(texts), at + 1


def _name_at(record: bytes, at: int) -> tuple[str, int]:
    size = record[at]
    if size & _LONG_OR_NEGATIVE:
        raise Unusual
    end = at + 1 + (size >> 1)
    name = record[at + 1 : end]
    return _names.get(name) or _learn_name(name), end


def _long_at(record: bytes, at: int) -> tuple[int, int]:
    zigzag = 0
    for shift in _SHIFTS:
        byte = record[at]
        at += 1
        if byte < 128:
            zigzag += byte << shift
            if zigzag & 1:
                raise Unusual
            return zigzag >> 1, at
        zigzag += byte - 128 << shift
    raise Unusual


def _many_at(record: bytes, at: int) -> tuple[int, int]:
    """A count that takes more than a byte."""
    count, at = _long_at(record, at)
    if count < 64:
        raise Unusual
    return count, at


def _doubles_by_name_at(record: bytes, at: int) -> tuple[dict[str, float], int]:
    doubles: dict[str, float] = {}
    count = record[at]
    at += 1
    if count == 0:
        return doubles, at
    if count & _LONG_OR_NEGATIVE:
        count, at = _many_at(record, at - 1)
    else:
        count >>= 1
    for _ in range(count):
        name, at = _name_at(record, at)
        (doubles[name],) = _DOUBLE.unpack_from(record, at)
        at += 8
    if record[at]:
        raise Unusual
    return doubles, at + 1


def _signals_at(record: bytes, at: int) -> tuple[dict[str, Signal], int]:
    signals: dict[str, Signal] = {}
    count = record[at]
    at += 1
    if count == 0:
        return signals, at
    if count & _LONG_OR_NEGATIVE:
        count, at = _many_at(record, at - 1)
    else:
        count >>= 1
    for _ in range(count):
        size = record[at]
        end = at + 1 + (size >> 1)
        if size & _LONG_OR_NEGATIVE:
            raise Unusual
        name = record[at + 1 : end]
        signals[_names.get(name) or _learn_name(name)] = _SIGNALS[record[end]]
        at = end + 1
    if record[at]:
        raise Unusual
    return signals, at + 1


def _learn_name(name: bytes) -> str:
    if len(_names) >= _NAMES_LIMIT:
        _names.clear()
    return _names.setdefault(name, name.decode())


def _learn_high(high: int) -> int:
    """The upper 28 bits of a timestamp from its last four bytes."""
    if high & 0x80808080 != 0x00808080:
        raise Unusual
    if len(_highs) >= _HIGHS_LIMIT:
        _highs.clear()
    return _highs.setdefault(
        high, (high & 127 | high >> 1 & 127 << 7 | high >> 2 & 127 << 14 | high >> 3 & 127 << 21) << 27
    )


# --- writing ----------------------------------------------------------------------------------------------------------

_MORE: Final = tuple(bytes((bits & 127 | 128, bits >> 7 | 128)) for bits in range(1 << 14))
_LAST: Final = tuple(bytes((bits,) if bits < 128 else (bits & 127 | 128, bits >> 7)) for bits in range(1 << 14))
_SIZES: Final = _LAST[::2]  # of texts below 8,192 bytes

_PROPENSITY_SOURCES: Final[Mapping[PropensitySource | None, bytes]] = {
    None: b"\0",
    "UNKNOWN": b"\2\0",
    "LOGGED": b"\2\2",
    "CURRENT": b"\2\4",
    "NONE": b"\2\6",
}
_PHASES: Final[Mapping[Phase, bytes]] = {"UNKNOWN": b"\0", "WARMING": b"\2", "LIVE": b"\4"}
_SIGNAL_INDEXES: Final[Mapping[Signal, bytes]] = {signal: bytes([index]) for index, signal in _SIGNALS.items()}
_SIDE_INDEXES: Final[Mapping[Side, int]] = {side: index for index, side in _SIDES.items()}

_REWARD: Final = struct.Struct("<ddd??")  # quantity, reward_bps, weight, applied, counted
_REWARD_ARM: Final = struct.Struct("<dBdBd")  # share, some propensity, some estimate
_ARM_WEIGHT: Final = struct.Struct("<dd")  # weight, probability
_RATES: Final = struct.Struct("<ddd")  # gamma, eta, reward_bound_bps
_ARM_STATES: Final = tuple(
    struct.Struct(f"<BdB{size}sd") for size in range(11)
)  # one number, pulls, cumulative_reward_bps
_FILLED: Final = struct.Struct("<?ddB")  # counted, filled_quantity, filled_weight, side
_FIVE_DOUBLES: Final = struct.Struct("<5d")
_SOME_DOUBLE: Final = struct.Struct("<Bd")

_names_written: dict[str, bytes] = {}
_highs_written: dict[int, bytes] = {}


def write_reward(header: bytes, reward: Reward, cut: bytes) -> bytes:
    """`reward`, with the Avro bytes `cut` in place of its own cut. Written once a segment, so calls are spared."""
    names, sizes = _names_written, _SIZES
    position_id, detail = reward.position_id.encode(), reward.detail
    fill_event_id, close_event_id = reward.fill_event_id.encode(), reward.close_event_id.encode()
    pieces = [
        header,
        names.get(reward.bandit_id) or _name(reward.bandit_id),
        _long(reward.version),
        sizes[len(position_id)],
        position_id,
        sizes[len(fill_event_id)],
        fill_event_id,
        sizes[len(close_event_id)],
        close_event_id,
        _REWARD.pack(reward.quantity, reward.reward_bps, reward.weight, reward.applied, reward.counted),
        _long(reward.total_steps),
    ]
    arms, eta = reward.arms, reward.eta
    if arms:
        pieces.append(sizes[len(arms)])
        for arm in arms:
            pieces.append(names.get(arm.name) or _name(arm.name))
            if arm.propensity is None or arm.estimate is None:
                pieces += (_DOUBLE.pack(arm.share), _optional_double(arm.propensity), _optional_double(arm.estimate))
            else:
                pieces.append(_REWARD_ARM.pack(arm.share, 2, arm.propensity, 2, arm.estimate))
    pieces += (
        b"\0",
        _PROPENSITY_SOURCES[reward.propensity_source],
        b"\0" if eta is None else _SOME_DOUBLE.pack(2, eta),
        _time(reward.ts_event),
        _text(detail) if detail else b"\0",
        cut,
    )
    return b"".join(pieces)


def write_weight_vector(header: bytes, vector: WeightVector) -> bytes:
    arms = vector.arms
    pieces = [header, _name(vector.bandit_id), _long(vector.version), _name(vector.algorithm), _name(vector.estimator)]
    if arms:
        pieces.append(_long(len(arms)))
        for arm in arms:
            pieces += (_name(arm.name), _ARM_WEIGHT.pack(arm.weight, arm.probability))
    pieces += (
        b"\0",
        _RATES.pack(vector.gamma, vector.eta, vector.reward_bound_bps),
        _long(vector.total_steps),
        _PHASES[vector.phase],
        _DOUBLE.pack(vector.blend_alpha),
        _text(vector.cause_event_id),
        _time(vector.ts_event),
        _items([_name(e.name) + _DOUBLE.pack(e.weight) + _doubles(e.distribution) for e in vector.experts]),
    )
    return b"".join(pieces)


def write_bandit_snapshot(header: bytes, snapshot: BanditSnapshot) -> bytes:
    arms = snapshot.arms
    pieces = [header, _name(snapshot.bandit_id), _long(snapshot.version), _long(snapshot.total_steps)]
    if arms:
        pieces.append(_long(len(arms)))
        for arm in arms:
            pulls = _long(arm.pulls)
            if len(arm.state) == 1:  # nearly every rule's
                numbers = _ARM_STATES[len(pulls)].pack(2, arm.state[0], 0, pulls, arm.cumulative_reward_bps)
                pieces += (_name(arm.name), numbers, _long(arm.added_version))
            else:
                earned = _DOUBLE.pack(arm.cumulative_reward_bps)
                pieces += (_name(arm.name), _doubles(arm.state), pulls, earned, _long(arm.added_version))
    pieces += (
        b"\0",
        _name(snapshot.algorithm),
        _name(snapshot.estimator),
        _text(snapshot.settings),
        b"\0" if snapshot.fill_watermark is None else b"\2" + _time(snapshot.fill_watermark),
        b"\0" if snapshot.close_watermark is None else b"\2" + _time(snapshot.close_watermark),
        b"\1" if snapshot.paused else b"\0",
        _text(snapshot.cause_event_id),
        _time(snapshot.ts_event),
        _texts(snapshot.command_ids),
        _items([_text(e.name) + _DOUBLE.pack(e.state) + _doubles(e.learned) for e in snapshot.experts]),
        _long(snapshot.choices_version),
        _optional_double(snapshot.reward_bound_bps),
        _doubles(snapshot.warm_up_rewards_bps),
        _doubles(snapshot.state),
        b"\0" if snapshot.forgotten_until is None else b"\2" + _time(snapshot.forgotten_until),
        _long(snapshot.schema_version),
    )
    return b"".join(pieces)


def write_position_snapshot(header: bytes, snapshot: PositionSnapshot) -> bytes:
    position_id = snapshot.position_id.encode()
    pieces = [
        header,
        _names_written.get(snapshot.bandit_id) or _name(snapshot.bandit_id),
        _SIZES[len(position_id)],
        position_id,
        _time(snapshot.ts_last),
        _FILLED.pack(snapshot.counted, snapshot.filled_quantity, snapshot.filled_weight, _SIDE_INDEXES[snapshot.side]),
        *_position_events(snapshot.fills, snapshot.closes),
        _long(snapshot.open_from),
        _DOUBLE.pack(snapshot.open_left),
    ]
    decision = snapshot.decision
    if decision is None:
        pieces.append(b"\0")
    else:
        arm = decision.arm
        version = decision.weights_version
        pieces += (
            b"\2",
            _name(decision.instrument_id),
            _DOUBLE.pack(decision.multiplier),
            _name(decision.currency),
            _optional_double(decision.order_quantity),
            b"\0" if arm is None else b"\2" + _name(arm),
            _optional_double(decision.propensity),
            _doubles(decision.probabilities),
            _optional_double(decision.eta),
            b"\0" if version is None else b"\2" + _long(version),
            _doubles_by_name(decision.contributions),
            _doubles_by_name(decision.advice),
            _signals(decision.signals),
            _doubles_by_name(decision.terms),
        )
    paged, final = snapshot.paged, snapshot.final_close_id
    pieces += (
        _items([_waiting_close(close) for close in snapshot.waiting]) if snapshot.waiting else b"\0",
        b"\0" if paged is None else b"\2" + _long(paged.pages) + _long(paged.fills) + _long(paged.closes),
        b"\0" if final is None else b"\2" + _text(final),
        _long(snapshot.schema_version),
    )
    return b"".join(pieces)


def write_position_page(header: bytes, page: PositionPage) -> bytes:
    return b"".join(
        (
            header,
            _name(page.bandit_id),
            _text(page.position_id),
            _long(page.number),
            *_position_events(page.fills, page.closes),
            _long(page.schema_version),
        )
    )


def write_cut(next_offset: Mapping[str, int]) -> bytes:
    """The Avro bytes of a cut, without header: next offsets by topic, in the mapping's order."""
    if not next_offset:
        return b"\0"
    pieces = [_SIZES[len(next_offset)]]
    for topic, offset in next_offset.items():
        pieces += (_names_written.get(topic) or _name(topic), _long(offset))
    pieces.append(b"\0")
    return b"".join(pieces)


def _position_events(fills: Sequence[PositionFill], closes: Sequence[PositionClose]) -> tuple[bytes, bytes]:
    return (
        _items([_position_fill(fill) for fill in fills]) if fills else b"\0",
        _items([_position_close(close) for close in closes]) if closes else b"\0",
    )


def _position_fill(fill: PositionFill) -> bytes:
    exec_id = fill.exec_id
    return b"".join(
        (
            _text(fill.event_id),
            _FOUR_DOUBLES.pack(fill.quantity, fill.price, fill.fees, fill.weight),
            _time(fill.ts_event),
            b"\0" if exec_id is None else b"\2" + _text(exec_id),
            _optional_double(fill.notional),
        )
    )


def _position_close(close: PositionClose) -> bytes:
    exec_id = close.exec_id
    return b"".join(
        (
            _text(close.event_id),
            _FOUR_DOUBLES.pack(close.quantity, close.price, close.fees, close.slippage),
            b"\0" if exec_id is None else b"\2" + _text(exec_id),
        )
    )


def _waiting_close(close: WaitingClose) -> bytes:
    source = close.source
    return b"".join(
        (
            _text(close.event_id),
            _FIVE_DOUBLES.pack(close.quantity, close.price, close.fees, close.slippage, close.left),
            _time(close.ts_event),
            _text(source.topic),
            _long(source.partition),
            _long(source.offset),
            _optional_bytes(source.key),
            _optional_bytes(source.value),
            _items([_text(header.name) + _optional_bytes(header.value) for header in source.headers]),
            _DOUBLE.pack(close.slippage_in_price),
        )
    )


def _long(value: int) -> bytes:
    zigzag = value << 1 ^ value >> 63
    if zigzag < 16_384:
        return _LAST[zigzag]
    if not -1 << 63 <= value < 1 << 63:
        raise ValueError(f"{value} does not fit a long")
    written = b""
    while zigzag >= 16_384:
        written += _MORE[zigzag & 16_383]
        zigzag >>= 14
    return written + _LAST[zigzag]


def _time(value: int) -> bytes:
    """As _long, in half the time where the upper bits are those of an earlier call."""
    high = _highs_written.get(value >> 27)
    if high is None:
        return _learn_time(value)
    return _MORE[value << 1 & 16_383] + _MORE[value >> 13 & 16_383] + high


def _learn_time(value: int) -> bytes:
    written = _long(value)
    if value >= 1 << 27:
        if len(_highs_written) >= _HIGHS_LIMIT:
            _highs_written.clear()
        _highs_written[value >> 27] = written[4:]
    return written


def _text(value: str) -> bytes:
    encoded = value.encode()
    size = len(encoded)
    return _SIZES[size] + encoded if size < 8_192 else _long(size) + encoded


def _name(value: str) -> bytes:
    """As _text, for what repeats."""
    written = _names_written.get(value)
    if written is None:
        written = _text(value)
        if len(written) <= 64:
            if len(_names_written) >= _NAMES_LIMIT:
                _names_written.clear()
            _names_written[value] = written
    return written


def _texts(values: Sequence[str]) -> bytes:
    if len(values) == 1:
        encoded = values[0].encode()
        return b"\2%b%b\0" % (_SIZES[len(encoded)], encoded)
    return _items([_text(value) for value in values])


def _items(items: Sequence[bytes]) -> bytes:
    if not items:
        return b"\0"
    return _long(len(items)) + b"".join(items) + b"\0"


def _doubles(values: Sequence[float]) -> bytes:
    if not values:
        return b"\0"
    return _long(len(values)) + struct.pack(f"<{len(values)}d", *values) + b"\0"


def _doubles_by_name(values: Mapping[str, float]) -> bytes:
    if not values:
        return b"\0"
    return _items([_name(name) + _DOUBLE.pack(value) for name, value in values.items()])


def _signals(values: Mapping[str, Signal]) -> bytes:
    if not values:
        return b"\0"
    return _items([_name(name) + _SIGNAL_INDEXES[signal] for name, signal in values.items()])


def _optional_double(value: float | None) -> bytes:
    return b"\0" if value is None else _SOME_DOUBLE.pack(2, value)


def _optional_bytes(value: bytes | None) -> bytes:
    return b"\0" if value is None else b"\2" + _long(len(value)) + value
