"""A wait for Kafka is told: by the context that does it, and by every command where nobody answers."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from armstream import waiting as module
from armstream.waiting import waiting, waiting_line
from deploy.kafka.node import free_port

ROOT = Path(__file__).parents[1]
DEMO = ("demo", "--config", str(ROOT / "config" / "demo.yaml"))
COMMANDS = {  # what each waits for, and for how long at most
    ("topics", "create"): ("Kafka", 10),
    ("topics", "check"): ("Kafka", 10),
    ("arms", "list"): ("Kafka", 10),
    ("arms", "add", "book", "lstm"): ("Kafka", 10),
    ("experts", "add", "book", "regime"): ("Kafka", 10),
    ("run",): ("Kafka", 10),
    ("verify",): ("Kafka", 10),
}
START_SECONDS = 30.0  # of so many processes at once, on busy cores


def test_a_wait_is_told_once_and_only_when_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAY_AFTER_SECONDS", 0.05)
    said: list[str] = []
    with waiting("bread", 1.5, said.append):
        pass
    with waiting("Kafka at here:1", 10, said.append):
        time.sleep(0.4)
    assert said == ["waiting for Kafka at here:1, 10 s at most"]


def test_two_seconds_are_long() -> None:
    assert module.SAY_AFTER_SECONDS == 2
    assert waiting_line("a topic", 0.5) == "waiting for a topic, 0.5 s at most"


@pytest.fixture(params=["nothing listens", "never answers"])
def nobody(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address from which no answer comes."""
    if request.param == "nothing listens":
        yield f"127.0.0.1:{free_port()}"
        return
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(100)
        yield f"127.0.0.1:{mute.getsockname()[1]}"


@dataclass(slots=True)
class Shell:
    """A command that runs; standard error goes to a file."""

    process: subprocess.Popen[bytes]
    errors: Path
    started: float


def start(arguments: tuple[str, ...], servers: str, folder: Path) -> Shell:
    errors = folder / "-".join(word for word in arguments if "/" not in word)
    others = {name: value for name, value in os.environ.items() if not name.startswith("ARMSTREAM__")}
    environment = {
        **others,
        "PYTHONPATH": str(ROOT / "processor"),
        "ARMSTREAM__KAFKA__BOOTSTRAP_SERVERS": servers,
        "ARMSTREAM__METRICS__PORT": "0",
    }
    with errors.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "armstream.cli", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return Shell(process, errors, time.monotonic())


def test_every_command_says_where_it_waits_and_for_how_long_and_ends_with_1(nobody: str, tmp_path: Path) -> None:
    shells = {arguments: start(arguments, nobody, tmp_path) for arguments in [*COMMANDS, DEMO]}
    try:
        _the_demo_says_so_and_can_be_stopped(shells.pop(DEMO), nobody)
        for arguments, shell in shells.items():
            _it_says_so_and_ends(shell, *COMMANDS[arguments], nobody)
    finally:
        for shell in shells.values():
            shell.process.kill()


def _the_demo_says_so_and_can_be_stopped(demo: Shell, nobody: str) -> None:
    line = f"waiting for the end of topic 'weights' of Kafka at {nobody}, 90 s at most: "
    try:
        while line not in demo.errors.read_text():
            assert time.monotonic() - demo.started < START_SECONDS, demo.errors.read_text()
            time.sleep(0.1)
        demo.process.terminate()
        assert demo.process.wait(START_SECONDS) == 0
    finally:
        demo.process.kill()


def _it_says_so_and_ends(shell: Shell, what: str, most_seconds: float, nobody: str) -> None:
    assert shell.process.wait(START_SECONDS + most_seconds) == 1
    lines = shell.errors.read_text().splitlines()
    told = [number for number, line in enumerate(lines) if " s at most" in line]
    assert len(told) == 1, lines
    assert f"waiting for {what} at {nobody}, {most_seconds} s at most" in lines[told[0]]
    assert f"Kafka at {nobody}: " in lines[-1]
    assert told[0] < len(lines) - 1
