"""A client that was fenced says why in one line, also where the group cannot be asked."""

import pytest
from confluent_kafka import KafkaError

from armstream.runtime import fence
from armstream.runtime.fence import cause_of_fence, is_fence
from armstream.settings import Settings

SETTINGS = Settings.model_validate({"instance": "a", "kafka": {"bootstrap_servers": "127.0.0.1:1"}})  # nobody listens
AS_A_RECORDS = KafkaError(
    KafkaError._FATAL, "Fatal error: Broker: Static consumer fenced by other consumer with same group.instance.id"
)


def test_a_producer_is_fenced_by_another_process_alone_so_nobody_is_asked() -> None:
    error = KafkaError(KafkaError._FENCED, "Local: This instance has been fenced by a newer instance")
    assert is_fence(error)
    line = cause_of_fence(SETTINGS, error, set())
    assert line.startswith("another process has taken over the instance name 'a' in group 'armstream'")


@pytest.mark.parametrize("error", [KafkaError(KafkaError.FENCED_INSTANCE_ID), AS_A_RECORDS])
def test_where_the_group_does_not_answer_no_cause_is_named(error: KafkaError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "_REQUEST_SECONDS", 0.3)
    assert is_fence(error)
    line = cause_of_fence(SETTINGS, error, set())
    assert "the group could not be asked" in line
    assert "start it again" in line
    assert "another process" not in line


def test_another_fatal_error_is_no_fence() -> None:
    assert not is_fence(KafkaError(KafkaError._FATAL, "Fatal error: Broker: Topic authorization failed"))
