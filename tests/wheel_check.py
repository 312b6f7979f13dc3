"""The built wheel alone, in an empty environment outside the checkout, runs its commands: `make wheel-check`."""

import runpy
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = """
from armstream.watch.server import _assets
assert {"index.html", "watch.css", "watch.js", "uPlot.min.js"} <= _assets().keys(), _assets().keys()
"""
CORE = """
import armstream._native
from armstream.core import which_runs
assert "the native core runs" in which_runs("native")
"""


def main() -> None:
    """Exits with the failing command's CalledProcessError; pip and the commands speak for themselves."""
    with tempfile.TemporaryDirectory(prefix="armstream-wheel-") as folder:
        dist, environment, elsewhere = (Path(folder) / name for name in ("dist", "environment", "elsewhere"))
        elsewhere.mkdir()
        run(sys.executable, "-m", "build", "--outdir", str(dist), str(ROOT), cwd=elsewhere)
        (wheel,) = dist.glob("armstream-*.whl")
        venv.create(environment, with_pip=True)
        run(str(environment / "bin" / "pip"), "install", "--quiet", str(wheel), cwd=elsewhere)
        armstream = str(environment / "bin" / "armstream")
        run(armstream, "--help", cwd=elsewhere)
        run(armstream, "check-config", cwd=elsewhere)
        run(armstream, "check-config", "--config", demos_file(armstream, elsewhere), cwd=elsewhere)
        run(str(environment / "bin" / "python"), "-c", PAGE, cwd=elsewhere)
        if has_recent_cargo():
            assert "-cp311-abi3-manylinux" in wheel.name or sys.platform != "linux", wheel.name
            run(str(environment / "bin" / "python"), "-c", CORE, cwd=elsewhere)
            print(f"{wheel.name} brings the native core")  # noqa: T201 - for who reads CI's log
        else:
            assert wheel.name.endswith("-py3-none-any.whl"), wheel.name
            print(f"{wheel.name} runs the Python stages")  # noqa: T201


def has_recent_cargo() -> bool:
    """As the build sees it; where it says no, it says why in the wheel's own build."""
    build = runpy.run_path(str(ROOT / "processor" / "native" / "build.py"))
    try:
        build["recent_cargo"]()
    except build["NotBuilt"]:
        return False
    return True


def demos_file(armstream: str, cwd: Path) -> str:
    """The settings that `armstream demo` asks for where it is given none: a file of the wheel."""
    refused = subprocess.run(
        [armstream, "demo", "--for", "1"], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    return refused.stderr.split("--config ")[1].strip()


def run(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, check=True, timeout=600)


if __name__ == "__main__":
    main()
