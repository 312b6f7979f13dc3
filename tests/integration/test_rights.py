"""With the rights of its row each program works, without one it says which, and it can do no other's work.

Users come by password over TLS or by certificate, to a broker that asks for rights. The rights are those of
armstream.access, which makes the table of docs/operating/rights.md; what nobody may do is written out here by hand.
"""

import io
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its public names, which it does not declare so
    AdminClient,
    NewTopic,
    ResourcePatternType,
)
from msgspec.structs import replace

from armstream import access, cli
from armstream.access import RIGHTS, Operation, Right
from armstream.codec import decode, encode
from armstream.engine import FollowerError, PublishError, TradesPublisher, WeightsFollower
from armstream.events import TaskSnapshot
from armstream.keys import is_positions
from armstream.runtime.failures import Stopped
from armstream.runtime.identity import ask, identities
from armstream.runtime.topics import require
from armstream.settings import Settings, load
from tests.integration.load import history
from tests.integration.log import latest
from tests.integration.processor import Job, Process, eventually
from tests.integration.secured import WAYS, SecuredKafka, password_of, secured_kafka
from tests.integration.test_refusals import has_no_members
from tests.stages.events import fill

USERS: Mapping[str, str] = {  # a user for each row, who has no other's rights
    "processor": "processor",
    "engine": "engine",
    "maker": "`topics create`",
    "checker": "`topics check`",
    "operator": "`arms` and `experts` commands",
    "lister": "`arms list`",
    "reader": "`cat`, on the topic that it shows",
    "clerk": "`dead-letters list` and `show`",
    "mender": "`dead-letters resend`",
    "auditor": "`verify`",
    "watcher": "`watch`",
    "resetter": "`reset to-snapshots`",
    "renewer": "`reset anew`, with the new names",
}
OUTPUTS = ("weights", "rewards", "snapshots", "dead_letters")
RESEND = ("dead-letters", "resend", "--reason", "a test")
ARMS = ("lightgbm", "xgboost", "ridge", "lstm")


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("secured"), USERS) as running:
        yield running


class House:
    """A job's topics, with each user's rights on them; its programs come as one user or another."""

    def __init__(self, kafka: SecuredKafka, name: str, folder: Path, way: str = "SCRAM") -> None:
        self.kafka, self.way = kafka, way
        self.job = Job(kafka.bootstrap_servers, f"{name}-", folder)
        self.job.set({"topics.partitions": "1", "instance": "a"})
        for user in USERS:
            kafka.grant(user, self.rights(user))

    def rights(self, user: str) -> tuple[Right, ...]:
        return RIGHTS[USERS[user]](self.renewed if user == "renewer" else self.job.settings)

    @property
    def renewed(self) -> Settings:
        """Those of a new group, `renewal`'s."""
        names = {f"topics.{output}": getattr(self.job.settings.topics, output) + "-2" for output in OUTPUTS}
        return load(None, self.job.environment({"kafka.group_id": f"{self.job.settings.kafka.group_id}-2", **names}))

    @property
    def renewal(self) -> tuple[str, ...]:
        return ("reset", "anew", "--group", f"{self.job.settings.kafka.group_id}-2", "--suffix=-2")

    def client(self, user: str) -> dict[str, str]:
        """What any client of librdkafka comes with."""
        return {"bootstrap.servers": self.kafka.secured_servers[self.way], **self.kafka.client(self.way, user)}

    def overrides(self, user: str, **client: str | None) -> dict[str, str]:
        """Settings of a program that comes as the user; `client` by names with _ for the dot, None for no setting."""
        changed = {name.replace("_", "."): value for name, value in client.items()}
        settings = {**self.kafka.client(self.way, user), **changed}
        own = {name: value for name, value in settings.items() if value is not None}
        return {"kafka.bootstrap_servers": self.kafka.secured_servers[self.way], "kafka.client": json.dumps(own)}

    def run(self, overrides: Mapping[str, str], *arguments: str) -> tuple[int, str]:
        """A command in this process: its exit code and what it says."""
        said = io.StringIO()
        environment = patch.dict(os.environ, self.job.environment(overrides), clear=True)
        with environment, redirect_stdout(said), redirect_stderr(said):
            code = cli.main(arguments)
        assert password_of("") not in said.getvalue()
        return code, said.getvalue()

    def ask(self, user: str, *arguments: str) -> str:
        """What a command says that ends with 0."""
        code, said = self.run(self.overrides(user), *arguments)
        assert code == 0, said
        return said

    def refused(self, user: str, *arguments: str) -> str:
        """The one line of a command that ends with 1."""
        return one_line(*self.run(self.overrides(user), *arguments))

    def settings(self, user: str) -> Settings:
        with patch.dict(os.environ, self.job.environment(self.overrides(user)), clear=True):
            return load(None, os.environ)

    def start(self) -> Process:
        return self.job.start(overrides=self.overrides("processor"))

    def trade(self, seed: int, *processes: Process) -> None:
        """Forty events as the engine sends them; returns when they are applied."""
        self.send(seed)
        self.job.wait_until_applied(*processes)

    def send(self, seed: int) -> None:
        with TradesPublisher(self.client("engine"), topics=self.job.settings.topics.names.trades) as publisher:
            for event in history(seed, 40, bandits=1, arms=ARMS, name=f"s{seed}-"):
                publisher.publish(event)

    def follow(self, **more: float) -> WeightsFollower:
        return WeightsFollower(self.client("engine"), topic=self.job.settings.topics.names.weights, **more)  # type: ignore[arg-type]


@pytest.fixture
def house(kafka: SecuredKafka, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    way = getattr(request, "param", "SCRAM")
    house = House(kafka, f"h{time.monotonic_ns()}", tmp_path, way)
    with closing(house.job):
        yield house


def one_line(code: int, said: str) -> str:
    assert code == 1, said
    lines = [line for line in said.splitlines() if not line.startswith("waiting for ")]
    assert len(lines) == 1, said
    return lines[0]


def end_of(process: Process) -> str:
    """The last line of a processor that ends by itself with 1."""
    assert process.exit_code(40) == 1, process.text
    assert "Traceback" not in process.text, process.text
    assert password_of("") not in process.text
    return process.text.strip().splitlines()[-1]


def use_of(right: Right) -> str:
    """How a line names it alone."""
    return f"does not allow this user: {right.operation} on {right.kind} {right.name}. "


@pytest.mark.parametrize("house", WAYS, indirect=True)
def test_each_program_works_with_the_rights_of_its_row_alone(house: House) -> None:
    assert house.ask("maker", "topics", "create").endswith("ok\n")
    assert house.ask("checker", "topics", "check") == "ok\n"
    processor = house.start().wait_until_ready()
    house.trade(1, processor)
    with house.follow() as follower:
        eventually(lambda: "book-0" in follower.bandit_ids(), 20, "weights of book-0")
    assert "APPLIED" in house.ask("operator", "arms", "set-bound", "book-0", "60")
    assert "reward bound 60.0 bps" in house.ask("lister", "arms", "list")
    assert '{"topic": ' in house.ask("reader", "cat", "rewards", "--last", "1")
    inputs = house.job.settings.topics.names.inputs
    assert f": Write on topic {', '.join(inputs)}. " in house.refused("reader", *RESEND, f"{inputs[0]}:0:0")
    with TradesPublisher(house.client("engine"), topics=house.job.settings.topics.names.trades) as publisher:
        publisher.publish(fill("x", "x", bandit_id="book-0", arm="gone", ts_event=time.time_ns() // 1_000))
    house.job.wait_until_applied(processor)
    place = house.ask("clerk", "dead-letters", "list", "--class", "unknown_arm").split()[2]
    assert "UNKNOWN_ARM" in house.ask("clerk", "dead-letters", "show", place)
    assert "its position has it" in house.ask("mender", *RESEND, place, "--set", f"arm={ARMS[0]}")
    watch = house.job.command("watch", "--http", "127.0.0.1:0", overrides=house.overrides("watcher"))
    watch.wait_until_it_says("watch: live", 60)
    assert watch.stop() == 0, watch.text
    assert processor.stop() == 0, processor.text
    assert "verified: 43 inputs" in house.ask("auditor", "verify")


def test_the_ways_out_work_with_the_rights_of_their_rows_and_name_the_one_that_is_asked_last(house: House) -> None:
    """Offsets that were moved and a topic that was made anew: group, transaction and snapshot are all written to."""
    job, commands, group = house.job, house.job.settings.topics.names.commands, house.job.settings.kafka.group_id
    job.create_topics()
    processor = house.start().wait_until_ready()
    house.trade(1, processor)
    assert processor.stop() == 0, processor.text
    job.admin.delete_topics([commands])[commands].result(30)
    eventually(lambda: commands not in job.admin.list_topics(timeout=30).topics, 30, "deleted")
    job.create_topics()
    eventually(lambda: has_no_members(job, group), 30, "its session has ended", 0.5)
    moved = ConsumerGroupTopicPartitions(group, [TopicPartition(job.settings.topics.names.trades[0], 0, 3)])
    job.admin.alter_consumer_group_offsets([moved])[group].result(30)

    (identity,) = [right for right in house.rights("resetter") if right.kind == "transactional id"]
    with house.kafka.without("resetter", [identity]):
        assert use_of(identity) in house.refused("resetter", "reset", "to-snapshots", "--accept-topics")
    assert "set task 0: " in house.ask("resetter", "reset", "to-snapshots", "--accept-topics")
    processor = house.start().wait_until_ready()
    house.trade(2, processor)
    assert processor.stop() == 0, processor.text

    creates = [right for right in house.rights("renewer") if right.operation == "Create"]
    with house.kafka.without("renewer", creates):
        assert f": Create on topic {', '.join(right.name for right in creates)}. " in house.refused(
            "renewer", *house.renewal
        )
    assert f"# made {job.settings.topics.names.weights}-2\n" in house.ask("renewer", *house.renewal)


def test_a_right_that_lacks_is_named_before_any_work(house: House) -> None:
    """Each right by itself."""
    house.job.create_topics()
    commands = {
        "checker": ("topics", "check"),
        "operator": ("arms", "pause", "book-0"),
        "lister": ("arms", "list"),
        "clerk": ("dead-letters", "list"),
        "mender": (*RESEND, "trades:0:0"),
        "auditor": ("verify",),
        "watcher": ("watch", "--http", "127.0.0.1:0"),
        "resetter": ("reset", "to-snapshots", "--dry-run"),
        "renewer": (*house.renewal, "--dry-run"),
    }
    for user, command in commands.items():
        for right in house.rights(user):
            if is_told_by_its_use_alone(house, right):
                continue
            with house.kafka.without(user, [right]):
                line = house.refused(user, *command)
            assert use_of(right) in line
            assert f"--operation {right.operation} --{right.kind} {right.name}" in line
    settings = house.settings("processor")
    for right in house.rights("processor"):
        if right.kind == "topic":
            with house.kafka.without("processor", [right]), pytest.raises(Stopped, match=use_of(right)):
                require(settings, house.rights("processor"))


def is_told_by_its_use_alone(house: House, right: Right) -> bool:
    """A transactional id's, and what one may do with a topic that is not there but see it."""
    made = house.job.settings.topics.names.all
    return right.kind == "transactional id" or (
        right.kind == "topic" and right.operation != "Describe" and right.name not in made
    )


def test_a_processor_without_a_right_says_so_and_ends(house: House) -> None:
    house.job.create_topics()
    names = house.job.settings.topics.names
    snapshots = Right("Read", "topic", names.snapshots)
    group, identity = house.rights("processor")[-2:]
    assert [group.kind, identity.kind] == ["group", "transactional id"]
    for right in (snapshots, group, identity):
        with house.kafka.without("processor", [right]):
            assert use_of(right) in end_of(house.start())


def test_without_rights_on_topics_of_before_that_hold_a_state_nothing_is_begun_anew(house: House) -> None:
    """And where they do not exist, as in every other test here, nobody needs any."""
    house.job.create_topics()
    processor = house.start().wait_until_ready()
    house.trade(1, processor)
    assert processor.stop() == 0
    names = house.job.settings.topics.names
    lay_back(house.job)
    reads = [Right("Read", "topic", name) for name in names.state_before]
    assert "Read on topic " + ", ".join(names.state_before) in end_of(house.start()), "it may not even see them"
    house.kafka.grant("processor", [Right("Describe", "topic", name) for name in names.state_before])
    assert "Read on topic " + ", ".join(names.state_before) in end_of(house.start())
    house.kafka.grant("processor", reads)
    processor = house.start().wait_until_ready()
    assert "was moved from" in processor.text
    house.trade(2, processor)
    assert processor.stop() == 0
    assert house.job.verify()["counts"]["inputs"] == 80


def lay_back(job: Job) -> None:
    """The state stands where versions before kept it, and `snapshots` is new."""
    names = job.settings.topics.names
    state = latest(job.log.read(names.snapshots))[0]
    job.admin.delete_topics([names.snapshots], operation_timeout=30)[names.snapshots].result(30)
    before = job.settings.topics.names.state_before
    made = [NewTopic(name, 1, 1, config={"cleanup.policy": "compact"}) for name in before]
    for done in job.admin.create_topics(made).values():
        done.result(30)
    eventually(lambda: not identities(ask(job.admin, [names.snapshots])), 30, "it is gone")
    job.create_topics()
    ids = {name: one.topic_id for name, one in identities(ask(job.admin, (*names.all, *before))).items()}
    producer = Producer({"bootstrap.servers": job.bootstrap_servers})
    for key, value in state.items():
        stood, task = value, decode(value)
        if isinstance(task, TaskSnapshot):
            stood = encode(replace(task, topic_ids={name: at for name, at in ids.items() if name != names.snapshots}))
        producer.produce(before[is_positions(key)], stood, key, partition=0)
    assert producer.flush(30) == 0


def test_topics_that_may_not_be_made_are_named(house: House) -> None:
    creates = [right for right in house.rights("maker") if right.operation == "Create"]
    with house.kafka.without("maker", creates):
        line = house.refused("maker", "topics", "create")
    assert f": Create on topic {', '.join(house.job.settings.topics.names.all)}. " in line


def test_rights_on_prefixes_let_every_instance_of_the_group_work_and_nobody_elses(house: House) -> None:
    house.job.create_topics()
    prefix, group = house.job.settings.topics.prefix, house.job.settings.kafka.group_id
    on_topics: list[Operation] = ["Read", "Write", "DescribeConfigs"]
    rights = [Right(operation, "topic", prefix) for operation in on_topics]
    rights += [Right("Read", "group", group), Right("Write", "transactional id", f"{group}-:")]
    house.kafka.add_users(["prefixed"])
    house.kafka.grant("prefixed", rights, ResourcePatternType.PREFIXED)
    for seed, instance in enumerate(("a", "b")):
        processor = house.job.start(instance, overrides=house.overrides("prefixed")).wait_until_ready()
        house.trade(seed, processor)
        assert processor.stop() == 0, processor.text
    assert can_open(house.client("prefixed"), f"{group}-:c")
    assert not can_open(house.client("prefixed"), f"{group}-eu-:a")
    assert house.job.verify()["counts"]["inputs"] == 80


def test_nobody_can_do_anothers_work(house: House) -> None:
    """Written out by hand: what each user can write to, and read."""
    house.job.create_topics()
    processor = house.start().wait_until_ready()
    house.trade(1, processor)
    assert processor.stop() == 0
    everything = {"trades", "commands", "weights", "rewards", "snapshots", "dead-letters"}
    written_by = {
        "processor": everything - {"trades", "commands"},
        "engine": {"trades"},
        "operator": {"commands"},
        "resetter": {"snapshots"},
        "mender": {"trades", "commands"},
        **{
            user: set[str]()
            for user in ("maker", "checker", "lister", "reader", "clerk", "auditor", "watcher", "renewer")
        },
    }
    read_by = {
        "processor": everything - {"dead-letters"},
        "engine": {"weights"},
        "operator": {"rewards", "dead-letters"},
        "lister": {"weights", "snapshots", "dead-letters"},
        "reader": everything,
        "clerk": {"dead-letters"},
        "mender": everything - {"weights"},
        "auditor": everything,
        "watcher": everything,
        "resetter": {"trades", "commands", "snapshots", "rewards"},
        **{user: set[str]() for user in ("maker", "checker", "renewer")},
    }
    prefix = house.job.settings.topics.prefix
    for user in USERS:
        assert readable(house.client(user), prefix, everything) == read_by[user], user
        if user != "processor":
            assert not can_open(house.client(user), house.rights("processor")[-1].name), user
        if user not in ("processor", "resetter"):
            assert not can_move(house.client(user), house.job.settings.kafka.group_id, prefix + "weights"), user
    for user in USERS:  # last: what is written is no record of ours
        assert writable(house.client(user), prefix, everything) == written_by[user], user


def readable(client: Mapping[str, str], prefix: str, topics: Collection[str]) -> set[str]:
    """The topics that are shown, and whose first fetch is not refused."""
    settings = {"group.id": "none", "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0}
    reader = Consumer({**client, **settings})
    with closing(reader):
        shown = {
            topic for topic in topics if reader.list_topics(prefix + topic, 20).topics[prefix + topic].error is None
        }
        reader.assign([TopicPartition(prefix + topic, 0, 0) for topic in shown])
        answered: dict[str, bool] = {}

        def fetch() -> bool:
            for message in reader.consume(1_000, 0.1):
                error, topic = message.error(), message.topic()
                if topic is not None:
                    is_refused = error is not None and error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
                    answered.setdefault(topic.removeprefix(prefix), not is_refused)
            return answered.keys() == shown

        eventually(fetch, 20, f"an answer for each of {shown}", every_seconds=0)
    return {topic for topic, is_allowed in answered.items() if is_allowed}


def writable(client: Mapping[str, str], prefix: str, topics: Collection[str]) -> set[str]:
    allowed: set[str] = set()
    refused: set[str] = set()

    def note(topic: str) -> Callable[[KafkaError | None, object], None]:
        def delivered(error: KafkaError | None, _: object) -> None:
            assert error is None or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, error
            (allowed if error is None else refused).add(topic)

        return delivered

    producer = Producer({**client, "log_level": 0})
    for topic in topics:
        producer.produce(prefix + topic, b"-", b"-", 0, on_delivery=note(topic))
    assert producer.flush(20) == 0
    assert allowed | refused == set(topics)
    return allowed


def can_open(client: Mapping[str, str], transactional_id: str) -> bool:
    producer = Producer({**client, "log_level": 0, "transactional.id": transactional_id})
    return is_allowed(lambda: producer.init_transactions(20), KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)


def can_move(client: Mapping[str, str], group: str, topic: str) -> bool:
    """Whether it may move the group's offsets, as a member may."""
    moved = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 0)])
    admin = AdminClient({**client, "log_level": 0})
    asked = admin.alter_consumer_group_offsets([moved], request_timeout=20)[group]

    def move() -> None:
        (answer,) = asked.result(30).topic_partitions
        if answer.error is not None:
            raise KafkaException(answer.error)

    return is_allowed(move, KafkaError.GROUP_AUTHORIZATION_FAILED)


def is_allowed(call: Callable[[], object], refusal: int) -> bool:
    """Raises KafkaException for any error but the refusal."""
    try:
        call()
    except KafkaException as failure:
        if failure.args[0].code() != refusal:
            raise
        return False
    return True


def test_a_right_withdrawn_while_a_processor_runs_ends_it_with_its_name_and_nothing_is_lost(house: House) -> None:
    house.job.create_topics()
    names = house.job.settings.topics.names
    group, identity = house.rights("processor")[-2:]
    withdrawn = (Right("Write", "topic", names.rewards), Right("Read", "topic", names.trades[0]), group, identity)
    for seed, right in enumerate(withdrawn):
        processor = house.start().wait_until_ready()
        house.trade(2 * seed, processor)
        house.kafka.withdraw("processor", [right])
        house.send(2 * seed + 1)
        assert use_of(right) in end_of(processor)
        house.kafka.grant("processor", [right])
    processor = house.start().wait_until_ready()
    house.job.wait_until_applied(processor)
    assert processor.stop() == 0, processor.text
    assert house.job.verify()["counts"]["inputs"] == 40 * 2 * len(withdrawn)


def test_an_engine_hears_which_right_was_withdrawn_and_goes_on_when_it_is_back(house: House) -> None:
    house.job.create_topics()
    names = house.job.settings.topics.names
    write, read = Right("Write", "topic", names.trades[0]), Right("Read", "topic", names.weights)
    processor = house.start().wait_until_ready()
    with house.kafka.without("engine", [write]), pytest.raises(PublishError, match="lacks the right Write") as refused:
        house.send(1)
    assert repr(names.trades[0]) in str(refused.value)
    assert len(refused.value.events) == 40
    with TradesPublisher(house.client("engine"), topics=names.trades) as publisher:
        for event in refused.value.events:
            publisher.publish(event)
    house.job.wait_until_applied(processor)
    with house.kafka.without("engine", [read]), pytest.raises(FollowerError, match="lacks the right Read"):
        house.follow().__enter__()
    with house.follow(max_age_seconds=1.0) as follower:
        eventually(lambda: follower.weights("book-0") is not None, 20, "live weights")
        with house.kafka.without("engine", [read]):
            house.trade(2, processor)
            with pytest.raises(FollowerError, match=f"{names.weights}.*lacks the right Read"):
                eventually(lambda: follower.status("book-0").version < 0, 20, "the follower says that it may not read")
    with house.follow() as follower:
        assert follower.weights("book-0") is not None
    assert processor.stop() == 0, processor.text
    assert house.job.verify()["counts"]["inputs"] == 80


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_TRY_SECONDS", 0.5)


@pytest.mark.usefixtures("quick")
def test_a_login_that_one_side_refuses_is_one_line_that_says_what_to_look_at(house: House) -> None:
    house.job.create_topics()
    folder = house.kafka.certificates.folder
    house.kafka.certificates.make("expired", "checker", days=-1)
    house.kafka.certificates.make("foreign", "checker", by="stranger")
    by_password = {
        "sasl.username and its password": house.overrides("checker", sasl_password="wrong-" + password_of("checker")),
        "ssl.ca.location": house.overrides("checker", ssl_ca_location=str(folder / "stranger.pem")),
        "the name in kafka.bootstrap_servers": {
            **house.overrides("checker"),
            "kafka.bootstrap_servers": house.kafka.secured_servers["SCRAM"].replace("127.0.0.1", "localhost"),
        },
    }
    house.way = "MTLS"
    by_certificate = [
        house.overrides(
            "checker",
            ssl_certificate_location=str(folder / f"{name}.pem"),
            ssl_key_location=str(folder / f"{name}.key"),
        )
        for name in ("expired", "foreign")
    ]
    for look, overrides in [*by_password.items(), *(("ssl.certificate", overrides) for overrides in by_certificate)]:
        started = time.monotonic()
        line = one_line(*house.run(overrides, "topics", "check"))
        assert look in line.split("; ")[-1]
        assert time.monotonic() - started < 10
    process = house.job.start(overrides=by_password["sasl.username and its password"])
    assert "sasl.username and its password" in end_of(process)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("house", ["MTLS"], indirect=True)
def test_a_certificate_that_is_renewed_on_disk_holds_from_the_next_start(house: House, tmp_path: Path) -> None:
    house.job.create_topics()
    files = {"ssl.certificate.pem": tmp_path / "own.pem", "ssl.key.pem": tmp_path / "own.key"}
    overrides = {
        **house.overrides("checker", ssl_certificate_location=None, ssl_key_location=None),
        "kafka.client_files": json.dumps({name: str(path) for name, path in files.items()}),
    }
    for name, days in (("before", -1), ("after", 2)):
        house.kafka.certificates.make(name, "checker", days=days)
        for path in files.values():
            path.write_text(house.kafka.certificates.text(name + path.suffix))
        code, said = house.run(overrides, "topics", "check")
        assert (code, "ssl.certificate" in said) == ((1, True) if days < 0 else (0, False)), said
        assert "PRIVATE KEY" not in said
