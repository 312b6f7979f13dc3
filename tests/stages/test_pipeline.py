"""A batch from beginning to end: indexes, failures, commit, rollback and restore."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import armstream.stages
from armstream.events import ArmState, BanditSnapshot, Source
from armstream.stages.facts import BanditRegistry
from armstream.stages.pipeline import ApplyFailure, Pipeline
from armstream.stages.state import SettingsMismatch, TaskState
from tests.stages.events import ARMS, START, close, fill, learning_rules, short_rules, source_of
from tests.stages.task import Task


@pytest.fixture
def task() -> Task:
    return Task(short_rules(), learning_rules())


def test_every_output_names_the_input_behind_it(task: Task) -> None:
    applied = task.apply(
        close("c1", "p1", quantity=60.0),
        fill("f1", "p1", price=-1.0),
        fill("f1", "p1"),
        fill("f1", "p1"),
        close("c2", "p1", quantity=20.0),
        close("c3", "p1", quantity=10.0),
        fill("f0", "p0", ts_event=START + 500),
    )
    assert list(applied.outcomes) == [0, 2, 0, 1, 0, 0, 0]
    assert applied.audit_indexes == [2, 4, 5]
    assert applied.dead_letter_indexes == [1]
    assert [reward.version for reward in applied.rewards] == [1, 2, 3]
    assert all(reward.cut == {} for reward in applied.rewards)


def test_snapshots_come_once_each_in_the_order_of_first_touch(task: Task) -> None:
    applied = task.apply(
        fill("f", "p2", bandit_id="b2"), fill("f", "p1", bandit_id="b1"), close("c", "p2", bandit_id="b2")
    )
    assert [bandit.bandit_id for bandit in applied.bandit_snapshots] == ["b2", "b1"]
    assert [position.position_id for position in applied.position_snapshots] == ["p2", "p1"]


def test_a_batch_must_end_before_the_next_begins() -> None:
    pipeline = Pipeline(TaskState(short_rules(), BanditRegistry(learning_rules())))
    with pytest.raises(RuntimeError, match="no batch"):
        pipeline.commit()
    pipeline.apply([fill()], source_of)
    with pytest.raises(RuntimeError, match="neither committed nor rolled back"):
        pipeline.apply([fill()], source_of)
    pipeline.rollback()
    with pytest.raises(RuntimeError, match="no batch"):
        pipeline.rollback()
    assert list(pipeline.apply([fill()], source_of).outcomes) == [0]


def test_an_unexpected_failure_names_the_event_and_can_be_rolled_back(task: Task) -> None:
    def broken(_: int) -> Source:
        raise OSError("no such record")

    with pytest.raises(ApplyFailure) as failure:
        task.pipeline.apply([fill(), close(), fill("f2", "p2"), close("c3", "p3")], broken)
    assert failure.value.index == 3
    assert isinstance(failure.value.__cause__, OSError)
    task.pipeline.rollback()
    assert (task.state.bandit_count, task.state.position_count, task.state.open_position_count) == (0, 0, 0)
    applied = task.apply(fill(), close())
    assert [reward.version for reward in applied.rewards] == [1]


def test_a_learners_refusal_is_a_failure_not_a_dead_letter(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("no")

    monkeypatch.setattr("armstream.learning.Exp3IXBandit.update", refuse)
    with pytest.raises(ApplyFailure) as failure:
        task.pipeline.apply([fill(), close()], source_of)
    assert failure.value.index == 1


def test_rollback_puts_back_what_expired(task: Task) -> None:
    task.apply(fill("f", "flat"), close("c", "flat"), close("c", "orphan"), fill("f", "held"))
    far = START + 100_000
    events = (fill("f9", "p9", ts_event=far), close("c9", "p9", ts_event=far))
    aborted = task.abort(*events)
    assert [letter.error_class for letter in aborted.dead_letters] == ["ORPHAN_CLOSE", "LIMIT"]
    assert aborted.forgotten == [
        "book\0flat",
        "book\0orphan",
        "book\0held",
    ]  # what is old goes before the event is looked up
    assert (task.state.position_count, task.state.waiting_close_count) == (3, 1)
    again = task.apply(*events)
    assert (again.dead_letters, again.forgotten) == (aborted.dead_letters, aborted.forgotten)


def test_restore_gives_back_every_field_of_a_bandit() -> None:
    task = Task(short_rules(trades_share_topic=False), learning_rules())
    snapshot = BanditSnapshot(
        "book",
        version=17,
        total_steps=9,
        arms=tuple(ArmState(name, (0.5,), 3, -2.0) for name in ARMS),
        algorithm="exp3ix",
        estimator="implicit",
        settings=task.learning_rules.determining_json(),
        fill_watermark=START,
        close_watermark=START + 5,
        paused=True,
        cause_event_id="c7",
        ts_event=START + 4,
        command_ids=("k1", "k2"),
        reward_bound_bps=100.0,
        forgotten_until=START - 7,
    )
    task.state.restore_bandit(snapshot)
    (restored,) = task.apply(fill("f", "p1", ts_event=START)).bandit_snapshots
    assert restored == snapshot


def test_a_bandit_restored_where_the_topics_were_two_has_one_time_where_they_are_one(task: Task) -> None:
    task.state.restore_bandit(BanditSnapshot("book", 0, 0, (), "", "", "", START + 3, START + 5))
    (restored,) = task.apply(close(quantity=1.0)).bandit_snapshots
    assert (restored.fill_watermark, restored.close_watermark) == (START + 5, START + 5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"arms": ("ridge", "boost", "mlp")}, "arms was ('ridge', 'mlp', 'boost') and is ('ridge', 'boost', 'mlp')"),
        ({"estimator": "importance"}, "estimator was 'implicit' and is 'importance'"),
        ({"gamma": 0.01}, "gamma was 0.0 and is 0.01"),
    ],
)
def test_state_learned_under_other_settings_is_refused(task: Task, fields: dict[str, Any], words: str) -> None:
    task.apply(fill(), close())
    other = TaskState(short_rules(), BanditRegistry(learning_rules(**fields)))
    with pytest.raises(SettingsMismatch) as mismatch:
        other.restore_bandit(task.bandit())
    assert str(mismatch.value).startswith("bandit 'book' was learned under other settings: ")
    assert words in str(mismatch.value)


def test_a_bandit_that_learned_nothing_fits_any_settings(task: Task) -> None:
    task.apply(close())
    TaskState(short_rules(), BanditRegistry(learning_rules(gamma=0.01))).restore_bandit(task.bandit())


@pytest.mark.parametrize("steps", [Task.going_on, Task.restart])
def test_waiting_closes_and_open_fills_are_matched_and_expire_after_a_restart(
    task: Task, steps: Callable[[Task], None]
) -> None:
    task.apply(close("c1", "p1", quantity=40.0), close("c2", "p2"), fill("f3", "p3"))
    steps(task)
    applied = task.apply(fill("f1", "p1", quantity=40.0, ts_event=START + 401), close("c3", "p3"))
    assert [reward.close_event_id for reward in applied.rewards] == ["c1", "c3"]
    assert [(letter.error_class, letter.source) for letter in applied.dead_letters] == [("ORPHAN_CLOSE", source_of(1))]


def test_the_stages_import_nothing_that_sees_a_clock_chance_kafka_or_metrics() -> None:
    for path in Path(armstream.stages.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            banned = ("confluent_kafka", "time", "random", "os", "prometheus_client", "armstream.runtime", "datetime")
            assert not [name for name in names if name.startswith(banned)], path.name
