"""`make compose-check`: the whole of compose.yaml, built, brought up and held to what the pages of docs/ say of it.

Law: a project of its own on free loopback ports; every wait has a limit; whatever happens, it is brought down again,
volumes too.
"""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from armstream.engine import FollowerError, WeightsFollower
from deploy.docker import images
from deploy.kafka.node import free_port

ROOT = Path(__file__).parents[1]
METRICS_PAGE = ROOT / "docs" / "operating" / "metrics.md"
COMPOSE_FILE = ROOT / "deploy" / "compose.yaml"
RULES = ROOT / "deploy" / "prometheus"
PROCESSORS = ("processor-a", "processor-b")
SERVICES = ("kafka", "topics", *PROCESSORS, "demo", "prometheus")
PORTS = {  # the variable of compose.yaml -> the service behind it
    "KAFKA_PORT": "kafka",
    "PROCESSOR_A_PORT": "processor-a",
    "PROCESSOR_B_PORT": "processor-b",
    "PROMETHEUS_PORT": "prometheus",
}
IMAGES = {
    "ARMSTREAM_IMAGE": "armstream",
    "DEMO_IMAGE": "armstream-demo",
    "PROMETHEUS_IMAGE": "armstream-prometheus",
    "KAFKA_IMAGE": "armstream-kafka",
}

IMAGE_SECONDS = 1_200.0
INSTALL_SECONDS = 300.0
UP_SECONDS = 240.0
DOWN_SECONDS = 120.0
COMMAND_SECONDS = 60.0
VERIFY_SECONDS = 180.0
WAIT_SECONDS = 180.0  # the last metric, a clipped share, needs 600 rewards of a bandit: 80 s at the demo's rate
STOP_SECONDS = 30  # compose.yaml's stop_grace_period
HTTP_SECONDS = 5.0
TAIL_LINES = 15

# Run inside a container: fails where it can write outside /tmp, or finds what builds or installs.
CONFINED = """
import os, shutil, sys
writable = [path for path in ("/", "/etc", "/opt/armstream", "/var/tmp") if os.access(path, os.W_OK)]
tools = [tool for tool in ("cc", "gcc", "cargo", "rustc", "make", "pip", "pip3") if shutil.which(tool)]
sys.exit(f"it can write to {writable} and has {tools}" if writable or tools else 0)
"""

LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy of the environment is not for loopback


class CheckError(Exception):
    """What does not hold; `services` are those whose logs may say why."""

    def __init__(self, why: str, *services: str) -> None:
        super().__init__(why)
        self.services = services


@dataclass(frozen=True, slots=True)
class Project:
    """A compose project of our own: its command line and where its services answer."""

    command: Sequence[str]
    environment: Mapping[str, str]

    def compose(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> str:
        return _run([*self.command, *arguments], self.environment, seconds)

    def container(self, service: str) -> str:
        """Its id, "" where there is none. Docker itself answers at once, where compose takes seconds."""
        label = "label=com.docker.compose"
        name = self.environment["COMPOSE_PROJECT_NAME"]
        filters = ("--filter", f"{label}.project={name}", "--filter", f"{label}.service={service}")
        return _docker("ps", "--all", "--quiet", *filters).strip()

    def inspect(self, service: str, template: str) -> str:
        return _docker("inspect", "--format", template, self.container(service)).strip()

    def page(self, service: str, path: str) -> str | None:
        """What the service answers at a path, None where it does not answer with 200."""
        variable = next(variable for variable, at in PORTS.items() if at == service)
        try:
            with LOCAL.open(f"http://127.0.0.1:{self.environment[variable]}{path}", timeout=HTTP_SECONDS) as answer:
                return str(answer.read().decode())
        except (OSError, http.client.HTTPException):  # refused, reset, timed out, 503; cut off in the middle
            return None

    def prometheus(self, path: str, **parameters: str) -> Any:
        """The data of an answer of Prometheus's API."""
        page = self.page("prometheus", f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        if page is None:
            raise CheckError(f"Prometheus does not answer at /api/v1/{path}", "prometheus")
        return json.loads(page)["data"]


def main() -> int:
    """0 where all holds; 1 with the tails of the logs that may say why it does not."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C: everything is brought down first
    try:
        with _step("images"):
            _build_images()
        project = _project()
        _say(f"project {project.environment['COMPOSE_PROJECT_NAME']}")
        try:
            _check(project)
        except (CheckError, FollowerError, subprocess.SubprocessError) as failure:
            _say(f"FAILED: {failure}")
            _show_logs(project, getattr(failure, "services", ()) or _suspects(project))
            return 1
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # bounded from here on: a second Ctrl-C would leave it half down
            with _step("down, volumes too"):
                project.compose("down", "--volumes", "--remove-orphans", "--timeout", "20", seconds=DOWN_SECONDS)
    except (CheckError, subprocess.SubprocessError) as failure:
        _say(f"FAILED: {failure}")
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 1
    return 0


def _check(project: Project) -> None:
    with _step("up: Kafka is healthy, the topics are made, the rest has started"):
        project.compose("up", "--detach", seconds=UP_SECONDS)
    with _step("both processors are healthy and ready"):
        for service in PROCESSORS:
            _wait_until_ready(project, service)
    with _step("no root, nowhere to write, no compiler"):
        for service in PROCESSORS:
            _is_confined(project, service)
    client = {"bootstrap.servers": f"127.0.0.1:{project.environment['KAFKA_PORT']}"}
    with WeightsFollower(client, start_timeout_seconds=WAIT_SECONDS) as follower:
        with _step("both processors learn, and each bandit's vector is on the topic"):
            _vectors_flow(project, follower)
        with _step("Prometheus: targets up, every metric of the page's table but experts', rules sound, no alert"):
            _prometheus_has_it_all(project)
        with _step("promtool: the page of metrics, the rules and their cases"):
            _promtool_agrees(project)
        with _step(f"docker stop ends processor-a with 0 within {STOP_SECONDS} s; started again, it goes on"):
            _stops_and_goes_on(project, follower)
    with _step("docker stop ends the demo with 0: every position closed, every event delivered"):
        _stop(project, "demo")
    with _step("armstream verify: everything that was published follows from the log"):
        config = project.environment.get("ARMSTREAM_CONFIG", "/etc/armstream/demo.yaml")
        verify = ("armstream", "verify", "--config", config)
        _docker("exec", project.container("processor-b"), *verify, seconds=VERIFY_SECONDS)


def _wait_until_ready(project: Project, service: str) -> None:
    _until(f"{service} is healthy", lambda: project.inspect(service, "{{.State.Health.Status}}") == "healthy", service)
    _until(f"{service} is ready", lambda: project.page(service, "/readyz") is not None, service)


def _is_confined(project: Project, service: str) -> None:
    container = project.container(service)
    found = project.inspect(service, "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}")
    if found != "10001:10001 true [ALL]":
        raise CheckError(f"{service} runs as {found}, 10001:10001 true [ALL] is meant", service)
    _docker("exec", container, "python", "-c", CONFINED)


def _versions(project: Project, service: str) -> dict[str, float]:
    """The version of each bandit that the processor has published for since it started."""
    page = project.page(service, "/metrics")
    families = text_string_to_metric_families(page or "")
    return {
        sample.labels["bandit_id"]: sample.value
        for family in families
        if family.name == "armstream_bandit_version"
        for sample in family.samples
    }


def _vectors_flow(project: Project, follower: WeightsFollower) -> None:
    for service in PROCESSORS:
        _wait_until_it_learns(project, service)

    def missing() -> list[str]:
        return [bandit_id for bandit_id in _all_versions(project) if follower.weights(bandit_id) is None]

    _until("every bandit has a vector", lambda: not missing(), *PROCESSORS)


def _wait_until_it_learns(project: Project, service: str) -> None:
    _until(f"{service} learns", lambda: bool(_versions(project, service)), service, "demo")


def _all_versions(project: Project) -> dict[str, float]:
    return {name: version for service in PROCESSORS for name, version in _versions(project, service).items()}


def _prometheus_has_it_all(project: Project) -> None:
    def up() -> bool:
        targets = project.prometheus("targets")["activeTargets"]
        return len(targets) == len(PROCESSORS) and all(target["health"] == "up" for target in targets)

    _until("both targets up", up, "prometheus")
    documented = documented_series(METRICS_PAGE.read_text(encoding="utf-8"))
    wanted = {name: labels for name, labels in documented.items() if "expert" not in labels}  # the demo's rule has none
    missing: dict[str, set[str]] = {}

    def complete() -> bool:
        missing.clear()
        for name, labels in wanted.items():
            found = project.prometheus("query", query=name)["result"]
            lacks = labels - set.intersection(*(set(one["metric"]) for one in found)) if found else {"any sample"}
            if lacks:
                missing[name] = lacks
        return not missing

    _until("every series", complete, *PROCESSORS, reason=lambda: f"they lack {missing}")
    groups = project.prometheus("rules")["groups"]
    unsound = [rule for group in groups for rule in group["rules"] if rule["health"] != "ok"]
    alerts = {rule["name"] for group in groups for rule in group["rules"] if rule["type"] == "alerting"}
    if unsound or alerts != set(alert_names((RULES / "rules.yml").read_text(encoding="utf-8"))):
        raise CheckError(f"Prometheus has the alerts {sorted(alerts)}; not sound: {unsound}", "prometheus")

    def firing() -> list[str]:
        alerts = project.prometheus("alerts")["alerts"]
        return [str(alert["labels"]) for alert in alerts if alert["state"] == "firing"]

    # A start that took minutes was an alarm until now.
    _until("no alert", lambda: not firing(), *PROCESSORS, reason=lambda: f"these fire: {firing()}")


def _promtool_agrees(project: Project) -> None:
    page = project.page("processor-a", "/metrics")
    if page is None:
        raise CheckError("/metrics does not answer", "processor-a")
    _docker("exec", "-i", project.container("prometheus"), "promtool", "check", "metrics", standard_input=page)
    image = project.environment["PROMETHEUS_IMAGE"]
    rules = ("run", "--rm", "--network", "none", "--volume", f"{RULES}:/rules:ro", "--entrypoint", "promtool", image)
    _docker(*rules, "check", "rules", "/rules/rules.yml")
    _docker(*rules, "test", "rules", "/rules/rules_test.yml")


def _stops_and_goes_on(project: Project, follower: WeightsFollower) -> None:
    before = _versions(project, "processor-a")
    _stop(project, "processor-a")
    _docker("start", project.container("processor-a"))
    _until("processor-a ready again", lambda: project.page("processor-a", "/readyz") is not None, "processor-a")

    def behind() -> list[str]:
        vectors = {bandit_id: follower.weights(bandit_id) for bandit_id in before}
        return [name for name, vector in vectors.items() if vector is None or vector.version <= before[name]]

    _until(f"vectors above {before}", lambda: not behind(), *PROCESSORS)
    _wait_until_it_learns(project, "processor-a")
    if follower.ignored_count:
        raise CheckError(f"{follower.ignored_count} vectors did not go up in version", *PROCESSORS)


def _stop(project: Project, service: str) -> None:
    started = time.monotonic()
    _docker("stop", "--time", str(STOP_SECONDS), project.container(service), seconds=STOP_SECONDS + COMMAND_SECONDS)
    code, seconds = project.inspect(service, "{{.State.ExitCode}}"), time.monotonic() - started
    if code != "0" or seconds > STOP_SECONDS:
        raise CheckError(f"docker stop ended {service} with {code} after {seconds:.1f} s", service)


def documented_series(page: str) -> dict[str, set[str]]:
    """A series of each metric in the page's table, and the labels that it has.

    A histogram's is its buckets: one with negative bounds has no sum and no count.
    """
    series: dict[str, set[str]] = {}
    for row in re.findall(r"^\| `armstream_.*$", page, re.MULTILINE):
        name, kind, labels = (cell.strip(" `") for cell in row.split("|")[1:4])
        named = set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", labels)))
        is_histogram = kind == "histogram"
        series[f"{name}_bucket" if is_histogram else name] = named | ({"le"} if is_histogram else set())
    return series


def alert_names(rules: str) -> list[str]:
    return re.findall(r"^ *- alert: (\w+)$", rules, re.MULTILINE)


def _build_images() -> None:
    """Those that no variable of the environment names."""
    ours = [image for variable, image in IMAGES.items() if variable not in os.environ and image in images.IMAGES]
    if ours and images.main(ours) != 0:
        raise CheckError("an image could not be built")
    if "KAFKA_IMAGE" not in os.environ:
        _run([sys.executable, "-m", "deploy.kafka.image"], os.environ, IMAGE_SECONDS)


def _project() -> Project:
    name = f"armstream-check-{os.getpid()}"
    ports = {variable: str(free_port()) for variable in PORTS}
    environment = {**IMAGES, **os.environ, **ports}
    environment |= {"COMPOSE_PROJECT_NAME": name, "COMPOSE_INTERACTIVE_NO_CLI": "1"}
    return Project([*_compose_command(), "--file", str(COMPOSE_FILE)], environment)


def _compose_command() -> list[str]:
    """Docker's own compose, else docker-compose, which on Debian as root is installed."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose") is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise CheckError("there is no docker-compose: on Debian, apt-get install docker-compose")
        _say("installing Debian's docker-compose")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "-qq", "update"], environment, INSTALL_SECONDS)
        _run(
            ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", "docker-compose"],
            environment,
            INSTALL_SECONDS,
        )
    return ["docker-compose"]


def _until(what: str, holds: Callable[[], bool], *services: str, reason: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise CheckError(f"not within {WAIT_SECONDS:.0f} s: {what} {reason()}".rstrip(), *services)
        time.sleep(0.5)


def _docker(*arguments: str, seconds: float = COMMAND_SECONDS, standard_input: str = "") -> str:
    return _run(["docker", *arguments], os.environ, seconds, standard_input)


def _run(command: Sequence[str], environment: Mapping[str, str], seconds: float, standard_input: str = "") -> str:
    done = subprocess.run(
        command, env=environment, input=standard_input, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise CheckError(f"{' '.join(command)}: exit code {done.returncode}\n{said}")
    return done.stdout


def _suspects(project: Project) -> list[str]:
    """Services whose container ended with an error, or is not well; all that there are where none is."""
    started = [service for service in SERVICES if project.container(service)]
    states = {
        one: project.inspect(one, "{{.State.ExitCode}} {{with .State.Health}}{{.Status}}{{end}}") for one in started
    }
    ill = [service for service, state in states.items() if state.strip() not in {"0", "0 healthy"}]
    return ill or started


def _show_logs(project: Project, services: Sequence[str]) -> None:
    for service in services:
        try:
            logs = project.compose("logs", "--no-color", f"--tail={TAIL_LINES}", service)
        except (CheckError, subprocess.SubprocessError) as failure:
            logs = f"no log: {failure}"
        _say(f"the end of {service}'s log:\n{logs.rstrip()}")


@contextmanager
def _step(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    _say(f"{time.monotonic() - started:6.1f} s  {what}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
