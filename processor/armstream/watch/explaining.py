"""Why a version moved, asked on a click. Law: it is had in bounded time, or the reason why not."""

import logging
from collections.abc import Callable
from typing import Final

from armstream.explain.bandit import NotThere, TooLong, explained
from armstream.runtime.failures import Stopped
from armstream.settings import Settings

log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 8.0  # an answer has 10 s

Explain = Callable[[str, int], str]  # a bandit and a version, to JSON


class NotExplained(Exception):
    """`status` is 404 where there is none, 503 where it cannot be had now; the text says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def explainer(settings: Settings) -> Explain:
    """What asks the cluster each time; it may take PATIENCE_SECONDS and some more. Raises NotExplained."""

    def explain(bandit_id: str, version: int) -> str:
        try:
            told = explained(settings, bandit_id, version=version, say=log.info, patience_seconds=PATIENCE_SECONDS)
        except NotThere as nothing:
            raise NotExplained(404, str(nothing)) from nothing
        except TooLong as long:
            command = f"in a terminal it may take longer: armstream explain BANDIT --version {version}"
            raise NotExplained(503, f"{long}; {command}") from long
        except Stopped as stopped:
            raise NotExplained(503, str(stopped)) from stopped
        return told.as_json()

    return explain
