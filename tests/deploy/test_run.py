"""`make run` as a person has it: whole processes on a real broker, stopped, killed and started again."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.child import Child
from deploy.kafka.container import volume_of
from deploy.ports import KAFKA, METRICS, PAGE

ROOT = Path(__file__).parents[2]
START_SECONDS = 180.0
PARTS = {"processor": "armstream.cli run", "demo": "armstream.cli demo", "watch": "armstream.cli watch"}


class Started:
    """One `python -m deploy.run --plain`; its output goes to a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.output = folder / f"output-{time.monotonic_ns()}"
        others = ("ARMSTREAM__", "KAFKA_BOOTSTRAP_SERVERS")  # a broker of its own, which may be killed
        environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        environment |= {"PYTHONPATH": str(ROOT / "processor"), "PYTHONUNBUFFERED": "1"}
        environment |= {name: os.environ[name] for name in ("ARMSTREAM__CORE",) if name in os.environ}  # .ci/run's
        command = [sys.executable, "-m", "deploy.run", "--plain", "--data", str(folder / "data"), *arguments]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_heed_interrupts,  # noqa: PLW1509 - one system call
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def until_trading(self) -> None:
        """Returns when vectors of this run were read back: from here on Ctrl-C has something to sum up."""
        until(lambda: re.search(r"vectors [1-9]", self.text) is not None, START_SECONDS, lambda: self.text)

    def part(self, name: str) -> int:
        """The process id of one of its children."""
        (found,) = [pid for pid in descendants(self.process.pid) if PARTS[name] in command_line(pid)]
        return found

    def end(self, seconds: float = START_SECONDS) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.text}") from None

    def lines(self) -> list[str]:
        """What stands where the screen would be."""
        return [line for line in self.text.splitlines() if re.match(r" *[\d.]+ s  ", line)]

    def pasted(self) -> list[str]:
        """The command lines that it prints for another terminal, and what an engine connects with."""
        printed = [line for line in self.text.splitlines() if line not in self.lines()]
        return [line for line in printed if line.startswith(("  ", "an engine connects"))]

    def summary(self) -> dict[str, float]:
        """The last line."""
        found: dict[str, float] = json.loads(self.text.splitlines()[-1])
        return found


def _heed_interrupts() -> None:
    """A suite that a shell runs in the background has SIGINT ignored, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until(condition: Callable[[], bool], seconds: float, text: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s:\n{text()}"
        time.sleep(0.1)


def command_line(pid: int) -> str:
    """ "" where the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [grandchild for child in children for grandchild in descendants(child)]


def kill_broker(family: list[int], data: Path) -> None:
    """The Java process, or else the container, which is named after its data."""
    java = [pid for pid in family if "kafka.Kafka" in command_line(pid)]
    for pid in java:
        os.kill(pid, signal.SIGKILL)
    if not java:
        subprocess.run(["docker", "kill", volume_of(data)], check=True, timeout=30)


def keep_ports_of_its_own(data: Path) -> None:
    """Ports that no other run of this machine asks for, below those that the system hands out."""
    data.mkdir()
    port = 20_000 + 3 * (os.getpid() % 4_000)
    (data / "ports.json").write_text(json.dumps({KAFKA: port, METRICS: port + 1, PAGE: port + 2}))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts runs that share a data folder; ends what a failed test left."""
    runs: list[Started] = []

    def begin(*arguments: str) -> Started:
        runs.append(Started(tmp_path, *arguments))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.process.terminate()
            run.process.wait(60)


@pytest.mark.kafka
def test_it_runs_for_a_time_sums_up_and_the_next_runs_go_on_until_interrupted_and_under_another_preset(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    """Three runs on one folder, one after the other."""
    keep_ports_of_its_own(tmp_path / "data")
    first = start("--for", "6", "--rate", "300")
    assert first.end() == 0, first.text
    it_has_summed_up(first)

    second = start("--rate", "300")
    until(lambda: second.lines() != [], START_SECONDS, lambda: second.text)
    assert "bandits 15  audit records" in second.lines()[0], "what the topics hold is shown at once"
    assert second.pasted() == first.pasted(), "the same ports, the same file"
    second.until_trading()
    second.process.send_signal(signal.SIGINT)
    assert second.end() == 0, second.text
    # restored, a bandit's version goes on from where it was: 15 bandits share this run's rewards
    assert second.summary()["max_version"] > first.summary()["max_version"]
    assert second.summary()["dead_letters"] == 0
    assert "begin anew" not in first.text + second.text

    third = start("--for", "6", "--rate", "300", "--preset", "tsallis")
    assert third.end() == 0, third.text
    it_has_said_which_bandits_begin_anew_and_the_way_back(third)


def it_has_summed_up(run: Started) -> None:
    summary = run.summary()
    assert list(summary) == [
        "events",
        "rewards",
        "updates",
        "dead_letters",
        "bandits",
        "max_version",
        "seconds_to_first_vector",
    ]
    assert summary["dead_letters"] == 0
    assert summary["bandits"] == 15
    # a reward is a fill and its close: two fills of one order share a close
    assert 1 <= summary["updates"] <= summary["rewards"] <= summary["events"] <= 300 * 20
    assert 0 < summary["seconds_to_first_vector"] < START_SECONDS


def it_has_said_which_bandits_begin_anew_and_the_way_back(run: Started) -> None:
    begun = "preset tsallis: 15 bandits learned under exp3ix and begin anew with the next trade in their partition"
    (line,) = [line for line in run.text.splitlines() if line.startswith("preset ")]
    assert line.startswith(begun)
    assert {f"{stock}-{horizon}" for stock in ("AAPL", "IBM") for horizon in ("1d", "5d", "20d")} <= set(
        line.partition(": ")[2].partition(": ")[2].split(", ")
    )
    assert 'then make run ARGS="--preset exp3ix"; to keep both: make run ARGS="--preset tsallis --data' in run.text


@pytest.mark.kafka
@pytest.mark.parametrize("name", ["processor", "demo"])
def test_where_a_part_is_killed_the_rest_stops_and_the_line_names_it(start: Callable[..., Started], name: str) -> None:
    run = start()
    run.until_trading()
    family = descendants(run.process.pid)
    os.kill(run.part(name), signal.SIGKILL)
    assert run.end(30) == 1
    assert f"make run: the {name} died, by SIGKILL" in run.text
    assert f"the end of {run.output.parent / 'data' / 'logs' / name}.log" in run.text
    assert [pid for pid in family if command_line(pid)] == []


@pytest.mark.kafka
def test_where_the_broker_is_killed_the_rest_stops_and_the_line_names_it(
    start: Callable[..., Started],
) -> None:
    run = start()
    run.until_trading()
    family = descendants(run.process.pid)
    kill_broker(family, run.output.parent / "data")
    assert run.end(30) == 1
    assert "make run: the broker died" in run.text
    assert [pid for pid in family if command_line(pid)] == []


@pytest.mark.kafka
def test_where_it_is_killed_itself_nothing_is_left_running(start: Callable[..., Started]) -> None:
    run = start()
    run.until_trading()
    family = [run.part(name) for name in PARTS]
    run.process.kill()
    run.process.wait(10)
    until(lambda: not any(map(command_line, family)), 10, lambda: f"left: {[command_line(pid) for pid in family]}")


def test_wrong_usage_is_exit_code_2_before_anything_is_started(start: Callable[..., Started]) -> None:
    run = start("--rate", "0")
    assert run.end(30) == 2
    assert "0 is not a positive number" in run.text


# A child


def child(tmp_path: Path, code: str) -> Child:
    made = Child("part", [sys.executable, "-u", "-c", code], os.environ, tmp_path / "part.log")
    until(lambda: "up" in made.log.read_text(), 30, made.tail)
    return made


def test_a_child_that_ends_in_order_gives_its_exit_code_and_its_last_lines(tmp_path: Path) -> None:
    code = "from signal import *; pthread_sigmask(SIG_BLOCK, [SIGTERM]); print('up'); sigwait([SIGTERM]); print('done')"
    part = child(tmp_path, code)
    assert part.exit_code is None
    assert part.stop(20) == 0
    assert part.ended == "with exit code 0"
    assert part.tail().splitlines()[1:] == ["up", "done"]


def test_a_child_that_does_not_end_is_killed_after_the_bound(tmp_path: Path) -> None:
    code = "from signal import *; signal(SIGTERM, lambda *_: print('no')); print('up')\nwhile 1: pause()"
    part = child(tmp_path, code)
    started = time.monotonic()
    assert part.stop(1.0) == -signal.SIGKILL
    assert 1.0 <= time.monotonic() - started < 10
    assert part.ended == "by SIGKILL"
    assert part.tail().splitlines() == [f"the end of {part.log}:", "up", "no"]


def test_a_child_is_in_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(tmp_path: Path) -> None:
    part = child(tmp_path, "import os, time; print('up', os.getsid(0) == os.getpid(), flush=True); time.sleep(60)")
    assert "up True" in part.log.read_text()
    part.stop(20)
