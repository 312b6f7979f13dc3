"""What reaches a terminal or a log. Law: no character of it moves a cursor, a colour, a line or the way of writing.

What Python does not call printable is shown by its escape: controls, escape sequences, line ends, bidirectional
overrides, lone surrogates. YAML's double quotes read the same escapes, and JSON has those of `json_printable`.
"""

import re

_UNPRINTABLE = re.compile(r"[^ -~]")


def printable(text: str) -> str:
    """One line for a terminal."""
    return text if text.isprintable() else _UNPRINTABLE.sub(_escaped, text)


def json_printable(line: str) -> str:
    """A line of JSON, in which what is not printable can only stand in texts."""
    return line if line.isprintable() else _UNPRINTABLE.sub(_json_escaped, line)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def _json_escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
