"""Whatever legal inputs leave behind fits the smallest topic that `topics create` makes.

The bounds are worked by hand in stages/sizes.py. Here the largest of each record is made, and random ones beside it.
"""

import random
from dataclasses import replace
from typing import cast

import msgspec
import pytest

from armstream.codec import encode
from armstream.events import Action, Close, Command, Fill, Header, PositionSnapshot, Source, WaitingClose
from armstream.learning import LearningSettings
from armstream.rules import RULES
from armstream.settings import BATCH_OVERHEAD_BYTES, Settings
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.pipeline import Pipeline
from armstream.stages.sizes import MAX_DECISION_BYTES, MAX_WAITING_BYTES, most_bandit_bytes, waiting_bytes
from armstream.stages.state import TaskState
from tests.stages.events import START, close, fill
from tests.stages.task import Task

SMALLEST_TOPIC_BYTES = 1_114_124
MOST_POSITION_BYTES = 700 + 64 * 470 + 2 * MAX_DECISION_BYTES + MAX_WAITING_BYTES
LONG_NAME = "\U0001f600" * 98  # two characters are left for a number
LONG_ID = "\u00e9" * 98
EMPTY = PositionSnapshot("", "", 0, False, 0.0, 0.0, "UNKNOWN", (), (), 0, 0.0)


def name(number: int) -> str:
    return f"{LONG_NAME}{number:02x}"[-100:]


def identity(number: int) -> str:
    return f"{LONG_ID}{number:04d}"


def test_the_smallest_topic_is_that_of_the_smallest_record_and_of_the_default() -> None:
    for record_bytes in (1_024, 1_048_576):
        limits = Settings.model_validate({"limits": {"record_bytes": record_bytes}}).limits
        assert limits.output_batch_bytes == SMALLEST_TOPIC_BYTES
    assert MOST_POSITION_BYTES < SMALLEST_TOPIC_BYTES - BATCH_OVERHEAD_BYTES


def test_the_largest_position_fits_and_one_byte_of_a_decision_more_is_refused() -> None:
    arms = tuple(f"arm {number:03d} {'x' * 92}" for number in range(1_000))
    registry = BanditRegistry(LearningSettings(arms), max_arms=1_000)
    state = TaskState(TaskLimits(), registry)
    pipeline = Pipeline(state)
    ids = {"bandit_id": LONG_ID, "position_id": LONG_ID}
    plain = fill(identity(0), contributions={}, instrument_id=LONG_ID, currency=LONG_ID, quantity=1.0, **ids)
    most = msgspec.structs.replace(
        plain, contributions=dict.fromkeys(arms, 0.001), probabilities=(0.5,) * 1_000, order_quantity=1e6, notional=1.0
    )
    fills = [msgspec.structs.replace(most, event_id=identity(at), exec_id=identity(at), arm=None) for at in range(30)]
    closes = [close(identity(at), exec_id=identity(at), quantity=1.0, **ids) for at in range(30)]
    waiting = [close(identity(at), quantity=1.0, **ids) for at in (50, 51, 52)]
    source = Source("t" * 249, 2**31 - 1, 2**62, b"k" * 200, b"v" * 100_000)
    applied = pipeline.apply([*fills, *closes, *waiting], lambda _: source)
    assert list(applied.outcomes) == [0] * 62 + [2]
    (position,) = applied.position_snapshots
    assert position.decision is not None
    assert (len(position.fills), len(position.closes), len(position.decision.contributions)) == (30, 32, 1_000)
    assert 340_000 < len(encode(position)) < MOST_POSITION_BYTES


def test_signals_and_the_terms_of_their_arms_fit_beside_what_is_largest() -> None:
    """1,000 arms with names of 120 bytes, where each has its signal, and a term later."""
    arms = tuple(f"arm {number:03d} {'x' * 92}" for number in range(1_000))
    signals = dict.fromkeys(arms, "BUY")
    pipeline = Pipeline(TaskState(TaskLimits(), BanditRegistry(LearningSettings(arms), max_arms=1_000)))
    applied = pipeline.apply([fill(arm=arms[0], signals=signals)], lambda index: Source("t", 0, index))
    (position,) = applied.position_snapshots
    assert position.decision is not None
    taught = msgspec.structs.replace(position.decision, terms=dict.fromkeys(arms, 0.5))
    terms_bytes = len(encode(msgspec.structs.replace(position, decision=taught))) - len(encode(position))
    assert 100_000 < terms_bytes <= MAX_DECISION_BYTES
    pipeline.commit()
    both = fill("f2", "p2", contributions=dict.fromkeys(arms, 1e-4), signals=signals)
    (letter,) = pipeline.apply([both], lambda index: Source("t", 0, index)).dead_letters
    assert letter.error_class == "LIMIT"


@pytest.mark.parametrize("seed", range(2))
def test_a_decision_is_taken_as_long_as_it_is_below_its_limit_and_no_longer(seed: int) -> None:
    draw = random.Random(seed)
    arms = tuple(name(number) for number in range(400)) + tuple(f"a{number}" for number in range(100))
    outcomes = set()
    for at in range(10):
        given = draw.sample(arms, draw.randrange(257, 500))
        one = fill("f1", f"p{at}", contributions=dict.fromkeys(given, 1e-4), arm=None)
        pipeline = Pipeline(TaskState(TaskLimits(), BanditRegistry(LearningSettings(arms))))
        applied = pipeline.apply([one], lambda index: Source("t", 0, index))
        names_bytes = sum(len(each.encode()) + 8 for each in given)
        outcomes.add(applied.outcomes[0])
        if applied.outcomes[0]:
            assert applied.dead_letters[0].error_class == "LIMIT"
            assert names_bytes > MAX_DECISION_BYTES - 3_000
        else:
            (position,) = applied.position_snapshots
            decision_bytes = len(encode(position)) - len(encode(msgspec.structs.replace(position, decision=None)))
            assert decision_bytes <= MAX_DECISION_BYTES
    assert outcomes == {0, 2}


@pytest.mark.parametrize("seed", range(50))
def test_a_close_that_waits_is_never_larger_than_it_is_counted(seed: int) -> None:
    draw = random.Random(seed)

    def text() -> str:
        return draw.choice("a\0\u00e9\u20ac\U0001f600") * draw.choice((0, 1, 60, 70, 9_000))

    headers = tuple(Header(text(), draw.choice((None, b"", b"x" * 20_000))) for _ in range(draw.choice((0, 1, 50))))
    key, value = draw.choices((None, b"", b"b" * 200, b"b" * 70_000), k=2)
    source = Source("t" * draw.choice((1, 249)), 2**31 - 1, 2**62, key, value, headers)
    waits = WaitingClose(text()[:200], 1.0, 2.0, 3.0, 4.0, 5.0, -(2**62), source, 6.0)
    counted = waiting_bytes([waits])
    size_bytes = len(encode(msgspec.structs.replace(EMPTY, waiting=(waits,)))) - len(encode(EMPTY)) - 1
    assert size_bytes <= counted <= size_bytes + 100 + 12 * len(headers)


def most_of(rule: str) -> LearningSettings:
    arms = tuple(name(number) for number in range(20))
    if "experts" not in RULES[rule].rule.takes:
        return LearningSettings(arms, algorithm=rule, reward_bound_bps="auto")
    kinds = ("exp3ix", "follow_best", "uniform", {arms[0]: 1.0})
    experts = tuple((name(100 + number), kinds[number % 4]) for number in range(8))
    return LearningSettings(arms, algorithm=rule, expected_decisions=10, experts=experts)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", [100, 201])
def test_the_largest_bandit_of_each_rule_fits_its_bound(rule: str, family: int) -> None:
    """Full of arms and experts with the longest names, of commands that are remembered, and of a bound's warm-up."""
    settings = most_of(rule)
    if family == 201 and not settings.experts:
        settings = replace(settings, arms=tuple(f"{each}:{each}" for each in settings.arms))
    task = Task(TaskLimits(), settings, max_arms=60, max_experts=30)
    advice = {each: 0.1 for each, _ in settings.experts}
    for at in range(99):
        logged = {
            "propensity": 0.5,
            "probabilities": (0.5,) * 20,
            "eta": 0.1,
            "arm": settings.arms[0],
            "advice": advice,
        }
        opened = fill(identity(at), f"p{at}", bandit_id=LONG_ID, **logged)
        task.apply(opened, close(identity(at), f"p{at}", bandit_id=LONG_ID))
    added = [("ADD_ARM" if at < 40 else "ADD_EXPERT", name(200 + at)) for at in range(1_000)]
    commands = [
        Command(identity(at), LONG_ID, cast(Action, action), START, each, 1.0, each)
        for at, (action, each) in enumerate(added)
    ]
    applied = task.apply(*commands)
    (snapshot,), (vector,) = applied.bandit_snapshots, applied.weight_vectors
    assert (len(snapshot.arms), len(snapshot.command_ids)) == (60, 1_000)
    assert len(snapshot.experts) == (30 if settings.experts else 0)
    bound = most_bandit_bytes(settings, 60, 30)
    assert bound / 2 < len(encode(snapshot)) <= bound
    assert len(encode(vector)) <= bound
    assert all(len(encode(each)) <= 2_000 for each in applied.commands_applied)


def test_settings_whose_bandits_might_not_fit_are_refused_by_name() -> None:
    given = {"online_learning": {"algorithm": "exp4", "experts": {f"e{at}": "exp3ix" for at in range(100)}}}
    wide = {"limits": {"arms": 1_000, "experts": 120}}
    with pytest.raises(ValueError, match=r"may need \d+ bytes a bandit, where topics take 1114124: lower limits.arms"):
        Settings.model_validate(given | wide)
    Settings.model_validate(given | {"limits": {"arms": 1_000, "experts": 120, "record_bytes": 4_000_000}})
    Settings.model_validate({"limits": {"arms": 1_000}})  # without experts they fit


def test_thousands_of_small_closes_of_a_topic_with_a_long_name_wait_within_the_bound() -> None:
    """Counted by their records' bytes alone, 4,000 of them were 1.6 MB."""
    state = TaskState(TaskLimits(), BanditRegistry(LearningSettings(("a", "b"))))
    pipeline = Pipeline(state)
    events: list[Fill | Close] = [Close(f"{at}", "b", "p", 1.0, 1.0, START) for at in range(1_200)]
    applied = pipeline.apply(events, lambda index: Source("t" * 249, 7, index, b"b", encode(events[index])))
    (position,) = applied.position_snapshots
    assert 500 < len(position.waiting) < 700
    assert len(encode(position)) < MOST_POSITION_BYTES


def test_closes_with_many_empty_headers_wait_within_the_bound() -> None:
    """An empty header counted nothing, and two bytes are written of it."""
    pipeline = Pipeline(TaskState(TaskLimits(), BanditRegistry(LearningSettings(("a", "b")))))
    headers = (Header("", None),) * 20_000
    closes = [close(f"c{at}") for at in range(40)]
    applied = pipeline.apply(closes, lambda index: Source("trades", 7, index, b"book", b"v", headers))
    (position,) = applied.position_snapshots
    assert len(position.waiting) == 1  # 12 bytes a header
    assert len(encode(position)) < MOST_POSITION_BYTES
