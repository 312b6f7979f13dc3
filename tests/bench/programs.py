"""What contenders in another language, or of another environment, are run with: fetched and made once, then cached.

Law: nothing of it is a dependency of Armstream. What cannot be had is a line that says so, and no number.
"""

import hashlib
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import confluent_kafka

from deploy.kafka.broker import CACHE
from deploy.kafka.java import find_jars, find_java
from deploy.kafka.node import WayError

KAFKA_STREAMS = Path(__file__).parent / "kafka_streams"
CLIENT_FLOOR = Path(__file__).with_name("client_floor.c")
LIMIT_SECONDS = 300.0

Say = Callable[[str], None]


class NotHere(Exception):
    """A contender cannot be run on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class JavaProgram:
    """`java -cp classpath Main ...` runs it."""

    java: str
    classpath: str


def kafka_streams(say: Say) -> JavaProgram:
    """Compiled by the compiler among its jars, so that a Java without javac will do. Raises NotHere."""
    sources = sorted(KAFKA_STREAMS.glob("*.java"))
    classes = CACHE / f"streams-{_digest(path.read_bytes() for path in sources)}"
    try:
        java, jars = find_java(), find_jars(CACHE, say, KAFKA_STREAMS / "pom.xml", "Kafka Streams, 28 MB")
    except WayError as error:
        raise NotHere(str(error)) from error
    classpath = ":".join(map(str, sorted(jars.glob("*.jar"))))
    if not classes.is_dir():
        say("compiling the contender in Kafka Streams")
        part = classes.with_name(f"{classes.name}-part")
        compiler = [java, "-cp", classpath, "org.eclipse.jdt.internal.compiler.batch.Main", "-17", "-proc:none"]
        _run([*compiler, "-cp", classpath, "-d", str(part), *map(str, sources)], "it does not compile")
        part.rename(classes)
    return JavaProgram(java, f"{classpath}:{classes}")


def client_floor(say: Say) -> str:
    """The path of the floor in C, on the librdkafka that confluent-kafka brought. Raises NotHere."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    packages = Path(confluent_kafka.__file__).parents[1]
    library = next(packages.glob("confluent_kafka.libs/librdkafka*.so*"), None)
    if compiler is None or library is None:
        raise NotHere("there is no C compiler" if compiler is None else "confluent-kafka brought no librdkafka")
    program = CACHE / f"client-floor-{_digest([CLIENT_FLOOR.read_bytes(), library.name.encode()])}"
    if not program.exists():
        say("compiling the floor in C")
        CACHE.mkdir(exist_ok=True)
        part = program.with_suffix(".part")
        place = ["-o", str(part), str(CLIENT_FLOOR), str(library), f"-Wl,-rpath,{library.parent}"]
        _run([compiler, "-O2", "-std=gnu11", *place], "it does not compile; its header is librdkafka-dev's")
        part.rename(program)
    return str(program)


def python_with(packages: Sequence[str], say: Say) -> str:
    """The interpreter of an environment that has exactly these packages and what they need. Raises NotHere."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = CACHE / f"python-{_digest(name.encode() for name in (version, *packages))}"
    interpreter = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        say(f"installing {' and '.join(packages)} into an environment of the bench")
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *packages], f"pip could not install {' and '.join(packages)}")
        done.touch()
    return str(interpreter)


def _run(command: Sequence[str], failure: str) -> None:
    try:
        subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout or "it said nothing").strip().splitlines()[-1]
        raise NotHere(f"{failure}: {last}") from error
    except subprocess.TimeoutExpired as error:
        raise NotHere(f"{failure} within {LIMIT_SECONDS:.0f} s") from error


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:8]
