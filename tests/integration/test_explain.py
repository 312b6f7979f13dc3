"""`armstream explain` on what real processors left behind: each vector, and one that somebody else wrote."""

import json

from confluent_kafka import TopicPartition
from msgspec.structs import replace

from armstream.codec import decode, encode
from armstream.events import WeightVector
from armstream.explain.bandit import explained
from tests.explain.test_agreement import require_told
from tests.integration.load import history
from tests.integration.log import Record
from tests.integration.processor import Job
from tests.integration.test_verify import write

BANDIT = "book-1"


def said(job: Job, *arguments: str, code: int = 0) -> str:
    process = job.command("explain", BANDIT, *arguments)
    assert process.exit_code(60) == code, process.text
    return process.text


def vectors_of(job: Job) -> dict[int, tuple[Record, WeightVector]]:
    read = [(one, decode(one.value)) for one in job.log.read(job.settings.topics.names.weights)]
    return {
        vector.version: (record, vector)
        for record, vector in read
        if isinstance(vector, WeightVector) and vector.bandit_id == BANDIT
    }


def test_each_vector_is_explained_until_somebody_writes_another_one(job: Job) -> None:
    job.set({"topics.partitions": "2"})
    job.create_topics()
    records = history(12, 1_200, bandits=3, arms=job.settings.online_learning.arms)
    process = job.start().wait_until_ready()
    for start in range(0, 1_200, 60):
        job.send(records[start : start + 60])
    job.wait_until_applied(process)
    assert process.stop() == 0, process.text
    vectors, told = vectors_of(job), list[str]()
    newest = max(vectors)

    for version in (1, 2, newest // 3, newest // 2, newest - 1, newest):
        one = explained(job.settings, BANDIT, version=version, say=told.append)
        require_told(one)
        assert one.version == min(each for each in vectors if each >= version)  # that of its transaction
        assert [part.version for part in one.parts] == list(
            range(max((each for each in vectors if each < one.version), default=0) + 1, one.version + 1)
        )
        published = {arm.name: arm.weight for arm in vectors[one.version][1].arms}
        assert {arm.name: arm.weight_after for arm in one.arms} == published
    assert told == []

    at = json.loads(said(job, "--json", "--at", "2100-01-01"))
    assert (at["version"], at["result"]) == (newest, "agrees")
    before = explained(job.settings, BANDIT, at_micros=at["published_ts"] - 1_000, say=told.append)
    assert before.version < newest
    text = said(job, "--version", str(newest))
    assert "the oracle comes to the same numbers" in text
    assert f"version {newest + 1} of 'book-1' is not published: the newest is {newest}" in said(
        job, "--version", str(newest + 1), code=1
    )

    record, vector = vectors[newest]
    moved = (replace(vector.arms[0], weight=vector.arms[0].weight + 1e-6), *vector.arms[1:])
    write(job, record, encode(replace(vector, arms=moved)))
    text = said(job, "--version", str(newest), code=1)
    assert f"DIFFERS: {record.topic}:{record.partition}:" in text
    assert f"weight of arm {moved[0].name!r} {moved[0].weight!r}" in text

    names = job.settings.topics.names
    ends = [TopicPartition(names.trades[0], number, -1) for number in range(2)]
    for future in job.admin.delete_records(ends).values():
        future.result(30)
    text = said(job, "--version", str(newest // 2))
    assert "not checked: " in text
    assert "deleted" in text
