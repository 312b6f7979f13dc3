"""What grows, one thing at a time, while all else stays: arms, bandits, open positions, partitions, instances."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.bench.backlog import PARTITIONS
from tests.bench.load import ARMS, GAP_EVENTS, Load, make_load

SIZES = {
    "arms": (5, 16, 64),
    "bandits": (100, 1_000, 10_000),
    "open positions": (500, 5_000, 50_000),
    "partitions": (8, 16, 32),
    "instances": (1, 2, 4),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A load and how it is run."""

    what: str
    size: int
    bandits: int
    arms: tuple[str, ...] = ARMS
    gap_events: tuple[int, int] = GAP_EVENTS
    partitions: int = PARTITIONS
    instances: int = 1

    def load(self, event_count: int, ts_last: int) -> Load:
        return make_load(event_count, self.bandits, ts_last, arms=self.arms, gap_events=self.gap_events)


def cases(bandits: int) -> Iterator[Case]:
    """Sizes in their order; `bandits` where they are not what grows."""
    for what, sizes in SIZES.items():
        for size in sizes:
            usual = Case(what, size, bandits)
            match what:
                case "arms":
                    yield replace(usual, arms=(*ARMS, *(f"model-{number}" for number in range(5, size))))
                case "bandits":
                    yield replace(usual, bandits=size)
                case "open positions":  # every second event opens one, so half as many are open as a close takes events
                    yield replace(usual, gap_events=(2 * size, 2 * size + 1))
                case "partitions":
                    yield replace(usual, partitions=size)
                case _:
                    yield replace(usual, instances=size)
