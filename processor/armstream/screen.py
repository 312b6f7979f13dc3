"""The live screen. Law: it shows what the weights topic and /metrics say, and nothing that it was told otherwise.

`Watch` gathers, `render` draws one frozen `View`; neither reads a clock, a socket or a terminal.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from armstream.events import WeightVector
from armstream.figures import Buckets, Figures, quantile
from armstream.printable import printable
from armstream.rules import clips

HISTORY_VECTORS = 400  # kept for each bandit, the oldest dropped
WINDOW_SECONDS = 10.0  # rates and latencies are those of the last seconds
COLUMN_WIDTH = 40
FIGURES_HEIGHT = 5
EIGHTHS = " ▏▎▍▌▋▊▉"
SPARKS = "▁▂▃▄▅▆▇█"
COLORS = ("cyan", "magenta", "yellow", "green", "blue", "red")


@dataclass(frozen=True, slots=True)
class BanditView:
    """The latest vector, and each arm's weights oldest first, the latest among them."""

    vector: WeightVector
    history: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class View:
    """All that is on the screen. Latencies are (p50, p99) in seconds, None where nothing was measured."""

    title: str
    hint: str  # command lines to try, in the panel's lower border
    elapsed_seconds: float
    figures: Figures | None  # None: the processor has not answered yet
    events_per_second: float
    commit_seconds: tuple[float, float] | None
    close_to_commit_seconds: tuple[float, float] | None
    updates: int
    bandits: tuple[BanditView, ...]
    waits_for: str = ""  # said where there are no figures; "": for the processor


class Watch:
    """Gathers vectors and scrapes, from any thread. Times are seconds since the start of the run."""

    def __init__(self, title: str, hint: str = "") -> None:
        self._title = title
        self._hint = hint
        self._lock = threading.Lock()
        self._vectors: dict[str, WeightVector] = {}
        self._histories: dict[str, deque[tuple[float, ...]]] = {}
        self._scrapes: deque[tuple[float, Figures]] = deque()
        self._updates = 0

    def add_vector(self, vector: WeightVector, *, is_new: bool) -> None:
        """`is_new`: it was published in this run, not before it."""
        weights = tuple(arm.weight for arm in vector.arms)
        with self._lock:
            known = self._vectors.get(vector.bandit_id)
            if known is None or [arm.name for arm in known.arms] != [arm.name for arm in vector.arms]:
                self._histories[vector.bandit_id] = deque(maxlen=HISTORY_VECTORS)  # other arms: another history
            self._vectors[vector.bandit_id] = vector
            self._histories[vector.bandit_id].append(weights)
            self._updates += is_new

    def add_figures(self, figures: Figures, elapsed_seconds: float) -> None:
        """A scrape; those older than the window go."""
        with self._lock:
            self._scrapes.append((elapsed_seconds, figures))
            while len(self._scrapes) > 2 and self._scrapes[1][0] < elapsed_seconds - WINDOW_SECONDS:
                self._scrapes.popleft()

    def view(self, elapsed_seconds: float) -> View:
        """What is known now; bandits by name."""
        with self._lock:
            bandits = tuple(
                BanditView(self._vectors[name], tuple(self._histories[name])) for name in sorted(self._vectors)
            )
            scrapes, updates = list(self._scrapes), self._updates
        then, old = scrapes[0] if scrapes else (0.0, Figures())
        now, new = scrapes[-1] if scrapes else (0.0, Figures())
        return View(
            title=self._title,
            hint=self._hint,
            elapsed_seconds=elapsed_seconds,
            figures=new if scrapes else None,
            events_per_second=(new.events - old.events) / (now - then) if now > then else 0.0,
            commit_seconds=_latencies(old.commit_seconds, new.commit_seconds),
            close_to_commit_seconds=_latencies(old.close_to_commit_seconds, new.close_to_commit_seconds),
            updates=updates,
            bandits=bandits,
        )


def _latencies(old: Buckets, new: Buckets) -> tuple[float, float] | None:
    """p50 and p99 of what was measured since the old scrape."""
    since = {bound: count - old.get(bound, 0.0) for bound, count in new.items()}
    p50, p99 = quantile(since, 0.5), quantile(since, 0.99)
    return None if p50 is None or p99 is None else (p50, p99)


def plain_line(view: View) -> str:
    """One line for a log or a terminal that is none."""
    head = f"{view.elapsed_seconds:6.1f} s"
    if view.figures is None:
        return f"{head}  {printable(view.waits_for or 'the processor has not answered yet')}{_learned(view)}"
    return (
        f"{head}  events {view.figures.events} ({view.events_per_second:.0f}/s)  rewards {view.figures.rewards}  "
        f"vectors {view.updates}  dead letters {view.figures.dead_letters}{_learned(view)}  "
        f"lag {view.figures.lag_records}  commit {_latency(view.commit_seconds)}{_restore(view.figures)}"
    )


def render(view: View, width: int, height: int) -> RenderableType:
    """The whole screen in at most width x height characters; bandits that find no room are counted."""
    across = max(1, width // COLUMN_WIDTH)
    lines = max((_height_of(bandit.vector) for bandit in view.bandits), default=1)
    down = max(1, (height - FIGURES_HEIGHT) // lines)
    shown = view.bandits[: across * down]
    grid = Table.grid(padding=(0, 1, 0, 0))
    for start in range(0, len(shown), across):
        grid.add_row(*(_bandit(bandit, width // across - 1) for bandit in shown[start : start + across]))
    return Group(_figures(view, len(view.bandits) - len(shown)), grid)


def _figures(view: View, hidden_count: int) -> RenderableType:
    minutes, seconds = divmod(int(view.elapsed_seconds), 60)
    waits_for = view.waits_for or "waiting for the processor's /metrics"
    lines = [f"{printable(waits_for)}{_learned(view)}", "", ""]
    if view.figures is not None:
        figures = view.figures
        lines = [
            f"{view.events_per_second:,.0f} events/s   {figures.events:,} events   {figures.rewards:,} rewards   "
            f"{view.updates:,} vectors   {figures.dead_letters:,} dead letters",
            f"lag {figures.lag_records:,}{_restore(figures)}"
            + (f"   {hidden_count} not shown" if hidden_count else "")
            + _learned(view),
            f"commit {_latency(view.commit_seconds)}   close to commit {_latency(view.close_to_commit_seconds)}",
        ]
    body = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
    body.highlight_regex(r"\b[\d,.]+\b", "bold")
    title = Text.assemble(("armstream", "bold"), f"  {view.title}  {minutes}:{seconds:02d}")
    hint = Text(printable(view.hint)) if view.hint else None
    return Panel(body, title=title, title_align="left", subtitle=hint, subtitle_align="left", height=FIGURES_HEIGHT)


def _learned(view: View) -> str:
    """What stands in the weights topic, of earlier runs too."""
    record_count = sum(bandit.vector.version for bandit in view.bandits)  # what a version counts
    return f"   bandits {len(view.bandits):,}  audit records {record_count:,}" if view.bandits else ""


def _bandit(bandit: BanditView, width: int) -> Text:
    """A line for the bandit, one for each arm (name, weight as a bar and as a number, its history), one of trust."""
    vector = bandit.vector
    name_width = max(8, width // 3)
    bar_width = max(4, (width - name_width - 7) // 2)
    spark_width = max(4, width - name_width - bar_width - 7)
    highest = max(max(weights) for weights in bandit.history)
    lines = [
        Text(f"{printable(vector.bandit_id)}  v{vector.version}  {vector.phase.lower()}{_bound(vector)}", style="bold")
    ]
    for index, arm in enumerate(vector.arms):
        color = COLORS[index % len(COLORS)]
        spark = sparkline([weights[index] for weights in bandit.history], spark_width, highest)
        lines.append(
            Text.assemble(
                f"{_cut(printable(arm.name), name_width)} ",
                (bar(arm.weight, bar_width), color),
                f" {arm.weight:4.0%} ",
                (spark, color),
            )
        )
    if vector.experts:
        most_trusted = sorted(vector.experts, key=lambda expert: -expert.weight)
        lines.append(
            Text("  ".join(f"{printable(expert.name)} {expert.weight:.0%}" for expert in most_trusted), style="italic")
        )
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _height_of(vector: WeightVector) -> int:
    return 1 + len(vector.arms) + bool(vector.experts)


def _bound(vector: WeightVector) -> str:
    """What the bandit clips its rewards to; a bound of 0 is an automatic one that is not found yet."""
    if not clips(vector):
        return ""
    return f"  B {vector.reward_bound_bps:,.1f} bps" if vector.reward_bound_bps else "  finding B"


def bar(share: float, width: int) -> str:
    """`share` of `width` characters filled, to an eighth of one, padded with blanks."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (EIGHTHS[rest] if rest else "")).ljust(width)


def sparkline(values: Sequence[float], width: int, highest: float) -> str:
    """At most `width` of the values, evenly spaced with the latest last, as heights between 0 and `highest`."""
    count = min(width, len(values))
    step = (len(values) - 1) / max(1, count - 1)
    taken = [values[-1 - round(steps_back * step)] for steps_back in range(count - 1, -1, -1)]
    return "".join(SPARKS[_height(value, highest)] for value in taken)


def _height(value: float, highest: float) -> int:
    top = len(SPARKS) - 1
    return min(top, max(0, round(value / highest * top))) if highest > 0 else 0


def _restore(figures: Figures) -> str:
    return f"   restoring, {figures.restore_remaining_records:,} to go" if figures.restore_remaining_records else ""


def _latency(latencies: tuple[float, float] | None) -> str:
    p50, p99 = ("-", "-") if latencies is None else map(_duration, latencies)
    return f"p50 {p50} p99 {p99}"


def _duration(seconds: float) -> str:
    return f"{1_000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _cut(name: str, width: int) -> str:
    return name.ljust(width) if len(name) <= width else f"{name[: width - 1]}…"
