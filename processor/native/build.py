"""Builds the native core with cargo, where there is cargo: `python processor/native/build.py`, and as a hook of the
wheel. Law: without cargo, or where it fails, everything works on the Python stages, and one line says what that costs.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand, where nothing is hooked
    BuildHookInterface = object

CRATE = Path(__file__).parent
BUILT = CRATE / "target" / "release" / ("armstream_native.dll" if os.name == "nt" else "libarmstream_native.so")
MODULE = CRATE.parent / "armstream" / ("_native.pyd" if os.name == "nt" else "_native.abi3.so")
TAG = "cp311-abi3"  # any CPython from 3.11 on
WITHOUT = "the Python stages will do all the work, at a third of the speed or less"
_SECONDS = 1_800


class NotBuilt(Exception):
    """Why, in one line."""


def build() -> bool:
    """Whether the module is there now; says in one line why not."""
    try:
        _build(recent_cargo())
    except NotBuilt as why:
        MODULE.unlink(missing_ok=True)  # one of an older checkout may not give what the stages give now
        sys.stderr.write(f"the native core is not built: {why}; {WITHOUT}\n")
        return False
    return True


def recent_cargo() -> str:
    """The path of a cargo that the crate will do with. Raises NotBuilt."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise NotBuilt("there is no cargo")
    crate = tomllib.loads((CRATE / "Cargo.toml").read_text(encoding="utf-8"))["package"]
    said = _run(cargo, "--version", seconds=60)
    version = re.search(r"\d+\.\d+", said)
    if version is None or _numbers(version.group()) < _numbers(crate["rust-version"]):
        raise NotBuilt(f"it needs Rust {crate['rust-version']}, and there is {said.strip()}")
    return cargo


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _build(cargo: str) -> None:
    sys.stderr.write("building the native core with cargo: a minute or two the first time\n")
    command = ("build", "--release", "--locked", "--quiet", "--manifest-path", str(CRATE / "Cargo.toml"))
    _run(cargo, *command, seconds=_SECONDS)
    built = BUILT if BUILT.exists() else BUILT.with_suffix(".dylib")
    newer = MODULE.with_suffix(".new")
    shutil.copy2(built, newer)
    newer.replace(MODULE)  # a process that runs keeps the one that it has


def _run(cargo: str, *arguments: str, seconds: float) -> str:
    """What it printed. Of what it says when it fails, the first line and the last tell why."""
    name = f"cargo {arguments[0]}"
    try:
        done = subprocess.run(
            [cargo, *arguments], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotBuilt(f"{name} took more than {seconds:.0f} s") from None
    except OSError as failure:
        raise NotBuilt(f"{name}: {failure}") from failure
    if done.returncode != 0:
        errors = [line.strip() for line in done.stderr.splitlines() if line.strip() and "warning:" not in line]
        raise NotBuilt(f"{name}: {' .. '.join(dict.fromkeys(errors[:1] + errors[-1:])) or done.returncode}")
    return done.stdout


class NativeCore(BuildHookInterface):  # type: ignore[misc]
    """The wheel's hook: a wheel with the core is of one platform and of any Python from 3.11 on."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An editable install is a checkout's: make builds the core there, once.
        if self.target_name != "wheel" or version == "editable" or not build():
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"{TAG}-{_platform()}"
        build_data["artifacts"].append(f"/processor/armstream/{MODULE.name}")


def _platform() -> str:
    """That of the machine that builds: on Linux by its libc, so that an older one builds for more. The core needs no
    other library than those that every manylinux has (PEP 600)."""
    from packaging.tags import platform_tags  # noqa: PLC0415 - hatchling brings it

    tags = list(platform_tags())  # the machine's own name comes before what it may be called anywhere
    return next((tag for tag in tags if tag.startswith("manylinux")), tags[0])


if __name__ == "__main__":
    build()
