"""What the build of the core says where it cannot be built: one line, with what is missing and what that costs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CRATE = Path(__file__).parents[2] / "processor" / "native"
RECENT = 'if [ "$1" = --version ]; then echo "cargo 1.99.0 (0 2027-01-01)"; exit; fi'


@pytest.fixture
def crate(tmp_path: Path) -> Path:
    """A checkout of its own, whose module an earlier build made."""
    folder = tmp_path / "processor" / "native"
    folder.mkdir(parents=True)
    for name in ("build.py", "Cargo.toml"):
        shutil.copy2(CRATE / name, folder)
    module_of(folder).parent.mkdir()
    module_of(folder).write_text("of an older checkout")
    return folder


def module_of(crate: Path) -> Path:
    return crate.parent / "armstream" / "_native.abi3.so"


def build(crate: Path, cargo: str | None) -> list[str]:
    """The lines of a build where `cargo` is that script, or where there is none. It never fails."""
    tools = crate.parents[1] / "bin"
    tools.mkdir()
    if cargo is not None:
        (tools / "cargo").write_text(f"#!/bin/sh\n{cargo}\n")
        (tools / "cargo").chmod(0o755)
    command = [sys.executable, str(crate / "build.py")]
    done = subprocess.run(command, env={"PATH": str(tools)}, capture_output=True, text=True, timeout=60, check=True)
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("cargo", "why"),
    [
        (None, "there is no cargo"),
        ("echo 'cargo 1.63.0'", "it needs Rust 1.85, and there is cargo 1.63.0"),
        ("echo 'error: no default toolchain' >&2; exit 1", "cargo --version: error: no default toolchain"),
        (
            f"{RECENT}; printf 'warning: retrying\\nerror: no crate\\n\\nCaused by:\\n  no network\\n' >&2; exit 101",
            "cargo build: error: no crate .. no network",
        ),
        (f"{RECENT}; exit 3", "cargo build: 3"),
    ],
)
def test_what_is_missing_is_said_in_one_line_and_an_older_module_goes(crate: Path, cargo: str | None, why: str) -> None:
    line = build(crate, cargo)[-1]
    assert line.startswith(f"the native core is not built: {why}; the Python stages will do all the work, at a third")
    assert not module_of(crate).exists()


def test_a_recent_cargo_gives_the_module(crate: Path) -> None:
    target = crate / "target" / "release"
    script = f"{RECENT}; /bin/mkdir -p {target}; echo built >{target}/libarmstream_native.so"
    assert build(crate, script) == ["building the native core with cargo: a minute or two the first time"]
    assert module_of(crate).read_text() == "built\n"
