"""Whether the native core is there, and whether it is wanted. Law: what was asked for by name is there, or says why."""

from importlib.util import find_spec
from typing import Literal

from armstream.stages.facts import BanditRegistry

Choice = Literal["auto", "native", "python"]


class CoreMissing(RuntimeError):
    """The native core was asked for by name, and this installation has none."""


def is_built() -> bool:
    return find_spec("armstream._native") is not None


def is_native(choice: Choice, bandits: BanditRegistry | None = None) -> bool:
    """Whether tasks of such bandits, or of any, run on the core. Raises CoreMissing."""
    if choice == "native" and not is_built():
        raise CoreMissing(
            "core is native, and this installation was built without it: build it with cargo, or set core: auto"
        )
    return choice == "native" or (choice == "auto" and is_built() and (bandits is None or _teaches(bandits)))


def which_runs(choice: Choice, bandits: BanditRegistry | None = None) -> str:
    """In one line, for the log. Raises CoreMissing."""
    if is_native(choice, bandits):
        return "the native core runs; what is unusual goes to the Python stages"
    if choice == "python":
        return "the Python stages run, as core: python says"
    if is_built():
        return "the Python stages run: the native core has the rule of no bandit that these settings know"
    return (
        "the Python stages run: the native core, several times as fast, was not built; where cargo is, `make` builds it"
    )


def _teaches(bandits: BanditRegistry) -> bool:
    """Whether the core has the learner of any of them: over its state the stages are slower than over their own."""
    from armstream.core.rules import Rulebook  # noqa: PLC0415 - it is there where the core was built

    rulebook, others = Rulebook(), [] if bandits.registered_only else [bandits.template]
    return any(rulebook.rules_of(settings) is not None for settings in (*others, *bandits.overrides.values()))
