"""The worked example of an engine, as a process beside a real processor."""

import os
import re
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from armstream.codec import decode
from armstream.events import Close, Fill, Reward
from deploy.kafka.broker import Broker
from tests.examples.trading_engine import BANDIT_ID, BASE
from tests.integration.processor import Job

ROOT = Path(__file__).parents[2]
ARM = re.compile(r"([a-z_]+) ([\d.]+) ([\d.]+) ([\d.]+)")


def example(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.examples.trading_engine", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "processor")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.kafka
def test_it_trades_and_shows_base_bandit_and_blended_weights(kafka: Broker, tmp_path: Path) -> None:
    prefix = f"example-{time.monotonic_ns()}-"
    with closing(Job(kafka.bootstrap_servers, prefix, tmp_path)) as job:
        job.set({"online_learning.warm_start_steps": "20", "online_learning.families": str(list(BASE))})
        job.create_topics()
        processor = job.start().wait_until_ready()
        servers = ("--bootstrap-servers", kafka.bootstrap_servers, "--prefix", prefix)
        done = example(*servers, "--for", "12", "--per-second", "20", "--plain")
        assert (done.returncode, done.stderr) == (0, "")
        job.wait_until_applied(processor)
        assert processor.stop() == 0, processor.text
        rewards = [decode(record.value) for record in job.audit()]
        sent = [decode(record.value) for record in job.log.read(job.settings.topics.names.trades[0])]
        assert job.verify()["result"] == "verified"
    assert len(rewards) >= 30
    for fill in sent:
        assert isinstance(fill, Close) or (isinstance(fill, Fill) and fill.signals.keys() == BASE.keys())
    for reward in rewards:
        assert isinstance(reward, Reward)
        assert (reward.bandit_id, reward.applied, reward.propensity_source) == (BANDIT_ID, True, "LOGGED")
    lines = done.stdout.splitlines()
    assert {line.split()[2] for line in lines} == {"WARMING", "LIVE"}
    for line in lines:
        alpha = float(line.partition("alpha ")[2].split()[0])
        for arm, base, bandit, blended in ARM.findall(line.partition("alpha ")[2]):
            assert float(base) == BASE[arm]
            expected = (1 - alpha) * BASE[arm] + alpha * float(bandit)
            assert float(blended) == pytest.approx(expected, abs=0.0011)  # of three digits each


def test_where_nothing_runs_it_says_what_to_start() -> None:
    done = example("--bootstrap-servers", "127.0.0.1:1", "--for", "1")
    assert done.returncode == 1
    assert "make run" in done.stderr.splitlines()[-1]
