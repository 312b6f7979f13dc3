"""/metrics while it runs: it parses at every moment, counters never go back, the figures are those of the topics."""

import threading
import time
from collections import Counter
from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families

from armstream.codec import decode
from armstream.events import BanditSnapshot, Close, Fill, PositionSnapshot
from tests.integration.check import Found, check
from tests.integration.load import history
from tests.integration.processor import Job, Process, eventually

RECORDS, RECORDS_A_POISON = 4_000, 100
Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(process: Process) -> tuple[Figures, set[str]]:
    """Every sample by name and labels, and the names of those that only count."""
    figures: Figures = {}
    counting: set[str] = set()
    for family in text_string_to_metric_families(process.metrics()):
        for sample in family.samples:
            at = sample.name, tuple(sorted(sample.labels.items()))
            assert at not in figures, f"twice: {at}"
            figures[at] = sample.value
            if family.type == "counter" or sample.name.endswith(("_bucket", "_count")):
                counting.add(sample.name)
    return figures, counting


def figure(figures: Figures, name: str, **labels: str) -> float:
    return figures[f"armstream_{name}", tuple(sorted(labels.items()))]


def test_the_figures_agree_with_the_topics(job: Job) -> None:
    job.create_topics()
    records = history(11, RECORDS, bandits=15, arms=job.settings.online_learning.arms)
    processor = job.start().wait_until_ready()
    load = threading.Thread(target=send_with_poison, args=(job, records))
    load.start()
    try:
        counters_never_go_back(processor, load)
    finally:
        load.join()
    job.wait_until_applied(processor)
    time.sleep(1.5)  # gauges of standing are as old as a second
    eventually(lambda: not any(lags(scrape(processor)[0])), 10, "no lag")
    figures, _ = scrape(processor)
    assert processor.stop() == 0, processor.text
    again = job.start().wait_until_ready()
    assert of_bandits(scrape(again)[0]) == of_bandits(figures) != {}, "nothing came for them since the start"
    assert again.stop() == 0, again.text

    found = check(job)

    counts_of_records_agree(figures, found, records)
    rewards_agree(figures, found)
    for partition in range(4):
        standing_agrees(figures, found, partition)
    for vector in {vector.bandit_id: vector for vector in found.weight_vectors}.values():
        for arm in vector.arms:
            assert figure(figures, "bandit_weight", bandit_id=vector.bandit_id, arm=arm.name) == arm.weight
    assert any(name == "armstream_build_info" for name, _ in figures)


def of_bandits(figures: Figures) -> Figures:
    """All but the share of the last 500 rewards, which begins anew with the process."""
    return {at: one for at, one in figures.items() if "armstream_bandit_" in at[0] and "clipped" not in at[0]}


def send_with_poison(job: Job, records: Sequence[Fill | Close]) -> None:
    sender = job.sender()
    for start in range(0, RECORDS, RECORDS_A_POISON):
        sender.send(records[start : start + RECORDS_A_POISON])
        sender.produce(job.settings.topics.names.trades[0], b"book-1", b"poison")
        sender.flush()
        time.sleep(0.02)


def counters_never_go_back(processor: Process, load: threading.Thread) -> None:
    before, scrapes = Figures(), 0
    while load.is_alive():
        figures, counting = scrape(processor)
        fell = [at for at, value in before.items() if at[0] in counting and figures.get(at, -1.0) < value]
        assert not fell, f"counters went back: {fell}"
        before, scrapes = figures, scrapes + 1
    assert scrapes >= 3


def lags(figures: Figures) -> list[float]:
    found = [value for (name, _), value in figures.items() if name == "armstream_consumer_lag_records"]
    assert len(found) == 8, "one for each input topic and partition"
    return found


def counts_of_records_agree(figures: Figures, found: Found, records: Sequence[Fill | Close]) -> None:
    names = found.settings.topics.names
    distinct = len({(type(record), record.position_id, record.event_id) for record in records})
    poison_count = RECORDS // RECORDS_A_POISON
    expected = {"applied": distinct, "duplicate": RECORDS - distinct, "dead_letter": poison_count}
    for outcome, count in expected.items():
        assert figure(figures, "records_total", topic=names.trades[0], outcome=outcome) == count > 0
        assert figure(figures, "records_total", topic=names.commands, outcome=outcome) == 0
    assert figure(figures, "dead_letters_total", error_class="DECODE") == poison_count == len(found.dead_letters)
    transactions = figure(figures, "transactions_total", outcome="committed")
    assert 1 <= transactions == figure(figures, "batch_records_count") == figure(figures, "transaction_seconds_count")
    assert figure(figures, "batch_records_sum") == RECORDS + poison_count == len(found.inputs)


def rewards_agree(figures: Figures, found: Found) -> None:
    sources = Counter(reward.propensity_source for reward in found.reward_events)
    assert set(sources) == {"LOGGED", "CURRENT", "NONE"}
    for source, count in sources.items():
        assert figure(figures, "rewards_total", propensity_source=str(source)) == count
    rewards_bps = [reward.reward_bps for reward in found.reward_events]
    bound = found.settings.online_learning.reward_bound_bps
    assert bound != "auto"
    assert figure(figures, "rewards_clipped_total") == sum(abs(reward_bps) > bound for reward_bps in rewards_bps) > 0
    for upper in (-10.0, 0.0, 50.0):
        below = sum(reward_bps <= upper for reward_bps in rewards_bps)
        assert figure(figures, "reward_bps_bucket", le=str(upper)) == below > 0
    assert figure(figures, "reward_bps_bucket", le="+Inf") == len(rewards_bps)
    assert figure(figures, "close_to_commit_seconds_count") == len(rewards_bps)
    assert 0 < figure(figures, "close_to_commit_seconds_sum") < 30 * len(rewards_bps)


def standing_agrees(figures: Figures, found: Found, partition: int) -> None:
    """What one task holds is what its snapshots hold."""
    task = str(partition)
    snapshots = list(map(decode, found.newest.get(partition, {}).values()))
    bandits = [snapshot for snapshot in snapshots if isinstance(snapshot, BanditSnapshot)]
    positions = [snapshot for snapshot in snapshots if isinstance(snapshot, PositionSnapshot)]
    assert figure(figures, "bandits", partition=task) == len(bandits)
    assert figure(figures, "open_positions", partition=task) == sum(position.open_left > 0.0 for position in positions)
    assert figure(figures, "waiting_closes", partition=task) == sum(len(position.waiting) for position in positions)
    assert figure(figures, "restore_remaining_records", partition=task) == 0
    for bandit in bandits:
        assert figure(figures, "bandit_version", bandit_id=bandit.bandit_id) == bandit.version
        assert figure(figures, "bandit_total_steps", bandit_id=bandit.bandit_id) == bandit.total_steps
        for arm in bandit.arms:
            gauge = figure(figures, "bandit_cumulative_reward_bps", bandit_id=bandit.bandit_id, arm=arm.name)
            assert gauge == arm.cumulative_reward_bps
