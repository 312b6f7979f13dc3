"""One real broker for the whole run, and a name of its own for each test. Law: without Kafka a test fails."""

import logging
import os
import uuid
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from confluent_kafka.admin import AdminClient

from deploy.kafka.broker import Broker, start_kafka

# How long a shared machine takes for one example says nothing.
hypothesis.settings.register_profile("armstream", deadline=None)
hypothesis.settings.load_profile("armstream")

# Brokers here live for minutes: what the second compiler and a parallel collector cost is not won back in that time.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

SAID = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> Iterator[Broker]:
    """A running broker; which way it runs is said at once, and again at the end."""
    said = pytestconfig.stash.setdefault(SAID, [])
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        said.append(line)
        with capture.global_and_fixture_disabled():
            print(f"\n{line}", flush=True)  # noqa: T201 - for who waits at the terminal

    with start_kafka(say=say) as broker:
        yield broker


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """For tests that run a command in this process: it sets logging up."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker process hands what was said to the process that writes the summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["kafka"] = session.config.stash.get(SAID, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash.setdefault(SAID, []).extend(getattr(node, "workeroutput", {}).get("kafka", []))


@pytest.fixture
def bootstrap_servers(kafka: Broker) -> str:
    return kafka.bootstrap_servers


@pytest.fixture
def topic_prefix(bootstrap_servers: str) -> Iterator[str]:
    """A prefix that no other topic has; the topics that have it are deleted afterwards."""
    prefix = f"t{uuid.uuid4().hex[:12]}-"
    yield prefix
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    topics = [topic for topic in admin.list_topics(timeout=30).topics if topic.startswith(prefix)]
    for deleted in admin.delete_topics(topics, operation_timeout=30).values() if topics else ():
        deleted.result()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(SAID, []):
        terminalreporter.write_line(line)
