"""What is deployed, held to the code without Docker: compose.yaml, the image's files, the alerts and their page."""

import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from armstream import cli
from armstream.runtime.metrics import Metrics
from armstream.settings import Settings, load
from deploy.compose_check import IMAGES, PORTS, SERVICES, STOP_SECONDS, alert_names, documented_series
from deploy.docker.images import pip_arguments
from deploy.kafka.node import SINGLE_NODE, free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE_TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES_OF_ARMSTREAM = ("topics", "processor-a", "processor-b", "demo")
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
RULES = (DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8")
ALERTS = (ROOT / "docs" / "operating" / "alerts.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "operating" / "deploy.md").read_text(encoding="utf-8")
METRICS = (ROOT / "docs" / "operating" / "metrics.md").read_text(encoding="utf-8")


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"][name]
    return found


def with_defaults(text: str) -> str:
    """As compose reads ${NAME:-default} where no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


# compose.yaml


def test_every_service_is_known_to_the_check() -> None:
    assert set(COMPOSE["services"]) == set(SERVICES)


def test_every_port_is_on_loopback_and_behind_a_variable() -> None:
    published = {name: port for name in SERVICES for port in service(name).get("ports", [])}
    for port in published.values():
        assert re.fullmatch(r"127\.0\.0\.1:\$\{\w+_PORT:-\d+\}:\d+", port), port
    assert {variable: name for name, port in published.items() for variable in re.findall(r"\w+_PORT", port)} == PORTS
    defaults = [with_defaults(port).split(":")[1] for port in published.values()]
    assert len(set(defaults)) == len(defaults)


def test_every_image_is_behind_a_variable() -> None:
    images = {re.match(r"\$\{(\w+):-", service(name)["image"])[1] for name in SERVICES}  # type: ignore[index]
    assert images == set(IMAGES)


@pytest.mark.parametrize("name", SERVICES_OF_ARMSTREAM)
def test_nothing_of_ours_may_write_or_become_more(name: str) -> None:
    found = service(name)
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["tmpfs"] == ["/tmp"]


@pytest.mark.parametrize("name", SERVICES_OF_ARMSTREAM)
def test_its_command_and_settings_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [with_defaults(word) for word in service(name)["command"]]
    parsed = cli._parser(with_demo=command[0] == "demo").parse_args(command)
    assert str(parsed.config) == "/etc/armstream/demo.yaml"
    monkeypatch.chdir(ROOT)
    settings = load(ROOT / "config" / parsed.config.name, service(name)["environment"])
    listeners = with_defaults(service("kafka")["environment"]["KAFKA_ADVERTISED_LISTENERS"])
    assert f"INSIDE://{settings.kafka.bootstrap_servers}," in listeners


def test_processors_have_names_of_their_own_and_wait_for_their_topics() -> None:
    processors = ("processor-a", "processor-b")
    assert [service(name)["environment"]["ARMSTREAM__INSTANCE"] for name in processors] == list(processors)
    for name in processors:
        assert service(name)["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}
        assert service(name)["stop_grace_period"] == f"{STOP_SECONDS}s"
        assert "healthcheck" not in service(name), "the image's"
    assert service("topics")["depends_on"] == {"kafka": {"condition": "service_healthy"}}


def test_kafka_is_the_single_node_of_make_run() -> None:
    listeners = {"listener.security.protocol.map", "inter.broker.listener.name"}  # compose has its own
    sessions = {"broker.session.timeout.ms", "broker.heartbeat.interval.ms"}  # for tests that kill it
    environment = service("kafka")["environment"]
    for setting, value in SINGLE_NODE.items():
        if setting not in listeners | sessions:
            assert str(environment[f"KAFKA_{setting.upper().replace('.', '_')}"]) == value, setting


def test_prometheus_scrapes_each_processor_by_its_name_and_port() -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    targets = [target for job in jobs for config in job["static_configs"] for target in config["targets"]]
    port = Settings().metrics.port
    assert targets == [f"processor-a:{port}", f"processor-b:{port}"]
    assert all(service(target.split(":")[0])["ports"][0].endswith(f":{port}") for target in targets)


# The image


def test_the_build_sees_all_that_the_wheel_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = [path.split("/")[0] for path in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]]
    needed = {*wheel, "pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    copied = {word for line in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()}
    assert needed <= copied
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for path in copied:
        seen = (fnmatch(path, pattern) or path.startswith(f"{pattern}/") for pattern in allowed)
        assert any(seen), f"{path} is not in .dockerignore"
        assert (ROOT / path).exists(), path


def test_nothing_of_the_build_is_in_the_last_stage() -> None:
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert "ARG" not in last
    assert "PIP_" not in last
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["armstream"\]$', last, re.MULTILINE), "the exec form: SIGTERM reaches it"
    assert load(None, {"ARMSTREAM__METRICS__HOST": "0.0.0.0"}).metrics.host == "0.0.0.0"
    assert "ARMSTREAM__METRICS__HOST=0.0.0.0" in last


def test_every_image_has_the_label_by_which_a_build_removes_what_it_leaves_behind() -> None:
    (label,) = re.findall(r"--filter label=(\S+)", (DEPLOY / "docker" / "build.sh").read_text(encoding="utf-8"))
    for folder in ("docker", "kafka", "prometheus"):
        text = (DEPLOY / folder / "Dockerfile").read_text(encoding="utf-8")
        first = text.split("\nFROM ")[1].partition("\n")[2].partition("\nRUN ")[0]
        assert f"LABEL {label}=" in first, f"{folder}: below the first layer, so that every stage on it has it"


def test_pips_configuration_becomes_build_arguments() -> None:
    listed = (
        "global.index-url='https://example.test/simple'\n:env:.trusted-host='a.test\\nb.test'\nglobal.cert='/x.pem'\n"
    )
    proxies = {"HTTPS_PROXY": "http://proxy.test:3128", "HTTP_PROXY": "", "HOME": "/root"}
    assert pip_arguments(listed, proxies) == {
        "PIP_INDEX_URL": "https://example.test/simple",
        "PIP_TRUSTED_HOST": "a.test b.test",
        "HTTPS_PROXY": "http://proxy.test:3128",
    }


def requirements(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEPLOY / "docker" / "requirements.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_requirements_are_the_projects_and_those_of_its_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    run, demo = project["project"]["dependencies"], project["project"]["optional-dependencies"]["demo"]
    assert requirements("run", "").stdout.splitlines() == run
    assert requirements("run", "[demo]").stdout.splitlines() == run + demo
    assert requirements("build").stdout.splitlines() == project["build-system"]["requires"]


@pytest.mark.parametrize("extra", ["dmeo", "dev"])  # dev names the project: an index may have a stranger of that name
def test_an_extra_that_is_none_for_an_image_is_refused(extra: str) -> None:
    refused = requirements("run", f"[{extra}]")
    assert refused.returncode == 1
    assert f"'{extra}'" in refused.stderr


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers /livez with `status` and all else with the opposite; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            alive = self.path == "/livez"
            self.send_response(status if alive else 503 if status == 200 else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(10)


def health_check(port: int) -> int:
    command = [sys.executable, str(DEPLOY / "docker" / "live.py")]
    proxies = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}  # not for a container's own
    environment = {"ARMSTREAM__METRICS__PORT": str(port), **proxies}
    return subprocess.run(command, env=environment, timeout=60, check=False, stdout=subprocess.DEVNULL).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_says_what_livez_says(status: int, code: int) -> None:
    with answering(status) as port:
        assert health_check(port) == code


def test_the_health_check_fails_where_nobody_answers() -> None:
    assert health_check(free_port()) == 1


# The alerts


def test_rules_name_only_series_that_there_are() -> None:
    """Each expression's armstream_* and armstream:*; a rule on a misspelt one is silent for ever."""
    rules = [rule for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    kinds = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}
    there = {
        family.name + suffix for family in Metrics(Settings()).collect() for suffix in kinds.get(family.type, [""])
    }
    named = {name for rule in rules for name in re.findall(r"armstream[_:][a-z_]+", rule["expr"])}
    assert named
    assert named <= there | recorded


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    tests = yaml.safe_load((DEPLOY / "prometheus" / "rules_test.yml").read_text(encoding="utf-8"))["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", [])]
    fires = {case["alertname"] for case in cases if case["exp_alerts"]}
    assert fires == set(alert_names(RULES))


def test_every_alert_has_its_row_and_its_section() -> None:
    rules = [rule for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"] if "alert" in rule]
    rows = dict(re.findall(r"^\| (Armstream\w+) \| (\w+) \|", ALERTS, re.MULTILINE))
    assert rows == {rule["alert"]: rule["labels"]["severity"] for rule in rules}
    assert re.findall(r"^## (\w+)$", ALERTS, re.MULTILINE) == list(rows)


def test_the_check_asks_prometheus_for_every_metric_with_its_labels() -> None:
    """Held to the families themselves, whose labels the page documents."""
    wanted = documented_series(METRICS)
    suffix = {"counter": "_total", "histogram": "_bucket", "info": "_info"}
    assert set(wanted) == {one.name + suffix.get(one.type, "") for one in Metrics(Settings()).collect()}
    assert wanted["armstream_records_total"] == {"topic", "outcome"}
    assert wanted["armstream_rewards_clipped_total"] == set()
    assert wanted["armstream_reward_bps_bucket"] == {"le"}
    assert wanted["armstream_bandit_weight"] == {"bandit_id", "arm"}


# The page


def test_the_page_names_every_variable_of_compose_and_no_other() -> None:
    variables = set(re.findall(r"\$\{(\w+):-", COMPOSE_TEXT))
    on_the_page = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*_(?:PORT|IMAGE|CONFIG|RATE|OPTS)\b", PAGE))
    assert on_the_page - {"ARMSTREAM__METRICS__PORT"} == variables
