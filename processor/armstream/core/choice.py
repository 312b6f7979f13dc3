"""Whether the native core is there, and whether it is wanted. Law: what was asked for by name is there, or says why."""

from importlib.util import find_spec
from typing import Literal

Choice = Literal["auto", "native", "python"]


class CoreMissing(RuntimeError):
    """The native core was asked for by name, and this installation has none."""


def is_built() -> bool:
    return find_spec("armstream._native") is not None


def is_native(choice: Choice) -> bool:
    """Whether tasks run on the core. Raises CoreMissing."""
    if choice == "native" and not is_built():
        raise CoreMissing(
            "core is native, and this installation was built without it: build it with cargo, or set core: auto"
        )
    return choice != "python" and is_built()


def which_runs(choice: Choice) -> str:
    """In one line, for the log. Raises CoreMissing."""
    if is_native(choice):
        return "the native core runs; what is unusual goes to the Python stages"
    if choice == "python":
        return "the Python stages run, as core: python says"
    return (
        "the Python stages run: the native core, several times as fast, was not built; where cargo is, `make` builds it"
    )
