"""Microseconds a record: the codec beside fastavro, interleaved in one run. `python -m tests.codec_bench`."""

import io
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import fastavro
import msgspec

from armstream import codec
from armstream.events import (
    ArmState,
    ArmWeight,
    BanditSnapshot,
    Close,
    DecisionSnapshot,
    Fill,
    PositionClose,
    PositionFill,
    PositionSnapshot,
    Reward,
    RewardArm,
    WeightVector,
)

Work = Callable[[], object]
ROUNDS = 15
RECORDS = 2_000
NOW = 1_763_778_000_123_456
ARMS = ("momentum", "reversion", "breakout", "hold", "carry")

FILL = Fill(
    "fill-000001", "equities-us", "pos-0000001", "AAPL", "BUY", 100.0, 150.25, NOW, 1.0, 0.5,
    arm="momentum", propensity=0.21, weights_version=4_321,
)  # fmt: skip
WIDE_FILL = msgspec.structs.replace(FILL, currency="USD", exec_id="x-000000001", probabilities=(0.2,) * 5, eta=0.01)
CLOSE = Close("close-00001", "equities-us", "pos-0000001", 100.0, 151.5, NOW, 0.5, 0.1)
REWARD = Reward(
    "equities-us", 4_321, "pos-0000001", "fill-000001", "close-00001", 100.0, 23.5, 1.0, True, True, 4_321,
    (RewardArm("momentum", 1.0, 0.21, 0.87),), "LOGGED", 0.01, NOW, "", {"trades": 123_456},
)  # fmt: skip
VECTOR = WeightVector(
    "equities-us", 4_321, "exp3ix", "implicit", tuple(ArmWeight(name, 0.2, 0.2) for name in ARMS), 0.005, 0.01, 150.0,
    4_321, "LIVE", 0.5, "close-00001", NOW,
)  # fmt: skip
BANDIT = BanditSnapshot(
    "equities-us", 4_321, 4_321, tuple(ArmState(name, (-3.25,), 866, 123.5) for name in ARMS), "exp3ix", "implicit",
    "0123456789abcdef", NOW, NOW, False, "close-00001", NOW,
)  # fmt: skip
DECISION = DecisionSnapshot("AAPL", 1.0, "", None, "momentum", 0.21, (), None, 4_321, {}, {})
POSITION = PositionSnapshot(
    "equities-us", "pos-0000001", NOW, True, 100.0, 1.0, "BUY",
    (PositionFill("fill-000001", 100.0, 150.25, 0.5, 1.0, NOW),),
    (PositionClose("close-00001", 100.0, 151.5, 0.5, 0.1),), 1, 0.0, DECISION,
)  # fmt: skip


def fastavro_read(record: bytes) -> Work:
    """What one would write first: the values as a dict, which is not an event yet."""
    schema = codec.WRITERS[record[:10]].schema
    return lambda: fastavro.schemaless_reader(io.BytesIO(record[10:]), schema, None)


def fastavro_write(event: codec.Event) -> Work:
    schema: Any = codec.WRITERS[codec.HEADERS[type(event)]].schema
    values: Any = msgspec.to_builtins(event, builtin_types=(bytes,))
    return lambda: fastavro.schemaless_writer(io.BytesIO(), schema, values)


def microseconds(work: Work, times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - started) / times * 1e6


def main() -> None:
    cut = codec.encode_cut(REWARD.cut)
    fills, wide_fills, closes = ([codec.encode(event)] * RECORDS for event in (FILL, WIDE_FILL, CLOSE))
    rows: list[tuple[str, Work, int, Work]] = [
        ("read Fill", lambda: codec.decode_inputs(fills), RECORDS, fastavro_read(fills[0])),
        ("read Fill, all of it", lambda: codec.decode_inputs(wide_fills), RECORDS, fastavro_read(wide_fills[0])),
        ("read Close", lambda: codec.decode_inputs(closes), RECORDS, fastavro_read(closes[0])),
        ("write Reward", lambda: codec.encode_reward(REWARD, cut), 1, fastavro_write(REWARD)),
    ]
    for event in (VECTOR, BANDIT, POSITION):
        name, record = type(event).__name__, codec.encode(event)
        rows.append((f"write {name}", partial(codec.encode, event), 1, fastavro_write(event)))
        rows.append((f"read {name}", partial(codec.decode, record), 1, fastavro_read(record)))
    lines = [f"{'us a record, median (least to most)':36}{'codec':26}fastavro"]
    for name, ours, our_records, theirs in rows:
        our_times, their_times = [], []
        for _ in range(ROUNDS):
            our_times.append(microseconds(ours, RECORDS // our_records) / our_records)
            their_times.append(microseconds(theirs, RECORDS))
        line = f"{name:36}"
        for times in (our_times, their_times):
            line += f"{f'{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})':26}"
        lines.append(line.rstrip())
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
