"""Who is measured. Law: each gets the same records on the same topics, is a process of its own, and is told names of
topics and arms and nothing else of the load; what it leaves out of Armstream's job stands beside its name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from tests.bench.backlog import LAYOUTS, Run, Settled
from tests.bench.child import python
from tests.bench.naive import COMMIT_SECONDS
from tests.bench.programs import JavaProgram, NotHere, Say, client_floor, kafka_streams, python_with

QUIX = ("quixstreams==3.28.1", "fastavro==1.13.1")
FAUST = ("faust-streaming==0.15.3", "fastavro==1.13.1")
STREAMS_COMMIT_MS = 100
PACED_COMMIT_MS = 10  # a commit is what latency waits for
STREAMS_THREADS = 1

# 1.9 ms of CPU an event: it would take most of the bench; and what only the floor is compared to.
BY_NAME_ONLY = ("faust", "client-floor")

ALL_LAYOUTS = tuple(LAYOUTS)
ONE_TOPIC = ("one topic",)

Command = Callable[[Run, bool], Sequence[str]]  # a run, and whether latency is what counts in it


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the job; `says` is what the reader of its numbers must know."""

    name: str
    tag: str
    says: str
    command: Command
    more: Settled = field(default_factory=dict)  # settings of Armstream
    layouts: Sequence[str] = ALL_LAYOUTS
    is_slow: bool = False  # it gets the first events of the load
    publishes_rewards: bool = True
    publishes_vectors: bool = True
    is_paced: bool = False  # its latency is measured
    keeps_state: bool = False  # a restart goes on where it was
    changelogs: Sequence[str] = ()  # topics of its own that it does not make itself, behind its group's name

    @property
    def is_armstream(self) -> bool:
        return self.tag.startswith("armstream")


def armstream() -> list[Contender]:
    """Each core that is here."""
    says = "rewards, vectors, snapshots and offsets in one transaction a batch; vectors coalesced by batch"
    python_core = _armstream("Armstream, python", "armstream-python", says, {"core": "python"})
    if find_spec("armstream._native") is None:
        return [python_core]
    return [_armstream("Armstream, native", "armstream-native", says, {"core": "native"}), python_core]


def _armstream(name: str, tag: str, says: str, more: Settled) -> Contender:
    def command(run: Run, is_paced: bool) -> Sequence[str]:  # noqa: ARG001 - its batches follow the load
        return python("armstream.cli", "run", "--config", str(run.path))

    return Contender(name, tag, says, command, more, is_paced=True, keeps_state=True)


def naive() -> Contender:
    """The loop that one writes first."""
    says = f"fastavro, dicts, nothing coalesced, a transaction every {COMMIT_SECONDS * 1e3:.0f} ms"
    return Contender(
        "naive loop", "naive", says, lambda run, _: python("tests.bench.naive", str(run.path)), is_slow=True
    )


def floor() -> Contender:
    """No work."""
    says = "each record goes out as it came, in transactions of Armstream's size"
    command = python("tests.bench.floor")
    return Contender(
        "floor",
        "floor",
        says,
        lambda run, _: [*command, str(run.path)],
        publishes_rewards=False,
        publishes_vectors=False,
    )


def floor_in_c(program: str) -> Contender:
    """No work and no Python: what is left of the floor is librdkafka's."""

    def command(run: Run, is_paced: bool) -> Sequence[str]:  # noqa: ARG001 - it is not paced
        settings = run.settings
        told = {
            "bootstrap.servers": settings.kafka.bootstrap_servers,
            "group": settings.kafka.group_id,
            "input": settings.topics.names.trades[0],
            "output": settings.topics.names.rewards,
            "batch": settings.limits.batch_records,
        }
        return [program, *(f"{name}={value}" for name, value in told.items())]

    says = "the floor in C against the same librdkafka, its settings, calls and batches the floor's"
    return replace(floor(), name="floor in C", tag="client-floor", says=says, command=command, layouts=ONE_TOPIC)


def in_kafka_streams(program: JavaProgram, commit_ms: int, paced_commit_ms: int) -> list[Contender]:
    """With the same output, and without audit log."""
    common = f"EOS v2, stores in memory with changelogs, a vector a close, commit {commit_ms} ms"

    def command(is_audited: bool) -> Command:
        def with_settings(run: Run, is_paced: bool) -> Sequence[str]:
            more = {"audit": str(is_audited).lower(), **_of_streams(run, paced_commit_ms if is_paced else commit_ms)}
            if is_paced:
                more |= {"streams.producer.linger.ms": "0", "streams.poll.ms": "1"}
            return [program.java, "-Xmx2g", "-cp", program.classpath, "Main", str(foreign_settings(run, more))]

        return with_settings

    return [
        Contender(
            "Kafka Streams, same output",
            "streams-audit",
            f"{common}; a Reward for each segment, ids of positions that are done kept",
            command(True),
            is_paced=True,
            keeps_state=True,
        ),
        Contender(
            "Kafka Streams, no audit log",
            "streams-lean",
            f"{common}; no rewards, positions that are done forgotten",
            command(False),
            publishes_rewards=False,
            is_paced=True,
            keeps_state=True,
        ),
    ]


def _of_streams(run: Run, commit_ms: int) -> dict[str, str]:
    return {
        "streams.application.id": run.settings.kafka.group_id,
        "streams.bootstrap.servers": run.settings.kafka.bootstrap_servers,
        "streams.state.dir": str(run.path.with_suffix(".state")),
        "streams.commit.interval.ms": str(commit_ms),
        "streams.num.stream.threads": str(STREAMS_THREADS),
        "streams.buffered.records.per.partition": "5000",
        "streams.statestore.cache.max.bytes": str(256 << 20),
        "streams.group.instance.id": "bench",  # a restart need not wait until the session is over
        "streams.consumer.auto.offset.reset": "earliest",
        "streams.consumer.max.poll.records": "10000",
        "streams.producer.linger.ms": "5",
        "streams.producer.batch.size": "262144",
    }


def in_python(name: str, tag: str, module: str, interpreter: str, changelogs: Sequence[str] = ()) -> Contender:
    """A framework of the Python world, by the interpreter of its own environment."""

    def command(run: Run, is_paced: bool) -> Sequence[str]:  # noqa: ARG001 - one commit interval for all
        more = {"commit.seconds": str(COMMIT_SECONDS), "partitions": str(run.settings.topics.partitions)}
        return [interpreter, "-m", module, str(foreign_settings(run, more))]

    says = f"exactly once, fastavro and dicts, a vector a close, commit {COMMIT_SECONDS * 1e3:.0f} ms"
    return Contender(name, tag, says, command, layouts=ONE_TOPIC, is_slow=True, changelogs=changelogs)


def foreign_settings(run: Run, more: Mapping[str, str]) -> Path:
    """What a program that cannot read Armstream's settings is told, as NAME=VALUE lines."""
    names = run.settings.topics.names
    told = {
        "bootstrap.servers": run.settings.kafka.bootstrap_servers,
        "group": run.settings.kafka.group_id,
        "trades": ",".join(names.trades),
        "weights": names.weights,
        "rewards": names.rewards,
        "arms": ",".join(run.settings.online_learning.arms),
        "state.dir": str(run.path.with_suffix(".state")),
        **more,
    }
    path = run.path.with_suffix(".properties")
    path.write_text("".join(f"{name}={value}\n" for name, value in told.items()))
    return path


def here(
    say: Say,
    tags: Sequence[str] | None = None,
    commit_ms: int = STREAMS_COMMIT_MS,
    paced_commit_ms: int = PACED_COMMIT_MS,
) -> list[Contender]:
    """Those whose tag begins with one of `tags`, or all but BY_NAME_ONLY, as far as this machine can run them.

    Who is missing is named in a line. Raises NotHere where a tag names nobody.
    """
    makers: dict[str, Callable[[], list[Contender]]] = {
        "armstream": armstream,
        "streams": lambda: in_kafka_streams(kafka_streams(say), commit_ms, paced_commit_ms),
        "quix": lambda: [in_python("Quix Streams", "quix", "tests.bench.quix", python_with(QUIX, say))],
        "faust": lambda: [
            in_python("Faust", "faust", "tests.bench.faust_job", python_with(FAUST, say), ["state-changelog"])
        ],
        "naive": lambda: [naive()],
        "floor": lambda: [floor()],
        "client-floor": lambda: [floor_in_c(client_floor(say))],
    }
    found: list[Contender] = []
    for family, make in makers.items():
        wanted = (tag for tag in tags or () if tag.startswith(family) or family.startswith(tag))
        if any(wanted) or (tags is None and family not in BY_NAME_ONLY):
            try:
                found += make()
            except NotHere as why:
                say(f"not measured: {family}: {why}")
    if tags is None:
        return found
    for tag in tags:
        if not any(one.tag.startswith(tag) for one in found):
            raise NotHere(f"no contender {tag} here: there are {', '.join(one.tag for one in found) or 'none'}")
    return [one for one in found if one.tag.startswith(tuple(tags))]
