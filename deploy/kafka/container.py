"""Kafka from an image, through testcontainers. Law: what takes longer than 20 s to pull is not here."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Self

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from deploy.kafka.node import (
    FORGOT_A_COMMIT,
    NONE,
    SINGLE_NODE,
    START_SECONDS,
    Proxied,
    WayError,
    free_port,
    wait_until_it_answers,
)

PULL_SECONDS = 20
PORT, PROXIED_PORT = 9092, 9094
START_SCRIPT = "/start-armstream.sh"
DATA = "/var/lib/kafka/data"
DOCKER_ERRORS = (DockerException, OSError, RuntimeError)  # docker's own, those of requests, testcontainers' own

ALONE = SINGLE_NODE | {
    "listeners": f"PLAINTEXT://0.0.0.0:{PORT},PROXIED://0.0.0.0:{PROXIED_PORT},CONTROLLER://127.0.0.1:9093",
    "controller.quorum.voters": "1@127.0.0.1:9093",
    "heap.opts": "-Xmx1g",
}


class KafkaContainer(DockerContainer):
    """apache/kafka, or an image that takes its settings. Its clients' address is known only when it runs, so it waits
    for the script that exports it. `inside` are the listeners that other containers call, NAME://host:port."""

    def __init__(
        self, image: str, settings: Mapping[str, str], inside: Sequence[str] = (), port: Callable[[], int] = free_port
    ) -> None:
        super().__init__(image, entrypoint=["/bin/sh", "-c"])
        environment = {**settings, "log.dirs": DATA}
        self.with_envs(**{f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in environment.items()})
        self.with_bind_ports(PORT, port())  # of our own choice: they stay through a restart
        self.with_bind_ports(PROXIED_PORT, free_port())
        self._inside = inside
        self._advertised = f"127.0.0.1:{free_port()}"
        self.with_command([f"while [ ! -s {START_SCRIPT} ]; do sleep .1; done; . {START_SCRIPT}"])

    def start(self) -> Self:
        super().start()
        listeners = [f"PLAINTEXT://{self.address()}", f"PROXIED://{self._advertised}", *self._inside]
        script = f"export KAFKA_ADVERTISED_LISTENERS={','.join(listeners)}\nexec /etc/kafka/docker/run\n"
        self.copy_into_container(script.encode(), START_SCRIPT)
        return self

    def address(self, port: int = PORT) -> str:
        return f"{self.get_container_host_ip()}:{self.get_exposed_port(port)}"

    def proxied(self) -> Proxied:
        return Proxied(self.address(PROXIED_PORT), self._advertised)


class ContainerBroker:
    """A running container. With a data folder its data is a Docker volume named after the folder, which stays."""

    def __init__(
        self, image: str, data_dir: Path | None, port: Callable[[], int] = free_port, settings: Mapping[str, str] = NONE
    ) -> None:
        """Starts it; returns when it answers. Raises WayError: no daemon, no image within 20 s, no answer in 90 s."""
        volume = None if data_dir is None else volume_of(data_dir)
        try:
            prepare(image)
            if volume is not None:
                _remove_leftover(volume)  # it may have the port
            self._container = KafkaContainer(image, {**ALONE, **settings}, port=port)
            if volume is not None:
                self._container.with_name(volume).with_volume_mapping(volume, DATA, "rw")
        except DOCKER_ERRORS as error:
            raise WayError(_one_line(error)) from error
        try:
            self._container.start()
            self.bootstrap_servers = self._container.address()
            self.proxied = self._container.proxied()
            wait_until_it_answers(self.bootstrap_servers, START_SECONDS, self.alive)
        except BaseException as error:  # Ctrl-C too: a container outlives its starter
            reason = f"{error}; its last line: {self._last_line()}" if isinstance(error, WayError) else _one_line(error)
            self._container.stop()
            if isinstance(error, (WayError, *DOCKER_ERRORS)):
                raise WayError(reason) from error
            raise
        self.way = f"Docker, {image} at {self.bootstrap_servers}"

    def alive(self) -> bool:
        try:
            self._container.reload()
        except NotFound:
            return False
        return self._container.status == "running"

    def kill(self) -> None:
        """Signal 9: nothing is flushed, nothing is said."""
        container = self._container.get_wrapped_container()
        container.kill()
        container.wait()

    def restart(self) -> None:
        """Starts again what was killed: same data, same port."""
        self._container.get_wrapped_container().start()
        wait_until_it_answers(self.bootstrap_servers, START_SECONDS, self.alive)

    def forgotten_commits(self) -> int:
        """How often it said so, since it was made."""
        return self._said().count(FORGOT_A_COMMIT)

    def stop(self) -> None:
        """In order, within 20 s; else with signal 9. A volume stays."""
        with suppress(NotFound):  # somebody else removed it
            self._container.get_wrapped_container().stop(timeout=20)
            self._container.stop()

    def _last_line(self) -> str:
        return next((line for line in reversed(self._said().split("\n")) if line.strip()), "none")

    def _said(self) -> str:
        return b"".join(self._container.get_logs()).decode(errors="replace")


def volume_of(data_dir: Path) -> str:
    """The name of the volume, and of the one container that may use it."""
    return f"armstream-{hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:8]}"


def remove_volume(data_dir: Path) -> None:
    """Removes the data that a container kept for the folder; raises WayError where no Docker daemon answers."""
    with _client() as client, suppress(NotFound):
        client.volumes.get(volume_of(data_dir)).remove()


@contextmanager
def _client() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env(timeout=5)
    except DockerException as error:
        raise WayError("no Docker daemon answers") from error
    with closing(client):
        yield client


def prepare(image: str) -> None:
    """Before a container is made. Raises WayError: no daemon, or no image within 20 s."""
    with _client() as client:
        if not _has(client, image):
            _pull(client, image)
        # The reaper is an image more: used where it is, never pulled.
        testcontainers_config.ryuk_disabled = not _has(client, testcontainers_config.ryuk_image)


def _has(client: docker.DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except ImageNotFound:
        return False
    return True


def _pull(client: docker.DockerClient, image: str) -> None:
    failures: list[Exception] = []
    client.api.timeout = PULL_SECONDS

    def pull() -> None:
        try:
            client.images.pull(image)
        except (DockerException, OSError) as error:
            failures.append(error)

    thread = threading.Thread(target=pull, daemon=True)
    thread.start()
    thread.join(PULL_SECONDS)
    if thread.is_alive():
        raise WayError(f"the image {image} did not come within {PULL_SECONDS} s")
    if failures:
        raise WayError(f"the image {image} cannot be pulled: {_one_line(failures[0])}")


def _remove_leftover(name: str) -> None:
    with _client() as client, suppress(NotFound):
        client.containers.get(name).remove(force=True)


def _one_line(error: BaseException) -> str:
    text = str(error.explanation) if isinstance(error, APIError) else str(error)
    return " ".join(text.split())[:200]
