"""The engine's side without a broker: what is drawn, blended and recorded, what counts as live, what is not sent."""

import math
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.random import default_rng

from armstream.codec import decode, encode
from armstream.engine import (
    Decision,
    FollowerError,
    PublishError,
    StaleWeightsError,
    Status,
    TradesPublisher,
    WeightsFollower,
    draw,
    weights_within,
)
from armstream.engine import follower as follower_module
from armstream.engine import publisher as publisher_module
from armstream.engine.view import WeightsView
from armstream.events import ArmWeight, Close, Fill, Phase, WeightVector
from deploy.kafka.node import free_port

SIDES = ("BUY", "SELL")
NOW = 1_763_778_000_000_000  # in November 2025


def vector_of(
    bandit_id: str = "book",
    version: int = 1,
    probabilities: Iterable[float] = (0.5, 0.3, 0.2),
    *,
    weights: Mapping[str, float] | None = None,
    phase: Phase = "LIVE",
    blend_alpha: float = 0.3,
) -> WeightVector:
    """Arms arm_0, arm_1, ... whose weights are their probabilities, or those of `weights`."""
    named = {f"arm_{index}": p for index, p in enumerate(probabilities)} if weights is None else weights
    return WeightVector(
        bandit_id=bandit_id,
        version=version,
        algorithm="exp3ix",
        estimator="implicit",
        arms=tuple(ArmWeight(name, weight, weight) for name, weight in named.items()),
        gamma=0.0,
        eta=0.25,
        reward_bound_bps=100.0,
        total_steps=version,
        phase=phase,
        blend_alpha=blend_alpha,
        cause_event_id="cause",
        ts_event=1,
    )


def answering(*vectors: WeightVector, age_seconds: float = 0.0) -> WeightsFollower:
    """A follower as its thread leaves it that read these vectors and the end `age_seconds` ago; stale after 30 s."""
    follower = WeightsFollower({"bootstrap.servers": "127.0.0.1:1"}, max_age_seconds=30.0)
    follower._view = WeightsView([0], 30.0)
    follower._view.add_end(0, 0, time.monotonic() - age_seconds)
    for vector in vectors:
        follower._view.take(0, vector)
    follower._read_to_end.set()
    return follower


# Drawing


def test_arms_are_drawn_as_often_as_the_vector_says() -> None:
    rng = default_rng(7)
    counts = Counter(draw("book", vector_of(), rng).arm for _ in range(20_000))
    # 5 standard deviations of a binomial count are at most 5 * sqrt(20000 / 4) = 354
    for arm, probability in (("arm_0", 0.5), ("arm_1", 0.3), ("arm_2", 0.2)):
        assert abs(counts[arm] - 20_000 * probability) < 354


def test_a_draw_takes_one_number_and_the_arm_whose_share_holds_it() -> None:
    rng, twin = default_rng(3), default_rng(3)
    for _ in range(200):
        number = twin.random()
        expected = "arm_0" if number < 0.5 else "arm_1" if number < 0.8 else "arm_2"
        assert draw("book", vector_of(), rng).arm == expected


def test_the_propensity_is_that_of_the_arm_drawn_and_the_fill_carries_the_decision() -> None:
    rng = default_rng(1)
    for _ in range(50):
        decision = draw("book", vector_of(version=9), rng)
        index = int(decision.arm[-1])
        assert decision.propensity == pytest.approx((0.5, 0.3, 0.2)[index], rel=1e-15)
        fill = decision.fill(instrument_id="AAPL", side="BUY", quantity=100, price=150.0)
        assert (fill.arm, fill.propensity, fill.weights_version) == (decision.arm, decision.propensity, 9)
        assert fill.probabilities == pytest.approx((0.5, 0.3, 0.2), rel=1e-15)
        assert fill.eta == 0.25


def test_an_arm_that_is_left_out_is_never_drawn_and_the_rest_is_renormalised() -> None:
    rng = default_rng(1)
    decisions = [draw("book", vector_of(), rng, arms=["arm_2", "arm_0", "unknown"]) for _ in range(500)]
    assert {decision.arm for decision in decisions} == {"arm_0", "arm_2"}
    for decision in decisions:
        assert decision.probabilities == pytest.approx((5 / 7, 0.0, 2 / 7), rel=1e-15)
        assert decision.propensity == pytest.approx({"arm_0": 5 / 7, "arm_2": 2 / 7}[decision.arm], rel=1e-15)


def test_what_cannot_trade_is_0_in_the_distribution_that_is_logged_with_or_without_a_vector() -> None:
    rng = default_rng(2)
    for _ in range(100):
        live = draw("book", vector_of(), rng, available={"arm_1", "arm_2"})
        assert live.probabilities == pytest.approx((0.0, 0.6, 0.4), rel=1e-15)
        assert live.propensity == live.probabilities[int(live.arm[-1])] > 0
        first = draw("book", None, rng, arms=("a", "b", "c"), available={"c", "a"})
        assert first.probabilities == (0.5, 0.0, 0.5)
        assert first.arm in {"a", "c"}
        both = draw("book", vector_of(), rng, arms=["arm_0", "arm_1"], available={"arm_1", "arm_2"})
        assert (both.arm, both.probabilities) == ("arm_1", (0.0, 1.0, 0.0))


def test_masked_draws_are_as_often_as_the_propensity_that_they_record() -> None:
    rng = default_rng(11)
    decisions = [draw("book", vector_of(), rng, available={"arm_0", "arm_2"}) for _ in range(20_000)]
    drawn = sum(decision.arm == "arm_0" for decision in decisions)
    assert abs(drawn - 20_000 * 5 / 7) < 354  # as above


def test_an_arm_named_twice_is_one_arm() -> None:
    assert draw("book", None, default_rng(1), arms=("a", "b", "a")).probabilities == (0.5, 0.5)


def test_probabilities_that_do_not_sum_to_one_are_renormalised() -> None:
    decision = draw("book", vector_of(probabilities=(0.2, 0.2)), default_rng(1))
    assert decision.probabilities == (0.5, 0.5)


def test_before_there_is_a_vector_the_draw_is_uniform_and_the_version_0() -> None:
    rng = default_rng(5)
    decisions = [draw("book", None, rng, arms=("a", "b", "c", "d")) for _ in range(20_000)]
    counts = Counter(decision.arm for decision in decisions)
    assert all(abs(counts[arm] - 5_000) < 354 for arm in "abcd")
    assert {(decision.propensity, decision.weights_version, decision.eta) for decision in decisions} == {
        (0.25, 0, None)
    }


@pytest.mark.parametrize("arms", [None, ()])
def test_without_a_vector_and_without_arms_there_is_nothing_to_draw(arms: tuple[str, ...] | None) -> None:
    with pytest.raises(ValueError, match="no weights yet"):
        draw("book", None, default_rng(1), arms=arms)


def test_leaving_out_every_arm_of_the_vector_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nothing to draw from: .*arm_0, arm_1, arm_2"):
        draw("book", vector_of(), default_rng(1), arms=["other"])
    with pytest.raises(ValueError, match="nothing to draw from"):
        draw("book", None, default_rng(1), arms=["a", "b"], available=[])


@pytest.mark.parametrize("text", ["ridge", "", b"ridge"])
def test_one_text_in_the_place_of_names_is_an_error_that_names_the_argument(text: Any) -> None:
    """It would be drawn from as r, i, d, g and e."""
    for named in ("arms", "available"):
        for vector in (None, vector_of()):
            with pytest.raises(ValueError, match=rf"^{named} must be several names, .*got the text "):
                draw("book", vector, default_rng(1), **{"arms": ["a", "b"], named: text})
        with pytest.raises(ValueError, match=rf"^{named} must be several names, .*got the text "):
            answering().choose("book", default_rng(1), **{"arms": ["a", "b"], named: text})


VIEWS = {"arm_0": "BUY", "arm_1": "FLAT", "arm_2": "sell"}


def test_an_arm_that_is_flat_or_has_no_signal_is_left_out_as_one_that_cannot_trade() -> None:
    rng = default_rng(4)
    for _ in range(100):
        flat = draw("book", vector_of(), rng, signals=VIEWS)
        assert flat.arm in {"arm_0", "arm_2"}
        assert flat.probabilities == pytest.approx((5 / 7, 0.0, 2 / 7), rel=1e-15)
        absent = draw("book", vector_of(), rng, signals={"arm_1": "SELL", "arm_2": "SELL"})
        assert absent.probabilities == pytest.approx((0.0, 0.6, 0.4), rel=1e-15)
        first = draw("book", None, rng, arms=("a", "b", "c"), signals={"a": "BUY", "c": "SELL"})
        assert first.probabilities == (0.5, 0.0, 0.5)


def test_signals_go_with_arms_in_an_array() -> None:
    views = dict.fromkeys(("arm_0", "arm_1"), "BUY")
    assert draw("book", vector_of(), default_rng(1), arms=np.array(list(views)), signals=views).signals == views


def test_signals_and_what_is_available_leave_out_together_and_every_view_is_logged() -> None:
    decision = answering(vector_of()).choose("book", default_rng(1), available={"arm_1", "arm_2"}, signals=VIEWS)
    assert (decision.arm, decision.probabilities) == ("arm_2", (0.0, 0.0, 1.0))
    assert decision.signals == {"arm_0": "BUY", "arm_1": "FLAT", "arm_2": "SELL"}


@pytest.mark.parametrize("views", [{}, {"arm_0": "FLAT", "arm_1": "flat"}], ids=["no views", "all flat"])
def test_where_no_arm_would_trade_the_error_says_so(views: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^nothing to draw from: .*: each is left out, FLAT or without a signal$"):
        draw("book", vector_of(), default_rng(1), signals=views)


def test_a_signal_of_an_arm_that_nobody_knows_is_an_error_that_names_it() -> None:
    views = VIEWS | {"arm_7": "BUY"}
    with pytest.raises(ValueError, match=r"^signals must be of arms of 'book', got arm_7: it has arm_0, arm_1, arm_2$"):
        draw("book", vector_of(), default_rng(1), signals=views)
    with pytest.raises(ValueError, match=r"^signals must be of arms of 'book', got arm_7: it has a$"):
        draw("book", None, default_rng(1), arms=["a"], signals={"arm_7": "BUY"})


def test_a_model_of_the_engine_that_the_vector_does_not_know_yet_is_not_in_its_signals() -> None:
    arms = ["arm_0", "arm_1", "arm_2", "arm_3"]
    decision = draw("book", vector_of(), default_rng(1), arms=arms, signals=dict.fromkeys(arms, "BUY"))
    assert decision.signals == {"arm_0": "BUY", "arm_1": "BUY", "arm_2": "BUY"}


def test_a_signal_that_is_none_is_an_error_that_names_its_arm() -> None:
    with pytest.raises(ValueError, match=r"^signals\['arm_0'\] must be 'BUY', 'SELL' or 'FLAT', got 'HOLD'$"):
        draw("book", vector_of(), default_rng(1), signals={"arm_0": "HOLD"})


# Decisions


def test_the_signals_of_a_choice_are_in_its_fills_and_need_not_be_given_again() -> None:
    decision = draw("book", vector_of(), default_rng(1), signals={"arm_0": "Sell", "arm_1": "flat"})
    fill = decision.fill(instrument_id="X", side="SELL", quantity=1, price=2.0)
    assert fill.signals == {"arm_0": "SELL", "arm_1": "FLAT"}
    assert decode(encode(fill)) == fill
    with pytest.raises(
        ValueError, match=r"^signals\['arm_0'\] must be the side, as the drawn arm's is: BUY, got SELL$"
    ):
        decision.fill(instrument_id="X", side="BUY", quantity=1, price=2.0)


def test_signals_that_a_fill_is_given_are_asked_for_the_drawn_arm_and_the_side() -> None:
    decision = Decision("book", "arm_0", 0.5, (0.5, 0.5), None, 0)
    right: dict[str, Any] = {"instrument_id": "X", "side": "buy", "quantity": 1, "price": 2.0}
    assert decision.fill(**right).signals == {}
    assert decision.fill(**right, signals={"arm_0": "buy", "arm_1": "SELL"}).signals == {
        "arm_0": "BUY",
        "arm_1": "SELL",
    }
    with pytest.raises(ValueError, match=r"^signals must have that of the drawn arm 'arm_0', got those of arm_1$"):
        decision.fill(**right, signals={"arm_1": "BUY"})
    with pytest.raises(ValueError, match=r"^signals\['arm_0'\] must be the side"):
        decision.fill(**right, signals={"arm_0": "FLAT"})


def test_a_decision_names_its_position_once_and_every_event_anew() -> None:
    decision = Decision("book", "arm_0", 0.5, (0.5, 0.5), None, 0)
    other = Decision("book", "arm_0", 0.5, (0.5, 0.5), None, 0)
    first = decision.fill(instrument_id="X", side="SELL", quantity=1, price=2.0, order_quantity=3)
    second = decision.fill(instrument_id="X", side="SELL", quantity=2, price=2.0, order_quantity=3)
    close = decision.close(quantity=3, price=1.0, fees=0.1, slippage=0.2)
    assert first.position_id == second.position_id == close.position_id != other.position_id
    assert len({first.event_id, second.event_id, close.event_id}) == 3
    assert (close.bandit_id, close.fees, close.slippage) == ("book", 0.1, 0.2)


def test_a_position_is_called_as_the_engine_wants() -> None:
    decision = draw("book", vector_of(), default_rng(1), position_id="order-7")
    assert decision.fill(instrument_id="X", side="BUY", quantity=1, price=2.0).position_id == "order-7"
    assert decision.close(quantity=1, price=2.0).position_id == "order-7"


@pytest.mark.parametrize("side", SIDES)
def test_the_events_of_a_decision_go_through_the_codec_unchanged(side: str) -> None:
    decision = draw("book", vector_of(version=12), default_rng(4), available={"arm_0", "arm_2"})
    fill = decision.fill(instrument_id="X", side=side, quantity=1.5, price=2.0, fees=0.1, currency="USD")
    close = decision.close(quantity=1.5, price=1.0, slippage=0.2, slippage_in_price=True)
    assert decode(encode(fill)) == fill
    assert decode(encode(close)) == close
    assert (fill.arm, fill.weights_version) == (decision.arm, 12)
    assert fill.probabilities == pytest.approx((5 / 7, 0.0, 2 / 7), rel=1e-15)


def test_an_event_is_dated_by_the_wall_clock_in_microseconds_unless_told() -> None:
    decision = Decision("book", "arm_0", 0.5, (0.5, 0.5), None, 0)
    before = time.time()
    close = decision.close(quantity=1, price=1.0)
    assert before - 0.001 <= close.ts_event / 1e6 <= time.time() + 0.001
    given = decision.fill(instrument_id="X", side="BUY", quantity=1, price=2.0, ts_event=NOW, event_id="mine")
    assert (given.ts_event, given.event_id) == (NOW, "mine")


def test_a_fill_says_its_notional_and_a_close_that_it_was_the_last() -> None:
    """A spread bought at -2 on a basis of 50 a unit, and sold at 0: any finite price, where there is a basis."""
    decision = Decision("book", "arm_0", 0.5, (0.5, 0.5), None, 0)
    fill = decision.fill(instrument_id="X", side="BUY", quantity=1, price=-2.0, notional=50)
    close = decision.close(quantity=1, price=0, final=True)
    assert (fill.price, fill.notional) == (-2.0, 50.0)
    assert (close.price, close.final) == (0.0, True)
    assert decode(encode(fill)) == fill
    assert decode(encode(close)) == close
    assert decision.fill(instrument_id="X", side="BUY", quantity=1, price=2.0).notional is None
    assert decision.close(quantity=1, price=2.0).final is False


def test_a_decision_takes_what_trading_code_holds() -> None:
    decision = Decision("book", "arm_0", np.float64(0.5), (np.float64(0.5),) * 2, Decimal("0.25"), np.int64(7))  # type: ignore[arg-type]
    told = datetime.fromtimestamp(NOW / 1e6, UTC)
    fill = decision.fill(
        instrument_id="X", side="sell", quantity=np.int64(3), price=Decimal("2.5"), fees=np.float32(0.5),
        order_quantity=Decimal(4), notional=np.array(5), multiplier=np.float64(10), ts_event=told, event_id="f",
    )  # fmt: skip
    assert fill == Fill(
        "f", "book", decision.position_id, "X", "SELL", 3.0, 2.5, NOW, 10.0, 0.5, order_quantity=4.0, arm="arm_0",
        propensity=0.5, probabilities=(0.5, 0.5), eta=0.25, weights_version=7, notional=5.0,
    )  # fmt: skip
    close = decision.close(
        quantity=Decimal("0.1"), price=np.float32(2.5), fees=Decimal("0.2"), slippage=Decimal("-0.3"),
        slippage_in_price=np.True_, final=np.False_, ts_event=np.datetime64(NOW, "us"), event_id="c",
    )  # fmt: skip
    assert close == Close("c", "book", decision.position_id, 0.1, 2.5, NOW, 0.2, -0.3, True)
    assert decode(encode(fill)) == fill
    assert decode(encode(close)) == close


WRONG_FOR_A_FILL: list[tuple[str, Any]] = [
    *(("side", wrong) for wrong in ("LONG", "UNKNOWN", None, 1)),
    *(("quantity", wrong) for wrong in (0, -1, "1", None, True, math.nan, Decimal("NaN"), [1], np.array([1.0]), 1j)),
    *(("price", wrong) for wrong in (0, -1, "150", None, math.inf)),
    *(("fees", wrong) for wrong in ("0", None, math.nan, Decimal("sNaN"))),
    *(("multiplier", wrong) for wrong in (0, -1, None, math.nan)),
    *(("order_quantity", wrong) for wrong in (0, -1, "100", math.nan)),
    *(("notional", wrong) for wrong in (0, -1, "100", math.inf)),
    *(("ts_event", wrong) for wrong in (NOW // 1_000, NOW // 1_000_000, NOW * 1_000, datetime(2026, 1, 1), "now", 0.5)),
    *(("exec_type", wrong) for wrong in ("UNKNOWN", "trade", None, 1)),
    *((name, 7) for name in ("instrument_id", "currency", "exec_id", "exec_ref_id", "event_id")),
    *(("event_id", wrong) for wrong in ("e" * 201, "€" * 67)),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG_FOR_A_FILL)
def test_a_fill_that_cannot_be_is_an_error_that_names_the_field(name: str, wrong: object) -> None:
    decision = Decision("book", "arm_0", 0.5, (0.5, 0.5), None, 0)
    right: dict[str, Any] = {"instrument_id": "X", "side": "BUY", "quantity": 1, "price": 2.0}
    with pytest.raises(ValueError, match=rf"^{name} must "):
        decision.fill(**{**right, name: wrong})


WRONG_FOR_A_CLOSE: list[tuple[str, Any]] = [
    *(("quantity", wrong) for wrong in (0, -1, "1", None, True, math.nan)),
    *(("price", wrong) for wrong in ("150", None, math.inf, Decimal("NaN"))),
    *((name, wrong) for name in ("fees", "slippage") for wrong in ("0", None, math.nan)),
    *((name, wrong) for name in ("slippage_in_price", "final") for wrong in ("false", 1, None)),
    *(("ts_event", wrong) for wrong in (NOW // 1_000, NOW // 1_000_000, NOW * 1_000, datetime(2026, 1, 1))),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG_FOR_A_CLOSE)
def test_a_close_that_cannot_be_is_an_error_that_names_the_field(name: str, wrong: object) -> None:
    decision = Decision("book", "arm_0", 0.5, (0.5, 0.5), None, 0)
    right: dict[str, Any] = {"quantity": 1, "price": 2.0, name: wrong}
    with pytest.raises(ValueError, match=rf"^{name} must "):
        decision.close(**right)


def test_a_price_that_needs_a_basis_says_so() -> None:
    decision = Decision("book", "arm_0", 0.5, (0.5, 0.5), None, 0)
    with pytest.raises(ValueError, match=r"^price must be above 0 where notional is not given, .*got -0.5"):
        decision.fill(instrument_id="X", side="BUY", quantity=1, price=-0.5)


def test_importing_it_loads_its_four_packages_and_no_settings_metrics_or_stages() -> None:
    code = "import sys; before = set(sys.modules); import armstream.engine; print(*sys.modules.keys() - before)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    loaded = done.stdout.split()
    assert "armstream.engine.publisher" in loaded
    foreign = ("pydantic", "prometheus_client", "yaml", "rich")
    inner = ("armstream.settings", "armstream.stages", "armstream.runtime", "armstream.demo")
    assert [name for name in loaded if name.startswith(foreign + inner)] == []
    packages = {name.split(".")[0] for name in loaded} - sys.stdlib_module_names
    allowed = {"armstream", "confluent_kafka", "fastavro", "msgspec", "numpy", "typing_extensions"}
    assert {name for name in packages if "cython" not in name} <= allowed


# What is live


def view_of(*partitions: int, max_age_seconds: float = 10.0) -> WeightsView:
    return WeightsView(partitions or (0,), max_age_seconds)


def test_a_partition_is_confirmed_as_of_the_moment_of_asking_once_it_is_read_to_the_end_of_then() -> None:
    view = view_of()
    view.take(0, vector_of(version=4))
    view.reach(0, 3)
    view.add_end(0, 5, asked_seconds=100.0)
    assert view.look("book", 101.0)[1] == Status(4, float("inf"), 2, "LIVE", "STALE")
    view.reach(0, 4)
    assert view.look("book", 101.0)[1].fallback == "STALE"
    view.reach(0, 5)
    assert view.look("book", 101.5)[1] == Status(4, 1.5, 0, "LIVE", None)


def test_a_quiet_topic_stays_live_as_long_as_its_end_is_confirmed_and_is_stale_when_it_is_not() -> None:
    view = view_of(max_age_seconds=10.0)
    view.take(0, vector_of())
    view.reach(0, 1)
    for moment in range(0, 100, 5):
        view.add_end(0, 1, asked_seconds=float(moment))
        assert view.look("book", moment + 4.0)[1].fallback is None
    assert view.look("book", 95 + 10.0)[1].fallback is None
    assert view.look("book", 95 + 10.01)[1].fallback == "STALE"


def test_who_lags_behind_every_end_is_as_old_as_the_end_that_it_has_reached() -> None:
    """One record a second comes, it is read 2.5 s later, and the end is asked for every second."""
    view = view_of()
    view.take(0, vector_of())
    view.reach(0, 0)
    ages = []
    for moment in range(60):
        view.reach(0, max(int(moment - 2.5), 0))
        view.add_end(0, moment, asked_seconds=float(moment))
        view.reach(0, max(int(moment - 2.0), 0))
        ages.append(view.look("book", moment + 0.5)[1].age_seconds)
    assert 2.0 <= max(ages[10:]) <= 7.0  # the lag, and at most once more the way to the next end asked for


def test_only_the_bandits_of_a_partition_that_is_not_confirmed_are_stale() -> None:
    view = view_of(0, 1)
    view.take(0, vector_of("here"))
    view.take(1, vector_of("there"))
    view.add_end(0, 0, asked_seconds=50.0)
    view.add_end(1, 7, asked_seconds=50.0)
    assert view.look("here", 51.0)[1].fallback is None
    assert view.look("there", 51.0)[1].fallback == "STALE"
    # nobody knows where a bandit without a vector would be
    assert view.look("nobody", 51.0)[1] == Status(0, float("inf"), 7, None, "STALE")
    view.reach(1, 7)
    assert view.look("nobody", 51.0)[1] == Status(0, 1.0, 0, None, "MISSING")


@pytest.mark.parametrize("phase", ["WARMING", "UNKNOWN"])
def test_what_is_not_said_to_be_live_is_warming(phase: Phase) -> None:
    assert answering(vector_of(phase=phase)).status("book").fallback == "WARMING"


def test_a_version_that_does_not_go_up_is_ignored_and_counted_until_its_bandit_is_forgotten() -> None:
    view = view_of()
    assert view.take(0, vector_of(version=7))
    assert not view.take(0, vector_of(version=7, probabilities=(1.0,)))
    assert not view.take(0, vector_of(version=3))
    assert view.take(0, vector_of("other", version=1))
    assert view.ignored_count == 2
    assert view.look("book", 0.0)[0] == vector_of(version=7)
    view.forget("book")
    assert view.look("book", 0.0)[0] is None


def test_many_threads_ask_while_one_writes_and_none_sees_half_a_vector_or_an_older_one() -> None:
    view = view_of()
    view.add_end(0, 0, asked_seconds=0.0)
    failures: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        last = 0
        try:
            while not stop.is_set():
                vector, status = view.look("book", 1.0)
                view.bandit_ids()  # raises where it walks over a dict that grows
                if vector is None:
                    continue
                if vector.arms[0].weight != vector.version or status.version != vector.version:
                    failures.append(f"{vector} of {status}")
                if vector.version < last:
                    failures.append(f"{vector.version} after {last}")
                last = vector.version
        except Exception as error:
            failures.append(repr(error))

    with small_switch_interval():
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for version in range(1, 3_000):
            view.take(0, vector_of(version=version, probabilities=(float(version),)))
            view.take(0, vector_of(f"bandit-{version}"))
        stop.set()
        for thread in threads:
            thread.join(20)
    assert failures == []


@contextmanager
def small_switch_interval() -> Iterator[None]:
    """Threads change places 1,000 times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(before / 1_000)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


# Blending

BASE = {"ridge": 0.3, "mlp": 0.4, "lstm": 0.3}
LEARNED = {"ridge": 4 / 6, "mlp": 1 / 6, "lstm": 1 / 6}


def test_live_weights_are_mixed_with_base_by_the_alpha_that_was_published() -> None:
    """.7 * .3 + .3 * 4/6 = .41 and so on; at alpha .15 .85 * .3 + .15 * 4/6 = .355."""
    for alpha, expected in ((0.3, (0.41, 0.33, 0.26)), (0.15, (0.355, 0.365, 0.28)), (0.0, (0.3, 0.4, 0.3))):
        blended = answering(vector_of(weights=LEARNED, blend_alpha=alpha)).blend("book", BASE)
        assert blended == pytest.approx(dict(zip(BASE, expected, strict=True)), rel=1e-12)


@pytest.mark.parametrize(
    ("vectors", "age_seconds", "fallback"),
    [
        ([], 0.0, "MISSING"),
        ([vector_of(weights=LEARNED, phase="WARMING", blend_alpha=0.0)], 0.0, "WARMING"),
        ([vector_of(weights=LEARNED, phase="WARMING")], 0.0, "WARMING"),  # whatever its alpha
        ([vector_of(weights=LEARNED)], 31.0, "STALE"),
        ([], 31.0, "STALE"),
    ],
)
def test_where_the_weights_are_not_live_base_is_what_blend_returns(
    vectors: list[WeightVector], age_seconds: float, fallback: str
) -> None:
    follower = answering(*vectors, age_seconds=age_seconds)
    assert follower.status("book").fallback == fallback
    assert follower.blend("book", {"ridge": 3.0, "mlp": 1.0, "lstm": -2.0}) == {"ridge": 0.75, "mlp": 0.25, "lstm": 0.0}
    assert follower.blend("book", {"ridge": 0.0, "mlp": 0.0}) == {"ridge": 0.5, "mlp": 0.5}


def test_an_arm_that_the_bandit_does_not_know_keeps_its_base_share() -> None:
    follower = answering(vector_of(weights={"ridge": 0.6, "mlp": 0.2, "gone": 0.2}, blend_alpha=0.5))
    blended = follower.blend("book", {"ridge": 0.3, "mlp": 0.3, "new": 0.4})
    # ridge and mlp share out .6 of base mass as 3 : 1, half of it by the bandit: .5 * .3 + .5 * .6 * .75 = .375
    assert blended == pytest.approx({"ridge": 0.375, "mlp": 0.225, "new": 0.4}, rel=1e-12)


PAIRS = {"ridge:1d": 0.1, "ridge:5d": 0.3, "mlp:1d": 0.4, "mlp:5d": 0.1, "lstm:1d": 0.1}


def test_pairs_of_family_and_horizon_give_weights_over_families_within_the_horizon() -> None:
    follower = answering(vector_of(weights=PAIRS, blend_alpha=0.5))
    assert follower.weights_within("book", "5d") == pytest.approx({"ridge": 0.75, "mlp": 0.25}, rel=1e-15)
    assert follower.weights_within("book", "1d") == pytest.approx({"ridge": 1 / 6, "mlp": 4 / 6, "lstm": 1 / 6})
    # .5 * .5 + .5 * .75 and .5 * .5 + .5 * .25
    assert follower.blend("book", {"ridge": 1, "mlp": 1}, horizon="5d") == pytest.approx({"ridge": 0.625, "mlp": 0.375})
    assert weights_within(vector_of(weights={"a:1d": 0.0, "b:1d": 0.0, "c:2d": 1.0}), "1d") == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize("phase", ["WARMING", "LIVE"])
def test_a_horizon_that_no_arm_has_is_a_clear_error_before_the_weights_are_live_too(phase: Phase) -> None:
    follower = answering(vector_of(weights=PAIRS, phase=phase))
    with pytest.raises(ValueError, match="'book' has no arm of horizon '1h': its arms are ridge:1d, ridge:5d"):
        follower.weights_within("book", "1h")
    with pytest.raises(ValueError, match="no arm of horizon '1h'"):
        follower.blend("book", BASE, horizon="1h")


# Stale and failed


def test_nothing_is_drawn_from_stale_weights_and_none_are_given() -> None:
    follower = answering(vector_of(version=8), age_seconds=31.0)
    with pytest.raises(StaleWeightsError, match=r"'book' are stale: .* 31\.\d s ago, max_age_seconds is 30"):
        follower.choose("book", default_rng(1), arms=("arm_0", "arm_1"))
    assert follower.weights("book") is None
    assert follower.weights_within("book", "1d") is None
    status = follower.status("book")
    assert (status.version, status.phase, status.fallback) == (8, "LIVE", "STALE")
    assert 31.0 <= status.age_seconds < 40.0


def test_that_there_is_no_vector_yet_must_be_confirmed_before_the_draw_is_uniform() -> None:
    with pytest.raises(StaleWeightsError):
        answering(age_seconds=31.0).choose("book", default_rng(1), arms=("a", "b"))
    assert answering().choose("book", default_rng(1), arms=("a", "b")).weights_version == 0


def test_a_warming_bandit_is_drawn_from_its_own_probabilities() -> None:
    warming = answering(vector_of(version=3, probabilities=(0.0, 1.0), phase="WARMING", blend_alpha=0.0))
    decision = warming.choose("book", default_rng(1), position_id="p")
    assert (decision.arm, decision.weights_version, decision.position_id) == ("arm_1", 3, "p")
    assert warming.weights("book") is not None


def test_outside_its_block_it_does_not_answer() -> None:
    follower = WeightsFollower({"bootstrap.servers": "127.0.0.1:1"})
    for ask in (follower.weights, follower.status, lambda book: follower.blend(book, BASE)):
        with pytest.raises(FollowerError, match="with block"):
            ask("book")


@pytest.mark.parametrize(
    ("name", "value"), [("isolation.level", "read_uncommitted"), ("auto.offset.reset", "latest"), ("error_cb", print)]
)
def test_a_setting_that_following_rests_on_is_refused_with_its_reason(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{name} is not yours to set: \w+"):
        WeightsFollower({"bootstrap.servers": "127.0.0.1:1", name: value})


@pytest.mark.parametrize("age", [0, -1, float("nan")])
def test_an_age_that_nothing_could_have_is_refused(age: float) -> None:
    with pytest.raises(ValueError, match="max_age_seconds must be above 0"):
        WeightsFollower({}, max_age_seconds=age)


def test_a_broker_that_never_answers_is_named_when_the_time_to_start_is_over() -> None:
    follower = WeightsFollower(
        {"bootstrap.servers": f"127.0.0.1:{free_port()}"}, topic="weights", start_timeout_seconds=0.5
    )
    with (
        pytest.raises(FollowerError, match=r"'weights' .* was not read to its end in 0\.5 s: .*Connection refused"),
        follower,
    ):
        pass


@pytest.fixture
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "SAY_AFTER_SECONDS", 0.3)
    monkeypatch.setattr(follower_module, "_REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(follower_module, "_SAY_AFTER_SECONDS", 1.0)


@pytest.mark.usefixtures("told_at_once")
def test_a_long_start_is_told_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    servers = f"127.0.0.1:{free_port()}"
    with (
        pytest.raises(FollowerError),
        WeightsFollower({"bootstrap.servers": servers}, start_timeout_seconds=1.5),
    ):
        pass
    (line,) = caplog.messages
    assert line.startswith(f"waiting for the end of topic 'weights' of Kafka at {servers}, 1.5 s at most: ")
    assert "a transaction stays open" not in line, "the cause of another wait"


# Publishing, where nobody answers


@pytest.mark.usefixtures("told_at_once")
def test_a_long_flush_is_told_and_an_outage_once(caplog: pytest.LogCaptureFixture) -> None:
    published = unheard({"log_level": 0}, flush_timeout_seconds=1.0)
    published.publish(fill_of())
    with pytest.raises(TimeoutError):
        published.flush()
    with pytest.raises(PublishError):
        published.close()
    waits = [line for line in caplog.messages if line.startswith("waiting for")]
    assert len(waits) == 2, "flush, and close"
    assert waits[0].endswith(" to take 1 events, 1 s at most")
    assert len([line for line in caplog.messages if "Connection refused" in line]) == 1, "its code is told again later"


def fill_of(event_id: str = "f1") -> Fill:
    return Fill(event_id, "book", "p1", "AAPL", "BUY", 1.0, 100.0, NOW, arm="arm_0")


def close_of(event_id: str = "c1") -> Close:
    return Close(event_id, "book", "p1", 1.0, 101.0, NOW)


def unheard(more: Mapping[str, object] | None = None, **timeouts: float) -> TradesPublisher:
    """A publisher to where no broker is."""
    client = {"bootstrap.servers": f"127.0.0.1:{free_port()}", "log_level": 0, **(more or {})}
    return TradesPublisher(client, **{"flush_timeout_seconds": 0.2, "queue_timeout_seconds": 0.2, **timeouts})  # type: ignore[arg-type]


def test_what_is_not_delivered_at_the_end_comes_back_to_the_caller_all_of_it() -> None:
    publisher = unheard()
    events = (fill_of(), close_of())
    text = "Fill 'f1' of bandit 'book', position 'p1' and 1 more not delivered to 'trades'"
    with pytest.raises(PublishError, match=text) as raised, publisher:  # noqa: PT012 - the end of the block does
        for event in events:
            publisher.publish(event)
    assert raised.value.events == events
    publisher.close()  # once is enough: nothing is told twice


def test_flush_says_what_is_still_under_way_and_goes_on_trying() -> None:
    publisher = unheard()
    publisher.publish(fill_of())
    with pytest.raises(TimeoutError, match=r"1 events were not delivered in 0\.2 s"):
        publisher.flush()
    with pytest.raises(PublishError) as raised:
        publisher.close()
    assert raised.value.events == (fill_of(),)


def test_an_event_that_was_given_up_is_told_by_the_next_publish_with_the_one_not_taken() -> None:
    publisher = unheard({"message.timeout.ms": 100})
    publisher.publish(fill_of())
    closes: list[Close] = []
    with pytest.raises(PublishError, match=r"Fill 'f1'.* not delivered to 'trades'") as raised:  # noqa: PT012 - one does
        for number in range(200):
            time.sleep(0.1)
            closes.append(close_of(f"c{number}"))
            publisher.publish(closes[-1])
    first, *others = raised.value.events
    assert first == fill_of()
    assert others[-1] == closes[-1]
    assert others[:-1] == closes[: len(others) - 1]  # those given up by then, in order


def test_a_full_queue_is_waited_for_and_then_the_event_comes_back() -> None:
    publisher = unheard({"queue.buffering.max.messages": 2})
    publisher.publish(fill_of("f1"))
    publisher.publish(fill_of("f2"))
    started = time.monotonic()
    with pytest.raises(PublishError, match=r"'f3'.* was not sent: the queue was full for 0\.2 s") as raised:
        publisher.publish(fill_of("f3"))
    assert 0.2 <= time.monotonic() - started < 5
    assert raised.value.events == (fill_of("f3"),)
    with pytest.raises(PublishError):
        publisher.close()


def test_a_closed_publisher_takes_nothing() -> None:
    publisher = unheard()
    publisher.close()
    with pytest.raises(PublishError, match="the publisher is closed") as raised:
        publisher.publish(fill_of())
    assert raised.value.events == (fill_of(),)


def test_a_wrong_event_is_refused_by_its_field_and_nothing_is_queued() -> None:
    wrongs: list[tuple[Any, type[Exception], str]] = [
        (msgspec.structs.replace(fill_of(), quantity=math.nan), ValueError, "^quantity must be finite"),
        (msgspec.structs.replace(close_of(), ts_event=1_763_778_000), ValueError, "^ts_event must be UTC microseconds"),
        (draw("book", None, default_rng(1), arms=["a", "b"]), TypeError, "only a Fill or a Close"),
    ]
    with unheard() as publisher:  # whose end would tell what was queued
        for event, error, text in wrongs:
            with pytest.raises(error, match=text):
                publisher.publish(event)


def test_an_event_made_by_hand_is_sent_as_plain_values() -> None:
    publisher = unheard()
    publisher.publish(msgspec.structs.replace(fill_of(), quantity=Decimal(1), price=np.float64(100), side="buy"))
    with pytest.raises(PublishError) as raised:
        publisher.close()
    assert raised.value.events == (fill_of(),)


def test_what_avro_cannot_hold_is_refused_and_nothing_is_queued() -> None:
    with unheard() as publisher, pytest.raises(ValueError, match="surrogate"):
        publisher.publish(msgspec.structs.replace(fill_of(), instrument_id="\ud800"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("partitioner", "consistent_random"), ("enable.idempotence", False), ("acks", "1"), ("transactional.id", "x")],
)
def test_a_setting_that_delivery_rests_on_is_refused_with_its_reason(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{name} is not yours to set: \w+"):
        TradesPublisher({"bootstrap.servers": "127.0.0.1:1", name: value})


@pytest.mark.parametrize("topics", [(), ("a", "b", "c"), "trades"])
def test_topics_are_one_or_two(topics: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="topics must be one topic, or that of fills and that of closes"):
        TradesPublisher({"bootstrap.servers": "127.0.0.1:1"}, topics=topics)
