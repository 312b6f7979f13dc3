"""`make run`: Kafka, a processor, simulated engines and the page, each a process that shares nothing but Kafka.

Law: they start in that order and stop in the other one, each in bounded time; where one dies, all stop. What the
processor runs with is a file, which any `armstream` command of another terminal takes with --config.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.live import Live

from armstream import demo
from armstream.engine import FollowerError, WeightsFollower
from armstream.events import WeightVector
from armstream.figures import Figures, parse_figures
from armstream.layers import Layers
from armstream.operating.settings_change import to_begin_anew
from armstream.printable import printable
from armstream.runtime.failures import Stopped
from armstream.screen import View, Watch, plain_line, render
from armstream.settings import Settings, SettingsError, load
from armstream.waiting import waiting
from armstream.yaml_text import written
from deploy.child import Child, tail
from deploy.kafka.broker import Broker, NoKafkaError, start_kafka
from deploy.ports import HOST, NoPortError, Ports

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config" / "demo.yaml"
PRESETS = {  # name -> what is laid over demo.yaml
    "exp3ix": None,
    "exp4": "demo-exp4.yaml",
    "documented": "documented.yaml",
    "tracking": "tracking.yaml",
    "tracking-tsallis": "tracking-tsallis.yaml",
    "tsallis": "tsallis.yaml",
    "sides": "sides.yaml",
    "both-sides": "both-sides.yaml",
}
DATA = ROOT / ".kafka" / "run"  # Kafka's data and the logs, kept from run to run
GIVEN = ("ARMSTREAM__KAFKA__BOOTSTRAP_SERVERS", "ARMSTREAM__METRICS__PORT")  # by this run, whoever else set them
ARMSTREAM = (sys.executable, "-m", "armstream.cli")

REFRESH_SECONDS = 0.5
PLAIN_SECONDS = 5.0
HTTP_SECONDS = 1.0
TOPICS_SECONDS = 120.0
READY_SECONDS = 600.0
FOLLOWER_SECONDS = 30.0
DRAIN_STEP_SECONDS = 1.5  # the processor measures its lag once a second
DRAIN_STEPS = 6
STOP_SECONDS = 15.0
STOP_AFTER_DEATH_SECONDS = 2.5  # for each of three, so that all is over in 10 s
PICTURE_SIZE = (120, 35)  # room for all 15 bandits

LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy of the environment is not for loopback
Show = Callable[[View], None]


class RunError(Exception):
    """One of the parts did not start, or died; the text says which, and shows its last lines."""


@dataclass(slots=True)
class Run:
    """What runs, and what was seen of it. `start` is on the monotonic clock, `start_unix` on the wall's."""

    start: float
    start_unix: float
    broker: Broker
    data: Path
    config: Path
    settings: Settings
    page: str  # HOST:PORT
    watch: Watch
    children: list[Child] = field(default_factory=list)
    first_vector_seconds: float | None = None

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self.start

    def take(self, vector: WeightVector, published_unix: float) -> None:
        """A vector from the topic; one published before this run is history."""
        is_new = published_unix >= self.start_unix
        if is_new and self.first_vector_seconds is None:
            self.first_vector_seconds = self.elapsed_seconds
        self.watch.add_vector(vector, is_new=is_new)

    def url(self, path: str) -> str:
        return f"http://{self.settings.metrics.host}:{self.settings.metrics.port}{path}"


def main(argv: Sequence[str] | None = None) -> int:
    """0 when stopped by --for, Ctrl-C or SIGTERM; 1 when a part failed; 2 for wrong usage."""
    start, start_unix = time.monotonic(), time.time()
    arguments = _parse(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # the same as Ctrl-C
    try:
        with (
            Ports(arguments.data, _say) as ports,
            start_kafka(arguments.data, say=_say, port=ports.kafka) as broker,
        ):
            summary = _run_on(broker, ports, arguments, start, start_unix)
    except KeyboardInterrupt:
        _say("stopped before there was anything to sum up")
        return 0
    except (RunError, NoKafkaError, NoPortError, FollowerError, SettingsError, Stopped) as failure:
        _say(f"make run: {failure}")
        return 1
    _say(json.dumps(summary))
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make run ARGS=...", description="Runs Armstream on real Kafka with simulated engines on real prices."
    )
    demo.add_arguments(parser)
    parser.add_argument(
        "--preset",
        "--algorithm",
        dest="preset",
        choices=PRESETS,
        default="exp3ix",
        help="how to learn (default exp3ix)",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings of yours, laid over those of the demo: bandits.overrides"
    )
    parser.add_argument("--plain", action="store_true", help="a line every few seconds instead of a screen")
    parser.add_argument(
        "--data", type=Path, default=DATA, metavar="FOLDER", help=f"kept from run to run (default {DATA})"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write the last screen to FILE, as SVG")
    return parser.parse_args(argv)


def _run_on(
    broker: Broker, ports: Ports, arguments: argparse.Namespace, start: float, start_unix: float
) -> dict[str, object]:
    config = _write_settings(arguments, broker.bootstrap_servers, ports.metrics())
    page = f"{HOST}:{ports.page()}"
    environment = {name: value for name, value in os.environ.items() if name not in GIVEN}
    settings = load(config, environment)
    arms, verify, metrics = _to_paste(config, settings)
    watch = Watch(broker.way, hint=f"http://{page}/   {arms}")
    run = Run(start, start_unix, broker, arguments.data, config, settings, page, watch)
    with waiting("the topics", TOPICS_SECONDS, _say):
        _create_topics(run.config, environment)
    _say_what_begins_anew(settings, arguments.preset)
    _say("\n  ".join(["to paste in another terminal, here:", arms, verify, metrics]))
    _say(f"the page of all this: http://{page}/")
    connection = json.dumps({"bootstrap.servers": broker.bootstrap_servers})
    _say(f"an engine connects with {connection}")
    return _start_and_end(run, arguments, environment)


def _start_and_end(run: Run, arguments: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, object]:
    address = run.data / "address"  # for engines of other terminals
    address.write_text(run.broker.bootstrap_servers)
    try:
        _start_children(run, environment, ("--rate", str(arguments.rate), "--seed", str(arguments.seed)))
        with WeightsFollower(
            run.settings.kafka.connection(),
            topic=run.settings.topics.names.weights,
            start_timeout_seconds=FOLLOWER_SECONDS,
            on_vector=run.take,
        ) as follower:  # before the screen, which so begins with what the last run left
            with _display(arguments.plain) as show:
                _until_stopped(run, follower, arguments.for_seconds, show)
            _ignore_signals()
            if arguments.picture is not None:
                _draw(run.watch.view(run.elapsed_seconds), arguments.picture)
            return _end(run, follower)
    except BaseException as error:
        _ignore_signals()
        _stop(run.children, STOP_SECONDS if isinstance(error, KeyboardInterrupt) else STOP_AFTER_DEATH_SECONDS)
        raise
    finally:
        address.unlink(missing_ok=True)


def _write_settings(arguments: argparse.Namespace, bootstrap_servers: str, metrics_port: int) -> Path:
    """The file that all of this run is started with: demo.yaml, the preset over it, and where this run is."""
    path: Path = arguments.data / "settings.yaml"
    layers = _preset(arguments.preset)
    if arguments.config is not None:
        layers.lay_file(arguments.config)
    if layers.errors:
        raise SettingsError(layers.errors)
    here = {
        "kafka": {"bootstrap_servers": bootstrap_servers},
        "metrics": {"host": HOST, "port": metrics_port},
        "watch": {"processors": [f"http://{HOST}:{metrics_port}"]},
        "log": {"format": "text"},
    }
    layers.lay((), here, "make run")
    head = f"# Written by make run, preset {arguments.preset}, at each start.\n"
    path.write_text(head + written(layers.values), encoding="utf-8")
    return path


def _preset(name: str) -> Layers:
    layers = Layers()
    layers.lay_file(CONFIG)
    file_name = PRESETS[name]
    if file_name is not None:
        layers.lay_file(CONFIG.parent / file_name)
    return layers


def _to_paste(config: Path, settings: Settings) -> tuple[str, str, str]:
    """Command lines for another terminal, in the folder where make was called."""
    armstream, file = (os.path.relpath(path) for path in (Path(sys.executable).parent / "armstream", config))
    return (
        f"{armstream} arms list --config {file}",
        f"{armstream} verify --config {file}",
        f"curl http://{settings.metrics.host}:{settings.metrics.port}/metrics",
    )


def _create_topics(config: Path, environment: Mapping[str, str]) -> None:
    command = [*ARMSTREAM, "topics", "create", "--config", str(config)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TOPICS_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as expired:
        raise RunError(f"armstream topics create did not end in {TOPICS_SECONDS:g} s") from expired
    if done.returncode != 0:
        raise RunError(f"armstream topics create failed:\n{done.stdout}{done.stderr}")


def _say_what_begins_anew(settings: Settings, preset: str) -> None:
    """Another preset on old data: which bandits it resets, and the way back."""
    anew = to_begin_anew(settings, _say)
    for learned_under in sorted(set(anew.values())):
        bandits = [bandit_id for bandit_id, theirs in anew.items() if theirs == learned_under]
        back = _preset_of(learned_under)
        _say(
            f"preset {preset}: {_counted(bandits)} learned under {back or 'other settings'} and begin anew with the "
            f"next trade in their partition, which forgets what they learned: {', '.join(map(printable, bandits))}"
        )
        way_back = f'make run ARGS="--preset {back}"' if back else "the settings that you had"
        _say(
            f"to go back: Ctrl-C before that, then {way_back}; to keep both: "
            f'make run ARGS="--preset {preset} --data .kafka/{preset}"'
        )


def _preset_of(learned_under: str) -> str | None:
    """The name of the preset that gives these settings; None where none does."""
    for name in PRESETS:
        if not Settings.model_validate(_preset(name).values).online_learning.for_learner().difference(learned_under):
            return name
    return None


def _counted(bandits: Sequence[str]) -> str:
    return f"{len(bandits)} {'bandit' if len(bandits) == 1 else 'bandits'}"


def _start_children(run: Run, environment: Mapping[str, str], demo_arguments: Sequence[str]) -> None:
    logs = run.data / "logs"
    logs.mkdir(exist_ok=True)
    parts = {"processor": ("run",), "demo": ("demo", *demo_arguments), "watch": ("watch", "--http", run.page)}
    for name, command in parts.items():
        whole = [*ARMSTREAM, command[0], "--config", str(run.config), *command[1:]]
        run.children.append(Child(name, whole, environment, logs / f"{name}.log"))


def _until_ready(run: Run, show: Show) -> None:
    """Returns when the processor has restored what the last run left."""
    while run.elapsed_seconds < READY_SECONDS:
        _step(run, show)
        if _get(run.url("/readyz")) is not None:
            return
    raise RunError(f"the processor was not ready in {READY_SECONDS:g} s:\n{run.children[0].tail()}")


def _until_stopped(run: Run, follower: WeightsFollower, for_seconds: float | None, show: Show) -> None:
    """Returns `for_seconds` after the processor is ready, or at Ctrl-C once there is something to sum up."""
    try:
        _until_ready(run, show)
        end = float("inf") if for_seconds is None else run.elapsed_seconds + for_seconds
        while run.elapsed_seconds < end:
            _step(run, show)
            follower.bandit_ids()  # raises where following has failed
    except KeyboardInterrupt:
        if run.first_vector_seconds is None:
            raise
        return
    if run.first_vector_seconds is None:
        raise RunError(f"no weight vector was published in {for_seconds:g} s:\n{run.children[0].tail()}")


def _step(run: Run, show: Show) -> None:
    _check_alive(run)
    _scrape(run)
    show(run.watch.view(run.elapsed_seconds))
    time.sleep(REFRESH_SECONDS)


def _check_alive(run: Run) -> None:
    if not run.broker.alive():
        raise RunError(f"the broker died\n{tail(run.data / 'broker.log')}")
    for child in run.children:
        if child.exit_code is not None:
            raise RunError(f"the {child.name} died, {child.ended}\n{child.tail()}")


def _scrape(run: Run) -> Figures | None:
    """What /metrics says now, None where it does not answer: the processor is starting."""
    text = _get(run.url("/metrics"))
    if text is None:
        return None
    figures = parse_figures(text)
    run.watch.add_figures(figures, run.elapsed_seconds)
    return figures


def _get(url: str) -> str | None:
    """The page, None where nobody answers with 200."""
    try:
        with LOCAL.open(url, timeout=HTTP_SECONDS) as response:
            return str(response.read().decode())
    except OSError:  # URLError is one: refused, timed out, 503
        return None


def _end(run: Run, follower: WeightsFollower) -> dict[str, object]:
    """Stops the demo, lets the processor finish what is there, stops it, and sums up.

    events, rewards and dead_letters are the processor's counters; updates, bandits and max_version are read from the
    weights topic, read_committed: the vectors of this run, and the bandits and the highest version of all runs.
    """
    processor, engines, watch = run.children
    _say("stopping: the engines close what is open, the processor finishes it, then Kafka stops; some 10 s")
    _stop([engines], STOP_SECONDS)
    figures = _drain(run)
    view = run.watch.view(run.elapsed_seconds)
    follower.bandit_ids()  # raises where following has failed
    _stop([processor, watch], STOP_SECONDS)
    versions = [bandit.vector.version for bandit in view.bandits]
    seconds = run.first_vector_seconds
    return {
        "events": figures.events,
        "rewards": figures.rewards,
        "updates": view.updates,
        "dead_letters": figures.dead_letters,
        "bandits": len(versions),
        "max_version": max(versions, default=0),
        "seconds_to_first_vector": None if seconds is None else round(seconds, 3),
    }


def _drain(run: Run) -> Figures:
    """The processor's figures once it has read all that was sent. Raises RunError where that takes too long."""
    events = -1
    for _ in range(DRAIN_STEPS):
        figures = _scrape(run)
        if figures is not None and figures.lag_records == 0 and figures.events == events:
            return figures
        events = -1 if figures is None else figures.events
        time.sleep(DRAIN_STEP_SECONDS)
    raise RunError(f"the processor did not finish in {DRAIN_STEPS * DRAIN_STEP_SECONDS:g} s:\n{run.children[0].tail()}")


def _stop(children: Sequence[Child], seconds: float) -> None:
    """Stops them, the last started first; says who did not end in order."""
    for child in reversed(children):
        if child.exit_code is None and child.stop(seconds) != 0:
            _say(f"the {child.name} did not stop in order, {child.ended}:\n{child.tail()}")


@contextmanager
def _display(plain: bool) -> Iterator[Show]:
    """The screen; or, without a terminal, a line every few seconds."""
    console = Console()
    if console.is_terminal and not plain:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            yield lambda view: live.update(render(view, *console.size), refresh=True)
        return
    said = -PLAIN_SECONDS

    def show(view: View) -> None:
        nonlocal said
        if view.elapsed_seconds - said >= PLAIN_SECONDS:
            said = view.elapsed_seconds
            _say(plain_line(view))

    yield show


def _draw(view: View, picture: Path) -> None:
    """The screen of this run as SVG."""
    width, height = PICTURE_SIZE
    console = Console(record=True, width=width, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(render(view, width, height))
    picture.write_text(console.export_svg(title="make run"), encoding="utf-8")


def _ignore_signals() -> None:
    """From here on everything is being stopped, in bounded time: a second Ctrl-C would only leave a part running."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _say(lines: str) -> None:
    for line in lines.split("\n"):
        sys.stdout.write(f"{printable(line)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
