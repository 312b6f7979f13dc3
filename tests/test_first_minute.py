"""The first minute as a newcomer has it: `make run`, then what the first pages say and what it prints, as it stands.

Python blocks that connect to 127.0.0.1:9092, and lines of sh and console blocks that begin with .venv/bin/armstream.
Where the run has other ports than the pages name, they take the place of those.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.test_run import Started

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "start").glob("*.md"))]
KAFKA, METRICS = "127.0.0.1:9092", "127.0.0.1:9464"
BLOCK_SECONDS = 180.0

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """`make run` that is trading, for all that is tried beside it."""
    started = Started(tmp_path_factory.mktemp("first-minute"))
    try:
        started.until_trading()
        yield started
    finally:
        started.process.terminate()
        started.end(60)


def blocks(page: Path, languages: str) -> list[str]:
    return re.findall(rf"^```(?:{languages})\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


PYTHON = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page, "python"))
    if f'"bootstrap.servers": "{KAFKA}"' in block
]
COMMANDS = [
    pytest.param(line.removeprefix("$ "), id=f"{page.name}: {line}")
    for page in PAGES
    for block in blocks(page, "sh|console")
    for line in block.splitlines()
    if line.removeprefix("$ ").startswith(".venv/bin/armstream ")
]


def bootstrap_servers(run: Started) -> str:
    (line,) = [line for line in run.text.splitlines() if line.startswith("an engine connects with ")]
    found: str = json.loads(line.removeprefix("an engine connects with "))["bootstrap.servers"]
    return found


def shell(run: Started, command: str) -> str:
    """What it shows, in the checkout's folder as one would type it there."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARMSTREAM__")}
    servers = bootstrap_servers(run)
    if servers != KAFKA:
        environment["ARMSTREAM__KAFKA__BOOTSTRAP_SERVERS"] = servers
    done = subprocess.run(
        ["bash", "-c", command.replace(KAFKA, servers)],
        cwd=ROOT,
        env=environment | {"no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=BLOCK_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}"
    assert done.stdout.strip(), f"{command} showed nothing"
    return done.stdout


def test_the_pages_have_an_engine_and_a_command_to_try() -> None:
    assert PYTHON
    assert COMMANDS


@pytest.mark.parametrize("block", PYTHON)
def test_an_engine_of_the_pages_trades_on_it_and_shows_something(run: Started, block: str, tmp_path: Path) -> None:
    file = tmp_path / "engine.py"
    file.write_text(block.replace(KAFKA, bootstrap_servers(run)))
    shell(run, f"{sys.executable} {file}")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_pages_works_on_it_and_shows_something(run: Started, command: str) -> None:
    """Behind the engines, whose bandits some of the commands name."""
    shell(run, command)


def test_the_lines_that_it_prints_work_as_they_stand(run: Started) -> None:
    arms, verify, metrics = [line.strip() for line in run.pasted() if line.startswith("  ")]
    shown = shell(run, arms)
    assert all(f"{stock}-1d" in shown for stock in ("AAPL", "IBM"))
    assert "momentum" in shown
    assert "armstream_rewards_total" in shell(run, metrics)
    assert re.search("verified|partial", shell(run, verify))


def test_the_ports_are_the_usual_ones_or_it_said_why_not(run: Started) -> None:
    for what, address in {"Kafka": KAFKA, "metrics": METRICS}.items():
        port = address.partition(":")[2]
        assert address in run.text or f"{what}: port {port} is taken" in run.text


def test_a_bandit_that_is_not_there_is_1_with_one_line(run: Started) -> None:
    command = [".venv/bin/armstream", "arms", "list", "nobody"]
    environment = os.environ | {"ARMSTREAM__KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers(run)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "no weights of 'nobody' yet: `armstream arms list` shows all that there are\n"
