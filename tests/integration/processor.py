"""The real program as processes of its own: started, watched, ended in order or with signal 9.

A Job is one consumer group with topics that nobody else has; it knows the settings that its processes get, by their
environment, and ends whatever was left running.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from armstream import settings as armstream_settings
from armstream.keys import TASK_KEY
from armstream.runtime import topics
from armstream.settings import Settings
from deploy.kafka.node import free_port
from tests.integration.load import Event, Sender
from tests.integration.log import Log, Record

SOURCE_ROOT = Path(__file__).parents[2] / "processor"
_READY_SECONDS = 60.0
_STOP_SECONDS = 30.0
_APPLY_SECONDS = 90.0
_VERIFY_SECONDS = 240.0


def eventually(condition: Callable[[], bool], seconds: float, what: str, every_seconds: float = 0.05) -> None:
    """Returns when the condition holds; fails, saying `what`, when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(every_seconds)


class Process:
    """One run of the program."""

    def __init__(self, arguments: Iterable[str], environment: Mapping[str, str], log: Path, port: int) -> None:
        self.log = log
        self._metrics = f"http://127.0.0.1:{port}"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "armstream.cli", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def is_ready(self) -> bool:
        """/readyz answers 200. Fails where the process has ended."""
        assert self.is_alive, f"it ended with {self._process.returncode}:\n{self.text}"
        return self._status("/readyz") == 200

    def wait_until_ready(self, seconds: float = _READY_SECONDS) -> "Process":
        eventually(lambda: self.is_ready, seconds, "ready")
        return self

    def wait_until_it_says(self, text: str, seconds: float = 30.0) -> None:
        eventually(lambda: text in self.text, seconds, f"{text!r} in\n{self.text}")

    def metrics(self) -> str:
        with urllib.request.urlopen(f"{self._metrics}/metrics", timeout=10) as response:
            return str(response.read().decode())

    def _status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(self._metrics + path, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def kill(self) -> None:
        """Signal 9."""
        self._process.kill()
        self._process.wait(_STOP_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def terminate(self) -> None:
        """SIGTERM; does not wait."""
        self._process.terminate()

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        self.terminate()
        return self.exit_code()

    def exit_code(self, seconds: float = _STOP_SECONDS) -> int:
        """Waits for the end."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.text}") from None


class Job:
    """A group, its topics and its processes. `overrides` are settings by path: {"topics.partitions": "4"}.

    B = 100, so that the first reward of a bandit teaches; a test of the automatic bound sets it.
    """

    def __init__(self, bootstrap_servers: str, prefix: str, folder: Path) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        self._folder = folder
        self._processes: list[Process] = []
        self._overrides = {
            "kafka.bootstrap_servers": bootstrap_servers,
            "kafka.group_id": prefix + "group",
            "kafka.session_timeout_ms": "6000",
            "topics.prefix": prefix,
            "topics.partitions": "4",
            "online_learning.reward_bound_bps": "100",
            "log.format": "text",
        }
        self.python_path = ""  # before the program's own, for a fault that is put into it
        self._log: Log | None = None
        self._sender: Sender | None = None

    # Settings and topics.

    def set(self, overrides: Mapping[str, str]) -> None:
        """Settings of everything from now on."""
        self._overrides |= overrides
        if "kafka.group_id" in overrides and self._log is not None:
            self._log.close()
            self._log = None

    @property
    def settings(self) -> Settings:
        """What a process of this job gets."""
        return armstream_settings.load(None, self.environment({}))

    def create_topics(self) -> None:
        topics.create(self.settings)

    def audit(self) -> list[Record]:
        """What stands on `rewards` about bandits: all but the tasks' own records."""
        return [record for record in self.log.read(self.settings.topics.names.rewards) if record.key != TASK_KEY]

    def sender(self) -> Sender:
        if self._sender is None:
            names = self.settings.topics.names
            self._sender = Sender(self.bootstrap_servers, names.trades, names.commands)
        return self._sender

    @property
    def log(self) -> Log:
        if self._log is None:
            self._log = Log(self.bootstrap_servers, self.settings.kafka.group_id)
        return self._log

    def environment(self, overrides: Mapping[str, str]) -> dict[str, str]:
        kept = {name for name in os.environ if not name.startswith("ARMSTREAM__")} | {"ARMSTREAM__CORE"}  # .ci/run's
        environment = {name: value for name, value in os.environ.items() if name in kept}
        for path, value in {**self._overrides, **overrides}.items():
            environment["ARMSTREAM__" + path.upper().replace(".", "__")] = value
        return environment | {"PYTHONPATH": self._python_path(SOURCE_ROOT), "PYTHONUNBUFFERED": "1"}

    def _python_path(self, source_root: Path) -> str:
        return os.pathsep.join(filter(None, (self.python_path, str(source_root))))

    # Processes.

    def start(
        self,
        instance: str = "a",
        *arguments: str,
        overrides: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        source_root: Path = SOURCE_ROOT,
    ) -> Process:
        """`armstream run`, of this version or of the one in `source_root`; not ready yet.

        `variables` of its environment are beside its settings.
        """
        with_instance = {"instance": instance, **(overrides or {})}
        return self.command("run", *arguments, overrides=with_instance, variables=variables, source_root=source_root)

    def command(
        self,
        *arguments: str,
        overrides: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        source_root: Path = SOURCE_ROOT,
    ) -> Process:
        port = free_port()
        environment = self.environment({"metrics.port": str(port), **(overrides or {})})
        if source_root is not SOURCE_ROOT:
            environment.pop("ARMSTREAM__CORE", None)  # which another version may not know
        environment |= {"PYTHONPATH": self._python_path(source_root), **(variables or {})}
        log = self._folder / f"{len(self._processes):02d}-{arguments[0]}.log"
        process = Process(arguments, environment, log, port)
        self._processes.append(process)
        return process

    def verify(
        self,
        *arguments: str,
        skip: frozenset[tuple[str, int, int]] = frozenset(),
        seconds: float = _VERIFY_SECONDS,
    ) -> dict[str, Any]:
        """What `armstream verify --json` says; fails, with its line, where it does not end with 0.

        `skip` is what the processors were told to skip: nothing else may have been.
        """
        done = subprocess.run(
            [sys.executable, "-m", "armstream.cli", "verify", "--json", *arguments],
            env=self.environment({}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"verify ended with {done.returncode}:\n{done.stdout}\n{done.stderr[-4_000:]}"
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["result"] in {"verified", "partial"}, report
        assert {tuple(place) for place in report["skipped"]} <= skip, f"skipped, and nobody asked for it: {report}"
        return report

    def send(self, events: Iterable[Event]) -> None:
        self.sender().send(events)

    def wait_until_applied(self, *processes: Process, seconds: float = _APPLY_SECONDS) -> None:
        """Every input record is behind the group's committed offsets. Fails as soon as one of the processes ends."""

        def watch() -> None:
            for process in processes:
                assert process.is_alive, f"it ended:\n{process.text}"

        self.watch_until_applied(watch, seconds)

    def watch_until_applied(self, watch: Callable[[], None], seconds: float = _APPLY_SECONDS) -> None:
        """The same, with `watch` called between two looks."""
        inputs = self.settings.topics.names.inputs
        ends = self.log.ends(inputs)

        def applied() -> bool:
            watch()
            committed = self.log.committed(inputs)
            return all(committed[at] >= end for at, end in ends.items())

        eventually(applied, seconds, "all input applied")

    def close(self) -> None:
        """Ends what runs; shows what the processes said, which pytest prints where a test failed."""
        for process in self._processes:
            if process.is_alive:
                process.kill()
        for process in self._processes[-4:]:
            print(f"--- {process.log.name}\n{process.text[-4_000:]}")  # noqa: T201 - shown for a failed test only
        if self._log is not None:
            self._log.close()
