"""Builds the native core with cargo, where there is cargo: `python processor/native/build.py`, and as a hook of the
wheel. Law: without cargo, or where it fails, everything works on the Python stages, and one line says what that costs.
"""

import os
import shutil
import subprocess
import sys
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


def build() -> bool:
    """Whether the module is there now; says in one line why not."""
    cargo = shutil.which("cargo")
    if cargo is None:
        return _without("there is no cargo")
    sys.stderr.write("building the native core with cargo: a minute or two the first time\n")
    command = [cargo, "build", "--release", "--locked", "--quiet", "--manifest-path", str(CRATE / "Cargo.toml")]
    try:
        subprocess.run(command, check=True, timeout=_SECONDS, stdin=subprocess.DEVNULL)
    except (subprocess.SubprocessError, OSError) as failure:
        return _without(f"cargo could not build it ({failure})")
    built = BUILT if BUILT.exists() else BUILT.with_suffix(".dylib")
    newer = MODULE.with_suffix(".new")
    shutil.copy2(built, newer)
    newer.replace(MODULE)  # a process that runs keeps the one that it has
    return True


def _without(why: str) -> bool:
    sys.stderr.write(f"the native core is not built: {why}; {WITHOUT}\n")
    return False


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
