"""Structured logs: one line a record, as JSON or as text. Law: no secret leaves through them, and no control character.

What a caller passes as `extra={...}` becomes a field of its own: log.info("restored", extra={"partition": 3}).
"""

import codecs
import json
import logging
import sys
import time
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import IO, Literal

from armstream.printable import json_printable, printable

MASK = "********"
LEAST_MASKED_CHARACTERS = 4

log = logging.getLogger(__name__)

_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets that have LEAST_MASKED_CHARACTERS or more.

    A shorter one protects nothing, since whoever may ask can try them all, and is a part of ordinary words: masked, it
    would make every line unreadable, and the holes would spell it. Settings are masked by name, whatever their length.
    """
    long_enough = (secret for secret in secrets if len(secret) >= LEAST_MASKED_CHARACTERS)
    for secret in sorted(long_enough, key=len, reverse=True):  # one may hold another
        text = text.replace(secret, MASK)
    return text


def configure(
    level: str, line_format: Literal["json", "text"], secrets: Sequence[str] = (), stream: IO[str] | None = None
) -> None:
    """Sends every logger's lines from `level` up to `stream` (standard error), with each of `secrets` masked.

    One that is too short to be masked is told of.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(LineFormatter(line_format, secrets, getattr(handler.stream, "encoding", None) or "utf-8"))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    if any(0 < len(secret) < LEAST_MASKED_CHARACTERS for secret in secrets):
        log.warning(
            "a secret of kafka.client has fewer than %d characters: lines do not mask it", LEAST_MASKED_CHARACTERS
        )


class LineFormatter(logging.Formatter):
    """Renders a record and its extra fields; times are UTC. `encoding` is that of the stream: JSON stays JSON in it."""

    def __init__(
        self, line_format: Literal["json", "text"], secrets: Sequence[str] = (), encoding: str = "utf-8"
    ) -> None:
        super().__init__()
        self._as_json = line_format == "json"
        self._ascii_alone = not codecs.lookup(encoding).name.startswith("utf")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": self._plain(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _OWN_FIELDS:
                fields[name] = self._plain(value)
        if record.exc_info:
            fields["exception"] = self._plain(self.formatException(record.exc_info))
        if self._as_json:
            return json_printable(json.dumps(fields, ensure_ascii=self._ascii_alone))
        return _as_text(fields)

    def _plain(self, value: object) -> object:
        """Numbers as they are, all else as text without secrets."""
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
            return value
        return masked(str(value), self._secrets)


def _as_text(fields: dict[str, object]) -> str:
    exception = fields.pop("exception", None)
    line = "{time} {level:<7} {logger}: {message}".format(**fields)
    extra = [f"{name}={value}" for name, value in list(fields.items())[4:]]
    lines = [" ".join([line, *extra])]
    if exception:
        lines += [f"  {one}" for one in str(exception).split("\n")]  # so that none of them looks like a record
    return "\n".join(map(printable, lines))
