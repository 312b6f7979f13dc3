"""Kafka on this machine's Java: one KRaft node on loopback, in a process of its own.

Law: a broker does not outlive whoever started it, and no two use one data folder. On Linux the kernel ends it with its
parent. Elsewhere, the next start ends a broker that was left behind: `broker.lock` is locked by the broker itself, so
the process id in it can be nobody else's.
"""

import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from deploy.kafka.node import (
    FORGOT_A_COMMIT,
    NOT_SECURED,
    SINGLE_NODE,
    START_SECONDS,
    Proxied,
    Secured,
    WayError,
    free_port,
    wait_until_it_answers,
)

HERE = Path(__file__).parent
CLUSTER_ID = "QXJtc3RyZWFtLUthZmthMQ"  # 16 bytes in base64: Armstream-Kafka1
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
HEAP = "-Xmx1g"
BROKER = "Kafka's jars, 44 MB"


class JavaBroker:
    """A running node. It dies with the thread that made it: start it from one that stays."""

    def __init__(
        self,
        data_dir: Path,
        jars: Path,
        java: str,
        port: Callable[[], int],
        settings: Mapping[str, str],
        secured: Secured = NOT_SECURED,
    ) -> None:
        """Starts it; returns when it answers. Raises WayError, with the log's path, after 90 s or when it stops."""
        self._data_dir = data_dir
        self._secured = secured
        self.secured_servers = {name: f"127.0.0.1:{free_port()}" for name in secured.protocols}
        self._log = data_dir / "broker.log"
        self._java = [java, HEAP, "-cp", f"{jars}/*", f"-Dlog4j2.configurationFile={HERE / 'log4j2.xml'}"]
        self._lock = _lock_or_end_who_holds_it(data_dir / "broker.lock")
        self._log.unlink(missing_ok=True)
        self.bootstrap_servers = f"127.0.0.1:{port()}"  # when a broker that was left behind has ended
        self.proxied = Proxied(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
        self.way = f"Java, one node at {self.bootstrap_servers}"
        self._format(settings)
        self._process = self._start()

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """Signal 9: nothing is flushed, nothing is said."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Starts again what was killed: same data, same port."""
        self._process = self._start()

    def forgotten_commits(self) -> int:
        """How often it said so, since it was made."""
        return self._log.read_text(errors="replace").count(FORGOT_A_COMMIT)

    def stop(self) -> None:
        """In order, within 20 s; else with signal 9."""
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()
        self._lock.close()

    def _format(self, more_settings: Mapping[str, str]) -> None:
        properties = self._data_dir / "server.properties"
        controller = f"127.0.0.1:{free_port()}"
        secured = "".join(f"{name}://{address}," for name, address in self.secured_servers.items())
        protocols = "".join(f",{name}:{protocol}" for name, protocol in self._secured.protocols.items())
        clients = f"{secured}PLAINTEXT://{self.bootstrap_servers},PROXIED://"
        settings = SINGLE_NODE | {
            "listeners": f"{clients}{self.proxied.address},CONTROLLER://{controller}",
            "advertised.listeners": clients + self.proxied.advertised,
            "listener.security.protocol.map": SINGLE_NODE["listener.security.protocol.map"] + protocols,
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self._data_dir / "log"),
            **more_settings,
            **self._secured.settings,
        }
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        if not has_data(self._data_dir):
            format_storage(self._java, properties, self._log)

    def _start(self) -> subprocess.Popen[bytes]:
        properties = self._data_dir / "server.properties"
        process = launch(self._java, properties, self._log, pass_fds=[self._lock.fileno()])
        self._lock.truncate(0)
        self._lock.write(f"{process.pid}\n")
        self._lock.flush()
        wait_or_end(process, self.bootstrap_servers, self._log)
        return process


def format_storage(java: Sequence[str], properties: Path, log: Path) -> None:
    """Raises WayError, with the log's path."""
    command = [*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
    with log.open("ab") as output:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False).returncode
    if code != 0:
        raise WayError(f"formatting its storage failed: see {log}")


def launch(java: Sequence[str], properties: Path, log: Path, pass_fds: Collection[int] = ()) -> subprocess.Popen[bytes]:
    """A node that ends with the thread that starts it; it may not answer yet."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [*java, "kafka.Kafka", str(properties)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C goes to the foreground group: the broker stops last, in order
            pass_fds=pass_fds,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call, of a library loaded before
        )


def wait_or_end(process: subprocess.Popen[bytes], address: str, log: Path, seconds: float = START_SECONDS) -> None:
    """Returns when the node answers; else ends it and raises WayError, with the log's path."""
    try:
        wait_until_it_answers(address, seconds, alive=lambda: process.poll() is None)
    except BaseException as error:
        process.kill()
        process.wait()
        if isinstance(error, WayError):
            raise WayError(f"{error}: see {log}") from error
        raise


def has_data(data_dir: Path) -> bool:
    """Whether a node of ours kept its data there."""
    return (data_dir / "log" / "meta.properties").exists()


def find_java() -> str:
    """The command of a Java that is at least 17; raises WayError."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None) or shutil.which("java")
    if java is None:
        raise WayError("no Java here")
    text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60).stderr
    version = re.search(r'version "(\d+)', text)
    if version is None or int(version[1]) < 17:
        raise WayError(f"Kafka needs Java 17 or later, {java} is {version[1] if version else 'unknown'}")
    return java


def find_jars(cache_dir: Path, say: Callable[[str], None], pom: Path = HERE / "pom.xml", what: str = BROKER) -> Path:
    """The folder of a pom.xml's jars, resolved with Maven where the cache lacks those of exactly this one."""
    jars = cache_dir / f"jars-{hashlib.sha256(pom.read_bytes()).hexdigest()[:8]}"
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise WayError(f"no Maven here to fetch {what}")
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (cache_dir / "jars.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Maven's repository takes one writer; who holds this ends within 300 s
        if jars.is_dir():  # another run was first
            return jars
        say(f"kafka: fetching {what} (once) with Maven")
        part, log = cache_dir / "jars-part", cache_dir / "maven.log"
        shutil.rmtree(part, ignore_errors=True)
        command = [maven, "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={part}"]
        try:
            with log.open("wb") as output:
                subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True, timeout=300)
            part.rename(jars)
        except (subprocess.SubprocessError, OSError) as error:
            raise WayError(f"Maven could not fetch {what}: see {log}") from error
    return jars


def _end_with_parent() -> None:
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _lock_or_end_who_holds_it(path: Path) -> IO[str]:
    """The lock file, locked. A broker that a killed run left is ended, in order within 20 s, else with signal 9."""
    lock = path.open("a+")
    for attempt in range(300):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read()
            if holder and attempt in {0, 200}:
                with suppress(ProcessLookupError):  # it ended meanwhile
                    os.kill(int(holder), signal.SIGKILL if attempt else signal.SIGTERM)
            time.sleep(0.1)
    lock.close()
    raise WayError(f"a process that does not end holds {path}")
