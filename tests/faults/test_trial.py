"""What makes a trial void: the broker's word that it forgot a commit, and nothing else."""

from pathlib import Path
from typing import Any, cast

import pytest

from deploy.kafka.broker import Broker
from tests.faults import trial
from tests.faults.proxy import Proxy
from tests.faults.trial import Fault, Outcome, attempt

FAULT = Fault("none", lambda *_: [], "never")


class ForgetfulBroker:
    """Counts what it is told that it forgot."""

    def __init__(self) -> None:
        self.forgotten = 0

    def forgotten_commits(self) -> int:
        return self.forgotten


def attempted(monkeypatch: pytest.MonkeyPatch, forgets: list[bool]) -> Outcome:
    """Trials that fail, forgetting a commit where `forgets` says so; the one after them is exact."""
    broker, left = ForgetfulBroker(), list(forgets)

    def once(*_: Any) -> Outcome:
        if not left:
            return Outcome([1.0], 0)
        broker.forgotten += left.pop(0)
        raise AssertionError("versions have a gap")

    monkeypatch.setattr(trial, "_attempt_once", once)
    return attempt(FAULT, 1, 1, cast(Broker, broker), cast(Proxy, None), Path())


def test_a_failed_trial_is_void_where_the_broker_forgot_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert attempted(monkeypatch, [True, True]) == Outcome([1.0], 0, void_trials=2)


@pytest.mark.parametrize("forgets", [[False], [True, False], [True] * 4])
def test_a_failed_trial_fails_where_it_did_not_or_too_often(
    monkeypatch: pytest.MonkeyPatch, forgets: list[bool]
) -> None:
    with pytest.raises(AssertionError, match="versions have a gap"):
        attempted(monkeypatch, forgets)
