"""What is shown, as lines of CSV. Law: a spreadsheet shows each name and runs none of them; times are UTC.

A text that a spreadsheet would take for a formula gets a ' before it.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Final

from armstream.watch.views import BanditView, Operate, Row

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")  # those of full width too

Cell = str | float | int | None
BANDIT_TABLES: Final = ("weights", "rewards", "arms")


def lines(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(list(map(_cell, header)))
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def desk(rows: Iterable[Row]) -> bytes:
    header = (
        *("bandit_id", "rule", "estimator", "phase", "paused", "effective_models", "steps", "bound_bps"),
        *("clipped_share", "day_trades", "day_bps", "ever_trades", "ever_bps"),
        *("above_uniform_bps", "above_uniform_low_bps", "above_uniform_high_bps"),
        *("above_base_bps", "above_base_low_bps", "above_base_high_bps"),
        *("version", "time_utc", "last_change", "arm", "weight", "probability"),
    )
    return lines(header, _desk_lines(rows))


def _desk_lines(rows: Iterable[Row]) -> Iterator[list[Cell]]:
    """One for each arm: what is the bandit's stands on each."""
    for row in rows:
        gains: list[Cell] = []
        for gain in (row.above_uniform, row.above_base):
            gains += [None] * 3 if gain is None else [gain.cumulative_bps, gain.low_bps, gain.high_bps]
        of_bandit: list[Cell] = [
            *(row.bandit_id, row.rule, row.estimator, row.phase, str(row.paused).lower(), row.effective_models),
            *(row.steps, row.bound_bps, row.clipped_share, row.day.count, row.day.sum_bps),
            *(row.ever.count, row.ever.sum_bps, *gains, row.version, time_of(row.ts)),
            None if row.last_change is None else row.last_change.text,
        ]
        for at, arm in enumerate(row.arms):
            yield [*of_bandit, arm, row.weights[at], row.probabilities[at]]
        if not row.arms:
            yield [*of_bandit, None, None, None]


def bandit(view: BanditView, table: str) -> bytes:
    """`table` is one of BANDIT_TABLES."""
    if table == "weights":
        weights = view.weights
        series = zip(*weights.series, strict=True) if weights.series else ()
        rows = zip(weights.ts, weights.version, series, strict=True)
        return lines(
            ("time_utc", "version", *weights.arms), ([time_of(ts), version, *row] for ts, version, row in rows)
        )
    if table == "arms":
        header = ("arm", "weight", "probability", "pulls", "mean_bps", "error_bps", "effective_sample")
        return lines(
            header,
            (
                (a.name, a.weight, a.probability, a.pulls, a.mean_bps, a.error_bps, a.effective_sample)
                for a in view.arms
            ),
        )
    return lines(
        (
            *("time_utc", "version", "position_id", "fill_event_id", "close_event_id", "quantity", "reward_bps"),
            *("weight", "applied", "counted", "detail", "propensity_source", "eta", "arm", "share", "propensity"),
            "estimate",
        ),
        _reward_lines(view),
    )


def _reward_lines(view: BanditView) -> Iterator[list[Cell]]:
    for one in view.rewards:
        for arm in one.arms:
            yield [
                *(time_of(one.ts), one.version, one.position_id, one.fill_event_id, one.close_event_id, one.quantity),
                *(one.reward_bps, one.weight, str(one.applied).lower(), str(one.counted).lower(), one.detail),
                *(one.propensity_source, one.eta, arm.name, arm.share, arm.propensity, arm.estimate),
            ]


def operate(view: Operate) -> bytes:
    header = ("topic", "partition", "lag_records", "lag_seconds", "committed", "end", "owner", "host")
    return lines(
        header,
        (
            (
                *(one.topic, one.partition, one.lag_records, one.lag_seconds, one.committed, one.end),
                *((None, None) if one.owner is None else (one.owner.client_id, one.owner.host)),
            )
            for one in view.partitions
        ),
    )


def time_of(ts: int | None) -> str | None:
    """ISO 8601 in UTC."""
    if ts is None:
        return None
    return datetime.fromtimestamp(ts / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
