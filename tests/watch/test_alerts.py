"""What an alert would say: each rule holds when it should, after its time, and not a moment before."""

import re
from pathlib import Path

import pytest

from armstream.stages.facts import SECOND_MICROS
from armstream.watch.alerts import RULES, Alarms
from armstream.watch.earned import BaseWeights
from armstream.watch.facts import GroupFacts, Member, PlaceFacts, ProcessorFacts
from armstream.watch.history import History, Limits
from tests.watch.records import NOON, letter, reward, vector

MINUTE = 60 * SECOND_MICROS
PLACE = ("trades", 0)
URL = "http://10.0.0.5:9464"
DOCS = Path(__file__).parents[2] / "docs"


def group(
    ts: int, committed: int = 100, end: int = 100, owned: bool = True, members: bool = True, state: str = "STABLE"
) -> GroupFacts:
    member = Member("a", "10.0.0.5", (PLACE,) if owned else ())
    return GroupFacts(ts, state, (member,) if members else (), {PLACE: PlaceFacts(committed, end)})


def processor(ts: int, **figures: object) -> ProcessorFacts:
    return ProcessorFacts(URL, ts, **figures)  # type: ignore[arg-type]


@pytest.fixture
def history() -> History:
    return History(Limits(), BaseWeights({}, {}))


class Asked:
    """Alarms asked every 5 s."""

    def __init__(self, history: History) -> None:
        self.alarms, self.history, self.now = Alarms(), history, NOON

    def names(self, minutes: float, facts: GroupFacts | None = None, *processors: ProcessorFacts) -> list[str]:
        """Those told at the end of so many minutes with the same facts."""
        told = self.alarms.alerts(self.now, self.history, facts, processors)
        for _ in range(round(minutes * 12)):
            self.now += 5 * SECOND_MICROS
            told = self.alarms.alerts(self.now, self.history, facts, processors)
        return [alert.name for alert in told]


def test_all_is_well_where_it_is(history: History) -> None:
    assert Asked(history).names(20, group(NOON), processor(NOON, ready=True, commits=5)) == []


def test_each_rule_is_one_of_prometheus_with_a_section_of_its_own_and_says_a_remedy() -> None:
    page = (DOCS / "operating" / "alerts.md").read_text()
    rules = (DOCS.parent / "deploy" / "prometheus" / "rules.yml").read_text()
    for name, rule in RULES.items():
        assert f"## {name}\n" in page
        assert f"alert: {name}\n" in rules
        assert rule.remedy.endswith(".")


def test_its_severity_is_that_of_prometheus() -> None:
    rules = (DOCS.parent / "deploy" / "prometheus" / "rules.yml").read_text()
    found = dict(re.findall(r"alert: (\w+)\n(?:.*\n)*?        labels: \{ severity: (\w+) \}", rules))
    assert {name: rule.severity for name, rule in RULES.items()} == {
        name: {"critical": "red", "warning": "amber"}[found[name]] for name in RULES
    }


def test_a_group_without_members_is_down_after_a_minute(history: History) -> None:
    asked = Asked(history)
    assert asked.names(0.9, group(NOON, members=False, state="EMPTY")) == []
    assert asked.names(0.2, group(NOON, members=False, state="EMPTY")) == ["ArmstreamDown"]
    assert asked.names(0.1, group(NOON)) == [], "it ends with its cause"


def test_a_partition_that_nobody_owns_is_told_after_two_minutes_and_not_in_a_rebalance(history: History) -> None:
    asked = Asked(history)
    assert asked.names(2.1, group(NOON, owned=False)) == ["ArmstreamNotReady"]
    assert asked.names(2.1, group(NOON, owned=False, state="PREPARING_REBALANCE")) == []


def test_input_that_waits_while_nothing_is_committed_is_told(history: History) -> None:
    asked = Asked(history)
    assert asked.names(1.5, group(NOON, committed=100, end=150)) == []
    assert asked.names(2.0, group(NOON, committed=100, end=200)) == ["ArmstreamNoCommit"]
    assert asked.names(0.1, group(NOON, committed=101, end=200)) == []


def test_lag_is_told_where_it_is_large_and_rises_for_five_minutes(history: History) -> None:
    asked = Asked(history)
    told: list[str] = []
    for step in range(24):  # a commit in each, so that it is slow and not stuck
        told = asked.names(0.25, group(NOON, committed=step, end=20_000 + 100 * step))
    assert told == ["ArmstreamLagRising"]
    assert asked.names(6, group(NOON, committed=100, end=9_000)) == ["ArmstreamNoCommit"]


def test_dead_letters_are_told_at_once_by_class_but_for_skipped_ones(history: History) -> None:
    asked = Asked(history)
    history.take_letter(0, 0, letter("SKIPPED"), NOON)
    assert asked.names(0, group(NOON)) == []
    history.take_letter(0, 1, letter("LATE"), NOON)
    (alert,) = asked.alarms.alerts(NOON, history, group(NOON), ())
    assert (alert.name, alert.severity, alert.text) == (
        "ArmstreamDeadLetters",
        "amber",
        "Dead letters of the last 15 minutes: 1 LATE.",
    )
    assert asked.names(20, group(NOON)) == []


def test_many_dead_letters_are_red_and_stand_first(history: History) -> None:
    asked = Asked(history)
    told: list[str] = []
    for step in range(1, 80):
        history.take_letter(0, step, letter(), asked.now)
        told = asked.names(1 / 12, group(NOON, committed=100 + 50 * step, end=100 + 50 * step))
    assert told == ["ArmstreamManyDeadLetters", "ArmstreamDeadLetters"], "one in fifty"


def test_a_processor_that_does_not_answer_is_told_after_a_minute(history: History) -> None:
    asked = Asked(history)
    assert asked.names(0.9, None, processor(NOON, error="refused")) == []
    assert asked.names(0.2, None, processor(NOON, error="refused")) == ["ArmstreamTargetDown"]


def test_failed_transactions_are_told_where_there_are_more_than_five_in_ten_minutes(history: History) -> None:
    asked = Asked(history)
    assert asked.names(1, None, processor(NOON, failed_transactions=100)) == [], "of long ago"
    assert asked.names(1, None, processor(NOON, failed_transactions=105)) == []
    assert asked.names(0.1, None, processor(NOON, failed_transactions=106)) == ["ArmstreamTransactionsFailing"]
    assert asked.names(12, None, processor(NOON, failed_transactions=106)) == []


def test_a_restore_a_memory_and_duplicates_are_told_of_the_processor_that_says_them(history: History) -> None:
    asked = Asked(history)
    restoring = processor(NOON, ready=False, restore_remaining_records=9)
    assert asked.names(0.6, None, restoring) == ["ArmstreamRestoreStuck"]
    full = processor(NOON, ready=True, dedupe_window_seconds=60.0, dedupe_window_setting_seconds=86_400.0)
    assert asked.names(5.2, None, full) == ["ArmstreamMemoryFull"]
    told: list[str] = []
    for step in range(1, 30):
        told = asked.names(0.25, None, processor(NOON, ready=True, events=1_000 * step, duplicates=100 * step))
    assert told == ["ArmstreamDuplicates"]


def test_a_bound_that_does_not_fit_is_told_of_its_bandit_after_a_quarter_of_an_hour(history: History) -> None:
    history.take_vector(0, vector(bound_bps=20.0), NOON)
    for version in range(1, 501):
        history.take_audit(0, reward(version=version, reward_bps=30.0 if version % 4 == 0 else 1.0), NOON)
    asked = Asked(history)
    assert asked.names(14) == []
    assert sorted(asked.names(1.1)) == ["ArmstreamBoundUnfit", "ArmstreamRewardsClipped"]
    (clipped,) = [one for one in asked.alarms.alerts(asked.now, history, None, ()) if one.name == "ArmstreamBoundUnfit"]
    assert "book 25.0%" in clipped.text


def test_a_processor_that_goes_away_makes_no_duplicates_of_the_others(history: History) -> None:
    """Its million events are no longer among the sum, and 11 duplicates of 1,000 are 1.1 %."""
    asked = Asked(history)
    other = "http://10.0.0.6:9464"
    both = processor(NOON, events=1_000), ProcessorFacts(other, NOON, events=1_000_000)
    assert asked.names(1, group(NOON), *both) == []
    left = processor(NOON, events=2_000, duplicates=11), ProcessorFacts(other, NOON, error="refused")
    assert "ArmstreamDuplicates" not in asked.names(9, group(NOON), *left)
