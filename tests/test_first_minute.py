"""The first minute as a newcomer has it: `make run`, then what the first pages say and what it prints, as it stands.

Python blocks that connect to 127.0.0.1:9092, and lines of sh and console blocks that begin with .venv/bin/armstream.
Where the run has other ports than the pages name, they take the place of those.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.test_run import Started, until

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "start").glob("*.md"))]
KAFKA, METRICS, PAGE = "127.0.0.1:9092", "127.0.0.1:9464", "127.0.0.1:8080"
COMMAND_SECONDS = 180.0
BANDITS_SECONDS = 60.0
RATE = 50  # events a second: verify derives all of it again


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Started]:
    """`make run` that is trading."""
    started = Started(tmp_path, "--rate", str(RATE))
    try:
        started.until_trading()
        yield started
    finally:
        started.process.terminate()
        started.end(60)


def blocks(languages: str) -> list[str]:
    fence = re.compile(rf"^```(?:{languages})\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [block for page in PAGES for block in fence.findall(page.read_text(encoding="utf-8"))]


def engines() -> list[str]:
    return [block for block in blocks("python") if f'"bootstrap.servers": "{KAFKA}"' in block]


def commands() -> list[str]:
    lines = [line.removeprefix("$ ") for block in blocks("sh|console") for line in block.splitlines()]
    return [line for line in lines if line.startswith(".venv/bin/armstream ")]


def bootstrap_servers(run: Started) -> str:
    (line,) = [line for line in run.text.splitlines() if line.startswith("an engine connects with ")]
    found: str = json.loads(line.removeprefix("an engine connects with "))["bootstrap.servers"]
    return found


def typed(run: Started, command: str) -> subprocess.CompletedProcess[str]:
    """As one would in the checkout's folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARMSTREAM__")}
    environment["no_proxy"] = "127.0.0.1"
    servers = bootstrap_servers(run)
    if servers != KAFKA:
        environment["ARMSTREAM__KAFKA__BOOTSTRAP_SERVERS"] = servers
    return subprocess.run(
        ["bash", "-c", command.replace(KAFKA, servers)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def shown(run: Started, command: str) -> str:
    done = typed(run, command)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}"
    assert done.stdout.strip(), f"{command} showed nothing"
    return done.stdout


@pytest.mark.kafka
def test_what_make_run_prints_and_what_the_first_pages_say_works_as_it_stands(run: Started, tmp_path: Path) -> None:
    """One after the other on one run, as a reader does it: the commands name bandits that the engines made."""
    arms, verify, metrics = [line.strip() for line in run.pasted() if line.startswith("  ")]
    wanted = ("AAPL-1d", "IBM-20d", "momentum", "buy_and_hold")  # 20 bars until IBM-20d has its first reward
    until(lambda: all(name in shown(run, arms) for name in wanted), BANDITS_SECONDS, lambda: run.text)
    assert "armstream_rewards_total" in shown(run, metrics)
    assert re.search("verified|partial", shown(run, verify))
    for what, address in {"Kafka": KAFKA, "metrics": METRICS, "the page": PAGE}.items():
        port = address.partition(":")[2]
        assert address in run.text or f"{what}: port {port} is taken" in run.text

    (address,) = re.findall(r"the page of all this: (http://\S+)", run.text)
    assert "<title>Armstream" in shown(run, f"curl --silent --show-error --fail {address}")

    assert engines()
    for number, engine in enumerate(engines()):
        file = tmp_path / f"engine-{number}.py"
        file.write_text(engine.replace(KAFKA, bootstrap_servers(run)))
        shown(run, f".venv/bin/python {file}")
    assert commands()
    for command in commands():
        shown(run, command)

    nobody = typed(run, ".venv/bin/armstream arms list nobody")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr == "no weights of 'nobody' yet; the same command without it lists all that there are\n"
