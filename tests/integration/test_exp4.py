"""An engine with experts of its own, through kills and commands, on real Kafka: who knows the context is trusted."""

import json
import time
from contextlib import closing
from pathlib import Path

import pytest
from numpy.random import default_rng

from armstream.codec import decode
from armstream.engine import TradesPublisher, WeightsFollower
from armstream.events import Reward
from deploy.kafka.broker import Broker
from tests.integration.processor import Job, eventually

pytestmark = pytest.mark.kafka

ARMS = ("trend", "revert", "hold")
EXPERTS = {"base": {"hold": 1.0}, "bandit": "exp3ix", "best": "follow_best", "regime": "engine"}
DECISIONS = 600


def knows(context: int) -> list[float]:
    """The best arm of the regime, all of it."""
    return [float(arm == context) for arm in range(len(ARMS))]


def guesses(context: int) -> list[float]:
    return knows((context + 1) % len(ARMS))


def test_an_engines_expert_that_knows_the_regime_earns_the_trust_through_kills(kafka: Broker, tmp_path: Path) -> None:
    """The arm of the regime earns 40 bps, the others lose 40; the processor is killed twice; a bad expert joins."""
    rng = default_rng(3)
    with closing(Job(kafka.bootstrap_servers, f"exp4-{time.monotonic_ns()}-", tmp_path)) as job:
        learning = {
            "algorithm": "exp4",
            "families": ARMS,
            "experts": EXPERTS,
            "eta": 0.1,
            "eta_auto": False,
            "implicit": 0.01,
        }
        job.set({f"online_learning.{name}": json.dumps(value) for name, value in learning.items()})
        job.set({"online_learning.algorithm": "exp4", "online_learning.reward_bound_bps": "100"})
        job.create_topics()
        names, client = job.settings.topics.names, {"bootstrap.servers": job.bootstrap_servers}
        process = job.start().wait_until_ready()
        experts = {"regime": knows, "guess": guesses}
        with (
            WeightsFollower(client, topic=names.weights) as follower,
            TradesPublisher(client, topics=names.trades) as publisher,
        ):
            for number in range(DECISIONS):
                regime = int(rng.integers(len(ARMS)))
                decision = follower.choose("book", rng, arms=ARMS, context=regime, experts=experts)
                move = 0.4 if decision.arm == ARMS[regime] else -0.4
                publisher.publish(decision.fill(instrument_id="X", side="BUY", quantity=1, price=100.0))
                publisher.publish(decision.close(quantity=1, price=100.0 + move))
                if number % 50 == 49:  # an engine hears of new weights while it trades
                    publisher.flush()
                    job.wait_until_applied(process)
                if number in (149, 349):
                    process.kill()
                    process = job.start().wait_until_ready()
                if number == 249:
                    asked = job.command("experts", "add", "book", "guess", "--weight", "2", "--id", "k1")
                    assert asked.exit_code(60) == 0, asked.text
                    assert "k1: ADD_EXPERT of 'book' APPLIED" in asked.text
            publisher.flush()
            job.wait_until_applied(process)
            version = max(
                reward.version for record in job.audit() if isinstance(reward := decode(record.value), Reward)
            )
            eventually(lambda: follower.status("book").version >= version, 30, "the follower is there")
            vector = follower.weights("book")
        assert vector is not None
        trust = {expert.name: expert.weight for expert in vector.experts}
        assert trust["regime"] > 0.8, trust  # of chance .2
        assert trust["guess"] < 0.1, trust  # it came with 2 of 7
        assert process.stop() == 0, process.text
        assert job.log.read(names.dead_letters) == []
        report = job.verify()
        assert (report["result"], report["counts"]["rewards"]) == ("verified", DECISIONS)
