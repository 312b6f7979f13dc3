"""The screen: figures from /metrics, quantiles, bars and sparklines by hand, and a picture that fits."""

from typing import Any

import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from rich.console import Console

from armstream.events import ArmWeight, ExpertWeight, WeightVector
from armstream.figures import Figures, parse_figures, quantile
from armstream.screen import View, Watch, bar, plain_line, render, sparkline

ARMS = ("momentum", "mean_reversion", "breakout", "average_cross", "buy_and_hold")


def vector_of(bandit_id: str, version: int, weights: tuple[float, ...], arms: tuple[str, ...] = ARMS) -> WeightVector:
    return WeightVector(
        bandit_id=bandit_id,
        version=version,
        algorithm="exp3ix",
        estimator="implicit",
        arms=tuple(ArmWeight(name, weight, weight) for name, weight in zip(arms, weights, strict=True)),
        gamma=0.0,
        eta=0.1,
        reward_bound_bps=100.0,
        total_steps=version,
        phase="LIVE",
        blend_alpha=0.3,
        cause_event_id="cause",
        ts_event=1,
    )


def screen(view: View, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, color_system=None)
    with console.capture() as capture:
        console.print(render(view, width, height))
    return capture.get().splitlines()


def full_watch(bandit_count: int = 15) -> Watch:
    watch = Watch("Java, one node at 127.0.0.1:20000")
    for number in range(bandit_count):
        for version in range(1, 30):
            share = version / 30
            rest = (1 - share) / 4
            watch.add_vector(
                vector_of(f"STOCK-{number:02d}", version, (share, rest, rest, rest, rest)), is_new=version > 9
            )
    watch.add_figures(Figures(events=1_000, rewards=400), 1.0)
    watch.add_figures(
        Figures(
            events=3_000,
            rewards=1_400,
            dead_letters=2,
            lag_records=7,
            commit_seconds={0.01: 100.0, 0.1: 100.0},
        ),
        5.0,
    )
    return watch


def test_figures_are_sums_over_labels_of_what_a_prometheus_client_writes() -> None:
    registry = CollectorRegistry()
    records = Counter("armstream_records", "r", ["topic", "outcome"], registry=registry)
    records.labels("trades", "applied").inc(5)
    records.labels("trades", "dead_letter").inc(2)
    Counter("armstream_rewards", "r", ["propensity_source"], registry=registry).labels("LOGGED").inc(3)
    Counter("armstream_dead_letters", "r", ["error_class"], registry=registry).labels("LATE").inc(2)
    lag = Gauge("armstream_consumer_lag_records", "l", ["topic", "partition"], registry=registry)
    lag.labels("trades", "0").set(4)
    lag.labels("trades", "1").set(6)
    Gauge("armstream_bandit_version", "v", ["bandit_id"], registry=registry).labels("x").set(99)
    seconds = Histogram("armstream_transaction_seconds", "s", buckets=(0.1, 1.0), registry=registry)
    for value in (0.05, 0.5, 0.6, 3.0):
        seconds.observe(value)
    assert parse_figures(generate_latest(registry).decode()) == Figures(
        events=7,
        rewards=3,
        dead_letters=2,
        lag_records=10,
        restore_remaining_records=0,
        commit_seconds={0.1: 1.0, 1.0: 3.0, float("inf"): 4.0},
        close_to_commit_seconds={},
    )


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.25, 0.05),  # rank 2.5 of 10, in the first bucket's 5: half of it
        (0.5, 0.1),  # rank 5 is the first bucket's end
        (0.7, 0.55),  # rank 7 is half of the second bucket's 4: 0.1 + 0.9 / 2
        (0.99, 1.0),  # rank 9.9 lies above the highest finite bound
    ],
)
def test_a_quantile_is_linear_within_its_bucket(share: float, expected: float) -> None:
    assert quantile({0.1: 5.0, 1.0: 9.0, float("inf"): 10.0}, share) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("buckets", [{}, {0.1: 0.0, float("inf"): 0.0}])
def test_a_quantile_of_nothing_is_none(buckets: dict[float, float]) -> None:
    assert quantile(buckets, 0.5) is None


@pytest.mark.parametrize(
    ("share", "drawn"),
    [(0.0, "    "), (1.0, "████"), (0.5, "██  "), (0.28125, "█▏  "), (2.0, "████"), (-1.0, "    ")],
)
def test_a_bar_fills_its_share_to_an_eighth(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([0.0, 0.5, 1.0], 3, "▁▅█"),  # 0.5 * 7 rounds to 4, the fifth
        ([1.0], 3, "█"),
        ([0.0, 9.0, 0.0, 9.0, 0.1], 3, "▁▁▂"),  # the first, the middle one, the latest
        ([0.0, 0.0], 2, "▁▁"),
        ([0.3, 1.0], 1, "█"),
    ],
)
def test_a_sparkline_takes_evenly_spaced_values_and_the_latest_last(
    values: list[float], width: int, drawn: str
) -> None:
    assert sparkline(values, width, highest=1.0) == drawn


def test_rates_are_those_of_the_last_seconds() -> None:
    watch = Watch("")
    for second in range(30):
        watch.add_figures(Figures(events=100 * second if second < 10 else 1_000 + (second - 10)), float(second))
    # from 10 s before the end on it was 1 event a second
    assert watch.view(29.0).events_per_second == pytest.approx(1.0)


def test_latencies_are_those_of_the_last_seconds() -> None:
    watch = Watch("")
    watch.add_figures(Figures(commit_seconds={0.01: 0.0, 1.0: 1_000.0}), 0.0)
    watch.add_figures(Figures(commit_seconds={0.01: 100.0, 1.0: 1_100.0}), 5.0)
    # since the first scrape: 100 at most 10 ms
    assert watch.view(5.0).commit_seconds == pytest.approx((0.005, 0.0099))


def test_only_vectors_of_this_run_count_as_updates() -> None:
    assert full_watch(bandit_count=2).view(5.0).updates == 2 * 20


def test_other_arms_begin_another_history() -> None:
    watch = Watch("")
    watch.add_vector(vector_of("book", 1, (0.5, 0.5), ("a", "b")), is_new=True)
    watch.add_vector(vector_of("book", 2, (0.2, 0.3, 0.5), ("a", "b", "c")), is_new=True)
    (bandit,) = watch.view(1.0).bandits
    assert bandit.history == ((0.2, 0.3, 0.5),)


@pytest.mark.parametrize(("width", "height", "bandits_shown"), [(80, 24, 6), (120, 40, 15), (40, 12, 1), (200, 60, 15)])
def test_the_screen_fits_and_says_how_many_bandits_it_hides(width: int, height: int, bandits_shown: int) -> None:
    lines = screen(full_watch().view(65.0), width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert text.count("STOCK-") == bandits_shown
    assert (f"{15 - bandits_shown} not shown" in text) == (bandits_shown < 15)


def test_the_screen_shows_the_figures_the_weights_and_their_history() -> None:
    lines = screen(full_watch(1).view(65.0), 80, 24)
    text = "\n".join(lines)
    assert "1:05" in lines[0]
    for figure in (
        "500 events/s",
        "3,000 events",
        "1,400 rewards",
        "2 dead letters",
        "lag 7",
        "commit p50 5.0 ms p99 9.9 ms",
    ):
        assert figure in text
    assert "STOCK-00  v29  live  B 100.0 bps" in text
    arm = next(line for line in lines if line.startswith("momentum"))
    assert " 97% " in arm
    assert arm.rstrip().endswith("█")


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"reward_bound_bps": 37.24}, "eu  v3  live  B 37.2 bps"),
        ({"reward_bound_bps": 0.0, "phase": "WARMING"}, "eu  v3  warming  finding B"),
        ({"algorithm": "tsallis", "estimator": "reduced_variance", "reward_bound_bps": 1234.5}, "B 1,234.5 bps"),
        ({"algorithm": "exp4", "estimator": "importance"}, "B 100.0 bps"),
    ],
)
def test_a_bandits_bound_is_shown_beside_its_phase(fields: dict[str, Any], shown: str) -> None:
    watch = Watch("")
    watch.add_vector(structs.replace(vector_of("eu", 3, (0.5, 0.5), ("a", "b")), **fields), is_new=True)
    assert shown in "\n".join(screen(watch.view(1.0), 40, 12))


def test_a_rule_that_clips_nothing_shows_no_bound() -> None:
    watch = Watch("")
    documented = structs.replace(vector_of("eu", 3, (0.5, 0.5), ("a", "b")), estimator="importance")
    watch.add_vector(documented, is_new=True)
    assert next(line for line in screen(watch.view(1.0), 80, 24) if line.startswith("eu")).rstrip() == "eu  v3  live"


def test_experts_are_shown_under_the_arms_the_most_trusted_first_and_the_screen_still_fits() -> None:
    watch = Watch("")
    experts = (ExpertWeight("base", 0.25), ExpertWeight("regime", 0.6), ExpertWeight("uniform", 0.15))
    for number in range(9):
        bandit = vector_of(f"eu-{number}", 3, (0.5, 0.5), ("a", "b"))
        watch.add_vector(structs.replace(bandit, experts=experts), is_new=True)
    shown = screen(watch.view(1.0), 60, 16)
    assert len(shown) <= 16
    assert "regime 60%  base 25%  unifor" in "\n".join(shown)


def test_a_restore_is_shown_while_it_lasts() -> None:
    watch = Watch("")
    watch.add_figures(Figures(restore_remaining_records=12_345), 1.0)
    assert "restoring, 12,345 to go" in "\n".join(screen(watch.view(1.0), 80, 24))
    assert "restoring, 12,345 to go" in plain_line(watch.view(1.0))
    watch.add_figures(Figures(), 2.0)
    assert "restoring" not in "\n".join(screen(watch.view(2.0), 80, 24))


def test_what_the_topics_hold_is_shown_before_the_processor_answers_and_after() -> None:
    watch = Watch("")
    watch.add_vector(vector_of("eu", 1_203, (0.5, 0.5), ("a", "b")), is_new=False)
    watch.add_vector(vector_of("us", 40, (0.9, 0.1), ("a", "b")), is_new=False)
    held = "bandits 2  audit records 1,243"  # by hand: a version counts them
    assert held in plain_line(watch.view(0.0))
    first = "\n".join(screen(watch.view(0.0), 80, 24))
    assert held in first
    assert " 90% " in first
    watch.add_figures(Figures(), 1.0)
    assert held in plain_line(watch.view(1.0))
    assert held in "\n".join(screen(watch.view(1.0), 80, 24))


def test_what_to_paste_stands_in_the_border_and_takes_no_line_from_bandits() -> None:
    watch = Watch("Kafka", hint="armstream arms list")
    assert "armstream arms list" in screen(watch.view(0.0), 80, 24)[4]
    assert max(map(len, screen(watch.view(0.0), 20, 24))) <= 20


def test_no_control_character_of_a_name_reaches_the_terminal() -> None:
    watch = Watch("Kafka", hint="\x1b[2J")
    odd = vector_of("\x1b[31mbook\n", 1, (0.5, 0.5), ("\u202ea", "b\x9b"))
    watch.add_vector(structs.replace(odd, experts=(ExpertWeight("\x1b]0;c\x07", 1.0, ()),)), is_new=True)
    shown = "\n".join(screen(watch.view(0.0), 120, 24))
    for name in ("\\x1b[2J", "\\x1b[31mbook\\n", "\\u202ea", "b\\x9b", "\\x1b]0;c\\x07 100%"):
        assert name in shown
    assert not {"\x1b", "\u202e", "\x9b", "\x07"} & set(shown)


def test_a_latency_of_a_second_or_more_is_shown_in_seconds() -> None:
    watch = Watch("")
    watch.add_figures(Figures(commit_seconds={2.0: 0.0, 4.0: 0.0}), 0.0)
    watch.add_figures(Figures(commit_seconds={2.0: 0.0, 4.0: 10.0}), 1.0)
    assert "commit p50 3.0 s p99 4.0 s" in plain_line(watch.view(1.0))


def test_before_the_processor_answers_the_screen_says_that_it_waits() -> None:
    assert "waiting for the processor" in "\n".join(screen(Watch("").view(0.0), 80, 24))
    assert "has not answered yet" in plain_line(Watch("").view(0.0))
