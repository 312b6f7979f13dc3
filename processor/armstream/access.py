"""What each program must be allowed on the cluster, and why it is not let in. Law: it is asked before any work is done;
the answer is one line, which names the cause, or each right that lacks with its resource.

The table of docs/operating/rights.md is made from the rights here. Read and Write bring Describe with them.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from armstream.settings import Settings
from armstream.waiting import Say, waiting

Operation = Literal["Create", "Describe", "DescribeConfigs", "Read", "Write"]
Kind = Literal["topic", "group", "transactional id"]

_REQUEST_SECONDS = 10.0
_TRY_SECONDS = 2.0
REFUSALS = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_OPERATIONS_OF_KAFKA: Mapping[str, Operation] = {
    "CREATE": "Create",
    "DESCRIBE": "Describe",
    "DESCRIBE_CONFIGS": "DescribeConfigs",
    "READ": "Read",
    "WRITE": "Write",
}
_OPTIONS: Mapping[Kind, str] = {"topic": "--topic", "group": "--group", "transactional id": "--transactional-id"}
# What a client hears of its connection, and what is then to be looked at.
_LOGIN = "look at sasl.username and its password in kafka.client"
_SERVER = "look at ssl.ca.location in kafka.client, and at the name in kafka.bootstrap_servers"
_CERTIFICATE = "the cluster does not take the client's certificate: look at ssl.certificate and ssl.key in kafka.client"
_PROTOCOL = "look at kafka.bootstrap_servers, and whether security.protocol in kafka.client is that of the listener"


class NoAccess(Exception):
    """The cluster does not answer, or does not allow what is needed; the text is one line without secrets."""


@dataclass(frozen=True, slots=True)
class Right:
    """One operation on one resource."""

    operation: Operation
    kind: Kind
    name: str


_Answer = frozenset[Operation] | KafkaError


def _topics(operations: Iterable[Operation], names: Iterable[str]) -> Iterator[Right]:
    return (Right(operation, "topic", name) for name in names for operation in operations)


def processor_rights(settings: Settings) -> tuple[Right, ...]:
    """It reads `weights` and `rewards` where it finds no state: whether somebody published there before."""
    names = settings.topics.names
    return (
        *_topics(("Read", "DescribeConfigs"), names.inputs),
        *_topics(("Read", "Write", "DescribeConfigs"), (names.snapshots, names.weights, names.rewards)),
        *_topics(("Write", "DescribeConfigs"), (names.dead_letters,)),
        Right("Read", "group", settings.kafka.group_id),
        Right("Write", "transactional id", str(settings.producer_configuration()["transactional.id"])),
    )


def before_rights(settings: Settings) -> tuple[Right, ...]:
    """Those of whatever reads a state, until it was moved from where versions before kept it."""
    return tuple(_topics(("Read",), settings.topics.names.state_before))


def create_rights(settings: Settings) -> tuple[Right, ...]:
    return tuple(_topics(("Create", "Describe", "DescribeConfigs"), settings.topics.names.all))


def check_rights(settings: Settings) -> tuple[Right, ...]:
    return tuple(_topics(("Describe", "DescribeConfigs"), settings.topics.names.all))


def verify_rights(settings: Settings) -> tuple[Right, ...]:
    reads = [Right("Read", "topic", name) for name in settings.topics.names.all]
    return *reads, Right("Describe", "group", settings.kafka.group_id)


def ask_rights(settings: Settings) -> tuple[Right, ...]:
    """Those of `armstream arms` and `armstream experts`, which send a command and hear what became of it."""
    names = settings.topics.names
    reads = [Right("Read", "topic", name) for name in (names.rewards, names.dead_letters)]
    return Right("Write", "topic", names.commands), *reads


def list_rights(settings: Settings) -> tuple[Right, ...]:
    names = settings.topics.names
    return tuple(Right("Read", "topic", name) for name in (names.weights, names.snapshots, names.dead_letters))


def watch_rights(settings: Settings) -> tuple[Right, ...]:
    """Those of `armstream watch`: of trades it reads when the first one waits that is not learned from, and what it
    explains."""
    names = settings.topics.names
    reads = [Right("Read", "topic", name) for name in names.all]
    return *reads, Right("Describe", "group", settings.kafka.group_id)


def explain_rights(settings: Settings) -> tuple[Right, ...]:
    names = settings.topics.names
    outputs = names.rewards, names.weights, names.snapshots, names.dead_letters
    return tuple(Right("Read", "topic", name) for name in (*names.inputs, *outputs))


def cat_rights(settings: Settings, topics: Iterable[str] = ()) -> tuple[Right, ...]:
    """Those of `armstream cat` on the `topics` that it shows, which may be any."""
    return tuple(Right("Read", "topic", name) for name in topics or settings.topics.names.all)


def letters_rights(settings: Settings) -> tuple[Right, ...]:
    """Those of `armstream dead-letters list` and `show`."""
    return (Right("Read", "topic", settings.topics.names.dead_letters),)


def resend_rights(settings: Settings) -> tuple[Right, ...]:
    """Those of `armstream dead-letters resend`, which reads an input where a letter has left its record there, and
    what became of what it sent."""
    names = settings.topics.names
    outputs = (names.dead_letters, names.rewards, names.snapshots)
    return *_topics(("Read", "Write"), names.inputs), *_topics(("Read",), outputs)


def to_snapshots_rights(settings: Settings) -> tuple[Right, ...]:
    """Those of `armstream reset to-snapshots`, which for a moment is a member of the group, and commits for it."""
    names = settings.topics.names
    return (
        *_topics(("Read", "DescribeConfigs"), (*names.inputs, names.rewards)),
        *_topics(("Read", "Write", "DescribeConfigs"), (names.snapshots,)),
        *_topics(("Describe", "DescribeConfigs"), (names.weights, names.dead_letters)),
        Right("Read", "group", settings.kafka.group_id),
        Right("Write", "transactional id", settings.reset_transactional_id),
    )


def anew_rights(settings: Settings) -> tuple[Right, ...]:
    """Those of `armstream reset anew`. The settings are the new group's: its output topics are to be made."""
    names = settings.topics.names
    outputs = [name for name in names.all if name not in names.inputs]
    return (
        *_topics(("Describe", "DescribeConfigs"), names.inputs),
        *_topics(("Create", "Describe", "DescribeConfigs"), outputs),
        Right("Describe", "group", settings.kafka.group_id),
    )


def engine_rights(settings: Settings) -> tuple[Right, ...]:
    writes = [Right("Write", "topic", name) for name in settings.topics.names.trades]
    return *writes, Right("Read", "topic", settings.topics.names.weights)


RIGHTS: Mapping[str, Callable[[Settings], tuple[Right, ...]]] = {
    "processor": processor_rights,
    "what reads a state, until it was moved": before_rights,
    "engine": engine_rights,
    "`topics create`": create_rights,
    "`topics check`": check_rights,
    "`arms` and `experts` commands": ask_rights,
    "`arms list`": list_rights,
    "`cat`, on the topic that it shows": cat_rights,
    "`dead-letters list` and `show`": letters_rights,
    "`dead-letters resend`": resend_rights,
    "`explain`": explain_rights,
    "`verify`": verify_rights,
    "`watch`": watch_rights,
    "`reset to-snapshots`": to_snapshots_rights,
    "`reset anew`, with the new names": anew_rights,
}


def require(settings: Settings, rights: Collection[Right], say: Say) -> None:
    """Asks the cluster for the rights on topics and groups; `say` is told of the wait. Raises NoAccess.

    Passes what the cluster does not tell: rights on a topic that is not there, or on a transactional id. Its use does.
    """
    lacking = _lacking(settings, rights, say)
    if lacking:
        raise NoAccess(not_allowed(settings, lacking))


def why_refused(settings: Settings, error: KafkaError, rights: Collection[Right], say: Say) -> str:
    """The line for an error of REFUSALS that came up in the middle of work which needs `rights`."""
    kinds: Mapping[int, Kind] = {
        KafkaError.GROUP_AUTHORIZATION_FAILED: "group",
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactional id",
    }
    kind = kinds.get(error.code())
    if kind is not None:
        return not_allowed(settings, [right for right in rights if right.kind == kind])
    try:
        lacking = _lacking(settings, rights, say)
    except NoAccess as nothing:
        return str(nothing)
    if lacking:
        return not_allowed(settings, lacking)
    said = settings.kafka.masked(error.str())
    return f"{kafka(settings)}: {said}; the rights are there again: start it again"


def not_allowed(settings: Settings, rights: Iterable[Right]) -> str:
    """One line with all that lacks, and the command that grants the first of it."""
    by_use: dict[tuple[Operation, Kind], list[str]] = {}
    for right in rights:
        by_use.setdefault((right.operation, right.kind), []).append(right.name)
    (operation, kind), names = next(iter(by_use.items()))
    lacks = "; ".join(f"{use[0]} on {use[1]} {', '.join(named)}" for use, named in by_use.items())
    user = settings.kafka.client.get("sasl.username", "NAME")
    grant = f"--allow-principal User:{user} --operation {operation} {_OPTIONS[kind]} {names[0]}"
    return (
        f"{kafka(settings)} does not allow this user: {lacks}. Who may grant it does so for each: "
        f"kafka-acls.sh --bootstrap-server {settings.kafka.bootstrap_servers} --add {grant}"
    )


def kafka(settings: Settings) -> str:
    return f"Kafka at {settings.kafka.bootstrap_servers}"


def admin_client(settings: Settings, more: Mapping[str, Any] | None = None) -> AdminClient:
    """A client with the settings' connection. Raises NoAccess where librdkafka does not take kafka.client."""
    configuration: dict[str, Any] = {**settings.kafka.connection(), **(more or {})}
    try:
        return AdminClient(configuration, logger=logging.getLogger("armstream.kafka"))
    except KafkaException as failure:
        raise NoAccess(f"kafka.client: {settings.kafka.masked(failure.args[0].str())}") from None


def _lacking(settings: Settings, rights: Collection[Right], say: Say) -> list[Right]:
    """Of topics and groups. Raises NoAccess where the cluster says nothing of the topics for _REQUEST_SECONDS."""
    heard: list[KafkaError] = []
    admin = admin_client(settings, {"error_cb": heard.append, "log_level": 0})  # it is said once, here
    deadline = time.monotonic() + _REQUEST_SECONDS
    with waiting(kafka(settings), _REQUEST_SECONDS, say):
        while True:
            answers = _of_topics(admin, rights, min(_TRY_SECONDS, _REQUEST_SECONDS))
            silences = list(_silences(answers))
            if not silences:
                answers |= _of_groups(admin, rights)
                return [right for right in rights if not _allows(answers.get((right.kind, right.name)), right)]
            admin.poll(0)  # it hears
            if time.monotonic() >= deadline or any(map(_lasts, heard)):
                raise NoAccess(f"{kafka(settings)}: {settings.kafka.masked(_cause(heard, silences[0]))}")


def _of_topics(admin: AdminClient, rights: Collection[Right], seconds: float) -> dict[tuple[Kind, str], _Answer]:
    """What the cluster says of each topic."""
    names = TopicCollection(sorted({right.name for right in rights if right.kind == "topic"}))
    asked = admin.describe_topics(names, include_authorized_operations=True, request_timeout=seconds)
    wait(asked.values(), 2 * seconds)
    return {("topic", name): _answer(future) for name, future in asked.items()}


def _of_groups(admin: AdminClient, rights: Collection[Right]) -> dict[tuple[Kind, str], _Answer]:
    """What the cluster says of each group: asked once topics were heard of, and with patience.

    A request to a coordinator that runs out of time can abort the process (librdkafka's issue 4605).
    """
    names = sorted({right.name for right in rights if right.kind == "group"})
    if not names:
        return {}
    asked = admin.describe_consumer_groups(names, include_authorized_operations=True, request_timeout=_REQUEST_SECONDS)
    wait(asked.values(), 2 * _REQUEST_SECONDS)
    return {("group", name): _answer(future) for name, future in asked.items()}


def _answer(future: "Future[Any]") -> _Answer:
    """The operations that are allowed, none where the cluster does not tell them, or its error.

    It is not raised: a future that holds what was raised keeps every frame below, and the client in one of them, until
    the collector comes. A client that lives on after a request to a coordinator ran out of time aborts the process
    when that broker goes or comes (librdkafka's issue 4605).
    """
    if not future.done():
        return KafkaError(KafkaError._TIMED_OUT)
    failure = future.exception()
    if isinstance(failure, KafkaException):
        error: KafkaError = failure.args[0]
        return error
    told = future.result().authorized_operations or ()
    return frozenset(_OPERATIONS_OF_KAFKA[one.name] for one in told if one.name in _OPERATIONS_OF_KAFKA)


def _silences(answers: Mapping[tuple[Kind, str], _Answer]) -> Iterator[KafkaError]:
    for answer in answers.values():
        if isinstance(answer, KafkaError) and answer.code() < 0:
            yield answer


def _allows(answer: _Answer | None, right: Right) -> bool:
    """Whether it is not refused: what nobody told, its first use will tell.

    A refusal to describe a resource says that none of the rights is there that bring Describe.
    """
    if isinstance(answer, KafkaError):
        return answer.code() not in REFUSALS or right.operation in {"Create", "DescribeConfigs"}
    return not answer or right.operation in answer


def _lasts(error: KafkaError) -> bool:
    """Whether waiting does not mend it: a login or a certificate that one side refuses."""
    return error.code() in {KafkaError._AUTHENTICATION, KafkaError._SSL} or _is_about_own_certificate(error)


def _is_about_own_certificate(error: KafkaError) -> bool:
    return "SSL alert" in error.str()


def _cause(heard: list[KafkaError], silence: KafkaError) -> str:
    """What lasts, else what was heard last of one connection, else what the request says; and what to look at."""
    of_one = [error for error in heard if error.code() != KafkaError._ALL_BROKERS_DOWN]
    error = next(filter(_lasts, of_one), of_one[-1] if of_one else silence)
    if error.code() == KafkaError._AUTHENTICATION:
        look = _LOGIN
    elif _is_about_own_certificate(error):
        look = _CERTIFICATE
    else:
        look = _SERVER if error.code() == KafkaError._SSL else _PROTOCOL
    return f"{error.str()}; {look}"
