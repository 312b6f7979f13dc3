"""When the topics are looked at again."""

import inspect
from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Uuid

from armstream.runtime import identity
from armstream.runtime.identity import TopicIdentity, Watch
from armstream.settings import load


class Brokers:
    """As much of an admin client as is asked: whether a broker answers."""

    def __init__(self) -> None:
        self.are_there = True

    def list_topics(self, timeout: float) -> None:
        assert timeout <= 1.0
        if not self.are_there:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))


def test_no_answer_comes_after_its_request_has_timed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes late is of a client that nobody asks any more."""
    settings, socket_seconds, request_seconds = load(None, {}, {}), [], []

    def admin_client(_: Any, more: Mapping[str, Any]) -> Brokers:
        socket_seconds.append(more["socket.timeout.ms"] / 1_000)
        return Brokers()

    def ask(_: Any, __: Any, seconds: float = inspect.signature(identity.ask).parameters["seconds"].default) -> Any:
        request_seconds.append(seconds)
        return {}

    monkeypatch.setattr(identity, "admin_client", admin_client)
    monkeypatch.setattr(identity, "ask", ask)
    monkeypatch.setattr(
        identity, "identities", lambda *_: {name: TopicIdentity("id", 1) for name in settings.topics.names.all}
    )
    watch = Watch(settings)
    watch.hurry()
    watch.step()
    watch.true_reason()
    assert len(request_seconds) == 3
    assert socket_seconds[0] < min(request_seconds)


def test_no_admin_request_waits_for_brokers_that_are_away_and_the_topics_are_asked_for_once_they_are_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that runs out of time can end the process (librdkafka 4605)."""
    settings, brokers, asked = load(None, {}, {}), Brokers(), []

    def ask(*_: Any) -> dict[str, Any]:
        asked.append("topics")
        return {}

    monkeypatch.setattr(identity, "admin_client", lambda *_: brokers)
    monkeypatch.setattr(identity, "ask", ask)
    monkeypatch.setattr(
        identity, "identities", lambda *_: {name: TopicIdentity("id", 1) for name in settings.topics.names.all}
    )
    watch = Watch(settings)
    brokers.are_there = False
    watch.hear(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    watch.hurry()
    watch.step()
    assert asked == ["topics"], "that of the start alone"
    brokers.are_there = True
    watch.hurry()
    watch.step()
    assert asked == ["topics", "topics"]


def topic(name: str) -> "Future[Any]":
    found: Future[Any] = Future()
    found.set_result(SimpleNamespace(topic_id=Uuid(1, 2), partitions=[0, 1], name=name))
    return found


def refused(code: int) -> "Future[Any]":
    found: Future[Any] = Future()
    found.set_exception(KafkaException(KafkaError(code)))
    return found


def test_of_topics_of_before_one_that_is_not_there_is_not_told_and_one_that_is_hidden_is_told_so() -> None:
    asked = {
        "there": topic("there"),
        "gone": refused(KafkaError.UNKNOWN_TOPIC_OR_PART),
        "hidden": refused(KafkaError.TOPIC_AUTHORIZATION_FAILED),
    }
    found = identity.those_of_before(asked, 0)
    assert found.keys() == {"there", "hidden"}
    assert found["hidden"] is None
    assert found["there"] is not None
    assert found["there"].partition_count == 2
    with pytest.raises(KafkaException):
        identity.those_of_before({"late": refused(KafkaError._TIMED_OUT)}, 0)


def test_the_topics_of_before_are_asked_for_once_and_never_while_brokers_are_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings, brokers, asked = load(None, {}, {}), Brokers(), []
    answers = iter([refused(KafkaError._TIMED_OUT), topic("bandit-snapshots")])

    def ask(_: Any, names: Any, *__: Any) -> dict[str, Any]:
        if tuple(names) != settings.topics.names.state_before:
            return {}
        asked.append(names)
        return {"bandit-snapshots": next(answers)}

    monkeypatch.setattr(identity, "admin_client", lambda *_: brokers)
    monkeypatch.setattr(identity, "ask", ask)
    monkeypatch.setattr(
        identity, "identities", lambda *_: {name: TopicIdentity("id", 1) for name in settings.topics.names.all}
    )
    watch = Watch(settings)
    brokers.are_there = False
    assert [watch.before(), watch.before()] == [None, None], "asked, and not answered"
    watch.hurry()
    watch.step()
    assert watch.before() is None
    assert len(asked) == 1
    brokers.are_there = True
    watch.hurry()
    watch.step()
    watch.before()
    found = watch.before()
    assert found is not None
    assert found.keys() == {"bandit-snapshots"}
    assert watch.before() is found
    assert len(asked) == 2
