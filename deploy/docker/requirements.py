"""What pyproject.toml asks for, one requirement a line, so that an image has it in a layer below the project's own.

python requirements.py build           what builds the wheel
python requirements.py run "[demo]"    what the project runs on, with these extras
"""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str], project_file: Path = Path("pyproject.toml")) -> int:
    """Prints them; 1 with a line for an extra that is not there, or that names the project itself."""
    settings = tomllib.loads(project_file.read_text(encoding="utf-8"))
    project = settings["project"]
    if arguments[0] == "build":
        return _print(settings["build-system"]["requires"])
    lines = list(project["dependencies"])
    for extra in filter(None, arguments[1].strip("[]").split(",")):
        of_extra = project["optional-dependencies"].get(extra)
        if of_extra is None or any(line.startswith(f"{project['name']}[") for line in of_extra):
            sys.stderr.write(f"EXTRAS: {extra!r} is no extra for an image\n")
            return 1
        lines += of_extra
    return _print(lines)


def _print(lines: Sequence[str]) -> int:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
