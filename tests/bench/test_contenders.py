"""The contender in Kafka Streams reads and writes today's records."""

import re

import pytest

from armstream.codec import HEADERS
from armstream.events import Close, Fill, Reward, WeightVector
from tests.bench import contenders
from tests.bench.programs import KAFKA_STREAMS, NotHere


@pytest.mark.parametrize(
    ("file", "constant", "record"),
    [
        ("Trade", "FILL", Fill),
        ("Trade", "CLOSE", Close),
        ("Learning", "REWARD", Reward),
        ("Bandit", "WEIGHT_VECTOR", WeightVector),
    ],
)
def test_its_fingerprints_are_those_of_the_schemas(file: str, constant: str, record: type) -> None:
    """Where a schema changed, the order of fields there is another one too: read the Java beside it."""
    source = (KAFKA_STREAMS / f"{file}.java").read_text()
    found = re.search(rf'byte\[\] {constant} = HexFormat\.of\(\)\.parseHex\("(\w+)"\)', source)
    assert found is not None
    assert found[1] == HEADERS[record].hex()


def test_a_tag_that_names_nobody_is_refused_and_a_beginning_takes_all_that_begin_so() -> None:
    def unsaid(line: str) -> None:
        raise AssertionError(line)

    with pytest.raises(NotHere, match="no contender storm here"):
        contenders.here(unsaid, ["storm"])
    assert [one.tag for one in contenders.here(unsaid, ["nai", "floor"])] == ["naive", "floor"]
    assert all(one.is_armstream for one in contenders.here(unsaid, ["armstream"]))


def test_the_floor_in_c_is_not_measured_where_there_is_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotHere, match="no contender client-floor here: there are floor"):
        contenders.here(said.append, ["floor", "client-floor"])
    assert said == ["not measured: client-floor: there is no C compiler"]
