"""When the topics are looked at again."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

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


def test_no_admin_request_waits_for_brokers_that_are_away_and_the_topics_are_asked_for_once_they_are_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that runs out of time can end the process (librdkafka 4605)."""
    settings, brokers, asked = load(None, {}, {}), Brokers(), []

    def ask(*_: Any) -> dict[str, Any]:
        asked.append("topics")
        return {}

    monkeypatch.setattr(identity, "admin_client", lambda _: brokers)
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
