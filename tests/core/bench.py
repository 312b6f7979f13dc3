"""What the native core costs beside the Python stages, without Kafka: `python -m tests.core.bench`; with `--unusual`,
where nothing is usual, or little.

Law: both get the same records in the same batches and give the same bytes, which is compared first; time is the
processor's, in turns; memory is what the process holds, each in a process of its own.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import process_time

from msgspec.structs import replace

from armstream.events import Close, Fill, Input
from armstream.stages.facts import BanditRegistry, TaskLimits
from tests.core.streams import NOTHING_USUAL, SOME_USUAL, Stream
from tests.core.task import OnCore, OnStages, records_of
from tests.runtime.records import ReadRecord
from tests.stages.bench import BATCH, recorded
from tests.stages.events import learning_rules

PAIRS, ROUNDS = 10_000, 3
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
Task = OnStages | OnCore


def on_stages() -> OnStages:
    return OnStages(TaskLimits(), BanditRegistry(learning_rules()))


def on_core(hands_over: bool = False) -> OnCore:
    return OnCore(TaskLimits(), BanditRegistry(learning_rules()), hands_over)


CONTENDERS: dict[str, Callable[[], Task]] = {
    "Python stages": on_stages,
    "native core": on_core,
    "native core that hands every event over": lambda: on_core(True),
}


def apply(task: Task, batches: Sequence[list[ReadRecord]], untimed: int = 1) -> float:
    """CPU seconds of reading, applying and writing all but the first batch, which makes the bandits; each committed."""
    started = process_time()
    for number, batch in enumerate(batches):
        if number == untimed:
            started = process_time()
        _, task.next_offset, _ = task.publish(batch)
        task.pipeline.commit()
    return process_time() - started


def batches_of(step_micros: int) -> list[list[ReadRecord]]:
    records = records_of(recorded(PAIRS, step_micros))
    return [records[at : at + BATCH] for at in range(0, len(records), BATCH)]


def compare(batches: Sequence[list[ReadRecord]]) -> None:
    """Raises where one gives other bytes than another."""
    stages, core = on_stages(), on_core()
    for batch in batches:
        ours, theirs = core.publish(batch), stages.publish(batch)
        if ours != theirs:
            raise SystemExit("the core gives other bytes than the stages: no number is worth anything")
        for task in (stages, core):
            task.pipeline.commit()
            task.next_offset = theirs[1]
            task.compact(theirs[0])
    restored(stages, core)


def restored(stages: OnStages, core: OnCore) -> None:
    """The same state by both, read back."""
    seconds: dict[str, list[float]] = {"Python stages": [], "native core": []}
    count = len(stages.values())
    for _ in range(ROUNDS):
        for name, task in (("Python stages", stages), ("native core", core)):
            started = process_time()
            task.restart()
            seconds[name].append(process_time() - started)
    for name, each in seconds.items():
        sys.stdout.write(f"{name}: {median(each) / count * 1e6:.2f} us a snapshot restored, of {count}\n")


def held_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


def hold(name: str) -> None:
    """Prints the bytes a remembered position, in this process."""
    task, count = CONTENDERS[name](), 100_000
    for at in range(0, 2 * count, 2 * BATCH):
        if at == 2 * BATCH:  # the first batch brings the bandits and warms all caches
            before, first = held_bytes(), task.pipeline.state.position_count
        batch = records_of(recorded_from(at // 2, BATCH), at)
        _, task.next_offset, _ = task.publish(batch)
        task.pipeline.commit()
        del batch
    held = task.pipeline.state.position_count - first
    sys.stdout.write(f"{(held_bytes() - before) / held:.0f}\n")


def recorded_from(first: int, pairs: int) -> list[Input]:
    moved: list[Input] = []
    for event in recorded(pairs, 1_000):
        assert isinstance(event, Fill | Close)
        number = int(event.position_id[1:]) + first
        moved.append(replace(event, event_id=f"{event.event_id[0]}{number}", position_id=f"p{number}"))
    return moved


def ratio(stream: Stream, count: int, rounds: int) -> float:
    """How many times the rate of the Python stages the core has, by the least CPU time of each over rounds in turns:
    what else runs on a machine only ever adds to it. In the second batch bandits become what the stages have, once."""
    records = records_of(stream.whole(count))
    batches = [records[at : at + BATCH] for at in range(0, len(records), BATCH)]
    registry = BanditRegistry(stream.rules)
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(apply(OnStages(stream.limits, registry), batches, 2))
        ours.append(apply(OnCore(stream.limits, registry), batches, 2))
    return min(theirs) / min(ours)


def unusual() -> None:
    """Prints the ratio of each stream."""
    for title, streams in (("nothing usual", NOTHING_USUAL), ("some usual", SOME_USUAL)):
        for name, stream in streams.items():
            sys.stdout.write(f"{title}: {name}: {ratio(stream, 5 * BATCH, ROUNDS):.2f} times the Python stages\n")
            sys.stdout.flush()


def main() -> None:
    if sys.argv[1:] == ["--unusual"]:
        unusual()
        return
    if len(sys.argv) > 1:
        hold(sys.argv[1])
        return
    for title, step_micros in (("all within the dedupe window", 1_000), ("positions forgotten on the way", 5_000_000)):
        batches = batches_of(step_micros)
        if step_micros == 1_000:
            compare(batches)
        count = sum(map(len, batches[1:]))
        seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        for _ in range(ROUNDS):
            for name, make in CONTENDERS.items():
                seconds[name].append(apply(make(), batches))
        base = median(seconds["Python stages"])
        sys.stdout.write(f"{title}, {count} events:\n")
        for name, each in seconds.items():
            micros = median(each) / count * 1e6
            spread = f"{min(each) / count * 1e6:.2f} to {max(each) / count * 1e6:.2f}"
            sys.stdout.write(f"  {name}: {micros:.2f} us an event ({spread}), {base / median(each):.2f} times\n")
    for name in ("Python stages", "native core"):
        held = subprocess.run([sys.executable, "-m", __spec__.name, name], capture_output=True, text=True, check=True)
        sys.stdout.write(f"{name}: {held.stdout.strip()} bytes a remembered position\n")


if __name__ == "__main__":
    main()
