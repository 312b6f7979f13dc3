"""The table of settings in docs/operating/settings.md. What a setting is for stands in default.yaml."""

import json
import re
from collections.abc import Iterator

from armstream.resources import resource
from armstream.settings import rows

_LINE = re.compile(r"(?P<indent> *)(?P<name>\w+):(?P<value>.*?)(?:\s+#\s(?P<comment>.*))?")


def table() -> Iterator[str]:
    """Markdown, a row a setting, in the order of default.yaml."""
    purposes = dict(_purposes(resource("config", "default.yaml").read_text(encoding="utf-8")))
    yield "| setting | default | may be | what it is |"
    yield "| --- | --- | --- | --- |"
    for row in rows():
        purpose = purposes.get(row.path, "").replace("|", "\\|")
        yield f"| `{row.path}` | `{json.dumps(row.default)}` | {row.type} | {purpose} |"


def _purposes(text: str) -> Iterator[tuple[str, str]]:
    """(path, comment) of each line of a setting."""
    section = ""
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        if not found["indent"]:
            section = f"{found['name']}."
        path = section + found["name"] if found["indent"] else found["name"]
        yield path, found["comment"] or ""
