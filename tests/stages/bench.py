"""What the stages cost: `python -m tests.stages.bench [--profile]`. Pairs of a fill and its close, a segment each."""

import argparse
import cProfile
import random
import statistics
import sys
import time

from armstream.events import Fill, Input
from armstream.learning import Exp3IXBandit
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.pipeline import Pipeline
from armstream.stages.state import TaskState
from tests.stages.events import ARMS, START, close, fill, learning_rules, source_of

PAIRS, BANDITS, BATCH = 100_000, 1_000, 5_000


def recorded(pairs: int, step_micros: int) -> list[Input]:
    """A fill, and its close some 500 events later, in turn over the bandits."""
    generator = random.Random(1)
    events: list[Input] = []
    for number in range(pairs + 250):
        ts_event = START + number * step_micros
        if number < pairs:
            price, arm = 100.0 + generator.random(), ARMS[number % 3]
            bandit_id = f"book-{number % BANDITS}"
            given = {"bandit_id": bandit_id, "price": price, "arm": arm, "propensity": 0.3, "ts_event": ts_event}
            events.append(fill(f"f{number}", f"p{number}", **given))
        if number >= 250:
            opened = number - 250
            price = 100.0 + generator.random()
            given = {"bandit_id": f"book-{opened % BANDITS}", "price": price, "ts_event": ts_event, "fees": 1.0}
            events.append(close(f"c{opened}", f"p{opened}", **given))
    return events


def run(events: list[Input]) -> float:
    """CPU seconds for all of it, in batches, each committed."""
    pipeline = Pipeline(TaskState(TaskLimits(), BanditRegistry(learning_rules())))
    started = time.process_time()
    for start in range(0, len(events), BATCH):
        pipeline.apply(events[start : start + BATCH], source_of)
        pipeline.commit()
    return time.process_time() - started


def learner_seconds(events: list[Input]) -> float:
    """The same updates on bare learners: what no pipeline can save."""
    learners = [Exp3IXBandit(3, reward_bound_bps=100.0, estimator="implicit", gamma=0.0) for _ in range(BANDITS)]
    fills = [event for event in events if isinstance(event, Fill)]
    started = time.process_time()
    for number, _ in enumerate(fills):
        learners[number % BANDITS].update(number % 3, 12.5, 0.3, 1.0, True)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    for name, step_micros in (("all within the dedupe window", 1_000), ("positions forgotten on the way", 5_000_000)):
        events = recorded(PAIRS, step_micros)
        if arguments.profile:
            cProfile.runctx("run(events)", globals(), {"events": events}, sort="tottime")
            continue
        seconds = statistics.median(run(events) for _ in range(5))
        learning = learner_seconds(events)
        micros, learning_micros = (each / len(events) * 1e6 for each in (seconds, learning))
        sys.stdout.write(f"{name}: {micros:.2f} us an event, {learning_micros:.2f} of it the learner's update\n")


if __name__ == "__main__":
    main()
