"""Structured logs: one line a record, as JSON or as text. Law: no secret leaves through them, no control character,
no line is longer than a screen, whatever it quotes, and no outage fills a disk.

What a caller passes as `extra={...}` becomes a field of its own: log.info("restored", extra={"partition": 3}).
"""

import codecs
import json
import logging
import re
import sys
import time
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import IO, Literal

from armstream.printable import json_printable, printable

MASK = "********"
LINE_MAX_CHARACTERS = 2_000
LEAST_MASKED_CHARACTERS = 4

log = logging.getLogger(__name__)

_FIELD_MAX_CHARACTERS = (1_000, 300, 100, 30)  # the first with which the line fits
_EXCEPTION_LINE_MAX_CHARACTERS = 500
_CLIENTS_LINES = frozenset({"%s [%s] %s", "kafka: %s"})  # librdkafka's own, and what it tells of errors
_AGAIN_AFTER_SECONDS = 10.0
_KINDS_REMEMBERED = 1_000
_NUMBER = re.compile(r"\d+")
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
    handler.addFilter(Repeats())
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    if any(0 < len(secret) < LEAST_MASKED_CHARACTERS for secret in secrets):
        log.warning(
            "a secret of kafka.client has fewer than %d characters: lines do not mask it", LEAST_MASKED_CHARACTERS
        )


class Repeats(logging.Filter):
    """Passes a line of a Kafka client once in 10 s, whatever numbers are in it, with how many were left out.

    Without a broker librdkafka writes forty a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}  # (when, how many were left out since)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg not in _CLIENTS_LINES:
            return True
        now, kind = time.monotonic(), (record.name, _NUMBER.sub("#", record.getMessage()))
        said_at, left_out = self._said.get(kind, (float("-inf"), 0))
        if now - said_at < _AGAIN_AFTER_SECONDS:
            self._said[kind] = said_at, left_out + 1
            return False
        if len(self._said) >= _KINDS_REMEMBERED:
            self._said.clear()
        self._said[kind] = now, 0
        if left_out:
            record.msg = f"{record.msg} (and {left_out} more like it in {now - said_at:.0f} s)"
        return True


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
            lines = masked(self.formatException(record.exc_info), self._secrets).split("\n")
            fields["exception"] = "\n".join(_cut(line, _EXCEPTION_LINE_MAX_CHARACTERS) for line in lines)
        line = self._render(fields)
        for most_characters in _FIELD_MAX_CHARACTERS:
            if max(map(len, line.split("\n"))) <= LINE_MAX_CHARACTERS:
                break
            cut = {
                name: _cut(each, most_characters) if isinstance(each, str) else each for name, each in fields.items()
            }
            line = self._render(cut)
        return line

    def _render(self, fields: dict[str, object]) -> str:
        if self._as_json:
            return json_printable(json.dumps(fields, ensure_ascii=self._ascii_alone))
        return _as_text(dict(fields))

    def _plain(self, value: object) -> object:
        """Numbers as they are, all else as text without secrets."""
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
            return value
        return masked(str(value), self._secrets)


def _cut(text: str, most_characters: int) -> str:
    """Its beginning and its end, and how much was left out between them."""
    left_out = len(text) - most_characters
    if left_out <= 0:
        return text
    half = most_characters // 2
    return f"{text[:half]}... {left_out} characters ...{text[len(text) - half :]}"


def _as_text(fields: dict[str, object]) -> str:
    exception = fields.pop("exception", None)
    line = "{time} {level:<7} {logger}: {message}".format(**fields)
    extra = [f"{name}={value}" for name, value in list(fields.items())[4:]]
    lines = [" ".join([line, *extra])]
    if exception:
        lines += [f"  {one}" for one in str(exception).split("\n")]  # so that none of them looks like a record
    return "\n".join(map(printable, lines))
