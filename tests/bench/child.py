"""A loop under measurement: a process of its own, its CPU time, its /metrics, its end. Linux only: it reads /proc."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from armstream.layers import ENVIRONMENT_PREFIX

STOP_SECONDS = 20.0
READY_SECONDS = 60.0
_LOG_LINES = 20
_ROOT = Path(__file__).parents[2]
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """There is no result; the text says why."""


class Child:
    """A running child. `check` raises where it has ended by itself."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def check(self) -> None:
        if self._process.poll() is not None:
            lines = self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            raise BenchError(f"{self._log.stem} ended with {self._process.returncode}:\n" + "\n".join(lines))

    def cpu_seconds(self) -> float:
        """User and system time of all its threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND

    def peak_bytes(self) -> int:
        """The most memory that it had at once."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1_024
        raise BenchError(f"{self._log.stem} has no memory any more")

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int:
        """Its exit code, when it has ended by itself; an error where that is not within so many seconds."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self._log.stem} did not end within {seconds:.0f} s") from None

    def stop(self) -> None:
        """SIGTERM, and an error where that does not end it well."""
        self.check()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(STOP_SECONDS)
        if code != 0:
            raise BenchError(f"{self._log.stem} answered SIGTERM with exit code {code}: see its log above")


def python(module: str, *arguments: str) -> list[str]:
    """The command of a module, by the interpreter that runs this."""
    return [sys.executable, "-m", module, *arguments]


@contextmanager
def start(command: Sequence[str], log: Path) -> Iterator[Child]:
    """The command from the checkout's root, its output in `log`; it never outlives the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=_ROOT,
            env=environment,
        )
    try:
        yield Child(process, log)
    finally:
        process.kill()
        process.wait()


def wait_until_ready(child: Child, port: int) -> None:
    """Returns when /readyz says 200."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        child.check()
        try:
            if _get(port, "/readyz")[0] == 200:
                return
        except ConnectionError:
            pass  # it does not listen yet: asked again until the deadline
        if time.monotonic() > deadline:
            raise BenchError(f"not ready after {READY_SECONDS:.0f} s")
        time.sleep(0.1)


def _get(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


Buckets = Mapping[float, float]


def transaction_buckets(port: int) -> Buckets:
    """Upper bound in seconds -> committed transactions that took at most that, from /metrics."""
    _, text = _get(port, "/metrics")
    buckets: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        if family.name == "armstream_transaction_seconds":
            for sample in family.samples:
                if sample.name.endswith("_bucket"):
                    bound = float(sample.labels["le"])
                    buckets[bound] = buckets.get(bound, 0.0) + sample.value
    return buckets


def quantile(buckets: Buckets, share: float) -> float:
    """The value below which `share` of all observations are, linear within a bucket as Prometheus' histogram_quantile.

    Raises BenchError where nothing was observed, or the quantile lies above the last finite bound.
    """
    bounds = sorted(buckets)
    wanted = share * (buckets[bounds[-1]] if bounds else 0.0)
    if wanted == 0:
        raise BenchError("no transaction was observed")
    low, below = 0.0, 0.0
    for bound in bounds[:-1]:
        if buckets[bound] >= wanted:
            return low + (bound - low) * (wanted - below) / (buckets[bound] - below)
        low, below = bound, buckets[bound]
    raise BenchError(f"the quantile {share} lies above the last bucket, {low} s")
