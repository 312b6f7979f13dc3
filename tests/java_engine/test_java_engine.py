"""An engine in Java, with the plain Kafka client and Avro: the wire contract is for everyone."""

import fcntl
import hashlib
import json
import shutil
import subprocess
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from armstream.codec import decode
from armstream.events import Fill, Reward, WeightVector
from armstream.resources import resource
from deploy.kafka.broker import CACHE, Broker
from deploy.kafka.java import find_java
from tests.integration.log import latest
from tests.integration.processor import Job

HERE = Path(__file__).parent
ARMS = ("ridge", "mlp", "boost")
REWARD_BPS = {side: (move - 0.7) / 15_000 * 10_000 for side, move in (("BUY", 50), ("SELL", -50))}
# 100 at 150, closed at 150.5, fees .5, slippage .2


def built() -> Path:
    """The folder of its classes and jars, made once for each state of the sources."""
    maven = shutil.which("mvn")
    assert maven is not None, "Maven builds the engine in Java: apt-get install maven"
    sources = sorted([HERE / "pom.xml", *HERE.rglob("*.java")])
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
    engine = CACHE / f"java-engine-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "jars.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Maven's repository takes one writer
        if engine.is_dir():
            return engine
        part = CACHE / "java-engine-part"
        shutil.rmtree(part, ignore_errors=True)
        goals = ["compile", "dependency:copy-dependencies"]
        where = [f"-Dengine.build={part}", f"-DoutputDirectory={part / 'jars'}"]
        command = [maven, "-q", "-B", "-f", str(HERE / "pom.xml"), *where, *goals]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
        part.rename(engine)
    return engine


@pytest.mark.kafka
def test_an_engine_in_java_follows_weights_and_its_fills_teach(kafka: Broker, tmp_path: Path) -> None:
    engine, prefix = built(), f"java-{time.monotonic_ns()}-"
    with closing(Job(kafka.bootstrap_servers, prefix, tmp_path)) as job:
        job.set({"online_learning.families": json.dumps(ARMS)})
        job.create_topics()
        processor = job.start().wait_until_ready()
        classes = f"{engine / 'classes'}:{engine / 'jars'}/*"
        given = (kafka.bootstrap_servers, prefix, str(resource("schemas")), "java-book", ",".join(ARMS), "8", "5")
        done = subprocess.run(
            [find_java(), "-cp", classes, "armstream.Engine", *given],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        job.wait_until_applied(processor)
        assert processor.stop() == 0, processor.text
        names = job.settings.topics.names
        rewards = [decode(record.value) for record in job.audit()]
        (vector,) = [
            decode(value) for by_key in latest(job.log.read(names.weights)).values() for value in by_key.values()
        ]
        sent = [decode(record.value) for record in job.log.read(names.trades[0])]
        assert job.log.read(names.dead_letters) == []
        assert job.verify()["result"] == "verified"
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step["version"] for step in steps] == list(range(1, 9))
    assert [step["weights_version"] for step in steps] == list(range(8))
    assert isinstance(vector, WeightVector)
    assert steps[-1]["probabilities"] == [arm.probability for arm in vector.arms]
    for step, reward in zip(steps, rewards, strict=True):
        assert isinstance(reward, Reward)
        assert reward.reward_bps == pytest.approx(REWARD_BPS[step["signals"][step["arm"]]], rel=1e-12)
        assert (reward.applied, reward.propensity_source) == (True, "LOGGED")
        assert [(arm.name, arm.propensity) for arm in reward.arms] == [(step["arm"], step["propensity"])]
    fills = [event for event in sent if isinstance(event, Fill)]
    assert [(fill.side, fill.signals) for fill in fills] == [
        (step["signals"][step["arm"]], step["signals"]) for step in steps
    ]
    assert {view for step in steps for view in step["signals"].values()} == {"BUY", "SELL", "FLAT"}
    for before, after in pairwise(steps):
        published = dict(zip(ARMS, before["probabilities"], strict=True))
        awake = sum(published[arm] for arm, view in after["signals"].items() if view != "FLAT")
        assert after["propensity"] == pytest.approx(published[after["arm"]] / awake, rel=1e-12)
