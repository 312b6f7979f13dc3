"""A child process with a log of its own. Law: it ends with its parent, and a stop has a bound."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
TAIL_LINES = 15


class Child:
    """A running command. Start it from a thread that stays: on Linux it is killed when that thread ends."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Starts it in a session of its own, so that the terminal's Ctrl-C does not reach it; output goes to `log`."""
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call, of a library loaded before
            )

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    @property
    def ended(self) -> str:
        """How it ended, for people."""
        code = self.exit_code
        if code is None:
            return "still running"
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"

    def stop(self, seconds: float) -> int:
        """SIGTERM, and SIGKILL when it still runs after `seconds`; gives the exit code."""
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def tail(self) -> str:
        return tail(self.log)


def tail(log: Path) -> str:
    """The file's name and its last lines; "" where there is no such file."""
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([f"the end of {log}:", *lines[-TAIL_LINES:]])


def _end_with_parent() -> None:
    # SIGKILL: nobody is left who would bound an orderly end, and a killed processor goes on where its last commit was.
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
