"""Simulated engines that trade real prices through Kafka. Law: they know no more of Armstream than any engine would.

Real prices, simulated fills: market.py has the prices, families.py the models, experts.py what engines know, desk.py
the trades.
Each trade's arm is drawn from the published weights, so the loop is closed through Kafka; its fills say what every
model said.
"""

import argparse
import itertools
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from numpy.random import default_rng

from armstream.demo.desk import FEES_BPS, HORIZONS, SHARE_FILLED_IN_PARTS, SLIPPAGE_BPS, Desk, Views
from armstream.demo.experts import experts_for
from armstream.demo.families import FAMILIES
from armstream.demo.market import Bar, load_bars
from armstream.engine import Decision, TradesPublisher, WeightsFollower
from armstream.resources import resource

if TYPE_CHECKING:
    from armstream.settings import Settings

CATCH_UP_SECONDS = 1.0  # after a stall the rate is made up for this long, not for all that was missed
SAY_EVERY_SECONDS = 10.0
FLUSH_TIMEOUT_SECONDS = 5.0

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--rate, --for and --seed."""
    parser.add_argument(
        "--rate", type=_positive, default=200.0, metavar="EVENTS", help="fills and closes a second (default 200)"
    )
    parser.add_argument(
        "--for", type=_positive, dest="for_seconds", metavar="SECONDS", help="stop after this long (default: never)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the draws of arms and of partial fills (default 1)")


def run(arguments: argparse.Namespace, settings: "Settings") -> int:
    """Trades until SIGTERM, SIGINT or --for; then closes what is open and returns 0 when all is delivered.

    Raises ValueError where the settings name an arm that no family here has, FollowerError, PublishError, TimeoutError.
    """
    arms = settings.online_learning.arms
    _check_arms(arms)
    experts = experts_for(arms)
    with _on_stop_signals(_leave):
        bars = load_bars()
        rng = default_rng(arguments.seed)
        log.info(
            "real prices, simulated fills: %d stocks, %d bars, held %s; fees %g bps a side, "
            "slippage %g bps a round trip; %g %% of orders fill in two parts; arms %s",
            len(bars),
            sum(map(len, bars.values())),
            ", ".join(HORIZONS),
            FEES_BPS,
            SLIPPAGE_BPS,
            100 * SHARE_FILLED_IN_PARTS,
            ", ".join(arms),
        )
        client, topics = settings.kafka.connection(), settings.topics.names
        with (
            TradesPublisher(client, topics=topics.trades, flush_timeout_seconds=FLUSH_TIMEOUT_SECONDS) as publisher,
            WeightsFollower(client, topic=topics.weights) as follower,
        ):

            def choose(bandit_id: str, seen: Sequence[Bar], views: Views) -> Decision:
                signals = {arm: views[arm] for arm in arms}
                return follower.choose(bandit_id, rng, arms=arms, context=seen, experts=experts, signals=signals)

            desks = [Desk(stock, history, choose, rng) for stock, history in bars.items()]
            stop = threading.Event()
            with _on_stop_signals(lambda _number, _frame: stop.set()):
                sent_count = _trade(desks, publisher, arguments.rate, arguments.for_seconds, stop)
    log.info("%d events sent, nothing left open", sent_count)
    return 0


def _trade(
    desks: Sequence[Desk], publisher: TradesPublisher, rate: float, for_seconds: float | None, stop: threading.Event
) -> int:
    """A bar of each desk in turn, at `rate` events a second, then every position closed and all delivered: how many."""
    start = due = said = time.monotonic()
    sent_count = 0
    for desk in itertools.cycle(desks):
        events = desk.next_bar()
        for event in events:
            publisher.publish(event)
        sent_count += len(events)
        now = time.monotonic()
        due = max(due + len(events) / rate, now - CATCH_UP_SECONDS)
        if now - said > SAY_EVERY_SECONDS:
            said = now
            log.info("%d events sent", sent_count)
        if stop.wait(max(0.0, due - now)) or (for_seconds is not None and now - start >= for_seconds):
            break
    closes = [close for desk in desks for close in desk.flatten()]
    for close in closes:
        publisher.publish(close)
    publisher.flush()
    return sent_count + len(closes)


def _check_arms(arms: Sequence[str]) -> None:
    unknown = [arm for arm in arms if arm not in FAMILIES]
    if unknown:
        raise ValueError(
            f"the demo has no family {', '.join(unknown)}; it has {', '.join(FAMILIES)}: "
            f"--config {resource('config', 'demo.yaml')}"
        )


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


Handler = Callable[[int, FrameType | None], None]


@contextmanager
def _on_stop_signals(handler: Handler) -> Iterator[None]:
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, handler) for number in signals]
    try:
        yield
    finally:
        for number, previous in zip(signals, before, strict=True):
            signal.signal(number, previous)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Before the first trade there is nothing to end in order."""
    raise SystemExit(0)
