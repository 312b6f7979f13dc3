"""A job of its own for each test: topics, group, processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processor import Job


@pytest.fixture
def job(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> Iterator[Job]:
    """Its topics are not made yet: a test may set the layout first."""
    job = Job(bootstrap_servers, topic_prefix, tmp_path)
    yield job
    job.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kafka)
