"""Names that were others once. Law: an old name is read for good, with one line that names the new one."""

import warnings
from collections.abc import Mapping
from typing import Any

SETTINGS: Mapping[str, str] = {"horizon": "expected_decisions"}
VALUES: Mapping[tuple[str, str], str] = {("attribution", "full_information"): "undivided"}


def today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a learner, by today's names."""
    return dict(todays(name, value) for name, value in settings.items())


def todays(name: str, value: Any) -> tuple[str, Any]:
    """A setting's name and value as they are called today."""
    renamed = SETTINGS.get(name, name)
    return renamed, VALUES.get((renamed, value), value) if isinstance(value, str) else value


def todays_attribution(attribution: str) -> str:
    """The attribution as it is called today; a DeprecationWarning names it where it was another."""
    _, renamed = todays("attribution", attribution)
    if renamed != attribution:
        warn(f"attribution {attribution!r}", repr(renamed))
    return str(renamed)


def todays_decisions(expected_decisions: float, horizon: float | None) -> float:
    """`expected_decisions`, or what it was called `horizon`; a DeprecationWarning names it then."""
    if horizon is None:
        return expected_decisions
    warn("horizon", "expected_decisions")
    return horizon


def warn(old: str, new: str) -> None:
    """One line, at the caller's caller."""
    warnings.warn(f"{old} is called {new} now", DeprecationWarning, stacklevel=4)
