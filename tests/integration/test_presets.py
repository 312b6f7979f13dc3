"""Every preset of config/ on real Kafka: killed, restored, and derived again."""

import json
import time
from contextlib import closing
from pathlib import Path

import pytest

from armstream.codec import decode
from armstream.events import Fill, Reward
from armstream.resources import resource
from armstream.settings import load
from deploy.kafka.broker import Broker
from tests.integration.load import advised, history
from tests.integration.processor import Job

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("preset", ["default", "documented", "exp4", "tracking", "tracking-tsallis", "tsallis"])
def test_a_preset_learns_through_kills_and_is_verified(preset: str, kafka: Broker, tmp_path: Path) -> None:
    shipped = load(resource("config", f"{preset}.yaml"), {}).online_learning.model_dump(mode="json")
    with closing(Job(kafka.bootstrap_servers, f"{preset}-{time.monotonic_ns()}-", tmp_path)) as job:
        job.set(
            {
                f"online_learning.{name}": value if isinstance(value, str) else json.dumps(value)
                for name, value in shipped.items()
            }
        )
        job.create_topics()
        arms = job.settings.online_learning.arms
        process = job.start()
        for step in range(3):
            events = history(60 + step, 1_000, bandits=4, arms=arms, name=f"s{step}-")
            if preset == "exp4":
                job.send(advised(events, list(shipped["experts"])))
            else:
                job.send(
                    [event for event in events if not isinstance(event, Fill) or event.arm is None or event.propensity]
                )
            process.wait_until_ready().kill()
            process = job.start()
        process.wait_until_ready()
        job.wait_until_applied(process)
        assert process.stop() == 0, process.text
        rewards = [decode(record.value) for record in job.audit()]
        assert sum(isinstance(reward, Reward) and reward.applied for reward in rewards) > 500
        assert job.verify()["result"] == "verified"
