"""Every preset of config/ on real Kafka: killed, restored, derived again, and explained."""

import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from armstream.codec import decode
from armstream.events import Fill, Reward
from armstream.explain.bandit import explained
from armstream.resources import resource
from armstream.settings import load
from deploy.kafka.broker import Broker
from tests.explain.test_agreement import require_told
from tests.integration.load import Event, advised, history, signalled
from tests.integration.processor import Job

pytestmark = pytest.mark.kafka


PRESETS = ("both-sides", "default", "documented", "exp4", "sides", "tracking", "tracking-tsallis", "tsallis")
SIGNALLED = ("both-sides", "sides")


@pytest.mark.parametrize("preset", PRESETS)
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
            elif preset in SIGNALLED:
                job.send(signalled(_logged(events), arms))
            else:
                job.send(_logged(events))
            process.wait_until_ready().kill()
            process = job.start()
        process.wait_until_ready()
        job.wait_until_applied(process)
        assert process.stop() == 0, process.text
        rewards = [record for record in map(decode, (one.value for one in job.audit())) if isinstance(record, Reward)]
        assert sum(reward.applied for reward in rewards) > 500
        sees_more = any(arm.share == 0.0 and arm.estimate is not None for reward in rewards for arm in reward.arms)
        assert sees_more is (preset in SIGNALLED)
        assert job.verify()["result"] == "verified"
        require_told(explained(job.settings, "book-0", at_micros=time.time_ns() // 1_000, say=print))


def _logged(events: Sequence[Event]) -> list[Event]:
    """Without the draws of which nothing was logged."""
    return [event for event in events if not isinstance(event, Fill) or event.arm is None or event.propensity]
