"""A file of text, read whole. Law: reading it ends, whatever stands under its name, and gives text or a reason."""

import os
import select
import stat
import time
from pathlib import Path

LARGEST_BYTES = 4_194_304
WAIT_SECONDS = 10.0  # for who writes into a pipe

_CHUNK_BYTES = 65_536


class UnreadableFile(ValueError):
    """The reason, in some words that name neither the file nor what stands in it."""


def read_text(path: Path) -> str:
    """The text of a file or a pipe, without a byte order mark. Raises UnreadableFile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise UnreadableFile(error.strerror or "no such file") from None
    except ValueError:  # a NUL, a lone surrogate
        raise UnreadableFile("no file can have this name") from None
    try:
        return _read(descriptor).decode("utf-8-sig")
    except OSError as error:
        raise UnreadableFile(error.strerror or "no such file") from None
    except UnicodeDecodeError:
        raise UnreadableFile("it is not UTF-8") from None
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        raise UnreadableFile("it is a directory")
    content, deadline = bytearray(), time.monotonic() + WAIT_SECONDS
    while len(content) <= LARGEST_BYTES:
        if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise UnreadableFile(f"nobody wrote to its end within {WAIT_SECONDS:g} s")
        chunk = os.read(descriptor, _CHUNK_BYTES)
        if not chunk:
            return bytes(content)
        content += chunk
    raise UnreadableFile(f"it has more than {LARGEST_BYTES} bytes")
