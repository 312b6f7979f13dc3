"""An engine in a process of its own: `python -m tests.faults.engine BOOTSTRAP_SERVERS TRADES WEIGHTS` trades until
SIGTERM, and then says how many events were delivered. Law: its own clock dates them."""

import signal
import sys
import threading

from numpy.random import default_rng

from armstream.engine import PublishError, TradesPublisher, WeightsFollower

_BANDITS = 8
_PAUSE_SECONDS = 0.05


def trade(bootstrap_servers: str, trades: str, weights: str, arms: list[str], stopping: threading.Event) -> int:
    """A position after the other, opened and closed. Gives how many events were delivered.

    A clock that is set back by a day can keep librdkafka from sending: what was not delivered is given back, and a new
    publisher goes on.
    """
    client, draw, published = {"bootstrap.servers": bootstrap_servers}, default_rng(0), 0
    with WeightsFollower(client, topic=weights) as follower:
        while not stopping.is_set():
            try:
                with TradesPublisher(client, topics=[trades]) as publisher:
                    while not stopping.wait(_PAUSE_SECONDS):
                        decision = follower.choose(f"engine-{draw.integers(_BANDITS)}", draw, arms=arms)
                        price = float(draw.uniform(20.0, 200.0))
                        fill = decision.fill(instrument_id="AAPL", side="BUY", quantity=1.0, price=price)
                        close = decision.close(quantity=1.0, price=price * float(draw.normal(1.0, 0.003)))
                        for event in (fill, close):
                            published += 1
                            publisher.publish(event)
            except PublishError as undelivered:
                published -= _count(undelivered)
    return published


def _count(undelivered: BaseException | None) -> int:
    """How many events were given back, by a call and by the end that followed it."""
    if not isinstance(undelivered, PublishError):
        return 0
    return len(undelivered.events) + _count(undelivered.__context__)


if __name__ == "__main__":
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    servers, trades_topic, weights_topic, *arms_to_draw = sys.argv[1:]
    print(trade(servers, trades_topic, weights_topic, arms_to_draw, told))  # noqa: T201 - a command prints
