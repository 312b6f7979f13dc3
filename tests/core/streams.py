"""Streams in which nothing is usual, each in its way, and some in which much is: for the bench and for the gate.

Each begins with the pairs that make the bandits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from armstream.events import Action, Close, Command, Fill, Input
from armstream.learning import LearningSettings
from armstream.stages.facts import TaskLimits
from tests.stages.bench import BANDITS, BATCH, recorded
from tests.stages.events import ARMS, START, close, fill, learning_rules

FIRST = BATCH // 2  # pairs
SECOND, DAY = 1_000_000, 86_400_000_000
EXPERTS = (("base", dict.fromkeys(ARMS, 1.0)), ("bandit", "exp3ix"), ("best", "follow_best"))
ORDERS: tuple[tuple[Action, str | None], ...] = (
    *(("PAUSE", None), ("RESUME", None), ("ADD_ARM", "new"), ("REMOVE_ARM", "new"), ("RESET", None)),
)


@dataclass(frozen=True)
class Stream:
    """`events` of so many behind the first batch, which is not timed."""

    events: Callable[[int], list[Input]]
    rules: LearningSettings = field(default_factory=learning_rules)
    limits: TaskLimits = field(default_factory=TaskLimits)

    def whole(self, count: int) -> list[Input]:
        return [*trades(FIRST), *self.events(count)]


def trades(pairs: int, first: int = 0) -> list[Fill | Close]:
    """Pairs of `recorded` from a number on, one close behind each fill's; all close what they fill."""
    events = [event for event in recorded(pairs, 1_000) if isinstance(event, Fill | Close)]
    return [
        replace(event, event_id=f"{event.event_id[0]}{number}", position_id=f"p{number}")
        for event in events
        for number in (int(event.position_id[1:]) + first,)
    ]


def bandit(number: int) -> str:
    return f"book-{number % BANDITS}"


def commands(count: int) -> list[Input]:
    orders = [ORDERS[number // BANDITS % len(ORDERS)] for number in range(count)]
    return [
        Command(f"k{number}", bandit(number), action, START + DAY, arm=arm)
        for number, (action, arm) in enumerate(orders)
    ]


def corrections(count: int) -> list[Input]:
    return [replace(event, exec_type="CORRECT") for event in trades(count // 2, FIRST)]


def orphans(count: int) -> list[Input]:
    """An hour later there is no fill: each then becomes a dead letter."""
    at = START + SECOND
    return [close(f"o{n}", f"o{n}", bandit_id=bandit(n), ts_event=at + n * SECOND) for n in range(count)]


def late(count: int) -> list[Input]:
    return [close(f"l{n}", f"p{n}", bandit_id=bandit(n), ts_event=START - 2 * DAY) for n in range(count)]


def other_contents(count: int) -> list[Input]:
    """Of events that came before, under their ids."""
    known = trades(FIRST)
    return [replace(known[number % len(known)], price=99.0) for number in range(count)]


def other_decisions(count: int) -> list[Input]:
    """For positions that are there."""
    return [fill(f"g{n}", f"p{n % FIRST}", bandit_id=bandit(n % FIRST), side="SELL") for n in range(count)]


def first_fills(count: int) -> list[Input]:
    return [fill(f"n{n}", f"n{n}", bandit_id=f"new-{n}") for n in range(count)]


def pairs(count: int) -> list[Input]:
    return [*trades(count // 2, FIRST)]


def advised_pairs(count: int) -> list[Input]:
    advice = {name: 0.5 for name, _ in EXPERTS}
    return [replace(event, advice=advice) if isinstance(event, Fill) else event for event in pairs(count)]


def final_closes(count: int) -> list[Input]:
    """Each of half of what was filled, so that the rest is written off."""
    half = {"quantity": 50.0, "final": True}
    return [replace(event, **half) if isinstance(event, Close) else event for event in pairs(count)]


def parts(count: int) -> list[Input]:
    """Of one long order a bandit, so that they fill pages."""
    at = START + SECOND
    return [
        fill(f"s{n}", "s", bandit_id=f"book-{n % 10}", ts_event=at + n, quantity=1.0, order_quantity=1e9)
        for n in range(count)
    ]


def by_turns(count: int) -> list[Input]:
    """One usual, one not."""
    return [event for two in zip(pairs(count // 2), other_contents(count // 2), strict=True) for event in two]


def mostly_unusual(count: int) -> list[Input]:
    """One of four usual: where it is nearly the same whether the core takes it."""
    odd = iter(other_contents(count))
    return [event for one in pairs(count // 4) for event in (one, next(odd), next(odd), next(odd))]


NOTHING_USUAL: Mapping[str, Stream] = {
    "commands": Stream(commands),
    "corrections": Stream(corrections),
    "late closes": Stream(late),
    "ids with other contents": Stream(other_contents),
    "other decisions": Stream(other_decisions),
    "first fills": Stream(first_fills, limits=TaskLimits(max_bandits=100_000)),
    "exp4": Stream(advised_pairs, learning_rules(algorithm="exp4", experts=EXPERTS)),
}
SOME_USUAL: Mapping[str, Stream] = {
    "orphans": Stream(orphans),
    "final closes of what is open": Stream(final_closes),
    "parts that fill pages": Stream(parts),
    "one usual, one not": Stream(by_turns),
    "one usual, three not": Stream(mostly_unusual),
}
