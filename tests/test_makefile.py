"""What every target of the Makefile gives the programs that it starts."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_target_makes_python_compile_anew_what_it_imports() -> None:
    recipe = "shown: ; @env"
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = ["make", "--silent", "--eval", recipe, "shown"]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60)
    names = [line.partition("=")[0] for line in shown.stdout.splitlines()]
    assert "PATH" in names
    assert "PYTHONDONTWRITEBYTECODE" not in names
