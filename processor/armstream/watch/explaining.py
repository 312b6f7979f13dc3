"""Why a version moved, asked on a click. Law: it is had in bounded time, or the reason why not."""

from collections.abc import Callable
from typing import Final

from armstream.settings import Settings

PATIENCE_SECONDS: Final = 8.0  # an answer has 10 s

Explain = Callable[[str, int], str]  # a bandit and a version, to JSON


class NotExplained(Exception):
    """`status` is 404 where there is none, 503 where it cannot be had now; the text says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def explainer(settings: Settings) -> Explain | None:
    """None where this version explains nothing."""
    del settings
    return None
