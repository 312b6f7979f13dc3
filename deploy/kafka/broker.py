"""Kafka on any machine. Law: always a real broker, by the first way that works; each that does not says why in a line.

The ways, in order: the address in KAFKA_BOOTSTRAP_SERVERS, a Docker daemon, Java and Maven, and on Debian as root Java
and Maven after installing them. Who names an image in KAFKA_IMAGE gets it, or an error: never Java instead.
"""

import fcntl
import importlib
import ipaddress
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

from armstream.waiting import waiting
from deploy.kafka.java import JavaBroker, find_jars, find_java, has_data
from deploy.kafka.node import NONE, START_SECONDS, Proxied, WayError, free_port, wait_until_it_answers

CACHE = Path(__file__).parents[2] / ".kafka"
RUN_DATA = CACHE / "run"  # what `make run` keeps
DEFAULT_IMAGE = "apache/kafka"
GIVEN_SECONDS = 10
IMAGE_SECONDS = 30  # to find a daemon, and to pull what a registry has

Say = Callable[[str], None]
Port = Callable[[], int]


class NoKafkaError(Exception):
    """Kafka cannot be had, or not safely; the text says what to do."""


class Broker(Protocol):
    """A broker that answers. proxied, kill, restart and stop are for brokers of our own: a given one is let alone.

    `forgotten_commits` counts what a node that stands alone can lose when it is killed: see node.FORGOT_A_COMMIT.
    """

    bootstrap_servers: str
    way: str  # how it was had and where it is, for people

    @property
    def proxied(self) -> Proxied: ...
    def alive(self) -> bool: ...
    def kill(self) -> None: ...
    def restart(self) -> None: ...
    def forgotten_commits(self) -> int: ...
    def stop(self) -> None: ...


Way = Callable[[], Broker]


class GivenBroker:
    """Somebody else's broker."""

    def __init__(self, bootstrap_servers: str) -> None:
        """Returns when it answers; raises WayError when it does not for 10 s."""
        wait_until_it_answers(bootstrap_servers, GIVEN_SECONDS)
        self.bootstrap_servers = bootstrap_servers
        self.way = f"KAFKA_BOOTSTRAP_SERVERS, {bootstrap_servers}"

    @property
    def proxied(self) -> Proxied:
        raise NoKafkaError(f"the broker at {self.bootstrap_servers} is not ours to give a listener")

    def alive(self) -> bool:
        """Always true: whether its owner ended it shows in its clients' errors."""
        return True

    def kill(self) -> None:
        raise NoKafkaError(f"the broker at {self.bootstrap_servers} is not ours to kill")

    def restart(self) -> None:
        raise NoKafkaError(f"the broker at {self.bootstrap_servers} is not ours to start")

    def forgotten_commits(self) -> int:
        """None: it is never killed by us."""
        return 0

    def stop(self) -> None:
        """Leaves it running."""


@contextmanager
def start_kafka(
    data_dir: Path | None = None,
    say: Say = print,
    environment: Mapping[str, str] = os.environ,
    port: Port = free_port,
    settings: Mapping[str, str] = NONE,
) -> Iterator[Broker]:
    """A broker that answers, stopped in order at the end. Call it from a thread that stays: see JavaBroker.

    What is in `data_dir` is there again the next time, as long as the way is the same; None is a fresh folder that is
    removed. A broker of our own listens on the loopback port that `port` gives, and has `settings` beside ours. Raises
    NoKafkaError: no way worked, another process runs on data_dir, or the address in KAFKA_BOOTSTRAP_SERVERS is not
    loopback and KAFKA_ALLOW_REMOTE=1 is not set.
    """
    with _data_folder(data_dir) as folder:
        ways = _ways(folder, keep=data_dir is not None, say=say, environment=environment, port=port, settings=settings)
        broker = _first_that_works(ways, say)
        try:
            say(f"kafka: {broker.way}")
            yield broker
        finally:
            broker.stop()


def forget(data_dir: Path) -> None:
    """Removes what earlier runs kept in data_dir, and its Docker volume. Raises NoKafkaError while one runs on it."""
    with _data_folder(data_dir):
        shutil.rmtree(data_dir)
    with suppress(WayError):  # no Docker here: then there is no volume
        _container().remove_volume(data_dir)


def _ways(
    folder: Path, keep: bool, say: Say, environment: Mapping[str, str], port: Port, settings: Mapping[str, str]
) -> dict[str, Way]:
    ways: dict[str, Way] = {}
    given = environment.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        if not (is_loopback(given) or environment.get("KAFKA_ALLOW_REMOTE") == "1"):
            raise NoKafkaError(
                f"KAFKA_BOOTSTRAP_SERVERS={given} is not on this machine: "
                "set KAFKA_ALLOW_REMOTE=1 if topics may be created there"
            )
        ways["KAFKA_BOOTSTRAP_SERVERS"] = lambda: _given(given, say)
    image = environment.get("KAFKA_IMAGE")
    in_container = {
        "Docker": lambda: _in_container(image or DEFAULT_IMAGE, folder if keep else None, say, port, settings)
    }
    if image:
        return ways | in_container
    on_java = {"Java": lambda: _on_java(folder, say, port, settings)}
    # Data of an earlier run is on one of the two: a daemon that was started meanwhile does not hide it.
    ways |= on_java | in_container if has_data(folder) else in_container | on_java
    ways["installing Java"] = lambda: _after_installing_java(folder, say, port, settings)
    return ways


def _first_that_works(ways: Mapping[str, Way], say: Say) -> Broker:
    for name, way in ways.items():
        try:
            return way()
        except WayError as failure:
            say(f"kafka: not by {name}: {failure}")
    if "Java" not in ways:
        raise NoKafkaError("no Kafka: KAFKA_IMAGE is set, which leaves Docker alone; unset it for other ways")
    raise NoKafkaError("no Kafka: start Docker, or install Java 17 or later and Maven, or set KAFKA_BOOTSTRAP_SERVERS")


def _given(bootstrap_servers: str, say: Say) -> Broker:
    with waiting(f"Kafka at {bootstrap_servers}", GIVEN_SECONDS, say):
        return GivenBroker(bootstrap_servers)


def _in_container(
    image: str, data_dir: Path | None, say: Say, port: Port, settings: Mapping[str, str] = NONE
) -> Broker:
    container = _container()
    with waiting(f"Kafka in a container of {image}", IMAGE_SECONDS + START_SECONDS, say):
        return cast(Broker, container.ContainerBroker(image, data_dir, port, settings))


def _container() -> ModuleType:
    try:
        return importlib.import_module("deploy.kafka.container")  # costs 0.3 s, and testcontainers may not be here
    except ImportError as error:
        raise WayError(f"{error.name} is not installed") from error


def _on_java(folder: Path, say: Say, port: Port, settings: Mapping[str, str]) -> Broker:
    java = find_java()
    jars = find_jars(CACHE, say)
    with waiting(f"Kafka on {java}", START_SECONDS, say):
        return JavaBroker(folder, jars, java, port, settings)


def _after_installing_java(folder: Path, say: Say, port: Port, settings: Mapping[str, str]) -> Broker:
    if _has_java_and_maven():
        raise WayError("Java and Maven are here")
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise WayError("only done as root on Debian or Ubuntu")
    say("kafka: installing a Java runtime and Maven with apt-get")
    jre = "openjdk-17-jre-headless"
    try:
        _run("apt-get", "update")
        if subprocess.run(["apt-cache", "show", jre], capture_output=True, check=False).returncode != 0:
            jre = "openjdk-21-jre-headless"
        _run("apt-get", "install", "--yes", "--no-install-recommends", jre, "maven")
    except subprocess.SubprocessError as error:
        raise WayError(str(error)) from error
    return _on_java(folder, say, port, settings)


def _has_java_and_maven() -> bool:
    try:
        find_java()
    except WayError:
        return False
    return shutil.which("mvn") is not None


def _run(*command: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=600, env=environment)


@contextmanager
def _data_folder(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is None:
        folder = Path(tempfile.mkdtemp(prefix="armstream-kafka-"))
        wanted = False
        try:
            yield folder
        except NoKafkaError:
            wanted = any(folder.iterdir())  # the error names the log in it
            raise
        finally:
            if not wanted:
                shutil.rmtree(folder)
        return
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "run.lock").open("a") as lock:  # not inherited: it ends with this process
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoKafkaError(f"another run has its data in {data_dir}: stop it first") from None
        yield data_dir


def is_loopback(bootstrap_servers: str) -> bool:
    """Whether every address in the list is on this machine; a name other than localhost is not asked after."""
    return all(_is_loopback(server.strip()) for server in bootstrap_servers.split(","))


def _is_loopback(server: str) -> bool:
    host = server.rpartition("://")[2].rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
