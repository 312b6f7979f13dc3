"""Builds the image armstream-kafka, for a machine that cannot pull apache/kafka: `python -m deploy.kafka.image`.

BASE in the environment is the image to build on; without it, a base is made of Debian's packages.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.kafka.broker import CACHE
from deploy.kafka.java import HERE, find_jars
from deploy.kafka.node import WayError

IMAGE = "armstream-kafka"
LOCAL_BASE = "armstream-base:bookworm"
DOCKER = HERE.parent / "docker"


def build() -> None:
    """Raises WayError without Maven to fetch the jars, CalledProcessError where Docker does not do it."""
    base = os.environ.get("BASE", "")
    if not base:
        subprocess.run([DOCKER / "base.sh"], check=True)
        base = LOCAL_BASE
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        shutil.copytree(find_jars(CACHE, print), context / "jars")
        for name in ("Dockerfile", "run.sh", "log4j2.xml"):
            shutil.copy(HERE / name, context)
        subprocess.run([DOCKER / "build.sh", "--build-arg", f"BASE={base}", "--tag", IMAGE, context], check=True)


if __name__ == "__main__":
    try:
        build()
    except (WayError, subprocess.CalledProcessError) as error:
        sys.exit(f"{IMAGE}: {error}")
