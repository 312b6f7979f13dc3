"""The ports of `make run`. Law: the default ones where they are free, else the next free ones, the same at each start.

They are kept beside the data. Who listens on a port does so seconds after it was chosen: meanwhile, a UDP socket of the
same number tells other runs on this machine that it is.
"""

import json
import socket
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
KAFKA, METRICS, PAGE = "Kafka", "metrics", "the page"
DEFAULT_PORTS: Mapping[str, int] = {KAFKA: 9092, METRICS: 9464, PAGE: 8080}
TRIES = 1_000


class NoPortError(Exception):
    """Every port that was tried is taken."""


class Ports:
    """The ports of one run, chosen when they are asked for and held until the end of the context."""

    def __init__(self, data: Path, say: Callable[[str], None]) -> None:
        """`data` is the run's folder, which is there when a port is asked for; `say` is told of what is taken."""
        self._file = data / "ports.json"
        self._say = say
        self._held: dict[str, tuple[int, socket.socket]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, claim in self._held.values():
            claim.close()

    def kafka(self) -> int:
        return self._port(KAFKA)

    def metrics(self) -> int:
        return self._port(METRICS)

    def page(self) -> int:
        return self._port(PAGE)

    def _port(self, what: str) -> int:
        """Raises NoPortError."""
        if what not in self._held:
            kept = json.loads(self._file.read_text()) if self._file.exists() else {}
            default = DEFAULT_PORTS[what]
            wanted = kept.get(what, default)
            port, claim = _first_free(wanted, default)
            self._held[what] = port, claim
            if port != wanted:
                self._say(f"{what}: port {wanted} is taken; it is {port}, and will be at the next start")
            part = self._file.with_suffix(".part")
            part.write_text(json.dumps({**kept, what: port}))
            part.replace(self._file)
        return self._held[what][0]


def _first_free(wanted: int, default: int) -> tuple[int, socket.socket]:
    for port in chain([wanted], range(default, default + TRIES)):
        claim = _claim(port)
        if claim is not None:
            return port, claim
    raise NoPortError(f"the ports from {default} to {default + TRIES - 1} are all taken")


def _claim(port: int) -> socket.socket | None:
    """A socket that holds the port against other runs; None where one of them or anybody else has it."""
    claim = socket.socket(type=socket.SOCK_DGRAM)
    try:
        claim.bind((HOST, port))
        with socket.socket() as probe:
            # As servers do: what the last run's connections left in TIME_WAIT takes no port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except OSError:
        claim.close()
        return None
    return claim
