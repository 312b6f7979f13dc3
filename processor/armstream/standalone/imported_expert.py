"""A function as an expert, by its import path. Law: it is what the path says, or a ValueError says why not."""

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any


def imported(import_path: str) -> Callable[[Any], Any]:
    """The callable at "package.module:name": from a context to a distribution over the arms.

    ValueError where the path has not that form, or nothing callable is there.
    """
    module, colon, name = import_path.partition(":")
    if not (module and colon and name):
        raise ValueError(f"an expert's path must be 'package.module:name', got {import_path!r}")
    try:
        found = resolve_name(import_path)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"no expert at {import_path!r}: {error}") from error
    if not callable(found):
        raise ValueError(f"the expert at {import_path!r} is not callable")
    return found  # type: ignore[no-any-return] # what a module holds has no type
