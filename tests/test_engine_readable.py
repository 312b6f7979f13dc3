"""What lies on `weights` and cannot be read: whose weights it makes unknown, why, and until when."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from armstream.codec import encode
from armstream.engine import Status, draw
from armstream.engine.readable import Unreadable, bandit_named, vector_of
from armstream.engine.view import WeightsView
from armstream.events import ArmWeight, ExpertWeight, Fill, TaskSnapshot, WeightVector
from tests.test_engine import vector_of as vector

KEY = b"book"


def refused(key: bytes | None, value: bytes) -> Unreadable:
    with pytest.raises(Unreadable) as raised:
        vector_of(key, value)
    return raised.value


def changed(**fields: Any) -> bytes:
    return encode(msgspec.structs.replace(vector(version=7), **fields))


def arms(*numbers: tuple[float, float]) -> tuple[ArmWeight, ...]:
    """Of (weight, probability)."""
    return tuple(ArmWeight(f"arm_{index}", *each) for index, each in enumerate(numbers))


def test_the_vector_of_its_key_is_read() -> None:
    assert vector_of(KEY, encode(vector(version=7))) == vector(version=7)


NEWER = b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08" + encode(vector())[10:]
TWO = arms((0.5, 0.5), (0.5, 0.5))
FLAWS: list[tuple[str, bytes]] = [
    ("fingerprint 0807060504030201 is that of no known schema", NEWER),
    ("neither single-object nor Confluent framing", b"no avro"),
    ("an empty value", b""),
    ("a Fill, no WeightVector", encode(Fill("e", "book", "p", "X", "BUY", 1.0, 1.0, 1))),
    ("a TaskSnapshot, no WeightVector", encode(TaskSnapshot(0, {}))),
    ("8 bytes wanted at byte", encode(vector())[:-9]),
    ("1 bytes after the WeightVector", encode(vector()) + b"\0"),
    ("no learning rule is called 'hedge9' here", changed(algorithm="hedge9")),
    ("its phase is UNKNOWN", changed(phase="UNKNOWN")),
    ("0 arms", changed(arms=())),
    ("2 arms, 1 of them by names of their own", changed(arms=(ArmWeight("a", 0.5, 0.5),) * 2)),
    ("its version is 0", changed(version=0)),
    ("its version is -1", changed(version=-1)),
    ("its blend_alpha, gamma and eta are nan, 0.0 and 0.25", changed(blend_alpha=math.nan)),
    ("its blend_alpha, gamma and eta are 1.5, 0.0 and 0.25", changed(blend_alpha=1.5)),
    ("its blend_alpha, gamma and eta are 0.3, -1.0 and 0.25", changed(gamma=-1.0)),
    ("its blend_alpha, gamma and eta are 0.3, 0.0 and inf", changed(eta=math.inf)),
    ("its probabilities are none", changed(arms=arms((0.5, 1.5), (0.5, -0.5)))),
    ("its probabilities are none", changed(arms=arms((0.5, math.nan), (0.5, 0.5)))),
    ("its probabilities are none", changed(arms=arms((0.5, 0.0), (0.5, 0.0)))),
    ("its probabilities are none", changed(arms=arms((0.5, 1.7e308), (0.5, 1.7e308)))),
    ("its weights are none", changed(arms=arms((math.inf, 0.5), (0.5, 0.5)))),
    ("its weights are none", changed(arms=TWO, experts=(ExpertWeight("e", -1.0),))),
    ("its weights are none", changed(arms=TWO, experts=(ExpertWeight("e", 1.0, (1.0, math.nan)),))),
    ("an expert's distribution is not over its 2 arms", changed(arms=TWO, experts=(ExpertWeight("e", 1.0, (1.0,)),))),
]  # fmt: skip


@pytest.mark.parametrize(("says", "value"), FLAWS, ids=lambda each: each if isinstance(each, str) else "")
def test_what_is_no_vector_to_draw_from_says_why_and_is_of_its_keys_bandit(says: str, value: bytes) -> None:
    error = refused(KEY, value)
    assert says in str(error)
    assert error.of == {"book": 0}


STRANGE_KEYS = [None, b"", b"\xff\xfe", b"bo\0ok", b"\0task", b"k" * 201]


@pytest.mark.parametrize("key", STRANGE_KEYS)
def test_a_key_that_is_no_bandits_makes_nobodys_weights_unknown_but_those_that_the_vector_names(
    key: bytes | None,
) -> None:
    assert bandit_named(key) is None
    assert refused(key, b"garbage").of == {}
    error = refused(key, encode(vector(version=7)))
    assert error.of == {"book": 7}
    assert f"a vector of bandit 'book' under the key {key!r}"[:100] in str(error)


def test_a_vector_under_another_bandits_key_makes_both_unknown() -> None:
    assert refused(b"other", encode(vector(version=7))).of == {"other": 0, "book": 7}
    assert refused(b"other", encode(vector("b\0k"))).of == {"other": 0}


def test_a_reason_is_short_however_long_its_record_is() -> None:
    assert len(str(refused(b"k" * 200, encode(vector("x" * 300_000))))) < 310
    assert len(str(refused(KEY, changed(algorithm="x" * 300_000)))) < 310


numbers = st.one_of(st.floats(), st.floats(0, 1), st.just(0.0))
rows = st.lists(numbers, max_size=4).map(tuple)
vectors = st.builds(
    WeightVector,
    bandit_id=st.just("book"), version=st.integers(-2, 1 << 62), algorithm=st.sampled_from(["exp3ix", "exp4", "next"]),
    estimator=st.text(max_size=3), arms=st.lists(st.builds(ArmWeight, st.sampled_from("abcd"), numbers, numbers),
    max_size=4).map(tuple), gamma=numbers, eta=numbers, reward_bound_bps=numbers, total_steps=st.integers(0, 9),
    phase=st.sampled_from(["UNKNOWN", "WARMING", "LIVE"]), blend_alpha=numbers, cause_event_id=st.just(""),
    ts_event=st.just(0), experts=st.lists(st.builds(ExpertWeight, st.sampled_from("xyz"), numbers, rows), max_size=3)
    .map(tuple),
)  # fmt: skip


@given(vectors, st.integers(0, 9))
def test_whatever_is_read_can_be_drawn_from_and_its_draw_sent(told: WeightVector, seed: int) -> None:
    """The law of what is refused: nothing that is taken ends a draw, and the propensity is a probability."""
    try:
        read = vector_of(KEY, encode(told))
    except Unreadable:
        return
    experts = {expert.name: [1.0 / len(read.arms)] * len(read.arms) for expert in read.experts}
    try:
        decision = draw("book", read, default_rng(seed), experts=experts)
    except ValueError as error:
        assert "nothing to draw from" in str(error)  # noqa: PT017 - where experts trust what cannot be drawn
        return
    assert 0.0 < decision.propensity <= 1.0
    assert math.isclose(math.fsum(decision.probabilities), 1.0, rel_tol=1e-9)
    decision.fill(instrument_id="X", side="BUY", quantity=1, price=1.0)


def test_where_no_expert_has_a_weight_the_draw_is_uniform() -> None:
    arms, experts = (ArmWeight("a", 1.0, 1.0), ArmWeight("b", 0.0, 0.0)), (ExpertWeight("x", 0.0),)
    told = WeightVector("book", 1, "exp4", "", arms, 0.0, 0.1, 0.0, 0, "LIVE", 0.3, "", 0, experts)
    decision = draw("book", told, default_rng(0), experts={"x": [1.0, 0.0]})
    assert decision.probabilities == (0.5, 0.5)


# What is live


def view_of(*told: WeightVector) -> WeightsView:
    view = WeightsView((0, 1), 10.0)
    for number in (0, 1):
        view.add_end(number, 0, 100.0)
    for one in told:
        view.take(0, one)
    return view


def test_a_bandit_whose_newest_record_is_unreadable_is_stale_and_the_others_stay_live() -> None:
    view = view_of(vector("book", 7), vector("other", 3))
    view.lose(0, "book", "weights:0:5: garbage")
    assert view.look("book", 101.0)[1] == Status(7, 1.0, 0, "LIVE", "STALE", "weights:0:5: garbage")
    assert view.look("other", 101.0)[1] == Status(3, 1.0, 0, "LIVE", None)
    assert view.look("nobody", 101.0)[1].fallback == "MISSING"


def test_a_bandit_of_which_nothing_else_is_known_is_stale_and_not_missing() -> None:
    """What is missing would be drawn uniformly, which unlearns."""
    view = view_of()
    view.lose(1, "book", "why")
    assert view.look("book", 101.0)[1] == Status(0, 1.0, 0, None, "STALE", "why")
    assert view.bandit_ids() == ()


def test_the_next_vector_that_is_taken_makes_it_live_again_and_one_that_came_before_does_not() -> None:
    view = view_of(vector("book", 7))
    view.lose(0, "book", "why")
    assert not view.take(0, vector("book", 7))
    assert view.look("book", 101.0)[1].reason == "why"
    assert view.take(0, vector("book", 8))
    assert view.look("book", 101.0)[1] == Status(8, 1.0, 0, "LIVE", None)


def test_a_record_astray_that_tells_an_old_version_changes_nothing() -> None:
    view = view_of(vector("book", 7))
    view.lose(0, "book", "why", version=7)
    assert view.look("book", 101.0)[1].fallback is None
    view.lose(0, "book", "why", version=8)
    assert view.look("book", 101.0)[1].fallback == "STALE"


def test_a_tombstone_ends_what_its_partition_told_and_no_more() -> None:
    view = view_of(vector("book", 7), vector("other", 1))
    view.lose(1, "book", "why")
    view.forget("book", 1)
    assert view.look("book", 101.0)[1].fallback is None
    view.forget("other", 1)
    assert view.look("other", 101.0)[1].version == 1
    view.forget("other", 0)
    assert view.look("other", 101.0)[1].fallback == "MISSING"
