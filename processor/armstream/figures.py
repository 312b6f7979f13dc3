"""What a processor's /metrics says, in figures. Law: what is missing counts as 0."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Buckets = Mapping[float, float]  # a histogram: upper bound -> how many were at most that


@dataclass(frozen=True, slots=True)
class Figures:
    """One scrape of /metrics, summed over partitions and labels; the windows are the least of all, None where none is.

    `is_there` is whether it is a processor's. `version` is that of its program, "" where it does not say.
    """

    is_there: bool = False
    version: str = ""
    events: int = 0
    duplicates: int = 0
    rewards: int = 0
    dead_letters: int = 0
    lag_records: int = 0
    restore_remaining_records: int = 0
    commits: int = 0
    failed_transactions: int = 0
    started_unix: float | None = None
    dedupe_window_seconds: float | None = None
    dedupe_window_setting_seconds: float | None = None
    commit_seconds: Buckets = field(default_factory=dict)
    close_to_commit_seconds: Buckets = field(default_factory=dict)


def parse_figures(metrics_text: str) -> Figures:
    """Figures from the text of /metrics; what is missing counts as 0. Raises ValueError where it is no metrics text."""
    sums: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {}
    least: dict[str, float] = {}
    by_outcome: dict[tuple[str, str], float] = {}
    version = ""
    for family in text_string_to_metric_families(metrics_text):
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                counts = buckets.setdefault(sample.name, {})
                bound = float(sample.labels["le"])
                counts[bound] = counts.get(bound, 0.0) + sample.value
            else:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
                least[sample.name] = min(least.get(sample.name, math.inf), sample.value)
                outcome = sample.name, sample.labels.get("outcome", "")
                by_outcome[outcome] = by_outcome.get(outcome, 0.0) + sample.value
                if sample.name == "armstream_build_info":
                    version = sample.labels.get("version", "")

    def total(name: str) -> int:
        return int(sums.get(f"armstream_{name}", 0))

    transactions = "armstream_transactions_total"
    commits = int(by_outcome.get((transactions, "committed"), 0))
    return Figures(
        is_there=transactions in sums,
        version=version,
        events=total("records_total"),
        duplicates=int(by_outcome.get(("armstream_records_total", "duplicate"), 0)),
        rewards=total("rewards_total"),
        dead_letters=total("dead_letters_total"),
        lag_records=total("consumer_lag_records"),
        restore_remaining_records=total("restore_remaining_records"),
        commits=commits,
        failed_transactions=int(sums.get(transactions, 0)) - commits,
        started_unix=sums.get("process_start_time_seconds"),
        dedupe_window_seconds=least.get("armstream_dedupe_window_seconds"),
        dedupe_window_setting_seconds=least.get("armstream_dedupe_window_setting_seconds"),
        commit_seconds=buckets.get("armstream_transaction_seconds_bucket", {}),
        close_to_commit_seconds=buckets.get("armstream_close_to_commit_seconds_bucket", {}),
    )


def quantile(buckets: Buckets, share: float) -> float | None:
    """Where `share` of what the histogram counted lies, linear within a bucket as Prometheus' histogram_quantile.

    None where it counted nothing; the highest finite bound where it lies above that.
    """
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]] > 0:
        return None
    rank = share * buckets[bounds[-1]]
    lower_bound = lower_count = 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank and count > lower_count:
            if math.isinf(bound):
                break
            return lower_bound + (bound - lower_bound) * (rank - lower_count) / (count - lower_count)
        lower_bound, lower_count = bound, count
    return lower_bound
