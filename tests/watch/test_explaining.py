"""What becomes of a question for "why": its answer, or the status and the sentence to show."""

from types import SimpleNamespace
from typing import Any

import pytest

from armstream.explain.facts import NotThere, TooLong
from armstream.runtime.failures import Stopped
from armstream.settings import Settings
from armstream.watch import explaining
from armstream.watch.explaining import PATIENCE_SECONDS, NotExplained, explainer


def test_it_asks_for_the_version_with_bounded_patience_and_gives_the_json(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def explained(settings: Settings, bandit_id: str, **more: object) -> SimpleNamespace:
        asked.append((settings, bandit_id, more["version"], more["patience_seconds"]))
        return SimpleNamespace(as_json=lambda: '{"parts": []}')

    monkeypatch.setattr(explaining, "explained", explained)
    settings = Settings()
    assert explainer(settings)("book", 7) == '{"parts": []}'
    assert asked == [(settings, "book", 7, PATIENCE_SECONDS)]


@pytest.mark.parametrize(
    ("failure", "status"),
    [(NotThere("no version 7"), 404), (TooLong("8 s are over"), 503), (Stopped("Kafka does not answer"), 503)],
)
def test_a_failure_is_a_status_with_its_sentence(
    failure: Exception, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explained(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(explaining, "explained", explained)
    with pytest.raises(NotExplained) as refused:
        explainer(Settings())("book", 7)
    assert refused.value.status == status
    assert str(failure) in str(refused.value)
