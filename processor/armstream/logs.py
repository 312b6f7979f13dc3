"""Structured logs: one line a record, as JSON or as text. Law: no secret leaves through them.

What a caller passes as `extra={...}` becomes a field of its own: log.info("restored", extra={"partition": 3}).
"""

import json
import logging
import sys
import time
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import IO, Literal

MASK = "********"

_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):  # one may hold another
        text = text.replace(secret, MASK)
    return text


def configure(
    level: str, line_format: Literal["json", "text"], secrets: Sequence[str] = (), stream: IO[str] | None = None
) -> None:
    """Sends every logger's lines from `level` up to `stream` (standard error), with each of `secrets` masked."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(LineFormatter(line_format, secrets))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


class LineFormatter(logging.Formatter):
    """Renders a record and its extra fields; times are UTC."""

    def __init__(self, line_format: Literal["json", "text"], secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self._as_json = line_format == "json"
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
        return json.dumps(fields, ensure_ascii=False) if self._as_json else _as_text(fields)

    def _plain(self, value: object) -> object:
        """Numbers as they are, all else as text without secrets."""
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
            return value
        return masked(str(value), self._secrets)


def _as_text(fields: dict[str, object]) -> str:
    exception = fields.pop("exception", None)
    line = "{time} {level:<7} {logger}: {message}".format(**fields)
    extra = [f"{name}={value}" for name, value in list(fields.items())[4:]]
    return " ".join([line, *extra]).replace("\n", "\\n") + (f"\n{exception}" if exception else "")
