"""Builds images: `python -m deploy.docker.images [armstream] [armstream-demo] [armstream-prometheus]`.

Law: pip in the build reaches packages as pip here does, and nothing of how stays in an image. BASE in the environment
is the image to build on; without it python:3.11-slim where it can be had, else a base made of Debian's packages. A line
tells which core the processor of an image runs.
"""

import ast
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
PYTHON_BASE = "python:3.11-slim"
LOCAL_BASE = "armstream-base:bookworm"
PULL_SECONDS = 120
LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")  # where Debian and others keep what an operator added
NOT_BUILT = "the native core is not built"  # as processor/native/build.py says it
WHICH_RUNS = "from armstream.core import which_runs; print(which_runs('auto'))"
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "default-timeout")

IMAGES: Mapping[str, Sequence[str]] = {
    "armstream": ("--file", "deploy/docker/Dockerfile"),
    "armstream-demo": ("--file", "deploy/docker/Dockerfile", "--build-arg", "EXTRAS=[demo]"),
    "armstream-prometheus": ("--file", "deploy/prometheus/Dockerfile"),
}


def build(name: str) -> None:
    """Builds one of IMAGES. Raises CalledProcessError where Docker does not, its output being on the screen."""
    started = time.monotonic()
    base = os.environ.get("BASE") or base_for(wants_python=name != "armstream-prometheus")
    arguments = pip_arguments(_pip_configuration(), os.environ)
    certificates = "".join(path.read_text() for path in sorted(LOCAL_CERTIFICATES.glob("*.crt")))
    command: list[str | Path] = [
        DOCKER / "build.sh",
        *(*IMAGES[name], "--tag", name, "--build-arg", f"BASE={base}"),
        *(word for variable in (*arguments, "CA_CERTIFICATES") for word in ("--build-arg", variable)),
        ROOT,
    ]
    # By name alone: a password in an index's address is then in no process list.
    environment = {**os.environ, **arguments, "CA_CERTIFICATES": certificates, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout)
        done.check_returncode()
    size = _docker("image", "inspect", "--format", "{{.Size}}", name).stdout
    sys.stdout.write(f"{name} on {base}: {int(size) / 1e6:.0f} MB, {time.monotonic() - started:.0f} s\n")
    if name != "armstream-prometheus":
        sys.stdout.write("".join(f"{name}: {line}\n" for line in _which_core(name, done.stdout)))


def _which_core(image: str, build_log: str) -> list[str]:
    """Why the image has no native core, as the build said it, else what its processor says itself."""
    # Docker colours the line; there is none where the layer was there already.
    why = [line[line.index(NOT_BUILT) :] for line in build_log.splitlines() if NOT_BUILT in line]
    if why:
        return why
    said = _docker("run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", WHICH_RUNS)
    return [(said.stdout or said.stderr).strip()]


def pip_arguments(configuration: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Build arguments, PIP_* and proxies, from what `pip config list` printed and from the environment."""
    arguments: dict[str, str] = {}
    for line in configuration.splitlines():
        name, equals, value = line.partition("=")
        setting = name.rpartition(".")[2]
        if equals and setting in PIP_SETTINGS:
            several = str(ast.literal_eval(value)).split()  # a setting of several lines
            arguments[f"PIP_{setting.upper().replace('-', '_')}"] = " ".join(several)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        if environment.get(name):
            arguments[name] = environment[name]
    return arguments


def _pip_configuration() -> str:
    command = [sys.executable, "-m", "pip", "config", "list"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def base_for(wants_python: bool) -> str:
    """What an image is built on where BASE does not say; made here where it cannot be pulled."""
    if wants_python and _can_have(PYTHON_BASE):
        return PYTHON_BASE
    subprocess.run([DOCKER / "base.sh"], check=True)
    return LOCAL_BASE


def _can_have(image: str) -> bool:
    """Whether the image is here, or comes within PULL_SECONDS."""
    if _docker("image", "inspect", image).returncode == 0:
        return True
    try:
        return _docker("pull", "--quiet", image, seconds=PULL_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _docker(*arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=seconds)


def main(names: Sequence[str]) -> int:
    """0 when all are built, 1 when one is not, 2 for a name that is none."""
    unknown = [name for name in names if name not in IMAGES]
    if unknown:
        sys.stderr.write(f"no image {', '.join(unknown)}; there are {', '.join(IMAGES)}\n")
        return 2
    for name in names or IMAGES:
        try:
            build(name)
        except (subprocess.CalledProcessError, OSError) as error:
            sys.stderr.write(f"{name}: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
