"""What a build leaves on a machine: the image, and no dangling layer; and what the processor's has in it.

Law: needs Docker, and no registry of images.
"""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.compose_check import CONFINED
from deploy.docker import images
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


BUILD_SECONDS = 1_200
ALONE = ("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp")


@pytest.fixture
def tag() -> Iterator[str]:
    name = f"armstream-test-{uuid.uuid4().hex[:12]}"
    yield name
    docker("image", "rm", "--force", name)


def docker(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=60, check=False
    ).stdout.strip()


def first_line_of_its_log(image: str, *options: str) -> str:
    """Of a processor that finds no Kafka, and ends after some seconds."""
    command = ["docker", *ALONE, *options, image, "run"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stderr.splitlines()[0]


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


@pytest.mark.timeout(BUILD_SECONDS)
def test_the_processor_of_the_image_runs_the_native_core_and_no_compiler_came_with_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert images.main(["armstream"]) == 0
    assert "the native core runs" in capsys.readouterr().out
    assert "the native core runs" in first_line_of_its_log("armstream", "--env", "ARMSTREAM__CORE=native")
    confined = ["docker", *ALONE, "--entrypoint", "python", "armstream", "-c", CONFINED]
    subprocess.run(confined, check=True, timeout=60)


@pytest.mark.timeout(BUILD_SECONDS)
def test_where_the_core_cannot_be_built_a_line_says_why_and_the_image_runs_the_python_stages(
    tag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = os.environ.get("BASE") or images.base_for(wants_python=True)
    old_cargo = r"RUN printf '#!/bin/sh\necho cargo 1.63.0\n' >/usr/local/bin/cargo && chmod a+x /usr/local/bin/cargo"
    assert build(tmp_path, f"FROM {base}\n{old_cargo}\n", "--tag", f"{tag}-base") == 0
    monkeypatch.setenv("BASE", f"{tag}-base")
    monkeypatch.setattr(images, "IMAGES", {tag: images.IMAGES["armstream"]})
    try:
        assert images.main([tag]) == 0
    finally:
        docker("image", "rm", "--force", f"{tag}-base")
    said = capsys.readouterr().out
    assert f"{tag}: the native core is not built: it needs Rust 1.85, and there is cargo 1.63.0" in said, said
    assert "the Python stages run" in first_line_of_its_log(tag)
