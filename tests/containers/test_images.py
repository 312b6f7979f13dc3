"""What a build leaves on a machine: the image, and no dangling layer. Law: needs Docker, and no registry."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.docker.images import DOCKER

pytestmark = pytest.mark.containers

STAGES = """
FROM scratch AS build
LABEL org.armstream.image=test
COPY content /built
FROM scratch
LABEL org.armstream.image=test
COPY --from=build /built /
"""
SOMEBODY_ELSES = "FROM scratch\nCOPY content /\n"


@pytest.fixture
def tag() -> Iterator[str]:
    name = f"armstream-test-{uuid.uuid4().hex[:12]}"
    yield name
    docker("image", "rm", "--force", name)


def docker(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=60, check=False
    ).stdout.strip()


def dangling() -> set[str]:
    return set(docker("image", "ls", "--quiet", "--no-trunc", "--filter", "dangling=true").split())


def build(folder: Path, dockerfile: str, *arguments: str, command: str | Path = DOCKER / "build.sh") -> int:
    """Each of other content: nothing comes from the cache."""
    (folder / "content").write_text(uuid.uuid4().hex)
    (folder / "Dockerfile").write_text(dockerfile)
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}  # the builder that leaves each stage behind
    words = [command, *(["build"] if command == "docker" else []), *arguments, folder]
    return subprocess.run(words, env=environment, capture_output=True, timeout=120, check=False).returncode


def test_a_build_a_rebuild_and_a_build_that_fails_leave_nothing_but_the_image(tag: str, tmp_path: Path) -> None:
    before = dangling()
    assert build(tmp_path, STAGES, "--tag", tag) == 0
    first = docker("image", "inspect", "--format", "{{.Id}}", tag)
    assert build(tmp_path, STAGES, "--tag", tag) == 0
    assert docker("image", "inspect", "--format", "{{.Id}}", tag) not in ("", first)
    assert build(tmp_path, STAGES + "COPY what-is-not-there /\n", "--tag", tag) != 0
    assert not dangling() - before


def test_what_somebody_else_left_stays(tag: str, tmp_path: Path) -> None:
    before = dangling()
    assert build(tmp_path, SOMEBODY_ELSES, command="docker") == 0
    (theirs,) = dangling() - before
    try:
        assert build(tmp_path, STAGES, "--tag", tag) == 0
        assert dangling() - before == {theirs}
    finally:
        docker("image", "rm", theirs)
