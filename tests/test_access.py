"""What asking for rights leaves behind."""

import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from armstream import access
from armstream.access import processor_rights, require
from armstream.settings import load


class Brokers:
    """As much of an admin client as is asked: every topic is ours, and the group's coordinator is silent."""

    def describe_topics(self, names: Any, **_: Any) -> dict[str, "Future[Any]"]:
        answers = {name: Future[Any]() for name in names.topic_names}
        for answer in answers.values():
            answer.set_result(SimpleNamespace(authorized_operations=None))
        return answers

    def describe_consumer_groups(self, names: list[str], **_: Any) -> dict[str, "Future[Any]"]:
        answers = {name: Future[Any]() for name in names}
        for answer in answers.values():
            answer.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
        return answers


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_the_client_that_asked_in_vain_ends_with_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose request to a coordinator ran out of time aborts the process later (librdkafka 4605)."""
    settings, clients = load(None, {}, {}), []

    def admin_client(*_: Any) -> Brokers:
        client = Brokers()
        clients.append(weakref.ref(client))
        return client

    monkeypatch.setattr(access, "admin_client", admin_client)
    require(settings, processor_rights(settings), print)
    assert [client() for client in clients] == [None]
