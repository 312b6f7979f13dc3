"""Arms, bandits and settings that change while a desk trades, on real Kafka; every test ends with verify."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from armstream.codec import decode
from armstream.engine import WeightsFollower
from armstream.events import Action, Command, CommandApplied, DeadLetter, Reward, WeightVector
from deploy.kafka.broker import Broker
from tests.integration.load import history
from tests.integration.log import latest
from tests.integration.processor import Job, eventually
from tests.stages.events import fill

pytestmark = pytest.mark.kafka

ARMS = ("ridge", "mlp", "boost", "lstm")
ACTIONS: tuple[Action, ...] = ("ADD_ARM", "REMOVE_ARM", "RESET", "PAUSE", "RESUME")
BANDITS = tuple(f"book-{number}" for number in range(8))


@pytest.fixture
def job(kafka: Broker, tmp_path: Path) -> Iterator[Job]:
    with closing(Job(kafka.bootstrap_servers, f"commands-{time.monotonic_ns()}-", tmp_path)) as job:
        job.set({"online_learning.families": json.dumps(list(ARMS))})
        yield job


def audit(job: Job) -> list[Reward | CommandApplied]:
    events = [decode(record.value) for record in job.audit()]
    assert all(isinstance(event, Reward | CommandApplied) for event in events)
    return [event for event in events if isinstance(event, Reward | CommandApplied)]


def commands_applied(job: Job) -> list[CommandApplied]:
    return [event for event in audit(job) if isinstance(event, CommandApplied)]


def vectors(job: Job) -> dict[str, WeightVector]:
    by_key = latest(job.log.read(job.settings.topics.names.weights))
    found = [decode(value) for values in by_key.values() for value in values.values()]
    return {vector.bandit_id: vector for vector in found if isinstance(vector, WeightVector)}


def traded(seed: int, count: int, **fields: Any) -> list[Any]:
    return history(seed, count, bandits=len(BANDITS), arms=ARMS, **fields)


def asked(job: Job, *arguments: str) -> str:
    """What `armstream arms` says."""
    process = job.command("arms", *arguments)
    eventually(lambda: not process.is_alive, 60, f"arms {arguments} ends")
    return process.text


def test_an_operator_changes_arms_while_fills_flow_and_hears_what_became_of_it(job: Job) -> None:
    job.create_topics()
    processor = job.start().wait_until_ready()
    job.send(traded(1, 400))
    job.wait_until_applied(processor)
    book = next(iter(vectors(job)))

    added = asked(job, "add", book, "transformer", "--weight", "2", "--reason", "a new model", "--id", "k1")
    assert f"k1: ADD_ARM of {book!r} APPLIED" in added
    job.send(traded(2, 400, name="after-"))
    assert "REFUSED" in asked(job, "add", book, "transformer")
    assert "APPLIED" in asked(job, "remove", book, "ridge", "--id", "k2")
    assert "APPLIED" in asked(job, "pause", book)
    shown = asked(job, "list", book)
    assert f"{book}  PAUSED" in shown
    assert "reward bound 100.0 bps" in shown
    nobody = job.command("arms", "list", "nobody")
    eventually(lambda: not nobody.is_alive, 60, "arms list nobody ends")
    assert nobody.exit_code() == 1
    assert "no weights of 'nobody' yet; the same command without it lists all" in nobody.text
    assert "refused, UNKNOWN_BANDIT: there is no bandit 'nobody'" in asked(job, "reset", "nobody")
    job.send(traded(3, 200, name="paused-"))
    job.wait_until_applied(processor)

    found = vectors(job)[book]
    assert [arm.name for arm in found.arms] == ["mlp", "boost", "lstm", "transformer"]
    gone = [event for event in audit(job) if isinstance(event, Reward) and event.detail == "arm 'ridge' was removed"]
    assert all(not reward.applied for reward in gone)
    assert [one.command_id for one in commands_applied(job)][::2] == ["k1", "k2"]
    metrics = processor.metrics()
    assert 'armstream_commands_total{action="ADD_ARM",outcome="REFUSED"} 1.0' in metrics
    assert processor.stop() == 0, processor.text
    report = job.verify()
    assert report["counts"]["commands"] == 4


def test_commands_in_killed_transactions_are_applied_once(job: Job) -> None:
    job.create_topics()
    draw, now = random.Random(5), int((time.time() - 3_600) * 1e6)
    process = job.start().wait_until_ready()
    job.send(traded(10, 800))  # makes the bandits
    job.wait_until_applied(process)
    books = sorted(vectors(job))
    sent = 0
    for step in range(6):
        commands = [
            Command(f"k{step}-{number}", draw.choice(books), action, now, arm="new" if "ARM" in action else None)
            for number, action in enumerate(draw.choices(ACTIONS, k=20))
        ]
        events: list[Any] = [*traded(20 + step, 200, name=f"s{step}-"), *commands, *commands[:5]]
        job.send(events)
        sent += len(commands)
        time.sleep(draw.uniform(0.0, 0.4))  # a moment, not a wait: the kill meets whatever is under way
        process.kill()
        process = job.start()
    process.wait_until_ready()
    job.wait_until_applied(process)
    assert process.stop() == 0, process.text
    counted = Counter(one.command_id for one in commands_applied(job))
    assert (len(counted), set(counted.values())) == (sent, {1})
    assert job.verify()["counts"]["commands"] == sent


def test_a_thousand_bandits_with_rules_of_their_own(job: Job) -> None:
    names = [f"book-{number}" for number in range(1_000)]
    overrides = {
        name: {"gamma": (number % 10) / 100, **({"blend_alpha": 0.5} if number % 2 else {})}
        for number, name in enumerate(names)
    }
    job.set({"bandits.mode": "registered", "bandits.overrides": json.dumps(overrides)})
    job.create_topics()
    processor = job.start().wait_until_ready()
    job.send(history(7, 8_000, bandits=1_000, arms=ARMS))
    job.send([fill(bandit_id="stranger")])
    job.wait_until_applied(processor)
    found = vectors(job)
    assert len(found) > 870  # of the 891 that trade, those that closed something
    (letter,) = [decode(record.value) for record in job.log.read(job.settings.topics.names.dead_letters)]
    assert isinstance(letter, DeadLetter)
    assert (letter.error_class, letter.error[:26]) == ("UNKNOWN_BANDIT", "bandit 'stranger' is not r")
    for name, vector in found.items():
        assert vector.gamma == overrides[name]["gamma"]
    assert processor.stop() == 0, processor.text
    job.verify()


def test_settings_that_changed_are_refused_kept_or_a_reset_as_they_say(job: Job) -> None:
    job.create_topics()
    first = job.start().wait_until_ready()
    job.send(traded(30, 400))
    job.wait_until_applied(first)
    assert first.stop() == 0, first.text
    before = vectors(job)

    job.set({"online_learning.gamma": "0.1"})
    refused = job.start()
    assert refused.exit_code(60) == 1
    assert "gamma was 0.0 and is 0.1; set them back, or say what becomes of it" in refused.text

    job.set({"bandits.on_settings_change": "keep"})
    kept = job.start().wait_until_ready()
    job.send(traded(31, 200, name="kept-"))
    job.wait_until_applied(kept)
    assert kept.stop() == 0, kept.text
    assert {vector.gamma for vector in vectors(job).values()} == {0.0}
    job.verify()

    job.set({"bandits.on_settings_change": "reset"})
    reset = job.start().wait_until_ready()
    job.send(traded(32, 200, name="reset-"))
    job.wait_until_applied(reset)
    assert reset.stop() == 0, reset.text
    after = vectors(job)
    assert after.keys() == before.keys()
    assert {vector.gamma for vector in after.values()} == {0.1}
    assert len(commands_applied(job)) == len(after)
    job.verify()


@pytest.mark.parametrize("mode", ["horizon", "family_horizon"])
def test_arms_that_are_horizons_or_pairs_learn_and_an_engine_has_the_weights_within_a_horizon(
    job: Job, mode: str
) -> None:
    families, horizons = ("ridge", "mlp"), ("1d", "5d")
    pairs = tuple(f"{family}:{horizon}" for family in families for horizon in horizons)
    job.set(
        {
            "online_learning.arm_mode": mode,
            "online_learning.families": json.dumps(families),
            "online_learning.horizons": json.dumps(horizons),
            "online_learning.warm_start_steps": "0",
        }
    )
    job.create_topics()
    processor = job.start().wait_until_ready()
    arms = horizons if mode == "horizon" else pairs
    job.send(history(40, 600, bandits=2, arms=arms))
    job.wait_until_applied(processor)
    client = {"bootstrap.servers": job.bootstrap_servers}
    with WeightsFollower(client, topic=job.settings.topics.names.weights) as follower:
        weights = {arm.name: arm.weight for arm in vectors(job)["book-0"].arms}
        assert tuple(weights) == arms
        if mode == "family_horizon":
            within = follower.weights_within("book-0", "5d")
            whole = weights["ridge:5d"] + weights["mlp:5d"]
            assert within == pytest.approx({"ridge": weights["ridge:5d"] / whole, "mlp": weights["mlp:5d"] / whole})
            assert "REFUSED" in asked(job, "add", "book-0", "lstm")
            assert "APPLIED" in asked(job, "add", "book-0", "lstm:5d")
    assert processor.stop() == 0, processor.text
    job.verify()


def test_an_automatic_bound_is_found_once_whatever_is_killed_meanwhile(job: Job) -> None:
    job.set({"online_learning.reward_bound_bps": "auto"})
    job.create_topics()
    process = job.start()
    for step in range(4):
        job.send(history(50 + step, 400, bandits=4, arms=ARMS, name=f"s{step}-"))
        process.wait_until_ready().kill()
        process = job.start()
    process.wait_until_ready()
    job.wait_until_applied(process)
    found = vectors(job)
    assert all(vector.reward_bound_bps > 0 and vector.total_steps > 0 for vector in found.values())
    book, before = "book-0", found["book-0"].reward_bound_bps
    assert "APPLIED" in asked(job, "set-bound", book, "40")
    assert vectors(job)[book].reward_bound_bps == 40.0 != before
    assert process.stop() == 0, process.text
    withheld = Counter(event.bandit_id for event in audit(job) if isinstance(event, Reward) and not event.applied)
    assert all(100 <= count <= 105 for count in withheld.values())  # an event may realise several
    job.verify()
