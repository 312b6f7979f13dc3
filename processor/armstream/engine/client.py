"""librdkafka's settings of an engine's clients. Law: what a guarantee rests on is not the caller's, and is refused."""

from collections.abc import Mapping
from typing import Any, Literal

from confluent_kafka import KafkaError


def client_settings(
    given: Mapping[str, Any], *, default: Mapping[str, Any], forced: Mapping[str, Any], owned: Mapping[str, str]
) -> dict[str, Any]:
    """The caller's settings over the defaults, and `forced`. Raises ValueError for a name in `owned`, with its reason.

    A refused name is refused with every value, also with ours: it is not looked at.
    """
    refused = [f"{name} is not yours to set: {owned[name]}" for name in given if name in owned]
    if refused:
        raise ValueError("; ".join(refused))
    return {**default, **given, **forced}


def reason(error: KafkaError, right: Literal["Read", "Write"]) -> str:
    """What librdkafka says, and the right on the topic where it is that which lacks."""
    lacks = error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    return f"this user lacks the right {right} on it ({error.str()})" if lacks else error.str()
