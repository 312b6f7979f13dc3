"""State in a JSON file, for whoever learns without Kafka. Law: once a write has ended, that state or a newer one can be
read, whatever ends the process; and a state that is not the newest is never read in silence.

One process writes a file; its backups are beside it, `path.1` (the newest) to `path.3`.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StateFile:
    """A good state and the file it stands in; `passed_over` says of each newer file what is wrong with it."""

    state: dict[str, Any]
    path: Path
    passed_over: tuple[str, ...]


def write_atomic_json(path: str | os.PathLike[str], state: Mapping[str, Any], backups: int = 3) -> None:
    """Replace `path` by `state`; what was there becomes the first of so many backups, and the oldest one goes.

    The folder is made where it is missing. ValueError, with no file touched, for what is not JSON (NaN too); an OSError
    names the path that could not be written.
    """
    if backups < 0:
        raise ValueError(f"backups must not be negative, got {backups}")
    path = Path(path)
    try:
        text = json.dumps(dict(state), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"not a state that JSON can hold: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _rotate(path, backups)
    temporary.replace(path)
    _flush_folder(path.parent)


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The state of `newest_state`, alone."""
    return newest_state(path).state


def newest_state(path: str | os.PathLike[str]) -> StateFile:
    """The newest good state of `path` and its backups; a warning is logged where it is not `path` itself.

    FileNotFoundError where there is neither `path` nor a backup, ValueError where none of them is a JSON object, and
    another OSError as it comes: what may not be read may well be good.
    """
    path = Path(path)
    passed_over: list[str] = []
    backups = _backups(path)
    if not backups and not path.exists():
        raise FileNotFoundError(f"no state in {path}, nor a backup of it")
    for candidate in (path, *backups):
        try:
            state = _parsed(candidate.read_bytes())
        except FileNotFoundError:
            passed_over.append(f"{candidate} is missing")
        except ValueError as error:
            passed_over.append(f"{candidate} is corrupt: {error}")
        else:
            if passed_over:
                _log.warning("state read from %s, which is older: %s", candidate, "; ".join(passed_over))
            return StateFile(state, candidate, tuple(passed_over))
    raise ValueError(f"no good state: {'; '.join(passed_over)}")


def _rotate(path: Path, backups: int) -> None:
    """`path` becomes .1, .1 becomes .2 and so on. Stopped anywhere, each state is still in one of the files."""
    files = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, backups + 1))]
    for newer, older in reversed(list(pairwise(files))):
        if newer.exists():
            newer.replace(older)


def _backups(path: Path) -> list[Path]:
    """Those there are, the newest first."""
    if not path.parent.is_dir():
        return []
    prefix = f"{path.name}."
    numbered = {
        int(number): each
        for each in path.parent.iterdir()
        if each.name.startswith(prefix) and (number := each.name.removeprefix(prefix)).isdecimal()
    }
    return [numbered[number] for number in sorted(numbered)]


def _parsed(content: bytes) -> dict[str, Any]:
    """ValueError for what is not a JSON object in UTF-8 of finite numbers."""
    try:
        state = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(state, dict):
        raise ValueError("it is not a JSON object")
    return state


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _flush_folder(folder: Path) -> None:
    """So that the renames outlast a power cut, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
