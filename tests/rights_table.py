"""The table of docs/operating/rights.md. What a program must be allowed stands in armstream.access."""

from collections.abc import Iterator

from armstream.access import RIGHTS, Kind
from armstream.settings import Settings

_INSTANCE = "processor-a"


def table() -> Iterator[str]:
    """Markdown, a row for each program and each kind of resource that it needs the same operations on."""
    yield "| who | resource | operations |"
    yield "| --- | --- | --- |"
    for program, rights in RIGHTS.items():
        operations: dict[tuple[Kind, str], list[str]] = {}
        for right in rights(Settings(instance=_INSTANCE)):
            operations.setdefault((right.kind, right.name), []).append(right.operation)
        rows: dict[tuple[Kind, str], list[str]] = {}
        for (kind, name), needed in operations.items():
            rows.setdefault((kind, ", ".join(needed)), []).append(name)
        for (kind, needed_on_all), names in rows.items():
            yield f"| {program} | {_resource(kind, names)} | {needed_on_all} |"


def _resource(kind: Kind, names: list[str]) -> str:
    if kind == "transactional id" and names[0].endswith(_INSTANCE):
        return f"transactional ids that begin with `{names[0].removesuffix(_INSTANCE)}`"
    return f"{kind}{'s' if len(names) > 1 else ''} {', '.join(f'`{name}`' for name in names)}"
