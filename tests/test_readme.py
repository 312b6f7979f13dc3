"""The README is short, and its code is run. Links, modules and targets that it names: tests/docs/test_pages.py."""

import re
from pathlib import Path

import pytest

from armstream.events import Reward, WeightVector
from armstream.settings import load
from tests.docs.pages import README, ROOT, blocks
from tests.integration.processor import Job

TEXT = README.read_text(encoding="utf-8")
(ENGINE,) = blocks(TEXT, "python")


def test_it_is_read_in_some_minutes() -> None:
    assert len(TEXT.splitlines()) <= 200


def test_its_engine_has_ten_lines_and_the_models_that_make_run_knows() -> None:
    assert len([line for line in ENGINE.splitlines() if line]) <= 10
    models = re.search(r"models = \[(.*)\]", ENGINE)
    assert models is not None
    demo = load(ROOT / "config" / "demo.yaml", {}).online_learning
    assert tuple(name.strip(' "') for name in models[1].split(",")) == demo.families


@pytest.mark.kafka
def test_an_engine_that_does_as_it_says_is_rewarded(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its block as it stands, but for the broker's address and the topics' prefix, beside a real processor."""
    code = (
        ENGINE.replace("127.0.0.1:9092", bootstrap_servers)
        .replace("WeightsFollower(client", f'WeightsFollower(client, topic="{topic_prefix}weights"')
        .replace("TradesPublisher(client", f'TradesPublisher(client, topics=["{topic_prefix}trades"]')
    )
    job = Job(bootstrap_servers, topic_prefix, tmp_path)
    families = load(ROOT / "config" / "demo.yaml", {}).online_learning.families
    job.set({"online_learning.families": f"[{', '.join(families)}]"})
    try:
        job.create_topics()
        processor = job.start().wait_until_ready()
        exec(code, {})
        assert "with probability 0.20" in capsys.readouterr().out
        job.wait_until_applied(processor)

        (record,) = job.audit()
        reward = record.event
        assert isinstance(reward, Reward)
        assert reward.reward_bps == pytest.approx((50.0 - 0.70) / 15_000 * 10_000, rel=1e-12)
        assert (reward.bandit_id, reward.propensity_source) == ("my-desk", "LOGGED")
        assert [arm.propensity for arm in reward.arms] == [0.2]
        (record,) = job.log.read(job.settings.topics.names.weights)
        vector = record.event
        assert isinstance(vector, WeightVector)
        assert (vector.version, vector.total_steps) == (1, 1)
    finally:
        job.close()
