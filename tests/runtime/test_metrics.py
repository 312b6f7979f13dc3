"""Metrics, read as a scraper reads them."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Histogram as PrometheusHistogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from armstream.events import (
    Action,
    ArmState,
    ArmWeight,
    BanditSnapshot,
    CommandApplied,
    DeadLetter,
    ExpertWeight,
    Outcome,
    Reward,
    Source,
    WeightVector,
)
from armstream.figures import parse_figures
from armstream.learning import LearningSettings
from armstream.runtime.intake import Record
from armstream.runtime.metrics import REWARD_BPS, SECONDS, Histogram, Metrics
from armstream.settings import Settings
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.pipeline import APPLIED, DEAD_LETTER, DUPLICATE, Applied
from armstream.stages.state import TaskState
from tests.stages.events import START, close, fill, learning_rules
from tests.stages.task import Task

# The contract: names, types and labels.
TABLE = {
    "armstream_records": ("counter", {"topic", "outcome"}),
    "armstream_rewards": ("counter", {"propensity_source"}),
    "armstream_dead_letters": ("counter", {"error_class"}),
    "armstream_rewards_clipped": ("counter", set()),
    "armstream_commands": ("counter", {"action", "outcome"}),
    "armstream_reward_bps": ("histogram", {"le"}),
    "armstream_transactions": ("counter", {"outcome"}),
    "armstream_transaction_seconds": ("histogram", {"le"}),
    "armstream_apply_seconds": ("histogram", {"le"}),
    "armstream_batch_records": ("histogram", {"le"}),
    "armstream_close_to_commit_seconds": ("histogram", {"le"}),
    "armstream_consumer_lag_records": ("gauge", {"topic", "partition"}),
    "armstream_restore_remaining_records": ("gauge", {"partition"}),
    "armstream_bandits": ("gauge", {"partition"}),
    "armstream_open_positions": ("gauge", {"partition"}),
    "armstream_waiting_closes": ("gauge", {"partition"}),
    "armstream_dedupe_window_seconds": ("gauge", {"partition"}),
    "armstream_dedupe_window_setting_seconds": ("gauge", set()),
    "armstream_bandit_weight": ("gauge", {"bandit_id", "arm"}),
    "armstream_bandit_expert_weight": ("gauge", {"bandit_id", "expert"}),
    "armstream_bandit_cumulative_reward_bps": ("gauge", {"bandit_id", "arm"}),
    "armstream_bandit_version": ("gauge", {"bandit_id"}),
    "armstream_bandit_total_steps": ("gauge", {"bandit_id"}),
    "armstream_bandit_clipped_share": ("gauge", {"bandit_id"}),
    "armstream_build_info": ("gauge", {"version", "python"}),  # an info, in the text format
}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(metrics: Metrics) -> Samples:
    text, content_type = metrics.exposition()
    assert content_type.startswith("text/plain")
    families = text_string_to_metric_families(text.decode())
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"armstream_{name}", frozenset(labels.items())))


def metrics_with(max_bandits: int = 100) -> Metrics:
    values = {"metrics": {"max_bandits": max_bandits}, "topics": {"trades": ["fills", "closes"]}}
    return Metrics(Settings.model_validate(values))


def reward(reward_bps: float = 1.0, source: str | None = "LOGGED") -> Reward:
    return Reward("b", 1, "p", "f", "c", 1.0, reward_bps, 1.0, source is not None, True, 1, (), source, None, 0)  # type: ignore[arg-type]


EXPERTS = (ExpertWeight("base", 0.25, (1.0,)), ExpertWeight("regime", 0.75))


def snapshot(bandit_id: str, version: int, rewards: Mapping[str, float]) -> BanditSnapshot:
    arms = tuple(ArmState(name, (0.0,), 1, reward_bps) for name, reward_bps in rewards.items())
    return BanditSnapshot(bandit_id, version, version - 1, arms, "exp3ix", "implicit", "")


def vector(bandit_id: str, version: int, weights: Mapping[str, float]) -> WeightVector:
    arms = tuple(ArmWeight(name, weight, weight) for name, weight in weights.items())
    return WeightVector(
        bandit_id, version, "exp4", "implicit", arms, 0.0, 0.1, 100.0, version - 1, "LIVE", 0.3, "", 0, EXPERTS
    )


def applied(
    outcomes: Sequence[int] = (),
    audit: Sequence[Reward | CommandApplied] = (),
    reward_indexes: Sequence[int] = (),
    *,
    dead_letters: Sequence[DeadLetter] = (),
    vectors: Sequence[WeightVector] = (),
    snapshots: Sequence[BanditSnapshot] = (),
    clipped: Sequence[int] = (),
) -> Applied:
    indexes = list(reward_indexes) or [0] * len(audit)
    letters = list(dead_letters)
    return Applied(
        bytearray(outcomes), list(audit), indexes, letters, [0] * len(letters), list(vectors), list(snapshots),
        [], [], [], [], list(clipped),
    )  # fmt: skip


def message(topic: str, ago_seconds: float = 0.0) -> Record:
    made = Message(topic=topic, partition=3, offset=7, timestamp=(2, round((time.time() - ago_seconds) * 1_000)))
    return cast(Record, made)


def state_of(bandits: int) -> TaskState:
    state = TaskState(TaskLimits(), BanditRegistry(LearningSettings(arms=("a", "b"))))
    for number in range(bandits):
        state.restore_bandit(BanditSnapshot(f"b{number}", 0, 0, (), "exp3ix", "implicit", ""))
    return state


def everything() -> Metrics:
    """Something in each metric."""
    metrics = metrics_with()
    metrics.observe_transaction("committed", 0.001, 0.002, 1)
    snapshots, vectors = [snapshot("b", 2, {"x": 5.0})], [vector("b", 2, {"x": 1.0})]
    metrics.observe_batch(
        3, [message("fills")], applied([APPLIED], [reward()] * 500, vectors=vectors, snapshots=snapshots)
    )
    metrics.observe_standing(3, {"fills": 4}, state_of(1))
    metrics.set_restore_remaining(3, 0)
    return metrics


def test_names_types_and_labels_are_the_contracts() -> None:
    text = everything().exposition()[0].decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    found = {
        name: (family.type, {label for sample in family.samples for label in sample.labels})
        for name, family in families.items()
        if name.startswith("armstream_")
    }
    assert found == TABLE


def test_when_the_process_began_is_there_for_who_shows_how_long_it_is_up() -> None:
    began_unix = parse_figures(everything().exposition()[0].decode()).started_unix
    assert began_unix is not None
    assert time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - 1 < began_unix < time.time()


def test_counters_are_there_from_the_start() -> None:
    samples = scrape(metrics_with())
    assert value(samples, "records_total", topic="closes", outcome="duplicate") == 0
    assert value(samples, "dead_letters_total", error_class="LATE") == 0
    assert value(samples, "transactions_total", outcome="unknown") == 0
    assert value(samples, "rewards_total", propensity_source="LOGGED") == 0
    assert value(samples, "rewards_clipped_total") == 0


def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    text, content_type = everything().exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = openmetrics_families(text.decode())  # type: ignore[no-untyped-call]  # it has no types
    assert {"armstream_records", "armstream_reward_bps"} <= {family.name for family in families}


def test_a_batch_is_counted_by_topic_and_outcome() -> None:
    metrics = metrics_with()
    messages = [message(topic) for topic in ("fills", "fills", "closes", "commands", "fills")]
    letter = DeadLetter(Source("commands", 3, 7, None, None), "VALIDATION", "", 0)
    outcomes = [APPLIED, DUPLICATE, APPLIED, DEAD_LETTER, APPLIED]
    metrics.observe_batch(3, messages, applied(outcomes, dead_letters=[letter]))
    metrics.observe_batch(3, messages[:1], applied([APPLIED]))
    metrics.observe_batch(3, messages[:2], applied([DUPLICATE, APPLIED]))
    samples = scrape(metrics)
    assert value(samples, "records_total", topic="fills", outcome="applied") == 4
    assert value(samples, "records_total", topic="fills", outcome="duplicate") == 2
    assert value(samples, "records_total", topic="closes", outcome="applied") == 1
    assert value(samples, "records_total", topic="commands", outcome="dead_letter") == 1
    assert value(samples, "dead_letters_total", error_class="VALIDATION") == 1


def test_rewards_are_counted_by_source_and_those_not_applied_apart() -> None:
    metrics = metrics_with()
    rewards = [reward(30), reward(-2_000), reward(5, "CURRENT"), reward(float("nan"), None), reward(float("inf"), None)]
    metrics.observe_batch(3, [message("closes")], applied([APPLIED], rewards, [0] * 5, clipped=[0, 1]))
    samples = scrape(metrics)
    sources = {
        one: value(samples, "rewards_total", propensity_source=one) for one in ("LOGGED", "CURRENT", "NOT_APPLIED")
    }
    assert sources == {"LOGGED": 2, "CURRENT": 1, "NOT_APPLIED": 2}
    assert value(samples, "rewards_clipped_total") == 2
    buckets = {
        le: value(samples, "reward_bps_bucket", le=le) for le in ("-1000.0", "0.0", "5.0", "25.0", "50.0", "+Inf")
    }
    assert buckets == {"-1000.0": 1, "0.0": 1, "5.0": 2, "25.0": 2, "50.0": 3, "+Inf": 3}, (
        "what is not finite is not in it"
    )


def test_close_to_commit_is_measured_for_each_reward_from_the_append_of_what_realised_it() -> None:
    metrics = metrics_with()
    messages = [message("closes", ago_seconds=ago) for ago in (0.2, 7.0, -5.0, 50.0)]
    metrics.observe_batch(3, messages, applied([APPLIED] * 4, [reward()] * 4, [0, 1, 1, 2]))
    samples = scrape(metrics)
    name = "close_to_commit_seconds_bucket"
    counts = [value(samples, name, le=le) for le in ("0.0005", "0.1", "0.25", "5.0", "10.0", "+Inf")]
    assert counts == [1, 1, 2, 2, 4, 4], "a clock that is behind counts as 0, a record without a reward not at all"


def test_a_transaction_is_counted_with_its_times_and_size() -> None:
    metrics = metrics_with()
    metrics.observe_transaction("committed", apply_seconds=0.004, transaction_seconds=0.02, record_count=300)
    metrics.observe_transaction("aborted", apply_seconds=0.006, transaction_seconds=3.0, record_count=300)
    samples = scrape(metrics)
    outcomes = [value(samples, "transactions_total", outcome=one) for one in ("committed", "aborted", "unknown")]
    assert outcomes == [1, 1, 0]
    assert value(samples, "apply_seconds_sum") == pytest.approx(0.01)
    assert value(samples, "transaction_seconds_count") == 2
    assert [value(samples, "transaction_seconds_bucket", le=le) for le in ("0.015", "0.02", "5.0")] == [0, 1, 2]
    assert [value(samples, "batch_records_bucket", le=le) for le in ("200.0", "500.0")] == [0, 2]


def test_the_window_is_that_of_the_bandit_that_forgot_most_where_memory_is_full() -> None:
    """Two positions fit. The third at 30 s makes the first one go, whose last event was at 10 s: 20 s are left."""
    task = Task(TaskLimits(max_positions_remembered=2), learning_rules())
    for number in (1, 2, 3):
        at = START + number * 10_000_000
        task.apply(fill(f"f{number}", f"p{number}", ts_event=at), close(f"c{number}", f"p{number}", ts_event=at))
    metrics = metrics_with()
    metrics.observe_standing(0, {}, task.state)
    metrics.observe_standing(1, {}, state_of(1))
    samples = scrape(metrics)
    assert [value(samples, "dedupe_window_seconds", partition=at) for at in "01"] == [20, 86_400]
    assert value(samples, "dedupe_window_setting_seconds") == 86_400


def test_a_tasks_gauges_are_its_latest_and_go_with_it() -> None:
    metrics = metrics_with()
    for task, lag in ((0, 5), (1, 9)):
        metrics.observe_standing(task, {"fills": 99, "closes": 0}, state_of(1))
        metrics.observe_standing(task, {"fills": lag, "closes": 0}, state_of(task + 2))
        metrics.set_restore_remaining(task, 12)
        metrics.observe_batch(task, [], applied(snapshots=[snapshot(f"b{task}", 1, {"x": 1.0})]))
    samples = scrape(metrics)
    assert value(samples, "consumer_lag_records", topic="fills", partition="1") == 9
    assert [value(samples, "bandits", partition=task) for task in "01"] == [2, 3]
    metrics.forget_task(1)
    samples = scrape(metrics)
    assert not [labels for _, labels in samples if ("partition", "1") in labels or ("bandit_id", "b1") in labels]
    assert value(samples, "consumer_lag_records", topic="fills", partition="0") == 5
    assert value(samples, "restore_remaining_records", partition="0") == 12
    assert value(samples, "bandit_version", bandit_id="b0") == 1


def test_a_bandits_gauges_are_its_latest_vector_and_snapshot() -> None:
    metrics = metrics_with()
    for version, weight in ((2, 0.5), (3, 0.75)):
        snapshots = [snapshot("eu", version, {"ridge": 30.0 * version, "lstm": -1.0})]
        vectors = [vector("eu", version, {"ridge": weight, "lstm": 1 - weight})]
        metrics.observe_batch(3, [], applied(vectors=vectors, snapshots=snapshots))
    metrics.observe_batch(3, [], applied(snapshots=[snapshot("eu", 3, {"ridge": 90.0, "lstm": -1.0})]))
    samples = scrape(metrics)
    assert value(samples, "bandit_weight", bandit_id="eu", arm="ridge") == 0.75
    assert value(samples, "bandit_cumulative_reward_bps", bandit_id="eu", arm="ridge") == 90
    assert (value(samples, "bandit_version", bandit_id="eu"), value(samples, "bandit_total_steps", bandit_id="eu")) == (
        3,
        2,
    )


def test_trust_in_experts_is_a_gauge_of_its_own() -> None:
    metrics = metrics_with()
    vectors = [vector("eu", 2, {"ridge": 1.0})]
    metrics.observe_batch(3, [], applied(vectors=vectors, snapshots=[snapshot("eu", 2, {"ridge": 0.0})]))
    samples = scrape(metrics)
    assert value(samples, "bandit_expert_weight", bandit_id="eu", expert="base") == 0.25
    assert value(samples, "bandit_expert_weight", bandit_id="eu", expert="regime") == 0.75


def test_bandits_past_the_limit_have_no_gauges_until_one_leaves() -> None:
    metrics = metrics_with(max_bandits=2)
    for task, bandit_id in enumerate("abc"):
        one = applied(vectors=[vector(bandit_id, 1, {"x": 1.0})], snapshots=[snapshot(bandit_id, 1, {"x": 1.0})])
        metrics.observe_batch(task, [], one)

    def shown() -> set[str]:
        return {dict(labels)["bandit_id"] for name, labels in scrape(metrics) if name == "armstream_bandit_weight"}

    assert shown() == {"a", "b"}
    metrics.forget_task(0)
    metrics.observe_batch(2, [], one)
    assert shown() == {"b", "c"}


def test_a_restored_bandit_has_its_gauges_before_anything_comes_for_it() -> None:
    """One trade of -100 bps moves its arm; a bandit of which only closes are known has no weights yet."""
    task = Task(TaskLimits(), learning_rules(reward_bound_bps=100.0))
    task.apply(fill(price=100.0, arm="ridge"), close(price=99.0), close("c2", "p2", bandit_id="closes alone"))
    task.restart()
    metrics = metrics_with()
    metrics.observe_restored(3, task.state)
    samples = scrape(metrics)
    last = task.published.weights["book"]
    weights = [value(samples, "bandit_weight", bandit_id="book", arm=arm.name) for arm in last.arms]
    assert weights == [arm.weight for arm in last.arms]
    assert len(set(weights)) == 2, "one of three was taught"
    assert value(samples, "bandit_cumulative_reward_bps", bandit_id="book", arm="ridge") == -100.0
    assert [value(samples, "bandit_version", bandit_id=name) for name in ("book", "closes alone")] == [1, 0]
    assert [value(samples, "bandit_total_steps", bandit_id=name) for name in ("book", "closes alone")] == [1, 0]
    metrics.forget_task(3)
    assert not [labels for name, labels in scrape(metrics) if name.startswith("armstream_bandit_")]


def test_restored_bandits_past_the_limit_have_no_gauges_and_those_that_have_are_renewed() -> None:
    metrics = metrics_with(max_bandits=2)
    metrics.observe_batch(3, [], applied(snapshots=[snapshot("b7", 5, {})]))
    metrics.observe_restored(3, state_of(9))
    versions = {labels: one for (name, labels), one in scrape(metrics).items() if name == "armstream_bandit_version"}
    assert versions == {frozenset({("bandit_id", "b0")}): 0, frozenset({("bandit_id", "b7")}): 0}


def of_bandit(bandit_id: str = "b", estimator: str = "implicit") -> list[BanditSnapshot]:
    return [BanditSnapshot(bandit_id, 1, 1, (), "exp3ix", estimator, "")]


def command_applied(action: Action, outcome: Outcome = "APPLIED") -> CommandApplied:
    return CommandApplied("b", 1, "id", action, outcome, 0)


def observe(
    metrics: Metrics,
    audit: Sequence[Reward | CommandApplied],
    clipped: Sequence[int] = (),
    snapshots: Sequence[BanditSnapshot] = (),
) -> None:
    """One record's batch in task 3."""
    metrics.observe_batch(3, [message("closes")], applied([APPLIED], audit, snapshots=snapshots, clipped=clipped))


def clipped_share(metrics: Metrics, bandit_id: str = "b") -> float | None:
    return value(scrape(metrics), "bandit_clipped_share", bandit_id=bandit_id)


def test_a_bandits_clipped_share_is_that_of_its_last_500_rewards() -> None:
    metrics = metrics_with()
    observe(metrics, [reward()] * 400, clipped=range(30), snapshots=of_bandit())
    observe(metrics, [reward(), reward(source=None)] * 99)
    assert clipped_share(metrics) is None, "499, and as many that taught nothing"
    observe(metrics, [reward()])
    assert clipped_share(metrics) == 30 / 500
    observe(metrics, [reward()] * 14, clipped=[13])
    assert clipped_share(metrics) == (30 - 14 + 1) / 500, "the first 14, all clipped, are too long ago"


@pytest.mark.parametrize("action", ["SET_BOUND", "RESET"])
def test_another_bound_begins_the_clipped_share_anew(action: Action) -> None:
    metrics = metrics_with()
    observe(metrics, [reward()] * 500, clipped=range(100), snapshots=of_bandit())
    for other in (command_applied(action, "REFUSED"), command_applied("PAUSE"), command_applied("ADD_ARM")):
        observe(metrics, [other])
    assert clipped_share(metrics) == 0.2
    audit: list[Reward | CommandApplied] = [*[reward()] * 3, command_applied(action), reward(), reward()]
    observe(metrics, audit, clipped=[0, 1, 2, 5])
    observe(metrics, [reward()] * 497)
    assert clipped_share(metrics) is None, "499 since it came"
    observe(metrics, [reward()])
    assert clipped_share(metrics) == 1 / 500


def test_a_rule_without_a_bound_and_a_bandit_without_gauges_have_no_clipped_share() -> None:
    metrics = metrics_with(max_bandits=1)
    other = Reward("other", 1, "p", "f", "c", 1.0, 1.0, 1.0, True, True, 1, (), "LOGGED", None, 0)
    observe(metrics, [*[reward()] * 500, *[other] * 500], snapshots=[*of_bandit(), *of_bandit("other")])
    assert (clipped_share(metrics), clipped_share(metrics, "other")) == (0.0, None)
    observe(metrics, [], snapshots=of_bandit(estimator="importance"))
    assert clipped_share(metrics) is None


def test_a_task_that_comes_back_begins_the_clipped_share_anew() -> None:
    metrics = metrics_with()
    observe(metrics, [reward()] * 500, snapshots=of_bandit())
    metrics.forget_task(3)
    observe(metrics, [reward()], snapshots=of_bandit())
    assert clipped_share(metrics) is None


@given(st.lists(st.one_of(st.floats(allow_nan=False, allow_infinity=False, width=32), st.sampled_from(REWARD_BPS))))
def test_a_histogram_counts_as_prometheus_own_does(values: list[float]) -> None:
    registry = CollectorRegistry()
    reference = PrometheusHistogram("armstream_x", "x", buckets=REWARD_BPS, registry=registry)
    for one in values:
        reference.observe(one)
    ours = Histogram("x", "x", REWARD_BPS)
    ours.observe(values[: len(values) // 2])
    ours.observe(values[len(values) // 2 :])
    buckets = {one.labels["le"]: one.value for one in ours.family().samples if one.name.endswith("_bucket")}
    assert buckets == {le: registry.get_sample_value("armstream_x_bucket", {"le": le}) for le in buckets}
    assert len(buckets) == len(REWARD_BPS) + 1


def test_a_histogram_sums_what_it_counts() -> None:
    histogram = Histogram("x", "x", SECONDS)
    histogram.observe([0.1, 0.2, float("nan")])
    samples = {one.name: one.value for one in histogram.family().samples if not one.name.endswith("_bucket")}
    assert samples == {"armstream_x_sum": pytest.approx(0.3), "armstream_x_count": 2}


def test_a_scrape_while_the_loop_counts_shows_one_moment() -> None:
    """A batch is one record and one reward: a scrape that saw half of one would count them apart."""
    metrics, stop = metrics_with(), threading.Event()

    def count() -> None:
        one = applied([APPLIED], [reward(3.0)], [0], snapshots=[snapshot("b", 1, {"x": 1.0})])
        task = 0
        while not stop.is_set():
            metrics.observe_batch(task % 50, [message("fills")], one)
            metrics.forget_task((task + 25) % 50)
            task += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        last = 0.0
        for _ in range(100):
            samples = scrape(metrics)
            rewards = value(samples, "rewards_total", propensity_source="LOGGED")
            records = value(samples, "records_total", topic="fills", outcome="applied")
            assert rewards == records == value(samples, "reward_bps_bucket", le="+Inf")
            assert rewards is not None
            assert rewards >= last
            last = rewards
    finally:
        stop.set()
        thread.join(10)
    assert last > 0


def test_two_processors_metrics_are_apart() -> None:
    one, other = everything(), metrics_with()
    assert value(scrape(one), "transactions_total", outcome="committed") == 1
    assert value(scrape(other), "transactions_total", outcome="committed") == 0


def test_a_full_batch_costs_less_than_one_observation_a_record() -> None:
    """5,000 records, 2,500 rewards, 1,000 bandits, some .4 of what one observation a record through prometheus-client
    takes beside it: the machine may be slow or shared, the ratio is neither."""
    metrics = metrics_with()
    messages = [message("trades") for _ in range(5_000)]
    rewards = [reward(float(one)) for one in np.linspace(-200, 200, 2_500)]
    vectors = [vector(f"b{number}", 2, {"x": 1.0}) for number in range(1_000)]
    snapshots = [snapshot(f"b{number}", 2, {"x": 1.0}) for number in range(1_000)]
    batch = applied(bytes(5_000), rewards, range(0, 5_000, 2), vectors=vectors, snapshots=snapshots)
    reference = PrometheusHistogram("armstream_x", "x", buckets=REWARD_BPS, registry=CollectorRegistry())
    ratios = []
    for _ in range(9):
        started = time.thread_time()
        metrics.observe_batch(3, messages, batch)
        observed = time.thread_time()
        for one in messages:
            reference.observe(one.offset())
        ratios.append((observed - started) / (time.thread_time() - observed))
    assert min(ratios) < 0.8, ratios
